"""The layout of the cluster: which server runs on which host, at which address, and all configuration files."""

import hashlib
import os
import pwd
import shutil
import subprocess

import configure
from configure import fill, open_files, section
from hosts import Host, Switch
from instance import CHECKOUT, PASSED_ON, Instance, write_private
from keeper import postgres_programs

HERE = CHECKOUT / "deploy" / "cluster"
NETWORK = "10.84.0"
# The link from the caller's network, only to the common nginx.
LINK = ("10.84.1.1", "10.84.1.2")
# In a namespace of its own every port is free.
HTTP_PORT = int({"": 8000, "free": 8000}.get(port := os.environ.get("CHAT_PORT", ""), port))

PROGRAMS = configure.PROGRAMS
# The servers of all three hosts, and of the two with our programs: name, stop signal, seconds until KILL.
SERVERS = (("etcd", "TERM", 5), ("patroni", "TERM", 10), ("rabbitmq", "TERM", 8), ("redis", "TERM", 5), ("sentinel", "TERM", 3),
           ("mend-partitions", "TERM", 1), ("leave-full-disk", "TERM", 1))
PROXIES = (("haproxy", "TERM", 3), ("pgpool", "INT", 5))
POOLS = {"ROOMS": 8501, "MESSAGES": 8502, "SEARCH": 8503, "UPLOADS": 8504, "ACCOUNT": 8505}
RELAY_PORT = 8510
# For `make cluster-chaos`: the data of these servers lies on small disks of their own, MiB, which it fills; and our
# programs and PostgreSQL have clocks that it sets. Only where CHAOS=1: a disk in memory is no measure of a real one.
DISKS = {"postgres": 1024, "rabbitmq": 900, "redis": 256, "etcd": 320}
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
S3_PORTS = {"S3": 8333, "WEED_MASTER": 8334, "WEED_VOLUME": 8335, "WEED_FILER": 8336, "WEED_MASTER_GRPC": 8337,
            "WEED_VOLUME_GRPC": 8338, "WEED_FILER_GRPC": 8339, "WEED_S3_GRPC": 8340}


class Cluster(Instance):
    def __init__(self):
        os.environ.setdefault("CHAT_DIR", ".run-cluster")
        super().__init__()
        tag = hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]
        self.hosts = {name: Host(name, tag, f"{NETWORK}.{number}", self.runtime / name)
                      for name, number in (("a", 11), ("b", 12), ("c", 13), ("edge", 10))}
        self.edge = self.hosts["edge"]
        self.three = [self.hosts[name] for name in "abc"]
        # The hosts of our programs and their proxies; host c completes the majority.
        self.two = self.three[:2]
        self.switch = Switch(tag, LINK)
        self.url = f"http://{LINK[1]}:{HTTP_PORT}"
        # With the small disks and the clocks.
        self.for_chaos = os.environ.get("CHAOS") == "1"

    def connect(self):
        self.switch.make()
        for host in self.hosts.values():
            host.connect(self.switch.space)
        self.switch.lead_to(self.edge)

    def settings_of(self, host):
        return host.folder / "chat.env"

    def environment(self):
        """Without the caller's variables, which could lead to other servers."""
        return {"PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": str(self.runtime),
                **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ}}

    def mount_disks(self):
        for host in self.three if self.for_chaos else ():
            for name, size in DISKS.items():
                (host.folder / name).mkdir(parents=True, exist_ok=True)
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,nosuid,nodev", "tmpfs", host.folder / name], check=True)

    def unmount_disks(self):
        for host in self.three:
            for name in DISKS:
                while os.path.ismount(host.folder / name):
                    subprocess.run(["umount", "-l", host.folder / name], check=True)

    def set_clock(self, host, seconds):
        """Of PostgreSQL and our programs on this host; they notice within a second."""
        (host.folder / "clock").write_text(f"{seconds:+d}s\n")

    def postgres_programs(self, host):
        """For Patroni: its folder of PostgreSQL's programs. Patroni itself, in Python, does not run with a clock that can be set."""
        real = postgres_programs()
        if not self.for_chaos:
            return real
        folder = host.folder / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for program in os.scandir(real):
            (folder / program.name).unlink(missing_ok=True)
            if program.name == "postgres":
                (folder / program.name).write_text(f"#!/bin/sh\nexec {clock(self, host)}{program.path} \"$@\"\n")
                (folder / program.name).chmod(0o755)
            else:
                (folder / program.name).symlink_to(program.path)
        return folder

    # -- files

    def write(self, with_programs=False):
        """All files of all hosts. `with_programs`: they start with their host."""
        secret = self.secrets()
        for host in self.hosts.values():
            values = self.values(host, secret)
            for name in ("log", "run", "redis", "rabbitmq", "etcd", "postgres", "pgpool", "nginx"):
                (host.folder / name).mkdir(parents=True, exist_ok=True)
            self.set_clock(host, 0)
            postgres = pwd.getpwnam("postgres")
            for name in ("postgres", "pgpool"):
                os.chown(host.folder / name, postgres.pw_uid, postgres.pw_gid)
                (host.folder / name).chmod(0o700)
            for template in templates_of(self, host):
                # Redis and Sentinel write their own state into theirs.
                if template in ("redis.conf", "sentinel.conf") and with_programs:
                    continue
                (host.folder / template).write_text(fill((HERE / "templates" / template).read_text(), values))
                # Those of PostgreSQL and Pgpool-II are read by another user; that of RabbitMQ has its password.
                (host.folder / template).chmod(0o600 if template == "rabbitmq.conf" else 0o644)
            self.write_secrets(host, secret)
            write_private(host.folder / "supervisord.conf", supervisord_conf(self, host, with_programs))

    def write_secrets(self, host, secret):
        home = host.folder / "rabbitmq"
        (home / "enabled_plugins").write_text("[rabbitmq_management].")
        write_private(home / ".erlang.cookie", hashlib.sha256(f"cookie {secret['JWT_SECRET']}".encode()).hexdigest())
        (home / ".erlang.cookie").chmod(0o400)
        if host in self.two:
            self.write_settings(host)

    def write_settings(self, host, settings=None):
        """`settings`: others than those of the whole set."""
        settings = settings or self.settings(host, self.secrets())
        write_private(self.settings_of(host), "".join(f"{name}={value}\n" for name, value in settings.items()))

    def values(self, host, secret):
        others = [other for other in self.three if other is not host]
        def servers(port, options="check"):
            return "\n".join(f"  server {each.name} {each.address}:{port} {options}" for each in own_first(self.three, host))
        return {
            "HOST": host.name, "ADDRESS": host.address, "FIRST_ADDRESS": self.three[0].address, "NETWORK": f"{NETWORK}.0/24",
            "FOLDER": host.folder, "CHECKOUT": self.runtime / "checkout", "POSTGRES_BIN": self.postgres_programs(host),
            "AMQP_PASSWORD": secret["AMQP_PASSWORD"],
            "OTHERS": " ".join(other.name for other in others),
            "ETCD_CLIENTS": ", ".join(f"{each.address}:2379" for each in [host, *others] if each in self.three),
            "PEERS": "\n".join(f"cluster_formation.classic_config.nodes.{number + 1} = rabbit@{each.address}"
                               for number, each in enumerate(self.three)),
            "REPLICA_OF": "" if host is self.three[0] else f"replicaof {self.three[0].address} 6379",
            "AMQP_SERVERS": servers(5673), "MANAGEMENT_SERVERS": servers(15673),
            "POSTGRES_SERVERS": servers(5432, "check port 8008"),
            "LISTEN": f"{LINK[1]}:{HTTP_PORT}", "FILES": open_files(), "CONNECTIONS": open_files() - 100,
        }

    def settings(self, host, secret):
        """The settings of our programs on `host`. libpq tries its own host's Pgpool-II first."""
        proxies = own_first(self.two, host)
        settings = {
            "RUN_DIR": host.folder / "run", "MIGRATIONS_DIR": self.runtime / "checkout/Migrations",
            "DOCS_DIR": self.runtime / "checkout/docs",
            "JWT_SECRET": secret["JWT_SECRET"],
            "DATABASE_URL": f"postgresql://chat@{','.join(f'{each.address}:9999' for each in proxies)}/chat",
            "REDIS_URL": f"redis+sentinel://{','.join(f'{each.address}:26379' for each in self.three)}/chat",
            # Only its own HAProxy: the programs try several brokers in any order, and host a must not depend on host b.
            "RABBITMQ_URL": f"amqp://chat:{secret['AMQP_PASSWORD']}@{host.address}:5672/",
            "RABBITMQ_TOTAL_QUEUE": 10,
            "S3_ENDPOINT": f"http://{self.edge.address}:{S3_PORTS['S3']}", "S3_ACCESS_KEY": "chat",
            "S3_SECRET_KEY": secret["S3_SECRET_KEY"], "S3_BUCKET_NAME": "chat",
            # Clients do not reach the store.
            "DOWNLOADS": "proxy",
            **{f"FCGI_{name}_LISTEN": f"{host.address}:{port}" for name, port in POOLS.items()},
            "WS_LISTEN": f"{host.address}:{RELAY_PORT}",
            "PUBLIC_URL": self.url, "LOG_LEVEL": "info",
        }
        return settings | {name: value for name, value in os.environ.items()
                           if name.startswith(PASSED_ON) and not name.endswith("_LISTEN") and "\n" not in value}

    def write_nginx(self, hosts=None):
        """The shipped files for several hosts."""
        folder = self.edge.folder / "nginx" / "chat"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder.parent / "tmp").mkdir(exist_ok=True)
        shutil.copy(self.edge.folder / "nginx.conf", folder.parent / "nginx.conf")
        subprocess.run([self.programs / "fcgi-api", "nginx-config", "-c", self.settings_of(self.two[0]), "--includes", CHECKOUT / "nginx/include",
                        "--hosts", ",".join(host.address for host in hosts or self.two), "--to", folder], check=True, stdout=subprocess.DEVNULL)
        (folder / "log.conf").write_text("access_log off;\n")


def own_first(hosts, host):
    """The address of its own host comes first: another host's failure does not affect it."""
    return sorted(hosts, key=lambda each: each is not host)


def templates_of(cluster, host):
    if host is cluster.edge:
        return ("nginx.conf",)
    return ("patroni.yml", "rabbitmq.conf", "advanced.config", "redis.conf", "sentinel.conf",
            *(("haproxy.cfg", "pgpool.conf") if host in cluster.two else ()))


def supervisord_conf(cluster, host, with_programs):
    head = fill((HERE / "templates" / "supervisord.conf").read_text(), {"FOLDER": host.folder})
    own = [*SERVERS, *(PROXIES if host in cluster.two else ())] if host is not cluster.edge else [
        ("seaweedfs", "TERM", 2), ("nginx", "TERM", 3)]
    sections = [section(name, command(cluster, host, name), stop, seconds, True)
                for name, stop, seconds in own]
    if host in cluster.two:
        sections += [section(name, clock(cluster, host) + f"setpriv --pdeathsig TERM {cluster.runtime}/bin/{name} serve -c {cluster.settings_of(host)}",
                             "TERM", 15, with_programs) for name in PROGRAMS]
    return head + "\n".join(sections)


def clock(cluster, host):
    """The words before a command whose clock can be set."""
    if not cluster.for_chaos:
        return ""
    # Only the time of day steps in reality.
    return (f"env LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={host.folder}/clock FAKETIME_CACHE_DURATION=1 "
            "FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 ")


def command(cluster, host, name):
    folder, run = host.folder, "setpriv --pdeathsig TERM"
    # The checkout's own path may have blanks.
    deploy = cluster.runtime / "checkout" / "deploy"
    servers = deploy / "cluster" / "servers"
    alone = servers / "alone"
    as_postgres = "setpriv --reuid=postgres --regid=postgres --init-groups --pdeathsig"
    peers = ",".join(f"{each.name}=http://{each.address}:2380" for each in cluster.three)
    environment = {"CLUSTER_FOLDER": folder, "CLUSTER_ADDRESS": host.address}
    store = {"CHAT_STACK": cluster.runtime, "CHAT_PYTHON": "/usr/bin/python3", "CHAT_WEED": cluster.runtime / "checkout/.venv/bin/weed",
             "CHAT_WEED_ADDRESS": host.address, **{f"CHAT_{part}_PORT": port for part, port in S3_PORTS.items()}}
    words = lambda values: "env " + " ".join(f"{key}={value}" for key, value in values.items())
    return {
        "etcd": f"{run} etcd --name {host.name} --data-dir {folder}/etcd/data --listen-client-urls http://{host.address}:2379 "
                f"--advertise-client-urls http://{host.address}:2379 --listen-peer-urls http://{host.address}:2380 "
                f"--initial-advertise-peer-urls http://{host.address}:2380 --initial-cluster {peers} --initial-cluster-token chat "
                "--heartbeat-interval 50 --election-timeout 500 --pre-vote --enable-v2 --logger zap --log-level warn "
                "--auto-compaction-retention 1h",
        # INT: Patroni then stops PostgreSQL too.
        "patroni": f"{as_postgres} INT env HOME={folder}/postgres patroni {folder}/patroni.yml",
        "rabbitmq": f"{words(environment)} {servers}/rabbitmq",
        "mend-partitions": f"{run} {servers}/mend-partitions {host.address} {folder} {list(cluster.hosts).index(host.name)}",
        "leave-full-disk": f"{as_postgres} TERM {servers}/leave-full-disk {folder}/postgres {postgres_programs()}",
        "redis": f"{run} redis-server {folder}/redis.conf",
        "sentinel": f"{run} redis-sentinel {folder}/sentinel.conf",
        "haproxy": f"{alone} KILL /usr/sbin/haproxy {run} haproxy -db -f {folder}/haproxy.cfg",
        "pgpool": f"{alone} KILL /usr/sbin/pgpool {as_postgres} INT pgpool -n -D -f {folder}/pgpool.conf -F {folder}/pgpool/pcp.conf -a {folder}/pgpool/pool_hba.conf",
        "seaweedfs": f"{words(store)} {deploy}/stack/servers/seaweedfs",
        # QUIT: the workers keep their WebSockets.
        "nginx": f"{alone} QUIT /usr/sbin/nginx {run} nginx -p {folder}/nginx -c nginx.conf -e stderr -g 'daemon off;'",
    }[name]

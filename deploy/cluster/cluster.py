"""`make cluster` and `make cluster-down`: starts three hosts with all their servers, and removes them again."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stack"))

import probe  # noqa: E402
import supervisor  # noqa: E402
from bucket import create_bucket  # noqa: E402
from instance import Refusal, carry_out, say  # noqa: E402
from keeper import check_disk, check_programs, last_lines  # noqa: E402
from layout import PROGRAMS, S3_PORTS, Cluster  # noqa: E402

START_SECONDS = 90


def wait_for(what, host, log, attempt):
    """Waits until `attempt` is true; its last error is the reason in the refusal."""
    end, reason = time.monotonic() + START_SECONDS, None
    while time.monotonic() < end:
        try:
            if attempt():
                return
        except (OSError, ValueError, KeyError, Refusal, subprocess.SubprocessError) as error:
            reason = error
        time.sleep(0.2)
    why = f" ({reason})" if reason else ""
    raise Refusal(f"{what} was not ready after {START_SECONDS} s{why}; its log on host {host.name} ends with:\n"
                  f"{last_lines(host.folder / 'log' / (log + '.log'))}")


def run(host, *words, **options):
    done = subprocess.run(host.inside(*words), capture_output=True, text=True, timeout=30, **options)
    if done.returncode:
        raise OSError(f"{os.path.basename(words[0])}: {done.stderr.strip()[-300:]}")
    return done.stdout


# -- questions to the servers

def rabbitmqctl(host, *words):
    home = host.folder / "rabbitmq"
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": str(home), "RABBITMQ_USE_LONGNAME": "true"}
    return run(host, "/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "--longnames", "-n", f"rabbit@{host.address}", *words, env=environment)


def patroni(cluster, path, method="GET", body=None):
    """Patroni's answer from the first host that gives one: it is the same on all hosts."""
    for host in cluster.three:
        words = ["curl", "-sS", "-m", "5", "-X", method, f"http://{host.address}:8008{path}"]
        words += ["-d", json.dumps(body)] if body is not None else []
        try:
            return json.loads(run(cluster.edge, *words))
        except (OSError, ValueError) as error:
            reason = error
    raise OSError(f"Patroni does not answer: {reason}")


def members(cluster):
    """Name → (role, state) of each PostgreSQL, as Patroni sees it."""
    return {member["name"]: (member["role"], member["state"]) for member in patroni(cluster, "/cluster")["members"]}


def database_is_complete(cluster):
    found = members(cluster)
    roles = [role for role, state in found.values() if state in ("running", "streaming")]
    return len(roles) == 3 and "leader" in roles


def broker_is_complete(cluster):
    return rabbitmqctl(cluster.three[0], "eval", "length(rabbit_nodes:all_running()).").strip() == "3"


def standbys_stream(cluster):
    return psql(cluster, cluster.two[0], "postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "2"


def psql(cluster, host, database, sql):
    """On the primary, through HAProxy on `host`."""
    return run(host, "psql", "-XqAt", "-h", "127.0.0.1", "-p", "5000", "-U", "postgres", "-d", database, "-c", sql).strip()


# -- up

@contextlib.contextmanager
def locked(cluster, interrupt=False):
    """Allows one command at a time. `interrupt`: ends a running start."""
    cluster.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    with open(cluster.lock_file, "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read()
            if interrupt and holder.isdigit():
                os.kill(int(holder), signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def up(cluster):
    with locked(cluster):
        if all(host.is_running() for host in cluster.hosts.values()):
            say(f"already running at {cluster.url} ('make cluster-down' stops it)")
            return 0
        check_programs(cluster)
        remove(cluster)
        cluster.make_folders()
        check_disk(cluster)
        began = time.monotonic()
        try:
            start(cluster)
        except BaseException:
            remove(cluster)
            raise
    print(f"\nThe cluster is running at {cluster.url} after {time.monotonic() - began:.0f} s: hosts a, b and c behind one nginx.\n"
          f"Logs are in {cluster.log}/HOST/; 'make cluster-chaos' lets hosts die; 'make cluster-down' stops everything.")
    return 0


def start(cluster):
    cluster.mount_disks()
    cluster.write()
    for host in cluster.hosts.values():
        link_log(cluster, host)
    cluster.write_nginx()
    cluster.connect()
    say("starting etcd, PostgreSQL, RabbitMQ, Redis, HAProxy and Pgpool-II on three hosts")
    for host in cluster.hosts.values():
        host.boot(cluster.environment())
    prepare_database(cluster)
    first, secret = cluster.two[0], cluster.secrets()["S3_SECRET_KEY"]
    # A queue gets a replica on each node that is running when the queue is declared.
    wait_for("RabbitMQ", first, "rabbitmq", lambda: broker_is_complete(cluster))
    say("starting fcgi-api, ws-relay and queue-worker on hosts a and b")
    for host in cluster.two:
        for name in PROGRAMS:
            supervisor.supervisor(host).startProcess(name, False)
    cluster.write(with_programs=True)
    make_bucket(cluster, secret)
    wait_for("fcgi-api", first, "fcgi-api", lambda: probe.is_ready(cluster.url))
    wait_for("queue-worker", first, "queue-worker", lambda: probe.send_message(Sender(cluster), cluster.url))


def prepare_database(cluster):
    first = cluster.two[0]
    wait_for("PostgreSQL", first, "patroni", lambda: database_is_complete(cluster))
    # Set only now: Patroni writes to the database before there is a standby, and would wait for one.
    patroni(cluster, "/config", "PATCH", {"postgresql": {"parameters": {"synchronous_standby_names": "ANY 1 (a,b,c)"}}})
    wait_for("PostgreSQL", first, "haproxy", lambda: standbys_stream(cluster))
    psql(cluster, first, "postgres", "CREATE ROLE chat LOGIN")
    psql(cluster, first, "postgres", "CREATE DATABASE chat OWNER chat")
    wait_for("Pgpool-II", first, "pgpool", lambda: run(
        first, "psql", "-XqAt", "-h", first.address, "-p", "9999", "-U", "chat", "-d", "chat", "-c", "/* primary */ SELECT 1"))
    wait_for("synchronous replication", first, "patroni", lambda: "ANY 1" in psql(
        cluster, first, "postgres", "SHOW synchronous_standby_names"))
    run(first, cluster.programs / "fcgi-api", "migrate", "up", "-c", cluster.settings_of(first), env=cluster.environment())


def make_bucket(cluster, secret):
    """Runs at the edge: only it reaches the store."""
    words = [sys.executable, "-c", "import sys; from bucket import create_bucket; "
             "sys.exit(not create_bucket(sys.argv[1], 'chat', 'chat', sys.stdin.read()))", f"{cluster.edge.address}:{S3_PORTS['S3']}"]
    wait_for("SeaweedFS", cluster.edge, "seaweedfs", lambda: run(
        cluster.edge, *words, input=secret, env={"PYTHONPATH": os.path.dirname(os.path.abspath(supervisor.__file__))}) is not None)


class Sender:
    """The part of an instance that probe.py needs."""

    def __init__(self, cluster):
        self.runtime, self.env_file = cluster.runtime, cluster.settings_of(cluster.two[0])


def link_log(cluster, host):
    """.run-cluster/log/a → the log folder of host a."""
    place = cluster.log / host.name
    if place.is_symlink() or place.exists():
        place.unlink()
    place.symlink_to(host.folder / "log")


# -- down

def down(cluster):
    there = [host for host in cluster.hosts.values() if host.is_there()]
    with locked(cluster, interrupt=True):
        remove(cluster)
    say("stopped" if there else "nothing was running")
    return 0


def remove(cluster):
    """Removes all data: a cluster begins empty. The logs stay until the next start."""
    for host in cluster.hosts.values():
        host.remove()
    cluster.switch.remove()
    cluster.unmount_disks()
    for host in cluster.hosts.values():
        for name in ("etcd", "postgres", "rabbitmq", "redis", "pgpool", "run"):
            shutil.rmtree(host.folder / name, ignore_errors=True)
    shutil.rmtree(cluster.folder / "seaweedfs", ignore_errors=True)


# -- status

def status(cluster):
    """The servers of each host, and PostgreSQL's roles."""
    if not all(host.is_there() for host in cluster.hosts.values()):
        raise Refusal("nothing runs here: 'make cluster' starts it.")
    roles = members(cluster)
    for host in cluster.hosts.values():
        states = {found["name"]: found["statename"] for found in supervisor.processes(host)}
        role = "postgresql {} ({}), ".format(*roles[host.name]) if host.name in roles else ""
        print(f"{host.name} {host.address}: {role}{', '.join(f'{name} {state.lower()}' for name, state in sorted(states.items()))}")
    return 0


def cluster():
    if os.getuid() != 0:
        raise Refusal("network namespaces need root: run it as root.")
    return Cluster()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(carry_out({"up": up, "down": down, "status": status}, cluster))

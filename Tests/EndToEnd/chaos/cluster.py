"""`make cluster-chaos`: one fault after the other on the hosts and servers of `make cluster`, while people write."""

import asyncio
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(CHECKOUT / "deploy" / "cluster"), str(CHECKOUT / "deploy" / "stack")]

import cluster as cluster_module  # noqa: E402
import supervisor  # noqa: E402
from layout import Cluster, DISKS, PROGRAMS  # noqa: E402

from .faults import Fault  # noqa: E402
from .people import Person, Uploader  # noqa: E402
from .report import AFTER, longest_pause_since, picture, table  # noqa: E402
from .scenario import PEOPLE, Run  # noqa: E402

# For how long a fault lasts, and what the servers may need to be complete again: RabbitMQ starts in 20 s on a busy machine.
FAULT_SECONDS = 20
CLOCK_STEP = 300
# For how long a client that was told to move may stay.
DRAIN_SECONDS = 30
WHOLE_SECONDS = 120


@dataclass
class ClusterFault(Fault):
    """`host`: the host whose sockets may close, or None; `where`: what was hit, for the log."""
    host: object = None
    where: str = ""


class Traveller(Person):
    """Notices a host that vanished by its own pings and time limits, as any client over the internet must."""
    ping_seconds, open_seconds, rest_seconds = 2, 5, 10


class Questions:
    """Asked from inside the network; the answers say where the interesting server runs just now."""

    def __init__(self, cluster):
        self.cluster = cluster

    def host(self, name):
        return self.cluster.hosts[name]

    def by_address(self, address):
        return next(host for host in self.cluster.three if host.address == address)

    def postgres_primary(self):
        return next(self.host(name) for name, (role, _) in cluster_module.members(self.cluster).items() if role == "leader")

    def redis_primary(self):
        for host in self.cluster.three:
            try:
                answer = cluster_module.run(self.cluster.edge, "timeout", "2", "redis-cli", "-h", host.address, "-p", "26379",
                                            "sentinel", "get-master-addr-by-name", "chat")
                return self.by_address(answer.split()[0])
            except (OSError, IndexError, StopIteration):
                continue
        raise OSError("no Sentinel answers")

    def etcd_leader(self):
        for host in self.cluster.three:
            words = ["env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={host.address}:2379", "endpoint", "status", "-w", "json"]
            status = json.loads(cluster_module.run(self.cluster.edge, *words))[0]["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return host
        raise OSError("etcd has no leader")

    def management(self, path):
        user = f"chat:{self.cluster.secrets()['AMQP_PASSWORD']}"
        answer = cluster_module.run(self.cluster.edge, "curl", "-sf", "-m", "5", "-u", user,
                                    f"http://{self.cluster.two[0].address}:15672/api/{path}")
        return json.loads(answer)

    def queue_leader(self):
        """The node that leads most queues."""
        leaders = [queue["leader"] for queue in self.management("queues") if queue.get("leader")]
        return self.by_address(max(sorted(set(leaders)), key=leaders.count).split("@")[1])

    def missing(self):
        """The first thing that is not as it was: every server runs, every standby follows, every queue has its three replicas."""
        for host in self.cluster.hosts.values():
            for process in supervisor.processes(host) or [{"name": "supervisord", "statename": "NOT THERE"}]:
                if process["statename"] != "RUNNING":
                    return f"{process['name']} of {host.name} is {process['statename'].lower()}"
        if not cluster_module.database_is_complete(self.cluster) or not cluster_module.standbys_stream(self.cluster):
            return f"PostgreSQL is {cluster_module.members(self.cluster)}"
        for node in self.management("nodes"):
            if not node["running"] or node.get("partitions"):
                return f"{node['name']} does not run, or not with all others: {node.get('partitions')}"
            if node["mem_alarm"] or node["disk_free_alarm"]:
                return f"{node['name']} has an alarm"
        for queue in self.management("queues"):
            if queue.get("type") == "quorum" and len(queue["online"]) < 3:
                return f"{queue['name']} is on {queue['online']} alone"
        return None


@dataclass
class ClusterFaults:
    """Each fault once in a random order, then all again; one at a time, and the next when everything is whole."""
    cluster: object
    seed: int
    only: tuple = ()
    pause: callable = None  # the longest time without an acknowledgement around a fault, and its begin
    slowest: callable = None  # the longest time from a send to its acknowledgement
    done: list = field(default_factory=list)
    broken: list = field(default_factory=list)  # faults after which a server did not come back

    def __post_init__(self):
        self.ask = Questions(self.cluster)
        self.is_busy = False
        self.servers = {"postgresql primary": ("postgres", self.ask.postgres_primary), "redis primary": ("redis", self.ask.redis_primary),
                        "rabbitmq leader": ("rabbitmq", self.ask.queue_leader), "etcd leader": ("etcd", self.ask.etcd_leader)}
        self.has_disks = all(os.path.ismount(host.folder / name) for host in self.cluster.three for name in DISKS)

    def catalogue(self):
        hosts = [(f"host {host.name}", kind) for host in self.cluster.three for kind in ("killed", "frozen", "cut off")]
        servers = [(name, kind) for name in self.servers for kind in ("killed", "frozen")]
        proxies = [(f"{name} of {host.name}", "killed") for host in self.cluster.two for name in ("haproxy", "pgpool")]
        ours = [(f"programs of {host.name}", kind) for host in self.cluster.two
                for kind in ("killed", "restarted", "replaced", "drained", "drained and restarted")]
        pairs = [(f"line {one}-{other}", "cut") for one, other in ("ab", "ac", "bc")]
        own = [(f"disk of {name}", "full") for name in self.servers]
        own += [(f"clock of {name}", kind) for name in ("postgresql primary", *(f"programs of {host.name}" for host in self.cluster.two))
                for kind in ("stepped forward", "stepped back")]
        all_of = hosts + servers + proxies + ours + pairs + (own if self.has_disks else []) + [("postgresql", "promoted"), ("rabbitmq", "out of memory")]
        return [what for what in all_of if not self.only or any(word in " ".join(what) for word in self.only)]

    async def run(self, is_over):
        chance, left = random.Random(self.seed), []
        while not is_over():
            left = left or chance.sample(self.catalogue(), len(self.catalogue()))
            target, kind = left.pop()
            self.is_busy = True
            fault = ClusterFault(target, kind, began=time.monotonic())
            await asyncio.to_thread(self.carry_out, fault)
            fault.ended = time.monotonic()
            self.done.append(fault)
            await asyncio.sleep(AFTER)
            lasted, whole = fault.ended - fault.began, await asyncio.to_thread(self.wait_until_whole)
            # The repair counts for it, such as nodes of RabbitMQ that restart after a partition.
            fault.ended += whole - AFTER
            self.is_busy = False
            (pause, since), (slowest, send) = self.pause(fault), self.slowest(fault)
            print(f"{time.strftime('%H:%M:%S')} {fault.name}{fault.where}: {lasted:.0f} s, {pause:.1f} s without an acknowledgement "
                  f"from {since:.1f} s on, slowest {slowest:.1f} s ({send and send.route}, {send and send.attempts} tries), whole again {whole:.0f} s after it", file=sys.stderr, flush=True)

    def wait_until_whole(self):
        began = time.monotonic()
        while time.monotonic() < began + WHOLE_SECONDS:
            try:
                missing = self.ask.missing()
            except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
                missing = repr(error)
            if not missing:
                return AFTER + time.monotonic() - began
            time.sleep(1)
        print(f"still not whole: {missing}", file=sys.stderr, flush=True)
        self.broken.append(f"{self.done[-1].name}: {missing}")
        return AFTER + WHOLE_SECONDS

    # -- the faults

    def carry_out(self, fault):
        kind, (first, *_) = fault.kind, fault.target.split()
        if first == "host":
            fault.host = self.ask.host(fault.target[-1])
            {"killed": self.power_off, "frozen": self.freeze, "cut off": self.cut}[kind](fault.host)
        elif first == "line":
            self.cut_line(*[self.ask.host(name) for name in fault.target[-3::2]])
        elif first == "disk":
            self.fill_disk(fault)
        elif first == "clock":
            self.step_clock(fault)
        elif kind == "promoted":
            self.promote()
        elif kind == "out of memory":
            self.fill_memory()
        elif " of " in fault.target:
            fault.host = self.ask.host(fault.target[-1])
            names = PROGRAMS if first == "programs" else (first,)
            if kind == "restarted":
                self.restart(fault.host)
            elif kind == "replaced":
                self.replace_programs(fault.host)
            elif kind.startswith("drained"):
                self.drain(fault.host, and_restart=kind != "drained")
            else:
                fault.host.signal(signal.SIGKILL, *names)
        else:
            self.strike(fault)

    def strike(self, fault):
        """A server on the host where it matters most."""
        name, where = self.servers[fault.target]
        host = where()
        fault.where = f" ({host.name})"
        host.signal(signal.SIGKILL, name) if fault.kind == "killed" else self.freeze(host, name)

    def power_off(self, host):
        host.kill()
        time.sleep(FAULT_SECONDS)
        host.boot(self.cluster.environment())

    def freeze(self, host, *names):
        host.signal(signal.SIGSTOP, *names)
        time.sleep(FAULT_SECONDS)
        host.signal(signal.SIGCONT, *names)

    def cut(self, host):
        host.cut(self.cluster.switch.space)
        time.sleep(FAULT_SECONDS)
        host.heal(self.cluster.switch.space)

    def cut_line(self, one, other):
        one.lose(other)
        time.sleep(FAULT_SECONDS)
        one.find(other)

    def promote(self):
        old = self.ask.postgres_primary()
        new = next(host for host in self.cluster.three if host is not old)
        body = json.dumps({"leader": old.name, "candidate": new.name})
        cluster_module.run(self.cluster.edge, "curl", "-sS", "-m", "30", "-X", "POST", "-d", body, f"http://{old.address}:8008/switchover")

    def fill_memory(self):
        """The alarm of one node stops all senders of the cluster."""
        host = self.ask.queue_leader()
        cluster_module.rabbitmqctl(host, "set_vm_memory_high_watermark", "absolute", "1MB")
        time.sleep(FAULT_SECONDS / 2)
        with contextlib.suppress(OSError):  # mend-partitions restarts it, which also brings its own limit back
            cluster_module.rabbitmqctl(host, "set_vm_memory_high_watermark", "absolute", "512MB")

    def fill_disk(self, fault):
        """Everything that is left of the disk of the server that matters most; freed again."""
        name, where = self.servers[fault.target.removeprefix("disk of ")]
        host = where()
        fault.where = f" ({host.name})"
        ballast = host.folder / name / "ballast"
        with open(ballast, "wb") as file:
            for step in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):  # it is full
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
        time.sleep(FAULT_SECONDS)
        ballast.unlink()

    def step_clock(self, fault):
        of, seconds = fault.target.removeprefix("clock of "), CLOCK_STEP if fault.kind == "stepped forward" else -CLOCK_STEP
        host = self.servers[of][1]() if of in self.servers else self.ask.host(of[-1])
        fault.where = f" ({host.name})"
        self.cluster.set_clock(host, seconds)
        time.sleep(FAULT_SECONDS)
        self.cluster.set_clock(host, 0)

    def replace_programs(self, host):
        """As an upgrade without a restart: each master executes its file anew, and its workers follow."""
        masters = {process["name"]: process["pid"] for process in supervisor.processes(host)}
        for name in PROGRAMS:
            os.kill(masters[name], signal.SIGUSR2)

    def drain(self, host, and_restart):
        """Its sockets go to the other host; then it takes new ones again, or its programs start anew."""
        def ask(*words):
            command = [self.cluster.programs / "ws-relay", "drain", *words, "-c", self.cluster.settings_of(host)]
            subprocess.run(host.inside(*command), env=self.cluster.environment(), stdout=subprocess.DEVNULL, timeout=90, check=True)
        # As slow as many sockets would make it: people write meanwhile.
        ask("--rate", "1", "--within", str(DRAIN_SECONDS), "--wait")
        self.restart(host) if and_restart else ask("--stop")

    def restart(self, host):
        """As for an upgrade: each program ends in order, and starts again."""
        for name in PROGRAMS:
            supervisor.supervisor(host).stopProcess(name)
        for name in PROGRAMS:
            supervisor.supervisor(host).startProcess(name, False)


class ClusterRun(Run):
    def __init__(self, cluster, seed, seconds, only=()):
        secret = cluster.secrets()["JWT_SECRET"]
        super().__init__(cluster.url, secret, None, seed, seconds, FAULT_SECONDS)
        self.people = [Traveller(cluster.url, secret, self.ledger, random.Random(f"{seed} {number}")) for number in range(PEOPLE)]
        # The others are clients that know nothing of `move`: a drain closes their sockets.
        for person in self.people[::2]:
            person.moves = True
        self.uploader = Uploader(cluster.url, secret, self.ledger)
        self.uploader.reads_files = True
        self.end = math.inf
        self.faults = ClusterFaults(cluster, seed, only, self.pause, self.slowest)

    def is_over(self):
        """Nobody stops writing during a fault: its pause would be ours."""
        return super().is_over() and not self.faults.is_busy

    def verdict(self, rooms):
        return super().verdict(rooms) | {"servers that did not come back": self.faults.broken,
                                         "disconnected by a drain although they move": self.disconnected_by_drains()}

    def pause(self, fault):
        """(seconds, begin after the fault's)"""
        times = sorted(send.acknowledged for send in self.ledger.sends.values() if send.acknowledged is not None)
        return longest_pause_since([self.start, *times], fault.began, fault.ended + AFTER)

    def slowest(self, fault):
        """(seconds, the send) that began during the fault or soon after it, on any host, and was tried again until then: not of a
        client that gave up, which asks at the end."""
        return max(((send.acknowledged - send.started, send) for send in self.ledger.sends.values()
                    if send.acknowledged is not None and send.acknowledged <= self.end
                    and fault.began - 1 <= send.started <= fault.ended + AFTER), default=(0, None), key=lambda pair: pair[0])

    def disconnected_by_drains(self):
        return [f"{user[:8]} on {host}" for fault in self.faults.done if fault.kind.startswith("drained")
                for when, user, host in self.ledger.closed_movers if fault.began <= when <= fault.ended]

    def closed_elsewhere(self, fault):
        """Sockets that ended on hosts that the fault did not hit."""
        own = fault.host.address if fault.host else None
        # nginx names all hosts that it tried; the last one answered.
        hosts = [(when, (hosts or "").split(", ")[-1].split(":")[0]) for when, hosts in self.ledger.closed]
        return sum(fault.began <= when <= fault.ended + AFTER and host != own for when, host in hosts)


def main():
    seed, minutes = int(os.environ.get("SEED") or 1), float(os.environ.get("MINUTES") or 5)
    only = tuple(word for word in (os.environ.get("FAULTS") or "").split(",") if word)
    cluster = Cluster()
    run = ClusterRun(cluster, seed, minutes * 60, only)
    if not run.faults.catalogue():
        all_of = ", ".join(" ".join(what) for what in replace(run.faults, only=()).catalogue())
        sys.exit(f"chat: FAULTS={','.join(only)}: no fault has one of these words in its name. They are: {all_of}.")
    found = asyncio.run(run.play())
    for fault in run.faults.done:
        # After the end nobody writes.
        fault.ended = min(fault.ended, run.end - AFTER)
    text = f"SEED={seed} MINUTES={minutes:g}: " + table(
        run.ledger, found, run.faults.done, run.start, run.end, [
            ("slowest acknowledgement, s", lambda same: f"{max(run.slowest(fault)[0] for fault in same):.1f}"),
            ("sockets closed on other hosts", lambda same: str(sum(map(run.closed_elsewhere, same))))])
    (cluster.folder / "chaos.md").write_text(text + "\n")
    (cluster.folder / "chaos.svg").write_text(picture(run.ledger, run.faults.done, run.start, run.end))
    print(text)
    for name, what in found.items():
        for line in what[:10]:
            print(f"{name}: {line}", file=sys.stderr)
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

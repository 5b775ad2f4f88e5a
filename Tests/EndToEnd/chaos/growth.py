"""From one host to three without a stop: `make cluster` is made as small as one host, then it takes each step of docs/capacity.md while
people write and keep their ledger."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client

from .cluster import AFTER, Cluster, ClusterFault, ClusterFaults, ClusterRun, cluster_module, supervisor, table

STEP_SECONDS = 120
WATCHERS = ("mend-partitions", "leave-full-disk")


class Growth(ClusterFaults):
    """The steps in their order, in place of faults."""

    def __post_init__(self):
        super().__post_init__()
        # Until the last step is done nobody stops writing.
        self.is_busy = True
        self.alone, *self.others = self.cluster.three

    async def run(self, is_over):
        for name, step in self.steps():
            fault = ClusterFault(name, "", began=time.monotonic())
            await asyncio.to_thread(step)
            fault.ended = time.monotonic()
            self.done.append(fault)
            await asyncio.sleep(AFTER)
            print(f"{time.strftime('%H:%M:%S')} {name}: {fault.ended - fault.began:.0f} s, {self.pause(fault)[0]:.1f} s without an "
                  "acknowledgement", file=sys.stderr, flush=True)
        for host in self.cluster.three:
            self.start(host, *WATCHERS)
        await asyncio.to_thread(self.wait_until_whole)
        self.is_busy = False

    def steps(self):
        return [
            ("RabbitMQ: two nodes join", self.join_brokers),
            ("RabbitMQ: each queue gets two more replicas", self.grow_queues),
            ("Redis: two replicas and three Sentinels", self.add_replicas),
            ("PostgreSQL: two standbys", self.add_standbys),
            ("PostgreSQL: a commit waits for one standby", lambda: self.set_synchronous("ANY 1 (a,b,c)")),
            ("programs of a: reload with the addresses of the set", lambda: self.reload_programs(None)),
            ("programs of b start", lambda: self.start(self.cluster.two[1], *cluster_module.PROGRAMS)),
            ("nginx: both hosts", lambda: self.lead_to(self.cluster.two)),
            ("programs of a drained and restarted", lambda: self.drain(self.alone, and_restart=True)),
        ]

    # -- one host

    def shrink(self):
        """Leaves one server of each kind, and the programs of one host with the addresses of these."""
        for host in self.cluster.three:
            self.stop(host, *WATCHERS)
        self.stop(self.cluster.two[1], *cluster_module.PROGRAMS)
        self.lead_to([self.alone])
        self.make_primary()
        self.reload_programs(self.settings_of_one())
        self.set_synchronous("")
        for host in self.others:
            self.stop(host, "patroni")
            shutil.rmtree(host.folder / "postgres" / "data")
        for host in self.cluster.three:
            self.stop(host, "sentinel")
        for host in self.others:
            self.stop(host, "redis")
        self.redis(self.alone, "config", "set", "min-replicas-to-write", "0")
        self.handle_partitions("ignore")
        for host in self.others:
            self.queues("shrink", f"rabbit@{host.address}")
            self.stop(host, "rabbitmq")
            shutil.rmtree(host.folder / "rabbitmq" / "mnesia")
            cluster_module.rabbitmqctl(self.alone, "forget_cluster_node", f"rabbit@{host.address}")

    def make_primary(self):
        """The host that stays has both primaries; on a busy machine another one may have them since the start."""
        if (primary := self.ask.postgres_primary()) is not self.alone:
            body = json.dumps({"leader": primary.name, "candidate": self.alone.name})
            cluster_module.run(self.cluster.edge, "curl", "-sS", "-m", "30", "-X", "POST", "-d", body, f"http://{primary.address}:8008/switchover")
            self.until(lambda: self.ask.postgres_primary() is self.alone, "PostgreSQL")
        self.redis(self.alone, "config", "set", "replica-priority", "1")

        def is_primary():
            if self.ask.redis_primary() is self.alone:
                return True
            self.redis(self.alone, "-p", "26379", "sentinel", "failover", "chat")
            time.sleep(4)
            return False
        self.until(is_primary, "Redis")

    def settings_of_one(self):
        secrets, address = self.cluster.secrets(), self.alone.address
        return self.cluster.settings(self.alone, secrets) | {
            "DATABASE_URL": f"postgresql://chat@{address}:5432/chat", "REDIS_URL": f"redis://{address}:6379",
            "RABBITMQ_URL": f"amqp://chat:{secrets['AMQP_PASSWORD']}@{address}:5673/"}

    # -- steps

    def join_brokers(self):
        """They find the first one by their settings (peer discovery)."""
        for host in self.others:
            self.start(host, "rabbitmq")
        self.until(lambda: cluster_module.broker_is_complete(self.cluster), "RabbitMQ")
        self.handle_partitions("pause_minority")

    def handle_partitions(self, how):
        """Of the node that was alone: one of two is a minority."""
        cluster_module.rabbitmqctl(self.alone, "eval", f"application:set_env(rabbit, cluster_partition_handling, {how}).")

    def grow_queues(self):
        for host in self.others:
            self.queues("grow", f"rabbit@{host.address}", "all")
        self.until(lambda: all(len(queue["online"]) == 3 for queue in self.ask.management("queues") if queue.get("type") == "quorum"), "queues")

    def add_replicas(self):
        for host in self.others:
            self.start(host, "redis")
            self.until(lambda host=host: self.redis(host, "replicaof", self.alone.address, "6379"), "Redis")
        self.until(lambda: "connected_slaves:2" in self.redis(self.alone, "info", "replication"), "replicas")
        self.redis(self.alone, "config", "set", "min-replicas-to-write", "1")
        for host in self.cluster.three:
            self.start(host, "sentinel")
        self.until(lambda: self.ask.redis_primary() is self.alone, "Sentinel")

    def add_standbys(self):
        for host in self.others:
            self.start(host, "patroni")
        self.until(lambda: cluster_module.database_is_complete(self.cluster) and cluster_module.standbys_stream(self.cluster), "PostgreSQL")

    def set_synchronous(self, names):
        body = {"postgresql": {"parameters": {"synchronous_standby_names": names or None}}}
        cluster_module.patroni(self.cluster, "/config", "PATCH", body)
        self.until(lambda: cluster_module.psql(self.cluster, self.alone, "postgres", "SHOW synchronous_standby_names") == names, "PostgreSQL")

    def reload_programs(self, settings):
        """`settings`: None for those of the whole set."""
        self.cluster.write_settings(self.alone, settings)
        masters = {process["name"]: process["pid"] for process in supervisor.processes(self.alone)}
        for name in cluster_module.PROGRAMS:
            os.kill(masters[name], signal.SIGHUP)
        time.sleep(8)

    def lead_to(self, hosts):
        self.cluster.write_nginx(hosts)
        nginx = next(process["pid"] for process in supervisor.processes(self.cluster.edge) if process["name"] == "nginx")
        os.kill(nginx, signal.SIGHUP)

    # -- servers

    def start(self, host, *names):
        for name in names:
            with contextlib.suppress(xmlrpc.client.Fault):  # it runs
                supervisor.supervisor(host).startProcess(name, False)

    def stop(self, host, *names):
        for name in names:
            with contextlib.suppress(xmlrpc.client.Fault):  # it does not run
                supervisor.supervisor(host).stopProcess(name)

    def redis(self, host, *words):
        return cluster_module.run(self.cluster.edge, "timeout", "5", "redis-cli", "-h", host.address, *words)

    def queues(self, *words):
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": str(self.alone.folder / "rabbitmq"),
                       "RABBITMQ_USE_LONGNAME": "true"}
        return cluster_module.run(self.alone, "/usr/lib/rabbitmq/bin/rabbitmq-queues", "-q", "--longnames", "-n",
                                  f"rabbit@{self.alone.address}", *words, env=environment)

    def until(self, holds, what):
        end = time.monotonic() + STEP_SECONDS
        while time.monotonic() < end:
            try:
                if holds():
                    return
            except (OSError, KeyError, ValueError, subprocess.SubprocessError):
                pass
            time.sleep(0.5)
        raise AssertionError(f"{what} is not complete after {STEP_SECONDS} s")


def main():
    cluster = Cluster()
    run = ClusterRun(cluster, 1, 0)
    run.faults = Growth(cluster, 1, (), run.pause, run.slowest)
    run.faults.shrink()
    found = asyncio.run(run.play())
    text = table(run.ledger, found, run.faults.done, run.start, run.end,
                 [("slowest acknowledgement, s", lambda same: f"{max(run.slowest(fault)[0] for fault in same):.1f}")])
    (cluster.folder / "growth.md").write_text(text + "\n")
    print(text, json.dumps({name: what[:10] for name, what in found.items() if what}))
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

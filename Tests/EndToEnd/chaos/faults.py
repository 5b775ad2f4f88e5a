"""The faults of servers and programs, their times, and their repair. The same seed gives the same faults."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass, field

SERVERS = ("postgres", "redis", "rabbitmq", "seaweedfs", "nginx")
PROGRAMS = ("fcgi-api", "ws-relay", "queue-worker")
STOP = {"postgres": signal.SIGINT}


@dataclass
class Fault:
    target: str
    kind: str
    began: float = 0
    ended: float = 0
    processes: int = 0

    @property
    def name(self):
        return f"{self.target} {self.kind}"


@dataclass
class Faults:
    """Draws faults and runs them. `ask` returns (name, master or worker, PID) of each process."""
    ask: callable
    seed: int
    freeze_seconds: float
    network: object = None  # where links can be cut
    resize: callable = None  # makes another number of queues
    done: list = field(default_factory=list)

    def catalogue(self):
        server = [(name, kind) for name in SERVERS for kind in ("killed", "stopped", "frozen")]
        program = [(name, kind) for name in PROGRAMS
                   for kind in ("master killed", "worker killed", "stopped", "reloaded", "replaced", "worker frozen")]
        queues = [("queues", "resized")] if self.resize else []
        return server + program + queues + [(name, "cut off") for name in (self.network.links if self.network else ())]

    async def run(self, is_over):
        """Every fault once in a random order, then all again; about every third comes with a second one."""
        chance, left = random.Random(self.seed), []
        while not is_over():
            left = left or chance.sample(self.catalogue(), len(self.catalogue()))
            together = [left.pop()]
            if left and left[-1][0] != together[0][0] and chance.random() < 0.35:
                together.append(left.pop())
            await asyncio.gather(*[self.carry_out(Fault(*what), chance.random()) for what in together])
            await asyncio.sleep(chance.uniform(1, 4))

    async def carry_out(self, fault, pick):
        rows = await asyncio.to_thread(self.ask)
        mine = sorted((kind, pid) for name, kind, pid in rows if name == fault.target)
        masters = [pid for kind, pid in mine if kind == "master"]
        workers = [pid for kind, pid in mine if kind == "worker"]
        one = [workers[int(pick * len(workers))]] if workers else []
        fault.began = time.monotonic()
        self.done.append(fault)
        if fault.kind == "resized":
            await asyncio.to_thread(self.resize, 2 + int(pick * 14))
        elif fault.kind == "cut off":
            await self.network.cut(fault.target, self.freeze_seconds)
        elif fault.kind.endswith("frozen"):
            pids = one if fault.kind == "worker frozen" else masters + workers
            fault.processes = send(pids, signal.SIGSTOP)
            await asyncio.sleep(self.freeze_seconds)
            send(pids, signal.SIGCONT)
        else:
            number = {"killed": signal.SIGKILL, "master killed": signal.SIGKILL, "worker killed": signal.SIGKILL,
                      "stopped": STOP.get(fault.target, signal.SIGTERM), "reloaded": signal.SIGHUP,
                      "replaced": signal.SIGUSR2}[fault.kind]
            pids = {"killed": masters + workers, "worker killed": one}.get(fault.kind, masters)
            fault.processes = send(pids, number)
        fault.ended = time.monotonic()


def send(pids, number):
    """The number of processes that were still there."""
    reached = 0
    for pid in pids:
        try:
            os.kill(pid, number)
            reached += 1
        except ProcessLookupError:
            pass
    return reached

"""Finds the processes of this stack in the kernel, not by a PID file, which may be stale.

A process belongs to the stack if it was started with CHAT_STACK=<our runtime folder>. nginx, PostgreSQL and Redis overwrite their
environment with a title; they belong to the stack if they run such a program in a folder of ours.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass

import supervisor
from instance import Instance

OVERWRITE_ENVIRONMENT = {"nginx": "nginx", "postgres": "postgres", "redis-server": "redis", "redis-check-rdb": "redis"}
NAMES = {**OVERWRITE_ENVIRONMENT, "beam.smp": "rabbitmq", "epmd": "rabbitmq", "erl_child_setup": "rabbitmq",
         "inet_gethost": "rabbitmq", "weed": "seaweedfs",
         "fcgi-api": "fcgi-api", "ws-relay": "ws-relay", "queue-worker": "queue-worker"}
SUPERVISED = ("postgres", "redis", "rabbitmq", "nginx", "seaweedfs", "fcgi-api", "ws-relay", "queue-worker")


@dataclass
class Process:
    pid: int
    parent: int
    name: str
    program: str
    command: str

    @property
    def is_keeper(self):
        return "keeper.py" in self.command

    @property
    def is_supervisord(self):
        return "supervisord" in self.command


def ours(instance):
    marker = f"CHAT_STACK={instance.runtime}".encode()
    homes = {str(instance.runtime), str(instance.folder), os.path.realpath(instance.folder / "postgres")}
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            process = read(int(entry))
            if process and is_ours(process, marker, homes):
                found[process.pid] = process
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def read(pid):
    # The command is in parentheses and may contain any character: the fields start after the last parenthesis.
    before, _, after = open(f"/proc/{pid}/stat").read().rpartition(")")
    fields, name = after.split(), before.partition("(")[2]
    if fields[0] in "ZX":
        return None
    program = os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
    command = open(f"/proc/{pid}/cmdline", errors="replace").read().replace("\0", " ").strip()
    return Process(pid, int(fields[1]), name, program, command)


def is_ours(process, marker, homes):
    if process.program in OVERWRITE_ENVIRONMENT:
        folder = os.readlink(f"/proc/{process.pid}/cwd").removesuffix(" (deleted)")
        if any(folder == home or folder.startswith(home + "/") for home in homes):
            return True
    return marker in open(f"/proc/{process.pid}/environ", "rb").read().split(b"\0")


def masters(instance):
    """Name to PID of the running processes of supervisord."""
    return {found["name"]: found["pid"] for found in supervisor.processes(instance) if found["pid"]}


def rows(instance):
    """(name, master or worker, pid): a worker descends from a master, or has outlived a killed one."""
    processes, by_name = ours(instance), masters(instance)
    name_of = {pid: name for name, pid in by_name.items()}
    for pid, process in processes.items():
        if pid in name_of:
            yield name_of[pid], "master", pid
            continue
        # The descriptor holder of a relay worker: it only keeps the worker's descriptors open in case the worker is
        # killed.
        if process.name == "keeper":
            continue
        ancestor = process
        while ancestor and ancestor.pid not in name_of:
            ancestor = processes.get(ancestor.parent)
        name = name_of[ancestor.pid] if ancestor else NAMES.get(process.program)
        if name:
            yield name, "worker", pid


def sweep(instance, grace=10):
    """Ends all remaining processes of an earlier run. Supervisors first: they would otherwise stop the new stack."""
    left = ours(instance)
    if not left:
        return 0
    count = len(left)
    send([process for process in left.values() if process.is_keeper], signal.SIGKILL)
    supervisors = [process for process in left.values() if process.is_supervisord]
    send(supervisors, signal.SIGTERM)
    if supervisors:
        wait_until_gone(instance, 30, lambda process: process.is_supervisord)
    left = ours(instance)
    send([process for process in left.values() if process.program != "postgres"], signal.SIGTERM)
    send([process for process in left.values() if process.program == "postgres"], signal.SIGINT)
    wait_until_gone(instance, grace if left else 0)
    send(ours(instance).values(), signal.SIGKILL)
    wait_until_gone(instance, 5)
    return count


def wait_until_gone(instance, seconds, which=lambda process: True):
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(which(process) for process in ours(instance).values()):
        time.sleep(0.1)


def send(processes, number):
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def evict(instance, program, name):
    """Before a server starts again: ends the remaining processes of its killed master. KILL waits until they are gone."""
    number = signal.Signals[f"SIG{name}"]
    leftovers = [process for process in ours(instance).values() if process.program == program]
    send(leftovers, number)
    if number == signal.SIGKILL:
        wait_until_gone(instance, 5, lambda process: process.program == program)


if __name__ == "__main__":
    if sys.argv[1] == "evict":
        evict(Instance(), sys.argv[2], sys.argv[3])
    else:
        # As for any tool whose reader goes early: make pids | head -1.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        order = {name: position for position, name in enumerate(SUPERVISED)}
        for row in sorted(rows(Instance()), key=lambda row: (order[row[0]], row[1], row[2])):
            print(*row)

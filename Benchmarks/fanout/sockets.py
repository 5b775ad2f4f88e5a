#!/usr/bin/env python3
"""Many idle sockets: memory per socket, CPU of idle relays; with one relay also the pause of a hand-over and the effect of a kill -9
of the worker.

sockets.py -c chat.env --bin FOLDER [--sockets 10000] [--relays 1]
"""

import argparse
import os
import re
import signal
import tempfile
import time
import uuid
from pathlib import Path

import servers
import wire
from fanout import Clients, build

# Seconds: the default of WS_HEARTBEAT.
HEARTBEAT = 30
# Seconds without a new socket after which all are open.
SETTLED = 3


def log_line(work, what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = [line for line in (Path(work) / "server.log").read_text().splitlines() if what in line]
        if found:
            return found[-1]
        time.sleep(0.1)
    raise RuntimeError(f"the relay did not say \"{what}\"")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", required=True)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--sockets", type=int, default=10_000, help="of each relay")
    parser.add_argument("--relays", type=int, default=1)
    arguments = parser.parse_args()
    values = {**wire.settings(arguments.c), "FILE": arguments.c, "BIN": arguments.bin}
    relays, clients = [], []
    try:
        memory = 0
        for _ in range(arguments.relays):
            work = tempfile.mkdtemp(prefix="chat-sockets-")
            build(work)
            rooms = [uuid.uuid4() for _ in range(max(1, arguments.sockets // 50))]
            relays.append(servers.Relay(work, values, rooms, arguments.sockets))
            before = own_memory(relays[-1])
            clients.append(Clients(work, relays[-1]))
            time.sleep(SETTLED)
            memory += own_memory(relays[-1]) - before
            print(clients[-1].opened, flush=True)
        print(f"{memory / arguments.sockets / arguments.relays:,.0f} bytes of own memory a connection")
        show_idle(relays)
        if arguments.relays == 1:
            hand_over(relays[0])
            crash_under_load(relays[0], clients[0], arguments)
    finally:
        for process in clients + relays:
            process.stop()


def own_memory(relay):
    return sum(servers.own_memory(pid) for pid in relay.pids)


def show_idle(relays):
    """Measures once no presence is sent any more, from one heartbeat to the next: each socket gets one ping."""
    time.sleep(HEARTBEAT)
    spent = -sum(servers.cpu(pid) for relay in relays for pid in relay.pids)
    time.sleep(HEARTBEAT)
    spent += sum(servers.cpu(pid) for relay in relays for pid in relay.pids)
    print(f"{spent / HEARTBEAT:.2%} of a core, idle, {len(relays)} relays with {sum(relay.sockets for relay in relays):,} sockets")


def hand_over(relay):
    """Hands over to successors: of a running relay, and of a killed one."""
    for number, what in ((signal.SIGHUP, "all sockets are taken over"), (signal.SIGKILL, "a killed relay's sockets")):
        os.kill(relay.process.pid if number == signal.SIGHUP else worker(relay.process.pid), number)
        print(re.sub(r"^\S+ \w+ ", "", log_line(relay.work, what)))
        time.sleep(2)


def crash_under_load(server, clients, arguments):
    """Sends 1,000 frames a second over all rooms for some seconds; the worker dies in the middle."""
    # The frames so far were presence.
    before, begun, frames = clients.counted[0], time.monotonic(), 5000
    for number in range(frames):
        server.publish([number % len(server.rooms)], b"x" * 200, logs=True)
        if number == frames // 2:
            os.kill(worker(server.process.pid), signal.SIGKILL)
        time.sleep(max(0, begun + number / 1000 - time.monotonic()))
    took = time.monotonic() - begun
    wanted = frames * arguments.sockets // len(server.rooms)
    clients.wait_for(lambda frames, *_: frames - before >= wanted)
    got, lost = clients.counted[0] - before, clients.counted[2]
    by = f", by close code {clients.lost_by}" if lost else ""
    print(f"killed at {frames / took:,.0f} frames a second: {lost} of {arguments.sockets} sockets lost{by} "
          f"({1 - lost / arguments.sockets:.2%} survived), {got:,} of {wanted:,} frames delivered")


def worker(master):
    return next(pid for pid in servers.children(master) if Path(f"/proc/{pid}/comm").read_text().strip() != "keeper")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Many idle sockets on one relay: memory of each, CPU of a relay that does nothing, the pause of a hand-over, and what a
kill -9 of the worker costs.

sockets.py -c chat.env --bin FOLDER [--sockets 10000]
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
    parser.add_argument("--sockets", type=int, default=10_000)
    arguments = parser.parse_args()
    values = {**wire.settings(arguments.c), "FILE": arguments.c, "BIN": arguments.bin}
    work = tempfile.mkdtemp(prefix="chat-sockets-")
    build(work)
    rooms = [uuid.uuid4() for _ in range(max(1, arguments.sockets // 50))]
    server = servers.Relay(work, values, rooms, arguments.sockets)
    clients = None
    try:
        before = sum(servers.own_memory(pid) for pid in server.pids)
        clients = Clients(work, server)
        print(clients.opened)
        memory = (sum(servers.own_memory(pid) for pid in server.pids) - before) / arguments.sockets
        print(f"{memory:,.0f} bytes of own memory a connection")
        time.sleep(10)
        spent = sum(map(servers.cpu, server.pids))
        time.sleep(10)
        print(f"{(sum(map(servers.cpu, server.pids)) - spent) * 10:.2f} % of a core, idle")
        for number, what in ((signal.SIGHUP, "all sockets are handed over"), (signal.SIGKILL, "a killed relay's sockets")):
            target = server.process.pid if number == signal.SIGHUP else worker(server.process.pid)
            os.kill(target, number)
            print(re.sub(r"^\S+ \w+ ", "", log_line(work, what)))
            time.sleep(2)
        crash_under_load(server, clients, arguments)
    finally:
        if clients:
            clients.stop()
        server.stop()


def crash_under_load(server, clients, arguments):
    """1,000 frames a second over all rooms for some seconds; the worker dies in the middle of them."""
    # What the clients heard so far was who came.
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
    print(f"killed at {frames / took:,.0f} frames a second: {lost} of {arguments.sockets} sockets lost "
          f"({1 - lost / arguments.sockets:.2%} survived), {got:,} of {wanted:,} frames delivered")


def worker(master):
    return next(pid for pid in servers.children(master) if Path(f"/proc/{pid}/comm").read_text().strip() != "keeper")


if __name__ == "__main__":
    main()

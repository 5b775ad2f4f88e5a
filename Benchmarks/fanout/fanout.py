#!/usr/bin/env python3
"""CPU microseconds per delivered frame and bytes of own memory per connection: ws-relay beside its peers, in one run.

fanout.py -c chat.env --bin FOLDER [--only NAME,NAME] [--scale 1.0]

Needs a running stack (the settings file names it): PostgreSQL and Redis; each server is started here, on one core, its
clients and the publisher on the other. A: 1,000 sockets in one room. B: 10,000 sockets in 200 rooms of 50. paced: one
write per frame, at a rate that leaves the server idle in between; flat: as fast as it goes.
"""

import argparse
import os
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

import servers
import wire

HERE = Path(__file__).resolve().parent
SIZE = 200
# Name, sockets, rooms, frames published, frames a second (0: flat).
RUNS = [("A paced", 1000, 1, 1000, 200), ("A flat", 1000, 1, 3000, 0),
        ("B paced", 10_000, 200, 10_000, 2000), ("B flat", 10_000, 200, 40_000, 0)]
BATCH = 64


def build(work):
    for name in ("clients", "bare"):
        subprocess.run(["cc", "-O2", "-w", "-o", f"{work}/{name}", HERE / f"{name}.c"], check=True)


class Clients:
    """The C program that opens the client sockets and counts frames."""

    def __init__(self, work, server):
        (Path(work) / "targets").write_text("".join(target + "\n" for target in server.targets()))
        command = ["taskset", "-c", servers.CLIENT_CORE, f"{work}/clients", "127.0.0.1", str(server.port), f"{work}/targets",
                   server.subprotocol, str(server.skip)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Early clients get presence frames of later ones: lines with frames may precede it.
        self.opened = next((line.strip() for line in self.process.stdout if line.startswith("open")), "")
        if not self.opened:
            raise RuntimeError("the clients were refused")
        self.counted, self.lost_by = (0, 0, 0), ""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Reads one line per second while frames arrive: frames, bytes, lost sockets, and the lost ones by close code."""
        for line in self.process.stdout:
            words = line.split()
            self.lost_by = " ".join(words[6:])
            self.counted = int(words[1]), int(words[3]), int(words[5])

    def wait_for(self, enough, quiet=5):
        """Waits until there is enough, or nothing has arrived for some seconds; returns whether there is."""
        last, since = None, time.monotonic()
        while not enough(*self.counted):
            if self.counted != last:
                last, since = self.counted, time.monotonic()
            if time.monotonic() - since > quiet:
                return False
            time.sleep(0.1)
        return True

    def stop(self):
        self.process.kill()
        self.process.wait()


def measure(kind, values, run, scale):
    name, sockets, rooms, frames, rate = run
    frames = int(frames * scale)
    work = tempfile.mkdtemp(prefix="chat-fanout-")
    build(work)
    server = kind(work, values, [uuid.uuid4() for _ in range(rooms)], sockets)
    clients = None
    try:
        before = sum(servers.own_memory(pid) for pid in server.pids)
        clients = Clients(work, server)
        time.sleep(7 if kind is servers.Relay else 2)  # until nobody's coming is told any more
        memory = (sum(servers.own_memory(pid) for pid in server.pids) - before) / sockets
        before = clients.counted
        spent = sum(map(servers.cpu, server.pids))
        publish(server, frames, rate)
        wanted = frames * (sockets // rooms)
        if not clients.wait_for(lambda frames, size, _: server.delivered(frames - before[0], size - before[1]) >= wanted):
            raise RuntimeError(f"not all of {wanted} arrived")
        spent = sum(map(servers.cpu, server.pids)) - spent
        return spent / wanted * 1e6, memory
    finally:
        if clients:
            clients.stop()
        server.stop()


def publish(server, frames, rate):
    payload, begun, step = b"x" * SIZE, time.monotonic(), BATCH if rate == 0 else 1
    for at in range(0, frames, step):
        server.publish([number % len(server.rooms) for number in range(at, min(at + step, frames))], payload)
        if rate:
            time.sleep(max(0, begun + (at + 1) / rate - time.monotonic()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", required=True)
    parser.add_argument("--bin", required=True, help="the folder of ws-relay")
    parser.add_argument("--only", default="", help="servers whose name contains one of these, separated by commas")
    parser.add_argument("--runs", default="", help="runs whose name contains this")
    parser.add_argument("--scale", type=float, default=1)
    arguments = parser.parse_args()
    values = {**wire.settings(arguments.c), "FILE": arguments.c, "BIN": arguments.bin}
    runs = [run for run in RUNS if arguments.runs in run[0]]
    print(f"CPU us per delivered {SIZE}-byte frame; load {os.getloadavg()[0]:.1f} before")
    print("| |" + "|".join(run[0] for run in runs) + "| bytes a connection |\n|---|" + "---|" * (len(runs) + 1), flush=True)
    for kind in servers.ALL:
        if not any(part in kind.name for part in arguments.only.split(",")):
            continue
        if missing := servers.why_missing(kind):
            print(f"| {kind.name} | not installed ({missing}) |", flush=True)
            continue
        cells, memory = [], "-"
        for run in runs:
            try:
                cost, bytes_each = measure(kind, values, run, arguments.scale)
                cells.append(f"{cost:.2f}")
                memory = f"{bytes_each:,.0f}"
            except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                cells.append(f"({str(error)[:60]})")
        print(f"| {kind.name} | " + " | ".join(cells) + f" | {memory} |", flush=True)


if __name__ == "__main__":
    main()

"""`make chaos`: MINUTES of faults drawn from SEED; writes a table and a picture, and returns an exit status."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from conftest import read_settings, run_program, stack_pids

from .faults import PROGRAMS
from .network import Network
from .report import picture, table
from .scenario import Run


def make_network():
    if os.geteuid() != 0 or not shutil.which("ip"):
        print("no link is cut in this run: network namespaces need root and iproute2", file=sys.stderr)
        return None
    return Network(os.environ["TEST_ENV_FILE"], tempfile.mkdtemp(), reload)


def reload():
    """Makes all programs read their settings again; the new workers run a few seconds later."""
    for name, kind, pid in stack_pids():
        if kind == "master" and name in PROGRAMS:
            os.kill(pid, signal.SIGHUP)
    time.sleep(8)


def resize_queues(total):
    run_program("queue-worker", "queues", "resize", str(total), "--wait", "10")


def main():
    seed, minutes = int(os.environ.get("SEED") or 1), float(os.environ.get("MINUTES") or 5)
    settings = read_settings()
    network = make_network()
    try:
        run = Run(os.environ["BASE_URL"], settings["JWT_SECRET"], stack_pids, seed, minutes * 60,
                  float(os.environ.get("FREEZE_SECONDS") or 30), network, resize_queues)
        found = asyncio.run(run.play())
    finally:
        if network:
            network.close()
    text = f"SEED={seed} MINUTES={minutes:g}: " + table(run.ledger, found, run.faults.done, run.start, run.end)
    folder = Path(os.environ.get("CHAOS_DIR") or ".")
    (folder / "chaos.md").write_text(text + "\n")
    (folder / "chaos.svg").write_text(picture(run.ledger, run.faults.done, run.start, run.end))
    print(text)
    for name, what in found.items():
        for line in what[:10]:
            print(f"{name}: {line}", file=sys.stderr)
    return 1 if any(found.values()) else 0


sys.exit(main())

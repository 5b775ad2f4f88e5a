"""Waiting for a condition: a test never relies on a fixed sleep."""

import asyncio
import inspect
import subprocess
import time
from pathlib import Path


def eventually(holds, seconds=60, why=lambda: "it did not happen", pause=0.05):
    """Returns the result of `holds` as soon as it is true. `why()` is the text of the failure."""
    end = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < end, why()
        time.sleep(pause)
    return value


def state_of(pid):
    """One letter of proc(5): R runs, S sleeps, Z is dead and not reaped; X when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def environment_of(pid):
    """Empty when there is no such process any more."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def stop(process, seconds=30):
    """Asks a process of ours to end, and kills one that does not."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_gone(pids, seconds=10):
    eventually(lambda: all(state_of(pid) in "ZX" for pid in pids), seconds, lambda: "the worker of the dead master still serves")


def wait_until_idle(pids):
    """Waits until each process waits for events: none is in the middle of a write then. One that is gone writes nothing."""
    eventually(lambda: all(state_of(pid) in "SZX" for pid in pids))


async def eventually_async(holds, seconds=60, why=lambda: "it did not happen", pause=0.2):
    """The same beside other tasks. `holds` may be a coroutine function."""
    async def look():
        value = holds()
        return await value if inspect.isawaitable(value) else value

    end = time.monotonic() + seconds
    while not (value := await look()):
        assert time.monotonic() < end, why()
        await asyncio.sleep(pause)
    return value

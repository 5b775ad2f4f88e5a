"""Redis fails while users write: it loses everything, falls silent, disconnects its subscribers because they read too slowly; a
replica takes its address. No socket closes, and none misses a frame or gets one twice.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile

import pytest
from ports import free_port
from waiting import eventually_async
from writers import check, write_during

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12")) / 2


def redis(settings, *words):
    return at(settings["REDIS_URL"].removeprefix("unix://"), *words)


def at(socket, *words, check=True):
    answer = subprocess.run(["redis-cli", "-s", socket, *words], check=check, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
    return answer.stdout.strip()


async def flushed(settings, pids):
    for _ in range(8):
        await asyncio.sleep(SECONDS / 10)
        redis(settings, "FLUSHALL")


async def silent(settings, pids):
    master, = [pid for who, kind, pid in await asyncio.to_thread(pids) if (who, kind) == ("redis", "master")]
    for pause in (0.5, 2):
        await asyncio.sleep(SECONDS / 4)
        os.kill(master, signal.SIGSTOP)
        await asyncio.sleep(pause)
        os.kill(master, signal.SIGCONT)


async def overrun(settings, pids):
    """A limit of one byte: the first waiting frame closes a subscriber's connection."""
    for _ in range(2):
        await asyncio.sleep(SECONDS / 4)
        redis(settings, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1")
        await asyncio.sleep(0.5)
        redis(settings, "CLIENT", "KILL", "TYPE", "pubsub")
        redis(settings, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")


async def failed_over(settings, pids):
    """Switches to a replica that stopped following a moment ago: later writes are lost. Then back to the former primary, which does not
    know the time between."""
    address = settings["REDIS_URL"].removeprefix("unix://")
    folder, port = tempfile.mkdtemp(prefix="chat-replica-"), str(free_port())
    redis(settings, "CONFIG", "SET", "port", port)
    replica = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--dir", folder,
                                "--replicaof", "127.0.0.1", port, "--save", "", "--logfile", f"{folder}/log"])
    try:
        await eventually_async(
            lambda: "master_link_status:up" in at(f"{folder}/redis.sock", "INFO", "replication", check=False), pause=0.1)
        await asyncio.sleep(SECONDS / 6)
        at(f"{folder}/redis.sock", "REPLICAOF", "NO", "ONE")
        await asyncio.sleep(0.5)
        move_address(address, f"{folder}/primary.sock", f"{folder}/redis.sock")
        await asyncio.sleep(SECONDS / 3)
        move_address(address, f"{folder}/redis.sock", f"{folder}/primary.sock")
        await asyncio.sleep(SECONDS / 6)
    finally:
        redis(settings, "CONFIG", "SET", "port", "0")
        replica.kill()
        replica.wait()
        shutil.rmtree(folder)


def move_address(address, old, new):
    """New connections lead to `new`; existing ones are closed."""
    os.rename(address, old)
    os.rename(new, address)
    for kind in ("pubsub", "normal"):
        at(old, "CLIENT", "KILL", "TYPE", kind)


@pytest.mark.parametrize("trouble", [flushed, silent, overrun, failed_over], ids=lambda trouble: trouble.__name__)
def test_no_frame_is_missed_or_doubled(base_url, secret, settings, pids, trouble):
    found = asyncio.run(write_during(base_url, secret, trouble.__name__, lambda ledger: trouble(settings, pids), SECONDS))
    check(*found, kills=False)
    print(f"\n{trouble.__name__}: {len(found[0].acknowledged)} messages acknowledged")

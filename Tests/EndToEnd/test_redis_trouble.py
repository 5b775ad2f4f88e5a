"""Redis stays and misbehaves while people write: it forgets everything, falls silent, throws its subscribers out because they
read too slowly. No socket closes, and none misses or doubles a frame.
"""

import asyncio
import os
import signal
import subprocess

import pytest
import test_outages

SECONDS = test_outages.SECONDS / 2


def redis(settings, *words):
    return subprocess.run(["redis-cli", "-s", settings["REDIS_URL"].removeprefix("unix://"), *words], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


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
    """A limit of one byte: the first frame that waits costs a subscriber its connection."""
    for _ in range(2):
        await asyncio.sleep(SECONDS / 4)
        redis(settings, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1")
        await asyncio.sleep(0.5)
        redis(settings, "CLIENT", "KILL", "TYPE", "pubsub")
        redis(settings, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")


@pytest.mark.parametrize("trouble", [flushed, silent, overrun], ids=lambda trouble: trouble.__name__)
def test_no_frame_is_missed_or_doubled(base_url, secret, settings, pids, trouble, monkeypatch):
    monkeypatch.setattr(test_outages, "SECONDS", SECONDS)
    found = asyncio.run(test_outages.scenario(base_url, secret, trouble.__name__, lambda ledger: trouble(settings, pids)))
    test_outages.check(*found, kills=False)
    print(f"\n{trouble.__name__}: {len(found[0].acknowledged)} messages acknowledged")

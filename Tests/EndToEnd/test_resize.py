"""The number of queues, or their hash key, changes while users write: nothing is lost, duplicated or reordered. The first change is an
operator's command; the others are settings that the programs read at different times."""

import asyncio
import os
import random
import signal
import time

import requests
from chaos.faults import PROGRAMS, Faults
from chaos.scenario import Run
from conftest import run_program, workers
from waiting import eventually

SECONDS = 8


def play(run, change):
    """`change(end)` runs beside the writing users; returns its result and the ledger's findings."""
    said = []

    class Changes(Faults):
        async def run(self, is_over):
            end = run.start + run.seconds
            said.append(await change(end))
            await asyncio.sleep(max(0, end - time.monotonic()))

    run.faults = Changes(run.faults.ask, 1, 1)
    found = asyncio.run(run.play())
    assert {name: what[:5] for name, what in found.items() if what} == {}
    sends = run.ledger.sends.values()
    print(f"\n{len(sends)} messages in {sum(send.attempts for send in sends)} tries")
    return said[0]


def test_resizing_under_load_keeps_every_order(base_url, secret, pids):
    async def twice(end):
        said = []
        for total in (3, 11):
            await asyncio.sleep(1)
            said.append(await asyncio.to_thread(run_program, "queue-worker", "queues", "resize", str(total)))
        return said

    said = play(Run(base_url, secret, pids, 1, SECONDS, 1), twice)
    print("".join(said))
    # Those who send nothing do not notice by themselves that their queue is an old one.
    for total in ("3", "11"):
        run_program("queue-worker", "queues", "resize", total)
        eventually(lambda: requests.get(f"{base_url}/api/v1/readyz", timeout=30).status_code == 200, 20)
    assert ["queues are in use after" in line for line in said] == [True, True]
    status = run_program("queue-worker", "queues", "status")
    assert ": 11 queues by room, open" in status and status.count(" consumers") >= 11


def test_changed_settings_reach_the_programs_one_by_one(base_url, secret, pids, reconfigure):
    """The sender becomes the key. Once all programs agree, workers of every program are killed: the same holds."""
    chance = random.Random(5)

    async def change(end):
        for program in PROGRAMS:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(reconfigure, program, RABBITMQ_TOTAL_QUEUE=4, RABBITMQ_HASH_KEY="user")
        kills = 0
        until = max(end, time.monotonic() + SECONDS / 2)
        # On a slow machine the reloads alone take this long.
        while time.monotonic() < until or kills < 3:
            await asyncio.sleep(chance.uniform(0.5, 1))
            found = await asyncio.to_thread(workers, pids, [("queue-worker", "fcgi-api")[kills % 2]])
            try:
                os.kill(chance.choice(sorted(found)), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
        return kills

    kills = play(Run(base_url, secret, pids, 2, SECONDS, 1), change)
    print(f"{kills} workers were killed (-9)")
    assert kills > 2
    assert ": 4 queues by user, open" in run_program("queue-worker", "queues", "status")

"""The number of queues changes while people write: nothing is lost, doubled or told in another order."""

import asyncio
import time

from chaos.faults import Faults
from chaos.scenario import Run
from conftest import run_program


class Resizes(Faults):
    """Instead of faults: another number of queues, twice."""

    async def run(self, end):
        for total in (3, 11):
            await asyncio.sleep(1)
            self.said.append(await asyncio.to_thread(run_program, "queue-worker", "queues", "resize", str(total)))
        await asyncio.sleep(max(0, end - time.monotonic()))

    said = []


def test_resizing_under_load_keeps_every_order(base_url, secret, pids):
    run = Run(base_url, secret, pids, 1, 8, 1)
    run.faults = Resizes(pids, 1, 1)
    found = asyncio.run(run.play())
    assert {name: what[:5] for name, what in found.items() if what} == {}
    assert ["queues are in use after" in line for line in run.faults.said] == [True, True]
    sends = run.ledger.sends.values()
    print(f"\n{len(sends)} messages in {sum(send.attempts for send in sends)} tries; " + "".join(run.faults.said))
    status = run_program("queue-worker", "queues", "status")
    assert ": 11 queues by room, open" in status and status.count(" consumers") >= 11

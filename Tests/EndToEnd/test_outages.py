"""Each server is killed (-9) in turn while users write. None of their sockets closes; every acknowledged message is in the history
and at every member, in order and once; a client that is told to retry does so with the same Sign.
"""

import asyncio
import os
import random
import signal

import pytest
from writers import check, write_during

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))
SERVERS = os.environ.get("OUTAGE_SERVERS", "postgres redis rabbitmq").split()


@pytest.mark.parametrize("server", SERVERS)
def test_a_killed_server_loses_nothing(base_url, secret, pids, server):
    async def kill(ledger):
        chance = random.Random(11)
        await asyncio.sleep(SECONDS / 4)
        for _ in range(2):
            rows = await asyncio.to_thread(pids)
            for pid in [pid for who, kind, pid in rows if (who, kind) == (server, "master")]:
                os.kill(pid, signal.SIGKILL)
                ledger.kills += 1
            await asyncio.sleep(SECONDS / 4 + chance.random())

    ledger, members, room, closed = asyncio.run(write_during(base_url, secret, server, kill, SECONDS))
    check(ledger, members, room, closed)
    print(f"\n{server}: {ledger.kills} kills, {len(ledger.acknowledged)} messages acknowledged")

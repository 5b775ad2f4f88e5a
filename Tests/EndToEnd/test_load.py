"""Twenty users write at once while programs are reloaded, replaced and killed. At the end the ledger must be consistent: no
socket closed, every acknowledged message in the history and at every member exactly once, in the order of Seq.
"""

import asyncio
import itertools
import os
import random
import signal
import time

from client import User
from writers import Ledger, Member, odd

SECONDS = float(os.environ.get("LOAD_SECONDS", "15"))
SENDERS = 20
ROOMS = 3
# Programs that may be reloaded while sockets are open, and programs whose workers may be killed at any time.
RELOADED = os.environ.get("LOAD_RELOAD", "fcgi-api queue-worker ws-relay").split()
KILLED = os.environ.get("LOAD_KILL", "fcgi-api queue-worker").split()


async def disturb(pids, ledger, end):
    """First half: reloads and replacements in turn, which no client may notice. Second half: also kills, after which REST may ask
    for a retry."""
    chance = random.Random(7)
    reloads = itertools.cycle([(name, number) for number in (signal.SIGHUP, signal.SIGUSR2) for name in RELOADED])
    kills = itertools.cycle(KILLED)
    middle = time.monotonic() + (end - time.monotonic()) / 2
    while time.monotonic() < end - 1:
        await asyncio.sleep(chance.uniform(0.3, 0.8))
        rows = await asyncio.to_thread(pids)
        if time.monotonic() < middle or chance.random() < 0.3:
            name, number = next(reloads)
            send(chance.choice([pid for who, kind, pid in rows if (who, kind) == (name, "master")]), number)
            ledger.reloads += 1
            if ledger.unavailable and time.monotonic() < middle:
                ledger.trouble.append(f"{len(ledger.unavailable)} REST calls failed during reloads alone")
        else:
            name = next(kills)
            workers = [pid for who, kind, pid in rows if (who, kind) == (name, "worker")]
            if workers:
                send(chance.choice(workers), signal.SIGKILL)
                ledger.kills += 1


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended between the question and the signal


async def scenario(base_url, secret, pids):
    ledger = Ledger()
    members = [Member(User(base_url, secret), ledger) for _ in range(SENDERS)]
    for member in members:
        await member.open()
    owner = members[0].user
    rooms = [await asyncio.to_thread(owner.group, *[member.user for member in members[1:]], name=f"Load {number}")
             for number in range(ROOMS)]
    end = time.monotonic() + SECONDS
    await asyncio.gather(disturb(pids, ledger, end), *[member.write(rooms, end) for member in members])

    # Until no frame has come for two seconds.
    count, quiet_since = -1, time.monotonic()
    while time.monotonic() < quiet_since + 2:
        now = sum(len(member.frames) for member in members)
        if now != count:
            count, quiet_since = now, time.monotonic()
        await asyncio.sleep(0.1)
    closed = [member for member in members if member.reader.done()]
    for member in members:
        member.reader.cancel()
        await member.socket.close()
    return ledger, members, rooms, closed


def test_nothing_is_lost_doubled_or_disordered(base_url, secret, pids):
    ledger, members, rooms, closed = asyncio.run(scenario(base_url, secret, pids))
    assert ledger.trouble == [] and closed == []
    assert len(ledger.acknowledged) > SENDERS * SECONDS, "hardly anything was sent"
    assert ledger.reloads and ledger.kills

    for room in rooms:
        history = members[-1].user.history(room)
        ids = [message["ID"] for message in history]
        assert len(ids) == len(set(ids)), "a message is twice in the history"
        assert [message["Seq"] for message in history] == sorted(message["Seq"] for message in history)
        signs = [(message["SenderID"], message["Sign"]) for message in history if message["MessageType"] != "system"]
        assert len(signs) == len(set(signs)), "a retry was stored twice"
        acknowledged = {id for id, where in ledger.acknowledged.items() if where == room}
        assert acknowledged <= set(ids), f"{len(acknowledged - set(ids))} acknowledged messages are not in the history"

        last = None
        for member in members:
            frames = [frame for frame in member.frames if frame.get("RoomID") == room and frame.get("Seq")]
            seqs = [frame["Seq"] for frame in frames]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"gaps or doubles at {member.user.id}: {odd(seqs)}"
            arrived = [frame["Data"]["ID"] for frame in frames if frame["Type"] in ("new_message", "response")]
            assert len(arrived) == len(set(arrived))
            assert acknowledged <= set(arrived), f"{len(acknowledged - set(arrived))} messages did not arrive"
            assert last in (None, seqs[-1]), "two members end at different places"
            last = seqs[-1]
    print(f"\n{len(ledger.acknowledged)} messages, {sum(len(member.frames) for member in members)} frames, "
          f"{ledger.reloads} reloads, {ledger.kills} kills, {len(ledger.unavailable)} times 503 after one")

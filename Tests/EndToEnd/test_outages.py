"""Each server is killed (-9) in turn while users write. None of their sockets closes; every acknowledged message is in the history
and at every member, in order and once; a client that is told to retry does so with the same Sign.
"""

import asyncio
import os
import random
import signal
import time
import uuid

import msgpack
import pytest
from client import User, message_frame
from test_load import Ledger, Member, odd

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))
SENDERS = 8
SERVERS = os.environ.get("OUTAGE_SERVERS", "postgres redis rabbitmq").split()


class Patient(Member):
    """Sends refused messages again, with the same Sign, after a server was unavailable."""

    tries = 120

    def __init__(self, user, ledger):
        super().__init__(user, ledger)
        self.retried = set()

    async def send_over_socket(self, room, text):
        frame = message_frame(RoomID=room, Content=text)
        for number in range(self.tries):
            if number > 0:
                self.retried.add(frame["Sign"])
            answer = self.waiting[frame["Sign"]] = asyncio.get_running_loop().create_future()
            await self.socket.send(msgpack.packb(frame))
            try:
                got = await asyncio.wait_for(answer, 15)
            except TimeoutError:
                continue
            if got["Success"]:
                self.ledger.acknowledged[got["Data"]["ID"]] = room
                return
            if got["Error"].split(":")[0] not in ("busy", "unavailable"):
                self.ledger.trouble.append(f"refused: {got['Error']}")
                return
            await asyncio.sleep(0.5)
        self.ledger.trouble.append(f"never acknowledged: {text}")

    async def send_over_rest(self, room, text):
        sign = str(uuid.uuid4())
        for _ in range(self.tries):
            status, data = await self.post(f"/api/v1/rooms/{room}/messages", {"Content": text, "Sign": sign})
            if status == 201:
                self.ledger.acknowledged[data["Data"]["ID"]] = room
                return
            if status not in (202, 503):
                self.ledger.trouble.append(f"POST answered {status} {data}")
                return
            await asyncio.sleep(0.5)
        self.ledger.trouble.append(f"never stored: {text}")


async def scenario(base_url, secret, name, disturb):
    """`disturb(ledger)` causes faults while users write to one room."""
    ledger = Ledger()
    members = [Patient(User(base_url, secret), ledger) for _ in range(SENDERS)]
    for member in members:
        await member.open()
    while not all(member.frames for member in members):  # welcome: from here on nothing may be missing
        await asyncio.sleep(0.01)
    room = await asyncio.to_thread(members[0].user.group, *[member.user for member in members[1:]], name=name)
    end = time.monotonic() + SECONDS
    await asyncio.gather(disturb(ledger), *[member.write([room], end) for member in members])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ends = {max((frame.get("Seq") or 0) for frame in member.frames) for member in members}
        if len(ends) == 1:
            break
        await asyncio.sleep(0.2)
    closed = [member for member in members if member.reader.done()]
    for member in members:
        member.reader.cancel()
        await member.socket.close()
    return ledger, members, room, closed


def patient_history(user, room):
    """The last kill may be a moment ago: a client that is told to retry does so."""
    end = time.monotonic() + 60
    while user.rest("GET", f"/rooms/{room}/messages?limit=1").status_code == 503:
        assert time.monotonic() < end, "the history cannot be read again"
        time.sleep(0.5)
    return user.history(room)


def check(ledger, members, room, closed, kills=True):
    assert ledger.trouble == [] and closed == []
    assert ledger.acknowledged and (ledger.kills or not kills)
    history = patient_history(members[0].user, room)
    ids = [message["ID"] for message in history]
    signs = [(message["SenderID"], message["Sign"]) for message in history if message["MessageType"] != "system"]
    assert len(ids) == len(set(ids)) and len(signs) == len(set(signs))
    assert set(ledger.acknowledged) <= set(ids), "an acknowledged message is not in the history"
    for member in members:
        seqs = []
        for frame in member.frames:
            if frame.get("RoomID") != room or not frame.get("Seq"):
                continue
            # The first attempt may have been stored although it was refused: the answer to the next has the Seq of the first.
            is_answer_again = frame["Type"] == "response" and frame["Sign"] in member.retried
            if not is_answer_again or frame["Seq"] == len(seqs) + 1:
                seqs.append(frame["Seq"])
        assert seqs == list(range(1, len(seqs) + 1)), f"gaps or doubles: first {seqs[0]}, {odd(seqs)}"
        arrived = {frame["Data"]["ID"] for frame in member.frames
                   if frame["Type"] in ("new_message", "response") and (frame.get("Data") or {}).get("ID")}
        assert set(ledger.acknowledged) <= arrived, "an acknowledged message did not arrive"


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

    ledger, members, room, closed = asyncio.run(scenario(base_url, secret, server, kill))
    check(ledger, members, room, closed)
    print(f"\n{server}: {ledger.kills} kills, {len(ledger.acknowledged)} messages acknowledged")

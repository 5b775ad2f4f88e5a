"""Twenty users write at once while programs are reloaded, replaced and killed. At the end the ledger must be consistent: no
socket closed, every acknowledged message in the history and at every member exactly once, in the order of Seq.
"""

import asyncio
import itertools
import os
import random
import signal
import time
import uuid

import msgpack
import requests
from client import User, call, message_frame
from websockets.asyncio.client import connect

SECONDS = float(os.environ.get("LOAD_SECONDS", "15"))
SENDERS = 20
ROOMS = 3
# Programs that may be reloaded while sockets are open, and programs whose workers may be killed at any time.
RELOADED = os.environ.get("LOAD_RELOAD", "fcgi-api queue-worker ws-relay").split()
KILLED = os.environ.get("LOAD_KILL", "fcgi-api queue-worker").split()


class Ledger:
    def __init__(self):
        self.acknowledged = {}  # message id → room
        self.unavailable = []  # REST answers that ask to try again
        self.trouble = []
        self.reloads = self.kills = 0


class Member:
    """One user with one socket, who sends over REST and the socket and records every frame."""

    tries = 20  # of a request that is answered 503, half a second apart

    def __init__(self, user, ledger):
        self.user, self.ledger = user, ledger
        self.frames, self.waiting = [], {}

    async def open(self):
        url = self.user.base_url.replace("http", "ws", 1) + "/ws/v1/chat"
        self.socket = await connect(url, additional_headers={"Authorization": f"Bearer {self.user.token}"})
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        async for raw in self.socket:
            frame = msgpack.unpackb(raw)
            self.frames.append(frame)
            if frame["Type"] == "response":
                answer = self.waiting.pop(frame.get("Sign"), None)
                if answer and not answer.done():
                    answer.set_result(frame)
        self.ledger.trouble.append(f"a socket closed: {self.socket.close_code} {self.socket.close_reason}")

    async def send_over_socket(self, room, text):
        frame = message_frame(RoomID=room, Content=text)
        answer = self.waiting[frame["Sign"]] = asyncio.get_running_loop().create_future()
        await self.socket.send(msgpack.packb(frame))
        try:
            got = await asyncio.wait_for(answer, 30)
        except TimeoutError:
            self.ledger.trouble.append(f"no response in 30 s to {text}")
            return
        if got["Success"]:
            self.ledger.acknowledged[got["Data"]["ID"]] = room
        else:
            self.ledger.trouble.append(f"refused: {got['Error']}")

    async def send_over_rest(self, room, text):
        sign = str(uuid.uuid4())
        for _ in range(self.tries):
            status, data = await self.post(f"/api/v1/rooms/{room}/messages", {"Content": text, "Sign": sign})
            if status in (201, 202):
                if data["Data"].get("ID"):
                    self.ledger.acknowledged[data["Data"]["ID"]] = room
                return
            if status != 503:
                self.ledger.trouble.append(f"POST answered {status} {data}")
                return
            self.ledger.unavailable.append(time.monotonic())
            await asyncio.sleep(0.5)
        self.ledger.trouble.append(f"POST was answered 503 {self.tries} times: {text}")

    async def send_file(self, room, text):
        """A message whose file is missing while the others continue; then its only chunk."""
        sign, token = str(uuid.uuid4()), {"Authorization": f"Bearer {self.user.token}"}
        for _ in range(self.tries):
            draft = {"Content": text, "ContentType": "file", "Sign": sign}
            status, data = await self.post(f"/api/v1/rooms/{room}/messages", draft)
            if status == 201:
                await asyncio.sleep(0.2)
                id = data["Data"]["ID"]
                form = [("File", ("x", text.encode())), ("ChunkIndex", (None, "1")), ("TotalChunk", (None, "1"))]
                url = f"{self.user.base_url}/api/v1/files/{id}/upload"
                try:
                    answer = await asyncio.to_thread(requests.post, url, files=form, headers=token, timeout=60)
                    status, data = answer.status_code, answer.text[:200]
                except requests.RequestException:
                    status = 503
                if status in (200, 202):
                    self.ledger.acknowledged[id] = room
                    return
            if status not in (0, 202, 502, 503):
                self.ledger.trouble.append(f"a file was answered {status} {data}")
                return
            self.ledger.unavailable.append(time.monotonic())
            await asyncio.sleep(0.5)
        self.ledger.trouble.append(f"a file was answered 503 {self.tries} times: {text}")

    async def post(self, path, body):
        return await call(self.user.base_url, "POST", path, self.user.token, body)

    async def write(self, rooms, end):
        chance, number = random.Random(self.user.id), 0
        while time.monotonic() < end:
            number += 1
            send = (self.send_file if number % 10 == 0 else self.send_over_socket if number % 4 else
                    self.send_over_rest)
            await send(chance.choice(rooms), f"{self.user.id} {number}")
            await asyncio.sleep(chance.uniform(0.05, 0.15))


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


def odd(seqs):
    """The positions at which the next number is not the next."""
    return [(a, b) for a, b in zip(seqs, seqs[1:]) if b != a + 1][:10]

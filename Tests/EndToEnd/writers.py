"""Users who write at once while something disturbs the stack, and the ledger of what they were told."""

import asyncio
import random
import time
import uuid

import msgpack
import requests
from client import User, call, message_frame
from waiting import eventually, eventually_async
from websockets.asyncio.client import connect

WRITERS = 8


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


async def write_during(base_url, secret, name, disturb, seconds):
    """`disturb(ledger)` causes faults while users write to one room."""
    ledger = Ledger()
    members = [Patient(User(base_url, secret), ledger) for _ in range(WRITERS)]
    for member in members:
        await member.open()
    # Welcome: from here on nothing may be missing.
    await eventually_async(lambda: all(member.frames for member in members), 20)
    room = await asyncio.to_thread(members[0].user.group, *[member.user for member in members[1:]], name=name)
    end = time.monotonic() + seconds
    await asyncio.gather(disturb(ledger), *[member.write([room], end) for member in members])

    def ends():
        return {max((frame.get("Seq") or 0) for frame in member.frames) for member in members}

    await eventually_async(lambda: len(ends()) == 1, 30, lambda: f"the members end at different places: {ends()}")
    closed = [member for member in members if member.reader.done()]
    for member in members:
        member.reader.cancel()
        await member.socket.close()
    return ledger, members, room, closed


def patient_history(user, room):
    """The last kill may be a moment ago: a client that is told to retry does so."""
    eventually(lambda: user.rest("GET", f"/rooms/{room}/messages?limit=1").status_code != 503,
               why=lambda: "the history cannot be read again", pause=0.5)
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


def odd(seqs):
    """The positions at which the next number is not the next."""
    return [(a, b) for a, b in zip(seqs, seqs[1:]) if b != a + 1][:10]

"""Well-behaved clients: they reconnect, resume at their position, and send again with the same Sign."""

import asyncio
import hashlib
import random
import time
import uuid

import msgpack
import requests
from client import User, call, message_frame
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.protocol import State

from .ledger import Send

ANSWER_SECONDS = 10
RETRIED = ("busy", "unavailable", "rate_limited")


class Life:
    """The state of one socket of a client."""

    def __init__(self, before):
        self.socket, self.before, self.sign = None, before, str(uuid.uuid4())
        self.seen = {}  # room → Seqs of this socket
        self.is_welcome = self.is_resumed = self.is_told = self.is_left = False

    @property
    def is_beside_another(self):
        """It brings the same frames as another socket of this client, or did."""
        return self.is_told or self.before is not None


class Person:
    """One user with one socket, which is reopened whenever it closes."""

    # Seconds between pings of its own, and for their answers; None: none.
    ping_seconds = None
    open_seconds = 15
    # The longest wait for an answer over REST.
    rest_seconds = 40
    # Understands `move`: opens its next socket before it closes this one.
    moves = False

    def __init__(self, base_url, secret, ledger, chance):
        self.user, self.ledger, self.chance = User(base_url, secret), ledger, chance
        self.rooms, self.waiting, self.socket = [], {}, None
        self.sent = {}  # Sign of `waiting` → the socket that took it
        self.next = None  # the task of the next socket, after `move`
        self.connected = asyncio.Event()

    async def stay_connected(self):
        current = asyncio.create_task(self.live())
        while True:
            try:
                await current
            except (OSError, WebSocketException, TimeoutError):
                pass
            if self.next:
                current, self.next = self.next, None
                continue
            self.socket = None
            self.connected.clear()
            self.ledger.reconnects += 1
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
            current = asyncio.create_task(self.live())

    async def live(self, before=None):
        """One socket, until it closes. `before`: the one that it replaces, and that stays until everything is here."""
        url = self.user.base_url.replace("http", "ws", 1) + "/ws/v1/chat" + ("?move=1" if self.moves else "")
        headers = {"Authorization": f"Bearer {self.user.token}"}
        life = Life(before)
        try:
            async with connect(url, additional_headers=headers, open_timeout=self.open_seconds, close_timeout=1,
                               ping_interval=self.ping_seconds, ping_timeout=self.ping_seconds) as life.socket:
                # Before anything else is read, so that nothing newer can arrive in between.
                if self.rooms:
                    points = [{"RoomID": room, "Seq": self.stream(room).last} for room in self.rooms]
                    await life.socket.send(msgpack.packb({"Type": "resume", "Sign": life.sign, "Rooms": points}))
                async for raw in life.socket:
                    self.take(msgpack.unpackb(raw), life)
                    if life.is_resumed and before and before.socket not in self.sent.values():
                        before.is_left = True
                        await before.socket.close()
                        before = None
        finally:
            self.lost(life)

    def lost(self, life):
        # For a cluster: the host to which nginx led this socket.
        if life.is_welcome and not life.is_left:
            host = life.socket.response.headers.get("X-Chat-Host")
            self.ledger.closed.append((time.monotonic(), host))
            if life.is_told:
                self.ledger.closed_movers.append((time.monotonic(), self.user.id, host))
        if life.before and self.socket is life.socket and life.before.socket.state is State.OPEN:
            self.socket = life.before.socket
        # They are sent again on the next one, and not awaited to the end of their time.
        for sign in [sign for sign, socket in self.sent.items() if socket is life.socket]:
            if sign in self.waiting and not self.waiting[sign].done():
                self.waiting[sign].set_result(None)

    async def move(self, life):
        """Opens the next socket, again with growing pauses while this one is open."""
        pause = 0.2
        while life.socket.state is State.OPEN:
            try:
                await self.live(life)
            except (OSError, WebSocketException, TimeoutError):
                pass
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2)

    def stream(self, room):
        return self.ledger.streams[self.user.id, room]

    def take(self, frame, life):
        kind, room, seq = frame["Type"], frame.get("RoomID"), frame.get("Seq")
        if kind == "welcome":
            self.socket, life.is_welcome = life.socket, True
            self.connected.set()
        elif kind == "resync":
            self.stream(room).resync(seq)
        elif kind == "move" and not life.is_told:
            life.is_told = True
            self.ledger.moves += 1
            self.next = asyncio.create_task(self.move(life))
        elif room and seq:
            self.ledger.deliveries.append(time.monotonic())
            send = self.ledger.sends.get(frame.get("Sign")) if kind == "response" else None
            stream, seen = self.stream(room), life.seen.setdefault(room, set())
            if send and send.attempts > 1:
                stream.answer_to_retry(seq, seen)
            else:
                stream.frame(seq, seen, life.is_beside_another)
        if kind == "response":
            life.is_resumed |= frame.get("Sign") == life.sign
            answer = self.waiting.get(frame.get("Sign"))
            if answer and not answer.done():
                answer.set_result(frame)

    # -- sending

    async def write(self, is_over):
        number = 0
        while not is_over():
            number += 1
            send = Send(str(uuid.uuid4()), self.user.id, self.chance.choice(self.rooms),
                        "REST" if self.chance.random() < 0.25 else "socket", time.monotonic())
            self.ledger.sends[send.sign] = send
            # Some give up after one try: the end of the run shows whether it was stored.
            patient = self.chance.random() < 0.9
            while not await self.attempt(send) and patient and not is_over():
                await asyncio.sleep(self.chance.uniform(0.2, 0.6))
            await asyncio.sleep(self.chance.uniform(0.1, 0.3))

    async def attempt(self, send):
        """True once it is acknowledged."""
        send.attempts += 1
        since = time.monotonic()
        outcome = await (self.over_rest(send) if send.route == "REST" else self.over_socket(send))
        self.ledger.answered(send, outcome, since)
        return send.acknowledged is not None

    async def over_socket(self, send):
        answer = self.waiting[send.sign] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.connected.wait()
                frame = message_frame(RoomID=send.room, Content=send.sign, Sign=send.sign)
                socket = self.socket
                await socket.send(msgpack.packb(frame))
                self.sent[send.sign] = socket
                got = await answer
        except (OSError, WebSocketException, TimeoutError):
            return "no answer"
        finally:
            del self.waiting[send.sign]
            self.sent.pop(send.sign, None)
        if got is None:
            return "no answer"
        if got["Success"]:
            self.ledger.acknowledge(send, got["Data"]["ID"], got["Data"]["Seq"])
            return "stored"
        code = got["Error"].split(":")[0]
        if code not in RETRIED:
            self.ledger.trouble.append(f"a socket's send was refused: {got['Error']}")
        return code

    async def over_rest(self, send):
        status, answer = await call(self.user.base_url, "POST", f"/api/v1/rooms/{send.room}/messages", self.user.token,
                                    {"Content": send.sign, "Sign": send.sign}, self.rest_seconds)
        if status == 201:
            self.ledger.acknowledge(send, answer["Data"]["ID"], answer["Data"]["Seq"])
            return "stored"
        if status not in (0, 202, 502, 503, 504):
            self.ledger.trouble.append(f"POST was answered {status} {answer}")
        return {0: "no answer", 202: "queued"}.get(status, str(status))


class Uploader:
    """A user who uploads files to a room of their own, and reads them while everything else continues."""

    # The store does not fail in this run.
    reads_files = False

    def __init__(self, base_url, secret, ledger):
        self.user, self.ledger = User(base_url, secret), ledger
        self.reads = []  # (time, status)

    async def work(self, room, is_over):
        while not is_over():
            content = random.randbytes(20_000)
            status, answer = await self.upload(room, content)
            if status == 201:
                self.ledger.files[answer["Data"]["ID"]] = hashlib.sha256(content).hexdigest()
            elif status not in (0, 202, 502, 503, 504):
                self.ledger.trouble.append(f"an upload was answered {status} {answer}")
            status, _ = await call(self.user.base_url, "GET", f"/api/v1/rooms/{room}/messages?limit=1", self.user.token)
            self.reads.append((time.monotonic(), status))
            if self.reads_files:
                await self.read_one()
            await asyncio.sleep(0.5)

    async def read_one(self):
        """Any of the acknowledged files: while it cannot be read, the answer must say that this is for now."""
        if not self.ledger.files:
            return
        id, digest = random.choice(list(self.ledger.files.items()))
        try:
            answer = await asyncio.to_thread(self.user.rest, "GET", f"/files/{id}")
        except requests.RequestException:
            return
        if answer.status_code not in (502, 503, 504) and hashlib.sha256(answer.content).hexdigest() != digest:
            self.ledger.trouble.append(f"the file {id} was answered {answer.status_code} {answer.content[:200]}")

    async def upload(self, room, content):
        def post():
            try:
                return self.user.rest("POST", f"/rooms/{room}/files", files={"File": ("a.bin", content)})
            except requests.RequestException:
                return None
        answer = await asyncio.to_thread(post)
        if answer is None:
            return 0, None
        return answer.status_code, answer.json() if answer.status_code == 201 else answer.text[:200]

    def missing_files(self):
        """Acknowledged files that differ from the sent bytes, or are missing, each with the answer."""
        found = []
        for id, digest in self.ledger.files.items():
            answer = self.user.rest("GET", f"/files/{id}")
            if hashlib.sha256(answer.content).hexdigest() != digest:
                found.append(f"{id}: {answer.status_code} {answer.content[:200]} from {answer.headers.get('X-Chat-Host')}")
        return found

"""A small client of the chat, written from the protocol only: it shares no code with the server."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
import uuid

import described
import msgpack
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

WAIT = 10


def encode(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def make_token(secret, user, ttl=3600, alg="HS256", **claims):
    """Makes a JWT without a library, so that invalid ones are as easy to make."""
    header = {"alg": alg, "typ": "JWT"}
    body = {"sub": str(user), "exp": int(time.time()) + ttl, **claims}
    text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(body).encode())}"
    if alg == "none":
        return f"{text}."
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
    return f"{text}.{encode(hmac.new(secret.encode(), text.encode(), digest).digest())}"


def message_frame(**fields):
    """The frame of the first client example, with some values replaced."""
    return {"Type": "message", "RoomID": "", "ReceiverID": "", "Content": "Hello World", "ContentType": "text",
            "MessageType": "direct", "Sign": str(uuid.uuid4()), "ParentMessageID": "", **fields}


async def call(base_url, method, path, token, body=None, seconds=40, **headers):
    """Minimal HTTP for many clients in one event loop: requests would block the loop, and one connection per call separates
    failures. Status 0: no answer, and the text is the reason."""
    host, port = base_url.removeprefix("http://").split(":")
    payload = b"" if body is None else json.dumps(body).encode()
    head = {"Host": host, "Connection": "close", "Authorization": f"Bearer {token}", "Content-Type": "application/json",
            "Content-Length": len(payload), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + payload)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return 0, repr(error)
    head, _, text = answer.partition(b"\r\n\r\n")
    if b"chunked" in head:
        text = text.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
    status = int(head.split()[1]) if head else 0
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")


class User:
    """A user with a token."""

    def __init__(self, base_url, secret):
        self.id = str(uuid.uuid4())
        self.base_url = base_url
        self.token = make_token(secret, self.id)

    def rest(self, method, path, body=None, expect=None, **options):
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        answer = requests.request(method, f"{self.base_url}/api/v1{path}", json=body, headers=headers, timeout=30,
                                  **options)
        if expect is not None:
            assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def data(self, method, path, body=None, expect=200):
        return self.rest(method, path, body, expect).json()["Data"]

    def group(self, *members, name="Test"):
        body = {"Type": "GROUP", "Name": name, "Members": [member.id for member in members]}
        return self.data("POST", "/rooms", body, 201)["ID"]

    def history(self, room):
        """The whole history of a room, oldest first."""
        found, after = [], 0
        while True:
            page = self.rest("GET", f"/rooms/{room}/messages?after={after}&limit=100", expect=200).json()
            found += page["Data"]
            if page["Next"] is None:
                return found
            after = page["Data"][-1]["Seq"]

    def socket(self, **options):
        return Socket(self, **options)


# Protocol violations that sockets saw, for the fixture that ends each test: threads read the frames.
holes = []


class RoomOrder:
    """One socket's copy of its rooms' orders: every Seq while it follows a room, once and in order."""

    def __init__(self, user, problems=holes):
        self.user, self.problems = user, problems
        self.last, self.answered = {}, {}

    def resumed(self, frame):
        """The client resumes: the next frame of each of these rooms must be the one after its position."""
        for point in frame.get("Rooms") or []:
            if isinstance(point, dict) and isinstance(point.get("Seq"), int) and point["Seq"] >= 0:
                # Frames that arrived before the resume may arrive once more, in order.
                if point.get("RoomID") in self.last:
                    del self.last[point["RoomID"]]
                else:
                    self.last[point.get("RoomID")] = point["Seq"]

    def frame(self, frame):
        room, seq, kind = frame.get("RoomID"), frame.get("Seq"), frame["Type"]
        data = frame.get("Data") if isinstance(frame.get("Data"), dict) else {}
        if kind == "resync":
            self.last[data["RoomID"]] = data["Seq"]
        if kind == "room_updated" and data["Change"] == "created":
            self.last[room] = 0
        if kind == "resync" or not frame.get("Success") or not room or not seq:
            return
        last = self.last.get(room)
        if kind == "new_message" and data.get("Seq") != seq:
            self.problems.append(f"a new_message at {seq} that says Seq {data.get('Seq')}: {frame}")
        if kind == "response" and last is not None and seq != last + 1:
            return  # The answer to a retry, told again: its frame comes, or came, in its own turn.
        answered = self.answered.setdefault(room, set())
        if last is not None and seq in answered and seq <= last:
            answered.remove(seq)
            return
        if last is not None and seq != last + 1:
            self.problems.append(f"{self.user} in room {room}: {seq} after {last}: {frame}")
        self.last[room] = seq
        if kind == "response":
            answered.add(seq)
        if kind == "room_updated" and self.ends(data):
            del self.last[room]

    def ends(self, update):
        """A returning member receives the room's frames from there on."""
        mine = (update.get("Member") or {}).get("UserID") == self.user
        return update["Change"] == "deleted" or mine and update["Change"] in ("left", "removed", "banned")


class Socket:
    """A WebSocket that records all its frames in order."""

    def __init__(self, user, token=None, headers=None, query=""):
        self.user, self.frames, self.closed = user, [], None
        self.order = RoomOrder(user.id)
        self._news = threading.Condition()
        url = user.base_url.replace("http", "ws", 1) + "/ws/v1/chat" + query
        if headers is None:
            headers = {"Authorization": f"Bearer {token or user.token}"}
        self._socket = connect(url, additional_headers=headers, open_timeout=WAIT, max_size=2**20)
        threading.Thread(target=self._read, daemon=True).start()
        self.wait(lambda frame: frame["Type"] == "welcome")

    def _read(self):
        try:
            for raw in self._socket:
                assert isinstance(raw, bytes), "a text frame on a msgpack socket"
                frame = msgpack.unpackb(raw)
                described.check(frame)
                self.order.frame(frame)
                with self._news:
                    self.frames.append(frame)
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        with self._news:
            self.closed = self._socket.close_code
            self._news.notify_all()

    def wait(self, matches, seconds=WAIT):
        """The first frame that matches, including frames received earlier."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                for frame in self.frames:
                    if matches(frame):
                        return frame
                left = end - time.monotonic()
                assert left > 0 and self.closed is None, (
                    f"no such frame; closed: {self.closed}; the last of {len(self.frames)}: {self.frames[-5:]}")
                self._news.wait(left)

    def wait_closed(self, seconds=WAIT):
        end = time.monotonic() + seconds
        with self._news:
            while self.closed is None and time.monotonic() < end:
                self._news.wait(end - time.monotonic())
        return self.closed

    def send_raw(self, raw):
        self._socket.send(raw)

    def send(self, frame):
        if frame.get("Type") == "resume":
            self.order.resumed(frame)
        self.send_raw(msgpack.packb(frame))

    def ask(self, frame):
        """Sends a frame and returns its response."""
        self.send(frame)
        return self.wait(lambda answer: answer["Type"] == "response" and answer.get("Sign") == frame["Sign"])

    def new_message(self, content):
        return self.wait(lambda frame: frame["Type"] == "new_message" and frame["Data"]["Content"] == content)

    def count(self, matches):
        with self._news:
            return sum(1 for frame in self.frames if matches(frame))

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

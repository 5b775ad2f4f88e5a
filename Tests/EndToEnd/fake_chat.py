"""A chat of a hundred lines that keeps its promises, or breaks them as a test wants: for programs that talk to any server."""

import json
import re
import socket
import struct
import threading
import uuid
from urllib.parse import parse_qs, urlsplit

import msgpack


class FakeChat:
    """Subclasses override what they harm. Every room has all sockets as members."""

    version = "9.9.9"
    base = 1

    def __init__(self):
        self.lock = threading.RLock()
        self.rooms, self.sockets, self.calls = {}, [], []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def count(self, method, pattern):
        return sum(1 for verb, path in list(self.calls) if verb == method and re.search(pattern, path))

    # Tests override these.

    def rest(self, method, url, body):
        """Status and answer of a call; an answer that is bytes goes out as it is."""
        path = url.path.removeprefix("/api/v1")
        if path == "/openapi.yaml":
            return 200, f"openapi: 3.1.0\ninfo:\n  version: {self.version}\n".encode()
        if method == "POST" and path == "/rooms":
            with self.lock:
                room = str(uuid.uuid4())
                self.rooms[room] = []
            return 201, {"Success": True, "Data": {"ID": room, "LastSeq": self.base}}
        if found := re.fullmatch(r"/rooms/([^/]+)/messages", path):
            return self.history(found[1], int(parse_qs(url.query)["after"][0])) if method == "GET" else self.draft(found[1], body)
        return 200, {"Success": True, "Data": []}

    def history(self, room, after):
        page = [message for message in self.rooms[room] if message["Seq"] > after]
        return 200, {"Success": True, "Data": page[:100], "Next": "more" if len(page) > 100 else None}

    def draft(self, room, body):
        with self.lock:
            message = self.store(room, body["Sign"], body["Content"])
            if not message.get("Again"):
                self.tell(room, message)
        return 201, {"Success": True, "Data": {"ID": message["ID"], "Seq": self.seq(message["Seq"])}}

    def welcome(self, peer):
        peer.send({"Type": "welcome", "Data": {"UserID": str(uuid.uuid4())}})

    def resumed(self, peer, request):
        with self.lock:
            for point in request["Rooms"]:
                for message in self.rooms[point["RoomID"]]:
                    if message["Seq"] > point["Seq"]:
                        self.copy(peer, point["RoomID"], message)
            self.sockets += [peer] if peer not in self.sockets else []
        peer.send({"Type": "response", "Sign": "resume", "Success": True, "Data": {"Rooms": []}})

    def message(self, peer, request):
        with self.lock:
            message = self.store(request["RoomID"], request["Sign"], request["Content"])
            self.answer(peer, request, message)
            if not message.get("Again"):
                self.tell(request["RoomID"], message, peer)

    def tell(self, room, message, sender=None):
        for peer in self.sockets:
            if peer is not sender:
                self.copy(peer, room, message)

    def copy(self, peer, room, message):
        peer.send({"Type": "new_message", "Data": message, "RoomID": room, "Seq": self.seq(message["Seq"])})

    def answer(self, peer, request, message):
        peer.send({"Type": "response", "Sign": request["Sign"], "Success": True, "Data": message, "RoomID": request["RoomID"],
                   "Seq": self.seq(message["Seq"])})

    def seq(self, seq):
        return seq

    def refuse(self, peer, request, error, **more):
        peer.send({"Type": "response", "Sign": request["Sign"], "Success": False, "Error": error, **more})

    # The service itself.

    def store(self, room, sign, content):
        with self.lock:
            for message in self.rooms[room]:
                if message["Sign"] == sign:
                    return {**message, "Again": True}
            seq = self.base + 1 + len(self.rooms[room])
            self.rooms[room].append({"ID": str(uuid.uuid4()), "SenderID": "somebody", "Sign": sign, "Content": content, "Seq": seq})
            return self.rooms[room][-1]

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection:
                stream = connection.makefile("rb")
                while self._request(connection, stream):
                    pass
        except (OSError, ValueError):
            pass

    def _request(self, connection, stream):
        first = stream.readline().decode()
        if not first:
            return False
        method, target, _ = first.split(" ", 2)
        headers = {}
        while (line := stream.readline().decode().strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        url = urlsplit(target)
        self.calls.append((method, target))
        if headers.get("upgrade") == "websocket":
            self.socket(connection, stream)
            return False
        data = stream.read(int(headers.get("content-length", 0)))
        is_json = headers.get("content-type", "").startswith("application/json")
        status, answer, *more = self.rest(method, url, json.loads(data) if is_json and data else data)
        out = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(out)}\r\n" + "".join(f"{line}\r\n" for line in more) + "\r\n"
        connection.sendall(head.encode() + out)
        return True

    def socket(self, connection, stream):
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        peer = Peer(connection)
        try:
            self.welcome(peer)
            while (request := receive(stream)) is not None:
                {"resume": self.resumed, "message": self.message}.get(request.get("Type"), lambda *_: None)(peer, request)
        finally:
            with self.lock:
                self.sockets = [other for other in self.sockets if other is not peer]


class Peer:
    def __init__(self, connection):
        self.connection, self.lock = connection, threading.Lock()

    def send(self, frame, opcode=2):
        payload = frame if isinstance(frame, bytes) else msgpack.packb(frame)
        size = len(payload)
        head = bytes([0x80 | opcode]) + (bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65_536
                                         else b"\x7f" + struct.pack(">Q", size))
        self.raw(head + payload)

    def fragments(self, frame):
        """One message in frames of ten bytes, each with a longer head than it needs."""
        payload = msgpack.packb(frame)
        parts = [payload[at:at + 10] for at in range(0, len(payload), 10)]
        self.raw(b"".join(
            bytes([(2 if place == 0 else 0) | (0x80 if place == len(parts) - 1 else 0)]) + b"\x7e" + struct.pack(">H", len(part)) + part
            for place, part in enumerate(parts)))

    def raw(self, data):
        try:
            with self.lock:
                self.connection.sendall(data)
        except OSError:
            pass


def receive(stream):
    """The next message of a client; {} for another frame, None at the end."""
    head = stream.read(2)
    if len(head) < 2 or head[0] & 15 == 8:
        return None
    size = head[1] & 127
    if size > 125:
        size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
    key, data = stream.read(4), stream.read(size)
    data = (int.from_bytes(data, "big") ^ int.from_bytes((key * (size // 4 + 1))[:size], "big")).to_bytes(size, "big")
    return msgpack.unpackb(data) if head[0] & 15 == 2 else {}

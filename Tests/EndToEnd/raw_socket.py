"""A WebSocket client without any rules: bytes out, frames in. It uses the relay's own socket, so that nothing joins or cuts the
bytes.
"""

import base64
import json
import os
import socket
import struct
import time

WAIT = 10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x37\xfa\x21\x3d", length=None):
    """`length` forces one of the longer forms (126, 127); `mask=None` omits the mask."""
    size = len(payload)
    form = length or (size if size < 126 else 126 if size <= 0xFFFF else 127)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0x80 if mask else 0) | form])
    head += struct.pack(">H", size) if form == 126 else struct.pack(">Q", size) if form == 127 else b""
    if not mask:
        return head + payload
    stream = int.from_bytes((mask * (size // 4 + 1))[:size], "big") ^ int.from_bytes(payload, "big")
    return head + mask + stream.to_bytes(size, "big")


class RawSocket:
    def __init__(self, path, token, subprotocol="chat.json", extensions=None, greet=True):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(path, str) else socket.AF_INET)
        self.socket.settimeout(WAIT)
        self.socket.connect(path)
        self.buffer, self.head = b"", ""
        if greet:
            self.upgrade(token, subprotocol, extensions)

    def upgrade(self, token, subprotocol, extensions):
        lines = ["GET /ws/v1/chat HTTP/1.1", "Host: h", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
                 f"Authorization: Bearer {token}"]
        lines += [f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []
        lines += [f"Sec-WebSocket-Extensions: {extensions}"] if extensions else []
        self.send("\r\n".join(lines + ["", ""]).encode())
        self.read_head()
        assert " 101 " in self.head, self.head
        self.next()
        self.welcome_rsv = self.rsv

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode()

    def send(self, data, step=None):
        """Sends pieces of `step` bytes, each with its own write."""
        for start in range(0, len(data), step or len(data) or 1):
            self.socket.sendall(data[start:start + (step or len(data))])

    def more(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise EOFError
        self.buffer += chunk

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def next(self):
        """The next frame that is not a heartbeat ping of the server: (opcode, payload)."""
        while True:
            first, second = self.take(2)
            size = second
            if size == 126:
                size, = struct.unpack(">H", self.take(2))
            elif size == 127:
                size, = struct.unpack(">Q", self.take(8))
            payload = self.take(size)
            self.rsv = first >> 4 & 7
            if first & 15 != PING:
                return first & 15, payload

    def answer(self):
        opcode, payload = self.next()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def close_code(self):
        """The code of the server's close frame, skipping all earlier frames; None when the connection just ends."""
        try:
            while True:
                opcode, payload = self.next()
                if opcode == CLOSE:
                    return struct.unpack(">H", payload[:2])[0] if payload else 1005
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return None

    def has_ended(self, seconds=WAIT):
        """Whether the server ends the connection after its close frame."""
        end = time.monotonic() + seconds
        self.socket.settimeout(seconds)
        try:
            while time.monotonic() < end:
                self.more()
        except (EOFError, ConnectionResetError):
            return True
        except TimeoutError:
            pass
        return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

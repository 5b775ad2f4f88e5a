"""A TCP proxy before the stack that harms one frame: it drops it, doubles it, or swaps it with the next."""

import socket
import threading
from urllib.parse import urlsplit


class FrameProxy:
    """Everything passes but the one `new_message` that is harmed. `harm`: drop, double or swap."""

    # Messages that pass before it, on the whole proxy.
    BEFORE = 20

    def __init__(self, base_url, harm):
        self.target = urlsplit(base_url)
        self.harm = harm
        self.harmed = False
        self._passed = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.target.hostname, self.target.port))
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _answer(self, server, client):
        try:
            rest, is_socket, held = b"", None, b""
            while data := server.recv(65_536):
                rest += data
                if is_socket is None and b"\r\n\r\n" in rest:
                    is_socket = rest.startswith(b"HTTP/1.1 101")
                    if is_socket:
                        head, _, rest = rest.partition(b"\r\n\r\n")
                        client.sendall(head + b"\r\n\r\n")
                if not is_socket:
                    client.sendall(rest)
                    rest = b""
                    continue
                frames, rest = split(rest)
                for frame in frames:
                    out, held = self._harmed(frame, held)
                    client.sendall(out)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _harmed(self, frame, held):
        """The bytes to send now, and those to send after the next message."""
        if b"new_message" not in frame:
            return frame, held
        if held:
            return frame + held, b""
        with self._lock:
            self._passed += 1
            if self.harmed or self._passed <= self.BEFORE:
                return frame, b""
            self.harmed = True
        return {"drop": (b"", b""), "double": (frame + frame, b""), "swap": (b"", frame)}[self.harm]


def split(data):
    """The complete frames of a server (unmasked), and the beginning of the next."""
    frames = []
    while len(data) >= 2:
        at, length = 2, data[1] & 127
        if length == 126:
            at, length = 4, int.from_bytes(data[2:4], "big")
        elif length == 127:
            at, length = 10, int.from_bytes(data[2:10], "big")
        if len(data) < at + length:
            break
        frames.append(data[:at + length])
        data = data[at + length:]
    return frames, data

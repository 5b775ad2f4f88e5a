"""A push service's server in a thread of its own: TLS with HTTP/2, also plain where a port for it is named."""

import asyncio
import subprocess
import threading

from hypercorn.asyncio import serve
from hypercorn.config import Config


class PushServer:
    """A subclass answers: `answer(scope, headers, body)` → status, headers, body. What it raises is `trouble`, and `refused`.

    `delays`: part of a path → seconds before its answer; `begun` has the paths of such requests."""

    # A push's name of its device.
    device = "device"
    refused = (400, {}, b"{}")

    def __init__(self, folder, tls_port, port=None, more_ports=()):
        self.folder, self.tls_port, self.port, self.more_ports = folder, tls_port, port, more_ports
        self.answers, self.pushes, self.trouble = {}, [], []
        self.delays, self.begun = {}, []
        self.changed = threading.Condition()
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.pem", "-days", "2",
                     "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")

    def start(self):
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, cwd=self.folder, capture_output=True)

    def run(self):
        config = Config()
        config.bind = [f"127.0.0.1:{self.tls_port}"]
        config.insecure_bind = [f"127.0.0.1:{port}" for port in (self.port, *self.more_ports) if port]
        config.certfile, config.keyfile = str(self.folder / "tls.pem"), str(self.folder / "tls.key")
        config.accesslog = config.errorlog = None
        config.graceful_timeout = config.shutdown_timeout = 0.2
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(serve(self.app, config, shutdown_trigger=self.stop.wait))

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)

    async def app(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while (part := await receive())["type"] == "http.request":
            body += part["body"]
            if not part["more_body"]:
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        try:
            status, more, text = self.answer(scope, headers, body)
        except Exception as problem:
            self.trouble.append(f"{scope['path']}: {problem!r}")
            status, more, text = self.refused
        for part, seconds in list(self.delays.items()):
            if part in scope["path"]:
                self.begun.append(scope["path"])
                await asyncio.sleep(seconds)
        lines = [(name.encode(), str(value).encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": text})

    def next_answer(self, device, success):
        """The next one that a test wants."""
        waiting = self.answers.get(device, [])
        return waiting.pop(0) if waiting else success

    def record(self, push):
        with self.changed:
            self.pushes.append(push)
            self.changed.notify_all()

    def to(self, device):
        with self.changed:
            return [push for push in self.pushes if push[self.device] == device]

    def sent_to(self, device, count=1, seconds=30):
        """Waits for this many tries."""
        with self.changed:
            there = lambda: [push for push in self.pushes if push[self.device] == device]
            assert self.changed.wait_for(lambda: len(there()) >= count, seconds), f"{there()} {self.trouble}"
            return there()

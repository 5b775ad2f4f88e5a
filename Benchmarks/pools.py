"""A send's time while searches and uploads wait for workers: in one pool with them, and in a pool of its own.

Slow uploads (100 KB/s) hold workers and no CPU, so what they show is the pools' part alone; fast ones take all the CPU of a
small machine as well, which pools can share out (`nice`, few workers) and not make more of.

It starts an fcgi-api of its own with the stack's settings, and speaks FastCGI to its sockets as nginx does."""

import json
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from stack import CHECKOUT, new_user, number, table

SECONDS = number("BENCH_SECONDS", 10)
SEARCHERS, UPLOADERS = number("BENCH_SEARCHERS", 24), number("BENCH_UPLOADERS", 8)
UPLOAD_BYTES = 200_000
# A client that is slower than its worker: eight of them hold eight workers.
SLOW_BYTES_PER_SECOND, SLOW_PIECE = 100_000, 10_000
OWN = """
[messages]
workers = static
workers.max = 4
[search]
workers = static
workers.max = 1
nice = 19
[uploads]
workers = static
workers.max = 1
nice = 19
"""
ONE = "[rooms]\nroutes = rooms, messages, search, uploads\nworkers = static\nworkers.max = 8\n"
SHEDDING = ONE + "max_wait = 100ms\n"


class Api:
    """An fcgi-api with pools from a file."""

    def __init__(self, stack, pools, is_one):
        self.folder = tempfile.TemporaryDirectory(prefix="chat-pools-")
        self.run, self.is_one = Path(self.folder.name, "run"), is_one
        (self.run / "pools.d").mkdir(parents=True)
        (self.run / "pools.d/pools.conf").write_text(pools)
        # The stack's own sockets stay as they are.
        values = {name: value for name, value in stack.settings.items() if not name.startswith("FCGI_")}
        values |= {"RUN_DIR": str(self.run), "FCGI_POOLS_DIR": f"{self.run}/pools.d", "LOG_LEVEL": "error"}
        # Rates are measured elsewhere.
        values |= {f"RATE_{kind}": "60000" for kind in ["SEARCHES", "READS", "UPLOADS", "CHANGES"]}
        (self.run / "chat.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        program = Path(os.environ.get("CHAT_BIN") or CHECKOUT / ".build/release") / "fcgi-api"
        self.process = subprocess.Popen([program, "serve", "-c", self.run / "chat.env"], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.ask("rooms", "GET", "/healthz", "")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError("the fcgi-api to measure did not start")

    def ask(self, pool, method, path, token, body=b"", kind="application/json", is_slow=False):
        """(status, milliseconds)"""
        begin = time.monotonic()
        address, _, query = path.partition("?")
        values = {"REQUEST_METHOD": method, "REQUEST_URI": f"/api/v1{path}", "CHAT_PREFIX": "/api/v1", "PATH_INFO": address,
                  "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1", "CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)),
                  "HTTP_AUTHORIZATION": f"Bearer {token}", "CHAT_SENT": f"{time.time():.3f}"}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(120)
            connection.connect(f"{self.run}/fcgi-{'rooms' if self.is_one else pool}.sock")
            content = records(values, body)
            for start in range(0, len(content), SLOW_PIECE if is_slow else len(content)):
                connection.sendall(content[start:start + SLOW_PIECE] if is_slow else content)
                if is_slow:
                    time.sleep(SLOW_PIECE / SLOW_BYTES_PER_SECOND)
            answer = b""
            while block := connection.recv(65_536):
                answer += block
        return int(answer.split(b"Status: ", 1)[1][:3]) if b"Status: " in answer else 200, (time.monotonic() - begin) * 1000

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.folder.cleanup()


def records(values, body):
    def record(kind, content):
        return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content
    pairs = b""
    for name, value in values.items():
        for part in (name, value):
            length = len(part.encode())
            pairs += struct.pack("!B", length) if length < 128 else struct.pack("!I", length | 1 << 31)
        pairs += (name + value).encode()
    text = record(1, struct.pack("!HB5x", 1, 0)) + record(4, pairs) + record(4, b"")
    for start in range(0, len(body), 65_528):
        text += record(5, body[start:start + 65_528])
    return text + record(5, b"")


def form():
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="File"; filename="a.bin"\r\n\r\n'
    return head.encode() + os.urandom(UPLOAD_BYTES) + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


class Others:
    """Searches and uploads without a pause; counts answers and refusals. Each client is a process of low priority: it
    stands for one on another machine."""

    def __init__(self, stack, api, is_slow):
        self.api, self.is_slow = api, is_slow
        context = multiprocessing.get_context("fork")
        self.counts = {name: context.Value("i", 0) for name in ["searches", "uploads", "refused", "failed"]}
        self.stopped = context.Event()
        works = [self.search] * SEARCHERS + [self.upload] * UPLOADERS
        self.clients = [context.Process(target=self.work, args=(work, *stack.group([new_user()]))) for work in works]
        for client in self.clients:
            client.start()

    def work(self, ask, room, tokens):
        os.nice(19)
        while not self.stopped.is_set():
            status, kind = ask(room, tokens[0])
            count = self.counts["refused" if status == 503 else kind if status < 300 else "failed"]
            with count.get_lock():
                count.value += 1

    def search(self, room, token):
        return self.api.ask("search", "GET", "/search?q=hello", token)[0], "searches"

    def upload(self, room, token):
        body, kind = form()
        return self.api.ask("uploads", "POST", f"/rooms/{room}/files", token, body, kind, self.is_slow)[0], "uploads"

    def stop(self):
        self.stopped.set()
        for client in self.clients:
            client.join(130)


def sends(stack, api):
    """Milliseconds of each send that was stored, and the number of refused ones, one after the other."""
    room, tokens = stack.group([new_user()])
    times, refused, end = [], 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        body = json.dumps({"Content": "hello", "Sign": str(uuid.uuid4())}).encode()
        status, spent = api.ask("messages", "POST", f"/rooms/{room}/messages", tokens[0], body)
        if status == 503:
            refused += 1
            # As its Retry-After says, at least.
            time.sleep(1)
        elif status < 300:
            times.append(spent)
        else:
            raise RuntimeError(f"a send was answered {status}")
    return sorted(times), refused


def measure(stack):
    header = ["pools", "beside", "sends", "p50", "p99", "refused sends", "searches/s", "uploads/s", "refused/s"]
    rows = []
    own, one = "own: 4 + 1 + 1", "one of 8"
    for name, pools, is_one, speed in [
        (own, OWN, False, None), (own, OWN, False, "slowly"), (one, ONE, True, "slowly"),
        (own, OWN, False, "fast"), (one, ONE, True, "fast"), (f"{one}, max_wait = 100ms", SHEDDING, True, "fast"),
    ]:
        api = Api(stack, pools, is_one)
        try:
            others = Others(stack, api, speed == "slowly") if speed else None
            begin = time.monotonic()
            try:
                times, refused = sends(stack, api)
            finally:
                spent = time.monotonic() - begin
                if others:
                    others.stop()
        finally:
            api.stop()
        if others and (failed := others.counts["failed"].value):
            print(f"  {failed} searches or uploads failed")
        pick = [f"{times[int(len(times) * part)]:.0f} ms" for part in (0.5, 0.99)] if times else ["–", "–"]
        rate = [f"{others.counts[name].value / spent:.1f}" for name in ("searches", "uploads", "refused")] if others else ["–"] * 3
        beside = f"{SEARCHERS} searching, {UPLOADERS} uploading {speed}" if others else "nobody"
        rows.append([name, beside, str(len(times)), *pick, str(refused), *rate])
    print(f"\nSends beside searches and uploads of {UPLOAD_BYTES // 1000} KB, {SECONDS} s a row.")
    table(header, rows)

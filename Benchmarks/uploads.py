"""Files of 16 MiB in one chunk each: the CPU time per MiB in every program, beside a PUT to a separate nginx (WebDAV), which only
writes it to disk."""

import http.client
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median

from stack import Clocks, new_user, number, table

MIB = 1 << 20
BYTES = 16 * MIB
FILES = number("BENCH_FILES", 12)
ROUNDS = number("BENCH_ROUNDS", 3)
NAMES = ("nginx", "fcgi-api", "seaweedfs", "queue-worker", "postgres", "redis", "rabbitmq")
CONFIG = """daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}/files; dav_methods PUT; create_full_put_path on; }} }}
}}
"""


class WebDAV:
    """An nginx that accepts files."""

    def __init__(self, folder, port):
        self.port = port
        Path(folder, "files").mkdir()
        Path(folder, "nginx.conf").write_text(
            CONFIG.format(folder=folder, port=port, user="user root;" if os.getuid() == 0 else ""))
        self.process = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", "-e", "stderr"])
        for _ in range(100):
            try:
                http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the nginx to compare with did not start")

    def processes(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [("nginx", "worker", int(pid)) for pid in [self.process.pid, *children]]

    def put(self, name, content):
        send(self.port, "PUT", f"/{name}", content, {}, 201)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def send(port, method, path, content, headers, expect):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    if answer.status != expect:
        raise RuntimeError(f"{method} {path} answered {answer.status}: {raw[:300]}")


def form(content):
    """Sends a chunk as a client program does."""
    edge = uuid.uuid4().hex
    fields = "".join(f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n1\r\n'
                     for name in ("ChunkIndex", "TotalChunk"))
    head = f'{fields}--{edge}\r\nContent-Disposition: form-data; name="File"; filename="blob"\r\n\r\n'
    return head.encode() + content + f"\r\n--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def costs(processes, work):
    """CPU milliseconds per MiB, by program."""
    clocks = Clocks(processes)
    work()
    return {name: seconds * 1000 * MIB / (FILES * BYTES) for name, seconds in clocks.stop()[1].items()}


def ours(stack, room, token, content):
    body, kind = form(content)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    messages = [stack.call("POST", f"/rooms/{room}/messages", token, {"Content": "a.bin", "ContentType": "file"}, 201)
                ["Data"]["ID"] for _ in range(FILES)]

    def work():
        for message in messages:
            send(stack.url.port, "POST", f"/api/v1/files/{message}/upload", body, headers, 200)
    return costs(stack.processes(), work)


def measure(stack):
    room, (token, *_) = stack.group([new_user(), new_user()])
    content = os.urandom(BYTES)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        dav = WebDAV(folder, stack.url.port + 15)
        try:
            runs = [(ours(stack, room, token, content), costs(dav.processes(), lambda: [
                dav.put(uuid.uuid4().hex, content) for _ in range(FILES)])) for _ in range(ROUNDS)]
        finally:
            dav.stop()
    print(f"Uploads: {FILES} files of {BYTES // MIB} MiB, one after the other, medians of {ROUNDS} runs. CPU milliseconds a MiB.")
    rows = [["chat", *(f"{median(run[0].get(name, 0) for run in runs):.2f}" for name in NAMES)],
            ["WebDAV PUT", f"{median(run[1]['nginx'] for run in runs):.2f}", *["-"] * (len(NAMES) - 1)]]
    table(["", *NAMES], rows)
    own = median(run[0]["fcgi-api"] for run in runs)
    print(f"fcgi-api alone: {own / max(1e-9, median(run[1]['nginx'] for run in runs)):.1f} times nginx's own PUT\n", flush=True)

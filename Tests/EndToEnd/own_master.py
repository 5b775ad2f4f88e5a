"""A master of our own beside the stack under test, with its servers and other settings; and a FastCGI client for its
sockets."""

import os
import signal
import socket
import struct
import subprocess

from conftest import program, read_settings
from waiting import eventually, stop

SMALL = {f"FCGI_{pool}_{what}": "1" for pool in ["ROOMS", "MESSAGES", "SEARCH", "UPLOADS", "ACCOUNT"]
         for what in ["WORKERS", "MAX_WORKERS"]}


class Master:
    """`fcgi-api serve` in a folder of its own; what it logs goes to a file, as its service manager would do."""

    def __init__(self, folder, environment=None, **settings):
        self.folder, self.log, self.file = folder, folder / "log", folder / "chat.env"
        self.settings = {name: value for name, value in read_settings().items()
                         if not (name.startswith("FCGI_") and name.endswith("_LISTEN"))}
        self.settings |= SMALL | {"RUN_DIR": str(folder), "SOCKET_GROUP": ""} | settings
        self.write()
        with open(self.log, "w") as out:
            own = os.fstat(out.fileno())
            env = dict(os.environ)
            env.pop("JOURNAL_STREAM", None)
            if environment:
                env |= environment(own)
            self.process = subprocess.Popen([program("fcgi-api"), "serve", "-c", self.file], stderr=out, env=env)

    def write(self, **settings):
        self.settings |= settings
        self.file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))

    def reload(self, **settings):
        self.write(**settings)
        self.process.send_signal(signal.SIGHUP)

    @property
    def lines(self):
        text = self.log.read_text()
        return text[:text.rfind("\n") + 1].split("\n")[:-1]

    def wait(self, found, seconds=60):
        """The first line of which `found` is true."""
        return eventually(lambda: next(filter(found, self.lines), None) or self.must_live(), seconds, self.last_lines)

    def last_lines(self):
        return "\n".join(self.lines[-30:])

    def must_live(self):
        assert self.process.poll() is None, self.last_lines()

    def ready(self, pool="messages", seconds=60):
        """Until a worker of the pool answers."""
        eventually(lambda: self.answers(pool) or self.must_live(), seconds, self.last_lines)

    def answers(self, pool):
        try:
            return self.ask(pool, "GET", "/api/v1/healthz")[0] == 200
        except OSError:
            return False

    def ask(self, pool, method, uri, **headers):
        """(status, {header: value}, body) of one request, as nginx would hand it over."""
        return ask(f"{self.folder}/fcgi-{pool}.sock", method, uri, headers)

    def stop(self):
        stop(self.process)


def ask(path, method, uri, headers, **parameters):
    """One request to a pool's socket, with more of the parameters that nginx would set."""
    values = {"REQUEST_METHOD": method, "REQUEST_URI": uri, "REMOTE_ADDR": "127.0.0.1", **parameters}
    values |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    content = b""
    for name, value in values.items():
        pair = name.encode(), value.encode()
        for part in pair:
            content += struct.pack("!B", len(part)) if len(part) < 128 else struct.pack("!I", len(part) | 1 << 31)
        content += pair[0] + pair[1]

    def record(kind, content):
        return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(record(1, struct.pack("!HB5x", 1, 0)) + record(4, content) + record(4, b"") + record(5, b""))
        got = b""
        while block := connection.recv(65536):
            got += block
    output = b""
    while len(got) >= 8:
        kind, length, padding = got[1], *struct.unpack("!HB", got[4:7])
        if kind == 6:
            output += got[8:8 + length]
        got = got[8 + length + padding:]
    head, _, body = output.partition(b"\r\n\r\n")
    found = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    return int(found["Status"].split()[0]), found, body

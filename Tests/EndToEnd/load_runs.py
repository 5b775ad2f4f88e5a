"""Runs of chat-load, against the stack of the tests or against servers that break their promises."""

import os
import subprocess
import threading

from conftest import program
from waiting import eventually

SECRET = "s" * 40
SMALL = ["--users", "4", "--rooms", "1", "--members", "4", "--duration", "1s", "--ramp", "0s", "--rate", "20", "--patience", "2s"]


class Load:
    """A run in the background; its live lines are conditions to wait for."""

    def __init__(self, base_url, secret, *words, **environment):
        self.process = subprocess.Popen(
            [program("chat-load"), "run", "--url", base_url, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
                 **({"JWT_SECRET": secret} if secret else {}), **environment})
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_until_it_sends(self):
        eventually(lambda: any("acknowledged" in line for line in self.lines) or self.process.poll() is not None, 60,
                   lambda: f"no live line: {self.lines}")
        assert self.process.poll() is None, (self.lines, self.process.stdout.read())

    def end(self):
        """The exit status and everything that it printed."""
        out = self.process.stdout.read()
        status = self.process.wait(120)
        self.reader.join(10)
        return status, out + "".join(self.lines)


def start(server, *words):
    return Load(server.url, SECRET, *SMALL, *words)


def outcomes(servers, *words):
    """All at once: most of their time is waiting. (name, status, text) of each."""
    running = [(name, server, start(server, *words)) for name, server in servers]
    for name, server, load in running:
        status, said = load.end()
        server.close()
        assert status in (0, 1, 2), (name, status, said)
        yield name, status, said


def variants(make, values):
    return [(value, type("Server", (make,), {"value": value})()) for value in values]

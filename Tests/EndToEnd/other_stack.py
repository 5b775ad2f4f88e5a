"""A stack of its own beside the one under test, whose programs are led to other servers."""

import os
import signal
import subprocess

import requests
from client import User
from conftest import CHECKOUT, program
from relays import workers_of
from waiting import eventually

PROGRAMS = ("fcgi-api", "ws-relay", "queue-worker")


class OtherStack:
    def __init__(self, folder, **settings):
        own = {name: value for name, value in os.environ.items()
               if not name.startswith(("MAKE", "MFLAGS", "CHAT_")) and name not in ("BASE_URL", "TEST_ENV_FILE")}
        self.env = own | {"CHAT_DIR": str(folder / "stack"), "CHAT_PORT": "free", "CHAT_BIN": str(program("x").parent),
                          "CHAT_DURABLE": "off"} | settings
        self.file = folder / "stack" / "chat.env"
        assert self.do("up").returncode == 0
        self.base_url = self.do("url").stdout.strip()
        self.settings = self.read()
        self.secret = self.settings["JWT_SECRET"]

    def do(self, word):
        return subprocess.run([CHECKOUT / "deploy/stack/stack", word], cwd=CHECKOUT, env=self.env, stdout=subprocess.PIPE, text=True)

    def read(self):
        return dict(line.split("=", 1) for line in self.file.read_text().splitlines() if "=" in line)

    def lead(self, **settings):
        """The programs' next workers have these settings."""
        self.settings |= settings
        self.file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        for name in PROGRAMS:
            master = self.master(name)
            before = set(workers_of(master))
            os.kill(master, signal.SIGHUP)
            eventually(lambda: (now := set(workers_of(master))) and not now & before, 60, lambda: f"{name} does not reload")
        self.wait()

    def pids(self):
        return [(name, kind, int(pid)) for name, kind, pid in map(str.split, self.do("pids").stdout.splitlines())]

    def master(self, name):
        return next(pid for who, kind, pid in self.pids() if (who, kind) == (name, "master"))

    def user(self):
        return User(self.base_url, self.secret)

    def ready(self):
        return requests.get(f"{self.base_url}/readyz", timeout=30)

    def wait(self):
        eventually(lambda: self.ready().status_code == 200, 60, lambda: self.ready().text)

    def close(self):
        self.do("clean")

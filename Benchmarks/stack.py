"""The measured stack, its users, the CPU times of its processes, and the load client."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

CHECKOUT = Path(__file__).resolve().parents[1]
CLIENT = CHECKOUT / ".build-bench/release/bench-client"
TICK = os.sysconf("SC_CLK_TCK")


def number(name, default):
    return int(os.environ.get(name) or default)


class Stack:
    def __init__(self):
        self.url = urlsplit(os.environ["BASE_URL"])
        lines = Path(os.environ["TEST_ENV_FILE"]).read_text().splitlines()
        self.settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    # -- as a client

    def token(self, user, seconds=7200):
        def encode(part):
            return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        claims = {"sub": user, "exp": int(time.time()) + seconds}
        text = f'{encode(b"""{"alg":"HS256","typ":"JWT"}""")}.{encode(json.dumps(claims).encode())}'
        secret = self.settings["JWT_SECRET"].encode()
        return f"{text}.{encode(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    def call(self, method, path, token, body=None, expect=200, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.url.port, timeout=30)
        headers = {"Authorization": f"Bearer {token}", **({"Content-Type": "application/json"} if body else {})}
        connection.request(method, f"/api/v1{path}", body and json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        if answer.status != expect:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {raw[:300]}")
        return json.loads(raw)

    def group(self, members, name="Benchmark"):
        """Creates a room owned by the first member; returns its id and everybody's token."""
        tokens = [self.token(member) for member in members]
        body = {"Type": "GROUP", "Name": name, "Members": members[1:]}
        return self.call("POST", "/rooms", tokens[0], body, 201)["Data"]["ID"], tokens

    # -- as its operator

    def processes(self):
        """[(name, master or worker, PID)]"""
        answer = subprocess.run([CHECKOUT / "deploy/stack/stack", "pids"], stdout=subprocess.PIPE, text=True, check=True)
        return [(name, kind, int(pid)) for name, kind, pid in map(str.split, answer.stdout.splitlines())]

    def sql(self, text):
        answer = subprocess.run(["psql", "-XAtq", self.settings["DATABASE_URL"], "-c", text], stdout=subprocess.PIPE,
                                text=True, check=True)
        return answer.stdout.strip()


def new_user():
    return str(uuid.uuid4())


def cpu_of(pid, with_children=False):
    """Seconds of user and system time; 0 for a process that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime; and those of children that have ended: PostgreSQL's short-lived workers.
    return sum(map(int, fields[11:15] if with_children else fields[11:13])) / TICK


class Clocks:
    """CPU seconds by process name, and of the machine, between two moments."""

    def __init__(self, processes):
        self.processes = processes
        self.start = self._read()

    def _read(self):
        by_name = {}
        for name, kind, pid in self.processes:
            seconds = cpu_of(pid, with_children=name == "postgres" and kind == "master")
            by_name[name] = by_name.get(name, 0) + seconds
        busy = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        # All but idle and iowait.
        return time.monotonic(), by_name, (sum(busy) - busy[3] - busy[4]) / TICK

    def stop(self):
        """(seconds, CPU seconds by name, CPU seconds of the whole machine)"""
        end = self._read()
        return (end[0] - self.start[0], {name: end[1][name] - self.start[1][name] for name in end[1]},
                end[2] - self.start[2])


class Result:
    def __init__(self, values, seconds, cpu, machine):
        self.values = values
        self.cpu = {**cpu, "client": int(values["client_us"]) / 1e6}
        # Cores that other programs on this machine used meanwhile.
        self.others = max(0.0, machine - sum(self.cpu.values())) / seconds

    def __getitem__(self, name):
        return int(self.values[name])


def run_client(kind, processes, plan="", **values):
    words = [str(CLIENT), kind, *(f"{name}={value}" for name, value in values.items())]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        client.stdin.write(plan)
        client.stdin.flush()
        found = {}
        try:
            if client.stdout.readline().strip() != "ready":
                raise RuntimeError(f"the load client ended with status {client.wait()}")
            clocks = Clocks(processes)
            client.stdin.write("go\n")
            client.stdin.flush()
            taken = None
            for line in client.stdout:
                taken = taken or clocks.stop()
                name, _, value = line.strip().partition(" ")
                if name == "end":
                    break
                found[name] = value
            else:
                raise RuntimeError(f"the load client ended with status {client.wait()}")
        finally:
            client.kill()
    return Result(found, *taken)


def table(header, rows):
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) if not column else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(row, widths))).rstrip(), flush=True)


def natural(text):
    return re.sub(r"\s+", " ", text).strip()

"""1,000,000 messages in 100 rooms by `fcgi-api import` into a database of its own."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from stack import CHECKOUT, cpu_of, number

MESSAGES = number("BENCH_IMPORT", 1_000_000)
ROOMS = 100
WORDS = "Tomorrow at nine we look at the figures of the last week, bring yours and a pencil; "


def write(path):
    with open(path, "w") as file:
        for room in range(ROOMS):
            lines = [{"Kind": "room", "ID": f"r{room}", "Type": "GROUP", "Name": f"Room {room}", "OwnerID": "0",
                      "CreatedAt": "2019-01-01T00:00:00Z"}]
            lines += [{"Kind": "member", "RoomID": f"r{room}", "UserID": str(user), "JoinedAt": "2019-01-01T00:00:00Z",
                       "Role": "MEMBER" if user else "OWNER"} for user in range(10)]
            for n in range(MESSAGES // ROOMS):
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_546_300_800 + n))
                lines.append({"Kind": "message", "ID": f"r{room}/{n}", "RoomID": f"r{room}", "SenderID": str(n % 10),
                              "Content": f"{n} " + (WORDS * 2)[: 60 + n % 80], "CreatedAt": at})
            file.writelines(json.dumps(line) + "\n" for line in lines)


def measure(stack):
    url = stack.settings["DATABASE_URL"]
    name = f"bench_import_{os.getpid()}"
    stack.sql(f"CREATE DATABASE {name}")
    ours = re.sub(r"(dbname=)\S+", rf"\g<1>{name}", url) if "dbname=" in url else re.sub(r"(://[^/]*/)[^?]*", rf"\g<1>{name}", url)
    environment = {**os.environ, "DATABASE_URL": ours, "DATABASE_DIRECT_URL": ours}
    program = [CHECKOUT / os.environ.get("CHAT_BIN", ".build/release") / "fcgi-api"]
    settings = ["-c", os.environ["TEST_ENV_FILE"]]
    try:
        subprocess.run([*program, "migrate", "up", *settings], env=environment, check=True, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory(dir=Path(os.environ["TEST_ENV_FILE"]).parent) as folder:
            path = Path(folder) / "lines"
            write(path)
            run(stack, program, settings, environment, path)
    finally:
        stack.sql(f"DROP DATABASE {name} WITH (FORCE)")


def run(stack, program, settings, environment, path):
    masters = [pid for name, kind, pid in stack.processes() if name == "postgres" and kind == "master"]
    before = [cpu_of(pid, with_children=True) for pid in masters]
    start = time.monotonic()
    process = subprocess.Popen([*program, "import", path, *settings], env=environment, stdout=subprocess.PIPE, text=True)
    answer = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise RuntimeError(f"the import failed: {answer[-500:]}")
    # The session's own process has ended: its time is its parent's children's.
    time.sleep(1)
    postgres = sum(cpu_of(pid, with_children=True) for pid in masters) - sum(before)
    print(f"Import: {MESSAGES:,} messages in {ROOMS} rooms, {path.stat().st_size / 2**20:,.0f} MiB of NDJSON")
    print(f"  {MESSAGES / seconds:,.0f} messages a second ({seconds:.1f} s); CPU: fcgi-api {used.ru_utime + used.ru_stime:.1f} s, "
          f"PostgreSQL {postgres:.1f} s; fcgi-api's memory at most {used.ru_maxrss / 1024:.0f} MiB", flush=True)

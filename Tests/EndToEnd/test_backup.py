"""docs/backup.md, command by command, on the stack under test: yesterday's database under clients that have seen today's
messages. They end with what the database has."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT, program
from node_js import node_is_here  # noqa: F401
from waiting import eventually

sys.path.insert(0, str(CHECKOUT / "Tests/Install"))
import documents  # noqa: E402

# The names that the page's commands call, for a stack that is no machine of its own. What they are given stays as it stands there.
NAMES = """\
runuser() { shift 3; "$@"; }
systemctl() { "$PYTHON" "$UNITS" "$@"; }
tar() { command tar -C "$ROOT" "${@:3}"; }
redis-cli() { command redis-cli -s "$REDIS" "$@"; }
fcgi-api() { "$FCGI_API" "$@"; }
"""
# systemctl of a private stack: supervisord's words.
UNITS = """\
import sys, time
sys.path.insert(0, {stack!r})
from instance import Instance
from supervisor import processes, supervisor
names = {{"chat-ws-relay": "ws-relay", "chat-fcgi-api": "fcgi-api", "chat-queue-worker": "queue-worker"}}
wanted = {{names[word] for word in sys.argv[2:] if word in names}}
state = {{"stop": "STOPPED", "start": "RUNNING"}}[sys.argv[1]]
instance, end = Instance(), time.monotonic() + 60
for process in processes(instance):
    if process["name"] in wanted and process["statename"] != state:
        name = process["group"] + ":" + process["name"]
        ask = supervisor(instance)
        ask.stopProcess(name, False) if state == "STOPPED" else ask.startProcess(name, False)
while any(process["statename"] != state for process in processes(instance) if process["name"] in wanted):
    assert time.monotonic() < end, processes(instance)
    time.sleep(0.05)
"""


@pytest.fixture
def page(settings, tmp_path):
    """Runs what docs/backup.md says below a heading."""
    (tmp_path / "units.py").write_text(UNITS.format(stack=str(CHECKOUT / "deploy/stack")))
    for folder in ("backups", "root/var/lib/chat/files", "root/etc/chat"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root/var/lib/chat/files/one").write_text("kept")
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHON": sys.executable, "ROOT": str(tmp_path / "root"),
                   "UNITS": str(tmp_path / "units.py"), "FCGI_API": str(program("fcgi-api")),
                   "REDIS": settings["REDIS_URL"].removeprefix("unix://"), "PGHOST": f"{settings['RUN_DIR']}/postgres", "PGUSER": "chat"}

    def run(heading):
        [script] = [script for found, script in documents.blocks("backup") if found == heading]
        for path, ours in (("/var/backups", tmp_path / "backups"), ("/etc/chat/.env", os.environ["TEST_ENV_FILE"])):
            script = script.replace(path, shlex.quote(str(ours)))
        answer = subprocess.run(["bash", "-euo", "pipefail", "-c", NAMES + script], env=environment, text=True, timeout=200,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert answer.returncode == 0, answer.stdout
        return answer.stdout

    run.root = tmp_path / "root"
    yield run
    # Also after a restore that stopped halfway.
    subprocess.run([sys.executable, tmp_path / "units.py", "start", "chat-ws-relay", "chat-fcgi-api", "chat-queue-worker"], check=True)


class Copy:
    """A client of clients/js with its copy of one room."""

    def __init__(self, user, room):
        self.process = subprocess.Popen(
            ["node", "--experimental-websocket", CHECKOUT / "clients/js/test/restored.mjs"], text=True, bufsize=1, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, "URL": user.base_url, "TOKEN": user.token, "ROOM": room})

    def tell(self):
        self.process.stdin.write("\n")
        return json.loads(self.process.stdout.readline())

    def until(self, holds, seconds=90):
        eventually(lambda: holds(self.tell()), seconds, self.tell)

    def close(self):
        self.process.kill()
        self.process.wait()


def say(user, room, *texts):
    """Until it is stored: the programs may have been started a moment ago."""
    for text in texts:
        eventually(lambda: is_stored(user, room, text), why=lambda: f"not stored: {text}", pause=0.2)


def is_stored(user, room, text):
    status = user.rest("POST", f"/rooms/{room}/messages", {"Content": text, "Sign": text}).status_code
    assert status in (201, 202, 502, 503), status
    return status == 201


def test_clients_that_saw_more_than_the_backup_end_with_what_it_has(ann, bob, page, psql):
    room = ann.group(bob)
    say(ann, room, *[f"kept {number}" for number in range(5)])
    # A room whose messages are in the index of words, which begins with Seq 32: a restore builds it again.
    long = ann.group(name="Long")
    say(ann, long, *[f"word{number} sentence" for number in range(40)])
    page("Back up")
    epoch = ann.data("GET", f"/rooms/{room}")["Epoch"]
    copies = [Copy(ann, room), Copy(bob, room)]
    try:
        say(ann, room, *[f"lost {number}" for number in range(5)])
        for copy in copies:
            copy.until(lambda told: told["seq"] == 10 and len(told["list"]) == 10 and told["epoch"] == epoch)
        # One is away until the Seqs of its lost messages have all been given again; the other comes back as soon as it can.
        copies[1].process.send_signal(signal.SIGSTOP)
        (page.root / "var/lib/chat/files/one").unlink()
        assert "rooms with another epoch: " in page("Restore")
        assert (page.root / "var/lib/chat/files/one").read_text() == "kept"
        say(ann, room, *[f"new {number}" for number in range(8)])
        copies[1].process.send_signal(signal.SIGCONT)
        now = ann.data("GET", f"/rooms/{room}")
        history = [[message["ID"], message["Seq"], message["Content"]] for message in ann.history(room)]
        assert [content for _, _, content in history] == [*[f"kept {n}" for n in range(5)], *[f"new {n}" for n in range(8)]]
        assert now["Epoch"] > epoch and now["LastSeq"] == 13
        assert len(ann.data("GET", f"/rooms/{long}/search?q=word38")) == 1
        assert psql().ask("SELECT indisvalid FROM pg_index WHERE indexrelid = 'messages_room_words'::regclass") == ["t"]
        for copy in copies:
            copy.until(lambda told: told == {"epoch": now["Epoch"], "seq": 13, "list": history})
    finally:
        for copy in copies:
            copy.close()

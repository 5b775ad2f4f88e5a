"""Databases to import into, and lines to import."""

import contextlib
import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path

import requests
from conftest import program, server_key
from hosted import NAMESPACE
from waiting import eventually


def told(text):
    return [(int(line), sentence) for line, sentence in re.findall(r"^line (\d+): (.*)$", text, re.MULTILINE)]


def room_id(name):
    return str(uuid.uuid5(NAMESPACE, f"room:{name}"))


def message_id(name):
    return str(uuid.uuid5(NAMESPACE, f"message:{name}"))


class Base:
    """A database: fcgi-api's commands run on it."""

    def __init__(self, url):
        self.url = url
        self.environment = {**os.environ, "DATABASE_URL": url, "DATABASE_DIRECT_URL": url}
        self.psql = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]

    def command(self, *words):
        return [program("fcgi-api"), *words, "-c", os.environ["TEST_ENV_FILE"]]

    def run(self, *words, text=None, code=0):
        """code None: any."""
        answer = subprocess.run(self.command(*words), env=self.environment, input=text, timeout=300,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert code is None or answer.returncode == code, answer.stdout.decode()[-3000:] + answer.stderr.decode()[-3000:]
        return answer.stdout

    def ask(self, sql):
        answer = subprocess.run([self.psql, "-XqAt", self.url, "-c", sql], stdout=subprocess.PIPE, text=True, check=True)
        return answer.stdout.strip()

    def store(self, lines, *words, code=0):
        """Imports lines: objects, or texts as they are."""
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        return self.run("import", "-", *words, text=text.encode(), code=code).decode()

    def problems(self, lines, *words):
        """[(line, sentence)] of what was refused."""
        found = self.store(lines, *words, code=1)
        assert "nothing was stored" in found
        return told(found)

    def differences(self, lines, *words):
        """[(line, sentence)] of what is here otherwise; everything else is stored."""
        return told(self.store(lines, *words, code=3))

    def rows(self):
        tables = ["users", "rooms", "members", "messages", "message_edits", "room_events", "file_links", "uploads", "accounts", "blocks"]
        return [int(self.ask(f"SELECT count(*) FROM {table}")) for table in tables]


def at(number):
    """A time in the past, later for each number."""
    seconds = 1_500_000_000 + number
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".250Z"


def small_room(room="kitchen", messages=5, users=("1", "2")):
    yield {"Kind": "room", "ID": room, "Type": "GROUP", "Name": room, "OwnerID": users[0], "CreatedAt": at(0)}
    for user in users:
        yield {"Kind": "member", "RoomID": room, "UserID": user, "Role": "OWNER" if user == users[0] else "MEMBER",
               "JoinedAt": at(0)}
    for number in range(1, messages + 1):
        yield {"Kind": "message", "ID": f"{room}/{number}", "RoomID": room, "SenderID": users[number % len(users)],
               "Content": f"{room} {number}", "CreatedAt": at(number)}


# Message 9 of the small room.
MESSAGE = {"Kind": "message", "ID": "m", "RoomID": "kitchen", "SenderID": "1", "Content": "x", "CreatedAt": at(9)}


def forwarding(original, sender, room, **fields):
    return {"Kind": "message", "ID": f"{room}/forward", "RoomID": room, "SenderID": sender, "Content": "-", "MessageType": "forwarded",
            "ParentMessageID": original, "ForwardedFrom": original, "CreatedAt": at(50), **fields}


def member(user, room="kitchen", **fields):
    return {"Kind": "member", "RoomID": room, "UserID": user, "JoinedAt": at(0), **fields}


def room_line(name="kitchen", **fields):
    return {"Kind": "room", "ID": name, "Type": "GROUP", "Name": name, "OwnerID": "1", "CreatedAt": at(0), **fields}


def started(base, lines):
    process = subprocess.Popen(base.command("import", "-"), env=base.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write("\n".join(map(json.dumps, lines)))
    process.stdin.close()
    return process


def text(lines):
    return "\n".join(map(json.dumps, lines)).encode()


def admin(base_url, method, path, body=None):
    with server_key("admin") as key:
        return requests.request(method, f"{base_url}/api/v1/admin{path}", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def erase(base_url, user):
    def done():
        answer = admin(base_url, "DELETE", f"/users/{user.id}")
        assert answer.status_code in (200, 202, 503), answer.text
        return answer.status_code == 200 or None
    eventually(done, 60)


@contextlib.contextmanager
def held_at_messages(base, lines):
    """An import that waits when it has stored the first messages of a large room, until the end of the block."""
    base.ask("""
        CREATE FUNCTION hold_large() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM rooms WHERE deleted_at = 'infinity') THEN PERFORM pg_advisory_xact_lock(78); END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER hold_large AFTER INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION hold_large()""")
    session = subprocess.Popen([base.psql, "-XqAt", base.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    process = None
    try:
        session.stdin.write("SELECT pg_advisory_lock(78), 'held';\n")
        assert session.stdout.readline() == "|held\n"
        process = started(base, lines)
        eventually(lambda: base.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "1" or None, 60)
        yield process
    finally:
        session.stdin.close()
        session.wait()
        if process:
            process.said = process.stdout.read()
            process.wait(120)
        base.ask("DROP TRIGGER hold_large ON messages; DROP FUNCTION hold_large()")

"""Two clients change one room against each other: they send, edit, delete, react, pin, leave, return by a link, remove, ban, mute
and promote each other at random, while queue workers are killed. Each keeps a copy of the room, built from its frames, and from
`changed_since` for the time when it was not a member. At the end both copies must equal the database.

FIGHT_STEPS=10000 is the long run; FIGHT_SEEDS=1,2,3 runs several.
"""

import os
import random
import signal
import threading
import time
import uuid

import pytest
import requests
from client import message_frame
from waiting import eventually

STEPS = int(os.environ.get("FIGHT_STEPS", "500"))
SEEDS = [int(seed) for seed in os.environ.get("FIGHT_SEEDS", "1").split(",")]
# Steps of one client between two kills of a worker.
KILL_EVERY = 100
# The allowed answers to a wild request, and to one during an outage.
EXPECTED = {202, 403, 404, 409, 410, 503}
REFUSALS = {"not_a_member", "message_not_found", "muted", "banned", "busy", "unavailable"}


class Copy:
    """One client's copy of the room."""

    def __init__(self, room):
        self.room, self.messages, self.last, self.trouble = room, {}, 0, []
        self.is_in = True

    def put(self, message):
        known = self.messages.get(message["ID"])
        if known is None or known["ChangeSeq"] <= message["ChangeSeq"]:
            self.messages[message["ID"]] = message

    def apply(self, frame):
        if frame.get("RoomID") != self.room or not frame.get("Seq"):
            return
        seq, data = frame["Seq"], frame["Data"]
        change = data.get("Change") if frame["Type"] in ("room_updated", "response") else None
        comes = change == "joined" and not self.is_in
        if not self.is_in and not comes:
            self.trouble.append(f"{frame['Type']} {seq} reached who is no member")
        if self.is_in and seq != self.last + 1:
            self.trouble.append(f"{seq} came after {self.last}")
        self.is_in, self.last = True, seq
        if "ID" in data and "ChangeSeq" in data:
            self.put(data)
        if change in ("pinned", "unpinned") and data["MessageID"] in self.messages:
            self.put({**self.messages[data["MessageID"]], "PinnedAt": data["PinnedAt"], "ChangeSeq": seq})


class Fighter:
    def __init__(self, user, room, link, seed):
        self.user, self.room, self.link = user, room, link
        self.chance = random.Random(f"{seed} {link['name']}")
        self.copy, self.seen = Copy(room), 0
        # The Seq since which messages are missing; None: nothing is missing.
        self.missed_since = None
        self.done, self.codes = 0, {}
        # This client's messages that wait for their files.
        self.pending = [str(uuid.uuid4())]
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {user.token}"
        self.socket = user.socket()

    def ask(self, method, path, body=None):
        answer = self.http.request(method, f"{self.user.base_url}/api/v1{path}", json=body, timeout=60)
        self.codes[answer.status_code] = self.codes.get(answer.status_code, 0) + 1
        assert answer.status_code < 300 or answer.status_code in EXPECTED, f"{method} {path}: {answer.text[:300]}"
        return answer

    def ask_socket(self, frame):
        """Retries like the REST client: a worker may just have been killed, on a busy machine."""
        self.socket.send(frame)
        return self.socket.wait(
            lambda answer: answer["Type"] == "response" and answer.get("Sign") == frame["Sign"], seconds=60)

    def read_frames(self):
        """Frames since the last call; after an absence also the room's changes meanwhile."""
        frames, self.seen = self.socket.frames[self.seen:], len(self.socket.frames)
        me = self.user.id
        for frame in frames:
            before, was_in = self.copy.last, self.copy.is_in
            self.copy.apply(frame)
            if not was_in and self.copy.is_in:
                self.catch_up(before if self.missed_since is None else self.missed_since)
            data = frame.get("Data") or {}
            if frame.get("RoomID") == self.room and data.get("Change") in ("left", "removed", "banned"):
                if data["Member"]["UserID"] == me:
                    self.copy.is_in = False

    def catch_up(self, since):
        self.missed_since = since
        while since is not None:
            answer = self.ask("GET", f"/rooms/{self.room}/messages?changed_since={since}&limit=100")
            if answer.status_code != 200:
                return  # out again already: it is asked for after the next return
            page = answer.json()
            for message in page["Data"]:
                self.copy.put(message)
            since = page["Next"]
        self.missed_since = None

    def message(self):
        """Any message that this client knows."""
        return self.chance.choice(sorted(self.copy.messages)) if self.copy.messages else str(uuid.uuid4())

    def step(self, other):
        self.read_frames()
        pick, room, chance = self.message(), f"/rooms/{self.room}", self.chance
        them = f"{room}/members/{other.user.id}"
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        deeds = [
            (30, "POST", f"{room}/messages", {"Content": f"{self.done} of {self.link['name']}"}),
            (6, "POST", f"{room}/messages", {"Content": "re", "MessageType": "replied", "ParentMessageID": pick}),
            (14, "PATCH", f"/messages/{pick}", {"Content": f"edit {self.done}", **self.base()}),
            (8, "DELETE", f"/messages/{pick}", None),
            (5, "POST", f"{room}/messages", {"Content": "a.txt", "ContentType": "file"}),
            (2, "DELETE", f"/files/{chance.choice(self.pending)}", None),
            (4, "FILE", f"/files/{chance.choice(self.pending)}/upload", None),
            (14, "PUT", f"/messages/{pick}/reactions/{chance.choice('👍👎🎉')}", None),
            (6, "DELETE", f"/messages/{pick}/reactions/{chance.choice('👍👎🎉')}", None),
            (5, "PUT", f"/messages/{pick}/pin", None),
            (5, "DELETE", f"/messages/{pick}/pin", None),
            (6, "POST", f"{room}/seen", {}),
            (4, "DELETE", f"{room}/members/{self.user.id}", None),
            (12, "POST", "/rooms/join", {"Token": self.link["token"]}),
            (3, "POST", f"{room}/members", {"UserID": other.user.id}),
            (2, "DELETE", them, None),
            (2, "PATCH", them, {"Banned": True}),
            (8, "PATCH", them, {"Banned": False}),
            (2, "PATCH", them, {"MutedUntil": soon}),
            (6, "PATCH", them, {"Role": chance.choice(["ADMIN", "MEMBER", "OWNER"])}),
            (2, "PATCH", room, {"Name": f"name {self.done}"}),
        ]
        _, method, path, body = chance.choices(deeds, [deed[0] for deed in deeds])[0]
        if method == "FILE":
            self.complete(path)
        elif path.endswith("/messages") and chance.random() < 0.3:
            answer = self.ask_socket(message_frame(RoomID=self.room, **body))
            assert answer["Success"] or answer["Error"].split(":")[0] in REFUSALS, answer["Error"]
        else:
            answer = self.ask(method, path, body)
            if (body or {}).get("ContentType") == "file" and answer.status_code == 201:
                self.pending.append(answer.json()["Data"]["ID"])
        self.done += 1

    def complete(self, path):
        form = [("File", ("x", b"text")), ("ChunkIndex", (None, "1")), ("TotalChunk", (None, "1"))]
        answer = self.http.post(f"{self.user.base_url}/api/v1{path}", files=form, timeout=60)
        self.codes[answer.status_code] = self.codes.get(answer.status_code, 0) + 1
        assert answer.status_code < 300 or answer.status_code in EXPECTED, f"{path}: {answer.text[:300]}"

    def base(self):
        """Half of the edits are conditional: nobody may have edited since."""
        return {"BaseSeq": self.copy.last} if self.chance.random() < 0.5 else {}


def kill_workers(pids, fighters, chance, trouble):
    """Kills a worker each time the clients have made this many steps."""
    next_kill, kills = KILL_EVERY, 0
    while any(fighter.thread.is_alive() for fighter in fighters):
        if sum(fighter.done for fighter in fighters) >= next_kill:
            next_kill += KILL_EVERY
            workers = [pid for name, kind, pid in pids() if (name, kind) == ("queue-worker", "worker")]
            if workers:
                try:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass  # it ended by itself between the question and the signal
        time.sleep(0.05)
    return kills


def fight(fighters, steps, trouble):
    def run(mine, theirs):
        try:
            for _ in range(steps):
                mine.step(theirs)
        except Exception as error:  # a thread's exception would be lost
            trouble.append(repr(error))

    for mine, theirs in (fighters, reversed(fighters)):
        mine.thread = threading.Thread(target=run, args=(mine, theirs))
    for fighter in fighters:
        fighter.thread.start()


def make_peace(host, room, fighters):
    """Everyone is a member again, and both have received everything."""
    for fighter in fighters:
        host.rest("PATCH", f"/rooms/{room}/members/{fighter.user.id}", {"Banned": False})
        host.rest("POST", f"/rooms/{room}/members", {"UserID": fighter.user.id}, 201)
    end = host.data("POST", f"/rooms/{room}/messages", {"Content": "peace"}, 201)["Seq"]

    def has_come():
        for fighter in fighters:
            fighter.read_frames()
        return all(fighter.copy.last >= end for fighter in fighters)

    eventually(has_come, 30, lambda: f"not all of {end} came: {[fighter.copy.last for fighter in fighters]}")


@pytest.mark.parametrize("seed", SEEDS)
def test_both_copies_are_what_the_database_has(make_user, pids, seed):
    host, users = make_user(), [make_user(), make_user()]
    room = host.group(*users)
    for user in users:
        host.data("PATCH", f"/rooms/{room}/members/{user.id}", {"Role": "ADMIN"})
    token = host.data("POST", f"/rooms/{room}/invitations", {}, 201)["Token"]
    host.data("PATCH", f"/rooms/{room}/members/{users[0].id}", {"Role": "OWNER"})
    start = host.data("GET", f"/rooms/{room}")["LastSeq"]
    fighters = [Fighter(user, room, {"token": token, "name": name}, seed) for user, name in zip(users, ("one", "two"))]
    for fighter in fighters:
        fighter.copy.last = start
        fighter.catch_up(0)

    trouble = []
    fight(fighters, STEPS // 2, trouble)
    kills = kill_workers(pids, fighters, random.Random(seed), trouble)
    assert trouble == []
    make_peace(host, room, fighters)

    stored = {message["ID"]: message for message in host.history(room)}
    for fighter in fighters:
        # The seen state depends on the moment; frames report everything else.
        assert fighter.copy.trouble == []
        assert plain(fighter.copy.messages) == plain(stored)
        assert fighter.socket.closed is None
    assert kills >= STEPS // KILL_EVERY - 2
    print(f"\nseed {seed}: {sum(fighter.done for fighter in fighters)} steps, {kills} kills, {len(stored)} messages, "
          f"answers {[fighter.codes for fighter in fighters]}")


def plain(messages):
    return {id: {**message, "Status": message["Status"].replace("seen", "sent")} for id, message in messages.items()}

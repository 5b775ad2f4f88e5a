"""An import that is killed and resumed while users write, leave, delete rooms, open rooms and are erased."""

import itertools
import random
import secrets
import subprocess
import threading

import pytest
from importing import at, erase, member, room_id, room_line, small_room, text
from waiting import eventually

# What must hold for each room of a list, whatever came between.
RULES = {
    "members are counted": "r.member_count <> (SELECT count(*) FROM members p WHERE p.room_id = r.id AND p.left_at IS NULL AND p.banned_at IS NULL)",
    "messages are counted": "r.message_count <> (SELECT count(*) FROM messages m WHERE m.room_id = r.id AND m.seq > 0 AND m.message_type <> 4)",
    "the last Seq is the last one": "r.last_message_seq <> (SELECT coalesce(max(seq), 0) FROM messages m WHERE m.room_id = r.id) OR r.last_message_seq > r.last_seq",
    "every Seq is told": "EXISTS (SELECT FROM generate_series(greatest(1, r.last_seq - 1000), r.last_seq) g (seq) "
                         "WHERE NOT EXISTS (SELECT FROM messages m WHERE m.room_id = r.id AND m.seq = g.seq) "
                         "AND NOT EXISTS (SELECT FROM room_events e WHERE e.room_id = r.id AND e.seq = g.seq))",
    "each sender's are counted": "EXISTS (SELECT FROM members p WHERE p.room_id = r.id AND p.sent_count <> (SELECT count(*) FROM messages m "
                                 "WHERE m.room_id = r.id AND m.sender_id = p.user_id AND m.seq > 0 AND m.message_type <> 4))",
    "a room with members has its OWNER": "r.type <> 1 AND r.deleted_at IS NULL AND NOT EXISTS (SELECT FROM members p WHERE p.room_id = r.id "
                                         "AND p.user_id = r.owner_id AND p.role = 3 AND p.left_at IS NULL AND p.banned_at IS NULL)",
    "none is half": "r.deleted_at = 'infinity'",
}


class Crowd:
    """Users who do what they may, one after the other, until the end."""

    def __init__(self, seed, users, rooms, base_url):
        self.random, self.users, self.rooms, self.base_url = random.Random(seed), users, rooms, base_url
        self.erased, self.done, self.problems = [], threading.Event(), []
        self.thread = threading.Thread(target=self.act)

    def act(self):
        try:
            while not self.done.is_set():
                self.one()
        except Exception as problem:  # noqa: BLE001
            self.problems.append(problem)

    def one(self):
        user, other = self.random.sample([user for user in self.users if user not in self.erased], 2)
        room, choice = self.random.choice(self.rooms), self.random.random()
        if choice < 0.6:
            answer = user.rest("POST", f"/rooms/{room}/messages", {"Content": secrets.token_hex(4)})
        elif choice < 0.7:
            answer = user.rest("DELETE", f"/rooms/{room}/members/{user.id}")
        elif choice < 0.8:
            answer = user.rest("POST", f"/rooms/{room}/members", {"Members": [other.id]})
        elif choice < 0.9:
            answer = user.rest("POST", "/rooms", {"Type": "PRIVATE", "Members": [other.id]})
        elif choice < 0.93:
            answer = user.rest("DELETE", f"/rooms/{room}")
        elif choice < 0.96 and len(self.erased) < 2:
            self.erased.append(user)
            threading.Thread(target=erase, args=[self.base_url, user]).start()
            return
        else:
            answer = user.rest("GET", f"/rooms/{room}")
        assert answer.status_code < 500 or answer.status_code == 503, answer.text


def history(users, name):
    """A large room, small ones, one that is in use, and rooms of pairs."""
    ids = [user.id for user in users]
    for room, count in ((f"{name} used", 900), *((f"{name} {n}", 60) for n in range(6)), (f"{name} large", 6500)):
        yield from small_room(room, count, ids)
    for number, (one, other) in enumerate(itertools.pairwise(ids)):
        pair = f"{name} pair {number}"
        yield room_line(pair, Type="PRIVATE", Members=[one, other], OwnerID=one)
        yield from (member(one, pair), member(other, pair))
        yield from ({"Kind": "message", "ID": f"{pair}/{n}", "RoomID": pair, "SenderID": (one, other)[n % 2], "Content": f"{n}", "CreatedAt": at(n)}
                    for n in range(20))


@pytest.mark.parametrize("seed", range(2))
def test_rooms_are_whole_whatever_users_do_while_an_import_is_killed_and_resumed(here, make_user, base_url, tmp_path, seed):
    users, name = [make_user() for _ in range(6)], secrets.token_hex(6)
    names = [f"{name} used", f"{name} large", *(f"{name} {n}" for n in range(6))]
    here.store(small_room(names[0], 10, [user.id for user in users]))
    path = tmp_path / "file.ndjson"
    path.write_bytes(text(history(users, name)))
    crowd = Crowd(seed, users, [room_id(one) for one in names], base_url)
    crowd.thread.start()
    moments = random.Random(seed)
    for _ in range(4):
        count = "SELECT count(*) FROM messages"
        aim = int(here.ask(count)) + moments.randrange(3000)
        process = subprocess.Popen(here.command("import", path), env=here.environment, stdout=subprocess.DEVNULL)
        eventually(lambda: process.poll() is not None or int(here.ask(count)) >= aim or None, 120, pause=0.01)  # noqa: B023
        process.kill()
        process.wait()
    said = here.run("import", path, code=None).decode()
    crowd.done.set()
    crowd.thread.join()
    assert not crowd.problems and "stored: " in said, (crowd.problems, said[-500:])
    for user in crowd.erased:
        erase(base_url, user)
    rooms = "r.id IN (SELECT room_id FROM members WHERE user_id IN ({}))".format(", ".join(f"'{user.id}'" for user in users))
    for rule, broken in RULES.items():
        assert here.ask(f"SELECT r.id, r.name, r.type FROM rooms r WHERE ({broken}) AND {rooms}") == "", rule
    gone = ", ".join(f"'{user.id}'" for user in crowd.erased) or "NULL"
    assert here.ask(f"SELECT count(*) FROM messages WHERE sender_id IN ({gone}) AND deleted_at IS NULL AND message_type <> 4") == "0"
    assert here.ask(f"SELECT count(*) FROM members WHERE user_id IN ({gone}) AND left_at IS NULL") == "0"
    # A last run finds nothing to do.
    assert "0 rooms, 0 members, 0 messages" in here.run("import", path, code=None).decode()

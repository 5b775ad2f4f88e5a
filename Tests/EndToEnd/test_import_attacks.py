"""fcgi-api import: stopped or killed at any moment, and with files that are hostile or wrong."""

import contextlib
import hashlib
import json
import secrets
import signal
import subprocess
import time
import uuid

import pytest
from client import message_frame
from hosted import NAMESPACE
from importing import (
    MESSAGE,
    at,
    forwarding,
    member,
    message_id,
    room_id,
    room_line,
    small_room,
    started,
)
from uploads import begin, post
from waiting import eventually

HOLES = ("SELECT count(*) FROM generate_series(1, (SELECT last_seq FROM rooms WHERE id = '{0}')) g (seq) "
         "WHERE NOT EXISTS (SELECT FROM messages m WHERE m.room_id = '{0}' AND m.seq = g.seq) "
         "AND NOT EXISTS (SELECT FROM room_events e WHERE e.room_id = '{0}' AND e.seq = g.seq)")


@contextlib.contextmanager
def hidden_until_killed(base, lines):
    """An import that waits before it shows its large room, and is killed at the end of the block."""
    base.ask("""
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM rooms r JOIN messages m ON m.room_id = r.id WHERE r.deleted_at = 'infinity' AND m.seq > 5000) THEN
                PERFORM pg_advisory_xact_lock(77);
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER hold BEFORE INSERT ON room_events FOR EACH STATEMENT EXECUTE FUNCTION hold()""")
    session = subprocess.Popen([base.psql, "-XqAt", base.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    process = None
    try:
        session.stdin.write("SELECT pg_advisory_lock(77), 'held';\n")
        assert session.stdout.readline() == "|held\n"
        process = started(base, lines)
        eventually(lambda: base.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "1" or None, 60)
        yield
    finally:
        if process:
            process.kill()
            process.wait()
        session.stdin.close()
        session.wait()
        base.ask("DROP TRIGGER hold ON room_events; DROP FUNCTION hold()")


def edits(room, number, count=1):
    return [{"Kind": "edit", "MessageID": f"{room}/{number}", "Content": f"before {n}", "ReplacedAt": at(number + n)} for n in range(count)]


def test_a_stopped_import_holds_no_lock_in_a_room_that_is_in_use(here, ann, bob):
    name = secrets.token_hex(6)
    here.store(small_room(name, 1, (ann.id, bob.id)))
    room = room_id(name)
    count = f"SELECT count(*) FROM messages WHERE room_id = '{room}'"
    state = "SELECT state FROM pg_stat_activity WHERE application_name = 'fcgi-api import'"
    process = started(here, small_room(name, 8000, (ann.id, bob.id)))
    try:
        for number in range(30):
            stored = int(here.ask(count))
            eventually(lambda: process.poll() is not None or int(here.ask(count)) > stored or None, 60, pause=0.001)  # noqa: B023
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGSTOP)
            # A statement that runs may end; after it no transaction is open.
            eventually(lambda: here.ask(state) in ("idle", ""), 10, lambda: f"stop {number}: {here.ask(state)}")
            ann.data("POST", f"/rooms/{room}/messages", {"Content": f"live {number}"}, 201)
            process.send_signal(signal.SIGCONT)
    finally:
        process.send_signal(signal.SIGCONT)
        said = process.stdout.read()
    assert process.wait() == 0, said
    history = ann.history(room)
    assert [message["Seq"] for message in history] == list(range(1, len(history) + 1))
    assert [message["Content"] for message in history if message["Content"].startswith(name)] == [f"{name} {n}" for n in range(1, 8001)]


def test_every_seq_of_an_appended_edit_is_told(here, ann, bob):
    name = secrets.token_hex(6)
    users = (ann.id, bob.id)
    here.store(small_room(name, 3, users))
    room = room_id(name)
    lines = [*small_room(name, 700, users), *edits(name, 5, 3), *edits(name, 6), *edits(name, 699, 2), *edits(name, 700, 2)]
    with bob.socket() as live:
        here.store(lines)
        # Also the Seqs behind the last message.
        live.wait(lambda frame: frame.get("Seq") == 700 + 8, 60)
    assert here.ask(HOLES.format(room)) == "0"
    assert ann.data("GET", f"/rooms/{room}")["LastSeq"] == 708
    with ann.socket() as socket:
        socket.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": 3}]})
        socket.wait(lambda frame: frame.get("Seq") == 708, 60)
    [edited] = [message for message in ann.history(room) if message["Content"] == f"{name} 5"]
    assert len(ann.data("GET", f"/messages/{edited['ID']}/edits")) == 3 and edited["EditedAt"]


def test_a_forwarded_message_of_the_file_takes_no_file_of_others(here, ann, bob, make_user):
    carol = make_user()
    room = ann.group(bob)
    file = begin(ann, room)
    post(ann, file, b"for bob alone")
    name = secrets.token_hex(6)
    shown = {"ContentType": "file", "Content": "stolen.bin", "File": {"Name": "stolen.bin", "Size": 13}}
    mine = list(small_room(name, 1, (carol.id, carol.id)))[:2]
    sentence = "ForwardedFrom: the message is none that the sender may see, so this one is stored without it"
    claimed = {"Kind": "message", "ID": file, "RoomID": room, "SenderID": ann.id, "Content": "x", "CreatedAt": at(1)}
    for number, foreign in enumerate((
        [forwarding(file, carol.id, name, **shown)],
        # An address would lead all readers of the original elsewhere.
        [forwarding(file, carol.id, name, **{**shown, "File": {**shown["File"], "URL": "https://evil.example/"}})],
        # Nor does a line help that says that the original is a message of this file.
        [claimed, forwarding(file, carol.id, name, **shown)],
    )):
        foreign[-1]["ID"] = f"{name}/{number}"
        assert (2 + len(foreign), sentence) in here.differences([*mine, *foreign])
    for stored in carol.history(room_id(name)):
        assert stored["ForwardedFrom"] is None
        answer = carol.rest("GET", f"/files/{stored['ID']}", allow_redirects=False)
        assert file not in answer.headers.get("Location", "")
    # Nor does a name do that nobody has yet.
    unknown = forwarding(str(uuid.uuid4()), carol.id, name, **shown)
    assert (3, "ForwardedFrom names no message of the file or of a room of the sender") in here.problems([*mine, unknown])
    # Whoever may see it, may forward it; its address stays as it is.
    name = secrets.token_hex(6)
    bobs = list(small_room(name, 0, (bob.id, carol.id)))
    here.store([*bobs, forwarding(file, bob.id, name, **{**shown, "File": {**shown["File"], "URL": "https://evil.example/"}})])
    assert here.ask(f"SELECT count(*) FROM file_links WHERE message_id = '{file}'") == "0"
    answer = ann.rest("GET", f"/files/{file}", expect=302, allow_redirects=False)
    assert "evil" not in answer.headers["Location"]


def test_what_is_forwarded_within_a_file_keeps_its_address(empty):
    link = {"Name": "a", "Size": 1, "URL": "https://old.example/a"}
    original = {**MESSAGE, "ContentType": "file", "File": link}
    forward = forwarding("m", "2", "kitchen", ContentType="file", Content="a", File=link)
    lines = [*small_room(messages=0), original, forward]
    empty.store(lines)
    assert empty.ask("SELECT message_id, url FROM file_links") == f"{message_id('m')}|https://old.example/a"
    before = empty.run("export", "--all")
    assert "0 messages" in empty.run("import", "-", text=before).decode()
    other = {**forward, "ID": "n", "File": {**link, "URL": "https://old.example/b"}}
    assert empty.problems([*lines, other]) == [(6, "File: URL is not that of line 4, which is forwarded")]
    for wrong, sentence in (({"MessageType": "direct"}, "ForwardedFrom is for forwarded messages"),
                            ({"ForwardedFrom": "kitchen/forward"}, "ForwardedFrom names a forwarded message: the first one of the chain is needed")):
        assert sentence in [text for _, text in empty.problems([*lines, {**forward, "ID": "n", **wrong}])]


def test_a_corrected_file_after_a_kill_makes_the_state_of_the_file(empty, make_base):
    wrong = list(small_room("hall", 9000, ("1", "2", "3"))) + list(small_room("small", 3))
    with hidden_until_killed(empty, wrong):
        assert empty.ask("SELECT name FROM rooms WHERE deleted_at IS NULL") == "small"
    # Nobody has seen the hall: its third member and a half of its messages were a mistake.
    assert empty.ask("SELECT name, (SELECT count(*) FROM messages m WHERE m.room_id = r.id) FROM rooms r WHERE deleted_at = 'infinity'"
                     ) == "hall|9000"
    right = [line for line in small_room("hall", 4000) if line.get("Name") != "hall"]
    right.insert(0, {"Kind": "room", "ID": "hall", "Type": "GROUP", "Name": "The hall", "OwnerID": "1", "CreatedAt": at(0)})
    right += small_room("small", 3)
    empty.store(right)
    hall = "SELECT name, member_count, message_count, (SELECT count(*) FROM members m WHERE m.room_id = r.id), " \
           f"(SELECT count(*) FROM messages m WHERE m.room_id = r.id) FROM rooms r WHERE id = '{room_id('hall')}'"
    assert empty.ask(hall) == "The hall|2|4000|2|4000"
    other = make_base()
    other.store(right)
    assert empty.run("export", "--room", "hall") == other.run("export", "--room", "hall")


def test_rooms_that_a_killed_import_began_are_forgotten(here, ann, bob):
    """Their pair meets `busy` while it may go on, and no later than the next cleaning an empty room."""
    name = secrets.token_hex(6)
    lines = [{"Kind": "room", "ID": name, "Type": "PRIVATE", "OwnerID": ann.id, "Members": [ann.id, bob.id], "CreatedAt": at(0)},
             *({"Kind": "member", "RoomID": name, "UserID": user.id, "JoinedAt": at(0)} for user in (ann, bob)),
             *({"Kind": "message", "ID": f"{name}/{n}", "RoomID": name, "SenderID": bob.id, "Content": f"old {n}", "CreatedAt": at(n)}
               for n in range(6000))]
    begun = "SELECT count(*) FROM rooms WHERE deleted_at = 'infinity'"
    with hidden_until_killed(here, lines):
        assert here.ask(begun) == "1"
        refused = ann.rest("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]})
        assert refused.status_code == 503 and refused.json()["Error"]["Code"] == "busy", refused.text
        with ann.socket() as socket:
            answer = socket.ask(message_frame(ReceiverID=bob.id, Content="hello"))
            assert answer["Error"].startswith("busy: "), answer
    here.store([])
    assert here.ask(begun) == "0"
    room = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    assert ann.history(room) == []


def test_a_second_run_says_what_differs_from_what_is_here(empty):
    base = [{"Kind": "user", "ID": "1", "Name": "Ann"}, *small_room(), *edits("kitchen", 4)]
    base[5]["Reactions"] = [{"Reaction": "👍", "Users": ["2"]}]
    empty.store(base)
    before = empty.run("export", "--all")
    assert "0 users" in empty.store(base)
    changed = json.loads(json.dumps(base))
    changed[0]["Name"] = "Anna"
    changed[1]["Name"] = "Another kitchen"
    changed[3]["Role"] = "ADMIN"
    changed[4]["Content"] = "other words"
    changed[5]["Reactions"] = [{"Reaction": "👍", "Users": ["1"]}]
    changed[6] = {**changed[6], "PinnedAt": at(9), "CreatedAt": at(8)}
    changed.insert(4, {"Kind": "member", "RoomID": "kitchen", "UserID": "3", "JoinedAt": at(0)})
    found = empty.differences(changed)
    assert found == [
        (1, "the user is here, but not with this Name"), (2, "the room is here, but not with this Name"),
        (4, "the member is here, but not with this Role"), (5, "the room is here, and this user was never in it"),
        (6, "the message is here, but not with this Content"), (7, "the message is here, but not with this Reactions"),
        (8, "the message is here, but not with this CreatedAt, PinnedAt")]
    assert empty.differences(changed, "--dry-run") == found
    assert empty.run("export", "--all") == before
    # A member who is missing in the corrected file.
    assert empty.differences([line for line in base if line.get("UserID") != "2"]) == [
        (2, f"the room is here with 1 members who have no line, such as user {uuid.uuid5(NAMESPACE, '2')}")]
    new = {"Kind": "edit", "MessageID": "kitchen/4", "Content": "never said", "ReplacedAt": at(4)}
    assert empty.differences([*base, new]) == [(11, "the message is here without this earlier content")]


def test_a_reply_to_a_message_that_came_by_the_api_names_that_one(here, ann, bob):
    name = secrets.token_hex(6)
    users = (ann.id, bob.id)
    here.store(small_room(name, 1, users))
    room = room_id(name)
    live = ann.data("POST", f"/rooms/{room}/messages", {"Content": f"{name} 2", "Sign": f"{name}/2"}, 201)["ID"]
    lines = list(small_room(name, 2, users))
    lines[-1] = {**lines[-1], "SenderID": ann.id, "Sign": f"{name}/2"}
    lines.append({"Kind": "message", "ID": f"{name}/3", "RoomID": name, "SenderID": bob.id, "Content": "reply", "CreatedAt": at(3),
                  "MessageType": "replied", "ParentMessageID": f"{name}/2"})
    assert "1 messages" in here.store(lines)
    assert ann.history(room)[-1]["ParentMessageID"] == live


NOW = time.time()
LATER = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW + 86_400))
FILE = {"ContentType": "file", "Content": "a"}
NO_ADDRESS = "File: URL is not an http or https address of a host"
FIELDS = {
    "no host": ({**FILE, "File": {"Name": "a", "URL": "http:///x"}}, NO_ADDRESS),
    "no host but a port": ({**FILE, "File": {"Name": "a", "URL": "http://:80/x"}}, NO_ADDRESS),
    "a user": ({**FILE, "File": {"Name": "a", "URL": "https://u@h/x"}}, NO_ADDRESS),
    "a user and a password": ({**FILE, "File": {"Name": "a", "URL": "https://u:p@h/x"}}, NO_ADDRESS),
    "a port that is none": ({**FILE, "File": {"Name": "a", "URL": "https://h:99999/x"}}, NO_ADDRESS),
    "a thumbnail elsewhere": ({**FILE, "File": {"Name": "a", "Thumbnail": "https://evil.example/"}}, "File: Thumbnail is not true or false"),
    "a thumbnail of a file elsewhere": ({**FILE, "File": {"Name": "a", "URL": "https://h/x", "Thumbnail": True}},
                                        "File: Thumbnail is of files in the store, and not of one with a URL"),
    "no media type": ({**FILE, "File": {"Name": "a", "ContentType": "text"}}, "File: ContentType is not a media type"),
    "a name with a path": ({**FILE, "File": {"Name": "../a"}}, "File: Name is not a plain file name"),
    "tomorrow": ({"CreatedAt": LATER}, "CreatedAt is in the future"),
    "edited tomorrow": ({"EditedAt": LATER}, "EditedAt is in the future"),
    "pinned tomorrow": ({"PinnedAt": LATER}, "PinnedAt is in the future"),
    "the same emoji twice": ({"Reactions": [{"Reaction": "👍", "Users": ["1"]}, {"Reaction": "👍", "Users": ["2"]}]},
                             "Reactions has an emoji twice"),
    "2^53": ({"Seq": 2**53}, "Seq is not a whole number from 1 to 9007199254740991"),
    "Seq without LastSeq": ({"Seq": 1}, "Seq is only allowed in a room with LastSeq, of an export"),
    "text with a file": ({"File": {"Name": "a"}}, "File is not an object, or ContentType is text"),
}


def test_each_field_that_the_api_refuses_is_refused_with_its_line(empty):
    for name, (fields, sentence) in FIELDS.items():
        found = empty.problems([*small_room(messages=0), {**MESSAGE, **fields}])
        assert any(line == 4 and sentence in text for line, text in found), (name, found)
    assert empty.rows() == [0] * 10


PAIR = room_line(Type="PRIVATE", Members=["1", "2"])
ROOMS = {
    "nobody owns it": ([room_line(), member("1"), member("2")], 1, "OwnerID has no member line with Role OWNER in this room"),
    "its owner has left": ([room_line(), member("1", Role="OWNER", LeftAt=at(1)), member("2")], 1,
                           "OwnerID has no member line with Role OWNER in this room"),
    "two own it": ([room_line(), member("1", Role="OWNER"), member("2", Role="OWNER")], 3, "Role is OWNER, and the room has another OwnerID"),
    "a pair that cannot meet": ([PAIR, member("1"), member("2", LeftAt=at(1))], 1, "nobody leaves a PRIVATE room or is banned from it"),
    "a pair with a ban": ([PAIR, member("1"), member("2", BannedAt=at(1))], 1, "nobody leaves a PRIVATE room or is banned from it"),
    "a pair with an owner": ([PAIR, member("1", Role="OWNER"), member("2")], 2, "a PRIVATE room has no roles"),
    "a pair in slow mode": ([{**PAIR, "SlowModeSeconds": 5}, member("1"), member("2")], 1, "SlowModeSeconds is not for PRIVATE rooms"),
    "slower than the API takes": ([room_line(SlowModeSeconds=21601), member("1", Role="OWNER")], 1,
                                  "SlowModeSeconds is not a whole number from 0 to 21600"),
    "a pair without a room": ([{**PAIR, "DeletedAt": at(9)}, member("1"), member("2")], 1, "DeletedAt is not for PRIVATE rooms"),
    "too many for a GROUP": ([room_line(), member("1", Role="OWNER"), *(member(str(n)) for n in range(2, 52))], 1,
                             "the room has 51 members, and the limit is 50 (ROOM_GROUP_LIMIT, MemberLimit)"),
    "too many for MemberLimit": ([room_line(MemberLimit=2), member("1", Role="OWNER"), member("2"), member("3")], 1,
                                 "the room has 3 members, and the limit is 2 (ROOM_GROUP_LIMIT, MemberLimit)"),
    "a limit of one": ([room_line(MemberLimit=1), member("1", Role="OWNER")], 1, "MemberLimit is not a whole number from 2 to 65535"),
    "no name": ([room_line(Name=""), member("1", Role="OWNER")], 1, "Name is missing: a GROUP has one"),
    "an invisible name": ([room_line(Name="\u200b"), member("1", Role="OWNER")], 1, "Name shows nothing: it has no visible character"),
    "made tomorrow": ([room_line(CreatedAt=LATER), member("1", Role="OWNER")], 1, "CreatedAt is in the future"),
    "active tomorrow": ([room_line(LastActivityAt=LATER), member("1", Role="OWNER")], 1, "LastActivityAt is in the future"),
    "2^53": ([room_line(LastSeq=2**53), member("1", Role="OWNER")], 1, "LastSeq is not a whole number from 0 to 9007199254740991"),
    "JoinedSeq above it": ([room_line(LastSeq=4), member("1", Role="OWNER", JoinedSeq=5)], 2, "JoinedSeq is above LastSeq of the room"),
    "Seq above it": ([room_line(LastSeq=4), member("1", Role="OWNER"), {**MESSAGE, "Seq": 5}], 3, "Seq is above LastSeq of the room"),
    "ChangeSeq above it": ([room_line(LastSeq=4), member("1", Role="OWNER"), {**MESSAGE, "Seq": 3, "ChangeSeq": 5}], 3,
                           "Seq is above LastSeq of the room"),
    "an edit above it": ([room_line(LastSeq=4), member("1", Role="OWNER"), {**MESSAGE, "Seq": 3, "ChangeSeq": 4},
                          {"Kind": "edit", "MessageID": "m", "Content": "x", "ReplacedAt": at(9), "ChangeSeq": 5}], 4,
                         "ChangeSeq is not between Seq and ChangeSeq of the message"),
    "a message in another's place": ([room_line(LastSeq=4), member("1", Role="OWNER"), {**MESSAGE, "Seq": 3, "ChangeSeq": 4},
                                      {**MESSAGE, "ID": "n", "Seq": 4}], 3, "ChangeSeq is the Seq of line 4"),
    "no LastSeq": ([room_line(), member("1", Role="OWNER", JoinedSeq=5)], 2, "JoinedSeq is only allowed in a room with LastSeq, of an export"),
    "pins": ([room_line(), member("1", Role="OWNER"), *({**MESSAGE, "ID": f"m{n}", "PinnedAt": at(9)} for n in range(51))], 53,
             "the room has more than 50 pinned messages (ROOM_PIN_LIMIT)"),
    "emojis": ([room_line(), member("1", Role="OWNER"), MESSAGE,
                *({"Kind": "reaction", "MessageID": "m", "Reaction": chr(0x1F600 + n), "UserID": "1"} for n in range(51))], 3,
               "the message has more than 50 different reactions"),
    "edits": ([room_line(), member("1", Role="OWNER"), MESSAGE,
               *({"Kind": "edit", "MessageID": "m", "Content": f"{n}", "ReplacedAt": at(9)} for n in range(1001))], 1004,
              "the message has more than 1000 earlier contents"),
    "an edited file": ([room_line(), member("1", Role="OWNER"), {**MESSAGE, **FILE, "File": {"Name": "a"}},
                        {"Kind": "edit", "MessageID": "m", "Content": "x", "ReplacedAt": at(9)}], 4, "only a text of a sender has earlier contents"),
    "blocks": ([{"Kind": "block", "UserID": "1", "BlockedID": f"u{n}", "CreatedAt": at(1)} for n in range(5001)], 5001,
               "the user blocks more than 5000 others (BLOCKS_PER_USER)"),
}


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_that_the_api_would_not_make_is_refused_with_its_line(empty, name):
    lines, line, sentence = ROOMS[name]
    assert (line, sentence) in empty.problems(lines)
    assert empty.rows() == [0] * 10


def test_a_user_is_in_no_more_rooms_than_the_api_allows(empty):
    empty.environment["ROOMS_PER_USER"] = "3"
    lines = [[room_line(f"r{n}"), member("1", f"r{n}", Role="OWNER")] for n in range(4)]
    assert empty.problems(sum(lines, [])) == [(8, "the user is in more than 3 rooms (ROOMS_PER_USER)")]
    empty.store(sum(lines[:3], []))
    # With those that are here: test_import_conflicts.


def pair_id(one, other):
    name = b"".join(sorted(uuid.UUID(user.id).bytes for user in (one, other)))
    digest = hashlib.sha1(uuid.UUID("6f1d8c0e-52b7-4a39-9e44-c2a713d0f85b").bytes + name).digest()[:16]
    return str(uuid.UUID(bytes=digest, version=5))


def test_a_group_takes_no_pairs_place(here, ann, bob, make_user):
    """An attacker's GROUP with the id that the two would get would read what they write to each other."""
    eve = make_user()
    other = make_user()
    assert pair_id(ann, other) == ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [other.id]}, 201)["ID"]
    pair = pair_id(ann, bob)
    lines = [room_line(pair, OwnerID=eve.id), member(eve.id, pair, Role="OWNER"), member(ann.id, pair), member(bob.id, pair)]
    here.store(lines)
    with ann.socket() as socket:
        answer = socket.ask(message_frame(ReceiverID=bob.id, Content="for bob"))
        assert not answer["Success"] and answer["Error"].startswith("not_a_member: "), answer
    assert ann.rest("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}).status_code == 404


def test_the_export_of_a_user_is_not_imported(here, empty, ann, bob):
    room = ann.group(bob)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "mine"}, 201)
    lines = here.run("export", "--user", ann.id)
    assert b'"User":' in lines.splitlines()[0]
    answer = empty.run("import", "-", text=lines, code=1).decode()
    assert answer.startswith("line 1: this is the export of one user, which no import takes: --all and --room are for that"), answer
    assert empty.rows() == [0] * 10
    assert "not for an import" in " ".join(empty.run("export", "--help").decode().split())

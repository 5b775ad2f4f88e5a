"""fcgi-api import beside users who did something since the file was written, and files that claim what is not theirs."""

import contextlib
import json
import secrets
import signal
import subprocess
import uuid

import pytest
import requests
from client import message_frame
from importing import (
    MESSAGE,
    at,
    erase,
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

FILE = {"ContentType": "file", "Content": "a", "File": {"Name": "a", "Size": 5}}


def texts(found):
    return [text for _, text in found]


@contextlib.contextmanager
def stopped_before_messages(base, lines):
    """An import that has checked everything, and stores users: it waits there in a transaction of its own."""
    lock = subprocess.Popen([base.psql, "-XqAt", base.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    process = None
    try:
        lock.stdin.write("BEGIN; LOCK TABLE accounts IN EXCLUSIVE MODE; SELECT 'locked';\n")
        assert lock.stdout.readline() == "locked\n"
        process = started(base, [{"Kind": "account", "UserID": secrets.token_hex(6), "HidePresence": True}, *lines])
        eventually(lambda: base.ask("SELECT count(*) FROM pg_locks WHERE relation = 'accounts'::regclass AND NOT granted") == "1" or None, 60)
        yield process
    finally:
        lock.stdin.close()
        lock.wait(30)
        if process:
            process.said = process.stdout.read()
            process.wait(60)


# MARK: Erasure and the export of a user


def test_an_erasure_and_the_export_of_a_user_find_what_they_wrote_without_a_member_line(here, ann, bob, base_url):
    """A file may have messages and reactions of users of whom it has no member line: they are members who have left."""
    name = secrets.token_hex(6)
    lines = [room_line(name, OwnerID=bob.id), member(bob.id, name, Role="OWNER"),
             {**MESSAGE, "ID": f"{name}/1", "RoomID": name, "SenderID": ann.id, "Content": "ann's words"},
             {**MESSAGE, "ID": f"{name}/2", "RoomID": name, "SenderID": bob.id, "CreatedAt": at(10)},
             {**MESSAGE, "ID": f"{name}/3", "RoomID": f"{name} too", "SenderID": bob.id, "CreatedAt": at(10),
              "Reactions": [{"Reaction": "👍", "Users": [ann.id, bob.id]}]},
             room_line(f"{name} too", OwnerID=bob.id), member(bob.id, f"{name} too", Role="OWNER")]
    here.store(lines)
    # And one of a room that is in use.
    room = bob.group()
    here.store([{**MESSAGE, "ID": f"{name}/4", "RoomID": room, "SenderID": ann.id, "Content": "ann's other words"}])
    assert "0 rooms, 0 members, 0 messages" in here.store(lines)
    exported = here.run("export", "--user", ann.id).decode()
    assert "ann's words" in exported and "ann's other words" in exported and '"Kind":"reaction"' in exported
    assert ann.rest("GET", f"/rooms/{room}").status_code == 404, "she is no member"
    erase(base_url, ann)
    assert "ann's" not in json.dumps(bob.history(room_id(name)) + bob.history(room))
    [reacted] = [message for message in bob.history(room_id(f"{name} too")) if message["MessageType"] != "system"]
    assert [one["Users"] for one in reacted["Reactions"]] == [[bob.id]]


def test_who_was_erased_does_not_come_back_by_an_old_file(here, make_base, ann, bob, make_user, base_url):
    name, carol = secrets.token_hex(6), make_user()
    lines = [{"Kind": "user", "ID": ann.id, "Name": "Ann Secret"}, {"Kind": "account", "UserID": ann.id, "HidePresence": True},
             {"Kind": "block", "UserID": ann.id, "BlockedID": carol.id, "CreatedAt": at(1)},
             {"Kind": "block", "UserID": carol.id, "BlockedID": ann.id, "CreatedAt": at(1)},
             *small_room(name, 4, (ann.id, bob.id))]
    lines[-1] = {**lines[-1], "SenderID": bob.id, "Reactions": [{"Reaction": "👍", "Users": [ann.id, bob.id]}, {"Reaction": "❤️", "Users": [ann.id]}]}
    here.store(lines)
    # A room of the same file that is not here yet, and a message that a room of the file lacks.
    more = [*small_room(f"{name} b", 3, (ann.id, bob.id)),
            {"Kind": "edit", "MessageID": f"{name} b/2", "Content": "ann's earlier words", "ReplacedAt": at(3)},
            {**MESSAGE, "ID": f"{name}/5", "RoomID": name, "SenderID": ann.id, "Content": "ann's words"},
            {**MESSAGE, "ID": f"{name}/6", "RoomID": name, "SenderID": bob.id, "Content": "bob's words",
             "Reactions": [{"Reaction": "👍", "Users": [ann.id]}]}]
    erase(base_url, ann)
    said = texts(here.differences([*lines, *more]))
    assert said.count("the user was erased here: the line is not stored") == 4, said
    assert "the user was erased here: stored as a member who has left" in said
    assert here.ask(f"SELECT (SELECT count(*) FROM users WHERE id = '{ann.id}') + (SELECT count(*) FROM accounts WHERE user_id = '{ann.id}') "
                    f"+ (SELECT count(*) FROM blocks WHERE '{ann.id}' IN (blocker, blocked))") == "0"
    assert here.ask(f"SELECT count(*) FROM messages WHERE sender_id = '{ann.id}' AND deleted_at IS NULL AND message_type <> 4") == "0"
    assert here.ask(f"SELECT count(*) FROM messages WHERE reactions::text LIKE '%{ann.id}%'") == "0"
    assert here.ask(f"SELECT count(*) FROM members WHERE user_id = '{ann.id}' AND left_at IS NULL") == "0"
    for room in (name, f"{name} b"):
        assert bob.data("GET", f"/rooms/{room_id(room)}")["OwnerID"] == bob.id
    exported = here.run("export", "--user", ann.id).decode()
    assert '"erasure"' in exported and "Secret" not in exported and "ann's" not in exported and f"{name} b 2" not in exported
    assert [message["Content"] for message in bob.history(room_id(f"{name} b"))] == [f"{name} b 1", "", f"{name} b 3"]
    # The same once more stores nothing; what they write after they came back is theirs.
    assert "0 users, 0 rooms, 0 members, 0 messages" in here.store([*lines, *more], code=3)
    # An export of that is imported as it is.
    one = here.run("export", "--room", room_id(f"{name} b"))
    other = make_base()
    other.run("import", "-", text=one)
    assert other.run("export", "--room", room_id(f"{name} b")) == one


def test_an_erasure_while_an_import_runs_is_not_undone_by_it(here, ann, bob, base_url):
    name = secrets.token_hex(6)
    lines = [{"Kind": "user", "ID": ann.id, "Name": "Ann Secret"}, *small_room(name, 4, (bob.id, ann.id))]
    process = None
    with stopped_before_messages(here, lines) as process:
        here.ask(f"DELETE FROM users WHERE id = '{ann.id}'")
        here.ask(f"INSERT INTO erased_users (user_id) VALUES ('{ann.id}')")
    assert process.returncode == 3, process.said
    assert "2 of their messages are stored as deleted ones" in process.said
    assert here.ask(f"SELECT count(*) FROM messages WHERE sender_id = '{ann.id}' AND deleted_at IS NULL") == "0"
    assert here.ask(f"SELECT count(*) FROM members WHERE user_id = '{ann.id}' AND left_at IS NULL") == "0"


# MARK: Files of others


def test_a_forward_takes_no_file_that_came_while_the_import_ran(here, ann, bob, make_user):
    """Checked as a message of the file, and then ann sends with its Sign: the forward would show her file to eve."""
    eve, room, name = make_user(), ann.group(bob), secrets.token_hex(6)
    here.store([room_line(name, OwnerID=eve.id), member(eve.id, name, Role="OWNER")])
    original = {**MESSAGE, **FILE, "ID": f"{name}/x", "RoomID": room, "SenderID": ann.id, "Sign": name}
    lines = [original, {**forwarding(f"{name}/x", eve.id, name, **FILE), "ID": f"{name}/f"}]
    with stopped_before_messages(here, lines) as process:
        sent = ann.data("POST", f"/rooms/{room}/messages", {"Content": "secret.bin", "ContentType": "file", "Sign": name}, 201)["ID"]
        post(ann, sent, b"very secret")
    [shown] = eve.history(room_id(name))
    assert shown["ForwardedFrom"] != sent, process.said
    assert eve.rest("GET", f"/files/{shown['ID']}", allow_redirects=False).status_code == 404 or b"secret" not in requests.get(
        eve.rest("GET", f"/files/{shown['ID']}", allow_redirects=False).headers["Location"], timeout=10).content


def test_a_forward_takes_no_deleted_and_no_unfinished_file(here, ann, bob, make_user):
    eve, room, name = make_user(), ann.group(bob), secrets.token_hex(6)
    draft = begin(ann, room, name="photo.jpg")
    gone = begin(ann, room, name="gone.bin")
    post(ann, gone, b"secret bytes")
    bob.data("POST", f"/rooms/{room}/messages", {"Content": "-", "MessageType": "forwarded", "ParentMessageID": gone}, 201)
    ann.rest("DELETE", f"/messages/{gone}", expect=200)
    times = dict(row.split("|") for row in here.ask(
        "SELECT id, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') || ' ' || "
        "coalesce(to_char(deleted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '') FROM messages "
        f"WHERE id IN ('{draft}', '{gone}')").split("\n"))
    mine = [room_line(name, OwnerID=eve.id), member(eve.id, name, Role="OWNER")]
    content = here.ask(f"SELECT content FROM messages WHERE id = '{draft}'")
    claims = {
        draft: {"Content": content, "ContentType": "file", "CreatedAt": times[draft].split()[0], "File": {"Name": "photo.jpg"}},
        gone: {"ContentType": "file", "CreatedAt": times[gone].split()[0], "DeletedAt": times[gone].split()[1]},
    }
    for number, (original, fields) in enumerate(claims.items()):
        claimed = {"Kind": "message", "ID": original, "RoomID": room, "SenderID": ann.id, **fields}
        forward = {**forwarding(original, eve.id, name, **FILE), "ID": f"{name}/{number}"}
        here.store([*mine, claimed, forward], code=3)
    post(ann, draft, b"draft bytes")
    for shown in eve.history(room_id(name)):
        assert shown["ForwardedFrom"] is None
        answer = eve.rest("GET", f"/files/{shown['ID']}", allow_redirects=False)
        assert answer.status_code == 404 or b"bytes" not in requests.get(answer.headers["Location"], timeout=10).content


# MARK: PRIVATE rooms


@pytest.mark.parametrize("lost", [{"DeletedAt": at(1)}, {"LeftAt": at(1), "BannedAt": at(1)}, {"LeftAt": at(1)}, {"LeftAt": at(1), "DeletedAt": at(1)}])
def test_no_file_takes_a_pair_its_room(here, ann, bob, lost):
    """LastSeq makes it look like an export, in which erased users have left."""
    name = secrets.token_hex(6)
    pair = room_line(name, Type="PRIVATE", Members=[ann.id, bob.id], OwnerID=ann.id, LastSeq=0, **{k: v for k, v in lost.items() if k == "DeletedAt"})
    fields = {k: v for k, v in lost.items() if k != "DeletedAt"}
    here.run("import", "-", text="\n".join(map(json.dumps, [pair, member(ann.id, name, **fields), member(bob.id, name)])).encode(), code=None)
    with bob.socket() as other:
        room = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
        with ann.socket() as socket:
            assert socket.ask(message_frame(ReceiverID=bob.id, Content="hello"))["Success"]
            other.new_message("hello")
            assert other.ask(message_frame(ReceiverID=ann.id, Content="and you"))["Success"]
            socket.new_message("and you")
    assert len(bob.data("GET", f"/rooms/{room}/members")) == 2


def test_two_private_rooms_have_two_ids(here, empty, ann, bob, make_user):
    carol = make_user()
    name = secrets.token_hex(6)
    pairs = [room_line(name, Type="PRIVATE", Members=[ann.id, user.id], OwnerID=ann.id) for user in (bob, carol)]
    message = {**MESSAGE, "RoomID": name, "SenderID": ann.id}
    assert (2, "line 1 names another room by this ID") in here.problems([*pairs, message])
    group = [room_line(name), member("1", name, Role="OWNER")]
    assert (3, "line 1 names another room by this ID") in empty.problems([*group, pairs[0], message])


def test_only_the_pair_is_heard_in_a_private_room(here, empty, ann, bob, make_user):
    eve = make_user()
    room = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    message = {**MESSAGE, "ID": secrets.token_hex(6), "RoomID": room, "SenderID": eve.id}
    assert here.problems([message]) == [(1, "only its Members write in a PRIVATE room")]
    thumb = {**message, "SenderID": bob.id, "Reactions": [{"Reaction": "👍", "Users": [eve.id]}]}
    assert here.problems([thumb]) == [(1, "only its Members react in a PRIVATE room")]
    pair = [room_line("p", Type="PRIVATE", Members=["1", "2"]), member("1", "p"), member("2", "p")]
    assert empty.problems([*pair, {**MESSAGE, "RoomID": "p", "SenderID": "3"}]) == [(4, "only its Members write in a PRIVATE room")]
    assert ann.history(room) == []


def test_who_is_blocked_is_not_heard_by_an_import(here, empty, ann, bob):
    name = secrets.token_hex(6)
    room = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    ann.rest("PUT", f"/users/{bob.id}/block", expect=204)
    sentence = "the other user of this PRIVATE room has blocked the sender: not stored"
    lines = [{**MESSAGE, "ID": name, "RoomID": room, "SenderID": bob.id}, *small_room(f"{name} other", 2)]
    assert here.differences(lines) == [(1, sentence)]
    assert ann.history(room) == []
    # A message from before a block of the other service is history.
    old = [{"Kind": "block", "UserID": "1", "BlockedID": "2", "CreatedAt": at(5)},
           room_line("p", Type="PRIVATE", Members=["1", "2"]), member("1", "p"), member("2", "p"),
           {**MESSAGE, "ID": "before", "RoomID": "p", "SenderID": "2", "CreatedAt": at(4)}]
    empty.store(old)
    later = {**MESSAGE, "ID": "after", "RoomID": "p", "SenderID": "2", "CreatedAt": at(6)}
    assert empty.differences([*old, later]) == [(6, sentence)]
    assert "1 messages" in empty.store([*old, {**later, "CreatedAt": at(5)}])


# MARK: What users did since


def test_a_sign_that_was_used_elsewhere_refuses_no_file(here, ann, bob):
    name = secrets.token_hex(6)
    mine = bob.group()
    lines = [*small_room(name, 3, (ann.id, bob.id)), {**MESSAGE, "ID": f"{name}/s", "RoomID": name, "SenderID": bob.id, "Sign": name},
             room_line(f"{name} b", OwnerID=bob.id, Sign=name), member(bob.id, f"{name} b", Role="OWNER")]
    bob.data("POST", f"/rooms/{mine}/messages", {"Content": "x", "Sign": name}, 201)
    bob.data("POST", "/rooms", {"Type": "GROUP", "Name": "mine", "Members": [], "Sign": name}, 201)
    assert here.differences(lines) == [
        (7, "the sender has used this Sign for another message: stored without it"),
        (8, "CreatedBy has made another room with this Sign: stored without it")]
    assert len(ann.history(room_id(name))) == 4
    # A room of the file without the right to it.
    eve = [room_line(f"{name} c", OwnerID=bob.id, CreatedBy=ann.id, Sign=name), member(bob.id, f"{name} c", Role="OWNER")]
    assert here.problems(eve) == [(1, "CreatedBy has no member line in this room")]


def test_a_sign_that_is_used_while_the_import_runs_makes_no_reply_to_elsewhere(here, ann, bob):
    name = secrets.token_hex(6)
    room, mine = ann.group(bob), ann.group()
    lines = [{**MESSAGE, "ID": f"{name}/x", "RoomID": room, "SenderID": ann.id, "Content": "old words", "Sign": name},
             {**MESSAGE, "ID": f"{name}/r", "RoomID": room, "SenderID": bob.id, "MessageType": "replied", "ParentMessageID": f"{name}/x",
              "CreatedAt": at(10)},
             *small_room(f"{name} b", 1, (ann.id, bob.id)),
             {**MESSAGE, "ID": f"{name}/y", "RoomID": f"{name} b", "SenderID": ann.id, "Sign": f"{name}/y"}]
    with stopped_before_messages(here, lines) as process:
        for sign in (name, f"{name}/y"):
            ann.data("POST", f"/rooms/{mine}/messages", {"Content": "elsewhere", "Sign": sign}, 201)
    assert process.returncode == 3 and process.said.count("the sender has used this Sign for another message: stored without it") == 2, process.said
    first, reply = bob.history(room)
    assert (first["Content"], first["Sign"], reply["ParentMessageID"]) == ("old words", None, first["ID"])
    assert len(bob.history(room_id(f"{name} b"))) == 2
    assert here.ask("SELECT count(*) FROM messages c JOIN messages p ON p.id = c.parent_message_id "
                    f"WHERE c.message_type <> 3 AND c.room_id <> p.room_id AND c.room_id = '{room}'") == "0"


def test_pins_blocks_and_rooms_of_users_refuse_no_file(here, ann, bob, make_base):
    name = secrets.token_hex(6)
    here.store(small_room(name, 52, (ann.id, bob.id)))
    for message in ann.history(room_id(name))[:50]:
        ann.rest("PUT", f"/messages/{message['ID']}/pin", expect=200)
    pinned = {**MESSAGE, "ID": f"{name}/p", "RoomID": name, "SenderID": ann.id, "PinnedAt": at(9)}
    found = here.differences([*small_room(name, 52, (ann.id, bob.id)), pinned, *small_room(f"{name} other", 2)])
    assert (56, "the room has 50 pinned messages (ROOM_PIN_LIMIT): stored without PinnedAt") in found
    assert [one["PinnedAt"] for one in ann.history(room_id(name)) if one["ID"] == message_id(f"{name}/p")] == [None]
    here.ask(f"INSERT INTO blocks SELECT '{bob.id}', gen_random_uuid(), now() FROM generate_series(1, 5000)")
    block = {"Kind": "block", "UserID": bob.id, "BlockedID": ann.id, "CreatedAt": at(1)}
    assert here.differences([block, *small_room(f"{name} third", 2)]) == [(1, "the user blocks 5000 others here (BLOCKS_PER_USER): not stored")]
    base = make_base()
    base.environment["ROOMS_PER_USER"] = "3"
    rooms = [[room_line(f"r{n}"), member("1", f"r{n}", Role="OWNER")] for n in range(3)]
    base.store(sum(rooms, []))
    why = "with those here, the user is in more than 3 rooms (ROOMS_PER_USER): "
    theirs = [room_line("r4"), member("1", "r4", Role="OWNER"),
              room_line("r5", OwnerID="2"), member("2", "r5", Role="OWNER"), member("1", "r5"), {**MESSAGE, "RoomID": "r5"}]
    assert base.differences(theirs) == [(2, why + "nothing of the room is stored"), (5, why + "stored as a member who has left")]
    assert base.ask("SELECT count(*) FROM rooms") == "4"


def test_rooms_that_users_changed_refuse_no_file(here, ann, bob):
    """Deleted here, or gone on since the export was written."""
    name = secrets.token_hex(6)
    room = ann.group(bob)
    for number in range(3):
        ann.data("POST", f"/rooms/{room}/messages", {"Content": f"{number}"}, 201)
    old = [json.loads(line) for line in here.run("export", "--room", room).splitlines()]
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "since"}, 201)
    old.append({**next(line for line in old if line["Kind"] == "message"), "ID": f"{name}/other", "Seq": 4})
    next(line for line in old if line["Kind"] == "room")["LastSeq"] = 4
    [(_, text)] = here.differences([*old, *small_room(name, 2, (ann.id, bob.id))])
    assert text == "Seq is 4, and the room is at 4 without this message: not stored; leave Seq out to append it"
    ann.rest("DELETE", f"/rooms/{room_id(name)}", expect=200)
    assert here.differences([*small_room(name, 3, (ann.id, bob.id)), *small_room(f"{name} b", 2)]) == [
        (1, "the room was deleted here: nothing of it is stored")]


def test_no_reply_to_a_file_that_is_not_complete(here, make_base, ann, bob):
    """The API refuses it, and an export could not be imported."""
    name = secrets.token_hex(6)
    room = ann.group(bob)
    draft = begin(ann, room)
    reply = {**MESSAGE, "ID": name, "RoomID": room, "SenderID": bob.id, "MessageType": "replied", "ParentMessageID": draft}
    assert here.differences([reply]) == [(1, "ParentMessageID names a message whose file is not complete: stored without it")]
    claimed = {**MESSAGE, "ID": draft, "RoomID": room, "SenderID": ann.id, **FILE}
    assert (2, "ParentMessageID names a message whose file is not complete: stored without it") in here.differences(
        [claimed, {**reply, "ID": f"{name} b"}])
    post(ann, draft, b"x")
    exported = here.run("export", "--room", room)
    base = make_base()
    base.run("import", "-", text=exported)
    assert base.run("export", "--room", room) == exported


def test_an_id_of_a_message_that_is_gone_is_left_out(here, ann, bob):
    room = ann.group(bob)
    file = begin(ann, room)
    post(ann, file, b"shown by the second message")
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "-", "MessageType": "forwarded", "ParentMessageID": file}, 201)
    here.ask(f"DELETE FROM messages WHERE id = '{file}'")
    name = secrets.token_hex(6)
    lines = [*small_room(name, 1), {**MESSAGE, **FILE, "ID": file, "RoomID": name},
             {**MESSAGE, "ID": f"{name}/r", "RoomID": name, "MessageType": "replied", "ParentMessageID": file, "CreatedAt": at(11)}]
    assert here.differences(lines) == [
        (5, "ID is that of a message that is gone, and whose file is not: not stored"),
        (6, "ParentMessageID: the message is not stored, so this one is stored without it")]
    assert here.ask(f"SELECT count(*) FROM messages WHERE room_id = '{room_id(name)}'") == "2"


def test_a_second_run_names_every_field_that_differs(here, ann, bob):
    name = secrets.token_hex(6)
    file = {**MESSAGE, **FILE, "ID": name, "RoomID": name, "SenderID": ann.id, "EditedAt": at(10), "Sign": name,
            "File": {"Name": "a", "Size": 1, "URL": "https://old.example/a"}}
    lines = [*small_room(name, 0, (ann.id, bob.id)), file]
    here.store(lines)
    assert "0 messages" in here.store(lines)
    for fields, names in (({"File": {**file["File"], "URL": "https://old.example/b"}}, "File"), ({"File": {**file["File"], "Size": 2}}, "File"),
                          ({"EditedAt": at(11)}, "EditedAt"), ({"Sign": f"{name}b"}, "Sign")):
        assert here.differences([*lines[:3], {**file, **fields}]) == [(4, f"the message is here, but not with this {names}")]
    assert here.differences([{**lines[0], "SlowModeSeconds": 5}, *lines[1:]]) == [(1, "the room is here, but not with this SlowModeSeconds")]
    for fields, names in (({"MutedUntil": "2099-01-01T00:00:00Z"}, "MutedUntil"), ({"JoinedAt": at(1)}, "JoinedAt"), ({"Metadata": {"a": 1}}, "Metadata")):
        assert here.differences([*lines[:2], {**lines[2], **fields}, file]) == [(3, f"the member is here, but not with this {names}")]


# MARK: Bounds


def test_what_an_import_takes_an_export_gives_back(empty, make_base):
    """A room near the limit of Seqs, and more reactions than a line holds."""
    base = make_base()
    users = [str(uuid.uuid4()) for _ in range(52_000)]
    lines = [*small_room("k", 2), *({"Kind": "reaction", "MessageID": "k/1", "Reaction": emoji, "UserID": user} for emoji in "👍🎉" for user in users)]
    empty.store(lines)
    exported = empty.run("export", "--all")
    assert max(map(len, exported.splitlines())) < 4 << 20
    base.run("import", "-", text=exported)
    assert base.run("export", "--all") == exported
    # Of a room beyond the limit nothing is stored, and of all others everything.
    full = [room_line("full", LastSeq=1_000_000_001), member("1", "full", Role="OWNER")]
    assert base.differences([*full, *small_room("other", 2)]) == [(1, "the room has more than 1000000000 Seqs: nothing of it is stored")]
    assert base.ask("SELECT count(*) FROM rooms") == "2"


def test_many_lines_with_one_sign_or_seq_are_refused_in_time(empty):
    """20,000 of one kind: each pair would be 200 million comparisons."""
    count = 20_000
    rooms = [room_line(f"r{n}", Sign="s") for n in range(count)]
    seqs = [room_line(LastSeq=count), member("1", Role="OWNER"), {**MESSAGE, "Seq": 1, "ChangeSeq": 5},
            *({"Kind": "edit", "MessageID": "m", "Content": f"{n}", "ReplacedAt": at(9), "ChangeSeq": 2} for n in range(count)),
            *({**MESSAGE, "ID": f"m{n}", "Seq": 2, "ChangeSeq": 3} for n in range(count // 2)),
            *({**MESSAGE, "ID": f"n{n}", "Seq": 3, "ChangeSeq": 3} for n in range(count // 2))]
    pairs = [line for n in range(count // 4) for line in (
        room_line(f"p{n}", Type="PRIVATE", Members=["1", f"u{n}"]), member("1", f"p{n}"), member("3", f"p{n}"))]
    for lines in (rooms, seqs, pairs):
        text = "\n".join(map(json.dumps, lines)).encode()
        answer = subprocess.run(empty.command("import", "-"), env=empty.environment, input=text, stdout=subprocess.PIPE, timeout=60)
        assert answer.returncode == 1 and b"nothing was stored" in answer.stdout, answer.stdout[-300:]


def test_no_sum_of_claimed_sizes_overflows(here, empty, ann):
    line = {**MESSAGE, **FILE, "File": {"Name": "a", "Size": 2**53 - 1}}
    assert empty.problems([*small_room(messages=0), line]) == [(4, "File: Size is not a whole number from 0 to 1099511627776")]


# MARK: Exports


def test_an_export_that_nobody_reads_stops_no_migration(empty, tmp_path):
    """Its output waits; neither the database nor a migration does."""
    empty.store(small_room("k", 12_000))
    process = subprocess.Popen(empty.command("export", "--all"), env=empty.environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout.read(1) == b"{"
        opened = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fcgi-api export' AND datname = current_database()"
        eventually(lambda: empty.ask(opened) == "0" or None, 30)
        assert process.poll() is None
        assert b"reverted 0035" in empty.run("migrate", "down")
        empty.run("migrate", "up")
        rest = b"{" + process.stdout.read()
    finally:
        process.kill()
        process.wait()
    assert rest == empty.run("export", "--all")


def test_a_stopped_export_stops_no_reader_of_a_table_that_a_migration_wants(empty):
    """The migration waits for the export, and nobody waits behind the migration."""
    empty.store(small_room("k", 30_000))
    process = subprocess.Popen(empty.command("export", "--all"), env=empty.environment, stdout=subprocess.DEVNULL)
    migration = None
    try:
        locks = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'fcgi-api {0}' " \
                "AND a.datname = current_database() AND l.relation = 'messages'::regclass AND {1}granted"
        eventually(lambda: empty.ask(locks.format("export", "")) != "0" or process.poll(), 30, pause=0.001)
        process.send_signal(signal.SIGSTOP)
        assert process.poll() is None
        migration = subprocess.Popen(empty.command("migrate", "down"), env=empty.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        eventually(lambda: empty.ask(locks.format("migrate", "NOT ")) != "0" or None, 30, pause=0.001)
        # A reader comes through, soon after the migration gave up its place.
        empty.ask("SET statement_timeout = '20s'; SELECT count(*) FROM messages")
        assert migration.poll() is None
    finally:
        process.kill()
        process.wait()
    assert b"reverted 0035" in migration.communicate(timeout=60)[0]
    empty.run("migrate", "up")


def test_a_link_is_forgotten_when_both_messages_end_at_once(empty):
    link = {"Name": "a", "Size": 1, "URL": "https://old.example/a"}
    empty.store([*small_room(messages=0), {**MESSAGE, "ContentType": "file", "File": link},
                 forwarding("m", "2", "kitchen", ContentType="file", Content="a", File=link)])
    sessions = [subprocess.Popen([empty.psql, "-XqAt", empty.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
                for _ in range(2)]
    for session, name in zip(sessions, ("m", "kitchen/forward")):
        session.stdin.write("BEGIN;\nSELECT 'begun';\n")
        assert session.stdout.readline() == "begun\n"
        session.stdin.write(f"UPDATE messages SET deleted_at = now() WHERE id = '{message_id(name)}';\nSELECT 'done';\n")
        if session is sessions[0]:
            assert session.stdout.readline() == "done\n"
    eventually(lambda: empty.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE messages SET deleted_at%' "
                                 "AND datname = current_database()") == "1" or None, 30)
    for session in sessions:
        session.stdin.write("COMMIT;\n")
        session.stdin.close()
        session.wait(30)
    assert empty.ask("SELECT count(*) FROM file_links") == "0"

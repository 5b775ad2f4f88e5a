"""fcgi-api export and import: the same bytes after a round, resumed after a kill, refused with lines, seen by open sockets."""

import json
import os
import re
import secrets
import subprocess
import sys
import uuid

from client import message_frame
from conftest import CHECKOUT, program
from hosted import HostedUser
from importing import MESSAGE, at, message_id, room_id, small_room
from uploads import begin, post
from waiting import eventually

sys.path.insert(0, str(CHECKOUT / "Tests/Install"))
import documents


def test_after_export_and_import_the_export_is_the_same_bytes(here, empty, ann, bob, make_user, base_url, secret, make_base):
    carol, hosted = make_user(), HostedUser(base_url, secret, f"host {secrets.randbelow(10**9)}")
    room = ann.group(bob, carol, name="Everything \"in\" one\\")
    sent = [ann.data("POST", f"/rooms/{room}/messages", {"Content": f"text {n} \u00e9\U0001f600\n\t\"\\", "Sign": f"s{n}"}, 201)["ID"]
            for n in range(6)]
    ann.data("PATCH", f"/messages/{sent[0]}", {"Content": "edited once"})
    ann.data("PATCH", f"/messages/{sent[0]}", {"Content": "edited twice", "Metadata": {"kind": "x", "Number": 1.5}})
    ann.rest("DELETE", f"/messages/{sent[1]}", expect=200)
    bob.data("PUT", f"/messages/{sent[2]}/reactions/%F0%9F%91%8D")
    ann.data("PUT", f"/messages/{sent[2]}/reactions/%E2%9D%A4")
    ann.rest("PUT", f"/messages/{sent[3]}/pin", expect=200)
    bob.data("POST", f"/rooms/{room}/messages", {"Content": "a reply", "MessageType": "replied", "ParentMessageID": sent[2]}, 201)
    bob.data("POST", f"/rooms/{room}/seen", {"Seq": 3})
    file = begin(ann, room)
    post(ann, file, b"some bytes")
    begin(ann, room, name="never.bin")
    forwarded = ann.data("POST", f"/rooms/{room}/messages",
                         {"Content": "-", "MessageType": "forwarded", "ParentMessageID": file}, 201)
    assert forwarded["ForwardedFrom"] == file
    ann.rest("DELETE", f"/rooms/{room}/members/{carol.id}", expect=200)
    ann.data("PATCH", f"/rooms/{room}", {"Description": "one line", "Metadata": {"b": [1, {"c": True}], "a": "\u00fc"}})
    pair = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [hosted.name]}, 201)["ID"]
    ann.data("POST", f"/rooms/{pair}/messages", {"Content": f"for <@{hosted.name}>"}, 201)
    ann.data("PATCH", f"/rooms/{room}", {"SlowModeSeconds": 7})
    gone = ann.group(bob, name="Gone")
    ann.rest("DELETE", f"/rooms/{gone}", expect=200)
    bob.rest("PUT", f"/users/{carol.id}/block", expect=204)
    bob.data("PATCH", "/account", {"HidePresence": True, "AddedBy": "shared",
                                   "QuietHours": {"From": "22:00", "To": "07:00", "TimeZone": "Europe/Berlin"}})
    before = here.run("export", "--all")
    answer = empty.run("import", "-", text=before).decode()
    assert "stored: " in answer
    after = empty.run("export", "--all")
    differing = [pair for pair in zip(before.splitlines(), after.splitlines()) if pair[0] != pair[1]]
    assert not differing and before == after, differing[:3]
    # Clients that have seen the room elsewhere, or not at all, read it anew.
    epoch = f"SELECT epoch FROM rooms WHERE id = '{room}'"
    assert int(empty.ask(epoch)) > int(here.ask(epoch))
    assert empty.ask(f"SELECT slow_mode_seconds FROM rooms WHERE id = '{room}'") == "7"
    # Unread counts are those of before, for everybody in every room.
    counts = "SELECT md5(string_agg(concat(room_id, user_id, r.message_count - seen_count - sent_count + seen_sent_count, p.seen_count, p.sent_count), ',' ORDER BY room_id, user_id)) " \
             f"FROM members p JOIN rooms r ON r.id = p.room_id WHERE r.id IN ('{room}', '{pair}')"
    assert here.ask(counts) == empty.ask(counts)
    rows = empty.rows()
    assert "stored: 0 users, 0 rooms, 0 members, 0 messages, 0 earlier contents" in empty.run("import", "-", text=before).decode()
    assert empty.rows() == rows
    # One room alone, into another database.
    one = here.run("export", "--room", room)
    other = make_base()
    other.run("import", "-", text=one)
    assert other.run("export", "--room", room) == one


def test_an_import_that_was_killed_goes_on_and_ends_with_the_same_rows(empty, make_base, tmp_path):
    lines = []
    for room in range(4):
        lines += small_room(f"room {room}", 6000)
        lines += [{"Kind": "edit", "MessageID": f"room {room}/{n}", "Content": "before", "ReplacedAt": at(n + 1)}
                  for n in range(1, 6000, 7)]
    path = tmp_path / "file.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    whole = make_base()
    whole.run("import", path)
    wanted = whole.rows()
    # Killed while it stores messages, three times; nobody sees a part of a room meanwhile.
    for number in range(3):
        process = subprocess.Popen(empty.command("import", path), env=empty.environment, stdout=subprocess.DEVNULL)
        eventually(lambda: process.poll() is not None or int(empty.ask("SELECT count(*) FROM messages")) > 5000 * (number + 1) or None, 120)
        process.kill()
        process.wait()
        assert all(visible in ("", "6000") for visible in empty.ask(
            "SELECT (SELECT count(*) FROM messages m WHERE m.room_id = r.id) FROM rooms r WHERE r.deleted_at IS NULL").split("\n"))
    empty.run("import", path)
    assert empty.rows() == wanted
    # But for the random ids of events that say nothing.
    assert empty.run("export", "--all") == whole.run("export", "--all")


def test_a_dry_run_changes_nothing_and_says_so(empty):
    before = empty.rows()
    assert "8 lines are good; nothing was stored" in empty.store(small_room(), "--dry-run")
    assert empty.rows() == before


def test_a_second_run_stores_nothing_and_a_newer_file_what_is_missing(empty):
    assert "1 rooms, 2 members, 5 messages" in empty.store(small_room())
    rows = empty.rows()
    assert "0 rooms, 0 members, 0 messages" in empty.store(small_room())
    assert empty.rows() == rows
    assert "0 rooms, 0 members, 3 messages" in empty.store(small_room(messages=8))
    found = empty.ask(f"SELECT string_agg(content || ' ' || seq, ',' ORDER BY seq) FROM messages WHERE room_id = '{room_id('kitchen')}'")
    assert found == ",".join(f"kitchen {n} {n}" for n in range(1, 9))
    # By the id of the import or by the API's.
    assert empty.run("export", "--room", "kitchen") == empty.run("export", "--room", room_id("kitchen"))
    assert empty.ask("SELECT last_seq, message_count, last_message_seq FROM rooms") == "8|8|8"


def test_the_order_is_that_of_time_or_of_the_file(empty, make_base):
    lines = list(small_room(messages=0))
    lines += [{"Kind": "message", "ID": f"m{n}", "RoomID": "kitchen", "SenderID": "1", "Content": f"m{n}", "CreatedAt": at(100 - n % 3)}
              for n in range(6)]
    empty.store(lines)
    contents = "SELECT string_agg(content, ',' ORDER BY seq) FROM messages"
    assert empty.ask(contents) == "m2,m5,m1,m4,m0,m3"
    other = make_base()
    other.store(lines, "--order", "file")
    assert other.ask(contents) == "m0,m1,m2,m3,m4,m5"


LONG = "x" * (5 * 1024 * 1024)
DEEP = '{"Kind": "message", "Metadata": ' + '{"a":' * 5000 + "1" + "}" * 5001
HOSTILE = {
    "not JSON": ("hello", "not a JSON object"),
    "a list": ("[1]", "not a JSON object"),
    "no kind": ('{"ID": "1"}', "Kind is missing"),
    "unknown kind": ('{"Kind": "massage"}', "Kind 'massage' is unknown"),
    "a control character in a kind": (json.dumps({"Kind": "\x1b[2J\u202e"}), "Kind '?[2J?' is unknown"),
    "a line too long": (json.dumps({"Kind": "message", "Content": LONG}), "the line has more than 4194304 bytes"),
    "deep": (DEEP, "nested deeper than 16"),
    "half a surrogate pair": ('{"Kind": "message", "Content": "\\ud800"}', "half of a surrogate pair"),
    "a NUL": ('{"Kind": "message", "Content": "a\0b"}', "a control character in text"),
    "a number out of range": ('{"Kind": "message", "Seq": 1e999}', "a number is out of range"),
    "a key twice": ('{"Kind": "message", "Kind": "room"}', "a key occurs twice"),
    "no field": ({"Kind": "message", "Cotnent": "x"}, "'Cotnent' is no field of a message"),
}
FIELDS = {
    "Seq 2^63": ({"Seq": 2**63}, "Seq is not a whole number from 1 to"),
    "Seq 2^63 - 1": ({"Seq": 2**63 - 1}, "Seq is not a whole number from 1 to"),
    "Seq 0": ({"Seq": 0}, "Seq is not a whole number from 1 to"),
    "Seq 1.5": ({"Seq": 1.5}, "Seq is not a whole number"),
    "1969": ({"CreatedAt": "1969-12-31T23:59:59Z"}, "CreatedAt is not a time from 1970 to 9999"),
    "10000": ({"CreatedAt": "10000-01-01T00:00:00Z"}, "CreatedAt is not a time"),
    "no time": ({"CreatedAt": None}, "CreatedAt is missing"),
    "a number as time": ({"CreatedAt": 5}, "CreatedAt is not text"),
    "February 30": ({"EditedAt": "2020-02-30T00:00:00Z"}, "EditedAt is not a time"),
    "an escaped NUL": ({"Content": "a\0b"}, "Content has control characters"),
    "empty": ({"Content": ""}, "Content is missing"),
    "invisible": ({"Content": "\u200b"}, "Content shows nothing"),
    "too long": ({"Content": "x" * 16385}, "Content has more than 16384 bytes"),
    "no reaction": ({"Reactions": [{"Reaction": "thumbsup", "Users": ["1"]}]}, "Reaction is not a single emoji"),
    "no user": ({"SenderID": "x" * 129}, "SenderID names no user: it has more than 128 bytes"),
    "no id": ({"ID": "a\nb"}, "ID has control characters"),
    "a script as address": ({"ContentType": "file", "File": {"Name": "a", "URL": "javascript:alert(1)"}}, "File: URL is not an http or https address"),
    "a header in an address": ({"ContentType": "file", "File": {"Name": "a", "URL": "https://a/\r\nX: y"}}, "File: URL has control characters"),
    "no file": ({"ContentType": "image"}, "File is missing"),
    "deleted with content": ({"DeletedAt": at(20)}, "DeletedAt says that nothing of the message is left"),
    "ChangeSeq before Seq": ({"Seq": 5, "ChangeSeq": 4}, "ChangeSeq is less than Seq"),
    "metadata": ({"Metadata": {"a": "x" * 5000}}, "Metadata"),
    "itself": ({"ParentMessageID": "m", "MessageType": "replied"}, "ParentMessageID is the message itself"),
    "nobody's": ({"ParentMessageID": "?", "MessageType": "replied"}, "ParentMessageID names no message of the file"),
    "no room": ({"RoomID": "cellar"}, "RoomID names no room of the file"),
}


def test_each_hostile_line_is_a_sentence_with_its_line(empty):
    lines = [text for text, _ in HOSTILE.values()]
    found = {}
    for line, text in empty.problems(lines):
        found[line] = found.get(line, "") + text + "\n"
    for number, (name, (_, sentence)) in enumerate(HOSTILE.items(), 1):
        assert sentence in found[number], (name, found[number])
    assert empty.rows() == [0] * 10


def test_each_bad_field_is_a_sentence_with_its_line(empty):
    for name, (fields, sentence) in FIELDS.items():
        found = empty.problems([*small_room(messages=0), {**MESSAGE, **fields}])
        assert any(line == 4 and sentence in text for line, text in found), (name, found)
    assert empty.rows() == [0] * 10


def test_bytes_that_are_no_utf8_are_refused(empty):
    for raw in (b'{"Kind": "message", "Content": "\xff"}', b'{"Kind": "message", "Content": "\xed\xa0\x80"}', b"\xff\xfe{\0", b"\0" * 100):
        answer = empty.run("import", "-", text=b"\n" + raw, code=1).decode()
        assert re.search(r"^line 2: not a JSON object: (text is not UTF-8|not JSON)", answer), answer


def test_all_problems_of_a_line_are_told_and_of_a_hundred_lines(empty):
    bad = {"Kind": "message", "ID": "", "RoomID": "", "SenderID": "", "CreatedAt": "yesterday", "Seq": -1}
    found = empty.problems([bad] * 1000)
    assert {line for line, _ in found} == set(range(1, 101))
    assert {text.split()[0] for line, text in found if line == 1} == {"ID", "RoomID", "SenderID", "CreatedAt", "Seq", "Content"}


def test_what_lines_say_of_each_other_names_both(empty):
    base = list(small_room(messages=2))
    assert empty.problems([*base, {**base[-1], "Content": "other"}]) == [(6, "line 5 is about the same message, with other content")]
    assert empty.problems([*base, {**base[0], "Name": "other"}]) == [(6, "line 1 is about the same room, with other content")]
    assert empty.problems([*base, {**MESSAGE, "Sign": "s"}, {**MESSAGE, "ID": "n", "Sign": "s"}]) == [(7, "line 6 has the same SenderID and Sign")]
    numbered = [{**base[0], "LastSeq": 9}, *base[1:3]]
    assert empty.problems([*numbered, {**MESSAGE, "Seq": 7}, {**MESSAGE, "ID": "n", "Seq": 7}]) == [(5, "line 4 has the same Seq in this room")]
    [(line, text)] = empty.problems([*numbered, {**MESSAGE, "Seq": 7}, {**MESSAGE, "ID": "n"}])
    assert line == 5 and "line 4" in text
    later = [{**MESSAGE, "ID": "a", "MessageType": "replied", "ParentMessageID": "b", "CreatedAt": at(5)},
             {**MESSAGE, "ID": "b", "MessageType": "replied", "ParentMessageID": "a", "CreatedAt": at(6)}]
    assert empty.problems([*base[:3], *later]) == [(4, "ParentMessageID names the message of line 5, which comes later in the room")]
    assert empty.problems([{**base[0], "OwnerID": "3"}, *base[1:]]) == [
        (1, "OwnerID has no member line in this room"), (2, "Role is OWNER, and the room has another OwnerID")]
    [(line, text)] = empty.problems([{"Kind": "export", "Version": 1, "UserNamespace": str(uuid.uuid4())}, *base])
    assert line == 1 and "UserNamespace is not USER_NAMESPACE of this installation" in text
    # The same line twice is one.
    assert "5 messages" in empty.store([*small_room(), *small_room()])


def test_memory_is_bounded(empty, tmp_path):
    """A line of 100 MB, and a file without any line's end."""
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write(b'{"Kind": "message", "Content": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    answer = subprocess.run(["bash", "-c", 'ulimit -v 1500000; exec "$@"', "-", *empty.command("import", path)],
                            env=empty.environment, stdout=subprocess.PIPE, text=True, timeout=120)
    assert answer.returncode == 1 and answer.stdout.startswith("line 1: the line has more than 4194304 bytes")


def test_open_sockets_see_a_room_that_appears_and_one_that_grows(here, ann, bob):
    name = secrets.token_hex(6)
    users = (ann.id, bob.id)
    with ann.socket() as socket, bob.socket() as other:
        here.store(small_room(name, 5, users))
        room = room_id(name)
        for one in (socket, other):
            update = one.wait(lambda frame: frame["Type"] == "room_updated" and frame["RoomID"] == room)
            assert update["Data"]["Change"] == "joined" and update["Data"]["Room"]["LastSeq"] == 5 == update["Seq"]
        assert ann.data("GET", f"/rooms/{room}")["Unread"] == 0
        assert socket.ask(message_frame(RoomID=room, Content="live"))["Data"]["Seq"] == 6
        other.new_message("live")
        here.store(small_room(name, 1300, users))
        for one in (socket, other):
            one.wait(lambda frame: frame["Type"] == "new_message" and frame["Data"]["Content"] == f"{name} 1300", 60)
        answer = socket.ask(message_frame(RoomID=room, Content="after it"))
        assert answer["Success"] and answer["Data"]["Seq"] == 1302
        other.new_message("after it")
    contents = [message["Content"] for message in ann.history(room)]
    assert contents == [*(f"{name} {n}" for n in range(1, 6)), "live", *(f"{name} {n}" for n in range(6, 1301)), "after it"]
    assert ann.data("GET", f"/rooms/{room}")["LastSeq"] == 1302
    # Bob read up to the first import, and half of what came after it is Ann's.
    assert bob.data("GET", f"/rooms/{room}")["Unread"] == int(here.ask(
        f"SELECT count(*) FROM messages WHERE room_id = '{room}' AND seq > 5 AND sender_id <> '{bob.id}'"))


def test_a_room_that_somebody_writes_in_keeps_its_order(here, ann, bob):
    name = secrets.token_hex(6)
    users = (ann.id, bob.id)
    here.store(small_room(name, 1, users))
    room = room_id(name)
    lines = "\n".join(json.dumps(line) for line in small_room(name, 4000, users))
    with ann.socket() as socket, bob.socket() as other:
        process = subprocess.Popen(here.command("import", "-"), env=here.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(lines)
        process.stdin.close()
        number = 0
        while process.poll() is None:
            assert socket.ask(message_frame(RoomID=room, Content=f"live {number}"))["Success"]
            number += 1
        assert process.returncode == 0, process.stdout.read()
        other.new_message(f"live {number - 1}")
        assert ann.data("POST", f"/rooms/{room}/messages", {"Content": "last"}, 201)
        other.new_message("last")
    history = ann.history(room)
    assert [message["Seq"] for message in history] == list(range(1, len(history) + 1))
    contents = [message["Content"] for message in history]
    assert [text for text in contents if text.startswith("live")] == [f"live {n}" for n in range(number)]
    assert [text for text in contents if text.startswith(name)] == [f"{name} {n}" for n in range(1, 4001)]


def test_old_times_authors_edits_reactions_replies_pins_and_files_are_kept(here, ann, bob):
    name = secrets.token_hex(6)
    lines = list(small_room(name, 0, (ann.id, bob.id)))
    lines[2]["LastSeenAt"] = at(2)
    message = {"Kind": "message", "RoomID": name, "SenderID": ann.id}
    lines += [
        {**message, "ID": f"{name}1", "Content": "now", "EditedAt": at(5), "CreatedAt": at(1), "Metadata": {"kind": "old"}},
        {"Kind": "edit", "MessageID": f"{name}1", "Content": "first", "ReplacedAt": at(4)},
        {"Kind": "edit", "MessageID": f"{name}1", "Content": "second", "ReplacedAt": at(5)},
        {**message, "ID": f"{name}2", "Content": "reply", "MessageType": "replied", "ParentMessageID": f"{name}1", "CreatedAt": at(2),
         "Reactions": [{"Reaction": "👍", "Users": [bob.id]}], "PinnedAt": at(9)},
        {"Kind": "reaction", "MessageID": f"{name}2", "Reaction": "👍", "UserID": ann.id},
        {"Kind": "reaction", "MessageID": f"{name}2", "Reaction": "❤", "UserID": ann.id},
        {**message, "ID": f"{name}3", "Content": "cat.png", "ContentType": "image", "CreatedAt": at(3),
         "File": {"Name": "cat.png", "Size": 77, "ContentType": "image/png", "URL": "https://old.example/cat.png", "Width": 3, "Height": 4}},
        {**message, "ID": f"{name}4", "SenderID": bob.id, "DeletedAt": at(8), "CreatedAt": at(4)},
    ]
    here.store(lines)
    history = ann.history(room_id(name))
    assert [(one["ID"], one["CreatedAt"], one["SenderID"]) for one in history] == [
        (message_id(f"{name}{n}"), at(n), bob.id if n == 4 else ann.id) for n in range(1, 5)]
    first, reply, file, deleted = history
    assert first["EditedAt"] == at(5) and first["Metadata"] == {"kind": "old"}
    assert [edit["Content"] for edit in ann.data("GET", f"/messages/{first['ID']}/edits")] in (["first", "second"], ["second", "first"])
    assert reply["ParentMessageID"] == first["ID"] and reply["PinnedAt"] == at(9)
    assert [(one["Reaction"], one["Users"]) for one in reply["Reactions"]] == [("👍", [bob.id, ann.id]), ("❤️", [ann.id])]
    assert deleted["Status"] == "deleted" and deleted["Content"] == ""
    assert (file["File"]["Name"], file["File"]["Size"], file["File"]["Width"]) == ("cat.png", 77, 3)
    answer = bob.rest("GET", f"/files/{file['ID']}", expect=302, allow_redirects=False)
    assert answer.headers["Location"] == "https://old.example/cat.png"
    head = bob.rest("HEAD", f"/files/{file['ID']}", expect=200)
    assert (head.headers["Content-Length"], head.headers["Content-Type"]) == ("77", "image/png")
    assert bob.data("GET", f"/rooms/{room_id(name)}")["Unread"] == 1, "the picture: bob was here at the time of the reply"
    ann.rest("DELETE", f"/messages/{file['ID']}", expect=200)
    assert here.ask(f"SELECT count(*) FROM file_links WHERE message_id = '{file['ID']}'") == "0"


def test_a_message_that_came_by_the_api_is_here_already(here, ann, bob):
    """Side by side: the old service sends what is new with its own id as Sign, and a later import has the same messages."""
    name = secrets.token_hex(6)
    users = (ann.id, bob.id)
    here.store(small_room(name, 3, users))
    room = room_id(name)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": f"{name} 4", "Sign": f"{name}/4"}, 201)
    lines = [{**line, "Sign": line["ID"]} if line["Kind"] == "message" and line["ID"] == f"{name}/4" else line
             for line in small_room(name, 5, users)]
    assert "1 messages" in here.store(lines)
    assert [message["Content"] for message in ann.history(room)] == [f"{name} {n}" for n in range(1, 6)]


def test_a_private_room_of_the_hosts_id_is_that_of_its_pair(here, ann, bob):
    name = secrets.token_hex(6)
    lines = [{"Kind": "room", "ID": name, "Type": "PRIVATE", "OwnerID": ann.id, "Members": [ann.id, bob.id], "CreatedAt": at(0)},
             *({"Kind": "member", "RoomID": name, "UserID": user.id, "JoinedAt": at(0)} for user in (ann, bob)),
             {"Kind": "message", "ID": f"{name}/1", "RoomID": name, "SenderID": bob.id, "Content": "old", "CreatedAt": at(1)}]
    here.store(lines)
    room = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    assert [message["Content"] for message in ann.history(room)] == ["old"]
    assert "0 rooms, 0 members, 0 messages" in here.store(lines)


def test_a_room_that_is_made_while_an_import_begins_is_one_in_use(here, ann, bob):
    """After the checks, and before the import has made its own rooms: it waits there, because `blocks` is locked."""
    name = secrets.token_hex(6)
    lines = [{"Kind": "block", "UserID": f"{name} 1", "BlockedID": f"{name} 2", "CreatedAt": at(0)},
             {"Kind": "room", "ID": name, "Type": "PRIVATE", "OwnerID": ann.id, "Members": [ann.id, bob.id], "CreatedAt": at(0)},
             *({"Kind": "member", "RoomID": name, "UserID": user.id, "JoinedAt": at(0)} for user in (ann, bob)),
             {"Kind": "message", "ID": f"{name}/1", "RoomID": name, "SenderID": bob.id, "Content": "old", "CreatedAt": at(1)}]
    lock = subprocess.Popen([here.psql, "-XqAt", here.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process = None
    try:
        lock.stdin.write("BEGIN; LOCK TABLE blocks IN SHARE MODE; SELECT 'locked';\n")
        lock.stdin.flush()
        assert lock.stdout.readline() == "locked\n"
        process = subprocess.Popen(here.command("import", "-"), env=here.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        process.stdin.write("\n".join(map(json.dumps, lines)))
        process.stdin.close()
        eventually(lambda: here.ask("SELECT count(*) FROM pg_locks WHERE relation = 'blocks'::regclass AND NOT granted") == "1" or None, 60)
        room = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "live"}, 201)
    finally:
        lock.stdin.close()
        lock.wait(30)
        said = process and process.stdout.read()
    assert process.wait(60) == 0, said
    assert [(message["Content"], message["Seq"]) for message in ann.history(room)] == [("live", 1), ("old", 2)]
    assert ann.data("POST", f"/rooms/{room}/messages", {"Content": "next"}, 201)["Seq"] == 3


def test_the_export_of_a_user_has_everything_about_them(here, ann, bob):
    room = ann.group(bob)
    mine = ann.data("POST", f"/rooms/{room}/messages", {"Content": "mine"}, 201)["ID"]
    theirs = bob.data("POST", f"/rooms/{room}/messages", {"Content": "not mine"}, 201)["ID"]
    ann.data("PATCH", f"/messages/{mine}", {"Content": "mine, later"})
    ann.data("PUT", f"/messages/{theirs}/reactions/%F0%9F%91%8D")
    ann.rest("PUT", f"/devices/{secrets.token_hex(20)}", expect=204)
    ann.rest("PUT", f"/rooms/{room}/silence", expect=204)
    ann.data("POST", f"/rooms/{room}/invitations", {}, 201)
    ann.rest("PUT", f"/users/{bob.id}/block", expect=204)
    reports = [ann.data("PUT", f"/messages/{theirs}/report", {"Reason": "abuse", "Text": "the \"third\" time"}, 201),
               ann.data("PUT", f"/users/{bob.id}/report", {"Reason": "spam"}, 201)]
    bob.data("PUT", f"/messages/{mine}/report", {"Reason": "other", "Text": "of bob"}, 201)
    begin(ann, room)
    lines = [json.loads(line) for line in here.run("export", "--user", ann.id).splitlines()]
    kinds = {line["Kind"] for line in lines}
    assert {"export", "block", "device", "silence", "invitation", "room", "member", "message", "edit", "reaction"} <= kinds
    messages = [line for line in lines if line["Kind"] == "message"]
    assert {line["SenderID"] for line in messages} == {ann.id} and mine in {line["ID"] for line in messages}
    assert [(line["MessageID"], line["UserID"]) for line in lines if line["Kind"] == "reaction"] == [(theirs, ann.id)]
    assert "not mine" not in json.dumps(lines) and "of bob" not in json.dumps(lines)
    # Its own reports, as the API shows them to their reporter.
    mine = [{"Kind": "report", "UserID": ann.id, **{key: value for key, value in report.items() if key != "ReportedExternalID"}} for report in reports]
    assert sorted((line for line in lines if line["Kind"] == "report"), key=lambda line: line["ID"]) == mine
    # Every table with a column of a user is in it, or stands here with its reason.
    columns = here.ask("SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name IN "
                       "('user_id', 'sender_id', 'owner', 'owner_id', 'blocker', 'created_by', 'actor_id', 'reporter_id')").split()
    exported = {"members", "messages", "rooms", "accounts", "blocks", "user_devices", "user_endpoints", "push_mutes", "thread_mutes",
                "invitations", "revocations", "erased_users", "audit", "signed_requests", "uploads", "reports"}
    others = {"devices",  # A copy of user_devices for programs of an earlier release.
              "room_events"}  # The same changes as in messages and members.
    assert set(columns) - exported - others == set()


def test_two_imports_at_once_are_refused(empty, tmp_path):
    read, write = os.pipe()
    first = subprocess.Popen(empty.command("import", "-"), env=empty.environment, stdin=read, stdout=subprocess.PIPE)
    os.close(read)
    try:
        eventually(lambda: empty.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1" or None, 30)
        empty.run("import", "-", text=b"", code=1)
    finally:
        os.close(write)
        assert first.wait(30) == 0


def test_the_commands_and_lines_of_the_page_work(make_base, tmp_path):
    """docs/import.md: its example is imported, and its commands run on the result."""
    (_, script), _ = documents.blocks("import")
    [example] = re.findall(r"^```json\n(.*?)^```$", (CHECKOUT / "docs/import.md").read_text(), re.MULTILINE | re.DOTALL)
    assert example.count("\n") == 11
    base = make_base()
    assert "2 rooms, 4 members, 3 messages, 1 earlier contents" in base.store(example.splitlines())
    (tmp_path / ".env").symlink_to(os.environ["TEST_ENV_FILE"])
    assert "0191e2a4-…" in script
    script = 'fcgi-api() { "$FCGI_API" "$@"; }\n' + script.replace("0191e2a4-…", room_id("kitchen"))
    answer = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, text=True, timeout=120, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={**base.environment, "FCGI_API": str(program("fcgi-api"))})
    assert answer.returncode == 0, answer.stdout
    assert re.search(r"^\d+ lines are good; nothing was stored$", answer.stdout, re.MULTILINE)
    assert "0 rooms, 0 members, 0 messages, 0 earlier contents" in answer.stdout
    kinds = {name: [json.loads(line)["Kind"] for line in (tmp_path / f"{name}.ndjson").read_text().splitlines()]
             for name in ("everything", "room", "4711")}
    assert kinds["everything"].count("room") == 2 and kinds["everything"].count("message") == 3
    assert kinds["room"].count("room") == 1 and kinds["room"].count("message") == 3
    assert kinds["4711"].count("message") == 2 and kinds["4711"].count("reaction") == 1


def test_the_migration_goes_down_and_up(empty):
    def schema():
        dump = subprocess.run([empty.psql.with_name("pg_dump"), "-s", empty.url], stdout=subprocess.PIPE, text=True, check=True).stdout
        return [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    before = schema()
    file = {**MESSAGE, "ContentType": "file", "File": {"Name": "a", "URL": "https://old.example/a"}}
    empty.store([*small_room(messages=0), file])
    assert empty.ask("SELECT url FROM file_links") == "https://old.example/a"
    while b"reverted 0035_file_links" not in empty.run("migrate", "down"):
        pass
    assert empty.ask("SELECT to_regclass('file_links') IS NULL") == "t"
    # A program of the release before writes on.
    empty.ask("UPDATE messages SET deleted_at = now(), content = ''")
    empty.ask("DELETE FROM messages")
    empty.run("migrate", "up")
    assert schema() == before

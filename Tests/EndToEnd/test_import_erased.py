"""Export and import beside users who are erased: the rooms of those who stay, and the same bytes after a round."""

import json
import secrets
import threading

import pytest
import requests
from client import message_frame
from conftest import server_key
from hosted import HostedUser
from importing import admin, erase, held_at_messages, room_id, small_room
from uploads import begin, post
from waiting import eventually

COUNTED = ("SELECT r.id FROM rooms r WHERE r.deleted_at IS NULL AND r.member_count <> "
           "(SELECT count(*) FROM members p WHERE p.room_id = r.id AND p.left_at IS NULL AND p.banned_at IS NULL)")
EXCLUSIVE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND NOT granted"


@pytest.mark.parametrize("owner", [True, False])
def test_an_erasure_while_a_large_room_is_stored_leaves_it_to_those_who_stay(here, ann, bob, base_url, owner):
    """The member is stored with the room's beginning; lines that say otherwise since then are no member."""
    name = secrets.token_hex(6)
    users = (ann.id, bob.id) if owner else (bob.id, ann.id)
    with server_key("admin") as key, held_at_messages(here, small_room(name, 11_000, users)) as process:
        # The import waits with the lock that an erasure takes: this one is next.
        first = threading.Thread(target=requests.delete, args=[f"{base_url}/api/v1/admin/users/{ann.id}"], kwargs={
            "headers": {"Authorization": f"Bearer {key}"}, "timeout": 60})
        first.start()
        eventually(lambda: here.ask(EXCLUSIVE) == "2" or None, 30)
    assert process.returncode == 3, process.said
    first.join()
    erase(base_url, ann)
    room = bob.data("GET", f"/rooms/{room_id(name)}")
    assert room["OwnerID"] == bob.id and room["MemberCount"] == 1
    assert [one["UserID"] for one in bob.data("GET", f"/rooms/{room_id(name)}/members")] == [bob.id]
    assert bob.data("POST", f"/rooms/{room_id(name)}/messages", {"Content": "still here"}, 201)
    assert here.ask(f"SELECT count(*) FROM messages WHERE sender_id = '{ann.id}' AND deleted_at IS NULL AND message_type <> 4") == "0"
    assert here.ask(COUNTED) == ""


def talk(ann, other, room):
    """Everything that names a user, of both."""
    mine = ann.data("POST", f"/rooms/{room}/messages", {"Content": "mine", "Sign": secrets.token_hex(4)}, 201)["ID"]
    theirs = other.data("POST", f"/rooms/{room}/messages", {"Content": "theirs"}, 201)["ID"]
    for user, message in ((ann, theirs), (other, mine)):
        user.data("PUT", f"/messages/{message}/reactions/%F0%9F%91%8D")
        user.rest("PUT", f"/messages/{message}/pin")
        user.data("POST", f"/rooms/{room}/messages", {"Content": "a reply", "MessageType": "replied", "ParentMessageID": message}, 201)
        user.data("POST", f"/rooms/{room}/messages", {"Content": "-", "MessageType": "forwarded", "ParentMessageID": message}, 201)
    for user, message in ((ann, mine), (other, theirs)):
        user.data("PUT", f"/messages/{message}/reactions/%E2%9D%A4")
        user.data("PATCH", f"/messages/{message}", {"Content": "edited"})
        file = begin(user, room)
        post(user, file, b"some bytes")
        other.data("POST", f"/rooms/{room}/messages", {"Content": "-", "MessageType": "forwarded", "ParentMessageID": file}, 201)


def pair(one, other):
    return one.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [other.id]}, 201)["ID"]


def rooms_of(ann, bob, others, base_url):
    """Rooms of all kinds, with an erased user in each place."""
    carol, dave, erin = others
    rooms = [pair(ann, bob), pair(bob, carol), pair(ann, carol), pair(dave, bob), pair(erin, bob), ann.group(bob), bob.group(ann, carol, dave),
             ann.data("POST", "/rooms", {"Type": "CHANNEL", "Name": "News", "Members": [bob.id, carol.id]}, 201)["ID"], carol.group(), ann.group(carol)]
    for room in rooms:
        kind = ann.rest("GET", f"/rooms/{room}")
        one, other = {rooms[1]: (carol, bob), rooms[2]: (ann, carol), rooms[3]: (dave, bob), rooms[4]: (erin, bob), rooms[8]: (carol, carol),
                      rooms[9]: (ann, carol)}.get(room, (ann, bob))
        if room != rooms[7]:
            talk(one, other, room)
        else:
            assert kind.json()["Data"]["Type"] == "CHANNEL"
            ann.data("POST", f"/rooms/{room}/messages", {"Content": "news"}, 201)
        admin(base_url, "POST", f"/rooms/{room}/messages", {"Content": "maintenance tonight"})
    ann.data("PATCH", f"/rooms/{rooms[5]}/members/{bob.id}", {"MutedUntil": "2999-01-01T00:00:00Z"})
    bob.data("PATCH", f"/rooms/{rooms[6]}/members/{dave.id}", {"Banned": True})
    bob.rest("PUT", f"/users/{carol.id}/block", expect=204)
    return rooms


def test_an_export_with_erased_users_is_the_same_bytes_after_an_import(here, empty, make_base, ann, bob, make_user, base_url, secret):
    carol, dave, erin = make_user(), make_user(), HostedUser(base_url, secret, f"erin {secrets.token_hex(4)}")
    rooms = rooms_of(ann, bob, (carol, dave, erin), base_url)
    for user in (ann, carol, dave, erin):
        erase(base_url, user)
    # Two come back: one opens the room of the two again, and one is only elsewhere.
    assert pair(bob, dave) == rooms[3]
    talk(dave, bob, rooms[3])
    talk(bob, erin, bob.group(erin))
    before = here.run("export", "--all")
    said = empty.run("import", "-", text=before).decode()
    after = empty.run("export", "--all")
    assert after == before, [both for both in zip(before.splitlines(), after.splitlines()) if both[0] != both[1]][:3]
    assert "differ" not in said and empty.ask(COUNTED) == "" == here.ask(COUNTED)
    # Nor is any line a difference where it comes from.
    assert "stored: 0 users, 0 rooms, 0 members, 0 messages" in here.run("import", "-", text=before).decode()
    for room in rooms:
        if here.ask(f"SELECT count(*) FROM rooms WHERE id = '{room}' AND NOT (type = 1 AND deleted_at IS NOT NULL)") == "0":
            continue
        one = here.run("export", "--room", room)
        alone = make_base()
        alone.run("import", "-", text=one)
        assert alone.run("export", "--room", room) == one


def test_a_pair_of_which_one_was_erased_meets_again_after_an_import(here, ann, bob):
    """A file of an installation where ann was erased and came back."""
    ann.group(bob)
    name = secrets.token_hex(6)
    lines = [{"Kind": "room", "ID": name, "Type": "PRIVATE", "Members": [ann.id, bob.id], "OwnerID": ann.id, "LastSeq": 1, "CreatedAt": "2020-01-01T00:00:00Z"},
             *({"Kind": "member", "RoomID": name, "UserID": user.id, "JoinedAt": "2020-01-01T00:00:00Z", **fields}
               for user, fields in ((ann, {"LeftAt": "2020-01-02T00:00:00Z"}), (bob, {}))),
             {"Kind": "message", "ID": f"{name}/1", "RoomID": name, "SenderID": "00000000-0000-0000-0000-000000000000", "MessageType": "system",
              "Content": f"left {ann.id}", "CreatedAt": "2020-01-02T00:00:00Z", "Seq": 1}]
    here.store(lines)
    with ann.socket() as socket, bob.socket() as other:
        assert socket.ask(message_frame(ReceiverID=bob.id, Content="hello"))["Success"]
        other.new_message("hello")
        assert other.ask(message_frame(ReceiverID=ann.id, Content="and you"))["Success"]
        socket.new_message("and you")


def test_nobody_speaks_for_the_host(here, empty, ann, bob):
    """Only the host's own messages have its sender: another one of zeros is a user like others."""
    room = pair(ann, bob)
    zero = {"Kind": "message", "ID": secrets.token_hex(6), "RoomID": room, "SenderID": "00000000-0000-0000-0000-000000000000",
            "Content": "x", "CreatedAt": "2020-01-02T00:00:00Z"}
    assert here.problems([zero]) == [(1, "only its Members write in a PRIVATE room")]
    assert "1 messages" in here.store([{**zero, "MessageType": "system"}])
    assert here.ask(f"SELECT count(*) FROM members WHERE room_id = '{room}'") == "2"
    assert "1 rooms, 2 members, 1 messages" in empty.store([*small_room(messages=0), {**zero, "RoomID": "kitchen", "MessageType": "system"}])
    assert json.loads(empty.run("export", "--all").splitlines()[-1])["SenderID"] == zero["SenderID"]

"""Rooms as a client sees them: links, pins, mentions, edits, search, and the receivers of each frame."""

import threading
import time
import uuid

import pytest


def frames_of(socket, room):
    return [frame for frame in socket.frames if frame.get("RoomID") == room and frame.get("Seq")]


def changes(socket, room):
    return [frame["Data"]["Change"] for frame in frames_of(socket, room) if frame["Type"] == "room_updated"]


def test_a_link_lets_in_as_often_as_it_says_also_when_all_come_at_once(ann, make_user):
    room = ann.group()
    invitation = ann.data("POST", f"/rooms/{room}/invitations", {"MaxUses": 3, "ExpiresIn": 60}, 201)
    guests, answers = [make_user() for _ in range(8)], []
    threads = [threading.Thread(target=lambda guest=guest: answers.append(
        guest.rest("POST", "/rooms/join", {"Token": invitation["Token"]}).status_code)) for guest in guests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 3 + [410] * 5
    assert ann.data("GET", f"/rooms/{room}")["MemberCount"] == 4
    assert ann.data("GET", f"/rooms/{room}/invitations") == []
    guests[0].rest("POST", "/rooms/join", {"Token": "no such"}, 404)


def test_the_limit_holds_while_many_join_at_once(ann, make_user):
    body = {"Type": "GROUP", "Name": "small", "Members": [], "MemberLimit": 4}
    room = ann.data("POST", "/rooms", body, 201)["ID"]
    token = ann.data("POST", f"/rooms/{room}/invitations", {}, 201)["Token"]
    answers = []
    threads = [threading.Thread(target=lambda guest=make_user(): answers.append(
        guest.rest("POST", "/rooms/join", {"Token": token}).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 3 + [409] * 5
    assert len(ann.data("GET", f"/rooms/{room}/members")) == 4


def test_a_newcomer_gets_everything_from_then_on_also_within_a_burst(ann, bob):
    room = ann.group()
    token = ann.data("POST", f"/rooms/{room}/invitations", {}, 201)["Token"]
    with bob.socket() as theirs:
        stop = threading.Event()

        def talk():
            while not stop.is_set():
                ann.data("POST", f"/rooms/{room}/messages", {"Content": "on and on"}, 201)

        talking = threading.Thread(target=talk)
        talking.start()
        for _ in range(5):
            assert bob.rest("POST", "/rooms/join", {"Token": token}).status_code == 200
            time.sleep(0.1)
            assert bob.rest("DELETE", f"/rooms/{room}/members/{bob.id}").status_code == 200
            time.sleep(0.05)
        stop.set()
        talking.join()
        frames = frames_of(theirs, room)
    is_in = False
    for before, frame in zip([None, *frames], frames):
        change = frame["Data"].get("Change")
        assert is_in or change == "joined", f"{frame['Seq']} reached who is no member"
        assert not is_in or frame["Seq"] == before["Seq"] + 1, "a frame between two is missing"
        is_in = change != "left" or frame["Data"]["Member"]["UserID"] != bob.id
    assert not is_in and [change for change in changes(theirs, room)] == ["joined", "left"] * 5


def test_every_change_of_members_is_a_frame_and_a_system_message(ann, bob, make_user):
    eve = make_user()
    room = ann.group(bob)
    with bob.socket() as theirs:
        them = f"/rooms/{room}/members/{eve.id}"
        ann.data("POST", f"/rooms/{room}/members", {"UserID": eve.id}, 201)
        ann.data("PATCH", them, {"MutedUntil": "2099-01-01T00:00:00Z"})
        assert eve.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 403).json()["Error"]["Code"] == "muted"
        ann.data("PATCH", them, {"MutedUntil": None})
        ann.data("PATCH", them, {"Role": "ADMIN"})
        ann.data("PATCH", them, {"Banned": True})
        assert eve.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 403).json()["Error"]["Code"] == "banned"
        assert [member["UserID"] for member in ann.data("GET", f"/rooms/{room}/members?banned=true")] == [eve.id]
        bob.rest("GET", f"/rooms/{room}/members?banned=true", expect=403)
        ann.data("PATCH", them, {"Banned": False})
        ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"Role": "OWNER"})
        last = f"role {ann.id} ADMIN"
        theirs.new_message(last)
        assert changes(theirs, room) == [
            "joined", "muted", "unmuted", "role", "banned", "unbanned", "owner", "role"]
    told = [message["Content"] for message in bob.history(room) if message["MessageType"] == "system"]
    assert told == [
        f"joined {eve.id}", f"muted {eve.id} 2099-01-01T00:00:00.000Z", f"unmuted {eve.id}", f"role {eve.id} ADMIN",
        f"banned {eve.id}", f"unbanned {eve.id}", f"owner {bob.id} OWNER", last]


def test_the_same_change_again_answers_the_same(ann, bob):
    room = ann.group(bob)
    for change in ({"Role": "ADMIN"}, {"MutedUntil": "2050-01-31T12:00:00Z"}, {"MutedUntil": None}, {"Banned": True},
                   {"Banned": False}):
        first, again = (ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", change) for _ in range(2))
        assert first == again and first["UserID"] == bob.id, change
    refusal = ann.rest("PATCH", f"/rooms/{room}", {}, 422).json()
    assert refusal["Error"]["Code"] == "invalid"


def test_pins_mentions_and_edits(ann, bob):
    room = ann.group(bob)
    with bob.socket() as theirs:
        text = f"@{bob.id} look at this"
        message = ann.data("POST", f"/rooms/{room}/messages", {"Content": text}, 201)
        assert message["Mentions"] == [bob.id] and message["PinnedAt"] is None
        path = f"/messages/{message['ID']}"
        bob.rest("PUT", f"{path}/pin", expect=403)
        assert ann.data("PUT", f"{path}/pin")["PinnedAt"]
        pinned = theirs.wait(lambda frame: (frame.get("Data") or {}).get("Change") == "pinned")
        assert pinned["Data"]["MessageID"] == message["ID"] and pinned["Data"]["PinnedAt"]
        assert [pin["ID"] for pin in bob.data("GET", f"/rooms/{room}/pins")] == [message["ID"]]
        ann.data("PATCH", path, {"Content": "second", "BaseSeq": message["Seq"]})
        stale = ann.rest("PATCH", path, {"Content": "third", "BaseSeq": message["Seq"]}, 409)
        assert stale.json()["Error"]["Code"] == "conflict"
        assert bob.data("GET", path)["Content"] == "second"
        assert [edit["Content"] for edit in bob.data("GET", f"{path}/edits")] == [text]
        ann.data("DELETE", path)
        assert bob.data("GET", f"/rooms/{room}/pins") == [] and bob.data("GET", f"{path}/edits") == []
        changed = bob.rest("GET", f"/rooms/{room}/messages?changed_since={message['Seq']}").json()["Data"]
        assert [(found["ID"], found["Content"]) for found in changed] == [(message["ID"], "")]


def test_search_finds_in_one_room_and_in_mine_alone(ann, bob, make_user):
    room, other, foreign = ann.group(bob), bob.group(), make_user()
    word = f"w{uuid.uuid4().hex[:12]}"
    gone = ann.data("POST", f"/rooms/{room}/messages", {"Content": f"{word} that goes"}, 201)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": f"one {word}, {word} twice"}, 201)
    bob.data("POST", f"/rooms/{other}/messages", {"Content": f"mine: {word}s"}, 201)
    ann.data("DELETE", f"/messages/{gone['ID']}")
    hits = bob.data("GET", f"/search?q={word}")
    assert [hit["Content"] for hit in hits] == [f"mine: {word}s", f"one {word}, {word} twice"]
    assert hits[1]["Marks"] == [{"Start": 4, "Length": 13}, {"Start": 19, "Length": 13}]
    assert [hit["RoomID"] for hit in bob.data("GET", f"/rooms/{room}/search?q={word}")] == [room]
    assert foreign.data("GET", f"/search?q={word}") == []
    foreign.rest("GET", f"/rooms/{room}/search?q={word}", expect=404)


@pytest.mark.parametrize("opened", ["before", "after"])
def test_a_blocked_user_neither_opens_nor_uses_the_private_room(ann, bob, opened):
    body = {"Type": "PRIVATE", "Members": [bob.id]}
    if opened == "before":
        room = ann.data("POST", "/rooms", body, 201)["ID"]
        message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "hi"}, 201)
    bob.rest("PUT", f"/users/{ann.id}/block", expect=204)
    assert ann.rest("POST", "/rooms", body, 403).json()["Error"]["Code"] == "blocked"
    if opened == "before":
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "hi"}, 403)
        ann.rest("PATCH", f"/messages/{message['ID']}", {"Content": "hello?"}, 403)
        ann.rest("PUT", f"/messages/{message['ID']}/reactions/👍", expect=403)
    group = bob.group(ann)
    ann.data("POST", f"/rooms/{group}/messages", {"Content": "in a group it goes on"}, 201)
    bob.rest("DELETE", f"/users/{ann.id}/block", expect=204)
    room = ann.data("POST", "/rooms", body, 201)["ID"]
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "again"}, 201)
    ann.rest("DELETE", f"/rooms/{room}", expect=403)  # a PRIVATE room cannot be deleted

"""Consent to being added to a room, visibility of presence, and limits per user."""

import subprocess
import time
import uuid

import pytest
from waiting import eventually


def test_a_mute_outlasts_leaving_and_says_how_long(ann, bob):
    room = ann.group(bob)
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"MutedUntil": until})
    bob.rest("DELETE", f"/rooms/{room}/members/{bob.id}", expect=200)
    invitation = ann.data("POST", f"/rooms/{room}/invitations", {}, 201)["Token"]
    assert bob.data("POST", "/rooms/join", {"Token": invitation})["MutedUntil"] is not None
    answer = bob.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 403)
    error = answer.json()["Error"]
    assert error["Code"] == "muted" and 0 < error["RetryAfter"] <= 60_000
    assert int(answer.headers["Retry-After"]) == -(-error["RetryAfter"] // 1000)
    with bob.socket() as socket:
        frame = {"Type": "message", "RoomID": room, "Content": "x", "Sign": str(uuid.uuid4())}
        assert 0 < socket.ask(frame)["RetryAfter"] <= 60_000


@pytest.mark.parametrize("rule", ["nobody", "shared"])
def test_who_may_add_me(rule, ann, bob, make_user):
    assert bob.data("GET", "/account")["AddedBy"] == "everybody"
    assert bob.data("PATCH", "/account", {"AddedBy": rule}) == {
        "UserID": bob.id, "HidePresence": False, "AddedBy": rule, "PushMentionsOnly": False, "QuietHours": None}
    room = ann.group()
    for path, body in (("/rooms", {"Type": "GROUP", "Name": "x", "Members": [bob.id]}), (f"/rooms/{room}/members", {"Members": [bob.id]}),
                       ("/rooms", {"Type": "PRIVATE", "Members": [bob.id]})):
        assert ann.rest("POST", path, body, 403).json()["Error"]["Code"] == "forbidden"
    with ann.socket() as socket:
        frame = {"Type": "message", "ReceiverID": bob.id, "Content": "x", "Sign": str(uuid.uuid4())}
        assert socket.ask(frame)["Error"].startswith("forbidden: ")
    assert bob.data("GET", "/rooms") == []
    # bob's own actions need no consent.
    invitation = ann.data("POST", f"/rooms/{room}/invitations", {}, 201)["Token"]
    bob.data("POST", "/rooms/join", {"Token": invitation})
    second = {"Type": "GROUP", "Name": "y", "Members": [bob.id]}
    ann.rest("POST", "/rooms", second, 403 if rule == "nobody" else 201)
    other = make_user()
    other.rest("POST", "/rooms", second, 403)
    bob.rest("POST", "/rooms", {"Type": "PRIVATE", "Members": [other.id]}, 201)
    bob.data("PATCH", "/account", {"AddedBy": "everybody"})
    make_user().rest("POST", "/rooms", second, 201)


def test_the_blocked_cannot_add_and_see_nothing(ann, bob, make_user):
    carl = make_user()
    room = ann.group(bob, carl)
    bob.rest("PUT", f"/users/{ann.id}/block", expect=204)
    for path, body in (("/rooms", {"Type": "GROUP", "Name": "x", "Members": [bob.id]}), ("/rooms", {"Type": "PRIVATE", "Members": [bob.id]})):
        assert ann.rest("POST", path, body, 403).json()["Error"]["Code"] == "blocked"
    with carl.socket() as watching, ann.socket() as blocked:
        with bob.socket():
            watching.wait(lambda frame: frame["Type"] == "presence" and frame["Data"]["UserID"] == bob.id)
            assert carl.data("GET", f"/users/{bob.id}/presence")["Online"]
            assert ann.data("GET", f"/users/{bob.id}/presence") == {"UserID": bob.id, "Online": False, "LastSeenAt": None}
            assert not bob.data("GET", f"/users/{ann.id}/presence")["Online"]
            # A later frame of the same room shows that the earlier ones have passed ann's relay.
            carl.data("POST", f"/rooms/{room}/messages", {"Content": "behind"}, 201)
            blocked.new_message("behind")
            assert not blocked.count(lambda frame: frame["Type"] == "presence" and frame["Data"]["UserID"] == bob.id)


def test_a_device_is_nobodys_to_take(ann, bob, make_user, psql):
    token = f"device-{uuid.uuid4()}"
    ann.rest("PUT", f"/devices/{token}", expect=204)
    bob.rest("PUT", f"/devices/{token}", expect=204)
    session = psql()
    assert session.ask(f"SELECT count(*) FROM user_devices WHERE token = '{token}'") == ["2"]
    bob.rest("DELETE", f"/devices/{token}", expect=204)
    assert session.ask(f"SELECT user_id FROM user_devices WHERE token = '{token}'") == [ann.id]
    others = [make_user() for _ in range(5)]
    statuses = [user.rest("PUT", f"/devices/{token}").status_code for user in others]
    assert statuses == [204] * 4 + [409]
    ann.rest("PUT", f"/devices/{token}", expect=204)


def test_devices_and_blocks_of_one_user_are_bounded(ann, make_user, reconfigure, psql):
    reconfigure("fcgi-api", DEVICES_PER_USER=3, BLOCKS_PER_USER=2)
    tokens = [f"device-{uuid.uuid4()}" for _ in range(5)]
    for token in tokens:
        ann.rest("PUT", f"/devices/{token}", expect=204)
    kept = psql().ask(f"SELECT token FROM user_devices WHERE user_id = '{ann.id}'")
    assert set(kept) == set(tokens[2:])
    strangers = [str(uuid.uuid4()) for _ in range(3)]
    assert [ann.rest("PUT", f"/users/{user}/block").status_code for user in strangers] == [204, 204, 409]
    ann.rest("PUT", f"/users/{strangers[0]}/block", expect=204)
    ann.rest("DELETE", f"/users/{strangers[0]}/block", expect=204)
    ann.rest("PUT", f"/users/{strangers[2]}/block", expect=204)


def test_rooms_of_one_user_are_bounded(ann, bob, reconfigure):
    reconfigure("queue-worker", ROOMS_PER_USER=2)
    rooms = [ann.group() for _ in range(2)]
    body = {"Type": "GROUP", "Name": "x"}
    assert ann.rest("POST", "/rooms", body, 409).json()["Error"]["Code"] == "conflict"
    assert bob.rest("POST", "/rooms", body | {"Members": [ann.id]}, 409).json()["Error"]["Code"] == "conflict"
    with bob.socket() as socket:
        frame = {"Type": "message", "ReceiverID": ann.id, "Content": "x", "Sign": str(uuid.uuid4())}
        assert socket.ask(frame)["Error"].startswith("conflict: ")
    ann.rest("DELETE", f"/rooms/{rooms[0]}", expect=200)
    ann.rest("POST", "/rooms", body, 201)


def test_changes_seen_marks_and_rooms_made_by_a_message_have_a_rate(ann, make_user, reconfigure):
    reconfigure("fcgi-api", RATE_CHANGES=3, RATE_SEEN=2)
    room = ann.group()
    statuses = [ann.rest("PATCH", f"/rooms/{room}", {"Name": f"n{number}"}).status_code for number in range(5)]
    assert statuses[:3] == [200] * 3 and 429 in statuses
    answer = ann.rest("PUT", f"/users/{uuid.uuid4()}/block", expect=429)
    assert answer.json()["Error"]["RetryAfter"] > 0
    assert 429 in [ann.rest("POST", f"/rooms/{room}/seen", {}).status_code for _ in range(4)]


def test_rooms_that_messages_make_count_as_rooms(ann, reconfigure):
    reconfigure("ws-relay", RATE_ROOMS=3)
    with ann.socket() as socket:
        def write(receiver):
            frame = {"Type": "message", "ReceiverID": receiver, "Content": "x", "Sign": str(uuid.uuid4())}
            return socket.ask(frame)
        first = str(uuid.uuid4())
        assert write(first)["Success"]
        refused = eventually(lambda: not (answer := write(str(uuid.uuid4())))["Success"] and answer, 20,
                             lambda: "rooms are made without end", pause=0.2)
        assert refused["Error"].startswith("rate_limited: too many new rooms") and refused["RetryAfter"] > 0
        # In an existing room the message counts only as a message.
        assert write(first)["Success"]


def test_a_forward_cannot_be_edited(ann, bob):
    room = ann.group(bob)
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "I like cats"}, 201)["ID"]
    forward = bob.data("POST", f"/rooms/{room}/messages", {"MessageType": "forwarded", "ParentMessageID": message}, 201)["ID"]
    assert bob.rest("PATCH", f"/messages/{forward}", {"Content": "I hate cats"}, 403).json()["Error"]["Code"] == "forbidden"
    assert bob.data("GET", f"/messages/{forward}")["Content"] == "I like cats"


def test_the_log_of_a_room_is_bounded_by_bytes(ann, settings, reconfigure):
    reconfigure("queue-worker", ROOM_LOG_BYTES=65536)
    room = ann.group()
    for number in range(30):
        ann.data("POST", f"/rooms/{room}/messages", {"Content": f"{number} " + "x" * 16000}, 201)
    path = settings["REDIS_URL"].removeprefix("unix://").partition("?")[0]
    script = """local size, count = 0, 0
        for _, key in ipairs(redis.call('KEYS', '*' .. ARGV[1] .. '*')) do
            if redis.call('TYPE', key).ok == 'stream' then
                for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
                    size, count = size + #entry[2][2], count + 1
                end
            end
        end
        return size .. ' ' .. count"""
    answer = subprocess.run(["redis-cli", "-s", path, "EVAL", script, "0", room], stdout=subprocess.PIPE, text=True, check=True)
    size, count = map(int, answer.stdout.strip().strip('"').split())
    assert 0 < size <= 65536 * 5 // 4 and 0 < count < 30

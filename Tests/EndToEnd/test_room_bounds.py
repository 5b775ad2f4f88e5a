"""Bounds of what one user can do to a room or to another user; a room always has somebody who manages it."""

import uuid

from client import message_frame


def code(answer, status):
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    return answer.json()["Error"]["Code"]


def test_a_room_that_its_last_member_left_gets_a_new_owner(ann, bob):
    room = ann.group()
    link = ann.data("POST", f"/rooms/{room}/invitations", {}, 201)["Token"]
    ann.rest("DELETE", f"/rooms/{room}/members/{ann.id}", expect=200)
    joined = bob.data("POST", "/rooms/join", {"Token": link})
    assert (joined["OwnerID"], joined["Role"], joined["MemberCount"]) == (bob.id, "OWNER", 1)
    assert ann.data("POST", "/rooms/join", {"Token": link})["Role"] == "MEMBER"
    assert code(ann.rest("DELETE", f"/rooms/{room}"), 403) == "forbidden"
    bob.rest("DELETE", f"/rooms/{room}", expect=200)


def test_bans_of_strangers_are_bounded(ann, bob, reconfigure):
    reconfigure("queue-worker", ROOM_BAN_LIMIT=2)
    room = ann.group(bob)

    def ban(user, banned=True):
        return ann.rest("PATCH", f"/rooms/{room}/members/{user}", {"Banned": banned})

    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    assert [ban(user).status_code for user in (first, second, first)] == [200, 200, 200]
    assert code(ban(third), 409) == "conflict"
    # An ended ban frees nothing: its row stays.
    assert ban(first, False).status_code == 200
    assert code(ban(third), 409) == "conflict"
    assert ban(first).status_code == 200
    # A member can always be banned.
    assert ban(bob.id).status_code == 200
    banned = {member["UserID"] for member in ann.data("GET", f"/rooms/{room}/members?banned=true")}
    assert banned == {first, second, bob.id}


def test_nobody_fills_another_users_rooms(ann, bob, make_user, reconfigure):
    reconfigure("queue-worker", ROOMS_PER_USER=10, ADDED_ROOMS_PER_USER=2)

    def add(user):
        return user.rest("POST", "/rooms", {"Type": "GROUP", "Name": "x", "Members": [ann.id]})

    assert [add(bob).status_code for _ in range(3)] == [201, 201, 409]
    own = bob.group()
    refused = bob.rest("POST", f"/rooms/{own}/members", {"UserID": ann.id})
    assert code(refused, 409) == "conflict"
    # The user decides by themselves: a link works.
    link = bob.data("POST", f"/rooms/{own}/invitations", {}, 201)["Token"]
    ann.rest("POST", "/rooms/join", {"Token": link}, expect=200)
    # Other users have a number of their own, up to four fifths of all.
    others = [make_user() for _ in range(3)]
    assert [add(user).status_code for user in others for _ in range(2)] == [201, 201, 201, 201, 201, 409]
    # The rest is for the user's own rooms and for PRIVATE ones.
    ann.group()
    with others[0].socket() as socket:
        assert socket.ask(message_frame(ReceiverID=ann.id, Content="hello"))["Success"]
    assert code(ann.rest("POST", "/rooms", {"Type": "GROUP", "Name": "x"}), 409) == "conflict"


def test_reads_and_uploads_have_a_rate(ann, bob, make_user, reconfigure):
    reconfigure("fcgi-api", RATE_READS=30, RATE_UPLOADS=5)
    room = ann.group(bob)
    for number in range(10):
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "x" * 16_000}, 201)

    def allowed(deed, most):
        """How many times it works before it is refused."""
        for number in range(most):
            answer = deed()
            if answer.status_code == 429:
                error = answer.json()["Error"]
                assert error["Code"] == "rate_limited" and error["RetryAfter"] > 0
                return number
            assert answer.status_code == 200, answer.text[:500]
        raise AssertionError("it was never refused")

    assert allowed(lambda: bob.rest("GET", "/rooms"), 90) >= 30
    # A page of 160 KB counts as several reads.
    assert allowed(lambda: ann.rest("GET", f"/rooms/{room}/messages"), 30) < 20
    # Changes are counted by themselves, and each user alone.
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "more"}, 201)
    make_user().rest("GET", "/rooms", expect=200)
    file = bob.data("POST", f"/rooms/{room}/messages", {"Content": "a.txt", "ContentType": "file"}, 201)["ID"]
    assert allowed(lambda: bob.rest("GET", f"/files/{file}/upload"), 30) >= 5

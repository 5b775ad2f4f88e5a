"""One Idempotency-Key belongs to one request: a retry changes nothing more, and another request with it is refused."""

import uuid

import pytest


@pytest.fixture
def key():
    return str(uuid.uuid4())


def mismatch(answer):
    assert answer.status_code == 422, f"{answer.status_code} {answer.text[:500]}"
    assert answer.json()["Error"]["Code"] == "idempotency_mismatch"


def members(user, room):
    return {member["UserID"] for member in user.data("GET", f"/rooms/{room}/members")}


def test_a_retry_of_an_invitation_brings_nobody_back(ann, bob, make_user, key):
    eve, room = make_user(), ann.group()
    path, body = f"/rooms/{room}/members", {"UserID": bob.id, "Sign": key}
    ann.rest("POST", path, body, 201)
    mismatch(ann.rest("POST", path, {"UserID": eve.id, "Sign": key}))
    mismatch(ann.rest("POST", path, {"Members": [bob.id, eve.id], "Sign": key}))
    mismatch(ann.rest("POST", f"/rooms/{ann.group()}/members", body))
    ann.rest("DELETE", f"{path}/{bob.id}", expect=200)
    # The key may also be the header.
    again = ann.rest("POST", path, {"UserID": bob.id}, 201, headers={"Idempotency-Key": key})
    assert again.json()["Data"]["MemberCount"] == 1
    assert members(ann, room) == {ann.id}
    ann.rest("POST", path, {"UserID": bob.id, "Sign": str(uuid.uuid4())}, 201)
    assert members(ann, room) == {ann.id, bob.id}


def test_an_invitation_without_effect_is_kept_too(ann, bob, make_user, key):
    eve, room = make_user(), ann.group(bob)
    path = f"/rooms/{room}/members"
    ann.rest("POST", path, {"UserID": bob.id, "Sign": key}, 201)
    mismatch(ann.rest("POST", path, {"UserID": eve.id, "Sign": key}))
    # A refused request keeps nothing.
    other = str(uuid.uuid4())
    eve.rest("PUT", f"/users/{ann.id}/block", expect=204)
    assert ann.rest("POST", path, {"UserID": eve.id, "Sign": other}).status_code == 403
    eve.rest("DELETE", f"/users/{ann.id}/block", expect=204)
    ann.rest("POST", path, {"UserID": eve.id, "Sign": other}, 201)


def test_one_key_makes_one_room(ann, bob, make_user, key):
    eve = make_user()
    body = {"Type": "GROUP", "Name": "x", "Members": [bob.id], "MemberLimit": 10, "Sign": key}
    room = ann.data("POST", "/rooms", body, 201)["ID"]
    assert ann.data("POST", "/rooms", body, 201)["ID"] == room
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "hello"}, 201)
    ann.rest("PATCH", f"/rooms/{room}", {"Name": "y"}, 200)
    assert ann.data("POST", "/rooms", body, 201)["ID"] == room
    for change in ({"Members": [eve.id]}, {"Members": []}, {"MemberLimit": 11}, {"Name": "y"}, {"Description": "z"},
                   {"Type": "CHANNEL"}):
        mismatch(ann.rest("POST", "/rooms", body | change))
    # Another user's key is another key.
    assert bob.data("POST", "/rooms", body | {"Members": []}, 201)["ID"] != room


def test_one_key_opens_one_private_room(ann, bob, make_user, key):
    eve = make_user()
    body = {"Type": "PRIVATE", "Members": [bob.id], "Sign": key}
    room = ann.data("POST", "/rooms", body, 201)["ID"]
    assert ann.data("POST", "/rooms", body, 201)["ID"] == room
    mismatch(ann.rest("POST", "/rooms", body | {"Members": [eve.id]}))
    mismatch(ann.rest("POST", "/rooms", {"Type": "GROUP", "Name": "x", "Sign": key}))
    assert eve.data("GET", "/rooms") == []
    assert [found["ID"] for found in ann.data("GET", "/rooms")] == [room]


def test_one_key_makes_one_link(ann, key):
    path = f"/rooms/{ann.group()}/invitations"
    body = {"MaxUses": 2, "ExpiresIn": 600, "Sign": key}
    link = ann.data("POST", path, body, 201)
    assert ann.data("POST", path, body, 201) == link
    for change in ({"ExpiresIn": 601}, {"MaxUses": 3}):
        mismatch(ann.rest("POST", path, body | change))
    mismatch(ann.rest("POST", path, {"Sign": key}))
    assert len(ann.data("GET", path)) == 1

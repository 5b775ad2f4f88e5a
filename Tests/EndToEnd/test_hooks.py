"""Events and questions for the host application over HTTP: signed, repeated until accepted, never lost."""

import uuid

import pytest
from client import make_token
from hook_host import Host
from hook_settings import hook_settings, program, wait_until


@pytest.fixture(scope="module")
def host(pids):
    """The running queue-worker gets it by its settings and a reload, which starts its pool of hooks."""
    host = Host()
    with hook_settings(pids, WEBHOOK_URL=f"{host.url}/events", MESSAGE_CHECK_URL=f"{host.url}/check",
                       WEBHOOK_PRIVATE="yes", MESSAGE_CHECK_TIMEOUT_MS=500):
        yield host
    assert host.trouble == []


def test_the_host_hears_of_everything_in_order(host, ann, bob):
    room = ann.group(bob)
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "first"}, 201)
    ann.data("PATCH", f"/messages/{message['ID']}", {"Content": "second"})
    ann.data("DELETE", f"/messages/{message['ID']}")
    bob.rest("DELETE", f"/rooms/{room}/members/{bob.id}", expect=200)
    ann.rest("DELETE", f"/rooms/{room}", expect=200)
    host.wait(lambda event: event["RoomID"] == room and event["Event"] == "room.deleted")
    assert host.names(room) == [
        "room.created", "message.created", "message.updated", "message.deleted", "member.left", "room.deleted"]
    first = host.wait(lambda event: event["RoomID"] == room and event["Event"] == "message.created")
    assert first["Data"]["ID"] == message["ID"] and first["Seq"] == message["Seq"]


def test_the_host_is_told_its_own_id_of_a_sender(host, ann, bob, secret):
    room, name = ann.group(bob), f"host user {uuid.uuid4().hex[:8]}"
    bob.token = make_token(secret, name)
    ann.data("POST", f"/rooms/{room}/members", {"UserID": name}, 201)
    message = bob.data("POST", f"/rooms/{room}/messages", {"Content": "first"}, 201)
    bob.data("PATCH", f"/messages/{message['ID']}", {"Content": "second"})
    ann.data("PUT", f"/messages/{message['ID']}/reactions/👍")
    ann.data("DELETE", f"/messages/{message['ID']}")
    for kind in ("created", "updated", "deleted"):
        event = host.wait(lambda event: event["RoomID"] == room and event["Event"] == f"message.{kind}")
        assert event["Data"]["Sender"]["ExternalID"] == name, event
    joined = host.wait(lambda event: event["RoomID"] == room and event["Event"] == "member.joined")
    assert joined["Data"]["Member"]["ExternalID"] == name


def test_what_is_not_taken_comes_again_and_is_dead_in_the_end(host, ann):
    room = ann.group()
    host.wait(lambda event: event["RoomID"] == room)
    host.answers = [500]
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "at the second try"}, 201)
    host.wait(lambda event: event["RoomID"] == room and event["Event"] == "message.created")
    host.answers = [500, 503]
    lost = ann.data("POST", f"/rooms/{room}/messages", {"Content": "at no try"}, 201)
    wait_until(lambda: f"{room}/{lost['Seq']} message.created: 2 tries, the last: it answered 503" in program("hooks", "list"))
    assert program("hooks", "retry") == "1 will be tried again\n"
    host.wait(lambda event: event["RoomID"] == room and event["Seq"] == lost["Seq"])
    assert program("hooks", "list") == ""


def test_the_host_may_reject_or_rewrite_before_anything_is_stored(host, ann, bob):
    room = ann.group(bob)
    refused = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "a forbidden word"}, 422).json()
    assert refused["Error"]["Code"] == "rejected" and refused["Error"]["Message"] == "mind your words"
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "I swear"}, 201)
    assert message["Content"] == "I *****"
    ann.rest("PATCH", f"/messages/{message['ID']}", {"Content": "forbidden"}, 422)
    assert [found["Content"] for found in bob.history(room)] == ["I *****"]


def test_a_slow_host_is_not_waited_for(host, ann):
    room = ann.group()
    host.delay = 2
    try:
        # This test's setting refuses messages that could not be checked.
        refused = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "hello?"}, 503)
        assert refused.json()["Error"]["Code"] == "unavailable" and refused.headers["Retry-After"]
    finally:
        host.delay = 0
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "hello"}, 201)

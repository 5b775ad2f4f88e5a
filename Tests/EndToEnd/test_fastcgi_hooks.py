"""The host application's own php-fpm, called by FastCGI: no web server, no port, no TLS between."""

import json
import time

import pytest
from conftest import CHECKOUT
from hook_settings import SECRET, hook_settings, program, wait_until
from php_site import php_site
from waiting import eventually

SCRIPT = CHECKOUT / "examples/php/hooks.php"


@pytest.fixture(scope="module")
def host(pids, tmp_path_factory):
    """The events that the example's script wrote down, and the file that may replace the script's."""
    folder = tmp_path_factory.mktemp("php")
    events, script = folder / "events", folder / "hooks.php"
    script.write_text(SCRIPT.read_text())
    with php_site(folder, script, {"WEBHOOK_SECRET": SECRET, "EVENTS_FILE": events}):
        url = f"fcgi://unix:{folder}/fpm.sock{script}"
        with hook_settings(pids, WEBHOOK_URL=url, MESSAGE_CHECK_URL=url, MESSAGE_CHECK_TIMEOUT_MS=1000):
            yield events, script


def heard(events, room):
    lines = events.read_text().splitlines() if events.exists() else []
    return [event for event in map(json.loads, lines) if event["RoomID"] == room]


def names(events, room):
    return [event["Event"] for event in heard(events, room)]


def test_php_hears_of_everything_in_order(host, ann, bob):
    events, _ = host
    room = ann.group(bob)
    text = "ä" * 2000
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": text}, 201)
    ann.data("PATCH", f"/messages/{message['ID']}", {"Content": "second"})
    eventually(lambda: names(events, room) == ["room.created", "message.created", "message.updated"],
               why=lambda: names(events, room))
    assert heard(events, room)[1]["Data"]["Content"] == text


def test_php_decides_before_anything_is_stored(host, ann, bob):
    room = ann.group(bob)
    refused = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "a forbidden word"}, 422).json()
    assert (refused["Error"]["Code"], refused["Error"]["Message"]) == ("rejected", "mind your words")
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "a kind word"}, 201)
    assert [message["Content"] for message in bob.history(room)] == ["a kind word"]


def test_a_script_that_fails_is_named_and_tried_again(host, ann):
    events, script = host
    room = ann.group()
    eventually(lambda: names(events, room) == ["room.created"], why=lambda: names(events, room))
    good = script.read_text()
    try:
        script.write_text(good.replace("file_put_contents(", "fail_on_purpose("))
        lost = ann.data("POST", f"/rooms/{room}/messages", {"Content": "not heard"}, 201)
        dead = f"{room}/{lost['Seq']} message.created: 2 tries, the last: it answered"
        wait_until(lambda: f"{dead} 500" in program("hooks", "list"))
        assert "undefined function fail_on_purpose" in program("hooks", "list")
        script.unlink()
        assert program("hooks", "retry") == "1 will be tried again\n"
        wait_until(lambda: f"{dead} 404" in program("hooks", "list"))
    finally:
        script.write_text(good)
    assert program("hooks", "retry") == "1 will be tried again\n"
    eventually(lambda: "message.created" in names(events, room), why=lambda: names(events, room))
    assert program("hooks", "list") == ""


def test_a_slow_script_is_not_waited_for(host, ann):
    _, script = host
    room = ann.group()
    good = script.read_text()
    script.write_text(good.replace("if ($event['Event'] === 'message.check') {", "if ($event['Event'] === 'message.check') { sleep(3);"))
    try:
        refused = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "hello?"}, 503)
        assert refused.json()["Error"]["Code"] == "unavailable" and refused.headers["Retry-After"]
    finally:
        script.write_text(good)
    eventually(lambda: ann.rest("POST", f"/rooms/{room}/messages", {"Content": "hello"}).status_code == 201)


def test_the_cost_of_a_check(host, ann):
    """Prints it: nothing is promised about a time."""
    room = ann.group()
    began = time.monotonic()
    for number in range(100):
        ann.data("POST", f"/rooms/{room}/messages", {"Content": f"message {number}"}, 201)
    print(f"a send with a check by FastCGI: {(time.monotonic() - began) * 10:.1f} ms")

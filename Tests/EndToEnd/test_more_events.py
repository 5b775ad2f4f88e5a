"""Events about users, files and pushes, to the host's own php-fpm; and the families that the settings name."""

import json
import os
import signal
import uuid

import pytest
from conftest import CHECKOUT
from hook_settings import SECRET, hook_settings, program
from php_site import php_site
from waiting import eventually


def reload_relay(pids):
    def workers():
        return {pid for name, kind, pid in pids() if (name, kind) == ("ws-relay", "worker")}
    before = workers()
    for name, kind, pid in pids():
        if (name, kind) == ("ws-relay", "master"):
            os.kill(pid, signal.SIGHUP)
    eventually(lambda: (now := workers()) and not now & before, 60)


@pytest.fixture(scope="module")
def heard(pids, tmp_path_factory):
    """The events of these names that php-fpm has got."""
    folder = tmp_path_factory.mktemp("php")
    script, events = folder / "hooks.php", folder / "events"
    script.write_text((CHECKOUT / "examples/php/hooks.php").read_text())

    def found(*names):
        lines = events.read_text().splitlines() if events.exists() else []
        return [event for event in map(json.loads, lines) if event["Event"] in names]
    with php_site(folder, script, {"WEBHOOK_SECRET": SECRET, "EVENTS_FILE": events}):
        url = f"fcgi://unix:{folder}/fpm.sock{script}"
        with hook_settings(pids, WEBHOOK_URL=url, WEBHOOK_EVENTS="room,file,push,presence,connect", UPLOAD_SWEEP_SECONDS=1):
            reload_relay(pids)
            found.script = script
            yield found
    reload_relay(pids)


def of(user, events):
    return [event["Event"] for event in events if event["Data"]["UserID"] == user.id]


def test_a_user_comes_and_goes(heard, ann):
    kinds = ("user.online", "user.offline", "user.connected")
    with ann.socket():
        eventually(lambda: sorted(of(ann, heard(*kinds))) == ["user.connected", "user.online"], why=lambda: of(ann, heard(*kinds)))
        with ann.socket():
            eventually(lambda: of(ann, heard(*kinds)).count("user.connected") == 2, why=lambda: of(ann, heard(*kinds)))
    eventually(lambda: of(ann, heard(*kinds))[-1] == "user.offline", 60, lambda: of(ann, heard(*kinds)))
    assert of(ann, heard("user.online", "user.offline")) == ["user.online", "user.offline"]
    event = next(event for event in heard("user.online") if event["Data"]["UserID"] == ann.id)
    assert event["RoomID"] is None and event["Seq"] is None and event["Data"]["ExternalID"] is None and event["ID"] and event["At"]


def test_a_user_who_reconnects_was_never_away(heard, ann):
    for _ in range(5):
        with ann.socket():
            pass
    with ann.socket():
        eventually(lambda: "user.online" in of(ann, heard("user.online")))
    eventually(lambda: "user.offline" in of(ann, heard("user.offline")), 60)
    assert of(ann, heard("user.online", "user.offline")) == ["user.online", "user.offline"]


def test_a_silent_host_does_not_fill_the_outbox(heard, ann, psql):
    good = heard.script.read_text()
    heard.script.write_text("<?php http_response_code(500);")
    sql = psql()
    waiting = lambda: sql.ask(f"SELECT name FROM hook_events WHERE room_id = '{ann.id}' ORDER BY name")  # noqa: E731
    try:
        for _ in range(6):
            with ann.socket():
                pass
        eventually(lambda: waiting() == ["user.connected", "user.online"], why=waiting)
        eventually(lambda: waiting() == ["user.connected", "user.offline"], 60, waiting)
    finally:
        heard.script.write_text(good)
    program("hooks", "retry")
    eventually(lambda: of(ann, heard("user.online", "user.offline")) == ["user.offline"], 60)


def test_a_file_is_stored_and_deleted(heard, ann, bob):
    room = ann.group(bob)
    answer = ann.rest("POST", f"/rooms/{room}/files", files={"File": ("a.txt", b"text")})
    message = answer.json()["Data"]
    message = message[0] if isinstance(message, list) else message
    (stored,) = eventually(lambda: [event for event in heard("file.stored") if event["RoomID"] == room])
    assert stored["Data"]["ID"] == message["ID"] and stored["Data"]["File"]["Size"] == 4 and stored["Seq"] == message["Seq"]
    assert stored["ID"] == f"{message['ID']}/0"
    ann.data("DELETE", f"/messages/{message['ID']}")
    (deleted,) = eventually(lambda: [event for event in heard("file.deleted") if event["Data"]["MessageID"] == message["ID"]], 60)
    assert deleted["RoomID"] == room and deleted["ID"] == f"{message['ID']}/1"


def test_only_named_families_are_sent(heard, ann):
    room = ann.group()
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "not heard", "Sign": str(uuid.uuid4())}, 201)
    ann.data("PATCH", f"/rooms/{room}", {"Name": "later"})
    eventually(lambda: [event["Event"] for event in heard("room.created", "room.changed", "message.created") if event["RoomID"] == room] == ["room.created", "room.changed"])

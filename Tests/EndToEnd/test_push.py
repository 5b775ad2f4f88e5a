"""The receivers of pushes, with a fake FCM server that checks signature, protocol and body."""

import base64
import os
import socket
import struct
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGHUP

import msgpack
import pytest
from conftest import run_program
from fcm import Google, error
from waiting import eventually

DELAY = 2


@pytest.fixture(scope="module")
def google(tmp_path_factory, pids):
    """The running queue-worker gets it by its settings and a reload, which starts its pool of push workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    google = Google(tmp_path_factory.mktemp("google"), port)
    file = Path(os.environ["TEST_ENV_FILE"])
    before = file.read_text()
    file.write_text(before + f"FCM_SERVICE_ACCOUNT_FILE={google.folder}/account.json\nFCM_ENDPOINT={google.url}\n"
                    f"FCM_CA_FILE={google.folder}/tls.pem\nPUSH_DELAY_SECONDS={DELAY}\n")
    reload(pids)
    wait_until(lambda: "push" in status() and " starting " not in status())
    yield google
    file.write_text(before)
    reload(pids)
    google.close()
    assert google.trouble == []


def reload(pids):
    for name, kind, pid in pids():
        if (name, kind) == ("queue-worker", "master"):
            os.kill(pid, SIGHUP)


def status():
    return run_program("queue-worker", "status")


def wait_until(holds):
    eventually(holds, why=status)


@pytest.fixture
def device():
    """Registers a device of a user and returns its token."""
    def register(user):
        token = f"device-{uuid.uuid4()}"
        user.rest("PUT", f"/devices/{token}", expect=204)
        return token
    return register


def say(user, room, text):
    return user.data("POST", f"/rooms/{room}/messages", {"Content": text}, 201)


def test_without_credentials_push_is_off_and_says_so_once(ann, bob, device, reconfigure):
    """The first of these tests: later ones have credentials."""
    log = Path(os.environ["TEST_ENV_FILE"]).parent / "log/queue-worker.log"

    def said():
        return [line for line in log.read_text().splitlines() if "push notifications" in line]

    before = said()
    reconfigure("queue-worker")
    device(bob)
    ann.data("POST", f"/rooms/{ann.group(bob)}/messages", {"Content": "nobody is told"}, 201)
    assert said() == before
    assert before and all("are off: no push service is set" in line for line in before)
    assert "push" not in status()


def test_who_is_away_gets_the_news_and_who_sent_it_does_not(google, ann, bob, device):
    room = ann.group(bob, name="Kitchen")
    mine, his = device(ann), device(bob)
    message = say(ann, room, "Where are you?")
    push = google.sent_to(his)[0]
    assert push["notification"] == {"title": "Kitchen", "body": "Where are you?"}
    assert push["data"]["MessageID"] == message["ID"] and push["data"]["Unread"] == "1"
    assert push["data"]["Badge"] == "1" and push["apns"]["payload"]["aps"]["badge"] == push["android"]["notification"]["notification_count"] == 1
    assert push["android"]["collapse_key"] == push["android"]["notification"]["tag"] == room
    assert push["apns"]["headers"]["apns-collapse-id"] == room
    assert push["traceparent"].split("-")[1] == message["ID"].replace("-", "")
    assert [push for push in google.pushes if push["token"] == mine] == []


def test_whose_socket_lives_is_spared(google, ann, bob, make_user, device):
    away = make_user()
    room = ann.group(bob, away)
    here, gone = device(bob), device(away)
    with bob.socket() as open_socket:
        say(ann, room, "Hello")
        open_socket.new_message("Hello")
        google.sent_to(gone)
    assert [push for push in google.pushes if push["token"] == here] == []


class DeadSocket:
    """A connection whose client has disappeared: the network accepts the bytes, but nobody answers."""

    def __init__(self, user):
        host, port = user.base_url.removeprefix("http://").split(":")
        self.connection = socket.create_connection((host, int(port)))
        key = base64.b64encode(os.urandom(16)).decode()
        self.connection.sendall((
            f"GET /ws/v1/chat HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {user.token}\r\n\r\n").encode())
        self.received = b""
        self.until(b"welcome")

    def until(self, text):
        self.connection.settimeout(20)
        while text not in self.received:
            part = self.connection.recv(65536)
            assert part, "closed"
            self.received += part

    def send(self, frame):
        payload = msgpack.packb(frame)
        self.connection.sendall(struct.pack("!BB4s", 0x82, 0x80 | len(payload), bytes(4)) + payload)


def test_a_socket_that_answers_nothing_does_not_count_but_its_ack_does(google, ann, bob, make_user, device):
    silent, acknowledging = bob, make_user()
    room = ann.group(silent, acknowledging)
    pushed, spared = device(silent), device(acknowledging)
    first, second = DeadSocket(silent), DeadSocket(acknowledging)
    say(ann, room, "Anybody?")
    first.until(b"Anybody?")
    second.until(b"Anybody?")
    second.send({"Type": "ack", "RoomID": room})
    google.sent_to(pushed)
    assert [push for push in google.pushes if push["token"] == spared] == []


def test_what_comes_together_is_one_push_and_seen_takes_it_away(google, ann, bob, device):
    room = ann.group(bob)
    token = device(bob)
    # The others arrive while the first one waits.
    with ThreadPoolExecutor(10) as senders:
        sent = list(senders.map(lambda number: say(ann, room, f"number {number}"), range(10)))
    last = max(sent, key=lambda message: message["Seq"])
    wait_until(lambda: google.sent_to(token)[-1]["data"]["Seq"] == str(last["Seq"]))
    pushes = google.sent_to(token)
    assert len(pushes) < 10 and pushes[-1]["data"]["Unread"] == "10"
    bob.rest("POST", f"/rooms/{room}/seen", {}, expect=200)
    cleared = google.sent_to(token, len(pushes) + 1)[-1]
    assert cleared["data"] == {"Type": "seen", "RoomID": room, "Seq": str(last["Seq"]), "Badge": "0"}
    assert "notification" not in cleared and cleared["apns"]["payload"]["aps"] == {"badge": 0, "content-available": 1}


def test_a_message_that_is_deleted_takes_its_push_back(google, ann, bob, make_user, device):
    away = make_user()
    room = ann.group(bob, away)
    token, seen = device(bob), device(away)
    message = say(ann, room, "a slip")
    google.sent_to(token), google.sent_to(seen)
    away.rest("POST", f"/rooms/{room}/seen", {}, expect=200)
    google.sent_to(seen, 2)
    ann.rest("DELETE", f"/messages/{message['ID']}", expect=200)
    back = google.sent_to(token, 2)[-1]
    assert back["data"] == {"Type": "deleted", "RoomID": room, "MessageID": message["ID"], "Seq": str(message["Seq"]),
                            "Badge": "0"}
    assert "notification" not in back and back["apns"]["payload"]["aps"] == {"badge": 0, "content-available": 1}
    # Nothing is taken back from users who have seen it or were not pushed to.
    late = say(ann, room, "gone before its time")
    ann.rest("DELETE", f"/messages/{late['ID']}", expect=200)
    last = say(ann, room, "the last")
    wait_until(lambda: google.sent_to(seen)[-1]["data"]["Seq"] == str(last["Seq"]))
    assert [push["data"]["Type"] for push in google.sent_to(seen)] == ["message", "seen", "message"]


def test_a_silenced_room_pushes_nothing_until_it_is_unsilenced(google, ann, bob, make_user, device):
    away = make_user()
    room = ann.group(bob, away)
    silenced, other = device(bob), device(away)
    bob.rest("PUT", f"/rooms/{room}/silence", {}, expect=204)
    say(ann, room, "unheard")
    google.sent_to(other)
    assert [push for push in google.pushes if push["token"] == silenced] == []
    bob.rest("DELETE", f"/rooms/{room}/silence", expect=204)
    say(ann, room, "heard")
    assert google.sent_to(silenced)[0]["notification"]["body"] == "heard"


def test_a_device_that_is_gone_is_forgotten_and_what_will_never_pass_is_given_up(google, ann, bob, device):
    room = ann.group(bob)
    gone = {
        device(bob): error(404, "NOT_FOUND", "UNREGISTERED"),
        device(bob): error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
    }
    hopeless = {
        device(bob): error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        device(bob): error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
    }
    good = device(bob)
    for token, answer in {**gone, **hopeless}.items():
        google.answers[token] = [answer] * 2  # after a 401 it is tried once more with a new access token
    say(ann, room, "first")
    google.sent_to(good)
    say(ann, room, "second")
    google.sent_to(good, 2)
    for token, answer in gone.items():
        assert [push["status"] for push in google.sent_to(token)] == [answer[0]]
    for token, answer in hopeless.items():
        statuses = [push["status"] for push in google.sent_to(token, 2)]
        assert statuses[0] == answer[0] and len(statuses) <= 3


def test_what_may_pass_is_tried_again_after_the_time_that_was_told(google, ann, bob, device):
    room = ann.group(bob)
    pauses = {
        device(bob): (error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", **{"retry-after": 2}), 2),
        device(bob): (error(503, "UNAVAILABLE", "UNAVAILABLE", **{"retry-after": 1}), 1),
        device(bob): (error(500, "INTERNAL", "INTERNAL"), 1),
    }
    for token, (answer, _) in pauses.items():
        google.answers[token] = [answer]
    say(ann, room, "patience")
    for token, (answer, pause) in pauses.items():
        first, second = google.sent_to(token, 2)
        assert (first["status"], second["status"]) == (answer[0], 200)
        assert second["at"] - first["at"] >= pause


def test_a_token_that_is_refused_is_renewed(google, ann, bob, device):
    room, token = ann.group(bob), device(bob)
    google.tokens += 1  # the worker's token is invalid from now on
    before = google.tokens
    say(ann, room, "again")
    assert google.sent_to(token)[0]["status"] == 200
    assert google.tokens == before + 1

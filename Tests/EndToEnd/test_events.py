"""Server-Sent Events and long polls: the frames of a socket for those who cannot open one, in order, once, without a hole,
through reloads and kills."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
import requests
from conftest import CHECKOUT
from relays import relay_master, reload, workers_of
from waiting import eventually

WAIT = 20


class Stream:
    """As a browser reads it: an event counts once it is whole, and its id is where to go on."""

    def __init__(self, user, last_id="", path="/api/v1/events", headers=None):
        self.frames, self.last_id, self.comments, self.ended = [], last_id, 0, False
        self.news = threading.Condition()
        self.connection = http.client.HTTPConnection(user.base_url.removeprefix("http://"), timeout=60)
        headers = headers or {"Authorization": f"Bearer {user.token}"}
        self.connection.request("GET", path, headers={**headers, **({"Last-Event-ID": last_id} if last_id else {})})
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        if self.answer.status == 200:
            threading.Thread(target=self.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing alone would wait for the thread that reads.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def read(self):
        event_id, data = None, []
        try:
            while line := self.answer.readline():
                line = line.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                with self.news:
                    if not line:
                        self.last_id = self.last_id if event_id is None else event_id
                        if data:
                            self.frames.append(json.loads("\n".join(data)))
                        event_id, data = None, []
                    elif name == "id":
                        event_id = value
                    elif name == "data":
                        data.append(value)
                    self.news.notify_all()
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # cut off, or closed by the test
        with self.news:
            self.ended = True
            self.news.notify_all()

    def until(self, condition, what):
        with self.news:
            assert self.news.wait_for(lambda: condition(self), WAIT), f"{what}: {self.frames[-3:]}"

    def seqs(self, room):
        return [frame["Seq"] for frame in self.frames if frame.get("RoomID") == room and frame["Type"] == "new_message"]

    def types(self):
        return [frame["Type"] for frame in self.frames]


def say(user, room, text="Hello"):
    return user.data("POST", f"/rooms/{room}/messages", {"Content": text}, 201)["Seq"]


@pytest.mark.parametrize("path", ["/events", "/api/v1/events"])
def test_a_stream_tells_what_a_socket_is_told(ann, bob, path):
    room = ann.group(bob)
    with Stream(bob, path=path) as stream:
        assert stream.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert stream.answer.headers["Cache-Control"] == "no-store"
        stream.until(lambda it: it.types() == ["welcome"], "no welcome")
        seqs = [say(ann, room), say(bob, room, "x" * 16_000), say(ann, room, "a\nb\r\n\u2028c")]
        stream.until(lambda it: it.seqs(room) == seqs, "not every message")
        assert stream.frames[-1]["Data"]["Content"] == "a\nb\r\n\u2028c" and stream.last_id
        other = bob.group(ann)
        stream.until(lambda it: any(frame.get("RoomID") == other for frame in it.frames), "the new room is not told")


def test_the_line_of_the_readme_shows_a_message(ann, bob):
    (line,) = re.findall(r"`(curl -N [^`]+)`", (CHECKOUT / "README.md").read_text())
    room = ann.group(bob)
    line = line.replace("http://127.0.0.1:8000", ann.base_url)
    with subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env={**os.environ, "B": bob.token}) as curl:
        limit = threading.Timer(WAIT, curl.kill)
        limit.start()
        try:
            lines = iter(curl.stdout.readline, "")
            assert any('"welcome"' in line for line in lines)
            say(ann, room, "for those who read along")
            assert any("for those who read along" in line for line in lines)
        finally:
            limit.cancel()
            curl.kill()


def test_it_goes_on_exactly_where_it_was(ann, bob):
    rooms = [ann.group(bob) for _ in range(3)]
    told = {room: [] for room in rooms}
    with Stream(bob) as stream:
        stream.until(lambda it: it.types() == ["welcome"], "no welcome")
        said = {room: [say(ann, room)] for room in rooms[:2]}
        stream.until(lambda it: all(it.seqs(room) == said[room] for room in said), "not every message")
        last = stream.last_id
    for room in rooms[1:]:
        said.setdefault(room, []).extend(say(ann, room) for _ in range(3))
    with Stream(bob, last) as stream:
        stream.until(lambda it: "response" in it.types(), "it does not catch up")
        told = {room: stream.seqs(room) for room in rooms}
    assert told == {rooms[0]: [], rooms[1]: said[rooms[1]][1:], rooms[2]: said[rooms[2]]}
    new = ann.group(bob)
    with Stream(bob, stream.last_id) as stream:
        stream.until(lambda it: "response" in it.types(), "it does not catch up")
        assert [frame["RoomID"] for frame in stream.frames if frame["Type"] == "resync"] == [new]
        assert not any(stream.seqs(room) for room in rooms)


def test_a_reload_ends_no_stream_and_a_kill_costs_no_frame(ann, bob, pids):
    room, master, told, said = ann.group(bob), relay_master(pids), [], []
    with Stream(bob) as stream:
        stream.until(lambda it: it.types() == ["welcome"], "no welcome")
        for number in (signal.SIGHUP, signal.SIGUSR2):
            said.append(say(ann, room))
            reload(master, number)
            said.append(say(ann, room))
        stream.until(lambda it: it.seqs(room) == said, "a reload loses something")
        assert not stream.ended
        for worker in workers_of(master):
            os.kill(worker, signal.SIGKILL)
        said.append(say(ann, room))
        stream.until(lambda it: it.ended, "the stream of a killed relay does not end")
        told += stream.seqs(room)
    back = eventually(lambda: (it := Stream(bob, stream.last_id)).answer.status == 200 and it, WAIT, pause=0.2)
    with back:
        said.append(say(ann, room))
        back.until(lambda it: told + it.seqs(room) == said, "a kill loses or doubles something")


def poll(user, last_id, wait=5):
    params = {"wait": wait, **({"last_event_id": last_id} if last_id else {})}
    return user.rest("GET", "/events", params=params, expect=200).json()


def test_long_polls_bring_every_message_once(ann, bob):
    room = ann.group(bob)
    answer = poll(bob, "")
    assert [frame["Type"] for frame in answer["Data"]] == ["welcome"]
    said, told, last = [], [], answer["LastEventID"]
    writer = threading.Thread(target=lambda: said.extend(say(ann, room, f"{number}") for number in range(15)))
    writer.start()

    def has_all():
        nonlocal last
        answer = poll(bob, last)
        last = answer["LastEventID"]
        told.extend(frame["Seq"] for frame in answer["Data"] if frame["Type"] == "new_message")
        return not writer.is_alive() and told == said

    eventually(has_all, 2 * WAIT, lambda: f"{told} of {said}", pause=0)
    writer.join()
    assert told == said and len(said) == 15
    assert poll(bob, last, wait=1)["Data"] == []


def test_bad_requests_are_told(ann):
    def refused(status, code, field=None, token=True, method="GET", **options):
        headers = {"Authorization": f"Bearer {ann.token}"} if token else {}
        answer = requests.request(method, f"{ann.base_url}/api/v1/events", timeout=30,
                                  headers={**headers, **options.pop("headers", {})}, **options)
        error = answer.json()["Error"]
        assert (answer.status_code, error["Code"], error.get("Field")) == (status, code, field), answer.text

    refused(401, "unauthorized", token=False)
    refused(401, "unauthorized", token=False, params={"ticket": "0" * 32})
    refused(400, "malformed", "waits", params={"waits": 1})
    refused(400, "malformed", "wait", params={"wait": 61})
    refused(400, "malformed", "wait", params={"wait": str(2 ** 70)})
    refused(400, "malformed", "last_event_id", params={"last_event_id": "1.x"})
    refused(400, "malformed", "Last-Event-ID", headers={"Last-Event-ID": "17"})
    refused(405, "method_not_allowed", method="POST")


def test_a_page_of_another_origin_may_read_it(ann):
    address, page = f"{ann.base_url}/api/v1/events", {"Origin": "https://app.example"}
    asked = requests.options(address, timeout=30, headers={**page, "Access-Control-Request-Method": "GET",
                                                           "Access-Control-Request-Headers": "authorization"})
    assert asked.status_code == 204 and "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    for token, status in ((ann.token, 200), ("none", 401)):
        answer = requests.get(address, timeout=30, params={"wait": 1}, headers={**page, "Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, page["Origin"])
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_ticket_and_the_session_cookie_open_it(ann):
    ticket = ann.data("POST", "/ws-ticket", expect=201)["Ticket"]
    answer = requests.get(f"{ann.base_url}/events", params={"ticket": ticket, "wait": 1}, timeout=30)
    assert answer.status_code == 200 and answer.json()["Data"][0]["Type"] == "welcome"
    assert requests.get(f"{ann.base_url}/events", params={"ticket": ticket, "wait": 1}, timeout=30).status_code == 401
    browser = requests.Session()
    browser.post(f"{ann.base_url}/api/v1/session", headers={"Authorization": f"Bearer {ann.token}"}, timeout=30)
    address = f"{ann.base_url}/api/v1/events?wait=1"
    assert browser.get(address, timeout=30).status_code == 200
    assert browser.get(address, headers={"Origin": "https://elsewhere.example"}, timeout=30).status_code == 403

"""Answers to users while a server is unavailable, and the automatic recovery afterwards."""

import os
import signal
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from conftest import signal_all
from waiting import eventually


def test_without_the_queue_sends_are_refused_at_once_and_reads_go_on(base_url, ann, bob, pids):
    room = ann.group(bob)
    ann.rest("POST", f"/rooms/{room}/messages", {"Content": "before"}, expect=201)
    body = {"Content": "during", "Sign": "during"}
    signal_all(pids, "rabbitmq", signal.SIGKILL)
    since = time.monotonic()
    refused = ann.rest("POST", f"/rooms/{room}/messages", body, expect=503)
    print(f"\nrefused after {time.monotonic() - since:.2f} s")
    assert refused.json()["Error"]["Code"] == "unavailable" and int(refused.headers["Retry-After"]) > 0
    assert [message["Content"] for message in ann.history(room) if message["MessageType"] == "direct"] == ["before"]
    ready = requests.get(f"{base_url}/api/v1/readyz", timeout=30)
    assert ready.status_code == 503 and "rabbitmq: unreachable" in ready.text and "postgresql: ok" in ready.text
    stored = eventually(lambda: (answer := ann.rest("POST", f"/rooms/{room}/messages", body)).status_code == 201 and answer)
    contents = [message["Content"] for message in bob.history(room) if message["MessageType"] == "direct"]
    assert contents == ["before", "during"] and stored.json()["Data"]["Content"] == "during"
    eventually(lambda: requests.get(f"{base_url}/api/v1/readyz", timeout=30).status_code == 200)


def test_without_the_database_sends_are_queued_and_stored_later(ann, bob, pids):
    room = ann.group(bob)
    with bob.socket() as socket:
        signal_all(pids, "postgres", signal.SIGSTOP)
        try:
            queued = [ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"queued {number}"}, expect=202)
                      for number in range(2)]
        finally:
            signal_all(pids, "postgres", signal.SIGCONT)
        for number, answer in enumerate(queued):
            data = answer.json()["Data"]
            frame = socket.wait(lambda frame: (frame.get("Data") or {}).get("Content") == f"queued {number}", 60)
            assert data["Status"] == "queued" and frame["Data"]["ID"] == data["ID"]
    assert [message["Content"] for message in ann.history(room)] == ["queued 0", "queued 1"]


def test_a_restarted_database_fails_no_request(ann, bob, pids, settings):
    """Every worker has a connection that died while it had nothing to do. More requests at once than a pool has workers: each
    of them has a first one."""
    room = ann.group(bob)
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "before"}, 201)["ID"]

    def ask(number):
        answers = [
            ann.rest("GET", f"/rooms/{room}"), ann.rest("GET", "/rooms"), ann.rest("GET", f"/rooms/{room}/messages"),
            bob.rest("GET", f"/messages/{message}"), bob.rest("GET", "/account"),
            bob.rest("GET", "/uploads"), bob.rest("PUT", f"/devices/{room}-{number}", {"Platform": "web"}),
            bob.rest("POST", f"/rooms/{room}/seen", {}), ann.rest("POST", "/ws-ticket"),
            ann.rest("POST", f"/rooms/{room}/messages", {"Content": "after", "Sign": str(uuid.uuid4())})]
        if number == 0:  # one at a time is a user's
            answers.append(bob.rest("GET", f"/rooms/{room}/search?q=before"))
        answers.append(requests.post(f"{ann.base_url}/api/v1/rooms/{room}/files", files={"File": ("a.txt", b"text")}, timeout=30,
                                     headers={"Authorization": f"Bearer {ann.token}"}))
        return [(answer.request.method, answer.request.path_url, answer.status_code, answer.text[:200]) for answer in answers
                if answer.status_code not in (200, 201, 204)]

    def all_ask():
        with ThreadPoolExecutor(8) as threads:
            return [one for some in threads.map(ask, range(8)) for one in some]

    def ask_over_sockets():
        """One from before, for which the relay has to look the message up, and a new one, whose rooms it reads."""
        frame = {"Type": "edit", "MessageID": message, "Content": str(uuid.uuid4()), "Sign": str(uuid.uuid4())}
        assert (answer := socket.ask(frame))["Success"], answer
        with bob.socket() as other:
            point = {"RoomID": room, "Seq": 0}
            assert other.ask({"Type": "resume", "Rooms": [point], "Sign": "again"})["Data"]["Rooms"][0].get("Error") is None

    socket = ann.socket()
    ask_over_sockets()
    assert all_ask() == []
    for _ in range(2):
        # The postmaster is the one whose parent is no other of them.
        old = {pid for name, _, pid in pids() if name == "postgres"}
        master = next(pid for pid in old if int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]) not in old)
        os.kill(master, signal.SIGINT)
        eventually(lambda: not old & {pid for name, _, pid in pids() if name == "postgres"})
        eventually(lambda: is_there(settings))
        ask_over_sockets()
        assert all_ask() == []
    socket.close()


def is_there(settings):
    program = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]
    return subprocess.run([program, "-Xqc", "SELECT 1", settings["DATABASE_URL"]], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0

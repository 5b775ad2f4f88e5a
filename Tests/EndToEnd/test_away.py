"""Answers to users while a server is unavailable, and the automatic recovery afterwards."""

import os
import signal
import time

import requests
from waiting import eventually


def signal_all(pids, server, number):
    for pid in [pid for name, _, pid in pids() if name == server]:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


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

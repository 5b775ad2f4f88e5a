"""/readyz and `status` tell the truth: a program that is there and stands still is not ready."""

import os
import signal

import pytest
import requests
from conftest import run_program, signal_all
from waiting import eventually


@pytest.fixture
def stop(pids):
    """Stops processes of the stack (SIGSTOP); afterwards they go on."""
    stopped = []

    def act(*programs, kinds=("master", "worker")):
        # Masters first: one that sees its worker stand still replaces it.
        for name, kind, pid in sorted(pids(), key=lambda row: row[1]):
            if name in programs and kind in kinds:
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)

    def go_on():
        while stopped:
            try:
                os.kill(stopped.pop(), signal.SIGCONT)
            except ProcessLookupError:
                pass

    act.end = go_on
    yield act
    go_on()


def test_a_program_that_stands_still_is_not_ready(base_url, stop):
    def ready():
        return requests.get(f"{base_url}/readyz", timeout=30)

    eventually(lambda: ready().status_code == 200)
    stop("queue-worker")
    stop("ws-relay", kinds=("worker",))
    # The first to be missed is queue-worker, whose consumers the broker still counts; a relay has eight seconds.
    first = eventually(lambda: (answer := ready()).status_code == 503 and answer.text)
    assert "queue-worker: a command was not answered" in first, first
    assert "postgresql: ok" in first and "rabbitmq: ok" in first and "redis: ok" in first
    eventually(lambda: "ws-relay: no relay has shown" in ready().text)
    # A row of the table is as old as its worker's last turn; a master that is stopped itself says nothing.
    eventually(lambda: " stopped " in run_program("ws-relay", "status"))
    assert '"state":"stopped"' in run_program("ws-relay", "status", "--json")
    assert "the master of queue-worker does not answer" in run_program("queue-worker", "status")
    stop.end()
    eventually(lambda: ready().status_code == 200)
    assert " stopped " not in run_program("ws-relay", "status")


def test_without_the_file_store_messages_go_on_and_it_is_told(base_url, ann, pids):
    def ready():
        return requests.get(f"{base_url}/readyz", timeout=30)

    room = ann.group()
    signal_all(pids, "seaweedfs", signal.SIGSTOP)
    try:
        said = eventually(lambda: "file store: unreachable" in (answer := ready()).text and answer)
        assert said.status_code == 200
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "without files"}, 201)
    finally:
        signal_all(pids, "seaweedfs", signal.SIGCONT)
    eventually(lambda: "file store: ok" in ready().text)

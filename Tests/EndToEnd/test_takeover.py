"""A queue-worker worker ends in each possible way: the others continue its rooms, and nothing is lost. Every queue has a room, and
a user writes to each of them all the time. The pause of the rooms is printed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from client import message_frame
from conftest import thorough, workers
from waiting import eventually

ROOMS = 12
PACE = 0.04  # seconds between two rounds
QUIET = 1.5  # seconds after it is over
STILL = 10  # seconds without an answer that are far above every pause of a takeover
STANDBY = 2.5  # seconds after which each worker stands by for the other's queues


class Writer:
    """Sends to the rooms in turn and measures the time of each answer."""

    def __init__(self, user, rooms):
        self.user, self.rooms, self.stop = user, rooms, threading.Event()
        self.sent, self.answered = {}, {}
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.socket = self.user.socket()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.socket.close()

    def work(self):
        number, read = 0, 0
        while not self.stop.is_set():
            for room in self.rooms:
                number += 1
                self.sent[str(number)] = time.monotonic()
                self.socket.send(message_frame(RoomID=room, Sign=str(number)))
            time.sleep(PACE)
            read = self.look(read)

    def look(self, read):
        frames = self.socket.frames
        for frame in frames[read:]:
            if frame["Type"] == "response":
                assert frame["Success"], frame["Error"]
                self.answered.setdefault(frame["Sign"], time.monotonic())
        return len(frames)

    def waits(self, since):
        return [self.answered[sign] - sent for sign, sent in self.sent.copy().items() if sign in self.answered and sent >= since]

    def wait_for_all(self, seconds=60):
        """Waits until every message sent so far is answered."""
        due = set(self.sent)
        eventually(lambda: not due - set(self.answered), seconds,
                   lambda: f"{len(due - set(self.answered))} of {len(due)} have no answer", pause=0.02)


def check_stored(user, rooms, writer):
    for room in rooms:
        signs = [message["Sign"] for message in user.history(room)]
        assert len(signs) == len(set(signs))
    stored = sum(len(user.history(room)) for room in rooms)
    assert stored == len(writer.sent), "a message is lost or doubled"


def end_one(pids, how):
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in workers(pids, ["queue-worker"])}
    os.kill(names["queues/0"], how)
    return {names["queues/0"]}


def wait_for_the_end(pids, ended):
    eventually(lambda: not workers(pids, ["queue-worker"]) & ended, why=lambda: f"{ended} are still there", pause=0.1)


def master_of_workers(pids):
    return next(pid for name, kind, pid in pids() if (name, kind) == ("queue-worker", "master"))


@pytest.mark.parametrize("way, how", [
    ("killed (-9)", signal.SIGKILL), pytest.param("told to end", signal.SIGTERM, marks=thorough)])
def test_the_others_take_its_queues_over(ann, pids, way, how):
    """Not the worker that is started in its place: the master stands still, so there is none until all is answered."""
    rooms = [ann.group() for _ in range(ROOMS)]
    wait_for_the_end(pids, reload(pids, signal.SIGHUP))
    master = master_of_workers(pids)
    with Writer(ann, rooms) as writer:
        time.sleep(STANDBY)
        writer.wait_for_all()
        os.kill(master, signal.SIGSTOP)
        try:
            wait_for_the_end(pids, end_one(pids, how))
            left = workers(pids, ["queue-worker"])
            since = time.monotonic()
            # Everything up to here, and three rounds of what is said without it.
            writer.wait_for_all()
            for _ in range(3):
                time.sleep(PACE)
                writer.wait_for_all()
            assert workers(pids, ["queue-worker"]) == left, "the master started another one"
        finally:
            os.kill(master, signal.SIGCONT)
        longest = max(writer.waits(since))
    print(f"\na worker {way}: {longest * 1000:.0f} ms without an answer at most")
    assert longest <= STILL, "the rooms stood still"
    check_stored(ann, rooms, writer)


def reload(pids, how):
    old = workers(pids, ["queue-worker"])
    for name, kind, pid in pids():
        if (name, kind) == ("queue-worker", "master"):
            os.kill(pid, how)
    return old


@pytest.mark.parametrize("way, act, how", [
    pytest.param("frozen (SIGSTOP)", end_one, signal.SIGSTOP, marks=thorough),
    pytest.param("all reloaded (HUP)", reload, signal.SIGHUP, marks=thorough)])
def test_every_message_is_answered_while_queues_move(ann, pids, way, act, how):
    rooms = [ann.group() for _ in range(ROOMS)]
    # Each of the new workers has its own queues again.
    wait_for_the_end(pids, reload(pids, signal.SIGHUP))
    with Writer(ann, rooms) as writer:
        time.sleep(STANDBY)
        writer.wait_for_all()
        usual, since = max(writer.waits(0)), time.monotonic()
        wait_for_the_end(pids, act(pids, how))
        time.sleep(QUIET)
        writer.wait_for_all()
        longest = max(writer.waits(since))
    print(f"\na worker {way}: {longest * 1000:.0f} ms without an answer at most, {usual * 1000:.0f} ms before it")
    check_stored(ann, rooms, writer)

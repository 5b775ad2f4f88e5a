"""A process is killed (-9) while it holds a lock: an upload's, and the sweeper's."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from uploads import begin, bytes_of, end, post
from waiting import eventually


@pytest.fixture
def room(ann, bob):
    return ann.group(bob)


@pytest.fixture
def frozen_store(pids):
    """Two functions: one suspends the store, the other resumes it."""
    store = [pid for name, _, pid in pids() if name == "seaweedfs"]

    def send(number):
        for pid in store:
            os.kill(pid, number)
    yield lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT)
    send(signal.SIGCONT)


def kill(pids, program, pool):
    for name, kind, pid in pids():
        if (name, kind) == (program, "worker") and Path(f"/proc/{pid}/comm").read_text().startswith(f"{pool}/"):
            end(pid, signal.SIGKILL)


def test_an_upload_outlives_the_holder_of_its_lock(ann, bob, room, settings, pids, frozen_store):
    freeze, thaw = frozen_store
    path = settings["REDIS_URL"].removeprefix("unix://").split("?")[0]

    def redis(*words):
        return int(subprocess.run(["redis-cli", "-s", path, *words], check=True, stdout=subprocess.PIPE).stdout)

    message = begin(ann, room)
    lock = f"upload:{message}:lock"
    freeze()
    refused = threading.Thread(target=lambda: post(ann, message, b"content", expect=503))
    refused.start()
    # It is now in CreateMultipartUpload.
    eventually(lambda: redis("EXISTS", lock))
    assert 0 < redis("PTTL", lock) <= 10_000
    kill(pids, "fcgi-api", "uploads")
    # A busy machine may need more than the ten seconds, which are not tested.
    assert redis("PEXPIRE", lock, "600000")
    refused.join()
    assert redis("EXISTS", lock)
    thaw()
    redis("PEXPIRE", lock, "500")
    data = post(ann, message, b"content")
    assert data["Completed"] and bytes_of(bob, message).content == b"content"


def test_another_sweeps_when_the_one_who_swept_is_killed(ann, room, psql, pids, frozen_store, reconfigure):
    freeze, thaw = frozen_store
    message = begin(ann, room)
    post(ann, message, b"rest", 2, 2)
    freeze()
    reconfigure("queue-worker", UPLOAD_EXPIRE_SECONDS=1, UPLOAD_SWEEP_SECONDS=1)
    database = psql()
    leads = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database = " \
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
    leader = eventually(lambda: database.ask(leads))
    kill(pids, "queue-worker", "files")
    eventually(lambda: database.ask(leads) not in ([], leader))
    thaw()
    eventually(lambda: ann.data("GET", f"/messages/{message}")["Status"] == "deleted")
    assert post(ann, message, b"rest", 2, 2, expect=410)["Code"] == "gone"

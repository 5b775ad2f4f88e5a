"""The running queue-worker with the address of a host application."""

import os
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP

from conftest import run_program
from waiting import eventually

SECRET = "the host application and the chat know it"


def program(*words):
    return run_program("queue-worker", *words)


def wait_until(holds):
    eventually(holds, why=lambda: program("status"))


@contextmanager
def hook_settings(pids, **values):
    """Sets these settings by a reload, which starts the pool of hooks, and takes them away at the end."""
    file = Path(os.environ["TEST_ENV_FILE"])
    before = file.read_text()
    values = {"WEBHOOK_SECRET": SECRET, "MESSAGE_CHECK_FAILURE": "refuse", "WEBHOOK_ATTEMPTS": 2} | values
    file.write_text(before + "".join(f"\n{name}={value}" for name, value in values.items()) + "\n")
    reload(pids)
    wait_until(lambda: "hooks" in program("status"))
    yield
    file.write_text(before)
    reload(pids)
    wait_until(lambda: "hooks" not in program("status"))


def reload(pids):
    before = {pid for name, kind, pid in pids() if (name, kind) == ("queue-worker", "worker")}
    for name, kind, pid in pids():
        if (name, kind) == ("queue-worker", "master"):
            os.kill(pid, SIGHUP)
    # Wait for the end of the old workers, which have the old settings.
    wait_until(lambda: not before & {pid for name, kind, pid in pids() if name == "queue-worker"})

"""The relay's workers, and a second relay beside that of the stack."""

import contextlib
import copy
import os
import signal
import socket
import subprocess
from collections import namedtuple
from pathlib import Path

from conftest import program
from waiting import children_of, eventually

Relay = namedtuple("Relay", "url master")


def workers_of(master):
    """The workers, without their file keepers."""
    found = []
    for child in children_of(master):
        try:
            if Path(f"/proc/{child}/comm").read_text().strip() != "keeper":
                found.append(child)
        except OSError:
            pass
    return found


def relay_master(pids):
    return next(pid for who, kind, pid in pids() if (who, kind) == ("ws-relay", "master"))


def reload(master, number=signal.SIGHUP, seconds=15):
    """Waits until another worker serves alone."""
    before = set(workers_of(master))
    os.kill(master, number)
    eventually(lambda: (now := set(workers_of(master))) and not now & before, seconds, lambda: "no successor took over", pause=0.02)


@contextlib.contextmanager
def other_relay(folder, port, **own):
    """A relay with the same settings but another listen address and `own`."""
    own.update(RUN_DIR=str(folder), WS_LISTEN=f"127.0.0.1:{port}")
    with open(folder / "log", "a") as log:
        master = subprocess.Popen([program("ws-relay"), "serve", "-c", os.environ["TEST_ENV_FILE"]],
                                  env={**os.environ, **own}, stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield Relay(f"http://127.0.0.1:{port}", master)
    finally:
        master.terminate()
        master.wait(30)


def wait_for_port(port):
    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens, 20, lambda: "the second relay does not listen")


def at(user, url):
    other = copy.copy(user)
    other.base_url = url
    return other


def seqs(socket, room):
    with socket._news:
        return [frame["Seq"] for frame in socket.frames if frame.get("RoomID") == room and frame.get("Seq")]

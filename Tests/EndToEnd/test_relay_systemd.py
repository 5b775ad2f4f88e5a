"""The relay under systemd's behaviour: a socket unit's listener (sd_listen_fds(3)), readiness (sd_notify(3)), and a main process or
the whole cgroup that is killed and restarted.
"""

import os
import select
import signal
import socket
import struct
import subprocess
import threading

import pytest
from client import Socket, message_frame
from conftest import program
from relays import at, seqs
from waiting import children_of, wait_until_gone


class Service:
    """Type=notify, NotifyAccess=main, KillMode=process, and a socket unit with FileDescriptorName=sockets."""

    def __init__(self, folder):
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.settimeout(30)
        self.main = None

    def start(self):
        environment = {**os.environ, "RUN_DIR": str(self.folder), "NOTIFY_SOCKET": str(self.folder / "notify"),
                       "LISTEN_FDS": "1", "LISTEN_FDNAMES": "sockets"}
        # LISTEN_PID is the program's own: known only where it is about to become the program.
        words = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", program("ws-relay"), "serve", "-c", os.environ["TEST_ENV_FILE"]]
        with open(self.folder / "log", "a") as log:
            self.main = subprocess.Popen(words, env=environment, stdout=log, stderr=log, pass_fds=[3],
                                         preexec_fn=lambda: os.dup2(self.listener.fileno(), 3))
        return self

    def wait_ready(self):
        while True:
            note, extra, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(12))
            sender, _, _ = struct.unpack("iii", extra[0][2])
            if sender == self.main.pid and b"READY=1" in note.split(b"\n"):
                return self

    @property
    def cgroup(self):
        """Workers and their file keepers are children of the main process."""
        return children_of(self.main.pid)

    def kill(self, others):
        """Kills (-9) the main process, and the others on request. Returns the others."""
        found = self.cgroup
        for pid in [self.main.pid] + (found if others else []):
            os.kill(pid, signal.SIGKILL)
        self.main.wait()
        return found

    def stop(self):
        if self.main.poll() is None:
            self.main.terminate()
            self.main.wait(30)
        self.listener.close()
        self.notify.close()


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service.start().wait_ready()
    service.stop()


def test_a_killed_main_process_closes_no_socket(ann, bob, service):
    room = ann.group(bob)
    with Socket(at(bob, service.url)) as relayed:
        assert relayed.ask(message_frame(RoomID=room))["Success"]
        left = service.kill(others=False)
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "meanwhile"}, 201)
        service.start().wait_ready()
        wait_until_gone(left)
        assert relayed.ask(message_frame(RoomID=room))["Success"]
        assert seqs(relayed, room) == [1, 2, 3] and relayed.closed is None
        with Socket(at(ann, service.url)) as newcomer:
            assert newcomer.ask(message_frame(RoomID=room))["Success"]


def test_nobody_is_refused_when_everything_was_killed(ann, bob, service):
    """The sockets end with the last process that had them; a reconnecting client waits in the queue of systemd's listener."""
    room = ann.group(bob)
    with Socket(at(bob, service.url)) as relayed:
        assert relayed.ask(message_frame(RoomID=room))["Success"]
        wait_until_gone(service.kill(others=True))
        assert relayed.wait_closed() == 1006
    came = []

    def come_back():
        with Socket(at(bob, service.url)) as back:
            came.append(back.ask(message_frame(RoomID=room)))

    client = threading.Thread(target=come_back)
    client.start()
    # The connection is open before any process serves it.
    while not select.select([service.listener], [], [], 0.1)[0]:
        assert client.is_alive()
    service.start()
    client.join(30)
    assert [answer["Success"] for answer in came] == [True] and came[0]["Data"]["Seq"] == 2

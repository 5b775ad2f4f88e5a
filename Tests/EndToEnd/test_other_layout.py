"""A relay that follows one of a release whose tables have another layout, and which cannot describe them: it serves without those
sockets, instead of leaving the old relay in service. (`OtherLayoutTests` and `HandoffTests` hand sockets over between layouts.)"""

import fcntl
import os
import shutil
import signal
import socket

import pytest
from conftest import program
from raw_socket import TEXT, RawSocket, frame

OFFER, HELLO, REFUSED = b"P", b"H", b"X"


@pytest.fixture
def successor(settings, tmp_path):
    """A worker as a master starts it at an upgrade; we are its master and its predecessor. Yields the two sockets to it and the
    path of its listener."""
    board = tmp_path / "board"
    shutil.copyfile(f"{settings['RUN_DIR']}/ws-relay.scoreboard", board)
    path = f"/tmp/chat-layout-{os.getpid()}.sock"
    master, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    predecessor, handover = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with master, predecessor, socket.socket(socket.AF_UNIX) as listener, open(board, "r+b") as file:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        # Numbers that the worker does not use for something else.
        ends = [fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 100) for end in (channel, file, listener, handover)]
        facts = ("program=ws-relay pool=sockets slot=0 of=1 generation=2 board=0 listen=1 ends=handover "
                 f"master={os.getpid()}")
        pid = os.posix_spawn(
            program("ws-relay"), ["ws-relay", "worker", "-c", os.environ["TEST_ENV_FILE"]],
            {**os.environ, "CHAT_WORKER": facts},
            file_actions=[(os.POSIX_SPAWN_DUP2, end, 3 + place) for place, end in enumerate(ends)])
        for end in ends:
            os.close(end)
        channel.close()
        handover.close()
        for end in (master, predecessor):
            end.settimeout(60)
        try:
            yield master, predecessor, path
        finally:
            os.unlink(path)
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def test_a_predecessor_of_another_layout_is_followed_without_its_sockets(successor, ann):
    master, predecessor, path = successor
    assert predecessor.recv(1 << 16)[:1] == OFFER
    assert predecessor.recv(1 << 16)[:1] == HELLO
    # A release before the offer compares layouts and refuses.
    predecessor.send(REFUSED)
    assert master.recv(512) == b"ready"
    # The old relay may serve on until its master ends it.
    assert predecessor.recv(1 << 16) == b""
    with RawSocket(path, ann.token) as client:
        client.send(frame(TEXT, b'{"Type": "ping", "Sign": "here"}'))
        answer = client.answer()
        assert (answer["Type"], answer["Sign"]) == ("pong", "here"), answer

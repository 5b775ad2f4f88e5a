"""`ws-relay drain`: a host's clients go to another one behind a real nginx, and nobody notices."""

import json
import os
import re
import shlex
import signal
import subprocess
import threading

import pytest
import requests
from client import Socket, User
from conftest import CHECKOUT
from load_runs import Load
from node_js import node_is_here  # noqa: F401
from relays import seqs, reload
from two_relays import TwoRelays
from waiting import eventually

FAULTS = ("Lost", "Doubled", "OutOfOrder", "Holes", "Altered", "Unknown", "Resyncs")


@pytest.fixture(scope="module")
def relays(tmp_path_factory):
    found = TwoRelays(tmp_path_factory.mktemp("drain"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def both_serve(relays):
    yield
    for host in relays.hosts:
        host.drain("--stop")


@pytest.fixture
def make_user(relays, secret):
    return lambda: User(relays.base_url, secret)


class Running(Load):
    """200 sockets with traffic, through nginx, until `found`."""

    def __init__(self, relays, secret, folder):
        # The sockets of the test before are gone.
        eventually(lambda: all(host.status()[1] == 0 for host in relays.hosts))
        self.report = folder / "load.json"
        super().__init__(relays.base_url, secret, "--users", "200", "--rooms", "20", "--members", "20", "--rate", "10", "--duration",
                         "10m", "--ramp", "10s", "--patience", "60s", "--check-history", "--json", self.report)
        eventually(lambda: sum(host.status()[1] for host in relays.hosts) >= 200 or self.process.poll() is not None, 120,
                   lambda: f"{[host.status() for host in relays.hosts]} {self.lines[-3:]}", pause=0.5)

    def found(self):
        self.process.send_signal(signal.SIGINT)
        status, said = self.end()
        assert status == 0, said
        found = json.loads(self.report.read_text())
        print(found["Ledger"], found["Errors"])
        assert found["Held"] and {found["Ledger"][name] for name in FAULTS} == {0}, said
        assert found["Ledger"]["Acknowledged"] > 50
        return found


@pytest.fixture
def load(relays, secret, tmp_path):
    running = Running(relays, secret, tmp_path)
    yield running
    running.process.kill()
    running.process.wait()


def test_two_hundred_sockets_move_there_and_back_and_nobody_notices(relays, load):
    here, there = relays.hosts
    before = here.status()[1]
    assert before > 50
    said = here.drain("--rate", "40", "--within", "600", "--wait")
    assert said.startswith("drained: no sockets left") and here.status() == ("drained", 0, before, 0)
    eventually(lambda: there.status()[1] == 200, 10, lambda: there.status())
    # Back, by an address of their own.
    here.drain("--stop")
    said = there.drain("--rate", "80", "--within", "600", "--wait", "--to", relays.base_url.replace("http", "ws") + "/ws/v1/chat")
    assert there.status() == ("drained", 0, 200, 0)
    eventually(lambda: here.status()[1] == 200, 10, lambda: here.status())
    found = load.found()
    assert found["Ledger"]["Moved"] == before + 200
    assert found["Ledger"]["Reconnects"] == 0
    assert found["Errors"] == {}
    # nginx has asked the drained host and passed it over; no client has seen that.
    access = relays.access_log()
    assert re.search(r" 101 .* 503, 101 ", access) and not re.search(r'/ws/v1/chat[^"]*" [45]', access), access
    assert here.log().count("no socket is left on this relay") == 1


def test_a_drain_that_is_stopped_half_way_keeps_the_rest(relays, load, ann):
    here, _ = relays.hosts
    before = here.status()[1]
    here.drain("--rate", "15", "--within", "600")
    eventually(lambda: here.status()[2] > 10, 30)
    word, left, moved, closed = here.status()
    assert word == "draining" and left > 0 and closed == 0
    assert requests.get(f"{here.url}/readyz", timeout=10).status_code == 503
    here.drain("--stop")
    assert requests.get(f"{here.url}/readyz", timeout=10).status_code == 200
    # It takes new ones again.
    direct = User(here.url, "")
    direct.id, direct.token = ann.id, ann.token
    Socket(direct).close()
    found = load.found()
    assert moved <= found["Ledger"]["Moved"] < before
    assert (found["Ledger"]["Reconnects"], found["Errors"]) == (0, {})


def test_a_drain_goes_on_through_a_reload_and_an_upgrade(relays, load):
    here, _ = relays.hosts
    before = here.status()[1]
    here.drain("--rate", "2", "--within", "600")
    for number in (signal.SIGHUP, signal.SIGUSR2):
        moved = here.status()[2]
        eventually(lambda moved=moved: here.status()[2] > moved, 30)
        reload(here.process.pid, number, 30)
        assert here.status()[0] == "draining"
        assert requests.get(f"{here.url}/readyz", timeout=10).status_code == 503
    assert here.drain("--rate", "50", "--within", "600", "--wait").startswith("drained")
    assert here.status()[2:] == (before, 0)
    found = load.found()
    assert (found["Ledger"]["Moved"], found["Ledger"]["Reconnects"], found["Errors"]) == (before, 0, {})


def test_old_clients_get_an_orderly_close_and_miss_nothing(relays, ann, bob):
    """Ten sockets that know nothing of `move`; each comes back once, to the other host, with its last Seq."""
    room, stop, (here, there) = ann.group(bob), threading.Event(), relays.hosts
    eventually(lambda: here.status()[1] + there.status()[1] == 0)

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"{number}"}, 201)
    writer = threading.Thread(target=write)
    sockets = [Socket(bob) for _ in range(10)]
    writer.start()
    try:
        eventually(lambda: here.status()[1] + there.status()[1] == 10)
        mine = here.status()[1]
        assert 0 < mine < 10
        sockets[0].wait(lambda frame: frame.get("Seq", 0) and frame["Seq"] > 3)
        here.drain("--rate", "20", "--wait")
        assert here.status() == ("drained", 0, 0, mine)
        closed = [socket for socket in sockets if socket.closed is not None]
        eventually(lambda: sum(socket.closed is not None for socket in sockets) == mine)
        closed = [socket for socket in sockets if socket.closed is not None]
        assert {socket.closed for socket in closed} == {1001}
        for old in closed:
            got = seqs(old, room)
            with Socket(bob) as new:
                new.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": got[-1] if got else 0}]})
                new.wait(lambda frame: frame.get("Seq") and len(seqs(new, room)) > 5)
                got += seqs(new, room)
            assert got == list(range(got[0], got[0] + len(got)))
        assert there.status()[1] >= 10 - mine
    finally:
        stop.set()
        writer.join()
        for socket in sockets:
            socket.close()


def test_a_client_that_ignores_it_is_served_and_then_closed(relays, ann, bob):
    room, (here, _) = ann.group(bob), relays.hosts
    direct = User(here.url, "")
    direct.id, direct.token = bob.id, bob.token
    with Socket(direct, query="?move=1") as deaf:
        here.drain("--within", "5", "--to", "wss://b.example/ws/v1/chat")
        assert deaf.wait(lambda frame: frame["Type"] == "move")["Data"] == {"URL": "wss://b.example/ws/v1/chat", "Within": 5}
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "still here"}, 201)
        deaf.new_message("still here")
        assert here.status() == ("draining", 1, 0, 0)
        assert deaf.wait_closed(20) == 1001
        assert deaf.count(lambda frame: frame["Type"] == "move") == 1
        eventually(lambda: here.status() == ("drained", 0, 0, 1))


def test_the_client_for_browsers_moves(relays, ann, bob):
    """Both of its users move four times while they write; `connects` counts every connection that was not a move."""
    room, (here, there) = ann.group(bob), relays.hosts
    values = {"URL": relays.base_url, "ANN": ann.token, "BOB": bob.token, "ROOM": room, "COUNT": "300", "PAUSE": "40"}
    client = subprocess.Popen(["node", "--experimental-websocket", CHECKOUT / "clients/js/test/real.mjs"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **values})
    try:
        for turn in range(4):
            old, new = (here, there) if turn % 2 == 0 else (there, here)
            eventually(lambda: here.status()[1] + there.status()[1] >= 2, 30)
            old.drain("--wait", "--within", "600")
            assert old.status()[3] == 0
            old.drain("--stop")
        out, errors = client.communicate("go on\n", timeout=300)
    finally:
        client.kill()
    assert client.returncode == 0, errors[-3000:] + out
    found = json.loads(out.splitlines()[-1])
    print(found)
    assert found["failed"] == [] and (found["stored"], found["distinct"]) == (found["told"], found["told"]), found
    assert found["ordered"] and found["differ"] == [0, 0] and found["marks"] == [True, True], found
    # Two, and one more after the reload of a page.
    assert (found["total"]["missed"], found["total"]["doubled"], found["total"]["connects"]) == (0, 0, 3), found
    assert found["total"]["moves"] >= 4


def test_a_drain_of_a_relay_without_sockets_is_over_at_once(relays):
    host = relays.hosts[0]
    eventually(lambda: host.status()[1] == 0)
    assert host.drain("--wait").startswith("drained: no sockets left, 0 moved, 0 closed (100 30)")
    # Another one changes the first.
    assert "(7 9)" in host.drain("--rate", "7", "--within", "9")


def test_wrong_use_is_refused_in_a_sentence(relays):
    for words, said in [(("--to", "https://x"), "begins neither with"), (("--rate", "0"), "--rate"), (("--within", "1"), "--within"),
                        (("--stop", "--status"), "give one of"), (("--stop", "--to", "ws://x"), "--to is for"),
                        (("--to", "wss://a?x=1"), "--to has a character")]:
        done = relays.hosts[0].run("drain", *words)
        assert done.returncode == 64 and said in done.stderr, (words, done)
    assert "one disconnect" in relays.hosts[0].run("drain", "--help").stdout


def test_what_the_document_says_works(relays):
    """Each command of docs/drain.md, as it is written there."""
    text = (CHECKOUT / "docs/drain.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert line[0] == "ws-relay" and line[-2:] == ["-c", "/etc/chat/.env"]
        done = relays.hosts[1].run(*line[1:-2])
        assert done.returncode == 0, (line, done.stderr)

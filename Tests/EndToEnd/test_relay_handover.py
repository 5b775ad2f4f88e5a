"""HUP and USR2 to the relay, repeatedly, while users write; successors are killed at any moment; one client is in the middle of a
frame, another in the middle of its handshake. No socket closes; no frame is lost, duplicated or out of order.
"""

import asyncio
import itertools
import os
import random
import signal
import time

import pytest
from raw_socket import PING, PONG, RawSocket, frame
from relays import relay_master, reload, workers_of
from waiting import eventually_async, wait_until_idle
from writers import check, write_during

SECONDS = float(os.environ.get("HANDOVER_SECONDS", "8"))


async def reload_and_kill_successors(master, ledger):
    """Every second successor dies (-9), at any time from its start until after it has taken over."""
    chance = random.Random(3)
    end = time.monotonic() + SECONDS * 0.8
    for number in itertools.cycle((signal.SIGHUP, signal.SIGUSR2)):
        if time.monotonic() > end:
            return
        await asyncio.sleep(0.4)
        before = set(workers_of(master))
        os.kill(master, number)
        if chance.random() < 0.5:
            continue
        new = await eventually_async(lambda: set(workers_of(master)) - before, why=lambda: "no successor starts", pause=0.001)
        if later := chance.random() < 0.7:
            await asyncio.sleep(chance.uniform(0, 0.15))
        for pid in new & set(workers_of(master)):
            # It may serve already, and is a relay like any other then: a socket that it is writing to would be closed.
            if later:
                wait_until_idle([pid])
            try:
                os.kill(pid, signal.SIGKILL)
                ledger.kills += 1
            except ProcessLookupError:
                pass


def test_failing_successors_go_unnoticed(base_url, secret, pids):
    master = relay_master(pids)
    found = asyncio.run(write_during(
        base_url, secret, "handover", lambda ledger: reload_and_kill_successors(master, ledger), SECONDS))
    check(*found)
    print(f"\n{found[0].kills} successors killed, {len(found[0].acknowledged)} messages acknowledged")


@pytest.fixture
def relay(settings):
    return f"{settings['RUN_DIR']}/ws-relay.sock"


def test_a_client_in_the_middle_of_a_frame_goes_on(ann, relay, pids):
    master = relay_master(pids)
    request = frame(1, b'{"Type": "ping", "Sign": "cut"}', fin=False) + frame(PING, b"between") + frame(0, b"")
    with RawSocket(relay, ann.token) as socket:
        # A cut in the header, the mask, the payload, the fragment's header, the ping.
        for cut in (1, 4, 20, len(request) - 14, len(request) - 3):
            socket.send(request[:cut])
            reload(master)
            socket.send(request[cut:])
            answers = [socket.next(), socket.next()]
            assert (PONG, b"between") in answers and b"cut" in answers[1][1], (cut, answers)


def test_a_client_in_the_middle_of_its_handshake_goes_on(ann, relay, pids):
    master = relay_master(pids)
    head = (f"GET /ws/v1/chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Protocol: chat.json\r\nAuthorization: Bearer {ann.token}\r\n\r\n").encode()
    with RawSocket(relay, None, greet=False) as socket:
        socket.send(head[:100])
        reload(master)
        socket.send(head[100:-1])
        reload(master, signal.SIGUSR2)
        socket.send(head[-1:])
        socket.read_head()
        assert " 101 " in socket.head and b"welcome" in socket.next()[1]


def test_a_reader_that_lags_goes_on_in_the_middle(ann, bob, relay, pids):
    """Bytes wait in the relay for a client that does not read: they are handed over too, from the middle of a frame on."""
    master, room = relay_master(pids), ann.group(bob)
    with RawSocket(relay, bob.token) as lagging:
        for number in range(40):
            ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"{number} " + "x" * 15000}, 201)
        reload(master)
        reload(master, signal.SIGUSR2)
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "last"}, 201)
        seqs = []
        while not seqs or seqs[-1] < 41:
            seqs.append(lagging.answer()["Seq"])
        assert seqs == list(range(1, 42))

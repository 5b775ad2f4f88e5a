"""Two relays: a client that reconnects to the other one continues exactly where it was."""

import os
import signal
import threading

import pytest
from client import Socket, message_frame
from ports import free_port
from relays import at, other_relay, seqs, workers_of
from waiting import wait_until_gone, wait_until_idle

MOVES = 6

@pytest.fixture
def second(tmp_path):
    with other_relay(tmp_path, free_port()) as relay:
        yield relay


def test_a_client_that_comes_back_to_another_relay_goes_on_where_it_was(ann, bob, base_url, second):
    room, stop = ann.group(bob), threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"{number}"}, 201)

    writer = threading.Thread(target=write)
    writer.start()
    got = []
    try:
        for move in range(MOVES):
            with Socket(at(bob, (second.url, base_url)[move % 2])) as relayed:
                relayed.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": got[-1] if got else 0}]})
                before = len(got)
                relayed.wait(lambda frame: frame.get("Seq") and len(seqs(relayed, room)) > 20)
                got += seqs(relayed, room)
                assert len(got) > before
    finally:
        stop.set()
        writer.join()
    assert got == list(range(1, len(got) + 1))


@pytest.mark.parametrize("dead", ["master", "both"])
def test_a_master_that_was_killed_is_replaced_under_its_sockets(ann, bob, tmp_path, dead):
    """On a port, which the next master cannot bind while a worker of the dead one listens there."""
    room, port = ann.group(bob), free_port()
    with other_relay(tmp_path, port) as first, Socket(at(bob, first.url)) as relayed:
        assert relayed.ask(message_frame(RoomID=room))["Success"]
        workers = workers_of(first.master.pid)
        first.master.kill()
        first.master.wait()
        if dead == "both":
            # In the middle of a write its sockets could not be taken over.
            wait_until_idle(workers)
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "without a master"}, 201)
        if dead == "master":
            relayed.new_message("without a master")
        with other_relay(tmp_path, port) as second:
            wait_until_gone(workers)
            ann.rest("POST", f"/rooms/{room}/messages", {"Content": "under the next one"}, 201)
            relayed.new_message("under the next one")
            assert relayed.ask(message_frame(RoomID=room))["Success"]
            assert seqs(relayed, room) == [1, 2, 3, 4] and relayed.closed is None
            with Socket(at(ann, second.url)) as newcomer:
                assert newcomer.ask(message_frame(RoomID=room))["Success"]
        assert relayed.wait_closed() == 1001

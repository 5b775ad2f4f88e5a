"""A worker whose loop hangs is detected by its silence, logs its stack, and is replaced."""

import platform
from pathlib import Path

import pytest
from ports import free_port
from relays import at, other_relay, workers_of
from waiting import eventually, wait_until_gone

# An endless loop in two instruction sets.
LOOP = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}.get(platform.machine())


def make_loop(pid):
    """Sends the main thread from its next wait into an endless loop; nothing else in the process changes."""
    def waits():
        # "running" between two waits.
        words = Path(f"/proc/{pid}/task/{pid}/syscall").read_text().split()
        return words if len(words) > 1 else None
    place = int(eventually(waits)[-1], 16)
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(place)
        memory.write(LOOP)


@pytest.mark.skipif(LOOP is None, reason="how this machine's processor loops is not known here")
def test_a_relay_that_hangs_is_replaced(tmp_path, ann, bob):
    room = ann.group(bob)
    with other_relay(tmp_path, free_port(), WORKER_HANG_SECONDS="3") as relay:
        socket = at(bob, relay.url).socket()
        (worker,) = workers_of(relay.master.pid)
        make_loop(worker)
        wait_until_gone([worker], 40)
        # The socket was between two frames: the next worker has it.
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "still here"}, 201)
        socket.wait(lambda frame: frame["Type"] == "new_message" and frame["Data"]["Content"] == "still here", 20)
        assert worker not in workers_of(relay.master.pid)
    said = (tmp_path / "log").read_text()
    assert "hangs: no sign of life for" in said and "it hangs; its stack follows" in said, said

"""A loud room delays another one on its queue by at most the current batch. It is counted, not timed: the frames of the loud room
that a member of both receives before the quiet one's message."""

import re
import uuid

import msgpack
from client import message_frame
from conftest import run_program
from waiting import eventually

LOUD = 400
BATCH = 32


def queue_of(room, total):
    """The chat's hash: FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in room.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value % total


def test_a_quiet_room_passes_a_loud_one(ann, bob, psql, reconfigure):
    # All of it fits into the worker's prefetch.
    reconfigure("queue-worker", WORKER_BATCH=BATCH, WORKER_PREFETCH=2 * LOUD)
    total = int(re.findall(r": (\d+) queues by room", run_program("queue-worker", "queues", "status"))[-1])
    loud = ann.group(bob, name="loud")
    quiet = next(room for room in (ann.group(bob, name="quiet") for _ in range(20 * total))
                 if queue_of(room, total) == queue_of(loud, total))
    holder = psql()
    with ann.socket() as shouting, bob.socket() as listening:
        # The worker stops at its first batch, and everything else waits behind it.
        holder.ask(f"BEGIN; SELECT 1 FROM rooms WHERE id = '{loud}' FOR UPDATE")
        for number in range(LOUD):
            shouting.send_raw(msgpack.packb(message_frame(RoomID=loud, Content=str(number), Sign=str(uuid.uuid4()))))
        shouting.send({"Type": "ping"})
        shouting.wait(lambda frame: frame["Type"] == "pong")
        # 202: the broker has it, behind all of those.
        ann.rest("POST", f"/rooms/{quiet}/messages", {"Content": "a quiet word"}, expect=202)
        waiting = [line for line in run_program("queue-worker", "queues", "status").splitlines()
                   if " waiting " in line and " 0 waiting " not in line]
        assert waiting == [], "not everything is in the worker's hand"
        holder.ask("ROLLBACK")
        listening.wait(lambda frame: frame["Type"] == "new_message" and frame["RoomID"] == quiet, 60)
        heard = [frame["RoomID"] for frame in listening.frames if frame["Type"] == "new_message"]
        before = heard.index(quiet)
        eventually(lambda: listening.count(lambda frame: frame["Type"] == "new_message" and frame["RoomID"] == loud) == LOUD,
                   why=lambda: "the loud room is not carried out to its end")
    print(f"\n{before} of {LOUD} messages of the loud room came before the quiet one's")
    assert before <= 2 * BATCH
    assert [int(message["Content"]) for message in ann.history(loud)] == list(range(LOUD))

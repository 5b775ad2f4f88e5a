"""A short version of `make chaos`, and proof that its ledger detects errors."""

import asyncio
import os

import pytest
from chaos.ledger import Ledger, Send
from chaos.report import picture, table
from chaos.scenario import Run

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("SEED") or 1)


def test_nothing_is_lost_whatever_is_killed_frozen_or_stopped(base_url, secret, pids, tmp_path):
    run = Run(base_url, secret, pids, SEED, SECONDS, freeze_seconds=4, least_faults=3)
    found = asyncio.run(run.play())
    print(f"\nSEED={SEED}: " + table(run.ledger, found, run.faults.done, run.start, run.end))
    assert picture(run.ledger, run.faults.done, run.start, run.end).endswith("</svg>")
    assert {name: what[:5] for name, what in found.items() if what} == {}
    assert len(run.faults.done) >= 3 and len(run.ledger.sends) > SECONDS


def message(sign, seq, id=None):
    return {"ID": id or f"id {sign}", "Seq": seq, "Sign": sign, "MessageType": "direct"}


def honest():
    """Two acknowledged messages of one user, and a member who received both."""
    ledger = Ledger()
    for number in (1, 2):
        send = ledger.sends[f"sign {number}"] = Send(f"sign {number}", "ann", "room", "socket", number)
        send.acknowledged, send.id, send.seq = number + 0.5, f"id sign {number}", number
        ledger.streams["ann", "room"].frame(number, set())
    return ledger, [message("sign 1", 1), message("sign 2", 2)]


def judge(ledger, history, last=2):
    found = ledger.verdict({"room": history}, {"room": last}, {"room": ["ann"]})
    return [name for name, what in found.items() if what]


def test_an_honest_ledger_is_believed():
    assert judge(*honest()) == []


@pytest.mark.parametrize("history, complaint", [
    ([message("sign 1", 1)], "acknowledged and missing"),
    ([message("sign 1", 1), message("sign 2", 2), message("sign 1", 3)], "stored twice"),
    ([message("sign 1", 1), message("sign 2", 2, id="another")], "answered wrongly"),
    ([message("sign 1", 1), message("sign 2", 1)], "Seq twice"),
])
def test_what_is_wrong_in_the_history_is_found(history, complaint):
    assert complaint in judge(honest()[0], history)


@pytest.mark.parametrize("seq, complaint", [(2, "doubled at a socket"), (4, "Seq gaps at a client")])
def test_what_is_wrong_at_a_socket_is_found(seq, complaint):
    ledger, history = honest()
    ledger.streams["ann", "room"].frame(seq, {1, 2})
    assert complaint in judge(ledger, history)


def test_an_earlier_frame_after_a_later_one_is_found():
    ledger, history = honest()
    ledger.streams["ann", "room"].frame(1, set())
    assert "out of order" in judge(ledger, history)


def test_the_first_copy_counts_of_what_comes_on_both_sockets_of_a_move():
    ledger, history = honest()
    stream, old, new = ledger.streams["ann", "room"], {1, 2}, set()
    for seq, socket in ((2, new), (3, old), (3, new), (4, new), (4, old), (5, new)):
        stream.frame(seq, socket, is_beside=True)
    history += [message(f"sign {seq}", seq) for seq in (3, 4, 5)]
    assert stream.last == 5 and judge(ledger, history, last=5) == []
    stream.frame(4, new, is_beside=True)
    assert judge(ledger, history, last=5) == ["doubled at a socket"]
    stream.frame(1, {3}, is_beside=True)
    assert "out of order" in judge(ledger, history, last=5)


def test_a_member_who_did_not_get_the_end_is_found():
    assert judge(*honest(), last=3) == ["not delivered to the end"]


def test_sends_that_were_stored_the_other_way_round_are_found():
    ledger, _ = honest()
    first, second = ledger.sends.values()
    first.seq, second.seq = 2, 1
    assert "sends out of order" in judge(ledger, [message("sign 2", 1), message("sign 1", 2)])

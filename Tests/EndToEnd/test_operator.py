"""Commands of an operator to a running master: status and scale."""

import uuid

import pytest
from conftest import run_program
from waiting import eventually

POOLS = [("fcgi-api", "account"), ("queue-worker", "queues"), ("ws-relay", "sockets")]


def ready(program, pool):
    rows = [line.split() for line in run_program(program, "status").splitlines()]
    return next(int(row[1]) for row in rows if row and row[0] == pool)


def wait_for(program, pool, workers):
    eventually(lambda: ready(program, pool) == workers, why=lambda: run_program(program, "status"))


def wanted(pool, count):
    return f"pool {pool}: {count} {'worker' if count == 1 else 'workers'} wanted\n"


@pytest.mark.parametrize("program, pool", POOLS)
def test_a_pool_grows_and_shrinks(program, pool):
    before = ready(program, pool)
    # The pool may be omitted when the program has a main pool.
    words = ["scale"] if program != "fcgi-api" else ["scale", pool]
    assert run_program(program, *words, "+1") == wanted(pool, before + 1)
    wait_for(program, pool, before + 1)
    assert run_program(program, "scale", pool, "-1") == wanted(pool, before)
    wait_for(program, pool, before)


@pytest.mark.parametrize("words, said", [
    (["scale", "nothing", "+1"], "there is no pool nothing, only rooms, messages, search, uploads, account"),
    (["scale", "messages", "many"], "many is not a count: write +1, -1 or a number"),
    (["scale", "+1"], "fcgi-api scale POOL +1"),
])
def test_words_that_mean_nothing_change_nothing(words, said):
    before = ready("fcgi-api", "messages")
    assert said in run_program("fcgi-api", *words)
    assert ready("fcgi-api", "messages") == before


def test_every_program_checks_its_settings_without_starting():
    for program, _ in POOLS:
        assert run_program(program, "serve", "--check") == "the settings are good\n"


def test_clients_are_told_that_history_was_lost(ann, bob):
    room = ann.group(bob)
    known = ann.data("GET", f"/rooms/{room}")["Epoch"]
    with ann.socket() as mine:
        def resume(epoch):
            """The outcome of a resume: the room's entry in its answer, and the resyncs of the room until then."""
            seq = ann.data("GET", f"/rooms/{room}")["LastSeq"]
            answer = mine.ask({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": seq, "Epoch": epoch}], "Sign": str(uuid.uuid4())})
            assert answer["Success"] is True, answer
            told = [frame["Data"] for frame in list(mine.frames) if frame["Type"] == "resync" and frame["RoomID"] == room]
            return answer["Data"]["Rooms"][0], told

        entry, told = resume(known)
        assert entry["Epoch"] == known and "Resync" not in entry and not told
        entry, told = resume(known + 1)
        assert entry["Epoch"] == known and entry["Resync"] is True and [each["Epoch"] for each in told] == [known]

        assert "rooms with another epoch: " in run_program("fcgi-api", "epoch", "bump")
        now = ann.data("GET", f"/rooms/{room}")["Epoch"]
        assert now > known and [each["Epoch"] for each in ann.data("GET", "/rooms") if each["ID"] == room] == [now]
        # A relay that runs learns it with the next one who comes into the room, and tells all.
        with bob.socket() as theirs:
            mine.wait(lambda frame: frame["Type"] == "resync" and frame["Data"]["Epoch"] == now)
            answer = theirs.ask({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": 0, "Epoch": known}], "Sign": str(uuid.uuid4())})
            assert answer["Data"]["Rooms"][0]["Resync"] is True and answer["Data"]["Rooms"][0]["Epoch"] == now
        entry, _ = resume(now)
        assert entry["Epoch"] == now and "Resync" not in entry


def test_an_epoch_that_is_none_is_refused(ann):
    room = ann.group()
    with ann.socket() as mine:
        for epoch in (-1, "1", 1.5, 2 ** 63, True):
            answer = mine.ask({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": 0, "Epoch": epoch}], "Sign": str(uuid.uuid4())})
            assert answer["Success"] is False and "Epoch" in answer["Error"], (epoch, answer)
        mine.send({"Type": "ping"})
        mine.wait(lambda frame: frame["Type"] == "pong")

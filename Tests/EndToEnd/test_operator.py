"""Commands of an operator to a running master: status and scale."""

import time

import pytest
from conftest import run_program

POOLS = [("fcgi-api", "account"), ("queue-worker", "queues"), ("ws-relay", "sockets")]


def ready(program, pool):
    rows = [line.split() for line in run_program(program, "status").splitlines()]
    return next(int(row[1]) for row in rows if row and row[0] == pool)


def wait_for(program, pool, workers):
    end = time.monotonic() + 60
    while ready(program, pool) != workers:
        assert time.monotonic() < end, run_program(program, "status")
        time.sleep(0.1)


@pytest.mark.parametrize("program, pool", POOLS)
def test_a_pool_grows_and_shrinks(program, pool):
    before = ready(program, pool)
    # The pool may be omitted when the program has a main pool.
    words = ["scale"] if program != "fcgi-api" else ["scale", pool]
    assert run_program(program, *words, "+1") == f"pool {pool}: {before + 1} workers wanted\n"
    wait_for(program, pool, before + 1)
    assert run_program(program, "scale", pool, "-1") == f"pool {pool}: {before} workers wanted\n"
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

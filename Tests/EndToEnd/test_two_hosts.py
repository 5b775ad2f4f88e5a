"""Two hosts' queue-workers on one broker: they share the queues evenly, each takes over when the other dies, and gives back when it
returns; nothing is lost, stored twice or reordered. Hosts whose settings differ agree or refuse to start."""

import asyncio
import os
import time
import uuid

import pytest
from chaos.faults import Faults
from chaos.scenario import Run
from conftest import run_program
from queue_hosts import Host, Line, batches, shares, wait_for
from waiting import eventually

SECONDS = 8


@pytest.fixture
def second(tmp_path):
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.fixture
def ten_queues():
    """Other tests leave other numbers."""
    run_program("queue-worker", "queues", "resize", "10")
    wait_for(lambda found: sum(found.values()) == 10)


@pytest.fixture(params=["PostgreSQL", "Redis"])
def line(request):
    way = Line(request.param)
    way.server = request.param
    yield way
    way.close()


def is_even(found):
    return len(found) == 2 and set(found.values()) == {5}


def play(run, change):
    """`change()` runs beside the writing users, who write until it is over."""
    over = []

    class Changes(Faults):
        async def run(self, is_over):
            try:
                over.append(await asyncio.to_thread(change))
            finally:
                self.done.append("all")

    run.faults = Changes(run.faults.ask, 1, 1)
    run.least_faults = 1
    found = asyncio.run(run.play())
    assert {name: what[:5] for name, what in found.items() if what} == {}
    sends = run.ledger.sends.values()
    slowest = max(send.acknowledged - send.started for send in sends)
    print(f"\n{len(sends)} messages in {sum(send.attempts for send in sends)} tries, the slowest answer after {slowest:.2f} s")
    return over[0]


def test_the_queues_move_and_every_order_is_kept(base_url, secret, pids, second, ten_queues, make_user):
    ann = make_user()

    def both_work():
        """Rooms of all queues, about half of them the second host's."""
        files = (os.environ["TEST_ENV_FILE"], second.file)
        before = [batches(file) for file in files]
        for _ in range(60):
            ann.group()
        assert all(batches(file) >= old + 10 for file, old in zip(files, before))

    def change():
        times, start = [], time.monotonic()

        def note(what):
            times.append(f"{what} after {time.monotonic() - start:.1f} s")
        second.start()
        wait_for(is_even)
        note("shared")
        both_work()
        second.kill()
        wait_for(lambda found: second.name not in found and sum(found.values()) == 10)
        note("taken over")
        second.start()
        wait_for(is_even)
        note("shared again")
        both_work()
        second.stop()
        wait_for(lambda found: second.name not in found and sum(found.values()) == 10)
        note("taken over")
        return times

    print(", ".join(play(Run(base_url, secret, pids, 1, SECONDS, 1, least_faults=1), change)))
    assert len(shares()) == 1


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_host_that_loses_a_server_leaves_its_queues_to_the_other(base_url, secret, pids, line, second, ten_queues, make_user, how):
    ann = make_user()
    rooms = [ann.group() for _ in range(40)]
    left = f"the queues are left to workers that may reach {line.server}"

    def is_stored(room, sign):
        return ann.rest("POST", f"/rooms/{room}/messages", {"Content": sign, "Sign": sign}).status_code == 201

    def change():
        second.start(**line.settings)
        wait_for(lambda found: is_even(found) and second.name in found)
        line.cut(how)
        start = time.monotonic()
        # The idle one too: it would be the next in line.
        eventually(lambda: second.log.read_text().count(left) == 2, 60)
        for room in rooms:
            sign = str(uuid.uuid4())
            eventually(lambda: is_stored(room, sign), 60)
        answered = time.monotonic() - start
        line.heal()
        wait_for(is_even)
        return answered

    print(f"{line.server} {how}: rooms of all queues answered after {play(Run(base_url, secret, pids, 1, SECONDS, 1, least_faults=1), change):.1f} s")
    said = second.log.read_text()
    assert said.count(left) == 2, said
    assert 2 <= said.count(f"{line.server} is away") <= 3, said
    assert "RabbitMQ is away" not in said


def test_each_queue_of_many_has_its_worker(second, ten_queues, make_user):
    """Joining and leaving many lines keeps no queue waiting."""
    second.start()
    run_program("queue-worker", "queues", "resize", "300")
    wait_for(lambda found: sorted(found.values()) == [150, 150], 120)
    ann = make_user()
    for _ in range(100):
        room = ann.group()
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, expect=201)
    second.kill()
    for _ in range(100):
        room = ann.group()
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, expect=201)
    wait_for(lambda found: list(found.values()) == [300], 120)
    run_program("queue-worker", "queues", "resize", "10")


def test_a_host_with_another_number_of_queues_follows_and_says_so_once(second, ten_queues):
    second.start(RABBITMQ_TOTAL_QUEUE="7")
    wait_for(is_even)
    said = [line for line in second.log.read_text().splitlines() if "their values are used" in line]
    assert len(said) == 1 and "7 by room" in said[0] and "10 by room" in said[0]
    assert ": 10 queues by room, open" in run_program("queue-worker", "queues", "status")


def test_another_prefix_on_the_same_database_is_refused_and_both_are_named(second, ten_queues):
    wait_for(lambda found: sum(found.values()) == 10)
    second.start(RABBITMQ_PREFIX="other")
    assert second.process.wait(30) != 0
    said = second.log.read_text().strip()
    assert "RABBITMQ_PREFIX is other" in said and " use chat with the same database" in said and "\n" not in said
    second.start(RABBITMQ_PREFIX="chat")
    wait_for(is_even)
    eventually(lambda: second.process.poll() is None, 5)

"""Redis Cluster, or Valkey: a stack whose programs use one, while its masters die and slots move. No socket closes, and none misses a
frame or gets one twice.
"""

import asyncio
import os
import subprocess

import pytest
from conftest import program
from other_stack import OtherStack
from redis_cluster import Cluster
from relays import reload
from waiting import eventually, eventually_async
from writers import check, write_during

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def stack(cluster, tmp_path_factory):
    found = OtherStack(tmp_path_factory.mktemp("of-cluster"))
    found.lead(REDIS_URL=cluster.url)
    yield found
    found.close()


@pytest.fixture
def whole(cluster, stack):
    """Every node is there and every program is well, as a test begins and as it ends."""
    def ready():
        for port, process in cluster.processes.items():
            if process.poll() is not None:
                cluster.start(port)
        cluster.settle()
        stack.wait()
    ready()
    yield
    ready()


async def masters_killed(cluster, stack, ledger):
    """One after another: the masters of the room, of the relay's own channel, and of whatever is left."""
    for number in range(3):
        await asyncio.sleep(SECONDS / 6)
        rooms = await asyncio.to_thread(cluster.room_slots)
        masters = list(await asyncio.to_thread(cluster.masters))
        victim = next(iter(rooms.values()), masters[0]) if number == 0 else masters[number % len(masters)]
        await asyncio.to_thread(cluster.kill, victim)
        await eventually_async(lambda: victim not in cluster.masters() and len(cluster.masters()) == 3, 30)
        await asyncio.sleep(SECONDS / 12)
        await asyncio.to_thread(cluster.start, victim)
        await asyncio.to_thread(cluster.settle)


async def master_frozen(cluster, stack, ledger):
    """It is replaced; when it goes on it does not know that, for a moment."""
    rooms = await asyncio.to_thread(cluster.room_slots)
    victim = next(iter(rooms.values()))
    cluster.processes[victim].send_signal(19)
    await eventually_async(lambda: cluster.owner(next(iter(rooms))) not in (victim, None), 30)
    await asyncio.sleep(SECONDS / 6)
    cluster.processes[victim].send_signal(18)
    await asyncio.to_thread(cluster.settle)


async def slots_moved(cluster, stack, ledger):
    """Those of all rooms, to and fro; the nodes learn of it one after another."""
    for pause in (0, 0.3, 0.05, 0):
        await asyncio.sleep(SECONDS / 12)
        for slot, source in (await asyncio.to_thread(cluster.room_slots)).items():
            target = next(port for port in cluster.masters() if port != source)
            await asyncio.to_thread(cluster.migrate, slot, source, target, pause)


async def relay_replaced(cluster, stack, ledger):
    """Hand-overs while slots move."""
    relay = stack.master("ws-relay")
    for _ in range(2):
        await asyncio.sleep(SECONDS / 12)
        moving = asyncio.create_task(slots_moved(cluster, stack, ledger))
        await asyncio.to_thread(reload, relay, seconds=30)
        await moving


@pytest.mark.parametrize("trouble", [masters_killed, master_frozen, slots_moved, relay_replaced], ids=lambda trouble: trouble.__name__)
def test_no_frame_is_missed_or_doubled(cluster, stack, whole, trouble):
    found = asyncio.run(write_during(stack.base_url, stack.secret, trouble.__name__,
                                     lambda ledger: trouble(cluster, stack, ledger), SECONDS))
    check(*found, kills=False)
    print(f"\n{trouble.__name__}: {len(found[0].acknowledged)} messages acknowledged")


def test_traffic_spreads_over_the_nodes(cluster, stack, whole):
    """Rooms, users and relays have channels of their own: each master has some of the subscriptions and of the logs."""
    ann, ben = stack.user(), stack.user()
    ben.socket()
    for number in range(30):
        ann.rest("POST", f"/rooms/{ann.group(ben)}/messages", {"Content": f"number {number}"}, 201)
    for port in cluster.masters():
        assert len(cluster.ask(port, "PUBSUB", "SHARDCHANNELS").splitlines()) > 3
        assert len(cluster.ask(port, "KEYS", "{room:*}:log").splitlines()) > 1
    assert not any(cluster.ask(port, "PUBSUB", "CHANNELS") for port in cluster.masters())


def test_one_address_that_leads_to_a_cluster_says_how_to_write_it(cluster, stack):
    said = check_settings(stack, REDIS_URL=f"redis://127.0.0.1:{cluster.ports[0]}")
    assert "redis+cluster://" in said
    assert "Redis is reachable" in check_settings(stack, REDIS_URL=cluster.url)


def check_settings(stack, **settings):
    """The set-up's words about its servers."""
    env = {**os.environ, **settings}
    return subprocess.run([program("fcgi-api"), "setup-check", "servers", "-c", stack.file], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True).stdout


def test_a_part_of_the_keys_without_a_node_is_no_readiness(cluster, stack, whole):
    """And a node that comes back without its data costs no message."""
    ann, ben = stack.user(), stack.user()
    room = ann.group(ben)
    ann.rest("POST", f"/rooms/{room}/messages", {"Content": "before"}, 201)
    master = cluster.master_of(f"{{room:{room}}}:log")
    replica = cluster.replica_of(master)
    for port in (replica, master):
        cluster.kill(port)
    eventually(lambda: "redis: unreachable" in stack.ready().text, 20, lambda: stack.ready().text)
    for port in (master, replica):
        cluster.start(port)
    stack.wait()
    ann.rest("POST", f"/rooms/{room}/messages", {"Content": "after"}, 201)
    assert [message["Content"] for message in ben.history(room) if message["Content"]][-2:] == ["before", "after"]

"""Reads from a replica that is behind: users see what they wrote over any path, and what they were told of; everything else may come
from the replica. Its lag is shown, and one that is too far behind is not used."""

import re
import secrets
import time

import pytest
import requests
from client import message_frame
from importing import MESSAGE, room_id, small_room
from replica import Replica
from waiting import eventually

READERS = ("fcgi-api", "queue-worker")


@pytest.fixture(scope="module")
def replica(settings):
    replica = Replica(settings["DATABASE_URL"])
    yield replica
    replica.close()


@pytest.fixture
def paused(replica, reconfigure, base_url):
    """The service with the replica, which stands still from now on."""
    def begin(**values):
        reconfigure(*READERS, DATABASE_READ_URL=replica.url, **values)
        eventually(lambda: requests.get(f"{base_url}/api/v1/readyz", timeout=30).status_code == 200)
        return replica
    yield begin
    replica.resume()


def figure(base_url, name):
    """The sum of a metric's series."""
    text = requests.get(f"{base_url}/api/v1/metrics", timeout=30).text
    values = [float(value) for value in re.findall(rf"^chat_{name}{{[^}}]*}} (\S+)$", text, re.M)]
    return sum(values) if values else None


def contents(user, room):
    return [message["Content"] for message in user.history(room) if message["MessageType"] == "direct"]


def test_a_user_reads_what_they_wrote_and_were_told_of(paused, make_user, base_url):
    ann, bob, eve = make_user(), make_user(), make_user()
    replica = paused(DATABASE_READ_MAX_LAG_SECONDS="600")
    room = ann.group(bob)
    # Reads of others come from the replica as soon as it is known how far behind it is.
    quiet = eve.group()
    eventually(lambda: (eve.data("GET", f"/rooms/{quiet}"), figure(base_url, "replica_reads_total") or 0)[1] > 0)
    replica.pause()
    stopped = replica.position()

    for number in range(20):
        # Over a socket, read over REST at once; and over REST.
        with ann.socket() as socket:
            assert socket.ask(message_frame(RoomID=room, Content=f"socket {number}"))["Success"]
        assert contents(ann, room)[-1] == f"socket {number}"
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"rest {number}"}, expect=201)
        assert contents(ann, room)[-1] == f"rest {number}"
        # The other member was told.
        assert contents(bob, room)[-1] == f"rest {number}"
    # A new room, a new member, a setting of the account.
    other = bob.group(ann)
    assert other in [found["ID"] for found in bob.data("GET", "/rooms")]
    assert other in [found["ID"] for found in ann.data("GET", "/rooms")]
    ann.rest("POST", f"/rooms/{room}/members", {"UserID": eve.id}, expect=201)
    assert contents(eve, room)[-1] == "rest 19"
    assert room in [found["ID"] for found in eve.data("GET", "/rooms")]
    assert replica.position() == stopped, "the replica did not stand still"

    # Somebody who wrote nothing is served by it all the same.
    before = figure(base_url, "replica_reads_total")
    idle = make_user()
    for _ in range(20):
        idle.data("GET", "/rooms")
    assert figure(base_url, "replica_reads_total") > before
    replica.resume()
    eventually(lambda: replica.position() != stopped)


def test_what_an_import_tells_of_is_read_at_once(paused, make_user, base_url, here):
    ann, bob, eve = make_user(), make_user(), make_user()
    replica = paused(DATABASE_READ_MAX_LAG_SECONDS="600")
    room, quiet, name = bob.group(ann), eve.group(), secrets.token_hex(6)
    eventually(lambda: (eve.data("GET", f"/rooms/{quiet}"), figure(base_url, "replica_reads_total") or 0)[1] > 0)
    # The replica has all that marks name until now.
    eventually(lambda: replica.position() == here.ask("SELECT pg_current_wal_flush_lsn()") or None)
    replica.pause()
    stopped = replica.position()
    with ann.socket() as socket:
        here.store(small_room(name, 5, (ann.id, bob.id)))
        socket.wait(lambda frame: frame["Type"] == "room_updated" and frame["RoomID"] == room_id(name))
        assert len(contents(ann, room_id(name))) == 5
        assert room_id(name) in [found["ID"] for found in ann.data("GET", "/rooms")]
        here.store([{**MESSAGE, "ID": f"{name} more", "RoomID": room, "SenderID": bob.id, "Content": "imported"}])
        socket.new_message("imported")
        assert contents(ann, room) == ["imported"]
    assert replica.position() == stopped, "the replica did not stand still"
    replica.resume()
    eventually(lambda: replica.position() != stopped)


def test_the_lag_is_shown_and_one_too_far_behind_is_not_used(paused, make_user, base_url):
    replica = paused(DATABASE_READ_MAX_LAG_SECONDS="3")
    ann, idle = make_user(), make_user()
    room = ann.group()

    def ready():
        return requests.get(f"{base_url}/api/v1/readyz", timeout=30).text

    eventually(lambda: "read replica: ok" in ready(), why=ready)
    replica.pause()

    def far_behind():
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "on"}, expect=201)
        idle.data("GET", "/rooms")
        return figure(base_url, "replica_lag_seconds") == float("inf")
    eventually(far_behind, 60, pause=0.3)
    eventually(lambda: "read replica: too far behind; the primary reads in its place" in ready(), why=ready)
    before, start = figure(base_url, "replica_reads_total"), time.monotonic()
    while time.monotonic() < start + 1:
        idle.data("GET", "/rooms")
    assert figure(base_url, "replica_reads_total") == before
    replica.resume()

    def back():
        idle.data("GET", "/rooms")
        return (figure(base_url, "replica_reads_total") > before and figure(base_url, "replica_lag_seconds") < 3
                and "read replica: ok" in ready())
    eventually(back, 60, ready, pause=0.3)


def test_a_replica_that_was_promoted_is_not_used(paused, make_user, base_url):
    """The last one: from here on the standby has a log of its own, whose positions mean nothing."""
    ann = make_user()
    replica = paused(DATABASE_READ_MAX_LAG_SECONDS="600")
    room = ann.group()
    replica.ask("SELECT pg_promote()")
    eventually(lambda: replica.ask("SELECT pg_is_in_recovery()") == "f")
    for _ in range(3):
        replica.ask("SELECT pg_switch_wal()")
        replica.ask("CHECKPOINT")
    for number in range(20):
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"rest {number}"}, expect=201)
        assert contents(ann, room)[-1] == f"rest {number}"
    eventually(lambda: "no standby" in requests.get(f"{base_url}/api/v1/readyz", timeout=30).text)

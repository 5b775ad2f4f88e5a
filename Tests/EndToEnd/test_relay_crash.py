"""The relay's workers are killed (-9) while users write. Sockets between two frames stay open and miss nothing; those in the middle of
one are told to reconnect. When only the master is killed, no client notices.
"""

import asyncio
import os
import signal
import time

import msgpack
import pytest
from client import Socket, User, message_frame
from ports import free_port
from relays import at, other_relay, workers_of
from waiting import eventually_async, wait_until_gone, wait_until_idle
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from writers import Ledger, Member, check, odd, write_during

KILLS = int(os.environ.get("CRASH_KILLS", "2"))
SECONDS_BETWEEN = 2.5
ROOMS, MEMBERS, WRITERS = 3, 40, 4
IDLE = 30


class Watcher(Member):
    """Reconnects when it is closed, and resumes at its position."""

    def __init__(self, user, ledger):
        super().__init__(user, ledger)
        self.returns = 0
        self.welcomed = asyncio.Event()

    async def read(self):
        while True:
            async for raw in self.socket:
                frame = msgpack.unpackb(raw)
                self.frames.append(frame)
                if frame["Type"] == "welcome":
                    self.welcomed.set()
                answer = self.waiting.pop(frame.get("Sign"), None) if frame["Type"] == "response" else None
                if answer and not answer.done():
                    answer.set_result(frame)
            self.returns += 1
            if self.socket.close_code not in (1001, 1006):
                self.ledger.trouble.append(f"closed with {self.socket.close_code} {self.socket.close_reason}")
            await self.come_back()

    async def come_back(self):
        url = self.user.base_url.replace("http", "ws", 1) + "/ws/v1/chat"
        self.socket = await connect(url, additional_headers={"Authorization": f"Bearer {self.user.token}"})
        places = {}
        for frame in self.frames:
            if frame.get("RoomID") and frame.get("Seq"):
                places[frame["RoomID"]] = frame["Seq"]
        rooms = [{"RoomID": room, "Seq": seq} for room, seq in places.items()]
        await self.socket.send(msgpack.packb({"Type": "resume", "Rooms": rooms}))


async def kill_relays(pids, ledger, kinds, kills=KILLS):
    for _ in range(kills):
        await asyncio.sleep(SECONDS_BETWEEN)
        for pid in [pid for who, kind, pid in await asyncio.to_thread(pids) if who == "ws-relay" and kind in kinds]:
            os.kill(pid, signal.SIGKILL)
        ledger.kills += 1


async def write(member, room, end):
    """Over the socket itself: the relay dies with requests in progress, and each gets its answer, unless its own socket is closed: then
    it is sent again with the same Sign."""
    number = 0
    while time.monotonic() < end:
        number += 1
        frame = message_frame(RoomID=room, Content=f"{member.user.id} {number}")
        while True:
            returns, since = member.returns, time.monotonic()
            answer = member.waiting[frame["Sign"]] = asyncio.get_running_loop().create_future()
            try:
                await member.socket.send(msgpack.packb(frame))
                while not answer.done() and member.returns == returns and time.monotonic() < since + 20:
                    await asyncio.wait([answer], timeout=0.2)
            except ConnectionClosed:
                await asyncio.sleep(0.2)
            if answer.done() or member.returns == returns and time.monotonic() > since + 20:
                break
        if not answer.done():
            member.ledger.trouble.append(f"no response in 20 s to {frame['Content']}")
        elif answer.result()["Success"]:
            member.ledger.acknowledged[answer.result()["Data"]["ID"]] = room
        else:
            member.ledger.trouble.append(f"refused: {answer.result()['Error']}")
        await asyncio.sleep(0.01)


async def scenario(base_url, secret, pids, kinds):
    ledger = Ledger()
    watchers = [Watcher(User(base_url, secret), ledger) for _ in range(MEMBERS)]
    idle = [Watcher(User(base_url, secret), ledger) for _ in range(IDLE)]
    for member in watchers + idle:
        await member.open()
    for member in watchers + idle:
        await asyncio.wait_for(member.welcomed.wait(), 10)
    owner = watchers[0].user
    others = [member.user for member in watchers[1:]]
    rooms = [await asyncio.to_thread(owner.group, *others, name=f"Crash {number}") for number in range(ROOMS)]
    end = time.monotonic() + (KILLS + 1) * SECONDS_BETWEEN
    await asyncio.gather(
        kill_relays(pids, ledger, kinds), *[write(watchers[index], rooms[index % ROOMS], end) for index in range(WRITERS)])
    await eventually_async(lambda: all(at_one_place(watchers, room) for room in rooms), 20,
                           lambda: "the members of a room end at different places")
    for member in watchers + idle:
        member.reader.cancel()
        await member.socket.close()
    return ledger, watchers, idle, rooms


def seqs(member, room):
    return [frame["Seq"] for frame in member.frames if frame.get("RoomID") == room and frame.get("Seq")]


def at_one_place(members, room):
    return len({max(seqs(member, room), default=0) for member in members}) == 1


def test_a_killed_master_goes_unnoticed(base_url, secret, pids):
    found = asyncio.run(write_during(
        base_url, secret, "master", lambda ledger: kill_relays(pids, ledger, ["master"], kills=2), 2.5 * SECONDS_BETWEEN))
    check(*found)
    print(f"\n{found[0].kills} kills, {len(found[0].acknowledged)} messages acknowledged")


@pytest.mark.parametrize("kinds", [["worker"], ["worker", "master"]], ids="+".join)
def test_a_killed_relay_closes_no_socket_between_two_frames(base_url, secret, pids, kinds):
    ledger, watchers, idle, rooms = asyncio.run(scenario(base_url, secret, pids, kinds))
    assert ledger.trouble == []
    assert ledger.kills == KILLS
    assert [member.returns for member in idle] == [0] * IDLE, "a socket without traffic was closed"
    for room in rooms:
        acknowledged = {id for id, where in ledger.acknowledged.items() if where == room}
        for member in watchers:
            found = seqs(member, room)
            assert found == list(range(found[0], found[0] + len(found))), f"gaps or doubles: {odd(found)}"
            arrived = {frame["Data"]["ID"] for frame in member.frames
                       if frame["Type"] in ("new_message", "response") and (frame.get("Data") or {}).get("ID")}
            assert acknowledged <= arrived, f"{len(acknowledged - arrived)} messages did not arrive"
        assert at_one_place(watchers, room)
    returns = sum(member.returns for member in watchers)
    share = 1 - returns / (MEMBERS * ledger.kills)
    print(f"\n{ledger.kills} kills, {len(ledger.acknowledged)} messages, {share:.1%} of {MEMBERS} busy sockets survived each")
    assert share > 0.8


def test_a_relay_killed_under_a_fresh_socket_closes_nothing(ann, bob, tmp_path):
    """Its frames are held at that moment, until its resume may have arrived."""
    room = ann.group(bob)
    with other_relay(tmp_path, free_port()) as relay:
        for number in range(1, 6):
            with Socket(at(bob, relay.url)) as fresh:
                workers = workers_of(relay.master.pid)
                # The client may have its `welcome` before the relay's write has returned.
                wait_until_idle(workers)
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
                ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"{number}"}, 201)
                assert fresh.new_message(f"{number}")["Seq"] == number
                assert fresh.closed is None
                wait_until_gone(workers)

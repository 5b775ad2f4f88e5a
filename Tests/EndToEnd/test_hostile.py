"""A hostile client affects nobody else, and each limit of the relay has its own close code."""

import json
import threading
import time
from statistics import median

import pytest
from client import message_frame
from raw_socket import CLOSE, CONTINUATION, PING, TEXT, RawSocket, frame
from waiting import eventually


@pytest.fixture
def relay(settings):
    return f"{settings['RUN_DIR']}/ws-relay.sock"


def opened(path, data=b""):
    raw = RawSocket(path, None, greet=False)
    raw.send(data)
    return raw


def test_slow_heads_and_silent_ones_are_ended(relay):
    """All at once: a silent socket, one with half a head, one with a byte per second. They get ten seconds."""
    silent, half, dripping = opened(relay), opened(relay, b"GET /ws/v1/chat HTTP/1.1\r\nHo"), opened(relay, b"G")
    for letter in b"ET /ws/v1/chat"[:13]:
        try:
            dripping.send(bytes([letter]))
        except (BrokenPipeError, ConnectionResetError):
            break
        time.sleep(1)
    for raw in (silent, half, dripping):
        raw.read_head()
        assert " 408 " in raw.head
        assert raw.has_ended()


def test_a_head_without_end_is_refused(relay):
    raw = opened(relay, b"GET /ws/v1/chat HTTP/1.1\r\n" + b"X-A: " + b"a" * 9000)
    raw.read_head()
    assert " 400 " in raw.head and raw.has_ended()


LOUD_FLOOR = 5  # seconds: programs without optimisation, on a machine with ten times its work, took two

FLOODS = {
    "pings": frame(PING, b"x" * 125) * 400,
    "empty fragments": frame(CONTINUATION, fin=False) * 5000,
    "garbage requests": frame(TEXT, b"{" * 300) * 200,
    "typing": frame(TEXT, b'{"Type": "typing", "RoomID": "01890000-0000-7000-8000-000000000000"}') * 500,
    "half a megabyte that never ends": frame(TEXT, b"x" * 60000, fin=False),
}


class Flood(threading.Thread):
    """Sends as fast as possible and reads nothing; connects again when the relay closes it, or reads no more of it for a second."""

    def __init__(self, path, token, kind, stop):
        super().__init__(daemon=True)
        self.path, self.token, self.kind, self.stop = path, token, kind, stop
        self.writes, self.ends = 0, 0

    def run(self):
        while not self.stop.is_set():
            try:
                with RawSocket(self.path, self.token) as raw:
                    raw.socket.settimeout(1)
                    if self.kind == "empty fragments":
                        raw.send(frame(TEXT, fin=False))
                    while not self.stop.is_set():
                        raw.socket.sendall(FLOODS[self.kind])
                        self.writes += 1
            except (OSError, EOFError, AssertionError):
                self.ends += 1
                self.stop.wait(0.01)


@pytest.mark.parametrize("kind", FLOODS)
def test_everybody_else_is_answered_beside_a_flood(ann, bob, relay, kind):
    """A user sends over a socket beside the floods, in turn with sends over REST. These take the same way without the relay, on
    the same busy machine: a relay that the floods delay shows in the ratio, which is printed."""
    room, stop = bob.group(), threading.Event()
    floods = [Flood(relay, ann.token, kind, stop) for _ in range(3)]
    with bob.socket() as socket:
        quiet = median([took(lambda: socket.ask(message_frame(RoomID=room))["Success"]) for _ in range(11)])
        try:
            for one in floods:
                one.start()
            eventually(lambda: all(one.writes > 0 for one in floods))
            before, times = [one.writes for one in floods], []
            for _ in range(11):
                times.append((took(lambda: socket.ask(message_frame(RoomID=room))["Success"]),
                              took(lambda: bob.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}).status_code == 201)))
            # The floods went on meanwhile: each sent more, or was closed for it.
            assert all(one.writes + one.ends > count for one, count in zip(floods, before, strict=True))
        finally:
            stop.set()
            for one in floods:
                one.join(10)
    over_socket, over_rest = (median(column) for column in zip(*times, strict=True))
    print(f"\n{kind}: {over_socket * 1000:.1f} ms over a socket, {quiet * 1000:.1f} before it, {over_rest * 1000:.1f} over REST; "
          f"{sum(one.writes for one in floods)} writes, {sum(one.ends for one in floods)} thrown out")
    # So loud that only a relay which the floods stop for others can miss it.
    assert over_socket <= 20 * quiet + LOUD_FLOOR


def took(act):
    begun = time.monotonic()
    assert act()
    return time.monotonic() - begun


def test_who_does_not_listen_is_closed_with_1008(ann, relay):
    with RawSocket(relay, ann.token) as raw:
        raw.send(frame(PING) * 12000)
        assert raw.close_code() == 1008


def test_who_does_not_read_is_closed_with_the_place_to_resume_from(ann, bob, relay):
    room = ann.group(bob)

    def post(number):
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "x" * 15000, "Sign": f"{room} {number}"}, 201)

    with ann.socket() as witness, RawSocket(relay, bob.token) as raw:
        # A fresh socket reads the room's log at its own pace, and is never slow: the first frame shows that this is over.
        post(1)
        # That the witness is online may be told before.
        assert next(frame["Seq"] for frame in iter(raw.answer, None) if "Seq" in frame) == 1
        # The relay keeps a megabyte for a slow client, and the kernel some more.
        for number in range(2, 111):
            post(number)
        # The answer comes when a message is stored, the frame later: what is not sent yet cannot be too much.
        witness.wait(lambda frame: frame.get("Seq") == 110)
        last, reason = 1, ""
        while not reason:
            opcode, payload = raw.next()
            if opcode == CLOSE:
                assert int.from_bytes(payload[:2], "big") == 4008
                reason = payload[2:].decode()
            else:
                assert opcode == TEXT
                last += 1
    assert reason == f"slow consumer; resume {room} {last}"
    with bob.socket() as back:
        back.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": last}]})
        back.wait(lambda frame: frame.get("Seq") == 110)
        seqs = [frame["Seq"] for frame in back.frames if frame.get("RoomID") == room and frame.get("Seq")]
        assert seqs == list(range(last + 1, 111))


def test_the_oldest_of_too_many_sockets_is_replaced(ann):
    sockets = [ann.socket() for _ in range(21)]
    assert sockets[0].wait_closed() == 4009
    assert all(other.closed is None for other in sockets[1:])
    for other in sockets:
        other.close()


@pytest.mark.parametrize("data", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n",
                                  b"\0" * 9000], ids=["http2", "a page", "nothing", "zeros"])
def test_other_protocols_are_answered_and_closed(relay, data):
    raw = opened(relay, data)
    raw.read_head()
    assert raw.head.startswith("HTTP/1.1 4") and raw.has_ended()


def test_resets_in_the_middle_of_a_full_tick_give_nobody_anothers_socket(relay, settings, ann, make_user):
    """20 sockets resume 14 rooms with 1,000 frames each and are reset while these arrive: their slots must be freed once."""
    rooms = [ann.group(name=f"Room {number}") for number in range(14)]
    socket = ann.socket()
    for room in rooms:
        for number in range(1000):
            socket.send(message_frame(RoomID=room, Content="x", Sign=f"{room}{number}"))
        # Below WS_RATE, a thousand a second.
        time.sleep(1)
    for room in rooms:
        socket.wait(lambda frame: frame.get("RoomID") == room and frame.get("Seq", 0) >= 1000, 120)
    points = [{"RoomID": room, "Seq": 0} for room in rooms]
    for _ in range(3):
        raws = [RawSocket(relay, ann.token) for _ in range(19)]
        for raw in raws:
            raw.send(frame(TEXT, json.dumps({"Type": "resume", "Rooms": points}).encode()))
        for raw in raws:
            raw.socket.recv(1)
            # Closing a unix socket with unread bytes resets it.
            raw.socket.close()
        strangers = [make_user() for _ in range(20)]
        sockets = [stranger.socket() for stranger in strangers]
        mine = [stranger.group() for stranger in strangers]
        for stranger, own, room in zip(strangers, sockets, mine, strict=True):
            own.send(message_frame(RoomID=room, Content=f"only for {stranger.id}"))
        for stranger, own in zip(strangers, sockets, strict=True):
            own.wait(lambda frame: (frame.get("Data") or {}).get("Content") == f"only for {stranger.id}")
        for stranger, own in zip(strangers, sockets, strict=True):
            others = [frame for frame in own.frames if "only for" in str(frame) and stranger.id not in str(frame)]
            assert not others
            own.close()

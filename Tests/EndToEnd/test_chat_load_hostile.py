"""chat-load against servers that send anything: it neither crashes nor hangs nor calls kept what it did not see."""

import json
import os
import re
import threading

import pytest
from fake_chat import FakeChat
from load_runs import outcomes, start, variants

# Integers at the edges of what MessagePack and JSON can say.
EDGES = [0, -1, -2**63, 2**53 + 1, 2**62, 2**63 - 1]


def test_a_chat_that_keeps_its_promises_is_told_so():
    with FakeChat() as server:
        status, said = start(server, "--uploads", "3", "--churn", "3", "--check-history").end()
        assert status == 0 and "the promises held" in said, said


def test_a_rate_of_nothing_and_one_of_almost_nothing_end():
    servers = [FakeChat(), FakeChat(), FakeChat()]
    words = [["--rate", "0", "--uploads", "5"], ["--rate", "0.0000001", "--uploads", "5", "--churn", "0.0000001"],
             ["--rate", "20", "--uploads", "0." + "0" * 300 + "1"]]
    for server, more, load in [(server, more, start(server, *more)) for server, more in zip(servers, words)]:
        status, said = load.end()
        server.close()
        assert status == 0 and "the promises held" in said, (more, status, said)


class StrangeSeq(FakeChat):
    def seq(self, seq):
        return self.value


def test_a_seq_that_no_room_can_have_is_a_broken_promise():
    for value, status, said in outcomes(variants(StrangeSeq, [*EDGES, 2**64 - 1]), "--uploads", "2"):
        assert status == 1 and "this Seq is impossible" in said, (value, status, said)


def test_a_seq_that_is_no_number_acknowledges_nothing():
    for value, status, said in outcomes(variants(StrangeSeq, ["2", 1.5, None, [1], 1e300, float("nan")]), "--uploads", "2"):
        assert status != 0, (value, said)


class Drained(FakeChat):
    """Once all four are here, it sends everybody away, to itself, as often as they come."""

    data, is_draining = {"Within": 30}, False

    def resumed(self, peer, request):
        with self.lock:
            peer.is_next = self.is_draining
            super().resumed(peer, request)
            moving = [peer] if self.is_draining else self.sockets if len(self.sockets) == 4 else []
            self.is_draining = bool(moving)
        for one in moving:
            one.send({"Type": "move", "Success": True, "Error": "", "Data": self.data})


class Doubling(Drained):
    """On the sockets of moves each frame comes twice."""

    def copy(self, peer, room, message):
        for _ in range(2 if peer.is_next else 1):
            super().copy(peer, room, message)


class Losing(Drained):
    """On the sockets of moves every fifth message is missing; the sockets before have them."""

    def copy(self, peer, room, message):
        if not peer.is_next or message["Seq"] % 5:
            super().copy(peer, room, message)


def test_a_move_is_no_error_and_no_excuse():
    held, doubled, lost = (start(server, "--duration", "4s", "--rate", "40") for server in (Drained(), Doubling(), Losing()))
    status, said = held.end()
    assert status == 0 and "socket:" not in said and "move:" not in said, said
    moves = int(re.search(r"moved to another relay.* (\d+)\n", said)[1])
    # Once a second at most, however often it is said.
    assert 4 <= moves <= 40, said
    assert "reconnects with resume                          0" in said
    status, said = doubled.end()
    assert status == 1 and re.search(r"doubled \d", said), said
    status, said = lost.end()
    assert status == 1 and re.search(r"hole \d", said), said


class NowhereToGo(Drained):
    """The next socket is refused, or its address is no address."""

    def socket(self, connection, stream):
        if self.is_draining:
            connection.sendall(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        else:
            super().socket(connection, stream)


def test_a_move_that_fails_leaves_everybody_where_they_are():
    servers = [type("Server", (NowhereToGo,), {"data": data})() for data in (
        {"Within": 30}, {"Within": 5, "URL": "ws://127.0.0.1:1/ws/v1/chat"}, {"URL": "http://x"}, {"URL": 5, "Within": "x"}, None,
        {"URL": "ws://" + "a" * 1000 + "/ws/v1/chat"}, {"Within": 2**63 - 1}, {"Within": -1, "URL": "ws://127.0.0.1/nothing"})]
    for server, load in [(server, start(server)) for server in servers]:
        status, said = load.end()
        server.close()
        assert status == 0 and "the promises held" in said and "socket:" not in said, (server.data, status, said)


class StrangeBase(FakeChat):
    def rest(self, method, url, body):
        status, answer = super().rest(method, url, body)
        if status == 201 and url.path.endswith("/rooms"):
            answer["Data"]["LastSeq"] = self.value
        return status, answer


def test_a_room_that_begins_at_no_possible_seq_is_not_used():
    for value, status, said in outcomes(variants(StrangeBase, [-1, -2**63, 2**53 + 1, 2**62, 2**63 - 1, "many"])):
        assert status == 2 and "LastSeq" in said, (value, status, said)


class StrangeResync(FakeChat):
    def resumed(self, peer, request):
        super().resumed(peer, request)
        peer.send({"Type": "resync", "Data": {"RoomID": request["Rooms"][0]["RoomID"], "Seq": self.value}})


def test_a_resync_to_a_seq_that_is_not_there_is_a_broken_promise():
    for value, status, said in outcomes(variants(StrangeResync, EDGES)):
        assert status == 1 and "this Seq is impossible" in said, (value, status, said)


class StrangeHistory(FakeChat):
    def history(self, room, after):
        status, answer = super().history(room, after)
        answer["Data"] = [{**message, "Seq": self.value} for message in answer["Data"]]
        return status, answer


def test_a_history_with_strange_seqs_is_not_called_kept():
    for value, status, said in outcomes(variants(StrangeHistory, [*EDGES, "2", 1e300, None]), "--check-history"):
        assert status in (1, 2) and "the promises held" not in said, (value, status, said)


class AsksToWait(FakeChat):
    """Refuses each message once, each draft once, and the first history page once."""

    def __init__(self):
        super().__init__()
        self.refused = set()

    def once(self, key):
        with self.lock:
            return key not in self.refused and not self.refused.add(key)

    def message(self, peer, request):
        if self.once(request["Sign"]):
            return self.refuse(peer, request, "rate_limited: later", RetryAfter=self.value)
        return super().message(peer, request)

    def resumed(self, peer, request):
        if self.once(("resume", id(peer))):
            return self.refuse(peer, request, "rate_limited: later", RetryAfter=self.value)
        return super().resumed(peer, request)

    def rest(self, method, url, body):
        if "/messages" in url.path and self.once((method, url.path)):
            header = f"Retry-After: {int(self.value) if isinstance(self.value, int) else self.value}"
            error = {} if self.bare else {"Code": "rate_limited", "RetryAfter": self.value}
            return 429, {"Success": False, "Error": error}, header
        return super().rest(method, url, body)


def test_retry_after_is_anything():
    values = [-2**63, -1, 0, 1, "soon", None, [1], -1e300, 2**63 - 1, 1e300, 2**62]
    servers = variants(AsksToWait, values)
    for number, (_, server) in enumerate(servers):
        server.bare = number % 2 == 0
    for value, status, said in outcomes(servers, "--uploads", "2", "--check-history"):
        small = not isinstance(value, (int, float)) or value < 100
        assert status == 0 if small else status in (0, 2), (value, status, said)


class StrangeSign(FakeChat):
    """Every message comes with copies whose Sign has something else than eight digits."""

    def copy(self, peer, room, message):
        super().copy(peer, room, message)
        seq = 100_000 + message["Seq"]
        for tail in ("-0000001", "+0000001", "0000001G", "0000000A", "-fffffff", "\u0660" * 8, "1" * 9):
            sign = message["Sign"][:-8] + tail
            for text in (sign, "other"):
                peer.send({"Type": "new_message", "Data": {**message, "Sign": sign, "Content": text}, "RoomID": "x" * 36, "Seq": seq})

    def history(self, room, after):
        status, answer = super().history(room, after)
        for message in answer["Data"]:
            if message["Seq"] % 3 == 0:
                message["Sign"] = message["Sign"][:-8] + "-0000001"
        return status, answer


def test_a_sign_with_a_minus_is_of_no_message():
    with StrangeSign() as server:
        status, said = start(server, "--check-history").end()
        assert status == 1 and "not in the history" in said, (status, said)


class RefusesAll(FakeChat):
    def message(self, peer, request):
        self.refuse(peer, request, f"{self.value}: no")


def test_nothing_acknowledged_is_not_a_promise_that_held(tmp_path):
    with type("Server", (RefusesAll,), {"value": "forbidden"})() as server:
        status, said = start(server, "--json", tmp_path / "load.json", "--html", tmp_path / "load.html").end()
    assert status == 2, (status, said)
    assert "not known: no message was acknowledged" in said and "the promises held" not in said, said
    assert json.loads((tmp_path / "load.json").read_text())["Held"] is False
    page = (tmp_path / "load.html").read_text()
    assert "<strong>Not known</strong>" in page and "a promise was broken" not in page and "promises held" not in page


class AnswersHalf(FakeChat):
    def message(self, peer, request):
        if int(request["Sign"][-1], 16) % 2:
            super().message(peer, request)


def test_the_verdict_names_what_was_left_open():
    with AnswersHalf() as server:
        status, said = start(server).end()
    assert status == 0, (status, said)
    assert re.search(r"the promises held: \d+ messages acknowledged, \d+ copies; left open: \d+ without an answer", said), said


class Drops(FakeChat):
    def copy(self, peer, room, message):
        if message["Seq"] != 5:
            super().copy(peer, room, message)


def test_a_report_that_cannot_be_written_hides_no_broken_promise(tmp_path):
    with Drops() as server, FakeChat() as good:
        bad, fine = start(server, "--json", "/dev/full", "--html", tmp_path / "load.html"), start(good, "--json", "/dev/full")
        status, said = bad.end()
        assert status == 1 and "a promise was broken" in said and "/dev/full could not be written" in said, (status, said)
        assert "a promise was broken" in (tmp_path / "load.html").read_text()
        status, said = fine.end()
        assert status == 2 and "the promises held" in said and "/dev/full could not be written" in said, (status, said)


def test_a_pipe_without_a_reader_is_said_at_once_and_one_with_a_reader_gets_the_report(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with FakeChat() as server:
        status, said = start(server, "--json", tmp_path / "pipe").end()
        assert status == 2 and "pipe cannot be written" in said and not server.calls, (status, said)
        found = []
        reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()), daemon=True)
        reader.start()
        load = start(server, "--json", tmp_path / "pipe", "--uploads", "3")
        status, said = load.end()
        reader.join(20)
        assert status == 0 and json.loads(found[0])["Held"] is True, (status, said)


EVIL = "\x1b]0;owned\x07\x1b[2J\x9b1m\u202egnp\u2066\u200f\u2028\r\n\x08"


class Paints(FakeChat):
    version = "1.0\x1b[31m\u202e"

    def message(self, peer, request):
        number = int(request["Sign"][-8:], 16)
        if number % 4 == 0:
            return self.refuse(peer, request, f"code{EVIL}: no")
        if number % 4 == 1:
            peer.send({"Type": "response", "Sign": f"other{EVIL}", "Success": False, "Error": f"{EVIL}bad"})
        super().message(peer, request)

    def rest(self, method, url, body):
        if "/messages" in url.path:
            return 400, {"Success": False, "Error": {"Code": f"rest{EVIL}", "Message": EVIL}}
        return super().rest(method, url, body)


class PaintsRooms(FakeChat):
    def rest(self, method, url, body):
        if method == "POST":
            return 400, {"Success": False, "Error": {"Code": f"rest{EVIL}", "Message": f"sentence{EVIL}"}}
        return super().rest(method, url, body)


class PaintsIDs(FakeChat):
    def rest(self, method, url, body):
        status, answer = super().rest(method, url, body)
        if method == "POST":
            answer["Data"]["ID"] = "\x1b[31m/../../../files/x HTTP/1.1\r\nA: b"[:36].ljust(36, "\u202e"[:1])[:36]
        return status, answer


class PaintsUpgrade(FakeChat):
    def socket(self, connection, stream):
        connection.sendall("HTTP/1.1 \x1b[2J\u202e5 no\r\n\r\n".encode())


@pytest.mark.parametrize("make", [Paints, PaintsRooms, PaintsIDs, PaintsUpgrade])
def test_the_texts_of_a_server_move_no_cursor(make, tmp_path):
    with make() as server:
        status, said = start(server, "--uploads", "3", "--check-history", "--json", tmp_path / "load.json", "--html", tmp_path / "l").end()
    assert status == 2, (status, said)
    written = said + "".join(path.read_text() for path in tmp_path.iterdir())
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]", written), repr(said)


class Silent(FakeChat):
    """No answer to a socket's first request, after the first socket."""

    def socket(self, connection, stream):
        if self.count("GET", "/ws/") == 1:
            return super().socket(connection, stream)
        stream.read()


class Closes(FakeChat):
    """Every socket is closed as soon as it is ready."""

    def resumed(self, peer, request):
        super().resumed(peer, request)
        peer.send(b"\x03\xf3", opcode=8)


class Hangs(FakeChat):
    def socket(self, connection, stream):
        connection.sendall(b"HTTP/1.1 101")
        stream.read()


class Slams(FakeChat):
    def socket(self, connection, stream):
        if self.count("GET", "/ws/") == 1:
            return super().socket(connection, stream)
        connection.close()


def test_silent_and_closing_servers_cost_a_few_connections_only():
    servers = [(make, make()) for make in (Silent, Closes, Hangs, Slams)]
    for make, status, said in outcomes(servers, "--users", "8", "--members", "8"):
        server = dict(servers)[make]
        assert server.count("GET", "/ws/") < 120, (make, server.count("GET", "/ws/"))


class Garbage(FakeChat):
    """Frames of every wrong kind, before each copy."""

    frames = [
        b"\x82\x00", b"\x82\x01\xc1", b"\x82\x05\xdf\xff\xff\xff\xff", b"\x81\x02{}", b"\x8a\x00", b"\x82\x02\x93\x01",
        b"\x02\x01\x81", b"\x80\x03\xa1x\x01",
        b"\x82\x13\x82\xa4Type\xabnew_message\xa1x",
    ]

    def copy(self, peer, room, message):
        for frame in self.frames:
            peer.raw(frame)
        super().copy(peer, room, message)


class HugeFrame(FakeChat):
    def message(self, peer, request):
        peer.raw(b"\x82\x7f" + b"\xff" * 8 + b"x" * 100_000)


class EndlessFragments(FakeChat):
    def message(self, peer, request):
        for _ in range(200):
            peer.raw(b"\x02\x7e\xff\xff" + b"x" * 65_535)


class Masked(FakeChat):
    def message(self, peer, request):
        peer.raw(b"\x82\x81\0\0\0\0\xc0")


class HugePings(FakeChat):
    def message(self, peer, request):
        for _ in range(100):
            peer.raw(b"\x89\x7f" + (100_000).to_bytes(8, "big") + b"x" * 100_000)


class EndlessHead(FakeChat):
    def socket(self, connection, stream):
        while True:
            connection.sendall(b"HTTP/1.1 101 X\r\nA: b\r\n" * 1000)


def test_garbage_in_frames_is_counted_and_ends_nothing():
    with Garbage() as server:
        status, said = start(server).end()
        assert status == 0 and "a frame that is no MessagePack" in said, (status, said)
    expected = {HugeFrame: "a frame is too long", EndlessFragments: "a message is too long", Masked: "masked", HugePings: "too long",
                EndlessHead: "no WebSocket"}
    for make, status, said in outcomes([(make, make()) for make in expected]):
        assert status == 2 and expected[make] in said, (make, status, said)


class Nags(FakeChat):
    """Welcomes, resume answers and resyncs that nobody asked for."""

    def message(self, peer, request):
        for step in range(50):
            peer.send({"Type": "welcome", "Data": {"UserID": "x" * 100_000}})
            peer.send({"Type": "response", "Sign": "resume", "Success": False, "Error": "busy", "RetryAfter": -1})
            peer.send({"Type": "response", "Sign": "resume", "Success": True, "Data": {"Rooms": [{"Error": "x" * 50_000}]}})
        super().message(peer, request)


def test_answers_that_nobody_asked_for_ask_for_nothing():
    with Nags() as server:
        asked = []
        resumed = server.resumed
        server.resumed = lambda peer, request: (asked.append(1), resumed(peer, request))
        status, said = start(server).end()
    assert status == 0 and len(asked) < 100, (status, len(asked), said)

"""Malformed requests get an error and affect nobody else."""

import random
import socket as network
import uuid
from urllib.parse import urlsplit

import msgpack
import pytest
import requests
from client import message_frame


def refusals(socket):
    return socket.count(lambda frame: frame["Type"] == "response" and not frame["Success"])


def still_works(socket):
    before = socket.count(lambda frame: frame["Type"] == "pong")
    socket.send({"Type": "ping"})
    socket.wait(lambda _: socket.count(lambda frame: frame["Type"] == "pong") > before)


def test_every_prefix_of_a_valid_frame_gets_an_error_response(ann, bob):
    whole = msgpack.packb(message_frame(ReceiverID=bob.id))
    with ann.socket() as mine, bob.socket() as theirs:
        for end in range(len(whole)):
            mine.send_raw(whole[:end])
            mine.wait(lambda _: refusals(mine) >= end + 1)
        still_works(mine)
        assert theirs.count(lambda frame: frame["Type"] == "new_message") == 0
        for frame in mine.frames:
            if frame["Type"] == "response":
                code, colon, sentence = frame["Error"].partition(": ")
                assert code.islower() and colon and sentence


JUNK = {
    "nothing": b"",
    "not_msgpack": b"\xc1",
    "a_number": msgpack.packb(7),
    "an_array": msgpack.packb([message_frame()]),
    "more_after_it": msgpack.packb({"Type": "ping"}) + b"\x00",
    "no_type": msgpack.packb({"Content": "x"}),
    "number_as_type": msgpack.packb({"Type": 7}),
    "unknown_type": msgpack.packb({"Type": "explode"}),
    "map_as_content": msgpack.packb(message_frame(ReceiverID=str(uuid.uuid4()), Content={"a": 1})),
    "no_room_and_no_receiver": msgpack.packb(message_frame()),
    "not_a_uuid": msgpack.packb(message_frame(RoomID="room-1")),
    "no_content": msgpack.packb(message_frame(ReceiverID=str(uuid.uuid4()), Content="")),
    "long_content": msgpack.packb(message_frame(ReceiverID=str(uuid.uuid4()), Content="x" * 16385)),
    "long_sign": msgpack.packb(message_frame(ReceiverID=str(uuid.uuid4()), Sign="x" * 65)),
    "unknown_content_type": msgpack.packb(message_frame(ReceiverID=str(uuid.uuid4()), ContentType="smell")),
    "bad_utf8": msgpack.packb({"Type": "message", "ReceiverID": str(uuid.uuid4()), "Content": b"\xff\xfe"}),
    "map_of_four_billion": b"\xdf\xff\xff\xff\xff",
    "string_of_four_billion": b"\x81\xa4Type\xdb\xff\xff\xff\xff",
    "deep": b"\x91" * 5000,
}


@pytest.mark.parametrize("kind", JUNK)
def test_a_junk_frame_gets_an_error_response(ann, kind):
    with ann.socket() as mine:
        mine.send_raw(JUNK[kind])
        mine.wait(lambda _: refusals(mine) == 1)
        still_works(mine)


def test_random_bytes_do_no_harm(ann, bob):
    chance = random.Random(1)
    with ann.socket() as mine, bob.socket() as theirs:
        for number in range(200):
            mine.send_raw(chance.randbytes(chance.randrange(1, 200)))
            if number % 50 == 49:
                mine.wait(lambda _: refusals(mine) >= number + 1)
        assert mine.ask(message_frame(ReceiverID=bob.id, Content="still here"))["Success"] is True
        theirs.new_message("still here")


BODIES = {
    "empty": (b"", 400), "cut": (b'{"Content": "x', 400), "not_json": (b"Content=x", 400), "array": (b"[]", 400),
    "number": (b"7", 400), "bad_utf8": (b'{"Content": "\xff\xfe"}', 400), "null": (b"null", 400),
    "deep": (b'{"a":' * 10000 + b"1" + b"}" * 10000, 400), "no_content": (b"{}", 422),
    "wrong_type": (b'{"Content": 7}', 422), "half_surrogate": (b'{"Content": "\\ud800"}', 400),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_junk_body_gets_the_error_envelope(ann, bob, kind):
    room = ann.group(bob)
    body, status = BODIES[kind]
    answer = requests.post(f"{ann.base_url}/api/v1/rooms/{room}/messages", body, timeout=10, headers={
        "Authorization": f"Bearer {ann.token}", "Content-Type": "application/json", "X-Request-ID": "mine-1"})
    # The server may answer a borderline case with 400 or 422; anything else is wrong.
    assert answer.status_code in (400, 422), answer.text
    envelope = answer.json()
    assert envelope["Success"] is False and envelope["Error"]["Code"] and envelope["Error"]["Message"]
    assert envelope["RequestID"] == "mine-1" and answer.headers["X-Request-ID"] == "mine-1"
    assert ann.history(room) == [] or all(found["MessageType"] == "system" for found in ann.history(room))


def test_errors_of_nginx_look_like_those_of_the_programs(ann):
    large = ann.rest("POST", "/rooms", {"Name": "x" * 100_000})
    unknown = requests.get(f"{ann.base_url}/nothing/here", timeout=10)
    missing = ann.rest("GET", "/nothing/here")
    method = ann.rest("POST", "/healthz")
    for answer, status in ((large, 413), (unknown, 404), (missing, 404), (method, 405)):
        assert answer.status_code == status
        envelope = answer.json()
        assert envelope["Success"] is False and envelope["Error"]["Code"] and envelope["RequestID"]
        assert answer.headers["X-Request-ID"] == envelope["RequestID"]


def test_a_request_that_is_not_http_gets_the_envelope_too(base_url):
    parts = urlsplit(base_url)
    with network.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        connection.sendall(b"GARBAGE\r\n\r\n")
        answer = connection.recv(65536)
    assert b" 400 " in answer.split(b"\r\n")[0] and b'"Success": false' in answer


def test_a_harmful_request_id_is_replaced(ann):
    for name in ("x" * 65, "a b", "a\"b", "<x>"):
        answer = ann.rest("GET", "/rooms", headers={"X-Request-ID": name}, expect=200)
        assert answer.headers["X-Request-ID"] not in ("", name)


def test_everything_is_still_up(ann, bob, base_url):
    assert requests.get(f"{base_url}/readyz", timeout=10).status_code == 200
    with ann.socket() as mine:
        assert mine.ask(message_frame(ReceiverID=bob.id))["Success"] is True

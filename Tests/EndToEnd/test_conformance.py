"""RFC 6455 and RFC 7692, case by case; the table of results is written to the stack's log folder."""

import json
from pathlib import Path

import msgpack
import pytest
from conformance_cases import CASES
from deflate_cases import AGREED, OFFERS, inflate
from deflate_cases import CASES as DEFLATE_CASES
from raw_socket import CLOSE, PING, PONG, RawSocket, frame


@pytest.fixture(scope="module")
def relay(settings):
    return f"{settings['RUN_DIR']}/ws-relay.sock"


@pytest.fixture(scope="module")
def table(settings):
    """Case, subject, rule, result."""
    rows = []
    yield rows
    text = "\n".join(f"{number:8} {'passed' if good else 'FAILED':7} {rule:16} {what[:90]}" for number, what, rule, good in rows)
    path = Path(settings["RUN_DIR"]) / "conformance.txt"
    path.write_text(text + "\n")
    print(f"\n{sum(good for *_, good in rows)} of {len(rows)} cases passed; the table: {path}")


def read(payload, subprotocol, rsv):
    payload = inflate(payload) if rsv & 4 else payload
    return json.loads(payload) if subprotocol == "chat.json" else msgpack.unpackb(payload)


def check(socket, case):
    for kind, *wanted in case.expects:
        if kind == "close":
            code = socket.close_code()
            assert code in wanted[0], f"closed with {code}"
            assert socket.has_ended(), "the connection stays open behind the close"
            continue
        opcode, payload = socket.next()
        if kind == "pong":
            assert (opcode, payload) == (PONG, wanted[0])
            continue
        assert opcode != CLOSE, f"closed with {int.from_bytes(payload[:2], 'big')}"
        answer = read(payload, case.subprotocol, socket.rsv)
        if kind == "answer":
            assert (answer["Type"], answer.get("Sign")) == ("pong", wanted[0])
        else:
            assert (answer["Type"], answer["Success"]) == ("response", False)
    if case.alive:
        socket.send(frame(PING, b"still there"))
        assert socket.next() == (PONG, b"still there")


def carry_out(case, relay, token, table, rfc, extensions=None):
    good = False
    try:
        with RawSocket(relay, token, case.subprotocol, extensions) as socket:
            try:
                for sent in case.sends:
                    socket.send(*(sent if isinstance(sent, tuple) else (sent,)))
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before everything was out
            check(socket, case)
        good = True
    finally:
        table.append((case.number, case.what, f"RFC {rfc} {case.rule}", good))


@pytest.mark.parametrize("case", CASES, ids=[case.number for case in CASES])
def test_case(case, relay, ann, table):
    carry_out(case, relay, ann.token, table, 6455)


@pytest.fixture(scope="module")
def compression(settings):
    if settings.get("WS_DEFLATE") != "on":
        pytest.skip("WS_DEFLATE is off in this stack: `make test` has it on")


@pytest.mark.parametrize("case", DEFLATE_CASES, ids=[case.number for case in DEFLATE_CASES])
def test_deflate_case(case, relay, ann, table, compression):
    carry_out(case, relay, ann.token, table, 7692, AGREED)


@pytest.mark.parametrize("number", OFFERS)
def test_offer(number, relay, ann, table, compression):
    offer, accepted = OFFERS[number]
    with RawSocket(relay, ann.token, "chat.json", offer) as socket:
        said = [line.partition(": ")[2] for line in socket.head.split("\r\n") if line.lower().startswith("sec-websocket-extensions")]
        good = said == ([accepted] if accepted else [])
        table.append((number, offer, "RFC 7692 7.1", good))
        assert good, said
        # The welcome is long enough to be compressed.
        assert bool(socket.welcome_rsv & 4) == bool(accepted)

"""RFC 6455, case by case; the table of results is in the folder of the stack's logs."""

import json
from pathlib import Path

import msgpack
import pytest
from conformance_cases import CASES
from raw_socket import CLOSE, PING, PONG, RawSocket, frame


@pytest.fixture(scope="module")
def relay(settings):
    return f"{settings['RUN_DIR']}/ws-relay.sock"


@pytest.fixture(scope="module")
def table(settings):
    """Case, what it is about, the rule, the result."""
    rows = []
    yield rows
    text = "\n".join(f"{number:8} {'passed' if good else 'FAILED':7} RFC 6455 {rule:7} {what[:90]}" for number, what, rule, good in rows)
    path = Path(settings["RUN_DIR"]) / "conformance.txt"
    path.write_text(text + "\n")
    print(f"\n{sum(good for *_, good in rows)} of {len(rows)} cases passed; the table: {path}")


def read(payload, subprotocol):
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
        answer = read(payload, case.subprotocol)
        if kind == "answer":
            assert (answer["Type"], answer.get("Sign")) == ("pong", wanted[0])
        else:
            assert (answer["Type"], answer["Success"]) == ("response", False)
    if case.alive:
        socket.send(frame(PING, b"still there"))
        assert socket.next() == (PONG, b"still there")


@pytest.mark.parametrize("case", CASES, ids=[case.number for case in CASES])
def test_case(case, relay, ann, table):
    good = False
    try:
        with RawSocket(relay, ann.token, case.subprotocol) as socket:
            try:
                for sent in case.sends:
                    socket.send(*(sent if isinstance(sent, tuple) else (sent,)))
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before everything was out
            check(socket, case)
        good = True
    finally:
        table.append((case.number, case.what, case.rule, good))

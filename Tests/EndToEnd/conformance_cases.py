"""The cases of the Autobahn test suite, sections 1 to 7, 9 and 10, with the server behaviour that RFC 6455 and RFC 3629 require.

The relay is not an echo server. So an arbitrary message of Autobahn is here one that has an answer: a `ping` of the chat with a
Sign, filled up to the case's size. For text that is not a request, the refusal shows that it arrived.
"""

import itertools
import json
import struct
from dataclasses import dataclass, field

from raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MAX = 65536


@dataclass
class Case:
    number: str
    what: str
    # Bytes, or (bytes, step) to cut them.
    sends: list
    # ("answer", sign) · ("refusal",) · ("pong", payload) · ("close", {codes}); in this order, and nothing between.
    expects: list
    rule: str
    subprotocol: str = "chat.json"
    alive: bool = field(init=False)

    def __post_init__(self):
        self.alive = not any(kind == "close" for kind, *_ in self.expects)


CASES = []


def case(number, what, sends, expects, rule, **options):
    CASES.append(Case(number, what, sends if isinstance(sends, list) else [sends], expects, rule, **options))


def message(size, sign="s"):
    """A request with an answer, of exactly this size; a size that is too small gives something that is not a request."""
    empty = json.dumps({"Type": "ping", "Sign": sign, "Fill": ""}).encode()
    return empty[:-2] + b"*" * (size - len(empty)) + b'"}' if size >= len(empty) else b"*" * size


def answer_to(payload, sign="s"):
    return ("answer", sign) if payload.startswith(b"{") else ("refusal",)


def packed(size):
    """The same in MessagePack."""
    head = b"\x83\xa4Type\xa4ping\xa4Sign\xa1s\xa4Fill"
    fill = size - len(head) - 3
    return head + b"\xda" + struct.pack(">H", fill) + b"*" * fill if fill >= 0 else b"\xc1" * size


def parts(opcode, payload, size):
    pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(frame(opcode if at == 0 else CONTINUATION, piece, fin=at == len(pieces) - 1)
                    for at, piece in enumerate(pieces))


def protocol_error(*before):
    return [*before, ("close", {1002})]


# 1 -- Framing: every length form
for index, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
    case(f"1.1.{index}", f"text of {size}", frame(TEXT, message(size)), [answer_to(message(size))], "5.2")
    kind = [("answer", "s")] if size > 30 else [("refusal",)]
    case(f"1.2.{index}", f"binary of {size}", frame(BINARY, packed(size)), kind, "5.2", subprotocol="chat.msgpack")
case("1.1.8", "text of 65536 in steps of 997", [(frame(TEXT, message(65536)), 997)], [("answer", "s")], "5.2")
case("1.2.8", "binary of 65536 in steps of 997", [(frame(BINARY, packed(65536)), 997)], [("answer", "s")], "5.2",
     subprotocol="chat.msgpack")

# 2 -- Pings and pongs
hello = b"Hello, world!"
case("2.1", "ping without payload", frame(PING), [("pong", b"")], "5.5.2")
case("2.2", "ping with text", frame(PING, hello), [("pong", hello)], "5.5.3")
case("2.3", "ping with binary", frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), [("pong", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
     "5.5.3")
case("2.4", "ping of 125", frame(PING, b"\xfe" * 125), [("pong", b"\xfe" * 125)], "5.5")
case("2.5", "ping of 126", frame(PING, b"\xfe" * 126), protocol_error(), "5.5")
case("2.6", "ping of 125, byte by byte", [(frame(PING, b"\xfe" * 125), 1)], [("pong", b"\xfe" * 125)], "5.5")
case("2.7", "unasked pong", [frame(PONG), frame(TEXT, message(60))], [("answer", "s")], "5.5.3")
case("2.8", "unasked pong with payload", [frame(PONG, b"x"), frame(TEXT, message(60))], [("answer", "s")], "5.5.3")
case("2.9", "unasked pong, then ping", frame(PONG, b"x") + frame(PING, b"y"), [("pong", b"y")], "5.5.3")
tens = [b"payload-%d" % number for number in range(10)]
case("2.10", "ten pings", b"".join(frame(PING, text) for text in tens), [("pong", text) for text in tens], "5.5.2")
case("2.11", "ten pings, byte by byte", [(b"".join(frame(PING, text) for text in tens), 1)],
     [("pong", text) for text in tens], "5.5.2")

# 3 -- Reserved bits
for rsv in range(1, 8):
    sends = [frame(TEXT, message(60, "a")), frame(TEXT, hello, rsv=rsv), frame(PING)]
    case(f"3.{rsv}", f"reserved bits {rsv:03b}", [(b"".join(sends), None if rsv % 2 else 1)],
         protocol_error(("answer", "a")), "5.2")

# 4 -- Reserved opcodes
for group, opcodes in ((1, range(3, 8)), (2, range(11, 16))):
    for index, opcode in enumerate(opcodes, 1):
        payload = b"" if index % 2 else hello
        case(f"4.{group}.{index}", f"opcode {opcode}", frame(TEXT, message(60, "a")) + frame(opcode, payload) + frame(PING),
             protocol_error(("answer", "a")), "5.2")

# 5 -- Fragments
whole = message(90)
first, second = frame(TEXT, whole[:40], fin=False), frame(CONTINUATION, whole[40:])
done = [("answer", "s")]
case("5.1", "a ping in two fragments", frame(PING, b"a", fin=False) + frame(CONTINUATION, b"b"), protocol_error(), "5.5")
case("5.2", "a pong in two fragments", frame(PONG, b"a", fin=False) + frame(CONTINUATION, b"b"), protocol_error(), "5.5")
case("5.3", "text in two fragments", first + second, done, "5.4")
case("5.4", "the same, in two writes", [first, second], done, "5.4")
case("5.5", "the same, byte by byte", [(first + second, 1)], done, "5.4")
for number, sends in (("5.6", [first + frame(PING, b"p") + second]), ("5.7", [first, frame(PING, b"p"), second]),
                      ("5.8", [(first + frame(PING, b"p") + second, 1)])):
    case(number, "a ping between two fragments", sends, [("pong", b"p"), *done], "5.4")
for number, fin, step in (("5.9", True, None), ("5.10", True, None), ("5.11", True, 1),
                          ("5.12", False, None), ("5.13", False, None), ("5.14", False, 1)):
    case(number, f"a continuation of nothing (FIN {int(fin)})",
         [(frame(CONTINUATION, b"x", fin=fin) + frame(TEXT, whole), step)], protocol_error(), "5.4")
case("5.15", "a continuation after a finished message", first + second + frame(CONTINUATION, b"x", fin=False) + frame(TEXT, whole),
     protocol_error(*done), "5.4")
for number, fin in (("5.16", False), ("5.17", True)):
    case(number, "a continuation of nothing, twice", frame(CONTINUATION, b"x", fin=fin) + first + second, protocol_error(), "5.4")
case("5.18", "a new text inside a fragmented one", first + frame(TEXT, b"x"), protocol_error(), "5.4")
five = [whole[at:at + 18] for at in range(0, 90, 18)]
pieces = [frame(TEXT if at == 0 else CONTINUATION, piece, fin=at == 4) for at, piece in enumerate(five)]
mixed = [pieces[0], pieces[1], frame(PING, b"1"), pieces[2], pieces[3], frame(PING, b"2"), pieces[4]]
case("5.19", "five fragments with two pings", mixed, [("pong", b"1"), ("pong", b"2"), *done], "5.4")
case("5.20", "the same in one write", b"".join(mixed), [("pong", b"1"), ("pong", b"2"), *done], "5.4")

# 6 -- UTF-8
def text(number, what, payload, rule="8.1"):
    try:
        payload.decode()
        expects = [("refusal",)]
    except UnicodeDecodeError:
        expects = [("close", {1007})]
    case(number, f"{what}: {payload.hex(' ')}", frame(TEXT, payload), expects, rule)


case("6.1.1", "empty text", frame(TEXT), [("refusal",)], "5.6")
case("6.1.2", "three empty fragments", parts(TEXT, b"", 1)[:0] + frame(TEXT, fin=False) + frame(CONTINUATION, fin=False)
     + frame(CONTINUATION), [("refusal",)], "5.4")
case("6.1.3", "empty fragments around a text", frame(TEXT, fin=False) + frame(CONTINUATION, whole, fin=False)
     + frame(CONTINUATION), done, "5.4")
good = "Hello-µ@ßöäüàá-UTF-8!!".encode()
case("6.2.1", "text in one frame", frame(TEXT, good), [("refusal",)], "5.6")
case("6.2.2", "cut between characters", parts(TEXT, good, 6), [("refusal",)], "5.6")
case("6.2.3", "a fragment for each byte", parts(TEXT, good, 1), [("refusal",)], "5.6")
case("6.2.4", "a character cut by fragments", parts(TEXT, "κόσμε".encode(), 1), [("refusal",)], "5.6")
bad = "κόσμε".encode() + b"\xed\xa0\x80edited"
case("6.3.1", "a surrogate", frame(TEXT, bad), [("close", {1007})], "8.1")
case("6.3.2", "a surrogate, a fragment for each byte", parts(TEXT, bad, 1), [("close", {1007})], "8.1")
late = "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited"
for index, cut in enumerate((11, 12), 1):
    case(f"6.4.{index}", "fails before the message ends", [frame(TEXT, late[:cut + 1], fin=False), frame(CONTINUATION, late[cut + 1:cut + 2], fin=False)],
         [("close", {1007})], "8.1")
    case(f"6.4.{index + 2}", "fails before the frame ends", [frame(TEXT, late)[:6 + cut + 2]], [("close", {1007})], "8.1")
for index, valid in enumerate(("κόσμε", "µ", "ß", "Ω", "語"), 1):
    text(f"6.5.{index}", "valid", valid.encode())
for size in range(1, 12):
    text(f"6.6.{size}", "a prefix", "κόσμε".encode()[:size])
for section, what, samples in (
        (7, "first of its length", ("00", "c280", "e0a080", "f0908080")),
        (8, "five and six bytes", ("f888808080", "fc8480808080")),
        (9, "last of its length", ("7f", "dfbf", "efbfbf", "f48fbfbf")),
        (10, "beyond Unicode", ("f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf")),
        (11, "boundaries", ("ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080")),
        (12, "continuation bytes alone", ("80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf",
                                          bytes(range(0x80, 0xc0)).hex())),
        (13, "first bytes alone", (b"".join(bytes([b, 32]) for b in range(0xc0, 0xe0)).hex(),
                                   b"".join(bytes([b, 32]) for b in range(0xe0, 0xf0)).hex(),
                                   b"".join(bytes([b, 32]) for b in range(0xf0, 0xf8)).hex(), "f820f920fa20fb20", "fc20fd20")),
        (14, "last byte missing", ("c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf",
                                   "fdbfbfbfbf")),
        (15, "all of these joined", ("c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf",)),
        (16, "impossible bytes", ("fe", "ff", "fefeffff")),
        (17, "overlong slash", ("c0af", "e080af", "f08080af", "f8808080af", "fc80808080af")),
        (18, "longest overlong", ("c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf")),
        (19, "overlong NUL", ("c080", "e08080", "f0808080", "f880808080", "fc8080808080")),
        (20, "single surrogates", ("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf")),
        (21, "paired surrogates", ("eda080edb080", "eda080edbfbf", "edadbfedb080", "edadbfedbfbf", "edae80edb080",
                                   "edae80edbfbf", "edafbfedb080", "edafbfedbfbf")),
        (22, "non-characters", [chr(plane << 16 | end).encode().hex() for plane in range(17) for end in (0xfffe, 0xffff)]),
        (23, "specials", [chr(code).encode().hex() for code in range(0xfff9, 0x10000)])):
    for index, sample in enumerate(samples, 1):
        text(f"6.{section}.{index}", what, bytes.fromhex(sample))


# 7 -- Close
def close(code=None, reason=b""):
    return frame(CLOSE, (struct.pack(">H", code) if code is not None else b"") + reason)


case("7.1.1", "a message, then close", frame(TEXT, whole) + close(1000), [*done, ("close", {1000})], "5.5.1")
case("7.1.2", "close twice", close(1000) + close(1000), [("close", {1000})], "5.5.1")
case("7.1.3", "a ping after close", close(1000) + frame(PING), [("close", {1000})], "5.5.1")
case("7.1.4", "a message after close", close(1000) + frame(TEXT, whole), [("close", {1000})], "5.5.1")
case("7.1.5", "close inside a fragmented message", first + close(1000) + second, [("close", {1000})], "5.5.1")
case("7.1.6", "a large message, then close", frame(TEXT, message(MAX)) + close(1000), [*done, ("close", {1000})], "5.5.1")
case("7.3.1", "close without payload", close(), [("close", {1000, 1005})], "5.5.1")
case("7.3.2", "close with one byte", frame(CLOSE, b"a"), protocol_error(), "5.5.1")
case("7.3.3", "close with a code", close(1000), [("close", {1000})], "5.5.1")
case("7.3.4", "close with code and reason", close(1000, hello), [("close", {1000})], "5.5.1")
case("7.3.5", "the longest reason", close(1000, b"*" * 123), [("close", {1000})], "5.5.1")
case("7.3.6", "a reason too long", close(1000, b"*" * 124), protocol_error(), "5.5")
case("7.5.1", "a reason that is no UTF-8", close(1000, bad), [("close", {1007})], "5.5.1")
for index, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
    case(f"7.7.{index}", f"code {code}", close(code), [("close", {1000, code})], "7.4")
for index, code in enumerate((0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999), 1):
    case(f"7.9.{index}", f"code {code}", close(code), protocol_error(), "7.4")
for index, code in enumerate((5000, 65535), 1):
    case(f"7.13.{index}", f"code {code}", close(code), [("close", {1000, 1002})], "7.4.2")

# 9 -- Limits: up to WS_MAX_FRAME everything, above it 1009
for opcode, section, fill, protocol in ((TEXT, 1, message, "chat.json"), (BINARY, 2, packed, "chat.msgpack")):
    for index, size in enumerate((16384, 32768, MAX, MAX + 1, 262144, 1048576), 1):
        expects = done if size <= MAX else [("close", {1009})]
        payload = fill(size) if section == 1 or size <= MAX else b"x" * size
        case(f"9.{section}.{index}", f"{size} bytes at once", frame(opcode, payload), expects, "7.4.1", subprotocol=protocol)
    for index, size in enumerate((64, 256, 1024, 4096, 16384, 32768), 1):
        case(f"9.{section + 2}.{index}", f"{MAX} bytes in fragments of {size}", parts(opcode, fill(MAX), size), done, "5.4",
             subprotocol=protocol)
    for index, step in enumerate((64, 128, 256, 512, 1024, 2048), 1):
        case(f"9.{section + 4}.{index}", f"{MAX} bytes in writes of {step}", [(frame(opcode, fill(MAX)), step)], done, "5.2",
             subprotocol=protocol)
    for index, size in enumerate((0, 48, 64, 256, 1024, 4096), 1):
        expects = [("answer", "s") if size else ("refusal",)] * 200
        case(f"9.{section + 6}.{index}", f"200 messages of {size} in one write", frame(opcode, fill(size)) * 200, expects, "5.6",
             subprotocol=protocol)
case("9.9.1", "fragments that never end", parts(TEXT, b"*" * (MAX + 4096), 4096), [("close", {1009})], "7.4.1")
case("9.9.2", "a header that promises 2^62 bytes", b"\x81\xff" + struct.pack(">Q", 2**62) + b"mask", [("close", {1009})], "7.4.1")
case("9.9.3", "a length with the highest bit", b"\x81\xff" + struct.pack(">Q", 2**63) + b"mask", protocol_error(), "5.2")
case("9.9.4", "a length longer than needed (16 bits)", frame(TEXT, hello, length=126), protocol_error(), "5.2")
case("9.9.5", "a length longer than needed (64 bits)", frame(TEXT, b"*" * 300, length=127), protocol_error(), "5.2")
case("9.9.6", "no mask", frame(TEXT, whole, mask=None), protocol_error(), "5.1")
case("9.9.7", "text on a msgpack socket", frame(TEXT, whole), [("close", {1003})], "7.4.1", subprotocol="chat.msgpack")
case("9.9.8", "binary on a JSON socket", frame(BINARY, packed(60)), [("close", {1003})], "7.4.1")

# 10 -- Fragments as a library makes them by itself
case("10.1.1", f"{MAX} bytes in fragments of 1300", parts(TEXT, message(MAX), 1300), done, "5.4")

assert len({entry.number for entry in CASES}) == len(CASES), [
    number for number, group in itertools.groupby(sorted(entry.number for entry in CASES)) if len(list(group)) > 1]

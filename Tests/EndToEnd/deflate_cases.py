"""The Autobahn sections 12 and 13: permessage-deflate (RFC 7692), without context takeover at both ends."""

import zlib

from conformance_cases import CASES as PLAIN
from conformance_cases import MAX, Case, message, packed
from raw_socket import BINARY, CONTINUATION, PING, TEXT, frame

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
CASES = []


def deflate(payload, level=6, bits=15):
    tool = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (tool.compress(payload) + tool.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(payload):
    return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")


def case(number, what, sends, expects, rule, **options):
    CASES.append(Case(number, what, sends if isinstance(sends, list) else [sends], expects, rule, **options))


def compressed(opcode, payload, size=None, **how):
    """One message; of its fragments of `size` bytes only the first has the mark."""
    small = deflate(payload, **how)
    if size is None:
        return frame(opcode, small, rsv=4)
    pieces = [small[at:at + size] for at in range(0, len(small), size)]
    return b"".join(frame(opcode if at == 0 else CONTINUATION, piece, fin=at == len(pieces) - 1, rsv=4 if at == 0 else 0)
                    for at, piece in enumerate(pieces))


done = [("answer", "s")]
SIZES = (64, 128, 256, 1024, 4096, 16384, 65535, MAX)
for section, opcode, fill, protocol in ((1, TEXT, message, "chat.json"), (2, BINARY, packed, "chat.msgpack")):
    for index, size in enumerate(SIZES, 1):
        case(f"12.{section}.{index}", f"{size} bytes", compressed(opcode, fill(size)) * 5, done * 5, "6", subprotocol=protocol)
    for index, size in enumerate((16, 64, 256), 1):
        case(f"12.{section + 2}.{index}", f"60000 bytes in fragments of {size}", compressed(opcode, fill(60000), size, level=0),
             done, "6.1", subprotocol=protocol)
    case(f"12.{section + 2}.4", "without compression inside", compressed(opcode, fill(4096), level=0), done, "7.2.3.3",
         subprotocol=protocol)
    case(f"12.{section + 2}.5", "byte by byte", [(compressed(opcode, fill(1024)), 1)], done, "6", subprotocol=protocol)
for index, bits in enumerate(range(9, 16), 1):
    case(f"12.5.{index}", f"a window of {bits} bits", compressed(TEXT, message(20000), bits=bits), done, "7.1.2.2")
case("12.6.1", "plain and compressed messages in turn", (frame(TEXT, message(300)) + compressed(TEXT, message(300))) * 3, done * 6, "6")
case("12.6.2", "a ping between compressed fragments", compressed(TEXT, message(3000), 20)[:26] + frame(PING, b"p")
     + compressed(TEXT, message(3000), 20)[26:], [("pong", b"p"), *done], "6.1")
case("12.6.3", "an empty message", frame(TEXT, b"\x00", rsv=4), [("refusal",)], "7.2.3.6")
case("12.6.4", "two blocks, the first final", frame(TEXT, zlib.compressobj(6, zlib.DEFLATED, -15).flush() + b"", rsv=4), [("refusal",)],
     "7.2.3.4")
case("12.6.5", "text that is no UTF-8", frame(TEXT, deflate(b"\xed\xa0\x80" * 50), rsv=4), [("close", {1007})], "6.2")
case("12.6.6", "what is no deflate", frame(TEXT, b"\xff\xff\xff\xff", rsv=4), [("close", {1007})], "7.2.2")
case("12.6.7", "more than may be, once inflated", frame(TEXT, deflate(b"*" * (MAX + 1)), rsv=4), [("close", {1009})], "7.2.2")
case("12.6.8", "twenty megabytes in twenty kilobytes", frame(TEXT, deflate(b"*" * 20_000_000), rsv=4), [("close", {1009})], "7.2.2")
case("12.6.9", "the mark on a ping", frame(PING, b"x", rsv=4), [("close", {1002})], "6.1")
case("12.6.10", "the mark on a continuation", frame(TEXT, b"x", fin=False, rsv=4) + frame(CONTINUATION, b"y", rsv=4),
     [("close", {1002})], "6.1")
case("12.6.11", "another reserved bit", frame(TEXT, deflate(message(300)), rsv=6), [("close", {1002})], "6")
# Every case without compression must also hold with it.
for plain in PLAIN:
    if plain.number.split(".")[0] in ("1", "2", "5", "7"):
        CASES.append(Case("12.7." + plain.number, plain.what, plain.sends, plain.expects, plain.rule, subprotocol=plain.subprotocol))

# 13 -- Offers: what is accepted, or None.
OFFERS = {
    "13.1": ("permessage-deflate", AGREED),
    "13.2": ("permessage-deflate; client_max_window_bits", AGREED),
    "13.3": ("permessage-deflate; client_max_window_bits=9", AGREED),
    "13.4": ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", AGREED),
    "13.5": ("permessage-deflate; server_max_window_bits=15", AGREED + "; server_max_window_bits=15"),
    "13.6": ("permessage-deflate; server_max_window_bits=9", None),
    "13.7": ("permessage-deflate; server_max_window_bits=9, permessage-deflate; client_max_window_bits", AGREED),
    "13.8": ("permessage-deflate; client_max_window_bits=7", None),
    "13.9": ("permessage-deflate; server_max_window_bits", None),
    "13.10": ("permessage-deflate; unknown", None),
    "13.11": ("permessage-deflate; server_no_context_takeover=1", None),
    "13.12": ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
    "13.13": ("x-webkit-deflate-frame, permessage-bzip2", None),
}

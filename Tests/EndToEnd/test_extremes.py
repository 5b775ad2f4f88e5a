"""Extreme numbers and texts in every field and parameter of the descriptions, over REST and the WebSocket: no process crashes, and
none is answered as an internal error.

FUZZ_SECONDS=1800 continues with combinations for that time; FUZZ_SEED=n sets another seed."""

import json
import os
import random
import time
import uuid
from urllib.parse import quote

import msgpack
import pytest
import requests
from client import User
from described import DOCUMENTS, resolved
from raw_socket import BINARY, CLOSE, TEXT, RawSocket, frame

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
# Requests of the short run, in addition to the few places that get every extreme.
COMBINATIONS = 150

ID = "0190aaaa-0000-7000-8000-000000000001"
ENDS = [2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**18, 10**19]
NUMBERS = [0, 1, -1, *ENDS, *(-end for end in ENDS), -(2**63) - 1, 0.5, -0.5, 1e15, 1e18, 9.3e18, -9.3e18, 1e300]
# Raw JSON for values that Python cannot express.
RAW = ["1e308", "1e309", "-1e309", "1E400", "-0", "-0.0", "1e-400", "9" * 400, "0." + "9" * 400, "01", "+1", "NaN", "Infinity",
       '"\\ud83d"', '"\\u0000"', "[" * 40 + "]" * 40, '{"a":1,"a":2}']
TIMES = ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z",
         "9999-12-31T23:59:59.999999999-23:59", "2030-02-30T00:00:00Z", "2030-01-01T24:00:00Z", "2030-01-01T00:00:00.Z",
         "99999-01-01T00:00:00Z", "-2030-01-01T00:00:00Z", "2030-01-01T00:00:00." + "9" * 5000 + "Z"]
CURSORS = [f"{number}_{ID}" for number in (*ENDS, *(-end for end in ENDS), 0, -(2**63) - 1, 253402300800000)] + [
    f"_{ID}", f"1_{ID}_1", f"1\u0301_{ID}", f"0x1_{ID}", f"+1_{ID}", f"1e3_{ID}", "_", "1_", f"{2**63 - 1}_{2**63 - 1}"]
# Combining marks form one character with the one before them; a search by characters then misses it.
TEXTS = ["", " ", "\t", "\r\n", "a\r\nb", "\x00", "\x02", "\x03", "\x7f", "\ufeff", "\u200b", "\ud7ff", "\U0010ffff", "'",
         "'\u0301", "\\", "\\\u0301", '"', "%", "%\u0301", "/", "/\u0301", "//\u0301", "..", "./", "&\u0301", "=\u0301", "\u037e",
         "\u212a", "\u1fef", ":\u0301", "a:*", "&|!()<->", "( '", "e\u0301", "\u00e9", "\U0001f44d", "\u2764\ufe0f\u2764\ufe0f", "\u0661", "\uff11", "true", "null", "a" * 300,
         "a" * 70_000, "\u0301" * 2000, "\u202e", *map(str, ENDS), *(f"-{end}" for end in ENDS), "1e309", "NaN", "0x10"]
SHAPES = [None, True, False, [], {}, [None], [1], [[]], [{}], {"": ""}, ["a"] * 2000, [ID] * 1001, [2**63]]
VALUES = [*NUMBERS, *TIMES, *CURSORS, *TEXTS, *SHAPES]
# These answers mean an internal failure: nginx answers 503 for a dead worker.
FAULTS = {500, 501, 502, 503, 504}


class Raw:
    """A part of a body, inserted unchanged."""

    def __init__(self, text):
        self.text = text


def written(value):
    """JSON with raw parts."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def properties(schema):
    """The fields of a schema and of all its parts."""
    found = dict(schema.get("properties", {}))
    for kind in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(kind, []):
            found |= properties(one)
    return found


class Operation:
    def __init__(self, method, path, shared, operation):
        parameters = resolved([*shared, *operation.get("parameters", [])], "openapi.yaml")
        content = resolved(operation.get("requestBody", {}), "openapi.yaml").get("content", {})
        self.method, self.path, self.name = method.upper(), path, operation["operationId"]
        self.parameters = {(parameter["in"], parameter["name"]) for parameter in parameters}
        self.media = next(iter(content), None)
        body = content.get(self.media, {})
        self.fields = list(properties(body.get("schema", {})))
        example = body.get("example") or next((one.get("value") for one in body.get("examples", {}).values()), {})
        self.example = example if isinstance(example, dict) else {}
        self.places = sorted(self.parameters) + [("body", field) for field in self.fields]


def operations():
    return [Operation(method, path, item.get("parameters", []), operation)
            for path, item in DOCUMENTS["openapi.yaml"]["paths"].items() for method, operation in item.items()
            # A stream has no end; test_events.py has its parameters.
            if method != "parameters" and operation["tags"] != ["events"]]


def requests_of_sockets():
    """The fields of each frame Type, from its description."""
    found = {}
    for name, message in DOCUMENTS["asyncapi.yaml"]["components"]["messages"].items():
        if name.endswith("_request"):
            found[name.removesuffix("_request")] = list(properties(resolved(message["payload"])))
    return found


class World:
    """Values for the names in paths and bodies. An object that one operation deletes is made again for the next."""

    def __init__(self, base_url, secret, admin_key):
        self.base_url, self.secret, self.key = base_url, secret, admin_key
        self.session = requests.Session()
        self.renew()

    def renew(self):
        self.ann, self.bob = User(self.base_url, self.secret), User(self.base_url, self.secret)
        self.room = self.ann.group(self.bob)
        self.message = self.ann.data("POST", f"/rooms/{self.room}/messages", {"Content": "Hello"}, 201)["ID"]
        file = {"Content": "a.txt", "ContentType": "file"}
        self.file = self.ann.data("POST", f"/rooms/{self.room}/messages", file, 201)["ID"]

    def good(self, operation, place, name):
        if name == "message":
            return self.file if "/files/" in operation.path else self.message
        if name == "Sign":
            return None  # It would be another than the Idempotency-Key.
        known = {"room": self.room, "user": self.bob.id, "invitation": ID, "device": "a", "emoji": "👍", "q": "Hello",
                 "Members": [self.bob.id], "UserID": self.bob.id, "OwnerID": self.ann.id, "Idempotency-Key": str(uuid.uuid4())}
        return known.get(name, operation.example.get(name) if place == "body" else None)

    def ask(self, operation, changes):
        """- changes: {(in, name): value}; all other parts are valid."""
        values = {place: self.good(operation, *place) for place in operation.places}
        values = {place: value for place, value in values.items() if value is not None} | changes
        path, query, headers, body = operation.path, [], {}, {}
        for (place, name), value in values.items():
            # nginx itself answers addresses above its limit.
            if place == "path":
                path = path.replace("{" + name + "}", quote(plain(value)[:500], safe="") or "%20")
            elif place == "query":
                query.append(f"{name}={quote(plain(value)[:500], safe='')}")
            elif place == "header":
                # A header cannot carry every character: the others are left out.
                headers[name] = "".join(letter for letter in plain(value) if letter.isprintable()).strip().encode()[:4000].strip()
            else:
                body[name] = value
        token = self.key if operation.path.startswith("/admin") else self.ann.token
        headers["Authorization"] = f"Bearer {token}"
        url = f"{self.base_url}/api/v1{path}" + ("?" + "&".join(query) if query else "")
        options = {}
        if operation.media == "multipart/form-data":
            options["files"] = [(name, (None, plain(value).encode(errors="replace"))) for name, value in body.items()
                                if name != "File"] + [("File", ("a.txt", b"Hello"))]
        elif operation.media:
            headers["Content-Type"] = operation.media
            options["data"] = written(body).encode(errors="replace")
        return self.session.request(operation.method, url, headers=headers, timeout=40, allow_redirects=False, **options)


def plain(value):
    """The text in an address, a header or a form."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return "" if value is None else json.dumps(value)


class Watch:
    """Whether no worker has died since the start."""

    def __init__(self, pids):
        self.pids = pids
        self.before = self.workers()

    def workers(self):
        return {entry for entry in self.pids() if entry[0] in ("fcgi-api", "ws-relay", "queue-worker")}

    def check(self, what):
        now = self.workers()
        assert now >= self.before, f"died of {what}: {sorted(self.before - now)}"
        self.before = now


@pytest.fixture
def world(base_url, secret, reconfigure):
    key = uuid.uuid4().hex
    # No request here may be refused by a rate limit.
    rates = {f"RATE_{kind}": 0 for kind in ("SENDS", "ROOMS", "INVITATIONS", "SEARCHES", "CHANGES", "READS", "UPLOADS")}
    reconfigure("fcgi-api", ADMIN_API_KEY=key, **rates)
    return World(base_url, secret, key)


def judge(world, operation, changes, what):
    answer = world.ask(operation, changes)
    if answer.status_code == 503:
        # A loaded machine may answer so once.
        time.sleep(1)
        answer = world.ask(operation, changes)
    assert answer.status_code not in FAULTS, f"{answer.status_code} {answer.text[:300]} of {what}"
    if "json" in answer.headers.get("Content-Type", ""):
        answer.json()


EXTREMES = VALUES + [Raw(text) for text in RAW]


@pytest.mark.timeout(900)
def test_every_field_of_rest(world, pids):
    """A few extremes at each place, drawn by the seed; the whole list for queries, which contain numbers and cursors."""
    watch = Watch(pids)
    for operation in operations():
        dice = random.Random(f"{SEED} {operation.name}")
        for place in operation.places:
            for value in EXTREMES if SECONDS or place[0] == "query" else dice.sample(EXTREMES, 8):
                what = f"{operation.method} {operation.path} with {place} = {plain(value)[:80]!r}"
                judge(world, operation, {place: value}, what)
        watch.check(operation.name)
        if operation.method != "GET":
            world.renew()


@pytest.mark.timeout(900 + SECONDS)
def test_combinations_over_rest(world, pids):
    dice, watch, all_operations = random.Random(SEED), Watch(pids), operations()
    end, number = time.monotonic() + SECONDS, 0
    while number < COMBINATIONS or time.monotonic() < end:
        operation = dice.choice([one for one in all_operations if one.places])
        places = dice.sample(operation.places, dice.randint(1, min(3, len(operation.places))))
        changes = {place: dice.choice(EXTREMES) for place in places}
        what = f"request {number} of seed {SEED}: {operation.method} {operation.path} with " + ", ".join(
            f"{place} = {plain(value)[:60]!r}" for place, value in changes.items())
        judge(world, operation, changes, what)
        number += 1
        if number % 50 == 0:
            watch.check(what)
            world.renew()
    watch.check("the last ones")


def good_frame(world, kind, fields):
    known = {"Type": kind, "RoomID": world.room, "MessageID": world.message, "Content": "Hello", "ContentType": "text",
             "MessageType": "direct", "Reaction": "👍", "Token": world.ann.token, "Rooms": [{"RoomID": world.room, "Seq": 0}],
             "Seq": 0}
    return {name: known[name] for name in fields if name in known}


def has_large(value):
    if isinstance(value, dict):
        return any(map(has_large, value.values()))
    if isinstance(value, list):
        return any(map(has_large, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**64


SOCKET_VALUES = [value for value in VALUES if not has_large(value)] + [float("nan"), float("inf"), -float("inf"), b"", b"\xff" * 16]


class Relay:
    """Sends frames to it, one after another; after any answer it must still be alive."""

    def __init__(self, path, token, subprotocol):
        self.path, self.token, self.subprotocol, self.socket = path, token, subprotocol, None

    def ask(self, payload, what):
        kind, pack, unpack = (TEXT, lambda value: json.dumps(value).encode(), json.loads) if self.subprotocol else (
            BINARY, msgpack.packb, msgpack.unpackb)
        self.socket = self.socket or RawSocket(self.path, self.token, self.subprotocol)
        try:
            self.socket.send(frame(kind, payload) + frame(kind, pack({"Type": "ping", "Sign": "behind"})))
            while True:
                opcode, payload = self.socket.next()
                assert opcode != CLOSE or payload[:2] != b"\x03\xf3", f"closed with 1011: {what}"
                if opcode == CLOSE:
                    break
                answer = unpack(payload)
                assert not str(answer.get("Error") or "").startswith("internal"), f"{answer} of {what}"
                if answer["Type"] == "pong" and answer.get("Sign") == "behind":
                    return
        except (EOFError, ConnectionResetError, BrokenPipeError):
            pass
        self.socket.close()
        self.socket = None


@pytest.mark.timeout(900 + SECONDS)
def test_every_field_of_sockets(world, pids, settings):
    path = f"{settings['RUN_DIR']}/ws-relay.sock"
    relay, texts = (Relay(path, world.ann.token, subprotocol) for subprotocol in (None, "chat.json"))
    dice, watch, kinds = random.Random(SEED), Watch(pids), requests_of_sockets()
    for kind, fields in kinds.items():
        for field in fields:
            whole = SECONDS or field == "Seq"
            good = good_frame(world, kind, fields)
            for value in SOCKET_VALUES if whole else dice.sample(SOCKET_VALUES, 25):
                relay.ask(msgpack.packb(good | {field: value}), f"{kind} with {field} = {value!r:.80}")
            for text in RAW if whole else dice.sample(RAW, 3):
                texts.ask(written(good | {field: Raw(text)}).encode(), f"{kind} with {field} = {text:.80}")
        for name in ("RoomID", "Seq", "Epoch") if "Rooms" in fields else ():
            for value in SOCKET_VALUES:
                point = {"RoomID": world.room, "Seq": 0, name: value}
                relay.ask(msgpack.packb({"Type": kind, "Rooms": [point]}), f"{kind} of {name} = {value!r:.80}")
        watch.check(f"{kind} over a socket")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        kind, fields = dice.choice(list(kinds.items()))
        changes = {name: dice.choice(SOCKET_VALUES) for name in dice.sample(fields, min(2, len(fields)))}
        relay.ask(msgpack.packb(good_frame(world, kind, fields) | changes), f"{kind} with {changes!r:.200}")
    # The queue survived all that: a message is still delivered.
    with world.ann.socket() as socket:
        answer = socket.ask({"Type": "message", "RoomID": world.room, "Content": "after all", "Sign": str(uuid.uuid4())})
        assert answer["Success"], answer
    watch.check("what they sent")

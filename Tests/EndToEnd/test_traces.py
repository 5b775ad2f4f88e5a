"""OpenTelemetry traces, as a collector gets them; and that no trouble of it is anybody else's."""

import socket
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path

import pytest
from chaos.faults import PROGRAMS
from client import message_frame
from collector import KINDS, Collector
from conftest import program, read_settings
from own_master import Master
from waiting import eventually

SECRET = "hidden-word-of-a-header"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture
def collectors():
    made = []

    def make(behave=None):
        made.append(Collector(behave))
        return made[-1]
    yield make
    for collector in made:
        collector.close()


@pytest.fixture
def serve():
    masters = []
    with tempfile.TemporaryDirectory(prefix="trace", dir="/tmp") as folder:
        def start(**settings):
            masters.append(Master(Path(folder), **{"LOG_LEVEL": "notice", **SOON, **settings}))
            masters[-1].ready()
            return masters[-1]
        yield start
        for master in masters:
            master.stop()


def hex_of(id):
    return id.replace("-", "")


def test_one_trace_through_all_programs(ann, bob, make_user, collectors, reconfigure):
    collector = collectors()
    reconfigure(*PROGRAMS, **SOON, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url + "/base/",
                OTEL_EXPORTER_OTLP_HEADERS=f"X-Own={SECRET},x-other=a%20b", OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test")
    room = ann.group(bob)
    text = f"words of a user {uuid.uuid4()}"

    # By REST, behind a client's own span.
    came = f"00-{uuid.uuid4().hex}-{'cd' * 8}-01"
    message = ann.rest("POST", f"/rooms/{room}/messages", {"Content": text}, 201, headers={"traceparent": came}).json()["Data"]
    trace = came.split("-")[1]
    request, wait, batch, store, publish = one_way(collector, trace, "POST /rooms/{id}/messages", "fcgi-api")
    assert request.parent == "cd" * 8 and request.is_parent_remote and not request.failed
    assert request.attributes["http.request.method"] == "POST" and request.attributes["http.response.status_code"] == 201
    assert request.attributes["http.route"] == "/rooms/{id}/messages" and request.attributes["chat.pool"] == "messages"
    assert 0 <= request.attributes["chat.queue_wait_ms"] < 60_000
    assert batch.attributes["chat.command.id"] == request.attributes["chat.command.id"] == message["ID"]
    assert batch.attributes["chat.seq"] == message["Seq"] and batch.attributes["chat.room.id"] == room

    # By REST without one: the trace is the message's.
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": text}, 201)
    request, *_ = one_way(collector, hex_of(message["ID"]), "POST /rooms/{id}/messages", "fcgi-api")
    assert request.parent is None

    # By a socket: the trace is the message's.
    with ann.socket() as wire:
        message = wire.ask(message_frame(RoomID=room, Content=text))["Data"]
        asked, *_ = one_way(collector, hex_of(message["ID"]), "socket send", "ws-relay")
        assert asked.parent is None and asked.attributes["chat.command.id"] == message["ID"]
    # A refusal has its code, on both sides; nothing of ours has failed.
    with make_user().socket() as wire:
        refused = wire.ask(message_frame(RoomID=room, Content=text))
    assert not refused["Success"]
    code = refused["Error"].split(":")[0]
    told = collector.wait(lambda span: span.attributes.get("error.type") == code, 2)
    assert {span.name for span in told} == {"socket send", "process send"} and len({span.trace for span in told}) == 1
    assert not any(span.failed for span in told)

    # A read has a span of its own, and an unknown address no other name than its method.
    ann.rest("GET", f"/rooms/{room}/{text.split()[-1]}", expect=404)
    nowhere = collector.wait(lambda span: span.attributes.get("error.type") == "not_found" and span.program == "fcgi-api")[0]
    assert nowhere.name == "GET" and "http.route" not in nowhere.attributes

    # A client's trace that is not recorded stays so in every program.
    quiet = uuid.uuid4().hex
    ann.rest("POST", f"/rooms/{room}/messages", {"Content": text}, 201, headers={"traceparent": f"00-{quiet}-{'ab' * 8}-00"})
    # A malformed one is none.
    malformed = ann.rest("POST", f"/rooms/{room}/messages", {"Content": text}, 201,
                         headers={"traceparent": f"00-{'0' * 32}-{'ab' * 8}-01"}).json()["Data"]
    one_way(collector, hex_of(malformed["ID"]), "POST /rooms/{id}/messages", "fcgi-api")
    assert not [span for span in collector.spans if span.trace == quiet]

    assert collector.trouble == []
    assert {path for path, _ in collector.requests} == {"/base/v1/traces"}
    headers = {name.lower(): value for name, value in collector.requests[0][1].items()}
    assert headers["x-own"] == SECRET and headers["x-other"] == "a b"
    assert collector.resource["deployment.environment"] == "test" and collector.resource["service.namespace"] == "chat"
    everything = "".join(collector.texts)
    for secret in [text, text.split()[-1], ann.token, SECRET]:
        assert secret not in everything
    for user in [ann, bob]:
        assert user.id not in everything
    # Counted, and nothing of it stands in a log.
    metrics = ann.rest("GET", "/metrics", expect=200).text
    for name in PROGRAMS:
        exported = [float(line.split()[-1]) for line in metrics.splitlines()
                    if line.startswith(f'chat_spans_exported_total{{program="{name}"')]
        assert sum(exported) > 0, name


def one_way(collector, trace, name, first):
    """The spans of one command: its request, wait, batch, and the batch's parts; with their links."""
    spans = collector.wait(lambda span: span.trace == trace, 5)
    assert len(spans) == 5, [(span.program, span.name) for span in spans]
    by_name = {span.name: span for span in spans}
    request, wait, batch = by_name[name], by_name["wait in queue"], by_name["process send"]
    store, publish = by_name["store"], by_name["publish"]
    assert request.program == first and {span.program for span in (wait, batch, store, publish)} == {"queue-worker"}
    assert wait.parent == batch.parent == request.id and wait.is_parent_remote and batch.is_parent_remote
    assert store.parent == publish.parent == batch.id and not store.is_parent_remote
    assert [span.kind for span in (request, wait, batch, store, publish)] == [
        KINDS[kind] for kind in ("server", "inside", "consumer", "client", "producer")]
    assert batch.start == store.start <= store.end == publish.start <= publish.end == batch.end == batch.end
    assert wait.end == batch.start and len({span.id for span in spans}) == 5
    assert batch.attributes["messaging.batch.message_count"] >= 1
    return request, wait, batch, store, publish


def ask(master, count=1, **headers):
    for _ in range(count):
        status, _, _ = master.ask("messages", "GET", "/api/v1/rooms", **headers)
        assert status == 401


def requests_of(collector):
    return lambda span: span.attributes.get("chat.pool") == "messages" and span.attributes["http.response.status_code"] == 401


def numbers(master):
    text = master.ask("account", "GET", "/api/v1/metrics")[2].decode()
    return [sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"chat_spans_{name}_total"))
            for name in ("exported", "dropped")]


def test_the_address_of_traces_is_taken_as_it_is_and_the_sampler_decides(collectors, serve):
    collector = collectors()
    master = serve(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=collector.url + "/own/path?key=1", OTEL_SERVICE_NAME="my chat",
                   OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5")
    # The last 56 bits decide: of two requests one is recorded, whatever their parents say.
    for low, flags in [("00" + "f" * 14, "00"), ("ff" + "0" * 14, "01")]:
        ask(master, traceparent=f"00-{'1' * 16}{low}-{'cd' * 8}-{flags}")
    span, = collector.wait(lambda span: span.trace.startswith("1" * 16))
    assert span.trace.endswith("f" * 14) and span.name == "GET /rooms" and span.attributes["error.type"] == "unauthorized"
    assert "chat.queue_wait_ms" not in span.attributes
    assert {path for path, _ in collector.requests} == {"/own/path?key=1"} and collector.resource["service.name"] == "my chat"
    # The last spans are sent at the end, even where the next batch is far away.
    master.stop()
    master = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="600000")
    ask(master, traceparent=f"00-{'2' * 32}-{'cd' * 8}-01")
    assert not [span for span in collector.spans if span.trace == "2" * 32]
    master.stop()
    collector.wait(lambda span: span.trace == "2" * 32)
    assert collector.trouble == [] and collector.requests[-1][0] == "/v1/traces"


def test_a_collector_that_is_away_costs_spans_alone(serve):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        master = serve(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://user:{SECRET}@127.0.0.1:{nobody.getsockname()[1]}",
                       OTEL_BSP_MAX_QUEUE_SIZE="20")
        master.wait(lambda line: "the collector of traces is away: 20 spans wait for it" in line)
        ask(master, 100)
        eventually(lambda: numbers(master)[1] > 0, why=lambda: numbers(master))
        master.wait(lambda line: "spans of traces are dropped" in line)
        ask(master, 50)
        assert sum("messages" not in line and "is away" in line for line in master.lines) <= 5, master.lines
        assert numbers(master)[0] == 0 and not any(SECRET in line for line in master.lines)
        master.stop()
        assert master.process.returncode == 0


def test_a_slow_collector_makes_nobody_wait(collectors, serve):
    release = threading.Event()

    def stand(handler, body):
        release.wait(30)
        return False
    collector = collectors(stand)
    master = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    try:
        eventually(lambda: collector.requests or ask(master))
        # Its request stands; those of others do not.
        ask(master, 50)
        assert not collector.spans
    finally:
        release.set()
    collector.wait(requests_of(collector), 50)
    assert collector.trouble == []


@pytest.mark.parametrize("status, body, headers, exported, said", [
    (200, b"\x00garbage", {}, True, None),
    (200, b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no\\n\\u001b[2J"}}', {}, True, "spans of traces are dropped"),
    (400, b"<html>", {}, False, "the collector refuses traces"),
    (302, b"", {"Location": "http://127.0.0.1:1/"}, False, "the collector refuses traces"),
    (503, b"", {"Retry-After": "1"}, True, "the collector of traces is away"),
])
def test_answers_of_all_kinds(collectors, serve, status, body, headers, exported, said):
    answered = []

    def answer(handler, _):
        answered.append(1)
        if status == 503 and len(answered) > 1:
            return False
        handler.reply(status, body, **headers)
        return True
    collector = collectors(answer)
    master = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    def counted():
        ask(master)
        sent, dropped = numbers(master)
        return (sent > 0) == exported and (dropped > 0) == (status in (400, 302) or b"rejected" in body) and answered
    eventually(counted, why=lambda: (numbers(master), answered, master.lines[-5:]))
    if said:
        master.wait(lambda line: said in line)
    if status == 503:
        collector.wait(requests_of(collector))
        master.wait(lambda line: "the collector of traces is back" in line)
    assert collector.trouble == [] and not any("\x1b" in line for line in master.lines)


@pytest.mark.parametrize("settings, said", [
    ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported: traces are sent as http/json"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: "),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x/?a=1"}, "OTEL_EXPORTER_OTLP_ENDPOINT: /v1/traces is appended"),
    ({"OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER=sometimes is not one of: always_on, "),
    ({"OTEL_TRACES_SAMPLER_ARG": "1.5"}, "OTEL_TRACES_SAMPLER_ARG=1.5 is not a number from 0 to 1"),
    ({"OTEL_EXPORTER_OTLP_HEADERS": f"a=b,{SECRET}"}, "OTEL_EXPORTER_OTLP_HEADERS: its part number 2 is not of the form name=value"),
    ({"OTEL_EXPORTER_OTLP_HEADERS": f"a={SECRET}%0d%0ab"}, "OTEL_EXPORTER_OTLP_HEADERS: its part number 1"),
    ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT=soon is not a whole number"),
])
def test_settings_that_cannot_be_are_refused_at_the_start(tmp_path, settings, said):
    path = tmp_path / "chat.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in {**read_settings(), **settings}.items()))
    done = subprocess.run([program("fcgi-api"), "-t", "-c", path], capture_output=True, text=True)
    assert done.returncode != 0 and said in done.stderr and SECRET not in done.stderr + done.stdout, done


def test_tt_hides_the_headers_and_a_password_in_the_address(tmp_path):
    path = tmp_path / "chat.env"
    right = {"OTEL_EXPORTER_OTLP_HEADERS": f"api-key={SECRET}", "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://u:{SECRET}@collector:4318"}
    path.write_text("".join(f"{name}={value}\n" for name, value in {**read_settings(), **right}.items()))
    done = subprocess.run([program("fcgi-api"), "-tt", "-c", path], capture_output=True, text=True)
    assert done.returncode == 0 and SECRET not in done.stdout and "OTEL_EXPORTER_OTLP_HEADERS=***" in done.stdout, done

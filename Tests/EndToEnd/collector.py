"""A collector of OpenTelemetry traces: it checks what it gets against the rules of OTLP/HTTP with JSON, and can misbehave."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waiting import eventually

KINDS = {"inside": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
VALUES = {"stringValue": str, "intValue": str, "boolValue": bool, "doubleValue": (int, float)}


def attributes(part):
    """{key: value}, each once and of one type."""
    found = {}
    for entry in part["attributes"]:
        assert set(entry) == {"key", "value"} and len(entry["value"]) == 1, entry
        (kind, value), = entry["value"].items()
        assert isinstance(value, VALUES[kind]) and entry["key"] and entry["key"] not in found, entry
        found[entry["key"]] = int(value) if kind == "intValue" else value
    return found


class Span:
    def __init__(self, raw, resource):
        assert set(raw) <= {"traceId", "spanId", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano", "endTimeUnixNano",
                            "attributes", "status"}, raw
        assert re.fullmatch("[0-9a-f]{32}", raw["traceId"]) and int(raw["traceId"], 16), raw
        assert re.fullmatch("[0-9a-f]{16}", raw["spanId"]) and int(raw["spanId"], 16), raw
        self.parent = raw.get("parentSpanId")
        assert self.parent is None or re.fullmatch("[0-9a-f]{16}", self.parent) and int(self.parent, 16), raw
        for name in ["startTimeUnixNano", "endTimeUnixNano"]:
            assert isinstance(raw[name], str) and re.fullmatch("[1-9][0-9]{18}", raw[name]), raw
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        assert self.start <= self.end and abs(time.time() - self.end / 1e9) < 600, raw
        assert raw["kind"] in KINDS.values() and raw["name"] and raw["flags"] & 0x1ff == 0x101, raw
        assert raw["status"] in ({}, {"code": 2}), raw
        self.trace, self.id, self.name, self.kind = raw["traceId"], raw["spanId"], raw["name"], raw["kind"]
        self.attributes, self.failed, self.program = attributes(raw), bool(raw["status"]), resource["service.name"]
        self.is_parent_remote = bool(raw["flags"] & 0x200)


class Collector:
    """`behave(handler, body)` may answer in its own way, and returns whether it did."""

    def __init__(self, behave=None):
        self.behave, self.spans, self.requests, self.trouble, self.texts = behave, [], [], [], []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, dict(self.headers)))
                if collector.behave and collector.behave(self, body):
                    return
                try:
                    collector.take(self, body)
                except Exception as error:  # noqa: BLE001: told by the test
                    collector.trouble.append(repr(error))
                self.reply(200, b"{}")

            def reply(self, status, body, **headers):
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler, body):
        assert handler.headers["Content-Type"] == "application/json"
        value = json.loads(body)
        assert set(value) == {"resourceSpans"}
        for group in value["resourceSpans"]:
            assert set(group) == {"resource", "scopeSpans"}
            resource = attributes(group["resource"])
            for scope in group["scopeSpans"]:
                assert scope["scope"]["name"] and scope["scope"]["version"] and len(scope["spans"]) <= 512
                found = [Span(raw, resource) for raw in scope["spans"]]
                self.resource = resource
                self.spans += found
        self.texts.append(body.decode())

    def wait(self, matches, count=1, seconds=60):
        """The spans that match, once there are so many."""
        def found():
            spans = [span for span in list(self.spans) if matches(span)]
            return spans if len(spans) >= count else None
        return eventually(found, seconds, lambda: [(span.program, span.name, span.trace) for span in self.spans] + self.trouble)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

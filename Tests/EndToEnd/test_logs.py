"""The logs of the programs: as text and as JSON, under a service manager, by level."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from own_master import Master

TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (trace|debug|info|notice|warning|error|critical) fcgi-api\[\d+\] \S")
PATH = "/api/v1/rooms/\n{\"level\":\"error\"}\x1b[2J\u2028x"


@pytest.fixture
def serve():
    masters = []
    # A unix socket's path has little room.
    with tempfile.TemporaryDirectory(prefix="log", dir="/tmp") as folder:
        def start(**settings):
            environment = settings.pop("environment", None)
            masters.append(Master(Path(folder), environment, **settings))
            return masters[-1]
        yield start
        for master in masters:
            master.stop()


def entry(line):
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert {"time", "level", "program", "pid", "message"} <= set(found) and found["program"] == "fcgi-api"
    assert set(found) <= {"time", "level", "program", "pid", "worker", "request", "message", "fields"}
    return found


def strange_requests(master, ann):
    """Requests that carry secrets, and what would end a line. Their ids, as the answers say."""
    master.ready()
    token = {"Authorization": f"Bearer {ann.token}"}
    found = [master.ask("messages", "GET", f"/api/v1/rooms?access_token={ann.token}", **token),
             master.ask("messages", "GET", PATH, **token),
             master.ask("messages", "GET", "/api/v1/rooms", Authorization="Bearer secret-word.a.b")]
    assert [status for status, _, _ in found] != [200] * 3
    ids = [headers["X-Request-ID"] for _, headers, _ in found]
    for name in ids:
        master.wait(lambda line: name in line)
    return ids


def test_json_is_an_object_a_line_and_none_is_forged(serve, ann):
    master = serve(LOG_FORMAT="json")
    ids = strange_requests(master, ann)
    entries = [entry(line) for line in master.lines]
    own = [found for found in entries if found.get("request") in ids]
    assert len(own) == 3 and {found["worker"] for found in own} == {"messages/0"}
    assert all({"status", "bytes", "ms"} <= set(found["fields"]) for found in own)
    assert all(isinstance(found["fields"]["status"], int) for found in own)
    # Nothing in the file that a terminal would obey.
    assert own[1]["message"].endswith("/rooms/[redacted]")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u2028]", master.log.read_text())
    assert not [found for found in entries if found["level"] == "error"]
    assert {found.get("worker") for found in entries} >= {None, "messages/0"}


def test_text_is_a_line_each_and_none_is_forged(serve, ann):
    master = serve()
    ids = strange_requests(master, ann)
    lines = master.lines
    assert all(TEXT.match(line) for line in lines), [line for line in lines if not TEXT.match(line)]
    assert len([line for line in lines if any(f"request={name}" in line for name in ids)]) == 3
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u2028]", master.log.read_text())


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_in_a_log(serve, ann, settings, form):
    master = serve(LOG_FORMAT=form, LOG_LEVEL="trace", METRICS_TOKEN="metrics-token-of-this-test")
    strange_requests(master, ann)
    master.ask("messages", "GET", "/api/v1/metrics", Authorization="Bearer metrics-token-of-this-test")
    master.reload()
    master.wait(lambda line: "generation 2 is in service" in line)
    text = master.log.read_text()
    for word in [settings["JWT_SECRET"], "access_token", "secret-word", "metrics-token-of-this-test", "eyJ"]:
        assert word not in text


def test_a_failure_is_logged_under_its_request(serve, ann):
    # Nobody listens on port 1.
    master = serve(LOG_FORMAT="json", DATABASE_URL="postgresql://chat:hidden-word@127.0.0.1:1/chat", DATABASE_READ_URL="")
    master.ready()
    status, headers, _ = master.ask("messages", "GET", "/api/v1/rooms", Authorization=f"Bearer {ann.token}")
    name = headers["X-Request-ID"]
    master.wait(lambda line: name in line and "GET /rooms" in line)
    own = [entry(line) for line in master.lines if name in line]
    assert status == 503 and len(own) >= 2, own
    assert [found["level"] for found in own] == ["error"] * len(own)
    assert any("database" in found["message"] for found in own)
    assert "hidden-word" not in master.log.read_text()


def test_a_reload_changes_level_and_format_of_master_and_workers(serve, ann):
    master = serve(LOG_LEVEL="error")
    master.ready()
    assert master.lines == []
    master.reload(LOG_LEVEL="info", LOG_FORMAT="json")
    found = entry(master.wait(lambda line: "messages: generation 2 is in service" in line))
    assert found["level"] == "notice" and "worker" not in found
    _, headers, _ = master.ask("messages", "GET", "/api/v1/rooms", Authorization=f"Bearer {ann.token}")
    assert entry(master.wait(lambda line: headers["X-Request-ID"] in line))["level"] == "info"
    # A file that is refused changes nothing.
    master.reload(LOG_LEVEL="loud", LOG_FORMAT="text")
    refused = entry(master.wait(lambda line: "reload refused" in line))
    assert "LOG_LEVEL=loud is not one of" in refused["message"]


@pytest.mark.parametrize("setting, stream, expected", [
    ("auto", True, True), ("auto", False, False), ("off", True, False), ("on", False, True)])
def test_lines_have_priorities_where_they_go_to_the_journal(serve, setting, stream, expected):
    def environment(file):
        # As systemd says it; the other one is of another file, as after a redirection.
        return {"JOURNAL_STREAM": f"{file.st_dev}:{file.st_ino + (0 if stream else 1)}"}
    master = serve(environment=environment, LOG_PRIORITY=setting)
    line = master.wait(lambda line: "fcgi-api starts" in line)
    assert line.startswith("<5>") == expected and (expected or TEXT.match(line))

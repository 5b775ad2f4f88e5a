"""The view of Prometheus and of an operator: /metrics, its documents and rules, and `status --json`."""

import json
import re
import shutil
import socket
import subprocess
import threading
import uuid

import pytest
import requests
from client import message_frame
from conftest import CHECKOUT, program, run_program
from waiting import eventually

SAMPLE = re.compile(r'(\w+)(?:\{(.*)\})? (\S+)')
# These come only with an event, or a server, that the tests here do not have.
RARE = {"chat_handover_pause_seconds", "chat_replica_lag_seconds"}


class Scrape:
    def __init__(self, base_url):
        answer = requests.get(base_url + "/api/v1/metrics", timeout=20)
        assert answer.status_code == 200
        self.text, self.help, self.kind, self.samples = answer.text, {}, {}, {}
        for line in self.text.splitlines():
            if line.startswith("# HELP "):
                _, _, name, text = line.split(" ", 3)
                assert name not in self.help, line
                self.help[name] = text
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.kind, line
                self.kind[name] = kind
            else:
                name, labels, value = SAMPLE.fullmatch(line).groups()
                assert (name, labels) not in self.samples, f"twice: {line}"
                self.samples[name, labels] = float(value)

    def sum(self, name, *labels):
        return sum(value for (found, text), value in self.samples.items()
                   if found == name and all(label in (text or "") for label in labels))


@pytest.fixture
def busy(ann, bob, base_url):
    """A message by REST, one by a socket, a resume; and a scrape that has noted them."""
    before = Scrape(base_url)
    room = ann.group(bob)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "one"}, 201)
    with bob.socket() as socket:
        assert socket.ask(message_frame(RoomID=room))["Success"]
        assert socket.ask({"Type": "resume", "Sign": str(uuid.uuid4()), "Rooms": [{"RoomID": room, "Seq": 2}]})["Success"]

    def noted():
        scrape = Scrape(base_url)
        return scrape if scrape.sum("chat_reconnects_total") > before.sum("chat_reconnects_total") else None
    return before, eventually(noted)


def test_promtool_has_nothing_to_say(busy):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run(["promtool", "check", "metrics"], input=busy[1].text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_happened_is_counted(busy):
    before, after = busy

    def more(name, *labels):
        return after.sum(name, *labels) - before.sum(name, *labels)
    assert more("chat_messages_total") >= 2 and more("chat_commands_total") >= 3
    assert more("chat_request_duration_seconds_count", 'endpoint="messages"', 'pool="messages"') >= 1
    assert more("chat_request_duration_seconds_count", 'endpoint="rooms"') >= 1
    assert more("chat_confirm_seconds_count", 'program="fcgi-api"') >= 2
    assert more("chat_confirm_seconds_count", 'program="ws-relay"') >= 1
    assert more("chat_delivery_seconds_count") >= 1 and more("chat_socket_write_seconds_count") >= 1
    assert more("chat_queue_wait_seconds_count") >= 3
    for name in ["batch", "commit", "publish"]:
        assert more(f"chat_{name}_seconds_count") >= 2, name
    assert more("chat_resumes_total") >= 1 and more("chat_reconnects_total") >= 1
    assert after.samples["chat_build_info", f'version="{version()}"'] == 1
    assert after.samples["chat_queue_messages", None] >= 0


def version():
    return subprocess.run([program("fcgi-api"), "--version"], capture_output=True, text=True).stdout.strip()


def test_histograms_are_whole(busy):
    scrape = busy[1]
    series = {}
    for (name, labels), value in scrape.samples.items():
        if name.endswith("_bucket"):
            rest, bound = re.fullmatch(r'(.*),le="(.*)"', labels).groups()
            series.setdefault((name.removesuffix("_bucket"), rest), []).append((float(bound), value))
    assert len(series) >= 9
    for (name, labels), buckets in series.items():
        assert scrape.kind[name] == "histogram"
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets) and buckets[-1][0] == float("inf")
        counts = [count for _, count in buckets]
        assert counts == sorted(counts) and counts[-1] == scrape.samples[name + "_count", labels] > 0
        assert scrape.samples[name + "_sum", labels] >= 0


def test_no_stranger_makes_a_series(ann, base_url):
    word = f"x{uuid.uuid4().hex}"
    before = Scrape(base_url)
    for path in [f"/{word}", f"/rooms/{word}/{word}", f"/messages/{word}", f"/rooms/1/{word}%22%0a"]:
        assert ann.rest("GET", path).status_code == 404
    after = Scrape(base_url)
    assert word not in after.text and "%0a" not in after.text
    named = r'endpoint="(account|admin|files|members|messages|rooms|search|session|uploads|users|other)"'
    for name, labels in set(after.samples) - set(before.samples):
        assert "endpoint=" not in (labels or "") or re.search(named, labels), labels


def described():
    rows = re.findall(r"^\| `(chat_\w+)` \| (\w+) \| (.*) \|$", (CHECKOUT / "docs/metrics.md").read_text(), re.M)
    assert len(rows) == len({name for name, _, _ in rows}) > 40
    return {name: (kind, text) for name, kind, text in rows}


def test_the_document_says_what_is_there(busy):
    scrape, found = busy[1], described()
    assert set(scrape.kind) == set(scrape.help)
    assert {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name, _ in scrape.samples} \
        == set(scrape.kind)
    for name, kind in scrape.kind.items():
        assert found[name] == (kind, scrape.help[name]), name
    assert set(found) - set(scrape.kind) <= RARE


def test_rules_and_dashboard_speak_of_what_is_there():
    found = set(described())
    board = json.loads((CHECKOUT / "deploy/grafana/chat.json").read_text())
    texts = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    texts.append((CHECKOUT / "deploy/prometheus/alerts.yml").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) > 10
    for text in texts:
        for name in re.findall(r"\bchat_\w+", text):
            bare = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in found or bare in found, name


def test_rules_find_what_they_are_about(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: apt-get install prometheus")
    folder = CHECKOUT / "deploy/prometheus"
    done = subprocess.run(["promtool", "test", "rules", folder / "alerts_test.yml"], capture_output=True, text=True)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr
    # The test of the test: without the rules nothing of it is true.
    (tmp_path / "alerts.yml").write_text("groups: []\n")
    shutil.copy(folder / "alerts_test.yml", tmp_path)
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "alerts_test.yml"], capture_output=True, text=True)
    assert done.returncode != 0
    board = json.loads((CHECKOUT / "deploy/grafana/chat.json").read_text())
    rules = {f"r{panel['id']}_{target['refId']}": target["expr"] for panel in board["panels"] for target in panel["targets"]}
    lines = [f"  - {{record: {name}, expr: {json.dumps(expression(expr))}}}" for name, expr in rules.items()]
    (tmp_path / "board.yml").write_text("groups:\n- name: board\n  rules:\n" + "\n".join(lines) + "\n")
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "board.yml"], capture_output=True, text=True)
    assert done.returncode == 0 and f"{len(rules)} rules found" in done.stdout, done.stdout + done.stderr


def test_prometheus_draws_each_graph_of_the_dashboard(busy, base_url, tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    target = base_url.removeprefix("http://")
    (tmp_path / "prometheus.yml").write_text(f"""scrape_configs:
- {{job_name: chat, scrape_interval: 1s, metrics_path: /api/v1/metrics, static_configs: [{{targets: ["{target}"]}}]}}
""")
    board = json.loads((CHECKOUT / "deploy/grafana/chat.json").read_text())
    texts = {expression(target["expr"]) for panel in board["panels"] for target in panel["targets"]}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def empty(text):
        """Whether Prometheus has nothing to draw for it yet; a mistake of its grammar is one at once."""
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/api/v1/query", {"query": text}, timeout=20)
        except requests.ConnectionError:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return True
        assert answer.status_code in (200, 503), answer.text
        return answer.status_code == 503 or not answer.json()["data"]["result"]
    try:
        def drawn():
            # Each needs two scrapes; one that has data keeps them.
            texts.difference_update([text for text in texts if not empty(text)])
            return not texts
        eventually(drawn, 90)
        assert not empty("up == 1") and empty("chat_none_of_ours")
    finally:
        process.terminate()
        process.wait(60)


def expression(text):
    """As Prometheus would get it from Grafana."""
    return text.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$instance", ".*")


# -- status

def status(name):
    return json.loads(run_program(name, "status", "--json"))


@pytest.mark.parametrize("name, pool", [("fcgi-api", "messages"), ("queue-worker", "queues"), ("ws-relay", "sockets")])
def test_status_is_one_object(name, pool):
    found = status(name)
    assert found["program"] == name and found["version"] == version() and found["stopping"] is False
    [row] = [row for row in found["pools"] if row["name"] == pool]
    assert row["ready"] == row["wanted"] >= 1 and row["max_workers"] >= row["workers"]
    own = [worker for worker in found["workers"] if worker["pool"] == pool and worker["state"] in ("idle", "busy")]
    assert len(own) >= row["ready"] and all(worker["resident_bytes"] > 1 << 20 for worker in own)
    text = run_program(name, "status")
    for worker in own:
        assert re.search(rf"^{pool}/{worker['slot']} +{worker['pid']} ", text, re.M), text
    assert re.search(r"^service: \d+ sockets, \d+ commands in hand, the oldest for [\d.]+ s$", text, re.M), text
    assert set(found["service"]) == {"sockets", "commands_in_hand", "oldest_command_seconds"}


def test_status_counts_sockets(bob):
    before = status("fcgi-api")["service"]["sockets"]
    with bob.socket():
        eventually(lambda: status("fcgi-api")["service"]["sockets"] > before - 1 and status("ws-relay")["numbers"]["connections"] >= 1)


def test_what_waits_and_for_how_long(ann, base_url, psql):
    room = ann.group()
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "before"}, 201)
    session = psql()
    session.ask("BEGIN")
    session.ask(f"SELECT 1 FROM rooms WHERE id = '{room}' FOR UPDATE")
    sender = threading.Thread(target=lambda: ann.rest("POST", f"/rooms/{room}/messages", {"Content": "waits"}))
    sender.start()
    try:
        service = eventually(lambda: (found := status("fcgi-api")["service"])["oldest_command_seconds"] > 0.2 and found)
        assert service["commands_in_hand"] >= 1
        scrape = Scrape(base_url)
        assert scrape.sum("chat_backlog_commands") >= 1 and scrape.sum("chat_oldest_command_seconds") > 0.2
    finally:
        session.ask("COMMIT")
        sender.join()
    eventually(lambda: status("fcgi-api")["service"]["oldest_command_seconds"] == 0)
    assert status("queue-worker")["numbers"]["backlog_commands"] == 0


@pytest.mark.parametrize("words", [["--json"], []])
def test_watch_looks_again(words):
    import os
    command = [program("queue-worker"), "status", "--watch", "--interval", "0.1", *words, "-c", os.environ["TEST_ENV_FILE"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            seen = 0
            for line in watching.stdout:
                seen += line.startswith("queue-worker pid") or line.startswith("{") and json.loads(line)["pid"] > 1
                if seen == 3:
                    break
            assert seen == 3
        finally:
            watching.kill()


def test_status_says_what_is_wrong(tmp_path):
    for words, said in [(["--interval", "0"], "--interval is from 0.1 to 3600"), (["--jsom"], "Unknown option '--jsom'")]:
        assert said in run_program("fcgi-api", "status", *words)

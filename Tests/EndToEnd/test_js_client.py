"""clients/js: with a simulated network, and with the stack while its programs are restarted and killed."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from client import make_token
from conftest import CHECKOUT, thorough
from node_js import node_is_here  # noqa: F401
from waiting import eventually

PACKAGE = CHECKOUT / "clients/js"


def node(*words, **values):
    return subprocess.run(["node", *map(str, words)], capture_output=True, text=True, timeout=900, env={**os.environ, **values})


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The package as it would be published, unpacked: by npm, or by its own list of files where npm is missing."""
    copy = tmp_path_factory.mktemp("js") / "clients/js"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("dist"))
    shutil.copy(CHECKOUT / "LICENSE", copy.parents[1])
    if npm := shutil.which("npm"):
        done = subprocess.run([npm, "pack", "--offline", "--pack-destination", copy.parent], cwd=copy, capture_output=True, text=True,
                              env={**os.environ, "HOME": str(copy.parent)})
        assert done.returncode == 0, done.stderr
        (archive,) = copy.parent.glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(copy.parent)
        return copy.parent / "package"
    done = subprocess.run(["node", "build.mjs"], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in (*json.loads((copy / "package.json").read_text())["files"], "package.json"):
        (copy.parent / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy / name, copy.parent / "package" / name)
    return copy.parent / "package"


def test_it_is_small(published):
    size = len(gzip.compress((published / "dist/chat.js").read_bytes(), 9))
    print(f"dist/chat.js: {size} bytes in gzip")
    assert size < 13 * 1024


def test_what_is_published_is_whole(published):
    package = json.loads((PACKAGE / "package.json").read_text())
    assert not package.get("dependencies") and not package.get("devDependencies")
    names = {str(path.relative_to(published)) for path in published.rglob("*") if path.is_file()}
    assert names == {*package["files"], "package.json"}
    places = [package["main"], package["types"], *package["bin"].values()]
    places += [place for one in package["exports"].values() for place in (one.values() if isinstance(one, dict) else [one])]
    assert {place.removeprefix("./") for place in places} <= names
    # By its name, as one who has installed it says it.
    modules = published.parent / "host/node_modules"
    modules.mkdir(parents=True)
    shutil.copytree(published, modules / "chat-client")
    script = "import * as all from 'chat-client'; console.log(JSON.stringify(Object.keys(all).sort()))"
    done = subprocess.run(["node", "--input-type=module", "-e", script], cwd=modules.parent, capture_output=True, text=True)
    assert json.loads(done.stdout or "null") == ["Chat", "ChatError", "IndexedDBStore", "MemoryStore"], done.stderr


def test_the_types_and_the_documents_name_what_the_module_has():
    code, types, readme = ((PACKAGE / name).read_text() for name in ("chat.js", "chat.d.ts", "README.md"))
    of_class = code[code.index("export class Chat {"):]
    described = types[types.index("export class Chat {"):]
    methods = set(re.findall(r"^  (?:async )?([a-z]\w*)\(.*\{", of_class, re.M)) - {"constructor"}
    assert methods == set(re.findall(r"(?:^ |;) (\w+)(?:<[^(]*>)?\(", described, re.M)) - {"constructor"}
    events = types[types.index("export interface Events {"):types.index("export class Chat {")]
    while re.search(r":[^;{]*\{[^{}]*\}", events):
        events = re.sub(r":[^;{]*\{[^{}]*\}", ":", events)
    events = set(re.findall(r"[{;\n]\s*(\w+):", events))
    assert events == set(re.findall(r"_emit\('(\w+)'", code))
    options = types[types.index("export interface Options {"):types.index("export interface Events {")]
    options = set(re.findall(r"(\w+)\?:", options))
    for name in methods | events | options - {"uuid", "random", "clock"}:
        assert re.search(rf"\b{name}\b", readme), f"README.md does not say {name}"
    counters = re.search(r"stats = \{(.*?)\}", code)[1]
    said = re.search(r"^\| counters \|(.*)$", readme, re.M)[1]
    assert all(re.search(rf"\b{name}\b", said) for name in re.findall(r"(\w+):", counters))
    # And the other way: a method that the documents call is there.
    for name in re.findall(r"\bchat\.(\w+)\(", readme):
        assert name in methods, name


def play(seeds, published, first=1):
    # The published module, not its source.
    done = node(PACKAGE / "test/property.mjs", seeds, first, CHAT_MODULE=(published / "dist/chat.js").as_uri())
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout


def test_the_copy_is_the_servers_in_the_end(published):
    play(200, published)


def test_an_unread_number_that_is_being_asked_for_survives_a_reload_of_the_page(published):
    # In this run the page is reloaded between the answer to `seen` and that of the room's number.
    play(1, published, first=551)


def test_servers_and_hosts_that_are_at_fault_make_no_loop_and_lose_nothing(published):
    done = node(PACKAGE / "test/hostile.mjs", CHAT_MODULE=(published / "dist/chat.js").as_uri())
    failed = re.findall(r"^not ok.*(?:\n .*)*", done.stdout, re.M)
    assert done.returncode == 0 and not failed, "\n".join(failed)[:5000] + done.stderr[-3000:]
    # Each is run, none is skipped.
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.M)[1]) > 170 and re.search(r"^# skipped 0$", done.stdout, re.M)


@thorough
def test_the_copy_is_the_servers_in_the_end_a_thousand_times(published):
    play(1000, published)


def hit(pids, name, kind, number):
    for found, what, pid in pids():
        if found == name and what == kind:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
            return


def test_nothing_is_lost_or_doubled_while_everything_restarts(base_url, ann, bob, pids):
    room = ann.group(bob)
    values = {"URL": base_url, "ANN": ann.token, "BOB": bob.token, "ROOM": room, "COUNT": "300", "PAUSE": "60"}
    client = subprocess.Popen(["node", "--experimental-websocket", PACKAGE / "test/real.mjs"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **values})
    try:
        for name, kind, number in [("ws-relay", "master", signal.SIGHUP), ("queue-worker", "master", signal.SIGHUP),
                                   ("ws-relay", "worker", signal.SIGKILL), ("queue-worker", "worker", signal.SIGKILL),
                                   ("ws-relay", "master", signal.SIGUSR2), ("ws-relay", "worker", signal.SIGKILL)]:
            time.sleep(2)
            hit(pids, name, kind, number)
        out, errors = client.communicate("go on\n", timeout=300)
    finally:
        client.kill()
    assert client.returncode == 0, errors[-3000:] + out
    found = json.loads(out.splitlines()[-1])
    print(found)
    assert found["failed"] == []
    assert (found["stored"], found["distinct"]) == (found["told"], found["told"]), found
    assert found["ordered"] and found["differ"] == [0, 0] and found["marks"] == [True, True], found
    assert found["file"] == [11 << 20]
    assert (found["total"]["missed"], found["total"]["doubled"]) == (0, 0), found


def test_names_of_users_are_the_hosts_newest(base_url, ann, bob, secret):
    def called(name):
        ann.token = make_token(secret, ann.id, iat=round(time.time(), 3), name=name)
        ann.data("GET", "/account")
    called("Ann")
    room = ann.group(bob)
    ann.data("POST", f"/rooms/{room}/messages", {"Content": "hello"}, 201)
    values = {"URL": base_url, "BOB": bob.token, "ROOM": room}
    client = subprocess.Popen(["node", "--experimental-websocket", "--no-warnings", PACKAGE / "test/names.mjs"], text=True, bufsize=1,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **values})

    def until(wanted):
        for line in client.stdout:
            if json.loads(line) == wanted:
                return
        raise AssertionError(f"it ended before it said {wanted}")
    try:
        until(["Ann", "Ann", "Ann"])
        called("Ann Other")
        until(["Ann Other", "Ann Other", "Ann Other"])
        client.stdin.write("away\n")
        until("closed")
        called("Ann Third")
        client.stdin.write("back\n")
        until(["Ann Third", "Ann Third", "Ann Third"])
        client.stdin.write("end\n")
        heard = json.loads(client.stdout.readline())
        assert list(dict.fromkeys(heard)) == ["Ann", "Ann Other", "Ann Third"]
    finally:
        client.kill()
        client.communicate()


def test_the_example_client_through_kills(base_url, ann, bob, pids):
    room = ann.group(bob)
    clients = [subprocess.Popen(["node", "--experimental-websocket", CHECKOUT / "examples/client.mjs"], text=True, bufsize=1,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "URL": base_url, "TOKEN": user.token, "ROOM": room}) for user in (ann, bob)]
    faults = iter([("ws-relay", "worker", signal.SIGKILL), ("ws-relay", "master", signal.SIGHUP), ("queue-worker", "worker", signal.SIGKILL),
                   ("ws-relay", "worker", signal.SIGKILL), ("queue-worker", "master", signal.SIGHUP)])
    try:
        for number in range(100):
            clients[number % 2].stdin.write(f"{number}\n")
            time.sleep(0.05)
            if number % 20 == 10:
                hit(pids, *next(faults))
        stored = [[], []]
        for at, client in enumerate(clients):
            while len(stored[at]) < 50:
                line = client.stdout.readline()
                assert line.startswith("stored "), line + client.stderr.read()
                stored[at].append(int(line.split()[-1]))
            assert stored[at] == list(range(at, 100, 2))
        history = [message["Content"] for message in ann.history(room)]
        assert sorted(map(int, history)) == list(range(100))
        for client in clients:
            eventually(lambda client=client: listed(client) == history, why=lambda client=client: listed(client), pause=0.2)
    finally:
        for client in clients:
            client.kill()


def listed(client):
    client.stdin.write("/list\n")
    return json.loads(client.stdout.readline())


def chat(*words, stdin="", program=None, **values):
    return subprocess.run([program or PACKAGE / "cli.mjs", *map(str, words)], input=stdin, capture_output=True, text=True, timeout=120,
                          env={**os.environ, **values})


def test_the_command_line(base_url, ann, bob, published, tmp_path):
    room, program = ann.group(bob), published / "dist/cli.mjs"
    home = {"XDG_CONFIG_HOME": str(tmp_path), "program": program}
    assert chat("rooms", **home).returncode == 2
    refused = chat("login", base_url, stdin="no-token\n", **home)
    assert refused.returncode == 1 and "unauthorized" in refused.stderr and not list(tmp_path.rglob("*.json"))
    done = chat("login", base_url, stdin=ann.token + "\n", **home)
    assert done.returncode == 0, done.stderr
    (kept,) = tmp_path.rglob("*.json")
    assert kept.stat().st_mode & 0o777 == 0o600 and ann.token not in done.stdout + done.stderr
    bobs = {"CHAT_URL": base_url, "CHAT_TOKEN": bob.token, "program": program}
    tail = subprocess.Popen([program, "tail", room, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "CHAT_URL": base_url, "CHAT_TOKEN": bob.token})
    try:
        assert chat("send", room, "first", "words", **home).returncode == 0
        heard = json.loads(tail.stdout.readline())
        assert (heard["Content"], heard["SenderID"]) == ("first words", ann.id)
        assert chat("send", room, stdin="two\nlines\n", **bobs).returncode == 0
        assert json.loads(tail.stdout.readline())["Content"] == "two\nlines"
        # From a pipe, in more than one chunk.
        sent = subprocess.run([program, "file", room, "--name", "long.txt"], input=b"A" * (6 << 20), capture_output=True, timeout=120,
                              env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)})
        assert sent.returncode == 0, sent.stderr
        heard = json.loads(tail.stdout.readline())
        assert heard["ID"] == sent.stdout.decode().strip() and (heard["File"]["Name"], heard["File"]["Size"]) == ("long.txt", 6 << 20)
    finally:
        tail.kill()
        tail.communicate()
    rooms = chat("rooms", **home)
    assert room in rooms.stdout and "long.txt" in rooms.stdout, rooms
    unknown = chat("tail", "0197a000-0000-7000-8000-000000000000", **home)
    assert unknown.returncode == 1 and unknown.stderr.startswith("chat: "), unknown
    # A text of somebody else does not turn the line around that it stands in.
    assert chat("send", room, stdin="a \u202etxet", **bobs).returncode == 0
    shown = chat("rooms", **home).stdout
    assert "a \\u202etxet" in shown and "\u202e" not in shown
    assert chat("nonsense", **home).returncode == 2
    assert chat("logout", **home).returncode == 0 and not kept.exists()

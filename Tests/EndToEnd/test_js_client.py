"""clients/js: against a simulated network, and against the stack while its programs are restarted and killed."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from conftest import CHECKOUT, thorough

PACKAGE = CHECKOUT / "clients/js"


@pytest.fixture(scope="session", autouse=True)
def node_is_here():
    node = shutil.which("node")
    version = node and subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    if not node or int(re.match(r"v(\d+)", version).group(1)) < 20:
        reason = f"Node 20 or newer is missing ({version or 'none'}): the tests of clients/js need it"
        # The test machines have it: there its absence is a fault.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def node(*words, **values):
    return subprocess.run(["node", *map(str, words)], capture_output=True, text=True, timeout=900, env={**os.environ, **values})


def test_it_is_small():
    text = (PACKAGE / "chat.js").read_text()
    bare = "\n".join(line for line in text.splitlines() if not re.match(r"\s*(//|/\*\*.*\*/$)", line))
    size = len(gzip.compress(bare.encode(), 9))
    print(f"chat.js: {len(gzip.compress(text.encode(), 9))} bytes in gzip, {size} without its comments")
    assert size < 12 * 1024


def test_every_file_of_the_package_is_there():
    package = json.loads((PACKAGE / "package.json").read_text())
    assert not package.get("dependencies") and not package.get("devDependencies")
    for name in package["files"]:
        assert (PACKAGE / name).is_file(), name
    # The types name what the module has, and nothing else.
    code, types = (PACKAGE / "chat.js").read_text(), (PACKAGE / "chat.d.ts").read_text()
    of_class = code[code.index("export class Chat {"):]
    described = types[types.index("export class Chat {"):]
    methods = set(re.findall(r"^  (?:async )?([a-z]\w*)\(.*\{", of_class, re.M)) - {"constructor"}
    assert methods == set(re.findall(r"(?:^ |;) (\w+)(?:<[^(]*>)?\(", described, re.M)) - {"constructor"}


def test_npm_packs_it(tmp_path):
    if not shutil.which("npm"):
        pytest.skip("npm is missing: Debian has it in a package of its own")
    done = subprocess.run(["npm", "pack", "--offline", "--json", "--pack-destination", tmp_path], cwd=PACKAGE,
                          capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    names = {file["path"] for file in json.loads(done.stdout)[0]["files"]}
    assert names == {*json.loads((PACKAGE / "package.json").read_text())["files"], "package.json"}


def play(seeds):
    done = node(PACKAGE / "test/property.mjs", seeds)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout


def test_the_copy_is_the_servers_in_the_end():
    play(200)


@thorough
def test_the_copy_is_the_servers_in_the_end_a_thousand_times():
    play(1000)


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
            end, listed = time.monotonic() + 60, None
            while listed != history and time.monotonic() < end:
                client.stdin.write("/list\n")
                listed = json.loads(client.stdout.readline())
                time.sleep(0.2)
            assert listed == history
    finally:
        for client in clients:
            client.kill()

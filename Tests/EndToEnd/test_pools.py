"""Pools from files: they come and go under load behind a real nginx, and a bad file changes nothing."""

import json
import os
import pwd
import re
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest
import requests
from client import User
from conftest import CHECKOUT, program
from own_master import ask
from own_nginx import USER, site
from waiting import children_of, environment_of, eventually, state_of

SITES = """
  include {folder}/chat/upstreams.conf;
  server { listen 127.0.0.1:{main}; include {folder}/own/*.conf; include {folder}/chat/locations.conf; }
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools.d")
    with site(SITES, ["main"], {"PUBLIC_URL": None, "FCGI_POOLS_DIR": folder}, programs=("fcgi-api",)) as started:
        started.pools = folder
        yield started


@pytest.fixture
def user(here, secret):
    return lambda: User(here.base(), secret)


def run(here, *words):
    return subprocess.run([program("fcgi-api"), *words, "-c", here.folder / "chat.env"], capture_output=True, text=True)


def pools(here):
    return {pool["name"]: pool for pool in json.loads(run(here, "status", "--json").stdout)["pools"]}


def reload(here):
    os.kill(here.pid("run/fcgi-api.pid"), signal.SIGHUP)


def write(here, name, text):
    (here.pools / f"{name}.conf").write_text(text)


def follow(here):
    """nginx gets the files that `nginx-config` writes; returns when no worker of before is left."""
    done = run(here, "nginx-config", "--includes", CHECKOUT / "nginx/include", "--to", here.folder / "chat")
    assert done.returncode == 0, done.stderr
    old = children_of(here.pid())
    os.kill(here.pid(), signal.SIGHUP)
    eventually(lambda: all(state_of(pid) in "ZX" for pid in old), why=lambda: here.log("error.log")[-2000:])


class Senders:
    """Sends and reads without a pause until it is told to stop; notes every answer that is no success."""

    def __init__(self, user):
        self.failed, self.done, self.stopped = [], 0, False
        self.user, self.room = user, user.group()
        self.threads = [threading.Thread(target=self.work) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def work(self):
        with requests.Session() as session:
            # No answer is lost with a connection that nginx's old worker closes.
            session.headers.update({"Authorization": f"Bearer {self.user.token}", "Connection": "close"})
            while not self.stopped:
                base = f"{self.user.base_url}/api/v1"
                for answer in [
                    session.post(f"{base}/rooms/{self.room}/messages", json={"Content": "x", "Sign": str(uuid.uuid4())}, timeout=60),
                    session.get(f"{base}/account", timeout=60),
                ]:
                    if answer.status_code not in (200, 201, 202):
                        self.failed.append((answer.status_code, answer.text))
                self.done += 1

    def more(self, count=10):
        goal = self.done + count
        eventually(lambda: self.done >= goal or self.failed)

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(60)


def test_a_pool_comes_and_goes_under_load(here, user):
    assert set(pools(here)) == {"rooms", "messages", "search", "uploads", "account"}
    senders = Senders(user())
    try:
        senders.more()
        write(here, "sends", "[sends]\nroutes = send\nworkers = static\nworkers.max = 2\nping.path = /ping/sends\nstatus.path = /status/sends\n"
              f"access_log = {here.folder}/sends.log\naccess_log.format = %n %m %s %r\n")
        reload(here)
        eventually(lambda: pools(here).get("sends", {}).get("ready") == 2, why=lambda: here.log("fcgi-api.log")[-3000:])
        follow(here)
        eventually(lambda: pools(here)["sends"]["requests"] > 10)
        assert requests.get(here.base() + "/api/v1/ping/sends", timeout=20).text == "pong\n"
        status = requests.get(here.base() + "/api/v1/status/sends?json&full", timeout=20).json()
        assert status["pool"] == "sends" and status["total processes"] == len(status["processes"]) == 2
        eventually(lambda: f"sends POST 201 /rooms/{senders.room}/messages" in here.log("sends.log"))
        metrics = ask(f"{here.run}/fcgi-account.sock", "GET", "/api/v1/metrics", {})[2].decode()
        assert 'chat_workers{program="fcgi-api",pool="sends",state="idle"}' in metrics
        (here.pools / "sends.conf").unlink()
        follow(here)
        reload(here)
        eventually(lambda: "sends" not in pools(here))
        senders.more()
    finally:
        senders.stop()
        (here.pools / "sends.conf").unlink(missing_ok=True)
    assert not senders.failed, senders.failed[:3]
    assert not (here.run / "fcgi-sends.sock").exists()


def test_a_host_has_workers_of_its_own(here, user):
    write(here, "noisy", "[noisy]\nroutes = messages, rooms\nhosts = noisy.example\n")
    try:
        reload(here)
        eventually(lambda: pools(here).get("noisy", {}).get("ready"))
        follow(here)
        ann = user()
        before = pools(here)
        for host, pool in [("noisy.example", "noisy"), ("other.example", "rooms")]:
            answer = requests.get(f"{here.base()}/api/v1/rooms", timeout=20,
                                  headers={"Authorization": f"Bearer {ann.token}", "Host": host})
            assert answer.status_code == 200
            eventually(lambda: pools(here)[pool]["requests"] > before[pool]["requests"])
    finally:
        (here.pools / "noisy.conf").unlink()
        follow(here)
        reload(here)
    eventually(lambda: "noisy" not in pools(here))


@pytest.mark.skipif(os.geteuid() != 0, reason="only a master that root runs can give its workers another user")
def test_workers_of_another_user_with_limits_of_their_own(here, settings):
    user = pwd.getpwnam(USER)
    os.chown(here.folder / "chat.env", 0, user.pw_gid)
    (here.folder / "chat.env").chmod(0o640)
    write(here, "theirs", f"[theirs]\nroutes =\nuser = {USER}\nrlimit.files = 300\nrlimit.core = 0\nenv[OWN] = here\n"
          # Beside a replica, workers of all users share a file.
          f"env[DATABASE_READ_URL] = {settings['DATABASE_URL']}&keepalives=1\n")
    master = here.pid("run/fcgi-api.pid")
    try:
        reload(here)
        eventually(lambda: pools(here).get("theirs", {}).get("ready") == 1, why=lambda: here.log("fcgi-api.log")[-2000:])
        assert ask(f"{here.run}/fcgi-theirs.sock", "GET", "/api/v1/healthz", {})[0] == 200
        [worker] = [pid for pid in children_of(master) if b"\0OWN=here\0" in environment_of(pid)]
        status = Path(f"/proc/{worker}/status").read_text()
        assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}\t" in status and f"Gid:\t{user.pw_gid}\t" in status
        assert re.search(r"Max open files +300 +300 ", Path(f"/proc/{worker}/limits").read_text())
    finally:
        (here.pools / "theirs.conf").unlink()
        reload(here)
    eventually(lambda: "theirs" not in pools(here))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root tries for another user")
def test_a_user_who_cannot_do_the_work_is_refused(here, settings):
    """-t tries as the user: what root reads and writes, he may not."""
    secret = here.folder / "ca.pem"
    secret.touch()
    secret.chmod(0o600)
    env = here.folder / "chat.env"
    kept = env.read_text()
    try:
        write(here, "theirs", "[theirs]\nroutes = uploads\nuser = nobody\n")
        for more, said in [
            (f"JWT_JWKS_CA_FILE={secret}\n", f"cannot use a setting: JWT_JWKS_CA_FILE={secret} cannot be read: Permission denied"),
            (f"UPLOAD_TEMP_DIR={here.folder}\n", f"may not use UPLOAD_TEMP_DIR={here.folder} cannot be used: Permission denied"),
            (f"DATABASE_URL={settings['DATABASE_URL'].replace('//chat@', '//nobody-has-this@')}\n", "cannot use PostgreSQL: "),
        ]:
            env.write_text(kept + more)
            done = run(here, "-t")
            assert done.returncode != 0 and f"theirs.conf:1: [theirs] user: nobody {said}" in done.stderr, (more, done)
        # The stack's servers are its own user's.
        env.write_text(kept)
        done = run(here, "-t")
        assert "user: nobody may not use /" in done.stderr and "/redis.sock: Permission denied" in done.stderr, done
        assert re.search("user: nobody cannot use PostgreSQL: .* failed: Permission denied", done.stderr), done
        assert f"user: nobody may not use STORAGE=disk:{here.files}: {here.files} cannot be used: Permission denied" in done.stderr, done
        # A database that is away for everybody says nothing about the user.
        here.files.chmod(0o777)
        env.write_text(f"{kept}REDIS_URL=redis://127.0.0.1:1\nDATABASE_URL=postgresql://x:x@127.0.0.1:1/x\n")
        assert run(here, "-t").returncode == 0
    finally:
        here.files.chmod(0o711)
        env.write_text(kept)
        (here.pools / "theirs.conf").unlink()


def test_a_tenant_below_a_prefix_as_the_document_says(here, secret):
    document = (CHECKOUT / "docs/pools.md").read_text().partition("## A tenant")[2]
    pool, location = [re.search(f"```{kind}\n(.*?)```", document, re.DOTALL)[1] for kind in ("ini", "nginx")]
    write(here, "tenant", pool)
    own = here.folder / "own"
    own.mkdir()
    try:
        reload(here)
        eventually(lambda: pools(here).get("tenant", {}).get("ready"))
        (own / "tenant.conf").write_text(location)
        follow(here)
        ann = User(here.base() + "/tenant", secret)
        room = ann.group()
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "to the tenant's pool", "Sign": str(uuid.uuid4())}, expect=201)
        eventually(lambda: pools(here)["tenant"]["requests"] == 2)
        # Files stay with the other locations, which have none below this prefix.
        ann.rest("GET", f"/rooms/{room}/files", expect=404)
        assert pools(here)["tenant"]["requests"] == 2
    finally:
        (here.pools / "tenant.conf").unlink()
        (own / "tenant.conf").unlink()
        follow(here)
        reload(here)
    eventually(lambda: "tenant" not in pools(here))


@pytest.mark.parametrize("prefix", ["", "/chat"])
def test_nginx_takes_what_is_written_into_an_empty_folder(here, tmp_path, prefix):
    words = ["nginx-config", "--includes", CHECKOUT / "nginx/include", "--to", tmp_path / "chat", *(["--prefix", prefix] if prefix else [])]
    (tmp_path / "chat").mkdir()
    done = run(here, *words)
    shipped = {path.name for path in (CHECKOUT / "nginx/include").glob("*.conf")}
    assert done.returncode == 0 and {path.name for path in (tmp_path / "chat").iterdir()} == shipped, done
    (tmp_path / "nginx.conf").write_text("events {}\nhttp {\n  include chat/upstreams.conf;\n"
                                         "  server { listen 127.0.0.1:1; include chat/locations.conf; }\n}\n")
    (tmp_path / "chat/log.conf").write_text("access_log off;\n")
    checked = subprocess.run(["nginx", "-p", tmp_path, "-e", "stderr", "-g", "pid x.pid;", "-t", "-c", "nginx.conf"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert run(here, *words).stdout == "" and (tmp_path / "chat/log.conf").read_text() == "access_log off;\n"


@pytest.mark.parametrize("text, said", [
    ("[search]\nworkers = many\n", "bad.conf:2: workers: \"many\" is not one of"),
    ("[own]\nroutes = nothing\n", "bad.conf:2: routes: there is no route nothing"),
    ("[own]\nroutes = send\nuser = nobody-has-this\n", "bad.conf:3: user: there is no user nobody-has-this"),
    ("[own]\nroutes = send\nlisten = {run}/fcgi-rooms.sock\n", "bad.conf:3: listen: unix:{run}/fcgi-rooms.sock is the address of rooms"),
    ("[own]\nroutes = send\nlisten = {run}/../run/fcgi-rooms.sock\n", "bad.conf:3: listen: unix:{run}/../run/fcgi-rooms.sock is the address of rooms"),
    ("[own]\nroutes = send\nlisten = {run}/fcgi-api.control\n", "bad.conf:3: listen: unix:{run}/fcgi-api.control is a file of these programs"),
    ("[own]\nroutes = send\naccess_log = {run}/../chat.env\n", "bad.conf:1: the pool own: access_log: {run}/../chat.env is the file of settings"),
    ("[own]\nroutes = send\nworkers = static\nworkers.max = 500\n", "bad.conf:1): 496 at most"),
    ("[own]\nroutes = send\nenv[DATABASE_URL] = rubbish\n", "bad.conf:1: the pool own: env[DATABASE_URL]: not a valid libpq"),
    ("[own]\nroutes = send\nenv[RABBITMQ_PREFIX] = other\n", "bad.conf:3: env[RABBITMQ_PREFIX]: RABBITMQ_PREFIX is the master's"),
    ("[own]\nroutes = send\nlisten = 192.0.2.1:9000\n", "bad.conf:1: the pool own cannot listen on 192.0.2.1:9000"),
    ("[own]\nroutes = send\nlisten = /etc/passwd/x.sock\n", "bad.conf:3: listen: /etc/passwd is not a folder"),
    ("[own]\nroutes = send\nenv[STORAGE] = bogus\n", "bad.conf:3: env[STORAGE]: STORAGE"),
    ("[a]\nroutes = send\nlisten = 127.0.0.1:19777\n[b]\nroutes =\nlisten = localhost:19777\n", "bad.conf:6: listen: localhost:19777 is the address of a"),
])
def test_a_bad_file_is_refused_with_its_line(here, text, said):
    write(here, "bad", text.replace("{run}", str(here.run)))
    said = said.replace("{run}", str(here.run))
    before = pools(here)
    try:
        done = run(here, "-t")
        assert done.returncode != 0 and f"{here.pools}/{said}" in done.stderr, done
        reload(here)
        eventually(lambda: "reload refused" in here.log("fcgi-api.log") and said in here.log("fcgi-api.log"))
        assert set(pools(here)) == set(before)
        assert requests.get(here.base() + "/api/v1/healthz", timeout=20).status_code == 200
    finally:
        (here.pools / "bad.conf").unlink()
    assert "[search]\nlisten = " in run(here, "-tt").stdout


def test_workers_on_demand_and_the_stack_of_a_slow_one(here, psql, user):
    slow = here.folder / "slow.log"
    write(here, "idle", f"[idle]\nroutes =\nworkers = ondemand\nworkers.idle_timeout = 1s\nslow_log = {slow}\n"
          "slow_log.after = 100ms\nmax_wait = 1m\nnice = 7\n")
    ann, address = user(), f"{here.run}/fcgi-idle.sock"
    token = {"Authorization": f"Bearer {ann.token}"}
    locked = psql()
    try:
        reload(here)
        eventually(lambda: "idle" in pools(here))
        assert pools(here)["idle"]["wanted"] == 0
        assert ask(address, "GET", "/api/v1/healthz", {})[0] == 200
        assert 7 in [os.getpriority(os.PRIO_PROCESS, pid) for pid in children_of(here.pid("run/fcgi-api.pid"))]
        eventually(lambda: pools(here)["idle"]["wanted"] == 0)
        locked.ask("BEGIN; LOCK TABLE rooms IN ACCESS EXCLUSIVE MODE")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(address, "GET", "/api/v1/rooms", token)))
        thread.start()
        try:
            entry = eventually(lambda: slow.exists() and slow.read_text())
        finally:
            locked.ask("ROLLBACK")
            thread.join(60)
        assert " ms in GET /rooms\n" in entry and " idle/0 pid " in entry and entry.count("\n") > 5, entry
        assert answers[0][0] == 200, "the signal broke the request"
        # A request that nginx handed over long ago is refused at once, and told when to come back.
        status, headers, body = ask(address, "GET", "/api/v1/rooms", token, CHAT_SENT=f"{time.time() - 90:.3f}")
        assert status == 503 and int(headers["Retry-After"]) == 10
        error = json.loads(body)["Error"]
        assert error["Code"] == "busy" and error["RetryAfter"] == 10_000
        assert ask(address, "GET", "/api/v1/rooms", token, CHAT_SENT=f"{time.time():.3f}")[0] == 200
    finally:
        locked.close()
        (here.pools / "idle.conf").unlink()
        reload(here)
    eventually(lambda: "idle" not in pools(here))


def test_a_socket_stays_until_others_serve(here):
    """Another spelling of the path, and workers that cannot start at another address: clients are answered where they were."""
    address, other = f"{here.run}/own.sock", f"{here.run}/own2.sock"
    answers = lambda: ask(address, "GET", "/api/v1/healthz", {})[0] == 200
    said = lambda text: here.log("fcgi-api.log").count(text)
    try:
        write(here, "own", f"[own]\nroutes =\nlisten = {address}\n")
        reload(here)
        eventually(lambda: pools(here).get("own", {}).get("ready"))
        assert answers()
        for spelling in ["./own.sock", "../run/own.sock"]:
            before = said("pool own: generation")
            write(here, "own", f"[own]\nroutes =\nlisten = {here.run}/{spelling}\n")
            reload(here)
            eventually(lambda: said("pool own: generation") > before)
            assert answers()
        before = said("reload of pool own failed, its old workers stay in service")
        write(here, "own", f"[own]\nroutes =\nlisten = {other}\nenv[JWT_JWKS_FILE] = /none/here\n")
        reload(here)
        eventually(lambda: said("reload of pool own failed, its old workers stay in service") > before)
        assert answers()
        eventually(lambda: not os.path.exists(other))
        write(here, "own", f"[own]\nroutes =\nlisten = {other}\n")
        reload(here)
        eventually(lambda: os.path.exists(other) and not os.path.exists(address))
        assert ask(other, "GET", "/api/v1/healthz", {})[0] == 200
    finally:
        (here.pools / "own.conf").unlink()
        reload(here)
    eventually(lambda: "own" not in pools(here))
    assert run(here, "status").returncode == 0


def test_nginx_takes_what_a_pool_may_have(here):
    """Hosts of more than one parameter of nginx, a blank in a path; an id with a slash is no end of it. No line has a device's token."""
    hosts = ",".join(f"tenant{number:03}.chat.example.com" for number in range(140))
    log = here.folder / "tenants.log"
    write(here, "tenants", f"[tenants]\nroutes = describeUser, registerDevice\nhosts = {hosts}\nlisten = \"{here.run}/a b;.sock\"\n"
          f"access_log = {log}\naccess_log.format = \"%r {chr(92) + chr(34)}\"\n")
    try:
        reload(here)
        eventually(lambda: pools(here).get("tenants", {}).get("ready"), why=lambda: here.log("fcgi-api.log")[-3000:])
        follow(here)
        for path in ["/users/a%2Fb", "/devices/FCMTOKEN1"]:
            requests.put(f"{here.base()}/api/v1{path}", json={}, timeout=20, headers={"Host": "tenant139.chat.example.com"})
        text = eventually(lambda: log.exists() and (text := log.read_text()).count("\n") == 2 and text)
        assert "/users/[redacted] \"" in text and "FCMTOKEN1" not in text
    finally:
        (here.pools / "tenants.conf").unlink()
        follow(here)
        reload(here)
    eventually(lambda: "tenants" not in pools(here))


def test_a_worker_reads_every_pool_that_its_master_takes(here):
    """A worker is told lines that are longer than those of the file."""
    hosts = ",".join(f"h{number}.e" for number in range(570))
    write(here, "long", f"[long]\nroutes = send\nhosts = {hosts}\naccess_log.format = x{chr(34) * 3000}\n")
    try:
        assert run(here, "-t").returncode == 0
        reload(here)
        eventually(lambda: pools(here).get("long", {}).get("ready"), why=lambda: here.log("fcgi-api.log")[-3000:])
    finally:
        (here.pools / "long.conf").unlink()
        reload(here)
    eventually(lambda: "long" not in pools(here))

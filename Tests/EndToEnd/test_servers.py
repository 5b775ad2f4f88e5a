"""Connections to the servers: TLS with a private certificate authority, several hosts, users, odd passwords, Sentinel; and the texts
of `serve --check` and of errors. TLS ends in a small proxy before the stack's own servers.
"""

import asyncio
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import uuid
from urllib.parse import quote, unquote

import pytest
import requests
from client import make_token
from conftest import program
from own_master import Master
from ports import free_port
from waiting import eventually


def run(name, *words, **environment):
    return subprocess.run([program(name), *words, "-c", os.environ["TEST_ENV_FILE"]], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, env={**os.environ, **environment})


def ask_rabbitmq(**environment):
    return run("queue-worker", "queues", "status", **environment)


def ask_redis(**environment):
    """A message id that does not exist: Redis is asked all the same."""
    return run("fcgi-api", "trace", str(uuid.uuid4()), **environment)


def ask_servers(**environment):
    """Asks PostgreSQL first and the S3 store last."""
    return run("fcgi-api", "setup-check", "servers", **environment)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=120)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days",
                "2", "-subj", f"/CN={name}")
    for name, alternative, days in (("good", "DNS:localhost,IP:127.0.0.1", "2"), ("wrong-host", "DNS:elsewhere.example", "2"),
                                    ("expired", "DNS:localhost,IP:127.0.0.1", "-1")):
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", days,
                "-extfile", f"{name}.ext", "-out", f"{name}.crt")
    return folder


class Proxies:
    """A proxy with TLS outside and the connection of `connect` inside. One thread moves all bytes, because Python's TLS connections
    must not be read and written by two threads at once."""

    def __init__(self):
        self.loop, self.servers = asyncio.new_event_loop(), []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def start(self, connect, certificate=None, asks_for_tls=False):
        context = None
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")

        async def serve(*outside):
            try:
                if asks_for_tls:  # PostgreSQL's clients: eight bytes, and go on when the answer is an S
                    await outside[0].readexactly(8)
                    outside[1].write(b"S")
                    await outside[1].start_tls(context)
                inside = await connect()
                await asyncio.gather(pump(outside[0], inside[1]), pump(inside[0], outside[1]))
            except OSError:
                outside[1].close()

        server = self.run(asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if asks_for_tls else context))
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def close(self):
        for server in self.servers:
            self.loop.call_soon_threadsafe(server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)


async def pump(source, target):
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    target.close()


@pytest.fixture
def proxy(settings):
    proxies = Proxies()

    def make(server, certificate=None):
        if server == "redis":
            path = settings["REDIS_URL"].removeprefix("unix://")
            return proxies.start(lambda: asyncio.open_unix_connection(path), certificate)
        if server == "postgres":
            path = re.search(r"host=([^&]+)", settings["DATABASE_URL"])[1]
            return proxies.start(lambda: asyncio.open_unix_connection(f"{unquote(path)}/.s.PGSQL.5432"), certificate, True)
        url = settings["S3_ENDPOINT" if server == "s3" else "RABBITMQ_URL"]
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        return proxies.start(lambda: asyncio.open_connection("127.0.0.1", port), certificate)

    yield make
    proxies.close()


def urls(settings, server, scheme, hosts):
    if server == "redis":
        return {"REDIS_URL": f"{scheme}://{hosts}"}
    if server == "s3":
        return {"S3_ENDPOINT": f"{scheme}://{hosts}"}
    user = settings["RABBITMQ_URL"].removeprefix("amqp://").rsplit("@", 1)[0]
    return {"RABBITMQ_URL": f"{scheme}://{user}@{hosts}/"}


ASK = {"redis": ask_redis, "rabbitmq": ask_rabbitmq, "s3": ask_servers}
TLS = {"redis": "rediss", "rabbitmq": "amqps", "s3": "https"}


def is_answer(server, said):
    if server == "redis":
        return "Redis:" not in said.stdout
    if server == "s3":
        return "the S3 store is reachable" in said.stdout
    return said.returncode == 0


@pytest.mark.parametrize("server", TLS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_with_an_authority_of_ones_own(settings, authority, proxy, server, host):
    port = proxy(server, authority / "good")
    said = ASK[server](**urls(settings, server, TLS[server], f"{host}:{port}"), TLS_CA_FILE=str(authority / "ca.crt"))
    assert is_answer(server, said), said.stdout


@pytest.mark.parametrize("server", TLS)
@pytest.mark.parametrize("certificate, ca, why", [
    ("wrong-host", "ca", "mismatch|matches target host"), ("expired", "ca", "expired"), ("good", "other", "certificate"), ("good", None, "certificate")])
def test_tls_refuses_a_server_that_may_be_another(settings, authority, proxy, server, certificate, ca, why):
    port = proxy(server, authority / certificate)
    environment = {"TLS_CA_FILE": str(authority / f"{ca}.crt")} if ca else {}
    said = ASK[server](**urls(settings, server, TLS[server], f"localhost:{port}"), **environment)
    assert not is_answer(server, said), said.stdout
    assert re.search(why, said.stdout) and "refused" in said.stdout, said.stdout


def test_postgresql_by_tls_with_an_authority_of_ones_own(authority, proxy):
    url = "postgresql://chat@localhost:{port}/chat?sslmode=verify-full&sslrootcert={ca}"
    for certificate, ca, why in (("good", "ca", None), ("wrong-host", "ca", "does not match host name"),
                                 ("expired", "ca", "verify failed"), ("good", "other", "verify failed")):
        port = proxy("postgres", authority / certificate)
        said = ask_servers(DATABASE_URL=url.format(port=port, ca=authority / f"{ca}.crt"))
        assert (why or "PostgreSQL is reachable") in said.stdout, said.stdout
        assert why is None or "PostgreSQL is reachable" not in said.stdout


def test_the_store_of_make_run_shows_nobody_the_files(pids):
    """Another user of this machine reaches all its ports."""
    owned = {str(pid) for name, _, pid in pids() if name == "seaweedfs"}
    lines = subprocess.run(["ss", "-ltnpH"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in lines if set(re.findall(r"pid=(\d+)", line)) & owned}
    assert len(ports) > 4
    for port in ports:
        for path in ("/", "/buckets/", "/buckets/chat/", "/chat/"):
            try:
                answer = requests.get(f"http://127.0.0.1:{port}{path}", headers={"Accept": "application/json"}, timeout=10)
            except requests.RequestException:
                continue  # no HTTP
            assert answer.status_code != 200 or "chat" not in answer.text, (port, path, answer.text[:300])

@pytest.mark.parametrize("server", ["redis", "rabbitmq"])
def test_of_several_hosts_one_that_is_there_is_taken(settings, proxy, server):
    dead, port = free_port(), proxy(server)
    plain = {"redis": "redis", "rabbitmq": "amqp"}[server]
    for _ in range(4):
        said = ASK[server](**urls(settings, server, plain, f"127.0.0.1:{dead},localhost:{port}"))
        assert is_answer(server, said), said.stdout
    said = ASK[server](**urls(settings, server, plain, f"127.0.0.1:{dead},[::1]:{dead}"))
    assert not is_answer(server, said)
    assert f"127.0.0.1:{dead}" in said.stdout and f"[::1]:{dead}" in said.stdout


@pytest.fixture
def redis(tmp_path):
    """Redis servers of this test: (port, words) -> process."""
    running = []

    def start(*words):
        port = free_port()
        running.append(subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "::1", "--save", "",
                                         "--dir", str(tmp_path), *words], stdout=subprocess.DEVNULL))
        eventually(lambda: subprocess.run(["redis-cli", "-p", str(port), "PING"], stdout=subprocess.PIPE).stdout)
        return port

    yield start
    for process in running:
        process.terminate()
        process.wait()


def test_a_user_of_redis_and_a_password_with_signs(redis):
    password = "p%ss@w/rd:?"
    port = redis("--user", "chat", "on", f">{password}", "~*", "&*", "+@all", "--user", "default", "off")
    for host in ("127.0.0.1", "[::1]"):
        said = ask_redis(REDIS_URL=f"redis://chat:{quote(password, safe='')}@{host}:{port}/2")
        assert is_answer("redis", said), said.stdout
    said = ask_redis(REDIS_URL=f"redis://chat:wrong@127.0.0.1:{port}")
    assert "WRONGPASS" in said.stdout and "wrong@" not in said.stdout


def test_the_primary_is_found_among_hosts_and_by_sentinel(redis, tmp_path):
    primary = redis()
    replica = redis("--replicaof", "127.0.0.1", str(primary))
    for _ in range(4):
        said = ask_redis(REDIS_URL=f"redis://127.0.0.1:{replica},127.0.0.1:{primary}")
        assert is_answer("redis", said), said.stdout
    said = ask_redis(REDIS_URL=f"redis://127.0.0.1:{replica},127.0.0.1:{replica}")
    assert "not the primary" in said.stdout
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nsentinel monitor chat 127.0.0.1 {primary} 1\n")
    sentinel = subprocess.Popen(["redis-server", str(tmp_path / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: subprocess.run(["redis-cli", "-p", str(port), "PING"], stdout=subprocess.PIPE).stdout)
        said = ask_redis(REDIS_URL=f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/chat/1")
        assert is_answer("redis", said), said.stdout
        said = ask_redis(REDIS_URL=f"redis+sentinel://127.0.0.1:{port}/unknown")
        assert "knows no master unknown" in said.stdout
    finally:
        sentinel.terminate()
        sentinel.wait()


def test_a_primary_that_became_a_replica_is_left_by_living_connections(redis, tmp_path, secret):
    """Its connections stay, and it refuses what writes (READONLY)."""
    first = redis()
    second = redis("--replicaof", "127.0.0.1", str(first))

    def cli(port, *words):
        return subprocess.run(["redis-cli", "-p", str(port), *words], stdout=subprocess.PIPE, text=True, check=True).stdout

    eventually(lambda: "master_link_status:up" in cli(second, "INFO", "replication"))
    master = Master(tmp_path, REDIS_URL=f"redis://127.0.0.1:{first},127.0.0.1:{second}")
    try:
        master.ready("account")
        bearer = f"Bearer {make_token(secret, uuid.uuid4())}"

        def is_issued():
            return master.ask("account", "POST", "/api/v1/ws-ticket", Authorization=bearer)[0] == 201

        assert is_issued()
        cli(second, "REPLICAOF", "NO", "ONE")
        cli(first, "REPLICAOF", "127.0.0.1", str(second))
        eventually(is_issued, 20, master.last_lines)
        assert int(cli(second, "DBSIZE")) > 0
    finally:
        master.stop()


def test_a_cluster_by_tls_with_a_user(authority, tmp_path):
    """Each node is connected as the one in the URL, and verified as that."""
    ports, running = [free_port() for _ in range(3)], []

    def cli(port, *words):
        return subprocess.run(["redis-cli", "--tls", "--cacert", authority / "ca.crt", "--user", "chat", "--pass", "p@ss", "-p", str(port),
                               *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def ask(scheme, password, ca, seed):
        return ask_redis(REDIS_URL=f"{scheme}+cluster://chat:{password}@localhost:{seed}", TLS_CA_FILE=str(authority / ca))

    try:
        for port in ports:
            (tmp_path / str(port)).mkdir()
            running.append(subprocess.Popen(
                ["redis-server", "--port", "0", "--tls-port", str(port), "--tls-cluster", "yes", "--tls-auth-clients", "no",
                 "--tls-cert-file", authority / "good.crt", "--tls-key-file", authority / "good.key", "--tls-ca-cert-file",
                 authority / "ca.crt", "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--bind", "127.0.0.1", "--save", "",
                 "--dir", tmp_path / str(port), "--user", "chat", "on", ">p@ss", "~*", "&*", "+@all", "--user", "default", "off"],
                stdout=subprocess.DEVNULL))
        for number, port in enumerate(ports):
            eventually(lambda port=port: "PONG" in cli(port, "PING"))
            cli(port, "CLUSTER", "ADDSLOTSRANGE", str(number * 5462), str(min(16_383, number * 5462 + 5461)))
            bus = re.search(r"@(\d+)", cli(port, "CLUSTER", "NODES"))[1]
            cli(ports[0], "CLUSTER", "MEET", "127.0.0.1", str(port), bus)
        eventually(lambda: all("cluster_state:ok" in cli(port, "CLUSTER", "INFO") for port in ports))
        for seed in ports:
            said = ask("rediss", "p%40ss", "ca.crt", seed)
            assert is_answer("redis", said), said.stdout
        assert "WRONGPASS" in ask("rediss", "wrong", "ca.crt", ports[0]).stdout
        assert "certificate" in ask("rediss", "p%40ss", "other.crt", ports[0]).stdout
        assert not is_answer("redis", ask("redis", "p%40ss", "ca.crt", ports[0]))
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_silent_host_leaves_time_for_the_next_ones(redis, tmp_path):
    primary, port = redis(), free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nsentinel monitor chat 127.0.0.1 {primary} 1\n")
    sentinel = subprocess.Popen(["redis-server", str(tmp_path / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL)
    # As a machine that was frozen: its kernel takes connections, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        try:
            eventually(lambda: subprocess.run(["redis-cli", "-p", str(port), "PING"], stdout=subprocess.PIPE).stdout)
            # Each program draws an order of its own.
            for _ in range(6):
                said = ask_redis(REDIS_URL=f"redis://{host},127.0.0.1:{primary}")
                assert is_answer("redis", said), said.stdout
                said = ask_redis(REDIS_URL=f"redis+sentinel://{host},127.0.0.1:{port}/chat")
                assert is_answer("redis", said), said.stdout
        finally:
            sentinel.terminate()
            sentinel.wait()


BAD = {
    "REDIS_URL": ["http://127.0.0.1:1/", "redis://h/x", "redis://:secretword@h:99999"],
    "RABBITMQ_URL": ["nonsense", "amqp://u:secretword@h:x/"],
    "DATABASE_URL": ["postgresql://chat:secretword@[bad"],
    "S3_ENDPOINT": ["127.0.0.1:8504"],
    "WEBHOOK_URL": ["example.com/hook"],
    "FCGI_ROOMS_MAX_WORKERS": ["1"],
    "SOCKET_GROUP": ["no-such-group"],
    "TLS_CA_FILE": ["/nowhere/ca.crt"],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in BAD.items() for value in values])
def test_a_check_refuses_what_cannot_work(name, value):
    said = run("fcgi-api", "serve", "--check", **{name: value})
    assert said.returncode != 0 and name in said.stdout, said.stdout
    assert "secretword" not in said.stdout


def test_a_check_names_a_misspelt_setting_and_its_line(tmp_path):
    copy = tmp_path / "chat.env"
    shutil.copy(os.environ["TEST_ENV_FILE"], copy)
    check = [program("fcgi-api"), "serve", "--check", "-c", copy]
    good = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert good.returncode == 0, good.stdout
    with copy.open("a") as file:
        file.write("\nSOMETHING_ELSE_OF_ANOTHER=1\nFCGI_MESAGES_WORKERS=8\n")
    said = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    line = len(copy.read_text().splitlines())
    assert said.returncode != 0
    assert f"{copy}, line {line}: FCGI_MESAGES_WORKERS is not a setting; did you mean FCGI_MESSAGES_WORKERS?" in said.stdout
    assert "note:" in said.stdout and "SOMETHING_ELSE_OF_ANOTHER" in said.stdout


def test_an_unreadable_file_is_said_plainly(tmp_path):
    folder = tmp_path / "folder.env"
    said = subprocess.run([program("fcgi-api"), "serve", "--check", "-c", folder], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert said.returncode != 0 and "cannot be read: No such file" in said.stdout and "NSCocoa" not in said.stdout


def test_without_tables_the_error_says_what_to_run(settings):
    url = settings["DATABASE_URL"].replace("/chat?", "/postgres?")
    said = ask_rabbitmq(DATABASE_URL=url)
    assert said.returncode != 0
    assert "PostgreSQL 42P01" in said.stdout and "fcgi-api migrate up" in said.stdout

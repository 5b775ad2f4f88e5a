"""Three hosts in network namespaces (`make cluster`), and the files that ship for several hosts."""

import asyncio
import os
import re
import shutil
import subprocess
import time
import uuid

import msgpack
import pytest
from client import make_token, message_frame
from conftest import CHECKOUT, program, thorough
from websockets.asyncio.client import connect

PORTS = "".join(f"FCGI_{name}_LISTEN=10.9.9.1:{8501 + number}\n"
                for number, name in enumerate(("ROOMS", "MESSAGES", "SEARCH", "UPLOADS", "ACCOUNT")))


@pytest.fixture
def nginx_config(tmp_path):
    """Runs `fcgi-api nginx-config` with settings of its own."""
    def run(settings, *words):
        (tmp_path / "env").write_text(f"JWT_SECRET={'s' * 32}\nDATABASE_URL=postgresql:///x\nSTORAGE=disk:/tmp\n{settings}")
        return subprocess.run([program("fcgi-api"), "nginx-config", "-c", tmp_path / "env", "--includes", CHECKOUT / "nginx/include", *words],
                              capture_output=True, text=True, env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")})
    return run


def test_nginx_takes_the_files_for_several_hosts(nginx_config, tmp_path):
    (tmp_path / "chat").mkdir()
    done = nginx_config(PORTS + "WS_LISTEN=10.9.9.1:8510\n", "--hosts", "10.9.9.1,10.9.9.2,[2001:db8::3]", "--to", tmp_path / "chat")
    assert done.returncode == 0, done.stderr
    shipped = {path.name for path in (CHECKOUT / "nginx/include").glob("*.conf")}
    assert {path.name for path in (tmp_path / "chat").iterdir()} == shipped
    upstreams = (tmp_path / "chat/upstreams.conf").read_text()
    for host in ("10.9.9.1", "10.9.9.2", "[2001:db8::3]"):
        assert upstreams.count(f"  server {host}:8502 max_fails=1 fail_timeout=1s;\n") == 1
        assert upstreams.count(f"  server {host}:8510 max_fails=0;\n") == 1
    assert "listed twice" not in upstreams and "Each host is listed once" in upstreams
    assert "unix:" not in upstreams.replace("# ", "") and upstreams.count("max_fails=0;\n") == 3
    for name in ("fastcgi.conf", "relay.conf", "events.conf"):
        assert "_connect_timeout 1s;" in (tmp_path / "chat" / name).read_text()
    for name in ("relay.conf", "events.conf"):
        assert "\nproxy_next_upstream error timeout http_503;\n" in (tmp_path / "chat" / name).read_text()
    assert "fastcgi_read_timeout 8s;" in (tmp_path / "chat/json.conf").read_text()
    (tmp_path / "chat/log.conf").write_text("access_log off;\n")
    (tmp_path / "nginx.conf").write_text("events {}\nhttp {\n  include chat/upstreams.conf;\n"
                                         "  server { listen 127.0.0.1:1; include chat/locations.conf; }\n}\n")
    checked = subprocess.run(["nginx", "-p", tmp_path, "-e", "stderr", "-g", "pid x.pid;", "-t", "-c", "nginx.conf"],
                             capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("settings, hosts, complaint", [
    (PORTS + "WS_LISTEN=unix:/run/x.sock\n", "10.9.9.1", "WS_LISTEN"),
    ("WS_LISTEN=10.9.9.1:8510\n", "10.9.9.1", "pool"),
    (PORTS + "WS_LISTEN=10.9.9.1:8510\n", "10.9.9.1;,b", "--hosts takes"),
    (PORTS + "WS_LISTEN=10.9.9.1:8510\n", "a,,b", "--hosts takes"),
    *((PORTS + "WS_LISTEN=10.9.9.1:8510\n", host, "--hosts takes")
      for host in ("2001:db8::1", "10.0.0.1:8501", "[", "[]", ":", "unix:x", "[127.0.0.1]", "[::1]:9", "a,-b", "a.")),
    (PORTS + "WS_LISTEN=10.9.9.1:8510\n", "a,b,a", "--hosts has a twice"),
])
def test_hosts_that_nginx_could_not_reach_are_refused(nginx_config, settings, hosts, complaint):
    done = nginx_config(settings, "--hosts", hosts, "upstreams.conf")
    assert done.returncode != 0 and complaint in done.stderr


def test_files_go_nowhere_without_a_folder(nginx_config):
    done = nginx_config(PORTS + "WS_LISTEN=10.9.9.1:8510\n", "--to", "")
    assert done.returncode != 0 and "--to takes a folder" in done.stderr


@pytest.fixture
def make_layout(tmp_path, monkeypatch):
    """The files of `make cluster`, or of `make cluster-chaos`, written to folders of this test."""
    def made(for_chaos=False):
        monkeypatch.setenv("CHAT_DIR", str(tmp_path / "cluster"))
        for folder in ("cluster", "stack"):
            monkeypatch.syspath_prepend(str(CHECKOUT / "deploy" / folder))
        import layout
        cluster = layout.Cluster()
        for host in cluster.hosts.values():
            host.folder = tmp_path / host.name
        cluster.for_chaos = for_chaos
        cluster.write()
        return cluster
    return made


@pytest.fixture
def layout(make_layout):
    return make_layout()


def test_haproxy_takes_its_files(layout):
    if not shutil.which("haproxy", path="/usr/sbin:/usr/bin"):
        pytest.skip("haproxy is not installed: make cluster installs it")
    for file in [host.folder / "haproxy.cfg" for host in layout.two] + [CHECKOUT / "deploy/compose/haproxy.cfg"]:
        checked = subprocess.run(["/usr/sbin/haproxy", "-c", "-f", file], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_value_is_missing_in_the_files_of_the_cluster(layout):
    for host in layout.hosts.values():
        for file in host.folder.glob("*.*"):
            if file.is_file():
                assert not re.search("@[A-Z_]+@", file.read_text()), file


def test_the_clock_of_a_host_can_be_set(layout):
    import layout as module
    if not os.path.exists(module.FAKETIME):
        pytest.skip("libfaketime is not installed: make cluster-chaos installs it")
    host = layout.three[0]
    assert not module.clock(layout, host)
    layout.for_chaos = True
    layout.set_clock(host, 300)
    told = subprocess.run(f"{module.clock(layout, host)} date +%s", shell=True, stdout=subprocess.PIPE, check=True).stdout
    assert int(told) - time.time() > 200
    folder = layout.postgres_programs(host)
    assert "PostgreSQL" in subprocess.run([folder / "postgres", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert (folder / "pg_ctl").resolve().name == "pg_ctl"


def test_a_cluster_for_chaos_begins_where_none_ever_was(make_layout):
    for host in make_layout(for_chaos=True).three:
        assert (host.folder / "bin/postgres").exists()


def test_nobody_stops_writing_during_a_fault(layout):
    from chaos.cluster import ClusterRun
    run = ClusterRun(layout, 1, 0)
    run.start = time.monotonic()
    assert run.is_over()
    run.faults.is_busy = True
    assert not run.is_over()


def test_the_small_disks_and_clocks_are_for_chaos_alone(layout):
    from chaos.cluster import ClusterRun
    names = {name for name, _ in ClusterRun(layout, 1, 0).faults.catalogue()}
    assert names and not any(name.startswith(("disk", "clock")) for name in names)
    for host in layout.two:
        assert "LD_PRELOAD" not in (host.folder / "supervisord.conf").read_text()


@pytest.fixture(scope="module")
def cluster():
    """`make cluster` for these tests, and its removal."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    environment = {**os.environ, "CLUSTER_DIR": ".run-cluster-test", "CHAT_PORT": "8000",
                   "CHAT_BIN": os.environ.get("CHAT_BIN", ".build/release")}
    subprocess.run(["make", "cluster"], cwd=CHECKOUT, env=environment, check=True)
    yield environment
    subprocess.run(["make", "cluster-down"], cwd=CHECKOUT, env=environment, check=True)


@thorough
def test_a_message_crosses_hosts_and_goes_on_without_one(cluster, monkeypatch):
    monkeypatch.setenv("CHAT_DIR", cluster["CLUSTER_DIR"])
    for folder in ("cluster", "stack"):
        monkeypatch.syspath_prepend(str(CHECKOUT / "deploy" / folder))
    import layout
    made = layout.Cluster()
    status = subprocess.run(["make", "cluster-status"], cwd=CHECKOUT, env=cluster, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert len(re.findall("^[abc] .*rabbitmq running", status, re.M)) == 3, status
    asyncio.run(crosses(made))


@thorough
def test_the_ledger_of_cluster_chaos_is_right_after_a_fault(cluster):
    done = subprocess.run(["make", "cluster-chaos"], cwd=CHECKOUT, env={**cluster, "MINUTES": "0.3", "FAULTS": "programs of a killed"},
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0 and "| acknowledged and missing | 0 |" in done.stdout, done.stdout


@thorough
def test_one_host_becomes_three_while_people_write(cluster):
    done = subprocess.run(["make", "cluster-growth"], cwd=CHECKOUT, env=cluster, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0 and "| acknowledged and missing | 0 |" in done.stdout, done.stdout


async def crosses(made):
    secret = made.secrets()["JWT_SECRET"]
    url = made.url.replace("http", "ws", 1) + "/ws/v1/chat"
    sockets = {}
    users = [str(uuid.uuid4()) for _ in range(2)]

    async def opened(user, address):
        """nginx leads each new socket to the next host."""
        for _ in range(10):
            socket = await connect(url, additional_headers={"Authorization": f"Bearer {make_token(secret, user)}"})
            if socket.response.headers["X-Chat-Host"].startswith(f"{address}:"):
                return socket
            await socket.close()
        raise AssertionError(f"no socket leads to {address}")

    async def got(socket, sign):
        """The answer to a send, or the frame that a member gets."""
        async with asyncio.timeout(20):
            while True:
                frame = msgpack.unpackb(await socket.recv())
                data = frame.get("Data") or {}
                if sign in (frame.get("Sign"), data.get("Content")):
                    return frame

    def message(receiver):
        sign = str(uuid.uuid4())
        return sign, msgpack.packb(message_frame(ReceiverID=receiver, Content=sign, Sign=sign))
    for user, host in zip(users, made.two):
        sockets[user] = await opened(user, host.address)
    for sender, receiver in (users, users[::-1]):
        sign, frame = message(receiver)
        await sockets[sender].send(frame)
        assert (await got(sockets[sender], sign))["Success"]
        assert (await got(sockets[receiver], sign))["Data"]["Content"] == sign
    # The host without our programs: a third of all servers dies, and no socket.
    made.three[2].kill()
    sign, frame = message(users[1])
    for _ in range(20):
        await sockets[users[0]].send(frame)
        if (await got(sockets[users[0]], sign))["Success"]:
            break
        await asyncio.sleep(1)
    assert (await got(sockets[users[1]], sign))["Data"]["Content"] == sign
    for socket in sockets.values():
        await socket.close()
    made.three[2].boot(made.environment())

"""chat-load: its ledger says that the promises hold while the relay is reloaded and killed, and names what a bad server does."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import xml.etree.ElementTree as xml
from contextlib import closing

from client import User, make_token
from conftest import CHECKOUT, program, workers
from frame_proxy import FrameProxy
from load_runs import Load
from own_nginx import PATH, free_port
from waiting import eventually


def test_the_promises_hold_through_a_reload_a_new_program_and_a_kill(base_url, secret, pids, tmp_path):
    load = Load(base_url, secret, "--users", "12", "--rooms", "3", "--members", "6", "--rate", "60", "--duration", "5s", "--ramp",
                "1s", "--churn", "3", "--uploads", "2", "--size", "30-600", "--check-history", "--json", tmp_path / "load.json",
                "--html", tmp_path / "load.html", "--patience", "60s")
    load.wait_until_it_sends()
    for number in (signal.SIGHUP, signal.SIGUSR2):
        old = workers(pids, ["ws-relay"])
        for name, kind, pid in pids():
            if (name, kind) == ("ws-relay", "master"):
                os.kill(pid, number)
        eventually(lambda: workers(pids, ["ws-relay"]) and not workers(pids, ["ws-relay"]) & old)
    old = workers(pids, ["ws-relay"])
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    status, said = load.end()
    assert status == 0, said
    assert "the promises held" in said
    eventually(lambda: workers(pids, ["ws-relay"]) - old)

    found = json.loads((tmp_path / "load.json").read_text())
    ledger = found["Ledger"]
    assert found["Held"] and found["Examples"] == []
    assert {ledger[name] for name in ("Lost", "Doubled", "OutOfOrder", "Holes", "Altered", "Unknown")} == {0}, ledger
    assert 0 < ledger["Acknowledged"] <= ledger["InHistory"] <= ledger["Sent"], ledger
    assert ledger["Copies"] >= 6 * ledger["Acknowledged"] - 6 * ledger["Undelivered"]
    assert ledger["Uploads"] > 0 and ledger["Churned"] > 0 and ledger["Reconnects"] >= ledger["Churned"] - 12
    ack = found["Latencies"]["ack"]
    assert 0 < ack["p50"] <= ack["p99"] <= ack["max"] and ack["Table"][-1][1:] == [1.0, ack["Count"]]
    assert found["Settings"]["version of the server"] == "1.0.0"
    check_page((tmp_path / "load.html").read_text())


def check_page(page):
    """One page without scripts or other files; each picture has its text."""
    assert "<script" not in page and " src=" not in page and " href=" not in page and "url(" not in page
    pictures = re.findall(r"<svg viewBox=\"0 0 900.*?</svg>", page, re.S)
    assert len(pictures) == 5
    for picture in pictures:
        assert xml.fromstring(picture).attrib["aria-label"]
    assert "prefers-color-scheme:dark" in page


HARMS = {"drop": ["lost 1", "hole 1"], "double": ["doubled 1"], "swap": ["out of order 1"]}


def test_it_names_what_a_bad_server_does(base_url, secret):
    """Three at once: most of their time is waiting."""
    proxies = {harm: FrameProxy(base_url, harm) for harm in HARMS}
    loads = {harm: Load(proxy.url, secret, "--users", "4", "--rooms", "1", "--members", "4", "--rate", "40", "--duration", "2s",
                        "--ramp", "0s", "--patience", "10s", "--quiet") for harm, proxy in proxies.items()}
    for harm, load in loads.items():
        status, said = load.end()
        assert proxies[harm].harmed
        assert status == 1, (harm, said)
        verdict, example = said.splitlines()[:2]
        assert verdict == f"a promise was broken: {', '.join(HARMS[harm])}", said
        assert re.search(r"room [0-9a-f-]{36}, Seq \d+.*(Sign load-[0-9a-f-]{17}|user)", example), said
        proxies[harm].close()


def test_an_interrupted_run_reports_and_leaves_no_room(base_url, secret, tmp_path):
    me = User(base_url, secret)
    (tmp_path / "tokens").write_text("".join(f"{make_token(secret, user)}\n" for user in [me.id, "a host's user", "another"]))
    load = Load(base_url, None, "--tokens", tmp_path / "tokens", "--rooms", "2", "--members", "3", "--duration", "10m", "--rate",
                "20", "--ramp", "0s")
    load.wait_until_it_sends()
    # The first user owns them.
    assert len(me.data("GET", "/rooms")) == 2
    load.process.send_signal(signal.SIGINT)
    status, said = load.end()
    assert status == 0 and "the promises held" in said, said
    assert me.data("GET", "/rooms") == []


def test_wrong_use_and_an_unreachable_chat_are_said_plainly(base_url, secret, tmp_path):
    (tmp_path / "tokens").write_text("not.a.token\n")
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    cases = [
        (["--unknown"], "unknown"), (["--users", "0"], "--users takes 1 to 100000"), (["--users", "x"], "users"),
        (["--members", "30"], "--members is 30: there are only 20 users"), (["--rate", "-1"], "rate"),
        (["--rate", "fast"], "--rate takes a number a second"), (["--rate", "0"], "nothing is sent"),
        (["--duration", "soon"], "--duration takes a time"), (["--size", "9-5"], "--size takes bytes"),
        (["--size", "20000"], "--size takes bytes"), (["--upload-size", "9999999999"], "--upload-size takes"),
        (["--tokens", tmp_path / "tokens"], "--members is 10: there are only 1 users"),
        (["--tokens", tmp_path / "tokens", "--users", "1", "--members", "2"], "there are only 1 users"),
        (["--tokens", tmp_path / "tokens", "--token-command", "true"], "give one of"),
        (["--token-command", "echo nonsense"], "--token-command printed no JWT"),
        (["--secret-file", tmp_path / "missing"], "--secret-file"), (["--json", tmp_path / "no/where"], "cannot be written"),
        (["--url", "ftp://x"], "--url: it does not begin with http:// or https://"),
        (["--url", "http://a:b@x"], "--url: it contains a user or a password"),
        (["--url", nobody], "cannot be reached"),
        (["--url", f"{base_url}/elsewhere"], "is this the chat's address?"),
        (["--url", base_url.replace("http:", "https:")], "cannot be reached"),
    ]
    running = [(words, sentence, Load(base_url, secret, *words)) for words, sentence in cases]
    for words, sentence, load in running:
        status, said = load.end()
        assert status == 2 and sentence in said, (words, status, said)
    status, said = Load(base_url, "x" * 40).end()
    assert status == 2 and "refuses the token (401)" in said, said
    status, said = Load(base_url, None).end()
    assert status == 2 and "set JWT_SECRET" in said, said


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 200; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location /chat/ {{
      proxy_pass {base_url}/; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection; proxy_set_header Host $host; proxy_buffering off;
    }}
  }}
}}
"""


def test_over_tls_and_below_a_path(base_url, secret, tmp_path):
    port = free_port()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
                   check=True, capture_output=True)
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, base_url=base_url))
    (tmp_path / "secret").write_text(f"# The service's settings.\nJWT_SECRET={secret}\n")
    nginx = subprocess.Popen([shutil.which("nginx", path=PATH), "-c", tmp_path / "nginx.conf", "-e", tmp_path / "error.log"],
                             stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(port))
        url = f"https://127.0.0.1:{port}/chat/"
        words = ["--users", "4", "--rooms", "1", "--members", "4", "--rate", "40", "--duration", "1s", "--churn", "2", "--quiet",
                 "--secret-file", tmp_path / "secret"]
        status, said = Load(url, None, *words, "--authorities", tmp_path / "cert.pem").end()
        assert status == 0 and "the promises held" in said, said
        status, said = Load(url, None, *words).end()
        assert status == 2 and "certificate is refused" in said, said
    finally:
        nginx.terminate()
        nginx.wait(20)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def commands():
    """Each command of docs/load.md, with its continued lines."""
    page = (CHECKOUT / "docs/load.md").read_text()
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.replace("\\\n", " ").splitlines()
            if "chat-load" in line]


def test_the_page_says_commands_that_work(base_url, secret, tmp_path):
    """As they stand, but shorter, and against this stack."""
    (tmp_path / "secret").write_text(secret)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/chat-load").symlink_to(program("chat-load").resolve())
    token = tmp_path / "bin/host-token"
    issue, settings = (shlex.quote(str(path)) for path in (program("fcgi-api").resolve(), os.environ["TEST_ENV_FILE"]))
    token.write_text(f'#!/bin/sh\nexec {issue} token issue --user "$1" -c {settings}\n')
    token.chmod(0o755)
    found = commands()
    assert len(found) >= 4
    running = []
    for line in found:
        line = re.sub(r"--duration \S+", "--duration 1s", line).replace("/etc/chat/.env", str(tmp_path / "secret"))
        line = re.sub(r"https?://[a-z0-9.:/-]+", base_url, line).replace("./", f"{tmp_path}/")
        if line.startswith("chat-load run") and "--url" not in line:
            line += f" --url {base_url}"
        running.append((line, subprocess.Popen(
            ["bash", "-ec", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
            env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})))
    for line, process in running:
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, (line, said)

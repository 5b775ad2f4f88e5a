"""Apache, lighttpd and Caddy in front of fcgi-api, with the configurations of docs/web-servers.md: each passes its own check
and a few requests. /metrics is closed behind all of them.
"""

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest
import requests
from client import make_token
from conftest import CHECKOUT
from own_nginx import PATH, free_port, site
from waiting import eventually

NGINX = """
  include {folder}/chat/upstreams.conf;
  server { listen 127.0.0.1:{main}; include {folder}/chat/locations.conf; }
"""


@pytest.fixture(scope="module")
def here():
    with site(NGINX, ["main"], {"PUBLIC_URL": None, "SOCKET_MODE": "0666"}, programs=("fcgi-api",)) as started:
        yield started


def documented(name, here, port):
    """The configuration from the page, with this site's sockets and port."""
    page = (CHECKOUT / "docs/web-servers.md").read_text()
    text = re.search(rf"```{name}\n(.*?)```", page, re.S)[1]
    assert "/run/chat/" in text
    return text.replace("/run/chat/", f"{here.run}/").replace("8080", str(port))


@contextmanager
def running(words, port, **options):
    process = subprocess.Popen(words, env={"PATH": PATH, "HOME": "/tmp", **options}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(port), 30, lambda: f"{words[0]} does not answer")
        yield
    finally:
        process.terminate()
        process.wait(30)


def answers(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/api/v1/healthz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def check(words, **options):
    done = subprocess.run(words, env={"PATH": PATH, "HOME": "/tmp", **options}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def apache(here, port):
    modules = "/usr/lib/apache2/modules"
    names = ["mpm_event", "authz_core", "proxy", "proxy_fcgi", "proxy_http", "proxy_wstunnel", "rewrite", "setenvif", "headers"]
    loads = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in names
                    if os.path.exists(f"{modules}/mod_{name}.so"))
    path = here.folder / "apache.conf"
    path.write_text(f"{loads}ServerRoot {here.folder}\nPidFile {here.folder}/apache.pid\nErrorLog {here.folder}/apache.log\n"
                    f"ServerName localhost\nUser www-data\nGroup www-data\n" + documented("apache", here, port))
    return ["apache2", "-f", path, "-t"], ["apache2", "-f", path, "-DFOREGROUND"]


def lighttpd(here, port):
    path = here.folder / "lighttpd.conf"
    path.write_text(f'server.document-root = "/var/empty"\nserver.errorlog = "{here.folder}/lighttpd.log"\n'
                    + documented("lighttpd", here, port))
    return ["lighttpd", "-tt", "-f", path], ["lighttpd", "-D", "-f", path]


def caddy(here, port):
    path = here.folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + documented("caddy", here, port))
    return ["caddy", "validate", "--adapter", "caddyfile", "--config", path], ["caddy", "run", "--adapter", "caddyfile", "--config", path]


@pytest.mark.parametrize("server,program", [(apache, "apache2"), (lighttpd, "lighttpd"), (caddy, "caddy")])
def test_another_web_server_in_front(here, secret, server, program):
    if not shutil.which(program, path=PATH):
        pytest.skip(f"{program} is not installed")
    port = free_port()
    test, run = server(here, port)
    check(test)
    with running(run, port):
        base = f"http://127.0.0.1:{port}/api/v1"
        user = "01900000-0000-7000-8000-000000000001"
        headers = {"Authorization": f"Bearer {make_token(secret, user)}"}
        room = requests.post(f"{base}/rooms", json={"Type": "GROUP", "Name": "x"}, headers=headers, timeout=20)
        assert room.status_code == 201, room.text
        room = room.json()["Data"]["ID"]
        # A chunked body without a length: read when it is small, refused with a clear error otherwise.
        body = json.dumps({"Content": "in chunks"}).encode()
        sent = requests.post(f"{base}/rooms/{room}/messages", data=iter([body[:5], body[5:]]), timeout=20,
                             headers={**headers, "Content-Type": "application/json"})
        assert sent.status_code == 201 and sent.json()["Data"]["Content"] == "in chunks", sent.text
        large = requests.post(f"{base}/rooms/{room}/messages", data=iter([b"x" * 65_536] * 3), timeout=20,
                              headers={**headers, "Content-Type": "application/json"})
        assert large.status_code in (411, 413), large.text
        for path in ("/metrics", "/metrics/", "//metrics"):
            assert requests.get(base + path, timeout=20).status_code in (403, 404), path
            told = {"X-Forwarded-For": "127.0.0.1"}
            assert requests.get(base + path, headers=told, timeout=20).status_code in (403, 404), path
        # Apache and lighttpd make one slash of two before they look for a location; to the programs it is another address.
        for address in (f"http://127.0.0.1:{port}//api/v1/rooms", f"{base}//rooms"):
            assert requests.get(address, headers=headers, timeout=20).status_code in (200, 404), address

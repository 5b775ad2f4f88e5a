"""The include files as an operator uses them: two lines in an nginx that was there before, under a prefix of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import msgpack
import pytest
import requests
from client import User, message_frame
from conftest import CHECKOUT
from websockets.sync.client import connect

CONFIGURATION = """
user root;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 100; }}
http {{
  access_log access.log combined;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path u; scgi_temp_path s;
  include {folder}/chat/upstreams.conf;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "the site that was there\\n"; }}
    location /talk/ {{
      access_log chat.log chat;
      include {folder}/chat/locations.conf;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx(settings):
    folder = Path(tempfile.mkdtemp(prefix="chat-nginx-"))
    shutil.copytree(CHECKOUT / "nginx/include", folder / "chat")
    upstreams = folder / "chat/upstreams.conf"
    upstreams.write_text(upstreams.read_text().replace("/run/chat/", settings["RUN_DIR"] + "/"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = CONFIGURATION.format(folder=folder, port=port)
    if os.geteuid() != 0:
        text = text.replace("user root;\n", "")
    (folder / "nginx.conf").write_text(text)
    path = os.environ["PATH"] + ":/usr/sbin"
    command = [shutil.which("nginx", path=path), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
    process = subprocess.Popen(command)
    base = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            requests.get(base, timeout=1)
            break
        except requests.ConnectionError:
            assert process.poll() is None, "nginx did not start"
            time.sleep(0.05)
    yield base, folder
    process.send_signal(signal.SIGQUIT)
    process.wait(10)
    shutil.rmtree(folder)


def test_the_chat_lives_under_a_prefix_beside_the_site(nginx, secret):
    base, folder = nginx
    assert requests.get(base + "/anything", timeout=5).text == "the site that was there\n"
    ann, bob = User(base + "/talk", secret), User(base + "/talk", secret)
    room = ann.group(bob)
    assert ann.data("POST", f"/rooms/{room}/messages", {"Content": "under a prefix"}, 201)["Seq"] == 1
    with connect(f"ws{base[4:]}/talk/ws/v1/chat?token={bob.token}") as socket:
        assert msgpack.unpackb(socket.recv(5))["Type"] == "welcome"
        socket.send(msgpack.packb(message_frame(RoomID=room)))
        while (frame := msgpack.unpackb(socket.recv(5)))["Type"] != "response":
            print(frame)
        assert frame["Seq"] == 2
    assert [message["Seq"] for message in ann.history(room)] == [1, 2]
    missing = requests.get(base + "/talk/api/v1/nothing", timeout=5, headers={"X-Request-ID": "mine-1"})
    assert missing.status_code == 404 and missing.json()["Error"]["Code"] == "not_found"
    assert missing.json()["RequestID"] == missing.headers["X-Request-ID"] == "mine-1"
    log = (folder / "chat.log").read_text()
    assert "/talk/ws/v1/chat" in log and bob.token not in log
    # The site's own log is not the chat's.
    assert bob.token not in (folder / "access.log").read_text()

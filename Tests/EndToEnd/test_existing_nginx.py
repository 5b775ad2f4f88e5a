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
from test_files import bytes_of, form
from test_tus import metadata, patch, tus
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
    for name, theirs, ours in [
        ("upstreams", "/run/chat/", settings["RUN_DIR"] + "/"),
        ("upstreams", "127.0.0.1:8333;", settings["S3_ENDPOINT"].removeprefix("http://") + ";"),
        ("locations", "/var/lib/chat/files/", f"{settings['RUN_DIR']}/run/files/"),
    ]:
        path = folder / f"chat/{name}.conf"
        text = path.read_text()
        assert theirs in text
        path.write_text(text.replace(theirs, ours))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = CONFIGURATION.format(folder=folder, port=port)
    if os.geteuid() != 0:
        text = text.replace("user root;\n", "")
    (folder / "nginx.conf").write_text(text)
    path = os.environ["PATH"] + ":/usr/sbin"
    command = [shutil.which("nginx", path=path), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    # As a daemon: nginx takes no new binary while its first parent lives.
    subprocess.run(command, check=True)
    base = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            requests.get(base, timeout=1)
            break
        except requests.ConnectionError:
            time.sleep(0.05)
    yield base, folder
    os.kill(pid(folder), signal.SIGTERM)
    wait_for(lambda: not (folder / "nginx.pid").exists())
    shutil.rmtree(folder)


def pid(folder, name="nginx.pid"):
    return int((folder / name).read_text())


def wait_for(happens, seconds=10):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def is_alive(process):
    return os.path.exists(f"/proc/{process}") and ") Z " not in Path(f"/proc/{process}/stat").read_text()


def children(process):
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def talk(socket, user, room, text):
    answer = socket.ask(message_frame(RoomID=room, Content=text))
    assert answer["Success"], answer
    assert [message["Content"] for message in user.history(room)][-1] == text


def test_sockets_outlive_a_reload_of_nginx(nginx, secret):
    base, folder = nginx
    ann = User(base + "/talk", secret)
    room = ann.group()
    with ann.socket() as old:
        before = children(pid(folder))
        os.kill(pid(folder), signal.SIGHUP)
        wait_for(lambda: set(children(pid(folder))) - set(before))
        talk(old, ann, room, "through a worker that shuts down")
        with ann.socket() as new:
            talk(new, ann, room, "through a new one")
            old.new_message("through a new one")
        assert set(before) <= set(children(pid(folder))), "the old worker has not waited for its socket"
    wait_for(lambda: not set(before) & set(children(pid(folder))))


def test_sockets_outlive_another_binary_of_nginx(nginx, secret):
    base, folder = nginx
    ann = User(base + "/talk", secret)
    room = ann.group()
    with ann.socket() as socket:
        old = pid(folder)
        os.kill(old, signal.SIGUSR2)
        wait_for(lambda: (folder / "nginx.pid.oldbin").exists() and (folder / "nginx.pid").exists())
        os.kill(old, signal.SIGQUIT)
        talk(socket, ann, room, "the old binary still holds this one")
        with ann.socket() as new:
            talk(new, ann, room, "and the new one that")
            socket.new_message("and the new one that")
        assert is_alive(old)
    wait_for(lambda: not is_alive(old))


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


def test_files_live_under_the_prefix_too(nginx, secret, settings, reconfigure):
    base, _ = nginx
    site = base + "/talk"
    reconfigure("fcgi-api", PUBLIC_URL=site, STORAGE=f"disk:{settings['RUN_DIR']}/run/files")
    ann, bob = User(site, secret), User(site, secret)
    room = ann.group(bob)
    html = {"Accept": "text/html"}
    for target, where in [("/talk/rooms/1", "/talk/rooms/1"), (base + "/shop", base + "/shop"), (site, site),
                          (base + ".evil.example/", "/"), ("https://evil.example/talk/", "/")]:
        answer = form(ann, room, b"%PDF-1.4 x", headers=dict(html), data={"Redirect": target})
        assert (answer.status_code, answer.headers["Location"]) == (303, where), target
    page = form(ann, room, auth=False, headers=dict(html), data={"token": "junk"})
    assert page.status_code == 401 and page.headers["Content-Type"].startswith("text/html")
    cookie = ann.rest("POST", "/session", expect=200).headers["Set-Cookie"].split(";")[0]
    for origin, status in [(base, 303), (site, 403), ("https://evil.example", 403)]:
        headers = {**html, "Cookie": cookie, "Origin": origin}
        assert form(ann, room, auth=False, headers=headers).status_code == status, origin
    message = ann.history(room)[-1]["ID"]
    link = bob.rest("GET", f"/files/{message}", expect=302, allow_redirects=False).headers["Location"]
    assert link.startswith(f"{site}/api/v1/files/stored/") and bytes_of(bob, message).content == b"the content"
    begun = tus(ann, "POST", Upload_Length=3, Upload_Metadata=metadata(room=room, filename="a.txt"))
    path = begun.headers["Location"]
    assert path.startswith("/talk/api/v1/files/tus/")
    assert patch(ann, base + path, 0, b"abc").status_code == 204
    assert bytes_of(bob, path.rsplit("/", 1)[1]).content == b"abc"
    reconfigure("fcgi-api", PUBLIC_URL=site, DOWNLOADS="proxy")
    stored = form(ann, room, b"in the store").json()["Data"]["ID"]
    assert bob.rest("GET", f"/files/{stored}", expect=200, allow_redirects=False).content == b"in the store"

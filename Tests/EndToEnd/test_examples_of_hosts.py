"""examples/: host applications with whole numbers as ids and sessions of their own, and real clients of theirs."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import requests
from client import Socket, message_frame
from conftest import CHECKOUT, read_settings
from php_site import php_site

EXAMPLES = CHECKOUT / "examples"


@pytest.fixture(params=["django-like", "php"])
def host(request, base_url, tmp_path):
    """Asks the host application: (path, body, cookies) gives status, answer and cookies."""
    start = django_like if request.param == "django-like" else php
    yield from start(base_url, tmp_path)


def django_like(base_url, tmp_path):
    values = {**os.environ, "CHAT_URL": base_url, "JWT_SECRET": read_settings()["JWT_SECRET"], "SECRET_KEY": "k" * 50}
    program = subprocess.Popen([sys.executable, EXAMPLES / "django-like/app.py", "0"], env=values, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        url = program.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")

        def ask(path, body=None, cookies=None):
            answer = requests.post(url + path, json=body or {}, cookies=cookies, timeout=30)
            return answer.status_code, answer.json(), answer.cookies.get_dict()
        yield ask
    finally:
        program.terminate()
        program.wait(20)


def php(base_url, tmp_path):
    assert shutil.which("php"), "php is missing: apt-get install php-cli php-curl"
    values = {"CHAT_URL": base_url, "JWT_SECRET": read_settings()["JWT_SECRET"]}
    with php_site(tmp_path, EXAMPLES / "php/index.php", **values) as socket:

        def ask(path, body=None, cookies=None):
            words = [word for name, value in (cookies or {}).items() for word in ("-b", f"{name}={value}")]
            done = subprocess.run(["curl", "-s", "-i", "--unix-socket", socket, f"http://site{path}", *words, "-H",
                                   "Content-Type: application/json", "-d", json.dumps(body or {})],
                                  capture_output=True, text=True, timeout=60)
            head, _, text = done.stdout.replace("\r\n", "\n").partition("\n\n")
            set_cookies = [line.split(": ", 1)[1].split(";")[0] for line in head.split("\n")
                           if line.lower().startswith("set-cookie:")]
            return int(head.split()[1]), json.loads(text), dict(cookie.split("=", 1) for cookie in set_cookies)
        yield ask


class Visitor:
    """Somebody with a browser: the host's cookie, and a WebSocket by the host's ticket."""

    def __init__(self, host, base_url, name):
        self.host, self.base_url = host, base_url
        status, answer, self.cookies = host("/login", {"username": name, "password": name * 2})
        assert status == 200, answer
        self.number = answer["id"]

    def ask(self, path, body=None):
        status, answer, _ = self.host(path, body, self.cookies)
        assert status == 200, answer
        return answer

    def socket(self):
        self.id = None
        return Socket(self, headers={}, query=f"?ticket={self.ask('/chat/ticket')['Ticket']}")


def test_users_of_a_host_chat_under_their_numbers(host, base_url):
    alice, bob = Visitor(host, base_url, "alice"), Visitor(host, base_url, "bob")
    assert (alice.number, bob.number) == (1, 2)
    with alice.socket() as hers, bob.socket() as his:
        room = alice.ask("/chat/rooms", {"name": "lunch", "members": [bob.number]})
        assert room["MemberCount"] == 2
        created = his.wait(lambda frame: frame["Type"] == "room_updated" and frame["RoomID"] == room["ID"])
        assert created["Data"]["Change"] == "created"
        assert hers.ask(message_frame(RoomID=room["ID"], Content="from a number"))["Success"]
        assert his.new_message("from a number")["Data"]["SenderID"] == hers.frames[0]["Data"]["UserID"]
        answer = his.ask(message_frame(ReceiverID=str(alice.number), Content="between us"))
        assert answer["Success"]
        hers.new_message("between us")


def test_a_host_keeps_strangers_out(host, base_url):
    assert host("/login", {"username": "alice", "password": "bob"})[0] == 403
    assert host("/chat/ticket")[0] == 403
    alice = Visitor(host, base_url, "alice")
    forged = {name: value[:-1] + ("A" if value[-1] != "A" else "B") for name, value in alice.cookies.items()}
    assert host("/chat/ticket", {}, forged)[0] == 403
    assert host("/chat/rooms", {"name": "x", "members": ["no number"]}, alice.cookies)[0] == 400
    assert host("/chat/rooms", {"name": "", "members": [2]}, alice.cookies)[0] == 422


@pytest.mark.parametrize("file", ["django-like/app.py", "php/index.php"])
def test_an_example_is_short(file):
    assert len((EXAMPLES / file).read_text().splitlines()) < 100

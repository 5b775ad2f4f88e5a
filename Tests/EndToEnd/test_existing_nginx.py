"""The include files as an operator uses them: in an existing nginx with other applications."""

import os
import re
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import pytest
import requests
from client import User, message_frame
from own_nginx import site
from uploads import form, metadata, patch, tus
from waiting import children_of, eventually
from websockets.sync.client import connect

SITES = """
  include {folder}/chat/upstreams.conf;
  server {
    listen 127.0.0.1:{main};
    include {folder}/chat/locations.conf;
    location / { return 200 "the site that was there\\n"; }
    location /php/ { internal; return 200 "script $uri ran\\n"; }
    location /shop/ { return 200 "the shop\\n"; }
    location ~ \\.php$ { return 200 "php\\n"; }
  }
  server {
    listen 127.0.0.1:{prefixed};
    include {folder}/chat/server.conf;
    location / { return 200 "the site that was there\\n"; }
    location /talk/ { include {folder}/chat/prefixed.conf; }
    location /a/b-2/c/ { include {folder}/chat/prefixed.conf; }
    location /talk/php/ { internal; return 200 "script $uri ran\\n"; }
    location /talk/shop/ { return 200 "the shop\\n"; }
  }
"""
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def here():
    with site(SITES, ["main", "prefixed"], {"PUBLIC_URL": None}) as started:
        yield started


@pytest.fixture
def talk_user(here, secret):
    return lambda: User(here.base("prefixed") + "/talk", secret)


def is_alive(process):
    return os.path.exists(f"/proc/{process}") and ") Z " not in Path(f"/proc/{process}/stat").read_text()


def talk(socket, user, room, text):
    answer = socket.ask(message_frame(RoomID=room, Content=text))
    assert answer["Success"], answer
    assert [message["Content"] for message in user.history(room)][-1] == text


def at(link, user):
    """The address to which a browser would go."""
    return requests.compat.urljoin(user.base_url, link)


def bytes_of(user, message):
    link = user.rest("GET", f"/files/{message}", expect=302, allow_redirects=False).headers["Location"]
    return requests.get(at(link, user), timeout=30)


def test_sockets_outlive_a_reload_of_nginx(here, talk_user):
    ann = talk_user()
    room = ann.group()
    with ann.socket() as old:
        before = children_of(here.pid())
        os.kill(here.pid(), signal.SIGHUP)
        eventually(lambda: set(children_of(here.pid())) - set(before))
        talk(old, ann, room, "through a worker that shuts down")
        with ann.socket() as new:
            talk(new, ann, room, "through a new one")
            old.new_message("through a new one")
        assert set(before) <= set(children_of(here.pid())), "the old worker has not waited for its socket"
    eventually(lambda: not set(before) & set(children_of(here.pid())))


def test_sockets_outlive_another_binary_of_nginx(here, talk_user):
    ann = talk_user()
    room = ann.group()
    with ann.socket() as socket:
        old = here.pid()
        os.kill(old, signal.SIGUSR2)
        eventually(lambda: (here.folder / "nginx.pid.oldbin").exists() and (here.folder / "nginx.pid").exists())
        os.kill(old, signal.SIGQUIT)
        talk(socket, ann, room, "the old binary still holds this one")
        with ann.socket() as new:
            talk(new, ann, room, "and the new one that")
            socket.new_message("and the new one that")
        assert is_alive(old)
    eventually(lambda: not is_alive(old))


@pytest.mark.parametrize("name,prefix", [("main", ""), ("prefixed", "/talk"), ("prefixed", "/a/b-2/c")])
def test_the_chat_lives_beside_the_site(here, secret, name, prefix):
    base = here.base(name)
    assert requests.get(base + "/anything", timeout=5).text == "the site that was there\n"
    ann, bob = User(base + prefix, secret), User(base + prefix, secret)
    room = ann.group(bob)
    assert ann.data("POST", f"/rooms/{room}/messages", {"Content": "under a prefix"}, 201)["Seq"] == 1
    with connect(f"ws{base[4:]}{prefix}/ws/v1/chat?token={bob.token}") as socket:
        assert msgpack.unpackb(socket.recv(5))["Type"] == "welcome"
        socket.send(msgpack.packb(message_frame(RoomID=room)))
        while (frame := msgpack.unpackb(socket.recv(5)))["Type"] != "response":
            print(frame)
        assert frame["Seq"] == 2
    assert bob.rest("GET", "/events?wait=1", expect=200).json()["Data"][0]["Type"] == "welcome"
    assert [message["Seq"] for message in ann.history(room)] == [1, 2]
    missing = requests.get(f"{base}{prefix}/api/v1/nothing", timeout=5, headers={"X-Request-ID": "mine-1"})
    assert missing.status_code == 404 and missing.json()["Error"]["Code"] == "not_found"
    assert missing.json()["RequestID"] == missing.headers["X-Request-ID"] == "mine-1"


@pytest.mark.parametrize("name,path,text", [
    ("main", "/shop/api/v1/rooms", "the shop\n"), ("main", "/shop/ws/v1/chat", "the shop\n"),
    ("main", "/shop/api/v1/index.php", "php\n"), ("main", "/foo/api/v1/rooms", "the site that was there\n"),
    ("main", "/game/ws/v1/chat", "the site that was there\n"), ("main", "/api/v12/rooms", "the site that was there\n"),
    ("main", "/api/v1x", "the site that was there\n"), ("main", "/ws/v1/chatter", "the site that was there\n"),
    ("main", "/.chat-error", "the site that was there\n"), ("main", "/metrics", "the site that was there\n"),
    ("prefixed", "/api/v1/rooms", "the site that was there\n"), ("prefixed", "/ws/v1/chat", "the site that was there\n"),
    ("prefixed", "/other/talk/api/v1/rooms", "the site that was there\n"),
    ("prefixed", "/talk/shop/api/v1/rooms", "the shop\n"), ("prefixed", "/a/api/v1/rooms", "the site that was there\n"),
])
def test_other_applications_keep_their_addresses(here, name, path, text):
    status, _, body = here.ask("GET", path, name=name)
    assert (status, body.decode()) == (200, text)


SECRET = b"TOP SECRET of the room"


def attacks():
    """Requests that nginx itself refuses, with addresses that would select an internal location if any part of them did."""
    for target in ["/.chat-files/files/{id}", "/files/{id}", "/php/x.php", "/.chat-store/x", "/.chat-error", "/@chat_files"]:
        for cut in ["%3F", "%23", "%3f%3f", "%00", "%0a", "%20", "%2e%2e", "//", "/%2e%2e/", "%2F", "%3F/.."]:
            for end in ["/api/v1/rooms", "/ws/v1/chat", "/api/v1/files/x/upload", "//api/v1/rooms"]:
                yield target + cut + end


@pytest.mark.parametrize("name,prefix", [("main", ""), ("prefixed", ""), ("prefixed", "/talk"), ("prefixed", "/a/b-2/c")])
def test_no_address_leads_into_an_internal_location(here, name, prefix):
    stored = str(uuid.uuid4())
    place = here.files / "objects/files"
    place.mkdir(parents=True, exist_ok=True)
    for folder in (place, place.parent):
        folder.chmod(0o711)
    (place / stored).write_bytes(SECRET)
    (place / stored).chmod(0o644)
    wrong = [("POST", ["Content-Length: 99000000"]), ("TRACE", []),
             ("GET", ["Accept: text/html", "Content-Length: 99000000"]), ("GET", [])]

    def attack(path):
        for method, headers in wrong:
            status, _, body = here.ask(method, prefix + path.format(id=stored), headers, name=name)
            if SECRET in body or b" ran" in body:
                return method, path, status, body
        return None

    with ThreadPoolExecutor(8) as pool:
        assert not [found for found in pool.map(attack, attacks()) if found]
    (place / stored).unlink()


@pytest.mark.parametrize("name,prefix", [("main", ""), ("prefixed", "/talk")])
def test_errors_of_nginx_are_in_the_envelope(here, name, prefix):
    """The error as JSON, and as a page for a browser."""
    long = "x" * 40_000
    for status, method, path, headers, code in [
        (413, "POST", "/api/v1/rooms", ["Content-Length: 70000"], "too_large"),
        (413, "POST", f"/api/v1/rooms/{uuid.uuid4()}/files", ["Content-Length: 99000000"], "too_large"),
        (400, "GET", "/api/v1/%00", [], None), (414, "GET", f"/api/v1/{long}", [], None),
        (400, "GET", "/api/v1/rooms", [f"X-A: {long}"], None), (405, "TRACE", "/api/v1/rooms", [], None),
    ]:
        got, told, body = here.ask(method, prefix + path, headers, name=name)
        # An error before a location is known is answered by the surrounding server{}.
        assert got == status, (path[:40], got, body)
        if code is None:
            continue
        assert told["content-type"].startswith("application/json") and told["x-content-type-options"] == "nosniff"
        assert b'"Code": "%s"' % code.encode() in body and b'"RequestID": "' in body
        assert told["x-request-id"].encode() in body and "default-src 'none'" in told["content-security-policy"]
        referer = "Referer: http://site.example/rooms/7?x=1"
        got, told, body = here.ask(method, prefix + path, [*headers, "Accept: text/html,*/*", referer], name=name)
        assert got == status and told["content-type"] == "text/html; charset=utf-8"
        assert b'href="/rooms/7?x=1"' in body and b"24 MB" in body and told["x-request-id"].encode() in body
        for elsewhere in ("http://evil.example/", "http://site.example.evil/x", 'http://site.example/"><script>', "javascript:x"):
            _, _, body = here.ask(method, prefix + path, [*headers, "Accept: text/html", f"Referer: {elsewhere}"], name=name)
            assert b'href="/"' in body and b"evil" not in body and b"script" not in body


def test_a_dead_program_is_a_503(here, talk_user):
    ann = talk_user()
    (here.run / "fcgi-rooms.sock").rename(here.run / "away")
    try:
        answer = ann.rest("GET", "/rooms", expect=503)
        page = ann.rest("GET", "/rooms", expect=503, headers=HTML)
    finally:
        (here.run / "away").rename(here.run / "fcgi-rooms.sock")
    assert answer.headers["Retry-After"] == "1" and answer.json()["Error"] == {
        "Code": "unavailable", "Message": "the service is not available right now: try again", "RetryAfter": 1000}
    assert "try again" in page.text and "<h1>" in page.text and page.headers["Retry-After"] == "1"


def test_no_log_shows_what_opens_anything(here, talk_user):
    before = here.log("access.log")
    ann, bob = talk_user(), talk_user()
    room = ann.group(bob)
    ticket = ann.data("POST", "/ws-ticket", expect=201)["Ticket"]
    message = form(ann, room, b"x" * 100).json()["Data"]["ID"]
    link = ann.rest("GET", f"/files/{message}", expect=302, allow_redirects=False).headers["Location"]
    signature = link.rsplit("signature=", 1)[1]
    assert requests.get(at(link, ann), timeout=10).status_code == 200
    token = bob.token
    for path in (f"/talk/ws/v1/chat?token={token}", f"/talk/ws/v1/chat?%74oken={token}", f"/talk/ws/v1/chat?a=1&toke%6e={token}",
                 f"/talk/ws/v1/chat%3Ftoken={token}", f"/talk/ws/v1/chat%3F%74oken={token}", f"/talk/api/v1/rooms?TOKEN={token}",
                 f"/talk/api/v1/events?wait=0&token={token}", f"/talk/api/v1/events?ticket={ticket}&last_event_id=x",
                 f"/talk/api/v1/events%3Ftoken={token}", f"/talk/api/v1/events&token={token}", f"/talk/api/v1/events/token={token}",
                 f"/talk/api/v1/rooms%3Ftoken={token}", f"/talk/api/v1/rooms/x%3dtoken%3d{token}",
                 f"/talk/api/v1/devices/{token}/more", f"/talk/api/v1/devices%2f{token}", f"/talk/api/v1//devices/{token}",
                 f"/talk/api/v1/Devices/{token}", f"/talk/api/v1/events/{token}", f"/talk/api/v1/events%3F{token}",
                 f"/talk/api/v1/rooms%3Ftoken%253D{token}", f"/talk/api/v1/rooms%253Ftoken%253D{token}", f"/talk/api/v1/rooms?jwt={token}",
                 f"/talk/api/v1/d%65vices/{token}", f"/talk/api/v1/devices;/{token}", f"/talk/api/v1/rooms?limit={token}", f"/talk/api/v1/{ticket}", f"/talk/api/v1%2fdevices/{token}", f"/talk/ws/v1/chat?q={ticket}", f"/talk/api/v1/rooms?room={ticket}",
                 f"/talk/api/v1/rooms?cursor={ticket}", f"/talk/api/v1/rooms/join/{ticket[:32]}", f"/talk/api/v1/search?q=%65yJ{token[3:]}",
                 f"/talk/api/v1/events:token:{token}", f"/talk/api/v1/events%3Ftoken:{token}", f"/talk/ws/v1/chat?ticket={ticket}", "/talk/api/v1/rooms?x=1&y=2"):
        here.ask("GET", path, [f"Referer: http://site.example/page?token={token}"], name="prefixed")
        here.ask("GET", path, [f"Referer: http://site.example/{ticket}", f"X-Request-ID: {token[:64]}"], name="prefixed")
        here.ask("GET", path, [f"Referer: https://app.example/join/{ticket[:32]}", f"X-Request-ID: {ticket}"], name="prefixed")
        # nginx's error log repeats an address: of REST, which takes no token there, it is kept.
        if "/api/" not in path:
            here.ask("POST", path, ["Content-Length: 99000000"], name="prefixed")
    for program in ("ws-relay", "fcgi-uploads"):
        (here.run / f"{program}.sock").rename(here.run / "away")
        here.ask("GET", f"/talk/ws/v1/chat?token={token}", name="prefixed")
        here.ask("GET", f"/talk/api/v1/events?wait=1&token={token}", name="prefixed")
        here.ask("GET", "/talk" + link.split("/talk", 1)[1], name="prefixed")
        (here.run / "away").rename(here.run / f"{program}.sock")
    time.sleep(0.2)
    log = here.log("chat.log")
    assert re.search(r'"GET /talk/ws/v1/chat\?\[redacted\]" 4\d\d', log) and "/talk/api/v1/rooms?x=1&y=2" in log
    for name in ("chat.log", "access.log", "error.log", "fcgi-api.log", "ws-relay.log"):
        told = here.log(name)
        for secret in (token, ticket, signature, token[:64], token[3:], ticket[:32]):
            assert secret not in told, (name, [line for line in told.splitlines() if secret in line][:3])
    # The site's own log must not contain chat requests.
    assert "/talk/" not in here.log("access.log")[len(before):]


def test_no_address_holds_a_worker_of_nginx(here):
    """The part that the log shows is found in one pass: PCRE gives up after ten million steps, and nginx says so."""
    before = here.log("error.log")
    for path in ["/nothing?" + "q=a&" * 24 + "'", "/nothing?" + "limit=1&" * 800 + "'", "/" + "a/" * 3000 + "'",
                 "/nothing?ids=" + ",".join(["0190a0b0-1234-7000-8000-123456789abc"] * 150) + "'"]:
        here.ask("GET", "/talk/api/v1" + path, ["Referer: https://a.example" + path.replace("?", "/")], name="prefixed")
        shown = path.partition("?")[0].rstrip("'")
        eventually(lambda: f'"GET /talk/api/v1{shown}' in here.log("chat.log"))
    assert "match() failed" not in here.log("error.log")[len(before):]


def test_a_device_stands_in_no_log_when_its_program_is_away(here, talk_user):
    ann, device = talk_user(), "FCM-token-of-a-device"
    before = here.log("error.log")
    (here.run / "fcgi-account.sock").rename(here.run / "away")
    try:
        ann.rest("PUT", f"/devices/{device}", {}, expect=503)
        ann.rest("GET", "/account", expect=503)
    finally:
        (here.run / "away").rename(here.run / "fcgi-account.sock")
    ann.rest("PUT", f"/devices/{device}", {"Platform": "x" * 70_000}, expect=413)
    eventually(lambda: "/account" in here.log("error.log")[len(before):])
    assert not [name for name in ("chat.log", "access.log", "error.log", "fcgi-api.log") if device in here.log(name)]


def test_files_live_under_the_prefix_too(here, talk_user):
    ann, bob = talk_user(), talk_user()
    base = here.base("prefixed")
    room = ann.group(bob)
    for target, where in [("/talk/rooms/1", "/talk/rooms/1"), (base + ".evil.example/", "/"), ("https://evil.example/talk/", "/")]:
        answer = form(ann, room, b"%PDF-1.4 x", headers=dict(HTML), data={"Redirect": target})
        assert (answer.status_code, answer.headers["Location"]) == (303, where), target
    page = form(ann, room, auth=False, headers=dict(HTML), data={"token": "junk"})
    assert page.status_code == 401 and page.headers["Content-Type"].startswith("text/html")
    cookie = ann.rest("POST", "/session", expect=200).headers["Set-Cookie"].split(";")[0]
    for origin, status in [(base, 303), (base + "/talk", 403), ("https://evil.example", 403)]:
        headers = {**HTML, "Cookie": cookie, "Origin": origin}
        assert form(ann, room, auth=False, headers=headers).status_code == status, origin
    message = ann.history(room)[-1]["ID"]
    got = bytes_of(bob, message)
    assert got.content == b"the content" and got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Security-Policy"].startswith("sandbox")
    begun = tus(ann, "POST", Upload_Length=3, Upload_Metadata=metadata(room=room, filename="a.txt"))
    path = begun.headers["Location"]
    assert path.startswith("/talk/api/v1/files/tus/")
    assert patch(ann, base + path, 0, b"abc").status_code == 204
    assert bytes_of(bob, path.rsplit("/", 1)[1]).content == b"abc"
    other = User(base + "/a/b-2/c", "x")
    other.token = bob.token
    assert bytes_of(other, path.rsplit("/", 1)[1]).content == b"abc"

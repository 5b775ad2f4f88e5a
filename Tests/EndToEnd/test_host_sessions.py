"""Pages that need no token: fcgi-api asks the host's own php-fpm whose session a request's cookies are."""

import concurrent.futures
import os
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from client import User, message_frame
from host_page import Page, session_host, session_settings
from waiting import eventually


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with session_host(tmp_path_factory.mktemp("php")) as found:
        yield found


@pytest.fixture
def sessions(host, reconfigure):
    def configure(**values):
        reconfigure("fcgi-api", **session_settings(host) | values)
    return configure


@pytest.fixture
def alice(host, base_url):
    return Page(host[0], base_url, "alice")


def test_a_page_needs_no_token(host, sessions, base_url, alice):
    sessions()
    bob = Page(host[0], base_url, "bob")
    account = alice.rest("GET", "/account", expect=200).json()["Data"]
    room = alice.rest("POST", "/rooms", {"Type": "GROUP", "Name": "lunch", "Members": ["2"]}, expect=201).json()["Data"]["ID"]
    with alice.socket() as hers, bob.socket() as his:
        assert hers.frames[0]["Data"]["UserID"] == account["UserID"]
        assert hers.ask(message_frame(RoomID=room, Content="by a cookie"))["Success"]
        assert his.new_message("by a cookie")["Data"]["SenderID"] == account["UserID"]
    (message,) = bob.rest("GET", f"/rooms/{room}/messages?limit=1", expect=200).json()["Data"]
    assert message["Content"] == "by a cookie" and message["Sender"]["Name"] == "Alice" and message["Sender"]["ExternalID"] == "1"
    # A page without JavaScript, and an EventSource: the chat's own cookie.
    begun = alice.rest("POST", "/session", expect=200)
    assert "chat_session=" in begun.headers["Set-Cookie"] and begun.json()["Data"]["UserID"] == account["UserID"]


def test_a_page_of_another_site_cannot_act(sessions, alice):
    sessions(CORS_ORIGINS="https://app.example")
    for origin in ("https://evil.example", "null", None):
        for method, path, body in (("POST", "/rooms", {"Type": "GROUP", "Members": []}), ("POST", "/ws-ticket", None), ("PATCH", "/account", {})):
            refused = alice.rest(method, path, body, 403, origin)
            assert refused.json()["Error"]["Code"] == "forbidden"
    alice.rest("POST", "/ws-ticket", None, 201, "https://app.example")


def test_a_logout_takes_effect_in_time(sessions, alice):
    sessions(SESSION_CHECK_SECONDS=2)
    alice.rest("GET", "/account", expect=200)
    alice.logout()
    eventually(lambda: alice.rest("GET", "/account").status_code == 401)
    assert alice.rest("POST", "/ws-ticket").json()["Error"]["Code"] == "unauthorized"


def test_invented_cookies_do_not_stop_others(sessions, alice, base_url, secret):
    sessions(RATE_SESSIONS=20)
    ann, bob = User(base_url, secret), alice
    bob.rest("GET", "/account", expect=200)

    def invented(number):
        return alice.rest("GET", "/account", cookie=f"PHPSESSID={uuid.uuid4().hex[:26]}", address="127.0.0.8")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(invented, range(200)))
    codes = {answer.json()["Error"]["Code"] for answer in answers}
    assert {"unauthorized", "rate_limited"} <= codes <= {"unauthorized", "rate_limited", "busy"}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code in (429, 503))
    # Neither a token nor a known session waits for it, also from that address.
    ann.rest("GET", "/account", expect=200)
    bob.rest("GET", "/account", expect=200, address="127.0.0.8")


def test_a_silent_host_refuses_and_does_not_stop_tokens(host, sessions, alice, base_url, secret):
    sessions(SESSION_CHECK_TIMEOUT_MS=500, SESSION_CHECK_SECONDS=1, SESSION_CHECK_STALE_SECONDS=0)
    _, script, _ = host
    good = script.read_text()
    script.write_text("<?php sleep(5);")
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(alice.rest, "GET", "/account") for _ in range(30)]
            User(base_url, secret).rest("GET", "/account", expect=200)
            for answer in answers:
                assert answer.result().status_code == 503 and answer.result().headers["Retry-After"]
                assert answer.result().json()["Error"]["Code"] in ("unavailable", "busy")
    finally:
        script.write_text(good)
    eventually(lambda: alice.rest("GET", "/account").status_code == 200)


def test_an_old_answer_serves_while_the_host_is_silent(host, sessions, alice):
    sessions(SESSION_CHECK_SECONDS=1, SESSION_CHECK_STALE_SECONDS=600)
    alice.rest("GET", "/account", expect=200)
    _, script, _ = host
    good = script.read_text()
    script.write_text("<?php http_response_code(500);")
    try:
        time.sleep(1.1)
        alice.rest("GET", "/account", expect=200)
    finally:
        script.write_text(good)


def test_without_the_setting_cookies_prove_nothing(alice):
    assert alice.rest("GET", "/account", expect=401).json()["Error"]["Code"] == "unauthorized"


def test_the_cost_of_a_session(host, sessions, alice):
    """Prints it: nothing is promised about a time."""
    for name, seconds in (("asked each time", 0), ("from the cache", 60)):
        sessions(SESSION_CHECK_SECONDS=seconds, SESSION_CHECK_PARALLEL=64)
        alice.rest("POST", "/ws-ticket", expect=201)
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: alice.rest("POST", "/ws-ticket").status_code, range(400)))
        assert set(answers) <= {201, 503}
        print(f"tickets by a cookie, {name}: {400 / (time.monotonic() - began):.0f} a second, {answers.count(201)} of 400")


@contextmanager
def changed(host, code):
    """The host's script begins with this code."""
    _, script, _ = host
    good = script.read_text()
    script.write_text(good.replace("declare(strict_types=1);", f"declare(strict_types=1);\n{code}"))
    try:
        yield
    finally:
        script.write_text(good)


def test_cookies_that_the_host_cannot_read_do_not_stop_others(host, sessions, alice):
    sessions(RATE_SESSIONS=40, SESSION_CHECK_SECONDS=0, SESSION_CHECK_PARALLEL=64)

    def strange(number):
        return alice.rest("GET", "/account", cookie=f"PHPSESSID=strange{number}", address="127.0.0.9").json()["Error"]["Code"]
    with changed(host, "if (str_contains($_SERVER['HTTP_COOKIE'], 'strange')) { http_response_code(400); exit; }"), \
            concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(strange, number) for number in range(200)]
        served = [alice.rest("GET", "/account") for _ in range(40)]
        codes = {answer.result() for answer in answers}
    assert {answer.json()["Error"]["Code"] for answer in served if answer.status_code != 200} <= {"busy"}
    assert codes <= {"unavailable", "rate_limited", "busy"} and "rate_limited" in codes


def test_no_cookie_reaches_a_log(host, sessions, alice):
    sessions(SESSION_CHECK_SECONDS=0)
    folder = Path(os.environ["TEST_ENV_FILE"]).parent
    for code in ("error_log('no session ' . $_SERVER['HTTP_COOKIE']); http_response_code(500); exit;",
                 "error_log('no session ' . $_SERVER['HTTP_COOKIE']); exit(1);", "exit('<pre>' . $_SERVER['HTTP_COOKIE']);"):
        with changed(host, code):
            eventually(lambda: alice.rest("GET", "/account", cookie="PHPSESSID=averysecretcookie").status_code == 503)
    found = [file.name for file in folder.rglob("*") if file.is_file() and file.suffix == ".log" and b"averysecret" in file.read_bytes()]
    logs = [file for file in folder.rglob("*.log") if b"the session check failed" in file.read_bytes()]
    assert logs and found == []

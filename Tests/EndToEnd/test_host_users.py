"""Users with the ids that a host application has already: any text, beside UUIDs, at every endpoint."""

import os
import secrets
import subprocess
from pathlib import Path
from signal import SIGHUP
from urllib.parse import quote

import msgpack
import pytest
from client import make_token, message_frame
from conftest import program, run_program
from hosted import HostedUser
from waiting import eventually


@pytest.fixture
def hosted(base_url, secret):
    """A new user for each call; the suffix tells them from those of other runs."""
    return lambda text="{}", **options: HostedUser(base_url, secret, text.format(secrets.randbelow(10**12)), **options)


NAMES = ["{}", "user-{}", "a/b?c#d%{}", "{}@example.com", "Zoë {}", "用户{}", "👩‍👩‍👧{}", " {} ", "{{{}}}", "../{}", "null{}"]


@pytest.mark.parametrize("text", NAMES)
def test_any_text_is_a_user_at_every_endpoint(hosted, ann, text):
    bob = hosted(text)
    room = ann.data("POST", "/rooms", {"Type": "GROUP", "Name": "all", "Members": [bob.name]}, 201)["ID"]
    member = next(one for one in ann.data("GET", f"/rooms/{room}/members") if one["UserID"] == bob.id)
    assert member["ExternalID"] == bob.name, "kept, although they have never been here"
    with ann.socket() as socket, bob.socket() as theirs:
        assert theirs.wait(lambda frame: frame["Type"] == "welcome")["Data"]["UserID"] == bob.id
        sent = theirs.ask(message_frame(RoomID=room, Content="from text"))
        assert sent["Success"] and sent["Data"]["SenderID"] == bob.id
        answer = socket.ask(message_frame(ReceiverID=bob.name, Content="to text"))
        assert answer["Success"], answer
        assert theirs.new_message("to text")["RoomID"] == answer["RoomID"]
    assert ann.data("PATCH", f"/rooms/{room}/members/{bob.path}", {"Role": "ADMIN"})["Role"] == "ADMIN"
    assert ann.data("GET", f"/users/{bob.path}/presence")["UserID"] == bob.id
    ann.rest("PUT", f"/users/{bob.path}/block", expect=204)
    ann.rest("DELETE", f"/users/{bob.path}/block", expect=204)
    ann.rest("DELETE", f"/rooms/{room}/members/{bob.path}", expect=200)
    assert ann.data("POST", f"/rooms/{room}/members", {"UserID": bob.name}, 201)["MemberCount"] == 2
    pair = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.name]}, 201)
    assert bob.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [ann.id]}, 201)["ID"] == pair["ID"]


def test_a_whole_number_is_its_decimal_text(hosted, ann, base_url, secret):
    number = secrets.randbelow(10**9)
    as_number, as_text = hosted(str(number), sub=number), hosted(str(number))
    room = as_number.group(ann)
    assert as_text.data("GET", f"/rooms/{room}")["Role"] == "OWNER"
    for sub in (1.5, 2**63, True, None, [], {}, "", "a" * 129, "a\nb", "\u0000"):
        as_number.token = make_token(secret, "x", **{"sub": sub})
        assert as_number.rest("GET", "/rooms", expect=401).json()["Error"]["Code"] == "unauthorized", sub


def test_one_user_in_both_forms(hosted, ann, bob):
    """The UUID that a text stands for names the same user, and nobody is in a room twice."""
    carol = hosted()
    body = {"Type": "GROUP", "Name": "twice", "Members": [carol.name, carol.id, carol.id.upper(), bob.id.upper()]}
    room = ann.data("POST", "/rooms", body, 201)
    assert room["MemberCount"] == 3
    members = ann.data("GET", f"/rooms/{room['ID']}/members")
    assert {one["UserID"]: one["ExternalID"] for one in members} == {ann.id: None, bob.id: None, carol.id: carol.name}


def test_bytes_are_compared_not_letters(hosted, ann):
    one = hosted("Zo\u00eb{}")
    decomposed = one.name.replace("\u00eb", "e\u0308")
    room = ann.data("POST", "/rooms", {"Type": "GROUP", "Name": "two", "Members": [one.name, decomposed]}, 201)
    assert room["MemberCount"] == 3
    assert {member["ExternalID"] for member in ann.data("GET", f"/rooms/{room['ID']}/members")} == {
        None, one.name, decomposed}


def test_whoever_is_named_by_uuid_is_known_by_text_once_they_come(hosted, ann):
    """Over REST by their first request, over a WebSocket by its token."""
    for come in (lambda user: user.data("GET", "/rooms"), lambda user: user.socket().close()):
        user = hosted()
        room = ann.data("POST", "/rooms", {"Type": "GROUP", "Name": "later", "Members": [user.id]}, 201)["ID"]

        def external():
            return {one["UserID"]: one["ExternalID"] for one in ann.data("GET", f"/rooms/{room}/members")}[user.id]

        assert external() is None
        come(user)
        eventually(lambda: external() == user.name, why=lambda: f"{user.name} is not known")


BAD = ["", "a" * 129, "é" * 65, "a\nb", "\u007f", "\u0085"]


@pytest.mark.parametrize("text", BAD)
def test_what_names_nobody_is_refused_and_changes_nothing(ann, text):
    room = ann.data("POST", "/rooms", {"Type": "GROUP", "Name": "stays"}, 201)["ID"]
    before = ann.data("GET", f"/rooms/{room}")
    refused = [ann.rest("POST", "/rooms", {"Type": "GROUP", "Name": "x", "Members": [text]}),
               ann.rest("POST", f"/rooms/{room}/members", {"Members": [text]}),
               ann.rest("POST", f"/rooms/{room}/members", {"UserID": text})]
    if text:
        refused += [ann.rest("PATCH", f"/rooms/{room}/members/{quote(text, safe='')}", {"Role": "ADMIN"}),
                    ann.rest("GET", f"/users/{quote(text, safe='')}/presence"),
                    ann.rest("PUT", f"/users/{quote(text, safe='')}/block")]
        with ann.socket() as socket:
            answer = socket.ask(message_frame(ReceiverID=text, Content="to nobody"))
            assert not answer["Success"] and answer["Error"].startswith("invalid:")
    for answer in refused:
        assert answer.status_code == 422 and answer.json()["Error"]["Code"] == "invalid", answer.text
        assert answer.json()["Error"]["Field"]
    assert ann.data("GET", f"/rooms/{room}") == before


def test_bytes_that_are_no_utf8_name_nobody(ann):
    for path in ("/users/%ff/presence", "/users/a%00b/presence", "/users/%c3%28/presence"):
        assert ann.rest("GET", path, expect=400).json()["Error"]["Code"] == "malformed"
    with ann.socket() as socket:
        frame = message_frame(ReceiverID="@@", Content="to nobody")
        socket.send_raw(msgpack.packb(frame).replace(b"@@", b"\xff\xfe"))
        answer = socket.wait(lambda answer: answer["Type"] == "response")
        assert not answer["Success"] and answer["Error"].startswith("malformed:")


def test_the_commands_take_either_form(hosted, ann, secret):
    user = hosted("user {}")
    token = run_program("fcgi-api", "token", "issue", "--user", user.name).strip()
    user.token = token
    assert user.data("GET", "/account")["UserID"] == user.id
    assert "revoked" in run_program("fcgi-api", "token", "revoke", "--user", user.name)
    eventually(lambda: user.rest("GET", "/account").status_code == 401, why=lambda: "the token is still good")
    assert "--user" in run_program("fcgi-api", "token", "issue", "--user", "a" * 129)


def test_a_ticket_and_a_fresh_token_of_the_same_user(hosted, base_url, secret):
    user, other = hosted(), hosted()
    ticket = user.data("POST", "/ws-ticket", expect=201)["Ticket"]
    with user.socket(headers={}, query=f"?ticket={ticket}") as socket:
        assert socket.frames[0]["Data"]["UserID"] == user.id
        fresh = make_token(secret, user.name, ttl=7200)
        assert socket.ask({"Type": "auth", "Token": fresh, "Sign": "fresh"})["Success"]
        assert not socket.ask({"Type": "auth", "Token": other.token, "Sign": "another"})["Success"]


def test_the_namespace_of_an_installation_does_not_change(settings, tmp_path):
    text = open(os.environ["TEST_ENV_FILE"]).read()
    file = tmp_path / "chat.env"
    file.write_text(f"{text}\nUSER_NAMESPACE=00000000-0000-4000-8000-000000000001\n")
    answer = subprocess.run([program("fcgi-api"), "migrate", "up", "-c", file], capture_output=True, text=True)
    assert answer.returncode != 0 and "USER_NAMESPACE" in answer.stdout + answer.stderr
    assert "nothing to do" in run_program("fcgi-api", "migrate", "up")


@pytest.mark.parametrize("name", ["fcgi-api", "ws-relay", "queue-worker"])
def test_no_program_starts_with_the_namespace_of_another_installation(name, tmp_path):
    text = open(os.environ["TEST_ENV_FILE"]).read()
    file = tmp_path / "chat.env"
    file.write_text(f"{text}\nUSER_NAMESPACE=00000000-0000-4000-8000-000000000001\nRUN_DIR={tmp_path}\n")
    answer = subprocess.run([program(name), "serve", "-c", file], capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0 and "USER_NAMESPACE" in answer.stderr, answer


def test_a_reload_with_another_namespace_is_refused_and_changes_nothing(pids, ann):
    file = Path(os.environ["TEST_ENV_FILE"])
    before, log = file.read_text(), file.parent / "log/ws-relay.log"
    start = log.stat().st_size
    workers = {pid for name, kind, pid in pids() if (name, kind) == ("ws-relay", "worker")}
    file.write_text(f"{before}\nUSER_NAMESPACE=00000000-0000-4000-8000-000000000001\n")
    try:
        os.kill(next(pid for name, kind, pid in pids() if (name, kind) == ("ws-relay", "master")), SIGHUP)

        def refused():
            news = log.read_bytes()[start:]
            return b"reload refused" in news and b"USER_NAMESPACE" in news
        eventually(refused)
    finally:
        file.write_text(before)
    assert {pid for name, kind, pid in pids() if (name, kind) == ("ws-relay", "worker")} == workers
    with ann.socket() as socket:
        assert socket.wait(lambda frame: frame["Type"] == "welcome")

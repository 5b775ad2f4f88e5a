"""Keys of the host application: each operation for any user, as far as the key's scope goes, and a log of it."""

import http.client
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests
import yaml
from client import User, make_token, message_frame
from conftest import run_program
from waiting import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
SCOPES = ("read", "write", "moderate", "admin")
PATHS = yaml.safe_load((CHECKOUT / "docs/openapi.yaml").read_text())["paths"]
OPERATIONS = [(method.upper(), path, operation.get("x-key-scope")) for path, item in PATHS.items()
              for method, operation in item.items() if method != "parameters"]
# A key need act for no user here, as in /admin.
FOR_NOBODY = {("GET", "/users"), ("PUT", "/users/{user}"), ("PATCH", "/users/{user}")}
KEYED = [one for one in OPERATIONS if one[2]]


def added(scope):
    """(name, key)"""
    name = f"test-{scope}-{uuid.uuid4().hex[:12]}"
    text = run_program("fcgi-api", "keys", "add", "--name", name, "--scope", scope).strip()
    assert re.fullmatch("chk_[0-9a-f]{64}", text), text
    return name, text


def revoke(name):
    assert run_program("fcgi-api", "keys", "revoke", "--name", name).strip() == "revoked"


@pytest.fixture(scope="module")
def keys(base_url):
    made = {scope: added(scope) for scope in SCOPES}
    yield made
    for name, _ in made.values():
        revoke(name)


@pytest.fixture(scope="module")
def ask(base_url):
    """One connection for all: thousands of requests would use up the machine's ports."""
    with requests.Session() as session:
        def one(method, path, token=None, user=None, expect=None, **options):
            headers = {"Tus-Resumable": "1.0.0", **options.pop("headers", {})}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            if user is not None:
                headers["X-Chat-User"] = user
            answer = session.request(method, f"{base_url}/api/v1{path}", headers=headers, timeout=30, allow_redirects=False, **options)
            session.cookies.clear()
            assert expect is None or answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            return answer
        yield one


def filled(path):
    """An address of things that nobody has: a request that is admitted finds nothing to change."""
    return re.sub("{(.*?)}", lambda match: "x" if match[1] in ("emoji", "device") else str(uuid.uuid4()), path)


def refused(answer, status, code, field=None):
    """A browser's page of a form has no JSON; these requests ask for none."""
    error = answer.json()["Error"]
    assert (answer.status_code, error["Code"], error.get("Field")) == (status, code, field), answer.text
    return error["Message"]


@pytest.mark.parametrize("scope", SCOPES)
def test_what_a_key_of_each_scope_may(keys, ask, scope):
    """All operations of openapi.yaml: `x-key-scope` says which key may."""
    wrong = []
    for method, path, needed in OPERATIONS:
        answer = ask(method, filled(path), keys[scope][1], str(uuid.uuid4()))
        # /metrics has a token of its own, and may be refused by it.
        barred = needed and answer.status_code == 403 and "this key has the scope" in answer.text
        if needed and answer.status_code == 401 or bool(barred) != bool(needed and SCOPES.index(scope) < SCOPES.index(needed)):
            wrong.append((method, path, needed, answer.status_code, answer.text[:200]))
    assert not wrong, wrong
    assert any(needed == scope for _, _, needed in OPERATIONS)


def test_the_table_of_the_documentation_is_that_of_the_description():
    assert subprocess.run([sys.executable, CHECKOUT / "deploy/docs/scopes", "--check"]).returncode == 0


def test_the_header_without_a_right_to_it_is_refused_by_every_operation(keys, ask, ann):
    user, unknown = str(uuid.uuid4()), "chk_" + "0" * 64
    for method, path, _ in KEYED:
        acts = not path.startswith("/admin/") and (method, path) not in FOR_NOBODY
        path = filled(path)
        if not path.startswith("/admin/"):
            refused(ask(method, path, ann.token, user), 403, "forbidden", "X-Chat-User")
        if acts:
            refused(ask(method, path, keys["admin"][1]), 422, "invalid", "X-Chat-User")
        refused(ask(method, path, None, user), 401, "unauthorized", "X-Chat-User")
        refused(ask(method, path, unknown, user), 401, "unauthorized")
        refused(ask(method, path, keys["admin"][1], "a" * 129), 422, "invalid", "X-Chat-User")


def test_the_hosts_own_operations_name_no_user(keys, ask, ann):
    """Or the audit log would say that it was done for somebody."""
    body = {"OwnerID": ann.id, "Type": "GROUP", "Name": "ours"}
    refused(ask("POST", "/admin/rooms", keys["admin"][1], "innocent", json=body), 422, "invalid", "X-Chat-User")
    room = ask("POST", "/admin/rooms", keys["admin"][1], expect=201, json=body).json()["Data"]["ID"]
    entry = ask("GET", "/admin/audit?limit=1", keys["admin"][1], expect=200).json()["Data"][0]
    assert (entry["Operation"], entry["UserID"]) == ("POST /admin/rooms", ann.id)
    assert ann.data("GET", f"/rooms/{room}")["Role"] == "OWNER"


def test_two_users_in_one_request_are_none(keys, base_url):
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.putrequest("GET", "/api/v1/rooms")
    connection.putheader("Authorization", f"Bearer {keys['read'][1]}")
    for user in ("u1", "u2"):
        connection.putheader("X-Chat-User", user)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["Error"]["Field"]) == (422, "X-Chat-User")


def test_a_key_that_reads_keeps_no_user(keys, ask, psql):
    name = f"never here {uuid.uuid4()}"
    ask("GET", "/rooms", keys["read"][1], quote(name), 200)
    assert psql().ask(f"SELECT count(*) FROM users WHERE external_id = '{name}'") == ["0"]


@pytest.mark.parametrize("text", ["a b", "%", "%zz", "%00", "%0A", "%ff", "é".encode(), "a, b", "%C2%85"])
def test_a_name_that_is_none_is_refused(keys, ask, text):
    refused(ask("POST", "/rooms", keys["write"][1], text, json={"Type": "GROUP", "Name": "none"}), 422, "invalid", "X-Chat-User")


@pytest.mark.parametrize("broken", ["chk_", "chk_" + "0" * 63, "chk_" + "0" * 65, "CHK_" + "0" * 64, "chk_" + "A" * 64, "chk_" + "é" * 32])
def test_what_only_looks_like_a_key_is_none(ask, broken):
    refused(ask("GET", "/rooms", user="4711", headers={"Authorization": b"Bearer " + broken.encode()}), 401, "unauthorized")


def test_a_key_is_for_the_header_alone(keys, ask, ann, base_url):
    """Not a cookie, not a field of a form, not a socket's token."""
    key, room = keys["admin"][1], ann.group()
    answer = ask("GET", "/rooms", headers={"Cookie": f"chat_session={key}"})
    refused(answer, 401, "unauthorized")
    answer = ask("POST", f"/rooms/{room}/files", files={"File": ("a.txt", b"a")}, data={"token": key})
    refused(answer, 401, "unauthorized")
    refused(ask("GET", "/rooms", ann.token, ann.id), 403, "forbidden", "X-Chat-User")
    assert ask("GET", "/rooms", ann.token).status_code == 200


@pytest.mark.parametrize("name", ["{}", "Zoë 100% @ {}", "用户{}"])
def test_a_key_acts_for_a_user_in_either_form(keys, ask, ann, secret, base_url, name):
    name, key = name.format(uuid.uuid4().hex[:8]), keys["write"][1]
    header = quote(name, safe="")
    room = ask("POST", "/rooms", key, header, 201, json={"Type": "GROUP", "Name": "theirs", "Members": [ann.id]}).json()["Data"]["ID"]
    member = next(one for one in ann.data("GET", f"/rooms/{room}/members") if one["ExternalID"] == name)
    assert member["Role"] == "OWNER"
    with ann.socket() as socket:
        sent = ask("POST", f"/rooms/{room}/messages", key, member["UserID"], 201, json={"Content": "by a key"}).json()["Data"]
        assert socket.new_message("by a key")["Data"]["SenderID"] == sent["SenderID"] == member["UserID"]
    own = User(base_url, secret)
    own.token = make_token(secret, name)
    assert own.data("GET", f"/rooms/{room}")["Role"] == "OWNER"
    assert ask("GET", f"/rooms/{room}", key, str(uuid.uuid4())).status_code == 404, "a key sees what its user sees"
    assert ask("POST", f"/rooms/{room}/files", key, header, 201, files={"File": ("a.txt", b"a")}).json()["Data"]["SenderID"] == member["UserID"]


def test_a_page_gets_its_socket_and_its_session_by_a_key(keys, ask, ann, bob, secret, base_url):
    room = ann.group(bob)
    ticket = ask("POST", "/ws-ticket", keys["write"][1], bob.id, 201).json()["Data"]["Ticket"]
    with bob.socket(query=f"?ticket={ticket}", headers={}) as socket:
        assert socket.wait(lambda frame: frame["Type"] == "welcome")["Data"]["UserID"] == bob.id
        assert socket.ask(message_frame(RoomID=room, Content="by a ticket"))["Data"]["SenderID"] == bob.id
    session = ask("POST", "/session", keys["write"][1], bob.id, 200)
    assert session.json()["Data"]["UserID"] == bob.id
    cookie = re.match("chat_session=([^;]*);", session.headers["Set-Cookie"])[1]
    assert keys["write"][1] not in session.headers["Set-Cookie"]
    own = User(base_url, secret)
    own.token = cookie
    assert own.data("GET", f"/rooms/{room}")["ID"] == room


def test_keys_are_rotated_without_a_pause(ask):
    (old, first), (new, second) = added("read"), added("read")
    user = str(uuid.uuid4())
    for key in (first, second, first):
        ask("GET", "/rooms", key, user, 200)
    listed = run_program("fcgi-api", "keys", "list")
    assert f"{old} read made" in listed and first not in listed and second not in listed
    taken = run_program("fcgi-api", "keys", "add", "--name", old, "--scope", "admin")
    assert "this name is in use" in taken and "chk_" not in taken
    revoke(old)

    def gone():
        ask("GET", "/rooms", second, user, 200)
        return ask("GET", "/rooms", first, user).status_code == 401
    eventually(gone)
    assert "is in use" in run_program("fcgi-api", "keys", "revoke", "--name", old)
    revoke(new)
    eventually(lambda: ask("GET", "/rooms", second, user).status_code == 401)
    # A name that is free again.
    again = run_program("fcgi-api", "keys", "add", "--name", old, "--scope", "read").strip()
    ask("GET", "/rooms", again, user, 200)
    revoke(old)


@pytest.mark.parametrize("words", [("--name", "a b", "--scope", "read"), ("--name", "", "--scope", "read"), ("--name", "a" * 65, "--scope", "read"),
                                   ("--name", "ADMIN_API_KEY", "--scope", "admin"), ("--name", "fine", "--scope", "root"), ("--name", "fine")])
def test_no_key_is_made_of_bad_words(words):
    assert "chk_" not in run_program("fcgi-api", "keys", "add", *words)


def test_the_audit_log(keys, ask, ann):
    (reader, read_key), (writer, write_key), (_, admin_key) = keys["read"], keys["write"], keys["admin"]
    name = f"audit {uuid.uuid4().hex[:8]}"
    marks = [f"audit-{number}-{uuid.uuid4().hex}" for number in range(4)]
    who = quote(name)
    ask("GET", "/rooms", write_key, who, 200, headers={"X-Request-ID": marks[0]})
    room = ask("POST", "/rooms", write_key, who, 201, json={"Type": "GROUP", "Name": "r"}, headers={"X-Request-ID": marks[1]}).json()["Data"]["ID"]
    ask("PATCH", f"/rooms/{room}", read_key, who, 403, json={"Name": "s"}, headers={"X-Request-ID": marks[2]})
    ask("PUT", "/devices/a-secret-of-firebase", write_key, who, 204, headers={"X-Request-ID": marks[3]})
    assert ask("GET", f"/rooms/{room}", write_key, who, 200).json()["Data"]["Name"] == "r", "a refused request changes nothing"

    refused(ask("GET", "/admin/audit", keys["moderate"][1]), 403, "forbidden")
    refused(ask("GET", "/admin/audit", ann.token), 404, "not_found")
    page = ask("GET", "/admin/audit?limit=100", admin_key, expect=200).json()["Data"]
    mine = {entry["RequestID"]: entry for entry in page if entry["RequestID"] in marks}
    assert set(mine) == set(marks[1:]), "reads are not kept"
    told = [(mine[mark]["Key"], mine[mark]["Operation"], mine[mark]["Path"], mine[mark]["ExternalID"], mine[mark]["Status"]) for mark in marks[1:]]
    assert told == [(writer, "POST /rooms", "/rooms", name, 201), (reader, "PATCH /rooms/{id}", f"/rooms/{room}", name, 403),
                    (writer, "PUT /devices/{token}", "", name, 204)]
    assert "a-secret-of-firebase" not in str(page) and not any(key in str(page) for _, key in keys.values())
    # In pages the same, without holes and repeats.
    wanted, found, query = [entry["ID"] for entry in page[:5]], [], f"limit=2&before={page[0]['ID'] + 1}"
    while len(found) < 5:
        part = ask("GET", f"/admin/audit?{query}", admin_key, expect=200).json()
        found += [entry["ID"] for entry in part["Data"]]
        query = part["Next"]
    assert found[:5] == wanted
    ask("GET", "/admin/audit?before=x", admin_key, expect=422)
    ask("GET", "/admin/audit?after=1", admin_key, expect=400)


def test_a_key_of_a_small_scope_administers_a_little(keys, ask, ann, bob):
    write, moderate = keys["write"][1], keys["moderate"][1]
    room = ask("POST", "/admin/rooms", write, expect=201, json={"OwnerID": ann.id, "Type": "GROUP", "Name": "made", "Members": [bob.id]}).json()["Data"]["ID"]
    refused(ask("DELETE", f"/admin/rooms/{room}", write), 403, "forbidden")
    assert ann.data("GET", f"/rooms/{room}")["MemberCount"] == 2
    ask("DELETE", f"/admin/rooms/{room}/members/{bob.id}", moderate, expect=200)
    refused(ask("DELETE", f"/admin/users/{ann.id}", moderate), 403, "forbidden")
    ask("DELETE", f"/admin/rooms/{room}", moderate, expect=200)
    ann.rest("GET", f"/rooms/{room}", expect=404)

"""`GET /users?q=`: users by their names, as far as the host allows it."""

import json
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from client import User
from conftest import server_key
from own_master import Master


@pytest.fixture(scope="module")
def key(base_url):
    with server_key("write") as key:
        yield key


@pytest.fixture
def named(base_url, secret, key):
    def make(name, **fields):
        user = User(base_url, secret)
        requests.put(f"{base_url}/api/v1/users/{user.id}", json={"Name": name, **fields}, timeout=30,
                     headers={"Authorization": f"Bearer {key}"}).raise_for_status()
        return user
    return make


@pytest.fixture
def mark():
    """A word that no other test's names have."""
    return f"q{uuid.uuid4().hex[:12]}"


def find(user, text, **more):
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return [found["Name"] for found in user.data("GET", f"/users?q={quote(text, safe='')}{rest}")]


def test_those_who_share_a_room_are_found_by_the_words_of_their_names(named, mark, psql):
    ann, bob, cyd, stranger = (named(f"{name} {mark}") for name in ["Ann-Lena O'Brien", "bob.other@x", "Cyd İpek", "Ann Stranger"])
    room = ann.group(bob, cyd)
    name = lambda text: f"{text} {mark}"
    assert find(ann, mark) == [name("bob.other@x"), name("Cyd İpek")]
    assert find(bob, mark) == [name("Ann-Lena O'Brien"), name("Cyd İpek")]
    for text in ["ann", "LENA", "o'b", "brien len", "Lena, Ann", mark + " ann", mark.upper()[:8] + " bri"]:
        assert name("Ann-Lena O'Brien") in find(bob, text), text
    for text in ["other", "x bob", "bob.other@x"]:
        assert find(ann, text + " " + mark) == [name("bob.other@x")], text
    assert find(ann, f"nna {mark}") == find(ann, f"ann {mark}") == [] and find(ann, mark[1:]) == []
    assert find(ann, mark, limit=1) == [name("bob.other@x")]
    # One who left, a deleted room, a deactivated user.
    cyd.rest("DELETE", f"/rooms/{room}/members/{cyd.id}", expect=200)
    assert find(ann, mark) == [name("bob.other@x")]
    psql().ask(f"UPDATE users SET deactivated_at = now() WHERE id = '{bob.id}'")
    assert find(ann, mark) == []
    assert find(stranger, mark) == []


def test_a_bad_search_is_refused(named, mark):
    ann = named(f"Ann {mark}")
    for query, status in [("q=", 422), ("q=%27%26", 422), ("q=" + "a" * 129, 422), ("q=%ff", 400), ("q=a&ids=" + ann.id, 422),
                          ("q=a&limit=101", 422), ("q=a&limit=0", 422), ("", 422), ("q=a&q=b", 400),
                          ("q=%00", 400)]:
        assert ann.rest("GET", f"/users?{query}").status_code == status, query
    # None of the query language of PostgreSQL is understood.
    for text in [f"{mark}':* | ann", "a' & !'b", "a\\", "'a", "a:*", "a <-> b", "\U0001f44da", "a\u0301"]:
        ann.data("GET", f"/users?q={quote(text, safe='')}")


def test_a_key_finds_everybody_and_the_setting_decides_for_users(named, mark, key, base_url, secret):
    ann, bob, cyd = (named(f"{name} {mark}", Metadata={"Team": name}) for name in ["Ann", "Bob", "Cyd"])
    everybody = [f"{name} {mark}" for name in ["Ann", "Bob", "Cyd"]]
    found = requests.get(f"{base_url}/api/v1/users?q={mark}", timeout=30, headers={"Authorization": f"Bearer {key}"}).json()
    assert [user["Name"] for user in found["Data"]] == everybody and found["Next"] is None
    assert [user["Metadata"] for user in found["Data"]] == [{"Team": "Ann"}, {"Team": "Bob"}, {"Team": "Cyd"}]
    as_ann = requests.get(f"{base_url}/api/v1/users?q={mark}", timeout=30,
                          headers={"Authorization": f"Bearer {key}", "X-Chat-User": ann.id}).json()
    assert as_ann["Data"] == []
    cyd.rest("PUT", f"/users/{ann.id}/block", expect=204)
    for setting, status, names in [("everybody", 200, [f"Bob {mark}"]), ("off", 403, None)]:
        folder = Path(f"/tmp/chat-find-{uuid.uuid4().hex[:8]}")
        folder.mkdir()
        master = Master(folder, USER_SEARCH=setting)
        try:
            master.ready("rooms")
            got, _, body = master.ask("rooms", "GET", f"/api/v1/users?q={mark}", Authorization=f"Bearer {ann.token}")
            assert got == status, body
            assert names is None or [user["Name"] for user in json.loads(body)["Data"]] == names
        finally:
            master.stop()


def test_the_index_finds_everybody(psql):
    plan = "\n".join(psql().ask("SET enable_seqscan = off; EXPLAIN SELECT id FROM users WHERE "
                                "chat_name_words(name) @@ to_tsquery('simple', '''a'':*') AND name <> '' AND deactivated_at IS NULL LIMIT 5000"))
    assert "users_by_name" in plan, plan

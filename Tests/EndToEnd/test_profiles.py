"""Names, pictures and metadata of users: from the token's claims, or from the host application by a server key."""

import time
import uuid
from urllib.parse import quote

import pytest
import requests
from client import User, make_token, message_frame
from conftest import server_key
from waiting import eventually


@pytest.fixture(scope="module")
def key(base_url):
    with server_key("write") as key:
        yield key


@pytest.fixture
def describe(base_url, key):
    def put(user, fields, expect=200):
        answer = requests.put(f"{base_url}/api/v1/users/{quote(user, safe='')}", json=fields, timeout=30,
                              headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == expect, answer.text
        return answer.json().get("Data") or answer.json()["Error"]
    return put


@pytest.fixture
def named(base_url, secret):
    """A user whose token says what they are called; each token is newer than the one before."""
    def make(**claims):
        user = User(base_url, secret)
        user.say = lambda **claims: setattr(user, "token", make_token(secret, user.id, iat=round(time.time(), 3), **claims))
        user.say(**claims)
        user.data("GET", "/account")
        return user
    return make


def member(asker, room, user):
    return next(one for one in asker.data("GET", f"/rooms/{room}/members") if one["UserID"] == user.id)


def test_the_tokens_claims_are_seen_by_others(named, bob):
    ann = named(name="Ann", picture="https://example.com/ann.jpg")
    room = ann.group(bob)
    sent = ann.data("POST", f"/rooms/{room}/messages", {"Content": "first"}, 201)
    expected = {"UserID": ann.id, "ExternalID": None, "Name": "Ann", "Avatar": "https://example.com/ann.jpg"}
    assert sent["Sender"] == expected
    seen = member(bob, room, ann)
    assert {name: seen[name] for name in expected} == expected
    assert bob.data("GET", f"/rooms/{room}/messages")[0]["Sender"] == expected
    assert bob.data("GET", f"/messages/{sent['ID']}")["Sender"] == expected
    assert bob.data("GET", "/rooms")[0]["LastMessage"]["Sender"] == expected
    # Nothing is known of bob.
    assert bob.data("POST", f"/rooms/{room}/messages", {"Content": "second"}, 201)["Sender"] is None


def test_a_changed_name_is_in_the_next_frame_and_in_history(named, describe, bob):
    ann = named(name="Ann")
    room = ann.group(bob)
    with bob.socket() as theirs, ann.socket() as mine:
        for number, name in enumerate(["Ann", "Anna", "Anne"]):
            if number:
                describe(ann.id, {"Name": name})
            assert mine.ask(message_frame(RoomID=room, Content=f"n{number}"))["Data"]["Sender"]["Name"] == name
            assert theirs.new_message(f"n{number}")["Data"]["Sender"]["Name"] == name
    assert {message["Sender"]["Name"] for message in bob.history(room) if message["Sender"]} == {"Anne"}


def test_a_claim_counts_when_it_changes(named, describe, bob):
    ann = named(name="Ann")
    room = ann.group(bob)
    describe(ann.id, {"Name": "By the host"})
    ann.say(name="Ann")
    ann.data("GET", "/account")
    assert member(bob, room, ann)["Name"] == "By the host", "the same claim as before says nothing new"
    ann.say(name="Ann Married")
    ann.data("GET", "/account")
    eventually(lambda: member(bob, room, ann)["Name"] == "Ann Married")


def test_the_host_describes_users_who_have_never_come(describe, ann, base_url, key, secret):
    name = f"user {uuid.uuid4().hex[:8]}"
    told = describe(name, {"Name": "Zoë", "Metadata": {"Team": "blue", "n": [1, 2.5, None, True]}})
    assert (told["ExternalID"], told["Name"], told["Avatar"], told["Metadata"]) == (name, "Zoë", "", {"Team": "blue", "n": [1, 2.5, None, True]})
    assert describe(name, {"Avatar": "https://example.com/z.png"})["Name"] == "Zoë"
    assert describe(told["UserID"], {"Name": ""})["ExternalID"] == name
    assert describe(name, {})["Metadata"]["Team"] == "blue"
    headers = {"Authorization": f"Bearer {key}"}
    found = requests.get(f"{base_url}/api/v1/users", params={"ids": f"{uuid.uuid4()},{name}"}, headers=headers, timeout=30).json()["Data"]
    assert [one["UserID"] for one in found] == [told["UserID"]]
    # A stranger sees nothing of them, and what others do in a room with them.
    query = f"/users?ids={quote(name)},{ann.id}"
    assert [one["UserID"] for one in ann.data("GET", query)] == [ann.id]
    # Nor does the user whose id is all zeros, by a token or by the host's word.
    zero = User(base_url, secret)
    zero.token = make_token(secret, str(uuid.UUID(int=0)))
    assert zero.data("GET", query) == []
    asked = requests.get(f"{base_url}/api/v1{query}", headers={**headers, "X-Chat-User": str(uuid.UUID(int=0))}, timeout=30)
    assert asked.json()["Data"] == []
    room = ann.data("POST", "/rooms", {"Type": "GROUP", "Name": "r", "Members": [name]}, 201)["ID"]
    seen = ann.data("GET", query)
    assert [one["UserID"] for one in seen] == [told["UserID"], ann.id] and seen[0]["Metadata"]["Team"] == "blue"
    ann.rest("DELETE", f"/rooms/{room}/members/{quote(name)}", expect=200)
    assert [one["UserID"] for one in ann.data("GET", query)] == [ann.id]


BAD = {"Name": [None, 7, "a\nb", "a" * 129, "\u200b", "Ann\u202eexe", "a\u2066b", "a\u2028b", "a" * 40000], "Avatar": [None, "ftp://example.com/", "javascript:alert(1)", "https://e\u00e9/", "https://" + "a" * 1020],
       "Metadata": [None, "text", [], 7, {"a": "b" * 4096}, {"a": "\u0000"}]}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_description_changes_nothing(describe, field):
    user = str(uuid.uuid4())
    before = describe(user, {"Name": "as it was", "Metadata": {"a": 1}})
    for value in BAD[field]:
        error = describe(user, {"Name": "changed", "Metadata": {"a": 2}, field: value}, 422)
        assert (error["Code"], error["Field"]) == ("invalid", field), (value, error)
    assert describe(user, {}) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_description_without_any_known_field_is_refused(base_url, key, method):
    headers = {"Authorization": f"Bearer {key}"}
    address = f"{base_url}/api/v1/users/{uuid.uuid4()}"
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    for body in ({"json": {"Nmae": "Ann"}}, {"data": {"name": "Ann"}}, {"data": '{"Name": "Ann"}', "headers": form}):
        answer = requests.request(method, address, timeout=30, **{"headers": headers, **body})
        assert (answer.status_code, answer.json()["Error"]["Field"]) == (422, "Name"), answer.text
    answer = requests.request(method, address, data={"Name": "Ann"}, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["Data"]["Name"]) == (200, "Ann")


def test_only_the_host_describes(ann, bob):
    ann.rest("PUT", f"/users/{ann.id}", {"Name": "me"}, expect=403)
    ann.rest("PUT", f"/users/{bob.id}", {"Name": "him"}, expect=403)
    for query, status in (("", 422), ("?ids=", 422), ("?ids=,", 422), ("?ids=" + ",".join(map(str, range(101))), 422), ("?id=a", 400)):
        ann.rest("GET", f"/users{query}", expect=status)


def test_the_sender_is_in_edits_and_reactions_of_others(named, bob):
    ann = named(name="Ann")
    room = ann.group(bob)
    sent = ann.data("POST", f"/rooms/{room}/messages", {"Content": "mine"}, 201)
    with ann.socket() as socket:
        bob.rest("PUT", f"/messages/{sent['ID']}/reactions/👍", expect=200)
        told = socket.wait(lambda frame: frame["Type"] == "message_updated")
        assert told["Data"]["Sender"]["Name"] == "Ann"


def test_mentions_by_the_hosts_own_id(ann, bob, secret, base_url):
    carl = User(base_url, secret)
    name = str(uuid.uuid4().int % 10**9)
    carl.token = make_token(secret, name)
    room = ann.group(bob)
    answer = carl.data("GET", "/account")
    sent = ann.data("POST", f"/rooms/{room}/messages", {"Content": f"<@{name}> and @{bob.id}"}, 201)
    assert sent["Mentions"] == [answer["UserID"], bob.id]
    assert bob.data("GET", f"/messages/{sent['ID']}")["Mentions"] == sent["Mentions"]


def test_rooms_are_told_of_a_change(named, describe, ann, bob, make_user):
    stranger, carl = make_user(), named(name="Carl")
    room = carl.group(ann, bob)
    with ann.socket() as socket, carl.socket() as own, stranger.socket() as other:
        describe(carl.id, {"Name": "Charles", "Avatar": "https://example.com/c.png"})
        told = socket.wait(lambda frame: frame["Type"] == "user_updated" and frame["Data"]["Name"] == "Charles")
        assert told["RoomID"] == room and "Seq" not in told
        assert told["Data"] == {"UserID": carl.id, "ExternalID": None, "Name": "Charles", "Avatar": "https://example.com/c.png"}
        own.wait(lambda frame: frame["Type"] == "user_updated")

        # By a token too, and by the next request of the host; the same again is no news.
        carl.say(name="Carlo")
        carl.data("GET", "/account")
        socket.wait(lambda frame: frame["Type"] == "user_updated" and frame["Data"]["Name"] == "Carlo")
        describe(carl.id, {"Name": "Carlo"})
        describe(carl.id, {"Avatar": ""})
        socket.wait(lambda frame: frame["Type"] == "user_updated" and frame["Data"]["Avatar"] == "")
        assert socket.ask(message_frame(RoomID=room, Content="the order goes on"))["Success"]
        assert not [frame for frame in other.frames if frame["Type"] == "user_updated"]
        told = [frame["Data"]["Name"] for frame in socket.frames if frame["Type"] == "user_updated" and frame["Data"]["UserID"] == carl.id]
        assert told.count("Charles") == 1 and told.count("Carlo") == 2, told


def test_one_user_cannot_flood_their_rooms_with_changes(named, describe, ann):
    carl = named(name="Carl")
    room = carl.group(ann)
    with ann.socket() as socket:
        for number in range(30):
            describe(carl.id, {"Name": f"Carl {number}"})
        carl.data("POST", f"/rooms/{room}/messages", {"Content": "done"}, 201)
        assert socket.new_message("done")["Data"]["Sender"]["Name"] == "Carl 29"
        told = [frame for frame in socket.frames if frame["Type"] == "user_updated"]
        assert 0 < len(told) < 30


def test_a_name_that_comes_back_counts(named, bob):
    ann = named(name="Ann")
    room = ann.group(bob)
    for name in ("Anna", "Ann", "Anna"):
        ann.say(name=name)
        ann.data("GET", "/account")
        old = ann.token
        assert member(bob, room, ann)["Name"] == name
    ann.say(name="Anne")
    ann.data("GET", "/account")
    # An older token says nothing any more.
    ann.token = old
    ann.data("GET", "/account")
    assert member(bob, room, ann)["Name"] == "Anne"


def test_claims_that_no_page_could_show_are_passed_over(named, bob):
    ann = named(name="Ann\u202eexe", picture="javascript:alert(1)")
    room = ann.group(bob)
    assert {name: member(bob, room, ann)[name] for name in ("Name", "Avatar")} == {"Name": "", "Avatar": ""}
    ann.say(name="<b>{content}</b>", picture=7)
    ann.data("GET", "/account")
    assert member(bob, room, ann)["Name"] == "<b>{content}</b>"
    ann.say(name=7)
    ann.rest("GET", "/account", expect=401)

"""`Metadata` of messages, rooms, members and users: sent, merged by PATCH (RFC 7396), told, found again and filtered."""

import json
import threading
import uuid

import pytest
import requests
from client import message_frame
from conftest import server_key

WHOLE = {"kind": "order", "n": [1, 2.5, None, True, {"ä": "\"\n"}], "big": 9223372036854775807, "": {"x": {"y": 1}}}


@pytest.fixture(scope="module")
def host(base_url):
    """Asks as a user by a key of the server."""
    def ask(method, path, body=None, user=None, expect=200):
        headers = {"Authorization": f"Bearer {key}", **({"X-Chat-User": user} if user else {})}
        answer = requests.request(method, f"{base_url}/api/v1{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code == expect, answer.text
        return answer.json().get("Data")
    with server_key("write") as key:
        yield ask


def send(user, room, content="x", **fields):
    return user.data("POST", f"/rooms/{room}/messages", {"Content": content, **fields}, 201)


def refused(answer, code, field=None):
    error = answer.json()["Error"]
    assert (error["Code"], error.get("Field")) == (code, field), error


def test_a_messages_metadata_is_everywhere(ann, bob):
    room = ann.group(bob)
    with bob.socket() as socket, ann.socket() as own:
        sent = send(ann, room, "first", Metadata=WHOLE)
        assert sent["Metadata"] == WHOLE
        assert socket.new_message("first")["Data"]["Metadata"] == WHOLE
        answer = own.ask(message_frame(RoomID=room, Content="by frame", Metadata={"kind": "note", "gone": None}))
        assert answer["Data"]["Metadata"] == {"kind": "note"}
        plain = own.ask(message_frame(RoomID=room, Content="plain"))
        assert "Metadata" not in plain["Data"]
        for none in ({}, None, "", {"a": None}):
            assert "Metadata" not in send(ann, room, "none", Metadata=none)

        changed = ann.data("PATCH", f"/messages/{sent['ID']}", {"Metadata": {"n": None, "": {"x": {"z": 2}}}})
        expected = {"kind": "order", "big": WHOLE["big"], "": {"x": {"y": 1, "z": 2}}}
        assert changed["Metadata"] == expected and changed["EditedAt"] is None
        told = socket.wait(lambda frame: frame["Type"] == "message_updated")
        assert told["Data"]["Metadata"] == expected and told["Seq"] == changed["ChangeSeq"]
        edited = own.ask({"Type": "edit", "Sign": "e1", "MessageID": sent["ID"], "Content": "second", "Metadata": {"kind": "paid"}})
        expected["kind"] = "paid"
        assert (edited["Data"]["Content"], edited["Data"]["Metadata"]) == ("second", expected)
        alone = own.ask({"Type": "edit", "Sign": "e2", "MessageID": sent["ID"], "Metadata": {"big": None}})
        del expected["big"]
        assert alone["Data"]["Metadata"] == expected
        # The text of the answer: numbers and the order of keys stay.
        text = bob.rest("GET", f"/messages/{sent['ID']}").text
        assert json.dumps(expected, separators=(",", ":"), ensure_ascii=False) in text
    assert bob.history(room)[0]["Metadata"] == expected
    assert [one["Content"] for one in bob.data("GET", f"/rooms/{room}/messages?changed_since={changed['Seq']}&Metadata.kind=paid")] == ["second"]
    assert bob.data("GET", "/rooms?messages=50")[0]["Messages"][-1]["Metadata"] == expected

    with bob.socket() as socket:
        answer = socket.ask({"Type": "resume", "Sign": "r", "Rooms": [{"RoomID": room, "Seq": 0}]})
        assert answer["Success"]
        told = [frame["Data"] for frame in socket.frames if frame["Type"] in ("new_message", "message_updated")]
        assert "Metadata" in told[0] and told[-1]["Metadata"] == expected
    ann.rest("DELETE", f"/messages/{sent['ID']}", expect=200)
    assert "Metadata" not in bob.data("GET", f"/messages/{sent['ID']}")
    refused(ann.rest("PATCH", f"/messages/{sent['ID']}", {"Metadata": {"a": 1}}, expect=410), "gone")


def test_patches_at_once_all_count(ann, bob, host):
    room = ann.group(bob)
    message = send(ann, room)["ID"]
    user = f"user {uuid.uuid4().hex[:8]}"
    paths = [(f"/messages/{message}", ann.id), (f"/rooms/{room}", ann.id), (f"/rooms/{room}/members/{ann.id}", ann.id), (f"/users/{user}", None)]
    problems = []

    def patch(path, asker, number):
        try:
            host("PATCH", path, {"Metadata": {f"k{number}": number}}, asker)
        except AssertionError as problem:
            problems.append(problem)
    threads = [threading.Thread(target=patch, args=(path, asker, number)) for path, asker in paths for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    expected = {f"k{number}": number for number in range(6)}
    assert ann.data("GET", f"/messages/{message}")["Metadata"] == expected
    assert ann.data("GET", f"/rooms/{room}")["Metadata"] == expected
    assert next(one for one in ann.data("GET", f"/rooms/{room}/members") if one["UserID"] == ann.id)["Metadata"] == expected
    assert host("GET", f"/users?ids={user}")[0]["Metadata"] == expected
    assert host("PATCH", f"/users/{user}", {"Metadata": dict.fromkeys(expected)})["Metadata"] == {}


def test_a_repetition_may_have_its_keys_in_another_order(ann, bob):
    room, sign = ann.group(bob), str(uuid.uuid4())
    first, again = {"a": 1, "b": {"c": [1], "d": "x"}}, {"b": {"d": "x", "c": [1]}, "a": 1}
    paths = [f"/rooms/{room}/messages", "/rooms"]
    for path, fields in zip(paths, [{"Content": "a"}, {"Type": "GROUP", "Name": "r", "Members": [bob.id]}]):
        told = [ann.data("POST", path, {**fields, "Sign": sign, "Metadata": metadata}, 201)["ID"] for metadata in (first, again)]
        assert told[0] == told[1]
    refused(ann.rest("POST", paths[0], {"Content": "a", "Sign": sign, "Metadata": {"a": 1}}, expect=422), "idempotency_mismatch", "Sign")


def test_what_replaces_the_metadata_of_a_user_keeps_its_rules(host):
    user = str(uuid.uuid4())
    assert host("PUT", f"/users/{user}", {"Metadata": {"a": None, "b": 1}})["Metadata"] == {"b": 1}
    deep = 1
    for _ in range(9):
        deep = [deep]
    host("PUT", f"/users/{user}", {"Metadata": {"d": deep}}, expect=422)
    assert host("PUT", f"/users/{user}", {"Metadata": {}})["Metadata"] == {}


def test_rooms_and_members(ann, bob, make_user):
    stranger = make_user()
    body = {"Type": "GROUP", "Name": "r", "Members": [bob.id], "Metadata": {"kind": "support", "Ticket": 7}}
    made = ann.data("POST", "/rooms", body, 201)
    room = made["ID"]
    assert made["Metadata"] == body["Metadata"]
    with bob.socket() as socket:
        assert ann.data("PATCH", f"/rooms/{room}", {"Metadata": {"Ticket": 8}})["Metadata"] == {"kind": "support", "Ticket": 8}
        told = socket.wait(lambda frame: frame["Type"] == "room_updated" and frame["Data"]["Change"] == "changed")
        assert told["Data"]["Room"]["Metadata"] == {"kind": "support", "Ticket": 8}
        own = bob.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"Metadata": {"kind": "agent", "Since": None}})
        assert own["Metadata"] == {"kind": "agent"} and own["UserID"] == bob.id
        told = socket.wait(lambda frame: frame["Type"] == "room_updated" and frame["Data"]["Change"] == "metadata")
        assert told["Data"]["Member"]["Metadata"] == {"kind": "agent"}
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"Metadata": {"Desk": 3}})
    # A member who was removed and comes back has none; a role leaves it.
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"Role": "ADMIN"})
    found = ann.data("GET", f"/rooms/{room}/members?Metadata.kind=agent")
    assert [(one["UserID"], one["Metadata"]) for one in found] == [(bob.id, {"kind": "agent", "Desk": 3})]
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"Role": "MEMBER"})
    for user, path, status, code in [
            (bob, f"/rooms/{room}", 403, "forbidden"), (bob, f"/rooms/{room}/members/{ann.id}", 403, "forbidden"),
            (stranger, f"/rooms/{room}", 404, "not_a_member"), (stranger, f"/rooms/{room}/members/{bob.id}", 404, "not_a_member"),
            (ann, f"/rooms/{room}/members/{stranger.id}", 404, "not_found")]:
        refused(user.rest("PATCH", path, {"Metadata": {"a": 1}}, expect=status), code)
    assert ann.data("GET", f"/rooms/{room}")["Metadata"] == {"kind": "support", "Ticket": 8}
    ann.rest("DELETE", f"/rooms/{room}/members/{bob.id}", expect=200)
    ann.rest("POST", f"/rooms/{room}/members", {"Members": [bob.id]}, expect=201)
    assert not any("Metadata" in one for one in ann.data("GET", f"/rooms/{room}/members"))


def test_whose_thing_it_is(ann, bob, host):
    room = ann.group(bob)
    pair = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    message = send(ann, room)["ID"]
    for path, body in [(f"/messages/{message}", {"Metadata": {"a": 1}}), (f"/rooms/{pair}", {"Metadata": {"a": 1}}),
                       (f"/rooms/{pair}/members/{ann.id}", {"Metadata": {"a": 1}})]:
        refused(bob.rest("PATCH", path, body, expect=403), "forbidden")
        assert host("PATCH", path, body, bob.id)["Metadata"] == {"a": 1}
    refused(ann.rest("PATCH", f"/users/{ann.id}", {"Metadata": {"a": 1}}, expect=403), "forbidden")
    # The host's word is about Metadata alone.
    host("PATCH", f"/messages/{message}", {"Content": "not mine", "Metadata": {"a": 2}}, bob.id, 403)
    host("PATCH", f"/rooms/{room}", {"Name": "not mine", "Metadata": {"a": 2}}, bob.id, 403)
    assert ann.data("GET", f"/messages/{message}")["Metadata"] == {"a": 1}


DEEP = {}
for _ in range(8):
    DEEP = {"a": DEEP}
BAD = [[], "text", 7, True, {"a": "b" * 9000}, {"a": "\u0000"}, {"\u0000": 1}, {"a": 2**63}, {"a": 1e300}, DEEP]
BAD_TEXTS = ['{"Metadata": {"a": 1, "a": 2}}', '{"Metadata": {"a": "\\ud800"}}', '{"Metadata": {"a": 1e999}}', '{"Metadata": {"a": NaN}}',
             '{"Metadata": {' + ",".join(f'"k{n}": 1' for n in range(65)) + "}}"]


def test_what_is_no_metadata_changes_nothing(ann, bob):
    room = ann.group(bob)
    message = send(ann, room, Metadata={"a": 1, "full": "x" * 4000})
    paths = [f"/messages/{message['ID']}", f"/rooms/{room}", f"/rooms/{room}/members/{ann.id}"]
    with ann.socket() as socket:
        for value in BAD:
            for path in paths:
                refused(ann.rest("PATCH", path, {"Metadata": value}, expect=422), "invalid", "Metadata")
            refused(ann.rest("POST", f"/rooms/{room}/messages", {"Content": "x", "Metadata": value}, expect=422), "invalid", "Metadata")
            answer = socket.ask(message_frame(RoomID=room, Metadata=value))
            assert (answer["Success"], answer["Field"]) == (False, "Metadata")
        for value in (None, ""):
            for path in paths[1:]:
                refused(ann.rest("PATCH", path, {"Metadata": value}, expect=422), "invalid", "Metadata")
        for text in BAD_TEXTS:
            for path in paths:
                answer = ann.rest("PATCH", path, data=text.encode(), headers={"Content-Type": "application/json"}, expect=400)
                refused(answer, "malformed")
        # Bytes are for MessagePack alone; a patch that fits makes an object that does not.
        assert not socket.ask(message_frame(RoomID=room, Metadata={"a": b"x"}))["Success"]
        refused(ann.rest("PATCH", paths[0], {"Metadata": {"b": "x" * 100}}, expect=422), "invalid", "Metadata")
        refused(ann.rest("PATCH", paths[0], {"Metadata": {"a": 2}, "BaseSeq": 1}, expect=422), "invalid", "BaseSeq")
    refused(ann.rest("PATCH", f"/rooms/{room}/members/{ann.id}", {"Metadata": {}, "Banned": True}, expect=422), "invalid", "Role")
    assert ann.data("GET", f"/messages/{message['ID']}") == {**message}


def test_lists_of_one_kind(ann, bob):
    room = ann.group(bob)
    for number in range(6):
        send(ann, room, f"m{number}", Metadata={"kind": "odd" if number % 2 else "even", "deep": {"kind": "odd"}})
    send(ann, room, "none")
    for kind in ("x" * 65, 7, ["odd"], {"kind": "odd"}, True):
        send(ann, room, "other", Metadata={"kind": kind})

    def contents(query):
        return [one["Content"] for one in bob.data("GET", f"/rooms/{room}/messages?{query}")]
    assert contents("Metadata.kind=odd") == ["m5", "m3", "m1"]
    assert contents("Metadata.kind=odd&after=0") == ["m1", "m3", "m5"]
    assert contents("Metadata.kind=even&before=4") == ["m2", "m0"]
    assert sorted(contents("Metadata.kind=odd&around=3&limit=4")) == ["m1", "m3", "m5"]
    assert contents("Metadata.kind=odd&changed_since=2") == ["m3", "m5"]
    page = bob.rest("GET", f"/rooms/{room}/messages?Metadata.kind=odd&limit=2").json()
    assert [one["Content"] for one in page["Data"]] == ["m5", "m3"]
    assert contents(page["Next"]) == ["m1"]
    for nothing in ("7", "true", '["odd"]', "ODD", "od", "%25", "odd%27%20OR%20%271%27=%271", "_dd", "\u006f\u0301dd", "x" * 64, "$1", "null"):
        assert contents(f"Metadata.kind={nothing}") == [], nothing
    for path in (f"/rooms/{room}/messages", f"/rooms/{room}/members", "/rooms"):
        refused(bob.rest("GET", f"{path}?Metadata.kind=", expect=422), "invalid", "Metadata.kind")
        # Of this kind there is a message: a list has none of so long a kind.
        assert bob.data("GET", f"{path}?Metadata.kind={'x' * 65}") == bob.data("GET", f"{path}?Metadata.kind={'ä' * 33}") == []
        for wrong in ("Metadata.Kind=odd", "metadata.kind=odd", "Metadata=odd", "Metadata.kind=a&Metadata.kind=b", "Metadata.kind=%00", "Metadata.kind=%ff"):
            refused_code = bob.rest("GET", f"{path}?{wrong}", expect=400).json()["Error"]["Code"]
            assert refused_code == "malformed"
    assert ann.data("GET", f"/rooms/{room}/members?Metadata.kind=a&banned=true") == []
    rooms = [ann.data("POST", "/rooms", {"Type": "GROUP", "Name": kind, "Metadata": {"kind": kind}}, 201)["ID"] for kind in ("one", "two", "one")]
    page = ann.rest("GET", "/rooms?Metadata.kind=one&limit=1").json()
    assert [one["ID"] for one in page["Data"]] == [rooms[2]]
    assert [one["ID"] for one in ann.data("GET", f"/rooms?{page['Next']}")] == [rooms[0]]
    assert bob.data("GET", "/rooms?Metadata.kind=one") == []


def test_a_file_and_a_copy_of_a_message(ann, bob):
    room = ann.group(bob)
    pending = send(ann, room, "a.txt", ContentType="file", Metadata={"kind": "receipt"})
    assert pending["Metadata"] == {"kind": "receipt"} and pending["Seq"] is None
    assert bob.data("GET", f"/rooms/{room}/messages?Metadata.kind=receipt") == []
    refused(ann.rest("PATCH", f"/messages/{pending['ID']}", {"Metadata": {"a": 1}}, expect=409), "conflict")
    original = send(ann, room, "mine", Metadata={"kind": "secret"})
    copy = bob.data("POST", f"/rooms/{room}/messages", {"MessageType": "forwarded", "ParentMessageID": original["ID"], "Metadata": {"by": "bob"}}, 201)
    assert copy["Metadata"] == {"by": "bob"}, "a copy has what its sender gives, and not the original's"
    assert bob.data("PATCH", f"/messages/{copy['ID']}", {"Metadata": {"by": None}}).get("Metadata") is None

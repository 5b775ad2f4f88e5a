"""The host application's own endpoints, which need its key."""

import os
import time
import uuid
from pathlib import Path
from signal import SIGHUP

import pytest
import requests
from waiting import eventually

KEY = "the-key-of-the-host-application-long-enough"


@pytest.fixture(scope="module")
def admin(base_url, pids):
    """The running API gets the key by its settings and a reload."""
    def ask(method, path, body=None, expect=200, key=KEY):
        answer = requests.request(method, f"{base_url}/api/v1/admin{path}", json=body, timeout=60,
                                  headers={"Authorization": f"Bearer {key}"})
        assert expect is None or answer.status_code == expect, f"{answer.status_code} {answer.text[:500]}"
        return answer.json()

    file = Path(os.environ["TEST_ENV_FILE"])
    before = file.read_text()
    assert ask("DELETE", f"/users/{uuid.uuid4()}", expect=404)["Error"]["Code"] == "not_found"
    file.write_text(f"{before}\nADMIN_API_KEY={KEY}\n")
    reload(pids)
    yield ask
    file.write_text(before)
    reload(pids)


def reload(pids):
    def workers():
        return {pid for name, kind, pid in pids() if (name, kind) == ("fcgi-api", "worker")}

    before = workers()
    for name, kind, pid in pids():
        if (name, kind) == ("fcgi-api", "master"):
            os.kill(pid, SIGHUP)
    eventually(lambda: not before & workers(), why=lambda: "the old workers did not end")


def test_only_the_key_opens(admin, ann):
    for wrong in ("", "no key of ours", ann.token, KEY + "x"):
        assert admin("DELETE", f"/users/{ann.id}", expect=401, key=wrong)["Error"]["Code"] == "unauthorized"


def test_the_key_acts_for_users_too(admin, ann, base_url):
    room = ann.group()
    headers = {"Authorization": f"Bearer {KEY}", "X-Chat-User": ann.id}
    answer = requests.get(f"{base_url}/api/v1/rooms/{room}", headers=headers, timeout=10)
    assert answer.json()["Data"]["Role"] == "OWNER"
    requests.patch(f"{base_url}/api/v1/rooms/{room}", json={"Name": "by the host"}, headers=headers, timeout=10)
    assert ann.data("GET", f"/rooms/{room}")["Name"] == "by the host"
    last = admin("GET", "/audit?limit=1")["Data"][0]
    assert (last["Key"], last["Operation"], last["UserID"], last["Status"]) == ("ADMIN_API_KEY", "PATCH /rooms/{id}", ann.id, 200)


def test_rooms_and_members_for_users_and_a_word_of_the_host(admin, ann, bob):
    with bob.socket() as theirs:
        room = admin("POST", "/rooms", {"OwnerID": ann.id, "Type": "GROUP", "Name": "made"}, 201)["Data"]["ID"]
        assert ann.data("GET", f"/rooms/{room}")["Role"] == "OWNER"
        admin("POST", f"/rooms/{room}/members", {"UserID": bob.id}, 201)
        words = {"Content": "Closed tomorrow", "Sign": str(uuid.uuid4())}
        message = admin("POST", f"/rooms/{room}/messages", words, 201)["Data"]
        assert admin("POST", f"/rooms/{room}/messages", words, 201)["Data"]["ID"] == message["ID"]
        heard = theirs.new_message("Closed tomorrow")["Data"]
        assert heard["MessageType"] == "system" and heard["ID"] == message["ID"]
        admin("DELETE", f"/rooms/{room}/members/{bob.id}")
        bob.rest("GET", f"/rooms/{room}", expect=404)
    admin("DELETE", f"/rooms/{room}")
    ann.rest("GET", f"/rooms/{room}", expect=404)
    admin("POST", f"/rooms/{uuid.uuid4()}/members", {"UserID": bob.id}, 404)


def test_a_users_data_is_exported_and_erased(admin, ann, bob):
    room = ann.group(bob)
    with bob.socket() as theirs:
        mine = ann.data("POST", f"/rooms/{room}/messages", {"Content": "first"}, 201)
        ann.data("PATCH", f"/messages/{mine['ID']}", {"Content": "mine"})
        his = bob.data("POST", f"/rooms/{room}/messages", {"Content": "his"}, 201)
        ann.data("PUT", f"/messages/{his['ID']}/reactions/👍")
        page = admin("GET", f"/rooms/{room}/export?limit=1")
        assert page["Data"]["Room"]["ID"] == room and len(page["Data"]["Members"]) == 2
        assert [edit["Content"] for edit in page["Data"]["Messages"][0]["Edits"]] == ["first"]
        rest = admin("GET", f"/rooms/{room}/export?after={page['Next']}")
        assert [message["Content"] for message in rest["Data"]["Messages"]] == ["his"] and rest["Next"] is None

        assert admin("DELETE", f"/users/{ann.id}")["Data"] == {"Messages": 2, "More": False}
        theirs.wait(lambda frame: (frame.get("Data") or {}).get("Change") == "left")
        seqs = [frame["Seq"] for frame in theirs.frames if frame.get("RoomID") == room and frame.get("Seq")]
        assert seqs == list(range(1, len(seqs) + 1))
    found = {message["ID"]: message for message in bob.history(room)}
    assert found[mine["ID"]]["Content"] == "" and found[his["ID"]]["Reactions"] == []
    assert bob.data("GET", f"/rooms/{room}")["Role"] == "OWNER"
    ann.rest("GET", f"/rooms/{room}", expect=404)


def test_what_is_old_is_purged_and_sockets_go_on(admin, ann, bob):
    room = ann.group(bob)
    old = [ann.data("POST", f"/rooms/{room}/messages", {"Content": f"old {number}"}, 201) for number in range(3)]
    time.sleep(0.05)
    before = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() % 1 * 1000):03}Z"
    time.sleep(0.05)
    with bob.socket() as theirs:
        new = ann.data("POST", f"/rooms/{room}/messages", {"Content": "new"}, 201)
        assert admin("POST", f"/rooms/{room}/purge", {"Before": before})["Data"] == {"Messages": 3, "More": False}
        told = theirs.wait(lambda frame: (frame.get("Data") or {}).get("Change") == "purged")
        assert told["Data"]["PurgedThrough"] == old[-1]["Seq"]
        assert [message["ID"] for message in bob.history(room)] == [new["ID"]]
        assert bob.data("GET", f"/rooms/{room}")["Unread"] == 1
        ann.data("POST", f"/rooms/{room}/messages", {"Content": "goes on"}, 201)
        theirs.new_message("goes on")
    admin("POST", f"/rooms/{room}/purge", {"Before": "tomorrow"}, 422)

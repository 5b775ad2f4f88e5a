"""Reports of messages and users, their queues, and slow mode."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from signal import SIGHUP

import pytest
import requests
from client import message_frame
from conftest import server_key
from hook_host import Host
from hook_settings import hook_settings
from waiting import eventually


@pytest.fixture(scope="module")
def ask():
    """The host application, with a key that may moderate."""
    with server_key("moderate") as key:
        def one(method, url, body=None, expect=200, **headers):
            answer = requests.request(method, url, json=body, timeout=30, headers={"Authorization": f"Bearer {key}", **headers})
            assert answer.status_code == expect, f"{method} {url}: {answer.status_code} {answer.text[:300]}"
            return answer.json()
        yield one


def refused(answer, code):
    assert answer.json()["Error"]["Code"] == code, answer.text[:300]


def say(user, room, text="bad", **fields):
    return user.data("POST", f"/rooms/{room}/messages", {"Content": text, **fields}, 201)


def report(user, message, reason="abuse", expect=201, **fields):
    return user.rest("PUT", f"/messages/{message['ID']}/report", {"Reason": reason, **fields}, expect)


def test_a_report_and_its_way_through_the_queue(ann, bob, make_user, ask, base_url):
    eve = make_user()
    room = ann.group(bob, eve)
    message = say(bob, room)
    made = report(eve, message, Text="it hurts\n\tme").json()["Data"]
    assert (made["State"], made["ReportedID"], made["RoomID"]) == ("open", bob.id, room) and "Note" not in made
    # The same again, then with other words: still one report.
    assert report(eve, message, expect=200, Text="it hurts\n\tme").json()["Data"] == made
    assert report(eve, message, expect=200, Text="it hurts").json()["Data"]["ID"] == made["ID"]
    bob.data("PATCH", f"/messages/{message['ID']}", {"Content": "nice"})
    [entry] = ann.data("GET", f"/rooms/{room}/reports")
    assert (entry["Content"], entry["Text"], entry["ReporterID"], entry["Version"]) == ("bad", "it hurts", eve.id, 2)
    assert "HandledKey" not in entry
    path = f"/rooms/{room}/reports/{made['ID']}"
    taken = ann.data("PATCH", path, {"State": "reviewing", "ExpectedState": "open", "Note": "I ask"})
    assert (taken["State"], taken["HandledBy"], taken["Note"]) == ("reviewing", ann.id, "I ask")
    # The host has not seen that.
    host = f"{base_url}/api/v1/admin/reports/{made['ID']}"
    late = ask("PATCH", host, {"State": "resolved", "ExpectedState": "open"}, 409)["Error"]
    assert (late["Code"], late["Field"]) == ("conflict", "ExpectedState")
    done = ask("PATCH", host, {"State": "resolved", "ExpectedState": "reviewing", "Version": taken["Version"]})["Data"]
    assert done["HandledBy"] is None and done["HandledKey"].startswith("test-moderate") and done["Note"] == "I ask"
    assert ann.data("GET", f"/rooms/{room}/reports") == []
    [closed] = ann.data("GET", f"/rooms/{room}/reports?state=resolved")
    assert closed["ID"] == made["ID"] and closed["HandledBy"] is None and closed["HandledAt"]
    # A retry of the reporter does not open it, and news does.
    assert report(eve, message, expect=200, Text="it hurts").json()["Data"]["State"] == "open"  # the message has changed
    [again] = ann.data("GET", f"/rooms/{room}/reports")
    assert again["Content"] == "nice"


def test_only_those_may_report_who_may_see_it(ann, bob, make_user):
    eve = make_user()
    room = ann.group(bob, eve)
    message = say(bob, room)
    refused(report(make_user(), message, expect=404), "message_not_found")
    refused(report(bob, message, expect=409), "conflict")
    refused(report(eve, {"ID": uuid.uuid4()}, expect=404), "message_not_found")
    refused(ann.rest("PUT", f"/users/{make_user().id}/report", {"Reason": "spam"}, 404), "not_found")
    refused(ann.rest("PUT", f"/users/{ann.id}/report", {"Reason": "spam"}, 409), "conflict")
    # A block hides nothing that can be seen, so it may be reported.
    eve.rest("PUT", f"/users/{bob.id}/block", expect=204)
    report(eve, message)
    eve.rest("PUT", f"/users/{bob.id}/report", {"Reason": "abuse"}, 201)
    ann.rest("DELETE", f"/rooms/{room}/members/{eve.id}", expect=200)
    refused(report(eve, message, expect=404, Text="more"), "message_not_found")
    refused(eve.rest("PUT", f"/users/{bob.id}/report", {"Reason": "abuse"}, 404), "not_found")
    assert len(ann.data("GET", f"/rooms/{room}/reports")) == 1
    # A deleted message stays reported, and cannot be reported any more.
    bob.rest("DELETE", f"/messages/{message['ID']}", expect=200)
    refused(report(ann, message, expect=410), "gone")
    assert ann.data("GET", f"/rooms/{room}/reports")[0]["Content"] == "bad"


def test_rooms_see_their_own_reports_only(ann, bob, make_user, ask, base_url):
    eve, other = make_user(), make_user()
    room, elsewhere = ann.group(bob, eve), other.group(bob, eve)
    made = report(eve, say(bob, room)).json()["Data"]
    for user in (bob, eve, make_user()):
        refused(user.rest("GET", f"/rooms/{room}/reports", expect=403), "forbidden")
    step = {"State": "dismissed", "ExpectedState": "open"}
    for user, place in ((bob, room), (eve, room), (other, elsewhere), (other, room)):
        refused(user.rest("PATCH", f"/rooms/{place}/reports/{made['ID']}", step, 404), "not_found")
    # A PRIVATE room has nobody who manages it: its reports, and those of users, are for the host.
    pair = bob.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [eve.id]}, 201)["ID"]
    private = report(eve, say(bob, pair, "private")).json()["Data"]
    person = eve.data("PUT", f"/users/{bob.id}/report", {"Reason": "spam", "Text": "everywhere"}, 201)
    for user in (bob, eve):
        user.rest("GET", f"/rooms/{pair}/reports", expect=403)
    found, query = {}, "limit=100"
    while query:
        page = ask("GET", f"{base_url}/api/v1/admin/reports?{query}")
        found |= {one["ID"]: one for one in page["Data"]}
        query = page["Next"]
    assert found[private["ID"]]["Content"] == "private" and found[person["ID"]]["RoomID"] is None
    assert found[made["ID"]]["ReporterID"] == eve.id
    ask("PATCH", f"{base_url}/api/v1/admin/reports/{person['ID']}", step)


def test_an_admin_never_learns_the_reporter(ann, bob, make_user):
    eve = make_user()
    room = ann.group(bob, eve)
    ann.rest("PATCH", f"/rooms/{room}/members/{bob.id}", {"Role": "ADMIN"}, 200)
    made = report(eve, say(bob, room)).json()["Data"]
    report(eve, say(ann, room, "by the owner"))
    [entry] = ann.data("GET", f"/rooms/{room}/reports")
    assert entry["ReporterID"] is None and eve.id not in str(entry)
    assert [one["ReportedID"] for one in bob.data("GET", f"/rooms/{room}/reports")] == [ann.id]
    step = {"State": "dismissed", "ExpectedState": "open"}
    refused(bob.rest("PATCH", f"/rooms/{room}/reports/{made['ID']}", step, 404), "not_found")
    answer = ann.data("PATCH", f"/rooms/{room}/reports/{made['ID']}", step)
    assert answer["ReporterID"] is None and eve.id not in str(answer)


def test_two_moderators_at_once(ann, bob, make_user):
    eve = make_user()
    room = ann.group(bob, eve)
    made = report(eve, say(bob, room)).json()["Data"]
    path = f"/rooms/{room}/reports/{made['ID']}"
    with ThreadPoolExecutor(8) as threads:
        steps = [{"State": state, "ExpectedState": "open"} for state in ("reviewing", "resolved", "dismissed", "reviewing") * 2]
        answers = list(threads.map(lambda step: ann.rest("PATCH", path, step), steps))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    # Eight requests of one reporter make one report.
    message = say(bob, room, "again")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: report(eve, message, expect=None, Text=str(number)), range(8)))
    assert {answer.json()["Data"]["ID"] for answer in answers} and len({answer.json()["Data"]["ID"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]


def test_bad_input_changes_nothing(ann, bob, base_url, ask):
    room = ann.group(bob)
    message = say(bob, room)
    for body, field in (({}, "Reason"), ({"Reason": "SPAM"}, "Reason"), ({"Reason": 1}, "Reason"), ({"Reason": "spam", "Text": "\x00"}, "Text"),
                        ({"Reason": "spam", "Text": "\x1b[2J"}, "Text"), ({"Reason": "spam", "Text": "ä" * 501}, "Text"),
                        ({"Reason": "spam", "Text": 10**30}, "Text"), ({"Reason": "spam", "Text": ["x"]}, "Text")):
        answer = ann.rest("PUT", f"/messages/{message['ID']}/report", body, 422)
        assert answer.json()["Error"]["Field"] == field
    assert ann.data("GET", f"/rooms/{room}/reports") == []
    made = report(ann, message, Text="ä" * 500).json()["Data"]
    path, step = f"/rooms/{room}/reports/{made['ID']}", {"State": "resolved", "ExpectedState": "open"}
    for change, field in (({"State": "closed"}, "State"), ({"ExpectedState": None}, "ExpectedState"), ({"Version": 2**31}, "Version"),
                          ({"Version": 0}, "Version"), ({"Version": 2**80}, "Version"), ({"Note": "\x00"}, "Note"), ({"Note": "x" * 1001}, "Note")):
        assert ann.rest("PATCH", path, {**step, **change}, 422).json()["Error"]["Field"] == field
    for query in ("state=closed", "after=x", "limit=0", "limit=101"):
        ann.rest("GET", f"/rooms/{room}/reports?{query}", expect=422)
    ann.rest("GET", f"/rooms/{room}/reports?before=1", expect=400)
    refused(ann.rest("PATCH", path, {**step, "Version": 2}, 409), "conflict")
    refused(ann.rest("PATCH", path, {**step, "State": "open"}, 409), "conflict")
    assert ann.data("GET", f"/rooms/{room}/reports")[0]["Version"] == 1


def test_acts_of_keys_are_in_the_audit_log(ann, bob, ask, base_url):
    room = ann.group(bob)
    made = report(ann, say(bob, room)).json()["Data"]
    ask("PATCH", f"{base_url}/api/v1/admin/reports/{made['ID']}", {"State": "resolved", "ExpectedState": "open"})
    with server_key("admin") as key:
        page = requests.get(f"{base_url}/api/v1/admin/audit?limit=20", headers={"Authorization": f"Bearer {key}"}, timeout=30).json()
    [entry] = [one for one in page["Data"] if one["Path"].endswith(f"/admin/reports/{made['ID']}")]
    assert (entry["Operation"], entry["Status"], entry["UserID"]) == ("PATCH /admin/reports/{id}", 200, bob.id)
    with server_key("write") as key:
        for method in ("GET", "PATCH"):
            path = "/admin/reports" + (f"/{made['ID']}" if method == "PATCH" else "")
            answer = requests.request(method, f"{base_url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"}, timeout=30)
            assert answer.status_code == 403


def test_an_erased_user_leaves_no_words(ann, bob, make_user, base_url):
    eve = make_user()
    room = ann.group(bob, eve)
    report(eve, say(bob, room, "bob's words"), Text="eve's words")
    with server_key("admin") as key:
        for user in (eve, bob):
            headers = {"Authorization": f"Bearer {key}"}
            eventually(lambda: requests.delete(f"{base_url}/api/v1/admin/users/{user.id}", headers=headers, timeout=60).status_code == 200)
    [entry] = ann.data("GET", f"/rooms/{room}/reports")
    assert (entry["Text"], entry["Content"]) == ("", None)


def reload(pids, name):
    def workers():
        return {pid for program, kind, pid in pids() if (program, kind) == (name, "worker")}
    before = workers()
    for program, kind, pid in pids():
        if (program, kind) == (name, "master"):
            os.kill(pid, SIGHUP)
    eventually(lambda: not before & workers(), why=lambda: "the old workers did not end")


def test_the_host_is_told_once(ann, bob, pids):
    host = Host()
    with hook_settings(pids, WEBHOOK_URL=f"{host.url}/events", WEBHOOK_PRIVATE="yes"):
        reload(pids, "fcgi-api")
        room = ann.group(bob)
        message = say(bob, room)
        made = report(ann, message).json()["Data"]
        report(ann, message, expect=200)
        report(ann, message, expect=200, Text="more")
        event = host.wait(lambda event: event["Event"] == "report.created")
        assert (event["RoomID"], event["Seq"], event["ID"]) == (room, None, f"{made['ID']}/1")
        assert event["Data"]["ReporterID"] == ann.id and event["Data"]["Content"] == "bad"
        ann.rest("PATCH", f"/rooms/{room}/reports/{made['ID']}", {"State": "dismissed", "ExpectedState": "open"}, 200)
        report(ann, message, expect=200, Text="once more")
        host.wait(lambda event: event["Event"] == "report.reopened")
        assert [name for name in host.names(room) if name.startswith("report.")] == ["report.created", "report.reopened"]
    reload(pids, "fcgi-api")


def test_slow_mode(ann, bob, make_user):
    eve = make_user()
    room = ann.group(bob, eve)
    with bob.socket() as theirs:
        assert ann.data("PATCH", f"/rooms/{room}", {"SlowModeSeconds": 3600})["SlowModeSeconds"] == 3600
        told = theirs.wait(lambda frame: (frame.get("Data") or {}).get("Change") == "changed")
        assert told["Data"]["Room"]["SlowModeSeconds"] == 3600
        frame = message_frame(RoomID=room)
        assert theirs.ask(frame)["Success"]
        # The same Sign is the same message.
        assert theirs.ask(frame)["Success"]
        again = theirs.ask(message_frame(RoomID=room))
        assert again["Error"].startswith("slow_mode: ") and 3_500_000 < again["RetryAfter"] <= 3_600_000
    answer = bob.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 429)
    assert answer.json()["Error"]["Code"] == "slow_mode" and 3500 < int(answer.headers["Retry-After"]) <= 3600
    bob.rest("POST", f"/rooms/{room}/messages", {"Content": "a.png", "ContentType": "image"}, 429)
    for _ in range(3):
        say(ann, room)
    say(eve, room)
    eve.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 429)
    # Not by leaving either.
    eve.rest("DELETE", f"/rooms/{room}/members/{eve.id}", expect=200)
    ann.rest("POST", f"/rooms/{room}/members", {"UserID": eve.id}, 201)
    eve.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 429)
    refused(bob.rest("PATCH", f"/rooms/{room}", {"SlowModeSeconds": 0}, 403), "forbidden")
    for wrong in (-1, 21_601, 2**63, 1.5, "10", None, ""):
        assert ann.rest("PATCH", f"/rooms/{room}", {"SlowModeSeconds": wrong}, 422).json()["Error"]["Field"] == "SlowModeSeconds"
    ann.rest("PATCH", f"/rooms/{room}", {"SlowModeSeconds": 0}, 200)
    say(bob, room)
    say(bob, room)


def test_slow_mode_survives_the_workers(ann, bob, pids):
    body = {"Type": "GROUP", "Name": "slow", "Members": [bob.id], "SlowModeSeconds": 2}
    room = ann.data("POST", "/rooms", body, 201)["ID"]
    ann.rest("PATCH", f"/rooms/{room}", {"SlowModeSeconds": 3600}, 200)
    say(bob, room)
    for name, kind, pid in pids():
        if (name, kind) == ("queue-worker", "worker"):
            os.kill(pid, 9)
    refused(bob.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 429), "slow_mode")
    ann.rest("PATCH", f"/rooms/{room}", {"SlowModeSeconds": 1}, 200)
    eventually(lambda: bob.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}).status_code == 201)
    refused(ann.rest("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id], "SlowModeSeconds": 5}, 422), "invalid")


def test_a_channel_is_read_only(ann, bob):
    body = {"Type": "CHANNEL", "Name": "news", "Members": [bob.id]}
    room = ann.data("POST", "/rooms", body, 201)["ID"]
    refused(bob.rest("POST", f"/rooms/{room}/messages", {"Content": "x"}, 403), "forbidden")
    report(bob, say(ann, room))

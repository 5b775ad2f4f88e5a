"""Web Push, Apple's service and the host's own gateway, each played by a server that checks what comes; and what users want of
pushes. Nothing here waits: PUSH_DELAY_SECONDS is 0, and a push that must not come is shown by a later one that did."""

import json
import os
import re
import secrets
import socket
import subprocess
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from signal import SIGABRT, SIGHUP

import msgpack
import pika
import pytest
import requests
from browser import chromium, until, watched
from conftest import CHECKOUT, program, run_program, workers
from push_services import KEY_ID, SUBJECT, TEAM_ID, TOPIC, Browser, Services
from waiting import eventually

PROGRAMS = ("fcgi-api", "queue-worker")
MOST_DEVICES = 12
ADMIN_KEY = "the-key-of-the-host-for-tests-of-pushes"
HOOK_SECRET = "a secret of the host application's 123"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def services(tmp_path_factory, pids):
    """The running programs get them by their settings and a reload."""
    keys = subprocess.run([program("fcgi-api"), "push", "keys"], capture_output=True, text=True, check=True).stdout
    public = re.search(r"^VAPID_PUBLIC_KEY=(\S+)$", keys, re.M)[1]
    file = Path(os.environ["TEST_ENV_FILE"])
    before = file.read_text()
    services = Services(tmp_path_factory.mktemp("services"), free_port(), free_port(), HOOK_SECRET, public,
                        [free_port() for _ in range(11)])
    lines = [line for line in before.splitlines() if not line.startswith(("WEBHOOK_SECRET=", "PUSH_", "WEBHOOK_PRIVATE=", "DEVICES_", "ADMIN_API_KEY=", "WORKER_HANG_SECONDS="))]
    file.write_text("\n".join(lines) + f"""
{keys}VAPID_SUBJECT={SUBJECT}
WEB_PUSH_LOOPBACK=yes
APNS_KEY_FILE={services.folder}/apns.p8
APNS_KEY_ID={KEY_ID}
APNS_TEAM_ID={TEAM_ID}
APNS_TOPIC={TOPIC}
APNS_ENDPOINT=https://localhost:{services.tls_port}
APNS_CA_FILE={services.folder}/tls.pem
PUSH_WEBHOOK_URL=http://127.0.0.1:{services.port}/hook
WEBHOOK_SECRET={HOOK_SECRET}
WEBHOOK_PRIVATE=yes
DEVICES_PER_USER={MOST_DEVICES}
ADMIN_API_KEY={ADMIN_KEY}
PUSH_DELAY_SECONDS=0
WORKER_HANG_SECONDS=2
PUSH_TITLE={{sender}} in {{room}}
""")
    services.log = file.parent / "log/queue-worker.log"
    services.logged = services.log.stat().st_size
    reload(pids)
    eventually(lambda: "push" in status() and " starting " not in status(), why=status)
    yield services
    file.write_text(before)
    reload(pids)
    services.close()
    assert services.trouble == []


def status():
    return run_program("queue-worker", "status")


def reload(pids):
    """Returns when no worker has the old settings."""
    old = workers(pids, PROGRAMS)
    for name, kind, pid in pids():
        if name in PROGRAMS and kind == "master":
            os.kill(pid, SIGHUP)
    eventually(lambda: (now := workers(pids, PROGRAMS)) and not now & old, why=status)


@pytest.fixture
def browser(services):
    """Subscribes a user; returns the browser's name in the push service."""
    def subscribe(user, **more):
        made = Browser(services)
        answer = user.data("POST", "/devices", {**made.subscription, **more}, 201)
        assert answer["Kind"] == "webpush" and answer["Device"].startswith("webpush-")
        return made.id
    return subscribe


@pytest.fixture
def phone(services):
    def register(user):
        token = secrets.token_hex(32)
        user.data("POST", "/devices", {"Kind": "apns", "Token": token.upper()}, 201)
        return token
    return register


@pytest.fixture
def gateway(services):
    def register(user):
        name = f"{uuid.uuid4()}@example.org"
        user.data("POST", "/devices", {"Kind": "webhook", "Token": name}, 201)
        return name
    return register


def say(user, room, text, **more):
    return user.data("POST", f"/rooms/{room}/messages", {"Content": text, **more}, 201)


def names(user):
    return {device["Device"] for device in user.data("GET", "/devices")["Devices"]}


def kinds(pushes):
    return [push["data"]["Type"] for push in pushes]


def texts(pushes):
    return [push["data"].get("Body") for push in pushes if push["data"]["Type"] == "message"]


def test_a_browser_decrypts_its_push_and_seen_and_deleted_follow(services, ann, bob, browser):
    place = browser(bob)
    shown = bob.data("GET", "/devices")
    assert shown["VAPIDPublicKey"] == services.vapid_key and shown["Kinds"] == ["webpush", "apns", "webhook"]
    other = ann.group(bob, name="Other")
    say(ann, other, "one elsewhere")
    room = ann.group(bob, name="Kitchen")
    message = say(ann, room, 'Where are "you"? 👩‍👩‍👧‍👦')
    push = services.sent_to(place, 2)[1]
    assert push["data"] == {
        "Type": "message", "RoomID": room, "MessageID": message["ID"], "SenderID": ann.id, "SenderName": "", "Seq": message["Seq"],
        "Unread": 1, "Badge": 2, "ContentType": "text", "Title": f"{ann.id} in Kitchen", "Body": message["Content"]}
    assert push["headers"]["urgency"] == "high" and push["headers"]["topic"] == room.replace("-", "")
    ann.rest("DELETE", f"/messages/{message['ID']}", expect=200)
    back = services.sent_to(place, 3)[2]
    assert (back["data"]["Type"], back["data"]["MessageID"], back["data"]["Badge"]) == ("deleted", message["ID"], 1)
    assert back["headers"]["topic"] == push["headers"]["topic"] and back["headers"]["urgency"] == "low"
    last = say(ann, room, "the last")
    services.sent_to(place, 4)
    bob.rest("POST", f"/rooms/{room}/seen", {}, expect=200)
    seen = services.sent_to(place, 5)[4]
    assert seen["data"] == {"Type": "seen", "RoomID": room, "Seq": last["Seq"], "Badge": 1}


def test_a_device_that_takes_no_silent_push_gets_none(services, ann, bob, browser):
    room, place = ann.group(bob), browser(bob, Silent=False)
    say(ann, room, "first")
    services.sent_to(place)
    bob.rest("POST", f"/rooms/{room}/seen", {}, expect=200)
    say(ann, room, "second")
    assert kinds(services.sent_to(place, 2)) == ["message", "message"]


def test_answers_of_a_push_service(services, ann, bob, browser):
    room = ann.group(bob)
    gone = {browser(bob): status for status in (404, 410)}
    later = {browser(bob): answer for answer in [(429, {"retry-after": 1}, b""), (503, {"retry-after": 1}, b""), (500, {}, b"")]}
    refused = {browser(bob): answer for answer in [
        (302, {"location": f"http://127.0.0.1:{services.port}/webpush/elsewhere"}, b""), (400, {}, b"no"), (403, {}, b"")]}
    large, endless, good = browser(bob), browser(bob), browser(bob)
    for place, code in gone.items():
        services.answers[place] = [(code, {}, b"")]
    for place, answer in {**later, **refused}.items():
        services.answers[place] = [answer]
    services.answers[large] = [(413, {}, b"")]
    services.answers[endless] = [(201, {}, b"x" * 100_000)]
    before = names(bob)
    say(ann, room, "hello")
    services.sent_to(good)
    for place, (code, *_) in later.items():
        first, second = services.sent_to(place, 2)
        assert (first["status"], second["status"]) == (code, 201)
    first, lean = services.sent_to(large, 2)
    assert first["data"]["Body"] == "hello" and "Body" not in lean["data"] and lean["data"]["MessageID"] == first["data"]["MessageID"]
    services.sent_to(endless, 2)
    assert len(names(bob)) == len(before) - 2
    say(ann, room, "again")
    services.sent_to(good, 2)
    assert [len(services.to(place)) for place in gone] == [1, 1]
    for place in refused:
        assert len(services.sent_to(place, 2)) == 2
    with services.changed:
        assert [push for push in services.pushes if push["device"] == "elsewhere"] == []


def test_apples_service_gets_token_headers_and_body(services, ann, bob, make_user, phone):
    room = ann.group(bob, name="Kitchen")
    token = phone(bob)
    message = say(ann, room, "Dinner?")
    push = services.sent_to(token)[0]
    assert push["data"]["aps"] == {
        "alert": {"title": f"{ann.id} in Kitchen", "body": "Dinner?"}, "badge": 1, "sound": "default", "thread-id": room,
        "mutable-content": 1}
    assert (push["data"]["MessageID"], push["data"]["RoomID"]) == (message["ID"], room)
    headers = push["headers"]
    assert headers["apns-collapse-id"] == room and headers["apns-priority"] == "10" and headers["apns-push-type"] == "alert"
    assert int(headers["apns-expiration"]) > datetime.now().timestamp()
    bob.rest("POST", f"/rooms/{room}/seen", {}, expect=200)
    seen = services.sent_to(token, 2)[1]
    assert seen["data"]["aps"] == {"badge": 0, "content-available": 1} and seen["headers"]["apns-priority"] == "5"
    assert seen["data"]["Type"] == "seen" and len(services.apple_tokens) == 1


def test_answers_of_apples_service(services, ann, bob, phone):
    room = ann.group(bob)
    gone = [phone(bob) for _ in range(3)]
    reasons = [(400, "BadDeviceToken"), (410, "Unregistered"), (400, "DeviceTokenNotForTopic")]
    for token, (code, reason) in zip(gone, reasons):
        services.answers[token] = [(code, {}, json.dumps({"reason": reason}).encode())]
    renewed, refused = phone(bob), phone(bob)
    services.answers[renewed] = [(403, {}, b'{"reason": "ExpiredProviderToken"}')]
    services.answers[refused] = [(400, {}, b'{"reason": "BadTopic"}')]
    say(ann, room, "first")
    assert [push["status"] for push in services.sent_to(renewed, 2)] == [403, 200]
    services.sent_to(refused)
    for token in gone:
        services.sent_to(token)
    eventually(lambda: len(names(bob)) == 2, why=lambda: names(bob))
    slow = phone(bob)
    services.answers[slow] = [(429, {"retry-after": 1}, b'{"reason": "TooManyRequests"}')]
    say(ann, room, "second")
    assert [push["status"] for push in services.sent_to(slow, 2)][:2] == [429, 200]


def test_a_gateway_of_the_hosts_gets_a_signed_request_for_each_push(services, ann, bob, gateway):
    room = ann.group(bob, name="Kitchen")
    name, gone = gateway(bob), gateway(bob)
    services.answers[gone] = [(410, {}, b"")]
    services.answers[name] = [(503, {"retry-after": 1}, b"")]
    message = say(ann, room, "Dinner?")
    first, second = services.sent_to(name, 2)
    assert (first["status"], second["status"]) == (503, 200) and first["event"]["ID"] == second["event"]["ID"]
    event = second["event"]
    assert (event["UserID"], event["CollapseKey"], event["Push"]["MessageID"]) == (bob.id, room, message["ID"])
    assert event["Push"]["Body"] == "Dinner?" and event["Push"]["Badge"] == 1
    services.sent_to(gone)
    eventually(lambda: len(names(bob)) == 1, why=lambda: names(bob))


def test_mentions_only_in_one_room_or_in_all(services, ann, bob, make_user, gateway):
    carl = make_user()
    room = ann.group(bob, carl)
    in_all, in_one = gateway(bob), gateway(carl)
    assert bob.data("PATCH", "/account", {"PushMentionsOnly": True})["PushMentionsOnly"] is True
    carl.rest("PUT", f"/rooms/{room}/silence", {"Mentions": True}, expect=204)
    say(ann, room, "plain")
    wanted = f"@{bob.id} and <@{carl.id}>"
    say(ann, room, wanted)
    assert texts(services.sent_to(in_all)) == texts(services.sent_to(in_one)) == [wanted]
    # A PRIVATE room is one's own by its kind.
    private = ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    say(ann, private, "to you")
    assert texts(services.sent_to(in_all, 2)) == [wanted, "to you"]
    assert services.to(in_all)[1]["data"]["Badge"] == 3
    bob.data("PATCH", "/account", {"PushMentionsOnly": False})
    say(ann, room, "plain again")
    assert texts(services.sent_to(in_all, 3))[2] == "plain again" and len(services.to(in_one)) == 1


def test_quiet_hours(services, ann, bob, make_user, gateway):
    carl = make_user()
    room, name, awake = ann.group(bob, carl), gateway(bob), gateway(carl)
    now = datetime.now(timezone.utc)
    hours = {"From": f"{now - timedelta(hours=2):%H:%M}", "To": f"{now + timedelta(hours=2):%H:%M}", "TimeZone": "UTC"}
    assert bob.data("PATCH", "/account", {"QuietHours": hours})["QuietHours"] == hours
    say(ann, room, "at night")
    # The wishes of all members are read at once: now those of the night were.
    services.sent_to(awake)
    # The other half of the day.
    bob.data("PATCH", "/account", {"QuietHours": {**hours, "From": hours["To"], "To": hours["From"]}})
    say(ann, room, "by day")
    push = services.sent_to(name)[0]
    assert (push["data"]["Body"], push["data"]["Unread"]) == ("by day", 2)
    assert bob.data("PATCH", "/account", {"QuietHours": None})["QuietHours"] is None
    for wrong in ({**hours, "TimeZone": "Mars/Olympus"}, {**hours, "From": "25:00"}, {**hours, "To": hours["From"]}, "UTC", {}):
        refused = bob.rest("PATCH", "/account", {"QuietHours": wrong}, expect=422).json()["Error"]
        assert refused["Field"] == "QuietHours", refused


def test_a_silenced_thread(services, ann, bob, gateway):
    room, name = ann.group(bob), gateway(bob)
    top = say(ann, room, "top")
    services.sent_to(name)
    bob.rest("PUT", f"/messages/{top['ID']}/silence", {"Mentions": True}, expect=204)

    def answer(text, to):
        return say(ann, room, text, MessageType="replied", ParentMessageID=to["ID"])
    below = answer("below", top)
    answer("deeper", below)
    mention = f"deeper, @{bob.id}"
    answer(mention, below)
    assert texts(services.sent_to(name, 2)) == ["top", mention]
    bob.rest("DELETE", f"/messages/{top['ID']}/silence", expect=204)
    answer("heard", below)
    assert texts(services.sent_to(name, 3)) == ["top", mention, "heard"]
    stranger = ann.group()
    hidden = say(ann, stranger, "not yours")
    bob.rest("PUT", f"/messages/{hidden['ID']}/silence", {}, expect=404)


def test_strange_devices_are_refused(services, ann, browser):
    good = Browser(services).subscription
    wrong = {
        "Endpoint": [
            "", "ftp://push.example.org/1", "http://push.example.org/1", "https://127.0.0.1/1", "https://[::1]/1", "https://localhost/1",
            "https://2130706433/1", "https://0x7f.1/1", "https://10.0.0.1:443/1", "https://a@push.example.org/1", "https://push.example.org:0/",
            "https://push.example.org\\@evil.example/", "https://push.example.org/#x", "https://push.example.org/ü", "https://" + "a" * 2050,
            "https:///1", "http://127.0.0.1.example.org/1", 7, None],
        "Keys": [None, {}, "x", {"p256dh": good["Keys"]["p256dh"]}, {**good["Keys"], "auth": "AAAA"},
                 {**good["Keys"], "p256dh": "BA" + "A" * 85}, {**good["Keys"], "p256dh": good["Keys"]["p256dh"] + "="}],
        "Kind": ["pigeon", 7], "Silent": ["yes"],
    }
    for field, values in wrong.items():
        for value in values:
            refused = ann.rest("POST", "/devices", {**good, field: value})
            assert refused.status_code == 422 and refused.json()["Error"]["Field"] == field, (field, value, refused.text)
    for device in ({"Kind": "apns", "Token": "xyz"}, {"Kind": "apns", "Token": "ab" * 101}, {"Kind": "webhook", "Token": "a\nb"},
                   {"Kind": "webhook", "Token": "a" * 1025}, {"Kind": "fcm", "Token": "a b"}, {"Kind": "apns"}):
        assert ann.rest("POST", "/devices", device).json()["Error"]["Field"] == "Token", device
    assert names(ann) == set()


def push_worker():
    """The PID of the one push worker."""
    found = [int(words[1]) for line in status().splitlines() if (words := line.split()) and re.fullmatch(r"push.\d+", words[0])]
    assert len(found) == 1, status()
    return found[0]


def say_to_workers(settings, *bodies):
    """Puts them into the queue of pushes."""
    connection = pika.BlockingConnection(pika.URLParameters(settings["RABBITMQ_URL"]))
    queue = settings.get("RABBITMQ_PREFIX", "chat") + ".push"
    for body in bodies:
        connection.channel().basic_publish("", queue, body)
    connection.close()


def dropped(services):
    return services.log.read_text().count("a push job is dropped")


def test_jobs_that_no_program_of_ours_writes_are_dropped(services, settings, ann, bob, gateway):
    room, name, before = ann.group(bob), gateway(bob), dropped(services)
    worker = push_worker()
    strange = [-2**63, -1, 2**63 - 1, 2**64 - 1, float("nan"), float("-inf"), None, "7", [], {}]
    bodies = [b"no job at all", b"", b"\xdd\xff\xff\xff\xff", msgpack.packb({}), msgpack.packb([[]]), msgpack.packb([[9, room, 1, 1]])]
    for number in strange:
        jobs = [[1, room, 5, number], [1, room, number, 5], [2, room, bob.id, number], [3, room, room, number], [number, room, 5, 5],
                [4, room, bob.id, "x", number, 5], [4, room, bob.id, "x", 5, number], [1, number, 5, 5]]
        bodies += [msgpack.packb([job]) for job in jobs]
    say_to_workers(settings, *bodies, msgpack.packb([[4, room, bob.id, "webhook-" + "x" * 100_000, 1, 2**62]]))
    eventually(lambda: dropped(services) - before == len(bodies), why=lambda: f"{dropped(services) - before} of {len(bodies)}")
    say(ann, room, "afterwards")
    assert texts(services.sent_to(name)) == ["afterwards"] and push_worker() == worker


def test_a_job_that_ends_its_workers_is_dropped(services, ann, bob, psql, gateway):
    room, name, before = ann.group(bob), gateway(bob), dropped(services)
    holder, watcher = psql(), psql()
    # Its worker waits for the table; then it gets the signal of a crash.
    holder.ask("BEGIN; LOCK TABLE push_mutes IN ACCESS EXCLUSIVE MODE")
    say(ann, room, "poison")
    known, crashes = set(), 0

    def is_dropped():
        nonlocal crashes
        if dropped(services) > before:
            return True
        waiting = set(watcher.ask("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'queue-worker push'"))
        if waiting - known:
            known.update(waiting)
            os.kill(push_worker(), SIGABRT)
            crashes += 1
        return False
    eventually(is_dropped, why=lambda: f"not dropped after {crashes} crashes\n{status()}")
    assert 2 <= crashes <= 4
    holder.ask("ROLLBACK")
    say(ann, room, "afterwards")
    assert texts(services.sent_to(name))[0] == "afterwards"


@pytest.mark.parametrize("wait", ["9223372036854776", "9223372036854775807", "-1", "1" * 400, "NaN", "0"])
def test_a_wait_that_nobody_can_mean(services, ann, bob, make_user, browser, phone, gateway, wait):
    carl, worker = make_user(), push_worker()
    room = ann.group(bob, carl)
    for device in (browser(bob), phone(bob), gateway(bob)):
        services.answers[device] = [(429, {"retry-after": wait}, b"")]
    good = [browser(carl), phone(carl), gateway(carl)]
    say(ann, room, "hello")
    for device in good:
        services.sent_to(device)
    assert push_worker() == worker


def test_a_worker_that_is_reloaded_in_the_middle_of_a_slow_device(services, ann, bob, make_user, browser, gateway, pids):
    """It ends at once, nothing is lost: neither the push on its way, nor those that wait for another try."""
    carl = make_user()
    room, waits, slow, behind = ann.group(bob, carl), gateway(carl), browser(bob), browser(bob)
    services.answers[waits] = [(503, {"retry-after": 60}, b"")]
    say(ann, room, "waits")
    services.sent_to(waits)
    services.sent_to(slow), services.sent_to(behind)
    services.delays[slow] = services.delays[behind] = 4
    services.begun.clear()
    logged = services.log.stat().st_size
    say(ann, room, "on its way")
    eventually(lambda: services.begun)
    services.delays.clear()
    reload(pids)
    assert texts(services.sent_to(waits, 2))[1] in ("waits", "on its way")
    for device in (slow, behind):
        eventually(lambda: texts(services.to(device))[-1] == "on its way")
    with services.log.open("rb") as log:
        log.seek(logged)
        assert b"killed" not in log.read()


def test_slow_servers_of_many_users_neither_stop_pushes_nor_end_the_worker(services, ann, bob, make_user, gateway):
    """Each of eleven users has a server of their own, which answers nothing within the time of a try."""
    name, other = gateway(bob), ann.group(bob)
    strangers = [make_user() for _ in services.more_ports]
    room, places = ann.group(*strangers), []
    for user, port in zip(strangers, services.more_ports):
        made = Browser(services, port)
        user.data("POST", "/devices", made.subscription, 201)
        places.append(made.id)
    message = say(ann, room, "a slip")
    for place in places:
        services.sent_to(place)
    worker = push_worker()
    services.begun.clear()
    services.delays = {place: 60 for place in places}
    ann.rest("DELETE", f"/messages/{message['ID']}", expect=200)
    eventually(lambda: services.begun)
    say(ann, other, "not for them")
    assert texts(services.sent_to(name)) == ["not for them"]
    # Those that wait have their turns beside it.
    eventually(lambda: len(set(services.begun)) > 4)
    assert push_worker() == worker
    services.delays = {}


def test_a_push_that_waits_follows_a_block(services, ann, bob, make_user, gateway):
    carl = make_user()
    room, private = ann.group(bob, carl), ann.data("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}, 201)["ID"]
    name = gateway(bob)
    services.answers[name] = [(503, {"retry-after": 3}, b"")] * 2
    say(ann, private, "to you")
    services.sent_to(name)
    bob.rest("PUT", f"/users/{ann.id}/block", expect=204)
    say(carl, room, "to all")
    # Those that wait are tried in the order of their times.
    assert texts(services.sent_to(name, 3)) == ["to you", "to all", "to all"]


def test_devices_of_all_kinds_share_one_limit_and_are_erased(services, ann, phone, gateway, base_url):
    ann.rest("PUT", "/devices/an-fcm-token", expect=204)
    for _ in range(MOST_DEVICES - 2):
        phone(ann)
    gateway(ann)
    assert len(names(ann)) == MOST_DEVICES and "an-fcm-token" in names(ann)
    ann.data("POST", "/devices", Browser(services).subscription, 201)
    kept = ann.data("GET", "/devices")["Devices"]
    assert [device["Kind"] for device in kept] == ["webpush", "webhook"] + ["apns"] * (MOST_DEVICES - 2)
    ann.rest("DELETE", f"/devices/{kept[0]['Device']}", expect=204)
    assert len(names(ann)) == MOST_DEVICES - 1
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    erased = requests.delete(f"{base_url}/api/v1/admin/users/{ann.id}", headers=key, timeout=60)
    assert erased.status_code == 200, erased.text
    eventually(lambda: names(ann) == set(), why=lambda: names(ann))


def test_no_secret_of_a_device_is_logged(services):
    """The last of these tests: the log holds what all of them did."""
    with services.log.open("rb") as log:
        log.seek(services.logged)
        text = log.read().decode()
    assert "Web Push: 302 from http://127.0.0.1:" in text
    assert "/webpush/" not in text
    for browser in services.browsers.values():
        assert browser.id not in text and browser.subscription["Keys"]["auth"] not in text


SHOWN = "navigator.serviceWorker.ready.then(one => one.getNotifications()).then(all => all.map(one => [one.title, one.body, one.tag]))"


def test_a_page_subscribes_and_its_worker_shows_and_takes_back(services, base_url):
    """Real Chromium: permission, service worker, notifications. Its push service is played: no subscription reaches one from here."""
    demo = requests.get(f"{base_url}/demo.json", timeout=10).json()
    people = [{"Authorization": f"Bearer {user['Token']}"} for user in demo["Users"]]
    bob = demo["Users"][1]["ID"]

    def ask(who, method, path, **body):
        answer = requests.request(method, f"{base_url}/api/v1{path}", headers=people[who], json=body or None, timeout=30)
        assert answer.ok, answer.text
        return answer.json()["Data"] if answer.content else None

    room = ask(0, "POST", "/rooms", Type="GROUP", Name="Kitchen", Members=[bob])["ID"]
    made = Browser(services)
    with chromium() as browser:
        context = browser.new_context()
        context.grant_permissions(["notifications"], origin=base_url)
        script = (CHECKOUT / "Tests/EndToEnd/push_page.js").read_text()
        context.add_init_script(f"({script[script.index('({'):].strip()})({json.dumps(made.subscription)})")
        page = context.new_page()
        said = watched(page)
        page.goto(base_url)
        button = page.get_by_role("region", name="Bob").get_by_role("button", name="Notifications")
        button.click()
        until(page, "panes[1].notifies && !panes[0].notifies")
        assert button.get_attribute("aria-pressed") == "true"
        (device,) = ask(1, "GET", "/devices")["Devices"]
        assert device["Kind"] == "webpush" and device["Silent"]
        # Loaded again: what is subscribed stays so, and is the same device.
        page.reload()
        until(page, "globalThis.panes?.length === 2 && panes[1].notifies")
        assert [one["Device"] for one in ask(1, "GET", "/devices")["Devices"]] == [device["Device"]]
        # Both are away now; the worker is still there.
        page.goto(f"{base_url}/plain.html")
        eventually(lambda: not ask(0, "GET", f"/users/{bob}/presence")["Online"])
        wire, registrations = context.new_cdp_session(page), []
        wire.on("ServiceWorker.workerRegistrationUpdated", lambda event: registrations.extend(event["registrations"]))
        wire.send("ServiceWorker.enable")
        assert page.evaluate("navigator.serviceWorker.ready.then(one => one.active.state)") in ("activating", "activated")
        eventually(lambda: page.evaluate("1") and registrations)

        def delivered(count, shown):
            """The newest of so many pushes, decrypted by the service that got it, as Chromium hands it to the worker.

            Chromium forgets a notification if it is asked for all of them while it shows this one (20 of 150). So the test asks
            late, and a push comes again, as push services may do it."""
            push = services.sent_to(made.id, count)[count - 1]["data"]
            for pause in (0.5, 1, 2, 4, 8):
                wire.send("ServiceWorker.deliverPushMessage", {
                    "origin": f"{base_url}/", "registrationId": registrations[-1]["registrationId"], "data": json.dumps(push)})
                time.sleep(pause)
                if shown(found := page.evaluate(SHOWN)):
                    return push
            raise AssertionError((push, found))

        def shows(text):
            return lambda found: [one[1:] for one in found] == [[text, room]]

        def shows_none(found):
            return not found
        first = ask(0, "POST", f"/rooms/{room}/messages", Content="Dinner?")
        assert delivered(1, shows("Dinner?"))["Title"] == page.evaluate(SHOWN)[0][0]
        second = ask(0, "POST", f"/rooms/{room}/messages", Content="At eight")
        # One for each room.
        delivered(2, shows("At eight"))
        assert second["Seq"] > first["Seq"]
        ask(0, "DELETE", f"/messages/{second['ID']}")
        assert delivered(3, shows_none)["Type"] == "deleted"
        ask(0, "POST", f"/rooms/{room}/messages", Content="Or at nine")
        delivered(4, shows("Or at nine"))
        ask(1, "POST", f"/rooms/{room}/seen", Seq=second["Seq"] + 2)
        assert delivered(5, shows_none)["Type"] == "seen"
        # A click leads an open page to the room. Only a person's click gives focus, so the worker's function is called.
        ask(0, "POST", f"/rooms/{room}/messages", Content="So nine")
        delivered(6, shows("So nine"))
        page.goto(base_url)
        until(page, "id => globalThis.panes?.length === 2 && panes.every(one => one.chat.rooms.has(id) && one.room !== id)", room)
        context.service_workers[0].evaluate("registration.getNotifications().then(([one]) => clicked(one))")
        until(page, "id => panes.every(one => one.room === id)", room)
        assert page.evaluate(SHOWN) == []
        until(page, "panes[1].notifies")
        button.click()
        until(page, "!panes[1].notifies")
        assert ask(1, "GET", "/devices")["Devices"] == [] and not page.evaluate("localStorage.subscribed")
        assert said == []

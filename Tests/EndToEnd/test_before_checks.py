"""The host is asked before a user joins, opens a room or uploads: its own php-fpm decides."""

import json
import uuid

import pytest
from client import message_frame
from conftest import server_key
from hook_settings import SECRET, hook_settings
from php_site import php_site
from waiting import eventually

# Refuses what a file names: lines of Kind and reason. Writes down what it was asked.
SCRIPT = """<?php
$body = file_get_contents('php://input');
parse_str(strtr($_SERVER['HTTP_X_CHAT_SIGNATURE'], ',', '&'), $parts);
if (!hash_equals(hash_hmac('sha256', $parts['t'] . '.' . $body, getenv('WEBHOOK_SECRET')), $parts['v1'])) { http_response_code(403); exit; }
$event = json_decode($body, true);
if ($event['Event'] !== 'message.check') { http_response_code(204); exit; }
$refused = json_decode(file_get_contents(getenv('FOLDER') . '/refused'), true);
if ($refused['silent'] ?? false) { sleep(3); }
$verdicts = [];
foreach ($event['Messages'] as $act) {
    file_put_contents(getenv('FOLDER') . '/asked', json_encode($act) . "\\n", FILE_APPEND | LOCK_EX);
    $verdicts[] = isset($refused[$act['Kind']]) ? ['ID' => $act['ID'], 'Action' => 'reject', 'Reason' => $refused[$act['Kind']]] : ['ID' => $act['ID'], 'Action' => 'allow'];
}
exit(json_encode(['Verdicts' => $verdicts]));
"""


class Host:
    def __init__(self, folder):
        self.folder = folder
        self.refuses()

    def refuses(self, **kinds):
        (self.folder / "refused").write_text(json.dumps(kinds or {"-": "-"}))
        (self.folder / "asked").write_text("")

    def asked(self, kind):
        return [act for act in map(json.loads, (self.folder / "asked").read_text().splitlines()) if act["Kind"] == kind]


@pytest.fixture(scope="module", params=["message,join,create,upload", "join,create,upload"])
def host(request, pids, tmp_path_factory):
    folder = tmp_path_factory.mktemp("php")
    script = folder / "decide.php"
    script.write_text(SCRIPT)
    with php_site(folder, script, {"WEBHOOK_SECRET": SECRET, "FOLDER": folder}):
        url = f"fcgi://unix:{folder}/fpm.sock{script}"
        with hook_settings(pids, WEBHOOK_URL=url, MESSAGE_CHECK_URL=url, MESSAGE_CHECK_ACTS=request.param, MESSAGE_CHECK_TIMEOUT_MS=1000):
            host = Host(folder)
            host.acts = request.param
            yield host


@pytest.fixture(autouse=True)
def allowed(host):
    host.refuses()
    yield
    host.refuses()


def rejected(answer, reason):
    error = answer.json()["Error"]
    assert (answer.status_code, error["Code"], error["Message"]) == (422, "rejected", reason)


def test_a_new_room(host, ann, bob):
    host.refuses(create="only for customers")
    before = ann.rest("GET", "/rooms").json()["Data"]
    draft = {"Type": "GROUP", "Name": "lunch", "Members": [bob.id], "Metadata": {"kind": "x"}}
    rejected(ann.rest("POST", "/rooms", draft), "only for customers")
    rejected(ann.rest("POST", "/rooms", {"Type": "PRIVATE", "Members": [bob.id]}), "only for customers")
    with ann.socket() as hers:
        answer = hers.ask(message_frame(ReceiverID=bob.id))
        assert not answer["Success"] and answer["Error"] == "rejected: only for customers"
    assert ann.rest("GET", "/rooms").json()["Data"] == before
    (group,) = [act for act in host.asked("create") if act["Type"] == "GROUP"]
    assert group["Name"] == "lunch" and group["SenderID"] == ann.id and group["Metadata"] == {"kind": "x"}
    assert group["Members"] == [{"UserID": bob.id, "ExternalID": None}]
    host.refuses()
    ann.rest("POST", "/rooms", draft, 201)


def test_a_user_who_comes_into_a_room(host, ann, bob):
    room = ann.group()
    link = ann.data("POST", f"/rooms/{room}/invitations", {}, 201)
    host.refuses(join="the room is for subscribers")
    rejected(ann.rest("POST", f"/rooms/{room}/members", {"Members": [bob.id]}), "the room is for subscribers")
    rejected(bob.rest("POST", "/rooms/join", {"Token": link["Token"]}), "the room is for subscribers")
    assert [member["UserID"] for member in ann.data("GET", f"/rooms/{room}/members")] == [ann.id]
    added, joined = host.asked("join")
    assert added["SenderID"] == ann.id and added["Members"] == [{"UserID": bob.id, "ExternalID": None}]
    assert joined["SenderID"] == bob.id and joined["InvitationID"] == link["ID"] and joined["RoomID"] == room
    host.refuses()
    bob.rest("POST", "/rooms/join", {"Token": link["Token"]}, 200)


def test_a_file(host, ann):
    room = ann.group()
    host.refuses(upload="no files here")
    draft = {"Content": "a.png", "ContentType": "image", "Sign": str(uuid.uuid4())}
    rejected(ann.rest("POST", f"/rooms/{room}/messages", draft), "no files here")
    form = ann.rest("POST", f"/rooms/{room}/files", files={"File": ("a.txt", b"text")})
    rejected(form, "no files here")
    with ann.socket() as hers:
        answer = hers.ask(message_frame(RoomID=room, Content="b.png", ContentType="image"))
        assert answer["Error"] == "rejected: no files here"
    assert {act["Content"] for act in host.asked("upload")} == {"a.png", "a.txt", "b.png"}
    assert ann.data("GET", "/uploads") == [] and host.asked("send") == []
    host.refuses()
    assert ann.rest("POST", f"/rooms/{room}/files", files={"File": ("a.txt", b"text")}).status_code == 201


def test_a_text_is_asked_about_where_it_is_listed(host, ann):
    room = ann.group()
    host.refuses(send="mind your words", edit="mind your words")
    answer = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "hello"})
    if "message" in host.acts:
        rejected(answer, "mind your words")
    else:
        assert answer.status_code == 201 and host.asked("send") == []


def test_the_hosts_own_acts_are_not_asked_about(host, ann, bob):
    host.refuses(create="no", join="no", upload="no")
    with server_key("write") as key:
        own = {"Authorization": f"Bearer {key}", "X-Chat-User": ann.id}
        room = ann.rest("POST", "/rooms", {"Type": "GROUP", "Name": "by the host"}, 201, headers=own).json()["Data"]["ID"]
        ann.rest("POST", f"/rooms/{room}/members", {"Members": [bob.id]}, 201, headers=own)
        assert ann.rest("POST", f"/rooms/{room}/files", files={"File": ("a.txt", b"text")}, headers=own).status_code == 201
    assert host.asked("create") == host.asked("join") == host.asked("upload") == []


def test_a_silent_host_refuses(host, ann, bob):
    room = ann.group()
    host.refuses(silent=True)
    for method, path, body in (("POST", "/rooms", {"Type": "GROUP", "Name": "x"}), ("POST", f"/rooms/{room}/members", {"Members": [bob.id]})):
        refused = ann.rest(method, path, body, 503)
        assert refused.json()["Error"]["Code"] == "unavailable" and refused.headers["Retry-After"]
    host.refuses()
    eventually(lambda: ann.rest("POST", "/rooms", {"Type": "GROUP", "Name": "x"}).status_code == 201)

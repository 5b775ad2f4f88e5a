"""fcgi-api import --from slack and --from mattermost: exports made here after the two services' public formats."""

import json
import os
import subprocess
import sys

import pytest
from conftest import CHECKOUT, program
from importing import message_id, room_id, told

sys.path.insert(0, str(CHECKOUT / "Tests/Install"))
import documents  # noqa: E402


def day(folder, name, messages):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(messages))


@pytest.fixture
def slack(tmp_path):
    """https://slack.com/help/articles/220556107: lists of users and channels, and a file a day in each channel's folder."""
    folder = tmp_path / "slack"
    folder.mkdir()
    users = [{"id": "U1", "name": "ann", "deleted": False, "real_name": "Ann A", "team_id": "T1", "updated": 1600000000, "is_bot": False,
              "profile": {"display_name": "Ann", "real_name": "Ann A", "email": "ann@example.com", "image_192": "https://s.example/a.png"}},
             {"id": "U2", "name": "bob", "profile": {"display_name": "", "real_name": "Bob B", "email": "bob@example.com"}},
             {"id": "U3", "name": "carol", "deleted": True, "profile": {"real_name": "Carol"}}]
    channel = {"is_archived": False, "topic": {"value": "", "creator": "", "last_set": 0}}
    (folder / "users.json").write_text(json.dumps(users))
    (folder / "channels.json").write_text(json.dumps([
        {**channel, "id": "C1", "name": "general", "created": 1600000000, "creator": "U1", "is_general": True, "members": ["U2", "U1"],
         "purpose": {"value": "All of us", "creator": "U1", "last_set": 1600000000}},
        {**channel, "id": "C2", "name": "../up", "created": 1600000000, "creator": "U1", "members": ["U1"], "purpose": {"value": ""}},
        {**channel, "id": "C3", "name": "empty", "created": 1600000000, "creator": "U1", "members": [], "purpose": {"value": ""}}]))
    (folder / "groups.json").write_text("[]")
    (folder / "mpims.json").write_text(json.dumps([{**channel, "id": "G1", "name": "mpdm-ann--bob--carol-1", "created": 1600000100, "creator": "U2",
                                                    "members": ["U1", "U2", "U3"], "purpose": {"value": ""}}]))
    (folder / "dms.json").write_text(json.dumps([{"id": "D1", "created": 1600000200, "members": ["U1", "U2"]},
                                                 {"id": "D2", "created": 1600000200, "members": ["U1", "U1"]},
                                                 {"id": "D3", "created": 1600000300, "members": ["U2", "U1"]}]))
    message = {"type": "message", "team": "T1"}
    day(folder, "general/2020-09-13.json", [
        {**message, "subtype": "channel_join", "user": "U2", "text": "<@U2> has joined the channel", "ts": "1600000001.000100"},
        {**message, "user": "U1", "text": "Hello <@U2> &amp; <!here>, see <https://x.example/?a=1|the page> in <#C1|general>",
         "ts": "1600000002.000200", "thread_ts": "1600000002.000200", "reply_count": 1,
         "edited": {"user": "U1", "ts": "1600000009.000000"},
         "reactions": [{"name": "+1", "users": ["U2", "U1"], "count": 2}, {"name": "thumbsup", "users": ["U3"], "count": 1},
                       {"name": "our_own", "users": ["U2"], "count": 1}]}])
    day(folder, "general/2020-09-14.json", [
        {**message, "user": "U2", "text": "in the thread", "ts": "1600086400.000100", "thread_ts": "1600000002.000200", "parent_user_id": "U1"},
        {**message, "user": "U3", "text": "", "ts": "1600086401.000000", "upload": True, "files": [
            {"id": "F1", "name": "a/b.png", "mimetype": "image/png", "size": 123, "url_private": "https://files.slack.example/F1/b.png"},
            {"id": "F2", "mode": "tombstone"}]},
        {**message, "subtype": "bot_message", "bot_id": "B1", "username": "builds", "text": "green", "ts": "1600086402.000000"},
        {**message, "user": "U1", "text": "x" * 20000, "ts": "1600086403.000000"}])
    day(folder, "D1/2020-09-13.json", [
        {**message, "user": "U2", "text": "for you", "ts": "1600000300.000000"},
        {**message, "subtype": "bot_message", "bot_id": "B1", "text": "psst", "ts": "1600000301.000000"}])
    return folder


def lines(base, *words):
    """The lines, and what was left out."""
    answer = subprocess.run([*base.command("import", *words), "--print"], env=base.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, timeout=60, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()], answer.stderr.splitlines()


def test_a_workspace_of_slack(empty, slack):
    said = empty.run("import", str(slack), "--from", "slack").decode()
    left = {text.split(" × ")[1]: int(text.split()[2]) for text in said.splitlines() if text.startswith("left out")}
    assert left == {"a message of kind 'channel_join'": 1, "a reaction of an unknown name": 1, "a file without an address": 1,
                    "a channel whose name is no name of a folder": 1, "a channel without members": 1, "a direct channel of one user": 1,
                    "a second direct channel of two users": 1, "a message of somebody else in a direct channel": 1}
    assert "4 rooms, 10 members, 7 messages" in said, said
    exported = [json.loads(line) for line in empty.run("export", "--room", "slack/C1").splitlines()]
    room = next(line for line in exported if line["Kind"] == "room")
    assert (room["Type"], room["Name"], room["Description"]) == ("GROUP", "general", "All of us")
    assert {line.get("ExternalID"): line.get("Name") for line in exported if line["Kind"] == "user"} == {"U1": "Ann", "U2": "Bob B", "U3": "Carol"}
    messages = [line for line in exported if line["Kind"] == "message"]
    hello, reply, picture, bot, *long = messages
    assert hello["Content"] == "Hello <@U2> & @here, see the page (https://x.example/?a=1) in #general"
    assert hello["CreatedAt"] == "2020-09-13T12:26:42.000Z" and hello["EditedAt"] == "2020-09-13T12:26:49.000Z"
    assert [(one["Reaction"], len(one["Users"])) for one in hello["Reactions"]] == [("👍", 3)]
    assert (reply["MessageType"], reply["ParentMessageID"]) == ("replied", hello["ID"] ) and hello["ID"] == message_id("slack/C1/1600000002.000200")
    assert picture["File"] == {"Name": "ab.png", "Size": 123, "ContentType": "image/png", "URL": "https://files.slack.example/F1/b.png"}
    assert bot["Content"] == "green" and "".join(one["Content"] for one in long) == "x" * 20000 and len(long) == 2
    assert empty.ask("SELECT external_id FROM users WHERE name = 'Ann'") == "U1"
    pair = empty.ask("SELECT content FROM messages m JOIN rooms r ON r.id = m.room_id AND r.type = 1")
    assert pair == "for you"
    # The same again is nothing new.
    rows = empty.rows()
    assert "0 users, 0 rooms, 0 members, 0 messages" in empty.run("import", str(slack), "--from", "slack").decode()
    assert empty.rows() == rows


def test_whose_ids_are_the_hosts(empty, slack):
    for words, ids in (((), ["U1", "U2", "U3"]), (("--user-id", "name"), ["ann", "bob", "carol"]),
                       (("--user-id", "email"), ["ann@example.com", "bob@example.com", "U3"])):
        found, said = lines(empty, str(slack), "--from", "slack", *words)
        assert [line["ID"] for line in found if line["Kind"] == "user"] == ids
        assert any("<@" + ids[1] + ">" in line.get("Content", "") for line in found)
    assert "left out: 1 × an e-mail address that is missing: the user has Slack's id" in said
    assert empty.rows() == [0] * 10, "nothing was stored"


@pytest.fixture
def mattermost(tmp_path):
    """https://docs.mattermost.com/onboard/bulk-loading-data.html: one object a line."""
    path = tmp_path / "export.jsonl"
    objects = [
        {"type": "version", "version": 1, "info": {"generator": "mattermost-server"}},
        {"type": "team", "team": {"name": "acme", "display_name": "Acme", "type": "O"}},
        {"type": "channel", "channel": {"team": "acme", "name": "town-square", "display_name": "Town Square", "type": "O", "header": "Hi", "purpose": ""}},
        {"type": "user", "user": {"username": "ann", "email": "ann@example.com", "nickname": "", "first_name": "Ann", "last_name": "A", "roles": "system_user",
                                  "teams": [{"name": "acme", "roles": "team_user", "channels": [
                                      {"name": "town-square", "roles": "channel_user channel_admin", "last_viewed_at": 1600000003000}]}]}},
        {"type": "user", "user": {"username": "bob", "email": "bob@example.com", "teams": [{"name": "acme", "channels": [
            {"name": "town-square", "roles": "channel_user"}, {"name": "gone", "roles": "channel_user"}]}]}},
        {"type": "post", "post": {"team": "acme", "channel": "town-square", "user": "ann", "message": "Root \u00e9", "create_at": 1600000001000, "edit_at": 0,
                                  "reactions": [{"user": "bob", "emoji_name": "tada", "create_at": 1600000002000},
                                                {"user": "bob", "emoji_name": "acme_logo", "create_at": 1600000002000}],
                                  "replies": [{"user": "bob", "message": "Reply", "create_at": 1600000001000},
                                              {"user": "ann", "message": "", "create_at": 1600000004000,
                                               "attachments": [{"path": "20200913/teams/x/a b.png"}]}]}},
        {"type": "post", "post": {"team": "acme", "channel": "town-square", "user": "bob", "type": "system_join_channel", "message": "joined",
                                  "create_at": 1600000000500}},
        {"type": "post", "post": {"team": "acme", "channel": "nowhere", "user": "bob", "message": "lost", "create_at": 1600000000500}},
        {"type": "direct_channel", "direct_channel": {"members": ["bob", "ann"], "header": ""}},
        {"type": "direct_post", "direct_post": {"channel_members": ["ann", "bob"], "user": "bob", "message": "between us", "create_at": 1600000005000}},
        {"type": "direct_post", "direct_post": {"channel_members": ["ann", "bob"], "user": "bot", "message": "psst", "create_at": 1600000005001}},
        {"type": "direct_post", "direct_post": {"channel_members": ["ann", "bob", "carol"], "user": "carol", "message": "us three", "create_at": 1600000006000}},
        {"type": "emoji", "emoji": {"name": "acme_logo", "image": "logo.png"}},
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in objects))
    return path


def test_an_export_of_mattermost(empty, mattermost):
    words = (str(mattermost), "--from", "mattermost", "--files-url", "https://files.example.com/")
    said = empty.run("import", *words).decode()
    left = {text.split(" × ")[1]: int(text.split()[2]) for text in said.splitlines() if text.startswith("left out")}
    assert left == {"a member of an unknown channel": 1, "a reaction of an unknown name": 1, "a post of kind 'system_join_channel'": 1,
                    "a post of an unknown channel": 1, "a message of somebody else in a direct channel": 1, "a line of kind 'emoji'": 1}
    assert "3 rooms, 7 members, 5 messages" in said, said
    found, _ = lines(empty, *words)
    square = next(line["ID"] for line in found if line.get("Name") == "Town Square")
    exported = [json.loads(line) for line in empty.run("export", "--room", square).splitlines()]
    room = next(line for line in exported if line["Kind"] == "room")
    assert room["ID"] == room_id(square) and room["Description"] == "" if "Description" in room else True
    owner = next(line for line in exported if line["Kind"] == "user" and line["ExternalID"] == "ann")
    assert room["OwnerID"] == owner["ID"] and owner["Name"] == "Ann A"
    root, reply, picture = [line for line in exported if line["Kind"] == "message"]
    assert (root["Content"], root["CreatedAt"]) == ("Root é", "2020-09-13T12:26:41.000Z") and [one["Reaction"] for one in root["Reactions"]] == ["🎉"]
    assert reply["ParentMessageID"] == root["ID"] == picture["ParentMessageID"]
    assert picture["File"]["URL"] == "https://files.example.com/20200913/teams/x/a%20b.png"
    assert empty.ask("SELECT string_agg(content, ',') FROM messages m JOIN rooms r ON r.id = m.room_id AND r.type = 1") == "between us"
    rows = empty.rows()
    assert "0 users, 0 rooms, 0 members, 0 messages" in empty.run("import", *words).decode()
    assert empty.rows() == rows
    # Without an address of the attachments they are left out.
    assert "left out: 1 × a file without an address" in lines(empty, str(mattermost), "--from", "mattermost")[1]


def test_exports_that_are_none_are_refused_with_a_sentence(empty, tmp_path):
    def refused(*words):
        answer = subprocess.run(empty.command("import", *words), env=empty.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert answer.returncode not in (0, 3) and answer.returncode > 0, answer.stdout
        return answer.stderr + answer.stdout
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "has no users.json: give the folder of an unpacked export of Slack" in refused(str(folder), "--from", "slack")
    for text, sentence in (("{}", "is not a JSON list"), ("[1]", "has an element that is no object"), ('[{"id": "U1"', "is cut off"),
                           ('[{"id": "U1", }]', "is not JSON"), ('[{"id": "' + "x" * (5 << 20) + '"}]', "has an element of more than 4194304 bytes"),
                           ('[{"a": ' + "[" * 100 + "]" * 100 + "}]", "nested deeper than 64")):
        (folder / "users.json").write_text(text)
        assert sentence in refused(str(folder), "--from", "slack"), text[:20]
    path = tmp_path / "export.jsonl"
    for text, sentence in (("hello", "line 1 is not JSON"), ('{"type": "version"}\n{"type": "user", "user": {"username": "a"', "line 2 is not JSON")):
        path.write_text(text)
        assert sentence in refused(str(path), "--from", "mattermost")
    # A line that no import takes has its problem.
    path.write_text(json.dumps({"type": "user", "user": {"username": "a\u0000b"}}))
    assert told(refused(str(path), "--from", "mattermost")) == [(1, "ID names no user: it has control characters")]
    for words, sentence in ((("--print",), "--print and --user-id go with --from"), (("--from", "slack", "--files-url", "https://a/"), "--files-url goes with"),
                            (("--from", "mattermost", "--user-id", "id"), "--user-id takes name or email"),
                            (("--from", "mattermost", "--files-url", "ftp://a/"), "--files-url is an http or https URL that ends in /")):
        assert sentence in refused(str(path), *words)
    assert empty.rows() == [0] * 10


def test_the_commands_of_the_page_work(make_base, slack, mattermost, tmp_path):
    """docs/import.md: Slack by e-mail addresses, Mattermost by names."""
    _, (_, script) = documents.blocks("import")
    slack.rename(tmp_path / "folder-of-the-export")
    (tmp_path / ".env").symlink_to(os.environ["TEST_ENV_FILE"])
    base = make_base()
    answer = subprocess.run(["bash", "-euo", "pipefail", "-c", 'fcgi-api() { "$FCGI_API" "$@"; }\n' + script], cwd=tmp_path, text=True, timeout=120,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**base.environment, "FCGI_API": str(program("fcgi-api"))})
    assert answer.returncode == 0, answer.stdout
    assert "7 messages" in answer.stdout and "5 messages" in answer.stdout
    printed = [json.loads(line) for line in (tmp_path / "lines.ndjson").read_text().splitlines()]
    assert sum(line["Kind"] == "message" for line in printed) == 7

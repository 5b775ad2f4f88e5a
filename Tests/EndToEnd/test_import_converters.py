"""fcgi-api import --from slack and --from mattermost: exports made here after the two services' public formats."""

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import CHECKOUT, program
from importing import message_id, room_id

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


def left_out(said):
    """{reason: how often}"""
    return {reason: int(count) for count, reason in re.findall(r"^left out: (\d+) × (.*?)(?: \[.*\])?$", said, re.MULTILINE)}


def imported(base, *words):
    """The standard output, and what was left out."""
    answer = subprocess.run(base.command("import", *words), env=base.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout, left_out(answer.stderr)


def lines(base, *words):
    """The lines, and what was left out."""
    answer = subprocess.run([*base.command("import", *words), "--print"], env=base.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, timeout=60, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()], answer.stderr.splitlines()


def test_a_workspace_of_slack(empty, slack):
    said, left = imported(empty, str(slack), "--from", "slack")
    assert left == {"a message of kind 'channel_join'": 1, "a reaction of an unknown name": 1, "a file without an address": 1,
                    "a channel without a folder of messages": 4, "a direct channel that is not of two users": 1,
                    "a message of somebody else in a direct channel": 1}
    assert "5 rooms, 11 members, 7 messages" in said, said
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
    assert left_out("\n".join(said))["an e-mail address that is missing: the user has Slack's id"] == 1
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
    said, left = imported(empty, *words)
    assert left == {"a member of an unknown channel": 1, "a reaction of an unknown name": 1, "a post of kind 'system_join_channel'": 1,
                    "a post of an unknown channel": 1, "a message of somebody else in a direct channel": 1, "a line of kind 'emoji'": 1}
    assert "3 rooms, 7 members, 5 messages" in said, said
    found, _ = lines(empty, *words)
    square = next(line["ID"] for line in found if line.get("Name") == "Town Square")
    exported = [json.loads(line) for line in empty.run("export", "--room", square).splitlines()]
    room = next(line for line in exported if line["Kind"] == "room")
    assert room["ID"] == room_id(square) and room["Description"] == "Hi"
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
    assert left_out("\n".join(lines(empty, str(mattermost), "--from", "mattermost")[1]))["a file without an address"] == 1


DAMAGE = {
    "": "not a JSON list",
    "{}": "not a JSON list",
    '[{"id": "U1"': "not a JSON list: it is cut off, at byte 13",
    # Whole elements, and no end: the rest of the file is missing.
    '[{"id": "U1"}': "not a JSON list: it is cut off, at byte 14",
    '[{"id": "U1"},': "not a JSON list: it is cut off, at byte 15",
    '[{"id": "U1"}, ': "not a JSON list: it is cut off, at byte 16",
    "[": "not a JSON list: it is cut off, at byte 2",
    '[{"id": "U1"},]': "not JSON: not JSON, at byte 15",
    '[,{"id": "U1"}]': "not JSON: not JSON, at byte 2",
    '[{"id": "U1"} {"id": "U2"}]': "not a JSON list: a comma or the end of the list is missing, at byte 15",
    '[{"id": "U1"}] [': "not a JSON list: something follows the list, at byte 16",
    '[{"id": "U1", }]': "not JSON: a key is expected, at byte 15",
    '[{"id": "U1\udcff"}]': "not JSON: text is not UTF-8",
    "[1, tru]": "not JSON: not JSON, at byte 5",
}


def test_exports_that_are_none_are_refused_with_a_sentence(empty, tmp_path):
    def refused(*words):
        answer = subprocess.run(empty.command("import", *words), env=empty.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert answer.returncode not in (0, 3) and answer.returncode > 0, answer.stdout
        return answer.stderr + answer.stdout
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "has no users.json: give the folder of an unpacked export of Slack" in refused(str(folder), "--from", "slack")
    (folder / "users.json").write_text("[]")
    assert "has none of channels.json, groups.json, mpims.json, dms.json" in refused(str(folder), "--from", "slack")
    (folder / "channels.json").write_text("[]")
    for text, sentence in DAMAGE.items():
        (folder / "users.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert f"users.json is {sentence}" in refused(str(folder), "--from", "slack"), text[:20]
    path = tmp_path / "export.jsonl"
    for text, sentence in (("hello", "line 1 is not JSON: not JSON, at byte 1"),
                           ('{"type": "version"}\n{"type": "user", "user": {"username": "a"', "line 2 is not JSON: the value is cut off, at byte 42")):
        path.write_text(text)
        assert sentence in refused(str(path), "--from", "mattermost")
    for words, sentence in ((("--print",), "--print and --user-id go with --from"), (("--from", "slack", "--files-url", "https://a/"), "--files-url goes with"),
                            (("--from", "mattermost", "--user-id", "id"), "--user-id takes name or email"),
                            (("--from", "mattermost", "--files-url", "ftp://a/"), "--files-url is an http or https URL that ends in /")):
        assert sentence in refused(str(path), *words)
    assert empty.rows() == [0] * 10


BIG = {"id": "U9", "name": "x" * (5 << 20)}
DEEP = '{"a": ' + "[" * 100 + "]" * 100 + "}"
ODD_USERS = [{"name": "nobody"}, {"id": 5}, {"id": "U1", "name": "again"}, {"id": "a\u0000b"}, {"id": "x" * 200}, {"id": ""}, None, 1, "text", [], BIG,
             {"id": "U4", "name": "half \ud83d", "profile": None}, {"id": "U5", "profile": {"display_name": 7, "image_192": "javascript:x"}},
             {"id": "UB", "is_bot": True, "name": "bot", "deleted": True}]
SAID = {"type": "message", "user": "U1", "text": "said"}
ODD_MESSAGES = [
    {**SAID, "ts": "1600000000.000100"}, {**SAID, "ts": "1600000000.000100", "text": "twice"}, {**SAID}, {**SAID, "ts": None}, {**SAID, "ts": 1600000000},
    {**SAID, "ts": "-5.0"}, {**SAID, "ts": "99999999999.000000"}, {**SAID, "ts": "9" * 400}, {**SAID, "ts": "1600000000.1/1"}, {**SAID, "ts": "253402300799.9"},
    {**SAID, "ts": "1600000001.000000", "user": "U404"}, {**SAID, "ts": "1600000002.000000", "user": "a\u0007b"}, {"ts": "1600000003.000000", "text": "nobody's"},
    {"ts": "1600000004.000000", "subtype": "bot_message", "username": "two\nlines" + "x" * 200, "text": "from a bot"},
    {**SAID, "ts": "1600000005.000000", "subtype": "something_new"}, {**SAID, "ts": "1600000006.000000", "subtype": None, "edited": {"ts": "99999999999.0"}},
    {**SAID, "ts": "1600000007.000000", "text": None}, {**SAID, "ts": "1600000008.000000", "text": "\u200b"}, {**SAID, "ts": "1600000009.000000", "text": "half \udc00"},
    # Threads: broadcast, the root in no file, the root later than the reply.
    {**SAID, "ts": "1600000010.000000", "thread_ts": "1600000010.000000"},
    {**SAID, "ts": "1600000011.000000", "thread_ts": "1600000010.000000", "subtype": "thread_broadcast"},
    {**SAID, "ts": "1600000012.000000", "thread_ts": "1500000000.000000"}, {**SAID, "ts": "1600000020.000000", "thread_ts": "1600000020.000000"},
    {**SAID, "ts": "1600000013.000000", "thread_ts": "1600000020.000000"},
    {**SAID, "ts": "1600000014.000000", "reactions": [{"name": "+1", "users": ["U1", "a\u0000"]}, {"name": "thumbsup", "users": ["U1"]}, {"users": ["U1"]}, 5]},
    {**SAID, "ts": "1600000015.000000", "text": "", "files": [{"name": "..", "size": -5, "mimetype": "\u0000", "url_private": "https://f.example/1"},
                                                             {"name": "\u202e", "size": 1 << 62, "mimetype": "image/png", "url_private": "https://f.example/2"}]},
    None, 7, []]
ODD_SLACK = {
    "a user without an id": 2, "a second user of one id": 1, "a user whose id is none here": 3, "an element that is no object": 7,
    "an element that has more than 4194304 bytes": 1, "a member whose id is none here": 1,
    "a message that occurs twice": 1, "a message without a time": 6, "a message of the future": 2, "a message of a user whose id is none here": 1,
    "a message of kind 'something_new'": 1, "a message without text and files": 2, "the root of a thread that is not before its reply: the reply is a message": 2,
    "a reaction of an unknown name": 2, "a reaction of somebody else in a direct channel, or of a user whose id is none here": 1,
    "a channel without an id": 1, "a channel that occurs twice": 1, "a channel without a folder of messages": 1, "a channel with the folder of another one": 1,
    "a file or a folder that no list of channels names": 2, "a file that is no list of messages": 1, "an element that is nested deeper than 64": 1,
    "a channel without members": 1,
}


def test_odd_elements_of_slack_are_left_out_and_counted_and_everything_else_is_stored(empty, tmp_path):
    folder = tmp_path / "slack"
    folder.mkdir()
    users = json.dumps([{"id": "U1", "name": "ann"}, {"id": "U2", "name": "bob"}, *ODD_USERS])
    (folder / "users.json").write_bytes(b"\xef\xbb\xbf" + (users[:-1] + ", " + DEEP + "]").encode())
    (folder / "channels.json").write_text(json.dumps([
        {"id": "C1", "name": "general", "created": 1 << 62, "creator": "U404", "members": ["U1", "U2", "U1", "b\u0000", ]},
        {"id": "C1", "name": "double", "members": ["U1"]}, {"name": "no id"}, {"id": "C2", "created": -5, "members": ["U2"], "name": "\u200b"},
        # Archived: Slack lists nobody.
        {"id": "C3", "name": "archived", "creator": "U2", "members": []}, {"id": "C4", "name": "orphan"}, {"id": "C5", "name": "general", "members": ["U1"]}, 
        {"id": "C6", "name": "silent"}]))
    (folder / "notes.json").write_text("[]")
    for name, messages in (("general", ODD_MESSAGES), ("archived", [{**SAID, "ts": "1600000000.0"}]), ("orphan", [{**SAID, "ts": "1600000000.0"}]),
                           ("unnamed", [{**SAID, "ts": "1600000000.0"}]), ("silent", [])):
        day(folder, f"{name}/2020-09-13.json", messages)
    (folder / "general/.DS_Store").write_text("x")
    (folder / "general/canvas.html").write_text("x")
    said, left = imported(empty, str(folder), "--from", "slack")
    assert left == ODD_SLACK
    assert "4 rooms" in said and "16 messages" in said, said
    found = [json.loads(line) for line in empty.run("export", "--room", "slack/C1").splitlines()]
    texts = {line["CreatedAt"][14:23]: line["Content"] for line in found if line["Kind"] == "message"}
    assert texts["26:40.000"] == "said" and texts["26:49.000"] == "half \ufffd" and texts["26:43.000"] == "nobody's" and texts["26:44.000"] == "from a bot"
    assert [line["MessageType"] for line in found if line["Kind"] == "message" and "MessageType" in line] == ["replied"]
    assert {line["ExternalID"] for line in found if line["Kind"] == "user"} == {"U1", "U2"}
    for room, owner in (("slack/C3", "U2"), ("slack/C4", "U1")):
        assert empty.ask(f"SELECT external_id, member_count FROM rooms r LEFT JOIN users u ON u.id = r.owner_id WHERE r.id = '{room_id(room)}'") == f"{owner}|1"
    rows = empty.rows()
    assert "0 users, 0 rooms, 0 members, 0 messages" in imported(empty, str(folder), "--from", "slack")[0]
    assert empty.rows() == rows
    # The first places of each, for whoever looks for them.
    _, told = lines(empty, str(folder), "--from", "slack")
    second = len("[, ") + len(json.dumps(ODD_MESSAGES[0])) + 1
    assert f"left out: 1 × a message that occurs twice [general/2020-09-13.json at byte {second}]" in told
    [timeless] = [line for line in told if "a message without a time" in line]
    assert timeless.count("at byte") == 3 and timeless.endswith(" …]")


def test_what_cannot_be_read_of_slack_is_an_error(empty, slack, tmp_path):
    def refused(*words):
        answer = subprocess.run(empty.command("import", *words), env=empty.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, timeout=60)
        assert answer.returncode == 1, answer.stdout + answer.stderr
        return answer.stderr
    path = slack / "general/2020-09-14.json"
    text = path.read_text()
    for make, sentence in ((path.mkdir, "is a folder"), (lambda: os.mkfifo(path), "is no file: - reads the standard input"),
                           (lambda: path.symlink_to("nowhere"), "No such file or directory"), (lambda: path.write_text(text[:-1]), "it is cut off, at byte")):
        path.unlink() if not path.is_dir() else path.rmdir()
        make()
        said = refused(str(slack), "--from", "slack")
        assert "general/2020-09-14.json" in said and sentence in said, said
    path.write_text(text)
    days = slack / "general"
    days.rename(tmp_path / "moved")
    days.symlink_to("general")
    assert "slack/general: Too many levels of symbolic links" in refused(str(slack), "--from", "slack")
    days.unlink()
    days.write_text("")
    assert "slack/general: Not a directory" in refused(str(slack), "--from", "slack")
    for words in ((str(slack / "nowhere"),), (str(path),)):
        assert "cannot read the folder" in refused(*words, "--from", "slack")
    # Of a list that cannot be read, no channel is left out in silence.
    days.unlink()
    (tmp_path / "moved").rename(days)
    (slack / "dms.json").unlink()
    (slack / "dms.json").mkdir()
    assert "dms.json is a folder" in refused(str(slack), "--from", "slack")
    # A name is no command for a terminal.
    evil = slack / "general/\x1b[2J.json"
    (slack / "dms.json").rmdir()
    evil.write_text("[")
    said = refused(str(slack), "--from", "slack")
    assert "general/?[2J.json is not a JSON list: it is cut off, at byte 2" in said and "\x1b" not in said
    assert empty.rows() == [0] * 10


def test_names_are_bytes(empty, tmp_path):
    """Two spellings of a letter are two ids, and look-alikes of ASCII are none."""
    folder = tmp_path / "slack"
    folder.mkdir()
    one, other = "U\u00e9", "Ue\u0301"
    (folder / "users.json").write_text(json.dumps([{"id": one, "name": "one"}, {"id": other, "name": "other"}]))
    (folder / "channels.json").write_text(json.dumps([{"id": "C1", "name": "both", "creator": other, "members": [one, other]}]))
    (folder / "dms.json").write_text(json.dumps([{"id": "D1", "members": [one, other]}, {"id": "D2", "members": [one, "U2"]}, {"id": "D3", "members": [other, "U2"]}]))
    message = {"type": "message", "ts": "1600000000.000000"}
    day(folder, "both/1.json", [{**message, "user": other, "text": "&lt;\u0301 &amp;lt; <@" + one + ">", "thread_ts": "1600000000.000000", "reactions": [
        {"name": "+1:\u0301skin", "users": [one]}, {"name": "+1", "users": [other]}]}])
    for name in ("D1", "D2", "D3"):
        day(folder, f"{name}/1.json", [{**message, "user": other if name != "D2" else one, "text": name}])
    found, said = lines(empty, str(folder), "--from", "slack", "--user-id", "name")
    assert said == []
    assert [line["ID"] for line in found if line["Kind"] == "user"] == ["one", "other"]
    group = next(line for line in found if line["Kind"] == "room" and line["Type"] == "GROUP")
    assert group["OwnerID"] == "other"
    both = next(line for line in found if line["Kind"] == "message")
    assert both["Content"] == "<\u0301 &lt; <@one>" and both["SenderID"] == "other" and both["Reactions"] == [{"Reaction": "👍", "Users": ["one", "other"]}]
    assert sum(line["Kind"] == "room" and line["Type"] == "PRIVATE" for line in found) == 3
    assert [line["Content"] for line in found if line["Kind"] == "message"][1:] == ["D1", "D2", "D3"]


def posted(**fields):
    return {"type": "post", "post": {"team": "t", "channel": "c", "user": "ann", "message": "said", "create_at": 1600000001000, **fields}}


def direct(*names, **fields):
    return {"type": "direct_post", "direct_post": {"channel_members": names, "user": names[0], "message": "said", "create_at": 1600000001000, **fields}}


ODD_POSTS = [
    posted(user="ghost", create_at=1600000002000), posted(user=None), posted(create_at=None), posted(create_at="soon"), posted(create_at=-1),
    posted(create_at=1 << 62), posted(create_at=32503680000000), posted(), posted(), posted(type="custom_plugin", create_at=1600000003000),
    posted(type="slack_attachment", create_at=1600000004000), posted(type="system_purpose_change"), posted(delete_at=5, create_at=1600000005000),
    posted(message="", create_at=1600000006000, attachments=[{"path": "x/a.png"}, {"path": ""}, {}]),
    posted(message=None, create_at=1600000007000, replies=[{"user": "ann", "message": "to nothing", "create_at": 1600000007001}, None, 5]),
    posted(create_at=1600000008000, edit_at=1 << 62, reactions=[{"user": "ghost", "emoji_name": "tada"}, {"user": None, "emoji_name": "tada"}, {"user": "ann"}, 5]),
    posted(user="x" * 200, create_at=1600000009000), {"type": "post"}, {"type": "post", "post": 5}, {"type": "brand_new", "brand_new": {}}, 5, [], None, "text",
    posted(channel="left", user="ghost"), direct("ann", "bob", "ghost"), direct("ann", "ann"), direct("ann"), direct("ann", "x" * 200), direct("ann", "bob", user="eve"),
    direct("bob", "ann", create_at=1600000010000, reactions=[{"user": "eve", "emoji_name": "tada"}]),
    {"type": "direct_channel", "direct_channel": {"participants": [{"username": "ann"}, {"username": "carol"}]}},
    {"type": "bot", "bot": {"username": "robo", "display_name": "Robo", "owner": "ann"}}, posted(user="robo", create_at=1600000011000)]
ODD_MATTERMOST = {
    "a user without a name": 2, "a second user of one id": 1, "a user whose id is none here": 1, "a member of an unknown channel": 1, "a channel that occurs twice": 1,
    "a member whose id is none here": 2, "a post without a user or a time": 7, "a message of the future": 1, "a message that occurs twice": 1,
    "a post of kind 'system_purpose_change'": 1, "a deleted post": 1, "a file without an address": 2, "a message without text and files": 1,
    "the root of a thread, which is left out: the reply is a message": 3, "a reaction of an unknown name": 3, "a message of a user whose id is none here": 1,
    "a post of an unknown channel": 2, "a line of kind 'brand_new'": 1, "a line of kind ''": 4, "a direct channel of one user": 3,
    "a message of somebody else in a direct channel": 1, "a reaction of somebody else in a direct channel, or of a user whose id is none here": 1,
    "a line that is nested deeper than 64": 1, "a channel without members": 1,
}


def test_odd_lines_of_mattermost_are_left_out_and_counted_and_everything_else_is_stored(empty, tmp_path):
    path = tmp_path / "export.jsonl"
    channels = [{"type": "channel", "channel": {"team": "t", "name": name, "display_name": name}} for name in ("c", "c", "left", "unused")]
    users = [{"type": "user", "user": user} for user in (
        {"username": "ann", "teams": [{"name": "t", "channels": [{"name": "c", "roles": "channel_user channel_admin", "last_viewed_at": 1 << 62}, {"name": "c"}, {}]}, 5]},
        {"username": "ann"}, {}, {"username": ""}, {"username": "x" * 200, "teams": [{"name": "t", "channels": [{"name": "c"}]}]}, {"username": "bob", "teams": None})]
    path.write_bytes(b"\xef\xbb\xbf" + "".join(json.dumps(one) + "\n" for one in [*channels, *users, *ODD_POSTS]).encode() + DEEP.encode() + b"\n\n")
    words = (str(path), "--from", "mattermost", "--files-url", "https://f.example/")
    said, left = imported(empty, *words)
    assert left == ODD_MATTERMOST
    assert "5 rooms" in said and "11 messages" in said, said
    assert empty.ask("SELECT string_agg(coalesce(u.external_id, '?'), ',' ORDER BY r.name) FROM rooms r LEFT JOIN users u ON u.id = r.owner_id WHERE r.type = 2") == "ann,ann,?"
    rows = empty.rows()
    assert "0 users, 0 rooms, 0 members, 0 messages" in imported(empty, *words)[0]
    assert empty.rows() == rows


def test_what_is_told_is_bounded(empty, tmp_path):
    """Each line is of another kind, and another one is wrong in its own way."""
    path = tmp_path / "export.jsonl"
    with path.open("w") as file:
        for number in range(3000):
            file.write(json.dumps({"type": f"kind {number}"}) + "\n" + json.dumps(posted(type=f"system_{number}")) + "\n")
            file.write(json.dumps({"type": "user", "user": {"username": f"{number}" + "x" * 200}}) + "\n")
    said, left = imported(empty, str(path), "--from", "mattermost")
    assert len(left) == 51 and sum(left.values()) == 9000 and len(said) < 1000


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

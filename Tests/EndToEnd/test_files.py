"""Files: in chunks from a client program, whole from a plain form, and refused ones."""

import base64
import hashlib
import os
import random
import socket as network
import subprocess
import threading
import time
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
from client import message_frame
from store import names
from uploads import MIB, MP4, begin, bytes_of, form, post
from waiting import eventually

# The first bytes of a picture and of a video: a file that claims to be one needs them.
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
@pytest.fixture
def room(ann, bob):
    return ann.group(bob)


def told(socket, message):
    return lambda frame: frame["Type"] == "new_message" and frame["Data"]["ID"] == message


def test_one_chunk_over_the_socket(ann, bob, room):
    content = PNG + os.urandom(1000) + b"\r\n--not a boundary\r\n\r\r\n--" + os.urandom(1000)
    with ann.socket() as mine, bob.socket() as theirs:
        answer = mine.ask(message_frame(RoomID=room, Content="photo.png", ContentType="image"))
        assert answer["Success"] and answer["Data"]["Status"] == "uploading", answer
        message = answer["Data"]["ID"]
        data = post(ann, message, content, kind="image/png")
        assert data["MessageID"] == message and data["ChunkIndex"] == 1 and data["TotalChunk"] == 1
        assert data["Received"] == [1] and data["Completed"] is True
        assert data["Message"]["Status"] == "sent"
        assert data["Message"]["File"] == {"Name": "photo.png", "Size": len(content), "ContentType": "image/png"}
        frame = theirs.wait(told(theirs, message))
        assert frame["Data"]["File"]["Size"] == len(content)
        again = post(ann, message, content, kind="image/png")
        assert again["Completed"] is True and again["Message"]["ID"] == message
        time.sleep(0.3)
        assert theirs.count(told(theirs, message)) == 1
    got = bytes_of(bob, message)
    assert got.content == content and got.headers["Content-Type"] == "image/png"
    assert got.headers["Content-Disposition"].startswith("inline")
    ann.rest("GET", f"/files/{message}/upload", expect=200)


def test_a_file_takes_its_place_when_it_is_complete(ann, bob, room):
    def say(text):
        return ann.data("POST", f"/rooms/{room}/messages", {"Content": text}, 201)["Seq"]

    with ann.socket() as mine, bob.socket() as theirs:
        assert say("one") == 1
        frame = message_frame(RoomID=room, Content="a.txt", ContentType="file")
        answer = mine.ask(frame)
        message, pending = answer["Data"]["ID"], answer["Data"]
        assert "Seq" not in answer and pending["Seq"] is None and pending["Status"] == "uploading"
        # The same Sign again, over REST or the socket: the pending message.
        retry = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "a.txt", "ContentType": "file"}, 201,
                         headers={"Idempotency-Key": frame["Sign"]}).json()["Data"]
        assert retry == pending
        other = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "x", "ContentType": "file"}, 422,
                         headers={"Idempotency-Key": frame["Sign"]}).json()["Error"]
        assert other["Code"] == "idempotency_mismatch"
        ended = begin(ann, room, "b.txt", "file")
        assert say("two") == 2
        assert [one["ID"] for one in ann.data("GET", "/uploads")] == [ended, message]
        page = ann.rest("GET", "/uploads?limit=1", expect=200).json()
        assert [one["ID"] for one in ann.data("GET", f"/uploads?limit=1&cursor={page['Next']}")] == [message]
        ann.rest("GET", "/uploads?cursor=x", expect=422)
        assert bob.data("GET", "/uploads") == []
        bob.rest("GET", f"/messages/{message}", expect=404)
        for user in (ann, bob):
            assert [one["Content"] for one in user.history(room)] == ["one", "two"]
            view = user.data("GET", f"/rooms/{room}")
            assert (view["LastSeq"], view["LastMessage"]["Content"]) == (2, "two")
        assert bob.data("GET", f"/rooms/{room}")["Unread"] == 2
        for body in ({"MessageType": "replied", "Content": "re"}, {"MessageType": "forwarded"}):
            ann.rest("POST", f"/rooms/{room}/messages", {"ParentMessageID": message, **body}, 404)
        assert ann.data("DELETE", f"/files/{ended}")["Seq"] is None
        post(ann, ended, b"late", expect=410, kind="text/plain")
        done = post(ann, message, b"text", kind="text/plain")["Message"]
        assert (done["Seq"], done["ChangeSeq"]) == (3, 3)
        assert say("three") == 4
        theirs.new_message("three")
        told = [frame["Data"]["Seq"] for frame in theirs.frames if frame["Type"] == "new_message"]
        assert told == [1, 2, 3, 4]
        assert ann.data("GET", "/uploads") == []
        assert bob.data("GET", f"/rooms/{room}")["Unread"] == 4
    with bob.socket() as back:
        back.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": 0}]})
        back.new_message("three")
        assert [frame["Seq"] for frame in back.frames if frame["Type"] == "new_message"] == [1, 2, 3, 4]


def test_who_may_not_post_any_more_completes_nothing(ann, bob, room):
    first, second = begin(bob, room, "a.txt", "file"), begin(bob, room, "b.txt", "file")
    before = ann.data("GET", f"/rooms/{room}")["LastSeq"]
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"MutedUntil": "2100-01-01T00:00:00Z"})
    assert post(bob, first, b"text", expect=403, kind="text/plain")["Code"] == "muted"
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"MutedUntil": None})
    # A stored file is completed as soon as it is allowed.
    assert post(bob, first, b"text", kind="text/plain")["Message"]["Status"] == "sent"
    ann.data("PATCH", f"/rooms/{room}/members/{bob.id}", {"Banned": True})
    post(bob, second, b"text", expect=404, kind="text/plain")
    assert [one["Content"] for one in ann.history(room) if one["MessageType"] != "system"] == ["a.txt"]
    assert ann.data("GET", f"/rooms/{room}")["LastSeq"] > before
    assert bob.data("GET", "/uploads") == []


def test_chunks_in_any_order_in_parallel_and_repeated(ann, bob, room):
    chunks = {1: MP4 + os.urandom(5 * MIB), 2: os.urandom(5 * MIB), 3: os.urandom(123_456)}
    with bob.socket() as theirs:
        message = begin(ann, room, "film.mp4", "video")
        bob.rest("GET", f"/messages/{message}", expect=404)
        order = [1, 2, 3, 1, 3]
        random.shuffle(order)
        answers, start = [], threading.Barrier(len(order))

        def send(index):
            start.wait()
            answers.append(post(ann, message, chunks[index], index, 3, kind="video/mp4"))

        threads = [threading.Thread(target=send, args=(index,)) for index in order]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == len(order)
        assert any(answer["Completed"] for answer in answers)
        theirs.wait(told(theirs, message))
        time.sleep(0.5)
        assert theirs.count(told(theirs, message)) == 1
    assert bytes_of(bob, message).content == b"".join(chunks[index] for index in (1, 2, 3))
    file = bob.data("GET", f"/messages/{message}")["File"]
    assert file == {"Name": "film.mp4", "Size": len(MP4) + 10 * MIB + 123_456, "ContentType": "video/mp4"}


def test_a_client_resumes_from_what_is_here(ann, bob, room):
    first, last = os.urandom(5 * MIB), b"the rest"
    with bob.socket() as theirs:
        message = begin(ann, room)
        assert ann.data("GET", f"/files/{message}/upload")["Received"] == []
        data = post(ann, message, last, 2, 2)
        assert data["Received"] == [2] and data["Completed"] is False and "Message" not in data
        state = ann.data("GET", f"/files/{message}/upload")
        assert (state["TotalChunk"], state["Received"], state["Size"], state["Completed"]) == (2, [2], 8, False)
        bob.rest("GET", f"/files/{message}/upload", expect=404)
        ann.rest("GET", f"/files/{message}", expect=404, allow_redirects=False)
        assert theirs.count(told(theirs, message)) == 0
        assert post(ann, message, first, 1, 2)["Received"] == [1, 2]
        theirs.wait(told(theirs, message))
    state = ann.data("GET", f"/files/{message}/upload")
    assert (state["Received"], state["Size"], state["Completed"]) == ([1, 2], 5 * MIB + 8, True)
    assert bytes_of(ann, message).content == first + last


def test_a_chunk_may_be_corrected(ann, room):
    message = begin(ann, room)
    post(ann, message, b"wrong", 2, 2)
    post(ann, message, b"right", 2, 2)
    first = os.urandom(5 * MIB)
    post(ann, message, first, 1, 2)
    assert bytes_of(ann, message).content == first + b"right"


def test_redis_forgets_everything_in_the_middle(ann, bob, room, settings):
    chunks = {1: MP4 + os.urandom(5 * MIB), 2: os.urandom(5 * MIB), 3: b"end"}
    message = begin(ann, room, "film.mp4", "video")
    post(ann, message, chunks[1], 1, 3, kind="video/webm")
    path = settings["REDIS_URL"].removeprefix("unix://").split("?")[0]
    subprocess.run(["redis-cli", "-s", path, "FLUSHALL"], check=True, stdout=subprocess.DEVNULL)
    assert ann.data("GET", f"/files/{message}/upload")["Received"] == [1]
    post(ann, message, chunks[3], 3, 3)
    subprocess.run(["redis-cli", "-s", path, "FLUSHALL"], check=True, stdout=subprocess.DEVNULL)
    data = post(ann, message, chunks[2], 2, 3)
    assert data["Completed"] is True and data["Message"]["File"]["ContentType"] == "video/webm"
    assert bytes_of(bob, message).content == b"".join(chunks[index] for index in (1, 2, 3))


def test_an_unfinished_upload_is_aborted(ann, bob, room):
    with bob.socket() as theirs:
        for path in ("", "/upload"):
            message = begin(ann, room)
            post(ann, message, b"rest", 2, 2)
            bob.rest("DELETE", f"/files/{message}{path}", expect=404)
            ann.rest("DELETE", f"/files/{message}{path}", expect=200)
            assert ann.data("GET", f"/messages/{message}")["Status"] == "deleted"
            assert post(ann, message, b"rest", 2, 2, expect=410)["Code"] == "gone"
            ann.rest("DELETE", f"/files/{message}{path}", expect=200)
            assert theirs.count(lambda frame: frame.get("Data") and frame["Data"].get("ID") == message) == 0
    message = begin(ann, room)
    post(ann, message, b"whole")
    assert ann.rest("DELETE", f"/files/{message}", expect=409).json()["Error"]["Code"] == "conflict"


def test_whose_upload_it_is_and_who_may_read(ann, bob, make_user, room):
    message = begin(ann, room)
    for other in (bob, make_user()):
        assert post(other, message, b"mine", expect=404)["Code"] == "message_not_found"
        other.rest("GET", f"/files/{message}", expect=404, allow_redirects=False)
    post(ann, message, b"whole")
    bob.rest("GET", f"/files/{message}", expect=302, allow_redirects=False)
    make_user().rest("GET", f"/files/{message}", expect=404, allow_redirects=False)
    text = ann.data("POST", f"/rooms/{room}/messages", {"Content": "text"}, 201)["ID"]
    assert post(ann, text, b"x", expect=409)["Code"] == "conflict"
    assert post(ann, uuid.uuid4(), b"x", expect=404)["Code"] == "message_not_found"
    stranger = requests.post(f"{ann.base_url}/api/v1/files/{message}/upload", files={"File": b"x" * 3 * MIB}, timeout=30)
    assert stranger.status_code == 401


def test_what_a_chunk_may_be(ann, room, settings):
    message = begin(ann, room)
    limit = int(settings.get("S3_MAX_UPLOAD_SIZE", 20 * MIB))
    for status, code, content, fields in [
        (422, "invalid", b"x", {"ChunkIndex": 0, "TotalChunk": 1}),
        (422, "invalid", b"x", {"ChunkIndex": 3, "TotalChunk": 2}),
        (422, "invalid", b"x", {"ChunkIndex": 1, "TotalChunk": 10_001}),
        (422, "invalid", b"x", {"ChunkIndex": "one", "TotalChunk": 1}),
        (422, "invalid", b"x", {"ChunkIndex": 1}),
        (422, "invalid", b"x", {}),
        (422, "invalid", b"", {"ChunkIndex": 1, "TotalChunk": 2}),
        (422, "invalid", b"small", {"ChunkIndex": 1, "TotalChunk": 2}),
        (413, "too_large", b"x", {"ChunkIndex": 9000, "TotalChunk": 9000}),
        (413, "too_large", bytes(limit + 1), {"ChunkIndex": 1, "TotalChunk": 1}),
        (413, "too_large", bytes(30 * MIB), {"ChunkIndex": 1, "TotalChunk": 1}),
    ]:
        error = post(ann, message, content, fields=fields, expect=status)
        assert error["Code"] == code, (fields, error)
    assert ann.data("GET", f"/files/{message}/upload")["Received"] == []
    post(ann, message, b"rest", 2, 2)
    assert post(ann, message, b"rest", 3, 3, expect=409)["Code"] == "conflict"
    # Too large together, but not each alone.
    assert post(ann, message, bytes(limit - 3), 1, 2, expect=413)["Code"] == "too_large"
    post(ann, message, bytes(limit - 4), 1, 2)
    assert ann.data("GET", f"/messages/{message}")["File"]["Size"] == limit


def test_checksums_are_checked(ann, room):
    content = os.urandom(70_000)
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    sha = base64.b64encode(hashlib.sha256(content).digest()).decode()
    message = begin(ann, room)
    for headers in ({"Content-MD5": md5[::-1]}, {"x-amz-checksum-sha256": md5}):
        error = post(ann, message, content, headers=headers, expect=422)
        assert (error["Code"], error["Field"]) == ("checksum_mismatch", "File")
    post(ann, message, content, headers={"Content-MD5": md5, "x-amz-checksum-sha256": sha})
    assert bytes_of(ann, message).content == content


def test_a_body_that_is_cut_off_stores_nothing(ann, room):
    message = begin(ann, room)
    whole = (b'--cut\r\nContent-Disposition: form-data; name="File"; filename="a"\r\n\r\nabc\r\n'
             b'--cut\r\nContent-Disposition: form-data; name="ChunkIndex"\r\n\r\n1\r\n'
             b'--cut\r\nContent-Disposition: form-data; name="TotalChunk"\r\n\r\n1\r\n--cut--\r\n')
    url = f"{ann.base_url}/api/v1/files/{message}/upload"
    headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "multipart/form-data; boundary=cut"}
    for end in random.sample(range(len(whole) - 4), 20):
        answer = requests.post(url, data=whole[:end], headers=headers, timeout=30)
        assert answer.status_code in (400, 422), (end, answer.text)
    # Announced and never sent.
    address = urlsplit(ann.base_url)
    with network.create_connection((address.hostname, address.port)) as raw:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw.sendall(f"POST {urlsplit(url).path} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(whole)}\r\n\r\n"
                    .encode() + whole[:-20])
    time.sleep(0.2)
    assert ann.data("GET", f"/files/{message}/upload")["Received"] == []
    duplicate = whole.replace(b"TotalChunk", b"ChunkIndex")
    assert requests.post(url, data=duplicate, headers=headers, timeout=30).status_code == 400
    headers["Content-Type"] = "application/json"
    assert requests.post(url, data="{}", headers=headers, timeout=30).status_code == 415
    headers["Content-Type"] = "multipart/form-data; boundary=cut"
    assert requests.post(url, data=whole, headers=headers, timeout=30).status_code == 200


def test_a_plain_form_sends_a_whole_file(ann, bob, room):
    content = os.urandom(17 * MIB)
    with bob.socket() as theirs:
        answer = form(ann, room, content, name="C:\\fakepath\\Plan äöü.pdf")
        assert answer.status_code == 201, answer.text
        message = answer.json()["Data"]
        assert message["Status"] == "sent" and message["ContentType"] == "file"
        assert message["File"] == {"Name": "Plan äöü.pdf", "Size": 17 * MIB, "ContentType": "application/pdf"}
        theirs.wait(lambda frame: frame["Type"] == "new_message" and frame["Data"].get("File"))
        got = bytes_of(bob, message["ID"])
        assert got.content == content and "Plan%20%C3%A4" in got.headers["Content-Disposition"]
        assert "X-Amz-Expires=300&" in got.url
        part = requests.get(got.url, headers={"Range": "bytes=10-19"}, timeout=30)
        assert part.status_code == 206 and part.content == content[10:20]
    assert form(ann, room, b"", name="").status_code == 422
    assert form(bob, uuid.uuid4()).status_code == 404
    data = {"Sign": "form-" + str(uuid.uuid4())}
    first, second = (form(ann, room, PNG, kind="image/png", data=data).json()["Data"] for _ in range(2))
    assert first["ID"] == second["ID"] and first["ContentType"] == "image"


@pytest.mark.parametrize("name, kind, content", [
    ("t.png", "image/png", b"hello, this is text"), ("t.png", "image/png", b"\x89PNG\r\n\x1a\n"[:4] + bytes(500)),
    ("noise.jpg", "image/jpeg", bytes(range(200, 255)) * 60), ("a.png", "image/png", b"\x7fELF" + bytes(60)),
    ("a.mp4", "video/mp4", b"no film" * 100), ("a.mp3", "audio/mpeg", b"no sound" * 100),
    ("a.mp4", "video/mp4", PNG + bytes(100)), ("a.gif", "image/gif", b"<html><script>alert(1)</script></html>"),
])
def test_a_refused_form_leaves_nothing_behind(ann, bob, room, name, kind, content):
    before, sign = ann.data("GET", f"/rooms/{room}")["LastSeq"], str(uuid.uuid4())
    refused = form(ann, room, content, name, kind, data={"Sign": sign})
    assert refused.status_code == 415 and refused.json()["Error"]["Code"] == "unsupported_media_type", refused.text
    assert ann.data("GET", "/uploads") == [] and ann.history(room) == []
    assert ann.data("GET", f"/rooms/{room}")["LastSeq"] == before
    # The Sign is free again, for another file under its own name.
    sent = form(ann, room, b"just text", "b.txt", "text/plain", data={"Sign": sign}).json()["Data"]
    assert (sent["Content"], sent["File"]["ContentType"], sent["Seq"]) == ("b.txt", "text/plain", before + 1)


def test_a_form_that_was_cut_off_by_its_server_is_sent_again_with_another_file(ann, room):
    sign = str(uuid.uuid4())
    left = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "a.jpg", "ContentType": "image", "Sign": sign}, 201)
    sent = form(ann, room, b"just text", "b.txt", "text/plain", data={"Sign": sign}).json()["Data"]
    assert (sent["Content"], sent["ContentType"]) == ("b.txt", "file") and sent["ID"] != left.json()["Data"]["ID"]
    assert ann.data("GET", "/uploads") == []
    # A complete file stays as it is.
    again = form(ann, room, b"just text", "c.txt", "text/plain", data={"Sign": sign})
    assert (again.status_code, again.json()["Error"]["Code"]) == (422, "idempotency_mismatch")
    assert [one["ID"] for one in ann.history(room)] == [sent["ID"]]


@pytest.mark.parametrize("name, kind", [
    ("a.m3u8", "audio/mpegurl"), ("a.m3u", "audio/x-mpegurl"), ("a.mp4", "video/mp4"), ("a.mp3", "audio/mpeg"),
])
@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b" " * 1080 + b"M.K." + bytes(100)], ids=["plain", "mark", "music"])
def test_a_playlist_is_never_inline(ann, bob, room, name, kind, head):
    """Players fetch any address in a playlist."""
    text = b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/secret\n"
    content = text + head[len(text):] if len(head) > len(text) else head + text
    refused = form(ann, room, content, name, kind)
    assert refused.status_code == 415 and refused.json()["Error"]["Code"] == "unsupported_media_type", refused.text
    assert ann.history(room) == []
    message = begin(ann, room, name)
    post(ann, message, content, kind=kind)
    got = bytes_of(bob, message)
    assert got.content == content and got.headers["Content-Disposition"].startswith("attachment")
    assert not got.headers["Content-Type"].startswith(("audio/", "video/"))


def test_of_several_files_one_that_is_refused_keeps_all_back(ann, room):
    parts = [("File", ("a.txt", b"text", "text/plain")), ("File", ("b.png", b"no picture", "image/png"))]
    answer = requests.post(f"{ann.base_url}/api/v1/rooms/{room}/files", files=parts, timeout=30,
                           headers={"Authorization": f"Bearer {ann.token}"})
    assert answer.status_code == 415 and ann.history(room) == [] and ann.data("GET", "/uploads") == []


def raw_form(user, room, body):
    return requests.post(f"{user.base_url}/api/v1/rooms/{room}/files", data=body, timeout=30,
                         headers={"Authorization": f"Bearer {user.token}", "Content-Type": "multipart/form-data; boundary=B"})


@pytest.mark.parametrize("before, after", [
    (b"\r\n", b"\r\n"), (b"", b"\r\n\r\n"), (b"preamble\r\nof two lines\r\n", b"\r\nepilogue"), (b"\r\r\n", b"--B\r\n"),
    (b"--C\r\n", b""),
])
def test_what_stands_around_a_form_is_passed_over(ann, room, before, after):
    part = b'--B\r\nContent-Disposition: form-data; name="File";\r\n filename="a.txt"\r\n\r\nx\r\n--B--'
    answer = raw_form(ann, room, before + part + after)
    assert answer.status_code == 201 and answer.json()["Data"]["File"]["Name"] == "a.txt", answer.text


def test_a_form_may_have_fields_twice_that_mean_nothing_here(ann, room):
    def send(*names):
        fields = b"".join(b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx\r\n' % name for name in names)
        return raw_form(ann, room, fields + b'--B\r\nContent-Disposition: form-data; name="File"; filename="a.txt"\r\n\r\n'
                                            b'x\r\n--B--\r\n').status_code
    assert send(b"tag", b"tag", b"tag") == 201
    for name in (b"Sign", b"Redirect", b"token"):
        assert send(name, name) == 400, name
    assert raw_form(ann, room, b"x" * 9000 + b"\r\n--B--").status_code == 400


def test_empty_files(ann, bob, room):
    sent = form(ann, room, b"", ".gitkeep", "application/octet-stream").json()["Data"]
    assert sent["Status"] == "sent" and sent["File"]["Size"] == 0
    message = begin(ann, room, "empty.log")
    assert post(ann, message, b"")["Message"]["File"]["Size"] == 0
    assert post(ann, message, b"")["Completed"]
    for id in (sent["ID"], message):
        got = bytes_of(bob, id)
        assert got.status_code == 200 and got.content == b""


def test_head_tells_what_get_would_give(ann, bob, room, make_user):
    message = form(ann, room, b"0123456789", 'Plan "ä".txt', "text/plain").json()["Data"]["ID"]
    answer = bob.rest("HEAD", f"/files/{message}", expect=200)
    assert answer.headers["Content-Length"] == "10" and answer.headers["Content-Type"].startswith("text/plain")
    got = bytes_of(bob, message)
    for headers in (answer.headers, got.headers):
        assert 'filename="Plan _' in headers["Content-Disposition"]
        assert "filename*=UTF-8''Plan%20" in headers["Content-Disposition"]
    make_user().rest("HEAD", f"/files/{message}", expect=404)


def test_a_browser_is_sent_on(ann, room):
    html = {"Accept": "text/html,application/xhtml+xml"}
    for target, where in [
        ("/rooms/1?x=1", "/rooms/1?x=1"), (ann.base_url + "/a", ann.base_url + "/a"), ("//evil.example", "/"),
        ("/\\evil.example", "/"), ("https://evil.example/", "/"), (ann.base_url + "@evil.example/", "/"),
        ("javascript:alert(1)", "/"), ("/\t/evil.example", "/"), ("", "/"),
    ]:
        answer = form(ann, room, auth=False, headers=dict(html), data={"token": ann.token, "Redirect": target})
        assert (answer.status_code, answer.headers.get("Location")) == (303, where), (target, answer.text)
    answer = form(ann, room, auth=False, headers=dict(html), data={"token": "<junk>"})
    assert answer.status_code == 401 and answer.headers["Content-Type"].startswith("text/html")
    assert "<junk>" not in answer.text and "unauthorized" in answer.text


def test_what_a_browser_could_run_is_only_saved(ann, room):
    for name, kind in [("page.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.xml", "application/xml")]:
        message = form(ann, room, b"<script>alert(1)</script>", name, kind).json()["Data"]
        got = bytes_of(ann, message["ID"])
        assert got.headers["Content-Disposition"].startswith("attachment")
        assert got.headers["Content-Type"] == "application/octet-stream"
        assert message["File"]["ContentType"] == kind


def test_a_forwarded_file_is_the_same_file(ann, bob, make_user, room):
    eve = make_user()
    other = bob.group(eve)
    message = form(ann, room).json()["Data"]["ID"]
    body = {"Content": "forwarded", "ContentType": "file", "MessageType": "forwarded", "ParentMessageID": message}
    forwarded = bob.data("POST", f"/rooms/{other}/messages", body, 201)
    assert forwarded["ForwardedFrom"] == message
    assert bytes_of(eve, forwarded["ID"]).content == b"the content"
    eve.rest("GET", f"/files/{message}", expect=404, allow_redirects=False)


def test_more_checksums(ann, room):
    content = os.urandom(70_000)
    crc = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    sha1 = base64.b64encode(hashlib.sha1(content).digest()).decode()
    message = begin(ann, room)
    for name in ("crc32", "crc32c", "sha1"):
        assert post(ann, message, content, headers={f"x-amz-checksum-{name}": "AAAAAA=="}, expect=422)["Field"] == "File"
    post(ann, message, content, headers={"x-amz-checksum-crc32": crc, "x-amz-checksum-sha1": sha1})
    # The value that RFC 3720, B.4, gives for 32 zeros.
    zeros = begin(ann, room)
    post(ann, zeros, bytes(32), headers={"x-amz-checksum-crc32c": base64.b64encode(bytes.fromhex("8a9136aa")).decode()})


def test_several_files_in_one_form(ann, bob, room):
    names = ["a.png", "b.txt", "c.pdf"]
    contents = {"a.png": PNG * 100, "b.txt": b"b.txt" * 1000, "c.pdf": b"c.pdf" * 1000}
    parts = [("File", (name, contents[name], kind)) for name, kind in zip(names, ("image/png", "text/plain", None))]
    parts.insert(1, ("File", ("", b"", "application/octet-stream")))  # a field in which nothing was chosen
    data = {"Sign": str(uuid.uuid4())}
    url = f"{ann.base_url}/api/v1/rooms/{room}/files"
    headers = {"Authorization": f"Bearer {ann.token}"}
    first, second = (requests.post(url, files=parts, data=data, headers=headers, timeout=60) for _ in range(2))
    assert first.status_code == second.status_code == 201, first.text
    sent = first.json()["Data"]
    assert [message["File"]["Name"] for message in sent] == names
    assert [message["ID"] for message in sent] == [message["ID"] for message in second.json()["Data"]]
    for message in sent:
        assert bytes_of(bob, message["ID"]).content == contents[message["File"]["Name"]]
    many = [("File", (f"{number}", b"x", "text/plain")) for number in range(11)]
    assert requests.post(url, files=many, headers=headers, timeout=60).status_code == 400


def test_a_page_without_javascript_has_its_token_in_a_cookie(ann, bob, room):
    assert requests.post(f"{ann.base_url}/api/v1/session", timeout=30).status_code == 401
    begun = ann.rest("POST", "/session", expect=200)
    assert begun.json()["Data"]["UserID"] == ann.id
    cookie = begun.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Secure" not in cookie
    browser = requests.Session()
    browser.cookies.set("chat_session", cookie.split("=", 1)[1].split(";")[0])
    browser.headers["Accept"] = "text/html"

    def send(**headers):
        return browser.post(f"{ann.base_url}/api/v1/rooms/{room}/files", files={"File": ("a.pdf", b"%PDF-1.4 x")},
                            data={"Redirect": "/there"}, headers=headers, timeout=30, allow_redirects=False)

    for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        refused = send(**origin)
        assert refused.status_code == 403 and "forbidden" in refused.text, origin
    answer = send(Origin=ann.base_url)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/there")
    message = bob.history(room)[-1]
    assert message["SenderID"] == ann.id and message["File"]["Name"] == "a.pdf"
    link = browser.get(f"{ann.base_url}/api/v1/files/{message['ID']}", timeout=30, allow_redirects=False)
    assert link.status_code == 302
    # The cookie works nowhere else.
    assert browser.get(f"{ann.base_url}/api/v1/rooms", timeout=30).status_code == 401
    ended = ann.rest("DELETE", "/session", expect=204)
    assert "Max-Age=0" in ended.headers["Set-Cookie"]


def planned(content, index):
    return {"ChunkIndex": index, "Size": len(content), "ContentMD5": base64.b64encode(hashlib.md5(content).digest()).decode()}


def test_parts_straight_to_the_store(ann, bob, room):
    chunks = {1: MP4 + os.urandom(5 * MIB), 2: os.urandom(5 * MIB + 1), 3: b"the end"}
    message = begin(ann, room, "film.mp4", "video")
    bob.rest("POST", f"/files/{message}/presign", {"TotalChunk": 1, "Chunks": []}, 404)
    ann.rest("POST", f"/files/{message}/complete", expect=409)
    body = {"TotalChunk": 3, "ContentType": "video/webm", "Chunks": [planned(chunks[index], index) for index in (3, 1)]}
    links = ann.data("POST", f"/files/{message}/presign", body)["Chunks"]
    assert [link["ChunkIndex"] for link in links] == [3, 1] and links[0]["Method"] == "PUT"
    for link in links:
        content = chunks[link["ChunkIndex"]]
        assert put(link, content[:-1] + b"?").status_code >= 400, "other bytes of the same size"
        assert put(link, content + b"?").status_code >= 400, "another size"
        assert put(link, content).status_code == 200
    refused = ann.rest("POST", f"/files/{message}/complete", expect=409).json()["Error"]
    assert refused["Message"].endswith(": 2")
    # The middle chunk goes through a worker.
    data = post(ann, message, chunks[2], 2, 3, kind="video/webm")
    with bob.socket() as theirs:
        if not data["Completed"]:
            data = ann.data("POST", f"/files/{message}/complete")
        assert data["Completed"] and data["Message"]["File"]["ContentType"] == "video/webm"
        assert ann.data("POST", f"/files/{message}/complete")["Completed"]
        time.sleep(0.3)
        assert theirs.count(told(theirs, message)) <= 1
    assert bytes_of(bob, message).content == b"".join(chunks[index] for index in (1, 2, 3))
    ann.rest("POST", f"/files/{message}/presign", body, 409)


def test_what_may_be_presigned(ann, room):
    message = begin(ann, room)
    good = planned(b"x", 2)
    for status, body in [
        (422, {}), (422, {"TotalChunk": 2, "Chunks": [{**good, "ChunkIndex": 3}]}),
        (422, {"TotalChunk": 2, "Chunks": [{**good, "ContentMD5": "x"}]}), (422, {"TotalChunk": 2, "Chunks": [{"Size": 1}]}),
        (422, {"TotalChunk": 2, "Chunks": [{**good, "ChunkIndex": 1}]}), (422, {"TotalChunk": 2, "Chunks": "x"}),
        (413, {"TotalChunk": 1, "Chunks": [{**good, "ChunkIndex": 1, "Size": 1 << 40}]}),
    ]:
        ann.rest("POST", f"/files/{message}/presign", body, status)
    assert ann.data("GET", f"/files/{message}/upload")["Received"] == []


def put(link, content):
    headers = {name: value for name, value in link["Headers"].items() if name != "Content-Length"}
    return requests.put(link["URL"], data=content, headers=headers, timeout=60)


def test_a_quota_counts_all_files_of_a_user(ann, bob, make_user, room, reconfigure):
    reconfigure("fcgi-api", UPLOAD_QUOTA=1000)
    first, second = begin(ann, room), begin(ann, room)
    post(ann, first, b"x" * 600)
    assert post(ann, second, b"x" * 401, expect=413)["Code"] == "quota_exceeded"
    post(ann, second, b"x" * 400)
    assert form(ann, room, b"x").json()["Error"]["Code"] == "quota_exceeded"
    assert form(bob, room, b"x" * 1000).status_code == 201
    ann.rest("DELETE", f"/messages/{second}")
    # All at once: as many as fit the quota, and not one more.
    eve = make_user()
    own = eve.group()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: form(eve, own, b"x" * 300).status_code, range(8)))
    assert sorted(statuses) == [201] * 3 + [413] * 5


def test_what_is_given_up_or_deleted_leaves_nothing(ann, bob, room, settings, reconfigure):
    """The sweeper: uploads that never end, and files of deleted messages that no message shows any more."""
    other = bob.group(ann)
    never, begun, whole, shown = begin(ann, room), begin(ann, room), begin(ann, room), begin(ann, room)
    post(ann, begun, b"rest", 2, 2)
    for message in (whole, shown):
        post(ann, message, b"content")
    body = {"Content": "f", "ContentType": "file", "MessageType": "forwarded", "ParentMessageID": shown}
    forwarded = bob.data("POST", f"/rooms/{other}/messages", body, 201)["ID"]
    link = bob.rest("GET", f"/files/{whole}", expect=302, allow_redirects=False).headers["Location"]
    for message in (whole, shown):
        ann.rest("DELETE", f"/messages/{message}", expect=200)
    reconfigure("queue-worker", UPLOAD_EXPIRE_SECONDS=1, UPLOAD_SWEEP_SECONDS=1)

    for message in (never, begun):
        eventually(lambda: ann.data("GET", f"/messages/{message}")["Status"] == "deleted")
        assert post(ann, message, b"rest", 2, 2, expect=410)["Code"] == "gone"
    eventually(lambda: requests.get(link, timeout=30).status_code == 404)
    assert bytes_of(bob, forwarded).content == b"content"
    bob.rest("DELETE", f"/messages/{forwarded}", expect=200)
    eventually(lambda: shown not in names("files"))
    assert begun not in names("files")

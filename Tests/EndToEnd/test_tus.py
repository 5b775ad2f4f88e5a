"""Uploads by the tus protocol: with a standard client (tuspy), and edge cases by hand."""

import base64
import hashlib
import io
import os
import subprocess
import threading

import pytest
import requests
from tusclient.client import TusClient
from uploads import VERSION, metadata, patch, tus

MIB = 1 << 20
@pytest.fixture
def room(ann, bob):
    return ann.group(bob)


def create(user, room, length, **more):
    answer = tus(user, "POST", Upload_Length=length, Upload_Metadata=metadata(room=room, filename="a.bin", **more))
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def content_of(user, message):
    link = user.rest("GET", f"/files/{message}", expect=302, allow_redirects=False).headers["Location"]
    return requests.get(link, timeout=30).content


def uploader(user, room, content, chunk):
    client = TusClient(f"{user.base_url}/api/v1/files/tus", headers={"Authorization": f"Bearer {user.token}"})
    return client.uploader(file_stream=io.BytesIO(content), chunk_size=chunk, upload_checksum=True,
                           metadata={"room": room, "filename": "film.mp4", "filetype": "video/mp4"})


@pytest.mark.parametrize("chunk", [3 * MIB + 7, 9 * MIB])
def test_a_standard_client_stops_and_resumes(ann, bob, room, chunk):
    content = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + os.urandom(18 * MIB + 12_345)
    with bob.socket() as theirs:
        first = uploader(ann, room, content, chunk)
        first.upload(stop_at=chunk * 2)
        message = first.url.rsplit("/", 1)[1]
        assert ann.data("GET", f"/messages/{message}")["Status"] == "uploading"
        second = uploader(ann, room, content, chunk)
        second.set_url(first.url)
        assert second.offset == 0
        second.offset = second.get_offset()
        assert second.offset == chunk * 2
        second.upload()
        frame = theirs.wait(lambda frame: frame["Type"] == "new_message" and frame["Data"]["ID"] == message)
        assert frame["Data"]["File"] == {"Name": "film.mp4", "Size": len(content), "ContentType": "video/mp4"}
        assert second.get_offset() == len(content)
    assert content_of(bob, message) == content


def test_what_the_server_can_do(ann):
    answer = requests.options(f"{ann.base_url}/api/v1/files/tus", timeout=30)
    assert answer.status_code == 204 and answer.headers["Tus-Version"] == "1.0.0"
    assert {"creation", "checksum", "termination", "expiration"} <= set(answer.headers["Tus-Extension"].split(","))
    assert int(answer.headers["Tus-Max-Size"]) > 0 and "sha1" in answer.headers["Tus-Checksum-Algorithm"]
    wrong = requests.post(f"{ann.base_url}/api/v1/files/tus", headers={"Tus-Resumable": "0.2"}, timeout=30)
    assert wrong.status_code == 412 and wrong.headers["Tus-Version"] == "1.0.0"


def test_creation_and_its_refusals(ann, bob, make_user, room, settings):
    path = create(ann, room, 10)
    head = tus(ann, "HEAD", path)
    assert head.status_code == 200 and head.headers["Cache-Control"] == "no-store"
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("0", "10")
    assert head.headers["Upload-Metadata"] == metadata(room=room, filename="a.bin")
    assert head.headers["Upload-Expires"].endswith("GMT") and head.headers["Tus-Resumable"] == "1.0.0"
    assert tus(bob, "HEAD", path).status_code == 404
    limit = int(settings.get("S3_MAX_UPLOAD_SIZE", 20 * MIB))
    for status, headers in [
        (413, {"Upload_Length": limit + 1, "Upload_Metadata": metadata(room=room)}),
        (422, {"Upload_Length": 1, "Upload_Metadata": metadata(room=room) + "," + metadata(room=room)}),
        (422, {"Upload_Length": 1}), (422, {"Upload_Length": 1, "Upload_Metadata": "room %%%"}),
        (400, {"Upload_Metadata": metadata(room=room)}), (400, {"Upload_Length": "-1", "Upload_Metadata": metadata(room=room)}),
    ]:
        assert tus(ann, "POST", **headers).status_code == status, headers
    stranger = tus(make_user(), "POST", Upload_Length=1, Upload_Metadata=metadata(room=room))
    assert stranger.status_code == 404
    assert requests.post(f"{ann.base_url}/api/v1/files/tus", headers=VERSION, timeout=30).status_code == 401
    # The same Sign gives the same upload.
    assert create(ann, room, 10, sign="tus-1") == create(ann, room, 10, sign="tus-1")


def test_an_empty_file(ann, bob, room):
    answer = tus(ann, "POST", Upload_Length=0, Upload_Metadata=metadata(room=room, filename=".gitkeep"))
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "0")
    head = tus(ann, "HEAD", answer.headers["Location"])
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("0", "0")
    message = answer.headers["Location"].rsplit("/", 1)[1]
    assert content_of(bob, message) == b"" and bob.data("GET", f"/messages/{message}")["Status"] == "sent"


def test_what_the_protocol_demands_of_every_answer(ann, room):
    path = create(ann, room, 10)
    for answer in (
        tus(ann, "HEAD", path), tus(ann, "PUT", path), tus(ann, "HEAD", path + "x"), tus(ann, "GET", "/api/v1/files/tus/x/y"),
        requests.options(f"{ann.base_url}/api/v1/files/tus", timeout=30), patch(ann, path, 7, b"x"),
        requests.head(f"{ann.base_url}{path}", timeout=30, headers=VERSION),
        requests.head(f"{ann.base_url}{path}", timeout=30, headers={"Authorization": f"Bearer {ann.token}"}),
    ):
        assert answer.headers.get("Tus-Resumable") == "1.0.0", (answer.request.method, answer.status_code)
    for answer in (tus(ann, "HEAD", path), requests.head(f"{ann.base_url}{path}", timeout=30, headers=VERSION)):
        assert "no-store" in answer.headers["Cache-Control"]
    assert patch(ann, path, 0, b"x", Content_Encoding="gzip").status_code == 415
    encoded = tus(ann, "POST", Upload_Length=3, Upload_Metadata=metadata(room=room), Content_Encoding="br")
    assert encoded.status_code == 415
    # Clients without PATCH and DELETE.
    done = tus(ann, "POST", path, X_HTTP_Method_Override="PATCH", Upload_Offset=0, data=b"01234",
               Content_Type="application/offset+octet-stream")
    assert (done.status_code, done.headers["Upload-Offset"]) == (204, "5")
    assert "Upload-Expires" in done.headers
    assert tus(ann, "POST", path, X_HTTP_Method_Override="DELETE").status_code == 204
    assert tus(ann, "HEAD", path).status_code == 410


def test_a_refused_upload_leaves_nothing(ann, room):
    whole = {"Upload_Length": 4, "Content_Type": "application/offset+octet-stream", "data": b"text"}
    picture = metadata(room=room, filename="a.png", filetype="image/png")
    assert tus(ann, "POST", Upload_Metadata=picture, **whole).status_code == 415
    assert ann.data("GET", "/uploads") == []
    path = tus(ann, "POST", Upload_Length=4, Upload_Metadata=picture).headers["Location"]
    assert patch(ann, path, 0, b"text").status_code == 415
    assert tus(ann, "HEAD", path).status_code == 410 and ann.data("GET", "/uploads") == []
    assert tus(ann, "POST", Upload_Metadata=metadata(room=room), **{**whole, "data": b"longer"}).status_code == 413
    assert ann.data("GET", "/uploads") == []


def test_offsets_checksums_and_the_end(ann, bob, room):
    path = create(ann, room, 10)
    message = path.rsplit("/", 1)[1]
    assert patch(ann, path, 0, b"01234").headers["Upload-Offset"] == "5"
    assert patch(ann, path, 0, b"01234").status_code == 409
    assert patch(ann, path, 7, b"789").status_code == 409
    assert tus(ann, "PATCH", path, Upload_Offset=5, data=b"56789").status_code == 415
    wrong = patch(ann, path, 5, b"56789", Upload_Checksum="sha1 " + base64.b64encode(b"x" * 20).decode())
    assert wrong.status_code == 460 and wrong.json()["Error"]["Code"] == "checksum_mismatch"
    assert patch(ann, path, 5, b"56789", Upload_Checksum="what 1").status_code == 400
    assert patch(ann, path, 5, b"567890").status_code == 413
    assert tus(ann, "HEAD", path).headers["Upload-Offset"] == "5"
    right = "sha1 " + base64.b64encode(hashlib.sha1(b"56789").digest()).decode()
    done = patch(ann, path, 5, b"56789", Upload_Checksum=right)
    assert done.status_code == 204 and done.headers["Upload-Offset"] == "10"
    assert content_of(bob, message) == b"0123456789"
    assert tus(ann, "HEAD", path).headers["Upload-Offset"] == "10"
    assert tus(ann, "DELETE", path).status_code == 409


def test_one_request_at_a_time(ann, bob, room, settings):
    content = os.urandom(6 * MIB)
    path = create(ann, room, len(content) + 3)
    message = path.rsplit("/", 1)[1]
    answers, start = [], threading.Barrier(5)

    def send():
        start.wait()
        answers.append(patch(ann, path, 0, content).status_code)

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The answers to requests during the write, and to those after it.
    assert sorted(set(answers) - {423}) in ([204], [204, 409]) and answers.count(204) == 1, answers
    redis = ["redis-cli", "-s", settings["REDIS_URL"].removeprefix("unix://").split("?")[0]]
    subprocess.run([*redis, "SET", f"upload:{message}:writer", "another", "PX", "60000"], check=True, stdout=subprocess.DEVNULL)
    refused = patch(ann, path, len(content), b"end")
    assert refused.status_code == 423 and refused.json()["Error"]["Code"] == "locked"
    assert tus(ann, "HEAD", path).headers["Upload-Offset"] == str(len(content))
    subprocess.run([*redis, "DEL", f"upload:{message}:writer"], check=True, stdout=subprocess.DEVNULL)
    assert patch(ann, path, len(content), b"end").status_code == 204
    assert content_of(bob, message) == content + b"end"


def test_termination_and_creation_with_the_content(ann, bob, room):
    path = create(ann, room, 10)
    patch(ann, path, 0, b"01234")
    assert tus(bob, "DELETE", path).status_code == 404
    assert tus(ann, "DELETE", path).status_code == 204
    assert tus(ann, "HEAD", path).status_code == 410 and patch(ann, path, 5, b"56789").status_code == 410
    answer = tus(ann, "POST", Upload_Length=3, Upload_Metadata=metadata(room=room, filename="a"), data=b"abc",
                 Content_Type="application/offset+octet-stream")
    assert answer.status_code == 201 and answer.headers["Upload-Offset"] == "3"
    assert content_of(bob, answer.headers["Location"].rsplit("/", 1)[1]) == b"abc"

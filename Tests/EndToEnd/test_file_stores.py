"""Files in a folder instead of S3, and downloads through nginx when clients cannot reach the store."""

import os
import re

import pytest
import requests
from own_master import ask
from uploads import MIB, MP4, begin, bytes_of, form, post


@pytest.fixture
def room(ann, bob):
    return ann.group(bob)


@pytest.fixture
def folder(settings):
    return f"{settings['RUN_DIR']}/run/files"


def test_a_folder_does_what_a_store_does(ann, bob, make_user, room, folder, reconfigure):
    reconfigure("fcgi-api", "queue-worker", STORAGE=f"disk:{folder}")
    chunks = {1: MP4 + os.urandom(5 * MIB), 2: os.urandom(5 * MIB), 3: b"the end"}
    message = begin(ann, room, "film äö.mp4", "video")
    for index in (3, 1, 3, 2):
        data = post(ann, message, chunks[index], index, 3, kind="video/mp4")
    assert data["Completed"]
    content = b"".join(chunks[index] for index in (1, 2, 3))
    link = bob.rest("GET", f"/files/{message}", expect=302, allow_redirects=False).headers["Location"]
    got = requests.get(link, timeout=30)
    assert got.content == content and got.headers["Content-Type"] == "video/mp4"
    assert got.headers["X-Content-Type-Options"] == "nosniff" and "film%20%C3%A4" in got.headers["Content-Disposition"]
    part = requests.get(link, headers={"Range": "bytes=10-19"}, timeout=30)
    assert part.status_code == 206 and part.content == content[10:20]
    for wrong in (link.replace("expires=", "expires=9"), link.replace("video", "text"), re.sub("signature=.*", "signature=", link)):
        assert requests.get(wrong, timeout=30).status_code == 403, wrong
    make_user().rest("GET", f"/files/{message}", expect=404, allow_redirects=False)
    html = form(ann, room, b"<html><script>x</script></html>", "a.html", "text/html").json()["Data"]["ID"]
    got = bytes_of(bob, html)
    assert got.headers["Content-Disposition"].startswith("attachment")
    assert got.headers["Content-Type"] == "application/octet-stream"
    # Files cannot be reached without a link.
    for path in (f"/.chat-files/files/{message}", f"/api/v1/.chat-files/files/{message}", f"/api/v1/files/stored/files/{message}"):
        assert requests.get(ann.base_url + path, timeout=30).status_code in (403, 404)
    unfinished = begin(ann, room)
    post(ann, unfinished, b"rest", 2, 2)
    ann.rest("POST", f"/files/{unfinished}/presign", {"TotalChunk": 2, "Chunks": [
        {"ChunkIndex": 2, "Size": 1, "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}]}, 409)
    ann.rest("DELETE", f"/files/{unfinished}", expect=200)
    assert not [name for name in os.listdir(f"{folder}/uploads")], "an ended upload left something behind"


def test_nginx_fetches_what_clients_cannot_reach(ann, bob, make_user, room, reconfigure, settings):
    reconfigure("fcgi-api", DOWNLOADS="proxy")
    content = os.urandom(3 * MIB)
    message = form(ann, room, content, "a.pdf", "application/pdf").json()["Data"]["ID"]
    got = bob.rest("GET", f"/files/{message}", expect=200, allow_redirects=False)
    assert got.content == content and got.headers["Content-Type"] == "application/pdf"
    assert got.headers["X-Content-Type-Options"] == "nosniff" and "a.pdf" in got.headers["Content-Disposition"]
    part = bob.rest("GET", f"/files/{message}", expect=206, headers={"Range": "bytes=5-9"})
    assert part.content == content[5:10]
    make_user().rest("GET", f"/files/{message}", expect=404)
    assert requests.get(f"{ann.base_url}/api/v1/.chat-store/chat/files/{message}", timeout=30).status_code == 404
    # A clock that is five minutes slow signs no link that has expired already.
    _, told, _ = ask(f"{settings['RUN_DIR']}/fcgi-uploads.sock", "GET", f"/api/v1/files/{message}", {"Authorization": f"Bearer {bob.token}"})
    assert "&X-Amz-Expires=1200&" in told["X-Chat-Path"]


def test_a_store_that_refuses_nginx_is_unavailable_for_clients(ann, bob, room, reconfigure):
    message = form(ann, room, b"text", "a.txt", "text/plain").json()["Data"]["ID"]
    reconfigure("fcgi-api", DOWNLOADS="proxy", S3_SECRET_KEY="not the store's")
    assert bob.rest("GET", f"/files/{message}", expect=503).json()["Error"]["Code"] == "unavailable"

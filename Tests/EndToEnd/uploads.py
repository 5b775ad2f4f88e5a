"""Uploads in chunks, by tus and of whole files, and what is served of them."""

import base64
import hashlib
import os
from pathlib import Path

import requests
from waiting import eventually

MIB = 1 << 20
VERSION = {"Tus-Resumable": "1.0.0"}
PATIENCE = 180


MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"


def begin(user, room, name="photo.bin", kind="file"):
    """Sends the FILE message over REST."""
    sent = user.data("POST", f"/rooms/{room}/messages", {"Content": name, "ContentType": kind}, 201)
    assert sent["Status"] == "uploading" and sent["Seq"] is None and sent["ChangeSeq"] is None
    return sent["ID"]


def post(user, message, content, index=1, total=1, expect=200, name="blob", kind="application/octet-stream", headers=None,
         fields=None):
    """Sends one chunk with the file first and the numbers after it, like a browser's FormData."""
    fields = {"ChunkIndex": index, "TotalChunk": total} if fields is None else fields
    parts = [("File", (name, content, kind))] + [(key, (None, str(value))) for key, value in fields.items()]
    answer = requests.post(f"{user.base_url}/api/v1/files/{message}/upload", files=parts, timeout=60,
                           headers={"Authorization": f"Bearer {user.token}", **(headers or {})})
    assert answer.status_code == expect, f"{answer.status_code} {answer.text[:500]}"
    return answer.json()["Data"] if expect == 200 else answer.json()["Error"]


def form(user, room, content=b"the content", name="plan.pdf", kind="application/pdf", auth=True, **options):
    headers = options.pop("headers", {})
    if auth:
        headers["Authorization"] = f"Bearer {user.token}"
    return requests.post(f"{user.base_url}/api/v1/rooms/{room}/files", files={"File": (name, content, kind)},
                         headers=headers, timeout=60, allow_redirects=False, **options)


def bytes_of(user, message):
    """Follows a file's link and returns the answer."""
    answer = user.rest("GET", f"/files/{message}", expect=302, allow_redirects=False)
    return requests.get(answer.headers["Location"], timeout=30)


def metadata(**values):
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def tus(user, method, path="", **headers):
    data = headers.pop("data", None)
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    url = path if path.startswith("http") else f"{user.base_url}{path or '/api/v1/files/tus'}"
    return requests.request(method, url, data=data, timeout=60,
                            headers={"Authorization": f"Bearer {user.token}", **VERSION, **named})


def patch(user, path, offset, data, **headers):
    return tus(user, "PATCH", path, Upload_Offset=offset, Content_Type="application/offset+octet-stream", data=data, **headers)


def patiently(attempt):
    """Retries like a client that gets 503 or loses its connection."""
    def result():
        try:
            return attempt()
        except requests.ConnectionError:
            return None

    return eventually(result, PATIENCE, lambda: "not within its time", pause=0.2)


def is_upload(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("uploads/")
    except OSError:
        return False


def end(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def digest(user, message, size):
    """The checksum of the file behind the link."""
    link = user.rest("GET", f"/files/{message}", expect=302, allow_redirects=False).headers["Location"]
    sha, got = hashlib.sha256(), 0
    with requests.get(link, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        for block in answer.iter_content(MIB):
            sha.update(block)
            got += len(block)
    assert got == size
    return sha.hexdigest()

"""One large file through one worker: its memory use stays flat, and a reload (HUP) during the upload does no harm.

UPLOAD_MIB=96 is its size; `make test-uploads` sends 1024.
"""

import hashlib
import os
import random
import signal
from pathlib import Path

import requests
from uploads import digest, is_upload, patiently

MIB = 1 << 20
SIZE = int(os.environ.get("UPLOAD_MIB", "96")) * MIB
CHUNK = 16 * MIB
# Whatever the file's size: what one request holds, and what the allocator keeps.
FLAT = 32 * MIB


def peak(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024


def worker(pids):
    found = [pid for name, kind, pid in pids() if (name, kind) == ("fcgi-api", "worker") and is_upload(pid)]
    return found[-1] if found else None


def test_memory_stays_flat(ann, bob, pids, reconfigure):
    reconfigure("fcgi-api", S3_MAX_UPLOAD_SIZE=5 << 30, FCGI_UPLOADS_WORKERS=1)
    room = ann.group(bob)
    message = ann.data("POST", f"/rooms/{room}/messages", {"Content": "disk.img", "ContentType": "file"}, 201)["ID"]
    total, sha, peaks = (SIZE + CHUNK - 1) // CHUNK, hashlib.sha256(), {}
    chance = random.Random(SIZE)
    for index in range(1, total + 1):
        content = chance.randbytes(min(CHUNK, SIZE - (index - 1) * CHUNK))
        sha.update(content)
        if index == total // 2:
            for name, kind, pid in pids():
                if (name, kind) == ("fcgi-api", "master"):
                    os.kill(pid, signal.SIGHUP)
        data = patiently(lambda: send(ann, message, content, index, total))
        if pid := worker(pids):
            peaks.setdefault(pid, []).append(peak(pid))
    assert data["Completed"], data
    assert digest(bob, message, SIZE) == sha.hexdigest()
    for pid, seen in peaks.items():
        seen = [value for value in seen if value]
        print(f"\nworker {pid}: {len(seen)} chunks of {CHUNK // MIB} MiB, peak memory {seen[0] / MIB:.1f} MiB after the "
              f"first, {seen[-1] / MIB:.1f} MiB after the last", end="")
        assert seen[-1] - seen[0] < FLAT
        assert seen[-1] < 4 * FLAT
    print()
    assert len(peaks) > 1, "the reload replaced no worker"


def send(user, message, content, index, total):
    parts = [("File", ("blob", content)), ("ChunkIndex", (None, str(index))), ("TotalChunk", (None, str(total)))]
    answer = requests.post(f"{user.base_url}/api/v1/files/{message}/upload", files=parts, timeout=150,
                           headers={"Authorization": f"Bearer {user.token}"})
    if answer.status_code in (429, 503):
        return None
    assert answer.status_code == 200, answer.text
    return answer.json()["Data"]

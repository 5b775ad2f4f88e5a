"""Files of 2 to 12 chunks, each sent by 4 clients at once in a random order with repeats, while workers are killed, Redis is killed or
emptied, programs are reloaded, and the store fails through faulty_store.py. The bytes stay the same, the room is told once, and
after the sweeper only files remain in the store.

UPLOAD_ROUNDS=4 files; `make test-uploads` sends 200. UPLOAD_SEED repeats a run.
"""

import hashlib
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from store import names
from uploads import digest, end, is_upload, patiently
from waiting import eventually

MIB = 1 << 20
ROUNDS = int(os.environ.get("UPLOAD_ROUNDS", "4"))
SEED = int(os.environ.get("UPLOAD_SEED") or random.randrange(1 << 30))
CLIENTS = 4
FAULTY = 0.15
class Store:
    """The proxy's process."""

    def __init__(self, endpoint):
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("faulty_store.py"), endpoint.split("//")[1], str(SEED)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def fail(self, rate):
        self.process.stdin.write(f"{rate}\n")
        self.process.stdin.flush()

    def unfinished(self):
        return names(".uploads")

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture
def store(settings, reconfigure):
    store = Store(settings["S3_ENDPOINT"])
    reconfigure("fcgi-api", "queue-worker", S3_ENDPOINT=store.url, S3_MAX_UPLOAD_SIZE=200 * MIB, FCGI_UPLOADS_WORKERS=4)
    yield store
    store.close()


class Upload:
    """One file and its four senders."""

    def __init__(self, user, room, chance):
        self.user, self.room, self.trouble, self.completed = user, room, [], False
        count = chance.randint(2, 12)
        # It begins like a video.
        self.chunks = [b"\0\0\0\x18ftypmp42" + chance.randbytes(5 * MIB) for _ in range(count - 1)] + [
            chance.randbytes(chance.randint(1, 5 * MIB))]
        order = list(range(count)) + [chance.randrange(count) for _ in range(count // 3)]
        chance.shuffle(order)
        self.left = queue.SimpleQueue()
        for index in order:
            self.left.put(index)
        self.message = patiently(lambda: self.send_message())

    @property
    def url(self):
        return f"{self.user.base_url}/api/v1/files/{self.message}/upload"

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.user.token}"}

    def send_message(self):
        answer = self.user.rest("POST", f"/rooms/{self.room}/messages", {"Content": "film.mp4", "ContentType": "video"})
        return answer.json()["Data"]["ID"] if answer.status_code == 201 else None

    def client(self):
        try:
            while True:
                index = self.left.get_nowait()
                patiently(lambda: self.chunk(index))
        except queue.Empty:
            pass
        except Exception as error:
            self.trouble.append(error)

    def chunk(self, index):
        parts = [("File", ("blob", self.chunks[index], "video/mp4")), ("ChunkIndex", (None, str(index + 1))),
                 ("TotalChunk", (None, str(len(self.chunks))))]
        answer = requests.post(self.url, files=parts, headers=self.headers, timeout=150)
        if answer.status_code in (429, 503):
            return None
        assert answer.status_code in (200, 202), f"chunk {index + 1} of {len(self.chunks)}: {answer.status_code} {answer.text}"
        return answer.json()["Data"]

    def run(self):
        threads = [threading.Thread(target=self.client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.trouble, self.trouble
        # All chunks were accepted. The completing worker may have been killed just then: a status request completes it.
        patiently(lambda: self.state()["Completed"])

    def state(self):
        answer = requests.get(self.url, headers=self.headers, timeout=150)
        if answer.status_code == 503:
            return {"Completed": False}
        assert answer.status_code == 200, answer.text
        data = answer.json()["Data"]
        assert len(data["Received"]) == len(self.chunks), f"chunks that were taken are lost: {data}"
        return data


class Chaos:
    """Causes one fault after the other until it is told to stop."""

    def __init__(self, pids, settings, chance):
        self.pids, self.chance, self.counts = pids, chance, {}
        self.redis = settings["REDIS_URL"].removeprefix("unix://").split("?")[0]
        self.deeds = [self.kill_worker] * 3 + [self.flush, self.kill_redis, self.reload]

    def run(self, stop):
        while not stop.wait(self.chance.uniform(0.2, 2)):
            deed = self.chance.choice(self.deeds)
            self.counts[deed.__name__] = self.counts.get(deed.__name__, 0) + 1
            deed()

    def kill_worker(self):
        uploads = [pid for name, kind, pid in self.pids() if (name, kind) == ("fcgi-api", "worker") and is_upload(pid)]
        if uploads:
            end(self.chance.choice(uploads), signal.SIGKILL)

    def kill_redis(self):
        for name, kind, pid in self.pids():
            if (name, kind) == ("redis", "master"):
                end(pid, signal.SIGKILL)

    def flush(self):
        subprocess.run(["redis-cli", "-s", self.redis, "FLUSHALL"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def reload(self):
        for name, kind, pid in self.pids():
            if (name, kind) == ("fcgi-api", "master"):
                end(pid, signal.SIGHUP)


def test_nothing_is_lost_doubled_or_left_behind(ann, bob, store, settings, pids, reconfigure):
    print(f"\nUPLOAD_SEED={SEED}")
    chance = random.Random(SEED)
    room = ann.group(bob)
    sent, bytes_sent = [], 0
    with bob.socket() as theirs:
        for number in range(ROUNDS):
            upload = Upload(ann, room, chance)
            chaos, stop = Chaos(pids, settings, chance), threading.Event()
            harm = threading.Thread(target=chaos.run, args=(stop,))
            store.fail(FAULTY)
            harm.start()
            try:
                upload.run()
            finally:
                stop.set()
                harm.join()
                store.fail(0)
            size = sum(map(len, upload.chunks))
            want = hashlib.sha256(b"".join(upload.chunks)).hexdigest()
            assert patiently(lambda: digest(bob, upload.message, size)) == want, f"round {number}"
            sent.append(upload.message)
            bytes_sent += size
            print(f"{number + 1}: {len(upload.chunks)} chunks, {chaos.counts}", flush=True)
        for message in sent:
            theirs.wait(lambda frame: told(frame, message), 60)
        time.sleep(0.5)
        for message in sent:
            assert theirs.count(lambda frame: told(frame, message)) == 1
    assert set(sent) <= names("files")
    reconfigure("queue-worker", S3_ENDPOINT=settings["S3_ENDPOINT"], UPLOAD_EXPIRE_SECONDS=1, UPLOAD_SWEEP_SECONDS=1)
    eventually(lambda: not store.unfinished(), why=lambda: f"parts are left in the store: {store.unfinished()}", pause=0.5)
    print(f"{len(sent)} files, {bytes_sent / MIB:.0f} MiB")


def told(frame, message):
    return frame["Type"] == "new_message" and frame["Data"]["ID"] == message

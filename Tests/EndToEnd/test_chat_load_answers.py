"""chat-load, the answers by REST and its own limits: histories without end or order, long and wrong answers, descriptors."""

import json
import os
import re
import resource
import subprocess
import threading
import time
import uuid

from conftest import program
from fake_chat import FakeChat
from load_runs import SECRET, SMALL, outcomes, start, variants


class Endless(FakeChat):
    """A page after any Seq, and always a next one."""

    def history(self, room, after):
        return 200, {"Success": True, "Data": [{"Seq": after + step, "Sign": ""} for step in range(1, 101)], "Next": "more"}


class Repeats(FakeChat):
    def history(self, room, after):
        return 200, {"Success": True, "Data": self.rooms[room][:3], "Next": "more"}


class Backwards(FakeChat):
    def history(self, room, after):
        return 200, {"Success": True, "Data": [{"Seq": max(1, after - 5), "Sign": ""}], "Next": "more"}


class Crawls(FakeChat):
    """One message a page."""

    def history(self, room, after):
        return 200, {"Success": True, "Data": [{"Seq": after + 1, "Sign": ""}], "Next": "more"}


class Empty(FakeChat):
    def history(self, room, after):
        return 200, {"Success": True, "Data": [], "Next": "more"}


def test_a_history_without_end_or_order_ends_the_reading():
    for make, status, said in outcomes([(make, make()) for make in (Endless, Repeats, Backwards, Crawls, Empty)], "--check-history"):
        assert status in (1, 2) and "the promises held" not in said, (make, status, said)
        assert make is Empty or "the history of room" in said, (make, status, said)


class LongPages(FakeChat):
    def history(self, room, after):
        return 200, {"Success": True, "Data": self.rooms[room][:1] * 5000, "Next": "more"}


def test_a_page_longer_than_asked_for_is_not_kept():
    with LongPages() as server:
        status, said = start(server, "--check-history").end()
        assert status == 2 and "more messages than were asked for" in said, (status, said)


class Slow(Crawls):
    def __init__(self):
        super().__init__()
        self.asked = threading.Event()

    def history(self, room, after):
        self.asked.set()
        time.sleep(0.1)
        return super().history(room, after)


def test_ctrl_c_ends_the_reading_of_a_history_and_the_rooms_are_deleted():
    with Slow() as server:
        load = start(server, "--check-history", "--rooms", "3")
        assert server.asked.wait(60)
        load.process.terminate()
        status, said = load.end()
        assert status == 2 and "could not be read: interrupted" in said, (status, said)
        assert server.count("DELETE", "/rooms/") == 3


class Odd(FakeChat):
    """In every form that a server may choose: other orders of keys, numbers as floats, fragments, pings, answers late."""

    def copy(self, peer, room, message):
        peer.send(b"ping", opcode=9)
        peer.fragments({"Seq": float(self.seq(message["Seq"])), "RoomID": room, "New": {"x": [1, None]}, "Data": message,
                        "Type": "new_message"})

    def answer(self, peer, request, message):
        peer.fragments({"Seq": self.seq(message["Seq"]), "Success": True, "RoomID": request["RoomID"], "Data": message,
                        "Sign": request["Sign"], "Type": "response"})

    def history(self, room, after):
        page = [message for message in self.rooms[room] if message["Seq"] > after]
        return 200, {"Next": page[24]["Seq"] if len(page) > 25 else None, "Data": page[:25], "More": True, "Success": True}


def test_a_chat_that_is_right_in_other_words_is_right():
    with Odd() as server:
        status, said = start(server, "--check-history", "--rate", "60", "--uploads", "3", "--churn", "2").end()
        assert status == 0 and "the promises held" in said, (status, said)


class Twice(FakeChat):
    def history(self, room, after):
        status, answer = super().history(room, after)
        answer["Data"] = [message for message in answer["Data"] for _ in range(2)]
        return status, answer


def test_a_message_that_is_twice_on_a_page_is_doubled():
    with Twice() as server:
        status, said = start(server, "--check-history").end()
        assert status == 1 and "is in the history twice" in said, (status, said)


class ManyTexts(FakeChat):
    """Every message is refused with another code, a long one."""

    def message(self, peer, request):
        for _ in range(40):
            self.refuse(peer, request, f"{uuid.uuid4()}{'x' * 10_000}: no", RetryAfter=1)


def test_a_thousand_long_error_codes_are_a_short_report(tmp_path):
    with ManyTexts() as server:
        status, said = start(server, "--json", tmp_path / "load.json").end()
    assert status == 2 and len(said) < 20_000, (status, len(said))
    errors = json.loads((tmp_path / "load.json").read_text())["Errors"]
    assert len(errors) <= 128 and max(map(len, errors)) <= 200, len(errors)
    assert sum(errors.values()) > 700


class HugeAnswers(FakeChat):
    hundred_megabytes = b'{"Success":true,"Data":[' + b"0," * 50_000_000 + b"0]}"

    def rest(self, method, url, body):
        status, answer = super().rest(method, url, body)
        if "/messages" in url.path:
            return status, self.hundred_megabytes
        return status, answer


class Redirects(FakeChat):
    def rest(self, method, url, body):
        if "/messages" in url.path:
            return 302, b"", f"Location: {self.url}{url.path}"
        return super().rest(method, url, body)


class Deep(FakeChat):
    def rest(self, method, url, body):
        status, answer = super().rest(method, url, body)
        return (status, b"[" * 1_000_000) if "/messages" in url.path else (status, answer)


def test_answers_of_a_hundred_megabytes_redirects_and_deep_ones_are_errors():
    for make, status, said in outcomes([(make, make()) for make in (HugeAnswers, Redirects, Deep)], "--check-history", "--uploads", "1"):
        assert status == 2 and "the history of room" in said, (make, status, said)


class StoresAndFails(FakeChat):
    """A draft is stored and told to all, and its first answer is an error of the server."""

    def draft(self, room, body):
        known = any(message["Sign"] == body["Sign"] for message in self.rooms[room])
        answer = super().draft(room, body)
        return answer if known else self.value


def test_a_file_that_was_stored_in_spite_of_an_error_is_not_called_doubled():
    values = [(500, b""), (500, b'{"Error":{"Code":"internal"}}'), (201, b"<html>"), (200, b"{}"), (302, b"")]
    for value, status, said in outcomes(variants(StoresAndFails, values), "--uploads", "3", "--check-history"):
        assert status == 0, (value, status, said)


class NoBody(FakeChat):
    """Garbage instead of every answer by REST."""

    def rest(self, method, url, body):
        return self.value


def test_garbage_by_rest_is_no_chat():
    values = [(200, b""), (200, b"{}"), (200, b'{"Success":true}'), (201, b'{"Data":[]}'), (200, b"\xff\xfe"), (599, b"[]"), (204, b"")]
    for value, status, said in outcomes(variants(NoBody, values)):
        assert status == 2, (value, status, said)


def limited(server, soft, hard, *words):
    return subprocess.run(
        [program("chat-load"), "run", "--url", server.url, *SMALL, *words], capture_output=True, text=True, timeout=120,
        env={**os.environ, "JWT_SECRET": SECRET}, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))


def test_too_few_descriptors_are_said_before_the_run():
    with FakeChat() as server:
        done = limited(server, 64, 64, "--users", "100")
        assert done.returncode == 2 and re.search(r"--users 100 needs \d+ open files.* 64: run 'ulimit -n \d+'", done.stderr), done
        assert not server.calls
        # The soft limit is raised to the hard one.
        done = limited(server, 20, 1024, "--users", "60")
        assert done.returncode == 0, done


def test_ctrl_c_ends_even_what_is_behind_its_rate():
    with FakeChat() as server:
        load = start(server, "--churn", "1000000", "--uploads", "1000000", "--upload-size", "1", "--duration", "10m", "--in-flight", "50")
        load.wait_until_it_sends()
        load.process.terminate()
        status, said = load.end()
        assert status in (0, 2), (status, said)

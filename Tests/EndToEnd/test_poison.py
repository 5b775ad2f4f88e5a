"""A command that crashes every worker goes to the dead letter queue, with reason and stack; its room continues."""

import os
import signal
import threading
import time

from conftest import run_program


def test_a_command_that_crashes_three_workers_is_put_aside(ann, bob, psql, pids):
    room = ann.group(bob)
    earlier = run_program("queue-worker", "dead", "list")
    holder, watcher = psql(), psql()
    holder.ask(f"BEGIN; SELECT 1 FROM rooms WHERE id = '{room}' FOR UPDATE")

    # Its worker waits for the room; then it gets the signal of a crash.
    answers = []
    sending = threading.Thread(target=lambda: answers.append(
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": "poison", "Sign": "poison"})))
    sending.start()
    crashes, known, end = 0, set(), time.monotonic() + 60
    while not (letters := [line for line in run_program("queue-worker", "dead", "list").splitlines()
                           if "crashed three" in line and line not in earlier]):
        assert time.monotonic() < end, f"not put aside after {crashes} crashes"
        # The sessions of dead workers keep waiting for a while.
        waiting = set(watcher.ask("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                                 "application_name = 'queue-worker'"))
        if waiting - known:
            known |= waiting
            for pid in [pid for name, kind, pid in pids() if (name, kind) == ("queue-worker", "worker")]:
                try:
                    os.kill(pid, signal.SIGABRT)
                except ProcessLookupError:
                    pass
            crashes += 1
        time.sleep(0.2)
    sending.join()
    assert answers[0].status_code in (202, 500)
    # The signals of one round may hit a worker and its direct successor.
    assert len(letters) == 1 and 2 <= crashes <= 3
    letter = letters[0].split()[0]
    report = run_program("queue-worker", "dead", "show", letter)
    assert "send in room " + room in report and "died by signal 6" in report and "poison" not in report
    assert report.count("queue-worker(") > 3, "there is no stack"

    # The room continues, and the letter can be retried: its command is unchanged.
    holder.ask("ROLLBACK")
    ann.rest("POST", f"/rooms/{room}/messages", {"Content": "after"}, expect=201)
    assert [message["Content"] for message in ann.history(room) if message["MessageType"] == "direct"] == ["after"]
    assert run_program("queue-worker", "dead", "retry", letter) == "1 to be tried again\n"
    end = time.monotonic() + 20
    while "poison" not in [message["Content"] for message in ann.history(room)]:
        assert time.monotonic() < end, "the retried letter was not stored"
        time.sleep(0.1)
    assert letter not in run_program("queue-worker", "dead", "list")


def test_an_unreadable_message_is_put_aside_and_can_be_dropped(psql, settings):
    import pika
    parameters = pika.URLParameters(settings["RABBITMQ_URL"])
    connection = pika.BlockingConnection(parameters)
    queue = run_program("queue-worker", "queues", "status").splitlines()[-1].split()[0]
    connection.channel().basic_publish("", queue, b"no command at all")
    connection.close()
    end = time.monotonic() + 20
    while not (letters := [line for line in run_program("queue-worker", "dead", "list").splitlines() if "cannot be read" in line]):
        assert time.monotonic() < end
        time.sleep(0.2)
    letter = letters[0].split()[0]
    assert run_program("queue-worker", "dead", "drop", letter) == "1 dropped\n"
    assert letter not in run_program("queue-worker", "dead", "list")

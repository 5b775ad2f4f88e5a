"""A command that crashes every worker goes to the dead letter queue, with reason and stack; its room continues."""

import os
import signal
import threading

from conftest import run_program
from waiting import eventually


def letters_with(reason):
    return [line for line in run_program("queue-worker", "dead", "list").splitlines() if reason in line]


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
    crashes, known = 0, set()

    def letters_after_a_crash():
        nonlocal crashes
        if letters := [line for line in letters_with("crashed three") if line not in earlier]:
            return letters
        # The sessions of dead workers keep waiting for a while.
        waiting = set(watcher.ask("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                                 "application_name = 'queue-worker'"))
        if waiting - known:
            known.update(waiting)
            for pid in [pid for name, kind, pid in pids() if (name, kind) == ("queue-worker", "worker")]:
                try:
                    os.kill(pid, signal.SIGABRT)
                except ProcessLookupError:
                    pass
            crashes += 1
        return None

    letters = eventually(letters_after_a_crash, why=lambda: f"not put aside after {crashes} crashes", pause=0.2)
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
    eventually(lambda: "poison" in [message["Content"] for message in ann.history(room)], 20,
               lambda: "the retried letter was not stored", pause=0.1)
    assert letter not in run_program("queue-worker", "dead", "list")


def test_an_unreadable_message_is_put_aside_and_can_be_dropped(psql, settings):
    import pika
    parameters = pika.URLParameters(settings["RABBITMQ_URL"])
    connection = pika.BlockingConnection(parameters)
    queue = run_program("queue-worker", "queues", "status").splitlines()[-1].split()[0]
    connection.channel().basic_publish("", queue, b"no command at all")
    connection.close()
    letters = eventually(lambda: letters_with("cannot be read"), 20, pause=0.2)
    letter = letters[0].split()[0]
    assert run_program("queue-worker", "dead", "drop", letter) == "1 dropped\n"
    assert letter not in run_program("queue-worker", "dead", "list")

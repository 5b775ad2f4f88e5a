"""Commands whose standard input, output or error is closed, full, or not ready: no output is lost without an error."""

import json
import os
import subprocess
import threading
import time

import pytest
from conftest import program
from importing import small_room, text
from waiting import eventually


def shell(base, script, *words, **options):
    """A line of the shell: "$@" is the command."""
    return subprocess.run(["bash", "-c", script, "-", *words], env=base.environment, timeout=120, stdin=options.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_an_export_to_nowhere_is_an_error_and_nothing_is_said_to_the_database(empty):
    empty.store(small_room(messages=300))
    before = empty.run("export", "--all")
    for script, sentence in (('exec "$@" >&-', b"cannot write: Bad file descriptor"), ('exec "$@" > /dev/full', b"cannot write: No space left on device"),
                             ('exec "$@" <&- >&-', b"cannot write: Bad file descriptor"), ('exec "$@" >&- 2>&-', b""), ('exec "$@" <&- >&- 2>&-', b"")):
        answer = shell(empty, script, *empty.command("export", "--all"))
        assert answer.returncode == 1 and sentence in answer.stderr and answer.stdout == b"", (script, answer)
    # Without the others it is complete.
    assert shell(empty, 'exec "$@" <&- 2>&-', *empty.command("export", "--all")).stdout == before


def test_an_import_without_an_input_or_an_output_is_an_error(empty):
    answer = shell(empty, 'exec "$@" <&-', *empty.command("import", "-"))
    assert answer.returncode == 1 and b"cannot read the standard input: Bad file descriptor" in answer.stderr, answer
    for script in ('exec "$@" >&-', 'exec "$@" > /dev/full'):
        answer = shell(empty, script, *empty.command("import", "/dev/null", "--dry-run"))
        assert answer.returncode == 1 and b"cannot write: " in answer.stderr, answer
    assert shell(empty, 'exec "$@" 2>&-', *empty.command("import", "/dev/null", "--dry-run")).stdout == b"0 lines are good; nothing was stored\n"


@pytest.mark.parametrize("words", [("fcgi-api", "migrate", "status"), ("fcgi-api", "keys", "list"), ("fcgi-api", "routes"), ("fcgi-api", "status"),
                                   ("queue-worker", "queues", "status"), ("queue-worker", "dead", "list"), ("ws-relay", "status"), ("queue-worker", "status")],
                         ids=" ".join)
def test_what_a_command_prints_is_complete_or_its_exit_code_says_that_it_is_not(here, words):
    command = [program(words[0]), *words[1:], "-c", os.environ["TEST_ENV_FILE"]]
    good = shell(here, 'exec "$@"', *command)
    assert good.returncode == 0, good
    for script in ('exec "$@" > /dev/full', 'exec "$@" >&-'):
        answer = shell(here, script, *command)
        assert answer.returncode == 1 or good.stdout == b"", (script, answer)


@pytest.mark.parametrize("name", ["fcgi-api", "ws-relay", "queue-worker"])
def test_no_program_takes_a_standard_number_for_a_socket(here, name):
    process = subprocess.Popen(["bash", "-c", 'exec "$@" <&- 2>&-', "-", program(name), "status", "--watch", "-c", os.environ["TEST_ENV_FILE"]],
                               env=here.environment, stdout=subprocess.PIPE)
    try:
        process.stdout.read(1)
        assert [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in (0, 2)] == ["/dev/null"] * 2
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_chat_load_without_standard_files_says_by_its_exit_code_that_it_cannot_reach_anything(here):
    for script in ('exec "$@" <&- >&- 2>&-', 'exec "$@" <&- >&-'):
        answer = shell(here, script, program("chat-load"), "run", "--url", "http://127.0.0.1:1", "--duration", "1s")
        assert answer.returncode == 2, answer


def test_an_output_that_is_not_ready_is_waited_for(empty, tmp_path):
    """Another program has made it non-blocking, as ssh and Node.js do."""
    empty.store(small_room(messages=20_000))
    whole = empty.run("export", "--all")
    assert len(whole) > 3 << 20
    path = tmp_path / "export.jsonl"
    path.write_text("".join(json.dumps({"type": "user", "user": {"username": f"user{number}", "nickname": "x" * 100}}) + "\n" for number in range(20_000)))
    printed = empty.run("import", path, "--from", "mattermost", "--print")
    for words, expected in ((("export", "--all"), whole), (("import", path, "--from", "mattermost", "--print"), printed)):
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        process = subprocess.Popen(empty.command(*words), env=empty.environment, stdout=writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            first = pipe.read(10)
            eventually(lambda: "S" in open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[0] or None, 30)  # noqa: B023, SIM115
            assert first + pipe.read() == expected
        assert process.wait(30) == 0


def test_an_input_that_is_not_ready_is_waited_for(empty):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = subprocess.Popen(empty.command("import", "-"), env=empty.environment, stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)

    def write():
        with os.fdopen(writing, "wb") as pipe:
            for line in text(small_room()).splitlines(keepends=True):
                pipe.write(line)
                pipe.flush()
                time.sleep(0.05)
    thread = threading.Thread(target=write)
    thread.start()
    assert b"5 messages" in process.communicate(timeout=60)[0] and process.returncode == 0
    thread.join()


def test_a_pipe_with_a_name_is_refused_and_that_of_the_shell_is_read(empty, tmp_path):
    fifo = tmp_path / "a\x1b[2Jfifo"
    os.mkfifo(fifo)
    for words in ((fifo,), (fifo, "--from", "mattermost")):
        answer = shell(empty, 'exec "$@"', *map(str, empty.command("import", *words)))
        assert answer.returncode == 1 and b"a?[2Jfifo is no file: - reads the standard input" in answer.stderr, answer
    file = tmp_path / "file.ndjson"
    file.write_bytes(text(small_room()))
    line = 'exec "$1" import <(cat "$2") --dry-run -c "$3"'
    said = shell(empty, line, str(program("fcgi-api")), str(file), os.environ["TEST_ENV_FILE"])
    assert said.stdout == b"8 lines are good; nothing was stored\n", said
    with file.open("rb") as opened:
        assert b"8 lines" in shell(empty, 'exec "$@"', *map(str, empty.command("import", "/dev/stdin", "--dry-run")), stdin=opened).stdout
    answer = shell(empty, 'exec "$@"', *map(str, empty.command("import", tmp_path)))
    assert answer.returncode == 1 and b"is a folder" in answer.stderr

"""`make run` in everyday use: killed, restarted at once, ended with Ctrl-C."""

import os
import signal
import subprocess

import pytest
from conftest import CHECKOUT


@pytest.fixture
def stack(tmp_path):
    """A separate stack beside the one under test, in a path with a space."""
    # Without the variables that make passes to its children.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "CHAT_"))}
    bin_folder = CHECKOUT / os.environ.get("CHAT_BIN", ".build/release")
    env |= {"CHAT_DIR": str(tmp_path / "of its own"), "CHAT_PORT": "free", "CHAT_BIN": str(bin_folder),
            "DATABASE_URL": "postgresql://elsewhere/chat"}
    begun = []

    def run():
        process = subprocess.Popen(["make", "run"], cwd=CHECKOUT, env=env, stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        begun.append(process)
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                return process, said
        raise AssertionError(f"make run ended: {said}")

    yield run, lambda: subprocess.run(["make", "pids"], cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, text=True).stdout
    subprocess.run([CHECKOUT / "deploy/stack/stack", "clean"], cwd=CHECKOUT, env=env)
    for process in begun:
        process.kill()


def test_killed_and_started_again_at_once(stack):
    run, pids = stack
    first, said = run()
    assert "chat: not used from the environment: DATABASE_URL. This stack has" in said
    first.kill()
    again, _ = run()
    for name in ("postgres", "redis", "rabbitmq", "nginx", "seaweedfs", "fcgi-api", "ws-relay", "queue-worker"):
        assert f"{name} master " in pids()
    # Like a terminal: to the whole foreground group.
    os.killpg(again.pid, signal.SIGINT)
    again.wait(60)
    assert pids() == ""


@pytest.mark.parametrize("word, said", [("pids", ""), ("down", "chat: nothing was running\n")])
def test_a_checkout_in_which_nothing_ever_ran(tmp_path, word, said):
    """Every word begins alike, `make run` too: there are neither programs of this call nor those of an earlier one."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "CHAT_"))}
    done = subprocess.run([CHECKOUT / "deploy/stack/stack", word], cwd=CHECKOUT, capture_output=True, text=True,
                          env=env | {"CHAT_DIR": str(tmp_path / "new")})
    assert (done.returncode, done.stdout + done.stderr) == (0, said)

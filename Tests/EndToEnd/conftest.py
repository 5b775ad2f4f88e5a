"""The stack under test: BASE_URL and TEST_ENV_FILE, as set by `make test`."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import uuid
from pathlib import Path

import client
import described
import pytest
from client import User
from waiting import eventually

CHECKOUT = Path(__file__).resolve().parents[2]


# Slow tests that have a shorter version beside them.
thorough = pytest.mark.skipif(not os.environ.get("THOROUGH"), reason="THOROUGH=1 runs it: it takes its time")


def pytest_configure():
    # As after Ctrl-C: what a test started ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True)
def frames_as_described():
    described.problems.clear()
    yield
    assert not described.problems, f"{len(described.problems)} frames that asyncapi.yaml has not: {described.problems[0]}"


@pytest.fixture(autouse=True)
def orders_without_holes():
    client.holes.clear()
    yield
    assert not client.holes, f"{len(client.holes)} frames out of their room's order: {client.holes[0]}"


@pytest.fixture(scope="session")
def base_url():
    url = os.environ.get("BASE_URL")
    if not url:
        pytest.exit("BASE_URL is not set: run these tests with 'make test'.", 2)
    return url


def read_settings():
    lines = Path(os.environ["TEST_ENV_FILE"]).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture(scope="session")
def settings():
    return read_settings()


@pytest.fixture(scope="session")
def secret(settings):
    return settings["JWT_SECRET"]


@pytest.fixture
def make_user(base_url, secret):
    return lambda: User(base_url, secret)


@pytest.fixture
def ann(make_user):
    return make_user()


@pytest.fixture
def bob(make_user):
    return make_user()


def program(name):
    return CHECKOUT / os.environ.get("CHAT_BIN", ".build/release") / name


def run_program(name, *words):
    """Runs a program with the settings of the stack under test and returns its output."""
    return subprocess.run([program(name), *words, "-c", os.environ["TEST_ENV_FILE"]], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True).stdout


@contextlib.contextmanager
def server_key(scope):
    """A key of the host application for the time of the block."""
    name = f"test-{scope}-{uuid.uuid4().hex[:12]}"
    yield run_program("fcgi-api", "keys", "add", "--name", name, "--scope", scope).strip()
    run_program("fcgi-api", "keys", "revoke", "--name", name)


def stack_pids():
    """[(name, master or worker, PID)] of the stack under test, from the kernel."""
    answer = subprocess.run([CHECKOUT / "deploy/stack/stack", "pids"], stdout=subprocess.PIPE, text=True, check=True)
    return [(name, kind, int(pid)) for name, kind, pid in map(str.split, answer.stdout.splitlines())]


@pytest.fixture(scope="session")
def pids():
    return stack_pids


@pytest.fixture
def psql(settings):
    """Opens database sessions for actions that no client can do, such as holding a lock."""
    program = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]

    class Session:
        """One connection, open until its input ends."""

        def __init__(self):
            self.process = subprocess.Popen([program, "-XqAt", settings["DATABASE_URL"]], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True, bufsize=1)

        def ask(self, sql):
            self.process.stdin.write(f"{sql};\nSELECT 'end';\n")
            rows = []
            while (line := self.process.stdout.readline().strip()) != "end":
                rows.append(line)
            return rows

        def close(self):
            self.process.stdin.close()
            self.process.wait()

    sessions = []

    def opened():
        sessions.append(Session())
        return sessions[-1]
    yield opened
    for session in sessions:
        session.close()


def signal_all(pids, server, number):
    for pid in [pid for name, _, pid in pids() if name == server]:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


@pytest.fixture
def reconfigure(pids):
    """A function that gives programs other settings and reloads them (HUP); afterwards the original settings return."""
    path = Path(os.environ["TEST_ENV_FILE"])
    before, touched = path.read_text(), set()

    def apply(text, programs):
        old = workers(pids, programs)
        path.write_text(text)
        for name, kind, pid in pids():
            if name in programs and kind == "master":
                os.kill(pid, signal.SIGHUP)
        eventually(lambda: (now := workers(pids, programs)) and not now & old, why=lambda: f"{programs} did not reload: see their logs")

    def change(*programs, **values):
        touched.update(programs)
        lines = [line for line in before.splitlines() if line.split("=", 1)[0] not in values]
        apply("\n".join(lines + [f"{name}={value}" for name, value in values.items()]) + "\n", programs)

    yield change
    if touched:
        apply(before, touched)


def workers(pids, programs):
    return {pid for name, kind, pid in pids() if name in programs and kind == "worker"}


@pytest.fixture
def here(settings):
    """The database of the stack."""
    from importing import Base
    return Base(settings["DATABASE_URL"])


@pytest.fixture
def make_base(settings, here):
    from importing import Base
    made = []

    def make():
        name = f"import_{secrets.token_hex(6)}"
        here.ask(f"CREATE DATABASE {name}")
        made.append(name)
        url = settings["DATABASE_URL"]
        base = Base(re.sub(r"(dbname=)\S+", rf"\g<1>{name}", url) if "dbname=" in url
                    else re.sub(r"(://[^/]*/)[^?]*", rf"\g<1>{name}", url))
        base.run("migrate", "up")
        return base
    yield make
    for name in made:
        here.ask(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(make_base):
    return make_base()

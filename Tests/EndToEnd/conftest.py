"""Where the stack under test is: BASE_URL and TEST_ENV_FILE, as `make test` sets them."""

import os
import subprocess
from pathlib import Path

import pytest
from client import User

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def base_url():
    url = os.environ.get("BASE_URL")
    if not url:
        pytest.exit("BASE_URL is not set: run these tests with 'make test'.", 2)
    return url


@pytest.fixture(scope="session")
def settings():
    lines = Path(os.environ["TEST_ENV_FILE"]).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


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


@pytest.fixture(scope="session")
def pids():
    """A question to the kernel: [(name, master or worker, PID)] of the stack under test."""
    def ask():
        answer = subprocess.run([CHECKOUT / "deploy/stack/stack", "pids"], stdout=subprocess.PIPE, text=True, check=True)
        return [(name, kind, int(pid)) for name, kind, pid in map(str.split, answer.stdout.splitlines())]
    return ask

"""The shipped systemd units: their sandbox, and nginx's access to the sockets."""

import configparser
import re
import shutil
import subprocess

import pytest
from conftest import CHECKOUT

UNITS = CHECKOUT / "deploy/systemd"
SERVICES = ["chat-fcgi-api", "chat-queue-worker", "chat-ws-relay"]


class Unit(configparser.ConfigParser):
    """The last value of a name that occurs several times."""

    def __init__(self, path):
        super().__init__(strict=False, interpolation=None, comment_prefixes=("#",))
        self.optionxform = str
        self.read(path)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_reaches_little(name):
    answer = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", UNITS / f"{name}.service"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", answer.stdout)
    assert found, answer.stdout[-500:]
    print(f"{name}: {found[1]}")
    assert float(found[1]) <= 2.0


@pytest.mark.parametrize("name", SERVICES)
def test_nginx_reaches_the_sockets(name):
    unit = Unit(UNITS / f"{name}.service")
    service = unit["Service"]
    assert service["SupplementaryGroups"] == "www-data" and service["RuntimeDirectoryMode"] == "0711"
    assert service["StateDirectory"] == "chat" and service["StateDirectoryMode"] == "0711"
    assert service["RestartSec"] and unit["Unit"]["StartLimitIntervalSec"] == "0"
    lines = (UNITS / "chat.tmpfiles.conf").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["d /run/chat 0711 chat chat -"]

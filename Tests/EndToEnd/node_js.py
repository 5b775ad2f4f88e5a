"""Node, for the tests of clients/js."""

import os
import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="session", autouse=True)
def node_is_here():
    node = shutil.which("node")
    version = node and subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    if not node or int(re.match(r"v(\d+)", version).group(1)) < 20:
        reason = f"Node 20 or newer is missing ({version or 'none'}): the tests of clients/js need it"
        # The CI machines have it: a missing one is an error there.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)

"""PgBouncer in transaction mode between the programs and PostgreSQL, with few connections for all of them."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import uploads
from conftest import CHECKOUT
from other_stack import OtherStack
from ports import free_port
from relays import workers_of
from waiting import eventually, eventually_async, stop
from writers import check, write_during

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "12"))


class PgBouncer:
    def __init__(self, postgres):
        self.port = free_port()
        # It refuses to run as root, and another user reads no folder of pytest's.
        self.folder = folder = Path(tempfile.mkdtemp(prefix="chat-pgbouncer-"))
        folder.chmod(0o755)
        (folder / "pgbouncer.ini").write_text(f"""[databases]
chat = host={postgres} dbname=chat user=chat
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
admin_users = chat
pool_mode = transaction
default_pool_size = 4
server_reset_query_always = 0
""")
        as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen([*as_other, "/usr/sbin/pgbouncer", folder / "pgbouncer.ini"], stderr=log)
        eventually(lambda: self.psql("pgbouncer", "SHOW VERSION"), 20, lambda: (folder / "log").read_text())

    def close(self):
        stop(self.process)
        shutil.rmtree(self.folder)

    @property
    def url(self):
        return f"postgresql://chat@127.0.0.1:{self.port}/chat"

    def psql(self, database, sql):
        return psql(f"postgresql://chat@127.0.0.1:{self.port}/{database}", sql)


def psql(url, sql):
    tool = sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))[-1]
    return subprocess.run([tool, "-XqAt", url, "-c", sql], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Set up as docs/servers.md says."""
    found = OtherStack(tmp_path_factory.mktemp("of-pgbouncer"))
    direct = found.settings["DATABASE_URL"]
    statements = re.search(r"PgBouncer in transaction mode.*?```sql\n(.*?)```", (CHECKOUT / "docs/servers.md").read_text(), re.S)[1]
    for statement in statements.strip().splitlines():
        psql(direct, statement)
    found.bouncer = PgBouncer(re.search(r"host=([^&]+)", direct)[1])
    found.lead(DATABASE_URL=found.bouncer.url, DATABASE_DIRECT_URL=direct, DATABASE_PREPARED="no")
    yield found
    found.close()
    found.bouncer.close()


def test_all_programs_go_through_it_and_share_its_connections(stack):
    def clients():
        return stack.bouncer.psql("pgbouncer", "SHOW CLIENTS")
    eventually(lambda: all(name in clients() for name in ("fcgi-api", "ws-relay", "queue-worker")), 30, clients)
    servers = stack.bouncer.psql("pgbouncer", "SHOW SERVERS")
    assert len([line for line in clients().splitlines() if "|chat|chat|" in line]) > 8
    assert len([line for line in servers.splitlines() if "|chat|chat|" in line]) <= 4


def test_limits_of_the_role_are_in_force(stack):
    assert stack.bouncer.psql("chat", "SHOW statement_timeout") == "10s"
    assert stack.bouncer.psql("chat", "SHOW idle_in_transaction_session_timeout") == "3s"


async def bouncer_and_workers_killed(stack, ledger):
    """It restarts: connections and transactions end. Then workers end amid transactions."""
    for _ in range(2):
        await asyncio.sleep(SECONDS / 6)
        await asyncio.to_thread(stack.bouncer.psql, "pgbouncer", "KILL chat")
        await asyncio.sleep(1)
        await asyncio.to_thread(stack.bouncer.psql, "pgbouncer", "RESUME chat")
        await asyncio.sleep(SECONDS / 6)
        master = await asyncio.to_thread(stack.master, "queue-worker")
        before = set(workers_of(master))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await eventually_async(lambda: (now := set(workers_of(master))) and not now & before, 30)


def test_nothing_is_lost_or_doubled(stack):
    found = asyncio.run(write_during(stack.base_url, stack.secret, "bouncer",
                                     lambda ledger: bouncer_and_workers_killed(stack, ledger), SECONDS))
    check(*found, kills=False)
    print(f"\n{len(found[0].acknowledged)} messages acknowledged")


def test_what_reads_and_files_need_works(stack):
    ann, ben = stack.user(), stack.user()
    room = ann.group(ben, name="Through the bouncer")
    for number in range(40):
        ann.rest("POST", f"/rooms/{room}/messages", {"Content": f"needle {number}"}, 201)
    assert len(ben.history(room)) >= 40
    eventually(lambda: len(ben.rest("GET", "/search?q=needle", expect=200).json()["Data"]) > 0)
    file = uploads.begin(ann, room)
    uploads.post(ann, file, b"the content")
    assert eventually(lambda: uploads.bytes_of(ben, file).content) == b"the content"

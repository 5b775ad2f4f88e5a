"""A standby of the stack's PostgreSQL: a base backup that follows it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from waiting import eventually, stop

BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []


class Replica:
    def __init__(self, primary):
        """`primary` is its libpq address; the standby has one unix socket, too."""
        self.folder = Path(tempfile.mkdtemp(prefix="chat-replica-", dir="/var/tmp"))
        self.folder.chmod(0o711)
        self.data, self.sockets = self.folder / "data", self.folder / "s"
        for folder in (self.data, self.sockets):
            folder.mkdir(mode=0o700)
            if AS_POSTGRES:
                os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
        self.url = f"postgresql://chat@/chat?host={self.sockets}"
        self.run("pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "-d", primary)
        self.log = open(self.folder / "log", "wb")
        self.process = None
        self.start()

    def run(self, program, *words):
        subprocess.run([*AS_POSTGRES, BIN / program, *words], check=True, env={**os.environ, "HOME": "/tmp"}, timeout=120)

    def start(self):
        self.process = subprocess.Popen(
            [*AS_POSTGRES, "setpriv", "--pdeathsig", "INT", BIN / "postgres", "-D", self.data,
             "-c", "listen_addresses=", "-c", f"unix_socket_directories={self.sockets}", "-c", "max_connections=200",
             "-c", "hot_standby=on"], stderr=self.log, stdout=self.log, env={**os.environ, "HOME": "/tmp"})
        eventually(lambda: self.ask("SELECT pg_is_in_recovery()") == "t", 60, lambda: (self.folder / "log").read_text()[-2000:])

    def ask(self, sql):
        answer = subprocess.run([BIN / "psql", "-XqAt", self.url, "-c", sql], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True, timeout=30)
        return answer.stdout.strip()

    def pause(self):
        """It receives everything and shows nothing of it from now on."""
        self.ask("SELECT pg_wal_replay_pause()")
        eventually(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")

    def resume(self):
        self.ask("SELECT pg_wal_replay_resume()")

    def position(self):
        return self.ask("SELECT pg_last_wal_replay_lsn()")

    def close(self):
        stop(self.process)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

"""A second host beside the stack under test: a queue-worker with its servers and a RUN_DIR of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from conftest import program, read_settings, run_program
from ports import free_port
from waiting import eventually


class Host:
    def __init__(self, folder, **settings):
        self.folder, self.log, self.file = folder, folder / "log", folder / "chat.env"
        self.settings = read_settings() | {"RUN_DIR": str(folder), "WORKER_PROCESSES": "2"} | settings
        self.name = f"{socket.gethostname()}:{folder}"
        self.process = None

    def start(self, **settings):
        self.settings |= settings
        self.file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        with open(self.log, "a") as log:
            self.process = subprocess.Popen([program("queue-worker"), "serve", "-c", self.file], stderr=log,
                                            start_new_session=True)

    def kill(self):
        """As by a power failure: its master and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


class Line:
    """A host's own way to a server of the stack, which can refuse, or fall silent without notice."""

    def __init__(self, server):
        settings, self.port = read_settings(), free_port()
        if server == "PostgreSQL":
            folder = settings["DATABASE_URL"].split("host=")[1].split("&")[0].split()[0].replace("%2F", "/")
            self.target = f"unix:{folder}/.s.PGSQL.5432"
            self.settings = {"DATABASE_URL": f"host=127.0.0.1 port={self.port} user=chat dbname=chat"}
        else:
            self.target = settings["REDIS_URL"].replace("unix://", "unix:")
            self.settings = {"REDIS_URL": f"redis://127.0.0.1:{self.port}"}
        self.process = None
        self.open()

    def open(self):
        words = [sys.executable, "-m", "chaos.network", f"tcp:127.0.0.1:{self.port}", self.target]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parent)
        self.process.stdout.readline()  # it listens

    def cut(self, how):
        self.process.send_signal({"refused": signal.SIGKILL, "silent": signal.SIGSTOP}[how])

    def heal(self):
        """Anything sent into the silence arrives late."""
        self.process.send_signal(signal.SIGCONT)
        if self.process.poll() is not None:
            self.open()

    def close(self):
        self.process.kill()
        self.process.wait()


def batches(file):
    """The batches that the workers of the host with these settings have carried out."""
    status = subprocess.run([program("queue-worker"), "status", "--json", "-c", file], stdout=subprocess.PIPE, text=True,
                            check=True)
    return sum(pool["requests"] for pool in json.loads(status.stdout)["pools"] if pool["name"] == "queues")


def shares():
    """{host: number of queues that its workers consume}, as all hosts' workers say."""
    status = run_program("queue-worker", "queues", "status")
    open_part = status[status.rfind("generation "):]
    return {host: int(count) for host, count in re.findall(r"^  (\S+:/\S+): (\d+) queues$", open_part, re.M)}


def wait_for(holds, seconds=60):
    """Until the shares are so."""
    return eventually(lambda: holds(shares()), seconds, lambda: run_program("queue-worker", "queues", "status"), pause=0.5)

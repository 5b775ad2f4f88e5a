"""A Debian booted by systemd-nspawn from INSTALL_ROOT, with its own loopback as the only network."""

import ctypes
import os
import subprocess
import time
from pathlib import Path

from documents import commands

CLONE_NEWNET = 0x40000000


class Machine:
    def __init__(self, root):
        self.root = Path(root)
        self.log = open(self.root.parent / "console", "w")
        words = ["systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--private-network", "--boot",
                 "--console=pipe", "--kill-signal=SIGRTMIN+3", "--hostname=chat-test"]
        # Libraries for dynamically linked programs, during work on these tests.
        if bind := os.environ.get("INSTALL_BIND"):
            words.append(f"--bind-ro={bind}")
        self.words = words
        self.boot()

    def boot(self):
        self.nspawn = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        return self.wait_booted()

    @property
    def leader(self):
        """The PID of the machine's init on the host; None while there is none."""
        try:
            found = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
            return next((int(pid) for pid in found if Path(f"/proc/{pid}/comm").read_text() == "systemd\n"), None)
        except OSError:
            return None

    def enter(self, script, **options):
        words = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", "-n", "-C", "sh", "-c", f"cd / && {script}"]
        # None of this machine's environment variables.
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", **options.pop("env", {})}
        return subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)

    def run(self, script, fails=False, **options):
        """Runs a script and returns its output; an unexpected exit status fails the test."""
        done = self.enter(script, **options)
        assert (done.returncode != 0) == fails, f"{script}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def document(self, page, heading, place=0, folder="/", env=None):
        """Runs the commands of a documentation page unchanged and returns their output; a failing one fails the test."""
        env = {"DEBIAN_FRONTEND": "noninteractive", **(env or {})}
        script = f"cd {folder} && exec bash -euo pipefail -s"
        # dpkg must not ask about a file that both sides changed: nobody could answer.
        self.run("echo 'Dpkg::Options:: \"--force-confold\";' > /etc/apt/apt.conf.d/99test")
        return self.run(script, input=commands(page, heading, place), env=env, timeout=400)

    def wait_booted(self, seconds=120):
        end = time.monotonic() + seconds
        while True:
            assert self.nspawn.poll() is None and time.monotonic() < end, "the machine did not boot; see its console"
            state = self.leader and self.enter("systemctl is-system-running").stdout.strip()
            if state in ("running", "degraded"):
                break
            time.sleep(0.2)
        self.join_network()
        return state

    def join_network(self):
        """This thread, and threads that it starts, connect to the machine's loopback from now on."""
        with open(f"/proc/{self.leader}/ns/net") as namespace:
            assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def reboot(self):
        self.enter("systemctl reboot")
        # With --keep-unit nspawn leaves the restart to its caller and exits with 133.
        assert self.nspawn.wait(180) == 133
        return self.boot()

    def wait(self, script, seconds=60):
        """Waits until the script succeeds."""
        end = time.monotonic() + seconds
        while (done := self.enter(script)).returncode:
            assert time.monotonic() < end, f"{script}: {done.stdout}"
            time.sleep(0.3)
        return done.stdout

    def stop(self):
        self.nspawn.terminate()
        try:
            self.nspawn.wait(30)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait()
        self.log.close()

"""Two hosts' relays behind one nginx with the files that ship for several hosts; the rest is the stack of the tests."""

import os
import re
import socket
import subprocess

from conftest import CHECKOUT, program, read_settings
from own_nginx import PATH
from ports import free_port
from waiting import eventually, stop

HOSTS = ("127.0.0.1", "127.0.0.2")
POOLS = ("ROOMS", "MESSAGES", "SEARCH", "UPLOADS", "ACCOUNT")


class Host:
    def __init__(self, folder, address, port):
        self.address, self.port, self.folder = address, port, folder
        self.url = f"http://{address}:{port}"
        folder.mkdir()
        self.file = folder / "env"

    def start(self, settings):
        own = {**settings, "RUN_DIR": self.folder, "WS_LISTEN": f"{self.address}:{self.port}"}
        self.file.write_text("".join(f"{name}={value}\n" for name, value in own.items()))
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen([program("ws-relay"), "serve", "-c", self.file], env=environment(), stdout=log, stderr=log)

    def drain(self, *words, code=0):
        done = self.run("drain", *words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    def run(self, *words):
        return subprocess.run([program("ws-relay"), *words, "-c", self.file], capture_output=True, text=True, timeout=600, env=environment())

    def status(self):
        """The relay's word for its drain, then sockets left, moved and closed."""
        said = self.drain("--status")
        numbers = re.fullmatch(r"(drained|draining): (no|\d+) sockets left, (\d+) moved, (\d+) closed \(.*\)\n", said)
        if not numbers:
            assert (only := re.fullmatch(r"not draining: (\d+) sockets\n", said)), said
            return "not draining", int(only[1]), 0, 0
        return numbers[1], int(numbers[2].replace("no", "0")), int(numbers[3]), int(numbers[4])

    def log(self):
        return (self.folder / "log").read_text()


def environment():
    return {"PATH": PATH, "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}


class TwoRelays:
    def __init__(self, folder):
        settings = {name: value for name, value in read_settings().items() if not name.endswith("_LISTEN")}
        settings.update({f"FCGI_{name}_LISTEN": f"127.0.0.1:{free_port()}" for name in POOLS})
        self.folder, port, self.nginx = folder, free_port(), None
        self.hosts = [Host(folder / name, address, port) for name, address in zip("ab", HOSTS)]
        self.base_url = f"http://127.0.0.1:{(web := free_port())}"
        try:
            for host in self.hosts:
                host.start(settings)
            with open(folder / "fcgi.log", "w") as log:
                self.fcgi = subprocess.Popen([program("fcgi-api"), "serve", "-c", self.hosts[0].file], env=environment(), stdout=log, stderr=log)
            for host in self.hosts:
                eventually(lambda host=host: listens(host.address, port), 30, host.log)
            self._start_nginx(web)
        except BaseException:
            self.close()
            raise

    def _start_nginx(self, port):
        chat = self.folder / "chat"
        chat.mkdir()
        subprocess.run([program("fcgi-api"), "nginx-config", "-c", self.hosts[0].file, "--includes", CHECKOUT / "nginx/include",
                        "--hosts", ",".join(HOSTS), "--to", chat], check=True, env=environment(), stdout=subprocess.DEVNULL)
        (chat / "log.conf").write_text(f"access_log {self.folder}/access.log chat;\n")
        (self.folder / "nginx.conf").write_text(
            f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log error.log error;\nevents {{ worker_connections 2000; }}\n"
            "http {\n  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path u; scgi_temp_path s;\n"
            f"  include chat/upstreams.conf;\n  server {{ listen 127.0.0.1:{port}; include chat/locations.conf; }}\n}}\n")
        self.nginx = subprocess.Popen(["nginx", "-p", self.folder, "-c", "nginx.conf", "-e", "error.log"], env=environment())
        eventually(lambda: listens("127.0.0.1", port), 30)

    def access_log(self):
        return (self.folder / "access.log").read_text()

    def close(self):
        for process in [self.nginx, getattr(self, "fcgi", None), *(getattr(host, "process", None) for host in self.hosts)]:
            if process:
                stop(process)


def listens(address, port):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0

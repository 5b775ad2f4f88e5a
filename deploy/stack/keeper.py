"""The supervisor of one private stack: starts it, stays with it, and stops all of it at the end.

It holds the lock of the instance while anything runs. supervisord, below it, restarts dead programs. If this process is killed,
supervisord and everything below get their parent-death signal. The next start ends processes that still survive; it recognises
them by their environment (processes.py).
"""

import fcntl
import functools
import glob
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid

import faults
import processes
import supervisor
from bucket import create_bucket
from configure import PROGRAMS, configure, environment, write_settings
from instance import CHECKOUT, PORT_OFFSETS, Instance, Refusal, carry_out, say
from probe import is_ready, issue_token, send_message

START_SECONDS = 120
STOP_SECONDS = 45
REPAIR_SECONDS = 20
FREE_BYTES = int(os.environ.get("CHAT_MIN_FREE_MB") or 512) << 20


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked the stack to end."""


# -- the lock

def take_lock(instance):
    """The open lock file, or None while another supervisor holds it."""
    file = open(instance.lock_file, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return file


def is_locked(instance):
    if not instance.lock_file.exists():
        return False
    try:
        file = take_lock(instance)
    except PermissionError:
        raise Refusal(f"{instance.folder} belongs to another user: run as that user.")
    if file:
        file.close()
    return file is None


def wait_unlocked(instance, seconds):
    end = time.monotonic() + seconds
    while is_locked(instance):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def let_stop(instance):
    """Waits for an earlier run that is ending."""
    if is_locked(instance) and instance.state().get("state") == "stopping":
        say("an earlier run is still stopping, waiting for it")
        wait_unlocked(instance, STOP_SECONDS)


# -- run: in the foreground

def run(instance):
    # Not marked yet: the earlier run, which ends now, stops every process with its own mark.
    let_stop(instance)
    if os.environ.get("CHAT_STACK") != str(instance.runtime):
        # Marked like its child processes, so that a later start recognises a supervisor that lost its lock file.
        marked = {**os.environ, "CHAT_STACK": str(instance.runtime)}
        os.execve(sys.executable, [sys.executable, *sys.argv], marked)
    instance.make_folders()
    lock = take_lock(instance)
    if not lock:
        say(f"already running at {instance.state().get('url')} ('make down' stops it)")
        return 0
    for number in STOP_SIGNALS:
        signal.signal(number, raise_stopped)
    supervisord = None
    try:
        instance.state_file.unlink(missing_ok=True)
        supervisord, env = start(instance)
        bring_up(instance, supervisord, env)
        instance.write_state(state="ready")
        make_demo(instance)
        greet(instance)
        supervisord.wait()
        say(f"supervisord ended by itself: everything is being stopped, {instance.log}/supervisord.log may say why.")
        return 1
    except Stopped:
        return 0
    finally:
        ignore_stop_signals()
        stop(instance, supervisord)
        lock.close()


def raise_stopped(number, frame):
    # A closed terminal sends several signals at once: the second must not interrupt the stop.
    ignore_stop_signals()
    raise Stopped


def ignore_stop_signals():
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def start(instance):
    check_programs(instance)
    check_disk(instance)
    swept = processes.sweep(instance)
    if swept:
        say(f"cleaned up {swept} processes that an earlier run left behind")
    ports = instance.choose_ports()
    configure(instance, ports)
    instance.write_state(state="starting", pid=os.getpid(), url=f"http://127.0.0.1:{ports['HTTP']}", ports=ports)
    env = environment(instance, ports)
    say(f"starting PostgreSQL, Redis, RabbitMQ, SeaweedFS and nginx in {instance.folder}")
    # A session of its own: Ctrl-C reaches only this supervisor, which then stops everything in order.
    with open(instance.log / "supervisord.out", "w") as out:
        supervisord = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "supervisord", "-c", str(instance.supervisor_conf)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=instance.runtime, start_new_session=True)
    return supervisord, env


def check_programs(instance):
    for name in PROGRAMS:
        if not os.access(instance.programs / name, os.X_OK):
            raise Refusal(f"the program {name} is not in {instance.programs}: build it with 'make build'.")


def check_disk(instance):
    for folder in (instance.folder, instance.runtime):
        free = shutil.disk_usage(folder).free
        if free < FREE_BYTES:
            raise Refusal(f"the disk of {folder} has {free >> 20} MiB left and the stack needs {FREE_BYTES >> 20}: "
                          "make room and start again.")


def bring_up(instance, supervisord, env):
    """Starts servers, database, schema, bucket and programs, and delivers one test message."""
    socket = f"{instance.runtime}/postgres"
    bin_dir = postgres_programs()
    wait = functools.partial(wait_for, instance, supervisord, Restarts(instance))
    wait("postgres", lambda: succeeds(
        [f"{bin_dir}/pg_isready", "-q", "-h", socket, "-U", "chat", "-d", "postgres"], env))
    exists = subprocess.run([f"{bin_dir}/psql", "-h", socket, "-U", "chat", "-d", "chat", "-c", ""], env=env,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if not exists:
        command(instance, env, "migrate", [f"{bin_dir}/createdb", "-h", socket, "-U", "chat", "chat"])
    command(instance, env, "migrate", [f"{instance.runtime}/bin/fcgi-api", "migrate", "up", "-c", str(instance.env_file)])
    say("starting fcgi-api, ws-relay and queue-worker")
    for group in ("writer", "front"):
        supervisor.supervisor(instance).startProcessGroup(group, False)  # False: without waiting a second for each
    secret, port = instance.secrets()["S3_SECRET_KEY"], instance.state()["ports"]["S3"]
    wait("seaweedfs", lambda: create_bucket(f"127.0.0.1:{port}", "chat", "chat", secret))
    url = instance.state()["url"]
    wait("fcgi-api", lambda: is_ready(url))
    wait("queue-worker", lambda: send_message(instance, url))
    (instance.folder / "rabbitmq" / "complete").touch()


def wait_for(instance, supervisord, restarts, name, attempt):
    end = time.monotonic() + START_SECONDS
    while True:
        reason = None
        try:
            if attempt():
                return
        except (OSError, Refusal) as error:
            reason = error
        if supervisord.poll() is not None:
            raise Refusal(f"supervisord did not start:\n{last_lines(instance.log / 'supervisord.out')}")
        failing = restarts.failing()
        if failing:
            raise Refusal(f"{failing} keeps ending; its log ends with:\n{last_lines(instance.log / (failing + '.log'))}")
        if time.monotonic() > end:
            why = f" ({reason})" if reason else ""
            raise Refusal(f"{name} was not ready after {START_SECONDS} s{why}; its log ends with:\n"
                          f"{last_lines(instance.log / (name + '.log'))}")
        time.sleep(0.1)


class Restarts:
    """Counts how often supervisord finds a program dead."""

    def __init__(self, instance):
        self.instance, self.asked, self.seen = instance, 0.0, {}

    def failing(self):
        """The name of a program that was dead in ten checks, a second apart."""
        if time.monotonic() - self.asked < 1:
            return None
        self.asked = time.monotonic()
        for found in supervisor.processes(self.instance):
            name = found["name"]
            self.seen[name] = self.seen.get(name, 0) + {"BACKOFF": 1, "FATAL": 10}.get(found["statename"], 0)
            if self.seen[name] >= 10:
                return name
        return None


def postgres_programs():
    versions = sorted(os.listdir("/usr/lib/postgresql"), key=lambda name: (len(name), name))
    return f"/usr/lib/postgresql/{versions[-1]}/bin"


def succeeds(words, env):
    return subprocess.run(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def command(instance, env, name, words):
    log = instance.log / f"{name}.log"
    with open(log, "a") as out:
        code = subprocess.run(words, env=env, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode
    if code:
        raise Refusal(f"'{os.path.basename(words[0])} {words[1]}' failed; its log ends with:\n{last_lines(log)}")


def last_lines(path, count=15):
    try:
        lines = path.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join(f"    {line}" for line in lines) or "    (nothing)"


def stop(instance, supervisord):
    if supervisord and supervisord.poll() is None:
        instance.write_state(state="stopping")
        say("stopping")
        supervisord.terminate()
        try:
            supervisord.wait(STOP_SECONDS - 10)
        except subprocess.TimeoutExpired:
            supervisord.kill()
    processes.sweep(instance, grace=3)
    for port in instance.state().get("ports", {}).values():
        for left in glob.glob(f"/tmp/seaweedfs-*-{port}.sock"):
            if os.lstat(left).st_uid == os.getuid():
                os.unlink(left)
    instance.state_file.unlink(missing_ok=True)


def make_demo(instance):
    """Two people and their rooms for the page at /, valid for a day. Only this stack's nginx serves such a file."""
    users = [{"Name": name, "ID": str(uuid.uuid4())} for name in ("Ann", "Bob")]
    for user in users:
        user["Token"] = issue_token(instance, user["ID"], 86400, user["Name"])
    secret = secrets.token_urlsafe(32)
    try:
        rooms = [make_room(instance, users, name) for name in ("Hello", "Plans")]
        html = instance.runtime / "nginx" / "html"
        (html / "demo.json").write_text(json.dumps({"Users": users, "RoomID": rooms[0], "Rooms": rooms, "Secret": secret}))
        plain = (html / "plain.html").read_text()
        for number, user in enumerate(users):
            plain = plain.replace(f"@TOKEN{number}@", user["Token"])
        (html / "plain.html").write_text(plain.replace("@ROOM@", rooms[0]))
        faults.serve(instance, secret)
    except (OSError, KeyError, ValueError) as error:
        say(f"the page at / has nobody to show: {error}")


def make_room(instance, users, name):
    body = {"Type": "GROUP", "Name": name, "Members": [users[1]["ID"]]}
    asked = urllib.request.Request(
        f"{instance.state()['url']}/api/v1/rooms", json.dumps(body).encode(),
        {"Authorization": f"Bearer {users[0]['Token']}", "Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)["Data"]["ID"]


def greet(instance):
    if os.environ.get("CHAT_QUIET"):
        return
    url, user, other = instance.state()["url"], uuid.uuid4(), uuid.uuid4()
    token = issue_token(instance, user, 86400)
    body = json.dumps({"Type": "GROUP", "Name": "Hello", "Members": [str(other)]})
    print(f"\nThe chat is running at {url}\n\nA token of user {user}, good for a day:\n{token}\n\nTry:\n"
          f"curl -X POST {url}/api/v1/rooms -H 'Content-Type: application/json' \\\n"
          f"  -H 'Authorization: Bearer {token}' \\\n  -d '{body}'\n\n"
          "Ctrl-C or 'make down' stops everything; 'make logs' shows what happens.", flush=True)


# -- up: the same in the background

def up(instance):
    let_stop(instance)
    keeper, log = None, instance.folder / "log" / "stack.log"
    if not is_locked(instance):
        instance.make_folders()
        instance.state_file.unlink(missing_ok=True)
        with open(log, "w") as out:
            keeper = subprocess.Popen([sys.executable, os.path.abspath(__file__), "run"], stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=out, env={**os.environ, "CHAT_QUIET": "1"},
                                      start_new_session=True)
    try:
        return wait_ready(instance, keeper, log)
    except KeyboardInterrupt:
        if keeper:
            keeper.terminate()
            keeper.wait()
        return 130


def wait_ready(instance, keeper, log):
    shown, ready_since, end = 0, None, time.monotonic() + 3 * START_SECONDS
    while True:
        if keeper:
            with open(log, errors="replace") as progress:
                progress.seek(shown)
                sys.stderr.write(progress.read())
                shown = progress.tell()
        state = instance.state()
        if state.get("state") == "ready":
            ready_since = ready_since or time.monotonic()
            trouble = what_fails(instance, state["url"])
            if not trouble:
                print(f"The chat is running at {state['url']}")
                return 0
            if time.monotonic() > ready_since + REPAIR_SECONDS:
                raise Refusal(f"the stack at {state['url']} runs but a message cannot be sent ({trouble}): "
                              "'make logs' shows why, 'make down' stops it.")
        if keeper and keeper.poll() is not None:
            time.sleep(0.1)
            sys.stderr.write(log.read_text(errors="replace")[shown:])
            return keeper.returncode or 1
        if not keeper and not is_locked(instance):
            raise Refusal("the stack that was starting has stopped: start it again with 'make up'.")
        if time.monotonic() > end:
            raise Refusal(f"the stack did not become ready: 'make logs' shows why, 'make down' stops it.")
        time.sleep(0.1)


def what_fails(instance, url):
    """None, or the reason why a message cannot be sent just now: supervisord may be restarting something."""
    try:
        is_ready(url)
        send_message(instance, url)
        return None
    except (OSError, Refusal) as error:
        return str(error)


# -- down

def down(instance):
    if not instance.folder.exists() and not instance.runtime.exists():
        say("nothing was running")
        return 0
    keepers = [process for process in processes.ours(instance).values() if process.is_keeper]
    if is_locked(instance):
        processes.send(keepers, signal.SIGTERM)
        if wait_unlocked(instance, STOP_SECONDS):
            say("stopped")
            return 0
    swept = processes.sweep(instance)
    say(f"cleaned up {swept} processes that an earlier run left behind" if swept else "nothing was running")
    return 0


def running(instance):
    """Exit status 0 and one line if the stack is up or starting, so that nothing is built for it."""
    if not is_locked(instance) or instance.state().get("state") == "stopping":
        return 1
    if sys.argv[2:] == ["tell"]:
        say(f"already running at {instance.state().get('url')} ('make down' stops it)")
    return 0


def settings(instance):
    """Writes chat.env before the first start, for `make token`."""
    if not instance.env_file.exists():
        port = os.environ.get("CHAT_PORT") or "8000"
        # `free` is decided at the start.
        base = int(port) if port.isdecimal() else 8000
        instance.make_folders()
        write_settings(instance, {"HTTP": base, **{name: base + offset for name, offset in PORT_OFFSETS.items()}})
    return 0


if __name__ == "__main__":
    sys.exit(carry_out({"run": run, "up": up, "down": down, "running": running, "settings": settings}, Instance))

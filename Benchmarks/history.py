"""50 messages of history: fcgi-api beside php-fpm, with the same answer through the same kind of nginx location, alternating."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from statistics import median

from stack import CHECKOUT, natural, new_user, number, run_client, table

ROUNDS = number("BENCH_HISTORY_ROUNDS", 5)
REQUESTS = number("BENCH_REQUESTS", 10_000)
CONNECTIONS = number("BENCH_CONNECTIONS", 8)
GOAL = 0.6


class PHP:
    """A private php-fpm on a unix socket, and an nginx in front of it with the same include files as the stack's."""

    def __init__(self, stack):
        self.stack = stack
        self.folder = Path(os.environ["TEST_ENV_FILE"]).parent.joinpath("sockets").resolve() / "bench"
        self.children = []

    def __enter__(self):
        subprocess.run([CHECKOUT / "deploy/stack/packages", "php8.2-fpm", "php8.2-pgsql"], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "nginx/chat").mkdir(parents=True)
        (self.folder / "nginx/tmp").mkdir()
        (self.folder / "nginx/log").mkdir()
        try:
            self.port = free_port()
            self.start_php()
            self.start_nginx()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *words):
        with open(Path(os.environ["TEST_ENV_FILE"]).parent / "log/bench.log", "a") as log:
            self.children.append(subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, words)],
                                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"))
        return self.children[-1]

    def start_php(self):
        workers = self.stack.settings.get("FCGI_MESSAGES_WORKERS", "4")
        conf = f"""[global]
error_log = /proc/self/fd/2
daemonize = no
[bench]
listen = {self.folder}/fcgi-messages.sock
listen.backlog = 511
listen.mode = 0600
pm = static
pm.max_children = {workers}
env[JWT_SECRET] = "{self.stack.settings["JWT_SECRET"]}"
env[DATABASE] = "{self.stack.settings["DATABASE_URL"]}"
php_admin_value[opcache.enable] = 1
php_admin_value[opcache.validate_timestamps] = 0
php_admin_value[date.timezone] = UTC
"""
        if os.getuid() == 0:
            conf += "user = root\ngroup = root\n"
        path = self.folder / "php-fpm.conf"
        path.touch(mode=0o600)
        path.write_text(conf)
        binary = sorted(Path("/usr/sbin").glob("php-fpm*"))[-1]
        self.master = self.start(binary, "-R", "-F", "-y", path)
        wait_for(self.folder / "fcgi-messages.sock")

    def start_nginx(self):
        for source in (CHECKOUT / "nginx/include").glob("*.conf"):
            text = source.read_text().replace("unix:/run/chat/", f"unix:{self.folder}/")
            if source.name == "fastcgi.conf":
                text += f"fastcgi_param SCRIPT_FILENAME \"{CHECKOUT}/Benchmarks/php/history.php\";\n"
            (self.folder / "nginx/chat" / source.name).write_text(text)
        server = (CHECKOUT / "nginx/chat.conf.template").read_text()
        for name, value in {"HTTP_PORT": self.port, "FILES": 1024, "CONNECTIONS": 512, "RUNTIME": self.folder}.items():
            server = server.replace(f"@{name}@", str(value))
        if os.getuid() == 0:
            server = "user root;\n" + server
        (self.folder / "nginx/chat.conf").write_text(server)
        self.start("nginx", "-p", self.folder / "nginx", "-c", "chat.conf", "-e", "stderr", "-g", "daemon off;")
        wait_for(self.folder / "nginx/nginx.pid")

    def processes(self):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                if parent == self.master.pid:
                    found.append(("php-fpm", "worker", int(entry.name)))
        return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(path, seconds=10):
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{path.name} did not appear within {seconds} s")
        time.sleep(0.05)


def fill(stack):
    """A room with 60 messages of 100 to 200 bytes, and a member who has read some of them."""
    ann, bob = new_user(), new_user()
    room, tokens = stack.group([ann, bob])
    words = "Tomorrow at nine we look at the figures of the last week, bring yours and a pencil; "
    for turn in range(60):
        body = {"Content": natural((words * 3)[: 100 + turn * 100 // 60]), "Sign": f"{room}-{turn}"}
        message = stack.call("POST", f"/rooms/{room}/messages", tokens[turn % 2], body, 201)["Data"]
        if turn == 40:
            stack.call("POST", f"/rooms/{room}/seen", tokens[0], {"Seq": message["Seq"]})
    return room, tokens[0]


def measure(stack):
    room, token = fill(stack)
    path = f"/rooms/{room}/messages?limit=50"
    with PHP(stack) as php:
        time.sleep(0.5)
        ours, theirs = (stack.call("GET", path, token, port=port) for port in (stack.url.port, php.port))
        if ours != theirs:
            both = zip(ours["Data"], theirs["Data"], strict=False)
            other = {field for one, two in both for field in {*one, *two} if one.get(field, "absent") != two.get(field, "absent")}
            raise RuntimeError(f"php-fpm answers something else: {other}; {json.dumps(ours)[-200:]} and {json.dumps(theirs)[-200:]}")
        found = {"fcgi-api": [], "php-fpm": []}
        for turn in range(ROUNDS + 1):
            # The first round warms up. Repeated each time: php-fpm's workers connect with their first request.
            processes = stack.processes()
            workers = [row for row in processes if row[:2] == ("fcgi-api", "worker")]
            postgres = [row for row in processes if row[0] == "postgres"]
            for name, port, own in (("fcgi-api", stack.url.port, workers), ("php-fpm", php.port, php.processes())):
                result = run_client("history", own + postgres, port=port, path=f"/api/v1{path}", token=token,
                                    connections=CONNECTIONS, requests=REQUESTS if turn else 1000)
                if result["failed"]:
                    raise RuntimeError(f"{result['failed']} requests to {name} failed")
                if turn:
                    found[name].append(result)
    show(found)


def show(found):
    def cost(result, name):
        return result.cpu[name] / result["requests"] * 1e6
    rows = []
    for name, results in found.items():
        rows.append([
            name, f"{median(cost(r, name) for r in results):.1f}", f"{median(cost(r, 'postgres') for r in results):.1f}",
            f"{median(r['requests'] / r['elapsed_us'] * 1e6 for r in results):,.0f}",
            f"{median(r['p50_us'] for r in results) / 1000:.2f}", f"{median(r['p99_us'] for r in results) / 1000:.2f}",
            f"{results[0]['bytes']:,}", f"{median(r.others for r in results):.2f}",
            " ".join(f"{cost(r, name):.0f}" for r in results)])
    print(f"History: GET /api/v1/rooms/{{id}}/messages?limit=50, {CONNECTIONS} kept connections, by turns, medians of "
          f"{ROUNDS} rounds of {REQUESTS:,} requests")
    table(["", "worker CPU us", "postgres CPU us", "requests/s", "p50 ms", "p99 ms", "bytes", "others", "each round"], rows)
    ratios = [cost(a, "fcgi-api") / cost(b, "php-fpm") for a, b in zip(found["fcgi-api"], found["php-fpm"])]
    print(f"\nworker CPU of fcgi-api in php-fpm's: {median(ratios):.2f} (goal: at most {GOAL})\n", flush=True)

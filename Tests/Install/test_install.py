"""The packages on a Debian with systemd: one machine, its tests in the order of a server's life."""

import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "EndToEnd"))
from client import User, message_frame  # noqa: E402
import documents  # noqa: E402
from machine import Machine  # noqa: E402

SITE = "http://127.0.0.1"
UNITS = ["chat-ws-relay", "chat-fcgi-api", "chat-queue-worker"]
SENDERS = 20
APT = "apt-get -q -y"

NGINX_SITE = """
server {
\tlisten 80 default_server;
    root /var/www/html;
    index index.php index.html;
    location / { try_files $uri $uri/ =404; }
    location ~ \\.php$ { include snippets/fastcgi-php.conf; fastcgi_pass unix:/run/php/php8.2-fpm.sock; }
}
"""


@pytest.fixture(scope="module")
def machine():
    found = Machine(os.environ["INSTALL_ROOT"])
    yield found
    found.stop()


def package(kind):
    folder = Path(os.environ["INSTALL_ROOT"]) / "packages" / kind
    return "/packages/" + kind + "/" + next(path.name for path in folder.glob("chat-server_*.deb"))


def folder(kind):
    return f"/packages/{kind}"


def pids(machine):
    """{unit: PID of its master}"""
    return {unit: machine.run(f"systemctl show -p MainPID --value {unit}").strip() for unit in UNITS}


def programs(machine):
    """The number of our processes, by the file that they run."""
    out = machine.run("for p in /proc/[0-9]*; do readlink $p/exe; done; true")
    return [line for line in out.splitlines() if re.match(r"/usr/bin/(fcgi-api|ws-relay|queue-worker)", line)]


def settings(machine):
    lines = machine.run("cat /etc/chat/.env").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match("[A-Z]", line) and "=" in line)


def test_the_machine_has_what_debian_ships(machine):
    machine.run("systemctl start postgresql redis-server rabbitmq-server nginx php8.2-fpm", timeout=180)
    machine.wait("rabbitmqctl -q await_startup", 90)
    machine.run("cat > /etc/nginx/sites-available/default && nginx -s reload", input=NGINX_SITE)
    machine.run("echo '<?php echo \"php \" . (1 + 1);' > /var/www/html/index.php")
    if "INSTALL_BIND" not in os.environ:
        assert "swift" not in machine.run("ls /usr/bin /opt")


def test_the_package_installs_and_starts_nothing(machine):
    out = machine.document("install", "Install", folder=folder("old"))
    assert "run 'chat-setup'" in out, out
    assert machine.run("stat -c '%a %U:%G' /etc/chat/.env") == "640 root:chat\n"
    assert machine.run("stat -c '%a %U:%G' /run/chat") == "711 chat:chat\n"
    assert programs(machine) == []
    assert len(settings(machine)["JWT_SECRET"]) == 64
    for name in ["fcgi-api", "ws-relay", "queue-worker", "chat-setup"]:
        assert machine.run(f"test -s /usr/share/man/man8/{name}.8.gz && {name} --version").count(".") >= 2
    # Without a database nothing can start; setup says so in one sentence.
    assert "no database is named" in machine.run("chat-setup < /dev/null", fails=True)


def test_setup_says_what_it_would_do_and_changes_nothing(machine):
    before = machine.run("cat /etc/chat/.env")
    out = machine.run("chat-setup --create-database --create-broker-user --storage disk --domain 127.0.0.1 --dry-run < /dev/null")
    for words in ["would make the role chat", "would make the database chat", "would make the vhost chat",
                  "would make the user chat in RabbitMQ", "would write"]:
        assert words in out, out
    assert machine.run("cat /etc/chat/.env") == before
    assert "chat" not in machine.run("rabbitmqctl -q list_vhosts").splitlines()


def test_setup_leads_to_the_first_message(machine):
    machine.document("install", "Configure nginx")
    out = machine.document("install", "Set up", env={"DOMAIN": "127.0.0.1"})
    print(out)
    # An earlier release has the second words.
    assert "a test message was delivered" in out or "a message went through" in out, out
    assert machine.run("stat -c '%a %U:%G' /etc/chat/.env") == "640 root:chat\n"
    # nginx's workers run as www-data, which can reach the sockets.
    assert "www-data" in machine.run("ps -o user= -C nginx")
    again = machine.document("install", "Set up", env={"DOMAIN": "127.0.0.1"})
    assert "nothing had to be changed" in again, again
    assert "nothing had to be changed" in machine.document("install", "Set up", 1)
    # No secret was on a command line or is in the journal.
    secret = settings(machine)["RABBITMQ_URL"].split(":")[2].split("@")[0]
    assert secret not in machine.run("journalctl --no-pager") and secret not in out + again


def test_the_site_that_was_there_still_answers(machine):
    assert requests.get(SITE + "/", timeout=10).text == "php 2"


def test_messages_and_files(machine):
    secret = settings(machine)["JWT_SECRET"]
    ann, bob = User(SITE, secret), User(SITE, secret)
    room = ann.group(bob)
    with bob.socket() as socket:
        assert ann.data("POST", f"/rooms/{room}/messages", {"Content": "hello"}, 201)["Seq"] == 1
        socket.new_message("hello")
    stored = ann.rest("POST", f"/rooms/{room}/files", files={"File": ("a.txt", b"the content")}, expect=201)
    link = bob.rest("GET", f"/files/{stored.json()['Data']['ID']}", expect=302, allow_redirects=False).headers["Location"]
    path = link[link.index("/api/v1/"):]
    assert requests.get(SITE + path, timeout=10).content == b"the content"
    assert requests.get(SITE + "/api/v1/openapi.yaml", timeout=10).text.startswith("openapi:")
    assert "<html" in requests.get(SITE + "/api/v1/docs", timeout=10).text


def test_a_failed_setup_names_the_mend(machine):
    wrong = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    machine.run("cp -p /etc/chat/.env /root/kept")
    try:
        out = machine.run("chat-setup --no-services < /dev/null", fails=True, env=wrong)
        assert "PostgreSQL cannot be used" in out and "DATABASE_URL" in out, out
        assert len([line for line in out.splitlines() if line.startswith("Error")]) == 1
    finally:
        machine.run("mv /root/kept /etc/chat/.env")
    machine.run("systemctl stop nginx")
    try:
        out = machine.run("chat-setup --check-url http://127.0.0.1 < /dev/null", fails=True)
        assert "start nginx" in out, out
    finally:
        machine.run("systemctl start nginx")


class Senders:
    """Twenty users with a socket each who write without a pause; a ledger of acknowledged messages."""

    def __init__(self, secret):
        self.users = [User(SITE, secret) for _ in range(SENDERS)]
        self.room = self.users[0].group(*self.users[1:])
        self.sockets = [user.socket() for user in self.users]
        self.acknowledged, self.trouble, self.stopping = set(), [], threading.Event()
        self.threads = [threading.Thread(target=self.write, args=[socket]) for socket in self.sockets]
        for thread in self.threads:
            thread.start()

    def write(self, socket):
        while not self.stopping.is_set():
            try:
                answer = socket.ask(message_frame(RoomID=self.room))
                if answer["Success"]:
                    self.acknowledged.add(answer["Data"]["ID"])
                elif not answer["Error"].startswith(("busy", "unavailable", "rate_limited")):
                    self.trouble.append(answer["Error"])
                time.sleep(0.05)
            except Exception as error:  # a closed socket, an answer that does not come
                self.trouble.append(repr(error)[:300])
                return

    def wait_for(self, more):
        end, goal = time.monotonic() + 120, len(self.acknowledged) + more
        while len(self.acknowledged) < goal:
            assert time.monotonic() < end and not self.trouble, self.trouble
            time.sleep(0.05)

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.trouble, self.trouble
        assert [socket.closed for socket in self.sockets] == [None] * SENDERS
        stored = [message["ID"] for message in self.users[0].history(self.room)]
        assert len(stored) == len(set(stored)) and self.acknowledged <= set(stored)
        for socket in self.sockets:
            socket.close()
        return len(self.acknowledged)


@pytest.mark.parametrize("kind, time_of_it", [("new", 1), ("old", 1), ("new", 2)])
def test_another_version_closes_no_socket(machine, kind, time_of_it):
    """`new` is the upgrade, `old` the downgrade. The rest of the tests runs the new version."""
    before, senders = pids(machine), Senders(settings(machine)["JWT_SECRET"])
    machine.run("echo '# mine' >> /etc/chat/.env; echo '# mine' >> /etc/nginx/chat/upstreams.conf")
    kept = machine.run("cat /etc/chat/.env")
    senders.wait_for(100)
    if kind == "new":
        machine.document("upgrade", "To a newer version", folder=folder("new"))
        machine.document("upgrade", "To a newer version", 1)
    else:
        machine.document("upgrade", "Back to the previous version", env={"OLD_PACKAGE": package("old")})
    # Every process runs the new package's file: the kernel marks a replaced one as "deleted".
    machine.wait("! ls -l /proc/[0-9]*/exe 2> /dev/null | grep -E '/usr/bin/(fcgi-api|ws-relay|queue-worker) .deleted'", 90)
    senders.wait_for(100)
    print(f"{senders.finish()} messages acknowledged over the change to {kind}")
    assert pids(machine) == before
    assert machine.run("cat /etc/chat/.env") == kept
    assert "# mine" in machine.run("cat /etc/nginx/chat/upstreams.conf")


def test_a_reboot_brings_everything_back(machine):
    machine.run("systemctl enable -q postgresql redis-server rabbitmq-server nginx php8.2-fpm")
    machine.reboot()
    for unit in UNITS:
        machine.wait(f"systemctl is-active {unit}", 120)
    ann = User(SITE, settings(machine)["JWT_SECRET"])
    machine.wait("curl -sf http://127.0.0.1/api/v1/readyz", 120)
    room = ann.group()
    assert ann.data("POST", f"/rooms/{room}/messages", {"Content": "after the reboot"}, 201)["Seq"] == 1
    with ann.socket() as socket:
        assert socket.ask(message_frame(RoomID=room))["Success"]


@pytest.fixture(scope="module")
def message(machine):
    """The id of a message that was sent after the reboot."""
    ann = User(SITE, settings(machine)["JWT_SECRET"])
    return ann.data("POST", f"/rooms/{ann.group()}/messages", {"Content": "look for me"}, 201)["ID"]


@pytest.mark.parametrize("page, heading, place", documents.all_blocks(["operate", "scale", "pools", "troubleshooting"]))
def test_what_operators_read(machine, message, page, heading, place):
    print(machine.document(page, heading, place, env={"ID": message}))


def test_logs_of_a_pool_are_rotated(machine):
    log, pool = "/var/log/chat/search.log", "/etc/chat/pools.d/search.conf"
    machine.run(f"cp -p {pool} /root/search.conf && echo access_log = {log} >> {pool} && systemctl reload chat-fcgi-api")
    ask = "curl -s http://127.0.0.1/api/v1/search?q=x > /dev/null && grep -c /search"
    machine.wait(f"{ask} {log}", 30)
    machine.run("logrotate -f /etc/logrotate.d/chat-server")
    machine.wait(f"{ask} {log}", 30)
    assert int(machine.run(f"grep -c /search {log}.1")) >= 1
    machine.run(f"mv /root/search.conf {pool} && rm {log}* && systemctl reload chat-fcgi-api")


def test_a_restart_and_a_restored_backup_serve_on(machine):
    machine.document("backup", "Back up")
    machine.document("backup", "Restore")
    machine.document("upgrade", "When a hand-over is refused")
    for unit in UNITS:
        machine.wait(f"systemctl is-active {unit}", 60)
    machine.wait("chat-setup --check-url http://127.0.0.1 < /dev/null", 60)


def test_removal_ends_every_process_and_keeps_the_settings(machine):
    assert programs(machine)
    machine.run(f"{APT} remove chat-server", timeout=120)
    assert programs(machine) == []
    machine.run("test -e /etc/chat/.env && nginx -t && systemctl restart nginx")


def test_it_comes_back_with_the_settings_that_were_kept(machine):
    machine.document("install", "Install", folder=folder("new"))
    out = machine.run("chat-setup --check-url http://127.0.0.1 < /dev/null", timeout=180)
    assert "a test message was delivered" in out or "a message went through" in out, out


def test_a_purge_leaves_no_process_and_an_nginx_that_starts(machine):
    out = machine.run(f"{APT} purge chat-server", timeout=120)
    assert "Take the lines out" in out, out
    assert programs(machine) == []
    machine.run("test ! -e /etc/chat && test ! -e /run/chat && test ! -e /usr/bin/fcgi-api")
    machine.run("test -d /var/lib/chat/files")
    machine.reboot()
    machine.wait("systemctl is-active nginx", 60)
    assert requests.get(SITE + "/", timeout=10).text == "php 2"
    assert programs(machine) == []


def test_every_command_of_the_documents_was_run():
    assert set(documents.all_blocks()) - documents.ran == set()

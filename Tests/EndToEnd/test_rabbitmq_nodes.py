"""Three RabbitMQ nodes, all in RABBITMQ_URL: one is killed (-9) while callers wait for their answers, and stays down. Sends continue
without it, and nothing is lost or duplicated.
"""

import os
import signal
import subprocess
import threading
import time
import uuid

import pytest
from chaos.faults import PROGRAMS
from conftest import thorough
from ports import free_port
from waiting import eventually

NODES, CALLERS, ROOMS, SENDS = 3, 12, 8, 40
BIN = "/usr/lib/rabbitmq/bin"
CONFIGURATION = """\
default_user = chat
default_pass = chat
loopback_users = none
listeners.tcp.default = {port}
cluster_formation.peer_discovery_backend = classic_config
{peers}
cluster_partition_handling = pause_minority
net_ticktime = 10
vm_memory_high_watermark.absolute = 512MB
"""


class Nodes:
    def __init__(self, folder):
        self.folder, self.ports = folder, [free_port() for _ in range(NODES)]
        cookie = folder / ".erlang.cookie"
        cookie.write_text(uuid.uuid4().hex)
        cookie.chmod(0o400)
        epmd = str(free_port())
        self.environment = {**os.environ, "HOME": str(folder), "ERL_EPMD_PORT": epmd, "ERL_EPMD_ADDRESS": "127.0.0.1"}
        self.epmd = subprocess.Popen(["epmd", "-port", epmd, "-address", "127.0.0.1"], env=self.environment)
        self.running = {}
        for number in range(NODES):
            self.start(number)
        self.wait()

    @property
    def url(self):
        return f"amqp://chat:chat@{','.join(f'127.0.0.1:{port}' for port in self.ports)}/"

    def start(self, number):
        home = self.folder / str(number)
        home.mkdir(exist_ok=True)
        peers = "\n".join(f"cluster_formation.classic_config.nodes.{n + 1} = n{n}@localhost" for n in range(NODES))
        (home / "rabbitmq.conf").write_text(CONFIGURATION.format(port=f"127.0.0.1:{self.ports[number]}", peers=peers))
        (home / "enabled_plugins").write_text("[].")
        own = {
            "RABBITMQ_NODENAME": f"n{number}@localhost", "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia", "RABBITMQ_LOGS": "-", "RABBITMQ_PID_FILE": f"{home}/pid",
            # Tells Erlang not to start a shell: the PID is then the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
                                                   "-kernel inet_dist_use_interface {127,0,0,1}"}
        with open(home / "log", "a") as log:
            self.running[number] = subprocess.Popen([f"{BIN}/rabbitmq-server"], env={**self.environment, **own}, stdout=log,
                                                    stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def wait(self, seconds=120):
        """Waits until every node sees all nodes."""
        for number in range(NODES):
            eventually(lambda node=number: self.ask(node, "length(rabbit_nodes:all_running()).") == str(NODES), seconds,
                       lambda node=number: (self.folder / str(node) / "log").read_text()[-2000:], pause=1)

    def ask(self, number, erlang):
        answer = subprocess.run([f"{BIN}/rabbitmqctl", "-q", "-n", f"n{number}@localhost", "eval", erlang], timeout=60,
                                env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return answer.stdout.strip()

    def kill(self, number):
        process = self.running.pop(number)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self):
        for number in list(self.running):
            self.kill(number)
        self.epmd.terminate()
        self.epmd.wait()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.close()


class Sender(threading.Thread):
    """Sends one message until it is stored, always with the same Sign."""

    def __init__(self, user, room, sign):
        super().__init__(daemon=True)
        self.user, self.room, self.sign, self.statuses, self.stored = user, room, sign, [], None
        self.start()

    def run(self):
        while self.stored is None:
            body = {"Content": self.sign, "Sign": self.sign}
            status = self.user.rest("POST", f"/rooms/{self.room}/messages", body).status_code
            self.statuses.append(status)
            if status == 201:
                self.stored = time.monotonic()
            elif status not in (202, 503):
                return
            time.sleep(0.2)


@thorough
def test_a_node_dies_while_callers_wait_and_sends_go_on(nodes, ann, bob, psql, reconfigure):
    reconfigure(*PROGRAMS, RABBITMQ_URL=nodes.url)
    held, others = ann.group(bob), [ann.group(bob) for _ in range(ROOMS)]
    sent = {room: [] for room in [held, *others]}
    for number in range(NODES):
        holder = psql()
        holder.ask(f"BEGIN; SELECT 1 FROM rooms WHERE id = '{held}' FOR UPDATE")
        callers = [Sender(ann, held, f"{number} held {caller}") for caller in range(CALLERS)]
        time.sleep(1)
        assert all(caller.statuses == [] for caller in callers), "nobody waits for an answer"
        nodes.kill(number)
        killed = time.monotonic()
        holder.ask("ROLLBACK")
        last, longest = killed, 0
        for send in range(SENDS):
            sender = Sender(bob, others[send % ROOMS], f"{number} other {send}")
            sender.join(60)
            assert sender.stored, f"message {send} after the kill is not stored without the node: {sender.statuses}"
            last, longest = sender.stored, max(longest, sender.stored - last)
            sent[sender.room].append(sender.sign)
        for caller in callers:
            caller.join(60)
            assert caller.stored, f"a caller that waited is not answered without the node: {caller.statuses}"
            sent[held].append(caller.sign)
        waited = max(caller.stored for caller in callers) - killed
        print(f"\nnode {number} killed: {longest:.1f} s without a stored message at most, the last of {CALLERS} callers that "
              f"waited had its answer after {waited:.1f} s")
        if number < NODES - 1:
            nodes.start(number)
            nodes.wait()
    for room in sent:
        stored = [message["Sign"] for message in bob.history(room) if message["MessageType"] == "direct"]
        assert sorted(stored) == sorted(sent[room]), "a message is lost or doubled"
        if room != held:
            assert stored == sent[room], "messages of one sender are out of order"

"""A Redis Cluster of this test: three masters and three replicas on this machine. CLUSTER_SERVER=valkey-server takes Valkey."""

import json
import os
import subprocess
import time

from ports import free_port
from waiting import eventually

SERVER = os.environ.get("CLUSTER_SERVER", "redis-server")


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.ports = []
        while len(self.ports) < 12:
            port = free_port()
            if port not in self.ports:
                self.ports.append(port)
        self.ports, self.buses = self.ports[:6], self.ports[6:]
        self.processes = {}
        for port in self.ports:
            self.start(port)
        subprocess.run(["redis-cli", "--cluster", "create", *[f"127.0.0.1:{port}" for port in self.ports], "--cluster-replicas",
                        "1", "--cluster-yes"], stdout=subprocess.DEVNULL, check=True)
        self.settle()

    @property
    def url(self):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in self.ports[:3])

    def start(self, port):
        folder = self.folder / str(port)
        folder.mkdir(exist_ok=True)
        bus = self.buses[self.ports.index(port)]
        with open(folder / "log", "a") as log:
            self.processes[port] = subprocess.Popen(
                [SERVER, "--port", str(port), "--cluster-port", str(bus), "--cluster-enabled", "yes", "--cluster-node-timeout", "1500",
                 "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)], stdout=log, stderr=log)
        eventually(lambda: self.ask(port, "PING") == "PONG")

    def kill(self, port):
        self.processes[port].kill()
        self.processes[port].wait()

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def ask(self, port, *words, check=False):
        """Empty: no answer, as of a node that is frozen."""
        try:
            return subprocess.run(["redis-cli", "-p", str(port), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                  check=check, timeout=10 if check else 2).stdout.strip()
        except subprocess.TimeoutExpired:
            assert not check, f"{port} does not answer {words}"
            return ""

    def settle(self):
        """Until every living node says that all is well, and each master has its replica again."""
        def is_well():
            return len(self.masters()) == 3 and all(
                "cluster_state:ok" in self.ask(port, "CLUSTER", "INFO") and self.is_linked(port) for port in self.ports
                if self.processes[port].poll() is None)
        eventually(is_well, 60, lambda: "\n".join(self.ask(port, "CLUSTER", "NODES") for port in self.ports))

    def is_linked(self, port):
        info = self.ask(port, "INFO", "replication")
        return "master_link_status:up" in info or "role:master" in info and "connected_slaves:0" not in info

    def masters(self):
        """{port: node id} of the masters with slots, as the first living node says that is part of the cluster."""
        for port in self.ports:
            if self.processes[port].poll() is not None:
                continue
            found = {}
            lines = [line.split() for line in self.ask(port, "CLUSTER", "NODES").splitlines()]
            for words in lines:
                if len(words) > 8 and "master" in words[2] and "fail" not in words[2]:
                    found[int(words[1].split(":")[1].split("@")[0])] = words[0]
            if any("fail" not in words[2] for words in lines if "myself" not in words[2]):
                return found
        return {}

    def master_of(self, key):
        """The port of the master with this key."""
        return self.owner(int(self.ask(next(iter(self.masters())), "CLUSTER", "KEYSLOT", key)))

    def replica_of(self, master):
        masters = self.masters()
        lines = [line.split() for line in self.ask(master, "CLUSTER", "NODES").splitlines()]
        return next(int(words[1].split(":")[1].split("@")[0]) for words in lines if words[3] == masters[master])

    def owner(self, slot):
        for port in self.masters():
            for first, last, master, *_ in json.loads(self.ask(port, "--json", "CLUSTER", "SLOTS") or "[]"):
                if first <= slot <= last:
                    return master[1]
        return None

    def room_slots(self):
        """{slot: port} of all rooms with a log."""
        found = {}
        for port in self.masters():
            for key in self.ask(port, "KEYS", "{room:*}:log").splitlines():
                found[int(self.ask(port, "CLUSTER", "KEYSLOT", key))] = port
        return found

    def migrate(self, slot, source, target, pause=0.0):
        """As redis-cli --cluster reshard, with a pause after the keys have moved and before everybody knows."""
        masters = self.masters()
        self.ask(target, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", masters[source], check=True)
        self.ask(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", masters[target], check=True)
        time.sleep(pause)
        while keys := self.ask(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "10").splitlines():
            self.ask(source, "MIGRATE", "127.0.0.1", str(target), "", "0", "5000", "KEYS", *keys, check=True)
        time.sleep(pause)
        for port in [target, source, *[port for port in masters if port not in (source, target)]]:
            self.ask(port, "CLUSTER", "SETSLOT", str(slot), "NODE", masters[target], check=True)
            time.sleep(pause)

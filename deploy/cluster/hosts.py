"""Hosts: network namespaces on one switch, each with a supervisord that keeps its servers alive.

    caller ── veth ──▶ edge ──┐
                              switch (a bridge in a namespace of its own)
         a ── veth ───────────┤
         b ── veth ───────────┤
         c ── veth ───────────┘

Everything that runs in a host's namespace is that host's: nothing else is needed to find, kill or freeze it. Needs root.
"""

import contextlib
import os
import signal
import subprocess
import time

# The names of programs in the kernel, and ours.
NAMES = {"etcd": "etcd", "postgres": "postgres", "beam.smp": "rabbitmq", "erl_child_setup": "rabbitmq", "inet_gethost": "rabbitmq",
         "epmd": "rabbitmq", "haproxy": "haproxy", "pgpool": "pgpool", "nginx": "nginx", "weed": "seaweedfs",
         "fcgi-api": "fcgi-api", "ws-relay": "ws-relay", "queue-worker": "queue-worker"}


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """`tag`: six characters that tell the namespaces of two checkouts apart."""

    def __init__(self, name, tag, address, folder):
        self.name, self.address, self.folder = name, address, folder
        self.space = f"chat-{tag}-{name}"
        self.port = f"ch{tag}{name[0]}"  # its end at the switch
        self.runtime = folder  # for supervisor.py
        self.hardware = f"02:84:{int(tag[:2], 16):02x}:{int(tag[2:4], 16):02x}:00:{int(address.rsplit('.', 1)[1]):02x}"

    # -- its network

    def connect(self, switch):
        ip("netns", "add", self.space)
        ip("-n", switch, "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("-n", switch, "link", "set", self.port, "master", "switch", "up")
        ip("-n", self.space, "link", "set", "eth0", "address", self.hardware)
        ip("-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            ip("-n", self.space, "link", "set", link, "up")

    def cut(self, switch):
        """Drops all packets silently, in both directions."""
        ip("-n", switch, "link", "set", self.port, "down")

    def heal(self, switch):
        ip("-n", switch, "link", "set", self.port, "up")

    def lose(self, other):
        """Sends only packets to `other` to a machine that does not exist, and those from it too."""
        for here, there in ((self, other), (other, self)):
            ip("-n", here.space, "neigh", "replace", there.address, "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "eth0")

    def find(self, other):
        for here, there in ((self, other), (other, self)):
            ip("-n", here.space, "neigh", "replace", there.address, "lladdr", there.hardware, "nud", "reachable", "dev", "eth0")

    # -- its processes

    def inside(self, *words):
        return ["nsenter", f"--net=/run/netns/{self.space}", *words]

    def is_there(self):
        return os.path.exists(f"/run/netns/{self.space}")

    def pids(self):
        """Also empty when the namespace no longer exists."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in ip("netns", "pids", self.space).split()]
        return []

    def processes(self):
        """(name, PID); supervisord is "supervisord", another program has the name of its file."""
        for pid in self.pids():
            try:
                program = os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"))
                command = open(f"/proc/{pid}/cmdline", errors="replace").read()
            except OSError:
                continue  # ended meanwhile
            yield named(program, command), pid

    def signal(self, number, *names):
        """Sends a signal to all processes with these names, or of the host; returns the number of processes."""
        reached = 0
        for name, pid in list(self.processes()):
            if not names or name in names:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    reached += 1
        return reached

    def boot(self, environment):
        """Returns at once; supervisord outlives its caller."""
        with open(self.folder / "log" / "supervisord.out", "a") as out:
            subprocess.Popen(self.inside("supervisord", "-c", str(self.folder / "supervisord.conf")), stdin=subprocess.DEVNULL,
                             stdout=out, stderr=out, env=environment, cwd=self.folder, start_new_session=True)

    def is_running(self):
        return any(name == "supervisord" for name, _ in self.processes())

    def kill(self):
        """Ends the host like a power failure."""
        while self.signal(signal.SIGKILL):
            time.sleep(0.05)

    def remove(self):
        self.kill()
        if self.is_there():
            ip("netns", "del", self.space)


def named(program, command):
    if program in NAMES:
        return NAMES[program]
    if program.startswith("redis-"):
        return "sentinel" if "sentinel" in command else "redis"
    for name in ("supervisord", "patroni"):
        if name in command:
            return name
    return program


class Switch:
    """`link`: the two ends of the line from the caller's network to the edge."""

    def __init__(self, tag, link):
        self.space, self.outer, self.link = f"chat-{tag}-switch", f"ch{tag}o", link

    def make(self):
        ip("netns", "add", self.space)
        ip("-n", self.space, "link", "add", "switch", "type", "bridge")
        ip("-n", self.space, "link", "set", "switch", "up")

    def lead_to(self, edge):
        """A separate link, so that nobody outside reaches the hosts: they have no passwords."""
        ip("link", "add", self.outer, "type", "veth", "peer", "name", "outside", "netns", edge.space)
        ip("addr", "add", f"{self.link[0]}/30", "dev", self.outer)
        ip("link", "set", self.outer, "up")
        ip("-n", edge.space, "addr", "add", f"{self.link[1]}/30", "dev", "outside")
        ip("-n", edge.space, "link", "set", "outside", "up")
        subprocess.run(edge.inside("sysctl", "-qw", "net.ipv4.ip_forward=0"), check=True)

    def remove(self):
        # The kernel takes its time to remove what was in a namespace: the next start must not find it.
        with contextlib.suppress(OSError):
            ip("link", "del", self.outer)
        if os.path.exists(f"/run/netns/{self.space}"):
            ip("netns", "del", self.space)

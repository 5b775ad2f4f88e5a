"""Links that can be cut: each server is reached through a network namespace of its own.

    programs ── veth ──▶ namespace: forward ── unix socket ──▶ server
                 cut here: packets vanish without notice

PostgreSQL and Redis already listen on unix sockets; RabbitMQ gets one through a second forward outside. Needs root.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

PORT = 7000


class Network:
    """`links`: server → the name of its link outside. `close` restores the settings file."""

    def __init__(self, settings_file, folder, reload):
        self.file, self.before = Path(settings_file), Path(settings_file).read_text()
        self.reload, self.processes, self.links = reload, [], {}
        settings = dict(line.split("=", 1) for line in self.before.splitlines() if "=" in line)
        amqp = urlsplit(settings["RABBITMQ_URL"])
        database, redis = settings["DATABASE_URL"], settings["REDIS_URL"].removeprefix("unix://")
        sockets = {
            "postgres": database.split("host=")[1].split("&")[0].split()[0].replace("%2F", "/") + "/.s.PGSQL.5432",
            "redis": redis, "rabbitmq": f"{folder}/amqp.sock"}
        self.forward(f"unix:{sockets['rabbitmq']}", f"tcp:127.0.0.1:{amqp.port}")
        address = {name: self.make_link(number, name, path) for number, (name, path) in enumerate(sockets.items())}
        amqp_url = f"amqp://{amqp.username}:{amqp.password}@{address['rabbitmq']}:{PORT}{amqp.path}"
        settings |= {
            "DATABASE_URL": f"host={address['postgres']} port={PORT} user=chat dbname=chat",
            "REDIS_URL": f"redis://{address['redis']}:{PORT}", "RABBITMQ_URL": amqp_url}
        self.file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        reload()

    def make_link(self, number, name, path):
        space, outside = f"chat-{os.getpid()}-{number}", f"chat{os.getpid()}-{number}"
        here, there = f"10.213.{os.getpid() % 250}.{number * 4 + 1}", f"10.213.{os.getpid() % 250}.{number * 4 + 2}"
        ip("netns", "add", space)
        self.links[name] = (outside, space)
        ip("link", "add", outside, "type", "veth", "peer", "name", "inside", "netns", space)
        ip("addr", "add", f"{here}/30", "dev", outside)
        ip("link", "set", outside, "up")
        for words in (("addr", "add", f"{there}/30", "dev", "inside"), ("link", "set", "inside", "up")):
            ip("-n", space, *words)
        self.forward(f"tcp:{there}:{PORT}", f"unix:{path}", space)
        return there

    def forward(self, listen, target, space=None):
        inside = ["ip", "netns", "exec", space] if space else []
        words = [*inside, sys.executable, "-m", "chaos.network", listen, target]
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        process.stdout.readline()  # it listens
        self.processes.append(process)

    async def cut(self, name, seconds):
        """Cuts the inner end: cutting the outer one would notify the programs at once."""
        outside, space = self.links[name]
        ip("-n", space, "link", "set", "inside", "down")
        await asyncio.sleep(seconds)
        ip("-n", space, "link", "set", "inside", "up")

    def close(self):
        self.file.write_text(self.before)
        self.reload()
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
            process.wait()
        for _, space in self.links.values():
            ip("netns", "del", space)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


# -- the forwarding process

async def serve(listen, target):
    async def connected(reader, writer):
        try:
            server = await opened(target)
            await asyncio.gather(pump(reader, server[1]), pump(server[0], writer))
        except OSError:
            writer.close()
    if listen.startswith("unix:"):
        path = listen[5:]
        Path(path).unlink(missing_ok=True)
        await asyncio.start_unix_server(connected, path)
    else:
        _, host, port = listen.split(":")
        await asyncio.start_server(connected, host, int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def opened(target):
    if target.startswith("unix:"):
        return await asyncio.open_unix_connection(target[5:])
    _, host, port = target.split(":")
    return await asyncio.open_connection(host, int(port))


async def pump(reader, writer):
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))

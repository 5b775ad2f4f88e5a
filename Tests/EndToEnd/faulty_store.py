"""A proxy in front of an S3 store that fails as stores and networks do: 500, 503, slow, cut at any point.

    python faulty_store.py UPSTREAM_HOST:PORT SEED

It prints its own port. A line on standard input sets the share of requests that fail from then on, such as 0.2.
"""

import asyncio
import random
import sys

BLOCK = 1 << 16
FAULTS = ("500", "503", "slow", "cut at once", "cut in the body", "cut in the answer", "cut before the answer", "500 instead")
ANSWER = (b"HTTP/1.1 %d Fault\r\nContent-Type: application/xml\r\nContent-Length: 52\r\n\r\n"
          b"<Error><Code>InternalError</Code><Key>x</Key></Error>")


class Cut(Exception):
    """The connection must end here."""


class Proxy:
    def __init__(self, host, port, chance):
        self.host, self.port, self.chance, self.rate, self.counts = host, port, chance, 0.0, {}
        self.tasks = set()  # the event loop itself keeps none of them

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            while await self.request(reader, writer):
                pass
        except (Cut, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()

    def fault(self, head):
        if self.chance.random() >= self.rate:
            return None
        fault = self.chance.choice(FAULTS)
        self.counts[fault] = self.counts.get(fault, 0) + 1
        if fault == "slow" and b"?uploads=" in head and self.chance.random() < 0.1:
            return "slower than the lock"
        return fault

    async def request(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        fault = self.fault(head)
        length = header(head, b"content-length") or 0
        if fault == "cut at once":
            raise Cut
        if fault in ("slow", "slower than the lock"):
            await asyncio.sleep(self.chance.uniform(0.1, 1.5) if fault == "slow" else 11)
        if fault in ("500", "503"):
            await copy(reader, None, length)
            writer.write(ANSWER % int(fault))
            await writer.drain()
            return True
        upstream, out = await asyncio.open_connection(self.host, self.port)
        try:
            # A new connection each time: its end is the end of the answer.
            out.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            await copy(reader, out, length // 2 if fault == "cut in the body" else length)
            if fault == "cut in the body":
                raise Cut
            await self.answer(upstream, writer, fault, head.startswith(b"HEAD"))
        finally:
            out.transport.abort()
        return False

    async def answer(self, upstream, writer, fault, is_head):
        while (head := await upstream.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 1"):
            writer.write(head)
        body = b"" if is_head else None
        if fault:
            body = await upstream.read() if body is None else body
        if fault == "cut before the answer":
            raise Cut
        if fault == "500 instead":
            writer.write(ANSWER % 500)
        elif fault == "cut in the answer":
            writer.write((head + body)[:(len(head) + len(body)) * 2 // 3])
        else:
            writer.write(head)
            if body is None:
                await copy(upstream, writer, 1 << 62)
            else:
                writer.write(body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def header(head, name):
    for line in head.split(b"\r\n")[1:]:
        if line.lower().startswith(name + b":"):
            return int(line.split(b":", 1)[1])
    return None


async def copy(reader, writer, length):
    while length > 0:
        block = await reader.read(min(BLOCK, length))
        if not block:
            return
        length -= len(block)
        if writer:
            writer.write(block)
            await writer.drain()


async def main(upstream, seed):
    host, port = upstream.rsplit(":", 1)
    proxy = Proxy(host, int(port), random.Random(seed))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        proxy.rate = float(line)
    print(proxy.counts, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))

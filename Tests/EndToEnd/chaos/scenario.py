"""One run: clients connect, faults begin and end, everything must catch up, the ledger is checked."""

import asyncio
import random
import time

from client import call
from waiting import eventually_async

from .faults import Faults
from .ledger import Ledger
from .people import Person, Uploader

PEOPLE = 12
ROOMS = 3
# Everything must have recovered this long after the last fault; RabbitMQ alone takes ten seconds to start.
SETTLE_SECONDS = 120


class Run:
    def __init__(self, base_url, secret, ask, seed, seconds, freeze_seconds, network=None, resize=None,
                 least_faults=0):
        """`seconds`, and until `least_faults` were there: on a busy machine each takes longer."""
        self.base_url, self.seconds, self.least_faults = base_url, seconds, least_faults
        self.ledger = Ledger()
        self.people = [Person(base_url, secret, self.ledger, random.Random(f"{seed} {number}"))
                       for number in range(PEOPLE)]
        self.uploader = Uploader(base_url, secret, self.ledger)
        self.faults = Faults(ask, seed, freeze_seconds, network, resize)

    async def play(self):
        lives = [asyncio.create_task(person.stay_connected()) for person in self.people]
        await asyncio.gather(*[person.connected.wait() for person in self.people])
        rooms = await asyncio.to_thread(self.make_rooms)
        # Files too take their Seqs in one order for all.
        album = await asyncio.to_thread(self.uploader.user.group, *[person.user for person in self.people])
        rooms.append(album)
        self.start = time.monotonic()
        await asyncio.gather(self.faults.run(self.is_over), self.uploader.work(album, self.is_over),
                             *[person.write(self.is_over) for person in self.people])
        self.end = time.monotonic()
        await self.until(self.is_ready, "the service is not ready")
        await self.until(lambda: self.stores_files(album), "files are not stored")
        await self.tell_unanswered()
        await self.until(lambda: self.is_delivered(rooms), "not everything is delivered")
        for life in lives:
            life.cancel()
        return await asyncio.to_thread(self.verdict, rooms)

    def is_over(self):
        return time.monotonic() >= self.start + self.seconds and len(self.faults.done) >= self.least_faults

    def make_rooms(self):
        owner, *others = self.people
        rooms = []
        for number in range(ROOMS):
            # Frames may arrive before the answer that names the room.
            room = owner.user.group(*[person.user for person in others], name=f"Chaos {number}")
            rooms.append(room)
        for person in self.people:
            person.rooms = rooms
        return rooms

    async def until(self, holds, otherwise):
        """A failure to settle is in the verdict, with everything else."""
        try:
            await eventually_async(
                holds, SETTLE_SECONDS, lambda: f"{otherwise} {SETTLE_SECONDS} s after the last fault", pause=0.5)
        except AssertionError as late:
            self.ledger.trouble.append(str(late))

    async def is_ready(self):
        status, text = await call(self.base_url, "GET", "/readyz", "-", seconds=10)
        return status == 200 and all(person.connected.is_set() for person in self.people)

    async def stores_files(self, album):
        """Readiness does not depend on the object store: a chat without files still works."""
        status, _ = await self.uploader.upload(album, b"the last one")
        return status == 201 and not await asyncio.to_thread(self.uploader.missing_files)

    async def tell_unanswered(self):
        """A client without an answer asks once more, with the same Sign; nothing should prevent it now."""
        async def ask(person):
            for send in [send for send in self.ledger.sends.values() if send.sender == person.user.id]:
                tries = 0
                while send.acknowledged is None and tries < 20:
                    tries += 1
                    await person.attempt(send)
                if send.acknowledged is None:
                    self.ledger.trouble.append(f"{send.sign} has no answer although all is well")
        await asyncio.gather(*[ask(person) for person in self.people])

    def last_seqs(self, rooms):
        return {room: self.people[0].user.data("GET", f"/rooms/{room}")["LastSeq"] for room in rooms}

    async def is_delivered(self, rooms):
        last = await asyncio.to_thread(self.last_seqs, rooms)
        return all(person.stream(room).last >= last[room] for person in self.people for room in rooms)

    def verdict(self, rooms):
        users = [person.user.id for person in self.people]
        found = self.ledger.verdict(
            {room: self.people[0].user.history(room) for room in rooms}, self.last_seqs(rooms),
            {room: users for room in rooms})
        found["files that do not come back"] = self.uploader.missing_files()
        return found

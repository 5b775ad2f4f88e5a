"""Records what the clients saw and checks that it is consistent. No I/O: a test feeds it errors that it must find."""

import time
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Send:
    """One message under one Sign, however many tries it takes."""
    sign: str
    sender: str
    room: str
    route: str
    started: float
    attempts: int = 0
    acknowledged: float | None = None
    id: str | None = None
    seq: int | None = None


class Stream:
    """One client's copy of one room's order, over all its sockets: each frame must be the next one."""

    def __init__(self):
        self.last = 0
        self.doubled, self.disordered, self.gaps = [], [], []
        self.repeats = set()
        self.resyncs = 0

    def frame(self, seq, of_this_socket, is_beside=False):
        """`of_this_socket`: the Seqs that its socket has received. `is_beside`: another socket of this client brings the same frames, so
        the first copy of each counts."""
        if seq == self.last + 1:
            self.last = seq
        elif seq > self.last:
            self.gaps.append((self.last, seq))
            self.last = seq
        elif seq in self.repeats:
            self.repeats.remove(seq)
        elif is_beside and seq > max(of_this_socket, default=0):
            pass
        elif seq in of_this_socket:
            self.doubled.append(seq)
        else:
            self.disordered.append((self.last, seq))
        of_this_socket.add(seq)

    def answer_to_retry(self, seq, of_this_socket):
        """The room's frame itself, when it is next; or a repeated first answer, whose frame arrives in order."""
        if seq == self.last + 1:
            self.frame(seq, of_this_socket)
            self.repeats.add(seq)

    def resync(self, seq):
        """The relay sent resync: fetch up to here over REST, frames continue after it."""
        self.resyncs += 1
        self.last = max(self.last, seq)


@dataclass
class Ledger:
    sends: dict = field(default_factory=dict)  # Sign → Send
    streams: dict = field(default_factory=lambda: defaultdict(Stream))  # (user, room) → Stream
    files: dict = field(default_factory=dict)  # message id → SHA-256 of what was acknowledged
    answers: list = field(default_factory=list)  # (time, route, outcome, seconds)
    deliveries: list = field(default_factory=list)  # times
    reconnects: int = 0
    closed: list = field(default_factory=list)  # (time, host) of sockets that ended
    moves: int = 0
    closed_movers: list = field(default_factory=list)  # (time, user, host) of sockets that ended although their client moved
    trouble: list = field(default_factory=list)  # answers that no outage explains

    def answered(self, send, outcome, since):
        self.answers.append((time.monotonic(), send.route, outcome, time.monotonic() - since))

    def acknowledge(self, send, id, seq):
        if send.acknowledged is None:
            send.acknowledged, send.id, send.seq = time.monotonic(), id, seq
        elif (send.id, send.seq) != (id, seq):
            self.trouble.append(f"{send.sign} was answered {send.id} at {send.seq}, then {id} at {seq}")

    def verdict(self, histories, last_seqs, members):
        """`histories`: room → messages from REST; `last_seqs`: room → newest Seq; `members`: room → users.
        Returns the names of all counts that must be 0, with the findings."""
        found = {name: [] for name in (
            "acknowledged and missing", "stored twice", "answered wrongly", "Seq twice", "Seq gaps at a client",
            "doubled at a socket", "out of order", "sends out of order", "not delivered to the end", "other trouble")}
        for room, messages in histories.items():
            self._stored(room, messages, found)
        for (user, room), stream in self.streams.items():
            where = f"{user[:8]} in {room[:8]}"
            found["Seq gaps at a client"] += [f"{where}: {gap}" for gap in stream.gaps]
            found["doubled at a socket"] += [f"{where}: {seq}" for seq in stream.doubled]
            found["out of order"] += [f"{where}: {pair}" for pair in stream.disordered]
        for room, users in members.items():
            found["not delivered to the end"] += [
                f"{user[:8]} in {room[:8]}: {self.streams[user, room].last} of {last_seqs[room]}"
                for user in users if self.streams[user, room].last != last_seqs[room]]
        found["other trouble"] = self.trouble
        return found

    def _stored(self, room, messages, found):
        seqs = [message["Seq"] for message in messages]
        found["Seq twice"] += [f"{room[:8]}: {a}" for a, b in zip(seqs, seqs[1:]) if b <= a]
        by_sign = defaultdict(list)
        for message in messages:
            if message.get("Sign"):
                by_sign[message["Sign"]].append(message)
        found["stored twice"] += [sign for sign, stored in by_sign.items() if len(stored) > 1]
        previous = {}
        for send in self.sends.values():
            if send.room != room or send.acknowledged is None:
                continue
            stored = by_sign.get(send.sign)
            if not stored:
                found["acknowledged and missing"].append(send.sign)
            elif (stored[0]["ID"], stored[0]["Seq"]) != (send.id, send.seq):
                found["answered wrongly"].append(send.sign)
            # A sender that waits for each answer must find its own messages in the order of sending.
            before = previous.get(send.sender)
            if before and before.acknowledged < send.started and before.seq > send.seq:
                found["sends out of order"].append(f"{before.sign} {send.sign}")
            previous[send.sender] = send

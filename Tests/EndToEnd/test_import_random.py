"""Random installations: exported and imported they are the same bytes, and a killed import ends as one that was not."""

import random
import subprocess
import uuid

import pytest
from importing import at, room_id, text
from waiting import eventually

WORDS = ["", " é", " \U0001f600", " \"quoted\\", " <@u1>", "\n\tand more", " \u202bעברית\u202c", " &amp;", " x" * 200]
EMOJI = ["👍", "❤️", "🎉", "😀", "🏳️‍🌈"]
METADATA = [{"a": 1}, {"kind": "poll", "Options": ["x", "y"]}, {"n": -0.5, "b": True, "z": None}, {"é": {"deep": [[], {}]}}]


class Installation:
    """Lines of a random installation; the same seed gives the same lines."""

    def __init__(self, seed, rooms=12, messages=25):
        self.random = random.Random(seed)
        self.users = [str(uuid.UUID(int=self.random.getrandbits(128), version=4)) if n % 3 else f"u{n} é" for n in range(12)]
        self.lines, self.files, self.time = [], [], 0
        self.settings()
        for number in range(rooms):
            self.room(f"room {number}", self.random.choice(["GROUP", "CHANNEL", "PRIVATE"]), self.random.randrange(messages))
        # Lines of different rooms are mixed, and in no order of kinds: what belongs together is found by its names.
        self.random.shuffle(self.lines)

    def now(self):
        self.time += 1 + self.random.randrange(3)
        return at(self.time)

    def maybe(self, share, **fields):
        return {key: value() if callable(value) else value for key, value in fields.items() if self.random.random() < share}

    def add(self, kind, **fields):
        self.lines.append({"Kind": kind, **fields})

    def settings(self):
        for user in self.users:
            if self.random.random() < 0.7:
                # Without a time it would be that of the import.
                self.add("user", ID=user, CreatedAt=self.now(), **self.maybe(0.5, Name=f"Name of {user[:9]}", Avatar="https://h.example/a?b=c",
                                                                             Metadata=lambda: self.random.choice(METADATA), DeactivatedAt=self.now))
            if self.random.random() < 0.4:
                self.add("account", UserID=user, HidePresence=self.random.random() < 0.5, **self.maybe(
                    0.5, AddedBy=lambda: self.random.choice(["everybody", "shared", "nobody"]), PushMentionsOnly=True,
                    QuietHours={"From": "22:30", "To": "06:00", "TimeZone": "Asia/Kathmandu"}))
        for _ in range(5):
            one, other = self.random.sample(self.users[:4], 2)
            block = {"Kind": "block", "UserID": one, "BlockedID": other, "CreatedAt": at(10**6)}
            if block not in self.lines:
                self.lines.append(block)

    def room(self, room, kind, messages):
        members = self.random.sample(self.users, 2 if kind == "PRIVATE" else self.random.randrange(1, 8))
        if kind == "PRIVATE":
            pair = sorted(members)
            if any(sorted(line.get("Members", [])) == pair for line in self.lines):
                return
        self.add("room", ID=room, Type=kind, OwnerID=members[0], CreatedAt=self.now(),
                 **({"Members": members} if kind == "PRIVATE" else {"Name": f"{room} é", **self.maybe(0.2, DeletedAt=self.now)}),
                 **self.maybe(0.3, Description="one\ntwo", Avatar="a.png", Metadata=lambda: self.random.choice(METADATA), Sign=f"sign of {room}"),
                 **({} if kind == "PRIVATE" else self.maybe(0.3, MemberLimit=30)))
        for place, user in enumerate(members):
            role = "OWNER" if place == 0 and kind != "PRIVATE" else "MEMBER"
            ended = {} if place == 0 or kind == "PRIVATE" else self.maybe(0.3, LeftAt=self.now) or self.maybe(0.2, BannedAt=self.now)
            self.add("member", RoomID=room, UserID=user, Role=role, JoinedAt=self.now(), **ended, **self.maybe(0.3, LastSeenAt=self.now,
                     MutedUntil="2999-01-01T00:00:00Z", Metadata=lambda: self.random.choice(METADATA)))
        writers = members if kind == "PRIVATE" else self.users
        mine = []
        for number in range(messages):
            self.message(room, number, writers, mine)

    def message(self, room, number, writers, mine):
        name = f"{room}/{number}"
        line = {"ID": name, "RoomID": room, "SenderID": self.random.choice(writers), "CreatedAt": self.now(), **self.maybe(0.2, Sign=f"sign of {name}")}
        if self.random.random() < 0.15:
            return self.add("message", **line, DeletedAt=self.now())
        line["Content"] = name + self.random.choice(WORDS)
        choice = self.random.random()
        if choice < 0.2 and mine:
            line |= {"MessageType": "replied", "ParentMessageID": self.random.choice(mine)}
        elif choice < 0.35:
            line["Content"] = f"{number} é.png"
            link = {"Name": f"{number}.png", "Size": number, **self.maybe(0.5, URL=f"https://h.example/{number}", ContentType="image/png", Width=3, Height=4)}
            line |= {"ContentType": "image", "File": link}
            self.files.append((name, link))
        elif choice < 0.45 and self.files:
            original, link = self.random.choice(self.files)
            line |= {"Content": "-", "ContentType": "image", "File": link, "MessageType": "forwarded", "ForwardedFrom": original, "ParentMessageID": original}
        elif choice < 0.5:
            line |= {"MessageType": "system"}
        if self.random.random() < 0.3:
            line["Reactions"] = [{"Reaction": emoji, "Users": self.random.sample(writers, self.random.randrange(1, min(4, len(writers) + 1)))}
                                 for emoji in self.random.sample(EMOJI, self.random.randrange(1, 3))]
        self.add("message", **line, **self.maybe(0.15, PinnedAt=self.now, Metadata=lambda: self.random.choice(METADATA), EditedAt=self.now))
        mine.append(name)
        for user in self.random.sample(writers, 2) if self.random.random() < 0.2 else ():
            self.add("reaction", MessageID=name, Reaction=self.random.choice(EMOJI), UserID=user)
        if "File" not in line and line.get("MessageType", "direct") in ("direct", "replied"):
            for edit in range(self.random.choice([0, 0, 0, 1, 3])):
                self.add("edit", MessageID=name, Content=f"before {edit}", ReplacedAt=self.now())


@pytest.mark.parametrize("seed", range(5))
def test_a_random_installation_is_the_same_bytes_after_export_and_import(make_base, seed):
    lines = Installation(seed).lines
    first, second, third = make_base(), make_base(), make_base()
    first.run("import", "-", text=text(lines))
    exported = first.run("export", "--all")
    assert exported.count(b"\n") > 100
    second.run("import", "-", text=exported)
    assert second.run("export", "--all") == exported
    # Once more, and in another order of lines, nothing is missing and nothing is new.
    shuffled = exported.splitlines()[1:]
    random.Random(seed).shuffle(shuffled)
    third.run("import", "-", text=b"\n".join(shuffled))
    assert third.run("export", "--all") == exported
    for base in (first, second, third):
        assert b"0 users, 0 rooms, 0 members, 0 messages, 0 earlier contents" in base.run("import", "-", text=exported)
    # Each room alone, with what is around it: users of other rooms and originals that are not in it are left out.
    room = next(line["ID"] for line in lines if line["Kind"] == "room" and line["Type"] != "PRIVATE" and "DeletedAt" not in line)
    one = first.run("export", "--room", room)
    alone = make_base()
    alone.run("import", "-", text=one)
    assert alone.run("export", "--room", room) == one


@pytest.mark.parametrize("seed", range(2))
def test_an_import_that_is_killed_anywhere_ends_as_one_that_was_not(make_base, tmp_path, seed):
    """Small rooms, large ones, and one that is in use; the moments are counts of rows."""
    lines = Installation(seed, rooms=40, messages=60).lines
    for room in ("large 1", "large 2"):
        lines += [{"Kind": "room", "ID": room, "Type": "GROUP", "Name": room, "OwnerID": "1", "CreatedAt": at(0)},
                  {"Kind": "member", "RoomID": room, "UserID": "1", "Role": "OWNER", "JoinedAt": at(0)}]
        lines += [{"Kind": "message", "ID": f"{room}/{n}", "RoomID": room, "SenderID": "1", "Content": f"{n}", "CreatedAt": at(n)} for n in range(5500)]
    used = [{"Kind": "room", "ID": "used", "Type": "GROUP", "Name": "used", "OwnerID": "1", "CreatedAt": at(0)},
            {"Kind": "member", "RoomID": "used", "UserID": "1", "Role": "OWNER", "JoinedAt": at(0)}]
    lines += used + [{"Kind": "message", "ID": f"used/{n}", "RoomID": "used", "SenderID": f"{n % 7}", "Content": f"{n}", "CreatedAt": at(n)} for n in range(1500)]
    path = tmp_path / "file.ndjson"
    path.write_bytes(text(lines))
    whole, killed = make_base(), make_base()
    for base in (whole, killed):
        base.store(used)
    whole.run("import", path)
    total, moments = int(whole.ask("SELECT count(*) FROM messages")), random.Random(seed)
    for moment in sorted(moments.sample(range(total), 4)):
        process = subprocess.Popen(killed.command("import", path), env=killed.environment, stdout=subprocess.DEVNULL)
        eventually(lambda: process.poll() is not None or int(killed.ask("SELECT count(*) FROM messages")) >= moment or None, 120, pause=0.002)  # noqa: B023
        process.kill()
        process.wait()
        # Rooms are complete or are not there.
        assert killed.ask("SELECT count(*) FROM messages m JOIN rooms r ON r.id = m.room_id WHERE r.deleted_at IS NULL "
                          "AND r.name LIKE 'large%' HAVING count(*) NOT IN (0, 5500, 11000)") == ""
    killed.run("import", path)
    assert killed.run("export", "--all") == whole.run("export", "--all")
    assert killed.ask(f"SELECT last_seq, message_count FROM rooms WHERE id = '{room_id('used')}'") == "1500|1500"

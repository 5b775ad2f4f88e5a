"""The format between the chat's own programs, for a publisher that replaces queue-worker."""

import base64
import hashlib
import hmac
import json
import socket
import struct
import subprocess
import time


# Bytes of the frame that `chunk` makes, besides its content.
OVERHEAD = 77


def settings(path):
    lines = (line.strip() for line in open(path))
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def token(secret, user):
    b64 = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    head = b64(b'{"alg":"HS256","typ":"JWT"}')
    body = b64(json.dumps({"sub": str(user), "exp": int(time.time()) + 36000}).encode())
    mark = b64(hmac.new(secret.encode(), head + b"." + body, hashlib.sha256).digest())
    return (head + b"." + body + b"." + mark).decode()


def text(value):
    raw = value.encode()
    return (bytes([0xA0 | len(raw)]) if len(raw) < 32 else b"\xd9" + bytes([len(raw)])) + raw


def chunk(room, seq, size):
    """One new_message frame as queue-worker publishes it; `size` bytes of content."""
    body = text("Success") + b"\xc3" + text("Error") + text("") + text("Data") + text("x" * size)
    body += text("RoomID") + text(str(room)) + text("Seq") + b"\xce" + struct.pack(">I", seq)
    frame = struct.pack("<QB", seq, 2) + struct.pack("<QQ", 0, 0) + b"\xff" + struct.pack("<HHHH", 0, 0, 0, 0)
    frame += bytes([5]) + struct.pack("<I", len(body)) + body
    return b"\x01" + room.bytes + struct.pack("<I", 1) + frame


class Redis:
    def __init__(self, url):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(url.removeprefix("unix://").split("?")[0])

    def pipeline(self, commands):
        out = b"".join(b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in c) for c in commands)
        self.socket.sendall(out)
        answers = 0
        while answers < len(commands):
            answers += self.socket.recv(65536).count(b"\r\n")


def insert_rooms(values, rooms, users, room_of):
    query = "".join(
        f"insert into rooms(id,type,name,owner_id,created_by,member_count,member_limit,last_activity_at,created_at) "
        f"values('{room}',2,'g','{users[0]}','{users[0]}',1,100000,now(),now());" for room in rooms)
    query += "insert into members(room_id,user_id,role,joined_at,joined_seq) values " + ",".join(
        f"('{rooms[room_of(index)]}','{user}',1,now(),0)" for index, user in enumerate(users)) + ";"
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", values["DATABASE_URL"]], input=query.encode(), check=True)

"""Tests whether a message can be sent, through nginx, as a client."""

import http.client
import json
import os
import socket
import subprocess
import uuid
from urllib.parse import urlsplit

from instance import Refusal

# Two fixed test users, so that every start adds to one small room instead of making new ones.
SENDER = uuid.uuid5(uuid.NAMESPACE_URL, "chat:probe:sender")
RECEIVER = uuid.uuid5(uuid.NAMESPACE_URL, "chat:probe:receiver")


def is_ready(url):
    status, body = call(url, "GET", "/readyz")
    if status != 200:
        raise Refusal(f"/readyz answers {status} {json.dumps(body) if body else ''}".strip())
    return True


def send_message(instance, url):
    token = issue_token(instance, SENDER, 60)
    status, room = call(url, "POST", "/api/v1/rooms", token, {"Type": "PRIVATE", "Members": [str(RECEIVER)]})
    if status not in (200, 201):
        raise Refusal(f"POST /api/v1/rooms answered {status}")
    path = f"/api/v1/rooms/{room['Data']['ID']}/messages"
    status, _ = call(url, "POST", path, token, {"Content": "ready", "Sign": str(uuid.uuid4())})
    if status != 201:
        raise Refusal(f"POST {path} answered {status}")
    return opens_websocket(url, token)


def issue_token(instance, user, seconds, name=None):
    """Runs the program itself, without the caller's environment: the secret must be the one in the file."""
    # The programs of the running stack, which `make up CHAT_BIN=…` may have started.
    words = [f"{instance.runtime}/bin/fcgi-api", "token", "issue", "--user", str(user), "--ttl", str(seconds),
             "-c", str(instance.env_file), *(["--name", name] if name else [])]
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    answer = subprocess.run(words, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if answer.returncode:
        raise Refusal(f"fcgi-api could not issue a token: {answer.stderr.strip()}")
    return answer.stdout.strip()


def call(url, method, path, token=None, body=None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error))
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, None


def opens_websocket(url, token):
    """A handshake without a library: the standard library has no WebSocket, and the start must not depend on a test package."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall((f"GET /ws/v1/chat HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                            f"Authorization: Bearer {token}\r\n\r\n").encode())
        status = connection.recv(64).split(b"\r\n")[0]
    if b" 101 " not in status:
        raise Refusal(f"GET /ws/v1/chat answered '{status.decode(errors='replace')}'")
    return True

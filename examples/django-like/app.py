"""A host application as Django makes one, in the standard library alone: integer ids, passwords, a session cookie of its own.
The chat knows its users by these ids. In Django these are three views, and `request.user.id` takes the place of `user_of`.

    CHAT_URL=http://127.0.0.1:8000 JWT_SECRET=… SECRET_KEY=… python3 app.py 8080
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
from http.cookies import SimpleCookie
from wsgiref.simple_server import make_server

CHAT, CHAT_SECRET, OWN_SECRET = (os.environ[name] for name in ("CHAT_URL", "JWT_SECRET", "SECRET_KEY"))


def hashed(password, salt):
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 20_000).hex()


USERS = {name: (number, hashed(name * 2, name)) for number, name in enumerate(("alice", "bob", "carol"), 1)}


def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signature(text, secret):
    return encoded(hmac.digest(secret.encode(), text.encode(), "sha256"))


def token(user):
    """The chat's token of one of our users: an integer in `sub` is as good as text."""
    claims = {"sub": user, "iat": int(time.time()), "exp": int(time.time()) + 3600}
    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{signature(text, CHAT_SECRET)}"


def chat(user, path, body=None):
    """Calls the chat as one of our users. Its refusals are ours."""
    request = urllib.request.Request(f"{CHAT}/api/v1{path}", json.dumps(body or {}).encode(), method="POST", headers={
        "Authorization": f"Bearer {token(user)}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return "200 OK", json.load(answer)["Data"]
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}", {"error": json.load(error)["Error"]["Message"]}
    except OSError:
        return "503 Service Unavailable", {"error": "the chat does not answer"}


def user_of(environ):
    """The user of the session cookie `number.end.signature`; None: nobody is logged in."""
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("sessionid")
    text, _, given = cookie.value.rpartition(".") if cookie else ("", "", "")
    if not given or not hmac.compare_digest(given.encode(), signature(text, OWN_SECRET).encode()):
        return None
    number, end = map(int, text.split("."))
    return number if time.time() < end else None


def view(environ):
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", {"error": "POST"}, None
    body = json.loads(environ["wsgi.input"].read(min(int(environ.get("CONTENT_LENGTH") or 0), 65536)) or b"{}")
    if environ["PATH_INFO"] == "/login":
        number, right = USERS.get(body["username"], (0, ""))
        if not hmac.compare_digest(right, hashed(body["password"], body["username"])):
            return "403 Forbidden", {"error": "wrong name or password"}, None
        text = f"{number}.{int(time.time()) + 14 * 86400}"
        return "200 OK", {"id": number}, f"sessionid={text}.{signature(text, OWN_SECRET)}; HttpOnly; SameSite=Strict; Path=/"
    if (user := user_of(environ)) is None:
        return "403 Forbidden", {"error": "log in first"}, None
    if environ["PATH_INFO"] == "/chat/ticket":  # for new WebSocket(`${chat}/ws/v1/chat?ticket=${Ticket}`)
        return *chat(user, "/ws-ticket"), None
    if environ["PATH_INFO"] == "/chat/rooms":
        members = [str(int(number)) for number in body["members"]]
        return *chat(user, "/rooms", {"Type": "GROUP", "Name": body["name"], "Members": members}), None
    return "404 Not Found", {"error": "there is no such page"}, None


def application(environ, start_response):
    try:
        status, answer, cookie = view(environ)
    except (ValueError, KeyError, TypeError, AttributeError):
        status, answer, cookie = "400 Bad Request", {"error": "the request cannot be read"}, None
    start_response(status, [("Content-Type", "application/json")] + ([("Set-Cookie", cookie)] if cookie else []))
    return [json.dumps(answer).encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), application) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()

"""A fake Google: OAuth2 and FCM HTTP v1 over TLS and HTTP/2. It checks every request and answers as a test wants."""

import asyncio
import base64
import json
import subprocess
import threading
import time
from urllib.parse import parse_qs

import jsonschema
from hypercorn.asyncio import serve
from hypercorn.config import Config

PROJECT = "chat-test"
EMAIL = f"push@{PROJECT}.iam.gserviceaccount.com"
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
# https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages, as far as a chat needs it.
MESSAGE = {
    "type": "object", "required": ["message"], "additionalProperties": False,
    "properties": {"message": {
        "type": "object", "required": ["token"], "additionalProperties": False,
        "properties": {
            "token": {"type": "string", "minLength": 1},
            "data": {**TEXTS, "propertyNames": {"not": {"pattern": "^(from|message_type|google|gcm)"}}},
            "notification": {"type": "object", "additionalProperties": False,
                             "properties": {name: {"type": "string"} for name in ("title", "body", "image")}},
            "android": {
                "type": "object", "additionalProperties": False,
                "properties": {
                    "collapse_key": {"type": "string"}, "priority": {"enum": ["NORMAL", "HIGH"]},
                    "ttl": {"type": "string", "pattern": r"^\d+(\.\d{1,9})?s$"},
                    "notification": {"type": "object", "additionalProperties": False,
                                     "properties": {"tag": {"type": "string"}, "notification_count": {"type": "integer"}}}}},
            "apns": {"type": "object", "additionalProperties": False,
                     "properties": {"headers": TEXTS, "payload": {"type": "object", "required": ["aps"]}}},
        }}}}


def error(status, name, code=None, **more):
    """An answer in the form that the documentation of ErrorCode shows."""
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    return status, {"error": {"code": status, "message": name, "status": name, "details": details}}, more


class Google:
    """`answers`: device → successive answers, then success. `pushes` records the pushes, `trouble` the errors."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.answers, self.pushes, self.trouble, self.tokens = {}, [], [], 0
        self.changed = threading.Condition()
        self.make_keys()
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    def make_keys(self):
        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, cwd=self.folder, capture_output=True)
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.pem", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "account.key")
        openssl("pkey", "-in", "account.key", "-pubout", "-out", "account.pub")
        (self.folder / "account.json").write_text(json.dumps({
            "type": "service_account", "project_id": PROJECT, "client_email": EMAIL, "token_uri": f"{self.url}/token",
            "private_key": (self.folder / "account.key").read_text()}))

    def run(self):
        config = Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.certfile, config.keyfile = str(self.folder / "tls.pem"), str(self.folder / "tls.key")
        config.accesslog = config.errorlog = None
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(serve(self.app, config, shutdown_trigger=self.stop.wait))

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)

    async def app(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while (part := await receive())["type"] == "http.request":
            body += part["body"]
            if not part["more_body"]:
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        try:
            assert scope["http_version"] == "2", f"HTTP/{scope['http_version']}"
            status, answer, more = (self.token if scope["path"] == "/token" else self.push)(scope, headers, body)
        except Exception as problem:
            self.trouble.append(f"{scope['path']}: {problem!r}")
            status, answer, more = error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        lines = [(b"content-type", b"application/json"), *[(name.encode(), str(value).encode()) for name, value in more.items()]]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def token(self, scope, headers, body):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        signed, _, signature = form["assertion"].rpartition(".")
        (self.folder / "signed").write_text(signed)
        (self.folder / "signature").write_bytes(decoded(signature))
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", "account.pub", "-signature", "signature", "signed"],
                       cwd=self.folder, check=True, capture_output=True)
        head, claims = (json.loads(decoded(part)) for part in signed.split("."))
        assert head["alg"] == "RS256" and claims["iss"] == EMAIL and claims["aud"] == f"{self.url}/token", claims
        assert claims["scope"].endswith("/auth/firebase.messaging") and 0 < claims["exp"] - claims["iat"] <= 3600
        self.tokens += 1
        return 200, {"access_token": f"access {self.tokens}", "expires_in": 3600, "token_type": "Bearer"}, {}

    def push(self, scope, headers, body):
        assert scope["method"] == "POST" and scope["path"] == f"/v1/projects/{PROJECT}/messages:send", scope["path"]
        assert len(body) <= 4096
        if headers["authorization"] != f"Bearer access {self.tokens}":
            return error(401, "UNAUTHENTICATED")
        request = json.loads(body)
        jsonschema.validate(request, MESSAGE)
        message = request["message"]
        waiting = self.answers.get(message["token"], [])
        answer = waiting.pop(0) if waiting else (200, {"name": f"projects/{PROJECT}/messages/1"}, {})
        with self.changed:
            self.pushes.append({**message, "status": answer[0], "at": time.monotonic(),
                                "traceparent": headers.get("traceparent")})
            self.changed.notify_all()
        return answer

    def sent_to(self, device, count=1, seconds=30):
        """Waits for this many tries."""
        with self.changed:
            there = lambda: [push for push in self.pushes if push["token"] == device]
            assert self.changed.wait_for(lambda: len(there()) >= count, seconds), f"{there()} {self.trouble}"
            return there()


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

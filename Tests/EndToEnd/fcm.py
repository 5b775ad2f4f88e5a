"""A fake Google: OAuth2 and FCM HTTP v1 over TLS and HTTP/2. It checks every request and answers as a test wants."""

import base64
import json
import time
from urllib.parse import parse_qs

import jsonschema

from push_server import PushServer

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


def written(status, answer, more):
    return status, {"content-type": "application/json", **more}, json.dumps(answer).encode()


class Google(PushServer):
    """`answers`: device → successive answers, then success. `pushes` records the pushes, `trouble` the errors."""

    device = "token"
    refused = written(*error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"))

    def __init__(self, folder, tls_port):
        super().__init__(folder, tls_port)
        self.tokens = 0
        self.make_account()
        self.start()

    @property
    def url(self):
        return f"https://localhost:{self.tls_port}"

    def make_account(self):
        self.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "account.key")
        self.openssl("pkey", "-in", "account.key", "-pubout", "-out", "account.pub")
        (self.folder / "account.json").write_text(json.dumps({
            "type": "service_account", "project_id": PROJECT, "client_email": EMAIL, "token_uri": f"{self.url}/token",
            "private_key": (self.folder / "account.key").read_text()}))

    def answer(self, scope, headers, body):
        assert scope["http_version"] == "2", f"HTTP/{scope['http_version']}"
        return written(*(self.token if scope["path"] == "/token" else self.push)(scope, headers, body))

    def token(self, scope, headers, body):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        signed, _, signature = form["assertion"].rpartition(".")
        (self.folder / "signed").write_text(signed)
        (self.folder / "signature").write_bytes(decoded(signature))
        self.openssl("dgst", "-sha256", "-verify", "account.pub", "-signature", "signature", "signed")
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
        answer = self.next_answer(message["token"], (200, {"name": f"projects/{PROJECT}/messages/1"}, {}))
        self.record({**message, "status": answer[0], "at": time.monotonic(), "traceparent": headers.get("traceparent")})
        return answer


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

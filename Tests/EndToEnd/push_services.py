"""Push services of our own: one for Web Push, which decrypts as a browser does, Apple's, and a gateway of the host's. Each checks
every request, and answers as a test wants."""

import base64
import hashlib
import hmac
import json
import time
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from push_server import PushServer

KEY_ID, TEAM_ID, TOPIC = "ABC123DEFG", "TEAM456789", "org.example.chat"
SUBJECT = "mailto:operator@example.org"


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point(key):
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def derived(secret, salt, info, length):
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def checked_token(token, key):
    """The head and the claims of a JWT with ES256 whose signature is right."""
    signed, _, signature = token.rpartition(".")
    raw = decoded(signature)
    assert len(raw) == 64
    numbers = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(numbers, signed.encode(), ec.ECDSA(hashes.SHA256()))
    head, claims = (json.loads(decoded(part)) for part in signed.split("."))
    assert head["alg"] == "ES256", head
    return head, claims


class Browser:
    """A subscription, with the private key that no server has."""

    def __init__(self, services, port=None):
        self.id = str(uuid.uuid4())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = uuid.uuid4().bytes
        self.endpoint = f"http://127.0.0.1:{port or services.port}/webpush/{self.id}"
        services.browsers[self.id] = self

    @property
    def subscription(self):
        return {"Kind": "webpush", "Endpoint": self.endpoint,
                "Keys": {"p256dh": encoded(point(self.key.public_key())), "auth": encoded(self.auth)}}

    def decrypt(self, body):
        """RFC 8291 and 8188, from the receiver's side."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, record = body[21:21 + length], body[21 + length:]
        assert length == 65 and len(body) <= 4096 and len(record) <= size
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        info = b"WebPush: info\0" + point(self.key.public_key()) + sender
        secret = derived(shared, self.auth, info, 32)
        content = derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = derived(secret, salt, b"Content-Encoding: nonce\0", 12)
        text = AESGCM(content).decrypt(nonce, record, None)
        text = text.rstrip(b"\0")
        assert text[-1] == 2
        return json.loads(text[:-1])


class Services(PushServer):
    """`answers`: device → successive answers (status, headers, body), then success. `pushes` records what came, `trouble` errors."""

    def __init__(self, folder, port, tls_port, hook_secret, vapid_key, more_ports=()):
        super().__init__(folder, tls_port, port, more_ports)
        self.hook_secret, self.vapid_key = hook_secret, vapid_key
        self.browsers, self.apple_tokens = {}, []
        self.apple_key = ec.generate_private_key(ec.SECP256R1())
        (folder / "apns.p8").write_bytes(self.apple_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.start()

    def answer(self, scope, headers, body):
        assert scope["method"] == "POST", scope["method"]
        kind, _, name = scope["path"][1:].partition("/")
        push = {"webpush": self.web_push, "3": self.apple, "hook": self.hook}[kind](name, scope, headers, body)
        answer = self.next_answer(push["device"], (201 if kind == "webpush" else 200, {}, b""))
        self.record({**push, "status": answer[0], "at": time.monotonic()})
        return answer

    def web_push(self, name, scope, headers, body):
        assert headers["content-encoding"] == "aes128gcm" and int(headers["ttl"]) > 0, headers
        assert headers["urgency"] in ("high", "low") and len(headers["topic"]) == 32, headers
        scheme, _, words = headers["authorization"].partition(" ")
        words = dict(word.strip().split("=", 1) for word in words.split(","))
        assert scheme == "vapid" and words["k"] == self.vapid_key, words
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(words["k"]))
        _, claims = checked_token(words["t"], key)
        assert claims["aud"] == f"http://127.0.0.1:{scope['server'][1]}" and claims["sub"] == SUBJECT, claims
        assert 0 < claims["exp"] - time.time() <= 86_400, claims
        return {"device": name, "data": self.browsers[name].decrypt(body), "headers": headers}

    def apple(self, name, scope, headers, body):
        assert scope["http_version"] == "2" and name.startswith("device/"), name
        scheme, _, token = headers["authorization"].partition(" ")
        assert scheme == "bearer" and headers["apns-topic"] == TOPIC and len(body) <= 4096
        try:
            head, claims = checked_token(token, self.apple_key.public_key())
        except InvalidSignature as problem:
            raise AssertionError("the token's signature is wrong") from problem
        assert head["kid"] == KEY_ID and claims["iss"] == TEAM_ID and 0 <= time.time() - claims["iat"] < 3600, (head, claims)
        if token not in self.apple_tokens:
            self.apple_tokens.append(token)
        return {"device": name.removeprefix("device/"), "data": json.loads(body), "headers": headers}

    def hook(self, name, scope, headers, body):
        words = dict(word.split("=", 1) for word in headers["x-chat-signature"].split(","))
        assert abs(time.time() - int(words["t"])) < 300
        right = hmac.new(self.hook_secret.encode(), f"{words['t']}.".encode() + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(right, words["v1"]) and headers["x-chat-event"] == "push", headers
        event = json.loads(body)
        assert event["ID"] == headers["x-chat-event-id"] and event["Event"] == "push", event
        return {"device": event["Device"], "data": event["Push"], "event": event, "headers": headers}

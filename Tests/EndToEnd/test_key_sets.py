"""Public keys of an identity provider by `JWT_JWKS_URL`: an issuer on this machine rotates them, goes away, and answers
nonsense."""

import json
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from client import User, encode, make_token
from conftest import program
from own_master import Master
from ports import free_port
from relays import other_relay
from waiting import children_of, eventually
from websockets.exceptions import InvalidStatus

ACCOUNT = "/api/v1/account"


class Key:
    """A key of openssl's, and the tokens that it signs."""

    KINDS = {"EdDSA": ["-algorithm", "ED25519"], "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
             "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}

    def __init__(self, folder, algorithm="EdDSA"):
        self.id, self.algorithm, self.folder = uuid.uuid4().hex[:8], algorithm, folder
        self.file = folder / f"{self.id}.pem"
        self.openssl("genpkey", *self.KINDS[algorithm], "-out", self.file)
        public = self.openssl("pkey", "-in", self.file, "-pubout", "-outform", "DER")
        if algorithm == "EdDSA":
            own = {"kty": "OKP", "crv": "Ed25519", "x": encode(public[-32:])}
        elif algorithm == "ES256":
            own = {"kty": "EC", "crv": "P-256", "x": encode(public[-64:-32]), "y": encode(public[-32:])}
        else:
            modulus = self.openssl("rsa", "-in", self.file, "-modulus", "-noout").decode().strip().partition("=")[2]
            own = {"kty": "RSA", "n": encode(bytes.fromhex(modulus)), "e": "AQAB"}
        self.public = {**own, "kid": self.id, "use": "sig"}

    def openssl(self, *words):
        return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout

    def token(self, user=None, header=(), **claims):
        header = {"alg": self.algorithm, "kid": self.id, **dict(header)}
        body = {"sub": user or str(uuid.uuid4()), "exp": int(time.time()) + 3600, **claims}
        text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(body).encode())}"
        signed = self.folder / "signed"
        signed.write_text(text)
        if self.algorithm == "EdDSA":
            signature = self.openssl("pkeyutl", "-sign", "-inkey", self.file, "-rawin", "-in", signed)
        else:
            signature = self.openssl("dgst", "-sha256", "-sign", self.file, signed)
        if self.algorithm == "ES256":
            # DER: two whole numbers.
            first = signature[4:4 + signature[3]]
            signature = b"".join(number[-32:].rjust(32, b"\0") for number in (first, signature[6 + signature[3]:]))
        return f"{text}.{encode(signature)}"


class Issuer:
    """Answers at /keys with the key set, or with what a test puts into `answers`."""

    def __init__(self, *keys):
        self.keys, self.others, self.asked, self.answers, self.special = list(keys), [], 0, [], {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                document = issuer.special.get(self.path, issuer.document)
                answer = issuer.answers.pop(0) if issuer.answers else (200, {}, document())
                status, headers, body = answer
                try:
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(body)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def document(self):
        return json.dumps({"keys": [key.public for key in self.keys] + self.others}).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def key(folder):
    return Key(folder)


@pytest.fixture(scope="module")
def issuer(key):
    issuer = Issuer(key)
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def master(folder, issuer):
    """Asks the address each second, and another one where nobody is."""
    (folder / "run").mkdir()
    master = Master(folder / "run", JWT_JWKS_URL=f"{issuer.url} lost=http://127.0.0.1:{free_port()}/keys", JWT_JWKS_REFRESH_SECONDS="1")
    master.ready("account")
    yield master
    master.stop()


def status(master, token, pool="account"):
    return master.ask(pool, "GET", ACCOUNT, Authorization=f"Bearer {token}")[0]


def test_keys_of_each_kind_verify_the_tokens_that_they_signed(master, issuer, folder, secret):
    issuer.keys = keys = [Key(folder, algorithm) for algorithm in Key.KINDS]
    # A shared secret in a set that everybody reads is nobody's key, and a key that cannot be read spoils no other.
    issuer.others = [{"kty": "oct", "kid": "shared", "alg": "HS256", "k": encode(b"s" * 32)},
                     {"kty": "RSA", "kid": "bad", "n": "AA", "e": "AQAB"}, {"kty": "?"}, 7]
    eventually(lambda: status(master, keys[0].token()) == 200)
    for number, one in enumerate(keys):
        other = keys[number - 1]
        assert status(master, one.token()) == 200, one.algorithm
        assert status(master, one.token(header={"kid": None})) == 401, "a kid is text"
        assert status(master, one.token(header={"kid": other.id})) == 401
        assert status(master, one.token(header={"alg": other.algorithm})) == 401
        assert status(master, one.token()[:-8] + "AAAAAAAA") == 401
    assert status(master, make_token("s" * 32, uuid.uuid4())) == 401
    assert status(master, make_token(encode(b"s" * 32), uuid.uuid4())) == 401
    assert status(master, make_token(secret, uuid.uuid4())) == 200, "JWT_SECRET goes on beside the set"
    issuer.others = []


def test_a_rotation_takes_new_keys_and_ends_old_ones(master, issuer, folder):
    old, new = Key(folder), Key(folder)
    token = old.token()
    issuer.keys = [old]
    eventually(lambda: status(master, token) == 200)
    issuer.keys = [old, new]
    eventually(lambda: status(master, new.token()) == 200)
    assert status(master, token) == 200
    issuer.keys = [new]
    # Also the token that was verified before.
    eventually(lambda: status(master, token) == 401)
    assert status(master, new.token()) == 200


def test_an_address_that_never_answered(master, key):
    assert status(master, key.token(iss="lost", header={"kid": "theirs"})) == 503, "nobody knows whether the token is good"
    assert status(master, key.token(header={"kid": "theirs"})) == 401
    assert status(master, "a.b.c") == 401


NONSENSE = [(200, {}, b"<html>maintenance</html>"), (200, {}, b'{"keys": []}'), (200, {}, b"[" * 100_000),
            (302, {"Location": "/others"}, b"")]


def test_the_last_good_keys_serve_while_the_address_answers_nonsense_or_is_away(master, issuer, key, folder):
    issuer.keys, stranger = [key], Key(folder)
    eventually(lambda: status(master, key.token()) == 200)
    evil = json.dumps({"keys": [stranger.public]}).encode()
    start = len(master.lines)
    issuer.answers = [*NONSENSE, (200, {}, evil + b" " * 10_000_000), (404, {}, evil)]
    eventually(lambda: not issuer.answers)

    def said(text):
        return [line for line in master.lines[start:] if text in line and issuer.url in line]
    eventually(lambda: said("a key set is fetched again"))
    assert status(master, key.token()) == 200 and status(master, stranger.token()) == 401
    assert len(said("a key set cannot be fetched")) == 1 and "the last good one serves" in said("a key set cannot be fetched")[0]
    issuer.close()
    eventually(lambda: len(said("a key set cannot be fetched")) == 2)
    # New workers have the keys too.
    before = workers(master)
    master.reload()
    eventually(lambda: not before & workers(master))
    master.ready("account")
    assert status(master, key.token()) == 200


def workers(master):
    return set(children_of(master.process.pid))


def test_unknown_names_ask_an_address_once_for_all_workers_and_a_key_serves_its_own_issuer(folder, secret):
    keys = [Key(folder), Key(folder)]
    issuers = [Issuer(one) for one in keys]
    (folder / "two").mkdir()
    began = time.monotonic()
    master = Master(folder / "two", JWT_JWKS_URL=f"https://a.example/={issuers[0].url}  b={issuers[1].url}", JWT_ISSUER="ours")
    try:
        for pool in ("messages", "account"):
            master.ready(pool)
        one, other = keys
        assert status(master, one.token(iss="https://a.example/")) == 200
        assert status(master, other.token(iss="b")) == 200
        for token in (one.token(iss="b"), one.token(iss="ours"), one.token(), other.token(iss="https://a.example/"),
                      make_token(secret, uuid.uuid4(), iss="b")):
            assert status(master, token) == 401
        assert status(master, make_token(secret, uuid.uuid4(), iss="ours")) == 200
        unknown = one.token(iss="b", header={"kid": "unknown"})
        for pool in ("messages", "account"):
            for _ in range(10):
                assert status(master, unknown, pool) == 401
        for issuer in issuers:
            assert 1 <= issuer.asked <= 2 + (time.monotonic() - began) / 10, issuer.asked
    finally:
        master.stop()
        for issuer in issuers:
            issuer.close()


def test_sockets_open_with_keys_of_the_address(secret, folder, tmp_path):
    key, new = Key(folder), Key(folder)
    issuer = Issuer(key)
    with other_relay(tmp_path, free_port(), JWT_JWKS_URL=issuer.url, JWT_JWKS_REFRESH_SECONDS="1") as relay:
        user = User(relay.url, secret)

        def opens(token):
            user.token = token
            try:
                with user.socket() as socket:
                    return socket.wait(lambda frame: frame["Type"] == "welcome")["Data"]["UserID"] == user.id
            except InvalidStatus as error:
                assert error.response.status_code in (401, 503)
                return False
        eventually(lambda: opens(key.token(user.id)))
        issuer.keys = [new]
        eventually(lambda: opens(new.token(user.id)))
        eventually(lambda: not opens(key.token(user.id)))
    issuer.close()


def test_a_providers_configuration_names_the_address_of_its_keys(folder, tmp_path):
    key, new = Key(folder), Key(folder)
    issuer = Issuer(key)
    base = issuer.url.removesuffix("/keys")

    def configuration(**changed):
        return {"issuer": base + "/", "jwks_uri": issuer.url, **changed}

    said = configuration(issuer="https://other.example")
    issuer.special = {"/.well-known/openid-configuration": lambda: json.dumps(said).encode()}
    master = Master(tmp_path, JWT_JWKS_URL=f"{base}/.well-known/openid-configuration", JWT_JWKS_REFRESH_SECONDS="1")
    try:
        master.ready("account")
        token = key.token(iss=base + "/")
        for wrong in [said, configuration(jwks_uri="http://keys.example/"), configuration(jwks_uri=None), [1],
                      configuration(jwks_uri=base + "/.well-known/openid-configuration"), configuration(jwks_uri="x=" + issuer.url)]:
            said = wrong
            asked = issuer.asked
            eventually(lambda: issuer.asked > asked + 1)
            assert status(master, token) == 503, wrong
        said = configuration()
        eventually(lambda: status(master, token) == 200)
        assert status(master, key.token(iss=base)) == 200
        assert status(master, key.token(iss="https://other.example")) == status(master, key.token()) == 401
        issuer.keys = [key, new]
        eventually(lambda: status(master, new.token(iss=base)) == 200)
    finally:
        master.stop()
        issuer.close()


def test_a_rotation_under_load_refuses_no_good_token(folder, tmp_path):
    """The next key is published before it signs, and the last one stays until its tokens have expired."""
    keys = [Key(folder)]
    tokens = [keys[0].token()]
    issuer = Issuer(*keys)
    master = Master(tmp_path, JWT_JWKS_URL=issuer.url, JWT_JWKS_REFRESH_SECONDS="1")
    master.ready("account")
    eventually(lambda: status(master, tokens[0]) == 200)
    seen, stopped = [], threading.Event()

    def ask():
        while not stopped.is_set():
            seen.append(status(master, tokens[-1]))
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            keys.append(Key(folder))
            issuer.keys = keys[-2:]
            token = keys[-1].token()
            eventually(lambda: status(master, token) == 200)
            tokens.append(token)
            count = len(seen)
            eventually(lambda: len(seen) > count + 20)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    try:
        assert set(seen) == {200} and len(seen) > 100, (len(seen), set(seen))
        eventually(lambda: status(master, tokens[0]) == 401)
    finally:
        master.stop()
        issuer.close()


@pytest.mark.parametrize("url", ["http://keys.example/", "http://127.0.0.1@keys.example/", "http:///keys.example/", "ftp://127.0.0.1/",
                                 "=https://keys.example/", "https://keys.example/#a", "https://a,b/", "keys"])
def test_an_unsafe_address_is_refused_at_start(tmp_path, settings, url):
    file = tmp_path / "chat.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in {**settings, "JWT_JWKS_URL": url}.items()))
    answer = subprocess.run([program("fcgi-api"), "serve", "-t", "-c", file], capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0 and "JWT_JWKS_URL" in answer.stderr, answer

"""A request without a valid token gets 401, over REST and before a socket opens."""

import base64
import json

import pytest
import requests
from client import make_token
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def tampered(token):
    """The same signature with another user's claims."""
    header, _, signature = token.split(".")
    body = {"sub": "01890000-0000-7000-8000-000000000000", "exp": 4102444800}
    return ".".join((header, base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode(), signature))


BAD = {
    "expired": lambda secret, user: make_token(secret, user.id, ttl=-3600),
    "forged": lambda secret, user: tampered(user.token),
    "alg_none": lambda secret, user: make_token(secret, user.id, alg="none"),
    "alg_none_with_signature": lambda secret, user: make_token(secret, user.id, alg="none") + "AAAA",
    "wrong_secret": lambda secret, user: make_token("x" * 32, user.id),
    "empty_secret": lambda secret, user: make_token("", user.id),
    "no_expiry": lambda secret, user: make_token(secret, user.id, exp=None),
    "no_user": lambda secret, user: make_token(secret, ""),
    "a_long_user": lambda secret, user: make_token(secret, "a" * 129),
    "a_user_of_controls": lambda secret, user: make_token(secret, "a\nb"),
    "garbage": lambda secret, user: "garbage",
    "three_dots": lambda secret, user: "...",
    "empty": lambda secret, user: "",
    "cut": lambda secret, user: user.token[:-1],
    "not_yet_valid": lambda secret, user: make_token(secret, user.id, nbf=4102444800),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused_over_rest(ann, secret, kind):
    ann.token = BAD[kind](secret, ann)
    answer = ann.rest("GET", "/rooms", expect=401).json()
    assert answer["Success"] is False and answer["Error"]["Code"] in ("unauthorized", "token_expired")
    assert answer["RequestID"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_opens_no_socket(ann, secret, kind):
    token = BAD[kind](secret, ann)
    url = ann.base_url.replace("http", "ws", 1) + "/ws/v1/chat"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"Authorization": f"Bearer {token}"})
    assert refused.value.response.status_code == 401


def test_no_token_at_all(base_url):
    assert requests.get(f"{base_url}/api/v1/rooms", timeout=10).status_code == 401
    with pytest.raises(InvalidStatus) as refused:
        connect(base_url.replace("http", "ws", 1) + "/ws/v1/chat")
    assert refused.value.response.status_code == 401


def test_the_three_ways_to_show_a_token_to_the_socket(ann):
    ann.socket().close()
    ann.socket(headers={}, query=f"?token={ann.token}").close()
    url = ann.base_url.replace("http", "ws", 1) + "/ws/v1/chat"
    connect(url, subprotocols=[f"bearer.{ann.token}"]).close()


def test_a_socket_ends_with_its_token(ann, secret):
    with ann.socket(token=make_token(secret, ann.id, ttl=2)) as short:
        assert short.wait_closed(8) == 4001

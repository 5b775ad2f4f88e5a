"""Input that REST must not accept, repair or repeat: long headers, invalid text, and one thing said twice."""

import base64
import uuid

import pytest
import requests
from client import make_token


@pytest.fixture
def room(ann, bob):
    return ann.group(bob)


def refusal(answer, status, field=None):
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    error = answer.json()["Error"]
    assert error.get("Field") == field, error
    return error["Code"]


def contents(user, room):
    return [found["Content"] for found in user.history(room) if found["MessageType"] != "system"]


def form(user, room, **fields):
    data = {"token": user.token, "Sign": str(uuid.uuid4()), **fields}
    return requests.post(f"{user.base_url}/api/v1/rooms/{room}/files", data=data, files={"File": ("a.txt", b"hello")},
                         headers={"Accept": "text/html"}, timeout=30, allow_redirects=False)


def test_a_redirect_that_fits_no_header_stores_nothing(ann, room):
    for long in ("/" + "a" * 4200, "/" + "a" * 2048, "/" + "é" * 700, "elsewhere" + "a" * 2048):
        answer = form(ann, room, Redirect=long)
        assert answer.status_code == 422 and "Redirect" in answer.text, answer.text
    assert contents(ann, room) == []
    longest = "/" + "a" * 2047
    answer = form(ann, room, Redirect=longest)
    assert (answer.status_code, answer.headers["Location"]) == (303, longest)


def tus(user, method, path, **headers):
    return requests.request(method, f"{user.base_url}{path}", timeout=30, headers={
        "Authorization": f"Bearer {user.token}", "Tus-Resumable": "1.0.0",
        **{name.replace("_", "-"): str(value) for name, value in headers.items()}})


def test_upload_metadata_of_any_accepted_length_comes_back(ann, room):
    told = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in
                    (("room", room), ("filename", "a.bin")))
    def padded(size):
        return told + ",x " + "A" * ((size - len(told) - 3) // 4 * 4)
    for size in (2100, 3900, 7000):
        assert refusal(tus(ann, "POST", "/api/v1/files/tus", Upload_Length=3, Upload_Metadata=padded(size)), 400,
                       "Upload-Metadata") == "malformed"
    assert ann.data("GET", "/uploads") == []
    made = tus(ann, "POST", "/api/v1/files/tus", Upload_Length=3, Upload_Metadata=padded(2048))
    assert made.status_code == 201
    assert tus(ann, "HEAD", made.headers["Location"]).headers["Upload-Metadata"] == padded(2048)


def test_a_token_that_fits_no_cookie_is_refused_clearly(ann, secret):
    ann.token = make_token(secret, ann.id, name="a" * 3800)
    assert len(ann.token) > 5000
    ann.rest("GET", "/account", expect=200)
    assert refusal(ann.rest("POST", "/session"), 422, "Authorization") == "invalid"
    ann.token = make_token(secret, ann.id, name="a" * 2700)
    answer = ann.rest("POST", "/session", expect=200)
    assert answer.cookies["chat_session"] == ann.token


def test_a_file_name_shows_its_real_end(ann, room):
    body = {"Content": "foto\u202egpj.exe", "ContentType": "file"}
    assert ann.data("POST", f"/rooms/{room}/messages", body, 201)["Content"] == "fotogpj.exe"
    # A text keeps its marks.
    body = {"Content": "\u202eabc\u202c"}
    assert ann.data("POST", f"/rooms/{room}/messages", body, 201)["Content"] == body["Content"]


def encoded(user, room, body, **headers):
    return requests.post(f"{user.base_url}/api/v1/rooms/{room}/messages", data=body, timeout=30, headers={
        "Authorization": f"Bearer {user.token}", "Content-Type": "application/x-www-form-urlencoded", **headers})


def test_invalid_utf8_is_refused_not_repaired(ann, room):
    for body in (b"Content=\xff", b"Content=a%FF", b"Content=a&Sign=\xc3"):
        assert refusal(encoded(ann, room, body), 400) == "malformed"
    answer = encoded(ann, room, b"Content=a", **{"Idempotency-Key": b"\xff"})
    assert refusal(answer, 400) == "malformed"
    assert contents(ann, room) == []
    assert encoded(ann, room, "Content=é".encode()).json()["Data"]["Content"] == "é"


def test_one_field_twice_is_refused(ann, room):
    assert refusal(encoded(ann, room, "Content=a&Content=b"), 400, "Content") == "malformed"
    assert refusal(encoded(ann, room, "Content=a&Sign=x&Sign=x"), 400, "Sign") == "malformed"
    assert contents(ann, room) == []
    for query, name in (("limit=1&limit=2", "limit"), ("before=2&limit=1&before=3", "before"), ("limit=1&limit=", "limit")):
        assert refusal(ann.rest("GET", f"/rooms/{room}/messages?{query}"), 400, name) == "malformed"


def test_a_flag_is_true_or_false(ann, room):
    for value in ("TRUE", "yes", "1", "True"):
        assert refusal(ann.rest("GET", f"/rooms/{room}/members?banned={value}"), 422, "banned") == "invalid"
    assert ann.data("GET", f"/rooms/{room}/members?banned=true") == []
    assert len(ann.data("GET", f"/rooms/{room}/members?banned=false")) == 2


def test_of_two_keys_of_one_request_the_body_has_the_last_word(ann, room):
    def send(key, sign):
        answer = ann.rest("POST", f"/rooms/{room}/messages", {"Content": "x", "Sign": sign}, headers={"Idempotency-Key": key})
        assert answer.status_code == 201
        return answer.json()["Data"]["ID"]
    sign = str(uuid.uuid4())
    assert send(str(uuid.uuid4()), sign) == send(str(uuid.uuid4()), sign)
    assert len(contents(ann, room)) == 1


def test_answers_are_not_kept_and_documents_are_known_by_a_tag(ann, room, base_url):
    for path in ("/rooms", f"/rooms/{room}/messages", "/account", f"/rooms/{uuid.uuid4()}"):
        assert ann.rest("GET", path).headers["Cache-Control"] == "no-store", path
    for path in ("/docs", "/openapi.yaml", "/asyncapi.yaml"):
        url = f"{base_url}/api/v1{path}"
        first = requests.get(url, timeout=30)
        assert first.status_code == 200 and first.headers["Cache-Control"] == "no-cache"
        tag = first.headers["ETag"]
        again = requests.get(url, headers={"If-None-Match": tag}, timeout=30)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert requests.get(url, headers={"If-None-Match": '"other"'}, timeout=30).content == first.content

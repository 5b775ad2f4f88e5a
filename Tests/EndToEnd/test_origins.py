"""Pages of other origins (CORS): the exact headers of the programs and of nginx's own errors, and one run in Chromium."""

import http.server
import json
import shutil
import threading

import pytest
from client import User
from own_nginx import free_port, site

HTTP = """
  include {folder}/chat/upstreams.conf;
  server { listen 127.0.0.1:{main}; include {folder}/chat/locations.conf; location / { return 200 "site"; } }
"""
PAGE_PORT = free_port()
PAGE = f"http://127.0.0.1:{PAGE_PORT}"


@pytest.fixture(scope="module")
def here():
    origins = f'  "{PAGE}"  $http_origin;'
    with site(HTTP, ["main"], {"CORS_ORIGINS": f"https://app.example,{PAGE}", "PUBLIC_URL": None}, origins,
              programs=("fcgi-api",)) as started:
        yield started


def preflight(here, path, origin, method="PATCH", headers="authorization,content-type,tus-resumable,upload-offset"):
    return here.ask("OPTIONS", path, [f"Origin: {origin}", f"Access-Control-Request-Method: {method}",
                                      f"Access-Control-Request-Headers: {headers}"])


@pytest.mark.parametrize("path", ["/api/v1/rooms", "/api/v1/files/tus", "/api/v1/files/tus/x", "/api/v1/rooms/x/messages",
                                  "/api/v1/account", "/api/v1/rooms/x/files"])
def test_a_preflight_is_answered_and_kept(here, path):
    status, told, _ = preflight(here, path, PAGE)
    assert status == 204 and told["access-control-allow-origin"] == PAGE and told["vary"] == "Origin"
    assert told["access-control-allow-headers"] == "authorization,content-type,tus-resumable,upload-offset"
    assert "PATCH" in told["access-control-allow-methods"] and int(told["access-control-max-age"]) >= 600
    status, told, _ = preflight(here, path, "https://evil.example")
    assert "access-control-allow-origin" not in told and told["vary"] == "Origin"


@pytest.mark.parametrize("method,path,headers,status", [
    ("GET", "/api/v1/rooms", [], 401), ("GET", "/api/v1/nothing", [], 404), ("GET", "/api/v1/healthz", [], 200),
    ("POST", "/api/v1/rooms", ["Content-Length: 70000"], 413), ("POST", "/api/v1/rooms/x/files", ["Content-Length: 99000000"], 413),
])
def test_an_answer_may_be_read_by_listed_origins_alone(here, method, path, headers, status):
    for origin, allowed in [(PAGE, True), ("https://evil.example", False), (PAGE + ".evil.example", False), ("null", False)]:
        got, told, _ = here.ask(method, path, [*headers, f"Origin: {origin}"])
        assert got == status and told.get("access-control-allow-origin") == (origin if allowed else None)
        if allowed:
            assert told["access-control-allow-credentials"] == "true" and "X-Request-ID" in told["access-control-expose-headers"]
    got, told, _ = here.ask(method, path, headers)
    assert got == status and "access-control-allow-origin" not in told


def test_a_dead_program_may_be_read_too(here):
    (here.run / "fcgi-rooms.sock").rename(here.run / "away")
    try:
        status, told, _ = here.ask("GET", "/api/v1/rooms", [f"Origin: {PAGE}"])
    finally:
        (here.run / "away").rename(here.run / "fcgi-rooms.sock")
    assert status == 503 and told["access-control-allow-origin"] == PAGE and "Retry-After" in told["access-control-expose-headers"]


SCRIPT = """async ([base, token, room]) => {
  const headers = {Authorization: `Bearer ${token}`}, out = {};
  const rooms = await fetch(`${base}/api/v1/rooms`, {headers});
  out.rooms = [rooms.status, !!rooms.headers.get('X-Request-ID')];
  const sent = await fetch(`${base}/api/v1/rooms/${room}/messages`, {method: 'POST', credentials: 'include',
    headers: {...headers, 'Content-Type': 'application/json'}, body: JSON.stringify({Content: 'from elsewhere'})});
  out.sent = sent.status;
  out.large = (await fetch(`${base}/api/v1/rooms`, {method: 'POST', headers: {...headers, 'Content-Type': 'application/json'},
    body: 'x'.repeat(70000)})).status;
  const form = new FormData();
  form.append('File', new Blob(['the content'], {type: 'text/plain'}), 'a.txt');
  const file = await (await fetch(`${base}/api/v1/rooms/${room}/files`, {method: 'POST', headers, body: form})).json();
  out.file = await (await fetch(`${base}/api/v1/files/${file.Data.ID}`, {headers})).text();
  const tus = await fetch(`${base}/api/v1/files/tus`, {method: 'POST', headers: {...headers, 'Tus-Resumable': '1.0.0',
    'Upload-Length': '3', 'Upload-Metadata': `room ${btoa(room)},filename ${btoa('b.txt')}`}});
  const place = new URL(tus.headers.get('Location'), base);
  const patched = await fetch(place, {method: 'PATCH', body: 'abc', headers: {...headers, 'Tus-Resumable': '1.0.0',
    'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream'}});
  out.tus = [tus.status, patched.status, patched.headers.get('Upload-Offset')];
  return out;
}"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_page_of_another_origin_in_chromium(here, secret):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>elsewhere</title>")

        def log_message(self, *_):
            pass

    ann = User(here.base(), secret)
    room = ann.group()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PAGE_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(PAGE)
            out = page.evaluate(SCRIPT, [here.base(), ann.token, room])
            browser.close()
    finally:
        server.shutdown()
    assert out == {"rooms": [200, True], "sent": 201, "large": 413, "file": "the content", "tus": [201, 204, "3"]}, json.dumps(out)

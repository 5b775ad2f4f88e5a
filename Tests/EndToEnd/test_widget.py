"""<chat-room>: a room in a page of another origin, as a host's site has it."""

import http.server
import importlib.util
import json
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import chromium, until, watched
from client import User
from conftest import CHECKOUT
from own_nginx import free_port, site

HOST_PORT = free_port()
HOST = f"http://127.0.0.1:{HOST_PORT}"
HTTP = """
  include {folder}/chat/upstreams.conf;
  server { listen 127.0.0.1:{main}; include {folder}/chat/locations.conf; location / { return 404; } }
"""
# A host's own policy: scripts of its own, and the chat's address to talk to. Nothing inline.
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self' {chat} {socket}"


@contextmanager
def host(chat, tokens):
    """The site of a host application: its page, the two modules, and an address that tells whoever is signed in a token."""
    modules = {f"/{name}": (CHECKOUT / "clients/js" / name).read_bytes() for name in ("chat.js", "chat-room.js")}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name, _, room = self.path.partition("?")
            if name == "/page":
                self.tell("text/html", f"""<!doctype html><html lang="de"><title>Host</title><h1>Support</h1>
                    <script type="module" src="/chat-room.js"></script>
                    <chat-room room="{room}" ticket="/token" url="{chat}"></chat-room></html>""".encode())
            elif name in modules:
                self.tell("text/javascript", modules[name])
            else:
                self.send_error(404)

        def do_POST(self):
            user = dict(part.split("=") for part in self.headers.get("Cookie", "").split("; ") if "=" in part).get("user")
            self.tell("application/json", json.dumps({"Token": tokens[user]}).encode()) if user in tokens else self.send_error(401)

        def tell(self, kind, body):
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", POLICY.format(chat=chat, socket=chat.replace("http", "ws")))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", HOST_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield HOST
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def here():
    origins = f'  "{HOST}"  $http_origin;'
    with site(HTTP, ["main"], {"CORS_ORIGINS": HOST, "WS_ORIGINS": HOST, "PUBLIC_URL": None}, origins) as started:
        yield started


def test_a_room_in_a_hosts_page(here, secret):
    ann, bob = User(here.base(), secret), User(here.base(), secret)
    room = ann.group(bob)
    with chromium() as browser, host(here.base(), {"ann": ann.token, "bob": bob.token}) as address:
        pages = []
        for name in ("ann", "bob"):
            context = browser.new_context()
            context.add_cookies([{"name": "user", "value": name, "url": address}])
            page = context.new_page()
            page.said = watched(page)
            page.goto(f"{address}/page?{room}")
            until(page, "document.querySelector('chat-room').chat?.synced")
            pages.append(page)
        first, second = pages
        # In the language of the host's page.
        first.get_by_role("textbox", name="Nachricht").fill("from the host's page")
        first.get_by_role("button", name="Senden").click()
        second.get_by_role("log").get_by_text("from the host's page").wait_for()
        second.get_by_role("textbox", name="Nachricht").fill("<b>and</b> back")
        second.get_by_role("textbox", name="Nachricht").press("Enter")
        first.get_by_role("log").get_by_text("<b>and</b> back").wait_for()
        # Loaded again: the store has it, and the connection goes on.
        first.reload()
        first.get_by_role("log").get_by_text("<b>and</b> back").wait_for()
        until(first, "document.querySelector('chat-room').chat?.synced")
        assert [message["Content"] for message in ann.history(room)] == ["from the host's page", "<b>and</b> back"]
        if axe := importlib.util.find_spec("axe_playwright_python"):
            first.evaluate((Path(axe.origin).parent / "axe.min.js").read_text())
            assert first.evaluate("async () => (await axe.run('chat-room')).violations.map(one => [one.id, one.nodes.map(node => node.html)])") == []
        # Taken out of the page, it ends its connection.
        assert first.evaluate("""() => {
          const room = document.querySelector('chat-room'), chat = room.chat;
          room.remove();
          return [chat.state, room.chat];
        }""") == ["closed", None]
        assert [line for page in pages for line in page.said if "favicon" not in line and "404" not in line] == []


def test_a_page_of_an_origin_that_is_not_listed_gets_nothing(here, secret):
    ann = User(here.base(), secret)
    room = ann.group()
    with chromium() as browser, host(here.base(), {"ann": ann.token}) as address:
        context = browser.new_context()
        address = address.replace("127.0.0.1", "localhost")
        context.add_cookies([{"name": "user", "value": "ann", "url": address}])
        page = context.new_page()
        page.goto(f"{address}/page?{room}")
        until(page, "document.querySelector('chat-room').chat?.state === 'waiting'")
        assert page.evaluate("document.querySelector('chat-room').chat.stats.connects") == 0

"""<chat-room>: a room in a page of another origin, as a host's site has it."""

import base64
import http.server
import importlib.util
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import chromium, until, watched
from client import User, make_token
from conftest import CHECKOUT
from own_nginx import free_port, site
from waiting import eventually

HOST_PORT = free_port()
HOST = f"http://127.0.0.1:{HOST_PORT}"
HTTP = """
  include {folder}/chat/upstreams.conf;
  server { listen 127.0.0.1:{main}; include {folder}/chat/locations.conf; location / { return 404; } }
"""
# A host's own policy: scripts of its own, and the chat's address to talk to. Nothing inline.
POLICY = "default-src 'none'; script-src 'self'; img-src 'self'; connect-src 'self' {chat} {socket}"


@contextmanager
def host(chat, tokens):
    """The site of a host application: its page, the two modules, and an address that tells whoever is signed in a token."""
    modules = {f"/{name}": (CHECKOUT / "clients/js" / name).read_bytes() for name in ("chat.js", "chat-room.js")}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name, _, room = self.path.partition("?")
            if name in ("/page", "/cookies"):
                proof = 'ticket="/token"' if name == "/page" else "cookies"
                self.tell("text/html", f"""<!doctype html><html lang="de"><title>Host</title><h1>Support</h1>
                    <script type="module" src="/chat-room.js"></script>
                    <chat-room room="{room}" {proof} url="{chat}"></chat-room></html>""".encode())
            elif name == "/ann.svg":
                self.tell("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><path fill="red" d="M0 0h8v8H0z"/></svg>')
            elif name in modules:
                self.tell("text/javascript", modules[name])
            else:
                self.send_error(404)

        def do_POST(self):
            user = dict(part.split("=") for part in self.headers.get("Cookie", "").split("; ") if "=" in part).get("user")
            if user not in tokens:
                return self.send_error(401)
            answer = {"User": json.loads(base64.urlsafe_b64decode(tokens[user].split(".")[1] + "=="))["sub"]} if self.path == "/session" else {"Token": tokens[user]}
            self.tell("application/json", json.dumps(answer).encode())

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
    session = {"SESSION_CHECK_URL": f"{HOST}/session", "SESSION_CHECK_COOKIES": "user", "WEBHOOK_SECRET": "s" * 32, "WEBHOOK_PRIVATE": "yes"}
    with site(HTTP, ["main"], {"CORS_ORIGINS": HOST, "WS_ORIGINS": HOST, "PUBLIC_URL": None, **session}, origins) as started:
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


def test_a_room_in_a_page_without_a_token(here, secret):
    ann = User(here.base(), secret)
    room = ann.group()
    with chromium() as browser, host(here.base(), {"ann": ann.token}) as address:
        context = browser.new_context()
        context.add_cookies([{"name": "user", "value": "ann", "url": address}])
        page = context.new_page()
        asked = []
        page.on("request", lambda request: asked.append((request.url, request.headers.get("authorization"))))
        page.goto(f"{address}/cookies?{room}")
        until(page, "document.querySelector('chat-room').chat?.synced")
        page.get_by_role("textbox", name="Nachricht").fill("by a cookie alone")
        page.get_by_role("button", name="Senden").click()
        page.get_by_role("log").get_by_text("by a cookie alone").wait_for()
        eventually(lambda: [message["Content"] for message in ann.history(room)] == ["by a cookie alone"])
        assert all(token is None for _, token in asked) and not any(url.endswith("/token") for url, _ in asked)
        # Signed out at the host: a new page gets nothing.
        context.clear_cookies()
        page.reload()
        until(page, "document.querySelector('chat-room').error === 'token'")


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


def test_what_a_host_expects_of_it(here, secret):
    """Names and pictures, unread, attributes that change, styles, languages, tokens by an event, and errors in plain words."""
    ann, bob = User(here.base(), secret), User(here.base(), secret)

    def called(name):
        ann.token = make_token(secret, ann.id, iat=round(time.time(), 3), name=name, picture=f"{HOST}/ann.svg")
        ann.data("GET", "/account")
    called("Ann <b>One</b>")
    room, other, closed = ann.group(bob, name="Kitchen"), ann.group(bob, name="Garden"), ann.group(name="Cellar")

    def say(text, where=room):
        return ann.data("POST", f"/rooms/{where}/messages", {"Content": text}, 201)
    say("in the kitchen")
    say("in the garden", other)
    tokens = {"bob": bob.token}
    with chromium() as browser, host(here.base(), tokens) as address:
        context = browser.new_context()
        context.add_cookies([{"name": "user", "value": "bob", "url": address}])
        page = context.new_page()
        page.add_init_script("""globalThis.told = [];
            for (const name of ['chat-unread', 'chat-error', 'chat-state']) addEventListener(name, event => told.push([name, Object.values(event.detail)[0]]));""")
        page.goto(f"{address}/page?{room}")
        log, alert = page.get_by_role("log"), page.get_by_role("alert")
        row = log.locator("article", has_text="in the kitchen")
        assert row.locator("header").inner_text() == "Ann <b>One</b>"
        until(page, "document.querySelector('chat-room').shadowRoot.querySelector('img')?.naturalWidth === 8")
        called("Ann Two")
        until(page, "document.querySelector('chat-room').shadowRoot.querySelector('header')?.textContent === 'Ann Two'")
        until(page, "document.querySelector('chat-room').unread === 0")
        # In a panel that is closed it is not read.
        page.evaluate("document.querySelector('chat-room').hidden = true")
        until(page, "!document.querySelector('chat-room').checkVisibility()")
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        say("one"), say("two")
        until(page, "told.some(([name, value]) => name === 'chat-unread' && value === 2) && document.querySelector('chat-room').unread === 2")
        page.evaluate("document.querySelector('chat-room').hidden = false")
        until(page, "told.at(-1)[0] === 'chat-unread' && told.at(-1)[1] === 0")
        # Of two that follow each other the first has the name.
        assert log.locator("article header").count() == 1 and log.locator("article").count() == 3
        # Another language, with what was being written; then another room.
        page.get_by_role("textbox", name="Nachricht").fill("half a sentence")
        page.evaluate("globalThis.before = document.querySelector('chat-room').chat; document.querySelector('chat-room').lang = 'ar'")
        page.get_by_role("button", name="إرسال").wait_for()
        assert page.evaluate("[getComputedStyle(document.querySelector('chat-room')).direction, before === document.querySelector('chat-room').chat]") == ["rtl", True]
        assert page.get_by_role("textbox").input_value() == "half a sentence"
        page.evaluate("id => { const one = document.querySelector('chat-room'); one.lang = 'en'; one.setAttribute('room', id); }", other)
        log.get_by_text("in the garden").wait_for()
        assert not log.get_by_text("in the kitchen").count() and page.evaluate("before.state") == "closed"
        # The host's colours.
        page.get_by_role("textbox", name="Message").fill("mine")
        page.get_by_role("button", name="Send").click()
        log.locator("article.mine", has_text="mine").wait_for()
        colours = page.evaluate("""() => {
          const sheet = new CSSStyleSheet(), all = document.querySelector('chat-room').shadowRoot;
          sheet.replaceSync('chat-room { --chat-background: rgb(250, 240, 230); --chat-bubble: rgb(1, 2, 3) } chat-room::part(mine) { background: rgb(4, 5, 6) }');
          document.adoptedStyleSheets = [sheet];
          return [all.host, all.querySelector('article:not(.mine)'), all.querySelector('article.mine')].map(one => getComputedStyle(one).backgroundColor);
        }""")
        assert colours == ["rgb(250, 240, 230)", "rgb(1, 2, 3)", "rgb(4, 5, 6)"]
        # A room of others, until one is let in; and out again.
        page.evaluate("id => document.querySelector('chat-room').setAttribute('room', id)", closed)
        alert.get_by_text("This room is not open to you.").wait_for()
        assert not log.is_visible() and page.evaluate("told.some(([name, value]) => name === 'chat-error' && value === 'room')")
        say("down here", closed)
        ann.rest("POST", f"/rooms/{closed}/members", {"Members": [bob.id]}, expect=201)
        log.get_by_text("down here").wait_for()
        ann.rest("DELETE", f"/rooms/{closed}/members/{bob.id}", expect=200)
        alert.get_by_text("This room is not open to you.").wait_for()
        # Signed out at the host, and in again.
        tokens.clear()
        page.evaluate("id => document.querySelector('chat-room').setAttribute('room', id)", room)
        alert.get_by_text("You are not signed in.").wait_for()
        page.get_by_role("button", name="Try again").click()
        alert.get_by_text("You are not signed in.").wait_for()
        # It tries again by itself too.
        tokens["bob"] = bob.token
        log.get_by_text("in the kitchen").wait_for()
        # A page that has the token itself.
        page.evaluate("""token => {
          addEventListener('chat-token', event => event.detail.respondWith(Promise.resolve(token)));
          document.querySelector('chat-room').removeAttribute('ticket');
        }""", bob.token)
        until(page, "document.querySelector('chat-room').chat?.synced")
        assert page.evaluate("document.querySelector('chat-room').error") is None
        # One that gives something else than a token, and then what was asked for.
        page.evaluate("() => { const one = document.querySelector('chat-room'); one.token = () => ({ Token: 'x' }); one.restart(); }")
        alert.get_by_text("You are not signed in.").wait_for()
        page.evaluate("token => { document.querySelector('chat-room').token = async () => `${token}\\n`; }", bob.token)
        log.get_by_text("in the kitchen").wait_for()

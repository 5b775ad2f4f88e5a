"""The example in PHP as a host whose sessions the chat recognises, and a browser's page that is signed in there."""

import json
import subprocess
from contextlib import contextmanager

import requests
from client import Socket
from conftest import CHECKOUT
from hook_settings import SECRET
from php_site import php_site

EXAMPLES = CHECKOUT / "examples/php"


@contextmanager
def session_host(folder):
    """Yields the site's unix socket, the script that is asked, and its address."""
    script = folder / "hooks.php"
    script.write_text((EXAMPLES / "hooks.php").read_text())
    with php_site(folder, EXAMPLES / "index.php", {"WEBHOOK_SECRET": SECRET, "EVENTS_FILE": folder / "events"}) as site:
        yield site, script, f"fcgi://unix:{folder}/fpm.sock{script}"


def session_settings(host):
    return {"SESSION_CHECK_URL": host[2], "SESSION_CHECK_COOKIES": "PHPSESSID", "WEBHOOK_SECRET": SECRET}


class FromAddress(requests.adapters.HTTPAdapter):
    """Connects from another address of this machine: that of another client."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *words, **options):
        super().init_poolmanager(*words, source_address=(self.address, 0), **options)


class Page:
    """A browser's page, signed in at the host: its cookies, and no token."""

    def __init__(self, site, base_url, name):
        self.site, self.base_url, self.id = site, base_url, None
        head = self.post("/login", {"username": name, "password": name * 2})
        lines = [line.split(": ", 1)[1] for line in head.splitlines() if line.lower().startswith("set-cookie:")]
        self.cookie = lines[-1].split(";")[0]

    def post(self, path, body=None, cookie=""):
        return subprocess.run(["curl", "-s", "-i", "--unix-socket", self.site, f"http://site{path}", "-H", f"Cookie: {cookie}",
                               "-d", json.dumps(body or {})], capture_output=True, text=True, timeout=60).stdout

    def logout(self):
        assert " 200 " in self.post("/logout", cookie=self.cookie)

    def rest(self, method, path, body=None, expect=None, origin="same", cookie=None, address=None):
        headers = {"Cookie": cookie or f"theme=dark; {self.cookie}"}
        if origin:
            headers["Origin"] = self.base_url if origin == "same" else origin
        with requests.Session() as session:
            if address:
                session.mount("http://", FromAddress(address))
            answer = session.request(method, f"{self.base_url}/api/v1{path}", json=body, headers=headers, timeout=30)
        if expect:
            assert answer.status_code == expect, answer.text
        return answer

    def data(self, *words):
        return self.rest(*words).json()["Data"]

    def socket(self):
        ticket = self.rest("POST", "/ws-ticket", expect=201).json()["Data"]["Ticket"]
        return Socket(self, headers={}, query=f"?ticket={ticket}")

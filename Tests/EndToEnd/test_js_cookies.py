"""clients/js without a token: the host's cookies show whose page it is."""

import json
import subprocess

from conftest import CHECKOUT
from host_page import Page, session_host, session_settings
from node_js import node_is_here  # noqa: F401

JS = """
import {{ Chat }} from '{module}';
const asked = [];
const chat = new Chat({{ url: '{url}', cookies: true, token: () => 'never sent', fetch: (url, options) => {{
  asked.push([options.credentials, options.headers?.Authorization ?? null]);
  return fetch(url, {{ ...options, headers: {{ ...options.headers, Cookie: '{cookie}', Origin: '{url}' }} }});
}} }});
await chat.connect();
const info = await chat.createRoom({{ Type: 'GROUP', Name: 'by cookie' }});
const message = await chat.send(info.ID, 'from JavaScript');
await chat.close();
console.log(JSON.stringify({{ sender: message.SenderID, asked: [...new Set(asked.map(String))] }}));
process.exit(0);
"""


def test_the_javascript_client_needs_one_option(reconfigure, base_url, tmp_path):
    with session_host(tmp_path) as host:
        reconfigure("fcgi-api", **session_settings(host))
        alice = Page(host[0], base_url, "alice")
        script = tmp_path / "page.mjs"
        script.write_text(JS.format(module=CHECKOUT / "clients/js/chat.js", url=base_url, cookie=alice.cookie))
        done = subprocess.run(["node", "--experimental-websocket", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told == {"sender": alice.data("GET", "/account")["UserID"], "asked": ["include,"]}

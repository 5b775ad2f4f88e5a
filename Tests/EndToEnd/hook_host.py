"""A host application that receives events and answers message checks over HTTP."""

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hook_settings import SECRET
from waiting import eventually


class Host:
    """A host application: accepts events as told, and decides about messages by their words."""

    def __init__(self):
        self.events, self.answers, self.trouble, self.delay = [], [], [], 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                host.check(self.headers["X-Chat-Signature"], raw)
                status, answer = host.judge(json.loads(raw)) if self.path == "/check" else host.take(
                    json.loads(raw), self.headers)
                body = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def check(self, signature, raw):
        parts = dict(part.split("=") for part in signature.split(","))
        right = hmac.new(SECRET.encode(), f"{parts['t']}.".encode() + raw, hashlib.sha256).hexdigest()
        if right != parts["v1"] or abs(time.time() - int(parts["t"])) > 60:
            self.trouble.append(f"a wrong signature: {signature}")

    def take(self, event, headers):
        assert headers["X-Chat-Event"] == event["Event"] and headers["X-Chat-Event-ID"] == event["ID"]
        status = self.answers.pop(0) if self.answers else 204
        self.events.append((status, event))
        return status, {}

    def judge(self, question):
        time.sleep(self.delay)
        verdicts = []
        for message in question["Messages"]:
            if "forbidden" in message["Content"]:
                verdicts.append({"ID": message["ID"], "Action": "reject", "Reason": "mind your words"})
            if "swear" in message["Content"]:
                content = message["Content"].replace("swear", "*****")
                verdicts.append({"ID": message["ID"], "Action": "rewrite", "Content": content})
        return 200, {"Verdicts": verdicts}

    def wait(self, matches, seconds=30):
        return eventually(
            lambda: next((event for status, event in list(self.events) if status == 204 and matches(event)), None),
            seconds, lambda: f"no such event: {[event['Event'] for _, event in self.events]}")

    def names(self, room):
        return [event["Event"] for status, event in self.events if status == 204 and event["RoomID"] == room]

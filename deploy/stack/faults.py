"""The buttons of the page at / of `make run`: reload the relay or kill one of its workers, while two people write.

Of the development stack alone: it listens on a socket in the stack's private folder, nginx/chat.conf.template leads to it, and
neither is part of a package. A request needs the secret of demo.json, which a page of another origin cannot read, in a header
that such a page may not send; nginx passes only what was addressed to this machine by a name of this machine.
"""

import hmac
import http.server
import json
import os
import signal
import socketserver
import threading
import time

import processes

# path: (kind of process, signal, all of them or one)
FAULTS = {
    "reload-relay": ("ws-relay", "master", signal.SIGHUP),
    "kill-relay": ("ws-relay", "worker", signal.SIGKILL),
    "reload-worker": ("queue-worker", "master", signal.SIGHUP),
    "kill-worker": ("queue-worker", "worker", signal.SIGKILL),
}
# Seconds between two faults: a relay that is killed faster than it starts would show nothing.
REST = 1


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def serve(instance, secret):
    """In the background, for as long as the keeper lives."""
    path = instance.runtime / "faults.sock"
    path.unlink(missing_ok=True)
    turn, last = threading.Lock(), [0.0]

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self):
            given = self.headers.get("X-Chat-Fault", "")
            if not hmac.compare_digest(given.encode(), secret.encode()):
                return self.answer(403, {"Error": "the secret of demo.json is missing"})
            fault = FAULTS.get(self.path.rpartition("/")[2])
            if not fault:
                return self.answer(404, {"Error": f"one of {', '.join(FAULTS)}"})
            with turn:
                time.sleep(max(0, last[0] + REST - time.monotonic()))
                hit = strike(instance, *fault)
                last[0] = time.monotonic()
            self.answer(200 if hit else 503, {"PIDs": hit})

        def answer(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = Server(str(path), Handler)
    os.chmod(path, 0o600)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def strike(instance, name, kind, number):
    """The PID that got the signal, in a list; empty when there is no process now."""
    for found, what, pid in processes.rows(instance):
        if (found, what) == (name, kind):
            try:
                os.kill(pid, number)
                return [pid]
            except ProcessLookupError:
                continue
    return []

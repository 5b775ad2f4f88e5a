"""supervisord's own interface, over its unix socket: supervisorctl would start Python for each call."""

import http.client
import socket
import xmlrpc.client


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def make_connection(self, host):
        return _Connection(self.path)


def supervisor(instance):
    """Raises OSError when supervisord does not run."""
    path = str(instance.runtime / "supervisor.sock")
    return xmlrpc.client.ServerProxy("http://localhost", _Transport(path)).supervisor


def processes(instance):
    """The supervised processes: dictionaries with name, statename, pid. Empty while supervisord does not run."""
    try:
        return supervisor(instance).getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return []

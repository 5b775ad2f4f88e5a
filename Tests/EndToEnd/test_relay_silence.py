"""A client that answers no ping counts as dead. The clients of the benchmark must answer: with silent ones, a relay of
20,000 sockets seemed to lose them all in a crash, but had closed them for their silence.
"""

import subprocess

from conftest import CHECKOUT
from ports import free_port
from raw_socket import RawSocket
from relays import other_relay

SOCKETS = 20


def test_silent_clients_are_closed_and_those_of_the_benchmark_are_not(ann, bob, make_user, tmp_path):
    room, port, program = ann.group(bob), free_port(), tmp_path / "clients"
    subprocess.run(["cc", "-O2", "-w", "-o", program, CHECKOUT / "Benchmarks/fanout/clients.c"], check=True)
    (tmp_path / "targets").write_text(f"/ws/v1/chat?token={bob.token}\n" * SOCKETS)
    command = ["timeout", "30", program, "127.0.0.1", str(port), tmp_path / "targets"]
    with other_relay(tmp_path, port, WS_HEARTBEAT="1", WS_IDLE_SECONDS="2", WS_MAX_CONNECTIONS_PER_USER=str(SOCKETS)):
        clients = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert next(line for line in clients.stdout if line.startswith("open"))
            stranger = make_user()
            for _ in range(2):
                with RawSocket(("127.0.0.1", port), stranger.token) as silent:
                    assert silent.close_code() == 1001
            ann.rest("POST", f"/rooms/{room}/messages", {"Content": "still there?"}, 201)
            heard = 0
            while heard < SOCKETS:
                words = clients.stdout.readline().split()
                heard = int(words[1])
                assert words[5] == "0"
        finally:
            clients.terminate()
            clients.wait()

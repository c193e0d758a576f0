#!/usr/bin/python3
"""The copy lives and dies with its original."""

import socket
import threading
import time

from conftest import wait_until
from workload import closed, connect

PORT = 7000


class Server:
    """Hands each connection to `serve(connection)`, in a thread of its own; `ends` has what that returned or raised."""

    def __init__(self, lab, host, serve):
        with lab.host(host).inside():
            self.listener = socket.create_server(("0.0.0.0", PORT), backlog=100)
        self.accepted, self.ends, self.serve = 0, [], serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        try:
            self.ends.append(self.serve(connection))
        except OSError as error:
            self.ends.append(type(error).__name__)


def test_a_client_that_has_closed_its_half(lab, replay):
    """Whether a client that has closed still reads, only the online server's socket knows: while that is in CLOSE-WAIT,
    the target may take as long for its answer as the online server does. A kernel waits for a minute where nobody reads.
    """
    def late(connection):
        got = b""
        while piece := connection.recv(1 << 16):
            got += piece
        time.sleep(64)
        connection.sendall(b"." * 100_000)
        connection.close()
        return got

    lab.route_to_assistant("client")
    servers = [Server(lab, host, late) for host in ("online", "target")]
    r = replay(port=PORT)
    connection = connect(lab, PORT, timeout=90)
    connection.sendall(b"the report, please\n")
    connection.shutdown(1)
    answer = 0
    while piece := connection.recv(1 << 16):
        answer += len(piece)
    assert answer == 100_000
    assert wait_until(lambda: [server.ends for server in servers] == [[b"the report, please\n"]] * 2) and closed(lab, PORT)
    assert r.stop().outcomes() == {"complete": 1}

#!/usr/bin/python3
"""The copy lives and dies with its original."""

import errno
import select
import socket
import struct
import threading
import time

from conftest import PATIENCE, wait_until
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
        connection.close()


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


def test_a_server_that_aborts_unseen(lab, replay):
    """Neither its RSTs nor anything else is captured: the quiet sessions are asked about, those of the aborted
    connections end, and the others live on.
    """
    aborted = threading.Event()

    def one_request(connection):
        word = connection.recv(100)
        connection.sendall(word)
        if word == b"abort\n":
            aborted.wait()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return "aborted"
        return connection.recv(100)

    def echo(connection):
        connection.sendall(connection.recv(100))
        return connection.recv(100)

    lab.route_to_assistant("client")
    Server(lab, "online", one_request)
    target = Server(lab, "target", echo)
    lab.host("online").check_output(["nft", "table inet unseen { chain out { type filter hook output priority 0; "
                                     f"tcp sport {PORT} tcp flags & rst == rst drop; }}; }}"])
    r = replay(port=PORT)
    connections = [connect(lab, PORT) for _ in range(20)]
    for n, connection in enumerate(connections):
        connection.sendall(b"abort\n" if n < 15 else b"stay\n")
        assert connection.recv(100)
    assert wait_until(lambda: target.accepted == 20)
    aborted.set()
    assert wait_until(lambda: target.ends == ["ConnectionResetError"] * 15), target.ends
    assert r.tcpcopy.status()["account"]["live"]["sessions"] == 5
    for connection in connections[15:]:
        connection.close()
    assert wait_until(lambda: target.ends == ["ConnectionResetError"] * 15 + [b""] * 5) and closed(lab, PORT)
    assert r.stop().outcomes() == {"capture-hole": 15, "complete": 5}


def test_a_client_that_connects_and_resets_at_once(lab, replay):
    """As checks do: both applications are given the connection, though the target's SYN-ACK comes after the RST."""
    def take(connection):
        return connection.recv(100)

    lab.route_to_assistant("client")
    lab.delay("target", 2000)
    online, target = (Server(lab, host, take) for host in ("online", "target"))
    r = replay(port=PORT)
    for _ in range(30):
        connection = connect(lab, PORT)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert wait_until(lambda: online.accepted == 30)
    assert wait_until(lambda: target.ends == ["ConnectionResetError"] * 30), target.ends
    assert closed(lab, PORT) and r.stop().outcomes() == {"client-reset": 30}


def test_connections_that_the_server_never_accepts(lab, replay):
    """Its accept queue is full: it drops the ACK that completes the handshake as its clients see it, and what they say
    then. It has no socket for them, or none for long, so their copies are asked about when they are quiet, and end; those
    of the accepted ones live on.
    """
    def echo(connection):
        while word := connection.recv(100):
            connection.sendall(word)
        return "closed"

    clients, backlog, known = 20, 2, 20
    lab.route_to_assistant("client")
    lab.host("online").check_output(["sysctl", "-qw", "net.ipv4.tcp_synack_retries=1"])
    target = Server(lab, "target", echo)
    with lab.host("online").inside():
        listener = socket.create_server(("0.0.0.0", PORT), backlog=backlog)

    def accept(n):
        for _ in range(n):
            threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    r = replay(port=PORT)
    first = []
    for _ in range(known):              # an endpoint whose sockets can be asked about
        first.append(connect(lab, PORT))
        accept(1)
        first[-1].sendall(b"a request\n")
        assert first[-1].recv(100)
    assert wait_until(lambda: target.accepted == known)
    for connection in first:
        connection.close()
    assert wait_until(lambda: target.ends == ["closed"] * known)
    lab.delay("client", 200_000)        # all SYNs are there before the first handshake is complete
    connections = []
    for _ in range(clients):
        with lab.host("client").inside():
            connections.append(socket.socket())
        connections[-1].setblocking(False)
        assert connections[-1].connect_ex((lab.host("online").ip4, PORT)) in (0, errno.EINPROGRESS)
    for connection in connections:
        assert select.select([], [connection], [], PATIENCE)[1]
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    for connection in connections[::2]:
        connection.sendall(b"a request\n")
    assert wait_until(lambda: target.accepted == known + clients)
    assert lab.host("online").nstat()["TcpExtListenOverflows"] > 0
    forgotten = clients - backlog - 1
    assert wait_until(lambda: target.ends[known:] == ["ConnectionResetError"] * forgotten, 60), target.ends
    assert r.tcpcopy.status()["account"]["live"]["sessions"] == backlog + 1
    accept(backlog + 1)
    for connection in connections:
        connection.close()
    assert wait_until(lambda: target.ends.count("closed") == known + backlog + 1) and closed(lab, PORT)
    outcomes = r.stop().outcomes()
    assert outcomes.pop("complete") == known + backlog + 1
    assert set(outcomes) <= {"server-reset", "capture-hole"} and sum(outcomes.values()) == forgotten


def test_a_target_without_an_answer(lab, replay):
    """It has not answered when the client's FIN may wait no longer, and closes: that is not complete."""
    def echo(connection):
        connection.sendall(connection.recv(100))
        return connection.recv(100)

    def silent(connection):
        while connection.recv(100):
            pass

    lab.route_to_assistant("client")
    Server(lab, "online", echo)
    target = Server(lab, "target", silent)
    r = replay(port=PORT, tcpcopy=["--hold", "1s"])
    with connect(lab, PORT) as connection:
        connection.sendall(b"a request\n")
        assert connection.recv(100)
    assert wait_until(lambda: target.ends == [None]) and closed(lab, PORT)
    assert r.stop().outcomes() == {"unanswered": 1}

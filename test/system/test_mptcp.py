#!/usr/bin/python3
"""Multipath TCP: what is not the application's stream is not replicated, and is said; what became TCP is."""

import json
import socket

import pytest
from conftest import PATIENCE, wait_until
from workload import closed

IPPROTO_MPTCP = 262
PORT = 7000
CONNECTIONS = 4
OTHER = "10.90.114.83"  # the client's second address

SERVER = """
import hashlib, json, socket, sys, threading
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(sys.argv[1]))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", {port}))
listener.listen(64)
log = open(sys.argv[2], "a", buffering=1)
def serve(connection):
    log.write(json.dumps(["accepted", 0, ""]) + "\\n")
    data = b""
    try:
        while (piece := connection.recv(65536)):
            data += piece
    except OSError:
        pass
    log.write(json.dumps(["ended", len(data), hashlib.sha256(data).hexdigest()]) + "\\n")
    connection.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class Server:
    """It keeps what each connection has sent."""

    def __init__(self, lab, name, protocol):
        host = lab.host(name)
        self.log = lab.new_path(f"{name}.log")
        self.log.write_text("")
        code = lab.new_path(f"{name}.py")
        code.write_text(SERVER.format(port=PORT))
        self.process = host.popen(["/usr/bin/python3", code, protocol, self.log])
        assert host.wait_listening(PORT, lambda: self.process.poll() is None)

    def events(self, kind):
        return sorted(rest for what, *rest in map(json.loads, self.log.read_text().splitlines()) if what == kind)


@pytest.fixture
def multipath(lab):
    """The lab, whose hosts know Multipath TCP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        pytest.skip(f"this kernel has no Multipath TCP: {error}")
    lab.route_to_assistant("client")
    lab.host("client").ip_batch([f"addr add {OTHER}/16 dev eth0"])
    lab.host("target").ip_batch([f"route replace {OTHER} via {lab.host('assistant').ip4}"])
    for name in ("client", "online"):
        lab.host(name).check_output(["ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4"])
    return lab


def joins(lab):
    """Further subflows that the online server has taken."""
    return lab.host("online").nstat().get("MPTcpExtMPJoinAckRx", 0)


def talk(lab, further=0):
    """Some hundred kilobytes on each connection, in turns of several segments, once it has so many further subflows."""
    for number in range(CONNECTIONS):
        with lab.host("client").inside():
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
            connection.settimeout(PATIENCE)
            connection.connect((lab.host("online").ip4, PORT))
        connection.sendall(b"first;")
        assert wait_until(lambda: joins(lab) == (number + 1) * further)
        for turn in range(20):
            connection.sendall(b"%d %d;" % (number, turn) * 2000)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        connection.close()


@pytest.mark.parametrize("subflows", [1, 2])
def test_multipath(multipath, replay, subflows):
    lab = multipath
    if subflows == 2:
        lab.host("client").check_output(["ip", "mptcp", "endpoint", "add", OTHER, "dev", "eth0", "subflow"])
    online, target = Server(lab, "online", IPPROTO_MPTCP), Server(lab, "target", 0)
    run = replay(port=PORT)
    talk(lab, subflows - 1)
    assert wait_until(lambda: len(online.events("ended")) == CONNECTIONS)
    assert closed(lab, PORT)
    said = "speaks Multipath TCP with the online server"
    assert wait_until(lambda: said in run.tcpcopy.log)
    account = run.stop()
    assert target.events("accepted") == []
    assert account.outcomes() == {"mptcp": CONNECTIONS}
    assert account["declined.mptcp"] >= joins(lab) and account["engine.acked_bytes"] == 0
    assert account["unjoined.mptcp"] > 0
    assert account.log.count(said) == 1


def test_a_server_that_does_not_know_it(multipath, replay):
    lab = multipath
    online, target = Server(lab, "online", 0), Server(lab, "target", IPPROTO_MPTCP)
    run = replay(port=PORT)
    talk(lab)
    assert closed(lab, PORT)
    assert wait_until(lambda: len(target.events("ended")) == CONNECTIONS)
    assert online.events("ended") == target.events("ended")
    account = run.stop()
    assert account.outcomes() == {"complete": CONNECTIONS}
    assert account["declined.mptcp"] == 0 and "Multipath" not in account.log

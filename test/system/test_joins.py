#!/usr/bin/python3
"""Connections that the target does not take in their middle: it is neither stormed nor made to block the clients."""

import collections
import itertools
import socket
import threading
import time

import pytest
from conftest import PATIENCE, wait_until
from workload import ask, connect

PORT = 7000
MOST_ERRORS = 100       # MariaDB's max_connect_errors


class Server:
    """Lines are answered, on a connection that begins with `login`. On any other the first line is answered by
    `refusal`, and the end. It greets who comes, if there is a greeting. An address with too many errors and no login
    in between is blocked for good, as MariaDB does it.
    """

    def __init__(self, host, greeting=b"", refusal=b""):
        self.greeting, self.refusal = greeting, refusal
        self.accepted, self.blocked, self.lines = [], 0, []
        self.errors = collections.Counter()
        with host.inside():
            self.socket = socket.create_server(("0.0.0.0", PORT), backlog=1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.socket.close()

    def _accept(self):
        while True:
            try:
                connection, (client, _) = self.socket.accept()
            except OSError:
                return
            self.accepted.append(time.monotonic())
            threading.Thread(target=self._serve, args=(connection, client), daemon=True).start()

    def _serve(self, connection, client):
        try:
            with connection, connection.makefile("rb") as lines:
                if self.errors[client] >= MOST_ERRORS:
                    self.blocked += 1
                    connection.sendall(b"blocked because of many connection errors\r\n")
                    return
                connection.sendall(self.greeting)
                first = lines.readline()
                if not first.startswith(b"login"):
                    self.errors[client] += first != b""
                    connection.sendall(self.refusal)
                    return
                self.errors[client] = 0
                for line in itertools.chain([first], lines):
                    self.lines.append(line)
                    connection.sendall(b"you said " + line)
        except OSError:
            pass


REFUSALS = {
    "bare FIN": {},
    "error text": {"refusal": b"what is that?\r\n"},
    "greeting": {"greeting": b"welcome to the server, version 1\r\n", "refusal": b"packets out of order\r\n"},
}


@pytest.mark.parametrize("target", REFUSALS)
def test_logins_that_were_not_captured(lab, replay, target):
    """Fifty connections that have logged in before tcpcopy came: whatever the target says to them, it is asked at most
    5 times a second, and takes what is good all the time.
    """
    lab.route_to_assistant("client")
    online = Server(lab.host("online"), REFUSALS[target].get("greeting", b""))
    server = Server(lab.host("target"), **REFUSALS[target])
    greeting = len(online.greeting)

    def login(name):
        connection = connect(lab, PORT)
        assert not greeting or len(connection.recv(greeting, socket.MSG_WAITALL)) == greeting
        ask(connection, f"login {name}")
        return connection

    older = [login(f"older {n}") for n in range(50)]
    r = replay(port=PORT)
    begun, turns, good = time.monotonic(), 0, []

    def stopped():
        return r.tcpcopy.status()["account"]["declined"]["joins_stopped"] > 0
    while time.monotonic() < begun + 10 or time.monotonic() < begun + PATIENCE and not stopped():
        for n, connection in enumerate(older):
            ask(connection, f"older {n} asks {turns}")
        turns += 1
        if turns % 5 == 0:
            connection = login(f"good {len(good)}")
            ask(connection, "good asks")
            good.append(connection)
        time.sleep(0.05)
    joins, seconds = len(server.accepted) - len(good), time.monotonic() - begun
    # each may have been joined once before the first has failed
    assert joins <= len(older) + 5 * seconds, (joins, seconds, turns)
    assert wait_until(lambda: sum(b"good" in line for line in server.lines) == 2 * len(good)), server.lines
    for connection in older + good:
        connection.close()
    account = r.stop()
    assert account["engine.joins_failed"] >= 18 and account["engine.joins_stopped"] == 1, account.log
    assert account["declined.joins_stopped"] > 0
    assert account.log.count("18 of the last 20 failed") == 1, account.log
    assert not server.blocked
    assert not any(b"older" in line for line in server.lines)
    for s in online, server:
        s.close()


def test_the_workers_share_the_rate(lab, replay):
    """With two workers the target is not asked twice as often."""
    lab.route_to_assistant("client")
    online, server = Server(lab.host("online")), Server(lab.host("target"))
    older = []
    for n in range(50):
        older.append(connect(lab, PORT))
        ask(older[-1], f"login older {n}")
    r = replay(port=PORT, tcpcopy=["--workers", "2"])
    turns = 0

    def asks(connections):
        nonlocal turns
        for connection in connections:
            ask(connection, f"older asks {turns}")
            turns += 1

    for connection in older[:16]:       # one after the other, so that both workers know how the first have failed
        asks([connection])
        time.sleep(0.1)
    assert wait_until(lambda: len(server.accepted) == r.tcpcopy.status()["account"]["engine"]["sessions_joined"])
    begun, before = time.monotonic(), len(server.accepted)
    while time.monotonic() < begun + 3:
        asks(older)
        time.sleep(0.02)
    joins, seconds = len(server.accepted) - before, time.monotonic() - begun
    assert 5 < joins <= 5 * seconds + 2, (joins, seconds)
    for connection in older:
        connection.close()
    account = r.stop()
    assert account["engine.joins_failed"] >= joins, account.log
    for s in online, server:
        s.close()


@pytest.mark.parametrize("target", REFUSALS)
def test_connections_that_are_given_up(lab, replay, target):
    """Few connections are too few to judge the target by; each of them is joined three times."""
    lab.route_to_assistant("client")
    online = Server(lab.host("online"), REFUSALS[target].get("greeting", b""))
    server = Server(lab.host("target"), **REFUSALS[target])
    older = []
    for n in range(4):
        older.append(connect(lab, PORT))
        older[n].recv(len(online.greeting), socket.MSG_WAITALL) if online.greeting else None
        ask(older[n], f"login {n}")
    r = replay(port=PORT)

    def given_up():
        for n, connection in enumerate(older):
            ask(connection, f"older {n} asks")
        return r.tcpcopy.status()["account"]["engine"]["connections_given_up"] == 4
    assert wait_until(given_up)
    for _ in range(20):
        given_up()
    assert len(server.accepted) == 12, r.tcpcopy.status()["account"]
    for connection in older:
        connection.close()
    account = r.stop()
    assert account["engine.joins_failed"] == 12 and account["engine.joins_stopped"] == 0, account.log
    assert account["declined.given_up"] > 0, account.log
    assert account.log.count("such a connection is not joined again") == 1, account.log
    for s in online, server:
        s.close()

#!/usr/bin/python3
"""Attacks on the channel's port beside good traffic: nothing of it is lost. The table is in doc/THREATS.md.

A stranger needs no more than to reach the port: it speaks the protocol, or something else, from several addresses and
from the online host itself.
"""

import contextlib
import os
import random
import socket
import struct
import threading
import time

import pytest
from conftest import PATIENCE, wait_until
from test_hostile import frame, lies
from test_intercept import CHANNEL_PORT, EXPECT, FULL, HELLO, PING, PORT, PROBE, STRAY, TARGET, WATCH, endpoint
from test_secret import counted, secret_file
from workload import all_complete, appends, ask, closed, connect, equal, pair

ADDRESSES = ["10.90.114.201", "10.90.114.202", "10.90.114.203", "10.90.114.204", "10.90.114.205"]
ROUNDS = 6


def hello(number=None):
    """HELLO of another process each time."""
    number = random.getrandbits(32) if number is None else number
    return frame(HELLO, b"TCPC" + struct.pack(">HHIH24s24sHI", 1, 1, 1, 0, b"tcpcopy", b"test", 1, number))


class Stranger(threading.Thread):
    """Goes on with `attack(stranger)` until stop(). `busy`: the attack has begun."""

    def __init__(self, lab, attack):
        super().__init__(daemon=True)
        self.lab, self.attack = lab, attack
        self.at = (lab.host("assistant").ip4, CHANNEL_PORT)
        self.target = endpoint(lab.host("target").ip4, PORT)
        self.connections, self.busy, self.ending, self.failed = [], threading.Event(), threading.Event(), None
        self.rng = random.Random(1)
        lab.host("client").ip_batch([f"addr add {a}/32 dev eth0" for a in ADDRESSES])

    def __enter__(self):
        self.start()
        assert self.busy.wait(5 * PATIENCE) and not self.failed, self.failed
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(60)
        assert not self.is_alive() and not self.failed, self.failed

    def run(self):
        try:
            self.attack(self)
        except Exception as e:  # pylint: disable=broad-except
            self.failed = repr(e)
        for connection in self.connections:
            connection.close()

    def connect(self, first=b"", host="client", source=None):
        """A connection on which `first` was sent. None: it was refused at once."""
        connection = socket.socket()
        connection.close()
        with self.lab.host(host).inside():
            connection = socket.socket()
        connection.settimeout(PATIENCE)
        self.connections.append(connection)
        try:
            if source:
                connection.bind((source, 0))
            connection.connect(self.at)
            connection.sendall(first)
        except OSError:
            return None
        return connection

    def go_on(self, pause=0.0):
        """Has it to go on?"""
        self.busy.set()
        return not self.ending.wait(pause)

    def client(self, port, address=None):
        return endpoint(address or self.lab.host("client").ip4, port)

    def watches(self, first_id, clients):
        """WATCHes with numbers that are guessed."""
        numbers = range(first_id, first_id + len(clients))
        return b"".join(struct.pack(">BBHQIBBHQ18s18s", EXPECT, 0, 12, n, n * 2654435761 & 0xffffffff,
                                    WATCH, 0, 44, n, self.target, c) for n, c in zip(numbers, clients))


def hold_connections(stranger):
    """As many as each address can have, which have said HELLO; and for what becomes free it tries at once."""
    for source in ADDRESSES:
        for _ in range(260):
            stranger.connect(hello(), source=source)
    while stranger.go_on(0.02):
        for source in ADDRESSES:
            stranger.connect(hello(), source=source)


def ask_for_findings(stranger):
    peers = [stranger.connect(hello()) for _ in range(8)]
    number = 0
    while stranger.go_on(0.001):
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.sendall(b"".join(frame(PROBE, struct.pack(">Q", number + n) + stranger.target + stranger.client(40000 + n))
                                      for n in range(50)))
            number += 50


def fill_the_table(stranger):
    """From three addresses, as far as each gets: each connection asks for other tuples."""
    ends = [(n.to_bytes(2, "big"), (1024 + n).to_bytes(2, "big")) for n in range(1 << 14)]
    for net, (source, share) in enumerate(zip(ADDRESSES, (72, 36, 22))):
        peer = stranger.connect(hello(), source=source)
        for block in range(share):
            begin = struct.pack(">BBHIH", WATCH, 0, 44, net, block)
            middle = stranger.target + stranger.client(1, f"10.{net + 1}.{block}.1")[:-2]
            peer.sendall(b"".join([begin + number + middle + port for number, port in ends]))
    while stranger.go_on(0.1):
        pass


def steal(stranger, host="client"):
    """All ports of the client, by as many processes as may ask for one, again and again."""
    everything = stranger.watches(1, [stranger.client(port) for port in range(1024, 65536)])
    while stranger.go_on():
        for _ in range(4):
            peer = stranger.connect(hello(), host=host)
            with contextlib.suppress(OSError):
                peer.sendall(everything)
            if not stranger.go_on(0.1):
                return
        for peer in stranger.connections[:-4]:
            peer.close()


def steal_here(stranger):
    """The same by a user of the online host."""
    steal(stranger, "online")


def announce_targets(stranger):
    """One by one, so that the filter would change each time."""
    peers = [stranger.connect(hello()) for _ in range(20)]
    number = 0
    while stranger.go_on(0.002):
        for peer in peers:
            number += 1
            peer.sendall(frame(TARGET, endpoint(f"10.0.{number >> 8 & 255}.{number & 255}", 1 + number % 60000)))


def garbage(stranger):
    while stranger.go_on():
        data = b"" if stranger.rng.random() < 0.3 else hello()
        data += b"".join(lies(stranger.lab, stranger.rng) for _ in range(stranger.rng.randrange(60)))
        peer = stranger.connect(data[:stranger.rng.randrange(len(data) + 1)])
        if peer:
            peer.close()


def write_slowly(stranger):
    """A byte of HELLO each 0.2 s, on many connections, and half of a handshake of TLS."""
    whole = hello()
    peers = [stranger.connect(b"\x16\x03\x01\x02\x00\x01" if n % 2 else b"") for n in range(200)]
    at = 0
    while stranger.go_on(0.2):
        for peer in peers[::2]:
            with contextlib.suppress(OSError):
                peer.sendall(whole[at % len(whole):][:1])
        at += 1


def read_nothing(stranger):
    """Who asks for what the good sessions are answered, and does not read it."""
    while stranger.go_on(0.05):
        peer = stranger.connect(hello(), host="online")
        with contextlib.suppress(OSError):      # all connections of that host are cut, once
            while stranger.go_on(0.05):
                peer.sendall(stranger.watches(random.getrandbits(40), [stranger.client(port)
                                                                       for port in range(32768, 33768)]))


def ask_for_echoes(stranger):
    """PINGs whose PONGs nobody reads, a byte out of band in the middle of a message, and then the end of what is sent."""
    pings = b"".join(frame(PING, struct.pack(">Q", n)) for n in range(5000))
    while stranger.go_on(0.01):
        peer = stranger.connect(hello())
        with contextlib.suppress(OSError):
            peer.settimeout(0.2)
            peer.send(pings[:7])
            peer.send(b"!", socket.MSG_OOB)
            peer.sendall(pings[7:])
            peer.shutdown(socket.SHUT_WR)


def good_traffic(lab, online, target):
    for _ in range(ROUNDS):
        appends(lab, connections=4, commands=40)
    assert equal(online, target)


@pytest.mark.parametrize("attack", [hold_connections, ask_for_findings, fill_the_table, steal, steal_here, announce_targets,
                                    garbage, write_slowly, read_nothing, ask_for_echoes], ids=lambda attack: attack.__name__)
def test_a_stranger_without_a_secret(lab, replay, attack):
    """Good traffic is whole, each session by its own port, whatever a stranger does meanwhile; also when all connect anew."""
    online, target = pair(lab)
    copy = replay(filters=attack is not announce_targets)
    with Stranger(lab, attack):
        older = connect(lab)
        ask(older, f"append older{os.getpid()} 0.")
        good_traffic(lab, online, target)
        assert copy.intercept.status()["account"]["waiting"]["peers"] < 1000        # there is room for others
        lab.host("online").check_output(["ss", "-K", "dport", "=", f":{CHANNEL_PORT}"])
        assert wait_until(lambda: copy.tcpcopy.log.count(": connected (") >= 2), copy.tcpcopy.log
        for n in range(5):
            ask(older, f"append older{os.getpid()} {n}.")
        good_traffic(lab, online, target)
        older.close()
        assert closed(lab)
    account = copy.stop()
    assert all_complete(account)
    assert account["engine.sources_moved"] == account["strays.reset"] == account["engine.leftovers_reset"] == 0
    assert copy.intercept_account["watches.refused"] > 0 or attack is not fill_the_table
    assert copy.intercept_account["connections.turned_away"] > 0 or attack is not hold_connections


class FalseIntercept(threading.Thread):
    """An assistant of tcpcopy that tells of strays: half of them of a live session, half of others."""

    def __init__(self, lab, port, client):
        super().__init__(daemon=True)
        with lab.host("assistant").inside():
            self.listener = socket.create_server((lab.host("assistant").ip4, port))
        self.target, self.address, self.client = endpoint(lab.host("target").ip4, PORT), lab.host("client").ip4, client
        self.told, self.ending = 0, False
        self.start()

    def stray(self):
        port = self.client() if self.told % 2 else 1024 + random.randrange(64000)
        return frame(STRAY, self.target + endpoint(self.address, port) +
                     struct.pack(">IIB", random.getrandbits(32), random.getrandbits(32), 0x10)) + \
            frame(FULL, struct.pack(">II", random.randrange(64), random.randrange(16)))      # of a session, if that is one

    def run(self):
        peer, _ = self.listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(hello(1).replace(b"tcpcopy", b"intercp"))
            while not self.ending:
                peer.sendall(b"".join(self.stray() for _ in range(50)))
                self.told += 50
                time.sleep(0.005)

    def stop(self):
        self.ending = True
        self.join(20)
        self.listener.close()
        assert not self.is_alive()
        return self.told


def test_a_false_intercept(lab, replay):
    """It makes tcpcopy send a bounded number of resets, none of them to a live session."""
    online, target = pair(lab)
    live = []
    false = FalseIntercept(lab, 40000, lambda: live[0] if live else 1)
    copy = replay(tcpcopy=["-s", f"{lab.host('assistant').ip4}:40000"])
    older = connect(lab)
    live.append(older.getsockname()[1])
    begun = time.monotonic()
    for n in range(20):
        ask(older, f"append older{os.getpid()} {n}.")
    good_traffic(lab, online, target)
    older.close()
    assert closed(lab)
    told, took = false.stop(), time.monotonic() - begun
    account = copy.stop()
    assert all_complete(account)
    assert told > 500 and account["strays.refused"] > 100       # some of them about the live session, as far as it has read
    assert 0 < account["strays.reset"] <= 1000 * (took + 3)


def test_six_hundred_strangers_with_a_secret(lab, replay, tmp_path):
    """Who does not have the secret is turned away, in whatever way it begins; nothing of the good traffic is lost."""
    online, target = pair(lab)
    options = ["--secret", secret_file(tmp_path / "secret")]
    copy = replay(tcpcopy=options, intercept=options)

    def strangers(stranger):
        record = b"\x16\x03\x01\x00\xf0\x01\x00\x00\xec\x03\x03"
        begin = [lambda: hello(), lambda: b"", lambda: stranger.rng.randbytes(300), lambda: record + stranger.rng.randbytes(100),
                 lambda: record + stranger.rng.randbytes(600), lambda: hello() + stranger.watches(1, [stranger.client(40000)])]
        for n in range(600):
            peer = stranger.connect(begin[n % 6](), host=("client", "target", "online")[n // 6 % 3])
            if peer and n % 5 == 0:
                peer.close()
        while stranger.go_on(0.1):
            pass

    with Stranger(lab, strangers):
        good_traffic(lab, online, target)
        ours = next(line for line in lab.host("online").check_output(["ss", "-Htnp", "dport", "=", f":{CHANNEL_PORT}"])
                    .splitlines() if '"tcpcopy"' in line)
        lab.host("online").check_output(["ss", "-K", "dport", "=", f":{CHANNEL_PORT}", "and", "sport", "=",
                                         ":" + ours.split()[3].rsplit(":", 1)[1]])
        assert wait_until(lambda: copy.tcpcopy.log.count(": connected (") == 2), copy.tcpcopy.log
        good_traffic(lab, online, target)
        assert closed(lab)
    silent = 100        # said nothing: who left before its time for that was over was a port check
    assert wait_until(lambda: copy.intercept.status()["account"]["connections"]["turned_away"] >= 600 - silent)
    account = copy.stop()
    assert all_complete(account)
    assert account["engine.sources_moved"] == account["strays.reset"] == 0
    assert 600 - silent <= counted(copy.intercept_log, "connections refused: over a limit, or no valid HELLO") <= 600
    assert counted(copy.intercept_log, "tcpcopy connections") == 2

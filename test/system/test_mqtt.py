#!/usr/bin/python3
"""MQTT: a broker speaks because of what another connection said, and a subscriber confirms what it was told.

A confirmation that comes before its message breaks the connection. So the copy of a subscriber has to wait, with each
confirmation, until the target's broker has told it what the online server's had.
"""

import socket
import struct
import threading
import time

import pytest
from conftest import wait_until
from workload import closed, pair

PORT = 1883
MESSAGES = 60
CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 5, 6, 7, 8, 9
DISCONNECT = 14


def text(words):
    return struct.pack(">H", len(words)) + words.encode()


class Client:
    """One that answers what the broker sends as it comes, in a thread of its own (MQTT 3.1.1, 4.3)."""

    def __init__(self, lab, name):
        with lab.host("client").inside():
            self.socket = socket.create_connection((lab.host("online").ip4, PORT), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got, self.changed = [], threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.send(CONNECT, 0, text("MQTT") + bytes([4, 2]) + struct.pack(">H", 600) + text(name))
        self.reader.start()
        self.wait(CONNACK)

    def send(self, kind, flags, body):
        assert len(body) < 128
        self.socket.sendall(bytes([kind << 4 | flags, len(body)]) + body)

    def _exactly(self, n):
        data = b""
        while len(data) < n and (piece := self.socket.recv(n - len(data))):
            data += piece
        return data

    def _read(self):
        while head := self._exactly(2):
            kind, flags, body = head[0] >> 4, head[0] & 15, self._exactly(head[1])
            if kind == PUBLISH:
                qos, topic = flags >> 1 & 3, struct.unpack(">H", body[:2])[0]
                packet = body[2 + topic:4 + topic]
                if qos:
                    self.send(PUBACK if qos == 1 else PUBREC, 0, packet)
            elif kind == PUBREC:
                self.send(PUBREL, 2, body[:2])
            elif kind == PUBREL:
                self.send(PUBCOMP, 0, body[:2])
            with self.changed:
                self.got.append((kind, flags >> 1 & 3))
                self.changed.notify_all()

    def count(self, *kinds):
        return sum(kind in kinds for kind, _ in self.got)

    def wait(self, *kinds, number=1):
        with self.changed:
            assert self.changed.wait_for(lambda: self.count(*kinds) >= number, 30), self.got

    def close(self):
        self.send(DISCONNECT, 0, b"")
        self.reader.join(10)
        self.socket.close()


def talk(lab, run, qualities, gap):
    """A publisher sends MESSAGES to a subscriber, of each quality in turn."""
    subscriber = Client(lab, f"subscriber{run}")
    subscriber.send(SUBSCRIBE, 2, struct.pack(">H", 1) + text(f"t{run}") + bytes([2]))
    subscriber.wait(SUBACK)
    publisher = Client(lab, f"publisher{run}")
    sent = 0
    for n in range(MESSAGES):
        qos = qualities[n % len(qualities)]
        packet = struct.pack(">H", n + 1) if qos else b""
        publisher.send(PUBLISH, qos << 1, text(f"t{run}") + packet + f"message {n} of {run}".encode())
        if qos:
            sent += 1
            publisher.wait(PUBACK, PUBCOMP, number=sent)
        time.sleep(gap)
    subscriber.wait(PUBLISH, number=MESSAGES)
    twice = sum(qualities[n % len(qualities)] == 2 for n in range(MESSAGES))
    subscriber.wait(PUBREL, number=twice)
    for client in publisher, subscriber:
        client.close()


def told(broker, run):
    """The messages which the broker has sent to this run's subscriber, and what that has confirmed."""
    name = f"subscriber{run}"
    return {words: len(broker.lines(f"{words} {name} ")) for words in
            ("Sending PUBLISH to", "Received PUBACK from", "Received PUBREC from", "Received PUBCOMP from")}


@pytest.mark.parametrize("qualities", [(2,), (0, 1, 2)], ids=["twice", "mixed"])
def test_messages(lab, replay, qualities):
    """Whatever the pause between messages, the target's broker tells and hears the same."""
    online, target = pair(lab, "mosquitto")
    r = replay(port=PORT)
    runs = range(8)
    for run in runs:
        talk(lab, run, qualities, (0, 0.03)[run % 2])
    whole = [run for run in runs if wait_until(lambda run=run: told(target, run) == told(online, run))]
    assert closed(lab, PORT)
    account = r.stop()
    for run in runs:
        assert told(online, run)["Sending PUBLISH to"] == MESSAGES
    # a machine that stands still makes a pause, by which a turn may go too early; the broken connection counts
    broken, early = len(runs) - len(whole), account["engine.released_on_pause"] + account["engine.released_on_deadline"]
    assert broken <= min(len(runs) // 2, early), [told(target, run) for run in runs]
    assert account.outcomes()["complete"] >= len(runs)
    if not early:
        assert account.outcomes() == {"complete": 2 * len(runs)} and account["engine.lost_bytes"] == 0

#!/usr/bin/python3
"""One port of a client in two connections at a time that are copied to one target: each copy lives."""

import socket

import pytest
from conftest import wait_until
from workload import Trouble, all_complete, ask, closed, equal, pair, writes

PORTS = range(41000, 41008)


def twins(lab, first, second):
    """For each port a connection to the one and to the other, and what each asks is told apart by its key."""
    made = []
    with lab.host("client").inside():
        for port in PORTS:
            for name, there in (("first", first), ("second", second)):
                connection = socket.socket()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                connection.bind(("", port))
                connection.settimeout(20)
                connection.connect(there)
                ask(connection, f"append {name}{port} connected.")
                made.append((connection, f"{name}{port}"))
    return made


def converse(made):
    for n in range(5):
        for connection, key in made:
            ask(connection, f"append {key} {n}.")


@pytest.mark.parametrize("workers", [1, 2])
def test_two_addresses_of_the_online_host(lab, replay, workers):
    online, target = pair(lab)
    lab.host("online").ip_batch(["addr add 10.90.111.200/32 dev eth0"])
    run = replay(tcpcopy=["--workers", workers])
    trouble = Trouble(lab.host("target"))
    made = twins(lab, (lab.host("online").ip4, 6379), ("10.90.111.200", 6379))
    converse(made)
    for connection, _ in made:
        connection.close()
    assert equal(online, target) and closed(lab)
    account = run.stop()
    assert all_complete(account)
    assert account["engine.sessions_opened"] == len(made) and account["engine.leftovers_reset"] == 0
    assert trouble() == {}
    assert 1 <= account.log.count("has several connections at a time") <= workers


def test_two_rules_for_one_target(lab, replay):
    online, target = pair(lab)
    other = lab.redis("online", port=6380)
    run = replay(tcpcopy=["-x", f"6380-{lab.host('target').ip4}:6379"])
    made = twins(lab, (lab.host("online").ip4, 6379), (lab.host("online").ip4, 6380))
    converse(made)
    for connection, _ in made:
        connection.close()
    assert closed(lab)
    assert wait_until(lambda: writes(target)["append"] == writes(online)["append"] + writes(other)["append"])
    for _, key in made:
        assert target.cli("get", key) == (online if key.startswith("first") else other).cli("get", key) != ""
    account = run.stop()
    assert all_complete(account) and account["engine.leftovers_reset"] == 0

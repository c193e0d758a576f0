#!/usr/bin/python3
"""One port of a client in two connections at a time that are copied to one target: each copy lives."""

import socket
import struct
import time

import pytest
from conftest import PATIENCE, Account, Program, wait_until
from test_intercept import ACK, FILTER, PSH, SYN, FakeTcpcopy, Flow, opened, start
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
                connection.settimeout(PATIENCE)
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


def second_online(lab):
    """Another online host with a redis and a tcpcopy of its own, for the same target."""
    host = lab.add_host("online2", "10.90.111.201")
    return host, lab.redis("online2")


@pytest.mark.parametrize("workers", [1, 2])
def test_two_online_hosts(lab, replay, workers):
    """As behind a load balancer: the second host's tcpcopy is told, and takes another port."""
    online, target = pair(lab)
    host, other = second_online(lab)
    run = replay(intercept=["--workers", workers])
    report = lab.new_path("tcpcopy2.json")
    second = Program(host, "tcpcopy", "-x", f"6379-{lab.host('target').ip4}:6379", "-s", lab.host("assistant").ip4,
                     "--report", report).wait_ready()
    made = twins(lab, (lab.host("online").ip4, 6379), (host.ip4, 6379))
    converse(made)
    for connection, _ in made:
        connection.close()
    # a SYN of the second that was late is answered for a minute; no application hears of it
    assert closed(lab, timeout=90)
    assert wait_until(lambda: writes(target)["append"] == writes(online)["append"] + writes(other)["append"])
    for _, key in made:
        assert target.cli("get", key) == (online if key.startswith("first") else other).cli("get", key) != ""
    accounts = [Account(second.stop(), report.read_text()), run.stop()]
    for account in accounts:
        assert account.balanced() and all_complete(account)
    moved = [account["engine.sources_moved"] for account in accounts]
    assert sum(moved) == len(PORTS) == run.intercept_account["watches.taken"]
    assert run.intercept_log.count("another tcpcopy copies to this target already") <= workers
    assert accounts[0].log.count("ours goes from another port") == bool(moved[0])


TAKEN = 14


def taken(tcpcopy):
    """The ids of what was refused to it."""
    ids = []
    tcpcopy.send(6, b"settled?")
    while (message := tcpcopy.read()) != (7, b"settled?"):
        ids += struct.unpack(">Q", message[1]) if message[0] == TAKEN else ()
    return ids


def test_who_has_a_tuple(net):
    """The first host, while it is connected and a moment longer; there each process, and any of its connections."""
    net.add_host("online2", "10.90.111.201")
    intercept = start(net, *FILTER)
    first, second = FakeTcpcopy(net, number=1), FakeTcpcopy(net, host="online2")
    flow, other = Flow(net), Flow(net)
    second.watch(other)
    number, _ = opened(first, flow)
    assert number and taken(first) == taken(second) == []
    refused = second.watch(flow)
    assert taken(second) == [refused]
    again = FakeTcpcopy(net, number=1)
    again.watch(flow)
    assert taken(again) == []
    again.socket.close()
    assert wait_until(lambda: intercept.log.count(" disconnected") == 1)
    refused = second.watch(flow)
    assert taken(second) == [refused]
    back = first.watch(flow)
    assert taken(first) == []
    first.unwatch(back)
    first.settle()
    second.watch(flow)
    assert taken(second) == []
    numbered = [FakeTcpcopy(net, number=n) for n in (7, 7, 8)]
    third = Flow(net)
    opened(numbered[0], third)
    for tcpcopy in numbered:
        mine = tcpcopy.watch(third)
        assert taken(tcpcopy) == ([mine] if tcpcopy is numbered[2] else [])
        third.send(ACK, b"*")                # which the target acknowledges, so each is proved again
        third.send(ACK, b"?")
        numbered[min(numbered.index(tcpcopy), 1)].response()
    intercept.stop()


def wrong(flow):
    return flow.seq ^ 1 << 30


@pytest.mark.parametrize("first", ["stranger", "owner"])
def test_who_asks_for_a_tuple(net, first):
    """Before the session begins, or after: whose SYN the target acknowledges has the tuple, and all others hear nothing."""
    intercept = start(net, *FILTER)
    net.add_host("online2", "10.90.111.201")
    # of the same host, of another, and without a number
    strangers = [FakeTcpcopy(net, number=7), FakeTcpcopy(net, host="online2"), FakeTcpcopy(net, number=9)]
    owner, flow, numbers = FakeTcpcopy(net, number=1), Flow(net), []
    asking = [*strangers, owner] if first == "stranger" else [owner, *strangers]
    for one in asking:
        numbers.append(one.watch(flow, expected=None if one is owner else False if one is strangers[2] else wrong(flow)))
    assert [taken(one) for one in asking] == [[]] * 4
    flow.syn()
    synack = owner.response()
    assert synack.flags == SYN | ACK and synack.ack == flow.seq and synack.id == numbers[asking.index(owner)]
    for one, number in zip(asking, numbers):
        assert taken(one) == ([] if one is owner else [number]) and bool(one.records) == (one is owner)
    flow.ack = synack.seq + 1 & 0xffffffff
    flow.send(ACK)
    net.echo.accept().sendall(b"hello")
    assert owner.response().len == 5
    account = intercept.status()["account"]["watches"]
    assert account["taken"] == 3 and account["shared"] == 0
    intercept.stop()


def test_who_asked_and_went(net):
    """It leaves nothing: a session from elsewhere gets the tuple, and nobody's answers are told to it as strays."""
    intercept = start(net, *FILTER)
    net.add_host("online2", "10.90.111.201")
    stranger, owner, flow = FakeTcpcopy(net, host="online2"), FakeTcpcopy(net), Flow(net)
    stranger.watch(flow, expected=wrong(flow))
    stranger.settle()
    stranger.socket.close()
    assert wait_until(lambda: intercept.log.count(" disconnected") == 1)
    opened(owner, flow)
    assert taken(owner) == []
    intercept.stop()


def test_a_crowd_that_asks_for_a_tuple(net):
    """Of five askers one has to go: one of those that come from the same address, and the oldest of them."""
    intercept = start(net, *FILTER)
    net.add_host("online2", "10.90.111.201")
    owner, flow = FakeTcpcopy(net, number=1), Flow(net)
    mine = owner.watch(flow)
    crowd = [FakeTcpcopy(net, number=n, host="online2") for n in range(2, 8)]
    numbers = []
    for one in crowd:
        numbers.append(one.watch(flow, expected=wrong(flow)))
        one.settle()
    assert [taken(one) for one in crowd] == [[n] for n in numbers[:3]] + [[]] * 3 and taken(owner) == []
    flow.syn()
    assert owner.response().id == mine
    assert [taken(one) for one in crowd] == [[]] * 3 + [[n] for n in numbers[3:]]
    intercept.stop()


def test_a_synack_that_overtakes_its_watch(net):
    """It waits for it, also where a stranger has asked before; and is given to who asked if none comes."""
    intercept = start(net, *FILTER)
    stranger, another, owner = (FakeTcpcopy(net, number=n) for n in (7, 9, 1))
    for _ in range(20):
        flow = Flow(net)
        theirs = stranger.watch(flow, expected=wrong(flow))
        stranger.settle()
        begun, before = time.monotonic(), another.records
        flow.syn()
        another.watch(flow, expected=wrong(flow))
        another.settle()
        mine = owner.watch(flow)
        assert owner.response().id == mine
        if time.monotonic() < begun + 0.4:      # or it may have come from a SYN-ACK that the target repeated
            break
        for one in (stranger, another):
            taken(one)
    assert taken(stranger) == [theirs] and another.records == before
    assert intercept.status()["account"]["watches"]["early"] >= 1
    alone = Flow(net)
    theirs = stranger.watch(alone, expected=wrong(alone))
    alone.syn()
    assert stranger.response().id == theirs and taken(stranger) == []
    intercept.stop()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_session_that_is_announced_again(net, restarted):
    """Who asks while its tcpcopy is not connected hears it and so knows its numbers; that takes nothing from the session."""
    intercept = start(net, *FILTER)
    owner, flow = FakeTcpcopy(net, number=1), Flow(net)
    opened(owner, flow)
    flow.send(ACK)
    server = net.echo.accept()
    if restarted:
        intercept.stop()
        intercept = start(net, *FILTER)
    else:
        owner.socket.close()
        assert wait_until(lambda: intercept.log.count(" disconnected") == 1)
    stranger, another = FakeTcpcopy(net, number=7), FakeTcpcopy(net, number=8)
    theirs = stranger.watch(flow, expected=wrong(flow))
    stranger.settle()
    server.sendall(b"hello")
    assert stranger.response().len == 5
    flow.ack += 5
    numbers = [stranger.watch(flow, theirs, flow.seq - 1 & 0xffffffff), another.watch(flow, expected=flow.seq - 1 & 0xffffffff)]
    another.settle()
    flow.send(ACK)
    server.sendall(b"again!")
    assert stranger.response().len == another.response().len == 6
    flow.ack += 6
    owner = FakeTcpcopy(net, number=1)
    mine = owner.watch(flow, expected=flow.seq - 1 & 0xffffffff)
    assert taken(owner) == []
    flow.send(ACK | PSH, b"x" * 1000)
    server.sendall(b"hello")
    assert owner.response().id == owner.response().id == mine
    # proved again where intercept has known it before; else all who ask hear it
    assert [taken(one) for one in (stranger, another, owner)] == ([[], [], []] if restarted else [[n] for n in numbers] + [[]])
    intercept.stop()


def test_own_copies_are_not_the_servers_words(lab, replay):
    """A client whose port is the service's: SYNs and resets of its copies leave this host from that port, too."""
    online, target = pair(lab, "nginx")
    run = replay(port=80)
    for _ in range(3):
        with lab.host("client").inside(), socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind(("", 80))
            connection.settimeout(20)
            connection.connect((lab.host("online").ip4, 80))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: online\r\n\r\n")
            assert connection.recv(9) == b"HTTP/1.1 "
            # a reset frees the port at once
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert wait_until(lambda: len(target.requests()) == len(online.requests()) == 3) and closed(lab, 80)
    account = run.stop()
    assert account["engine.sessions_opened"] == 3 and account["sent.packets"] >= 9
    # what goes by a raw socket, while the neighbour is not known, is seen
    assert 3 <= account["capture.replies"] <= 3 + account["sent.fallback"]

#!/usr/bin/python3
"""More than was captured: each session several times (-n), each copy a session of its own."""

import math
import socket
import struct

import pytest
from conftest import wait_until
from test_choice import MASK, FromFile, connect, siphash
from workload import Trouble, ask, closed, over, pair

FIXED = 0x636f706965732d6e
TURNS = 4


def copies(lab, port, times, seed=1):
    """How many a connection from this port has."""
    data = bytes(10) + b"\xff\xff" + socket.inet_aton(lab.host("client").ip4) + struct.pack(">H", port)
    return int(times) + ((siphash((seed, FIXED), data) & MASK) >> 32 < (times - int(times)) * 2**32)


def traffic(lab, ports, name):
    """Connections from these ports, all open at the same time; each says numbers, in order, under a name of its own."""
    made = {port: connect(lab, port) for port in ports}
    for n in range(TURNS):
        for port, s in made.items():
            ask(s, f"rpush {name}{port} {n}")
    for s in made.values():
        s.close()


def held(redis, ports, name):
    """The lists of these names at a server."""
    got = redis.cli(*["eval", "local r={} for i,k in ipairs(KEYS) do r[i]='='..table.concat(redis.call('lrange',k,0,-1),' ') end "
                      "return r", str(len(ports)), *[f"{name}{port}" for port in ports]])
    return dict(zip(ports, [line.strip().lstrip("=") for line in got.split("\n")]))


def is_woven(text, times, turns=TURNS):
    """Is it what so many copies have said, each in order?"""
    seen = [0] * turns
    for word in text.split():
        seen[int(word)] += 1
        if int(word) and seen[int(word)] > seen[int(word) - 1]:
            return False
    return seen == [times] * turns


def multiplied(lab, target, ports, name, times):
    """Each connection's commands came as often as it has copies, in order within each. How many copies there are."""
    want = {port: copies(lab, port, times) for port in ports}

    def there():
        got = held(target, ports, name)
        return all(is_woven(got[port], want[port]) for port in ports)
    assert wait_until(there, step=0.2), [(port, want[port], text) for port, text in held(target, ports, name).items()
                                         if not is_woven(text, want[port])][:5]
    return sum(want.values())


@pytest.mark.parametrize("way", ["alone", "replay"])
def test_times(lab, request, servers, way):
    """From 50 and from 200 connections, with an assistant and without: exactly so many times as much."""
    target = servers[1]
    trouble = Trouble(lab.host("target"))
    if way == "replay":
        lab.route_to_assistant("client")
    start = request.getfixturevalue(way)
    for start_at, times, n in (40000, 2, 200), (41000, 10, 50), (42000, 1.5, 200):
        args = ["-n", str(times), "--workers", "2" if n == 50 else "1"]
        run = start(*args) if way == "alone" else start(tcpcopy=args)
        ports = range(start_at, start_at + n)
        traffic(lab, ports, f"{times}.")
        all_copies = multiplied(lab, target, ports, f"{times}.", times)
        assert abs(all_copies - times * n) <= 3 * math.sqrt(n) / 2 if times == 1.5 else all_copies == times * n
        assert run.closed() if way == "alone" else closed(lab)
        assert over(run)
        account = run.stop()
        assert account.outcomes() == {"complete": all_copies}
        assert account["engine.sessions_opened"] == all_copies and account["engine.sessions_copies"] == all_copies - n
        assert account["engine.leftovers_reset"] == 0 and "has several connections" not in account.log
        assert f"copies: each session {times} times" in account.log
    assert trouble() == {}


def copies_at(lab, but=()):
    """The client's ports that the target has connections with."""
    lines = lab.host("target").check_output(["ss", "-Htn", "state", "established", "sport", "=", ":6379", "and", "dst",
                                             lab.host("client").ip4]).splitlines()
    return {int(line.split()[-1].rpartition(":")[2]) for line in lines} - set(but)


@pytest.mark.parametrize("workers", [1, 2])
def test_right_of_way(lab, replay, workers):
    """A client opens the port that a copy of it has: it gets it, whole, and the copy goes on from another one."""
    target = pair(lab)[1]
    run = replay(tcpcopy=["-n", "3", "--workers", workers])
    trouble = Trouble(lab.host("target"))
    first = connect(lab, 20000)
    ask(first, "rpush first 0")
    assert wait_until(lambda: len(copies_at(lab)) == 3)
    taken = sorted(copies_at(lab, [20000]))
    others = {port: connect(lab, port) for port in taken}
    for n in range(TURNS):
        for port, s in others.items():
            ask(s, f"rpush other{port} {n}")
    assert wait_until(lambda: all(is_woven(text, 3) for text in held(target, taken, "other").values()))
    assert wait_until(lambda: run.tcpcopy.status()["account"]["ended"]["gave-way"] == 2)
    assert set(taken) <= copies_at(lab)

    def back():     # at a turn of theirs, when the pause is over
        ask(first, "incr first.turns")
        return len(copies_at(lab)) == 9
    assert wait_until(back, step=0.2)
    before = int(target.cli("get", "first.turns"))
    ask(first, "incr first.turns")
    assert wait_until(lambda: int(target.cli("get", "first.turns")) == before + 3)
    for s in first, *others.values():
        s.close()
    assert closed(lab) and over(run)
    account = run.stop()
    assert account.outcomes() == {"complete": 9, "gave-way": 2}
    assert account["engine.sessions_joined"] == 2 and account["engine.leftovers_reset"] == 0
    found = trouble()
    assert found.pop("TcpEstabResets", 2) == 2 and found.pop("TcpExtTCPAbortOnData", 0) <= 2 and not found, found


def test_joined_and_recorded(lab, alone, servers):
    """Connections that are older than tcpcopy have copies, too; and those of a file, at each of its loops."""
    target = servers[1]
    ports = range(43000, 43050)
    older = {port: connect(lab, port) for port in ports}
    for s in older.values():
        ask(s, "ping")
    run = alone("-n", "3")
    for n in range(-1, TURNS):     # at the second turn that is captured they are joined
        for port, s in older.items():
            ask(s, f"rpush old{port} {n}" if n >= 0 else "ping")
    assert multiplied(lab, target, ports, "old", 3) == 150
    for s in older.values():
        s.close()
    assert run.closed() and over(run)
    account = run.stop()
    assert account["engine.sessions_joined"] == 150 and account["engine.sessions_copies"] == 100
    assert account.outcomes() == {"complete": 150}

    capture = lab.host("online").capture("tcp portrange 44000-44049", snaplen=4096)
    ports = range(44000, 44050)
    traffic(lab, ports, "file")
    assert capture.stop().dropped == 0
    file = FromFile(lab, capture.path)
    for args, times in (["-n", "2.5"], 2.5), (["-n", "3", "-T", "2", "--speed", "max"], 3):
        target.cli("flushall")
        account = file.replay(*args)
        loops = 2 if "-T" in args else 1
        want = loops * sum(copies(lab, port, times) for port in ports)
        assert account.outcomes() == {"complete": want} and account["engine.sessions_copies"] == want - loops * len(ports)
        assert all(is_woven(text, copies(lab, port, times) if loops == 1 else 6)
                   for port, text in held(target, ports, "file").items())


def test_apart(lab, alone, servers):
    """Copies that go later, each by a time of its own: all of it comes all the same, in order."""
    target = servers[1]
    run = alone("-n", "4", "--spread", "300ms")
    assert "copies: each session 4 times, within 0.3 s" in run.tcpcopy.log
    ports = range(40000, 40020)
    began = len(lab.host("target").check_output(["ss", "-Htn"]).splitlines())
    traffic(lab, ports, "apart")
    assert multiplied(lab, target, ports, "apart", 4) == 80 and began < 10
    # a word that the last copy said came after another that the first one said later: they do not go in step
    assert any(text != " ".join(str(n) for n in range(TURNS) for _ in range(4))
               for text in held(target, ports, "apart").values())
    assert run.closed() and over(run)
    account = run.stop()
    assert account.outcomes() == {"complete": 80} and account["engine.released_on_deadline"] == 0


TARGETS_FIXED = 0x746172676574732d


def test_targets(lab, alone, servers):
    """To two targets: each session to both, with copies; or three of four to the one, as the hash says, and none to both."""
    first = servers[1]
    second = lab.redis("target", port=6380)
    to = lab.host("target").ip4
    ports = range(40000, 40050)
    run = alone("--targets", "all", "-n", "2", rule=f"6379-{to}:6379,6379-{to}:6380")
    traffic(lab, ports, "both")
    assert multiplied(lab, first, ports, "both", 2) == multiplied(lab, second, ports, "both", 2) == 100
    assert run.closed() and over(run)
    account = run.stop()
    assert account.outcomes() == {"complete": 200} and account["engine.sessions_copies"] == 100
    assert account["classify.given_again"] == account["classify.given"]

    for redis in first, second, servers[0]:
        redis.cli("flushall")
    run = alone("--targets", "all", rule=f"6379-{to}:6379,6379-{to}:6380")
    traffic(lab, range(41000, 41050), "all")
    assert run.closed() and over(run)
    assert wait_until(lambda: first.digest() == second.digest() == servers[0].digest())
    outcomes = run.stop().outcomes()    # also of what asks for the digest
    assert outcomes["complete"] >= 100 and set(outcomes) <= {"complete", "shutdown"}

    run = alone("--targets", "spread", rule=f"6379-{to}:6379/3,6379-{to}:6380")
    ports = range(42000, 42200)
    traffic(lab, ports, "divided")
    head = bytes(10) + b"\xff\xff" + socket.inet_aton(lab.host("client").ip4)
    want = {port for port in ports if (siphash((1, TARGETS_FIXED), head + struct.pack(">H", port)) >> 32) * 4 >> 32 < 3}
    assert abs(len(want) - 150) <= 3 * math.sqrt(200 * 3 / 16)

    def there():
        here, other = held(first, ports, "divided"), held(second, ports, "divided")
        return all(is_woven(here[port], port in want) and is_woven(other[port], port not in want) for port in ports)
    assert wait_until(there, step=0.2)
    assert run.closed() and over(run)
    account = run.stop()
    assert account.outcomes() == {"complete": 200} and account["classify.given_again"] == 0


def test_pool(lab, replay, servers):
    """Short connections of one client by two addresses, with copies: each goes from an endpoint that no other has, once."""
    target = servers[1]
    lab.host("target").ip_batch(["route add 10.90.200.0/24 via " + lab.host("assistant").ip4])
    file = lab.new_path("pool")
    file.write_text("# two\n10.90.200.1-2\n")
    capture = lab.host("target").capture("tcp[tcpflags] & tcp-syn != 0 and src net 10.90.200.0/24", snaplen=128)
    run = replay(tcpcopy=["-c", f"@{file}", "--sticky", "-n", "3"])
    assert "source addresses: 2 of IPv4, with 64512 ports each: 129024 sessions at a time to each target" in run.tcpcopy.log
    ports = range(40000, 40100)
    for name in "one", "two":
        for port in ports if name == "one" else reversed(ports):
            with connect(lab, port + (1000 if name == "two" else 0)) as s:
                for n in range(TURNS):
                    ask(s, f"rpush {name}{port} {n}")
    assert multiplied(lab, target, ports, "one", 3) == 300
    assert wait_until(lambda: all(is_woven(text, 3) for text in held(target, ports, "two").values()))
    assert over(run)
    account = run.stop()
    assert account.outcomes() == {"complete": 600} and account["engine.leftovers_reset"] == 0
    assert capture.stop().dropped == 0
    sources = [(packet["ip.src"], packet["tcp.srcport"]) for packet in capture.fields("ip.src", "tcp.srcport")]
    assert len(set(sources)) == 600 and len({address for address, _ in sources}) == 1

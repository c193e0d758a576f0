#!/usr/bin/python3
"""How much is replicated: a share of the sessions, the same ones always; a share that grows."""

import socket
import struct
import time

from conftest import PATIENCE, wait_until
from test_recorded import Recorded
from workload import Load, ask

PORTS = range(20000, 20200)
MASK = 2**64 - 1
FIXED = 0x7463702d636f7079


def siphash(key, data):
    """SipHash-1-3, as its paper has it: what the program says of itself is not asked."""
    def rotate(x, bits):
        return (x << bits | x >> 64 - bits) & MASK

    def turn(v0, v1, v2, v3):
        v0, v2 = (v0 + v1) & MASK, (v2 + v3) & MASK
        v1, v3 = rotate(v1, 13) ^ v0, rotate(v3, 16) ^ v2
        v0, v2 = (rotate(v0, 32) + v3) & MASK, (v2 + v1) & MASK
        v3, v1 = rotate(v3, 21) ^ v0, rotate(v1, 17) ^ v2
        return v0, v1, rotate(v2, 32), v3

    k0, k1 = key
    v = (k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573)
    data += bytes(-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", data):
        v = turn(*v[:3], v[3] ^ word)
        v = (v[0] ^ word, *v[1:])
    v = (*v[:2], v[2] ^ 0xff, v[3])
    for _ in range(3):
        v = turn(*v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def chosen(client, percent, ports=PORTS, seed=1):
    """Those of the ports whose sessions are chosen, of a client's IPv4 address."""
    head = bytes(10) + b"\xff\xff" + socket.inet_aton(client)
    return {port for port in ports
            if (siphash((seed, FIXED), head + struct.pack(">H", port)) >> 32) * 100 < percent << 32}


def connect(lab, port):
    """A connection of the client from this port."""
    with lab.host("client").inside():
        s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.settimeout(PATIENCE)
    s.bind(("", port))
    s.connect((lab.host("online").ip4, 6379))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def traffic(lab, name):
    """A connection from each port, which sets a key of that name; the server closes, so that the port is free again."""
    for port in PORTS:
        with connect(lab, port) as s:
            ask(s, f"set {name}{port} 1")
            ask(s, "quit")
            while s.recv(1000):
                pass


def ports_of(redis, name):
    """The ports whose connections have set a key of that name at a server."""
    return {int(key[len(name):]) for key in redis.cli("keys", f"{name}*").split()}


class FromFile(Recorded):
    def __init__(self, lab, path):
        self.lab, self.online, self.target, self.path = lab, lab.host("online"), lab.host("target"), path


def test_share(lab, alone, servers):
    """Of 200 connections half, and then a tenth: the ones that the hash says, whole; the same from a file, and the same of
    connections that are older than tcpcopy."""
    online, target = servers
    client = lab.host("client").ip4
    half, tenth = chosen(client, 50), chosen(client, 10)
    assert tenth < half and 65 <= len(half) <= 135 and 0 < len(tenth) <= 41     # five standard deviations
    older = {port: connect(lab, port + 10000) for port in PORTS}
    for s in older.values():
        ask(s, "ping")
    run = alone("-r", "50")
    assert "replicated: 50 % of the sessions, chosen by the client's address and port, seed 1" in run.tcpcopy.log
    capture = lab.host("online").capture("tcp portrange 20000-20199", snaplen=4096)
    traffic(lab, "first")
    assert capture.stop().dropped == 0
    for _ in range(2):      # it is joined at the second turn that is captured
        for port, s in older.items():
            ask(s, f"set older{port} 1")
    assert wait_until(lambda: ports_of(target, "first") == half), ports_of(target, "first") ^ half
    joined = {port - 10000 for port in chosen(client, 50, [port + 10000 for port in PORTS])}
    assert wait_until(lambda: ports_of(target, "older") == joined), ports_of(target, "older") ^ joined
    for s in older.values():
        s.close()
    assert run.closed()
    account = run.stop()
    assert account["engine.sessions_opened"] == len(half) and account["engine.sessions_joined"] == len(joined)
    assert account.outcomes() == {"complete": len(half) + len(joined)} and account["classify.not_chosen"] > 0
    assert account.report["choice"] == {"percent": 50.0, "percent_now": 50.0, "ramp_seconds": 0.0, "by": "session", "seed": 1}

    run = alone("--sample", "10")
    traffic(lab, "second")
    assert wait_until(lambda: ports_of(target, "second") == tenth), ports_of(target, "second") ^ tenth
    assert run.closed()
    assert run.stop().outcomes() == {"complete": len(tenth)}

    target.cli("flushall")
    file = FromFile(lab, capture.path)
    for pace, percent in (["--speed", "max"], 50), (["--rate", "2000"], 10), ([], 50):
        account = file.replay("-r", str(percent), *pace)
        want = chosen(client, percent)
        assert ports_of(target, "first") == want, ports_of(target, "first") ^ want
        assert account["engine.sessions_opened"] == len(want) and account["classify.not_chosen"] > 0
        target.cli("flushall")


def test_ramp(lab, alone, servers):
    """Connections that are open all the time, and send all the time, are joined one after the other; what was begun has no
    hole. At the end all are there."""
    online, target = servers
    connections = {port: connect(lab, port) for port in PORTS[:40]}
    run = alone("--ramp", "6s")
    share, seen, sent = [], [], 0

    def everybody():
        nonlocal sent
        for port, s in connections.items():
            ask(s, f"append {port} {sent}.")
        sent += 1
        share.append(run.tcpcopy.status()["choice"]["percent_now"])
        seen.append(set(target.cli("keys", "*").split()))
        return share[-1] == 100
    assert wait_until(everybody)
    for _ in range(3):
        everybody()
    assert share == sorted(share) and share[0] < 100
    assert all(before <= after for before, after in zip(seen, seen[1:]))
    assert len({len(now) for now in seen}) > 5
    assert wait_until(lambda: len(target.cli("keys", "*").split()) == 40)
    for s in connections.values():
        s.close()
    assert run.closed()
    for port in connections:
        theirs = online.cli("get", str(port))
        assert theirs == "".join(f"{n}." for n in range(sent))
        assert theirs.endswith("." + target.cli("get", str(port))) or theirs == target.cli("get", str(port)), port
    account = run.stop()
    assert account["engine.sessions_joined"] == 40 and account["classify.not_chosen"] > 0


def ended_by_itself(run):
    """The account of a run that no signal has ended."""
    assert run.tcpcopy.process.wait(PATIENCE) == 0
    return run.stop()


def test_stop_after(lab, alone, servers):
    """A time, a number of sessions, a number of requests: then it ends as by a signal, also with what is open."""
    run = alone("--stop-after", "2s", "--stop-after", "1000000sessions")
    s = connect(lab, 20000)
    ask(s, "ping")
    account = ended_by_itself(run)
    assert "--stop-after: replicated for 2 s: ending" in account.log
    assert account.outcomes() == {"shutdown": 1}
    s.close()

    run = alone("--stop-after", "10sessions", "--stop-after", "1h")
    s = connect(lab, 20001)
    for n in range(9):
        with connect(lab, 20010 + n) as other:
            ask(other, f"set n {n}")
    assert wait_until(lambda: run.tcpcopy.status()["account"]["ended"]["complete"] == 9)
    s.close()
    account = ended_by_itself(run)
    assert "--stop-after: 10 sessions have ended: ending" in account.log
    assert account.outcomes() == {"complete": 10}

    run = alone("--stop-after", "50requests")
    s = connect(lab, 20002)
    for n in range(50):
        ask(s, f"append requests {n}.")
    account = ended_by_itself(run)
    assert "--stop-after: 50 requests were replicated: ending" in account.log
    assert account["exchange.all"] == 50 and account.outcomes() == {"shutdown": 1}
    s.close()


def test_limits(lab, alone, servers):
    """What is beyond a limit is declined and counted, and joined when there is room."""
    run = alone("--max-sessions", "10")
    connections = [connect(lab, port) for port in PORTS[:30]]
    for s in connections:
        ask(s, "ping")
    account = run.tcpcopy.status()["account"]
    assert account["live"]["sessions"] == 10 and len(run.connections()) <= 10
    assert account["declined"]["max_sessions"] >= 20 and account["engine"]["sessions_opened"] == 10
    for s in connections[:10]:
        s.close()
    assert run.closed()
    for n in range(2):
        for s in connections[10:20]:
            ask(s, f"incr joined{n}")
    assert wait_until(lambda: servers[1].cli("get", "joined1") == "10")
    for s in connections:
        s.close()
    assert run.closed()
    assert run.stop().outcomes() == {"complete": 20}

    began = time.monotonic()
    run = alone("--max-rate", "5")
    for port in PORTS[30:90]:
        with connect(lab, port) as s:
            ask(s, "ping")

    def all_seen():
        account = run.tcpcopy.status()["account"]
        return account["engine"]["sessions_opened"] + account["declined"]["max_rate"] >= 60
    assert wait_until(all_seen)
    account = run.stop()
    assert 0 < account["engine.sessions_opened"] + account["engine.sessions_joined"] <= 2 + 5 * (time.monotonic() - began)
    assert account["declined.max_rate"] > 0


def trips(log, words):
    return sum(words in line for line in log.splitlines())


def test_breaker(lab, alone, servers):
    """A target that stands still: no session begins there until it has been well for 30 s; those that have begun go on."""
    run = alone("--breaker", "p99 > 2s or refused > 20%")
    load = Load(lab, connections=10, think=0.05, per_connection=20)
    assert wait_until(lambda: run.tcpcopy.status()["account"]["engine"]["released_on_answer"] > 100)
    assert not run.tcpcopy.status()["rules"][0]["breaker"]["tripped"]
    servers[1].cli("client", "pause", "6000")
    assert wait_until(lambda: run.tcpcopy.status()["rules"][0]["breaker"]["tripped"])
    assert wait_until(lambda: run.tcpcopy.status()["account"]["declined"]["breaker"] > 20)
    before = run.tcpcopy.status()
    assert before["rules"][0]["breaker"]["by"].startswith("answer p99 ") and before["account"]["govern"]["breakers_open"] == 1
    assert wait_until(lambda: "the breaker has closed after " in run.tcpcopy.log, 3 * PATIENCE)
    opened = before["account"]["engine"]["sessions_opened"]
    assert wait_until(lambda: run.tcpcopy.status()["account"]["engine"]["sessions_opened"] > opened + 10)
    load.stop()
    assert run.closed()
    account = run.stop()
    # a machine that is busy elsewhere may have made it trip once more
    assert account["govern.breaker_trips"] == trips(account.log, "the breaker trips: answer p99 ") >= 1
    assert account["govern.breaker_trips"] - trips(account.log, "the breaker has closed after ") == account["govern.breakers_open"]
    assert set(account.outcomes()) <= {"complete", "unanswered"}


def test_breaker_refused(lab, alone, servers):
    """A target where nothing listens gets a few SYNs, and then no more."""
    run = alone("--breaker", "p99 > 1s or refused > 20%", rule=f"6379-{lab.host('target').ip4}:6380")

    def until_tripped():
        with connect(lab, 0) as s:
            ask(s, "ping")
        return run.tcpcopy.status()["rules"][0]["breaker"]["tripped"]
    assert wait_until(until_tripped)
    assert " the breaker trips: refused 100 % > 20 %; no session begins" in run.tcpcopy.log
    begun = run.tcpcopy.status()["account"]["engine"]["sessions_opened"]
    for _ in range(5):
        until_tripped()
    assert wait_until(lambda: run.tcpcopy.status()["account"]["declined"]["breaker"] >= 5)
    account = run.stop()
    assert account["engine.sessions_opened"] == begun
    assert set(account.outcomes()) == {"refused"}


def test_yield(lab, alone, servers):
    """A host whose CPUs are busy: no session begins. In the sandbox, /proc/stat can still be read."""
    run = alone("--yield", "cpu > 1% or drops > 1000000")
    with connect(lab, 20000) as older:
        ask(older, "set older 1")
        busy = lab.host("online").popen(["timeout", "30", "sh", "-c", "while :; do :; done"])
        assert wait_until(lambda: run.tcpcopy.status()["yield"]["tripped"])
        busy.terminate()
        busy.wait(PATIENCE)
        assert "copies give way to this host's service: cpu " in run.tcpcopy.log
        with connect(lab, 20001) as newer:
            ask(newer, "set newer 1")
        ask(older, "set older 2")
        assert wait_until(lambda: run.tcpcopy.status()["account"]["declined"]["yield"] >= 1)
        assert wait_until(lambda: servers[1].cli("get", "older") == "2")
    assert run.closed()
    account = run.stop()
    assert account["govern.yields"] == account["govern.yielding"] == 1 == trips(account.log, "copies give way to this host's service: ")
    assert account.outcomes() == {"complete": 1} and servers[1].cli("get", "newer") == ""

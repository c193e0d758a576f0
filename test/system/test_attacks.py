#!/usr/bin/python3
"""Packets that no connection stands behind, beside good traffic: in front of a server on the online host, of a proxy
there, and of a container behind DNAT, whose sockets cannot be asked about. The table of doc/THREATS.md.

Each attack says what became of three things: fidelity (what the target's application read of each good connection is
what the online one read), connections (the target's application has as many as the online one), extra (nothing is
executed that the online server did not).
"""

import os
import pathlib
import signal
import sys

import pytest
from conftest import PATIENCE, built, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_taken import PORT, Recorder                               # noqa: E402
from workload import Load, writes                                   # noqa: E402

HERE = pathlib.Path(__file__).parent
TALKERS, FIRST = 20, 20000
INNER = "172.18.0.2"
PLACES = ["host", "proxy", "container"]
ROOM = ["-B", "256M"]       # for all packets of an attack: whoever has no processor for a while drops none of them

DNAT = f"""table ip nat {{
  chain in {{
    type nat hook prerouting priority -100
    iifname != "ctr0" tcp dport {PORT} fib daddr type local dnat to {INNER}
  }}
}}
"""
# Connections side by side from ports in a row, each in closed loop, for so many turns; 0: until its input ends. It
# prints a line when all are there.
TALK = """
import select, socket, sys, time
to, port, count, turns, pause, first = sys.argv[1], *map(float, sys.argv[2:])
all = []
for n in range(int(count)):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", int(first) + n))
    s.settimeout(60)
    s.connect((to, int(port)))
    all.append(s)
print("there", flush=True)
turn = 0
while turn < turns or not turns and not select.select([sys.stdin], [], [], 0)[0]:
    for s in all:
        s.sendall(b"turn %d." % turn)
        assert s.recv(99)
    time.sleep(pause)
    turn += 1
for s in all:
    s.close()
"""
# What a container run-time has for clients inside: it accepts, connects and copies.
PROXY = """
import socket, sys, threading
def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        a.close()
        b.close()
listener = socket.create_server(("", int(sys.argv[1])), backlog=4096)
while True:
    a = listener.accept()[0]
    b = socket.create_connection((sys.argv[2], int(sys.argv[1])))
    for pair in ((a, b), (b, a)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


class Place:
    """Where the service is: `server` is the host in which it runs."""

    def __init__(self, lab, kind):
        self.lab, self.kind, self.server = lab, kind, "online"
        lab.route_to_assistant("client")
        lab.add_host("evil", "10.90.114.90")
        lab.host("target").run(["ip", "route", "add", "10.64.0.0/16", "via", lab.host("assistant").ip4])
        if kind == "host":
            return
        online, inner = lab.host("online"), lab.add_host("inner", "10.90.114.91")
        self.server = "inner"
        online.ip_batch([f"link add ctr0 type veth peer name eth1 netns {inner.netns}", "link set ctr0 up",
                         "addr add 172.18.0.1/24 dev ctr0"])
        inner.ip_batch(["link set eth0 down", "link set eth1 up", f"addr add {INNER}/24 dev eth1",
                        "route add default via 172.18.0.1"])
        if kind == "container":
            online.sysctl(net__ipv4__ip_forward=1)
            online.check_output(["nft", "-f", "-"], input=DNAT)

    def ready(self):
        """The server in it listens."""
        online = self.lab.host("online")
        if self.kind == "proxy":
            proxy = online.popen(["/usr/bin/python3", "-c", PROXY, PORT, INNER])
            assert online.wait_listening(PORT, lambda: proxy.poll() is None)

    def spoof(self, kind, count, rate, *sources):
        self.lab.host("evil").check_output([built("spoof"), self.lab.host("online").ip4, PORT, kind, count, rate, *sources])

    def sweep(self, kind, count=65000, rate=30000, first=1024, last=65535):
        """With the address of the client, from all its ports."""
        self.spoof(kind, count, rate, self.lab.host("client").ip4, first, last)

    def talk(self, turns, pause):
        client = self.lab.host("client")
        talk = client.popen(["/usr/bin/python3", "-c", TALK, self.lab.host("online").ip4, PORT, TALKERS, turns, pause, FIRST],
                            stdin=-1, stdout=-1)
        assert talk.stdout.readline() == "there\n"
        return talk


def said(talks):
    """What was read, in an order of its own: a proxy's connections have other addresses."""
    return sorted(talk[0] for talk in talks.values())


def same(online, target, log):
    """Fidelity 1.0, as many connections, nothing extra."""
    assert wait_until(lambda: len(online.talks()) >= TALKERS)
    wait_until(lambda: len(target.talks()) >= TALKERS)
    there, here = online.talks(), target.talks()
    assert said(here) == said(there), (log(), [(len(h), len(t)) for h, t in zip(said(here), said(there))])
    assert {end for _, end in here.values()} == {"eof"}, here


@pytest.mark.parametrize("kind", ["syn", "data", "rst", "fin", "ack"])
@pytest.mark.parametrize("where", PLACES)
def test_blind_packets_in_live_connections(lab, replay, where, kind):
    """Whoever does not see the connections of a client tries all its ports."""
    place = Place(lab, where)
    online, target = Recorder(lab, place.server), Recorder(lab, "target")
    place.ready()
    running = replay(port=PORT, tcpcopy=ROOM)
    talk = place.talk(15, 0.2)
    place.sweep(kind)
    assert talk.wait(PATIENCE) == 0
    same(online, target, lambda: running.tcpcopy.log)
    assert wait_until(lambda: running.tcpcopy.status()["account"]["engine"]["captured_segments"] > 60000)
    account = running.stop()
    assert account.outcomes()["complete"] >= TALKERS and not account["ended.server-reset"]


@pytest.mark.parametrize("kind", ["syn", "data", "rst", "fin"])
def test_blind_packets_in_older_connections(lab, replay, kind):
    """Which are joined at their next turn, and at nothing else."""
    place = Place(lab, "host")
    online, target = Recorder(lab, "online"), Recorder(lab, "target")
    talk = place.talk(0, 0.8)
    running = replay(port=PORT, tcpcopy=ROOM)
    place.sweep(kind, 100000)

    def engine(name):
        return running.tcpcopy.status()["account"]["engine"][name]
    assert wait_until(lambda: engine("sessions_joined") >= TALKERS)
    # the connections do not end before tcpcopy has read the last of those packets: that is the next test
    assert wait_until(lambda: running.tcpcopy.status()["account"]["capture"]["unread"] < 100)
    turns = engine("turns")
    assert wait_until(lambda: engine("turns") >= turns + 5 * TALKERS)
    talk.stdin.close()
    assert talk.wait(PATIENCE) == 0
    assert wait_until(lambda: len(online.talks()) == len(target.talks()) == TALKERS), running.tcpcopy.log
    there, here = online.talks(), target.talks()
    for client, (read, _) in here.items():
        assert read.startswith("turn ") and there[client][0].endswith(read), (client, read)
    assert min(len(read) for read, _ in here.values()) > 4 * len("turn 0."), here
    running.stop()


@pytest.mark.parametrize("kind", ["syn", "rst"])
def test_blind_packets_while_capture_lags(lab, replay, kind):
    """When they are read the connections have ended, and their sockets are gone."""
    place = Place(lab, "host")
    online, target = Recorder(lab, "online"), Recorder(lab, "target")
    running = replay(port=PORT, tcpcopy=ROOM)
    talk = place.talk(4, 0.3)
    os.kill(running.tcpcopy.process.pid, signal.SIGSTOP)
    place.sweep(kind, 40 * TALKERS, 1600, FIRST, FIRST + TALKERS - 1)
    assert talk.wait(PATIENCE) == 0
    assert wait_until(lambda: len(online.talks()) == TALKERS)
    os.kill(running.tcpcopy.process.pid, signal.SIGCONT)
    same(online, target, lambda: running.tcpcopy.log)
    running.stop()


def test_a_proxy_for_some_and_a_container_for_others(lab, replay):
    """The host has the sockets of the proxy, and none of the connections that it passes on."""
    place = Place(lab, "container")
    online, target, proxy = Recorder(lab, "inner"), Recorder(lab, "target"), Recorder(lab, "online")
    lab.host("target").run(["ip", "route", "add", f"{INNER}/32", "via", lab.host("assistant").ip4])
    running = replay(port=PORT, tcpcopy=ROOM)
    inside = lab.host("inner").popen(["/usr/bin/python3", "-c", "import socket, sys; s = socket.create_connection((sys.argv[1], "
                                      f"{PORT})); s.sendall(b'inside'); s.recv(9); sys.stdin.read()",
                                      lab.host("online").ip4], stdin=-1)
    talk = place.talk(8, 0.8)
    assert wait_until(lambda: running.tcpcopy.status()["account"]["engine"]["turns"] >= 3 * TALKERS)
    place.sweep("rst", 130000)
    assert talk.wait(PATIENCE) == 0
    inside.communicate("", timeout=PATIENCE)
    assert wait_until(lambda: len(online.talks()) == TALKERS and len(proxy.talks()) == 1)
    wait_until(lambda: len(target.talks()) > TALKERS)
    assert said(target.talks()) == said(online.talks() | proxy.talks()), running.tcpcopy.log
    running.stop()


def connections(server):
    return int(next(line for line in server.cli("info", "stats").splitlines()
                    if line.startswith("total_connections_received")).split(":")[1])


@pytest.mark.parametrize("kind", ["syn", "data"])
@pytest.mark.parametrize("where", PLACES)
def test_floods(lab, replay, where, kind):
    """More a second than half-open sessions may wait for. Each good connection has one command."""
    place = Place(lab, where)
    online, target = lab.redis(place.server, PORT), lab.redis("target", PORT)
    place.ready()
    running = replay(port=PORT, tcpcopy=ROOM)
    load = Load(lab, port=PORT, per_connection=1)
    assert wait_until(lambda: writes(target).get("append", 0) > 100)
    before = [connections(server) for server in (online, target)]
    place.spoof(kind, 120000, 40000)
    load.stop()
    assert wait_until(lambda: writes(online) == writes(target)), (writes(online), writes(target), running.tcpcopy.log)
    after = [connections(server) for server in (online, target)]
    assert after[1] - before[1] <= after[0] - before[0] + 20, (before, after)    # those of the load at that moment
    assert not target.cli("get", "hacked").strip()
    account = running.stop()
    assert account["engine.sessions_joined"] == 0
    if kind == "syn":
        assert account["engine.sessions_opened"] > 100000 and not account["declined.half_open"], account.log
    else:
        assert account["declined.*"] > 100000, account.log

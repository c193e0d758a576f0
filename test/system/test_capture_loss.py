#!/usr/bin/python3
"""Bytes that capture never saw. A filter by length makes them: what it leaves out, the online server has all the same."""

import os
import signal
import time

from conftest import wait_until
from workload import ask, closed, connect


def established(host):
    return host.check_output(["ss", "-Htn", "state", "established", "sport", "=", ":6379", "dst", "10.90.114.82"])


def test_lost_request_ends_the_session_soon_and_the_next_turn_joins(lab, replay):
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(tcpcopy=["-F", "less", "600"])
    with connect(lab) as s:
        ask(s, "append k 1")
        assert wait_until(lambda: target.cli("get", "k") == "1")
        ask(s, "set big " + "x" * 900)      # not captured
        ask(s, "append k 2")                # captured behind a hole: never sent
        assert wait_until(lambda: r.tcpcopy.status()["account"]["ended"]["capture-hole"] == 1)
        time.sleep(0.3)                     # what joins again waits so long at first
        ask(s, "append k 3")                # its connection is joined here
        assert wait_until(lambda: target.cli("get", "k") == "13")
        assert online.cli("get", "k") == "123"
    assert target.cli("get", "big") == ""
    account = r.stop()
    assert account.outcomes()["capture-hole"] == 1
    assert account["engine.sessions_joined"] == 1
    assert account["engine.holes_proved"] == 1      # it did not wait for the 3 s that a hole could
    assert account["engine.lost_bytes"] == len("append k 2\r\n")


def test_what_was_captured_before_the_hole_is_delivered(lab, replay):
    """The target stands still, so many turns wait when the hole is found: none of them is lost, and the order is kept."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(tcpcopy=["-F", "less", "600"])
    with connect(lab) as s:
        ask(s, "append k 0.")
        assert wait_until(lambda: target.cli("get", "k") == "0.")
        os.kill(target.pid, signal.SIGSTOP)
        for i in range(1, 40):
            ask(s, f"append k {i}.")
        ask(s, "append k " + "x" * 900)     # not captured
        ask(s, "append k lost.")
        assert wait_until(lambda: r.tcpcopy.status()["account"]["engine"]["holes_given_up"] == 1)
        ask(s, "append k 40.")
        time.sleep(0.2)
        os.kill(target.pid, signal.SIGCONT)
        wanted = "".join(f"{i}." for i in range(41))
        assert wait_until(lambda: target.cli("get", "k") == wanted), target.cli("get", "k")
        assert online.cli("get", "k").replace("x", "").replace("lost.", "") == wanted
    account = r.stop()
    assert account.outcomes()["capture-hole"] == 1
    assert account["engine.sessions_joined"] == 1
    assert account["engine.lost_bytes"] == len("append k lost.\r\n")


def test_an_end_that_was_not_captured(lab, replay):
    """No FIN is captured. Once capture is known to lose something, the server's sockets tell which connections are over."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(tcpcopy=["-F", "less 600 and tcp[tcpflags] & tcp-fin = 0"])
    over = [connect(lab) for _ in range(5)]
    for i, s in enumerate(over):
        ask(s, f"append over{i} x")
    with connect(lab) as stays, connect(lab) as s:
        ask(stays, "append stays 1")
        ask(s, "append k 1")
        assert wait_until(lambda: target.cli("get", "k") + target.cli("get", "stays") + target.cli("get", "over4") == "11x")
        for each in over:
            each.close()
        time.sleep(2.5)
        assert len(established(lab.host("target")).splitlines()) == 7     # nobody knows yet
        ask(s, "set big " + "x" * 900)      # not captured
        ask(s, "append k 2")
        assert wait_until(lambda: len(established(lab.host("target")).splitlines()) == 1), established(lab.host("target"))
        ask(stays, "append stays 2")        # it has been quiet as long as the others, but it is there
        assert wait_until(lambda: target.cli("get", "stays") == "12")
    assert online.cli("get", "stays") == "12"
    account = r.stop()
    assert account.outcomes()["capture-hole"] == 6
    assert account["engine.lost_bytes"] == len("append k 2\r\n")


def test_the_clients_own_loss_is_waited_for(lab, replay):
    """Lost between client and server: the client sends again, and nothing may be given up."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay()
    lab.loss("online", "to", 0.05, match="ip saddr 10.90.114.82")
    with connect(lab) as s:
        asked = got = 0
        deadline = time.monotonic() + 60
        # how many packets the commands become is the kernel's affair
        while lab.loss_counters()[("online", "to")].dropped < 5 and time.monotonic() < deadline:
            for _ in range(50):
                s.sendall(f"append k {asked}.\r\n".encode())
                asked += 1
            while got < asked:
                got += s.recv(65536).count(b"\n")
    assert lab.loss_counters()[("online", "to")].dropped >= 5
    assert wait_until(lambda: online.digest() == target.digest())
    assert closed(lab)      # a lost FIN takes its time
    account = r.stop()
    assert account.outcomes() == {"complete": 1}
    assert account["engine.lost_bytes"] == 0

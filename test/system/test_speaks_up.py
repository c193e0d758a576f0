#!/usr/bin/python3
"""A running tcpcopy says why nothing arrives: one line, with the cause and what to do, before its account; and --check says
the same. The mistakes themselves are in test_mistakes.py; this is how often it is said, and when not.
"""

import json
import socket
import subprocess

from conftest import Program, wait_until
from test_check import ASSISTANT, RULE, Check

ONLINE = "10.90.111.142"


def traffic(lab, host="client", to=ONLINE):
    """A request five times a second, each on a connection of its own, whatever becomes of it."""
    lab.host(host).popen(["sh", "-c", f"while :; do redis-cli -h {to} incr x; sleep 0.2; done"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)


def intercept(lab, at="assistant", *args):
    return Program(lab.host(at), "intercept", "-i", "eth0", "-F", "tcp", "and", "src", "net", "10.90.109.0/24", *args).wait_ready()


def test_it_is_said_again_when_it_begins_again(lab):
    """The application of the target is down, comes, and is down again: two lines, and none in between."""
    lab.route_to_assistant("client")
    lab.redis("online")
    relay = intercept(lab)
    traffic(lab)
    tcpcopy = Program(lab.host("online"), "tcpcopy", "-x", RULE, "-s", ASSISTANT).wait_ready()

    def lines():
        return tcpcopy.log.count("nothing is acknowledged: the target refused")
    assert wait_until(lambda: lines() == 1), tcpcopy.log
    target = lab.redis("target")
    assert wait_until(lambda: int(target.cli("get", "x") or 0) > 20), tcpcopy.log
    target.stop()
    assert wait_until(lambda: lines() == 2), tcpcopy.log
    tcpcopy.stop()
    relay.stop()
    assert lines() == 2


def test_what_is_idle_is_not_named(lab):
    """Nobody listens to the service yet, or everybody is silent: that is no mistake."""
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.redis("target")
    relay = intercept(lab)
    idle = lab.host("client").popen(["sh", "-c", f"exec 3<>/dev/tcp/{ONLINE}/6379; sleep 60"])
    tcpcopy = Program(lab.host("online"), "tcpcopy", "-x", RULE, "-s", ASSISTANT, "--stats", "9s").wait_ready()
    assert wait_until(lambda: "kernel drops" in tcpcopy.log)
    log = tcpcopy.stop()
    relay.stop()
    idle.kill()
    assert "nothing is" not in log and "no session has" not in log, log


def test_a_port_check_is_no_alarm(lab):
    """nc -z and monitors connect and say nothing; both --check say that they check. None of them is refused."""
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.redis("target")
    report = lab.new_path("intercept.json")
    relay = intercept(lab, "assistant", "--report", report)
    with lab.host("online").inside():
        socket.create_connection((ASSISTANT, 36524)).close()
    assert wait_until(lambda: "ended: it said nothing, as a port check does" in relay.log), relay.log
    Check(lab)
    Check(lab, "-F", "src port 6379", program="intercept", host="assistant")
    log = relay.stop()
    assert "warning" not in log.replace("neither encrypted", "") and "refused: " not in log, log
    assert json.loads(report.read_text())["account"]["connections"]["turned_away"] == 0

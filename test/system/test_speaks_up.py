#!/usr/bin/python3
"""A running tcpcopy says why nothing arrives: one line, with the cause and what to do, before its account; and --check says
the same. Each case is a mistake that is made when the hosts are set up.
"""

import json
import re
import socket
import subprocess

import pytest
from conftest import Program, wait_until
from test_check import ASSISTANT, RULE, Check

ONLINE = "10.90.111.142"


def traffic(lab, host="client", to=ONLINE):
    """A request five times a second, each on a connection of its own, whatever becomes of it."""
    lab.host(host).popen(["sh", "-c", f"while :; do redis-cli -h {to} incr x; sleep 0.2; done"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)


def intercept(lab, at="assistant", *args):
    return Program(lab.host(at), "intercept", "-i", "eth0", "-F", "tcp", "and", "src", "net", "10.90.109.0/24", *args).wait_ready()


def target_is_down(lab):
    traffic(lab)
    lab.target_redis.stop()


def nothing(lab):
    traffic(lab)


def kernel_refuses(lab):
    traffic(lab)
    lab.host("online").sh("nft add table ip t; nft 'add chain ip t out { type filter hook output priority 0; }'; "
                          "nft add rule ip t out ip daddr 10.90.109.143 tcp dport 6379 drop")


def own_client(lab):
    traffic(lab, "online")


def loopback_client(lab):
    lab.host("online").popen(["redis-cli", "-h", "127.0.0.1", "-r", "-1", "-i", "0.2", "incr", "x"], stdout=subprocess.DEVNULL)


def older_client(lab):
    lab.host("client").popen(["redis-cli", "-h", ONLINE, "-r", "-1", "-i", "0.2", "incr", "x"], stdout=subprocess.DEVNULL)


# what is done, the rule, further options, the host of intercept, the words of the log, those of --check
MISTAKES = {
    "the target's application is down": (
        target_is_down, RULE, (), "assistant",
        r"nothing is acknowledged: the target refused \d+ of \d+ connections: nothing listens on 10.90.109.143:6379 .*"
        r"on the target type: ss -ltnp sport = :6379", "nothing listens on 10.90.109.143:6379"),
    "wrong port of the target": (
        nothing, "6379-10.90.109.143:6380", (), "assistant",
        r"nothing is acknowledged: the target refused .*: nothing listens on 10.90.109.143:6380 .*sport = :6380",
        "nothing listens on 10.90.109.143:6380"),
    "wrong online port, or the wrong host": (
        nothing, "6380-10.90.109.143:6379", (), "assistant",
        r"nothing is captured: nothing on this host listens on port 6380, .*on this host type: ss -ltnp sport = :6380",
        "nothing on this host listens on port 6380"),
    "the kernel refuses to send": (
        kernel_refuses, RULE, ("--inject", "raw"), "assistant",
        r"nothing is acknowledged: the kernel refused \d+ of \d+ packets to the target: blocked by netfilter or conntrack .*"
        r"nft list ruleset", "netfilter"),
    "intercept on the target, without a route": (
        nothing, RULE, (), "target",
        r"nothing is acknowledged: the target reset \d+ of \d+ connections: its responses probably also reach the clients", None),
    "a client on the online server": (
        own_client, RULE, (), "assistant",
        r"requests of clients on this host itself \(10.90.111.142\), such as health checks, are left out: .*-c ADDRESSES",
        "are on this host itself"),
    "a client over 127.0.0.1": (
        loopback_client, RULE, (), "assistant",
        r"nothing is captured: the clients of port 6379 connect over loopback .*-x 127.0.0.1:6379-10.90.109.143:6379 "
        r"-c ADDRESSES", "connect over loopback"),
    "a filter that matches responses": (
        older_client, RULE, ("-F", "src port 6379"), "assistant",
        r'nothing is captured: \d+ clients are connected to port 6379, and the filter -F "src port 6379" let none',
        "let none of their packets pass"),
    "clients of the other address family": (
        older_client, "6379-[fd90::109:143]:6379", (), "assistant",
        r"nothing is captured: the clients of port 6379 speak IPv4, but the rule .* is for IPv6", "speak IPv4, but the rule"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(lab, mistake):
    make, rule, options, at, words, checked = MISTAKES[mistake]
    server = ASSISTANT if at == "assistant" else lab.host(at).ip4
    if at == "assistant":
        lab.route_to_assistant("client")
    lab.redis("online")
    lab.target_redis = lab.redis("target")
    relay = intercept(lab, at)
    make(lab)
    tcpcopy = Program(lab.host("online"), "tcpcopy", "-x", rule, "-s", server, *options).wait_ready()
    found = wait_until(lambda: re.search(words, tcpcopy.log))
    assert found, tcpcopy.log
    check = Check(lab, "-s", server, *options, rule=rule) if checked else None
    log = tcpcopy.stop().split("--- account ---")[0]
    relay.stop()
    assert len(re.findall("nothing is|no session has|on this host itself", log)) == 1, log
    if check:
        broken = [line for line in check.lines if line[0] == "broken" and checked in line[2]]
        assert broken and check.status == 1, check.output


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

#!/usr/bin/python3
"""The ways to capture under load: every request is replicated once, whichever socket it came by."""

import re

import pytest
from conftest import run_all
from test_walkthrough import drain


@pytest.mark.parametrize("way", ["auto", "ring", "packet", "alternate"])
def test_load(lab, replay, way):
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    before = lab.host("target").nstat()
    r = replay(tcpcopy=["--capture", way, "-B", "16M", "-i", "eth0"])
    for size, count in (("3", "40000"), ("4000", "5000")):
        run_all(lab.host("client"), [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set,get", "-n", count,
                                      "-c", "50", "-r", "1000", "-d", size, "-q"]])
        assert drain(online, target), r.tcpcopy.log
    assert online.digest() == target.digest()
    after = lab.host("target").nstat()
    account = r.stop()
    assert set(account.outcomes()) == {"complete"}
    dropped = sum(int(n) for n in re.findall(r"(\d+) dropped by the kernel", account.log))
    if not dropped:
        assert account("payload bytes captured again") == 0
        assert account("given up with their session") == 0
    for name in ("TcpInCsumErrors", "TcpExtTCPChallengeACK", "TcpExtPAWSEstab"):
        assert after.get(name, 0) == before.get(name, 0), name
    changed = re.search(r"changed to or from it (\d+) times", account.log)
    if way == "alternate":
        assert int(changed[1]) > 20
    elif way != "auto":
        assert not changed or int(changed[1]) == 0


@pytest.mark.parametrize("way", ["ring", "packet", "alternate"])
def test_connection_per_request(lab, replay, way):
    """SYN, request and FIN in quick succession: their order holds, or sessions would not end as they should."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(tcpcopy=["--capture", way])
    run_all(lab.host("client"), [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set", "-n", "5000",
                                  "-c", "20", "-k", "0", "-r", "1000", "-q"]])
    assert drain(online, target)
    assert online.digest() == target.digest()
    account = r.stop()
    assert account.outcomes()["complete"] == account("sessions opened by a SYN") >= 5000
    assert account("given up with their session") == 0

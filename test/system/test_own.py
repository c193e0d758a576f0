#!/usr/bin/python3
"""tcpcopy alone: no -s, no assistant, no route. The answers of the target come back to the online server and end there:
before its TCP, which never resets them, and away from the client, which never gets a packet of the target.
"""

import pytest
from conftest import Account, Program, wait_until
from workload import Trouble, all_complete, appends, equal


class Alone:
    """tcpcopy on the online server, and what must be so on two hosts whatever is replicated."""

    def __init__(self, lab, *args, port=6379, v6=False, rule=None):
        self.lab, self.port = lab, port
        self.online, self.target = lab.host("online"), lab.host("target")
        self.ruleset = self.online.check_output(["nft", "list", "ruleset"])
        to = f"[{self.target.ip6}]" if v6 else self.target.ip4
        self.report_path = lab.new_path("tcpcopy.json")
        self.stray = lab.host("client").capture(f"tcp and (src host {self.target.ip4} or {self.target.ip6})")
        self.tcpcopy = Program(self.online, "tcpcopy", "-x", rule or f"{port}-{to}:{port}", "--report", self.report_path,
                               *args).wait_ready()
        self.before = self.online.nstat()

    def closed(self):
        """The target has no connection of ours left, except in TIME-WAIT."""
        return wait_until(lambda: not self.target.check_output(
            ["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=", f":{self.port}",
             "dst", self.online.ip4]).strip(), 20)

    def silent(self):
        """This host's kernel has said nothing to the target, nor the target to the client."""
        now = self.online.nstat()
        for name in "TcpOutRsts", "IcmpOutMsgs", "Icmp6OutDestUnreachs":
            assert now.get(name, 0) == self.before.get(name, 0), name
        assert self.stray.stop().captured == 0
        return True

    def stop(self):
        account = Account(self.tcpcopy.stop(), self.report_path.read_text())
        account.balanced()
        assert account["own.answers"] > 0
        assert account["own.swallowed"] == account["own.answers"] + account["own.uncaptured"]
        if not account["capture.kernel_drops"]:
            assert account["own.uncaptured"] <= account["capture.unread"]
        assert self.online.check_output(["nft", "list", "ruleset"]) == self.ruleset
        return account


@pytest.fixture
def alone(lab):
    return lambda *args, **kwargs: Alone(lab, *args, **kwargs)


@pytest.fixture
def servers(lab):
    """redis on both hosts. There is no route, and nothing runs on the assistant."""
    return [lab.redis(name) for name in ("online", "target")]


@pytest.mark.parametrize("size, commands", [(0, 300), (16384, 40), (100_000, 10)])
def test_values(lab, alone, servers, size, commands):
    a = alone()
    trouble = Trouble(lab.host("target"))
    appends(lab, connections=10, commands=commands, size=size)
    assert equal(*servers)
    assert a.closed()
    assert trouble() == {}
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.sessions_opened"] >= 10    # and those by which the test asks the online server


@pytest.mark.parametrize("rule", ["6379-127.0.0.1:7379", "6379-10.90.111.142:7379"])
def test_a_target_on_this_host(lab, alone, rule):
    """The second server of the README's three lines; and its clients are on this host or another one."""
    servers = [lab.redis("online"), lab.redis("online", port=7379)]
    a = alone(rule=rule, port=7379)
    appends(lab, connections=5, commands=100)
    for i in range(50):
        servers[0].cli("append", "local", f"{i}.")
    assert equal(*servers)
    assert servers[1].cli("get", "local").endswith(".49.")
    assert a.closed()
    assert a.silent()
    assert all_complete(a.stop())

#!/usr/bin/python3
"""Recorded traffic: what tcpdump has written of one server is replayed to another one, which then holds the same."""

import subprocess

import pytest
from conftest import BIN, Account, wait_until
from workload import appends, writes


class Recorded:
    """What redis served on the online server: a recording that all tests of a file share would be cheaper, but then none
    of them could be run alone."""

    def __init__(self, lab, connections=10, commands=100, size=0):
        self.lab, self.online, self.target = lab, lab.host("online"), lab.host("target")
        self.server = lab.redis("online")
        capture = self.online.capture("tcp port 6379", snaplen=4096)    # 8192 places in its ring
        appends(lab, connections, commands, size)
        # the client's last FIN is on its way when redis-cli has ended
        assert wait_until(lambda: self.online.check_output(["ss", "-Htn", "state", "connected", "exclude", "time-wait",
                                                            "sport", "=", ":6379"]) == "")
        assert capture.stop().dropped == 0
        self.path = capture.path
        self.digest, self.writes = self.server.digest(), writes(self.server)
        self.again = lab.redis("target")

    def replay(self, *args, host="online", read=None, port=6379, status=0, stdin=None):
        """The account of a replay that ended by itself."""
        report = self.lab.new_path("tcpcopy.json")
        log = self.lab.new_path("replay.log")
        with open(log, "w") as to:
            process = self.lab.host(host).popen(
                [BIN / "tcpcopy", "--read", *(read or [self.path]), "-x", f"{port}-{self.target.ip4}:6379", "--report", report,
                 *args], stdin=stdin or subprocess.DEVNULL, stdout=to, stderr=to)
        assert process.wait(120) == status, log.read_text()
        assert "Sanitizer" not in log.read_text() and "runtime error" not in log.read_text(), log.read_text()
        account = Account(log.read_text(), report.read_text())
        account.balanced()
        return account

    def equal(self):
        assert writes(self.again) == self.writes
        assert self.again.digest() == self.digest
        return True


@pytest.fixture
def recorded(lab):
    return Recorded(lab)


def test_as_recorded(recorded):
    """All of it is there when the program has ended, by itself."""
    account = recorded.replay()
    assert recorded.equal()
    assert account.outcomes() == {"complete": account["engine.sessions_opened"]}
    assert account["engine.acked_bytes"] == account["engine.captured_bytes"] > 0
    assert account["replay.taken"] == account["replay.packets"]
    assert account["engine.released_on_deadline"] == 0


def test_port_that_is_not_there(recorded):
    account = recorded.replay(port=6380, status=1)
    packets = account["replay.packets"]
    assert f"nothing to replay: no packets to port 6380; there are {packets} to port 6379" in account.log
    assert recorded.again.calls().get("append") is None

#!/usr/bin/python3
"""Recorded traffic: what tcpdump has written of one server is replayed to another one, which then holds the same."""

import re
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


@pytest.mark.parametrize("pace", [["--speed", "10"], ["--speed", "0.5"], ["--speed", "max"], ["--rate", "3000", "-q"]])
def test_paces(recorded, pace):
    account = recorded.replay(*pace)
    assert recorded.equal()
    assert account.outcomes() == {"complete": account["engine.sessions_opened"]}
    assert int(re.search(r"replayed: (\d+) requests in", account.log)[1]) >= sum(recorded.writes.values())
    assert ("behind schedule: " in account.log) == (pace[1] != "max")


def test_loops(recorded):
    """Each loop has connections of its own; what was appended three times is there three times, in order."""
    account = recorded.replay("-T", "3", "--speed", "max")
    assert writes(recorded.again) == {name: 3 * n for name, n in recorded.writes.items()}
    once = recorded.server.cli("get", "commands3")
    assert recorded.again.cli("strlen", "commands3") == str(3 * len(once))
    assert account["engine.sessions_opened"] % 3 == 0
    assert account.outcomes() == {"complete": account["engine.sessions_opened"]}


def part(lab, recorded, packets, late=0):
    """A file of the packets of that range, such as "1-20", `late` seconds later."""
    first, second = lab.new_path("part.pcap"), lab.new_path("late.pcap")
    lab.host("online").check_output(["editcap", "-r", recorded.path, first, packets])
    lab.host("online").check_output(["editcap", "-t", str(late), first, second])
    return second


def test_pauses_are_cut(lab):
    """Two halves of a connection that are 20 s apart by the files' clock; the second one is named first."""
    recorded = Recorded(lab, connections=1, commands=30)
    account = recorded.replay("-I", "50", read=[part(lab, recorded, "31-9999", 20), part(lab, recorded, "1-30")])
    assert float(re.search(r"without the ([0-9.]+) s that were cut", account.log)[1]) > 15
    assert recorded.equal()


def test_port_that_is_not_there(recorded):
    account = recorded.replay(port=6380, status=1)
    packets = account["replay.packets"]
    assert f"nothing to replay: no packets to port 6380; there are {packets} to port 6379" in account.log
    assert recorded.again.calls().get("append") is None

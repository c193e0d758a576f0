#!/usr/bin/python3
"""--dry-run: no packet leaves, and what would have left is in the file of --write."""

import pytest
from conftest import BIN, PATIENCE, Account, Program, wait_until
from labnet.netns import tool
from workload import appends, writes


class Dry:
    """A lab in which whatever goes to the target or the assistant is seen."""

    def __init__(self, lab):
        self.lab, self.online, self.target = lab, lab.host("online"), lab.host("target")
        self.assistant = lab.host("assistant")
        self.server, self.copy, self.third = lab.redis("online"), lab.redis("target"), lab.redis("target", 6380)
        self.seen = self.online.capture(f"host {self.target.ip4} or host {self.assistant.ip4}")

    def silent(self):
        """Not even a question for an address."""
        return self.seen.stop().captured == 0

    def replay(self, port, *args):
        report, log = self.lab.new_path("replay.json"), self.lab.new_path("replay.log")
        with open(log, "w") as output:
            process = self.online.popen(
                [BIN / "tcpcopy", "--speed", "max", "--report", report, "-x", f"6379-{self.target.ip4}:{port}", *args],
                stdout=output, stderr=output)
        assert process.wait(5 * PATIENCE) == 0, log.read_text()
        account = Account(log.read_text(), report.read_text())
        account.balanced()
        return account

    def live(self, path, *args):
        """Ten connections of which nothing is sent; the account."""
        report = self.lab.new_path("tcpcopy.json")
        ruleset = self.online.check_output(["nft", "list", "ruleset"])
        run = Program(self.online, "tcpcopy", "-x", f"6379-{self.target.ip4}:6379", "--dry-run", "--write", path,
                      "--report", report, *args).wait_ready()
        assert self.online.check_output(["nft", "list", "ruleset"]) == ruleset
        appends(self.lab, connections=10, commands=50, size=100)
        assert wait_until(lambda: not self.online.check_output(
            ["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=", ":6379"]))
        assert wait_until(lambda: run.status()["account"]["live"]["sessions"] == 0)
        account = Account(run.stop(), report.read_text())
        account.balanced()
        return account


def sources(path):
    return set(tool(["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "ip.src", "-e", "ip.dst"]).splitlines())


def all_written(account):
    assert account["write.written"] == account["write.copies"] == account["sent.offered"] > 0
    assert account["write.requests"] == account["write.answers"] == account["write.waiting"] == 0
    assert sum(account.outcomes().values()) == account["engine.sessions_opened"] >= 10
    assert set(account.outcomes()) <= {"complete", "unanswered"}, account.log     # if it was answered, that was recorded
    assert account["engine.acked_bytes"] == account["engine.captured_bytes"] > 0
    return True


@pytest.mark.parametrize("way", ["own", "assistant"])
def test_live(lab, way):
    """The file of what was not sent does to a server what the clients have done, and a dry run of that file to nobody."""
    dry = Dry(lab)
    first, second = lab.new_path("first.pcapng"), lab.new_path("second.pcapng")
    account = dry.live(first, *([] if way == "own" else ["-s", dry.assistant.ip4]))
    assert all_written(account)
    clients = {dry.online.ip4} if way == "own" else {lab.host("client").ip4, "127.0.0.1"}
    assert {line.split("\t")[0] for line in sources(first)} <= clients
    assert {line.split("\t")[1] for line in sources(first)} == {dry.target.ip4}
    again = dry.replay(6379, "--read", first, "--dry-run", "--write", second)
    assert all_written(again)
    assert again["engine.captured_bytes"] == account["engine.acked_bytes"]
    assert dry.silent()
    assert not writes(dry.copy)
    dry.replay(6380, "--read", second)
    assert writes(dry.third) == writes(dry.server) and dry.third.digest() == dry.server.digest()


def test_beside_another(lab, alone):
    """A dry run claims neither the rule nor the ports of the tcpcopy that replicates, whose answers it leaves alone."""
    dry = Dry(lab)
    run = alone()
    account = dry.live(lab.new_path("first.pcapng"))
    assert account["own.answers"] == account["strays.reset"] == 0
    assert account.outcomes() == {"unanswered": account["engine.sessions_opened"]}, account.log
    assert wait_until(lambda: writes(dry.copy) == writes(dry.server))
    assert dry.copy.digest() == dry.server.digest()
    run.stop()

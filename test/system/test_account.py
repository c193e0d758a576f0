#!/usr/bin/python3
"""The accounts of both programs balance, and agree with what others count: tshark, ss, redis, the loss rules of the lab."""

import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from scapy.all import IP, TCP, L3RawSocket                          # pylint: disable=no-name-in-module

from conftest import BIN, PATIENCE, TOP, Program, Replay, Report, wait_until
from workload import appends, ask, closed, connect, dropped, equal, pair

SHORT = 600     # bytes: what is longer is not captured
IDLE = 5        # connections that stay open


def ask_status(program, path, *args):
    return subprocess.run([BIN / program, "--status", "--control", path, *args], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


def printed(account):
    """Every row of tcpcopy's account that is not zero is in its log, in the words of doc/ACCOUNT.md."""
    page = (TOP / "doc/ACCOUNT.md").read_text(encoding="utf-8").split("\n## tcpcopy\n")[1].split("\n## ")[0]
    log = account.log[account.log.rindex("--- account ---"):]
    _, *sections = re.split(r"^\| (\w+) \| \|$", page, flags=re.MULTILINE)
    seen = 0
    for section, rows in zip(sections[0::2], sections[1::2]):
        for key, text in re.findall(r"^\| `(\S+)` \| (.*) \|$", rows, re.MULTILINE) if section != "equation" else ():
            n = account[f"{section}.{key}"]
            seen += bool(n)
            assert not n or re.search(rf"^tcpcopy: +{n}  {re.escape(text)}$", log, re.MULTILINE), (section, key, text)
    assert seen > 30


def total(packets, field):
    return sum(int(packet[field] or 0) for packet in packets)


def spoiled(lab, count):
    """Segments with a wrong checksum, which the online server's kernel drops."""
    client, online = lab.host("client"), lab.host("online")
    with client.inside():
        out = L3RawSocket()
    for i in range(count):
        out.send(IP(src=client.ip4, dst=online.ip4) / TCP(sport=999, dport=6379, seq=i, flags="A", chksum=1))
    out.close()


def lost_before_capture(lab, target, ended):
    """A request that is not captured, and one behind it that is: a hole that the server proves."""
    with connect(lab) as s:
        ask(s, "append hole 1.")
        assert wait_until(lambda: target.cli("get", "hole") == "1.")
        ask(s, "set big " + "x" * 900)
        ask(s, "append hole 2.")
        assert wait_until(lambda: ended() == 1)
        time.sleep(0.3)     # what joins again waits so long at first
        ask(s, "append hole 3.")
        assert wait_until(lambda: target.cli("get", "hole") == "1.3.")


def test_mixed_run(lab):
    """Faults, loss, holes, resets and bad packets in one run; each count has a second source."""
    online, target = pair(lab)
    client = f"src host {lab.host('client').ip4}"
    captures = {name: lab.host(name).capture(f"tcp and {words}", snaplen=100) for name, words in (
        ("online", f"dst port 6379 and {client} and dst host {lab.host('online').ip4} and less {SHORT}"), ("target", f"dst port 6379 and {client}"),
        ("assistant", "src port 6379"))}
    sockets = {name: lab.new_path(f"{name}.sock") for name in ("tcpcopy", "intercept")}
    r = Replay(lab, tcpcopy=["-F", "less", SHORT, "--stats", "200ms", "--control", sockets["tcpcopy"]],
               intercept=["--stats", "200ms", "--control", sockets["intercept"]])
    lost_before_capture(lab, target, lambda: Report("", ask_status("tcpcopy", sockets["tcpcopy"], "--json").stdout)
                        ["ended.capture-hole"])
    for direction, end in (("to", "saddr"), ("from", "daddr")):
        lab.loss("target", direction, 0.02, match=f"ip {end} {lab.host('client').ip4}")
    appends(lab, 10, 100)
    spoiled(lab, 7)
    idle = [connect(lab) for _ in range(IDLE)]
    for i, connection in enumerate(idle):
        ask(connection, f"append idle{i} x")
    assert wait_until(lambda: all(target.cli("get", f"idle{i}") == "x" for i in range(IDLE)))

    # while it runs: the screen, and the same as JSON
    assert wait_until(lambda: json.loads(ask_status("tcpcopy", sockets["tcpcopy"], "--json").stdout)
                      ["account"]["live"]["sessions"] == IDLE), ask_status("tcpcopy", sockets["tcpcopy"], "--json").stdout
    there = lab.host("target").check_output(["ss", "-Htn", "state", "established", "sport", "=", ":6379", "dst",
                                             lab.host("client").ip4]).splitlines()
    now = Report("", ask_status("tcpcopy", sockets["tcpcopy"], "--json").stdout)
    assert now["state.established"] == len(there) == IDLE
    assert all(equation["balanced"] for equation in now.report["equations"])
    assert now.report["lag"]["samples"] > 0 and now.report["rates"]["seconds"] > 0
    screen = ask_status("tcpcopy", sockets["tcpcopy"]).stdout
    assert f"{IDLE} live, {IDLE} established" in screen and "account        balanced" in screen
    assert "capture-hole 1" in screen and f"latest: {lab.host('client').ip4}:" in screen
    assert len(screen.splitlines()) <= 40
    assert json.loads(ask_status("intercept", sockets["intercept"], "--json").stdout)["account"]["waiting"]["watches"] >= IDLE
    assert "intercept      pid " in ask_status("intercept", sockets["intercept"]).stdout
    r.tcpcopy.process.send_signal(signal.SIGUSR1)
    assert wait_until(lambda: "sessions = ended + live" in r.tcpcopy.log)
    assert json.loads(r.report_path.read_text())["account"]["live"]["sessions"] == IDLE

    lost = dropped(lab)     # of a lost reset the target would never hear
    lab.loss_off()
    idle.pop().close()
    reset = idle.pop()
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    reset.close()
    for connection in idle:
        connection.close()
    assert closed(lab)

    def heard():
        """Has tcpcopy read the last record?"""
        forwarded, read = (Report("", ask_status(name, sockets[name], "--json").stdout)[row] for name, row in (
            ("intercept", "segments.forwarded"), ("tcpcopy", "engine.responses")))
        return forwarded == read
    time.sleep(0.5)     # the last acknowledgments
    assert wait_until(heard)
    account = r.stop()
    intercept = r.intercept_account

    # tshark and the online host
    seen = captures["online"].fields("tcp.len", "tcp.flags.syn", "tcp.srcport")
    assert captures["online"].dropped == 0
    assert account["capture.let_in"] == account["capture.packets"] == len(seen)
    assert account["capture.kernel_drops"] == account["capture.unread"] == 0
    assert account["parse.bad-checksum"] == 7
    assert account["engine.captured_bytes"] == total(seen, "tcp.len")
    ports = {packet["tcp.srcport"] for packet in seen if packet["tcp.flags.syn"] in ("1", "True")}
    assert account["engine.sessions_opened"] == len(ports) == 10 + IDLE + 1
    # the wire to the target, with what the rules dropped
    arrived = captures["target"].fields("tcp.len")
    assert account["sent.packets"] == len(arrived) + lost[("target", "to")]
    assert account["engine.retransmitted_segments"] > 0
    # the wire from the target
    answers = captures["assistant"].fields("tcp.len")
    assert intercept["capture.let_in"] == intercept["capture.packets"] == len(answers)
    # between the two programs
    assert intercept["segments.forwarded"] == account["engine.responses"]
    assert intercept["segments.merged"] == account["engine.responses_merged"] == account["remote.records_merged"] == 0
    # the servers: all but what was lost before capture
    assert online.calls()["append"] == 1000 + IDLE + 3
    assert target.calls()["append"] == 1000 + IDLE + 2 and target.cli("get", "hole") == "1.3."
    assert account["lost.capture-hole"] == len("append hole 2.\r\n") and account["ended.capture-hole"] == 1
    assert account["engine.missing_bytes"] == len("set big \r\n") + 900
    assert account.report["never_captured"]["upstream_estimate"] > 0
    assert account["ended.client-reset"] == 1 and account["ended.complete"] == 10 + IDLE
    (reason,) = [reason for reason in account.report["reasons"] if reason["name"] == "client-reset"]
    assert reason["example"]["client"].startswith(lab.host("client").ip4)
    # the text says the same
    printed(account)
    assert "never captured: 910 bytes" in account.log
    assert "opened/s, captured" in account.log and "watches of 1 connections" in r.intercept_log


@pytest.fixture
def small_disk(lab):
    """A directory with next to no room, and how to fill it."""
    path = lab.new_path("small")
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def fill(path):
    with open(path / "filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError as e:
            assert e.errno == errno.ENOSPC
    return path / "filler"


def test_full_disk(lab, small_disk):
    """Neither the log nor the report may end the programs; the log's gap is counted, the report stays whole."""
    online, target = pair(lab)
    log, report = small_disk / "log", small_disk / "report"
    r = Replay(lab, tcpcopy=["--stats", "100ms"])
    r.tcpcopy.stop()
    assistant, rule = lab.host("assistant").ip4, f"6379-{lab.host('target').ip4}:6379"
    program = Program(lab.host("online"), "tcpcopy", "-x", rule, "-s", assistant, "-l", log, "--report", report,
                      "--stats", "100ms")
    assert wait_until(report.exists)
    assert wait_until(lambda: "ready" in log.read_text())
    filler = fill(small_disk)
    before = log.stat().st_size
    appends(lab, 2, 50)
    for _ in range(20):
        program.process.send_signal(signal.SIGUSR1)
        time.sleep(0.02)
    assert equal(online, target)
    assert wait_until(lambda: log.stat().st_size - before < 8192)
    json.loads(report.read_text())      # an old one, but a whole one
    assert program.process.poll() is None
    names = ["filler", "log", "report"]     # and for a moment the report that has no room
    assert wait_until(lambda: sorted(path.name for path in small_disk.iterdir()) == names)
    filler.unlink()
    after = Report("", report.read_text())
    assert wait_until(lambda: Report("", report.read_text())["log.dropped"] > after["log.dropped"])
    assert program.stop() == ""
    final = Report("", report.read_text())
    assert final["log.dropped"] > 0 and final["engine.sessions_opened"] == 2
    assert all(equation["balanced"] for equation in final.report["equations"])
    assert "\n20" in log.read_text()
    r.intercept.stop()


def quiet(lab, *args):
    """A tcpcopy without an assistant, which -L allows."""
    return Program(lab.host("online"), "tcpcopy", "-x", f"1-{lab.host('target').ip4}:1", "-s", lab.host("assistant").ip4,
                   "-L", *args)


def test_control_socket(lab):
    path = lab.new_path("socket")
    said = ask_status("tcpcopy", path)
    assert said.returncode == 1 and "there is no such socket" in said.stderr
    program = quiet(lab, "--control", path)
    assert wait_until(lambda: ask_status("tcpcopy", path).returncode == 0)
    assert path.stat().st_mode & 0o777 == 0o600
    # a second one may not take it
    second = quiet(lab, "--control", path)
    assert second.process.wait(PATIENCE) == 1
    # clients that say nothing, too much or nonsense, and more of them than are served, do not keep others out for long
    idle = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    for s in idle:
        s.connect(str(path))
    for words in (b"x" * 1000, b"nonsense\n"):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            with contextlib.suppress(BrokenPipeError):      # turned away already
                s.send(words)
    assert wait_until(lambda: ask_status("tcpcopy", path).returncode == 0)
    for s in idle:
        s.close()
    # killed: it leaves a socket where nobody listens, which the next one takes over
    program.kill()
    said = ask_status("tcpcopy", path)
    assert said.returncode == 1 and "was killed" in said.stderr
    program = quiet(lab, "--control", path)
    assert wait_until(lambda: ask_status("tcpcopy", path).returncode == 0)
    program.stop()
    assert not path.exists()
    # what is no socket is left alone
    path.write_text("precious")
    assert quiet(lab, "--control", path).process.wait(PATIENCE) == 1
    assert path.read_text() == "precious"


def test_several_instances_are_listed(lab):
    """Without --control, by the default names; other programs of this machine may be among them."""
    running = [Program(lab.host("assistant"), "intercept", "-i", "eth0", "-F", "tcp", "-p", port).wait_ready()
               for port in (7001, 7002)]
    said = subprocess.run([BIN / "intercept", "--status"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert said.returncode == 1 and "choose one with --control" in said.stderr
    for program in running:
        path = pathlib.Path(f"/run/tcpcopy/intercept-{program.process.pid}.sock")
        assert str(path) in said.stderr
        assert ask_status("intercept", path).returncode == 0
        program.stop()
        assert not path.exists()


def test_log_is_reopened(lab):
    log = lab.new_path("log")
    program = quiet(lab, "-l", log)
    assert wait_until(lambda: log.exists() and "trying again until it answers" in log.read_text())
    rotated = log.rename(f"{log}.1")
    program.process.send_signal(signal.SIGHUP)
    assert wait_until(log.exists)
    program.process.send_signal(signal.SIGUSR1)
    assert wait_until(lambda: "--- account ---" in log.read_text())
    assert "--- account ---" not in rotated.read_text()
    program.stop()


@pytest.mark.parametrize("option", ["--report", "--control"])
def test_bad_paths_are_refused_at_the_start(lab, option):
    for path in ("/nonexistent/x", "/proc/x"):
        program = quiet(lab, option, path)
        assert program.process.wait(PATIENCE) == 1
        assert f'option {option} "{path}": ' in program.log and "accepted: " in program.log
    assert os.path.isdir("/proc")

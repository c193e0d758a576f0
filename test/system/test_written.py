#!/usr/bin/python3
"""--write: what is captured, in files that tshark and --read take; a disk that is full; names that are refused."""

import os
import pathlib
import re
import shutil
import stat
import subprocess

import conftest
import pytest
from conftest import BIN, PATIENCE, TOP, Account, wait_until
from labnet.netns import tool
from workload import appends, equal, writes

PLAIN = pathlib.Path(os.environ.get("TCPCOPY_PLAIN_DIR", TOP))
REQUEST = ("ip.src", "tcp.srcport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len", "tcp.payload")
ANSWER = ("ip.dst", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.len")


def packets(path, fields, display_filter):
    """What tshark finds in the file, sorted: by time it would be another order where two packets have the same."""
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=/t", "-Y", display_filter]
    for name in fields:
        argv += ["-e", name]
    return sorted(tool(argv).splitlines())


class Written:
    """A tcpcopy that writes what redis on the online server is sent, and another one that replays it."""

    def __init__(self, lab, alone, name, *args, **kwargs):
        self.lab, self.online, self.target = lab, lab.host("online"), lab.host("target")
        self.directory = lab.new_path("written")
        self.directory.mkdir()
        self.path = self.directory / name
        self.run = alone("--write", self.path, *args, **kwargs)

    def files(self):
        return sorted(self.directory.iterdir())

    def quiet(self, server):
        """The clients' last segments have been captured."""
        assert wait_until(lambda: not self.online.check_output(
            ["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=", f":{server.port}"]))

    def stop(self):
        account = self.run.stop()
        assert account["write.requests"] == account["classify.given"] > 0
        assert account["write.waiting"] == account["write.answers_dropped"] == 0
        return account

    def replay(self, port):
        """Against a server at another port of the target; the account."""
        report, log = self.lab.new_path("replay.json"), self.lab.new_path("replay.log")
        with open(log, "w") as output:
            process = self.online.popen(
                [BIN / "tcpcopy", "--read", *self.files(), "--speed", "max", "--report", report, "-x",
                 f"6379-{self.target.ip4}:{port}"], stdout=output, stderr=output)
        assert process.wait(5 * PATIENCE) == 0, log.read_text()
        account = Account(log.read_text(), report.read_text())
        account.balanced()
        return account


def same_sessions(live, again):
    """Both were given the same."""
    for row in "captured_segments", "captured_bytes", "acked_bytes", "sessions_opened", "turns", "syns":
        if row in live.report["account"]["engine"]:
            assert live[f"engine.{row}"] == again[f"engine.{row}"], row
    assert again["replay.server"] == live["write.answers"]
    return True


@pytest.mark.parametrize("name, answers", [("day.pcapng", "headers"), ("day.pcapng.zst", "all"), ("day.gz", "none")])
def test_written_and_read(lab, alone, name, answers):
    """Packet by packet what tcpdump has, and what a replay makes of it is what was there live."""
    client, server, copy, third = lab.host("client"), lab.redis("online"), lab.redis("target"), lab.redis("target", 6380)
    beside = lab.host("online").capture(f"tcp port 6379 and host {client.ip4}", snaplen=4096)
    written = Written(lab, alone, name, "--write-answers", answers)
    appends(lab, connections=10, commands=100)
    written.quiet(server)
    assert equal(server, copy)
    account = written.stop()
    assert beside.stop().dropped == 0
    assert account["write.written"] == account["write.requests"] + account["write.answers"]
    assert (account["write.answers"] > 0) == (answers != "none")
    (path,) = written.files()
    assert path == written.path and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == account["write.bytes"]
    requests = f"tcp.dstport == 6379 and ip.src == {client.ip4}"
    assert packets(path, REQUEST, requests) == packets(beside.path, REQUEST, requests)
    replies = f"tcp.srcport == 6379 and ip.dst == {client.ip4}"
    theirs = packets(beside.path, ANSWER, replies)
    assert packets(path, ANSWER, replies) == ([] if answers == "none" else theirs)
    payload = [line for line in packets(path, ("tcp.payload",), replies) if line]
    assert bool(payload) == (answers == "all")
    (of,) = set(packets(path, ("frame.interface_name",), requests))
    assert of == "eth0"
    opened = packets(path, ("frame.comment",), f"{requests} and tcp.flags.syn == 1")
    assert len(opened) >= 10 and all(line.startswith(f"session {client.ip4}:") and line.endswith(
        f" -> {written.online.ip4}:6379, rule 6379-{written.target.ip4}:6379") for line in opened), opened
    times = [packets(where, ("frame.time_epoch",), requests) for where in (path, beside.path)]
    assert all(abs(float(ours) - float(theirs)) < 0.5 for ours, theirs in zip(*times))
    again = written.replay(6380)
    assert same_sessions(account, again)
    assert writes(third) == writes(server) and third.digest() == server.digest()


def test_rotation_keeps_every_packet(lab, alone):
    server, copy, third = lab.redis("online"), lab.redis("target"), lab.redis("target", 6380)
    written = Written(lab, alone, "day.pcapng", "--write-rotate", "64K,1h", "--workers", 2, "-F", "src", "host",
                      lab.host("client").ip4)
    appends(lab, connections=10, commands=200, size=100)
    written.quiet(server)
    assert equal(server, copy)
    account = written.stop()
    files = written.files()
    assert len(files) == account["write.files"] > 5
    assert [path.name for path in files] == [f"day.{n:05}.pcapng" for n in range(1, len(files) + 1)]
    assert sum(path.stat().st_size for path in files) == account["write.bytes"]
    assert sum(len(packets(path, ("frame.number",), "tcp")) for path in files) == account["write.written"]
    # what -F leaves out is not there, nor what it was answered
    assert not any(packets(path, ("frame.number",), "ip.addr == 127.0.0.1") for path in files)
    assert same_sessions(account, written.replay(6380))
    assert third.digest() == server.digest()


def test_quota(lab, alone):
    """The oldest files go, also that of an earlier run; the last packets are there."""
    server, copy = lab.redis("online"), lab.redis("target")
    written = Written(lab, alone, "day.pcapng", "--write-rotate", "1M", "--write-max", "4M", "--write-answers", "none")
    appends(lab, connections=10, commands=600, size=1000)
    assert sum(path.stat().st_size for path in written.files()) <= 4 << 20
    connection = "append commands9 599."
    written.quiet(server)
    assert equal(server, copy)
    account = written.stop()
    left = written.files()
    assert 2 << 20 < sum(path.stat().st_size for path in left) <= 4 << 20
    assert account["write.removed"] == account["write.files"] - len(left) > 0
    assert account["write.written"] == account["write.requests"]
    assert any(connection.split()[1].encode() in path.read_bytes() for path in left)


def test_full_disk(lab, alone):
    """Replication goes on, it is said once, and what was written before can be read."""
    server, copy = lab.redis("online"), lab.redis("target")
    run = alone("--write", "/mnt/day.pcapng", prefix=[
        "unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=400k none /mnt && exec "$0" "$@"'])
    appends(lab, connections=10, commands=200, size=500)
    assert equal(server, copy)
    assert wait_until(lambda: run.tcpcopy.status()["account"]["write"]["failed"] > 0)
    written = lab.new_path("day.pcapng")
    shutil.copy(f"/proc/{run.tcpcopy.process.pid}/root/mnt/day.pcapng", written)
    assert packets(written, ("frame.number",), "tcp")     # no complaint about its end
    assert " not written\n" in run.tcpcopy.lab.host("online").check_output(
        [BIN / "tcpcopy", "--status", "--control", re.search(r"--status --control (\S+)", run.tcpcopy.log)[1]])
    account = run.stop()
    assert account["write.failed"] > 0 and account["write.written"] > 0 and account["write.waiting"] == 0
    assert account.log.count("No space left on device") == 1
    assert account["engine.lost_bytes"] == 0


def refused(lab, path, *args):
    done = lab.host("online").run([BIN / "tcpcopy", "-x", f"6379-{lab.host('target').ip4}:6379", "--write", path, *args])
    assert done.returncode == 1, done
    return done.stderr.splitlines()[-1]


def test_names_that_are_refused(lab):
    there, link = lab.new_path("there.pcapng"), lab.new_path("link.pcapng")
    there.write_text("mine")
    link.symlink_to(lab.new_path("elsewhere"))
    assert f'option --write "{there}": it exists, and nothing is written over it; accepted: a new name' in refused(lab, there)
    assert "it is a symbolic link; accepted: " in refused(lab, link)
    assert "No such file or directory; accepted: " in refused(lab, there.parent / "none/day.pcapng")
    assert there.read_text() == "mine" and not os.path.lexists(os.readlink(link))


def test_in_the_sandbox(lab, alone, monkeypatch):
    """Files of a rotation, made by a user that may nothing else; and a directory that is not that user's."""
    monkeypatch.setattr(conftest, "BIN", PLAIN)
    server, copy = lab.redis("online"), lab.redis("target")
    lab.directory.chmod(0o711)
    shutil.chown(lab.directory, "nobody")
    directory = lab.new_path("of-nobody")
    directory.mkdir()
    options = ["--write", directory / "day.pcapng", "--write-rotate", "64K", "--user", "nobody"]
    done = lab.host("online").run([PLAIN / "tcpcopy", "-x", f"6379-{lab.host('target').ip4}:6379", *options])
    assert done.returncode == 1 and "this user cannot make files in the directory" in done.stderr, done.stderr
    shutil.chown(directory, "nobody")
    run = alone(*options, "--write-max", "4M")
    assert "files restricted" in run.tcpcopy.log
    appends(lab, connections=10, commands=200, size=100)
    assert equal(server, copy)
    account = run.stop()
    assert account["write.failed"] == 0 and account["write.files"] > 5
    for path in directory.iterdir():
        assert (path.owner(), stat.S_IMODE(path.stat().st_mode)) == ("nobody", 0o600), path
    assert subprocess.run(["tcpdump", "-r", path], capture_output=True).returncode == 0

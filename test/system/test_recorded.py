#!/usr/bin/python3
"""Recorded traffic: what tcpdump has written of one server is replayed to another one, which then holds the same."""

import os
import re
import subprocess

import pytest
from conftest import BIN, PATIENCE, Account, Program, wait_until
from scapy.contrib.erspan import ERSPAN_II
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.utils import PcapReader, PcapWriter
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

    def replay(self, *args, host="online", read=None, port=6379, to=6379, rule=True, status=0, stdin=None):
        """The account of a replay that ended by itself."""
        report = self.lab.new_path("tcpcopy.json")
        log = self.lab.new_path("replay.log")
        rules = ["-x", f"{port}-{self.target.ip4}:{to}"] if rule else []
        with open(log, "w") as output:
            process = self.lab.host(host).popen(
                [BIN / "tcpcopy", "--read", *(read or [self.path]), *rules, "--report", report, *args], stdin=stdin or subprocess.DEVNULL, stdout=output, stderr=output)
        assert process.wait(5 * PATIENCE) == status, log.read_text()
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


def test_port_that_is_not_there(lab, recorded):
    """Then it is said what there is; and that checksums are wrong, where somebody has changed a file without them."""
    account = recorded.replay(port=6380, status=1)
    packets = account["replay.packets"]
    assert f"nothing to replay: no packets to port 6380; there are {packets} to port 6379" in account.log
    account = recorded.replay("-F", "src port 1", status=1)
    assert 'nothing to replay: no packet to be replayed passes -F "src port 1"' in account.log
    account = recorded.replay("-x", f"10.9.9.9:6379-{recorded.target.ip4}:6379", rule=False, status=1)
    assert f"; there are {packets} to port 6379 of other addresses than the rule's" in account.log
    assert recorded.again.calls().get("append") is None
    path = lab.new_path("edited.pcap")
    with PcapReader(str(recorded.path)) as kept, PcapWriter(str(path)) as edited:
        for packet in kept:
            packet[TCP].chksum ^= 0x1234
            edited.write(packet)
    account = recorded.replay(read=[path], status=1)
    wrong = account["parse.bad-checksum"]
    assert f"; there is no TCP in it that can be read; {wrong} packets have a wrong checksum, as after" in account.log
    assert wrong > account["replay.packets"] / 2    # of what a snap length has cut, nobody knows


def test_nobody_is_reached(lab):
    """Every connection was refused, which is said before the account."""
    recorded = Recorded(lab, connections=3, commands=5)
    account = recorded.replay("--speed", "max", to=6380, status=1)
    n = account["engine.sessions_opened"]
    assert account.outcomes() == {"refused": n}
    said = f"nothing was replayed: {recorded.target.ip4}:6380 refused all {n} connections; nothing listens there"
    assert said in account.log
    assert account.log.index(said) < account.log.index(" requests in ")


def test_years_between_two_packets(lab):
    """It is said at once, in one line, how long that will take; a signal ends it."""
    recorded = Recorded(lab, connections=1, commands=10)
    waiting = Program(recorded.online, "tcpcopy", "--read", part(lab, recorded, "1-12"),
                      part(lab, recorded, "13-9999", (2 * 365 + 3) * 86400 + 3600), "-x", f"6379-{recorded.target.ip4}:6379")
    assert wait_until(lambda: "the next packet is due in " in waiting.log), waiting.log
    assert "the next packet is due in 2 years 3 days; -I 5s caps gaps\n" in waiting.log
    assert waiting.stop().count("caps gaps") == 1


def packed(lab, recorded, command):
    path = lab.new_path("packed")
    lab.host("online").sh(f"{command} < {recorded.path} > {path}")
    return path


@pytest.mark.parametrize("command", ["gzip -c", "zstd -qc"])
def test_packed(lab, recorded, command):
    """By content: the file has no name that says so."""
    recorded.replay("--speed", "max", read=[packed(lab, recorded, command)])
    assert recorded.equal()


def test_packed_by_something_else(lab, recorded):
    report = lab.new_path("none.json")
    done = lab.host("online").run([BIN / "tcpcopy", "--read", packed(lab, recorded, "xz -c"), "-x",
                                   f"6379-{recorded.target.ip4}:6379", "--report", report], check=False)
    assert done.returncode == 1
    assert re.search(r"packed by xz, which this program does not unpack: type xz -dc \S+ \| tcpcopy --read -", done.stderr)


def test_pipe(recorded):
    """Read once, as it comes; the writer has a pause in the middle."""
    size = recorded.path.stat().st_size // 2
    writer = recorded.online.popen(["sh", "-c", f"head -c {size} {recorded.path}; sleep 1; tail -c +{size + 1} {recorded.path}"],
                                   stdout=subprocess.PIPE)
    account = recorded.replay("--speed", "10", read=["-"], stdin=writer.stdout)
    assert writer.wait(PATIENCE) == 0
    assert recorded.equal()
    assert account["replay.damaged"] == 0


def test_named_pipe(lab, recorded):
    """While nobody writes to it, it is waited for as a silent pipe is: a signal ends that. Then it is read as any pipe."""
    path = lab.new_path("named.pipe")
    os.mkfifo(path)
    waiting = Program(recorded.online, "tcpcopy", "--read", path, "-x", f"6379-{recorded.target.ip4}:6379").wait_ready()
    waiting.process.terminate()
    assert waiting.process.wait(PATIENCE) in (0, 1) and "Sanitizer" not in waiting.log, waiting.log
    writer = recorded.online.popen(["sh", "-c", f"cat {recorded.path} > {path}"])
    account = recorded.replay("--speed", "max", read=[path])
    assert writer.wait(PATIENCE) == 0
    assert recorded.equal()
    assert account["replay.damaged"] == 0


@pytest.mark.parametrize("direction", ["dst", "src"])
def test_one_direction_only(lab, recorded, direction):
    """Of the clients it is all that is needed; of the server there is nothing to replay."""
    path = lab.new_path("half.pcap")
    lab.host("online").check_output(["tcpdump", "-r", recorded.path, "-w", path, "tcp", direction, "port", "6379"])
    if direction == "src":
        account = recorded.replay(read=[path], status=1)
        assert account["replay.server"] == account["replay.taken"] > 0
        return
    account = recorded.replay(read=[path])
    assert recorded.equal()
    assert account["replay.server"] == 0
    assert account.outcomes() == {"complete": account["engine.sessions_opened"]}


def test_file_that_was_cut(lab, recorded):
    """In the middle of a packet: all that comes before is replayed, and it is said."""
    path = lab.new_path("cut.pcap")
    path.write_bytes(recorded.path.read_bytes()[:recorded.path.stat().st_size * 2 // 3])
    account = recorded.replay("--speed", "max", read=[path])
    assert "what comes before is replayed" in account.log and account["replay.damaged"] == 1
    assert account["engine.acked_bytes"] == account["engine.captured_bytes"] > 0
    assert 0 < sum(writes(recorded.again).values()) < sum(recorded.writes.values())


def test_packets_that_are_missing(lab, recorded):
    """What the recorded server has acknowledged and is not there is counted; the other connections lose nothing, and this
    one is joined again."""
    path, gone = lab.new_path("holes.pcap"), []
    with PcapReader(str(recorded.path)) as packets, PcapWriter(str(path)) as kept:
        for packet in packets:
            if b"commands3\r\n$3\r\n50." in bytes(packet):
                gone.append(len(packet[TCP].payload))
            else:
                kept.write(packet)
    assert len(gone) == 1
    account = recorded.replay("--speed", "0.2", read=[path])
    assert account["engine.missing_bytes"] == gone[0]
    assert account.outcomes()["capture-hole"] == 1
    for name in (f"commands{n}" for n in range(10)):
        if name != "commands3":
            assert recorded.server.cli("get", name) == recorded.again.cli("get", name)
    there = recorded.again.cli("get", "commands3")
    assert ".49." in there and ".50." not in there


def test_duplicates_of_a_bridge(lab, recorded):
    """Each packet twice, the second time a little later and with another link-layer address."""
    late, both = lab.new_path("late.pcap"), lab.new_path("both.pcap")
    lab.host("online").check_output(["editcap", "-t", "0.00001", recorded.path, late])
    lab.host("online").check_output(["mergecap", "-F", "pcap", "-w", both, recorded.path, late])
    account = recorded.replay(read=[both])
    assert recorded.equal()
    assert account["engine.duplicate_bytes"] == account["engine.acked_bytes"]


def test_snapped(lab, recorded):
    """Of each request only a part was recorded: nothing false is replayed, and it is said how much there was."""
    path = lab.new_path("snapped.pcap")
    lab.host("online").check_output(["editcap", "-s", "80", recorded.path, path])
    account = recorded.replay("--speed", "max", read=[path])
    assert account["replay.truncated"] > 0 and account["engine.truncated_bytes"] + account["engine.missing_bytes"] > 0
    assert sum(writes(recorded.again).values()) == 0


def test_with_an_assistant(lab, recorded):
    """The target sees the clients' own addresses; in the second loop their ports are used again, and no old timestamp comes
    after a new one."""
    lab.route_to_assistant("client")
    assistant = lab.host("assistant")
    intercept = Program(assistant, "intercept", "-i", "eth0", "-F", "tcp", "and", "src", "port", 6379).wait_ready()
    before = recorded.target.nstat()
    stray = lab.host("client").capture(f"tcp and src host {recorded.target.ip4}")
    account = recorded.replay("-s", assistant.ip4, "-T", "2", "--speed", "max")
    intercept.stop()
    assert writes(recorded.again) == {name: 2 * n for name, n in recorded.writes.items()}
    assert stray.stop().captured == 0
    for name in "TcpExtPAWSEstab", "TcpExtPAWSActive", "TcpExtTCPACKSkippedPAWS", "TcpInCsumErrors":
        assert recorded.target.nstat().get(name, 0) == before.get(name, 0), name
    assert account["engine.acked_bytes"] == account["engine.captured_bytes"]
    assert account["capture.packets"] == 0


TUNNELS = {
    "vxlan": lambda packet: UDP(sport=50000, dport=4789) / VXLAN(vni=7) / packet,
    "geneve": lambda packet: UDP(sport=50000, dport=6081) / GENEVE(vni=7, proto=0x6558) / packet,
    "erspan": lambda packet: GRE(proto=0x88be, seqnum_present=1, sequence_number=1) / ERSPAN_II(ver=1, vlan=1, session_id=1) / packet,
    "qinq": None,
}


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_tunnels(lab, tunnel):
    """What a mirror port or a cloud hands over, made from the recording by scapy; and frames with two VLAN tags."""
    recorded = Recorded(lab, connections=2, commands=10)
    path = lab.new_path("tunnel.pcap")
    with PcapReader(str(recorded.path)) as packets, PcapWriter(str(path)) as to:
        for packet in packets:
            if tunnel == "qinq":
                outer = (Ether(src=packet.src, dst=packet.dst, type=0x88a8) / Dot1Q(vlan=5, type=0x8100) / Dot1Q(vlan=6) /
                         packet.payload)
            else:
                outer = Ether() / IP(src="192.0.2.1", dst="192.0.2.2") / TUNNELS[tunnel](packet)
            outer.time = packet.time
            to.write(outer)
    if tunnel == "vxlan":
        assert "no packets to port 6379" in recorded.replay("--decap", "none", read=[path], status=1).log
    account = recorded.replay("--speed", "max", read=[path])
    assert recorded.equal()
    assert account["replay.unwrapped"] == (0 if tunnel == "qinq" else account["replay.packets"])


def test_nginx(lab):
    """A connection for each request, as in the access log of the server that was recorded."""
    servers = [lab.nginx(name) for name in ("online", "target")]
    online = lab.host("online")
    capture = online.capture("tcp port 80", snaplen=4096)
    lab.host("client").sh(f"for i in $(seq 30); do curl -s http://{online.ip4}/?$i > /dev/null; done")
    assert capture.stop().dropped == 0
    recorded = Recorded.__new__(Recorded)
    recorded.lab, recorded.online, recorded.target, recorded.path = lab, online, lab.host("target"), capture.path
    account = recorded.replay("--speed", "10", port=80, to=80)
    requests = [sorted(line.split('"')[1] for line in server.requests()) for server in servers]
    assert requests[0] == requests[1]
    assert len(requests[0]) == account["ended.complete"] == 30

#!/usr/bin/python3
"""Capture, injection and routes (src/io) against a real kernel.

Packets are sent and captured by iotool on two hosts; what arrives is judged by tcpdump and tshark.
"""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from conftest import wait_until
from two_hosts import PYTHON, fields, mac_of, results

CLIENT = "10.90.114.82"
CLIENT6 = "fd90::82"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def wire(hosts, tmp_path):
    """A function: run sending(), return what tshark says of the packets that host b saw."""
    _, b = hosts
    path = str(tmp_path / "wire.pcap")

    def watch(sending, names, count):
        dump = subprocess.Popen(["ip", "netns", "exec", b.name, "tcpdump", "-Z", "root", "-U",
                                 "-n", "-i", "b0", "-c", str(count), "-w", path,
                                 "tcp and dst port 6379"], stderr=subprocess.PIPE, text=True)
        try:
            assert "listening" in dump.stderr.readline()
            sending()
            dump.wait(timeout=120)
        finally:
            if dump.poll() is None:
                dump.send_signal(signal.SIGTERM)
                dump.wait()
            dump.stderr.close()
        command = ["tshark", "-r", path, "-T", "fields", "-E", "separator=|",
                   "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
        for n in names:
            command += ["-e", n]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line.split("|") for line in out.splitlines()]

    return watch


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_test_leaves_no_namespaces(signo):
    program = ("import sys, time; sys.path.insert(0, sys.argv[1]); from two_hosts import two_hosts\n"
               "with two_hosts(None) as (a, b): a.start('sleep', '1000'); print('up', flush=True); time.sleep(1000)")
    owner = subprocess.Popen([PYTHON, "-c", program, os.path.dirname(__file__)], stdout=subprocess.PIPE, text=True)

    def namespaces():
        return [name for name in os.listdir("/run/netns") if name.startswith(f"io{owner.pid}-")]
    try:
        assert owner.stdout.readline() == "up\n"
        assert len(namespaces()) == 2
    finally:
        owner.send_signal(signo)
        owner.wait()
        owner.stdout.close()
    assert wait_until(lambda: not namespaces())


TRANSFER = """
import socket, sys, threading
family, address, size = socket.{family}, "{address}", {size}
if "{role}" == "server":
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, 6379)); s.listen()
    print("up", flush=True)
    c, _ = s.accept()
    n = 0
    while n < size:
        n += len(c.recv(1 << 20))
else:
    c = socket.create_connection((address, 6379))
    c.sendall(b"x" * size)
    c.close()
"""


def transfer(a, b, family, address, size):
    server = b.start(PYTHON, "-c", TRANSFER.format(family=family, address=address, size=size,
                                                   role="server"))
    assert server.stdout.readline() == "up\n"
    a.python(TRANSFER.format(family=family, address=address, size=size, role="client"))
    server.communicate(timeout=120)


@pytest.mark.parametrize("family,address", [("AF_INET", "10.91.0.2"), ("AF_INET6", "fd91::2")])
def test_super_packets_are_whole(hosts, mode, family, address):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 0, "incoming", mode=mode)
    transfer(a, b, family, address, 2000000)
    packets, counters = results(cap)
    assert counters["truncated"] == counters["drops"] == counters["errors"] == 0
    data = [p for p in packets if not p["payload"].startswith("0/")]
    assert sum(p["len"] - p["captured"] for p in packets) == 0
    assert sum(int(p["payload"].split("/")[0]) for p in data) >= 2000000
    largest = max(data, key=lambda p: p["len"])
    assert largest["len"] > 60000
    assert 1300 < largest["gso"] <= 1460
    assert all(p["sum"] == "partial" for p in data)
    assert all("reason=" not in p["text"] for p in packets)


def test_snaplen_keeps_the_wire_length(hosts, mode):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 0, "incoming", "snaplen=94", mode=mode)
    transfer(a, b, "AF_INET", "10.91.0.2", 2000000)
    packets, counters = results(cap)
    assert max(p["captured"] for p in packets) == 94
    assert max(p["len"] for p in packets) > 60000
    assert max(p["gso"] for p in packets) > 1300
    assert counters["truncated"] == counters["errors"] == 0
    assert sum(int(p["payload"].split("/")[1]) for p in packets) >= 2000000


def test_inject_v4_keeps_the_fields(hosts, wire):
    a, b = hosts
    names = ["ip.src", "ip.dst", "ip.id", "ip.ttl", "ip.dsfield", "ip.flags.df", "ip.len",
             "tcp.srcport", "tcp.seq_raw", "tcp.ack_raw", "tcp.window_size_value",
             "ip.checksum.status", "tcp.checksum.status"]

    def sending():
        for df, ident, tos in ((1, 0x6447, 0x10), (0, 0xffff, 0), (1, 0, 0x28)):
            got = a.send(CLIENT, 33800, "10.91.0.2", 6379, 40, f"id={ident}", f"tos={tos}",
                         "seq=3165495247", *([] if df else ["nodf"]))
            assert got["packets"] == 1 and got["bytes"] == 80
    common = ["33800", "3165495247", "7", "115", "1", "1"]
    seen = wire(sending, names, 3)
    assert [r[:2] + r[3:4] + r[6:] for r in seen] == [[CLIENT, "10.91.0.2", "52", "80"] + common] * 3
    assert [int(r[2], 16) for r in seen] == [0x6447, 0xffff, 0]
    assert [int(r[4], 16) for r in seen] == [0x10, 0, 0x28]
    assert [r[5] in ("1", "True") for r in seen] == [True, False, True]


def test_inject_v6_keeps_the_fields(hosts, wire):
    a, _ = hosts
    seen = wire(lambda: a.send(CLIENT6, 33800, "fd91::2", 6379, 41, "ttl=57", "tos=40"),
                ["ipv6.src", "ipv6.dst", "ipv6.hlim", "tcp.srcport", "tcp.len",
                 "tcp.checksum.status"], 1)
    assert seen == [[CLIENT6, "fd91::2", "57", "33800", "41", "1"]]


def test_a_super_packet_is_cut(hosts, wire):
    a, b = hosts
    length, mss = 64000, 1448
    pieces = -(-length // mss)
    cap = b.capture("b0", "tcp dst port 6379", pieces, "incoming")

    def sending():
        got = a.send(CLIENT, 33800, "10.91.0.2", 6379, length, f"gso={mss}", "id=65530",
                     "seq=4294960000")
        assert (got["segments"], got["packets"]) == (1, pieces)
        assert got["bytes"] == length + pieces * 40
    seen = wire(sending, ["ip.id", "tcp.seq_raw", "tcp.len", "tcp.flags.push",
                          "ip.checksum.status", "tcp.checksum.status"], pieces)
    assert [int(r[0], 16) for r in seen] == [(65530 + i) % 65536 for i in range(pieces)]
    assert [int(r[1]) for r in seen] == [(4294960000 + i * mss) % 2**32 for i in range(pieces)]
    assert [int(r[2]) for r in seen] == [mss] * (pieces - 1) + [length - mss * (pieces - 1)]
    assert [r[3] in ("1", "True") for r in seen] == [False] * (pieces - 1) + [True]
    assert all(r[4:] == ["1", "1"] for r in seen)
    packets, _ = results(cap)
    assert len(packets) == pieces


def test_payload_arrives_unchanged(hosts, mode):
    a, b = hosts
    for source, to in ((CLIENT, "10.91.0.2"), (CLIENT6, "fd91::2")):
        cap = b.capture("b0", "tcp dst port 6379", 45, "incoming", mode=mode)
        begun = time.monotonic()
        a.send(source, 33800, to, 6379, 64000, "gso=1428")
        packets, _ = results(cap)
        assert len(packets) == 45 and all(p["wrong"] == 0 for p in packets)
        assert all(0 <= p["age_us"] < 1000000 * (time.monotonic() - begun) for p in packets)


def test_kernel_drops_are_counted(hosts):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 5000, "incoming", "held", "buffer=100000", "quiet", mode="packet")
    got = a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=5000")
    assert got["packets"] == 5000
    cap.read()
    _, counters = results(cap)
    assert counters["drops"] > 1000
    assert counters["packets"] + counters["drops"] == 5000


def test_incoming_only(hosts):
    a, b = hosts
    both = a.capture("a0", "tcp port 6379", 6)
    incoming = a.capture("a0", "tcp port 6379", 3, "incoming")
    a.send("10.91.0.1", 33800, "10.91.0.2", 6379, 10, "count=3")
    seen = [p["type"] for p in results(both)[0]]
    assert seen.count(4) == 3 and seen.count(0) == 3  # the host answered each by a RST
    packets, _ = results(incoming)
    assert len(packets) == 3 and all("10.91.0.2:6379 >" in p["text"] for p in packets)


@pytest.mark.parametrize("option", [[], ["incoming"]])
def test_loopback_gives_each_packet_once(hosts, mode, option):
    a, _ = hosts
    cap = a.capture("lo", "tcp dst port 6379", 10, *option, mode=mode)
    a.send("127.0.0.1", 33800, "127.0.0.1", 6379, 10, "count=5")
    a.send("::1", 33800, "::1", 6379, 10, "count=5")
    packets, _ = results(cap)
    assert len(packets) == 10 and all(p["type"] == 0 for p in packets)


def test_a_refused_packet_does_not_hold_the_others(hosts):
    a, b = hosts
    a.ip("addr add 10.91.1.1/24 dev a0")
    b.ip("addr add 10.91.1.2/24 dev b0")
    a.run("nft", "add table inet t")
    a.run("nft", "add chain inet t o { type filter hook output priority 0 ; }")
    a.run("nft", "add rule inet t o ip daddr 10.91.1.2 drop")
    cap = b.capture("b0", "tcp dst port 6379", 32, "incoming")
    got = a.send(CLIENT, 33800, "10.91.0.2", 6379, 10, "count=64", "also=10.91.1.2")
    assert got["not-permitted"] == 32 and got["packets"] == 32 and got["errno"] == 1
    packets, _ = results(cap)
    assert [p["id"] for p in packets] == [25671 + i for i in range(0, 64, 2)]


def test_each_error_is_counted_by_kind(hosts):
    a, b = hosts
    for source, to in ((CLIENT, "10.91.0.2"), (CLIENT6, "fd91::2")):
        for length in (3000, 65535, 200000):
            got = a.send(source, 33800, to, 6379, length)
            assert got["too-big"] == 1 and got["packets"] == 0
    for source, to in ((CLIENT, "10.99.0.2"), (CLIENT6, "fd99::2")):
        assert a.send(source, 33800, to, 6379, 10)["unreachable"] == 1
    a.run("tc", "qdisc", "add", "dev", "a0", "root", "pfifo", "limit", "0")
    for source, to in ((CLIENT, "10.91.0.2"), (CLIENT6, "fd91::2")):
        assert a.send(source, 33800, to, 6379, 10, "count=3")["no-buffers"] == 3


SCAPY = "from scapy.all import *; conf.verb = 0\n"
TO_B = """
mac = "{mac}"
p = IP(src="10.90.114.82", dst="10.91.0.2") / TCP(sport=33800, dport=6379, seq=0, flags="PA")
p = p / Raw(bytes(i % 251 for i in range(3000)))
"""


def test_fragments_pass_a_port_filter_whole(hosts, mode):
    """Between two of them the stream may turn to the other socket."""
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 20, "incoming", mode=mode)
    sender = a.start(PYTHON, "-c", SCAPY + TO_B.format(mac=mac_of(b, "b0")) +
                     "for i in range(20):\n"
                     "    input()\n"
                     "    p.id = i + 1\n"
                     "    sendp([Ether(dst=mac) / f for f in fragment(p, 1200)], iface='a0')\n")
    for sent in range(1, 21):
        before = cap.ask()["turns"]
        print(file=sender.stdin, flush=True)
        assert wait_until(lambda: cap.ask()["packets"] == sent)
        assert mode != "alternate" or wait_until(lambda: cap.ask()["turns"] > before)
    packets, counters = results(cap)
    assert [(p["id"], p["payload"], p["wrong"]) for p in packets] == \
        [(i + 1, "3000/3000", 0) for i in range(20)]
    assert counters["turns"] >= (20 if mode == "alternate" else 0)


def test_tagged_packets_pass_an_untagged_filter(hosts, mode):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 1, mode=mode)
    a.python(SCAPY + TO_B.format(mac=mac_of(b, "b0")) +
             "p[Raw].load = p[Raw].load[:100]; sendp(Ether(dst=mac) / Dot1Q(vlan=5) / p, iface='a0')")
    packets, _ = results(cap)
    assert [p["payload"] for p in packets] == ["100/100"]


TUN = """
import fcntl, os, struct, subprocess, sys
from scapy.all import IP, IPv6, TCP, Raw
t = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(t, 0x400454ca, struct.pack("16sH", b"tun0", 0x1001))
subprocess.run(["ip", "link", "set", "tun0", "up"], check=True)
subprocess.run(["ip", "addr", "add", "10.92.0.1/24", "dev", "tun0"], check=True)
c = subprocess.Popen([sys.argv[1], "capture", "tun0", "tcp dst port 6379", "2", "incoming"], stdin=subprocess.DEVNULL,
                     stdout=subprocess.PIPE, text=True)
assert c.stdout.readline() == "ready\\n"
seg = TCP(sport=1, dport=6379, seq=0, flags="PA") / Raw(bytes(range(100)))
os.write(t, bytes(IP(src="10.92.0.2", dst="10.92.0.1") / seg))
os.write(t, bytes(IPv6(src="fd92::2", dst="fd92::1") / seg))
print(c.communicate()[0])
"""


def test_tunnels_have_no_link_layer(hosts):
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("no /dev/net/tun")
    a, _ = hosts
    out = a.run(PYTHON, "-c", TUN, a.tool)
    packets = [fields(x) for x in out.splitlines() if x.startswith("packet ")]
    assert [(p["link"], p["payload"], p["wrong"]) for p in packets] == [(12, "100/100", 0)] * 2


def test_a_new_filter_holds_for_what_is_queued(hosts, mode):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379 or 6380", 3, "incoming", "held",
                    "refilter=tcp dst port 6380 or 6381", mode=mode)
    for port in (6379, 6380, 6381):
        a.send(CLIENT, 33800, "10.91.0.2", port, 10)
    cap.read()
    for port in (6379, 6380, 6381):
        a.send(CLIENT, 33800, "10.91.0.2", port, 10)
    packets, _ = results(cap)
    assert [re.search(r"10\.91\.0\.2:(\d+)", p["text"]).group(1) for p in packets] == \
        ["6380", "6380", "6381"]


def test_an_interface_may_go_down_and_come_back(hosts, mode):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 2, "incoming", mode=mode)
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 10)
    assert wait_until(lambda: cap.ask()["packets"] == 1)
    b.ip("link set b0 down")
    assert wait_until(lambda: cap.ask()["errors"] == 1)
    b.ip("link set b0 up")
    assert wait_until(lambda: all("state UP" in h.ip(f"link show {h.name[-1]}0") for h in hosts))
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 10)
    packets, counters = results(cap)
    assert len(packets) == 2
    assert counters["errors"] == 1 and "Network is down" in counters["text"]


def test_the_raw_sockets_receive_nothing(hosts):
    a, b = hosts
    send = b.start(b.tool, "send", CLIENT, 1, "10.91.0.1", 6379, 0, "count=2", "batch=1", "step")
    print(file=send.stdin, flush=True)
    assert send.stdout.readline() == "sent\n"      # its sockets are open, and stay so
    a.python(SCAPY + f"mac = '{mac_of(b, 'b0')}'\n"
             "ps = [Ether(dst=mac) / IP(src='10.91.0.1', dst='10.91.0.2', proto=255) / Raw(b'x' * 99),"
             " Ether(dst=mac) / IP(src='10.91.0.1', dst='10.91.0.2') / TCP(dport=6379)]\n"
             "sendp(ps * 20, iface='a0')")
    raw = b.run("cat", "/proc/net/raw", "/proc/net/raw6")
    assert send.poll() is None
    send.kill()
    queued = [line.split()[4] for line in raw.splitlines() if ":00FF" in line]
    assert len(queued) == 2 and all(q.split(":")[1] == "00000000" for q in queued)


def test_routes(hosts):
    a, _ = hosts
    a.ip("route add blackhole 10.98.0.0/16")
    a.ip("route add prohibit 10.97.0.0/16")
    a.ip("-6 route add unreachable fd98::/16")
    a.ip("route add 10.96.0.0/16 via 10.91.0.2 mtu 1300")
    a.ip("route add 10.95.0.0/16 via inet6 fd91::2")
    a.ip("route add local 10.94.0.0/16 dev lo")
    asked = ["10.91.0.1", "fd91::1", "127.0.0.1", "10.94.1.1", "10.91.0.2", "fd91::2", "10.96.0.1",
             "10.95.0.1", "10.98.0.1", "10.97.0.1", "fd98::1", "10.99.0.1"]
    got = dict(zip(asked, map(fields, a.run(a.tool, "route", *asked).splitlines())))
    for x in asked[:4]:
        assert got[x]["local"] == got[x]["mine"] == 1
    for x in asked[4:]:
        assert got[x]["local"] == got[x]["mine"] == 0
    assert all(got[x]["unreachable"] == (x in asked[8:]) for x in asked)
    assert got["10.91.0.2"]["interface"] == "a0" and got["10.91.0.2"]["gateway"] == "-"
    assert got["10.91.0.2"]["mtu"] == 1500
    assert got["10.96.0.1"]["gateway"] == "10.91.0.2" and got["10.96.0.1"]["mtu"] == 1300
    assert got["10.95.0.1"]["gateway"] == "fd91::2"
    assert got["10.91.0.2"]["source"] == "10.91.0.1" and got["fd91::2"]["source"] == "fd91::1"
    a.ip("link set a0 down")
    down = fields(a.run(a.tool, "route", "10.91.0.1"))
    assert down["mine"] == 1


def test_any_is_each_packet_once(hosts):
    a, _ = hosts
    a.ip("link add br0 type bridge")
    a.ip("link set br0 up")
    for name in ("p", "q", "down"):
        a.ip(f"link add {name}0 type veth peer name {name}1")
        if name != "down":
            a.ip(f"link set {name}0 up")
            a.ip(f"link set {name}1 up")
    a.ip("link set p0 master br0")
    assert sorted(a.run(a.tool, "interfaces").split()) == ["a0", "br0", "lo", "p1", "q0", "q1"]


def test_files_hold_what_was_sent(hosts, tmp_path):
    a, _ = hosts
    path = str(tmp_path / "sent.pcap")
    got = a.send(CLIENT, 33800, "10.91.0.2", 6379, 5000, "gso=1448", f"file={path}")
    assert got["packets"] == 4
    lines = a.run(a.tool, "read", path, "tcp dst port 6379").splitlines()
    packets = [fields(x) for x in lines if x.startswith("packet ")]
    assert len(packets) == 4 and all(p["wrong"] == 0 and p["sum"] == "verify" for p in packets)
    shown = subprocess.run(["tshark", "-r", path, "-o", "tcp.check_checksum:TRUE", "-T", "fields",
                            "-e", "tcp.checksum.status"], check=True, capture_output=True, text=True)
    assert shown.stdout.split() == ["1"] * 4


def test_messages(hosts):
    a, _ = hosts

    def refused(*command):
        p = a.start(*command)
        _, err = p.communicate(timeout=120)
        assert p.returncode == 1
        return err
    assert "interface nope0 does not exist; available: lo, a0" in \
        refused(a.tool, "capture", "nope0", "tcp", 1)
    assert "16" not in refused(a.tool, "capture", "x" * 16, "tcp", 1).split("characters")[1]
    assert 'filter "tcp and"' in refused(a.tool, "capture", "a0", "tcp and", 1)
    assert "vlan" in refused(a.tool, "capture", "a0", "vlan 5 and tcp", 1)
    if shutil.which("setpriv"):
        bare = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", a.tool]
        assert "CAP_NET_RAW" in refused(*bare, "capture", "a0", "tcp", 1)
        assert "CAP_NET_RAW" in refused(*bare, "send", CLIENT, 1, "10.91.0.2", 2, 3)

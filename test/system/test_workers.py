#!/usr/bin/python3
"""Several workers: the spread of connections over them, in the kernel and in C, and what they do together."""
import re

import pytest

from test_io import hosts, iotool, mode                                         # noqa: F401
from workload import Trouble, all_complete, appends, closed, equal, pair

# IPv4 without and with options, in two fragments, IPv6, and IPv6 with a jumbo header; in both directions, as resets
# answer what nobody listens to.
PACKETS = """
from scapy.all import *
conf.verb = 0
link = Ether(dst=getmacbyip("10.91.0.2"))
packets = []
for i in range(64):
    tcp = TCP(sport=30000 + i * 7, dport=6379, flags="S", seq=1000)
    v4 = IP(src=f"10.91.0.{{10 + i % 9}}", dst="10.91.0.2")
    packets += [link / v4 / tcp,
                link / IP(src=v4.src, dst=v4.dst, options=[IPOption_RR(length=11)]) / tcp,
                link / IPv6(src=f"fd91::{{i + 16:x}}", dst="fd91::2") / tcp,
                link / IPv6(src=f"fd91::{{i + 16:x}}", dst="fd91::2") / IPv6ExtHdrHopByHop() / tcp]
    packets += fragment(link / v4 / TCP(sport=20000 + i, dport=6379, flags="A") / (b"x" * 96), 64)
sendp(packets, iface="a0")
"""


def workers(p):
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, out + err
    (line,) = [x for x in out.splitlines() if x.startswith("workers ")]
    return int(re.search(r"strayed=(\d+)", line)[1]), [int(n) for n in re.findall(r"worker\d+=(\d+)", line)]


def test_the_kernel_spreads_as_we_do(hosts, mode):
    a, b = hosts
    cap = b.capture("b0", "tcp or ip6", 0, 5, "quiet", "workers=3", "seed=0x1234567", "ring=1M", mode=mode)
    a.python(PACKETS.format())
    strayed, counts = workers(cap)
    assert strayed == 0
    assert sum(counts) > 64 * 6                         # requests, and resets to them
    assert min(counts) > sum(counts) / 6


def test_the_spread_by_port(hosts):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 0, 4, "incoming", "quiet", "workers=5", "byport")
    a.python(PACKETS.format())
    strayed, counts = workers(cap)
    assert strayed == 0
    assert sum(counts) == 64 * 4                        # the filter does not see behind an extension header
    assert min(counts) > sum(counts) / 10


def taken(account):
    """Sessions of each worker."""
    return [int(n) for n in re.findall(r"worker \d+ took (\d+) sessions", account.log)]


@pytest.mark.parametrize("way", ["auto", "alternate", "ring", "packet"])
def test_two_workers(lab, replay, way):
    online, target = pair(lab)
    run = replay(tcpcopy=["--workers", 2, "--capture", way])
    trouble = Trouble(lab.host("target"))
    appends(lab, 16, 300)
    assert equal(online, target) and closed(lab)
    account = run.stop()
    assert all_complete(account)
    assert sum(taken(account)) == account("sessions opened by a SYN") == 16 and min(taken(account)) > 0
    assert trouble() == {}


def test_an_interface_goes_down_and_up(lab, replay):
    online, target = pair(lab)
    run = replay(tcpcopy=["--workers", 2, "--capture", "alternate"])
    host = lab.host("online")
    appends(lab, 8, 200)
    host.ip_batch(["link set eth0 down", "link set eth0 up", f"addr add {host.ip6}/64 dev eth0 nodad"])
    appends(lab, 8, 200)
    assert equal(online, target) and closed(lab)
    account = run.stop()
    assert all_complete(account) and min(taken(account)) > 0


# The same ports at two clients, one address for both: half of the connections need another port.
SAME_PORTS = """
import socket
for port in range(20000, 20040):
    s = socket.create_connection(("{online}", 6379), 10, source_address=("", port))
    s.sendall(b"set {name}%d 1\\r\\n" % port)
    assert s.recv(16) == b"+OK\\r\\n"
    held = globals().setdefault("held", [])
    held.append(s)
print("done", flush=True)
input()
"""


def test_a_pool_is_shared_without_collisions(lab, replay):
    online, target = pair(lab)
    second = lab.add_host("second", "10.90.114.83")
    lab.host("target").ip_batch([f"route replace 10.99.0.1 via {lab.host('assistant').ip4}"])
    run = replay(tcpcopy=["--workers", 3, "-c", "10.99.0.1"])
    clients = [host.popen(["python3", "-c", SAME_PORTS.format(online=lab.host("online").ip4, name=host.name)],
                          stdin=-1, stdout=-1) for host in (lab.host("client"), second)]
    for client in clients:
        assert client.stdout.readline() == "done\n"
    assert equal(online, target)
    peers = lab.host("target").check_output(["ss", "-Htn", "state", "established", "sport", "=", ":6379"]).split("\n")
    sources = {line.split()[-1] for line in peers if line.strip()}
    assert len(sources) == 80 and all(source.startswith("10.99.0.1:") for source in sources)
    for client in clients:
        client.communicate("\n", timeout=10)
    account = run.stop()
    assert account("sessions opened by a SYN") >= 80 and account("no free source") == 0
    assert min(taken(account)) > 0

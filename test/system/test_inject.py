#!/usr/bin/python3
"""Injection at the link layer: the same bytes as by raw sockets, and no session lost when the way to the target changes.

Packets alone are sent by build/tools/iotool from the online server to the target; whole sessions by the two programs.
What arrived is judged by tshark at the target, by the target's kernel and by redis.
"""
import re
import subprocess
import threading
import time

import pytest
from conftest import PATIENCE, Program, wait_until
from test_walkthrough import drain
from workload import closed

CLIENT = {4: "10.90.114.82", 6: "fd90::114:82"}
FIELDS = ["ip.id", "ip.ttl", "ipv6.hlim", "ip.len", "ipv6.plen", "tcp.seq_raw", "tcp.len", "tcp.flags.push",
          "ip.checksum.status", "tcp.checksum.status", "frame.len"]
CHECKS = ["tcp.check_checksum:TRUE", "ip.check_checksum:TRUE", "tcp.desegment_tcp_streams:FALSE"]
MSS = 1400
LARGE = 250 * 251           # a super-packet of 45 pieces; a multiple of what iotool's payload repeats after


class Sender:
    """iotool at the online server, sending to the target."""

    def __init__(self, lab, tool):
        self.host, self.target, self.tool = lab.host("online"), lab.host("target"), tool

    def address(self, family):
        return self.target.ip6 if family == 6 else self.target.ip4

    def know_neighbour(self, state="reachable"):
        for address in (self.target.ip4, self.target.ip6):
            self.host.check_output(["ip", "neigh", "replace", address, "lladdr", self.target.mac(), "nud", state,
                                    "dev", "eth0"])

    def argv(self, size, *words, family=4):
        return [self.tool, "send", CLIENT[family], 33800, self.address(family), 6379, size, *words]

    def send(self, size, *words, family=4):
        return self.counters(self.host.check_output(self.argv(size, *words, family=family)))

    @staticmethod
    def counters(text):
        return {k: int(v) for k, v in re.findall(r"([a-z_-]+)=(\d+)", text.splitlines()[-1])}

    def wire(self, expression="tcp dst port 6379"):
        return self.target.capture(expression)


@pytest.fixture
def sender(lab, iotool):
    return Sender(lab, iotool)


def packets(capture):
    return capture.fields(*FIELDS, options=CHECKS)


def sums_right(seen, family):
    return all(p["tcp.checksum.status"] == "1" and (family == 6 or p["ip.checksum.status"] == "1") for p in seen)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("size", [0, 40, MSS])
def test_packets_are_those_of_raw_sockets(sender, family, size):
    sender.know_neighbour()
    seen = []
    for way in ([], ["link"]):
        with sender.wire() as capture:
            sent = sender.send(size, "count=3", "id=4711", "ttl=17", "tos=16", *way, family=family)
        assert sent["packets"] == 3 and sent["fallback"] == sent["errno"] == 0
        seen.append(packets(capture))
    assert len(seen[0]) == 3 and seen[0] == seen[1]
    assert sums_right(seen[1], family)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("df", [True, False])
def test_super_packet_is_segmented_by_the_kernel(lab, sender, family, df):
    lab.offload("online", False)
    lab.offload("target", False)
    sender.know_neighbour()
    first = 65530 if df else 4711       # of a packet that may be fragmented the kernel replaces an id of 0
    words = [f"id={first}", f"gso={MSS}", "seq=4294960000", "count=2"] + ([] if df else ["nodf"])
    seen = []
    for way in ([], ["link"]):
        with sender.wire() as capture:
            sent = sender.send(LARGE, *words, *way, family=family)
        assert sent["packets"] == 90 and sent["errno"] == 0
        seen.append(packets(capture))
    assert len(seen[1]) == 90 and sums_right(seen[1], family)
    assert seen[0] == seen[1]       # ids and order too
    if family == 4:
        assert [int(p["ip.id"], 16) for p in seen[1][:45]] == [(first + i) & 0xffff for i in range(45)]
    assert [i for i, p in enumerate(seen[1]) if p["tcp.flags.push"] in ("1", "True")] == [44, 89]


@pytest.mark.parametrize("family", [4, 6])
def test_super_packet_is_one_where_the_device_segments(lab, sender, iotool, family):
    sender.know_neighbour()
    receiver = lab.host("target").popen([iotool, "capture", "eth0", "tcp dst port 6379", 2, "incoming"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert receiver.stdout.readline() == "ready\n"
    sent = sender.send(LARGE, f"gso={MSS}", "count=2", "link", family=family)
    assert (sent["segments"], sent["packets"]) == (2, 90)
    assert sent["bytes"] == 2 * LARGE + 90 * (40 if family == 4 else 60)
    lines = receiver.communicate(timeout=PATIENCE)[0].splitlines()
    got = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines if line.startswith("packet ")]
    assert [(p["payload"], p["gso"], p["wrong"]) for p in got] == [(f"{LARGE}/{LARGE}", f"{MSS}", "0")] * 2


def test_more_than_a_frame_holds(lab, sender, iotool):
    """200 KB in one segment: frames below 64 KB, whole wire segments in each, ids that go on."""
    size = 1110     # 59 of these would fit in an IP packet, but not in the frame that devices segment
    sender.know_neighbour()
    with sender.wire() as capture:
        assert sender.send(200_000, f"gso={size}", "link")["packets"] == 181
    seen = packets(capture)
    assert len(seen) == 4 and all(int(p["frame.len"]) < 65536 for p in seen)
    at = 1000
    for p in seen:
        assert int(p["tcp.seq_raw"]) == at
        assert int(p["ip.id"], 16) == 25671 + (at - 1000) // size
        at += int(p["tcp.len"])
    assert at == 201_000


def test_mtu_of_the_moment(lab, sender):
    """Cut to the MTU, even where the sender of the segment believes in a larger one."""
    lab.offload("online", False)
    lab.offload("target", False)
    sender.know_neighbour()
    lab.host("online").check_output(["ip", "route", "add", sender.target.ip4, "dev", "eth0", "mtu", 1300])
    with sender.wire() as capture:
        assert sender.send(10_000, f"gso={MSS}", "link")["errno"] == 0
    seen = packets(capture)
    assert max(int(p["ip.len"]) for p in seen) == 1300 and sums_right(seen, 4)
    assert sum(int(p["tcp.len"]) for p in seen) == 10_000


def test_netfilter_of_this_host_is_not_asked(lab, sender):
    """Raw sockets meet the output rules. Frames do not, nor those that should have kept the neighbour fresh."""
    lab.host("online").check_output(["nft", "-f", "-"], input="""table inet no {
        chain out { type filter hook output priority 0;
            tcp dport 6379 drop
        }
    }
    """)
    sender.know_neighbour()
    assert sender.send(40, "count=10")["not-permitted"] == 10
    for state in ("permanent", "reachable", "stale"):
        sender.know_neighbour(state)
        with sender.wire() as capture:
            sent = sender.send(40, "count=10", "link")
        assert (sent["packets"], sent["fallback"], sent["not-permitted"]) == (10, 0, 0)
        assert len(packets(capture)) == 10


def test_unknown_neighbour_is_found_by_a_raw_socket(lab, sender):
    lab.host("online").check_output(["ip", "neigh", "flush", "all"])
    with sender.wire() as capture:
        sent = sender.send(40, "count=20", "batch=1", "interval=100", "link")
    assert sent["packets"] == 20 and 0 < sent["fallback"] < 10
    assert len(packets(capture)) == 20


def test_stale_neighbour_is_asked_again(lab, sender):
    """The first segment takes the raw socket: the kernel probes, and the entry is reachable again."""
    online, target = lab.host("online"), lab.host("target")
    online.sysctl(net__ipv4__neigh__eth0__delay_first_probe_time=1, net__ipv4__neigh__eth0__gc_stale_time=600)
    sender.know_neighbour("stale")
    sent = sender.send(40, "count=30", "batch=1", "interval=100", "link")
    assert sent["packets"] == 30 and sent["fallback"] == 1
    assert "REACHABLE" in online.check_output(["ip", "neigh", "show", target.ip4])


@pytest.mark.parametrize("gateway", [4, 6])
def test_behind_a_gateway(lab, sender, gateway):
    """The frame goes to the gateway, which for an IPv4 packet may have an IPv6 address (RFC 5549)."""
    online, target = lab.host("online"), lab.host("target")
    online.check_output(["ip", "route", "add", "10.95.0.1", "via", *(["inet6"] if gateway == 6 else []),
                         sender.address(gateway)])
    sender.know_neighbour()
    with target.capture("tcp dst port 6379 and dst host 10.95.0.1") as capture:
        sent = sender.counters(online.check_output([sender.tool, "send", CLIENT[4], 33800, "10.95.0.1", 6379, 40,
                                                    "link"]))
    assert (sent["packets"], sent["fallback"]) == (1, 0)
    assert [p["eth.dst"] for p in capture.fields("eth.dst")] == [target.mac()]


def test_bridge(lab, sender):
    """The interface may be one that has others below it."""
    lab.host("online").ip_batch(["link add br7 type bridge forward_delay 0", "link set br7 up",
                                 "link set eth0 master br7", "addr add 10.95.5.1/24 dev br7"])
    lab.host("target").ip_batch(["addr add 10.95.5.2/24 dev eth0"])
    lab.host("online").check_output(["ping", "-c1", "-q", "10.95.5.2"])
    with sender.wire() as capture:
        sent = sender.counters(lab.host("online").check_output(
            [sender.tool, "send", CLIENT[4], 33800, "10.95.5.2", 6379, LARGE, f"gso={MSS}", "link"]))
    assert (sent["packets"], sent["fallback"]) == (45, 0)
    assert sum(int(p["tcp.len"]) for p in packets(capture)) == LARGE


def test_no_route_and_no_link(lab, sender):
    online = lab.host("online")
    online.check_output(["ip", "route", "add", "blackhole", sender.target.ip4])
    assert sender.send(40, "count=3", "link")["packets"] == 0
    online.check_output(["ip", "route", "del", "blackhole", sender.target.ip4])
    sender.know_neighbour("permanent")
    stream = online.popen(sender.argv(40, "count=40", "batch=1", "step", "link"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)

    def packets_sent(n):
        for _ in range(n):
            print(file=stream.stdin, flush=True)
            assert stream.stdout.readline() == "sent\n"
            time.sleep(0.05)
    packets_sent(10)
    online.check_output(["ip", "link", "set", "eth0", "down"])
    packets_sent(10)
    online.check_output(["ip", "link", "set", "eth0", "up"])
    packets_sent(20)
    sent = sender.counters(stream.communicate(timeout=PATIENCE)[0])
    assert 5 < sent["unreachable"] < 15
    assert sent["packets"] + sent["unreachable"] == 40 and sent["fallback"] < 15


def test_a_way_that_is_not_ethernet(lab, replay):
    """auto goes by raw sockets there; link says why it does not start."""
    online, target = lab.host("online"), lab.host("target")
    online.ip_batch(["tuntap add dev tun0 mode tun", "link set tun0 up", f"route add {target.ip4}/32 dev tun0"])
    words = ["-x", f"6379-{target.ip4}:6379", "-s", lab.host("assistant").ip4, "-L"]
    refused = Program(online, "tcpcopy", "--inject=link", *words)
    assert refused.process.wait(PATIENCE) == 1
    assert f'option --inject "link": the target {target.ip4} is not reached over Ethernet; accepted: raw, or auto' \
        in refused.log
    started = Program(online, "tcpcopy", *words)
    assert wait_until(lambda: "trying again" in started.log)
    started.stop()


# --- whole sessions


class Load:
    """Connections that a client keeps open and uses in turn, each command after the answer to the one before."""

    def __init__(self, lab, connections=4, pause=0.02):
        self.count, self.going, self.pause = 0, True, pause
        self.clients = [lab.host("client").popen(["redis-cli", "-h", lab.host("online").ip4], stdin=subprocess.PIPE,
                                                 stdout=subprocess.PIPE, bufsize=1) for _ in range(connections)]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while self.going:
            which = self.count % len(self.clients)
            client = self.clients[which]
            client.stdin.write(f"append log:{which} {self.count}.\n")
            client.stdin.flush()
            client.stdout.readline()
            self.count += 1
            time.sleep(self.pause)

    def go_on(self, commands):
        """Until so many more have been answered."""
        enough = self.count + commands
        assert wait_until(lambda: self.count >= enough)

    def stop(self):
        self.going = False
        self.thread.join(timeout=60)
        assert not self.thread.is_alive()
        for client in self.clients:
            client.stdin.close()
            client.wait(PATIENCE)
        return self.count


@pytest.mark.parametrize("way", ["raw", "link"])
@pytest.mark.parametrize("offload", [True, False])
def test_five_megabytes(lab, replay, way, offload):
    """The same bytes and headers, whoever segments."""
    lab.route_to_assistant("client")
    if not offload:
        for name in ("client", "online", "target"):
            lab.offload(name, False)
    online, target = lab.redis("online"), lab.redis("target")
    lab.host("online").check_output(["ping", "-c1", "-q", lab.host("target").ip4])
    r = replay(tcpcopy=["--inject", way])
    before = lab.host("target").nstat()
    captures = [lab.host(name).capture(f"src host {CLIENT[4]} and tcp dst port 6379") for name in ("online", "target")]
    value = lab.new_path("value")
    value.write_bytes(bytes((i * 7 + (i >> 8)) & 0xff for i in range(5_000_000)))
    assert "OK" in lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} -x set big < {value}").stdout
    assert drain(online, target) and closed(lab) and online.digest() == target.digest()
    assert lab.host("target").nstat()["TcpInCsumErrors"] == before["TcpInCsumErrors"]
    account = r.stop()
    assert account.outcomes() == {"complete": 1}
    names = ["ip.ttl", "ip.id", "ip.len", "tcp.seq_raw", "tcp.len", "tcp.options.timestamp.tsval",
             "tcp.checksum.status", "tcp.srcport"]
    client, replica = [[p for p in c.fields(*names, options=CHECKS) if p["tcp.len"] != "0"] for c in captures]
    assert {(p["ip.ttl"], p["tcp.srcport"]) for p in client} == {(p["ip.ttl"], p["tcp.srcport"]) for p in replica}
    sizes = [int(p["ip.len"]) for p in replica]
    if offload:
        assert (max(sizes) > 20_000) == (way == "link")
    else:
        assert max(sizes) <= 1500 and {p["tcp.checksum.status"] for p in replica} == {"1"}
        times = {p["tcp.seq_raw"]: p["tcp.options.timestamp.tsval"] for p in client}
        # what was held may carry a later one of the client's
        later = [int(p["tcp.options.timestamp.tsval"]) - int(times[p["tcp.seq_raw"]]) for p in replica]
        assert min(later) == 0 and {p["tcp.options.timestamp.tsval"] for p in replica} <= set(times.values()), later


def settle(lab, load, r, online, target):
    """The load has ended: all of it has arrived, once and in order, and no session was lost."""
    load.go_on(50)
    load.stop()
    assert drain(online, target) and closed(lab)
    assert online.digest() == target.digest()
    account = r.stop()
    assert account.outcomes() == {"complete": 4}
    return account


@pytest.fixture
def running(lab, replay):
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    lab.host("online").check_output(["ping", "-c1", "-q", lab.host("target").ip4])
    r = replay(tcpcopy=["--inject", "link"])
    load = Load(lab)
    load.go_on(10)
    yield load, r, online, target
    load.going = False
    load.thread.join(timeout=60)


def change_mac(lab):
    before = lab.host("target").mac()
    after = "02:aa:bb:cc:dd:" + before[-2:]
    lab.host("target").ip_batch([f"link set eth0 address {after}"])
    return after


def arriving_at(lab, mac, port=6379):
    with lab.host("target").capture(f"ether dst {mac} and tcp dst port {port} and src host {CLIENT[4]}") as capture:
        time.sleep(0.5)
    return len(capture.fields("frame.number"))


def test_mac_changes_and_is_announced(lab, running):
    load, r, online, target = running
    lab.host("target").sysctl(net__ipv4__conf__eth0__arp_notify=1)
    lab.host("online").sysctl(net__ipv4__neigh__eth0__locktime=0)
    mac = change_mac(lab)
    assert wait_until(lambda: arriving_at(lab, mac) > 5)
    account = settle(lab, load, r, online, target)
    assert account["sent.fallback"] < 20


def test_mac_changes_unannounced(lab, running):
    """Nobody says so: the kernel finds out because now and then a packet goes by its own way."""
    load, r, online, target = running
    lab.host("online").sysctl(net__ipv4__neigh__eth0__base_reachable_time_ms=1000,
                              net__ipv4__neigh__eth0__delay_first_probe_time=1,
                              net__ipv4__neigh__eth0__retrans_time_ms=100)
    lab.host("online").check_output(["ip", "neigh", "del", lab.host("target").ip4, "dev", "eth0"])
    load.go_on(20)      # the entry is a new one, with these times
    mac = change_mac(lab)
    # the target itself speaks to the assistant only, so the online server does not learn it from there
    assert wait_until(lambda: arriving_at(lab, mac) > 5)
    settle(lab, load, r, online, target)


def test_route_flaps(lab, running):
    load, r, online, target = running
    gateway = lab.add_host("gateway", "10.90.112.1")
    gateway.sysctl(net__ipv4__ip_forward=1, net__ipv4__conf__all__send_redirects=0,
                   net__ipv4__conf__eth0__send_redirects=0)
    for _ in range(3):
        before = gateway.nstat()["IpForwDatagrams"]
        lab.host("online").ip_batch([f"route add {lab.host('target').ip4}/32 via {gateway.ip4}"])
        assert wait_until(lambda: gateway.nstat()["IpForwDatagrams"] >= before + 10)
        lab.host("online").ip_batch([f"route del {lab.host('target').ip4}/32 via {gateway.ip4}"])
        load.go_on(20)
    account = settle(lab, load, r, online, target)
    assert 0 < account["sent.fallback"] < 100


def test_neighbour_is_deleted(lab, running):
    load, r, online, target = running
    for _ in range(5):
        lab.host("online").check_output(["ip", "neigh", "del", lab.host("target").ip4, "dev", "eth0"])
        load.go_on(10)
    account = settle(lab, load, r, online, target)
    assert account["sent.fallback"] >= 3


def test_interface_goes_down_and_comes_back(lab, running):
    load, r, online, target = running
    lab.host("online").ip_batch(["link set eth0 down"])
    time.sleep(0.7)
    lab.host("online").ip_batch(["link set eth0 up"])
    time.sleep(2)
    settle(lab, load, r, online, target)


def test_mtu_shrinks(lab, running):
    """Sessions that are open go on, and new ones keep to it too."""
    load, r, online, target = running
    for name in ("online", "target"):
        lab.offload(name, False)
    lab.host("online").ip_batch([f"route add {lab.host('target').ip4}/32 dev eth0 mtu 900"])
    load.go_on(20)
    assert drain(online, target)        # so tcpcopy has been told of the route
    with lab.host("target").capture(f"src host {CLIENT[4]} and tcp dst port 6379 and greater 800") as capture:
        value = lab.new_path("value")
        value.write_bytes(b"x" * 100_000)
        assert "OK" in lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} -x set big < {value}").stdout
        assert wait_until(lambda: target.cli("strlen", "big") == "100000")
    assert {p["ip.len"] for p in capture.fields("ip.len") if int(p["ip.len"]) > 850} == {"900"}
    load.stop()
    assert drain(online, target) and closed(lab)
    assert online.digest() == target.digest()
    assert r.stop().outcomes() == {"complete": 5}

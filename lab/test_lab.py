"""The lab tested by itself: sudo /usr/bin/python3 -m pytest lab/test_lab.py"""

import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from labnet import Lab, LabError                                    # noqa: E402
from labnet.lab import lab_directory                                # noqa: E402
from labnet.netns import namespaces, pids                           # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab:
        yield lab


PATIENCE = 60   # seconds for what must happen, on a machine that has other things to do


def icmp(kind, number):
    """An echo request; in IPv6 the kernel fills in the checksum."""
    words = (kind << 8, 0x1ab0, number)
    total = sum(words)
    return struct.pack("!4H", words[0], ~(total + (total >> 16)) & 0xffff, *words[1:])


def ping(host, address, count=20, interval=0.005, lost=lambda: 0):
    """Round-trip times in milliseconds of the pings that were answered. Waits for all that are not lost, however long the
    machine takes; where some are lost, a moment more for what must not come.
    """
    v6 = ":" in address
    with host.inside():
        wire = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW,
                             socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
    sent, answered = [], {}

    def hear(seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            wire.settimeout(max(deadline - time.monotonic(), 0.0001))
            try:
                packet = wire.recv(100)[0 if v6 else 20:]
            except TimeoutError:
                return
            kind, _, _, ours, number = struct.unpack("!BBHHH", packet[:8])
            if kind == (129 if v6 else 0) and ours == 0x1ab0:
                answered.setdefault(number, (time.monotonic() - sent[number]) * 1000)
    with wire:
        for number in range(count):
            sent.append(time.monotonic())
            wire.sendto(icmp(128 if v6 else 8, number), (address, 0))
            hear(interval)
        while len(answered) < count - lost() and time.monotonic() < sent[-1] + PATIENCE:
            hear(0.01)
        hear(0.3 if lost() else 0)
    return list(answered.values())


def transfer(sender, receiver, data):
    """Send data over TCP between two hosts; return what arrived."""
    with receiver.inside():
        listener = socket.create_server((receiver.ip4, 7000))
    with sender.inside():
        connection = socket.create_connection((receiver.ip4, 7000), timeout=10)
    accepted, _ = listener.accept()
    received = bytearray()

    def drain():
        while piece := accepted.recv(1 << 20):
            received.extend(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    reader.join(timeout=60)
    for each in (connection, accepted, listener):
        each.close()
    return bytes(received)


def gone(prefix, processes, timeout=PATIENCE):
    """Whether a lab is gone with its processes, or becomes so in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        alive = [pid for pid in processes if os.path.exists(f"/proc/{pid}")]
        if not namespaces(prefix) and not lab_directory(prefix).exists() and not alive:
            return True
        time.sleep(0.05)
    return False


def own(script):
    """Start a process that raises a lab and prints its prefix, then what `script` prints."""
    return subprocess.Popen(
        [sys.executable, "-c",
         f"import signal, sys, time; sys.path.insert(0, {str(HERE)!r})\n"
         # what runs in the background of a shell without job control is born deaf to it
         f"signal.signal(signal.SIGINT, signal.default_int_handler)\n"
         f"from labnet import Lab\n"
         f"with Lab() as lab:\n print(lab.prefix, flush=True)\n {script}"],
        stdout=subprocess.PIPE, text=True)


def test_hosts_have_the_addresses_and_reach_each_other(lab):
    expected = {"client": ("10.90.114.82", "fd90::114:82"),
                "online": ("10.90.111.142", "fd90::111:142"),
                "target": ("10.90.109.143", "fd90::109:143"),
                "assistant": ("10.90.110.143", "fd90::110:143")}
    assert {name: (host.ip4, host.ip6) for name, host in lab.hosts.items()} == expected
    for host in lab.hosts.values():
        for peer in lab.hosts.values():
            assert len(ping(host, peer.ip4, count=1)) == len(ping(host, peer.ip6, count=1)) == 1


def test_switch_has_no_interface_outside(lab):
    names = os.listdir("/sys/class/net")
    assert not set(names) & {*lab.hosts, "br0"}


def test_return_route(lab):
    lab.route_to_assistant("client")
    target = lab.host("target")
    assert "via 10.90.110.143" in target.check_output(["ip", "route", "get", "10.90.114.82"])
    assert "via fd90::110:143" in target.check_output(["ip", "route", "get", "fd90::114:82"])
    # the assistant is a black hole: nothing comes back
    assert ping(lab.host("client"), target.ip4, count=3, lost=lambda: 3) == []
    assert lab.host("assistant").nstat()["IpForwDatagrams"] == 0
    lab.host("target").ip_batch(["route del 10.90.114.82", "route del fd90::114:82"])


@pytest.mark.parametrize("direction", ["to", "from"])
def test_loss_is_counted_where_it_was_asked_for(lab, direction):
    host = f"loss{direction}"
    lab.add_host(host, "10.90.120.1" if direction == "to" else "10.90.120.2")
    client, there = lab.host("client"), lab.host(host)
    assert len(ping(client, there.ip4)) == 20
    lab.loss(host, direction, every=4, match="icmp type echo-request")
    other = {"to": there, "from": client}[direction]
    sender = {"to": client, "from": there}[direction]
    assert len(ping(sender, other.ip4, lost=lambda: 5)) == 15
    assert lab.loss_counters()[host, direction] == (20, 5)
    # pings the other way pass by the rule
    assert len(ping(other, sender.ip4)) == 20
    assert lab.loss_counters()[host, direction] == (20, 5)
    lab.loss(host, direction, 1.0)
    assert ping(sender, other.ip4, count=3, lost=lambda: 3) == []
    lab.loss_off(host)
    assert len(ping(sender, other.ip4)) == 20
    assert lab.loss_counters()[host, direction].dropped >= 8


def test_random_loss(lab):
    lab.loss("assistant", "to", 0.5, match="icmp type echo-request")
    answered = len(ping(lab.host("client"), lab.host("assistant").ip4, count=100, interval=0.002,
                        lost=lambda: lab.loss_counters()["assistant", "to"].dropped))
    seen, dropped = lab.loss_counters()["assistant", "to"]
    lab.loss_off("assistant")
    assert (seen, dropped) == (100, 100 - answered)
    assert 20 < dropped < 80


def test_delay_is_at_least_what_was_asked_for(lab):
    client, online = lab.host("client"), lab.host("online")
    for address in online.ip4, online.ip6:
        assert min(ping(client, address)) < 5
    relay = lab.delay("online", 5000)
    for address in online.ip4, online.ip6:
        times = ping(client, address)
        assert len(times) == 20 and min(times) >= 10
    lab.delay("online", 20000, direction="to")
    assert min(ping(client, online.ip4)) >= 20
    relay = lab.relay("online")
    assert relay.counters()["to"]["sent"] >= 20
    assert lab.delay_off("online")["to"]["lost"] == 0
    assert min(ping(client, online.ip4)) < 5


def test_relay_carries_super_packets_whole(lab):
    client, online = lab.host("client"), lab.host("online")
    data = random.Random(1).randbytes(32 << 20)
    relay = lab.delay("online", 200)
    before = client.nstat()
    assert transfer(client, online, data) == data
    counts = relay.counters()["to"]
    assert counts["bytes"] / counts["received"] > 3000      # larger than any single segment
    for fault in ("lost", "queue_dropped", "send_failed", "truncated", "kernel_dropped"):
        assert counts[fault] == 0
    assert online.nstat()["TcpInCsumErrors"] == client.nstat()["TcpInCsumErrors"] == 0
    assert client.nstat()["TcpOutSegs"] > before["TcpOutSegs"]
    lab.delay_off("online")


def test_relay_loses_duplicates_and_reorders(lab):
    client, online = lab.host("client"), lab.host("online")
    relay = lab.faults("online", to={"loss": 0.2, "dup": 0.2, "reorder": 0.2}, seed=7)
    out = client.run(["ping", "-n", "-c", 100, "-i", "0.002", "-W", "0.3", online.ip4]).stdout
    counts = relay.counters()["to"]
    assert counts["sent"] == counts["received"] - counts["lost"] + counts["duplicated"]
    for fault in "lost", "duplicated", "reordered":
        assert 5 < counts[fault] < 50
    assert 0 < out.count("DUP!") <= counts["duplicated"]
    data = random.Random(2).randbytes(4 << 20)
    lab.delay("online", 100, loss=0.01, dup=0.01, reorder=0.01)
    assert transfer(client, online, data) == data
    lab.delay_off("online")


def test_offload_off_cuts_super_packets(lab):
    client, online = lab.host("client"), lab.host("online")
    sizes = {}
    for on in (True, False):
        for name in ("client", "online"):
            lab.offload(name, on)
        with online.capture("tcp port 7000 and dst host 10.90.111.142") as capture:
            transfer(client, online, bytes(4 << 20))
        sizes[on] = max(int(packet["tcp.len"]) for packet in capture.fields("tcp.len"))
    for name in ("client", "online"):
        lab.offload(name, True)
    assert sizes[True] > 3000 and sizes[False] <= 1460


def test_servers_answer(lab):
    client, target = lab.host("client"), lab.host("target")
    redis, nginx = lab.redis("target"), lab.nginx("target", workers=2)
    for address in target.ip4, target.ip6:
        assert client.check_output(["redis-cli", "-h", address, "set", "k", "v"]).strip() == "OK"
        url = f"http://[{address}]" if ":" in address else f"http://{address}"
        assert client.check_output(["curl", "-gs", url]) == "it is answering"
        body = lab.directory / "body"
        body.write_bytes(bytes(3_000_000))
        assert client.check_output(["curl", "-gs", "-w", "%{http_code}", "-T", body,
                                    url + "/upload/"]) == "204"
    assert redis.calls()["set"] == 2
    assert len(redis.digest()) == 40 and set(redis.digest()) != {"0"}
    uploads = [line for line in nginx.requests() if '"PUT' in line]
    assert len(uploads) == 2 and all(int(line.split()[-2]) > 3_000_000 for line in uploads)
    assert nginx.status()["requests"] >= 5
    with redis.monitor() as monitor:
        client.check_output(["redis-cli", "-h", target.ip4, "set", "date", "today"])
        assert '10.90.114.82:' in (line := monitor.stdout.readline()) and '"date" "today"' in line
        monitor.terminate()
    memcached, postgresql = lab.memcached("target"), lab.postgresql("target")
    postgresql.bench_tables()
    client.check_output([postgresql.bin / "pgbench", "-h", target.ip4, "-U", "postgres", "-n",
                         "-t", "10", "postgres"])
    assert postgresql.sql("select count(*) from pgbench_history") == ["10"]
    with client.inside():
        connection = socket.create_connection((target.ip4, 11211), timeout=10)
    connection.sendall(b"set k 0 0 3\r\nabc\r\n")
    assert connection.recv(100) == b"STORED\r\n"
    connection.close()
    assert memcached.ask("get k") == b"VALUE k 0 3\r\nabc\r\nEND\r\n"
    assert memcached.stats()["cmd_set"] == "1"
    postgresql.stop()
    with pytest.raises(LabError, match="in use"):
        lab.redis("target")
    redis.stop()
    nginx.stop()
    assert not target.listening(6379) and not target.listening(80)


def test_capture_and_counters(lab):
    client, online = lab.host("client"), lab.host("online")
    before = online.nstat()
    with online.capture("icmp") as capture:
        assert len(ping(client, online.ip4, count=5)) == 5
    packets = capture.fields("ip.src", "icmp.type", display_filter="icmp.type == 8")
    assert packets == [{"ip.src": "10.90.114.82", "icmp.type": "8"}] * 5
    assert (capture.captured, capture.dropped) == (10, 0)
    assert online.nstat()["IcmpInEchos"] == before["IcmpInEchos"] + 5


def test_labs_side_by_side(lab):
    with Lab() as other:
        assert other.prefix != lab.prefix
        mine, its = lab.redis("online"), other.redis("online")
        lab.host("client").check_output(["redis-cli", "-h", "10.90.111.142",
                                         "set", "whose", "mine"])
        assert mine.cli("get", "whose") == "mine"
        assert its.cli("get", "whose") == ""
        its_pid = its.pid
    assert gone(other.prefix, [its_pid], timeout=0.1)
    assert mine.cli("get", "whose") == "mine"
    mine.stop()


def test_attach(lab):
    lab.loss("client", "to", 0.25)
    lab.delay("client", 100)
    attached = Lab.attach(lab.prefix)
    assert list(attached.hosts) == list(lab.hosts)
    attached.loss("client", "from", 0)
    assert set(attached.loss_counters()) >= {("client", "to"), ("client", "from")}
    assert attached.delay_off("client")["to"]["lost"] == 0
    attached.loss_off()
    lab._relays.clear()     # taken away by the other
    assert len(ping(lab.host("client"), "10.90.111.142")) == 20


def test_exception_leaves_nothing():
    with pytest.raises(ZeroDivisionError):
        with Lab() as lab:
            pid = lab.redis("online").pid
            1 / 0
    assert gone(lab.prefix, [pid], timeout=0.1)


def test_lab_that_cannot_be_raised_leaves_nothing(monkeypatch):
    def fail(self, *args):
        raise LabError("no")
    monkeypatch.setattr(Lab, "add_host", fail)
    lab = Lab()
    with pytest.raises(LabError):
        lab.up(watched=True)
    assert gone(lab.prefix, [], timeout=0.1)


def test_name_is_taken(lab):
    with pytest.raises(LabError, match="up already"):
        Lab(lab.prefix).up()
    assert len(namespaces(lab.prefix)) == len(lab.hosts) + 1


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_owner_leaves_nothing(signo):
    owner = own("lab.redis('online'); lab.delay('client', 100)\n"
                " lab.host('target').popen(['sleep', '1000'])\n"
                " print('up', flush=True); time.sleep(1000)")
    prefix = owner.stdout.readline().strip()
    assert owner.stdout.readline().strip() == "up"
    processes = [pid for netns in namespaces(prefix) for pid in pids(netns)]
    assert len(processes) == 3
    owner.send_signal(signo)
    owner.wait(30)
    owner.stdout.close()
    assert gone(prefix, processes)


@pytest.mark.parametrize("moment", [0.02, 0.05, 0.08, 0.12, 0.16])
def test_owner_killed_while_it_raises_the_lab(moment):
    owner = own("time.sleep(1000)")
    prefix = f"lab{owner.pid}"
    deadline = time.monotonic() + PATIENCE
    while not lab_directory(prefix).exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(moment)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert gone(prefix, [])
    time.sleep(0.3)
    assert gone(prefix, [], timeout=0.1)


def test_by_hand():
    prefix = f"hand{os.getpid()}"

    def run(*args, code=0):
        done = subprocess.run([HERE / "lab", args[0], "--prefix", prefix, *args[1:]], text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    try:
        assert "redis-server[" in run("up", "--redis", "online", "--route")
        assert "up already" in run("up", code=1)
        assert run("exec", "client", "--", "redis-cli", "-h", "10.90.111.142", "ping") == "PONG\n"
        run("loss", "online", "to", "1")
        run("exec", "client", "--", "ping", "-c1", "-W0.1", "10.90.111.142", code=1)
        run("loss", "online")
        run("delay", "online", "10000")
        assert min(ping(Lab.attach(prefix).host("client"), "10.90.111.142", count=3)) >= 20
        status = run("status")
        assert re.search(r"loss to online: ([1-9]) of \1 packets dropped", status)
        assert "relay from online" in status
        run("delay", "online")
        assert "no host 'nowhere'" in run("exec", "nowhere", "--", "true", code=1)
    finally:
        run("down")
    assert gone(prefix, [], timeout=0.1)
    assert "no lab" in run("down", code=1)

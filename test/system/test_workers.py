#!/usr/bin/python3
"""Several workers: the spread of connections over them, in the kernel and in C, and what they do together."""
import os
import pathlib
import re

import pytest

from conftest import PATIENCE, Program, wait_until
from test_intercept import FILTER, TARGET, FakeTcpcopy, Flow, endpoint, opened, start
from workload import Trouble, all_complete, appends, ask, closed, connect, equal, pair

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


def workers(capture):
    (line,) = [x for x in capture.end() if x.startswith("workers ")]
    return int(re.search(r"strayed=(\d+)", line)[1]), [int(n) for n in re.findall(r"worker\d+=(\d+)", line)]


def test_the_kernel_spreads_as_we_do(hosts, mode):
    a, b = hosts
    cap = b.capture("b0", "tcp or ip6", 64 * 6 + 64, "quiet", "workers=3", "seed=0x1234567", "ring=1M", mode=mode)
    a.python(PACKETS.format())
    strayed, counts = workers(cap)
    assert strayed == 0
    assert sum(counts) > 64 * 6                         # requests, and resets to them
    assert min(counts) > sum(counts) / 6


def test_the_spread_by_port(hosts):
    a, b = hosts
    cap = b.capture("b0", "tcp dst port 6379", 64 * 4, "incoming", "quiet", "workers=5", "byport")
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
    assert sum(taken(account)) == account["engine.sessions_opened"] == 16 and min(taken(account)) > 0
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
        client.communicate("\n", timeout=PATIENCE)
    account = run.stop()
    assert account["engine.sessions_opened"] >= 80 and account["declined.source"] == 0
    assert min(taken(account)) > 0


@pytest.mark.parametrize("here, there", [(1, 2), (2, 1), (2, 3)])
def test_workers_on_both_sides(lab, replay, here, there):
    online, target = pair(lab)
    run = replay(tcpcopy=["--workers", here], intercept=["--workers", there])
    trouble = Trouble(lab.host("target"))
    appends(lab, 16, 200)
    assert equal(online, target) and closed(lab)
    account = run.stop()
    assert all_complete(account)
    assert account["channel.connects"] == here * there
    assert account["remote.unowned"] == 0
    assert trouble() == {}
    assert run.intercept_log.count(" balanced") == 3 and "handed over to the worker" not in run.intercept_log


def test_intercept_comes_back_with_another_number_of_workers(lab, replay):
    online, target = pair(lab)
    run = replay(tcpcopy=["--workers", 2], intercept=["--workers", 3])
    connection = connect(lab)
    ask(connection, "append k 1")
    run.intercept.kill()
    run.intercept = Program(lab.host("assistant"), "intercept", "-i", "eth0", "-F", "tcp", "and", "src", "port", 6379,
                            "--workers", 2, "--report", run.intercept_report_path).wait_ready()
    assert wait_until(lambda: run.tcpcopy.log.count(": connected (") == 6 + 4)
    ask(connection, "append k 2")
    connection.close()
    appends(lab, 8, 100)
    assert equal(online, target) and closed(lab)
    assert all_complete(run.stop())


@pytest.mark.parametrize("args", [FILTER, ["-i", "eth0"]], ids=["filter", "announced"])
def test_a_tcpcopy_that_knows_nothing_of_workers(net, args):
    """It has one connection, and the responses of all workers come by it."""
    intercept = start(net, *args, "--workers", 3)
    tcpcopy = FakeTcpcopy(net)
    tcpcopy.send(TARGET, endpoint(net.host("target").ip4, 6379))
    tcpcopy.settle()
    for _ in range(12):
        opened(tcpcopy, Flow(net))
    log = intercept.stop()
    assert int(re.search(r"(\d+)  segments handed over to the worker", log)[1]) > 0
    assert log.count(" balanced") == 3


def test_both_kinds_of_tcpcopy_at_once(lab, replay):
    online, target = pair(lab)
    run = replay(tcpcopy=["--workers", 2], intercept=["--workers", 3])
    FakeTcpcopy(lab).settle()
    old = FakeTcpcopy(lab)
    old.settle()
    appends(lab, 12, 100)
    assert equal(online, target) and closed(lab)
    old.socket.close()
    assert all_complete(run.stop())


def test_a_wrong_place(net):
    """A worker that there is not, half of a PLACE, silence: each costs its own connection only."""
    intercept = start(net, *FILTER, "--workers", 2)
    for start_of in (b"\x0d\0\0\2\0\7", b"\x0d\0\0\3\0\1", b"\x0d\0"):
        stray = FakeTcpcopy(net, hello=None)
        stray.socket.sendall(start_of)
        assert stray.read()[0] is None
    opened(FakeTcpcopy(net), Flow(net))
    log = intercept.stop()
    assert "no worker 7" in log and "bad frame: PLACE" in log and "no HELLO in time" in log


def processors(program):
    """Of each thread that has not all that the process may have."""
    own, everything = [], None
    for task in pathlib.Path(f"/proc/{program.process.pid}/task").iterdir():
        allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", (task / "status").read_text())[1]
        if task.name == str(program.process.pid):
            everything = allowed
        else:
            own.append(allowed)
    return [allowed for allowed in own if allowed != everything]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: pinned or not, it is the same")
def test_busy_polling_on_chosen_processors(lab, replay):
    online, target = pair(lab)
    chosen = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2]]
    args = ["--workers", 2, "--busy-poll", "--cpus", ",".join(chosen)]
    run = replay(tcpcopy=args, intercept=args)
    assert "busy polling" in run.tcpcopy.log and "busy polling" in run.intercept.log
    for program in (run.tcpcopy, run.intercept):
        assert wait_until(lambda: sorted(processors(program)) == chosen), processors(program)
    appends(lab, 4, 20)
    assert equal(online, target) and closed(lab)
    assert all_complete(run.stop())

#!/usr/bin/python3
"""The ways to capture under load: every request is replicated once, whichever socket it came by."""

import re
import signal
import threading

import pytest
from conftest import run_all, wait_until
from test_walkthrough import drain
from workload import appends, as_the_benchmark_ends, closed, equal, pace, writes


@pytest.mark.parametrize("way", ["auto", "ring", "packet", "alternate"])
def test_load(lab, replay, way):
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    before = lab.host("target").nstat()
    r = replay(tcpcopy=["--capture", way, "-i", "eth0"])
    for size, count in (("3", "20000"), ("4000", "5000")):
        run_all(lab.host("client"), [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set,get", "-n", count,
                                      "-c", "20", "-r", "1000", "-d", size, "-q"]])
        assert drain(online, target), r.tcpcopy.log
    assert closed(lab)
    assert online.digest() == target.digest()
    after = lab.host("target").nstat()
    account = r.stop()
    assert set(account.outcomes()) == {"complete"}
    dropped = sum(int(n) for n in re.findall(r"(\d+) dropped by the kernel", account.log))
    if not dropped:
        assert account["engine.duplicate_bytes"] == 0
        assert account["engine.lost_bytes"] == 0
    for name in ("TcpInCsumErrors", "TcpExtTCPChallengeACK", "TcpExtPAWSEstab"):
        assert after.get(name, 0) == before.get(name, 0), name
    changed = re.search(r"changed to or from it (\d+) times", account.log)
    if way == "alternate":
        assert int(changed[1]) > 20
    elif way != "auto":
        assert not changed or int(changed[1]) == 0


@pytest.mark.parametrize("way", ["ring", "packet", "alternate"])
def test_connection_per_request(lab, replay, way):
    """SYN, request and FIN in quick succession: their order holds, or sessions would not end as they should."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(tcpcopy=["--capture", way])
    run_all(lab.host("client"), [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set", "-n", "5000",
                                  "-c", "5", "-k", "0", "-r", "1000", "-q"]])
    assert drain(online, target) and closed(lab)
    assert online.digest() == target.digest()
    account = r.stop()
    assert account["engine.sessions_opened"] >= 5000 and as_the_benchmark_ends(account)


def test_big_tcp(lab, replay):
    """Packets longer than the IPv6 header can say carry one more header, which filters do not expect."""
    lab.route_to_assistant("client")
    for host in (*lab.hosts.values(), lab._switch):
        for line in host.check_output(["ip", "-o", "link"]).splitlines():
            device = line.split(":")[1].split("@")[0].strip()
            if device != "lo":
                host.check_output(["ip", "link", "set", device, "gso_max_size", "300000", "gro_max_size", "300000"])
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(v6=True)
    value = lab.new_path("value")
    value.write_bytes(bytes((i * 7 + (i >> 8)) & 0xff for i in range(8_000_000)))
    wire = lab.host("online").capture("ip6[6] = 0")
    done = lab.host("client").sh(f"redis-cli -h {lab.host('online').ip6} -x set big < {value}")
    assert "OK" in done.stdout
    assert wire.fields("frame.number"), "no packet was large enough"
    assert drain(online, target)
    assert online.digest() == target.digest()
    r.stop()


def test_super_packets_outlast_a_stop(lab, replay):
    """More of them than the rings could hold: they are with the socket, whose buffer takes memory only then."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(tcpcopy=["-m", "1G", "-i", "eth0"])
    pace(lab, 60)       # most of it is still to come when the first hundred are there
    load = threading.Thread(target=appends, args=(lab, 10, 120), kwargs={"size": 100_000}, daemon=True)
    load.start()
    assert wait_until(lambda: writes(target).get("append", 0) > 100, step=0.01)
    r.tcpcopy.process.send_signal(signal.SIGSTOP)
    load.join()
    behind = writes(online)["append"] - writes(target)["append"]
    r.tcpcopy.process.send_signal(signal.SIGCONT)
    assert equal(online, target)
    account = r.stop()
    assert behind * 100_000 > 64 << 20, "or the rings would have been enough"
    assert account["capture.kernel_drops"] == 0
    assert account["engine.lost_bytes"] == 0, account.log
    assert sum(i["ring_bytes"] for i in account.report["interfaces"]) <= 64 << 20     # all that is there at rest

#!/usr/bin/python3
"""More than can be carried: what is held is bounded, what is left out is counted, and it ends with the pressure."""

import os
import re
import signal
import subprocess
import threading
import time

from conftest import SANITIZED, wait_until
from faults import World, resident
from workload import connect

MB = 1 << 20


def flood(lab, connections, size):
    """Each connection sends one large value. All are written at once, and none waits for an answer."""
    opened = [connect(lab) for _ in range(connections)]
    value = b"x" * size

    def send(connection, number):
        connection.sendall(b"*3\r\n$3\r\nset\r\n$%d\r\n%s\r\n$%d\r\n" %
                           (len(b"flood%d" % number), b"flood%d" % number, size) + value + b"\r\n")
    threads = [threading.Thread(target=send, args=(c, n)) for n, c in enumerate(opened)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return opened


def test_memory_ceiling(lab):
    """The target stands still: new sessions are declined, the slowest are shed, the memory comes back."""
    world = World(lab, tcpcopy=["-m", "8M"])
    tcpcopy = world.replay.tcpcopy
    before, most = resident(tcpcopy), 0
    os.kill(world.target.pid, signal.SIGSTOP)
    opened = flood(lab, 60, MB)
    for _ in range(10):
        most = max(most, resident(tcpcopy))
        time.sleep(0.05)
    # more of them than the rest of the memory holds: near its end new ones are declined, and hold nothing
    late = [flood(lab, 1, MB // 4)[0] for _ in range(40)]
    most = max(most, resident(tcpcopy))
    assert most < before + 8 * 1.25 + (64 if SANITIZED else 4)
    os.kill(world.target.pid, signal.SIGCONT)
    world.recovered()
    for connection in opened + late:
        connection.close()
    rest = 64 if SANITIZED else 4
    assert wait_until(lambda: resident(tcpcopy) < before + rest), (before, most, resident(tcpcopy))
    account = world.finish()
    assert account.outcomes().get("no-memory", 0) > 0, account.log
    assert account["declined.memory"] > 0, account.log
    assert account["engine.lost_bytes"] + account["engine.unjoined_bytes"] > 0


def test_ring_full(lab):
    """tcpcopy stands still at full rate: the kernel drops, says how much, and requests behind the gap are joined."""
    world = World(lab, tcpcopy=["-B", "1M", "--capture", "ring"])
    work = lab.host("client").popen(["redis-benchmark", "-h", lab.host("online").ip4, "-q", "-t", "set", "-d", "2000",
                                     "-r", "1000", "-c", "20", "-n", "60000"], stdout=subprocess.DEVNULL)
    pid = world.replay.tcpcopy.process.pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(pid, signal.SIGCONT)
    world.recovered()
    assert work.wait(60) == 0
    account = world.finish()
    drops = sum(int(n) for n in re.findall(r"packets, (\d+) dropped by the kernel", account.log))
    assert drops > 0, account.log
    assert world.missing > 0
    assert account["engine.unjoined_bytes"] + account["engine.lost_bytes"] > 0
    assert account.outcomes().get("capture-hole", 0) + account["engine.sessions_joined"] > 0, account.log


def test_channel_full(lab):
    """The way back is narrow: records are merged, none that matters is lost, and everything is replicated."""
    lab.host("assistant").sysctl(net__ipv4__tcp_wmem="4096 16384 65536")    # what the kernel holds is not merged
    world = World(lab, tcpcopy=["-W"])
    lab.faults("assistant", from_={"rate": 300e3, "limit": 20000})
    work = lab.host("client").popen(["redis-benchmark", "-h", lab.host("online").ip4, "-q", "-t", "set",
                                     "-r", "1000", "-c", "50", "-n", "150000"], stdout=subprocess.DEVNULL)
    assert work.wait(60) == 0
    lab.delay_off("assistant")
    world.recovered()
    account = world.finish()
    assert world.missing == 0, account.log
    assert "records merged into another" in world.replay.intercept_log, world.replay.intercept_log
    assert set(account.outcomes()) == {"complete"}, account.log


def test_target_refuses(lab):
    """No storm of SYNs at a target where nobody listens: it is asked from time to time, until somebody does."""
    world = World(lab, load={"connections": 30, "per_connection": 1, "think": 0.02})
    world.target.kill()
    assert wait_until(lambda: lab.host("target").nstat()["TcpOutRsts"] >= 16)
    before, done = lab.host("target").nstat()["TcpOutRsts"], world.load.answered
    assert wait_until(lambda: world.load.answered > done + 1000)
    resets, connections = lab.host("target").nstat()["TcpOutRsts"] - before, world.load.answered - done
    world.target.start()
    world.recovered()
    account = world.finish()
    assert resets < connections / 4, (resets, connections)
    assert account["declined.refusing"] > 0, account.log

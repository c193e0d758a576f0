#!/usr/bin/python3
"""More than can be carried: what is held is bounded, what is left out is counted, and it ends with the pressure."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest
from conftest import SANITIZED, wait_until
from faults import World, forget_peak, peak, resident
from workload import connect, writes

HERE = pathlib.Path(__file__).parent
MB = 1 << 20
MANY = 300      # seconds for a hundred thousand requests on a busy machine


def flood(lab, connections, size, port=6379):
    """Each connection sends one large value; all are written at once. The online server has them all when this ends."""
    opened = [connect(lab, port, timeout=60) for _ in range(connections)]
    value, answers = b"x" * size, []

    def send(connection, number):
        connection.sendall(b"*3\r\n$3\r\nset\r\n$%d\r\n%s\r\n$%d\r\n" %
                           (len(b"flood%d" % number), b"flood%d" % number, size) + value + b"\r\n")
        answers.append(connection.recv(100))
    threads = [threading.Thread(target=send, args=(c, n)) for n, c in enumerate(opened)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [b"+OK\r\n"] * connections
    return opened


@pytest.mark.parametrize("segments", ["of one MSS", "super-packets"])
def test_memory_ceiling(lab, segments):
    """The target stands still: those who hold most are shed, nobody is declined, and the memory comes back."""
    lab.offload("online", segments == "super-packets")
    world = World(lab, tcpcopy=["-m", "8M", "-B", "64M"])
    tcpcopy, limit, aside, rest = world.replay.tcpcopy, 8 * 1.25, 64 / 4, 64 if SANITIZED else 4
    before = resident(tcpcopy)
    forget_peak(tcpcopy)
    os.kill(world.target.pid, signal.SIGSTOP)
    opened = flood(lab, 60, MB)
    opened += flood(lab, 20, MB // 4)
    assert wait_until(lambda: tcpcopy.status()["account"]["ended"]["no-memory"] > 0), world.logs()
    most = peak(tcpcopy)
    assert most < before + limit + aside + rest
    os.kill(world.target.pid, signal.SIGCONT)
    world.recovered()
    for connection in opened:
        connection.close()
    assert wait_until(lambda: resident(tcpcopy) < before + (limit if segments == "super-packets" else 0) + rest), \
        (before, most, resident(tcpcopy))
    account = world.finish()
    assert account.outcomes().get("no-memory", 0) > 0, account.log
    assert account["declined.memory"] == 0, account.log
    assert account["engine.lost_bytes"] + account["engine.unjoined_bytes"] > 0


def test_a_target_that_is_never_heard(lab):
    """Nothing comes back from a second rule's target. Its sessions fill the memory; those of the first lose nothing."""
    lab.redis("online", port=6380)
    world = World(lab, tcpcopy=["-m", "8M", "-x", f"6380-{lab.host('target').ip4}:6380"])
    tcpcopy, answered = world.replay.tcpcopy, world.load.answered
    opened, shed = [], 0
    while (not shed or world.load.answered < answered + 2000) and len(opened) < 2000:
        opened += flood(lab, 10, MB // 8, 6380)
        shed = tcpcopy.status()["account"]["ended"]["no-memory"]
    world.recovered()
    for connection in opened:
        connection.close()
    world.load.stop()
    assert wait_until(lambda: world.behind() == 0), world.logs()
    account = world.replay.stop()
    assert account.outcomes()["no-memory"] > 0 and account["declined.memory"] == 0, account.log
    assert set(account.outcomes()) <= {"complete", "no-memory", "shutdown"}, account.log


def crafters(lab, number):
    """Hosts of clients that make their segments themselves, of which their kernels know nothing."""
    names = [f"crafter{n}" for n in range(number)]
    for n, name in enumerate(names):
        lab.add_host(name, f"10.90.115.{20 + n}")
        lab.host(name).check_output(["nft", "add table inet crafted; add chain inet crafted out { type filter hook output "
                                     "priority 0; }; add rule inet crafted out tcp sport 50000 tcp flags rst ip id 0 drop"])
    lab.route_to_assistant(*names)
    return names


def craft(lab, name, case):
    """What one of them does, as a process: a function of crafted.py."""
    host = lab.host(name)
    return host.popen(["/usr/bin/python3", HERE / "crafted.py", host.ip4, lab.host("online").ip4, 6379, 50000, case])


def test_a_client_that_makes_work(lab):
    """Tens of thousands of single bytes, each behind a hole of its own: nobody else's copies fall behind for it."""
    name, = crafters(lab, 1)
    world = World(lab)
    process, most = craft(lab, name, "crumbs"), 0
    while process.poll() is None:
        most = max(most, world.behind())
        time.sleep(0.05)
    answered = world.load.answered
    world.load.stop()
    assert wait_until(lambda: world.behind() == 0), world.logs()
    account = world.replay.stop()
    assert account["engine.captured_data"] > answered + 60_000
    assert account["capture.kernel_drops"] == 0
    assert most < answered / 4, (most, answered)
    assert set(account.outcomes()) <= {"complete", "capture-hole", "shutdown", "server-reset"}, account.log


def test_clients_that_park_memory(lab):
    """Three clients fill the memory with what lies behind holes in their streams. Three hundred others, whose connections
    begin and end all the time, lose nothing and are never declined.
    """
    parkers = crafters(lab, 3)
    world = World(lab, tcpcopy=["-m", "8M"], load={"connections": 300, "think": 0.5, "per_connection": 4})
    tcpcopy = world.replay.tcpcopy
    running = [craft(lab, name, "parked") for name in parkers]
    try:
        assert wait_until(lambda: tcpcopy.status()["account"]["ended"]["no-memory"] > 0), world.logs()
        answered = world.load.answered
        assert wait_until(lambda: world.load.answered > answered + 3000)
        held = tcpcopy.status()["account"]["live"]["memory"]
    finally:
        for process in running:
            process.terminate()
            process.wait()
    world.load.stop()
    assert wait_until(lambda: world.behind() == 0), world.logs()
    account = world.replay.stop()
    assert held > 2 * MB
    assert account["declined.memory"] == 0, account.log
    outcomes = account.outcomes()
    ended = {name: outcomes.pop(name, 0) for name in ("no-memory", "capture-hole", "shutdown")}
    assert set(outcomes) == {"complete"} and 0 < ended["no-memory"] and sum(ended.values()) <= 2 * len(parkers), account.log


def test_ring_full(lab):
    """tcpcopy stands still at full rate: the kernel drops, says how much, and requests behind the gap are joined."""
    world = World(lab, tcpcopy=["-B", "1M", "--capture", "ring"])
    pid = world.replay.tcpcopy.process.pid
    os.kill(pid, signal.SIGSTOP)
    work = lab.host("client").popen(["redis-benchmark", "-h", lab.host("online").ip4, "-q", "-t", "set", "-d", "2000",
                                     "-r", "1000", "-c", "20", "-n", "60000"], stdout=subprocess.DEVNULL)
    assert wait_until(lambda: writes(world.online).get("set", 0) > 5000)     # of 2000 bytes, for a ring of 1 MB
    os.kill(pid, signal.SIGCONT)
    world.recovered()
    assert work.wait(MANY) == 0
    account = world.finish()
    drops = sum(int(n) for n in re.findall(r"packets, (\d+) dropped by the kernel", account.log))
    assert drops > 0, account.log
    assert sum(writes(world.target).values()) < sum(writes(world.online).values())
    assert account["engine.unjoined_bytes"] + account["engine.lost_bytes"] > 0
    assert account.outcomes().get("capture-hole", 0) + account["engine.sessions_joined"] > 0, account.log


def test_channel_full(lab):
    """The way back is narrow: records are merged, none that matters is lost, and everything is replicated."""
    lab.host("assistant").sysctl(net__ipv4__tcp_wmem="4096 16384 65536")    # what the kernel holds is not merged
    world = World(lab, tcpcopy=["-W"])
    lab.faults("assistant", from_={"rate": 300e3, "limit": 20000})
    work = lab.host("client").popen(["redis-benchmark", "-h", lab.host("online").ip4, "-q", "-t", "set",
                                     "-r", "1000", "-c", "50", "-n", "150000"], stdout=subprocess.DEVNULL)
    assert work.wait(MANY) == 0
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
    # The target's resets alone do not say that it has refused 16 connections: it resets those that it had, too.
    assert wait_until(lambda: world.replay.tcpcopy.status()["account"]["declined"]["refusing"])
    begun = time.monotonic()
    asked = world.replay.tcpcopy.status()["account"]["live"]["sessions"]    # before that; their resets are to come
    before, done = lab.host("target").nstat()["TcpOutRsts"], world.load.answered
    assert wait_until(lambda: world.load.answered > done + 1000)
    resets, seconds = lab.host("target").nstat()["TcpOutRsts"] - before, time.monotonic() - begun
    world.target.start()
    world.recovered()
    account = world.finish()
    # asked each 0.1 s, and not for each of 1000 connections
    assert resets <= asked + seconds * 10 + 1, (resets, asked, seconds)
    assert account["declined.refusing"] > 0, account.log

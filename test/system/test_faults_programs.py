#!/usr/bin/python3
"""Programs that are killed, hosts that are cut off, limits that are reached, a clock that is set: under load, and
afterwards replication is back, nothing is leaked, and no connection is left half-open on the target.
"""

import os
import pathlib
import re
import resource
import signal
import socket
import time

import pytest
from conftest import BIN, PATIENCE, SANITIZED, Replay, wait_until
from faults import FAULTS, World, descriptors
from workload import Trouble, ask, closed, connect, pair

def unchanged(world, before):
    """Neither descriptors nor memory have grown with the fault."""
    def same():
        now = world.resources()
        return all(now[name][0] <= before[name][0] for name in now) and \
            all(now[name][1] < before[name][1] + (64 if SANITIZED else 8) for name in now)
    assert wait_until(same), (before, world.resources())
    return True


@pytest.mark.parametrize("what", ["intercept", "target application"])
def test_killed_and_restarted(lab, what):
    world = World(lab)
    before = world.resources()
    world.hit(FAULTS[f"{what} killed"])
    unchanged(world, before)
    account = world.finish()
    if what == "intercept":     # sessions outlive their assistant, and those that begin meanwhile wait for it
        assert account["channel.losses_of_connection"] == 1
        assert world.missing == 0, account.log
        assert set(account.outcomes()) == {"complete"}, account.log


@pytest.mark.parametrize("both", [False, True])
def test_what_a_killed_tcpcopy_leaves_is_reset_when_the_target_speaks(lab, both):
    """Also when intercept is killed after it, and finds what it knew in the file of --state."""
    state = lab.new_path("state")
    world = World(lab, load={"connections": 5}, intercept=["--state", state])
    left = [connect(lab) for _ in range(5)]
    for number, connection in enumerate(left):
        ask(connection, f"append left{number} x")
    established = ["ss", "-Htn", "state", "established", "sport", "=", ":6379", "dst", lab.host("client").ip4]
    assert wait_until(lambda: len(lab.host("target").check_output(established).splitlines()) >= 10)
    before = world.resources()
    world.replay.tcpcopy.kill()
    for connection in left:
        connection.close()      # nobody is there to see it
    if both:
        assert wait_until(lambda: state.exists() and state.stat().st_size >= 24 + 5 * 64)
        world.replay.restart("intercept")
    world.replay.tcpcopy = world.replay.tcpcopy.again().wait_ready()
    world.recovered()
    if not both:
        unchanged(world, before)
    world.target.cli("config", "set", "timeout", "1")      # the load is never idle so long
    world.load.stop()
    assert closed(lab), lab.host("target").check_output(["ss", "-tn"])
    account = world.replay.stop()
    assert account["strays.reset"] >= 5, account.log
    assert "segments without a WATCH, reported as strays" in world.replay.intercept_log


def test_idle_connections_are_announced_again(lab):
    """Nothing else wakes tcpcopy: it announces more of them than one portion holds to the new intercept."""
    pair(lab)
    replay = Replay(lab)
    idle = [connect(lab) for _ in range(400)]
    for connection in idle:
        ask(connection, "get nothing")

    def watches():
        return replay.intercept.status()["account"]["waiting"]["watches"]
    assert wait_until(lambda: watches() == len(idle))
    replay.restart("intercept")
    assert wait_until(lambda: watches() == len(idle)), replay.tcpcopy.log
    for connection in idle:
        connection.close()
    assert closed(lab)
    assert replay.stop().outcomes() == {"complete": len(idle)}


def test_cuts(lab):
    """A second without any one of the ways: everything arrives, once and in order."""
    world = World(lab)
    before = world.resources()
    for name in ("client - online cut", "online - target cut", "target - assistant cut", "online - assistant cut"):
        world.hit(FAULTS[name])
    unchanged(world, before)
    account = world.finish()
    assert world.missing == 0 and world.online.digest() == world.target.digest()
    assert set(account.outcomes()) == {"complete"}, account.log


def test_stopped_programs(lab):
    world = World(lab)
    before = world.resources()
    for name in ("intercept stopped", "tcpcopy stopped"):
        world.hit(FAULTS[name])
    unchanged(world, before)
    account = world.finish()
    assert world.missing == 0 and set(account.outcomes()) == {"complete"}, account.log


def connect_channel(lab):
    with lab.host("online").inside():
        return socket.create_connection((lab.host("assistant").ip4, 36524), 5)


def test_no_descriptors_left(lab):
    """intercept can accept nobody for a while; the tcpcopy that it serves is not harmed, and the next one waits."""
    world = World(lab)
    intercept = world.replay.intercept
    pid, before = intercept.process.pid, world.resources()
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(intercept), limits[1]))
    with connect_channel(lab) as waiting:
        assert wait_until(lambda: "cannot accept a connection" in intercept.log)
        world.recovered()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        waiting.settimeout(PATIENCE)
        assert waiting.recv(1) == b"\x01", "its HELLO"
    unchanged(world, before)
    account = world.finish()
    assert world.missing == 0 and set(account.outcomes()) == {"complete"}, account.log


@pytest.mark.parametrize("name", ["tcpcopy", "intercept"])
def test_too_few_descriptors_to_start(lab, name):
    args = {"tcpcopy": ["-x", "80-10.90.109.143:80", "-s", "10.90.110.143"], "intercept": ["-i", "eth0"]}[name]
    # the sanitizer itself could not look for leaks
    done = lab.host("online").run(["env", "ASAN_OPTIONS=detect_leaks=0", "prlimit", "--nofile=6", BIN / name, *args],
                                  timeout=PATIENCE)
    assert done.returncode == 1 and "Too many open files" in done.stderr, done.stderr
    assert "ERROR: AddressSanitizer" not in done.stderr and "runtime error" not in done.stderr


@pytest.mark.skipif(SANITIZED, reason="the sanitizer reserves terabytes of addresses")
def test_no_memory_left(lab):
    """The kernel gives tcpcopy no more memory: it declines and sheds, and goes on when there is some again."""
    world = World(lab)
    tcpcopy = world.replay.tcpcopy
    pid = tcpcopy.process.pid
    virtual = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    os.kill(world.target.pid, signal.SIGSTOP)
    resource.prlimit(pid, resource.RLIMIT_AS, (virtual, resource.RLIM_INFINITY))
    flood = [connect(lab) for _ in range(200)]
    for connection in flood:
        connection.sendall(b"append flood " + b"x" * 50000 + b"\r\n")
    time.sleep(1)
    assert world.replay.alive(), tcpcopy.log
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(world.target.pid, signal.SIGCONT)
    world.recovered()
    for connection in flood:
        connection.close()
    account = world.finish()
    assert account["declined.memory"] + account.outcomes().get("no-memory", 0) > 0, account.log


@pytest.mark.skipif(SANITIZED, reason="the sanitizer must be loaded first")
def test_the_wall_clock_is_set(lab):
    """An hour forth and back: nothing depends on it but the log."""
    offset = lab.new_path("clock")
    offset.write_text("+0")
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    world = World(lab, prefix=["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={offset}",
                               "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
    assert library.name in pathlib.Path(f"/proc/{world.replay.tcpcopy.process.pid}/maps").read_text()
    for step in ("+3600", "-3600", "+0"):
        offset.write_text(step)
        world.recovered()
    trouble = Trouble(lab.host("target"))
    account = world.finish()
    assert trouble() == {}
    assert world.missing == 0 and set(account.outcomes()) == {"complete"}, account.log
    assert account["engine.released_on_deadline"] == 0, account.log
    delay = re.search(r"capture to first send: .* max (\d+) us", account.log)
    assert int(delay[1]) < 60e6, "packets bear times of another clock"

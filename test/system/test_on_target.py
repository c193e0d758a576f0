#!/usr/bin/python3
"""Two hosts and no assistant: intercept on the target itself, with the clients' addresses kept. Copies are sent to a
second address of the target, and what it answers from there ends in a device of its own.
"""

import json
import os
import pathlib
import re
import signal
import socket

import pytest
from conftest import BIN, PATIENCE, SANITIZED, Program, run_all, wait_until
from test_check import Check, requests
from workload import Trouble, all_complete, appends, ask, closed, connect, equal, over, pace

T2 = {4: "10.90.109.200", 6: "fd90::109:200"}
ON_TARGET = ",".join(T2.values())


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def version(request):
    return request.param


def state(host):
    """What intercept may change of a host."""
    return {what: host.check_output(["ip", *what.split()]) for what in
            ("-o link", "-o -4 addr", "-o -6 addr", "rule", "-6 rule", "route show table all", "-6 route show table all")}


def without_lifetimes(text):
    return re.sub(r"(valid_lft|preferred_lft|expires) \S+", "", text)


def heard(lab):
    """What reaches the client of the copies' answers; it has to be nothing."""
    return lab.host("client").capture(f"src host {T2[4]} or src host {T2[6]}")


class Start:
    """intercept --on-target and tcpcopy, from redis servers that answer on all addresses."""

    def __init__(self, lab, replay, version, **more):
        self.online, self.target = lab.redis("online"), lab.redis("target")
        host = lab.host("target")
        self.before = state(host)
        self.at = lab.host("online").ip6 if version == 6 else None
        self.run = replay(v6=version == 6, at="target", interface=None, target=T2[version],
                          server=host.ip6 if version == 6 else host.ip4,
                          intercept=["--on-target", ON_TARGET, *more.pop("intercept", [])], **more)
        self.heard = heard(lab)
        self.trouble = Trouble(host)


@pytest.fixture
def start(lab, replay):
    return lambda version, **more: Start(lab, replay, version, **more)


def test_whole(lab, start, version):
    """Small commands, 100 KB and a connection for each command: all of it, and nothing of it at the client. The copies
    may be far behind on a busy machine; that they go on without an answer then is not what this is about."""
    s = start(version, tcpcopy=["--hold", "60s"])
    pace(lab, 20)
    appends(lab, 10, 100, at=s.at)
    appends(lab, 5, 10, size=100_000, at=s.at)
    run_all(lab.host("client"), [["redis-benchmark", "-h", s.at or lab.host("online").ip4, "-t", "set", "-n", "8000",
                                  "-c", "10", "-k", "0", "-r", "100000", "-q"]])
    assert equal(s.online, s.target) and closed(lab)
    assert s.trouble() == {}
    # more packets than the device has room for at once
    (device,) = json.loads(lab.host("target").check_output(["ip", "-s", "-j", "link", "show", "tcpcopy0"]))
    assert device["stats64"]["tx"]["packets"] > 16384 and device["stats64"]["tx"]["dropped"] == 0
    assert s.heard.stop().captured == 0
    account = s.run.stop()
    assert account["engine.lost_bytes"] == 0, account.log
    assert set(account.outcomes()) <= {"complete", "client-reset", "half-open"}     # as the benchmark ends
    after = state(lab.host("target"))
    assert {k: without_lifetimes(v) for k, v in after.items()} == {k: without_lifetimes(v) for k, v in s.before.items()}


def test_check(lab, start, version):
    s = start(version)
    requests(lab)
    probe = ["--probe-from", "[fd90::114:82]"] if version == 6 else []
    address = f"[{T2[6]}]" if version == 6 else T2[4]
    server = f"[{lab.host('target').ip6}]" if version == 6 else lab.host("target").ip4
    Check(lab, "-s", server, *probe, rule=f"6379-{address}:6379").fine()
    check = Check(lab, "--on-target", ON_TARGET, program="intercept", host="target")
    assert check.fine().find("ok", "on-target", "runs already")
    s.run.stop()
    Check(lab, "--on-target", ON_TARGET, program="intercept", host="target").find("ok", "on-target", "no host has")


def whole(lab, run, client):
    """`client` went on until now. What it had just sent would be lost with its session."""
    client.terminate()
    client.wait()
    assert closed(lab)
    account = run.stop()
    assert account["engine.lost_bytes"] == 0, account.log
    assert set(account.outcomes()) <= {"complete", "client-reset"}, account.log


def test_by_hand(lab, replay):
    """The same with what every host has: a device of two ends, an address, a route and a rule."""
    host = lab.host("target")
    host.ip_batch(["link add tcb0 type veth peer name tcb1", "link set tcb0 arp off up", "link set tcb1 arp off up",
                   f"addr add {T2[4]}/32 dev eth0", "route add default dev tcb0 table 100", f"rule add from {T2[4]} lookup 100"])
    online, target = lab.redis("online"), lab.redis("target")
    run = replay(at="target", interface="tcb1", target=T2[4], server=host.ip4)
    at_client = heard(lab)
    appends(lab, 5, 100)
    assert equal(online, target) and closed(lab)
    client = requests(lab)
    Check(lab, "-s", host.ip4, rule=f"6379-{T2[4]}:6379").fine()
    assert at_client.stop().captured == 0
    whole(lab, run, client)


def test_one_rule_for_all_clients(lab, replay):
    """The assistant with the same second address: no client is named, and the target still reaches its own."""
    host, assistant = lab.host("target"), lab.host("assistant")
    host.ip_batch([f"addr add {T2[4]}/32 dev eth0", f"route add default via {assistant.ip4} table 100",
                   f"rule add from {T2[4]} lookup 100"])
    online, target = lab.redis("online"), lab.redis("target")
    run = replay(target=T2[4])
    appends(lab, 5, 100)
    assert equal(online, target) and closed(lab)
    assert lab.host("client").check_output(["redis-cli", "-h", host.ip4, "ping"]).strip() == "PONG"
    client = requests(lab)
    Check(lab, rule=f"6379-{T2[4]}:6379").fine()
    whole(lab, run, client)


def test_the_targets_own_clients(lab, start):
    """Those of its first address, before and meanwhile, from the very client whose requests are replicated."""
    s = start(4)
    with lab.host("client").inside():
        own = socket.create_connection((lab.host("target").ip4, 6379), 20)
    appends(lab, 5, 50)
    assert ask(own, "ping") == b"+PONG\r\n"
    assert equal(s.online, s.target)
    assert lab.host("client").check_output(["redis-cli", "-h", lab.host("target").ip4, "ping"]).strip() == "PONG"
    assert over(s.run) and all_complete(s.run.stop())
    assert ask(own, "ping") == b"+PONG\r\n"


def helper_of(program):
    pid = program.process.pid
    (child,) = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_the_helper(lab, start):
    """It holds one capability and a handful of files, and is confined as the other helper is; all ends with its device."""
    s = start(4)
    host, helper = lab.host("target"), helper_of(s.run.intercept)
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{helper}/status").read_text().splitlines())
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 12 and int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and (SANITIZED or status["Seccomp"] == "2")
    files = [os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd")]
    assert sorted(f for f in files if not f.startswith("socket:")) == ["/dev/net/tun"] + 3 * ["/dev/null"]
    assert len(files) == 7      # and sockets to the program and to the kernel, and the lock
    assert "/dev/net/tun" not in [os.readlink(fd) for fd in pathlib.Path(f"/proc/{s.run.intercept.process.pid}/fd").iterdir()]
    host.ip_batch(["link del tcpcopy0"])
    assert s.run.intercept.process.wait(PATIENCE) == 1
    assert "helper process of --on-target has ended" in s.run.intercept.log
    assert wait_until(lambda: T2[4] not in rules(host) and T2[6] not in rules(host))


def rules(host):
    return host.check_output(["ip", "rule"]) + host.check_output(["ip", "-6", "rule"])


def test_killed(lab, start, version):
    """The helper sees it, and nothing is left, except a rule where connections would send without it."""
    s = start(version)
    connection = connect(lab)
    assert wait_until(lambda: ask(connection, "ping"))
    host = lab.host("target")
    s.run.intercept.process.kill()
    assert wait_until(lambda: "tcpcopy0" not in host.check_output(["ip", "link"]))
    assert wait_until(lambda: ON_TARGET.split(",")[0] not in rules(host))
    assert wait_until(lambda: not any(T2[v] in host.check_output(["ip", "addr"]) for v in T2))
    assert s.heard.stop().captured == 0


def test_both_killed(lab, start, version):
    """Device, address of the device and route go with the helper. The rest harms nothing, is taken over, and can be removed."""
    s = start(version)
    host = lab.host("target")
    helper = helper_of(s.run.intercept)
    os.kill(helper, signal.SIGSTOP)
    s.run.intercept.process.kill()
    os.kill(helper, signal.SIGKILL)
    assert wait_until(lambda: "tcpcopy0" not in host.check_output(["ip", "link"]))
    assert T2[4] not in host.check_output(["ip", "addr"])
    assert T2[4] in rules(host) and T2[6] in rules(host)
    assert host.check_output(["ip", "route", "show", "table", "36524"]).split()[:2] == ["blackhole", "default"]
    appends(lab, 2, 20)     # the online server's clients notice nothing
    assert lab.host("client").check_output(["redis-cli", "-h", host.ip4, "ping"]).strip() == "PONG"
    assert s.heard.stop().captured == 0

    again = Program(host, "intercept", "--on-target", ON_TARGET).wait_ready()
    assert host.check_output(["ip", "route", "show", "table", "36524"]).startswith("default dev tcpcopy0")
    refused = host.run([BIN / "intercept", "--clean"])
    assert refused.returncode == 1 and "runs on this host" in refused.stderr
    os.kill(helper_of(again), signal.SIGKILL)
    assert again.process.wait(PATIENCE) == 1
    assert "helper process of --on-target has ended" in again.log
    done = host.check_output([BIN / "intercept", "--clean"])
    assert done == f"removed the rule for {T2[4]}\nremoved the rule for {T2[6]}\n"
    after = state(host)
    assert {k: without_lifetimes(v) for k, v in after.items()} == {k: without_lifetimes(v) for k, v in s.before.items()}
    assert host.check_output([BIN / "intercept", "--clean"]) == "nothing is left\n"


def test_refused(lab):
    """An address that this host has, that another one has, that no link leads to; a strict reverse path filter."""
    host = lab.host("target")
    route = host.check_output(["ip", "route"])

    def starting(address):
        done = host.run([BIN / "intercept", "--on-target", address], timeout=PATIENCE)
        assert done.returncode == 1, done.stderr
        check = host.run([BIN / "intercept", "--on-target", address, "--check"], timeout=PATIENCE).stdout
        (broken,) = re.findall(r"^broken +on-target +(.*)", check, re.MULTILINE)
        assert broken in done.stderr
        return broken
    for address in (host.ip4, host.ip6):
        assert "this host has that address already" in starting(address)
    for address in (lab.host("client").ip4, lab.host("client").ip6):
        assert "another host answers for that address" in starting(address)
    assert "no link" in starting("192.0.2.7")
    host.sysctl(net__ipv4__conf__eth0__rp_filter=1)
    cure = re.search("on this host type: (.*)", starting(T2[4]))[1]
    assert host.sh(cure).returncode == 0
    Program(host, "intercept", "--on-target", T2[4]).wait_ready().stop()
    assert host.check_output(["ip", "route"]) == route and "36524" not in rules(host)
    for args in (["--guard", "--allow", "10.0.0.0/8"], ["-i", "eth0"]):
        done = host.run([BIN / "intercept", "--on-target", T2[4], *args])
        assert done.returncode == 2 and "cannot be given with" in done.stderr


def test_arp_ignore(lab, start):
    """Such a host answers only for addresses of the link that is asked, so it is one of that link, for a while."""
    host = lab.host("target")
    host.sysctl(net__ipv4__conf__all__arp_ignore=1)
    s = start(4)
    assert re.search(rf"{T2[4]} is an address of this host, of eth0", s.run.intercept.log)
    line = re.search(rf"inet {T2[4]}/32.*\n.*valid_lft (\d+)sec preferred_lft 0sec", host.check_output(["ip", "addr"]))
    assert int(line[1]) <= 60
    appends(lab, 2, 50)
    assert equal(s.online, s.target) and closed(lab)
    assert all_complete(s.run.stop())
    assert T2[4] not in host.check_output(["ip", "addr"])

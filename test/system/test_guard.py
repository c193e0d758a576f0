#!/usr/bin/python3
"""intercept --guard and its privileged helper, on an assistant that forwards: what the client hears, and what is left."""

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest
from conftest import PATIENCE, Echo, Program, built, wait_until
from test_intercept import ACK, FILTER, INTERCEPT, PORT, SYN, TARGET, FakeTcpcopy, Flow, endpoint, opened, start

TABLE = "inet tcpcopy_intercept"
CAPTURED = "netdev tcpcopy_intercept"
GUARD = ["--guard", "--allow", "10.90.0.0/16,fd00::/8"]


def nft(host, words):
    return host.run(["nft", *words.split()])


def tables(host):
    return nft(host, "list tables").stdout


def elements(host, family=4, table=CAPTURED):
    """(address, port) of what is dropped."""
    done = nft(host, f"-j list set {table} targets{family}")
    if done.returncode:
        return set()
    (found,) = [item["set"] for item in json.loads(done.stdout)["nftables"] if "set" in item]
    return {tuple(e["concat"]) for e in found.get("elem", [])}


def dropped(host, table=CAPTURED):
    """Packets that the rules of a table have dropped."""
    rules = nft(host, f"list table {table}").stdout
    return sum(int(n) for n in re.findall(r"counter packets (\d+)", rules))


def guards(net, port=PORT, v6=False):
    """Wait for this target to be in the rules; that is soon after its announcement, and not before its PONG."""
    target = net.host("target")
    assert wait_until(lambda: (target.ip6 if v6 else target.ip4, port) in elements(net.host("assistant"), 6 if v6 else 4))


def children(program):
    pid = program.process.pid
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def helper_of(program):
    (helper,) = children(program)
    return helper


def lives(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def forwarding(net):
    """The assistant forwards and tells nobody of shorter ways; whether the client gets anything is what matters."""
    net.host("assistant").sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    return net


def received(host):
    """Segments that came to the client from the target."""
    return host.nstat()["TcpInSegs"]


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_guard(forwarding, v6):
    net, assistant, client = forwarding, forwarding.host("assistant"), forwarding.host("client")
    before = received(client)
    Flow(net, v6).syn()
    assert wait_until(lambda: received(client) > before), "or this test proves nothing"

    intercept = start(net, "-i", "eth0", *GUARD)
    assert nft(assistant, f"list table {TABLE}").returncode == 0
    tcpcopy, flow = FakeTcpcopy(net, v6=v6), Flow(net, v6)
    tcpcopy.send(TARGET, endpoint(flow.target, PORT))
    guards(net, v6=v6)
    before, resets = received(client), net.host("target").nstat()["TcpEstabResets"]
    opened(tcpcopy, flow)
    flow.send(ACK)
    server = net.echo.accept()
    for word in (b"hello", b"world"):
        server.sendall(word)
        r = tcpcopy.response()
        flow.ack = r.seq + r.len
        flow.send(ACK)
    assert received(client) == before
    assert net.host("target").nstat()["TcpEstabResets"] == resets
    assert dropped(assistant) > 0 == dropped(assistant, TABLE)

    # What is no target's response is forwarded as before.
    other = Echo(net, PORT + 1)
    Flow(net, v6, PORT + 1).syn()
    assert wait_until(lambda: received(client) > before)
    other.socket.close()
    intercept.stop()
    assert tables(assistant) == ""


def test_with_filter_and_watch_alone(forwarding):
    net = forwarding
    start(net, *FILTER, *GUARD)
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    tcpcopy.watch(flow)
    guards(net)
    before = received(net.host("client"))
    flow.syn()
    assert tcpcopy.response().flags == SYN | ACK
    assert received(net.host("client")) == before


RULES = """table netdev tcpcopy_intercept {{ # progname intercept-guard
	flags owner
	comment "intercept --guard, pid {pid}"

	set targets4 {{
		type ipv4_addr . inet_service
	}}

	set targets6 {{
		type ipv6_addr . inet_service
	}}

	chain swallow {{
		type filter hook ingress device "eth0" priority -300; policy accept;
		ip saddr . tcp sport @targets4 fib daddr type != local counter packets 0 bytes 0 drop
		ip6 saddr . tcp sport @targets6 fib daddr type != local counter packets 0 bytes 0 drop
	}}
}}
table inet tcpcopy_intercept {{ # progname intercept-guard
	flags owner
	comment "intercept --guard, pid {pid}"

	set targets4 {{
		type ipv4_addr . inet_service
	}}

	set targets6 {{
		type ipv6_addr . inet_service
	}}

	chain swallow {{
		type filter hook forward priority raw; policy accept;
		ip saddr . tcp sport @targets4 counter packets 0 bytes 0 drop
		ip6 saddr . tcp sport @targets6 counter packets 0 bytes 0 drop
	}}
}}
"""


def test_the_whole_table(lab):
    intercept = start(lab, "-i", "eth0", *GUARD)
    assert nft(lab.host("assistant"), "list ruleset").stdout == RULES.format(pid=intercept.process.pid)
    intercept.stop()


def test_one_in_a_namespace(lab):
    first = start(lab, "-i", "eth0", *GUARD)
    second = lab.host("assistant").run([INTERCEPT, "-i", "eth0", "-p", "40000", *GUARD], timeout=PATIENCE)
    assert second.returncode == 1
    assert f"pid {first.process.pid}" in second.stderr
    first.stop()


def test_a_table_that_nobody_owns_is_replaced(lab):
    """As a kernel without owners of tables keeps it after a kill."""
    assistant = lab.host("assistant")
    assistant.check_output(["nft", "-f", "-"], input=f"table {TABLE} {{ set old {{ type ipv4_addr; }}; }}")
    intercept = start(lab, "-i", "eth0", *GUARD)
    assert "left by an intercept" in intercept.log
    assert nft(assistant, "list ruleset").stdout == RULES.format(pid=intercept.process.pid)
    intercept.stop()
    assert tables(assistant) == ""


def test_nobody_else_takes_it_away(forwarding):
    """A firewall that is reloaded flushes everything."""
    net, assistant = forwarding, forwarding.host("assistant")
    intercept = start(net, "-i", "eth0", *GUARD)
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    tcpcopy.send(TARGET, endpoint(flow.target, PORT))
    guards(net)
    nft(assistant, "flush ruleset")
    assert nft(assistant, f"delete table {TABLE}").returncode != 0
    assert nft(assistant, f"flush set {TABLE} targets4").returncode != 0
    guards(net)
    before = received(net.host("client"))
    opened(tcpcopy, flow)
    assert received(net.host("client")) == before
    intercept.stop()
    assert tables(assistant) == ""


@pytest.mark.parametrize("stopped", [False, True], ids=["", "helper stopped"])
def test_nothing_is_left_of_a_killed_intercept(lab, stopped):
    """A helper that is stopped does not see its socket closed, and goes all the same."""
    assistant = lab.host("assistant")
    intercept = start(lab, "-i", "eth0", *GUARD)
    helper = helper_of(intercept)
    assert TABLE in tables(assistant)
    if stopped:
        os.kill(helper, signal.SIGSTOP)
    intercept.process.kill()
    intercept.process.wait()
    assert wait_until(lambda: not lives(helper) and tables(assistant) == "")
    again = start(lab, "-i", "eth0", *GUARD)
    assert "left by an intercept" not in again.log
    again.stop()


def test_started_again_while_the_helper_of_the_killed_one_still_ends(lab):
    """No moment between the two is too early."""
    intercept = start(lab, "-i", "eth0", *GUARD)
    for _ in range(5):
        intercept.process.kill()
        intercept.process.wait()
        intercept = start(lab, "-i", "eth0", *GUARD)
    assert nft(lab.host("assistant"), "list ruleset").stdout == RULES.format(pid=intercept.process.pid)
    intercept.stop()


def test_a_table_of_another_process(lab, helpertool):
    """It may be that of an intercept that was killed, so it is waited for a little."""
    other = Helper(lab.host("assistant"), helpertool)
    assert other("create") == "ok owning"
    done = lab.host("assistant").run([INTERCEPT, "-i", "eth0", *GUARD], timeout=PATIENCE)
    assert done.returncode == 1 and "--guard: another process owns the nft table" in done.stderr
    intercept = Program(lab.host("assistant"), "intercept", "-i", "eth0", *GUARD)
    assert wait_until(lambda: children(intercept))
    assert other("delete") == "ok"
    intercept.wait_ready().stop()


def test_without_its_helper_it_ends(lab):
    """The table goes with the helper, so the clients would hear from the target. Without an intercept tcpcopy is silent."""
    intercept = start(lab, "-i", "eth0", *GUARD)
    os.kill(helper_of(intercept), signal.SIGKILL)
    assert intercept.process.wait(PATIENCE) == 1
    assert wait_until(lambda: tables(lab.host("assistant")) == "")
    assert "the guard's helper process has ended, and its nft table with it; ending" in intercept.log
    assert "report:" in intercept.log
    start(lab, "-i", "eth0", *GUARD).stop()


def test_a_helper_that_hangs_holds_nothing_up(forwarding):
    """Headers go on to tcpcopy meanwhile; when it runs again, it does what it was asked for."""
    net, assistant = forwarding, forwarding.host("assistant")
    intercept = start(net, "-i", "eth0", *GUARD)
    helper = helper_of(intercept)
    os.kill(helper, signal.SIGSTOP)
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    tcpcopy.send(TARGET, endpoint(flow.target, PORT))
    for port in range(7000, 7015):
        tcpcopy.send(TARGET, endpoint(flow.target, port))
    tcpcopy.settle()
    opened(tcpcopy, flow)
    assert elements(assistant) == set()
    assert wait_until(lambda: "cannot guard 16 new targets" in intercept.log), intercept.log
    os.kill(helper, signal.SIGCONT)
    guards(net)
    assert wait_until(lambda: "all targets are guarded" in intercept.log), intercept.log
    assert intercept.log.count("cannot guard") == 1
    intercept.stop()
    assert tables(assistant) == ""


# --- the helper alone -------------------------------------------------------------------------------------------------

class Helper:
    """build/tools/helpertool on a host: a line in, a line out."""

    def __init__(self, host, tool, *prefix):
        self.process = host.popen([*prefix, tool, "eth0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = int(self.process.stdout.readline())

    def __call__(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def count(self):
        return int(self("count").split()[1])


@pytest.fixture
def helpertool():
    return built("helpertool")


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_elements_and_counters(forwarding, helpertool, v6):
    net, assistant, client = forwarding, forwarding.host("assistant"), forwarding.host("client")
    target = net.host("target").ip6 if v6 else net.host("target").ip4
    helper = Helper(assistant, helpertool)
    assert helper("create") == "ok owning"
    assert helper(f"add {target} {PORT} {target} 7000") == "ok"
    assert elements(assistant, 6 if v6 else 4) == {(target, PORT), (target, 7000)}
    assert helper(f"add {target} {PORT}") == "ok", "it is there already"
    before = received(client)
    Flow(net, v6).syn()
    assert wait_until(lambda: helper.count() > 0)
    assert received(client) == before
    packets, size = map(int, helper("count").split()[1:])
    assert packets * (60 if v6 else 40) < size <= packets * 100

    assert helper(f"remove {target} {PORT}") == "ok"
    assert elements(assistant, 6 if v6 else 4) == {(target, 7000)}
    assert "No such file" in helper(f"remove {target} {PORT}")
    assert "No such file" in helper(f"remove {target} 7000 {target} {PORT}"), "all or none"
    assert elements(assistant, 6 if v6 else 4) == {(target, 7000)}
    Flow(net, v6).syn()
    assert wait_until(lambda: received(client) > before)
    assert helper("delete") == "ok" and tables(assistant) == ""
    assert helper("create") == "ok owning" and elements(assistant, 6 if v6 else 4) == set()
    helper.process.kill()
    assert wait_until(lambda: tables(assistant) == "" and not lives(helper.pid))


def test_what_the_helper_refuses(lab, helpertool):
    assistant = lab.host("assistant")
    helper = Helper(assistant, helpertool)
    assert helper("create") == "ok owning"
    rules = nft(assistant, "list ruleset").stdout
    for line in ("add 224.0.0.1 80", "add ff02::1 80", "add ::ffff:10.1.2.3 80", "add 0.0.0.0 80", "add 10.1.2.3 0",
                 "add 10.1.2.3 80 10.1.2.4 0", "raw 00", "raw " + "ff" * 100, "raw " + "00" * 8, "raw " + "ff" * 4000):
        assert "Invalid argument" in helper(line), line
    assert "File exists" in helper("create")
    assert nft(assistant, "list ruleset").stdout == rules
    assert helper("add 10.1.2.3 80") == "ok" and elements(assistant) == {("10.1.2.3", 80)}
    helper.process.stdin.close()
    assert helper.process.wait(PATIENCE) == 0 and tables(assistant) == ""


def test_two_helpers(lab, helpertool):
    """A table belongs to one of them."""
    first, second = Helper(lab.host("assistant"), helpertool), Helper(lab.host("assistant"), helpertool)
    assert first("create") == "ok owning"
    assert second("create") == "another process owns the nft table"
    assert first("delete") == "ok"
    assert second("create") == "ok owning"


def test_without_the_capability(lab, helpertool):
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--ambient-caps=-net_admin"]
    helper = Helper(lab.host("assistant"), helpertool, *without)
    assert helper("create") == "nf_tables needs CAP_NET_ADMIN: run as root"
    done = lab.host("assistant").run([*without, INTERCEPT, "-i", "eth0", *GUARD], timeout=PATIENCE)
    assert done.returncode == 1 and "--guard: nf_tables needs CAP_NET_ADMIN: run as root" in done.stderr
    lab.host("assistant").sysctl(net__ipv4__ip_forward=1)
    done = lab.host("assistant").run([*without, INTERCEPT, "-i", "eth0", *GUARD, "--check"], timeout=PATIENCE)
    assert done.returncode == 1
    assert "--guard cannot work: nf_tables needs CAP_NET_ADMIN: run as root" in done.stdout

#!/usr/bin/python3
"""tcpcopy alone: no -s, no assistant, no route. The answers of the target come back to the online server and end there:
before its TCP, which never resets them, and away from the client, which never gets a packet of the target.
"""

import signal
import socket
import time

import pytest
from conftest import BIN, SANITIZED, Account, Program, run_all, wait_until
from workload import Trouble, all_complete, appends, ask, connect, equal


class Alone:
    """tcpcopy on the online server, and what must be so on two hosts whatever is replicated."""

    def __init__(self, lab, *args, port=6379, v6=False, rule=None, prefix=()):
        self.lab, self.port = lab, port
        self.online, self.target = lab.host("online"), lab.host("target")
        self.ruleset = self.rules()
        to = f"[{self.target.ip6}]" if v6 else self.target.ip4
        self.report_path = lab.new_path("tcpcopy.json")
        self.stray = lab.host("client").capture(f"tcp and (src host {self.target.ip4} or {self.target.ip6})")
        self.tcpcopy = Program(self.online, "tcpcopy", "-x", rule or f"{port}-{to}:{port}", "--report", self.report_path,
                               *args, prefix=prefix).wait_ready()
        self.before = self.online.nstat()

    def rules(self):
        return self.online.check_output(["nft", "list", "ruleset"])

    def connections(self):
        """Those that the target has of us, except in TIME-WAIT."""
        return self.target.check_output(["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=",
                                         f":{self.port}", "dst", self.online.ip4, "or", "dst", self.online.ip6]).split("\n")[:-1]

    def ports_free(self):
        """A port rests for a second after its session."""
        return wait_until(lambda: self.tcpcopy.status()["account"]["own"]["ports_used"] == 0, step=0.3)

    def closed(self):
        return wait_until(lambda: not self.connections(), 20)

    def silent(self):
        """This host's kernel has said nothing to the target, nor the target to the client."""
        now = self.online.nstat()
        for name in "TcpOutRsts", "IcmpOutMsgs", "Icmp6OutDestUnreachs":
            assert now.get(name, 0) == self.before.get(name, 0), name
        assert self.stray.stop().captured == 0
        return True

    def stop(self):
        account = Account(self.tcpcopy.stop(), self.report_path.read_text())
        account.balanced()
        assert account["own.answers"] > 0
        if not account["capture.kernel_drops"]:
            assert account["own.uncaptured"] <= account["capture.unread"]
        assert self.rules() == self.ruleset
        return account


@pytest.fixture
def alone(lab):
    return lambda *args, **kwargs: Alone(lab, *args, **kwargs)


@pytest.fixture
def servers(lab):
    """redis on both hosts. There is no route, and nothing runs on the assistant."""
    return [lab.redis(name) for name in ("online", "target")]


@pytest.mark.parametrize("size, commands", [(0, 300), (16384, 40), (100_000, 10)])
def test_values(lab, alone, servers, size, commands):
    a = alone()
    trouble = Trouble(lab.host("target"))
    appends(lab, connections=10, commands=commands, size=size)
    assert equal(*servers)
    assert a.closed()
    assert trouble() == {}
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.sessions_opened"] >= 10    # and those by which the test asks the online server


def test_ways_to_capture(lab, alone, servers, mode):
    """Answers are cut to their headers and requests are whole, from a ring as well."""
    a = alone("--capture", mode)
    appends(lab, connections=10, commands=40, size=16384)
    lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} get commands0 > /dev/null")
    assert equal(*servers)
    assert wait_until(lambda: servers[1].calls().get("get") == 1)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["capture.truncated"] == account["engine.truncated_bytes"] == 0
    assert account["engine.response_bytes"] > 600_000


@pytest.mark.parametrize("workers", [1, 2])
def test_connection_for_every_command(lab, alone, servers, workers):
    """More of them than there are ports; a worker has those whose answers come to it."""
    client = lab.host("client")
    client.sysctl(net__ipv4__ip_local_port_range="20000 31999", net__ipv4__tcp_tw_reuse=1)
    a = alone("--workers", workers, "--own-ports", "20000-24999")
    for _ in range(4):
        run_all(client, [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set", "-n", "2000", "-c", "20",
                          "-k", "0", "-r", "100000", "-q"]])
        assert a.ports_free()
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert account["engine.sessions_opened"] >= 8000
    assert account["engine.lost_bytes"] == 0 and account["declined.source"] == 0, account.log
    assert account["own.ports"] == 5000


@pytest.mark.parametrize("timestamps, rfc1337", [(1, 0), (1, 1), (0, 0)])
def test_ports_in_time_wait(lab, alone, timestamps, rfc1337):
    """The target closes first, and so has each port in TIME-WAIT when it is used again. With timestamps it takes the new
    connection at once; without, the old one is reset first, which it may be set to ignore."""
    servers = [lab.nginx(name) for name in ("online", "target")]
    for name in "client", "target":
        lab.host(name).sysctl(net__ipv4__tcp_timestamps=timestamps, net__ipv4__tcp_rfc1337=rfc1337)
    a = alone("--own-ports", "20000-20399", port=80)
    for _ in range(3):
        for n in range(380):
            connection = connect(lab, 80)
            connection.sendall(f"GET /?{n} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            while connection.recv(1 << 16):
                pass
            connection.close()
        assert a.ports_free()
        waiting = a.target.check_output(["ss", "-Htn", "state", "time-wait", "sport", "=", ":80"]).count("\n")
        assert waiting > 300
    assert wait_until(lambda: len(servers[1].requests()) >= 1140, 20)
    assert len(servers[0].requests()) == len(servers[1].requests()) == 1140
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert account["engine.sessions_opened"] == 1140 and account["engine.lost_bytes"] == 0, account.log
    assert not timestamps or account["engine.leftovers_reset"] == 0, account.log


def test_fifty_megabytes_come_back(lab, alone, servers):
    """Of an answer the headers are captured; all of it is dropped here."""
    value = lab.new_path("value")
    value.write_bytes(bytes(range(1, 251)) * 80_000)
    a = alone()
    lab.faults("client", from_={"rate": 25 * 8e6})
    assert "OK" in lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} -x set big < {value}").stdout
    assert wait_until(lambda: servers[1].cli("strlen", "big") == "20000000")
    lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} get big > /dev/null")
    assert wait_until(lambda: servers[1].calls().get("get") == 1)
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.response_bytes"] > 20_000_000


def test_ipv6(lab, alone, servers):
    a = alone(v6=True)
    made = []
    with lab.host("client").inside():
        for n in range(5):
            made.append(socket.create_connection((lab.host("online").ip6, 6379), 20))
    for n, connection in enumerate(made):
        for i in range(50):
            ask(connection, f"append key{n} {i}.{'x' * 200}")
        connection.close()
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.sessions_opened"] == 5     # the servers are asked by IPv4


@pytest.mark.parametrize("workers", [1, 2])
def test_loss(lab, alone, servers, workers):
    a = alone("--workers", workers)
    lab.loss("target", "to", 0.02, match="tcp dport 6379")
    lab.loss("target", "from", 0.02, match="tcp sport 6379")
    appends(lab, connections=20, commands=100, size=2000)
    lab.loss_off()
    assert equal(*servers)
    assert a.closed()
    assert sum(count.dropped for count in lab.loss_counters().values()) > 20
    assert a.silent()
    assert all_complete(a.stop())


def test_connections_older_than_tcpcopy(lab, alone, servers):
    old = [connect(lab) for _ in range(5)]
    for n, connection in enumerate(old):
        ask(connection, f"append old{n} before.")
    a = alone()
    for i in range(20):
        for n, connection in enumerate(old):
            ask(connection, f"append old{n} {i}.")
    assert wait_until(lambda: all(servers[1].cli("get", f"old{n}").endswith(".19.") for n in range(5)))
    for connection in old:
        connection.close()
    assert a.closed()
    assert a.silent()
    assert a.stop()["engine.sessions_joined"] == 5


def test_killed(lab, alone, servers):
    """Its table goes with it; then this host resets what the target says. The client does not notice."""
    a = alone()
    listener = connect(lab)
    ask(listener, "subscribe news", b":1\r\n")
    assert wait_until(lambda: len(a.connections()) == 1)
    assert a.rules() != a.ruleset
    a.tcpcopy.kill()
    assert wait_until(lambda: a.rules() == a.ruleset)
    servers[1].cli("publish", "news", "at the target")
    assert a.closed()
    servers[0].cli("publish", "news", "here")
    assert listener.recv(1000).endswith(b"here\r\n")
    assert a.stray.stop().captured == 0


def test_the_helper_dies(lab, alone, servers):
    """Without the table this host would reset the copies: tcpcopy ends, and resets them itself."""
    a = alone()
    connection = connect(lab)
    ask(connection, "append key 1.")
    assert wait_until(lambda: servers[1].cli("get", "key") == "1.")
    helper = a.online.check_output(["pgrep", "-P", a.tcpcopy.process.pid, "tcpcopy-own"]).split()
    lab.host("online").check_output(["kill", "-9", *helper])
    assert a.tcpcopy.process.wait(20) == 1
    assert "the helper process has ended, and its nft table with it; ending" in a.tcpcopy.log
    assert a.rules() == a.ruleset and a.closed()
    assert ask(connection, "append key 2.") == b":4\r\n"


def test_rules_are_flushed(lab, alone, servers):
    """As `systemctl reload nftables` does."""
    a = alone()
    connection = connect(lab)
    for i in range(100):
        if i % 10 == 0:
            a.online.run(["nft", "flush", "ruleset"])
        ask(connection, f"append key {i}.")
    connection.close()
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    assert all_complete(a.stop())


def test_ports_used_up(lab, alone, servers):
    """What has a port is replicated whole; the rest is declined and counted."""
    a = alone("--own-ports", "20000-20004", "-F", "src host", lab.host("client").ip4)
    made = [connect(lab) for _ in range(12)]
    for i in range(20):
        for n, connection in enumerate(made):
            ask(connection, f"append key{n} {i}.")
    wanted = "".join(f"{i}." for i in range(20))
    assert wait_until(lambda: servers[1].cli("dbsize") == "5")
    assert wait_until(lambda: all(servers[1].cli("get", f"key{n}") == wanted for n in range(5)))
    for connection in made:
        connection.close()
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.sessions_opened"] == account["own.ports"] == 5
    assert account["declined.source"] >= 7


def test_more_answers_than_may_come(lab, alone, servers):
    """No session begins while they come too fast; later they do."""
    for server in servers:
        server.cli("setrange", "big", "5999999", "x")
    a = alone("--max-answers", "16M")
    assert "while more than 16 Mbit/s come in, no session begins" in a.tcpcopy.log
    first = connect(lab)
    first.sendall(b"*2\r\n$3\r\nget\r\n$3\r\nbig\r\n" * 2)
    left = 2 * (6_000_000 + len("$6000000\r\n\r\n"))
    while left:
        left -= len(first.recv(1 << 20))
    connection = connect(lab)
    ask(connection, "append declined 1.")
    assert wait_until(lambda: "more than 16 Mbit/s of answers come in to this host" in a.tcpcopy.log)
    time.sleep(2.5)     # what has been too much is over two seconds later
    first.close()
    connection.close()
    connection = connect(lab)
    ask(connection, "append key 1.")
    connection.close()
    assert wait_until(lambda: servers[1].cli("get", "key") == "1.")
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert account["own.bytes"] > 12_000_000 and account["own.over"] >= 1
    assert account["own.over"] == account["declined.source"]


def test_own_connections_of_the_host(lab, alone, servers):
    """Those to the target itself, from a port that the kernel gives and from one in the range; and services in it."""
    online, target = lab.host("online"), lab.host("target")
    with online.inside():
        before = socket.create_server((online.ip4, 20000))
    a = alone("--own-ports", "20000-20019")
    with online.inside():
        after = socket.create_server(("", 20018))
        own = [socket.create_connection((target.ip4, 6379), 20, ("", port)) for port in (0, 20019)]
    client = connect(lab)
    with lab.host("client").inside():
        callers = [socket.create_connection((online.ip4, port), 20) for port in (20000, 20018)]
    served = [server.accept()[0] for server in (before, after)]
    for i in range(100):
        ask(client, f"append key {i}.")
        for n, connection in enumerate(own):
            ask(connection, f"append own{n} {i}.")
        for there, here in zip(served, callers):
            here.sendall(b"x" * 100)
            there.sendall(there.recv(1000))
            assert here.recv(1000) == b"x" * 100
    assert servers[1].cli("get", "own1").endswith(".99.") and servers[1].cli("strlen", "own0") == "290"
    assert wait_until(lambda: servers[1].cli("get", "key") == servers[0].cli("get", "key"))
    for connection in (client, *own, *served, *callers, before, after):
        connection.close()
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["own.ports"] == 19


def test_stopped_for_a_while(lab, alone, servers):
    """The table holds: the target repeats, this host says nothing."""
    a = alone()
    connection = connect(lab)
    ask(connection, "append key 0.")
    a.tcpcopy.process.send_signal(signal.SIGSTOP)
    for i in range(1, 20):
        ask(connection, f"append key {i}.")
    time.sleep(1)
    a.tcpcopy.process.send_signal(signal.SIGCONT)
    connection.close()
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    assert all_complete(a.stop())


@pytest.mark.parametrize("rule", ["6379-127.0.0.1:7379", "6379-10.90.111.142:7379"])
def test_a_target_on_this_host(lab, alone, rule):
    """The second server of the README's three lines; and its clients are on this host or another one."""
    servers = [lab.redis("online"), lab.redis("online", port=7379)]
    a = alone(rule=rule, port=7379)
    appends(lab, connections=5, commands=100)
    for i in range(50):
        servers[0].cli("append", "local", f"{i}.")
    assert equal(*servers)
    assert servers[1].cli("get", "local").endswith(".49.")
    assert a.closed()
    assert a.silent()
    assert all_complete(a.stop())


@pytest.mark.parametrize("rule", ["6379-127.0.0.1:7379", "6379-10.90.111.142:7379", "6379-[::1]:7379"])
def test_large_values_to_this_host(lab, alone, rule):
    """On loopback a packet may have 64 KB: what the client sent in pieces of its MSS is not cut again."""
    servers = [lab.redis("online"), lab.redis("online", port=7379)]
    a = alone("-B", "256M", rule=rule, port=7379)
    if "[" in rule:
        with lab.host("client").inside():
            connection = socket.create_connection((lab.host("online").ip6, 6379), 20)
        for i in range(40):
            ask(connection, f"append big {i}.{'x' * 60_000}")
        connection.close()
    else:
        appends(lab, connections=5, commands=20, size=100_000)
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.captured_bytes"] > 2_000_000
    assert account["sent.packets"] - account["engine.emitted_acks"] < account["engine.captured_bytes"] / 5000, account.log


BRIDGE = """
link add br9 type bridge
link set br9 up
addr add 172.30.0.1/24 dev br9
link set br9p master br9 up
"""


@pytest.mark.parametrize("filtered", [0, 1])
def test_a_container_on_a_bridge(lab, alone, filtered):
    """With br_netfilter the bridge's packets pass the hooks at its port, before they can be captured at the bridge."""
    online, target = lab.host("online"), lab.host("target")
    servers = [lab.redis("online"), lab.redis("target")]
    online.ip_batch([f"link add br9p type veth peer name eth9 netns {target.netns}", *BRIDGE.strip().split("\n")])
    target.ip_batch(["addr add 172.30.0.2/24 dev eth9", "link set eth9 up"])
    if online.run(["sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={filtered}"]).returncode:
        pytest.skip("this kernel has no br_netfilter")
    a = alone(rule="6379-172.30.0.2:6379")
    appends(lab, connections=5, commands=100, size=1000)
    assert equal(*servers)
    assert wait_until(lambda: not target.check_output(["ss", "-Htn", "state", "connected", "exclude", "time-wait",
                                                       "dst", "172.30.0.1"]).strip(), 20)
    assert a.silent()
    assert all_complete(a.stop())


WITHOUT_ADMIN = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--ambient-caps=-net_admin"]
RAW_ALONE = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all,+net_raw",
             "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"]


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_without_a_table(lab, alone, servers, v6):
    """Without the capability for nf_tables, sockets that listen and hear nothing do the same."""
    a = alone("--workers", 2, prefix=WITHOUT_ADMIN, v6=v6)
    assert "no nft table (nf_tables needs CAP_NET_ADMIN: run as root): 1024 listening sockets keep" in a.tcpcopy.log
    assert a.rules() == a.ruleset
    if v6:
        with lab.host("client").inside():
            connection = socket.create_connection((lab.host("online").ip6, 6379), 20)
        for i in range(100):
            ask(connection, f"append key {i}.")
        connection.close()
    else:
        appends(lab, connections=10, commands=100, size=2000)
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["own.ports"] == 1024 and account["own.swallowed"] == account["own.answers"]


def test_a_user_who_may_only_capture(lab, alone, servers):
    """As in a container without NET_ADMIN; so many ports as are asked for."""
    lab.directory.chmod(0o777)
    a = alone("--own-ports", 200, prefix=RAW_ALONE)
    listening = a.online.check_output(["ss", "-Hltn", "src", a.online.ip4]).count("\n")
    assert listening == 200
    appends(lab, connections=10, commands=100)
    assert equal(*servers)
    a.tcpcopy.kill()
    assert wait_until(lambda: not a.online.check_output(["ss", "-Hltn", "src", a.online.ip4]))
    assert a.silent()


def test_a_target_that_the_deaf_hear(lab, alone, servers):
    lab.host("target").sysctl(net__ipv4__ip_default_ttl=255)
    a = alone(prefix=WITHOUT_ADMIN)
    connection = connect(lab)
    ask(connection, "append key 1.")
    assert wait_until(lambda: "10.90.109.143:6379 sends with a TTL of 255" in a.tcpcopy.log)
    connection.close()


def test_nothing_comes_back(lab, alone):
    """A target that drops what comes from here: the log says so once, without being asked."""
    lab.redis("online")
    target = lab.host("target")
    target.check_output(["nft", "-f", "-"], input="""table ip wall { chain input {
        type filter hook input priority 0; tcp dport 6379 drop; }; }""")
    a = alone()
    connection = connect(lab)
    ask(connection, "append key 1.")
    said = "no session has received a response: nothing comes back from 10.90.109.143:6379 to this host"
    assert wait_until(lambda: said in a.tcpcopy.log)
    time.sleep(2)
    assert a.tcpcopy.log.count("no session has received a response") == 1
    connection.close()
    a.tcpcopy.stop()


@pytest.mark.skipif(SANITIZED, reason="builds with sanitizers give up nothing")
def test_what_the_processes_hold(lab, alone, servers):
    """tcpcopy has no capability left, and its helper one."""
    a = alone()

    def capabilities(pid):
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status", encoding="ascii"))
        return [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")]

    (helper,) = a.online.check_output(["pgrep", "-P", a.tcpcopy.process.pid, "tcpcopy-own"]).split()
    assert capabilities(a.tcpcopy.process.pid) == [0, 0, 0, 0]
    assert capabilities(helper) == [1 << 12, 1 << 12, 0, 0]
    appends(lab, connections=2, commands=10)
    assert equal(*servers) and a.closed() and a.silent()
    a.stop()


def test_a_temporary_address_is_not_taken(lab, alone, servers):
    """As a host with privacy extensions has: it prefers one that is gone in some days."""
    online = lab.host("online")
    online.sysctl(net__ipv6__conf__eth0__use_tempaddr=2)
    online.ip_batch(["addr add fd90::77:0:0:1/64 dev eth0 mngtmpaddr nodad"])

    def source():
        return online.check_output(["ip", "-6", "route", "get", lab.host("target").ip6]).split(" src ")[1].split()[0]
    if not wait_until(lambda: "temporary" in online.check_output(["ip", "-6", "addr", "show", "to", source()]), 10):
        pytest.skip("this kernel makes no temporary address here")
    a = alone(v6=True)
    assert "come back to this host, to fd90::111:142" in a.tcpcopy.log or "to fd90::77:0:0:1" in a.tcpcopy.log
    with lab.host("client").inside():
        connection = socket.create_connection((online.ip6, 6379), 20)
    ask(connection, "append key 1.")
    connection.close()
    assert equal(*servers) and a.closed() and a.silent()
    a.stop()


def test_its_address_goes(lab, alone, servers):
    online = lab.host("online")
    online.ip_batch(["addr add 10.90.111.200/32 dev eth0"])
    a = alone("-c", "10.90.111.200")
    online.ip_batch(["addr del 10.90.111.200/32 dev eth0"])
    assert wait_until(lambda: "10.90.111.200 is no address of this host any more" in a.tcpcopy.log)
    online.ip_batch(["addr add 10.90.111.200/32 dev eth0"])
    time.sleep(1.5)
    connection = connect(lab)
    ask(connection, "append key 1.")
    connection.close()
    assert equal(*servers)
    assert a.stop().log.count("is no address of this host any more") == 1


def test_two_of_them(lab, alone, servers):
    """One for a pair of address and target; another address of the host is another pair."""
    a = alone()
    target = lab.host("target").ip4
    second = Program(lab.host("online"), "tcpcopy", "-x", f"6380-{target}:6379")
    assert second.process.wait(20) == 1
    assert "another tcpcopy on this host copies from 10.90.111.142 to 10.90.109.143:6379 (process " in second.log
    lab.host("online").ip_batch(["addr add 10.90.111.200/32 dev eth0"])
    third = Program(lab.host("online"), "tcpcopy", "-x", f"6380-{target}:6379", "-c", "10.90.111.200").wait_ready()
    third.stop()
    connection = connect(lab)
    ask(connection, "append key 1.")
    connection.close()
    assert equal(*servers) and a.closed() and a.silent()
    a.stop()


def check(host, *args):
    """The exit status and the lines of --check that are about the way back."""
    done = host.run([BIN / "tcpcopy", *args, "--check"])
    assert done.stderr == ""
    return done.returncode, [line.split(None, 2) for line in done.stdout.splitlines()[:-1]
                             if line.split()[1] in ("answers", "probe", "assistant")]


def test_check(lab, alone, servers):
    online, target = lab.host("online"), lab.host("target")
    before = online.check_output(["nft", "list", "ruleset"])
    trouble = Trouble(target)
    status, lines = check(online, "-x", f"6379-{target.ip4}:6379,6379-[{target.ip6}]:6379")
    assert status == 0 and [line[:2] for line in lines] == [["ok", "answers"]] * 3 + [["ok", "probe"]] * 2
    assert "10.90.109.143:6379 answers to this host's 10.90.111.142: " in lines[0][2]
    assert "from ports 1024-32767 and 61000-65535" in lines[0][2]
    assert "answered this host's port 1024 after" in lines[3][2]
    assert trouble() == {} and online.check_output(["nft", "list", "ruleset"]) == before

    # the way that works comes first, and what was not tried is named
    done = online.run([BIN / "tcpcopy", "-x", f"6379-{target.ip4}:6379", "--check"])
    found = [line.split(None, 2)[2] for line in done.stdout.splitlines() if line.split()[1] == "ways"]
    assert found[0].startswith(f"works: {BIN / 'tcpcopy'} -x 6379-10.90.109.143:6379: no other host is needed")
    assert [line.split(": ")[0] for line in found[1:]] == ["not tried", "not tried"]

    # beside one that replicates, whose ports and answers are its own
    a = alone()
    connection = connect(lab)
    ask(connection, "append key 1.")
    status, lines = check(online, "-x", f"6379-{target.ip4}:6379")
    assert status == 0 and "a tcpcopy that runs has these ports" in lines[1][2]
    assert "answered this host's port " in lines[3][2] and "port 1024 " not in lines[3][2]
    ask(connection, "append key 2.")
    connection.close()
    assert equal(*servers) and a.closed() and a.silent()
    assert all_complete(a.stop())


def test_check_finds(lab, servers):
    online, target = lab.host("online"), lab.host("target")
    status, lines = check(online, "-x", f"6379-{target.ip4}:6380")
    assert status == 1 and [line[2] for line in lines if line[0] == "broken"][0].startswith("nothing listens on")

    # what this host rewrites for its own connections, it does not for packets that are injected
    online.ip_batch([f"route add 10.99.0.9 via {target.ip4}"])
    online.check_output(["nft", "-f", "-"], input=f"""table ip service {{ chain output {{
        type nat hook output priority -100; ip daddr 10.99.0.9 dnat to {target.ip4}; }}; }}""")
    status, lines = check(online, "-x", "6379-10.99.0.9:6379")
    (wrong,) = [line[2] for line in lines if line[0] == "broken"]
    assert status == 1 and "answers an ordinary connection of this host, but not a packet from its port 1024" in wrong
    online.check_output(["nft", "delete", "table", "ip", "service"])

    # a firewall of the target that knows the ports of ordinary clients only
    target.check_output(["nft", "-f", "-"], input="""table ip wall { chain input {
        type filter hook input priority 0; tcp dport 6379 tcp sport < 32768 drop; }; }""")
    status, lines = check(online, "-x", f"6379-{target.ip4}:6379")
    (wrong,) = [line[2] for line in lines if line[0] == "broken"]
    assert status == 1 and "--own-ports" in wrong
    status, lines = check(online, "-x", f"6379-{target.ip4}:6379", "--own-ports", "61000-65535")
    assert status == 0

    # without the capability nothing can be kept from this host's TCP
    done = online.run([*WITHOUT_ADMIN, BIN / "tcpcopy", "-x", f"6379-{target.ip4}:6379", "--check"])
    assert done.returncode == 0 and "nf_tables needs CAP_NET_ADMIN: run as root" in done.stdout
    assert "answered this host's port" in done.stdout

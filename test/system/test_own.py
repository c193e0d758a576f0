#!/usr/bin/python3
"""tcpcopy alone: no -s, no assistant, no route. The answers of the target come back to the online server and end there:
before its TCP, which never resets them, and away from the client, which never gets a packet of the target.
"""

import signal
import time

import pytest
from conftest import run_all, wait_until
from workload import Trouble, all_complete, appends, ask, connect, equal


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
    assert wait_until(lambda: len(servers[1].requests()) >= 1140)
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
    appends(lab, connections=5, commands=50, size=200, at=lab.host("online").ip6)
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

    def too_much():
        """On a slow machine the target's answers come later than the online server's."""
        first.sendall(b"*2\r\n$3\r\nget\r\n$3\r\nbig\r\n" * 2)
        left = 2 * (6_000_000 + len("$6000000\r\n\r\n"))
        while left:
            left -= len(first.recv(1 << 20))
        with connect(lab) as connection:
            ask(connection, "append declined 1.")
        return "more than 16 Mbit/s of answers come in to this host" in a.tcpcopy.log
    assert wait_until(too_much)
    first.close()

    def replicated():
        """What has been too much is over two seconds later."""
        with connect(lab) as connection:
            ask(connection, "append key 1.")
        return servers[1].cli("get", "key")
    assert wait_until(replicated, step=0.5)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert account["own.bytes"] > 12_000_000 and account["own.over"] >= 1
    assert account["own.over"] == account["declined.source"]


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
    online = lab.host("online")
    appends(lab, connections=5, commands=20, size=100_000, at=online.ip6 if "[" in rule else online.ip4)
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert all_complete(account)
    assert account["engine.captured_bytes"] > 2_000_000
    cut = account["sent.packets"] - account["engine.emitted_acks"] - account["engine.retransmitted_segments"]
    # and the SYN and FIN of each session
    assert cut <= account["engine.captured_data"] + 2 * account["engine.sessions_opened"], account.log


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

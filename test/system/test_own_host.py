#!/usr/bin/python3
"""tcpcopy alone, and the host on which it runs: its rules, sockets, addresses and privileges, with what is left of them
when a process ends; and --check.
"""

import socket
import time

import pytest
from alone import check
from conftest import BIN, PATIENCE, SANITIZED, Program, wait_until
from workload import Trouble, all_complete, appends, ask, connect, equal


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
    assert a.tcpcopy.process.wait(PATIENCE) == 1
    assert "the helper process has ended, and its nft table with it; ending" in a.tcpcopy.log
    assert wait_until(lambda: a.rules() == a.ruleset) and a.closed()
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


WITHOUT_ADMIN = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--ambient-caps=-net_admin"]
RAW_ALONE = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all,+net_raw",
             "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"]


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_without_a_table(lab, alone, servers, v6):
    """Without the capability for nf_tables, sockets that listen and hear nothing do the same."""
    a = alone("--workers", 2, prefix=WITHOUT_ADMIN, v6=v6)
    assert "no nft table (nf_tables needs CAP_NET_ADMIN: run as root): 1024 listening sockets keep" in a.tcpcopy.log
    assert a.rules() == a.ruleset
    appends(lab, connections=10, commands=100, size=2000, at=lab.host("online").ip6 if v6 else None)
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
    """It is refused in words, by a running tcpcopy as by --check: this host's TCP resets what listening sockets hear."""
    lab.host("target").sysctl(net__ipv4__ip_default_ttl=255)
    a = alone(prefix=WITHOUT_ADMIN)
    connection = connect(lab)
    ask(connection, "append key 1.")
    assert wait_until(lambda: "10.90.109.143:6379 sends with a TTL of 255" in a.tcpcopy.log)
    with connect(lab) as another:
        ask(another, "append key 2.")
        assert wait_until(lambda: a.tcpcopy.status()["account"]["declined"]["source"] > 0)
        ask(another, "append key 3.")
    connection.close()
    assert servers[0].cli("get", "key") == "1.2.3." and servers[1].cli("get", "key") == "" and a.closed()
    account = a.stop()
    assert account["ended.source-lost"] == 1 and account["own.heard"] == 1 and a.tcpcopy.log.count("sends with a TTL of 255") == 1
    done = a.online.run([*WITHOUT_ADMIN, BIN / "tcpcopy", "-x", f"6379-{a.target.ip4}:6379", "--check"])
    assert done.returncode == 1 and "sends with a TTL of 255" in done.stdout


def test_a_port_gets_a_service(lab, alone, servers):
    """It is bound to the very address and port of a session: this host's TCP resets the copy, and the port is withdrawn."""
    a = alone("--own-ports", "20000-20059")
    old, other = connect(lab), connect(lab)
    for connection in (old, other):
        ask(connection, "append key 1.")
    assert wait_until(lambda: len(a.connections()) == 2)
    with a.online.inside():
        service = socket.create_server((a.online.ip4, 20000))
    ask(old, "append key 2.")
    assert wait_until(lambda: a.tcpcopy.status()["account"]["own"]["withdrawn"] == 1)
    for n in range(30):
        with connect(lab) as connection:
            ask(connection, f"append new {n}.")
    ask(other, "append other 1.")
    assert wait_until(lambda: servers[1].cli("get", "new") == "".join(f"{n}." for n in range(30)), step=0.5)
    assert wait_until(lambda: servers[1].cli("get", "other") == "1.", step=0.5)
    assert "port 10.90.111.142:20000 is withdrawn: this host's TCP has reset what 10.90.109.143:6379 sent there" in a.tcpcopy.log
    with lab.host("client").inside(), socket.create_connection((a.online.ip4, 20000), 20) as caller:
        served = service.accept()[0]
        caller.sendall(b"x")
        assert served.recv(10) == b"x"                              # the service is whole
        served.close()
    service.close()
    old.close()
    other.close()
    assert a.closed()
    account = a.stop()
    assert account["own.withdrawn"] == 1 == account["ended.source-lost"] and account["own.ports"] == 59
    assert account["ended.target-reset"] == 0


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
    older = connect(lab)
    ask(older, "append older 1.")
    assert wait_until(lambda: servers[1].cli("get", "older") == "1.")
    online.ip_batch(["addr del 10.90.111.200/32 dev eth0"])
    assert wait_until(lambda: "10.90.111.200 is no address of this host any more, so nothing comes back to it: its sessions "
                              "end, and new ones begin from none; give it back" in a.tcpcopy.log)
    assert wait_until(lambda: a.tcpcopy.status()["account"]["ended"]["source-lost"] == 1)
    with connect(lab) as connection:
        ask(connection, "append lost 1.")
        assert wait_until(lambda: a.tcpcopy.status()["account"]["declined"]["source"] > 0)
    online.ip_batch(["addr add 10.90.111.200/32 dev eth0"])

    def replicated():
        with connect(lab) as connection:
            ask(connection, "append key 1.")
        return servers[1].cli("get", "key")
    assert wait_until(replicated, step=0.5)
    assert wait_until(replicated, step=0.5)
    older.close()
    log = a.stop().log
    assert log.count("is no address of this host any more") == 1 == log.count("10.90.111.200 is an address of this host again")


def test_one_of_its_addresses_goes(lab, alone, servers):
    """Its sessions end in words; their connections are joined from the other one, from which new sessions begin as well."""
    online = lab.host("online")
    online.ip_batch([f"addr add 10.90.111.{n}/32 dev eth0" for n in (200, 201)])
    a = alone("-c", "10.90.111.200", "-c", "10.90.111.201", "--workers", 2)
    older = [connect(lab) for _ in range(8)]
    for connection in older:
        ask(connection, "append key 1.")

    def copies(address):
        return a.target.check_output(["ss", "-Htn", "state", "established", "sport", "=", ":6379", "dst", address]).count("\n")
    assert wait_until(lambda: copies("10.90.111.200") + copies("10.90.111.201") == 8)
    gone = copies("10.90.111.200")
    assert gone > 0
    online.ip_batch(["addr del 10.90.111.200/32 dev eth0"])
    assert wait_until(lambda: a.tcpcopy.status()["account"]["ended"]["source-lost"] == gone)
    assert "new ones begin from the other addresses" in a.tcpcopy.log

    def replicated(key):
        with connect(lab) as connection:
            ask(connection, f"set {key} 1")
        return wait_until(lambda: servers[1].cli("get", key) == "1", timeout=2)
    for n in range(8):                      # a worker that hears of it late begins one more from there
        assert wait_until(lambda n=n: replicated(f"new{n}"), step=0.3)

    def joined():
        for connection in older:
            ask(connection, "append later 1.")
        return copies("10.90.111.201") == 8
    assert wait_until(joined, step=0.5) and copies("10.90.111.200") == 0
    for connection in older:
        connection.close()
    account = a.stop()
    assert gone <= account["ended.source-lost"] <= gone + 2 and account.log.count("is no address of this host any more") == 1


def test_addresses_of_clients_on_loopback(lab, servers):
    """Towards a target of this host each client can have an address of its own in 127.0.0.0/8."""
    online, client = lab.host("online"), lab.host("client")
    target = lab.redis("online", port=7379)
    client.ip_batch([f"addr add 10.90.114.{n}/32 dev eth0" for n in range(201, 209)])
    run = Program(online, "tcpcopy", "-x", "6379-127.0.0.1:7379", "-c", "127.0.1.0/24").wait_ready()
    held = []
    with client.inside():
        for number in [*range(201, 209), *range(201, 209)]:
            held.append(socket.create_connection((online.ip4, 6379), 20, (f"10.90.114.{number}", 0)))
            ask(held[-1], f"append c{number} 1.")
    assert wait_until(lambda: [target.cli("get", f"c{number}") for number in range(201, 209)] == ["1.1."] * 8)
    seen = [line.split() for line in online.check_output(["ss", "-Htn", "state", "established", "sport", "=", ":7379"]).splitlines()]
    hosts = [line[3].rsplit(":", 1)[0].removeprefix("[::ffff:").rstrip("]") for line in seen if not line[3].startswith("127.0.0.1:")]
    assert len(hosts) == 16 and all(host.startswith("127.0.1.") for host in hosts)
    assert sorted(hosts.count(host) for host in set(hosts)) == sorted([2] * len(set(hosts))) and len(set(hosts)) >= 7
    for connection in held:
        connection.close()
    run.stop()


def test_two_of_them(lab, alone, servers):
    """One for a pair of address and target; another address of the host is another pair."""
    a = alone()
    target = lab.host("target").ip4
    second = Program(lab.host("online"), "tcpcopy", "-x", f"6380-{target}:6379")
    assert second.process.wait(PATIENCE) == 1
    assert "another tcpcopy on this host copies from 10.90.111.142 to 10.90.109.143:6379 (process " in second.log
    lab.host("online").ip_batch(["addr add 10.90.111.200/32 dev eth0"])
    third = Program(lab.host("online"), "tcpcopy", "-x", f"6380-{target}:6379", "-c", "10.90.111.200").wait_ready()
    third.stop()
    connection = connect(lab)
    ask(connection, "append key 1.")
    connection.close()
    assert equal(*servers) and a.closed() and a.silent()
    a.stop()


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

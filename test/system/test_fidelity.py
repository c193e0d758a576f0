#!/usr/bin/python3
"""Kinds of traffic: large values, uploads, many connections, old connections, other servers. What the target has
executed is what the online server has, in order and once.
"""

import collections
import selectors
import signal
import threading
import time

import pytest
from conftest import run_all, wait_until
from workload import Trouble, all_complete, appends, ask, closed, connect, equal, pace, pair, writes


def offloads(lab, on):
    for name in "client", "online", "target":
        lab.offload(name, on)


@pytest.mark.parametrize("on", [True, False], ids=["offloads", "no offloads"])
@pytest.mark.parametrize("size, commands", [(16384, 40), (100_000, 10)])
def test_large_values(lab, replay, size, commands, on):
    online, target = pair(lab)
    offloads(lab, on)
    pace(lab, 10)
    r = replay()
    trouble = Trouble(lab.host("target"))
    appends(lab, connections=10, commands=commands, size=size)
    equal(online, target)
    assert closed(lab)
    assert trouble() == {}
    assert all_complete(r.stop())


@pytest.mark.parametrize("on", [True, False], ids=["offloads", "no offloads"])
def test_fifty_megabytes(lab, replay, on):
    """One value, in both directions; the answer is not replicated, only acknowledged."""
    online, target = pair(lab, args=["--client-query-buffer-limit", "200mb"])
    offloads(lab, on)
    pace(lab, 25 if on else 10)     # one packet costs as much as a super-packet
    r = replay()
    trouble = Trouble(lab.host("target"))
    value = lab.new_path("value")
    value.write_bytes(bytes(range(1, 251)) * 200_000)
    done = lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} -x set big < {value}")
    assert "OK" in done.stdout
    equal(online, target)
    assert target.cli("strlen", "big") == "50000000"
    lab.host("client").sh(f"redis-cli -h {lab.host('online').ip4} get big > /dev/null")
    assert wait_until(lambda: target.calls().get("get") == 1)
    assert closed(lab)
    assert trouble() == {}
    account = r.stop()
    assert all_complete(account)
    assert account["engine.response_bytes"] > 50_000_000


def test_upload_of_100_megabytes(lab, replay):
    online, target = pair(lab, "nginx")
    pace(lab, 40)
    r = replay(port=80)
    trouble = Trouble(lab.host("target"))
    body = lab.new_path("body")
    body.write_bytes(bytes(range(250)) * 400_000)
    code = lab.host("client").check_output(["curl", "-s", "-w", "%{http_code}", "-T", body,
                                            f"http://{lab.host('online').ip4}/upload/file"])
    assert code == "204"
    assert wait_until(lambda: online.requests() and target.requests() == online.requests())
    assert int(target.requests()[0].split()[-2]) > 100_000_000
    assert closed(lab, 80)
    assert trouble() == {}
    assert all_complete(r.stop())


def test_connection_for_every_command(lab, replay):
    """As fast as the client can; sessions overlap, and ports come back soon."""
    online, target = pair(lab)
    client = lab.host("client")
    client.sysctl(net__ipv4__ip_local_port_range="20000 31999", net__ipv4__tcp_tw_reuse=1)
    r = replay()
    run_all(client, [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set", "-n", "14000", "-c", "20",
                      "-k", "0", "-r", "100000", "-q"]])
    equal(online, target)
    assert closed(lab)
    account = r.stop()
    assert account["engine.sessions_opened"] >= 14000
    assert account["engine.lost_bytes"] == 0, account.log


def test_connections_while_stopped(lab, replay):
    """All that tcpcopy has to know of connections that began and ended while it had no processor waits for it."""
    online, target = pair(lab)
    client = lab.host("client")
    client.sysctl(net__ipv4__ip_local_port_range="20000 31999", net__ipv4__tcp_tw_reuse=1)
    r = replay()
    r.tcpcopy.process.send_signal(signal.SIGSTOP)
    try:
        run_all(client, [["redis-benchmark", "-h", lab.host("online").ip4, "-t", "set", "-n", "6000", "-c", "20",
                          "-k", "0", "-r", "100000", "-q"]])
    finally:
        r.tcpcopy.process.send_signal(signal.SIGCONT)
    # the target cannot accept so many at once: its SYN cookies fail
    assert wait_until(lambda: sum(writes(target).values()) > 1000)
    assert closed(lab)
    account = r.stop()
    assert account["capture.replies_dropped"] == account["capture.kernel_drops"] == 0
    assert account["refused.unproved"] == 0
    assert account["capture.replies"] >= account["engine.sessions_opened"] >= 6000


def test_connection_for_every_http_request(lab, replay):
    online, target = pair(lab, "nginx")
    client = lab.host("client")
    r = replay(port=80)
    run_all(client, [["wrk", "-t", "1", "-c", "3", "-d", "2", "-H", "Connection: close",
                      f"http://{lab.host('online').ip4}/"]])

    def requests(server):
        """Who asked what; of those whom the end of the run cut off the log says so, or nothing at all."""
        return collections.Counter(line for line in server.requests() if " 200 " in line)
    assert wait_until(lambda: requests(online) == requests(target)), len(requests(online) - requests(target))
    assert sum(requests(online).values()) > 200
    assert closed(lab, 80)
    account = r.stop()
    # the end of the run cuts off whom the target has not taken yet
    assert account["engine.lost_bytes"] == account["lost.client-reset"] and account["ended.client-reset"] <= 3, account.log


def test_thousand_long_connections(lab, replay):
    online, target = pair(lab)
    r = replay()
    trouble = Trouble(lab.host("target"))
    connections = [connect(lab) for _ in range(1000)]
    for turn in range(5):
        with selectors.DefaultSelector() as waiting:
            for i, connection in enumerate(connections):
                connection.sendall(f"append log:{i} {turn}.\r\n".encode())
                waiting.register(connection, selectors.EVENT_READ)
            while waiting.get_map():
                for key, _ in waiting.select(10):
                    assert key.fileobj.recv(100).startswith(b":")
                    waiting.unregister(key.fileobj)
    for connection in connections:
        connection.close()
    equal(online, target)
    assert closed(lab)
    assert trouble() == {}
    assert all_complete(r.stop())


def test_connections_older_than_tcpcopy(lab, replay):
    """Idle and active ones are joined at a command; the middle of an upload is not mistaken for one."""
    online, target = pair(lab)
    idle, active, upload = connect(lab), connect(lab), connect(lab)
    started, stop, pauses = threading.Event(), threading.Event(), []

    def be_active():
        for i in range(1_000_000):
            ask(active, f"append active {i}.")
            if stop.is_set():
                return

    def send_value():
        upload.sendall(b"*3\r\n$3\r\nset\r\n$3\r\nbig\r\n$3000000\r\n")
        for _ in range(300):
            begun = time.monotonic()
            upload.sendall(b"incr x\r\n.." * 1000)      # what a server would execute, if it began in the middle
            started.set()
            time.sleep(0.005)
            pauses.append(time.monotonic() - begun)
        upload.sendall(b"\r\n")
        assert upload.recv(100) == b"+OK\r\n"
        ask(upload, "append upload after")

    ask(idle, "append idle before.")
    threads = [threading.Thread(target=be_active), threading.Thread(target=send_value)]
    for thread in threads:
        thread.start()
    started.wait()
    r = replay()
    time.sleep(0.5)
    ask(idle, "append idle after")
    threads[1].join()
    stop.set()
    threads[0].join()
    assert wait_until(lambda: target.cli("get", "upload") == "after")
    assert wait_until(lambda: target.cli("get", "idle") == "after")
    assert wait_until(lambda: online.cli("get", "active").endswith(target.cli("get", "active"))
                      and target.cli("get", "active")[-8:] == online.cli("get", "active")[-8:])
    # all of them from some command on, and that soon after the start
    assert int(target.cli("get", "active").split(".")[0]) > 0
    assert target.cli("exists", "big") == "0"
    # a client that has no processor for 200 ms looks like one that has ended its turn
    if max(pauses) < 0.1:
        assert "incr" not in target.calls() and "errorstat" not in target.cli("info", "errorstats")
    for connection in idle, active, upload:
        connection.close()
    assert closed(lab)
    account = r.stop()
    assert account.outcomes() == {"complete": 3}
    assert account["engine.sessions_joined"] == 3


def test_postgresql(lab, replay):
    """pgbench, prepared statements and all. Rows of the history have a time of their own; the rest must be equal."""
    online, target = pair(lab, "postgresql")
    for server in online, target:
        server.bench_tables()
    r = replay(port=5432)
    trouble = Trouble(lab.host("target"))
    bench = [online.bin / "pgbench", "-h", lab.host("online").ip4, "-U", "postgres", "-n", "postgres"]
    run_all(lab.host("client"), [bench + ["-c", "4", "-t", "100"], bench + ["-c", "2", "-t", "100", "-M", "prepared"]])

    def content(server):
        return [server.sql(query) for query in (
            "select aid, abalance from pgbench_accounts where abalance <> 0 order by aid",
            "select tid, tbalance from pgbench_tellers order by tid", "select * from pgbench_branches",
            "select tid, bid, aid, delta, count(*) from pgbench_history group by 1, 2, 3, 4 order by 1, 2, 3, 4")]
    assert wait_until(lambda: target.sql("select count(*) from pgbench_history") == ["600"])
    assert content(online) == content(target)
    assert closed(lab, 5432)
    assert trouble() == {}
    assert all_complete(r.stop())


def test_memcached(lab, replay):
    online, target = pair(lab, "memcached")
    r = replay(port=11211)
    trouble = Trouble(lab.host("target"))

    def talk(c):
        with connect(lab, 11211) as connection:
            ask(connection, f"set log:{c} 0 0 0\r\n")
            for i in range(200):
                text = f"{i}."
                ask(connection, f"append log:{c} 0 0 {len(text)}\r\n{text}")
                ask(connection, f"get log:{c}", end=b"END\r\n")
                ask(connection, f"set value:{c}:{i} 0 0 3000\r\n{str(i) * 3000:.3000}")
    threads = [threading.Thread(target=talk, args=(c,)) for c in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = ("cmd_get", "cmd_set", "get_hits", "curr_items", "total_items")

    def same():
        there, here = online.stats(), target.stats()
        return all(there[name] == here[name] for name in counts)
    assert wait_until(same), (online.stats(), target.stats())
    for c in range(5):
        assert online.ask(f"get log:{c}") == target.ask(f"get log:{c}")
        assert online.ask(f"get value:{c}:199") == target.ask(f"get value:{c}:199")
    assert closed(lab, 11211)
    assert trouble() == {}
    assert all_complete(r.stop())

#!/usr/bin/python3
"""The walk-through with real redis servers: every request once, as the client sent it, and nothing comes back."""

import os
import re
import signal
import subprocess

import pytest
from conftest import BIN, PATIENCE, TOP, run_all, wait_until
from workload import Trouble, closed

def three_clients(lab, v6):
    """Three clients, each with an address of its own."""
    return [lab.host("client"), lab.add_host("client2", "10.90.114.83"), lab.add_host("client3", "10.90.114.84")]


def commands_of(client, n):
    """1000 commands of a client: the order matters to the result."""
    lines = []
    for i in range(n):
        lines += [f"append log:{client} {i}.", f"incrby total:{client} {i}"][i % 2:][:1]
    return "\n".join(lines) + "\n"


def drain(online, target):
    """Until the target has executed what the online server has."""
    def same():
        there, here = target.calls(), online.calls()
        return all(there.get(k) == n for k, n in here.items() if k in ("append", "incrby", "set", "get"))
    return wait_until(same)


@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
def test_three_clients(lab, replay, v6):
    clients = three_clients(lab, v6)
    lab.route_to_assistant(*(c.name for c in clients))
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(v6=v6)
    trouble = Trouble(lab.host("target"))
    captures = [c.capture(f"tcp and src host {lab.host('target').ip6 if v6 else lab.host('target').ip4}") for c in clients]
    # no packet is longer, and all of the test's fit into this witness's ring: 15769 of them, not 512
    wire = lab.host("target").capture("tcp port 6379", snaplen=2048)
    address = lab.host("online").ip6 if v6 else lab.host("online").ip4
    running = []
    for c in clients:
        p = c.popen(["redis-cli", "-h", address], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        p.stdin.write(commands_of(c.name, 1000))
        p.stdin.close()
        running.append(p)
    for p in running:
        assert p.wait(PATIENCE) == 0
    assert drain(online, target)
    calls = target.calls()
    assert calls["append"] == calls["incrby"] == 1500
    assert online.digest() == target.digest()
    assert closed(lab)
    # nothing of the target's reaches a client
    for capture in captures:
        assert capture.fields("frame.number", "tcp.flags.str") == []
    # what the target's kernel says
    assert trouble() == {}
    # what Wireshark says, of a recording that lacks nothing
    assert wire.stop().dropped == 0
    flagged = wire.fields(
        "frame.number", "tcp.analysis.flags", "_ws.col.Info", display_filter="ip.checksum.status == 0 || (ip.dst == 10.90.109.143 || ipv6.dst == fd90::109:143) && "
        "(tcp.checksum.status == 0 || tcp.analysis.ack_lost_segment || tcp.analysis.retransmission || "
        "tcp.analysis.out_of_order || tcp.analysis.lost_segment)", options=["tcp.check_checksum:TRUE"])
    account = r.stop()
    # on a slow machine an acknowledgment may come after the time that it is waited for
    again = [packet for packet in flagged if "etransmission" in packet["_ws.col.Info"]]
    assert len(again) <= account["engine.retransmitted_segments"] <= 30
    assert again == flagged
    assert account.outcomes() == {"complete": 3}


def test_daemons_as_typed(lab):
    """The post's own command lines, with -d, unquoted filter and all."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    intercept = lab.host("assistant").sh("./intercept -i eth0 -F tcp and src port 6379 -d", cwd=BIN)
    assert intercept.returncode == 0, intercept.stderr
    tcpcopy = lab.host("online").sh("./tcpcopy -x 6379-10.90.109.143:6379 -s 10.90.110.143 -d", cwd=BIN)
    assert tcpcopy.returncode == 0, tcpcopy.stderr
    there = target.monitor()
    here = online.monitor()
    lab.host("client").check_output(["redis-cli", "-h", "10.90.111.142", "set", "date", "04-22-2015"])

    def request(monitor):
        for line in monitor.stdout:
            if '"set"' in line:
                return line.split(" ", 1)[1]  # without the time
    first = request(here)
    assert request(there) == first
    assert '10.90.114.82:' in first and '"date" "04-22-2015"' in first
    here.terminate()
    there.terminate()


@pytest.mark.parametrize("one", [False, True], ids=["four-hosts", "one-command"])
def test_demo(one):
    """The demonstration, which judges by itself: the README's first, and that of the walk-through."""
    done = subprocess.run(["/usr/bin/python3", "-B", TOP / "lab/demo.py", *["--one"] * one], timeout=5 * PATIENCE, capture_output=True,
                          text=True, env={**os.environ, "TCPCOPY_BIN_DIR": str(BIN), "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything is as it should be" in done.stdout and "  NO " not in done.stdout
    typed = {line.split()[0] for line in done.stdout.splitlines() if re.match(r" *\w+ #", line)}
    assert typed == {"client", "online", "target"} | ({"assistant"} if not one else set())
    assert (" route add " in done.stdout) != one and ("intercept" in done.stdout) != one
    sources = set(re.findall(r'\[0 ([\d.]+):\d+\] "set"', done.stdout))
    assert sources == {"10.90.114.82", "10.90.111.142"} if one else {"10.90.114.82"}


def test_on_a_machine_of_your_own(lab):
    """The three lines of the README, as typed on a host that has a redis."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (.*)", text.split("### On a machine of your own, now\n")[1].split("\n## ")[0], re.MULTILINE)
    assert len(lines) == 3
    online = lab.host("online")
    lab.redis("online")
    second, copying, asking = (line.replace("sudo ", "") for line in lines)
    home = lab.new_path("home")
    home.mkdir()
    try:
        assert online.sh(second, cwd=home).returncode == 0
        assert wait_until(lambda: online.sh("redis-cli -p 7379 ping").stdout == "PONG\n")
        done = online.sh(copying, cwd=BIN)
        assert done.returncode == 0, done.stderr
        # the copy is behind by less than a redis-cli needs to start, but not on every machine
        assert wait_until(lambda: online.sh(asking).stdout == "OK\nworld\n")
        assert online.sh("redis-cli -p 7379 info commandstats | grep cmdstat_set").stdout
    finally:
        online.sh("redis-cli -p 7379 shutdown nosave")


def test_four_servers_of_your_own(lab):
    """The steps of the README, as typed on each host, in their order; Ctrl-C ends them."""
    text = (TOP / "README.md").read_text(encoding="utf-8").split("## On four servers of your own\n")[1].split("\n## ")[0]
    steps = {int(step[0]): re.findall(r"^    (.*)", step, re.MULTILINE) for step in text.split("\n### ")[1:]}
    (route,), (sysctl, _), (intercept,), (checking, copying), (request,) = (steps[n] for n in range(3, 8))
    servers = [lab.redis(name) for name in ("online", "target")]
    on = {name: lab.host(name) for name in ("client", "online", "target", "assistant")}
    typed = {"env": {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}}
    on["target"].check_output(["sh", "-c", route.removeprefix("sudo ")])
    on["assistant"].check_output(["sh", "-c", sysctl.removeprefix("sudo ")])
    assert "via 10.90.110.143" in on["target"].check_output(["ip", "route", "get", "10.90.114.82"])
    running = []

    def start(host, line):
        log = lab.new_path(f"{host.name}-typed")
        with open(log, "w") as file:
            running.append(host.popen(["sh", "-c", f"exec {line.removeprefix('sudo ')}"], stdout=file, stderr=file, **typed))
        assert wait_until(lambda: log.read_text().rstrip().endswith("ready")), log.read_text()
    start(on["assistant"], intercept)
    done = on["online"].sh(checking.removeprefix("sudo "), **typed)
    assert done.returncode == 0 and ": broken" not in done.stdout and "\nok       probe" in done.stdout, done.stdout
    start(on["online"], copying)
    monitors = [server.monitor() for server in servers]
    on["client"].check_output(["sh", "-c", request])
    lines = []
    for monitor in monitors:
        lines.append(next(line for line in monitor.stdout if '"set"' in line).split(" ", 1)[1])
        monitor.terminate()
    assert lines[0] == lines[1] and "10.90.114.82:" in lines[0]
    for process in reversed(running):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_client_on_the_online_host(lab, replay):
    """Its copies' responses would come to its own host: left out, counted, said once; others are replicated."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay()
    before = lab.host("online").nstat()
    lab.host("client").check_output(["redis-cli", "-h", "10.90.111.142", "set", "key", "1"])
    assert drain(online, target)
    assert "on this host itself" not in r.tcpcopy.log
    for _ in range(2):
        lab.host("online").check_output(["redis-cli", "-h", "10.90.111.142", "ping"])
    assert wait_until(lambda: "clients on this host itself (10.90.111.142), such as health checks, are left out" in r.tcpcopy.log)
    assert wait_until(lambda: r.tcpcopy.status()["account"]["classify"]["from_here"] >= 8)
    assert closed(lab)
    account = r.stop()
    assert r.tcpcopy.log.count("such as health checks, are left out") == 1
    assert account["classify.from_here"] >= 8 and account.outcomes() == {"complete": 1}
    assert "ping" not in target.calls()
    assert lab.host("online").nstat().get("TcpOutRsts", 0) == before.get("TcpOutRsts", 0)


def test_five_megabytes(lab, replay):
    """One value of 5 MB in one go, offloads as the kernel has them."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay()
    value = lab.new_path("value")
    value.write_bytes(bytes((i * 7 + (i >> 8)) & 0xff for i in range(5_000_000)))
    done = lab.host("client").sh(f"redis-cli -h 10.90.111.142 -x set big < {value}")
    assert "OK" in done.stdout
    assert drain(online, target)
    assert online.digest() == target.digest()
    assert lab.host("target").check_output(["redis-cli", "strlen", "big"]).strip() == "5000000"
    r.stop()


def test_many_connections_at_once(lab, replay):
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay()
    run_all(lab.host("client"), [["redis-benchmark", "-h", "10.90.111.142", "-t", "set,get", "-n", "5000", "-c", "50",
                                  "-r", "100000", "-q"]])
    assert drain(online, target)
    assert online.digest() == target.digest()
    assert closed(lab)
    account = r.stop()
    assert account.outcomes()["complete"] == account["engine.sessions_opened"]


def test_intercept_comes_back(lab, replay):
    """tcpcopy never ends for a lost assistant, connects again within a second and announces its live sessions."""
    lab.route_to_assistant("client")
    online, target = lab.redis("online"), lab.redis("target")
    r = replay()
    client = lab.host("client").popen(["redis-cli", "-h", "10.90.111.142"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, bufsize=1)

    def command(text):
        client.stdin.write(text + "\n")
        client.stdin.flush()
        return client.stdout.readline().strip()
    assert command("append k 1") == "1"
    assert drain(online, target)
    r.intercept.process.kill()
    r.intercept.process.wait()
    assert wait_until(lambda: "connection lost" in r.tcpcopy.log)
    assert command("append k 2") == "2"
    r.intercept = r.intercept.again().wait_ready()
    assert wait_until(lambda: r.tcpcopy.log.count("connected (") == 2)
    assert command("append k 3") == "3"
    assert drain(online, target)
    client.stdin.close()
    client.wait(PATIENCE)
    assert target.cli("get", "k") == "123"
    r.stop()

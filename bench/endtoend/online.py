"""What the online server's throughput is beside a capture, and beside replication."""

from .framework import Column, Section
from .measure import Machine, Tools, cpu, ending
from .traffic import LoadServer, RedisPair, redis_benchmark, tapped
from labnet import Lab

COLUMNS = {
    "rps": Column("online requests/s", 0),
    "ratio": Column("/ nothing", 3),
    "to_ring": Column("/ bare ring reader", 3),
    "captured": Column("segments captured a request", 2),
    "cpu": Column("tcpcopy or reader us/request", 2),
    "machine": Column("machine us/request, less nothing", 1),
}

NOTES = """redis-benchmark set and get, 50 connections. Each round has all rows, in an order that changes from
round to round; the ratios are those within a round. Bare ring reader: bench/tap, a TPACKET_V3 ring with blocks
of 256 KB and 1 ms, which touches every captured packet and does nothing with it. Discarded on the wire: the
target drops all copies before its TCP sees them (nft ingress), so no session is ever established and tcpcopy
captures, queues and gives up. Discarding server: the target's server reads and never answers, with --hold 0, so
every copy is sent, and the target's kernel acknowledges it by way of intercept. Replicating: redis on the
target, all of it. All five hosts share these processors, which are both busy: where the hosts are apart, the
online server pays only for what runs there."""

VARIANTS = ("nothing", "bare ring reader", "tcpcopy, discarded on the wire", "tcpcopy, discarding server", "tcpcopy, replicating")


def _load(lab, pair, size, pid):
    machine, before, done = Machine(), cpu(pid) if pid else 0, pair.counts()[0]
    rate = redis_benchmark(lab, "-t", "set,get", "-c", "50", "-n", str(max(int(60000 * size), 500)))
    busy, used, executed = machine.busy(), cpu(pid) - before if pid else None, pair.counts()[0] - done
    return {"rps": rate, "cpu": used and used / executed * 1e6, "machine": busy / executed * 1e6}, executed


def _variant(name, size):
    with Lab() as lab:
        lab.route_to_assistant("client")
        pair = RedisPair(lab)
        if name == "nothing":
            return _load(lab, pair, size, None)[0]
        if name == "bare ring reader":
            with tapped(lab.host("online"), "eth0", 6379) as tap:
                figures, executed = _load(lab, pair, size, tap.process.pid)
                figures["captured"] = tap.stop()["packets"] / executed
            return figures
        options = []
        if name.endswith("wire"):
            lab.host("target").check_output(["nft", "-f", "-"], input=(
                'table netdev bench { chain in {\ntype filter hook ingress device "eth0" priority 0\n'
                "tcp dport 6379 drop\n}\n}\n"))
            options = ["--hold", "0"]
        elif name.endswith("server"):
            pair.servers[1].stop()
            LoadServer(lab.host("target"), "sink").start()
            options = ["--hold", "0"]
        tools = Tools(lab, options=options)
        with ending(tools.replay.tcpcopy.process), ending(tools.replay.intercept.process):
            figures, executed = _load(lab, pair_online(pair), size, tools.pids[0])
            account = tools.account()
        figures["captured"] = account["engine.captured_segments"] / executed
        return figures


def pair_online(pair):
    """Only the online server's counters: the target's server may be another one by now."""
    class Online:
        @staticmethod
        def counts():
            return (pair._executed(pair.sockets[0]),)
    return Online


def measure(size, number):
    turn = number % len(VARIANTS)
    found = {name: _variant(name, size) for name in VARIANTS[turn:] + VARIANTS[:turn]}
    nothing, ring = found["nothing"], found["bare ring reader"]
    idle = nothing["machine"]
    for name in VARIANTS:
        figures = found[name]
        figures["machine"] = figures["machine"] - idle if name != "nothing" else None
        figures["ratio"] = figures["rps"] / nothing["rps"] if name != "nothing" else None
        figures["to_ring"] = figures["rps"] / ring["rps"] if name.startswith("tcpcopy") else None
    return {name: found[name] for name in VARIANTS}


SECTION = Section("online", "The online server's throughput", COLUMNS, [("round", measure)], NOTES, rounds=3)

"""How much of the work reaches the target, and what it costs: the load once with the two programs and once without."""

import functools
import time

from .framework import Column, Section
from .measure import COSTS, Machine, Tools, caught_up, costs, cpu_tree, missing, segments
from .traffic import RedisPair, WebPair, redis_benchmark, reuse_ports, wrk
from labnet import Lab

COLUMNS = {
    "fidelity": Column("fidelity", 4),
    "equal": Column("same data"),
    "rps": Column("replicated requests/s", 0),
    "pps": Column("segments/s", 0),
    **COSTS,
    "ms_per_mb": Column("both ms/MB", 2),
    "tcpcopy_mb": Column("tcpcopy peak MB", 0),
    "intercept_mb": Column("intercept peak MB", 0),
    "machine_us": Column("machine on - off us/request", 1),
    "target_us": Column("of it target's server", 1),
    "online_ratio": Column("online on / off", 2),
    "lag": Column("lag s", 2),
    "missing": Column("missing"),
}

NOTES = """fidelity: commands that the target executed / commands that the online server executed, from the
servers' own counters. us/request: user and system time of the process, from /proc, for each replicated request;
where each request has a connection of its own it is the cost of a connection. its own: the part of it that is not in a softirq,
by samples of perf (cpu-clock): a virtual cable runs what is at its other end, such as the target's TCP, in the sender's
context. own address: without an assistant. segments/s: TCP segments that the
target's kernel counted. machine: the time that the processors were not idle, softirq included, for each
request, with the two programs and the target at work, less the same without them (an interleaved pair); the
target's own work is in it, and its server's part is in the next column. online on / off: requests/s of the
online server in the same pair, all hosts on these cores. lag: until the target was done, after the client was."""


def _load(lab, pair, work, tools):
    """One load, and what it took."""
    target = lab.host("target")
    before = pair.counts()
    received = segments(target)
    if tools:
        tools.sample()
        tools.mark()
    server_cpu = cpu_tree(pair.servers[1].pid)
    machine = Machine()
    began = time.monotonic()
    rate = work(lab)

    def counts():
        return tuple(now - then for now, then in zip(pair.counts(), before))
    lag = caught_up(counts) if tools else 0
    busy = machine.busy()
    took = time.monotonic() - began
    there, here = counts()
    return {"rate": rate, "there": there, "here": here, "lag": lag, "busy": busy, "took": took,
            "used": tools.used() if tools else None, "own": tools.own() if tools else None, "server": cpu_tree(pair.servers[1].pid) - server_cpu,
            "segments": segments(target) - received}


def measure(name, kind, work, digest, options, size, number, own=False):
    with Lab() as lab:
        reuse_ports(lab.host("client"))
        lab.route_to_assistant("client")
        pair = kind(lab)
        work = functools.partial(work, size=size)
        if number % 2 == 0:
            off = _load(lab, pair, work, None)
        if number % 2 == 0 and digest:
            pair.servers[0].cli("flushall")
        tools = Tools(lab, port=pair.port, options=options, own=own)
        on = _load(lab, pair, work, tools)
        equal = pair.equal() if digest else None
        peaks = tools.peaks()
        account = tools.account()
        if number % 2:
            off = _load(lab, pair, work, None)
    here = max(on["here"], 1)
    seconds = max(on["took"], 1e-3)
    megabytes = account["engine.captured_bytes"] / 1e6
    figures = {
        "fidelity": on["here"] / max(on["there"], 1),
        "equal": None if equal is None else "yes" if equal else "no",
        "rps": on["here"] / seconds,
        "pps": on["segments"] / seconds,
        **costs(on["used"], on["own"], here),
        "ms_per_mb": sum(on["used"]) * 1e3 / megabytes if megabytes else None,
        "tcpcopy_mb": peaks[0],
        "intercept_mb": peaks[1] if len(peaks) > 1 else None,
        "machine_us": (on["busy"] / max(on["there"], 1) - off["busy"] / max(off["there"], 1)) * 1e6,
        "target_us": on["server"] / here * 1e6,
        "online_ratio": on["rate"] / off["rate"],
        "lag": on["lag"],
        "missing": missing(account) if on["here"] != on["there"] else None,
    }
    return {name: figures}


def redis(*args, count, paced=0):
    """redis-benchmark; with `paced`, MB/s that the client's link carries."""
    def work(lab, size):
        if paced and not lab.relay("client"):
            lab.faults("client", from_={"rate": paced * 8e6, "limit": 1e9})
        return redis_benchmark(lab, *args, "-n", max(int(count * size), 100))
    return work


def http(close):
    def work(lab, size):
        return wrk(lab, max(round(4 * size), 1), close)["rps"]
    return work


SMALL = ("-t", "set,get")
CASES = [
    ("redis set/get, 50 connections", RedisPair, redis(*SMALL, "-c", "50", count=100000), True),
    ("redis set/get, 500 connections", RedisPair, redis(*SMALL, "-c", "500", count=100000), True),
    ("redis pipelined x16", RedisPair, redis(*SMALL, "-c", "50", "-P", "16", count=200000), True),
    ("16 KB values at 200 MB/s", RedisPair, redis("-t", "set", "-c", "50", "-d", "16384", count=40000, paced=200), False),
    ("16 KB values, full speed", RedisPair, redis("-t", "set", "-c", "50", "-d", "16384", count=40000), False),
    ("100 KB values at 200 MB/s", RedisPair, redis("-t", "set", "-c", "50", "-d", "100000", count=8000, paced=200), False),
    ("100 KB values, full speed", RedisPair, redis("-t", "set", "-c", "50", "-d", "100000", count=8000), False),
    ("redis, a connection each", RedisPair, redis("-t", "set", "-c", "50", "-k", "0", count=30000), True),
    ("nginx keep-alive, 100 connections", WebPair, http(False), False),
    ("nginx, a connection each, 100 at a time", WebPair, http(True), False),
]


OWN = ("redis set/get, 50 connections", "redis, a connection each", "nginx keep-alive, 100 connections",
       "nginx, a connection each, 100 at a time")


def step(name, kind, work, digest, own=False):
    name = f"{name}; own address" if own else name
    return name, functools.partial(measure, name, kind, work, digest, (), own=own)


STEPS = [step(*case, own=own) for case in CASES for own in (False, True) if not own or case[0] in OWN]
SECTION = Section("work", "Fidelity and cost", COLUMNS, STEPS, NOTES)

"""Fidelity where the network is bad, with bodies that take long, and with connections that are older than tcpcopy."""

import functools
import subprocess
import time

from .framework import Column, Section
from .measure import Tools, caught_up, missing
from .traffic import RedisPair, WebPair, redis_benchmark
from labnet import Lab

COLUMNS = {
    "executed": Column("executed online", 0),
    "fidelity": Column("fidelity", 4),
    "equal": Column("same data"),
    "lag": Column("lag s", 2),
    "rps": Column("online requests/s", 0),
    "joined": Column("connections joined", 0),
    "missing": Column("missing"),
}

NOTES = """Loss and delay on the target's link; the clients' own link is good. Loss is a share of the packets in
that direction, with super-packets lost whole. Lag: until the target was done, after the client was; where the
way to the target is longer, a client in closed loop is replicated at the pace that the target's answers allow.
Connections older than tcpcopy: executed online from the moment at which tcpcopy was seen to be ready, a little
after it was."""


def lossy(**ways):
    def fault(lab):
        for way, rate in ways.items():
            lab.loss("target", way.rstrip("_"), rate)
    return fault


def delayed(microseconds):
    return lambda lab: lab.delay("target", microseconds)


def small(lab, size):
    return redis_benchmark(lab, "-t", "set,get", "-c", "50", "-n", str(max(int(20000 * size), 500)))


def upload(lab, size):
    body = lab.new_path("body")
    body.write_bytes(bytes(int(100_000_000 * size)))
    lab.host("client").check_output(["curl", "-s", "-T", body, f"http://{lab.host('online').ip4}/upload/file"])


def measure(name, kind, fault, work, size, number):
    with Lab() as lab:
        lab.route_to_assistant("client")
        pair = kind(lab)
        tools = Tools(lab, port=pair.port)
        fault(lab)
        rate = work(lab, size)
        lag = caught_up(pair.counts)
        there, here = pair.counts()
        equal = pair.equal()
        account = tools.account()
    return {name: {"executed": there, "fidelity": here / max(there, 1), "lag": lag, "rps": rate,
                   "equal": None if equal is None else "yes" if equal else "no",
                   "missing": missing(account) if here != there else None}}


def mid_stream(size, number):
    """50 busy connections, then tcpcopy: what the online server executes from its start on."""
    with Lab() as lab:
        lab.route_to_assistant("client")
        pair = RedisPair(lab)
        client = lab.host("client").popen(["redis-benchmark", "-h", lab.host("online").ip4, "-q", "-t", "set", "-c", "50",
                                           "-n", str(int(300000 * size))], stdout=subprocess.DEVNULL)
        time.sleep(1 * size)
        tools = Tools(lab)
        before = pair.counts()[0]
        client.wait(120)
        caught_up(lambda: (pair.counts()[0] - before, pair.counts()[1]), timeout=10)
        there, here = pair.counts()
        account = tools.account()
    there -= before
    return {"connections older than tcpcopy": {
        "executed": there, "fidelity": here / max(there, 1), "joined": account["engine.sessions_joined"],
        "missing": missing(account) if here != there else None}}


CASES = [
    ("0.1 % loss towards the target", RedisPair, lossy(to=0.001), small),
    ("1 % loss towards the target", RedisPair, lossy(to=0.01), small),
    ("5 % loss towards the target", RedisPair, lossy(to=0.05), small),
    ("1 % loss both ways", RedisPair, lossy(to=0.01, from_=0.01), small),
    ("5 ms each way", RedisPair, delayed(5000), small),
    ("50 ms each way", RedisPair, delayed(50000), small),
    ("PUT of 100 MB, full speed", WebPair, lambda lab: None, upload),
]
SECTION = Section("network", "Bad networks, long bodies, old connections", COLUMNS,
                  [(case[0], functools.partial(measure, *case)) for case in CASES] + [("mid-stream", mid_stream)], NOTES)

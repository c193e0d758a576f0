"""HTTP side by side: nothing, tcpcopy, and the `mirror` of nginx; and what clients notice of a target that
stands still.
"""

import functools
import os
import pathlib
import signal
import time

from .framework import Column, Section
from .measure import Machine, Tools, caught_up, cpu_tree
from .traffic import WebPair, ask_paced, finished, reuse_ports, wrk
from labnet import Lab

WAYS = ("nothing", "tcpcopy", "nginx mirror")

COLUMNS = {
    "rps": Column("online requests/s", 0),
    "ratio": Column("/ nothing", 2),
    "p50": Column("p50 ms", 2),
    "p99": Column("p99 ms", 2),
    "errors": Column("clients' errors", 0),
    "fidelity": Column("fidelity", 4),
    "lag": Column("lag s", 2),
    "online_us": Column("CPU added on the online host us/request", 1),
    "assistant_us": Column("intercept us/request", 1),
    "machine_us": Column("machine us/request, less nothing", 1),
}

NOTES = """nginx with one worker on the online host and on the target, 15 bytes of body, wrk with 100
connections. The three ways are measured one after the other in each round, in changing order. nginx mirror as
its manual has it: `mirror /mirror;` and an internal location with `proxy_pass`. Its connections to the target
are new ones for each request, as an upstream `keepalive` has no effect while the answer has a body, so
tcp_tw_reuse is 1 and the range of ports wide on the online host and the client. CPU added on the online host:
user and system time of nginx and tcpcopy for each request, less that of nginx with nothing beside it. Latency
as wrk has it, 100 connections in closed loop on processors that all hosts share."""


def _pair(lab, way):
    reuse_ports(lab.host("client"), lab.host("online"))
    if way == "tcpcopy":
        lab.route_to_assistant("client")
    pair = WebPair(lab, mirror=way == "nginx mirror")
    return pair, Tools(lab, port=80) if way == "tcpcopy" else None


def _one(way, close, size):
    with Lab() as lab:
        pair, tools = _pair(lab, way)
        machine, server = Machine(), cpu_tree(pair.servers[0].pid)
        result = wrk(lab, max(round(4 * size), 1), close)

        lag = caught_up(pair.counts) if way != "nothing" else None
        busy = machine.busy()
        there, here = pair.counts()
        used = tools.used() if tools else (0, None)
        online = cpu_tree(pair.servers[0].pid) - server + used[0]
        if tools:
            tools.account()
    return {**result, "fidelity": here / there if way != "nothing" else None, "lag": lag,
            "online_us": online / there * 1e6, "machine_us": busy / there * 1e6,
            "assistant_us": used[1] and used[1] / max(here, 1) * 1e6}


def measure(close, size, number):
    turn = number % len(WAYS)
    found = {way: _one(way, close, size) for way in WAYS[turn:] + WAYS[:turn]}
    nothing = dict(found["nothing"])
    for way in WAYS:
        figures = found[way]
        for name in ("online_us", "machine_us"):
            figures[name] = figures[name] - nothing[name] if way != "nothing" else None
        figures["ratio"] = figures["rps"] / nothing["rps"] if way != "nothing" else None
    kind = "a connection each" if close else "keep-alive"
    return {f"{kind}: {way}": found[way] for way in WAYS}


SECTION = Section("mirror", "HTTP side by side", COLUMNS,
                  [("keep-alive", functools.partial(measure, False)), ("a connection each", functools.partial(measure, True))],
                  NOTES)

STALL_COLUMNS = {
    "requests": Column("requests", 0),
    "p50": Column("p50 ms", 2),
    "p99": Column("p99 ms", 2),
    "most": Column("most ms", 1),
    "stalled": Column("over 100 ms", 0),
    "errors": Column("errors", 0),
    "arrived": Column("arrived at the target in the end", 4),
}

STALL_NOTES = """50 clients ask for 1000 pages a second together, for 8 seconds, at fixed times; a request's
latency counts from the time at which it should have been sent. After 2 seconds the target's nginx is stopped by
SIGSTOP, and goes on 3 seconds later. Errors: requests without their whole answer 5 seconds after the end."""

BEFORE, STOPPED, AFTER, RATE, CLIENTS = 2, 3, 3, 1000, 50


def _tree(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [one for child in children for one in _tree(int(child))]


def stall(way, mode, size, number):
    scale = max(size, 0.2)
    with Lab() as lab:
        pair, tools = _pair(lab, way)
        load = ask_paced(lab, CLIENTS, RATE, (BEFORE + STOPPED + AFTER) * scale, mode)
        time.sleep(BEFORE * scale)
        victims = _tree(pair.servers[1].pid)
        try:
            for pid in victims:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED * scale)
        finally:
            for pid in victims:
                os.kill(pid, signal.SIGCONT)
        result = finished(load)
        arrived = None
        if way != "nothing":
            caught_up(pair.counts)
            there, here = pair.counts()
            arrived = here / there
        if tools:
            tools.account()
    return {f"{mode}: {way}": {"requests": result["requests"], "p50": result["p50_ms"], "p99": result["p99_ms"],
                               "most": result["max_ms"], "stalled": result["stalled"], "errors": result["errors"],
                               "arrived": arrived}}


STALL = Section("stall", "A target that stands still for 3 s", STALL_COLUMNS,
                [(f"{mode}: {way}", functools.partial(stall, way, mode)) for mode in ("keep-alive", "close") for way in WAYS],
                STALL_NOTES)

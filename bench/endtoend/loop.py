"""One connection whose next request waits for the answer: does the copy keep up?"""

import functools
import time

from .framework import Column, Section
from .measure import Tools, caught_up, quantile
from .traffic import RedisPair, redis_benchmark
from labnet import Lab
from workload import ask, connect

COLUMNS = {
    "fidelity": Column("fidelity", 4),
    "original": Column("original s", 2),
    "copy": Column("copy s", 2),
    "ratio": Column("copy / original", 3),
    "gap50": Column("answer to next request p50 us", 0),
    "gap99": Column("p99 us", 0),
    "behind50": Column("copy behind the original p50 us", 0),
    "behind99": Column("p99 us", 0),
    "pause": Column("released on pause", 0),
    "late": Column("released by --hold", 0),
}

NOTES = """Seconds from the first request to the last, as tcpdump saw them arrive at the online server and at
the target. Answer to next request: on the target, from the server's answer until the request that was waiting
for it. Behind: from the arrival of a request at the online server to that of its copy at the target, which for
a closed loop includes waiting for the target's answers. Released on pause: the target's answer was taken to be
complete by its silence; by --hold: it was not waited for any longer."""


def _first(capture, host, number):
    """{value of the field `number`: time} of the first segment with data that `host` sent."""
    found = {}
    for packet in capture.fields(number, "frame.time_epoch", display_filter=f"tcp.len > 0 && ip.src == {host.ip4}"):
        found.setdefault(int(packet[number]), float(packet["frame.time_epoch"]))
    return found


def measure(name, options, work, size, number):
    with Lab() as lab:
        lab.route_to_assistant("client")
        pair = RedisPair(lab)
        tools = Tools(lab, options=options)
        captures = {host: lab.host(host).capture("tcp port 6379", snaplen=120) for host in ("online", "target")}
        work(lab, size)
        caught_up(pair.counts)
        there, here = pair.counts()
        client, target = lab.host("client"), lab.host("target")
        requests, copies = (_first(captures[host], client, "tcp.seq_raw") for host in ("online", "target"))
        # an answer's acknowledgment number is the sequence number of the next request
        answers = _first(captures["target"], target, "tcp.ack_raw")
        account = tools.account()
    gaps = sorted((copies[seq] - answers[seq]) * 1e6 for seq in copies if seq in answers)
    behind = sorted((copies[seq] - requests[seq]) * 1e6 for seq in requests if seq in copies)
    original, copy = (max(each.values()) - min(each.values()) for each in (requests, copies))
    return {name: {"fidelity": here / there, "original": original, "copy": copy, "ratio": copy / original,
                   "gap50": quantile(gaps, 0.5), "gap99": quantile(gaps, 0.99), "behind50": quantile(behind, 0.5),
                   "behind99": quantile(behind, 0.99), "pause": account["engine.released_on_pause"],
                   "late": account["engine.released_on_deadline"]}}


def closed_loop(lab, size):
    redis_benchmark(lab, "-t", "set", "-c", "1", "-n", str(max(int(10000 * size), 100)))


def thinking(lab, size):
    with connect(lab) as connection:
        for i in range(max(int(1000 * size), 50)):
            ask(connection, f"append log {i}.")
            time.sleep(0.002)


CASES = [("closed loop, 10,000 requests", (), closed_loop),
         ("closed loop, --hold 0", ("--hold", "0"), closed_loop),
         ("1,000 requests, 2 ms after each answer", (), thinking)]
SECTION = Section("loop", "One connection in closed loop", COLUMNS,
                  [(case[0], functools.partial(measure, *case)) for case in CASES], NOTES)

"""From the arrival of a request at the online server until its copy has left it, seen from outside."""

import functools

from .framework import Column, Section
from .measure import Tools, histogram, quantile
from .traffic import LoadServer, RedisPair, Sender, Tap, redis_benchmark
from labnet import Lab

CONNECTIONS = 50
RATES = (1000, 5000, 20000, 50000)
TEXT = "x" * 100

COLUMNS = {
    "sent": Column("requests/s sent", 0),
    "p50": Column("p50 us", 0),
    "p99": Column("p99 us", 0),
    "p999": Column("p99.9 us", 0),
    "most": Column("most us", 0),
    "unmatched": Column("requests without a copy", 0),
    "own_p50": Column("tcpcopy's own p50 us", 0),
    "own_p99": Column("own p99 us", 0),
    "own_most": Column("own most us", 0),
}

NOTES = """Two AF_PACKET taps with the kernel's time stamps: where requests arrive at the online host's
interface, and on the other end of its cable, where their copies come out; a request and its copy have the same
client endpoint and sequence number. The first of each counts. At a rate: one segment of 100 bytes at a time, 50
connections in turn, to servers that never answer, so that no request waits for the answer to another. At full
load: redis-benchmark set, 50 connections, with --hold 0. The taps take processor time themselves. Beside it
what tcpcopy says of itself, from the time stamp of the capture to the handing over to the kernel: without the
way through the cable, and of every segment, those of connection set-up included. A segment that the kernel
merged with the next one on its way to one of the taps has no copy of its own."""


def _match(original, copies):
    delays = sorted((copies[key] - ns) / 1e3 for key, ns in original.items() if key in copies)
    if not delays:
        raise AssertionError("no request has a copy")
    return {"p50": quantile(delays, 0.5), "p99": quantile(delays, 0.99), "p999": quantile(delays, 0.999),
            "most": delays[-1], "unmatched": len(original) - len(delays)}


def measure(rate, options, size, number):
    seconds = 5 * size
    with Lab() as lab:
        lab.route_to_assistant("client")
        if rate:
            for name in ("online", "target"):
                LoadServer(lab.host(name), "sink").start()
        else:
            RedisPair(lab)
        tools = Tools(lab, options=["--hold", "0", *options])
        sender = Sender(lab, CONNECTIONS, rate, seconds, TEXT) if rate else None
        # the switch is no host of the lab's list; its port has the name of the host
        taps = [Tap(lab.host("online"), "eth0", 6379, stamps=True), Tap(lab._switch, "online", 6379, stamps=True)]
        if sender:
            result = sender.run()
            sent = result["sent"] / result["seconds"]
        else:
            sent = redis_benchmark(lab, "-t", "set", "-c", str(CONNECTIONS), "-n", str(max(int(300000 * size), 1000)))
        for tap in taps:
            if drops := tap.stop()["drops"]:
                raise AssertionError(f"the tap itself lost {drops} packets")
        if sender:
            sender.close()
        figures = _match(*(tap.times() for tap in taps))
        own = histogram(tools.account())
    row = f"{rate:,} packets/s" if rate else "full load"
    return {" ".join([row, *options]): {"sent": sent, **figures, **dict(zip(("own_p50", "own_p99", "own_most"), own))}}


STEPS = [(f"{rate} packets/s" if rate else "full load", functools.partial(measure, rate, ())) for rate in (*RATES, 0)]
SECTION = Section("delay", "Capture to sending", COLUMNS, STEPS, NOTES)

#!/usr/bin/python3
"""What a turn of one connection in closed loop is made of: sudo bench/turn.py [--requests N] [--options "ARGS"]

tcpcopy replicates one connection of redis-benchmark, GETs one after the other, and the answers come back to its own
address. The kernel's tracepoints (perf record) say when the target's redis writes its answer, when tcpcopy and redis are
woken, when they run, and what they call. Each row is the time from the one before it; the rows of a turn follow each
other in this order, and turns in which they do not (tcpcopy was awake already, or was put aside by others) are counted
and left out. The tracing takes some time itself, about a microsecond a row.
"""

import argparse
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "bench"))

from endtoend.measure import Tools, caught_up, quantile             # noqa: E402
from endtoend.traffic import RedisPair, redis_benchmark             # noqa: E402
from labnet import Lab                                              # noqa: E402

# what happens in a turn, in order: whose process, the event, what its line has
STEPS = [
    ("redis", "sys_enter_write", "", None),
    ("tcpcopy", "sched_wakeup", "", "answer written, through the cable, captured: tcpcopy is woken"),
    ("tcpcopy", "sched_switch", "", "until tcpcopy runs"),
    ("tcpcopy", "sys_exit_epoll_wait", "", "epoll_wait returns"),
    ("tcpcopy", "sys_enter_sendmmsg", "", "answer read, given to the engine, the next request's headers made"),
    ("redis", "sched_wakeup", "", "request sent, through the cable and the target's TCP: redis is woken"),
    ("redis", "sched_switch", "", "until redis runs"),
    ("redis", "sys_enter_write", "", "redis reads, executes, and answers"),
]
WIRE = (1, 5)               # answer on the wire to the next request on the wire: within these
LINE = re.compile(r"(\S.*?)\s+(\d+)\s+(\d+\.\d+):\s+\w+:(\w+):\s*(.*)")


def record(threads, path):
    """`threads`: {number: program}."""
    both, woken, run = (" || ".join(f"{field} == {thread}" for thread in threads) for field in ("common_pid", "pid", "next_pid"))
    events = []
    for event, which in (("sched:sched_wakeup", woken), ("sched:sched_switch", run), ("syscalls:sys_enter_write", both),
                         ("syscalls:sys_exit_epoll_wait", both), ("syscalls:sys_enter_sendmmsg", both)):
        events += ["-e", event, "--filter", which]
    process = subprocess.Popen(["perf", "record", "-q", "-a", "-o", path, *events], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    while process.poll() is None and not (path.exists() and path.stat().st_size):
        time.sleep(0.05)
    return process


def events(path, threads):
    """(seconds, program, event) of each that is of one of the programs."""
    text = subprocess.run(["perf", "script", "-i", path, "--ns", "-F", "comm,tid,time,event,trace"], text=True,
                          capture_output=True, check=True).stdout
    found = []
    for line in text.splitlines():
        if match := LINE.search(line.strip()):
            _, thread, at, event, rest = match.groups()
            if event == "sched_wakeup":
                thread = re.search(r"\bpid=(\d+)", rest)[1]
            elif event == "sched_switch":
                thread = re.search(r"\bnext_pid=(\d+)", rest)[1]
            if int(thread) in threads:
                found.append((float(at), threads[int(thread)], event))
    return sorted(found)


def turns(found):
    """The times of the steps of each turn that has them in order, us; and how many it had in all."""
    whole, begun, at = [], 0, []
    for when, program, event in found:
        if (program, event) == STEPS[0][:2]:
            begun += 1
            if len(at) == len(STEPS) - 1:
                whole.append([(b - a) * 1e6 for a, b in zip(at, at[1:] + [when])])
            at = [when]
        elif at and len(at) < len(STEPS) and (program, event) == STEPS[len(at)][:2]:
            at.append(when)
    return whole, begun


def options():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--requests", type=int, default=30000, metavar="N", help="of the connection (30000)")
    parser.add_argument("--options", type=str.split, default=[], metavar="ARGS", help="of tcpcopy")
    args = parser.parse_args()
    if args.requests < 1:
        parser.error("--requests: accepted: 1 and more")
    return args


def main():
    args = options()
    load = pathlib.Path("/proc/loadavg").read_text().split()[0]
    with Lab() as lab, tempfile.TemporaryDirectory(prefix="bench-turn") as folder:
        path = pathlib.Path(folder) / "perf.data"
        pair = RedisPair(lab)
        tools = Tools(lab, options=["--hold", "60s", *args.options], own=True)
        threads = {int(task.name): name for name, pid in (("tcpcopy", tools.pids[0]), ("redis", pair.servers[1].pid))
                   for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}
        tracing = record(threads, path)
        redis_benchmark(lab, "-t", "get", "-c", "1", "-n", str(args.requests))
        caught_up(pair.counts, timeout=600)
        tracing.send_signal(signal.SIGINT)
        tracing.wait()
        tools.account()
        whole, begun = turns(events(path, threads))
    if not whole:
        sys.exit(f"bench/turn.py: of {begun} turns none was seen whole")
    rows = list(zip(*whole))
    print(f"{len(whole)} of {begun} turns; load of the machine before: {load}\n\n| | p50 us | p90 us |\n|---|---|---|")
    for (_, _, _, text), times in zip(STEPS[1:], rows):
        times = sorted(times)
        print(f"| {text} | {quantile(times, 0.5):.1f} | {quantile(times, 0.9):.1f} |")
    for text, part in (("woken to woken: the answer has come, the next request is there", slice(*WIRE)), ("a turn", slice(None))):
        sums = sorted(sum(turn[part]) for turn in whole)
        print(f"| {text} | {quantile(sums, 0.5):.1f} | {quantile(sums, 0.9):.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

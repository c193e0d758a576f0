#!/usr/bin/python3
"""How recorded traffic is replayed: sudo bench/replay.py [--part max,spacing] [--pairs N] [--requests N]

All of it against one redis, which comes back by tcpcopy's own address.

max: 50 connections of redis-benchmark are recorded by tcpdump on the online server. Then, in pairs, redis-benchmark loads the
target with as many requests of 50 connections, and tcpcopy replays the recording with --speed max, in changing order. Requests
a second by the wall clock, from the start of each program to its end; the ratio is made within a pair.
spacing: a client sends a request each millisecond, by 10 connections in turn, for 8 s. It is replayed as recorded, and tcpdump on
the target judges: how far is the time from each request to the next one from what it was in the recording?
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "bench"))

from endtoend.measure import quantile                               # noqa: E402
from endtoend.traffic import RedisPair, redis_benchmark             # noqa: E402
from labnet import Lab                                              # noqa: E402
from pairs import spread                                            # noqa: E402

CLOCKWORK = r"""
import socket, sys, time
connections = [socket.create_connection((sys.argv[1], 6379)) for _ in range(10)]
due = time.perf_counter()
for i in range(8000):
    due += 0.001
    while time.perf_counter() < due:
        pass
    connections[i % 10].sendall(b"PING\r\n")
    connections[i % 10].recv(100)
"""


def record(host, file, work):
    dump = host.popen(["tcpdump", "-i", "eth0", "-s", "300", "-B", "65536", "-w", file, "tcp port 6379"], stderr=subprocess.PIPE)
    while "listening on" not in dump.stderr.readline():
        pass
    work()
    time.sleep(1)           # for what the kernel still holds back
    dump.terminate()
    dump.communicate()


def replay(lab, pair, file, *options):
    """Replays the file to its end; returns requests at the target and seconds."""
    before, begun = pair.counts()[1], time.monotonic()
    tcpcopy = lab.host("online").popen([TOP / "tcpcopy", "--read", file, "-x", f"6379-{lab.host('target').ip4}:6379", "-q", *options],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if tcpcopy.wait():
        sys.exit(f"tcpcopy --read: exit status {tcpcopy.returncode}")
    seconds = time.monotonic() - begun
    return pair.counts()[1] - before, seconds


def part_max(lab, pair, args, directory):
    file, results = directory / "max.pcap", []
    record(lab.host("online"), file, lambda: redis_benchmark(lab, "-t", "set", "-c", "50", "-n", str(args.requests)))
    for number in range(args.pairs):
        rate = {}
        for what in ("benchmark", "replay") if number % 2 else ("replay", "benchmark"):
            if what == "replay":
                done, seconds = replay(lab, pair, file, "--speed", "max")
                if done != args.requests:
                    print(f"# {done} of {args.requests} requests were replayed")
            else:
                begun = time.monotonic()
                lab.host("online").check_output(["redis-benchmark", "-h", lab.host("target").ip4, "-q", "-t", "set", "-c", "50",
                                                 "-n", str(args.requests)])
                done, seconds = args.requests, time.monotonic() - begun
            rate[what] = done / seconds
        results.append(rate)
    print("| | redis-benchmark | tcpcopy --speed max | ratio |\n|---|---|---|---|")
    print(f"| requests/s | {spread([r['benchmark'] for r in results])} | {spread([r['replay'] for r in results])} | "
          f"{spread([r['replay'] / r['benchmark'] for r in results])} |", flush=True)


def spacing(file, host):
    """Microseconds from each request to the next."""
    out = subprocess.run(["tshark", "-r", file, "-Y", f"tcp.len > 0 && tcp.dstport == 6379 && ip.dst == {host.ip4}",
                          "-T", "fields", "-e", "frame.time_epoch"], capture_output=True, text=True, check=True).stdout.split()
    times = [float(each) * 1e6 for each in out]
    return [after - before for before, after in zip(times, times[1:])]


def part_spacing(lab, pair, args, directory):
    file, copy = directory / "clockwork.pcap", directory / "copy.pcap"
    record(lab.host("online"), file,
           lambda: lab.host("client").check_output([sys.executable, "-c", CLOCKWORK, lab.host("online").ip4]))
    recorded = spacing(file, lab.host("online"))
    results = []
    for _ in range(args.pairs):
        record(lab.host("target"), copy, lambda: replay(lab, pair, file))
        errors = sorted(abs(now - then) for now, then in zip(spacing(copy, lab.host("target")), recorded, strict=True))
        results.append({"p50": quantile(errors, 0.5), "p99": quantile(errors, 0.99), "most": errors[-1]})
    print("| us from request to request, against the recording | p50 | p99 | most |\n|---|---|---|---|")
    print(f"| {len(recorded) + 1} requests, one each ms | " +
          " | ".join(spread([r[what] for r in results]) for what in results[0]) + " |", flush=True)


PARTS = {"max": part_max, "spacing": part_spacing}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--part", type=lambda text: text.split(","), default=list(PARTS), metavar="NAME,...",
                        help="these only: " + ", ".join(PARTS))
    parser.add_argument("--pairs", type=int, default=10, metavar="N", help="rounds of each part (10)")
    parser.add_argument("--requests", type=int, default=400000, metavar="N", help="of the part max (400000)")
    args = parser.parse_args()
    if args.pairs < 1 or args.requests < 1:
        parser.error("--pairs and --requests: accepted: 1 and more")
    for name in args.part:
        if name not in PARTS:
            parser.error(f'"{name}": accepted: {", ".join(PARTS)}')
    with tempfile.TemporaryDirectory() as directory, Lab() as lab:
        pair = RedisPair(lab)
        for name in args.part:
            PARTS[name](lab, pair, args, pathlib.Path(directory))


if __name__ == "__main__":
    main()

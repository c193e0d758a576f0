#!/usr/bin/python3
"""Two builds compared in pairs of runs: sudo bench/pairs.py OLD NEW [--load NAME,...] [--pairs N] [--seconds S]
[--options "ARGS"]

OLD and NEW are directories with a tcpcopy and an intercept each; with --options, which NEW's tcpcopy is given, they may be
the same. "@" in these becomes a path that does not exist. For each load there is one lab whose servers stay;
in each pair both builds replicate that load, one right after the other, in changing order. The CPU time of a program is
user and system time of all its threads, in ns of the scheduler, for each request that the target executed. Ratios are
made within a pair, so what else the machine does counts as little as it can. The lag is tcpcopy's own: from the time
stamp of the capture to the moment at which the kernel has taken the copy.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "bench"))

from endtoend.measure import caught_up, histogram                   # noqa: E402
from endtoend.traffic import RedisPair, WebPair, redis_benchmark, reuse_ports, wrk      # noqa: E402
import conftest                                                     # noqa: E402
from labnet import Lab                                              # noqa: E402

ASSUMED = 30000             # redis requests a second; those with a connection each are a fifth


def redis(connections, each=False):
    keep, share = ("-k", "0") if each else ("-k", "1"), 5 if each else 1
    return RedisPair, lambda lab, seconds: redis_benchmark(
        lab, "-t", "set", "-c", connections, *keep, "-n", int(ASSUMED / share * seconds))


LOADS = {
    "redis-50": redis(50),
    "redis-500": redis(500),
    "redis-each": redis(50, each=True),
    "nginx": (WebPair, lambda lab, seconds: wrk(lab, max(round(seconds), 1))),
    "nginx-each": (WebPair, lambda lab, seconds: wrk(lab, max(round(seconds), 1), close=True)),
}


def cpu(pid):
    """User and system time of all threads, ns."""
    return sum(int(task.joinpath("schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def run(lab, pair, load, seconds, directory, options):
    """One run of a build: what it took."""
    conftest.BIN = directory        # where Program finds what it starts
    port = pair.port
    intercept = conftest.Program(lab.host("assistant"), "intercept", "-i", "eth0",
                                 "-F", "tcp", "and", "src", "port", port).wait_ready()
    tcpcopy = conftest.Program(lab.host("online"), "tcpcopy", "-x", f"{port}-{lab.host('target').ip4}:{port}",
                               "-s", lab.host("assistant").ip4,
                               *(word.replace("@", str(lab.new_path("file"))) for word in options)).wait_ready()
    try:
        programs = [tcpcopy.process.pid, intercept.process.pid]
        counts, used = pair.counts(), [cpu(pid) for pid in programs]
        load(lab, seconds)
        caught_up(lambda: tuple(now - then for now, then in zip(pair.counts(), counts)))
        used = [cpu(pid) - before for pid, before in zip(programs, used)]
        there, here = (now - then for now, then in zip(pair.counts(), counts))
        tcpcopy.stop()
        p50, p99, _ = histogram(tcpcopy)
    finally:
        for program in (tcpcopy, intercept):
            if program.process.poll() is None:
                program.stop()
    return {"tcpcopy us/request": used[0] / here / 1000, "intercept us/request": used[1] / here / 1000,
            "lag p50 us": p50, "lag p99 us": p99, "fidelity": here / there}


def measure(name, args):
    kind, load = LOADS[name]
    results = []
    with Lab() as lab:
        reuse_ports(lab.host("client"))
        lab.route_to_assistant("client")
        pair = kind(lab)
        for number in range(args.pairs):
            order = (0, 1) if number % 2 else (1, 0)
            both = {which: run(lab, pair, load, args.seconds, args.builds[which], args.options if which else [])
                    for which in order}
            results.append([both[0], both[1]])
            if args.verbose:
                print(f"# {name} {number + 1}: " + ", ".join(f"{what} {both[0][what]} -> {both[1][what]}" for what in both[0]),
                      file=sys.stderr, flush=True)
    return results


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def show(name, results):
    for what in results[0][0]:
        both = [pair for pair in results if all(one[what] is not None for one in pair)]
        if both:
            old, new = ([pair[which][what] for pair in both] for which in (0, 1))
            ratios = [b / a for a, b in zip(old, new) if a]
            print(f"| {name} | {what} | {spread(old)} | {spread(new)} | {spread(ratios) if ratios else '-'} |", flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".", epilog="loads: " + ", ".join(LOADS))
    parser.add_argument("builds", type=lambda text: pathlib.Path(text).resolve(), nargs=2, metavar="DIR",
                        help="OLD and NEW: where a tcpcopy and an intercept lie")
    parser.add_argument("--load", type=lambda text: text.split(","), default=list(LOADS), metavar="NAME,...", help="these only")
    parser.add_argument("--pairs", type=int, default=10, metavar="N", help="pairs of each load (10)")
    parser.add_argument("--seconds", type=float, default=3, metavar="S", help="about as long is each run (3)")
    parser.add_argument("--options", type=str.split, default=[], metavar="ARGS", help="of NEW's tcpcopy")
    parser.add_argument("--verbose", action="store_true", help="say what each pair took, as it goes")
    args = parser.parse_args()
    if args.pairs < 1 or args.seconds <= 0:
        parser.error("--pairs and --seconds: accepted: more than 0")
    for name in args.load:
        if name not in LOADS:
            parser.error(f'--load "{name}": accepted: {", ".join(LOADS)}')
    for directory in args.builds:
        for program in ("tcpcopy", "intercept"):
            if not (directory / program).is_file():
                parser.error(f'"{directory}": accepted: a directory with tcpcopy and intercept')
    return args


def main():
    args = options()
    subprocess.run(["make", "-s", "-C", TOP, "bench-tools", "lab/relay"], check=True, stdout=sys.stderr)
    print(f"{args.pairs} pairs of runs of about {args.seconds:g} s\n\n"
          "| load | | OLD | NEW | NEW / OLD |\n|---|---|---|---|---|", flush=True)
    for name in args.load:
        show(name, measure(name, args))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""The two ways back, in pairs: sudo bench/ways.py [--part cost,loop] [--rounds N] [--seconds S]

The answers come back to tcpcopy's own address, or go to an assistant that runs intercept. For each load there is one lab
whose servers stay, and in each round both ways replicate that load, one right after the other, in changing order; ratios
are made within a round.

cost: user and system time of tcpcopy, and of intercept where it is used, in ns of the scheduler, for each request that the
target executed; and what the whole machine spent in softirqs meanwhile, by /proc/stat, which has all that the kernel does
to receive and drop, and the work of client and servers, too.
loop: one connection whose next request waits for the answer, 60,000 GETs of redis, with --hold 60s so that no deadline hides
a wait. On the target's end of the cable: from an answer to the next request, and the copy's duration by the original's.
"""

import argparse
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "bench"))

from endtoend.measure import caught_up, quantile, quiet             # noqa: E402
from endtoend.traffic import RedisPair, WebPair, redis_benchmark, reuse_ports      # noqa: E402
import conftest                                                     # noqa: E402
from labnet import Lab                                              # noqa: E402
from pairs import LOADS, cpu, spread                                # noqa: E402

LARGE = 50 << 20


class LargePair(WebPair):
    """What is asked for has 50 MB."""

    def __init__(self, lab):
        super().__init__(lab)
        for server in self.servers:
            with open(server.directory / "large", "wb") as file:
                file.truncate(LARGE)


def fetch_large(lab, seconds):
    lab.host("client").check_output(["curl", "-sS", "-o", "/dev/null",
                                     f"http://{lab.host('online').ip4}/large?[1-{max(round(seconds * 5), 1)}]"])


COST = {name: LOADS[name] for name in ("redis-50", "redis-each", "nginx-each")} | {"nginx-50MB": (LargePair, fetch_large)}


class Way:
    """The programs of one way back, from their start to their end."""

    def __init__(self, lab, port, own, options=()):
        rule = f"{port}-{lab.host('target').ip4}:{port}"
        self.intercept, back = None, []
        if not own:
            self.intercept = conftest.Program(lab.host("assistant"), "intercept", "-i", "eth0",
                                              "-F", "tcp", "and", "src", "port", port).wait_ready()
            back = ["-s", lab.host("assistant").ip4]
        self.tcpcopy = conftest.Program(lab.host("online"), "tcpcopy", "-x", rule, *back, *options).wait_ready()

    def programs(self):
        return [program for program in (self.tcpcopy, self.intercept) if program]

    def used(self):
        return sum(cpu(program.process.pid) for program in self.programs())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs():
            if program.process.poll() is None:
                program.stop()


def softirq():
    """ns of the whole machine."""
    return int(pathlib.Path("/proc/stat").read_text().split()[7]) * 10_000_000


def cost(lab, pair, load, seconds, own):
    with Way(lab, pair.port, own) as way:
        counts, used, soft = pair.counts(), way.used(), softirq()
        load(lab, seconds)
        caught_up(lambda: tuple(now - then for now, then in zip(pair.counts(), counts)))
        quiet(lambda: lab.host("target").nstat()["TcpOutSegs"])
        used, soft = way.used() - used, softirq() - soft
        there, here = (now - then for now, then in zip(pair.counts(), counts))
    return {"programs us/request": used / here / 1000, "softirq of the machine us/request": soft / here / 1000,
            "fidelity": here / there}


def first(capture, number, expression):
    """{value of the field `number`: time} of the first segment with data that matches."""
    found = {}
    for packet in capture.fields(number, "frame.time_epoch", display_filter=f"tcp.len > 0 && {expression}"):
        found.setdefault(int(packet[number]), float(packet["frame.time_epoch"]))
    return found


def loop(lab, pair, requests, own, options):
    online, target = lab.host("online"), lab.host("target")
    with Way(lab, pair.port, own, ["--hold", "60s", *options]):
        captures = [online.capture(f"tcp and dst port {pair.port} and dst host {online.ip4}", snaplen=120),
                    target.capture(f"tcp port {pair.port}", snaplen=120)]
        counts = pair.counts()
        redis_benchmark(lab, "-t", "get", "-c", "1", "-n", str(requests))
        caught_up(lambda: tuple(now - then for now, then in zip(pair.counts(), counts)), timeout=600)
        there, here = (now - then for now, then in zip(pair.counts(), counts))
        for capture in captures:
            capture.stop()
    asked = first(captures[0], "tcp.seq_raw", f"ip.dst == {online.ip4}")
    copies = first(captures[1], "tcp.seq_raw", f"ip.dst == {target.ip4}")
    # an answer's acknowledgment number is the sequence number of the next request
    answers = first(captures[1], "tcp.ack_raw", f"ip.src == {target.ip4}")
    gaps = sorted((copies[seq] - answers[seq]) * 1e6 for seq in copies if seq in answers)
    original, copy = (max(each.values()) - min(each.values()) for each in (asked, copies))
    return {"answer to next request p50 us": quantile(gaps, 0.5), "p99 us": quantile(gaps, 0.99),
            "copy / original": copy / original, "fidelity": here / there}


def show(name, results, ways):
    for what in results[0][0]:
        cells = [spread([each[n][what] for each in results]) for n in range(len(ways))]
        ratios = [each[n][what] / each[0][what] for each in results for n in (1,) if each[0][what]]
        print(f"| {name} | {what} | {' | '.join(cells)} | {spread(ratios) if ratios else '-'} |", flush=True)


def table(ways):
    print(f"\n| load | | {' | '.join(ways)} | {ways[1]} / {ways[0]} |\n|---|---|{'---|' * len(ways)}---|", flush=True)


def part_cost(args):
    ways = {"assistant": False, "own address": True}
    table(list(ways))
    for name in args.load:
        kind, load = COST[name]
        results = []
        with Lab() as lab:
            reuse_ports(lab.host("client"))
            lab.route_to_assistant("client")
            pair = kind(lab)
            for number in range(args.rounds):
                order = list(enumerate(ways.values()))
                order = order if number % 2 else order[::-1]
                both = {n: cost(lab, pair, load, args.seconds, own) for n, own in order}
                results.append([both[n] for n in range(len(ways))])
        show(name, results, ways)


def part_loop(args):
    ways = {"assistant": (False, []), "own address": (True, [])}
    if args.busy_poll:
        ways |= {f"{name}, --busy-poll": (own, ["--busy-poll"]) for name, (own, _) in ways.items()}
    table(list(ways))
    results = []
    with Lab() as lab:
        lab.route_to_assistant("client")
        pair = RedisPair(lab)
        for number in range(args.rounds):
            order = list(enumerate(ways.values()))
            order = order if number % 2 else order[::-1]
            each = {n: loop(lab, pair, args.requests, own, options) for n, (own, options) in order}
            results.append([each[n] for n in range(len(ways))])
            if args.verbose:
                print(f"# {each}", file=sys.stderr, flush=True)
    show("one connection", results, ways)


PARTS = {"cost": part_cost, "loop": part_loop}


def options():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--part", type=lambda text: text.split(","), default=list(PARTS), metavar="NAME,...",
                        help="these only: " + ", ".join(PARTS))
    parser.add_argument("--load", type=lambda text: text.split(","), default=list(COST), metavar="NAME,...",
                        help="of the cost, these only: " + ", ".join(COST))
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each load (5)")
    parser.add_argument("--seconds", type=float, default=3, metavar="S", help="about as long is each run of the cost (3)")
    parser.add_argument("--requests", type=int, default=60000, metavar="N", help="of the loop (60000)")
    parser.add_argument("--busy-poll", action="store_true", help="the loop also with that option of tcpcopy")
    parser.add_argument("--verbose", action="store_true", help="say what each round took, as it goes")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0 or args.requests < 1:
        parser.error("--rounds, --seconds and --requests: accepted: more than 0")
    for names, known in ((args.part, PARTS), (args.load, COST)):
        for name in names:
            if name not in known:
                parser.error(f'"{name}": accepted: {", ".join(known)}')
    return args


def main():
    args = options()
    subprocess.run(["make", "-s", "-C", TOP, "bench-tools", "lab/relay"], check=True, stdout=sys.stderr)
    print(f"rounds: {args.rounds}", flush=True)
    for name in args.part:
        PARTS[name](args)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Full rate and random faults for a long time: sudo bench/soak.py [--minutes N] [--seed S] [--pause SECONDS]

redis-benchmark runs without a pause, beside closed loops whose order is checked by the servers. Every few seconds
something goes wrong, chosen by the seed: loss, a cut, a program stopped or killed. A line for each says how soon replication was
back, and what memory and descriptors the programs had. At the end the account must balance, and memory and
descriptors be where they were at the beginning; the exit status says so. tcpcopy is killed in every tenth fault at most, for its
account begins anew then.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "lab"), str(TOP / "test" / "system")]

from conftest import wait_until                                     # noqa: E402
from faults import FAULTS, World                                    # noqa: E402
from labnet import Lab                                              # noqa: E402
from workload import closed                                         # noqa: E402

GROWTH = 16         # MB that the end may lie above the first quiet sample


def flow(lab):
    """redis-benchmark for ever; it begins again where the server went away."""
    return lab.host("client").popen(["sh", "-c", "while :; do redis-benchmark -h $0 -q -t set,get -r 100000 -c 50 "
                                                 "-n 1000000 -d 100; done", lab.host("online").ip4],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def text(resources):
    return ", ".join(f"{name} {fds} fds {mb:.0f} MB" for name, (fds, mb) in resources.items())


def calm(world):
    """What the programs hold when little is under way."""
    time.sleep(3)
    return world.resources()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=8, help="between two faults, seconds at most")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    names = list(FAULTS)
    problems, slowest = [], 0
    with Lab() as lab:
        lab.host("client").sysctl(net__ipv4__tcp_tw_reuse=1, net__ipv4__ip_local_port_range="10000 65000")
        world = World(lab, load={"connections": 20, "think": 0.005}, intercept=["--state", lab.new_path("state")])
        first = calm(world)
        print(f"| minute | fault | lasted s | back after s | held |\n|---|---|---|---|---|\n| 0 | none | | | {text(first)} |", flush=True)
        running, begun, count = flow(lab), time.monotonic(), 0
        while time.monotonic() < begun + args.minutes * 60:
            time.sleep(rng.uniform(1, args.pause))
            name = rng.choice(names)
            if name == "tcpcopy killed" and rng.random() > len(names) / 10 / 2:
                continue
            seconds = rng.uniform(0.2, 4)
            count += 1
            try:
                back = world.hit(FAULTS[name], seconds)
            except AssertionError as error:
                problems.append(f"{name}: {str(error)[-2000:]}")
                break
            slowest = max(slowest, back)
            print(f"| {(time.monotonic() - begun) / 60:.1f} | {name} | {seconds:.1f} | {back:.2f} | {text(world.resources())} |",
                  flush=True)
        for pid in subprocess.run(["ps", "-o", "pid=", "-s", str(running.pid)], capture_output=True, text=True).stdout.split():
            subprocess.run(["kill", "-9", pid])
        world.load.stop()
        if not closed(lab, timeout=60):
            problems.append("the target has connections left:\n" + lab.host("target").check_output(["ss", "-tn"]))
        last = calm(world)
        for name, (fds, megabytes) in last.items():
            if fds > first[name][0]:
                problems.append(f"{name} has {fds} descriptors, {first[name][0]} at the beginning")
            if not wait_until(lambda: world.resources()[name][1] <= first[name][1] + GROWTH, 10):
                problems.append(f"{name} holds {megabytes:.0f} MB, {first[name][1]:.0f} at the beginning")
        account = world.replay.stop()       # which asserts that every equation balances
    print(f"\n{count} faults; slowest back after {slowest:.2f} s; at the end {text(last)}\n")
    print("\n".join(line for line in account.log[account.log.index("--- account ---"):].splitlines()))
    for problem in problems:
        print("PROBLEM:", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""What goes wrong, and how soon it is right again: sudo bench/faults.py [-k WORD] [--seconds N]

A row for each fault whose name contains WORD, each in a lab of its own, under a load of closed loops; the fault lasts N
seconds (3). "Back" is when the target executes new commands after its end. What was lost is told by the servers'
own counters, and why by the account of tcpcopy; of a tcpcopy that was killed, by that of its successor alone.
"""

import argparse
import pathlib
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "lab"), str(TOP / "test" / "system")]

from faults import FAULTS, World                                    # noqa: E402
from labnet import Lab                                              # noqa: E402


def reasons(account):
    """What the account says of requests that did not arrive."""
    report = account.report["account"]
    said = [f"{n} {name}" for name, n in report["ended"].items() if n and name != "complete"]
    said += [f"{n} declined: {name}" for name, n in report["declined"].items() if n]
    if drops := account["capture.kernel_drops"]:
        said.append(f"{drops} packets dropped by the kernel")
    return ", ".join(said) or "-"


def row(name, fault, seconds):
    with Lab() as lab:
        world = World(lab)
        before = world.resources()
        back = world.hit(fault, seconds)
        time.sleep(1)
        after = world.resources()
        account = world.finish()
        online = sum(world.online.calls().get(c, 0) for c in ("append",))
        leaks = ", ".join(f"{p} {after[p][0] - before[p][0]:+d} fds {after[p][1] - before[p][1]:+.1f} MB" for p in after)
        lost = sum(n for outcome, n in account.outcomes().items() if outcome != "complete")
        approximate = "about " if world.forgotten else ""
        print(f"| {name} | {back:.2f} | {lost} of {account['engine.sessions_opened'] + account['engine.sessions_joined']} "
              f"| {approximate}{max(world.missing, 0)} of {online} | {reasons(account)} | {leaks} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="WORD", help="only faults whose name contains it")
    parser.add_argument("--seconds", type=float, default=3, help="how long a fault lasts")
    args = parser.parse_args()
    print("| fault | back after s | sessions lost | requests lost | reasons in the account | leaked |\n" + "|---" * 6 + "|")
    for name, fault in FAULTS.items():
        if args.k in name:
            row(f"{name}, {args.seconds:g} s", fault, args.seconds)


if __name__ == "__main__":
    main()

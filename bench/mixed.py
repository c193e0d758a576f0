#!/usr/bin/python3
"""A mixed run with loss and faults: sudo bench/mixed.py [--requests N] [--seed S]

Small and large redis commands, pipelines and connections of one command each go on until N requests (1,000,000) were executed
by the online server; meanwhile the way to the target loses packets, and every few seconds something is cut or stopped. Closed
loops beside them append to a key for each connection: what a key holds on the target tells every command that is missing, and
every one that was executed twice. The account must balance; the exit status says so.
"""

import argparse
import pathlib
import random
import re
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "lab"), str(TOP / "test" / "system")]

from conftest import wait_until                                     # noqa: E402
from faults import FAULTS, World                                    # noqa: E402
from labnet import Lab                                              # noqa: E402
from workload import closed                                         # noqa: E402

HARMLESS = ["target stopped", "intercept stopped", "tcpcopy stopped", "client - online cut", "online - target cut",
            "target - assistant cut", "online - assistant cut", "intercept killed"]
FLOWS = [["-t", "set,get", "-c", "20", "-n", "100000"], ["-t", "set", "-c", "5", "-n", "4000", "-d", "10000"],
         ["-t", "set,get", "-c", "5", "-n", "100000", "-P", "16"], ["-t", "set", "-c", "5", "-n", "5000", "-k", "0"]]
WORDS = ("set", "get", "append")


def executed(server):
    return sum(server.calls().get(word, 0) for word in WORDS)


def appended(server):
    """{key: the numbers of its commands in the order of execution} of the closed loops."""
    held = {}
    for key in server.cli("--scan", "--pattern", "load*").split():
        held[key] = [int(n) for n in re.findall(r"(\d+)\.", server.cli("get", key))]
    return held


def differences(online, target):
    """(commands in all, missing on the target, executed twice there, keys whose order differs)."""
    there, here = appended(online), appended(target)
    missing = twice = disorder = 0
    for key, numbers in there.items():
        got = here.get(key, [])
        missing += len(set(numbers) - set(got))
        twice += len(got) - len(set(got))
        disorder += got != sorted(got)
    return sum(map(len, there.values())), missing, twice, disorder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with Lab() as lab:
        lab.host("client").sysctl(net__ipv4__tcp_tw_reuse=1, net__ipv4__ip_local_port_range="10000 65000")
        world = World(lab, load={"connections": 20, "think": 0.005, "per_connection": 500})
        running = [lab.host("client").popen(
            ["sh", "-c", "while :; do redis-benchmark -h $0 -q -r 10000 $@; done", lab.host("online").ip4, *flow],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) for flow in FLOWS]
        hits = {}
        while executed(world.online) < args.requests:
            time.sleep(rng.uniform(1, 4))
            name = rng.choice(HARMLESS)
            hits[name] = hits.get(name, 0) + 1
            world.hit(FAULTS[name], rng.uniform(0.2, 1.5))
            world.lab.loss("target", "to", rng.choice((0, 0.001, 0.01)))
        for flow in running:
            for pid in subprocess.run(["ps", "-o", "pid=", "-s", str(flow.pid)], capture_output=True,
                                      text=True).stdout.split():
                subprocess.run(["kill", "-9", pid])
        lab.loss_off()
        world.load.stop()
        closed(lab, timeout=60)
        counts = [executed(server) for server in (world.online, world.target)]
        wait_until(lambda: world.behind() == 0, 5)
        loops, missing, twice, disorder = differences(world.online, world.target)
        account = world.replay.stop()       # which asserts that every equation balances
    print("faults: " + ", ".join(f"{n} x {name}" for name, n in sorted(hits.items())))
    print(f"requests: online {counts[0]}, target {counts[1]}: {(counts[0] - counts[1]) / counts[0] * 1e6:.0f} per million missing")
    print(f"of {loops} whose order is known: {missing} missing ({missing / loops * 1e6:.0f} per million), "
          f"{twice} executed twice, {disorder} connections out of order")
    print(account.log[account.log.index("--- account ---"):])
    sys.exit(1 if twice or disorder else 0)


if __name__ == "__main__":
    main()

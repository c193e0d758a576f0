#!/usr/bin/python3
"""How much of the work reaches the target, how late, and at what cost: sudo bench/fidelity.py [-k WORD] [--runs N]

Prints a table in Markdown: a row for each run of each case whose name contains WORD. All five hosts of the
lab share this machine's cores, so a case at full speed is limited by them.

fidelity   commands that the target executed / commands that the online server executed
equal      whether both servers then hold the same data
lag        until the target was done, after the client was (seconds); `-` if it never was
us         CPU time of tcpcopy and of intercept for each command, microseconds
MB         most resident memory of tcpcopy and intercept, and tcpcopy's after the load
missing    what the account of tcpcopy says about what did not arrive
"""

import argparse
import pathlib
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "lab"), str(TOP / "test" / "system")]

from conftest import Replay, wait_until                             # noqa: E402
from labnet import Lab                                              # noqa: E402
from workload import Trouble, ask, connect                          # noqa: E402

BENCH = ["redis-benchmark", "-h", "10.90.111.142", "-q", "-r", "100000"]
logs = None
TICK = 100      # of /proc/PID/stat, a second


def memory(program):
    """(peak, now) in MB."""
    status = pathlib.Path(f"/proc/{program.process.pid}/status").read_text()
    values = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    return int(values["VmHWM"]) / 1024, int(values["VmRSS"]) / 1024


def cpu(program):
    fields = pathlib.Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Redis:
    """What redis servers count and hold."""

    port = 6379

    def __init__(self, lab):
        self.servers = [lab.redis(name, args=["--client-query-buffer-limit", "200mb"]) for name in ("online", "target")]

    def done(self):
        """Commands executed: (online, target)."""
        return [sum(n for name, n in server.calls().items() if name in ("set", "get", "append"))
                for server in self.servers]

    def equal(self):
        return self.servers[0].digest() == self.servers[1].digest()


class Nginx:
    port = 80

    def __init__(self, lab):
        self.servers = [lab.nginx(name) for name in ("online", "target")]

    def done(self):
        return [sum('" 200 ' in line or '" 204 ' in line for line in server.requests()) for server in self.servers]

    def equal(self):
        there, here = (sorted(server.requests()) for server in self.servers)
        return there == here


def command(*argv, timeout=300):
    def run(lab):
        lab.host("client").run(argv, timeout=timeout)
    return run


def paced(megabytes, work):
    def run(lab):
        lab.faults("client", from_={"rate": megabytes * 8e6, "limit": 1e9})
        work(lab)
    return run


def lossy(work, **ways):
    def run(lab):
        for way, rate in ways.items():
            lab.loss("target", way.rstrip("_"), rate)
        work(lab)
    return run


def delayed(microseconds, work):
    def run(lab):
        lab.delay("target", microseconds)
        work(lab)
    return run


def upload(lab):
    body = lab.new_path("body")
    body.write_bytes(bytes(100_000_000))
    lab.host("client").check_output(["curl", "-s", "-T", body, "http://10.90.111.142/upload/file"])


def wrk(*args):
    return command("wrk", "-t", "1", "-c", "100", "-d", "4", *args, "http://10.90.111.142/")


def reuse_ports(lab):
    lab.host("client").sysctl(net__ipv4__tcp_tw_reuse=1, net__ipv4__ip_local_port_range="10000 65000")


def benchmark(*args):
    return command(*BENCH, *args)


SMALL = benchmark("-t", "set,get", "-n", "200000", "-c", "50")
LOSSY = benchmark("-t", "set,get", "-n", "25000", "-c", "50")
CASES = [
    ("redis set/get, 50 connections", Redis, SMALL),
    ("redis set/get, 500 connections", Redis, benchmark("-t", "set,get", "-n", "100000", "-c", "500")),
    ("redis pipelined x16", Redis, benchmark("-t", "set,get", "-n", "200000", "-c", "50", "-P", "16")),
    ("0.1 % loss towards the target", Redis, lossy(LOSSY, to=0.001)),
    ("1 % loss towards the target", Redis, lossy(LOSSY, to=0.01)),
    ("5 % loss towards the target", Redis, lossy(LOSSY, to=0.05)),
    ("0.1 % loss both ways", Redis, lossy(LOSSY, to=0.001, from_=0.001)),
    ("1 % loss both ways", Redis, lossy(LOSSY, to=0.01, from_=0.01)),
    ("5 % loss both ways", Redis, lossy(LOSSY, to=0.05, from_=0.05)),
    ("5 ms each way", Redis, delayed(5000, LOSSY)),
    ("50 ms each way", Redis, delayed(50000, LOSSY)),
    ("16 KB values at 200 MB/s", Redis, paced(200, benchmark("-t", "set", "-n", "60000", "-c", "50", "-d", "16384"))),
    ("100 KB values at 200 MB/s", Redis, paced(200, benchmark("-t", "set", "-n", "10000", "-c", "50", "-d", "100000"))),
    ("16 KB values, full speed", Redis, benchmark("-t", "set", "-n", "60000", "-c", "50", "-d", "16384")),
    ("100 KB values, full speed", Redis, benchmark("-t", "set", "-n", "10000", "-c", "50", "-d", "100000")),
    ("PUT of 100 MB, full speed", Nginx, upload),
    ("nginx keep-alive, 100 connections", Nginx, wrk()),
    ("nginx, a connection each", Nginx, wrk("-H", "Connection: close")),
    ("redis, a connection each", Redis, benchmark("-t", "set", "-n", "30000", "-c", "50", "-k", "0")),
]


def reasons(account):
    """What the account has to say about requests that did not arrive."""
    said = [f"{n} {name}" for name, n in account.outcomes().items() if name != "complete"]
    drops = sum(int(line.split(" packets, ")[1].split()[0]) for line in account.log.splitlines()
                if "tcpcopy: captured on " in line and " packets, " in line)
    for text, n in (("captures dropped", drops), ("bytes given up", account("given up with their session")),
                    ("bytes of connections not replicated", account("bytes of connections that are not"))):
        if n:
            said.append(f"{n} {text}")
    return ", ".join(said)


def keep(name, run, account):
    if logs:
        (logs / f"{name} {run}".replace("/", "-")).write_text(account.log)


def fidelity(name, kind, work, run):
    with Lab() as lab:
        reuse_ports(lab)
        lab.route_to_assistant("client")
        servers = kind(lab)
        r = Replay(lab, port=kind.port)
        trouble = Trouble(lab.host("target"))
        idle = memory(r.tcpcopy)[1]
        started = time.monotonic()
        work(lab)
        took = time.monotonic() - started
        ended = progress = time.monotonic()
        counts = servers.done()
        while counts[0] != counts[1] and time.monotonic() < progress + 5:
            time.sleep(0.05)
            before, counts = counts, servers.done()
            if before != counts:
                progress = time.monotonic()
        lag = time.monotonic() - ended if counts[0] == counts[1] else None
        equal = servers.equal()
        used = [cpu(program) / max(counts[0], 1) * 1e6 for program in (r.tcpcopy, r.intercept)]
        time.sleep(1.2)
        peak, after = memory(r.tcpcopy)
        peaks = f"{peak:.0f} + {memory(r.intercept)[0]:.0f}, {after:.0f} after ({idle:.0f} idle)"
        seen = trouble()
        account = r.stop()
    keep(name, run, account)
    missing = reasons(account) if counts[0] != counts[1] else ""
    print(f"| {name} | {run} | {counts[0]} | {counts[0] / took:.0f} | {counts[1] / counts[0]:.4f} "
          f"| {'yes' if equal else 'no'} | {'-' if lag is None else f'{lag:.2f}'} "
          f"| {used[0]:.1f} + {used[1]:.1f} | {peaks} | {missing} {seen or ''} |", flush=True)


def times(capture, field):
    """{sequence number: time} of the first copy of each segment with data, seconds."""
    first = {}
    for packet in capture.fields("tcp.seq_raw", "frame.time_epoch", "tcp.len", display_filter=field):
        first.setdefault(int(packet["tcp.seq_raw"]), float(packet["frame.time_epoch"]))
    return first


def microseconds(values, share):
    return f"{sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1e6:.0f}"


def think(requests, pause):
    def run(lab):
        with connect(lab) as connection:
            for i in range(requests):
                ask(connection, f"append log {i}.")
                if pause:
                    time.sleep(pause)
    return run


def latency(name, run, options, work):
    """One connection: how the copy keeps up with the original."""
    with Lab() as lab:
        lab.route_to_assistant("client")
        servers = Redis(lab)
        r = Replay(lab, tcpcopy=options)
        wanted = "tcp port 6379"
        captures = {name: lab.host(name).capture(wanted, snaplen=120) for name in ("online", "target")}
        work(lab)
        wait_until(lambda: len(set(servers.done())) == 1, 60)
        counts = servers.done()
        equal = servers.equal()
        clients = f"tcp.len > 0 && ip.src == {lab.host('client').ip4}"
        there, here = (times(captures[name], clients) for name in ("online", "target"))
        # the answers: of which request is told by their acknowledgment number
        answers = {}
        for packet in captures["target"].fields("tcp.ack_raw", "frame.time_epoch", display_filter=
                                                f"tcp.len > 0 && ip.src == {lab.host('target').ip4}"):
            answers.setdefault(int(packet["tcp.ack_raw"]), float(packet["frame.time_epoch"]))
        account = r.stop()
    gaps = [here[seq] - answers[seq] for seq in here if seq in answers]
    behind = [here[seq] - there[seq] for seq in there if seq in here]
    original, copy = (max(each.values()) - min(each.values()) for each in (there, here))
    print(f"| {name} | {run} | {counts[1] / counts[0]:.4f} | {'yes' if equal else 'no'} | {original:.2f} | {copy:.2f} "
          f"| {copy / original:.2f} | {microseconds(gaps, .5)} / {microseconds(gaps, .99)} "
          f"| {microseconds(behind, .5)} / {microseconds(behind, .99)} / {microseconds(behind, 1)} "
          f"| {account('shorter answer had paused')}, {account('--hold passed')} |", flush=True)


LATENCIES = [
    ("closed loop, 10,000 requests", [], benchmark("-c", "1", "-n", "10000", "-t", "set")),
    ("closed loop, --hold 0", ["--hold", "0"], benchmark("-c", "1", "-n", "10000", "-t", "set")),
    ("2 ms think time, 2,000 requests", [], think(2000, 0.002)),
]


def mid_stream(run):
    """Connections older than tcpcopy, busy: what the online server executes from its start on."""
    with Lab() as lab:
        lab.route_to_assistant("client")
        servers = Redis(lab)
        client = lab.host("client").popen([*BENCH, "-t", "set", "-n", "400000", "-c", "50"], stdout=subprocess.DEVNULL)
        time.sleep(1)
        r = Replay(lab)
        there = servers.done()[0]
        client.wait(120)
        time.sleep(5)
        counts = servers.done()
        account = r.stop()
    keep("mid-stream", run, account)
    executed = counts[0] - there
    print(f"| mid-stream, 50 connections | {run} | {executed} since the start | {counts[1] / executed:.4f} "
          f"| {account('sessions opened in mid-stream')} joined | {reasons(account)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="WORD", help="only cases whose name contains it")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--logs", type=pathlib.Path, metavar="DIR", help="keep the accounts here")
    args = parser.parse_args()
    global logs
    logs = args.logs
    print("| case | run | online's commands | a second | fidelity | equal | lag s | us | MB | missing |\n" + "|---" * 10 + "|")
    for name, kind, work in CASES:
        for run in range(1, args.runs + 1):
            if args.k in name:
                fidelity(name, kind, work, run)
    for run in range(1, args.runs + 1):
        if args.k in "mid-stream":
            mid_stream(run)
    print("\n| one connection | run | fidelity | equal | original s | copy s | ratio | answer to next request us, p50 / p99 "
          "| behind us, p50 / p99 / most | by pause, by deadline |\n" + "|---" * 10 + "|")
    for name, options, work in LATENCIES:
        for run in range(1, args.runs + 1):
            if args.k in name:
                latency(name, run, options, work)


if __name__ == "__main__":
    main()

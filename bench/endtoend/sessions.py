"""Memory and cost against the number of sessions, and throughput against the number of workers."""

import functools

from . import work
from .framework import Column, Section
from .measure import COSTS, Machine, Tools, costs, memory, missing, need_option, quiet, segments
from .traffic import LoadServer, RedisPair, Sender, reuse_ports
from conftest import wait_until
from labnet import Lab

COLUMNS = {
    "sessions": Column("sessions", 0),
    "tcpcopy_mb": Column("tcpcopy MB with none", 1),
    "grown_mb": Column("more with all open", 1),
    "bytes": Column("bytes a session", 0),
    "intercept_mb": Column("intercept: more MB", 1),
    "intercept_bytes": Column("bytes a session", 0),
    "rps": Column("requests/s", 0),
    "fidelity": Column("fidelity", 4),
    **COSTS,
    "machine_us": Column("whole machine us/request", 1),
    "missing": Column("missing"),
}

NOTES = """Connections from four addresses to servers that answer +OK to each request. They are opened, and held
idle while the resident memory of both programs is compared with that before; then each in turn has a request of
20 bytes, 10,000 a second together, so that each finds its session cold. fidelity: bytes that the target
acknowledged / bytes that the client sent. us/request of the whole machine is with all five hosts on it."""

SOURCES = 4
RATE = 10000
TEXT = "set a very-small-vl\n"


def measure(count, size, number):
    count = max(int(count * size), 50)
    with Lab() as lab:
        client, target = lab.host("client"), lab.host("target")
        reuse_ports(client)
        sources = [client.ip4] + [f"10.90.114.{90 + i}" for i in range(1, SOURCES)]
        client.ip_batch([f"addr add {source}/32 dev eth0" for source in sources[1:]])
        target.ip_batch([f"route replace {source} via {lab.host('assistant').ip4}" for source in sources])
        for host in (lab.host("online"), target):
            host.sysctl(net__ipv4__tcp_max_syn_backlog=8192, net__core__somaxconn=8192)
            LoadServer(host, "answer", processes=-(-count // 12000)).start()
        tools = Tools(lab)
        idle = [memory(pid)[1] for pid in tools.pids]

        def opened():
            return target.nstat()["TcpPassiveOpens"]
        sender = Sender(lab, count, RATE, 5 * size if size >= 1 else 1, TEXT, sources)
        if not wait_until(lambda: opened() >= count, 15, step=0.5):
            raise AssertionError(f"{opened()} of {count} connections were established on the target: "
                                 f"{missing(tools.account())}")
        grown = [memory(pid)[1] - before for pid, before in zip(tools.pids, idle)]
        tools.sample()
        tools.mark()
        machine = Machine()
        result = sender.run()
        quiet(lambda: segments(target))
        busy, used = machine.busy(), tools.used()
        own = tools.own()
        sent = max(result["sent"], 1)
        sender.close()
        account = tools.account()
    acknowledged = account["engine.acked_bytes"]
    return {f"{count:,} sessions": {
        "sessions": count, "tcpcopy_mb": idle[0], "grown_mb": grown[0], "bytes": grown[0] * 2**20 / count,
        "intercept_mb": grown[1], "intercept_bytes": grown[1] * 2**20 / count, "rps": sent / result["seconds"],
        "fidelity": acknowledged / (sent * len(TEXT)), **costs(used, own, sent), "machine_us": busy / sent * 1e6,
        "missing": missing(account) if acknowledged < sent * len(TEXT) else None}}


SECTION = Section("sessions", "Number of sessions", COLUMNS,
                  [(f"{count} sessions", functools.partial(measure, count)) for count in (1000, 10000, 100000)], NOTES)

WORKER_NOTES = """The same load, once with each number of workers in each round, the order changing; the columns
are those of "Fidelity and cost". With two processors for five hosts, a second worker takes its time from the
servers and the client."""

LOADS = [("redis set/get, 50 connections", RedisPair, work.redis(*work.SMALL, "-c", "50", count=100000)),
         ("redis set/get, 500 connections", RedisPair, work.redis(*work.SMALL, "-c", "500", count=100000)),
         ("16 KB values, full speed", RedisPair, work.redis("-t", "set", "-c", "50", "-d", "16384", count=40000))]


def measure_workers(name, kind, load, size, number):
    need_option("--workers")
    found = {}
    for workers in (1, 2) if number % 2 == 0 else (2, 1):
        row = f"{name}: {workers} worker{'s' * (workers > 1)}"
        found.update(work.measure(row, kind, load, False, ("--workers", workers), size, number))
    return dict(sorted(found.items()))


WORKERS = Section("workers", "Number of workers", work.COLUMNS,
                  [(load[0], functools.partial(measure_workers, *load)) for load in LOADS], WORKER_NOTES)

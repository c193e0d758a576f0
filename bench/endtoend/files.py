"""What a live server makes of recorded requests that a tool sends it."""

import shutil
import time

from .framework import Column, Section, Skip
from .traffic import RedisPair, tapped
from conftest import BIN
from labnet import Lab
from labnet.netns import LabError
from workload import ask, connect

CONNECTIONS, REQUESTS = 6, 100

COLUMNS = {
    "requests": Column("requests recorded", 0),
    "served": Column("served", 0),
    "packets": Column("packets that came in", 0),
    "answer": Column("what the target's TCP made of them"),
}

NOTES = """600 requests of 6 connections to a redis, recorded by tcpdump and sent to another redis, which counts
what it executes. tcpreplay sends the packets as they are, after tcprewrite gave them the target's addresses and
checksums; tcpliveplay, one connection at a time, waits for answers and adjusts sequence numbers, on a host with
the recorded client's address whose kernel is kept from resetting the connection. tcpcopy --read runs on the online
server, and the answers come back to an address of it."""


def _requests(lab):
    open_now = [connect(lab) for _ in range(CONNECTIONS)]
    for number in range(REQUESTS):
        for which, connection in enumerate(open_now):
            ask(connection, f"append file{which} {number}.")
    for connection in open_now:
        connection.close()


def _recorded(lab):
    """The path of the recording; the online server has executed it."""
    capture = lab.host("online").capture("tcp port 6379")
    _requests(lab)
    return capture.stop().path


def _ports(lab, path):
    lines = lab.host("client").check_output(["tshark", "-n", "-r", path, "-Y", "tcp.flags.syn == 1 && tcp.flags.ack == 0",
                                             "-T", "fields", "-e", "tcp.srcport"]).split()
    return sorted(set(map(int, lines)))


def _tcpreplay(lab, path):
    online, target = lab.host("online"), lab.host("target")
    # what only the clients sent, to the target
    lab.route_to_assistant("client")
    requests, rewritten = lab.new_path("requests.pcap"), lab.new_path("rewritten.pcap")
    online.check_output(["tcpdump", "-r", path, "-w", requests, "-Z", "root", "dst", "port", "6379"])
    online.check_output(["tcprewrite", "-i", requests, "-o", rewritten, f"--dstipmap={online.ip4}/32:{target.ip4}/32",
                         f"--enet-dmac={target.mac()}", f"--enet-smac={online.mac()}", "--fixcsum"])
    online.check_output(["tcpreplay", "-i", "eth0", rewritten], timeout=120)


def _tcpliveplay(lab, path):
    client, target = lab.host("client"), lab.host("target")
    client.check_output(["nft", "-f", "-"], input=(
        "table ip bench { chain out { type filter hook output priority 0\ntcp flags & rst == rst drop\n}\n}\n"))
    for port in _ports(lab, path):
        one = lab.new_path(f"port{port}.pcap")
        client.check_output(["tcpdump", "-r", path, "-w", one, "-Z", "root", "tcp", "port", str(port)])
        # it leaves a file where it runs
        client.sh(f"timeout 5 tcpliveplay eth0 {one} {target.ip4} {target.mac()} random", cwd=lab.directory)


def _tcpcopy(lab, path):
    lab.host("online").check_output([BIN / "tcpcopy", "--read", path, "-x", f"6379-{lab.host('target').ip4}:6379", "--speed", "max"])


def _replayed(lab, tool):
    pair = RedisPair(lab)
    path = _recorded(lab)
    target = lab.host("target")
    before = target.nstat()
    with tapped(target, "eth0", 6379) as tap:
        tool(lab, path)
        time.sleep(1)
        arrived = tap.stop()["packets"]
    now = target.nstat()
    resets, accepted = (now[name] - before[name] for name in ("TcpOutRsts", "TcpPassiveOpens"))
    recorded, served = pair.counts()
    if not arrived:
        raise LabError("nothing of the recording came in at the target")
    return {"requests": recorded, "served": served, "packets": arrived,
            "answer": f"{resets} resets, {accepted} connections accepted"}


def measure(size, number):
    if not shutil.which("tcpreplay"):
        raise Skip("tcpreplay is not installed (lab/install-packages bench)")
    found = {}
    for name, tool in (("tcpreplay", _tcpreplay), ("tcpliveplay", _tcpliveplay), ("tcpcopy --read", _tcpcopy)):
        with Lab() as lab:
            found[name] = _replayed(lab, tool)
    return found


SECTION = Section("files", "Recorded requests to a live server", COLUMNS, [("recording", measure)], NOTES)

#!/usr/bin/python3
"""What the proof of a connection costs: sudo bench/proof.py [--rounds N] [--delay MS]

The online host runs two tcpcopies, one of them with --unproved, each for a target of its own, so both replicate the
same connections. In each round there are short connections (connect, ask, read, close), first beside a trickle of stray
ACKs, then beside one of SYNs that nobody completes, so that more than 64 are half-open. The lag is that from a
client's packet at the online host's interface to ours at the target's, by the kernel's clock; so it includes the wire.
Each figure is the median over the rounds of the median of a round, with the least and the greatest.
"""

import argparse
import pathlib
import socket
import statistics
import struct
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "lab"), str(TOP / "test" / "system")]

from conftest import Program, built, wait_until                     # noqa: E402
from labnet import Lab                                              # noqa: E402

PORT = 7000
STAMP = 35          # SO_TIMESTAMPNS
FIN, SYN, RST, PSH = 1, 2, 4, 8
SERVER = ("import socket; s = socket.create_server(('', 7000), backlog=4096)\n"
          "while True:\n  c = s.accept()[0]\n  c.sendall(c.recv(999)[:5])\n  c.recv(9)\n  c.close()\n")


class Tap:
    """When the first data and the FIN of each client port came by a host's interface."""

    def __init__(self, host):
        self.data, self.fin = {}, {}
        with host.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            self.socket.bind(("eth0", 0x0800))
        self.socket.setsockopt(socket.SOL_SOCKET, STAMP, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)     # SO_RCVBUFFORCE
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                packet, beside, _, where = self.socket.recvmsg(2048, 64)
            except OSError:
                return
            tcp = packet[(packet[0] & 15) * 4:]
            if where[2] != socket.PACKET_HOST or packet[9] != 6 or tcp[2:4] != struct.pack("!H", PORT):
                continue
            seconds, nanos = struct.unpack("qq", beside[0][2][:16])
            port, length = struct.unpack("!H", tcp[:2])[0], struct.unpack("!H", packet[2:4])[0]
            if length > (packet[0] & 15) * 4 + (tcp[12] >> 4) * 4:
                self.data.setdefault(port, seconds * 10 ** 6 + nanos / 1000)
            if tcp[13] & FIN:
                self.fin.setdefault(port, seconds * 10 ** 6 + nanos / 1000)


def talk(lab, count):
    """The ports of as many short connections, one after the other."""
    ports = []
    with lab.host("client").inside():
        for n in range(count):
            s = socket.create_connection((lab.host("online").ip4, PORT))
            ports.append(s.getsockname()[1])
            s.sendall(b"hello")
            s.recv(9)
            s.close()
            time.sleep(0.003)
    return ports


def line(what, of):
    print(f"| {what} | {statistics.median(of):.2f} ({min(of):.2f} - {max(of):.2f}) |", flush=True)


def measure(lab, rounds):
    online, targets = lab.host("online"), [lab.host("target"), lab.host("second")]
    for host in [online, *targets]:
        host.popen(["/usr/bin/python3", "-c", SERVER])
        assert host.wait_listening(PORT)
    intercept = Program(lab.host("assistant"), "intercept", "-i", "eth0", "-F", "tcp", "and", "src", "port", PORT).wait_ready()
    copies = [Program(online, "tcpcopy", "-x", f"{PORT}-{target.ip4}:{PORT}", "-s", lab.host("assistant").ip4, *more).wait_ready()
              for target, more in zip(targets, ([], ["--unproved"]))]
    came, left = Tap(online), [Tap(target) for target in targets]
    talk(lab, 50)
    lags = {}
    for _ in range(rounds):
        for beyond in (False, True):
            trickle = lab.host("evil").popen([built("spoof"), online.ip4, PORT, "syn" if beyond else "ack", 1000000, 200],
                                             stdout=-3)
            time.sleep(0.7)
            ports = talk(lab, 40)
            trickle.kill()
            assert wait_until(lambda: all(p in tap.fin for p in ports for tap in left), 10)
            for n, tap in enumerate(left):
                for what in ("data", "fin"):
                    lags.setdefault((n, beyond, what), []).append(statistics.median(
                        getattr(tap, what)[p] - getattr(came, what)[p] for p in ports))
            for tap in (came, *left):
                tap.data.clear()
                tap.fin.clear()
            time.sleep(3.2 if beyond else 0)        # until none is half-open
    for program in (*copies, intercept):
        program.stop()
    return lags


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--delay", type=float, default=0, help="ms of round trip to each target; and four times as much to the client")
    args = parser.parse_args()
    with Lab() as lab:
        lab.add_host("second", "10.90.109.144")
        lab.add_host("evil", "10.90.114.90")
        for target in ("target", "second"):
            lab.route_to_assistant("client", target=target)
            lab.host(target).run(["ip", "route", "add", "10.64.0.0/16", "via", lab.host("assistant").ip4])
            if args.delay:
                lab.delay(target, args.delay * 500)
        if args.delay:
            lab.delay("client", args.delay * 2000)
        lags = measure(lab, args.rounds)
    print(f"{args.rounds} rounds of 40 connections, {args.delay:g} ms to the targets, {args.delay * 4:g} ms to the client\n\n| | median (least - greatest) |\n|---|---|")
    for what, name in (("data", "first request"), ("fin", "FIN")):
        for beyond, when in ((False, "fewer than 64 half-open"), (True, "more")):
            line(f"{name}, {when}: us", lags[0, beyond, what])
            line(f"{name}, {when}: ratio to --unproved", [a / b for a, b in zip(lags[0, beyond, what], lags[1, beyond, what])])
        line(f"{name}: more / fewer than 64 half-open", [b / a for a, b in zip(lags[0, False, what], lags[0, True, what])])


if __name__ == "__main__":
    main()

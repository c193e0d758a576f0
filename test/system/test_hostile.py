#!/usr/bin/python3
"""Input that lies, wherever there is any: nothing crashes, good traffic is replicated meanwhile and whole, and what was
refused is counted by its reason.
"""

import random
import re
import socket
import struct
import subprocess
import threading

import pytest
from conftest import BIN, PATIENCE, SANITIZED, wait_until
from faults import World
from workload import ask, connect

PACKETS = 200_000
SEED = 1


def packets(lab, tool, source, to, from_host, from_port, to_host, to_port, count):
    """Start to send, from one host to the next hop `to`, what claims to be between two others."""
    return lab.host(source).popen([tool, "eth0", lab.host(to).mac(), lab.host(from_host).ip4, from_port,
                                   lab.host(to_host).ip4, to_port, count, SEED], stdout=subprocess.PIPE)


def test_malformed_packets(lab, hostile):
    """At the captured port, and as responses at the assistant."""
    # there is room for all packets: whoever has no processor for a while drops none
    world = World(lab, load={"connections": 10, "per_connection": 1000}, tcpcopy=["-B", "256M"])
    world.target.cli("config", "set", "maxclients", "100000")
    victim = connect(lab)
    ask(victim, "append victim 0.")
    running = [packets(lab, hostile, "client", "online", "client", 0, "online", 6379, PACKETS),
               packets(lab, hostile, "target", "assistant", "target", 6379, "client", 0, PACKETS // 4),
               packets(lab, hostile, "target", "assistant", "target", 6379, "client", victim.getsockname()[1], 5000)]
    for process in running:
        out, _ = process.communicate(timeout=5 * PATIENCE)
        assert process.returncode == 0 and all(int(n) > 10 for n in re.findall(r"=(\d+)", out)), out
    assert world.replay.alive(), world.logs()
    world.recovered()
    victim.close()
    world.load.stop()
    keys = [f"load{number}.{connection}" for number in range(10) for connection in range(5)]
    held = world.online.cli("mget", *keys)
    assert wait_until(lambda: world.target.cli("mget", *keys) == held), world.logs()
    account = world.replay.stop()
    for reason in ("tcp_header_len", "bad_checksum", "bad_flags", "ip_total_len"):
        assert any(n for name, n in account.report["account"]["parse"].items()
                   if name.replace("-", "_").lower().startswith(reason)), (reason, account.report["account"]["parse"])
    assert "malformed TCP option length" in world.replay.intercept_log, world.replay.intercept_log
    assert "bad frame" not in world.replay.intercept_log, "tcpcopy passes on what nobody may say"
    assert account["channel.losses_of_connection"] == 0, account.log


def frame(kind, body=b""):
    return struct.pack(">BBH", kind, 0, len(body)) + body


def hello(program):
    return frame(1, b"TCPC" + struct.pack(">HHIH24s24s", 1, 1, 0, 0, program, b"test"))


def address(text):
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(text)


def lies(lab, rng):
    """Frames of every type with everything wrong that a peer can get wrong, and right ones at wrong times."""
    target = address(lab.host("target").ip4) + struct.pack(">H", 6379)
    client = address(lab.host("client").ip4) + struct.pack(">H", rng.randrange(1, 65536))
    return rng.choice([
        lambda: frame(rng.randrange(256), rng.randbytes(rng.randrange(509))),
        lambda: struct.pack(">BBH", rng.randrange(12), 0, rng.randrange(65536)) + rng.randbytes(40),
        lambda: frame(2, rng.randbytes(8) + target + client),
        lambda: frame(3, rng.randbytes(8)),
        lambda: frame(4, struct.pack(">II", rng.randrange(1 << 16), rng.randrange(256)) + rng.randbytes(12) +
                      rng.randbytes(6) + bytes([rng.randrange(256), 0, 4, 0]) + rng.randbytes(3) + b"\0" + rng.randbytes(8)),
        lambda: frame(5, rng.randbytes(32)),
        lambda: frame(9, target),
        lambda: frame(10, target + client + rng.randbytes(9)),
        lambda: frame(6, rng.randbytes(8)),
        lambda: hello(b"\xff" * 24),
        lambda: frame(8, rng.randbytes(20)),
    ])()


class HostileServer(threading.Thread):
    """An assistant that answers each connection but the first with other lies. `served` counts them."""

    def __init__(self, lab, port):
        super().__init__(daemon=True)
        with lab.host("assistant").inside():
            self.listener = socket.create_server((lab.host("assistant").ip4, port))
        self.listener.settimeout(0.2)
        self.lab, self.served, self.ending, self.rng = lab, 0, False, random.Random(SEED)
        self.start()

    def run(self):
        while not self.ending:
            try:
                peer, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.served += 1
            with peer:
                peer.settimeout(0.3)
                try:
                    peer.sendall(b"" if self.served % 4 == 0 else hello(b"intercept"))
                    data = b"".join(lies(self.lab, self.rng) for _ in range(200 if self.served > 1 else 0)) or b"\0"
                    peer.sendall(data[:self.rng.randrange(len(data))])
                    while peer.recv(65536):
                        pass
                except OSError:
                    pass

    def stop(self):
        self.ending = True
        self.join()
        self.listener.close()


def test_garbage_on_the_channel(lab):
    """From hostile clients of intercept, and from a hostile intercept among those of tcpcopy."""
    server = HostileServer(lab, 40000)
    world = World(lab, tcpcopy=["-L", "-s", f"{lab.host('assistant').ip4}:40000"])
    rng = random.Random(SEED)
    with lab.host("online").inside():
        for number in range(300):
            with socket.create_connection((lab.host("assistant").ip4, 36524), 5) as peer:
                peer.settimeout(5)
                data = b"" if number % 4 == 0 else hello(b"tcpcopy")
                data += b"".join(lies(lab, rng) for _ in range(rng.randrange(60)))
                try:
                    peer.sendall(data[:rng.randrange(len(data) + 1)])
                except OSError:
                    pass        # it had enough before
    assert wait_until(lambda: server.served > 5)
    world.recovered()
    server.stop()
    account = world.finish()
    assert world.missing == 0, account.log
    assert "bad frame" in world.replay.intercept_log


VALUES = ["", " ", "0", "-1", "1", "99999999999999999999", "1e9", "0x10", "a", "%s%n", "\x01\xff", ",", ",,,", "-", "--",
          "1-", "-1-2", ":", "[", "]", "[]", "[::", "[::1]:", "::1", "1.2.3", "1.2.3.4.5", "999.1.1.1", "0.0.0.0",
          "224.0.0.1", "1.2.3.4/33", "1.2.3.4/-1", "::/129", "1.2.3.9-1", "1.2.3.x.4", "80-", "80-1.2.3.4",
          "80-1.2.3.4:", "80-1.2.3.4:0", "80-1.2.3.4:99999", "0-1.2.3.4:80", "a-b:c", "80-[::1]", "80-[1.2.3.4]:80",
          "x" * 5000, "9" * 400, "1," * 3000, "80-1.2.3.4:80," * 100, "/" * 5000, "tcp and (", "5 s", "1ms1", "1kk"]


@pytest.mark.parametrize("name", ["tcpcopy", "intercept"])
def test_bad_option_values(name):
    """Each value for each option, before one that is always refused: status 2, one short line, nothing else."""
    usage = subprocess.run([BIN / name, "-h"], capture_output=True, text=True, timeout=PATIENCE).stdout
    options = re.findall(r"^ +(?:-\w, +)?(--[\w-]+)[ =][A-Z]", usage, re.MULTILINE)
    assert len(options) >= 5, usage
    for option in options:
        for value in VALUES[::4 if SANITIZED else 1]:
            done = subprocess.run([BIN / name, f"{option}={value}", "-p", "0"], capture_output=True, timeout=PATIENCE)
            assert done.returncode == 2, (option, value, done)
            assert done.stderr.count(b"\n") == 1 and b"anitizer" not in done.stderr, (option, value, done.stderr)

#!/usr/bin/python3
"""intercept against a real target kernel, seen by a tcpcopy that is played here, byte by byte.

The lab's online server sends segments with the client's address to the target, whose kernel answers; the route to
the client leads to the assistant. The channel is spoken by hand, from doc/PROTOCOL.md, so that the test does not
share the codec of what it tests.
"""

import ipaddress
import itertools
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest
from conftest import BIN, PATIENCE, Program, wait_until

INTERCEPT = BIN / "intercept"
CHANNEL_PORT = 36524
PORT = 6379

HELLO, WATCH, UNWATCH, RESPONSE, LOSS, PING, PONG, BYE, TARGET, STRAY, PROBE, FINDINGS, PLACE, TAKEN, EXPECT, \
    FULL = range(1, 17)
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def mapped(address):
    a = ipaddress.ip_address(address)
    return b"\0" * 10 + b"\xff\xff" + a.packed if a.version == 4 else a.packed


def endpoint(address, port):
    return mapped(address) + struct.pack(">H", port)


class Response:
    def __init__(self, body):
        (self.id, self.seq, self.ack, self.len, self.window, self.merged, self.flags, self.dup_acks, self.options,
         n_sack, self.mss, self.wscale, _, self.tsval, self.tsecr) = struct.unpack(">QIIIHHBBBBHBBII", body[:40])
        assert len(body) == 40 + 8 * n_sack


class FakeTcpcopy:
    """One connection to intercept."""

    ids = itertools.count(1)

    def __init__(self, lab, hello=(1, 1), v6=False, host="online", at="assistant", number=None):
        at = lab.host(at)
        with lab.host(host).inside():
            self.socket = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
            self.socket.connect((at.ip6 if v6 else at.ip4, CHANNEL_PORT))
        self.buffer = b""
        self.loss = None
        self.records, self.full, self.seen = 0, 0, set()
        if hello:
            spreads = b"" if number is None else struct.pack(">HI", 1, number)
            self.send(HELLO, b"TCPC" + struct.pack(">HHIH24s24s", *hello, int(bool(spreads)), 0, b"tcpcopy", b"test") +
                      spreads)
            kind, body = self.read()
            assert kind == HELLO and body[:4] == b"TCPC" and body[14:23] == b"intercept"

    def send(self, kind, body=b""):
        self.socket.sendall(struct.pack(">BBH", kind, 0, len(body)) + body)

    def read(self, timeout=PATIENCE):
        """The next message; (None, None) when the connection has ended."""
        self.socket.settimeout(timeout)
        while len(self.buffer) < 4 or len(self.buffer) < 4 + int.from_bytes(self.buffer[2:4], "big"):
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None, None
            self.buffer += more
        end = 4 + int.from_bytes(self.buffer[2:4], "big")
        message, self.buffer = self.buffer[:end], self.buffer[end:]
        self.records += message[0] == RESPONSE
        return message[0], message[4:]

    def message(self):
        """Take the next message; its Response if it is one."""
        kind, body = self.read()
        assert kind, "the connection has ended"
        if kind == LOSS:
            self.loss = struct.unpack(">QQQQ", body)
        if kind == PING:
            self.send(PONG, body)
        return Response(body) if kind == RESPONSE else None

    def response(self):
        """The next Response that does not repeat one: the target sends again what we do not acknowledge in time."""
        deadline = time.monotonic() + PATIENCE
        while not (r := self.message()) or not self._new(r):
            assert time.monotonic() < deadline, "no response"
        return r

    def _new(self, r):
        what = (r.id, r.seq, r.len, r.flags & (SYN | FIN))
        again = what in self.seen
        if r.len or r.flags & (SYN | FIN):
            self.seen.add(what)
        return not again

    def rest(self):
        """What it says until the end: the kinds of messages."""
        kinds = set()
        while (kind := self.read()[0]):
            kinds.add(kind)
        return kinds

    def watch(self, flow, number=None, expected=None):
        """Ask for the responses of @flow. @expected: the number of EXPECT; not that of its SYN, or False: none is sent."""
        number = number or next(self.ids)
        if expected is not False:
            self.send(EXPECT, struct.pack(">QI", number, flow.isn if expected is None else expected))
        self.send(WATCH, struct.pack(">Q", number) + endpoint(flow.target, flow.port) +
                  endpoint(flow.client, flow.source))
        return number

    def unwatch(self, number):
        self.send(UNWATCH, struct.pack(">Q", number))

    def settle(self):
        """Everything sent so far has been handled; no new RESPONSE has come meanwhile."""
        self.send(PING, b"settled?")
        while (message := self.read()) != (PONG, b"settled?"):
            self.full += message[0] == FULL
            assert message[0] in (LOSS, PING, FULL) or message[0] == RESPONSE and not self._new(Response(message[1]))


class Flow:
    """A connection to the target as from the client, made of segments sent by the online server."""

    sources = itertools.count(random.randint(20000, 30000))

    def __init__(self, lab, v6=False, port=PORT):
        self.v6 = v6
        self.client = lab.host("client").ip6 if v6 else lab.host("client").ip4
        self.target = lab.host("target").ip6 if v6 else lab.host("target").ip4
        self.source, self.port = next(self.sources), port
        self.isn = self.seq = random.getrandbits(32)
        self.ack = 0
        with lab.host("online").inside():
            if v6:
                self.raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
            else:
                self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, flags, data=b"", options=b""):
        source, target = (ipaddress.ip_address(a).packed for a in (self.client, self.target))
        tcp = struct.pack(">HHIIBBHHH", self.source, self.port, self.seq, self.ack, (5 + len(options) // 4) << 4, flags,
                          65000, 0, 0) + options + data
        pseudo = source + target + (struct.pack(">II", len(tcp), 6) if self.v6 else struct.pack(">HH", 6, len(tcp)))
        whole = pseudo + tcp + b"\0" * (len(tcp) % 2)
        total = sum(struct.unpack(f">{len(whole) // 2}H", whole))
        total = (total & 0xffff) + (total >> 16)
        total = ~((total & 0xffff) + (total >> 16)) & 0xffff
        tcp = tcp[:16] + struct.pack(">H", total) + tcp[18:]
        if self.v6:
            ip = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + source + target
            self.raw.sendto(ip + tcp, (self.target, 0, 0, 0))
        else:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0) + source + target
            self.raw.sendto(ip + tcp, (self.target, 0))
        self.seq = (self.seq + len(data) + bool(flags & (SYN | FIN))) & 0xffffffff

    def syn(self):
        # MSS 1460, SACK permitted, timestamps, window scale 7
        self.send(SYN, options=bytes.fromhex("020405b4" "0402080a0000000100000000" "01030307"))


def start(lab, *args):
    return Program(lab.host("assistant"), "intercept", *args).wait_ready()


FILTER = ["-i", "eth0", "-F", "tcp", "and", "src", "port", PORT]


def opened(tcpcopy, flow):
    """A watched connection up to and with the SYN-ACK."""
    number = tcpcopy.watch(flow)
    flow.syn()
    synack = tcpcopy.response()
    while synack.id != number:  # an earlier flow's, sent again by the target: nothing has acknowledged it
        assert synack.id < number and synack.flags & (SYN | ACK)
        synack = tcpcopy.response()
    assert synack.flags == SYN | ACK
    flow.ack = synack.seq + 1 & 0xffffffff
    return number, synack


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("args", [FILTER, ["-i", "eth0"], []], ids=["filter", "announced", "default"])
def test_a_connection_from_syn_to_fin(net, args, v6):
    """Each header of the target's kernel arrives as a record, with and without -F."""
    intercept = start(net, *args)
    tcpcopy, flow = FakeTcpcopy(net, v6=v6), Flow(net, v6)
    tcpcopy.send(TARGET, endpoint(flow.target, PORT))
    tcpcopy.settle()
    number, synack = opened(tcpcopy, flow)
    assert synack.ack == flow.seq
    assert synack.mss == (1440 if v6 else 1460)
    assert synack.options == 7 and synack.tsecr == 1        # window scale, SACK permitted, timestamps

    flow.send(ACK)
    server = net.echo.accept()
    ts = struct.pack(">BBBBII", 1, 1, 8, 10, 2, synack.tsval)
    flow.send(ACK | PSH, b"*1\r\n$4\r\nPING\r\n", options=ts)
    r = tcpcopy.response()
    assert (r.id, r.flags, r.len, r.ack, r.seq) == (number, ACK, 0, flow.seq, flow.ack)
    server.sendall(server.recv(100))
    r = tcpcopy.response()
    assert (r.flags, r.len, r.seq, r.tsecr) == (ACK | PSH, 14, flow.ack, 2)
    assert r.mss == r.wscale == 0 and r.options == 4
    flow.ack += 14
    flow.send(ACK, options=ts)
    server.close()
    r = tcpcopy.response()
    assert r.flags & FIN and r.len == 0 and r.seq == flow.ack & 0xffffffff
    log = intercept.stop()
    assert BYE in tcpcopy.rest()
    assert f" {tcpcopy.records}  records sent" in log


def test_super_packets_are_one_record(net):
    start(net, *FILTER)
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    opened(tcpcopy, flow)
    flow.send(ACK)
    net.echo.accept().sendall(b"x" * 14000)
    total, largest, edge = 0, 0, flow.ack
    while total < 14000:
        r = tcpcopy.response()
        if 0 < (edge - r.seq & 0xffffffff) < 14001:     # sent again
            continue
        assert r.seq == edge & 0xffffffff
        edge += r.len
        total += r.len
        largest = max(largest, r.len)
    assert total == 14000 and largest > 1460


def held(intercept):
    return intercept.status()["account"]["watches"]["early"]


def watched_late(net, tcpcopy, intercept):
    """A response came before its WATCH, and was held. That is for half a second, which a busy machine may miss."""
    for _ in range(20):
        flow = Flow(net)
        flow.syn()
        time.sleep(0.1)
        number = tcpcopy.watch(flow)
        while (r := tcpcopy.response()).id != number:
            assert r.id < number
        assert r.flags == SYN | ACK
        if held(intercept):
            return True
    return False


def test_early_responses_wait_for_their_watch(net):
    intercept = start(net, *FILTER)
    tcpcopy, late = FakeTcpcopy(net), Flow(net)
    tcpcopy.send(TARGET, endpoint(net.host("target").ip4, PORT))
    tcpcopy.settle()
    late.syn()
    assert wait_until(lambda: intercept.status()["account"]["segments"]["unowned"] > 0)
    late.send(RST)                          # which has no answer
    while not tcpcopy.loss:
        tcpcopy.message()
    assert tcpcopy.loss[3] >= 1, "the segment that was given up is not reported"

    assert watched_late(net, tcpcopy, intercept)
    log = intercept.stop()
    assert "segments held until their WATCH came" in log
    assert "segments from a target for which no WATCH came" in log


def test_early_also_without_any_target_known(net):
    intercept = start(net, *FILTER)
    assert watched_late(net, FakeTcpcopy(net), intercept)


def test_early_also_with_more_targets_than_there_is_room_for(net):
    """Somebody has announced thousands: a target that is not among them is not known, but may be one."""
    intercept = start(net, *FILTER)
    many = [FakeTcpcopy(net) for _ in range(17)]
    for number, one in enumerate(many):
        for n in range(256):
            one.send(TARGET, endpoint(f"10.1.{number}.{n}", 1000))
        one.settle()
    assert "more than 4096 targets were announced" in intercept.log
    assert watched_late(net, FakeTcpcopy(net), intercept)


def test_a_watch_is_announced_before_its_syn_without_target_message(net):
    """The WATCH alone brings the target into the filter."""
    start(net)
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    tcpcopy.watch(flow)
    tcpcopy.settle()
    flow.syn()
    assert tcpcopy.response().flags == SYN | ACK


def test_the_last_watch_owns_a_tuple(net):
    intercept = start(net, *FILTER)
    first, second, flow = FakeTcpcopy(net), FakeTcpcopy(net), Flow(net)
    opened(first, flow)
    number = second.watch(flow)
    second.settle()
    flow.send(ACK)
    server = net.echo.accept()
    server.sendall(b"hello")
    r = second.response()
    assert (r.id, r.len) == (number, 5)
    first.settle()                          # and has heard nothing
    first.socket.close()                    # which takes nothing from the second
    flow.ack += 5
    flow.send(ACK)
    server.sendall(b"again!")
    assert second.response().len == 6
    assert "1  of the ended ones, replaced by a newer watch" in intercept.stop()


def test_unwatch_and_the_end_of_a_connection(net):
    intercept = start(net, *FILTER)
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    number, _ = opened(tcpcopy, flow)
    tcpcopy.unwatch(number)
    tcpcopy.unwatch(12345678)
    tcpcopy.settle()
    flow.send(ACK)
    server = net.echo.accept()
    before = intercept.status()["account"]["segments"]["unowned"]
    server.sendall(b"hello")
    assert wait_until(lambda: intercept.status()["account"]["segments"]["unowned"] > before)
    tcpcopy.settle()
    for _ in range(50):
        tcpcopy.watch(Flow(net))
    tcpcopy.settle()
    intercept.process.send_signal(signal.SIGUSR1)
    assert wait_until(lambda: "50 live watches" in intercept.log)
    tcpcopy.socket.close()
    assert wait_until(lambda: "disconnected" in intercept.log)
    assert "0 live watches" in intercept.stop()


def test_no_common_version(net):
    intercept = start(net, *FILTER)
    tcpcopy = FakeTcpcopy(net, hello=(2, 7))
    kind, body = tcpcopy.read()
    assert kind == BYE
    assert b"1 to 1" in body and b"2 to 7" in body
    assert tcpcopy.read() == (None, None)
    FakeTcpcopy(net, hello=(1, 7))
    assert "no common protocol version" in intercept.stop()


def test_garbage_ends_its_connection_only(net):
    intercept = start(net, *FILTER)
    good, flow = FakeTcpcopy(net), Flow(net)
    random.seed(7)
    for n in range(60):
        bad = FakeTcpcopy(net, hello=None if n % 2 else (1, 1))
        bad.socket.sendall(bytes([WATCH, 0, 0, 3]) + random.randbytes(2000))
        while bad.read()[0]:
            pass
    begun = time.monotonic()
    silent = FakeTcpcopy(net, hello=None)
    assert silent.read()[0] == HELLO
    assert silent.read() == (BYE, b"no HELLO within 3 s") and time.monotonic() - begun >= 3
    opened(good, flow)
    intercept.stop()


def test_segments_that_nobody_wants_are_not_held_for_ever(net):
    """On a gateway or the target itself the client's own segments are seen too."""
    intercept = start(net, "-i", "eth0", "-F", "tcp")
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)
    opened(tcpcopy, flow)
    for _ in range(5):
        tcpcopy.settle()
    log = intercept.stop()
    assert "segments not from a target" in log
    assert "no WATCH came" not in log


def test_on_the_target_itself(net):
    """Responses that only go out are seen; the channel's own packets do no harm."""
    target = net.host("target")
    intercept = Program(target, "intercept", *FILTER).wait_ready()
    tcpcopy, flow = FakeTcpcopy(net, at="target"), Flow(net)
    opened(tcpcopy, flow)
    intercept.stop()


# --- the black hole ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("switch, cure", [
    ("net.ipv4.ip_forward", "net.ipv4.ip_forward=0"),
    ("net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.forwarding=0"),
])
@pytest.mark.parametrize("daemon", [[], ["-d"]])
def test_a_host_that_forwards_is_refused(lab, switch, cure, daemon):
    host = lab.host("assistant")
    host.check_output(["sysctl", "-w", f"{switch}=1"])
    done = host.run([INTERCEPT, *FILTER, *daemon], timeout=PATIENCE)
    assert done.returncode == 1
    assert cure in done.stderr and "--guard" in done.stderr and "eth0" in done.stderr
    host.check_output(["sysctl", "-w", cure])
    start(lab, *FILTER).stop()


def test_forwarding_that_is_switched_on_later_is_said(lab):
    intercept = start(lab, *FILTER)
    lab.host("assistant").check_output(["sysctl", "-w", "net.ipv4.ip_forward=1"])
    assert wait_until(lambda: "--guard" in intercept.log)
    intercept.stop()


# --- the command line -------------------------------------------------------------------------------------------------

BAD_VALUES = [
    (["-p", "99999"], '-p "99999"', "1 to 65535"),
    (["-p", "0"], '-p "0"', "1 to 65535"),
    (["-p", "36x"], '-p "36x"', "1 to 65535"),
    (["-i", "eth7"], '-i "eth7"', "available: lo, eth0"),
    (["-i", "eth0,eth0"], '-i "eth0,eth0"', "twice"),
    (["-i", "eth0,"], '-i "eth0,"', "missing"),
    (["-F", "-d"], "-F", "missing"),
    (["-F"], "-F", "missing"),
    (["-F", ""], '-F ""', "empty"),
    (["-F", "tcp", "and", "and", "-d"], '-F "tcp and and"', "syntax error"),
    (["-b", "10.90.110"], '-b "10.90.110"', "an IPv4 or IPv6 address"),
    (["-b", "224.0.0.1"], '-b "224.0.0.1"', "multicast"),
    (["-l", ""], '-l ""', "file name"),
    (["--workers", "0"], '--workers "0"', "1 to 32, or auto"),
    (["--cpus", "999"], '--cpus "999"', "CPU 999 is not available; available: 0"),
    (["--bogus"], "--bogus", "accepted"),
]


@pytest.mark.parametrize("args, option, words", BAD_VALUES, ids=[" ".join(a) or "empty" for a, _, _ in BAD_VALUES])
def test_bad_value(lab, args, option, words):
    done = lab.host("assistant").run([INTERCEPT, *args], timeout=PATIENCE)
    assert done.returncode == 2
    assert f"option {option}" in done.stderr and words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("daemon", [[], ["-d"]])
@pytest.mark.parametrize("args, words", [
    (["-b", "10.1.2.3"], ['option -b "10.1.2.3"', "not an address of this host"]),
    (["-P", "/nonexistent/pid"], ['option -P "/nonexistent/pid"', "No such file"]),
    (["-l", "/nonexistent/log"], ['option -l "/nonexistent/log"', "No such file"]),
])
def test_start_that_fails(lab, args, words, daemon):
    done = lab.host("assistant").run([INTERCEPT, *FILTER, *args, *daemon], timeout=PATIENCE)
    assert done.returncode == 1
    assert all(w in done.stderr for w in words), done.stderr


@pytest.mark.parametrize("daemon", [[], ["-d"]])
def test_port_and_pid_file_in_use(lab, daemon):
    host, pid_file = lab.host("assistant"), lab.new_path("pid")
    first = start(lab, *FILTER, "-P", pid_file)
    assert pid_file.read_text().strip() == str(first.process.pid)
    done = host.run([INTERCEPT, *FILTER, *daemon], timeout=PATIENCE)
    assert done.returncode == 1 and "36524" in done.stderr and "ss -ltnp" in done.stderr and "-p" in done.stderr
    done = host.run([INTERCEPT, *FILTER, "-p", "40000", "-P", pid_file, *daemon], timeout=PATIENCE)
    assert done.returncode == 1 and f'option -P "{pid_file}"' in done.stderr and str(first.process.pid) in done.stderr
    first.stop()
    assert not pid_file.exists()


def test_no_permission(lab):
    program = lab.new_path("intercept")
    shutil.copy(INTERCEPT, program)
    os.chmod(lab.directory, 0o755)
    done = lab.host("assistant").run(["setpriv", "--reuid=65534", "--clear-groups", program, *FILTER], timeout=PATIENCE)
    assert done.returncode == 1 and "CAP_NET_RAW" in done.stderr and "root" in done.stderr


def test_daemon(net):
    host, log, pid_file = net.host("assistant"), net.new_path("log"), net.new_path("pid")
    done = host.run([INTERCEPT, *FILTER, "-d", "-l", log, "-P", pid_file], timeout=PATIENCE)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    tcpcopy, flow = FakeTcpcopy(net), Flow(net)        # it is ready as soon as the shell has its prompt back
    opened(tcpcopy, flow)
    pid = int(pid_file.read_text())
    log.rename(f"{log}.1")
    os.kill(pid, signal.SIGHUP)
    assert wait_until(log.exists)
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: not pid_file.exists())
    assert wait_until(lambda: "records sent" in log.read_text())
    assert wait_until(lambda: subprocess.run(["ip", "netns", "pids", host.netns], capture_output=True).stdout == b"")


def test_daemon_without_log_says_where_it_goes(lab):
    host, pid_file = lab.host("assistant"), lab.new_path("pid")
    done = host.run([INTERCEPT, *FILTER, "-d", "-P", pid_file], timeout=PATIENCE)
    assert done.returncode == 0 and "syslog" in done.stderr
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    assert wait_until(lambda: not pid_file.exists())


def test_facts_and_the_plain_channel(lab):
    log = start(lab, *FILTER).stop()
    assert "capturing tcp and src port 6379 on eth0" in log and "0.0.0.0:36524" in log and "[::]:36524" in log
    assert "the channel has no secret" in log
    log = start(lab, "-b", "127.0.0.1", "-b", "::1", "-p", "40000", "-s", "65536", "-x", "10.90.111.142").stop()
    assert log.count("ignored: ") == 2 and "option -s is ignored: tables grow as they need\n" in log
    assert "listening for tcpcopy on 127.0.0.1:40000, [::1]:40000" in log
    assert "secret" not in log


def test_version():
    done = subprocess.run([INTERCEPT, "--version"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stdout.startswith("intercept ")

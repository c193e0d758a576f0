#!/usr/bin/python3
"""What a code execution in each program can still do: tried from the inside, as root and as another user.

Calls are made by inside.py in the threads of the running plain programs, which afterwards go on replicating.
"""

import errno
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess

import conftest
import pytest
from conftest import TOP, Replay
from inside import Inside
from workload import all_complete, appends, closed, equal, pair

PLAIN = pathlib.Path(os.environ.get("TCPCOPY_PLAIN_DIR", TOP))
NOBODY = 65534
HIGH = 1 << 32          # above an int: the kernel does not look there
SIGKILL = signal.SIGKILL
FASTOPEN = socket.MSG_FASTOPEN


@pytest.fixture(autouse=True)
def plain_build(monkeypatch):
    monkeypatch.setattr(conftest, "BIN", PLAIN)


class Both:
    """Both programs at work, as root or with --user, and afterwards still at work."""

    def __init__(self, lab, user, tcpcopy=(), intercept=(), prefix=()):
        self.lab, self.user = lab, user
        self.uid = NOBODY if user else 0
        self.online, self.target = pair(lab)
        if user:
            lab.directory.chmod(0o711)
            shutil.chown(lab.directory, user)
        option = ["--user", user] if user else []
        self.copy = Replay(lab, tcpcopy=[*option, *tcpcopy], intercept=[*option, *intercept],
                           prefix=prefix)
        appends(lab, connections=2, commands=20)

    def each(self):
        """Each program's process: `for name, call in both.each()`."""
        for program in (self.copy.tcpcopy, self.copy.intercept):
            with Inside(program.process.pid) as call:
                yield program.name, call

    def victim(self):
        """A process of the same user, which minds its own business."""
        return subprocess.Popen(["sleep", "1000"], user=self.uid, group=self.uid)

    def still_work(self):
        appends(self.lab, connections=2, commands=20)
        assert equal(self.online, self.target) and closed(self.lab)
        account = self.copy.stop()
        assert all_complete(account)
        return account


@pytest.fixture(params=[None, "nobody"], ids=["root", "user"])
def user(request):
    return request.param


@pytest.fixture
def elsewhere(lab):
    """A directory that anyone may write, beside that of the lab."""
    path = lab.directory.parent / f"{lab.directory.name}.elsewhere"
    path.mkdir()
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def unix_address(path):
    return struct.pack("H", socket.AF_UNIX) + str(path).encode() + b"\0"


def refused(call, name, *arguments, error=errno.EPERM):
    got = call(name, *arguments)
    assert got == -error, (name, arguments, got)


def test_other_processes(lab, user):
    """No signal, limit, CPU or priority reaches another process; nor is it traced or read."""
    both = Both(lab, user)
    victim = both.victim()
    pid = victim.pid
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    try:
        for name, call in both.each():
            own = call.pid
            for number in (pid, pid + HIGH):
                refused(call, "kill", number, SIGKILL)
                refused(call, "tgkill", number, number, SIGKILL)
                refused(call, "rt_tgsigqueueinfo", number, number, SIGKILL, bytes(128))
                refused(call, "prlimit64", number, 0, struct.pack("QQ", 0, 0), 0)
                refused(call, "prlimit64", number, 7, 0, bytes(16))
                refused(call, "sched_setaffinity", number, 8, struct.pack("Q", 1))
                refused(call, "sched_setscheduler", number, 0, bytes(4))
                refused(call, "sched_setattr", number, bytes(48), 0)
                refused(call, "ptrace", 16, number, 0, 0)
                refused(call, "pidfd_open", number, 0)
                refused(call, "process_vm_readv", number, bytes(16), 1, bytes(16), 1, 0)
                refused(call, "process_vm_writev", number, bytes(16), 1, bytes(16), 1, 0)
            refused(call, "prlimit64", 0, 0, struct.pack("QQ", 0, 0), 0)
            # a signal about a file, to whom the file is said to belong
            ours = call("socket", 2, 1, 0)
            assert ours > 0, (name, ours)
            for command in (8, 10, 15, 8 + HIGH):           # F_SETOWN, F_SETSIG, F_SETOWN_EX
                refused(call, "fcntl", ours, command, pid)
            for request in (0x8901, 0x8902, 0x8901 + HIGH):     # FIOSETOWN, SIOCSPGRP
                refused(call, "ioctl", ours, request, struct.pack("i", pid))
            # what they need is let through
            assert call("tgkill", own, own, 0) == 0 and call("prlimit64", 0, 7, 0, bytes(16)) == 0
            assert call("close", ours) == 0
        assert victim.poll() is None
        assert pathlib.Path(f"/proc/{pid}/limits").read_text() == limits
        both.still_work()
    finally:
        victim.kill()
        victim.wait()


def test_nothing_is_started_or_changed(lab, user):
    """No program, no other privileges, no code that was not there at the start."""
    both = Both(lab, user)
    for _, call in both.each():
        for name, *arguments in [("fork",), ("execve", b"/bin/true\0", bytes(8), bytes(8)), ("setuid", 0), ("unshare", 0x20000),
                                 ("setns", 0, 0), ("mount", b"none\0", b"/tmp\0", b"tmpfs\0", 0, 0), ("keyctl", 0, 0, 0),
                                 ("bpf", 0, bytes(128), 128), ("userfaultfd", 0), ("io_uring_setup", 8, bytes(128)),
                                 ("memfd_create", b"x\0", 0), ("capset", bytes(8), bytes(24)),
                                 ("mmap", 0, 4096, 5, 0x22, -1, 0), ("mprotect", 0, 4096, 5), ("prctl", 4, 1)]:
            refused(call, name, *arguments)
        memory = call("mmap", 0, 4096, 3, 0x22, -1, 0)
        assert memory > 0
        refused(call, "mprotect", memory, 4096, 5)
    both.still_work()


def test_daemons_of_this_host(lab, user):
    """No socket reaches another unix socket, and those that are open talk to whom they are connected to alone."""
    manager, stream, datagram = (socket.socket(socket.AF_UNIX, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM,
                                                                                  socket.SOCK_DGRAM))
    for name, server in [("manager", manager), ("stream", stream), ("datagram", datagram)]:
        server.bind(str(lab.directory / name))
        server.setblocking(False)
    stream.listen()
    to_stream, to_datagram = (unix_address(lab.directory / name) for name in ("stream", "datagram"))
    both = Both(lab, user, prefix=["env", f"NOTIFY_SOCKET={lab.directory / 'manager'}"])
    assert [manager.recv(100), manager.recv(100)] == [b"READY=1"] * 2
    for name, call in both.each():
        for kind in (1, 2, 5):
            refused(call, "socket", socket.AF_UNIX, kind, 0)
            refused(call, "socketpair", socket.AF_UNIX, kind, 0, bytes(8))
        refused(call, "socket", socket.AF_UNIX + HIGH, 2, 0)
        refused(call, "socket", socket.AF_NETLINK, 3, 9)            # NETLINK_AUDIT
        for fd in call.sockets("unix"):
            for number in (fd, fd + HIGH):
                for to in (to_stream, to_datagram):
                    assert call("connect", number, to, len(to)) < 0, (name, fd)
                    call("sendto", number, b"pwned", 5, 0x40, to, len(to))
                    refused(call, "sendmsg", number, call.message(b"pwned", to), 0x40)
                    call("sendmmsg", number, call.message(b"pwned", to), 1, 0x40)
            refused(call, "dup", fd)
            refused(call, "fcntl", fd, 0, 500)                  # F_DUPFD
        (own,) = (fd for fd in call.sockets("unix") if call("sendto", fd, b"STATUS=inside", 13, 0, 0, 0) == 13
                  and manager.recv(100) == b"STATUS=inside")
        refused(call, "dup2", own, 500)
        refused(call, "dup3", own + HIGH, 500, 0)
        refused(call, "connect", own, to_datagram, len(to_datagram))
    for server in (datagram, manager):
        with pytest.raises(BlockingIOError):
            server.recv(100)
    with pytest.raises(BlockingIOError):
        stream.accept()
    both.still_work()


def accept_all(call):
    """A struct sock_fprog that lets everything in, to be passed as the first bytes."""
    return struct.pack("HxxxxxxQ", 1, call.memory + 16) + struct.pack("HBBI", 6, 0, 0, 0x40000)


def cannot_send(call, fd):
    frame = bytes(12) + b"\x88\xb5" + bytes(50)
    to = struct.pack("=HHiHBB8s", socket.AF_PACKET, 0xb588, 1, 1, 0, 6, b"\xff" * 6)
    piece = struct.pack("QQ", call.memory + 16, len(frame)) + frame
    for number in (fd, fd + HIGH):
        refused(call, "sendto", number, frame, len(frame), 0, to, len(to))
        refused(call, "sendto", number, frame, len(frame), 0, 0, 0)
        refused(call, "sendmsg", number, call.message(frame, to), 0)
        refused(call, "sendmmsg", number, call.message(frame, to), 1, 0)
        refused(call, "write", number, frame, len(frame))
        refused(call, "writev", number, piece, 1)
        refused(call, "pwritev", number, piece, 1, 0)
        refused(call, "pwrite64", number, frame, len(frame), 0)
        refused(call, "sendfile", number, 0, 0, 10)
        refused(call, "splice", 0, 0, number, 0, 10, 0)
        refused(call, "vmsplice", number, piece, 1, 0)
        refused(call, "setsockopt", number, 263, 13, struct.pack("8I", 4096, 1, 4096, 1, 0, 0, 0, 0), 16)   # PACKET_TX_RING


def stays_as_it_is(call, fd, but=()):
    """Neither its filter nor anything else about a packet socket changes, but for some options."""
    everything = struct.pack("=HHi12x", socket.AF_PACKET, 0x0300, 0)
    for number in (fd, fd + HIGH):
        for level, option in [(1, 26), (1, 27), (1, 50), (1, 44), (1, 33), (263, 1), (263, 5), (263, 18), (263, 20), (263, 24)]:
            if (level, option) not in but:
                refused(call, "setsockopt", number, level, option, accept_all(call), 16)
                refused(call, "setsockopt", number, level, option + HIGH, accept_all(call), 16)
        if (1, 26) not in but:
            refused(call, "bind", number, everything, len(everything))
        refused(call, "dup2", number, 500)
        refused(call, "dup3", number, 500, 0)
        refused(call, "dup", number)
        refused(call, "fcntl", number, 1030, 500)


def locked(call, fd):
    """Has the kernel locked the filter, whoever asks?"""
    assert call("getsockopt", fd, 1, 44, bytes(8), struct.pack("I", 4)) == 0
    return call.read(call.memory, 4) != bytes(4)


def not_capturing(call):
    """The packet sockets that inject, which are bound to no interface and send whole frames, or are idle, of protocol 0."""
    lines = [line.split() for line in pathlib.Path(f"/proc/{call.pid}/net/packet").read_text().splitlines()[1:]]
    of_protocol = {f"socket:[{line[8]}]" for line in lines
                   if line[3] == "0000" or line[2] == "3" and line[4] == "0"}
    return [fd for fd in call.sockets("packet") if os.readlink(f"/proc/{call.pid}/fd/{fd}") in of_protocol]


def test_packet_sockets(lab, user):
    """What captures does not send and captures nothing else; what sends does not capture. Turning the capture goes on."""
    both = Both(lab, user, tcpcopy=["--capture", "alternate", "--workers", 2])
    for name, call in both.each():
        sending = not_capturing(call) if name == "tcpcopy" else []
        idle = not_capturing(call) if name == "intercept" else []
        capturing = set(call.sockets("packet")) - {*sending, *idle}
        assert len(capturing) >= (5 if name == "tcpcopy" else 2)
        refused(call, "socket", socket.AF_PACKET, 3, 0)
        refused(call, "socket", socket.AF_INET, 3, 255)
        for fd in capturing:
            cannot_send(call, fd)
            stays_as_it_is(call, fd)
        # that by which the group of an interface is turned is guarded by the sandbox alone
        assert sum(not locked(call, fd) for fd in capturing) == (2 if name == "tcpcopy" else 1)    # lo, eth0
        for fd in idle:                     # listens to what --check asks for
            cannot_send(call, fd)
            stays_as_it_is(call, fd, but=[(1, 26)])
        for fd in sending:
            stays_as_it_is(call, fd)
            assert locked(call, fd)
            assert call("recvfrom", fd, bytes(100), 100, 0x40, 0, 0) == -errno.EAGAIN
        assert len(sending) >= (2 if name == "tcpcopy" else 0)
    assert both.still_work()["capture.turns"] > 0


def test_captures_that_follow_the_targets(lab, user):
    """The filters of these change, and so an attacker changes them; they send no more than others."""
    both = Both(lab, user)
    own = conftest.Program(lab.host("assistant"), "intercept", "-i", "eth0", "-p", 40000, "-P", lab.new_path("pid"),
                           *(["--user", user] if user else [])).wait_ready()
    with Inside(own.process.pid) as call:
        for fd in call.sockets("packet"):
            cannot_send(call, fd)
            stays_as_it_is(call, fd, but=[(1, 26)])
            assert call("setsockopt", fd, 1, 26, accept_all(call), 16) == 0 and not locked(call, fd)
    # what is none of its business arrives: of protocols that no filter of ours lets in
    before = own.status()["account"]["capture"]["packets"]
    with lab.host("target").inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(50):
            stranger.sendto(b"private", (lab.host("assistant").ip4, 9))
    assert conftest.wait_until(lambda: own.status()["account"]["capture"]["packets"] >= before + 50)
    own.stop()
    both.still_work()


def test_ports(lab, user):
    """TCP connections are made to the ports of the assistants and targets alone, and nobody listens for others."""
    both = Both(lab, user)
    servers = {}
    with lab.host("online").inside():
        for port in (6400, 36524):
            servers[port] = socket.create_server(("127.0.0.2", port))
            servers[port].setblocking(False)
    for name, call in both.each():
        for protocol in (132, 255, 262):                    # SCTP, raw, MPTCP
            refused(call, "socket", socket.AF_INET, 1, protocol)
        fd = call("socket", socket.AF_INET, 1, 0)
        to = {port: struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton("127.0.0.2"))
              for port in servers}
        refused(call, "connect", fd, to[6400], 16, error=errno.EACCES)
        if name == "tcpcopy":
            assert call("connect", fd, to[36524], 16) == 0
        else:
            refused(call, "connect", fd, to[36524], 16, error=errno.EACCES)
        fd = call("socket", socket.AF_INET, 1, 0)
        for sending in ("sendto", "sendmsg", "sendmmsg"):    # with MSG_FASTOPEN, which asks connect() no more than Landlock
            words = [b"pwned", 5, FASTOPEN, to[6400], 16] if sending == "sendto" else \
                [call.message(b"pwned", to[6400]), *([1] if sending == "sendmmsg" else []), FASTOPEN]
            refused(call, sending, fd, *words)
        for kind in (5, 6, 2 | 4):                           # SCTP and DCCP, without naming them
            refused(call, "socket", socket.AF_INET, kind, 0)
        here = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 6401, bytes(4))
        refused(call, "bind", fd, here, 16, error=errno.EACCES)
        refused(call, "listen", fd, 1)
    with pytest.raises(BlockingIOError):
        servers[6400].accept()
    both.still_work()
    for server in servers.values():
        server.close()


def test_memory(lab, user):
    """No core is left, and no other process of the user reads what is in memory."""
    both = Both(lab, user, prefix=["prlimit", "--core=unlimited"])
    for program in (both.copy.tcpcopy, both.copy.intercept):
        pid = program.process.pid
        assert "Max core file size        0                    0 " in pathlib.Path(f"/proc/{pid}/limits").read_text()
        other = ["setpriv", "--reuid", both.uid, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "head", "-c1"]
        for name in ("environ", "mem", "maps"):
            done = subprocess.run([*map(str, other), f"/proc/{pid}/{name}"], capture_output=True, text=True)
            assert done.returncode and "ermission denied" in done.stderr + done.stdout, (name, done)
        os.kill(pid, signal.SIGSEGV)
        _, code = os.waitpid(pid, 0)
        assert os.WTERMSIG(code) == signal.SIGSEGV and not os.WCOREDUMP(code)


def test_files(lab, user):
    """Files outside of the directories of the log, PID file, report and control socket are out of reach."""
    kept, other = lab.directory / "kept", lab.directory.parent / f"{lab.directory.name}.other"
    kept.mkdir()
    kept.chmod(0o777)
    other.mkdir()
    other.chmod(0o777)
    try:
        (other / "file").write_text("x")
        (other / "file").chmod(0o666)
        both = Both(lab, user, tcpcopy=["-P", kept / "tcpcopy"], intercept=["-P", kept / "intercept"])
        for name, call in both.each():
            for path in ("/etc/passwd", "/etc/shadow", "/proc/1/environ", "/proc/self/mem", other / "file", "/dev/kmsg"):
                for flags in (0, 1, 2):
                    refused(call, "openat", -100, f"{path}\0".encode(), flags, 0, error=errno.EACCES)
            for path in (other / "new", "/tmp/new", "/etc/new", "/dev/new"):
                refused(call, "openat", -100, f"{path}\0".encode(), 0o101, 0o666, error=errno.EACCES)
            refused(call, "unlink", f"{other / 'file'}\0".encode(), error=errno.EACCES)
            for change in ("chmod", "mkdir"):
                refused(call, change, f"{kept / 'new'}\0".encode(), 0o777)
            for change in ("link", "symlink"):
                refused(call, change, f"{kept / name}\0".encode(), f"{kept / 'new'}\0".encode())
            refused(call, "mknod", f"{kept / 'new'}\0".encode(), 0o10666, 0)
            # what remains
            fd = call("openat", -100, f"{kept / 'mine'}\0".encode(), 0o102, 0o600)
            assert fd > 0 and call("write", fd, b"mine", 4) == 4 and call("close", fd) == 0
            assert call("unlink", f"{kept / 'mine'}\0".encode()) == 0
        both.still_work()
    finally:
        shutil.rmtree(other)


def test_what_remains(lab, elsewhere, user):
    """tcpcopy injects what it likes, intercept nothing; datagrams go to any host; questions to the kernel, its own files."""
    both = Both(lab, user, intercept=["--state", elsewhere / "state"])
    with lab.host("target").inside():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.settimeout(conftest.PATIENCE)
    datagrams.settimeout(conftest.PATIENCE)
    datagrams.bind((both.lab.host("target").ip4, 5000))
    with lab.host("online").inside():
        index = socket.if_nametoindex("eth0")
    to = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 5000, socket.inet_aton(lab.host("target").ip4))
    for name, call in both.each():
        frame = bytes(10) + b"\xff" * 6 + b"\2" * 6 + b"\x88\xb5" + name.encode().ljust(46)      # behind a struct virtio_net_hdr
        address = struct.pack("=HHiHBB8s", socket.AF_PACKET, 0xb588, index, 1, 0, 6, b"\xff" * 6)
        sent = [call("sendmmsg", fd, call.message(frame, address), 1, 0) for fd in call.sockets("packet")]
        assert (1 in sent) == (name == "tcpcopy"), sent
        if name == "tcpcopy":
            assert wire.recv(100)[14:].startswith(b"tcpcopy")
        fd = call("socket", socket.AF_INET, 2, 0)
        assert call("sendto", fd, name.encode(), len(name), 0, to, len(to)) == len(name)
        assert datagrams.recv(100) == name.encode()
        assert call("close", fd) == 0
        for path in ("/proc/net/tcp", "/proc/sys/net/ipv4/ip_forward"):
            fd = call("openat", -100, f"{path}\0".encode(), 0, 0)
            if name == "tcpcopy" or "sys" in path:
                assert fd > 0 and call("read", fd, bytes(64), 64) > 0 and call("close", fd) == 0
            else:
                assert fd == -errno.EACCES
            refused(call, "openat", -100, f"{path}\0".encode(), 1, 0, error=errno.EACCES)
        for protocol in (0, 4):                                     # NETLINK_ROUTE, NETLINK_SOCK_DIAG
            fd = call("socket", socket.AF_NETLINK, 3, protocol)
            assert fd > 0 and call("close", fd) == 0
        fd = call("openat", -100, f"{elsewhere / 'mine'}\0".encode(), 0o102, 0o600)
        if name == "tcpcopy":
            assert fd == -errno.EACCES
        else:
            assert fd > 0 and call("write", fd, b"mine", 4) == 4 and call("close", fd) == 0
    wire.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            assert wire.recv(100)[14:].startswith(b"tcpcopy")
    both.still_work()

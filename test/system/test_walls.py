#!/usr/bin/python3
"""What a code execution in each program can still do: tried from the inside, as root and as another user.

Calls are made by inside.py in the threads of the running plain programs, which afterwards go on replicating.
"""

import errno
import os
import pathlib
import shutil
import socket
import struct
import subprocess

import conftest
import pytest
from conftest import TOP, Replay
from inside import Inside
from workload import all_complete, appends, equal, pair

PLAIN = pathlib.Path(os.environ.get("TCPCOPY_PLAIN_DIR", TOP))
NOBODY = 65534
HIGH = 1 << 32          # above an int: the kernel does not look there
SIGTERM, SIGKILL, SIGIO = 15, 9, 29


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
        assert equal(self.online, self.target)
        assert all_complete(self.copy.stop())


@pytest.fixture(params=[None, "nobody"], ids=["root", "user"])
def user(request):
    return request.param


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

#!/usr/bin/python3
"""What a service manager hears by NOTIFY_SOCKET, sd_notify(3): READY=1 when a program works and not before, from the
process that was started, and STOPPING=1 at its end."""

import os
import socket
import struct

import pytest
from conftest import BIN, PATIENCE

PORT = 36524
CREDENTIALS = struct.Struct("3i")


class Manager:
    """A socket as systemd makes one for each unit, and what the programs say to it."""

    def __init__(self, lab, abstract=False):
        self.lab = lab
        self.name = f"@tcpcopy-test-{os.getpid()}" if abstract else str(lab.directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(self.name.replace("@", "\0"))

    def start(self, host, *command):
        log = self.lab.new_path("log")
        with open(log, "w") as stderr:
            process = self.lab.host(host).popen([BIN / command[0], *command[1:]], stderr=stderr,
                                                env={**os.environ, "NOTIFY_SOCKET": self.name})
        process.log = log
        return process

    def hears(self, timeout):
        """(text, pid of the sender), or None."""
        self.socket.settimeout(timeout)
        try:
            text, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        except (BlockingIOError, TimeoutError):
            return None
        ((_, _, data),) = ancillary
        return text.decode(), CREDENTIALS.unpack(data)[0]

    def hears_next(self, process, text):
        assert self.hears(20) == (text, process.pid), process.log.read_text()

    def has_heard_nothing(self):
        return self.hears(0) is None


@pytest.fixture
def rule(lab):
    return ["-x", f"6379-{lab.host('target').ip4}:6379"]


def test_ready_when_it_works(lab, rule):
    manager = Manager(lab)
    intercept = manager.start("assistant", "intercept", "-i", "eth0", "-F", "tcp and src port 6379")
    manager.hears_next(intercept, "READY=1")
    sockets = lab.host("assistant").check_output(["ss", "-H", "-lnp", "--tcp", "--packet"])
    assert sockets.count(f"pid={intercept.pid}") >= 2 and f":{PORT}" in sockets, sockets
    assert "ready" in intercept.log.read_text()
    tcpcopy = manager.start("online", "tcpcopy", *rule, "-s", lab.host("assistant").ip4)
    manager.hears_next(tcpcopy, "READY=1")
    assert ": connected (" in tcpcopy.log.read_text() and "ready" in tcpcopy.log.read_text()
    assert manager.has_heard_nothing()
    for process in (tcpcopy, intercept):
        process.terminate()
        manager.hears_next(process, "STOPPING=1")
        assert process.wait(PATIENCE) == 0, process.log.read_text()
    assert manager.has_heard_nothing()


def test_ready_without_an_assistant(lab, rule):
    """-L: it works although nobody is there; the name is abstract."""
    with lab.host("online").inside():
        manager = Manager(lab, abstract=True)
    tcpcopy = manager.start("online", "tcpcopy", *rule, "-s", lab.host("assistant").ip4, "-L")
    manager.hears_next(tcpcopy, "READY=1")
    assert "trying again" in tcpcopy.log.read_text()
    tcpcopy.terminate()
    manager.hears_next(tcpcopy, "STOPPING=1")
    assert tcpcopy.wait(PATIENCE) == 0, tcpcopy.log.read_text()


def test_failed_start_is_never_ready(lab, rule):
    manager = Manager(lab)
    with lab.host("assistant").inside():
        listener = socket.create_server(("", PORT))
    # An assistant that does not say HELLO: everything is open, yet nothing works.
    tcpcopy = manager.start("online", "tcpcopy", *rule, "-s", lab.host("assistant").ip4)
    listener.settimeout(PATIENCE)
    connection, _ = listener.accept()
    assert manager.has_heard_nothing()
    connection.close()
    assert tcpcopy.wait(PATIENCE) == 1, tcpcopy.log.read_text()
    assert manager.has_heard_nothing()
    # And an intercept whose port is taken, which is the last that it finds out.
    intercept = manager.start("assistant", "intercept", "-i", "eth0", "-F", "tcp and src port 6379")
    assert intercept.wait(PATIENCE) == 1 and f"{PORT}" in intercept.log.read_text(), intercept.log.read_text()
    assert manager.has_heard_nothing()
    listener.close()

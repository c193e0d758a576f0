"""One host of a lab: a namespace, its addresses, and how to run something there."""

import contextlib
import ctypes
import json
import os
import subprocess
import time

from .capture import Capture
from .netns import NETNS_DIR, LabError, tool

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Host:
    """A host; `name`, `netns`, `ip4` and `ip6` (text) are its attributes."""

    def __init__(self, lab, name, ip4, ip6):
        self.lab = lab
        self.name = name
        self.netns = f"{lab.prefix}-{name}"
        self.ip4 = ip4
        self.ip6 = ip6

    def argv(self, cmd):
        """The command line that runs `cmd` (a list) in this host."""
        return ["ip", "netns", "exec", self.netns, *map(str, cmd)]

    def run(self, cmd, check=False, timeout=60, **kwargs):
        """Run `cmd` to its end; return a CompletedProcess, with its output as text."""
        kwargs = {"text": True, "stdin": None if "input" in kwargs else subprocess.DEVNULL,
                  "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        if "input" in kwargs:
            del kwargs["stdin"]
        return subprocess.run(self.argv(cmd), check=check, timeout=timeout, **kwargs)

    def check_output(self, cmd, timeout=60, **kwargs):
        """What `cmd` prints; LabError with what it complained about if it fails."""
        done = self.run(cmd, timeout=timeout, **kwargs)
        if done.returncode:
            raise LabError(f"{self.name}: {' '.join(map(str, cmd))}: exit {done.returncode}: "
                           f"{done.stderr or done.stdout}")
        return done.stdout

    def sh(self, script, **kwargs):
        """Like run(), of a line for the shell."""
        return self.run(["sh", "-c", script], **kwargs)

    def popen(self, cmd, **kwargs):
        """Start `cmd` and return its Popen; text mode, nothing on its standard input."""
        kwargs = {"text": True, "stdin": subprocess.DEVNULL, **kwargs}
        child = subprocess.Popen(self.argv(cmd), **kwargs)
        self.lab.children.append(child)
        return child

    @contextlib.contextmanager
    def inside(self):
        """The calling thread lives in this host: sockets it opens meanwhile belong there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(os.path.join(NETNS_DIR, self.netns), os.O_RDONLY)
        try:
            _setns(there)
            try:
                yield self
            finally:
                _setns(home)
        finally:
            os.close(home)
            os.close(there)

    def nstat(self):
        """The host's counters since it is up, as `nstat -az` names them."""
        return json.loads(self.check_output(["nstat", "-aszj"]))["kernel"]

    def mac(self):
        return json.loads(self.check_output(["ip", "-j", "link", "show", "eth0"]))[0]["address"]

    def listening(self, port):
        return bool(self.check_output(["ss", "-Hltn", "sport", "=", f":{port}"]).strip())

    def wait_listening(self, port, alive=lambda: True, timeout=20):
        """Wait until something answers on a TCP port of this host.

        Returns False when it does not in `timeout` seconds, or `alive` turns false first.
        """
        deadline = time.monotonic() + timeout
        while not self.listening(port):
            if not alive() or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def capture(self, expression="", interface="eth0", snaplen=0):
        """Start tcpdump in this host; return once it captures."""
        return Capture(self, expression, interface, snaplen)

    def ip_batch(self, lines):
        """Run many `ip` commands in this host at the cost of one."""
        tool(["ip", "-n", self.netns, "-batch", "-"], stdin="\n".join(lines) + "\n",
             pass_fds=self.lab.plumbing_fds())

    def sysctl(self, **values):
        """Set sysctls of this host's namespace; `__` stands for the dot in a name."""
        tool(self.argv(["sysctl", "-qw", *(f"{name.replace('__', '.')}={value}"
                                           for name, value in values.items())]),
             pass_fds=self.lab.plumbing_fds())

"""Two hosts with one link between them, where packets are sent and captured by build/tools/iotool.

    a (10.91.0.1, fd91::1) a0 <--> b0 b (10.91.0.2, fd91::2)

Each is a network namespace. There is no lab around them: src/io is judged here without the two programs.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "lab"))

from labnet.watched import Watchdog                                 # noqa: E402

PYTHON = "/usr/bin/python3"


class Host:
    def __init__(self, name, tool):
        self.name = name
        self.tool = tool
        self.started = []

    def start(self, *command):
        p = subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, command)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(p)
        return p

    def run(self, *command):
        p = self.start(*command)
        out, err = p.communicate(timeout=120)
        assert p.returncode == 0, f"{command}: {out}{err}"
        return out

    def ip(self, words):
        return self.run("ip", *words.split())

    def python(self, program):
        return self.run(PYTHON, "-c", program)

    def capture(self, interface, text, packets, *options, mode="auto"):
        """A capture that is ready, and will see so many packets at least; give it to results()."""
        return Capture(self.start(self.tool, "capture", interface, text, packets, f"mode={mode}", *options))

    def send(self, *words):
        return fields(self.run(self.tool, "send", *words).splitlines()[-1])

    def close(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()
            for pipe in (p.stdin, p.stdout, p.stderr):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def fields(line):
    """name=value words as a dict, numbers as int; "text" is the whole line."""
    found = {k: int(v) if re.fullmatch(r"-?\d+", v) else v
             for k, v in re.findall(r"([a-z_-]+)=(\S+)", line)}
    found["text"] = line
    return found


class Capture:
    """`iotool capture`; it ends in results()."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self.deadline = threading.Timer(300, process.kill)
        self.deadline.daemon = True
        self.deadline.start()
        assert self._next() == "ready", process.stderr.read()

    def _next(self):
        return self.process.stdout.readline().rstrip()

    def ask(self, answer="counters"):
        """Its answer to a line: the first one that begins so."""
        print(file=self.process.stdin, flush=True)
        while not (line := self._next()).startswith(answer):
            assert line, self.process.stderr.read()
            self.lines.append(line)
        return fields(line)

    def read(self):
        """Let one that is held begin to read."""
        self.ask("reading")

    def end(self):
        """All its lines, when all that was waited for has come."""
        self.process.stdin.close()
        self.lines += self.process.stdout.read().splitlines()
        assert self.process.wait() == 0, self.process.stderr.read()
        self.deadline.cancel()
        return self.lines


def results(capture):
    """Its packets, and its counters."""
    lines = capture.end()
    return [fields(x) for x in lines if x.startswith("packet ")], fields(lines[-1])


def mac_of(host, dev):
    return re.search(r"link/ether (\S+)", host.ip(f"link show {dev}")).group(1)


@contextlib.contextmanager
def two_hosts(tool):
    """The hosts a and b, as long as the block lasts; `tool` is the path of iotool."""
    prefix = f"io{os.getpid()}"
    a, b = (Host(f"{prefix}-{x}", tool) for x in "ab")
    watchdog = Watchdog(prefix, f"/nonexistent/{prefix}")
    try:
        for h in (a, b):
            subprocess.run(["ip", "netns", "add", h.name], pass_fds=watchdog.fds, check=True)
        subprocess.run(["ip", "link", "add", "a0", "netns", a.name, "type", "veth",
                        "peer", "name", "b0", "netns", b.name], check=True)
        for h, dev, n in ((a, "a0", 1), (b, "b0", 2)):
            h.ip("link set lo up")
            h.ip(f"addr add 10.91.0.{n}/24 dev {dev}")
            h.ip(f"addr add fd91::{n}/64 dev {dev} nodad")
            h.ip(f"link set {dev} up")
        # the kernel holds 212,992 bytes for a neighbour whose address it asks for, and drops the rest of a burst
        for h, dev, other, its, n in ((a, "a0", b, "b0", 2), (b, "b0", a, "a0", 1)):
            for address in (f"10.91.0.{n}", f"fd91::{n}"):
                h.ip(f"neigh replace {address} lladdr {mac_of(other, its)} nud stale dev {dev}")
        yield a, b
    finally:
        a.close()
        b.close()
        watchdog.end()

"""What can go wrong around a running replication, and how it comes back: for the tests and the table of bench/faults.py.

A World is a lab with a load and the two programs; hit() lets one thing go wrong and says what became of it.
"""

import contextlib
import os
import pathlib
import signal
import time

from conftest import Replay, wait_until
from workload import Load, closed, pair, writes


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def resident(program, row="VmRSS"):
    """MB."""
    for line in pathlib.Path(f"/proc/{program.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{row}:"):
            return int(line.split()[1]) / 1024
    return 0


def peak(program):
    """MB, the most that was resident since forget_peak()."""
    return resident(program, "VmHWM")


def forget_peak(program):
    pathlib.Path(f"/proc/{program.process.pid}/clear_refs").write_text("5")


class World:
    """Two redis servers, the programs between them, and clients that go on."""

    def __init__(self, lab, load=None, **replay):
        self.lab = lab
        self.online, self.target = pair(lab)
        self.replay = Replay(lab, **replay)
        self.load = Load(lab, **(load or {}))
        assert wait_until(lambda: self.executed() > 100)
        self.recovery = None
        self.forgotten = 0      # commands that a target executed before it was killed

    def executed(self):
        return writes(self.target).get("append", 0)

    def behind(self):
        """Commands that the online server has executed and the target has not."""
        return writes(self.online).get("append", 0) - self.executed() - self.forgotten

    def hit(self, fault, seconds=1):
        """Let `fault` last; seconds until commands arrive again. Both programs are alive then."""
        with fault(self):
            time.sleep(seconds)
        return self.recovered()

    def recovered(self):
        """Seconds until the target executes what comes now."""
        begun, before = time.monotonic(), self.executed()
        assert wait_until(lambda: self.executed() > before + self.load.connections), self.logs()
        self.recovery = time.monotonic() - begun
        assert self.replay.alive(), self.logs()
        return self.recovery

    def logs(self):
        return f"{self.replay.tcpcopy.log}\n{self.replay.intercept.log}"

    def open_ends(self):
        """What each side knows of connections that should have ended."""
        ends = [self.lab.host(name).check_output(["ss", "-tnoi"]) for name in ("client", "online", "target")]
        return "\n".join([*ends, str({k: {row: n for row, n in v.items() if n} for k, v in
                                      self.replay.tcpcopy.status()["account"].items()}), self.logs()])

    def resources(self):
        return {program.name: (descriptors(program), resident(program))
                for program in (self.replay.tcpcopy, self.replay.intercept)}

    def finish(self):
        """The account, when the load has ended and the target has no connection left."""
        self.load.stop()
        wait_until(lambda: self.behind() == 0, 3)
        assert closed(self.lab), self.open_ends()
        wait_until(lambda: self.replay.tcpcopy.status()["account"]["live"]["sessions"] == 0, 10)
        self.missing = self.behind()        # nobody is there any more who could execute it
        return self.replay.stop()


@contextlib.contextmanager
def cut(world, one, other):
    """Nothing passes between two hosts, whatever addresses it bears: the rules stand at `one`."""
    lab, match = world.lab, world.lab.host(other).mac()
    lab.loss(one, "to", 1, match=f"ether saddr {match}")
    lab.loss(one, "from", 1, match=f"ether daddr {match}")
    try:
        yield
    finally:
        lab.loss_off(one)


@contextlib.contextmanager
def killed(world, what):
    """A program is killed, and started anew when the time is over."""
    if what == "target":
        world.forgotten += world.executed()
        world.target.kill()
        yield
        world.target.start()
        return
    program = getattr(world.replay, what)
    program.kill()
    yield
    setattr(world.replay, what, program.again().wait_ready())


@contextlib.contextmanager
def stopped(world, what):
    pid = (world.target.pid if what == "target" else getattr(world.replay, what).process.pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def losing(world, rate=0.05):
    world.lab.loss("target", "to", rate)
    world.lab.loss("target", "from", rate)
    try:
        yield
    finally:
        world.lab.loss_off("target")


FAULTS = {
    "intercept killed": lambda w: killed(w, "intercept"),
    "tcpcopy killed": lambda w: killed(w, "tcpcopy"),
    "target application killed": lambda w: killed(w, "target"),
    "target stopped": lambda w: stopped(w, "target"),
    "intercept stopped": lambda w: stopped(w, "intercept"),
    "tcpcopy stopped": lambda w: stopped(w, "tcpcopy"),
    "client - online cut": lambda w: cut(w, "client", "online"),
    "online - target cut": lambda w: cut(w, "target", "online"),
    "target - assistant cut": lambda w: cut(w, "assistant", "target"),
    "online - assistant cut": lambda w: cut(w, "assistant", "online"),
    "5 % loss at the target": losing,
}

"""What is read from outside while the two programs work."""

import contextlib
import pathlib
import re
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TOP / "lab"), str(TOP / "test" / "system")]

from conftest import BIN, Account, Program, Replay                  # noqa: E402
from labnet.netns import tool                                       # noqa: E402
from .framework import Column, Skip                                 # noqa: E402
from .profile import Profile                                        # noqa: E402

TICKS = 100                 # of /proc, a second
STANDSTILL = 5              # seconds without progress after which a target is given up


def cores():
    return sum(re.match(r"cpu\d", line) is not None for line in pathlib.Path("/proc/stat").read_text().splitlines())


def cpu(pid):
    """User and system time of a process with all its threads, seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_tree(pid):
    """The same with its living children, as nginx has workers."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu(pid) + sum(cpu_tree(int(child)) for child in children)


def memory(pid):
    """(peak, now) of resident memory, MB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmHWM", "VmRSS"))


class Machine:
    """CPU time that all processors were busy since the start, softirq included, the hypervisor's share not: seconds."""

    def __init__(self):
        self.before = self._read()

    @staticmethod
    def _read():
        # idle time is exact on a tickless kernel, unlike the sampled kinds of work: so by what is not idle
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
        idle, iowait, steal = int(fields[4]), int(fields[5]), int(fields[8])
        return time.monotonic(), (idle + iowait) / TICKS, steal / TICKS

    def busy(self):
        now = self._read()
        wall, idle, steal = (after - before for after, before in zip(now, self.before))
        return max(wall * cores() - idle - steal, 0.0)


def help_text():
    return tool([str(BIN / "tcpcopy"), "-h"])


def need_option(option):
    """Skip the step if these programs do not have an option yet."""
    if option not in help_text():
        raise Skip(f"tcpcopy has no {option}")


class OwnAddress:
    """As Replay, without an assistant: the answers come to tcpcopy's host."""

    def __init__(self, lab, port, tcpcopy):
        self.report_path = lab.new_path("tcpcopy.json")
        self.tcpcopy = Program(lab.host("online"), "tcpcopy", "-x", f"{port}-{lab.host('target').ip4}:{port}",
                               "--report", self.report_path, *tcpcopy).wait_ready()

    def stop(self):
        account = Account(self.tcpcopy.stop(), self.report_path.read_text())
        account.balanced()
        return account


class Tools:
    """tcpcopy and intercept in a lab, or tcpcopy alone (`own`), and what they have used since mark()."""

    def __init__(self, lab, port=6379, options=(), intercept=(), own=False):
        if own:
            self.replay = OwnAddress(lab, port, list(options))
            self.pids = [self.replay.tcpcopy.process.pid]
        else:
            self.replay = Replay(lab, port=port, tcpcopy=list(options), intercept=list(intercept))
            self.pids = [self.replay.tcpcopy.process.pid, self.replay.intercept.process.pid]
        self.stopped = None
        self.profile = None
        self.mark()

    def mark(self):
        self.before = [cpu(pid) for pid in self.pids]

    def used(self):
        """CPU seconds of (tcpcopy, intercept)."""
        return [cpu(pid) - before for pid, before in zip(self.pids, self.before)]

    def sample(self):
        """From now on samples are taken for own()."""
        self.profile = Profile(self.pids)

    def own(self):
        """The shares of used() since sample() that are not of softirqs."""
        return self.profile.stop()

    def peaks(self):
        return [memory(pid)[0] for pid in self.pids]

    def account(self):
        """Ends both programs; the account, whose equations hold."""
        return self.replay.stop()


def costs(used, own, count):
    """The columns COSTS from what Tools has used for `count` requests."""
    figures = {}
    for name, seconds, share in zip(("tcpcopy", "intercept"), used, own):
        figures[f"{name}_us"] = seconds / count * 1e6
        figures[f"{name}_own_us"] = seconds / count * 1e6 * share if share is not None else None
    return figures


COSTS = {
    "tcpcopy_us": Column("tcpcopy us/request", 2),
    "tcpcopy_own_us": Column("its own", 2),
    "intercept_us": Column("intercept us/request", 2),
    "intercept_own_us": Column("its own", 2),
}


def missing(account):
    """In words, what the account says about requests that did not arrive."""
    said = [f"{n} {name}" for name, n in account.outcomes().items() if name != "complete"]
    drops = sum(map(int, re.findall(r"captured on .* packets, (\d+) dropped", account.log)))
    for text, n in (("captures dropped", drops), ("bytes given up", account["engine.lost_bytes"])):
        if n:
            said.append(f"{n} {text}")
    return ", ".join(said)


def histogram(account):
    """What tcpcopy itself says about capture to first send: (p50, p99, max) us, or Nones."""
    found = re.search(r"capture to first send(?:ing)?: p50 (\d+) us, p99 (\d+) us, (?:most|max) (\d+) us", account.log)
    return tuple(map(int, found.groups())) if found else (None, None, None)


def caught_up(counts, timeout=60):
    """Wait until the target has done what the online server has; seconds, or None if it stands still before.

    `counts` returns (online, target) and is cheap, as it is asked many times.
    """
    began = progress = time.monotonic()
    there, here = counts()
    while here < there:
        if time.monotonic() > progress + STANDSTILL or time.monotonic() > began + timeout:
            return None
        time.sleep(0.02)
        before, (there, here) = here, counts()
        if here != before:
            progress = time.monotonic()
    return time.monotonic() - began


def quiet(count, pause=0.5, timeout=60):
    """Wait until `count` has not changed for a while."""
    deadline, before = time.monotonic() + timeout, None
    while before != (now := count()) and time.monotonic() < deadline:
        before = now
        time.sleep(pause)


def segments(host):
    """TCP segments that a host's kernel has received, those of super-packets counted one by one."""
    return host.nstat()["TcpInSegs"]


def quantile(values, share):
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))]


@contextlib.contextmanager
def ending(process):
    """A process that is ended when the block is."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=20)

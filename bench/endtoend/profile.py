"""What part of a program's CPU time is its own: not in a softirq, which runs in whatever process it interrupts.

A virtual Ethernet cable runs what is at its other end in the sender's context, so half of what a program that sends
is accounted is another host's work: its bridge, its TCP, the waking of its application. On a real cable that is another
machine's. A virtual machine has no counters for perf, but a clock: it interrupts a program as often as it has CPU time,
and the stack tells what it was doing.
"""

import collections
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

FREQUENCY = 997             # a second of CPU time; no divisor of the kernel's
ENOUGH = 100                # samples, below which there is no share
SOFTIRQ = ("handle_softirqs", "__do_softirq", "__softirqentry_text_start")


def shares(script):
    """{pid: (samples, of these outside of softirqs)} from the text of perf script."""
    found = collections.defaultdict(lambda: [0, 0])
    for sample in script.split("\n\n"):
        head, *stack = sample.strip().split("\n")
        if head.split():
            count = found[int(head.split()[0])]
            count[0] += 1
            count[1] += not any(line.split()[1].startswith(SOFTIRQ) for line in stack if len(line.split()) > 1)
    return {pid: tuple(count) for pid, count in found.items()}


class Profile:
    """Of running processes, from now until stop()."""

    def __init__(self, pids):
        self.pids, self.process = pids, None
        if not shutil.which("perf"):
            return
        self.folder = tempfile.TemporaryDirectory(prefix="bench-profile")
        self.file = pathlib.Path(self.folder.name) / "perf.data"
        self.process = subprocess.Popen(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g", "-o", self.file,
             "-p", ",".join(map(str, pids))], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self.process.poll() is None and not (self.file.exists() and self.file.stat().st_size):
            time.sleep(0.01)

    def stop(self):
        """The share of each process's CPU time that is its own, or None where it cannot be told."""
        if not self.process:
            return [None for _ in self.pids]
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        done = subprocess.run(["perf", "script", "-i", self.file, "-F", "pid,ip,sym"], text=True, capture_output=True)
        self.folder.cleanup()
        self.process = None
        found = shares(done.stdout)
        counts = [found.get(pid, (0, 0)) for pid in self.pids]
        return [own / samples if samples >= ENOUGH else None for samples, own in counts]

"""Recording what a host sees on its interface, and reading it with tshark."""

import re
import signal
import subprocess
import time

from .netns import LabError, tool

PATIENCE = 60   # seconds, for what the kernel has captured to reach the file


class Capture:
    """tcpdump in a host, writing `path`; whole packets unless `snaplen` says otherwise.

    `captured` and `dropped` (by the kernel) are known after stop().
    """

    def __init__(self, host, expression="", interface="eth0", snaplen=0):
        self.path = host.lab.new_path(f"{host.name}.pcap")
        self.captured = self.dropped = None
        # -Z root: the default user could not write into the lab's directory
        self._tcpdump = host.popen(
            ["tcpdump", "-i", interface, "-n", "-s", snaplen, "-B", "32768", "-U",
             "--immediate-mode", "-Z", "root", "-w", self.path, *filter(None, [expression])],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = []
        for line in self._tcpdump.stderr:
            said.append(line)
            if "listening on" in line:
                return
        raise LabError(f"{host.name}: tcpdump: {''.join(said)}")

    def _read_all(self):
        """Has tcpdump read all that the kernel has for it? Its end would throw the rest away."""
        self._tcpdump.send_signal(signal.SIGUSR1)
        counts = [int(n) for n in re.findall(r"(\d+) packets? ", self._tcpdump.stderr.readline())]
        if len(counts) != 3:
            return True     # it has ended
        captured, received, dropped = counts
        return captured == received - dropped

    def stop(self):
        """End the recording and return self; may be called twice."""
        if self.captured is None:
            deadline = time.monotonic() + PATIENCE
            while not self._read_all() and time.monotonic() < deadline:
                time.sleep(0.02)
            self._tcpdump.terminate()
            said = self._tcpdump.communicate(timeout=PATIENCE)[1]
            self.captured, self.dropped = (
                int(re.search(rf"(\d+) packets? {what}", said).group(1))
                for what in ("captured", "dropped by kernel"))
        return self

    def fields(self, *names, display_filter="", options=()):
        """One dict a packet: tshark's fields by name, as text (several values joined by a comma).

        `options` are tshark's own preferences, such as "tcp.check_checksum:TRUE".
        """
        self.stop()
        argv = ["tshark", "-n", "-r", str(self.path), "-T", "fields", "-E", "separator=/t"]
        for option in options:
            argv += ["-o", option]
        for name in names:
            argv += ["-e", name]
        if display_filter:
            argv += ["-Y", display_filter]
        return [dict(zip(names, line.split("\t"))) for line in tool(argv).splitlines()]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

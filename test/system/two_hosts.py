"""Two hosts with one link between them, where packets are sent and captured by build/tools/iotool.

    a (10.91.0.1, fd91::1) a0 <--> b0 b (10.91.0.2, fd91::2)

Each is a network namespace. There is no lab around them: src/io is judged here without the two programs.
"""
import contextlib
import os
import re
import subprocess

PYTHON = "/usr/bin/python3"


class Host:
    def __init__(self, name, tool):
        self.name = name
        self.tool = tool
        self.started = []

    def start(self, *command):
        p = subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, command)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(p)
        return p

    def run(self, *command):
        p = self.start(*command)
        out, err = p.communicate(timeout=60)
        assert p.returncode == 0, f"{command}: {out}{err}"
        return out

    def ip(self, words):
        return self.run("ip", *words.split())

    def python(self, program):
        return self.run(PYTHON, "-c", program)

    def capture(self, interface, text, packets, seconds, *options, mode="auto"):
        """A capture that is ready; give it to results()."""
        p = self.start(self.tool, "capture", interface, text, packets, seconds, f"mode={mode}", *options)
        line = p.stdout.readline()
        assert line == "ready\n", line + p.stderr.read()
        return p

    def send(self, *words):
        return fields(self.run(self.tool, "send", *words).splitlines()[-1])

    def close(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()
            p.stdout.close()
            p.stderr.close()
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def fields(line):
    """name=value words as a dict, numbers as int; "text" is the whole line."""
    found = {k: int(v) if re.fullmatch(r"-?\d+", v) else v
             for k, v in re.findall(r"([a-z_-]+)=(\S+)", line)}
    found["text"] = line
    return found


def results(p):
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0, out + err
    lines = out.splitlines()
    return [fields(x) for x in lines if x.startswith("packet ")], fields(lines[-1])


@contextlib.contextmanager
def two_hosts(tool):
    """The hosts a and b, as long as the block lasts; `tool` is the path of iotool."""
    a, b = (Host(f"io-{os.getpid()}-{x}", tool) for x in "ab")
    try:
        for h in (a, b):
            subprocess.run(["ip", "netns", "add", h.name], check=True)
        subprocess.run(["ip", "link", "add", "a0", "netns", a.name, "type", "veth",
                        "peer", "name", "b0", "netns", b.name], check=True)
        for h, dev, n in ((a, "a0", 1), (b, "b0", 2)):
            h.ip("link set lo up")
            h.ip(f"addr add 10.91.0.{n}/24 dev {dev}")
            h.ip(f"addr add fd91::{n}/64 dev {dev} nodad")
            h.ip(f"link set {dev} up")
        yield a, b
    finally:
        a.close()
        b.close()

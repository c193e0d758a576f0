"""Faults on the link of a host: loss in the switch, and the relay for all else.

Loss is an nft rule in the switch's bridge: what comes in by the host's port is
"from" the host, what leaves by it is "to" the host. Neither place lies before
the packet taps of the hosts themselves, so captures on both sides show what was
sent and what arrived, and nothing that is sent (AF_PACKET and qdisc bypass
included) gets past it. A super-packet is dropped whole.

The relay (relay.c) is a process in the switch, put between the host's port and
the bridge when it is first asked for. The port keeps its name then, and with it
its loss rules.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import time

from .netns import LabError

LossCount = collections.namedtuple("LossCount", "seen dropped")

DIRECTIONS = ("from", "to")
FAULTS = ("delay", "jitter", "loss", "dup", "reorder", "gap", "rate", "limit")
MODULUS = 1000000


def loss_ruleset(rules):
    """The nft script for all loss rules of a lab: {(host, direction): {rate, every, match}}.

    The counters are objects beside the chains, so that they survive its being
    loaded again with other rules.
    """
    lines = ["table bridge lab {"]
    for host, direction in rules:
        lines += [f"counter {host}_{direction}_seen {{ }}",
                  f"counter {host}_{direction}_dropped {{ }}"]
    lines += ["chain from { type filter hook prerouting priority 0; }",
              "chain to { type filter hook postrouting priority 0; }", "}",
              "flush chain bridge lab from", "flush chain bridge lab to"]
    for (host, direction), rule in rules.items():
        where = f'{"iifname" if direction == "from" else "oifname"} "{host}" {rule["match"]}'
        count = f"{host}_{direction}"
        lines.append(f"add rule bridge lab {direction} {where} counter name {count}_seen")
        share = round(rule["rate"] * MODULUS)
        if rule["every"]:
            which = f"numgen inc mod {rule['every']} 0"
        else:
            which = f"numgen random mod {MODULUS} < {share}" if share < MODULUS else ""
        if rule["every"] or share:
            lines.append(f"add rule bridge lab {direction} {where} {which} "
                         f"counter name {count}_dropped drop")
    return "\n".join(lines) + "\n"


def loss_counts(nft_json):
    """{(host, direction): LossCount} from what `nft -j list counters` printed."""
    packets = {item["counter"]["name"]: item["counter"]["packets"]
               for item in json.loads(nft_json)["nftables"] if "counter" in item}
    keys = [tuple(name.rsplit("_", 1)[0].rsplit("_", 1)) for name in packets
            if name.endswith("_seen")]
    return {(host, direction): LossCount(packets[f"{host}_{direction}_seen"],
                                         packets[f"{host}_{direction}_dropped"])
            for host, direction in keys}


def fault_text(faults):
    """The relay's notation of {"delay": 1000, ...}; microseconds, fractions, bits per second."""
    unknown = set(faults) - set(FAULTS)
    if unknown:
        raise LabError(f"no such fault: {', '.join(sorted(unknown))}; "
                       f"there are {', '.join(FAULTS)}")
    return ",".join(f"{name}={value}" for name, value in faults.items() if value)


class Relay:
    """A running relay on one host's link."""

    def __init__(self, host, log, pid, process=None):
        self.host = host
        self.log = log
        self.pid = pid
        self._process = process     # None when another process started it

    @classmethod
    def start(cls, switch, program, host, log, from_, to, seed):
        argv = [program, "--seed", seed, f"{host}.h", f"{host}.r"]
        for direction, faults in (("--from", from_), ("--to", to)):
            if text := fault_text(faults):
                argv[1:1] = [direction, text]
        with open(log, "w") as output:
            process = switch.popen(argv, stdout=output, stderr=output, start_new_session=True)
        relay = cls(host, log, process.pid, process)
        relay._await(lambda lines: lines[:1] == ["ready"])
        return relay

    def _lines(self):
        text = self.log.read_text()
        return text[:text.rfind("\n") + 1].splitlines()

    def _await(self, condition):
        deadline = time.monotonic() + 10
        while not condition(lines := self._lines()):
            if self._gone() or time.monotonic() > deadline:
                raise LabError(f"relay of {self.host}: {' / '.join(lines) or 'no answer'}")
            time.sleep(0.005)
        return lines

    def _gone(self):
        if self._process:
            return self._process.poll() is not None
        try:
            # gone too is what only waits for the process that started it to take note
            # by what the file is: its name may read otherwise under a changed root
            return not os.path.samefile(f"/proc/{self.pid}/exe", self.log.parent / "relay")
        except (FileNotFoundError, ProcessLookupError):
            return True

    def counters(self):
        """{"from": {"received": ..., "lost": ...}, "to": {...}} since it was started."""
        before = len(self._lines())
        if not self._gone():
            os.kill(self.pid, signal.SIGUSR1)
            self._await(lambda lines: len(lines) > before)
        return json.loads(self._lines()[-1])

    def stop(self):
        """End it (frames that it holds are lost) and return its last counters."""
        if not self._gone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        if self._process:
            self._process.wait(timeout=10)
        deadline = time.monotonic() + 10
        while not self._gone():
            if time.monotonic() > deadline:
                raise LabError(f"relay of {self.host}: process {self.pid} does not end")
            time.sleep(0.005)
        return json.loads(self._lines()[-1])


def build_relay(source, directory):
    """Compile the relay into the lab's directory, once a lab; return its path."""
    program = directory / "relay"
    if not program.exists():
        unfinished = directory / f"relay.{os.getpid()}"
        done = subprocess.run(["cc", "-std=gnu11", "-O2", "-o", unfinished, source],
                              capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"{source} does not compile: {done.stderr}")
        os.rename(unfinished, program)
    return program

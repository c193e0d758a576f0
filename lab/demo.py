"""The walk-through, typed into the four hosts of a lab; started by ./demo.

Every command stands here as its operator would type it and goes to a shell on
its host. What the hosts print appears as it comes. tcpdump runs on all four;
from its files comes the table of one request as the online server received it
and as the target received the copy, and the verdict on each field.

With --one there is neither assistant nor route, and the copy comes from the
online server's own address.
"""

import decimal
import os
import pathlib
import subprocess
import sys
import threading
import time

from labnet import Lab, LabError

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("TCPCOPY_BIN_DIR", TOP))
PORT = 6379
PATIENCE = 60        # seconds for the target to execute what the online server has executed
FIELDS = ("frame.time_epoch", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "ip.id", "ip.ttl",
          "ip.len", "tcp.seq_raw", "tcp.ack_raw", "tcp.window_size_value",
          "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr", "tcp.len", "tcp.flags.syn",
          "tcp.flags.fin", "tcp.payload", "ip.checksum.status", "tcp.checksum.status")
CHECKSUM_GOOD = "1"     # tshark's notation


class Failure(Exception):
    """What did not come out as it should."""


class Screen:
    """Lines of several hosts, one at a time, each with its host in front."""

    COLOURS = {"client": 36, "online": 32, "target": 33, "assistant": 35}

    def __init__(self):
        self._lock = threading.Lock()
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, text=""):
        with self._lock:
            print(text, flush=True)

    def title(self, text):
        self.say(f"\n\033[1m{text}\033[0m" if self._colour else f"\n{text}")

    def host(self, name, text, mark="|"):
        front = f"{name:>9} {mark}"
        if self._colour:
            front = f"\033[{self.COLOURS[name]}m{front}\033[0m"
        self.say(f"{front} {text}")


class Terminal:
    """A shell on one host, in a directory, and what comes out of it."""

    def __init__(self, host, screen, directory=BIN):
        self.host = host
        self.screen = screen
        self.directory = directory

    def _start(self, command):
        process = self.host.popen(["bash", "-c", command], cwd=self.directory,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = []
        reader = threading.Thread(target=self._read, args=(process.stdout, lines), daemon=True)
        reader.start()
        return process, lines, reader

    def _read(self, stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))
            self.screen.host(self.host.name, lines[-1])

    def type(self, command):
        """Run a command to its end; a daemon that it leaves behind is not waited for."""
        self.screen.host(self.host.name, command, mark="#")
        process, lines, reader = self._start(command)
        if status := process.wait(timeout=60):
            reader.join(timeout=1)
            raise Failure(f"{self.host.name}: `{command}` ended with status {status}")
        reader.join(timeout=0.3)
        return lines

    def keep_running(self, command):
        """Start a command; return its process and the list that its lines are appended to."""
        self.screen.host(self.host.name, command, mark="#")
        return self._start(f"exec {command}")[:2]


def wait_for(condition, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_one(lab):
    """Whether there is one command on one host, and no assistant."""
    return "assistant" not in lab.hosts


def type_both_ends(terminals, screen):
    """The route, intercept and tcpcopy."""
    screen.title("The target routes its responses to the client to the assistant.")
    terminals["target"].type("sudo route add -host 10.90.114.82 gw 10.90.110.143")
    screen.title("The assistant reports their headers and is a black hole for the rest.")
    terminals["assistant"].type("./intercept -i eth0 -F tcp and src port 6379 -d")
    screen.title("The online server copies what arrives at its port 6379 to the target.")
    terminals["online"].type("./tcpcopy -x 6379-10.90.109.143:6379 -s 10.90.110.143 -d")


def type_one(terminals, screen):
    screen.title("One command. The online server copies what arrives at its port 6379 to the target, from its own "
                 "address;\nthe responses come back to it and end there.")
    terminals["online"].type("./tcpcopy -x 6379-10.90.109.143:6379 -d")


def walk_through(lab, screen):
    """Type the commands; return the captures by host, and the monitors' two lines."""
    client_directory = lab.directory / "client-home"
    client_directory.mkdir()
    (client_directory / "redis-cli").symlink_to("/usr/bin/redis-cli")
    terminals = {name: Terminal(host, screen, client_directory if name == "client" else BIN)
                 for name, host in lab.hosts.items()}
    client, online, target = (terminals[name] for name in ("client", "online", "target"))

    screen.title("Redis runs on the online server and on the target; monitor shows what each does.")
    for name in "online", "target":
        lab.redis(name)
    processes, monitors = {}, {}
    for terminal in online, target:
        name = terminal.host.name
        processes[name], monitors[name] = terminal.keep_running("redis-cli monitor")
    if not wait_for(lambda: all("OK" in lines for lines in monitors.values())):
        raise Failure("redis-cli monitor does not start")

    (type_one if is_one(lab) else type_both_ends)(terminals, screen)

    screen.title("A client sets a key on the online server and notices nothing else.")
    captures = {name: host.capture(f"tcp port {PORT}") for name, host in lab.hosts.items()}
    client.type('./redis-cli -h 10.90.111.142 set date $(date +"%m-%d-%Y")')
    executed = {name: lambda name=name: [line for line in monitors[name] if '"date"' in line]
                for name in monitors}
    for name in executed:
        if not wait_for(executed[name]):
            raise Failure(f"{name}: redis has not executed the command within {PATIENCE} s")
    # the connection's end is replicated too; a copy too many would show by then
    wait_for(lambda: len(executed["target"]()) > 1, timeout=1)
    for process in processes.values():
        process.terminate()
    for capture in captures.values():
        capture.stop()
    return captures, {name: executed[name]() for name in executed}


def number(packet, field):
    return int(packet[field], 0)


def seconds(packet):
    return decimal.Decimal(packet["frame.time_epoch"])


def end_of(packet):
    """The sequence number after the segment."""
    return (number(packet, "tcp.seq_raw") + number(packet, "tcp.len") +
            (packet["tcp.flags.syn"] in ("1", "True")) +
            (packet["tcp.flags.fin"] in ("1", "True"))) % 2**32


def later(a, b):
    """Whether a comes after b on the circle of 32-bit numbers (RFC 9293, 3.4)."""
    return 0 < (a - b) % 2**32 < 2**31


def latest(numbers):
    result = None
    for each in numbers:
        if result is None or later(each, result):
            result = each
    return result


def find(packets, host, what):
    """The packets that are the request: the first, and perhaps retransmissions of it."""
    found = [packet for packet in packets if what(packet)]
    if not found:
        raise Failure(f"{host}: tcpdump has not seen the request")
    return found


def readable(payload):
    return bytes.fromhex(payload).decode(errors="replace").replace("\r\n", " ").strip()


def tcpcopy_ports(host):
    """Those that the host's own connections never have."""
    first, last = map(int, host.check_output(["sysctl", "-n", "net.ipv4.ip_local_port_range"]).split())
    return set(range(1024, 65536)) - set(range(first, last + 1))


def compare(lab, packets):
    """The table's rows (field, online's copy, target's copy, verdict, whether it is right),
    the request and its copies.
    """
    client, online, target = (lab.host(name) for name in ("client", "online", "target"))
    sender = online if is_one(lab) else client

    def is_request(packet):
        return (packet["ip.dst"] in (online.ip4, target.ip4) and number(packet, "tcp.dstport") == PORT
                and b"\r\ndate\r\n" in bytes.fromhex(packet["tcp.payload"]))

    original = find(packets["online"], "online", lambda packet: is_request(packet) and
                    packet["ip.dst"] == online.ip4)[0]
    replicas = find(packets["target"], "target", is_request)
    replica = replicas[0]
    before = [packet for packet in packets["target"]
              if packet["ip.src"] == target.ip4 and packet["ip.dst"] == sender.ip4 and
              packet["tcp.dstport"] == replica["tcp.srcport"] and
              seconds(packet) <= seconds(replica)]
    target_edge = latest(end_of(packet) for packet in before)
    target_clock = latest(number(packet, "tcp.options.timestamp.tsval") for packet in before
                          if packet["tcp.options.timestamp.tsval"])

    def kept(name, value):
        same = value(original) == value(replica)
        return name, value(original), value(replica), "kept" if same else "NOT KEPT", same

    def rewritten(name, value, expected, meaning):
        right = value(replica) == expected
        verdict = meaning if right else f"WRONG, expected {expected}"
        return name, value(original), value(replica), verdict, right

    def at(side):
        return lambda packet: f"{packet[f'ip.{side}']}:{packet[f'tcp.{side}port']}"

    def source():
        if sender is client:
            return kept("source address:port", at("src"))
        expected = f"{online.ip4}:{replica['tcp.srcport']}"
        row = rewritten("source address:port", at("src"), expected, "rewritten: the online server, a port of tcpcopy")
        free = int(replica["tcp.srcport"]) in tcpcopy_ports(online)
        return row if free else (*row[:3], "WRONG, a port of the host's own connections", False)

    def hexadecimal(field, digits):
        def show(packet):
            return f"0x{number(packet, field):0{digits}x}" if packet[field] else "none"
        return show

    def in_hex(value):
        return "none" if value is None else f"0x{value:08x}"

    good = [replica[f"{layer}.checksum.status"] == CHECKSUM_GOOD for layer in ("ip", "tcp")]
    rows = [
        source(),
        rewritten("destination", lambda p: f"{p['ip.dst']}:{p['tcp.dstport']}",
                  f"{target.ip4}:{PORT}", "rewritten: the target"),
        kept("IP id", hexadecimal("ip.id", 4)),
        kept("TTL", hexadecimal("ip.ttl", 2)),
        kept("total length", lambda p: p["ip.len"]),
        kept("sequence number", hexadecimal("tcp.seq_raw", 8)),
        rewritten("acknowledgment number", hexadecimal("tcp.ack_raw", 8), in_hex(target_edge),
                  "rewritten: the target's space"),
        kept("window", hexadecimal("tcp.window_size_value", 4)),
        kept("timestamp value (TSval)", hexadecimal("tcp.options.timestamp.tsval", 8)),
        rewritten("timestamp echo (TSecr)", hexadecimal("tcp.options.timestamp.tsecr", 8),
                  in_hex(target_clock), "rewritten: the target's clock"),
        kept("payload", lambda p: readable(p["tcp.payload"])),
        ("IP and TCP checksums", "-", " and ".join("correct" if each else "wrong" for each in good),
         "recomputed" if all(good) else "WRONG", all(good)),
    ]
    return rows, original, replicas


def show_table(screen, rows):
    heads = ("field of the request", "online's copy", "target's copy", "")
    widths = [max(len(str(row[column])) for row in [heads, *rows]) for column in range(4)]
    for row in [heads, *rows]:
        screen.say("  " + "  ".join(str(cell).ljust(width)
                                    for cell, width in zip(row, widths)).rstrip())


def judge_answers(lab, packets, replicas):
    """What became of the copy and its answer: a list of (sentence, whether it holds)."""
    replica = replicas[0]
    client, target = lab.host("client"), lab.host("target")

    def answers(name):
        return [packet for packet in packets[name]
                if packet["ip.src"] == target.ip4 and packet["tcp.payload"] == b"+OK\r\n".hex()
                and number(packet, "tcp.ack_raw") == end_of(replica)]

    strays = sum(packet["ip.src"] == target.ip4 for packet in packets["client"])
    edge = f"0x{end_of(replica):08x}"
    if is_one(lab):
        resets = lab.host("online").nstat()["TcpOutRsts"]
        ended = [("that response comes back to the online server", bool(answers("online"))),
                 (f"and ends there: resets that the online server's kernel sent: {resets}", resets == 0)]
    else:
        ended = [("that response arrives at the assistant", bool(answers("assistant")))]
    return [(f"copies of the request that arrived at the target: {len(replicas)}",
             len(replicas) == 1),
            (f"the target responds +OK to the copy (ack {edge})", bool(answers("target"))),
            *ended,
            (f"packets from the target that arrive at the client: {strays}", strays == 0),
            (f"bad checksums counted by the target's kernel: {target.nstat()['TcpInCsumErrors']}",
             target.nstat()["TcpInCsumErrors"] == 0),
            ("the online server's own packets arrive at the client",
             any(packet["ip.src"] == lab.host("online").ip4 for packet in packets["client"])
             and client.nstat()["TcpInErrs"] == 0)]


def judge_monitors(lab, executed):
    """Both servers executed one same command, and where its address is kept, of one same client."""
    said = {name: [line.split("] " if is_one(lab) else " ", 1)[1] for line in lines]
            for name, lines in executed.items()}
    delay = (decimal.Decimal(executed["target"][0].split(" ")[0]) -
             decimal.Decimal(executed["online"][0].split(" ")[0]))
    return [(f"both executed {said['online'][0]}, the target {delay * 1000:.3f} ms after the "
             "online server", len(said["online"]) == 1 and said["online"] == said["target"])]


def run(lab, screen):
    screen.title("A client, an online server and a target, each a network namespace; no assistant, no route:"
                 if is_one(lab) else "Four hosts, each a network namespace:")
    for host in lab.hosts.values():
        screen.host(host.name, f"{host.ip4:15} {host.ip6}")
    captures, executed = walk_through(lab, screen)

    screen.title("What tcpdump saw of the request:")
    packets = {name: capture.fields(*FIELDS, options=("ip.check_checksum:TRUE",
                                                      "tcp.check_checksum:TRUE"))
               for name, capture in captures.items()}
    rows, original, replicas = compare(lab, packets)
    show_table(screen, rows)
    later_by = (seconds(replicas[0]) - seconds(original)) * 1000000
    screen.say(f"\n  The copy reached the target {later_by:.0f} us after the request had reached "
               "the online server.")
    facts = judge_monitors(lab, executed) + judge_answers(lab, packets, replicas)
    for sentence, holds in facts:
        screen.say(f"  {'ok ' if holds else 'NO '} {sentence}")
    wrong = [row[0] for row in rows if not row[4]] + [fact for fact, holds in facts if not holds]
    if wrong:
        raise Failure("not as it should be: " + "; ".join(wrong))


KEPT = """
The hosts stay up. Some things to try (as root, in {top}):
  lab/lab status
  lab/lab exec client -- redis-cli -h 10.90.111.142 incr visits
  lab/lab exec client -- redis-benchmark -h 10.90.111.142 -t set,get -n 10000 -q
  lab/lab exec target -- redis-cli info commandstats
  lab/lab exec target -- tcpdump -ni eth0 tcp port 6379
  lab/lab loss target to 0.01         1 % of what goes to the target is lost
  lab/lab delay target 5000           5 ms each way; without the number: off again
  lab/lab --help
Take them down with:
  lab/lab down"""


def main():
    keep = "--keep" in sys.argv[1:]
    without = ["assistant"] if "--one" in sys.argv[1:] else []
    screen = Screen()
    started = time.monotonic()
    try:
        if keep:
            lab = Lab("lab", without).up()
            try:
                run(lab, screen)
            finally:
                screen.say(KEPT.format(top=TOP))
        else:
            with Lab(without=without) as lab:
                run(lab, screen)
    except (Failure, LabError) as error:
        screen.say(f"\ndemo: failed: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    screen.say(f"\nEverything is as it should be ({time.monotonic() - started:.0f} s)."
               + ("" if keep else " The hosts are gone again."))
    return 0


if __name__ == "__main__":
    sys.exit(main())

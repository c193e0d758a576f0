#!/usr/bin/python3
"""Captures that others have made, read by tcpcopy --read and by tshark: sudo bench/captures.py [--packages a,b] [--out FILE]

The source packages of some analysers hold hundreds of captures. They are fetched by apt-get into a directory of their own,
which ends with this program; nothing of them is kept. Each capture is replayed to servers that only listen, in a network
namespace of its own, and what these received is compared, connection by connection, with what tshark's own reassembly
(-z follow) has of the client's side. A connection counts as equal if the server has received exactly the bytes that tshark has.
Where they differ, the reason is looked for in the capture and in the account, and the table has it.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("TCPCOPY_BIN_DIR", TOP))
PACKAGES = ["tcpdump", "wireshark", "libpcap", "ndpi"]
NAME = re.compile(r"\.(pcap|pcapng|cap|dump)(\.gz|\.zst)?$")
MOST_STREAMS = 300      # of a capture; a -z for each
MOST_PORTS = 28         # rules for two families have to be 64 at most
PATIENCE = 300
JOBS = 3                # most of the time each waits for a replay to end


# --- fetching -------------------------------------------------------------------------------------------------------

def sources_of_this_host():
    """Lines of deb-src for what this host has as deb."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"],
                         capture_output=True, text=True, check=True).stdout
    return [f"deb-src {line}" for line in sorted(set(out.splitlines()))]


def fetch(packages, directory):
    """Source packages, unpacked; apt's lists and cache are there, too."""
    for name in ("lists/partial", "cache/archives/partial", "trees"):
        (directory / name).mkdir(parents=True)
    (directory / "sources.list").write_text("\n".join(sources_of_this_host()) + "\n")
    settings = {"Dir::Etc::SourceList": directory / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
                "Dir::State::Lists": directory / "lists", "Dir::Cache": directory / "cache", "APT::Sandbox::User": "root"}
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["apt-get", *options, "-q", "update"], check=True, stdout=subprocess.DEVNULL)
    for package in packages:
        subprocess.run(["apt-get", *options, "-q", "source", "--download-only", package], check=False, cwd=directory,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)    # the archive alone is needed
        for archive in directory.glob(f"{package}_*.orig*.tar.*"):
            if archive.suffix != ".asc":
                tree = directory / "trees" / package
                tree.mkdir(exist_ok=True)
                subprocess.run(["tar", "xf", archive, "-C", tree], check=True)
    return directory / "trees"


# --- what tshark has ------------------------------------------------------------------------------------------------

class Stream:
    """A TCP connection as tshark has it."""

    def __init__(self, client, server):
        self.client, self.server = client, server    # (address, port)
        self.syn = self.synack = self.snapped = self.fragments = self.tunnel = False
        self.bad = 0
        self.segments = {}                           # what the client sent, by its sequence numbers
        self.data = b""
        self.holes = False

    def sent(self):
        """All of it in order, also what follows a hole, where tshark's follow may end."""
        return b"".join(data for _, data in sorted(self.segments.items()))


def tshark(path, *args):
    return subprocess.run(["tshark", "-n", "-r", path, "-o", "tcp.relative_sequence_numbers:FALSE", *args], capture_output=True,
                          text=True, errors="replace", timeout=PATIENCE).stdout


FIELDS = ["tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport", "tcp.flags.syn", "tcp.flags.ack",
          "frame.len", "frame.cap_len", "ip.flags.mf", "frame.protocols", "tcp.checksum.status", "tcp.seq_raw", "tcp.payload"]


def streams_of(path):
    """By number, those that have a first packet that tells the sides."""
    found = {}
    words = [word for field in FIELDS for word in ("-e", field)]
    for line in tshark(path, "-Y", "tcp", "-T", "fields", "-o", "tcp.check_checksum:TRUE", *words).splitlines():
        row = dict(zip(FIELDS, line.split("\t")))
        last = {name: value.split(",")[-1] for name, value in row.items()}   # of tunnels, what is inside
        if not last["tcp.stream"].isdigit() or not last["tcp.srcport"]:
            continue
        number = int(last["tcp.stream"])
        six = row["frame.protocols"].rfind(":ipv6") > row["frame.protocols"].rfind(":ip:")
        ends = [(last["ipv6." + end] if six else last["ip." + end], int(last[f"tcp.{end}port"])) for end in ("src", "dst")]
        syn, ack = (last[f"tcp.flags.{flag}"] in ("1", "True") for flag in ("syn", "ack"))
        if number not in found:
            client_first = not (syn and ack) and (syn or ends[0][1] >= ends[1][1])
            found[number] = Stream(*(ends if client_first else ends[::-1]))
        stream = found[number]
        if ends[0] == stream.client and last["tcp.payload"]:
            data = bytes.fromhex(last["tcp.payload"].replace(":", ""))
            at = int(last["tcp.seq_raw"])
            stream.segments[at] = max(data, stream.segments.get(at, b""), key=len)
        stream.syn |= syn and not ack
        stream.synack |= syn and ack
        stream.snapped |= row["frame.len"] != row["frame.cap_len"]
        stream.fragments |= "1" in row["ip.flags.mf"] or "True" in row["ip.flags.mf"]
        stream.tunnel |= row["frame.protocols"].count(":ip") > 1
        stream.bad += last["tcp.checksum.status"] == "0"
    return found


def follow(path, streams):
    """Fill in what each client sent."""
    numbers = sorted(streams)[:MOST_STREAMS]
    text = tshark(path, "-q", *[word for n in numbers for word in ("-z", f"follow,tcp,raw,{n}")])
    for part in text.split("Follow: tcp,raw")[1:]:
        number = int(re.search(r"tcp.stream eq (\d+)", part)[1])
        nodes = re.findall(r"^Node \d: (.*):(\d+)$", part, re.MULTILINE)
        stream = streams[number]
        mine = [i for i, (address, port) in enumerate(nodes) if (address.strip("[]"), int(port)) == stream.client]
        for line in part.split("\n"):
            if not mine or not re.fullmatch(r"\t?[0-9a-f]+", line) or line.startswith("\t") != (mine[0] == 1):
                continue
            data = bytes.fromhex(line.strip())
            stream.holes |= b"bytes missing in capture file]" in data
            stream.data += data
    return {n: streams[n] for n in numbers if streams[n].data}


# --- what tcpcopy has -----------------------------------------------------------------------------------------------

class Listeners:
    """Servers that say nothing: what each connection has brought, by (family, port of the capture)."""

    def __init__(self, ports):
        self.selector = selectors.DefaultSelector()
        self.got = collections.defaultdict(list)
        self.rules = []
        self.ended = False
        for six, port in sorted(ports):
            listener = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
            listener.bind(("::1" if six else "127.0.0.1", 0))
            listener.listen(4096)
            at = listener.getsockname()[1]
            self.rules.append(f"{port}-[::1]:{at}" if six else f"{port}-127.0.0.1:{at}")
            self.selector.register(listener, selectors.EVENT_READ, (six, port))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended or self.selector.select(0):
            for key, _ in self.selector.select(0.1):
                if isinstance(key.data, tuple):
                    connection, _ = key.fileobj.accept()
                    self.got[key.data].append(bytearray())
                    self.selector.register(connection, selectors.EVENT_READ, self.got[key.data][-1])
                    continue
                try:
                    data = key.fileobj.recv(1 << 16)
                except ConnectionError:
                    data = b""
                key.data.extend(data)
                if not data:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()

    def end(self):
        self.ended = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        return self.got


def replay(path, ports, directory):
    """What the servers got, the account, and how tcpcopy ended."""
    listeners, report = Listeners(ports), directory / "report.json"
    report.unlink(missing_ok=True)
    rules = [word for rule in listeners.rules for word in ("-x", rule)]
    try:
        done = subprocess.run([BIN / "tcpcopy", "--read", path, *rules, "--speed", "max", "-W", "--join", "all", "-q", "--report",
                               report], capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    finally:
        got = listeners.end()
    account = json.loads(report.read_text())["account"] if report.exists() else {}
    return got, account, done


# --- both beside each other -----------------------------------------------------------------------------------------

def in_order(part, whole):
    """Is @part in @whole, with pieces left out? By runs of 16 bytes, which is enough to tell a hole from another stream."""
    at = 0
    for i in range(0, len(part), 16):
        at = whole.find(part[i:i + 16], at)
        if at < 0:
            return False
    return True


def reason(stream, got, account):
    """Why the server did not receive what tshark has of @stream."""
    if stream.fragments:
        return "IP fragments, which are not put together"
    if stream.snapped:
        return "packets are cut by a snap length"
    if stream.tunnel and not got:
        return "inside of a tunnel that --decap does not unpack"
    if not stream.syn:
        return "the beginning was not recorded: joined at a later request, or not at all"
    if stream.holes:
        return "packets are missing in the capture: what comes before is replayed"
    if stream.bad:
        return "packets have a wrong checksum, so the recorded server has dropped them"
    if not stream.synack and not got:
        return "the SYN was not answered"
    why = {name: n for part in ("ended", "refused", "declined") for name, n in account.get(part, {}).items()
           if n and name != "complete"}
    ends = [at + len(data) for at, data in sorted(stream.segments.items())]
    if any(at > end for at, end in zip(sorted(stream.segments)[1:], ends)):
        return "packets are missing in the capture: what comes before is replayed"
    if account.get("ended", {}).get("mptcp") or account.get("declined", {}).get("mptcp"):
        return "Multipath TCP, which is not replicated"
    if account.get("ended", {}).get("client-reset"):
        return "the client reset the connection, and the server had not read all when the reset came"
    return "UNEXPLAINED: " + ", ".join(f"{name} {n}" for name, n in why.items())


def compare(path, directory):
    """A row of the table; None: there is nothing of a client in it."""
    streams = {n: s for n, s in follow(path, streams_of(path)).items() if s.server[1]}
    by_port = collections.Counter((":" in s.server[0], s.server[1]) for s in streams.values())
    ports = [port for six in (False, True) for port, _ in
             [item for item in by_port.most_common() if item[0][0] == six][:MOST_PORTS]]
    streams = [s for s in streams.values() if (":" in s.server[0], s.server[1]) in ports]
    if not streams:
        return None
    got, account, done = replay(path, ports, directory)
    row = {"streams": len(streams), "bytes": sum(len(s.data) for s in streams), "equal": 0, "equal bytes": 0,
           "status": done.returncode, "reasons": collections.Counter()}
    if done.returncode not in (0, 1) or "Sanitizer" in done.stderr or "runtime error" in done.stderr:
        row["reasons"]["CRASHED " + done.stderr[-300:]] += 1
    unread = re.search(r"link type (.*?) is not supported", done.stderr)
    if "different from the type of the first interface" in done.stderr:
        row["reasons"]["interfaces of different link layers in one file, which libpcap does not read"] = len(streams)
        return row
    if unread:
        row["reasons"][f"a link layer that is not read: {unread[1]}"] = len(streams)
        return row
    left = collections.defaultdict(list)
    for stream in streams:
        there = got[(":" in stream.server[0], stream.server[1])]
        if stream.data in there:
            there.remove(stream.data)
            row["equal"] += 1
            row["equal bytes"] += len(stream.data)
        else:
            left[":" in stream.server[0], stream.server[1]].append(stream)
    for port, missing in left.items():
        there = [bytes(data) for data in got[port] if data]
        for stream in missing:
            part = next((data for data in there if in_order(data, stream.data) or in_order(data, stream.sent())), b"")
            if part:
                there.remove(part)
            row["reasons"][reason(stream, part, account)] += 1
        for data in there:
            row["reasons"][f"WRONG BYTES: {len(data)} that tshark does not have so"] += 1
    return row


def inside(trees, directory, part):
    """In the namespace: a line for each capture of @part, which is one of JOBS, as JSON."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for path in sorted(p for p in trees.rglob("*") if p.is_file() and NAME.search(p.name))[part::JOBS]:
        package, name = path.relative_to(trees).parts[0], path.name
        try:
            row = compare(path, directory)
        except subprocess.TimeoutExpired as late:
            row = {"streams": 0, "bytes": 0, "equal": 0, "equal bytes": 0, "status": -1,
                   "reasons": {f"TIME-OUT of {pathlib.Path(late.cmd[0]).name}": 1}}
        if row:
            print(json.dumps({"package": package, "name": name, **row}), flush=True)


def table(rows):
    """Totals by package and by reason, and each capture that is not equal."""
    commit = subprocess.run(["git", "-C", TOP, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = ["# Captures of others, by `bench/captures.py`", "", f"{time.strftime('%F')}, commit {commit}.", "",
             "| package | captures | connections | equal | bytes | equal |", "|---|---|---|---|---|---|"]
    for package in sorted({row["package"] for row in rows}) + ["all"]:
        of = [row for row in rows if package in (row["package"], "all")]
        total = [sum(row[name] for row in of) for name in ("streams", "equal", "bytes", "equal bytes")]
        lines.append(f"| {package} | {len(of)} | {total[0]:,} | {total[1]:,} | {total[2]:,} | {total[3]:,} |")
    reasons, files = collections.Counter(), collections.Counter()
    for row in rows:
        for why, n in row["reasons"].items():
            reasons[why.partition(":")[0]] += n
            files[why.partition(":")[0]] += 1
    lines += ["", "| why a connection differs | connections | captures |", "|---|---|---|"]
    lines += [f"| {why} | {n} | {files[why]} |" for why, n in reasons.most_common()]
    lines += ["", "| capture | connections | equal | bytes | what differs |", "|---|---|---|---|---|"]
    for row in rows:
        why = "; ".join(f"{n}: {what}" for what, n in row["reasons"].items())
        lines.append(f"| {row['package']}: {row['name']} | {row['streams']} | {row['equal']} | {row['bytes']} | {why} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--packages", default=",".join(PACKAGES), metavar="NAME,...", help="source packages of Debian")
    parser.add_argument("--trees", type=pathlib.Path, metavar="DIR", help="fetch nothing; take the captures below DIR")
    parser.add_argument("--out", type=pathlib.Path, default=TOP / "bench/results/captures.md", metavar="FILE")
    parser.add_argument("--inside", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return inside(args.trees, args.inside, args.part)
    # whatever ends this, the directory goes with it, and so do the parts
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, lambda *_: sys.exit(128 + signo))
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        trees = args.trees or fetch(args.packages.split(","), directory)
        processes = []
        for part in range(JOBS):
            (directory / str(part)).mkdir()
            processes.append(subprocess.Popen(
                ["unshare", "-n", sys.executable, "-B", __file__, "--trees", trees.resolve(), "--part", str(part), "--inside",
                 directory / str(part)], stdout=open(directory / f"{part}.rows", "w")))
        try:
            failed = any([process.wait() for process in processes])
        finally:
            for process in processes:
                process.terminate()     # does nothing to those that have ended
        if failed:
            return "bench/captures.py: the comparison failed"
        rows = [json.loads(line) for part in range(JOBS) for line in (directory / f"{part}.rows").read_text().splitlines()]
    args.out.write_text(table(sorted(rows, key=lambda row: (row["package"], row["name"]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

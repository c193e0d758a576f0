#!/usr/bin/python3
"""How fast tcpcopy --read reads, and in how much memory: sudo bench/reading.py [--sizes 1G,10G] [--rounds N] [--out FILE]

A capture of any size comes out of build/bench/torrent by a pipe, so that none lies on the disk. It is read with a rule that
matches none of its packets, which is the reader alone, and with a rule that matches all of them, to a server on the loopback
that takes what comes and says nothing. Memory is what the kernel calls VmHWM, the most that was resident. On a file of 1 GB, in
turns: tcpdump -r FILE -w /dev/null, tcpcopy without and with a match. All of it is in a network namespace of its own.
"""

import argparse
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("TCPCOPY_BIN_DIR", TOP))
PORT = 6379
FILE = "1G"
UNITS = {"M": 10 ** 6, "G": 10 ** 9}


class Swallow:
    """A server that reads whatever comes, in a process of its own."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.child = os.fork()
        if not self.child:
            while True:
                threading.Thread(target=self.swallow, args=self.listener.accept(), daemon=True).start()

    @staticmethod
    def swallow(connection, _):
        room = bytearray(1 << 20)
        try:
            while connection.recv_into(room):
                pass
        except ConnectionError:
            pass
        connection.close()

    def end(self):
        os.kill(self.child, 15)
        os.waitpid(self.child, 0)


def most_memory(pid):
    """MB, or 0 when the process is gone."""
    try:
        return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1000
    except (OSError, TypeError):
        return 0


def replay(source, port, to, size):
    """(seconds, MB, GB/s) of reading @source: a file, or a pipe."""
    pipe = source if isinstance(source, subprocess.Popen) else None
    process = subprocess.Popen([BIN / "tcpcopy", "--read", "-" if pipe else source, "-x", f"{port}-127.0.0.1:{to}", "--speed",
                                "max", "-W", "-q"], stdin=pipe.stdout if pipe else subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    lines, memory = [], 0
    reader = threading.Thread(target=lambda: lines.extend(process.stderr))
    reader.start()
    while process.poll() is None:
        memory = max(memory, most_memory(process.pid))
        time.sleep(0.01)
    reader.join()
    log = "".join(lines)
    taken = int(re.search(r"(\d+)  packets taken from the recording", log)[1])
    seconds = float(re.search(r"replayed: \d+ requests in ([\d.]+) s", log)[1])
    if "DIFFERENCE" in log or not taken:
        raise RuntimeError(log)
    return seconds, memory, size / seconds / 1e9


def through_a_pipe(size, matches, to):
    torrent = subprocess.Popen([TOP / "build/bench/torrent", size, str(PORT)], stdout=subprocess.PIPE)
    try:
        return replay(torrent, PORT if matches else PORT + 1, to, int(size[:-1]) * UNITS[size[-1]])
    finally:
        torrent.stdout.close()
        torrent.wait()


def tcpdump(path, size):
    began = time.monotonic()
    subprocess.run(["tcpdump", "-r", path, "-w", "/dev/null"], check=True, stderr=subprocess.DEVNULL)
    return size / (time.monotonic() - began) / 1e9


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def inside(args):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = Swallow()
    commit = subprocess.run(["git", "-C", TOP, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = ["# Reading recorded traffic, by `bench/reading.py`", "",
             f"{time.strftime('%F %R')}, commit {commit}, load of the machine before: {os.getloadavg()[0]:.1f}.", "",
             "| by a pipe | packets match | seconds | GB/s | VmHWM, MB |", "|---|---|---|---|---|"]
    for matches in (False, True):
        for size in args.sizes:
            seconds, memory, rate = through_a_pipe(size, matches, server.port)
            lines.append(f"| {size}B | {'all' if matches else 'none'} | {seconds:.1f} | {rate:.2f} | {memory:.0f} |")
            print(lines[-1], file=sys.stderr)
    size = int(FILE[:-1]) * UNITS[FILE[-1]]
    rates = {"tcpdump -r FILE -w /dev/null": [], "tcpcopy --read FILE, none match": [], "tcpcopy --read FILE, all match": []}
    with tempfile.NamedTemporaryFile(dir=args.directory, suffix=".pcap") as file:
        subprocess.run([TOP / "build/bench/torrent", FILE, str(PORT)], check=True, stdout=file)
        for _ in range(args.rounds):
            for name, of in rates.items():
                of.append(tcpdump(file.name, size) if name.startswith("tcpdump") else
                          replay(file.name, PORT if "all" in name else PORT + 1, server.port, size)[2])
    lines += ["", f"| a file of {FILE}B, {args.rounds} rounds in turns | GB/s: median (least-most) |", "|---|---|"]
    lines += [f"| {name} | {spread(of)} |" for name, of in rates.items()]
    server.end()
    text = "\n".join(lines) + "\n"
    print(text, file=sys.stderr)
    args.out.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=["1G", "10G"], metavar="SIZE,...")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--out", type=pathlib.Path, default=TOP / "bench/results/reading.md", metavar="FILE")
    parser.add_argument("--directory", default=tempfile.gettempdir(), metavar="DIR", help="for the file of 1 GB")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return inside(args)
    subprocess.run(["make", "-s", "-C", TOP, "bench-tools", "all"], check=True, stdout=sys.stderr)
    return subprocess.run(["unshare", "-n", sys.executable, "-B", __file__, "--inside", "--sizes", ",".join(args.sizes), "--rounds",
                           str(args.rounds), "--out", args.out.resolve(), "--directory", args.directory]).returncode


if __name__ == "__main__":
    sys.exit(main())

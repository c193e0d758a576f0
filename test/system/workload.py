"""Work for the servers of a lab, and what says whether the target has done the same."""

import select
import socket
import subprocess
import threading
import time

from conftest import PATIENCE, Program, wait_until

# What the target's kernel must not have seen from us.
TROUBLE = ["TcpInCsumErrors", "TcpExtTCPChallengeACK", "TcpExtPAWSEstab", "TcpEstabResets",
           "TcpExtTCPAbortOnData", "TcpExtTCPSynChallenge", "TcpExtTCPACKSkippedSeq",
           "TcpExtTCPACKSkippedPAWS", "TcpOutRsts"]
# Of these, what a segment may bring about that tcpcopy sends again, if the machine is too slow for its acknowledgment.
AGAIN = ("TcpExtTCPChallengeACK", "TcpExtTCPSynChallenge", "TcpExtTCPACKSkippedSeq")
WRITES = ("append", "incrby", "set", "rpush")


def sent_again(lab):
    """Segments that tcpcopy and the target have sent again although none was lost: their acknowledgments were late.

    Of the target's it is the FINs that matter. When it has closed it answers the second acknowledgment of its FIN by a
    reset, so tcpcopy has heard two segments after its session had ended.
    """
    engines = [p.status()["account"]["engine"] for p in Program.running(lab, "tcpcopy")]
    lost = sum(n for (host, _), n in dropped(lab).items() if host == "target")
    return (max(0, sum(n["retransmitted_segments"] for n in engines) - lost),
            sum(n["responses_late"] for n in engines) // 2)


class Trouble:
    """The counters of TROUBLE in a host from now on. What is explained by a segment sent again is none."""

    def __init__(self, host):
        self.host = host
        self.before = host.nstat()

    def __call__(self):
        now = self.host.nstat()
        found = {name: now.get(name, 0) - self.before.get(name, 0) for name in TROUBLE
                 if now.get(name, 0) != self.before.get(name, 0)}
        if found:
            ours, theirs = sent_again(self.host.lab)
            if sum(found.get(name, 0) for name in AGAIN) <= ours:
                found = {name: n for name, n in found.items() if name not in AGAIN}
            if found.get("TcpOutRsts", 0) <= ours + theirs:
                found.pop("TcpOutRsts", None)
        return found


def pair(lab, kind="redis", **kwargs):
    """A server of this kind on the online host and on the target; the route is set."""
    lab.route_to_assistant("client")
    return [getattr(lab, kind)(name, **kwargs) for name in ("online", "target")]


def pace(lab, megabytes_per_second):
    """The client sends no faster. For data that two cores could not carry twice at once."""
    lab.faults("client", from_={"rate": megabytes_per_second * 8e6})


def appends(lab, connections, commands, size=0, timeout=5 * PATIENCE, at=None):
    """Connections side by side, each in closed loop: `append <key of the connection> <number>.`, so
    that what a server holds tells in which order it executed them, and how often. `size` bytes of
    padding in each. No key is used by two connections, also of two calls: the order is kept within
    a connection, not between them. `at` is another address of the online server.
    """
    client, at = lab.host("client"), at or lab.host("online").ip4
    running = []
    for c in range(connections):
        path = lab.new_path(f"commands{c}")
        path.write_text("".join(f"append {path.name} {i}.{'x' * size}\n" for i in range(commands)))
        with open(path) as script:
            running.append(client.popen(["redis-cli", "-h", at], stdin=script,
                                        stdout=subprocess.DEVNULL))
    for process in running:
        assert process.wait(timeout) == 0


def writes(redis):
    return {name: n for name, n in redis.calls().items() if name in WRITES}


def equal(online, target, timeout=PATIENCE):
    """Both redis servers hold the same, by as many commands: none is missing, none ran twice."""
    assert wait_until(lambda: writes(online) == writes(target), timeout, step=0.2), \
        (writes(online), writes(target))
    assert online.digest() == target.digest()
    return True


def closed(lab, port=6379, timeout=PATIENCE):
    """The target's applications have no connection left, except from the target itself, and tcpcopy has heard so. Those
    that they have are printed. None of them has what --check has tried from the online server, which is in SYN-RECV.
    """
    def left():
        return lab.host("target").check_output(
            ["ss", "-Htnoi", "state", "connected", "exclude", "time-wait", "exclude", "syn-recv", "sport", "=", f":{port}",
             "and", "not", "dst", "127.0.0.0/8", "and", "not", "dst", "[::1]"]).strip()
    return wait_until(lambda: not left(), timeout) and last_words(lab) or print(left()) or False


def last_words(lab):
    """The target's last segment may still be on its way to tcpcopy. Sessions that do not end are for the test to judge."""
    def ending(program):
        state = program.status()["account"]["state"]
        return state["client_closed"] + state["target_closed"] + state["closing"]
    wait_until(lambda: not any(map(ending, Program.running(lab, "tcpcopy"))), 10)
    return True


def over(run):
    """Each session of a Replay has its outcome."""
    return wait_until(lambda: run.tcpcopy.status()["account"]["live"]["sessions"] == 0)


def dropped(lab):
    """What the loss rules have dropped, {(host, direction): packets}."""
    return {where: count.dropped for where, count in lab.loss_counters().items()}


def all_complete(account):
    """Every session ended well, and the target has acknowledged every byte that was taken."""
    assert account.outcomes() == {"complete": account["engine.sessions_opened"]}, account.log
    assert account["engine.lost_bytes"] == 0, account.log
    return True


def as_the_benchmark_ends(account):
    """Like all_complete(), of redis-benchmark with a connection for each request. At its end it leaves those that it has
    begun and needs no more, on a slow machine before they are established.
    """
    assert account["engine.lost_bytes"] == 0, account.log
    outcomes = account.outcomes()
    assert set(outcomes) <= {"complete", "client-reset", "half-open"}, account.log
    assert outcomes["complete"] >= account["engine.sessions_opened"] - 50, account.log     # -c at most
    return True


def connect(lab, port=6379, timeout=PATIENCE):
    """A connection of the client to the online server."""
    with lab.host("client").inside():
        connection = socket.create_connection((lab.host("online").ip4, port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, text, end=b"\r\n"):
    """A line to the server, and its answer up to `end`."""
    connection.sendall(text.encode() + b"\r\n")
    answer = b""
    while not answer.endswith(end):
        piece = connection.recv(1 << 16)
        assert piece, answer
        answer += piece
    return answer


class Load:
    """Closed loops that go on until stop(): each connection appends to its own key (load7.0, the next one of that
    loop to load7.1), waits for the answer, thinks, and ends after `per_connection` commands, or when it was cut off.

    `sent` and `answered` count commands.
    """

    def __init__(self, lab, connections=20, think=0.01, per_connection=50, port=6379, name="load"):
        self.lab, self.connections, self.think, self.per_connection = lab, connections, think, per_connection
        self.port, self.name, self.at = port, name, lab.host("online").ip4
        self.sent = self.answered = self.broken = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self, timeout=PATIENCE):
        """Answered commands in all. Connections end in good order where the server lets them."""
        self._ending.set()
        self._thread.join(timeout)
        assert not self._thread.is_alive()
        return self.answered

    def _connect(self):
        s = socket.socket()
        s.settimeout(PATIENCE)
        s.connect((self.at, self.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def _run(self):
        with self.lab.host("client").inside():
            loops = [self._Loop(self, n) for n in range(self.connections)]
            while loops and self.lab.hosts:     # a test that failed does not stop it
                now = time.monotonic()
                waiting = [loop for loop in loops if loop.due is None]
                for loop in loops:
                    if loop.due is not None and loop.due <= now:
                        loop.ask()
                if self._ending.is_set():
                    for loop in [loop for loop in loops if loop.due is not None]:
                        loop.close()
                        loops.remove(loop)
                    waiting = [loop for loop in waiting if loop in loops]
                soon = min((loop.due for loop in loops if loop.due is not None), default=now + 0.05)
                if loops:
                    ready, _, _ = select.select(waiting, [], [], max(0, min(soon - time.monotonic(), 0.05)))
                    for loop in ready:
                        loop.hear()

    class _Loop:
        def __init__(self, load, number):
            self.load, self.name, self.count, self.socket = load, f"{load.name}{number}", 0, None
            self.due = time.monotonic() + load.think * number / load.connections    # None: an answer is due

        def fileno(self):
            return self.socket.fileno()

        def close(self):
            if self.socket:
                self.socket.close()
            self.socket = None

        def ask(self):
            if self.count % self.load.per_connection == 0:
                self.close()
            try:
                if not self.socket:
                    self.socket = self.load._connect()
                self.socket.sendall(f"append {self.name}.{self.count // self.load.per_connection} {self.count}.\r\n".encode())
                self.load.sent += 1
                self.count += 1
                self.due = None
            except OSError:
                self.broke()

        def hear(self):
            try:
                answer = self.socket.recv(100)
            except OSError:
                answer = b""
            if not answer:
                self.broke()
                return
            self.load.answered += 1
            self.due = time.monotonic() + self.load.think

        def broke(self):
            self.load.broken += 1
            self.close()
            self.count += -self.count % self.load.per_connection
            self.due = time.monotonic() + 0.1

"""tcpcopy alone: no -s, no assistant, no route. What the tests of that share (test_own.py and those beside it)."""

from conftest import BIN, Account, Program, wait_until
from workload import last_words


class Alone:
    """tcpcopy on the online server, and what must be so on two hosts whatever is replicated."""

    def __init__(self, lab, *args, port=6379, v6=False, rule=None, prefix=()):
        self.lab, self.port = lab, port
        self.online, self.target = lab.host("online"), lab.host("target")
        self.ruleset = self.rules()
        to = f"[{self.target.ip6}]" if v6 else self.target.ip4
        self.report_path = lab.new_path("tcpcopy.json")
        self.stray = self.watched(f"src host {self.target.ip4} or src host {self.target.ip6}")
        self.tcpcopy = Program(self.online, "tcpcopy", "-x", rule or f"{port}-{to}:{port}", "--report", self.report_path,
                               *args, prefix=prefix).wait_ready()
        self.before = self.online.nstat()

    def watched(self, strays):
        """What comes to the client, of strays and of resets."""
        return self.lab.host("client").capture(
            f"tcp and ({strays} or ((tcp[tcpflags] & tcp-rst != 0 or (ip6 proto 6 and ip6[53] & 4 != 0)) and "
            f"(src host {self.online.ip4} or src host {self.online.ip6})))", snaplen=128)

    def rules(self):
        return self.online.check_output(["nft", "list", "ruleset"])

    def connections(self):
        """Those that the target has of us, except in TIME-WAIT."""
        return self.target.check_output(["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=",
                                         f":{self.port}", "and", "(", "dst", self.online.ip4, "or", "dst",
                                         f"[{self.online.ip6}]", ")"]).split("\n")[:-1]

    def ports_free(self):
        """A port rests for a second after its session."""
        return wait_until(lambda: self.tcpcopy.status()["account"]["own"]["ports_used"] == 0, step=0.3)

    def closed(self):
        return wait_until(lambda: not self.connections()) and last_words(self.lab)

    def silent(self):
        """This host's kernel has said nothing to the target, nor the target to the client.

        The client may draw a reset, by a connection that it ends at once; it is none of ours.
        """
        now, resets = self.online.nstat(), self.stray.stop().captured
        if resets:
            seen = self.stray.fields("frame.time_relative", "ip.src", "ip.dst", "ipv6.src", "tcp.flags")
            assert {packet["ip.src"] or packet["ipv6.src"] for packet in seen} <= {self.online.ip4, self.online.ip6}, seen
        for name in "TcpOutRsts", "IcmpOutMsgs", "Icmp6OutDestUnreachs":
            drawn = resets if name == "TcpOutRsts" else 0
            assert now.get(name, 0) == self.before.get(name, 0) + drawn, name
        return True

    def stop(self):
        account = Account(self.tcpcopy.stop(), self.report_path.read_text())
        account.balanced()
        assert account["own.answers"] > 0
        if not account["capture.kernel_drops"]:
            assert account["own.uncaptured"] <= account["capture.unread"]
        assert self.rules() == self.ruleset
        return account


def check(host, *args):
    """The exit status and the lines of --check that are about the way back."""
    done = host.run([BIN / "tcpcopy", *args, "--check"])
    assert done.stderr == ""
    return done.returncode, [line.split(None, 2) for line in done.stdout.splitlines()[:-1]
                             if line.split()[1] in ("answers", "probe", "assistant")]

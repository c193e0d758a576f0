"""tcpcopy alone: no -s, no assistant, no route. What the tests of that share (test_own.py and those beside it)."""

from conftest import BIN, Account, Program, wait_until


class Alone:
    """tcpcopy on the online server, and what must be so on two hosts whatever is replicated."""

    def __init__(self, lab, *args, port=6379, v6=False, rule=None, prefix=()):
        self.lab, self.port = lab, port
        self.online, self.target = lab.host("online"), lab.host("target")
        self.ruleset = self.rules()
        to = f"[{self.target.ip6}]" if v6 else self.target.ip4
        self.report_path = lab.new_path("tcpcopy.json")
        self.stray = lab.host("client").capture(f"tcp and (src host {self.target.ip4} or {self.target.ip6})")
        self.tcpcopy = Program(self.online, "tcpcopy", "-x", rule or f"{port}-{to}:{port}", "--report", self.report_path,
                               *args, prefix=prefix).wait_ready()
        self.before = self.online.nstat()

    def rules(self):
        return self.online.check_output(["nft", "list", "ruleset"])

    def connections(self):
        """Those that the target has of us, except in TIME-WAIT."""
        return self.target.check_output(["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=",
                                         f":{self.port}", "dst", self.online.ip4, "or", "dst", self.online.ip6]).split("\n")[:-1]

    def ports_free(self):
        """A port rests for a second after its session."""
        return wait_until(lambda: self.tcpcopy.status()["account"]["own"]["ports_used"] == 0, step=0.3)

    def closed(self):
        return wait_until(lambda: not self.connections(), 20)

    def silent(self):
        """This host's kernel has said nothing to the target, nor the target to the client."""
        now = self.online.nstat()
        for name in "TcpOutRsts", "IcmpOutMsgs", "Icmp6OutDestUnreachs":
            assert now.get(name, 0) == self.before.get(name, 0), name
        assert self.stray.stop().captured == 0
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

#!/usr/bin/python3
"""What people do wrong when they set the hosts up: each mistake is made, a running tcpcopy says the cause once, or refuses to
start; --check names it as well; and what is to be typed is typed as it stands, until requests arrive.

One table for each kind. `rare` ones differ from another one by little.
"""

import re
import subprocess

import pytest
from conftest import BIN, PATIENCE, Program, wait_until
from test_check import ASSISTANT, RULE, Check, second_network, type_it
from test_path_mtu import FAR, Narrow

ONLINE, TARGET, CLIENT = "10.90.111.142", "10.90.109.143", "10.90.114.82"
RARE = pytest.mark.rare
WALLS = """
table ip filter { chain INPUT { type filter hook input priority 0; policy drop; ct state established,related accept; }; }
table ip6 filter { chain INPUT { type filter hook input priority 0; policy drop; meta l4proto ipv6-icmp accept; }; }
table inet site { chain early { type filter hook prerouting priority -300; tcp dport PORT drop; }
                  chain late { type filter hook input priority 10; accept; }
                  chain called { tcp dport PORT drop; }; }
table ip nat { chain PREROUTING { type nat hook prerouting priority -100; }; }
table arp filter { chain INPUT { type filter hook input priority 0; }; }
"""


def nft(lab, host, rules):
    lab.host(host).check_output(["nft", "-f", "-"], input=rules)


def walls(host, port):
    """A firewall of several tables, of which none is called as Debian's is; an accept in one of them lifts no drop."""
    return lambda lab: nft(lab, host, WALLS.replace("PORT", str(port)))


def rules(host, chain, rule):
    return lambda lab: nft(lab, host, f"table inet mine {{ chain {chain} {{ type filter hook {chain} priority 0; {rule}; }}; }}")


def shell(host, *scripts):
    def make(lab):
        for script in scripts:
            done = lab.host(host).sh(script)
            assert done.returncode == 0, done.stderr
    return make


def target_elsewhere(*args):
    def make(lab):
        lab.target_redis.stop()
        lab.elsewhere = lab.redis("target", args=args)
    return make


def nothing(lab):
    pass


def traffic(lab, host="client", to=ONLINE, kind="short"):
    """A request five times a second, each on a connection of its own, or all on one; whatever becomes of it."""
    what = f"while :; do redis-cli -h {to} incr x; sleep 0.2; done" if kind == "short" else \
        f"exec redis-cli -h {to} -r -1 -i 0.2 incr x"
    return lab.host(host).popen(["sh", "-c", what], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def second_interface(lab, scope="all"):
    """The target reaches the assistant by another interface than it has the copies from."""
    second_network(lab, "online", "target", "assistant")
    lab.host("target").sysctl(**{f"net__ipv4__conf__{scope}__rp_filter": 1})
    lab.host("target").ip_batch([f"route replace {CLIENT} via 10.91.110.143"])


def behind_a_router(lab):
    """Target and assistant are behind a router, which looks for the client there, too."""
    narrow = Narrow(lab)
    narrow.host.ip_batch([f"route add {CLIENT}/32 dev eth1"])
    narrow.host.sysctl(net__ipv4__conf__all__rp_filter=1)


def another_network(lab):
    """The target is behind a router, the assistant is not."""
    Narrow(lab)
    lab.host("assistant").ip_batch(["link set eth1 down", "route add 10.91.0.0/16 via 10.90.112.1"])
    lab.host("target").ip_batch([f"route replace {CLIENT} via 10.91.112.1"])


def balancer(masquerade):
    """Another host has the address of the service, and hands connections on to the target."""
    def make(lab):
        host = lab.add_host("balancer", "10.90.112.9")
        host.sysctl(net__ipv4__ip_forward=1)
        nft(lab, "balancer", f"""table ip b {{
            chain pre {{ type nat hook prerouting priority -100; tcp dport 6379 dnat to {TARGET}; }}
            chain post {{ type nat hook postrouting priority 100; {'masquerade;' if masquerade else ''} }}
            }}""")
        if masquerade:
            lab.host("target").ip_batch([f"route del {CLIENT}"])
    return make


def own_intercept(lab):
    """It runs on the target, whose responses leave for the clients."""
    lab.host("target").ip_batch([f"route del {CLIENT}"])


class Case:
    """A mistake that a running tcpcopy meets. `said`: by its log; `checked`: by --check, on a line that is broken; `steps`: what
    --check says to type mends it, the last of so many steps does; or `again`: the command line that its words lead to, as
    (rule, options, what to type on the target). `unsaid`: what must not be said.
    """

    def __init__(self, make, said, checked, rule=RULE, options=(), at="assistant", words=None, host="online", server=None,
                 steps=0, again=None, client="client", to=ONLINE, kind="short", later=None, unsaid=r"\bdel\b", hosts=None):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})

    def intercept(self, lab):
        words = self.words if self.words is not None else ["-i", "eth0", "-F", "tcp", "and", "src", "net", "10.90.109.0/24"]
        return Program(lab.host(self.at), "intercept", *words).wait_ready()


NOTHING_LISTENS = r"nothing is acknowledged: the target refused \d+ of \d+ connections: nothing listens on {}:{} .*" \
    r"on the target type: ss -ltnp sport = :{}"
DOWN = (NOTHING_LISTENS.format(TARGET, 6379, 6379), f"nothing listens on {TARGET}:6379")
SILENT = r"no session has received a response: "
ASTRAY = SILENT + rf"the target answers {ASSISTANT}, but its response to \S+ did not reach the assistant"
THROUGH = SILENT + "the target answers this host, but not packets with another host's address"

RUNNING = {
    "wrong port of the target": Case(
        nothing, NOTHING_LISTENS.format(TARGET, 6380, 6380), f"nothing listens on {TARGET}:6380",
        rule=f"6379-{TARGET}:6380", again=(RULE, (), None)),
    "the same, and intercept looks at the right one": Case(
        nothing, SILENT + rf"nothing listens on {TARGET}:6380", f"nothing listens on {TARGET}:6380",
        rule=f"6379-{TARGET}:6380", words=["-i", "eth0", "-F", "tcp and src port 6379"]),
    "wrong online port": Case(
        nothing, r"nothing is captured: nothing on this host listens on port 6380, .*on this host type: ss -ltnp sport = :6380",
        "nothing on this host listens on port 6380", rule=f"6380-{TARGET}:6379"),
    "no route": Case(
        shell("target", f"ip route del {CLIENT}"), ASTRAY, "has no route that leads it there", steps=1),
    "the route was typed on the assistant": Case(
        shell("target", f"ip route del {CLIENT}; ip route add {CLIENT} dev eth0"), ASTRAY, "has no route", steps=1),
    "the route leads to the online server": Case(
        shell("target", f"ip route replace {CLIENT} via {ONLINE}"), ASTRAY, "has no route", steps=1),
    "the assistant forwards later": Case(
        nothing, r"nothing is acknowledged: the target reset \d+ of \d+ connections: its responses probably also reach the "
        r"clients.*: on the assistant type: sysctl -w net.ipv4.ip_forward=0 ", "the assistant 10.90.110.143 forwards", steps=1,
        later=shell("assistant", "sysctl -w net.ipv4.ip_forward=1")),
    "reverse path filter of the target": Case(
        second_interface, SILENT + "nothing came back from .*rp_filter=2", "reverse path filter", steps=2,
        server="10.91.110.143", words=["-i", "eth1", "-F", "tcp and src port 6379"]),
    "that of one interface": Case(
        lambda lab: second_interface(lab, "eth0"), SILENT + "nothing came back from .*rp_filter=2", "reverse path filter",
        steps=2, server="10.91.110.143", words=["-i", "eth1", "-F", "tcp and src port 6379"]),
    "the target's application is down": Case(
        lambda lab: lab.target_redis.stop(), *DOWN),
    "it listens on 127.0.0.1": Case(target_elsewhere("--bind", "127.0.0.1"), *DOWN),
    "it listens on [::1]": Case(target_elsewhere("--bind", "::1"), *DOWN),
    "it listens on an IPv6 address": Case(target_elsewhere("--bind", "fd90::109:143"), *DOWN),
    "a firewall on the target": Case(
        walls("target", 6379), SILENT + f"{TARGET}:6379 answers nobody: a firewall", "answers nobody: a firewall", steps=1),
    "a firewall on the target refuses": Case(
        rules("target", "input", "tcp dport 6379 reject"), SILENT + rf"a firewall on {TARGET} refuses", "refuses connections",
        steps=1),
    "a firewall on the target, against the clients": Case(
        rules("target", "input", f"ip saddr {CLIENT} drop"), ASTRAY + f".*a firewall, there or on the way, drops packets from {CLIENT}",
        "a firewall, there or on the way", steps=2),
    "the switch lets no foreign source pass": Case(
        lambda lab: lab.loss("online", "from", rate=1, match="ip saddr != 10.90.111.142"), THROUGH + ".*source/destination check",
        "source/destination check"),
    "reverse path filter of a router": Case(
        behind_a_router, THROUGH + r".*a router on the way, first of all 10.90.112.1, .*on the router type: sysctl",
        "a router on the way", steps=1, rule=f"6379-{FAR[4]}:6379", server="10.91.110.143", words=["-i", "eth1"]),
    "the assistant is in another network": Case(
        another_network, SILENT + rf".*{ASSISTANT} is in another network than {FAR[4]}", "is in another network than",
        rule=f"6379-{FAR[4]}:6379", words=["-i", "eth0"]),
    "intercept has another port": Case(
        nothing, SILENT + r"the filter \(-F\) of intercept on \S+ does not match", "does not match the responses",
        words=["-i", "eth0", "-F", "tcp and src port 6378"]),
    "intercept has dst for src": Case(
        nothing, SILENT + r"the filter \(-F\) of intercept on \S+ does not match", "does not match the responses",
        words=["-i", "eth0", "-F", "tcp and dst port 6379"]),
    "intercept captures on lo": Case(
        nothing, SILENT + "the response reached the assistant .* on eth0, where intercept does not capture.*intercept -i eth0",
        "where intercept does not capture", words=["-i", "lo"]),
    "intercept on the target, without a route": Case(
        own_intercept, r"nothing is acknowledged: the target reset \d+ of \d+ connections: its responses probably also reach the "
        r"clients.*: on the target type: intercept --on-target", "intercept runs on the target itself", at="target", server=TARGET),
    "tcpcopy on the client": Case(
        nothing, "nothing is captured: nothing on this host listens on port 6379, .*the host that serves the clients",
        "tcpcopy belongs on the host that serves the clients, not on a client's", host="client", unsaid=r"ip route"),
    "tcpcopy on the assistant": Case(
        nothing, "nothing is captured: nothing on this host listens on port 6379", "nothing on this host listens on port 6379",
        host="assistant"),
    "a client on the online server": Case(
        nothing, r"requests of clients on this host itself \(10.90.111.142\), such as health checks, are left out: .*-c ADDRESSES",
        "are on this host itself", client="online", again=(RULE, ("-c", "10.99.0.0/24"), f"ip route add 10.99.0.0/24 via {ASSISTANT}")),
    "a client over 127.0.0.1": Case(
        nothing, r"nothing is captured: the clients of port 6379 connect over loopback .*-x 127.0.0.1:6379-10.90.109.143:6379 "
        r"-c ADDRESSES", "connect over loopback", client="online", to="127.0.0.1", kind="long",
        again=(f"127.0.0.1:6379-{TARGET}:6379", ("-c", "10.99.0.0/24"), f"ip route add 10.99.0.0/24 via {ASSISTANT}")),
    "-c is the clients' own network": Case(
        nothing, SILENT, "did not reach the assistant", options=("-c", "10.90.200.0/24"), steps=1),
    "no route for -c": Case(
        nothing, ASTRAY + ".*ip route replace 10.99.0.0/24 via", "did not reach the assistant", options=("-c", "10.99.0.0/24"),
        steps=1),
    "connection tracking, and raw sockets": Case(
        rules("online", "output", "ct state invalid drop"),
        r"nothing is acknowledged: the kernel refused \d+ of \d+ packets .*INVALID.*notrack", "INVALID",
        options=("--inject", "raw"), steps=1),
    "a firewall on the online server, and raw sockets": Case(
        rules("online", "output", f"ip daddr {TARGET} reject"),
        r"nothing is acknowledged: the kernel refused (\d+) of \1 packets .*drops or rejects them",
        "drops or rejects the SYN", options=("--inject", "raw"), steps=1),
    "the target is another host's NAT": Case(
        balancer(False), SILENT + "10.90.114.82 was answered from another address .*NAT or a load balancer",
        "belongs to a NAT or a load balancer", rule="6379-10.90.112.9:6379", words=["-i", "eth0"], again=(RULE, (), None)),
    "the same, and it masquerades": Case(
        balancer(True), ASTRAY + ".*the host with the address 10.90.112.9 .if that is a NAT", "if that is a NAT or a load balancer",
        rule="6379-10.90.112.9:6379", words=["-i", "eth0"], steps=1, hosts={"the target": "balancer"}),
    "a filter that matches responses": Case(
        nothing, r'nothing is captured: 1 client is connected to port 6379, and the filter -F "src port 6379" let none',
        "let none of their packets pass", options=("-F", "src port 6379"), kind="long"),
    "a filter for another port": Case(
        nothing, r'nothing is captured: 1 client is connected to port 6379, and the filter -F "src port 80" let none',
        "let none of their packets pass", options=("-F", "src port 80"), kind="long"),
    "clients of the other address family": Case(
        nothing, r"nothing is captured: the clients of port 6379 speak IPv4, but the rule .* is for IPv6", "speak IPv4, but the rule",
        rule="6379-[fd90::109:143]:6379", kind="long"),
    "no IPv6 route": Case(
        shell("target", "ip route del fd90::114:82"), SILENT + ".*ip route replace fd90::114:82/128 via", "has no route",
        rule="6379-[fd90::109:143]:6379", to="fd90::111:142", server="[fd90::110:143]", steps=1,
        words=["-i", "eth0"]),
}
SELDOM = {"wrong port of the target", "the same, and intercept looks at the right one", "no route",
          "the route was typed on the assistant", "the route leads to the online server", "reverse path filter of the target",
          "that of one interface", "it listens on 127.0.0.1", "it listens on [::1]", "it listens on an IPv6 address",
          "a firewall on the target", "a firewall on the target refuses", "the switch lets no foreign source pass",
          "intercept has another port", "intercept has dst for src", "intercept captures on lo", "tcpcopy on the assistant",
          "-c is the clients' own network", "no route for -c", "a firewall on the online server, and raw sockets",
          "the same, and it masquerades", "the assistant forwards later", "the assistant is in another network",
          "a filter for another port", "no IPv6 route",
          # of START
          "a firewall on the assistant refuses", "a firewall on the assistant resets", "the assistant forwards",
          "intercept does not run", "-s is the target", "-s is a client", "-s is an address that no host has",
          "-s is a name that nobody knows", "the assistant has no secret"}


def table(cases):
    return [pytest.param(name, marks=[RARE] if name in SELDOM else []) for name in cases]


def replicates(lab):
    """Requests arrive, those of now."""
    def arrived():
        return int(lab.target_redis.cli("get", "x") or 0)
    before = arrived()
    return wait_until(lambda: arrived() > before + 2)


def mend(lab, case, check, words, again):
    """Type what the line with `words` says, step by step, until --check finds nothing broken."""
    line = next(line for line in check.lines if line[0] == "broken" and words in line[2])
    commands = [line[4], *check.steps[line[3:]]]
    aliases = {"the router": "router", **(case.hosts or {})}
    for done, command in enumerate(commands, 1):
        type_it(lab, (line[3], command), **aliases)
        if done == case.steps:
            break
        assert again().status == 1, f"mended by step {done}"
    check = again()
    assert check.status == 0, check.output


@pytest.mark.parametrize("mistake", table(RUNNING))
def test_running(lab, mistake):
    case = RUNNING[mistake]
    server = case.server or ASSISTANT
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.target_redis = lab.redis("target")
    case.make(lab)
    relay = case.intercept(lab)
    traffic(lab, case.client, case.to, case.kind)
    command = ("-s", server, *case.options)
    tcpcopy = Program(lab.host(case.host), "tcpcopy", "-x", case.rule, *command).wait_ready()
    if case.later:
        assert replicates(lab)
        case.later(lab)
    assert wait_until(lambda: re.search(case.said, tcpcopy.log)), tcpcopy.log

    def again():
        return Check(lab, *command, rule=case.rule, host=case.host)
    check = again()
    assert check.status == 1 and any(line[0] == "broken" and case.checked in line[2] for line in check.lines), check.output
    assert not re.search(case.unsaid, check.output + tcpcopy.log), check.output
    if case.steps:
        mend(lab, case, check, case.checked, again)
        assert replicates(lab), tcpcopy.log
    log = tcpcopy.stop().split("--- account ---")[0]
    assert len(re.findall("nothing is|no session has|on this host itself", log)) == 1, log
    if case.again:
        rule, options, typed = case.again
        if typed:
            type_it(lab, ("the target", typed))
        tcpcopy = Program(lab.host(case.host), "tcpcopy", "-x", rule, "-s", server, *options).wait_ready()
        assert replicates(lab), tcpcopy.log
        tcpcopy.stop()
    relay.stop()


class Start:
    """A mistake for which a program does not start: what it says then, its exit status, and what --check says."""

    def __init__(self, make, said, checked=None, program="tcpcopy", host="online", args=None, status=1, intercept=True, steps=0):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


def start(*args):
    return ["-x", RULE, "-s", *args]


def secret(lab, text, mode=0o600):
    path = lab.new_path("secret")
    path.touch(mode=mode)
    path.write_text(text)
    path.chmod(mode)
    return path


SEE = "--check tells more"
START = {
    "the assistant forwards": Start(
        shell("assistant", "sysctl -w net.ipv4.ip_forward=1"), r"sysctl -w net.ipv4.ip_forward=0", "reach the clients",
        program="intercept", host="assistant", args=["-i", "eth0"], intercept=False),
    "a firewall on the assistant": Start(
        walls("assistant", 36524), SEE, "does not answer: a firewall drops", steps=1),
    "a firewall on the assistant refuses": Start(
        rules("assistant", "input", "tcp dport 36524 reject"), SEE, "a firewall on 10.90.110.143 refuses this port", steps=1),
    "a firewall on the assistant resets": Start(
        rules("assistant", "input", "tcp dport 36524 reject with tcp reset"), SEE, "(or a firewall answers with a reset)"),
    "intercept on an interface that is not there": Start(
        nothing, "interface eth9 does not exist; available: lo, eth0", program="intercept", host="assistant", args=["-i", "eth9"], status=2,
        intercept=False),
    "intercept with a broken filter": Start(
        nothing, "-F.*syntax error", program="intercept", host="assistant", args=["-F", "tcp and and"], status=2, intercept=False),
    "intercept does not run": Start(nothing, "start intercept there first", "so intercept is not running", intercept=False, steps=1),
    "-s is the target": Start(nothing, "start intercept there first", "so intercept is not running", args=start(TARGET)),
    "-s is a client": Start(nothing, "start intercept there first", "so intercept is not running", args=start(CLIENT)),
    "-s is this host": Start(nothing, "it names this very host: name the assistant", "names this very host, and no intercept runs",
                             args=start(ONLINE)),
    "-s is an address that no host has": Start(nothing, SEE, "no host has this address", args=start("10.90.110.99")),
    "-s is a name that nobody knows": Start(nothing, "nowhere.invalid", args=start("nowhere.invalid"), status=2),
    "tcpcopy on the target": Start(nothing, "belongs to this very host", host="target", status=2),
    "-c is this host": Start(nothing, "is an address of this host", args=[*start(ASSISTANT), "-c", ONLINE], status=2),
    "IPv6 without brackets": Start(nothing, "brackets", args=["-x", "6379-fd90::109:143:6379", "-s", ASSISTANT], status=2),
    "the assistant has no secret": Start(nothing, "secret", "secret", args=lambda lab: [
        *start(ASSISTANT), "--secret", secret(lab, "0123456789abcdef")]),
    "everybody may read the secret": Start(nothing, "chmod 600", args=lambda lab: [
        *start(ASSISTANT), "--secret", secret(lab, "0123456789abcdef", 0o644)], status=2),
    "there is no file with the secret": Start(nothing, "No such file", args=[*start(ASSISTANT), "--secret", "/nonexistent/secret"],
                                              status=2),
    "a second tcpcopy with the rule": Start(
        lambda lab: Program(lab.host("online"), "tcpcopy", "-x", RULE, "-s", ASSISTANT).wait_ready(),
        "another tcpcopy on this host has this rule"),
}


@pytest.mark.parametrize("mistake", table(START))
def test_start(lab, mistake):
    case = START[mistake]
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.target_redis = lab.redis("target")
    if case.intercept:
        Program(lab.host("assistant"), "intercept", "-i", "eth0").wait_ready()
    case.make(lab)
    args = case.args(lab) if callable(case.args) else case.args or start(ASSISTANT)
    done = lab.host(case.host).run([BIN / case.program, *args], timeout=PATIENCE)
    output = done.stdout + done.stderr
    assert done.returncode == case.status and re.search(case.said, output), output
    if not case.checked:
        return
    if case.program == "tcpcopy":
        def again():
            return Check(lab, "--probe-from", "10.90.114.99" if CLIENT in args else CLIENT, *args[2:], rule=args[1])
    else:
        def again():
            return Check(lab, *args, program=case.program, host=case.host)
    check = again()
    assert any(line[0] == "broken" and case.checked in line[2] for line in check.lines), check.output
    if case.steps:
        mend(lab, Case(nothing, None, None, steps=case.steps), check, case.checked, again)
        traffic(lab)
        tcpcopy = Program(lab.host("online"), "tcpcopy", *args).wait_ready()
        assert replicates(lab), tcpcopy.log
        tcpcopy.stop()
        lab.host("assistant").sh(f"kill $(ip netns pids {lab.host('assistant').netns} | xargs -n1 | while read p; do "
                                 "grep -qx intercept /proc/$p/comm && echo $p; done)")


def hole_on_the_target(lab):
    lab.host("target").ip_batch(["link add dum0 type veth peer name dum1", "link set dum0 up", "link set dum1 up",
                                 f"route replace {CLIENT} dev dum0",
                                 f"neigh add {CLIENT} lladdr 02:00:00:00:00:01 dev dum0"])


# What looks like a mistake and works: what is done, the rule, options, intercept's host and words, its address
WORKS = {
    "connection tracking": (rules("online", "output", "ct state invalid drop"), RULE, (), "assistant", None, None),
    "a second address of the target": (
        shell("target", "ip address add 10.90.109.150/16 dev eth0"), "6379-10.90.109.150:6379", (), "assistant", None, None),
    "intercept on the target, with a route that ends there": (
        hole_on_the_target, RULE, (), "target", ["-i", "dum0", "-F", "tcp and src port 6379"], TARGET),
}


@pytest.mark.rare
@pytest.mark.parametrize("case", WORKS)
def test_works(lab, case):
    make, rule, options, at, words, server = WORKS[case]
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.target_redis = lab.redis("target")
    make(lab)
    relay = Case(nothing, None, None, at=at, words=words).intercept(lab)
    traffic(lab)
    command = ("-s", server or ASSISTANT, *options)
    tcpcopy = Program(lab.host("online"), "tcpcopy", "-x", rule, *command, "--stats", "9s").wait_ready()
    assert replicates(lab) and wait_until(lambda: "kernel drops" in tcpcopy.log), tcpcopy.log
    check = Check(lab, *command, rule=rule)
    assert check.status == 0, check.output
    log = tcpcopy.stop().split("--- account ---")[0]
    relay.stop()
    assert "nothing is" not in log and "no session has" not in log, log


def test_a_published_port(lab):
    """Nothing on the host listens, because netfilter hands the connections on to a container: that is no mistake."""
    lab.route_to_assistant("client")
    online, container = lab.host("online"), lab.add_host("container", "10.90.111.150")
    online.sysctl(net__ipv4__ip_forward=1)
    online.ip_batch([f"link add veth0 type veth peer name eth1 netns {container.netns}", "link set veth0 up",
                     "addr add 10.98.0.1/24 dev veth0"])
    container.ip_batch(["link set eth0 down", "link set eth1 up", "addr add 10.98.0.2/24 dev eth1",
                        "route add default via 10.98.0.1"])
    lab.redis("container", port=7000)
    lab.target_redis = lab.redis("target")
    relay = Case(nothing, None, None).intercept(lab)
    rule = f"6380-{TARGET}:6379"
    unpublished = Check(lab, "--probe-from", CLIENT, rule=rule)
    assert unpublished.find("broken", "requests", "nothing on this host listens on port 6380"), unpublished.output
    nft(lab, "online", "table ip p { chain in { type nat hook prerouting priority -100; tcp dport 6380 dnat to 10.98.0.2:7000; }; }")
    check = Check(lab, "--probe-from", CLIENT, rule=rule).fine()
    check.find("ok", "requests", "port 6380: a rule of netfilter hands its connections on (DNAT)")
    tcpcopy = Program(online, "tcpcopy", "-x", rule, "-s", ASSISTANT, "--stats", "9s").wait_ready()
    assert wait_until(lambda: "kernel drops" in tcpcopy.log), tcpcopy.log
    client = lab.host("client").popen(["redis-cli", "-h", ONLINE, "-p", "6380", "-r", "-1", "-i", "0.2", "incr", "x"],
                                      stdout=subprocess.DEVNULL)
    assert replicates(lab), tcpcopy.log
    client.terminate()
    client.wait()
    log = tcpcopy.stop().split("--- account ---")[0]
    relay.stop()
    assert "nothing is" not in log, log

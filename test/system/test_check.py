#!/usr/bin/python3
"""--check of both programs: each trap is set, the right line is printed, and what that line says to type mends it.

A cure is executed as it was printed, on the host that it names.
"""

import itertools
import re
import socket
import subprocess
import time

import pytest
from conftest import BIN, Program, wait_until

RULE = "6379-10.90.109.143:6379"
ASSISTANT = "10.90.110.143"
HOSTS = {"the target": "target", "the assistant": "assistant", "this host": "online"}


class Check:
    """One run of --check: its lines as (state, topic, text, host of the cure, cure)."""

    def __init__(self, lab, *args, program="tcpcopy", host="online", rule=RULE):
        if program == "tcpcopy":
            args = ("-x", rule, *([] if "-s" in args else ["-s", ASSISTANT]), *args)
        done = lab.host(host).run([BIN / program, *args, "--check"])
        self.status, self.output = done.returncode, done.stdout
        assert done.stderr == "" and self.status in (0, 1), done.stderr + done.stdout
        self.lines, self.steps = [], {}
        for line in self.output.splitlines()[:-1]:
            state, topic, text = re.fullmatch(r"(ok|warning|broken) +(\S+) +(.*)", line).groups()
            text, *steps = text.split("; if that does not help, type there: ")
            cure = re.fullmatch(r"(.*): on (.+?) type: (.*)", text)
            assert cure or not steps, line
            self.steps.update({cure.groups()[1:]: steps} if cure else {})
            self.lines.append((state, topic, *(cure.groups() if cure else (text, None, None))))
        # what other work has left of this machine's memory is not the lab's
        self.lines = [line for line in self.lines if line[:2] != ("warning", "limits") or "MiB of memory are" not in line[2]]
        assert self.lines, self.output
        assert self.status == (1 if any(line[0] == "broken" for line in self.lines) else 0)

    def find(self, state, topic, *words):
        """The one line of this state and topic; it has the words."""
        found = [line for line in self.lines if line[:2] == (state, topic)]
        assert len(found) == 1, self.output
        for word in words:
            assert word in found[0][2], self.output
        return found[0]

    def only(self, state, topic, *words):
        """The same, and nothing else is wrong. Returns (host, cure)."""
        assert [line[:2] for line in self.lines if line[0] != "ok"] == [(state, topic)], self.output
        return self.find(state, topic, *words)[3:]

    def fine(self):
        assert {line[0] for line in self.lines} == {"ok"}, self.output
        return self


def type_it(lab, cure, **aliases):
    """Type a cure on its host, as it stands."""
    host, command = cure
    done = lab.host({**HOSTS, **aliases}[host]).sh(command, env={"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def intercept(lab, *args, host="assistant"):
    return Program(lab.host(host), "intercept", *(args or ("-i", "eth0", "-F", "tcp and src port 6379"))).wait_ready()


@pytest.fixture
def ready(lab):
    """A lab in which all is well, and a client that goes on asking."""
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.redis("target")
    lab.intercept = intercept(lab)
    requests(lab)
    return lab


def requests(lab):
    """A client that goes on until the lab ends or the caller stops it. Whoever judges what was lost stops it first:
    what a live client has just sent is lost with its session when tcpcopy ends."""
    client = lab.host("client").popen(["redis-cli", "-h", "10.90.111.142", "-r", "-1", "-i", "0.2", "ping"],
                                      stdout=subprocess.DEVNULL)
    connected = ["ss", "-Htn", "state", "established", "sport", "=", ":6379", "dst", "10.90.114.82"]
    assert wait_until(lambda: lab.host("online").check_output(connected))
    return client


def test_all_is_well(ready):
    """And trap 7: with offloads as they are, and all on."""
    Check(ready).fine()
    Check(ready, program="intercept", host="assistant").fine()
    ready.offload("online", True)
    Check(ready, "--probe-from", "[fd90::114:82]", rule="6379-[fd90::109:143]:6379").fine()
    assert "tx-tcp-segmentation" in Check(ready).fine().find("ok", "offloads", "nothing depends")[2]


def ways(check):
    """How each of the ways begins, in order: whether it works, and its command."""
    return [line[2].split(": ")[:2] if line[2].startswith(("works", "may")) else line[2].split(", ")[0]
            for line in check.lines if line[1] == "ways"]


def test_the_ways_from_here(ready):
    """Best first, each tried: with a client whose address is kept, and without an assistant."""
    program = BIN / "tcpcopy"
    assistant = ["works", f"{program} -x {RULE} -s {ASSISTANT}"]
    own = ["works", f"{program} -x {RULE}"]
    on_target = "not tried: intercept --on-target ADDRESS on the target"
    assert ways(Check(ready)) == [assistant, own, on_target]
    assert ways(Check(ready, "--probe-from", "10.90.114.82")) == [assistant, own, on_target]

    # only the way without an assistant, where the target does not lead its responses there
    ready.host("target").ip_batch(["route del 10.90.114.82"])
    assert ways(Check(ready)) == [own, on_target]

    # and none where a firewall of the target lets only the ports of ordinary clients pass
    ready.host("target").check_output(["nft", "-f", "-"], input="""table ip wall { chain input {
        type filter hook input priority 0; tcp dport 6379 tcp sport < 32768 drop; }; }""")
    assert ways(Check(ready)) == [on_target]
    assert ready.host("online").check_output(["nft", "list", "ruleset"]) == ""


def test_no_permission(ready):
    for program, host in (("tcpcopy", "online"), ("intercept", "assistant")):
        args = ["-x", RULE, "-s", ASSISTANT] if program == "tcpcopy" else ["-F", "tcp and src port 6379"]
        done = ready.host(host).run(["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", "--ambient-caps=-net_raw",
                                     BIN / program, *args, "--check"])
        assert done.returncode == 1
        assert re.search(r"^broken +permissions +.*CAP_NET_RAW: on this host type: sudo ", done.stdout, re.MULTILINE)


def test_trap_3_the_assistant_forwards(lab):
    lab.host("assistant").sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    cure = Check(lab, "-F", "src port 6379", program="intercept", host="assistant").only(
        "broken", "forwarding", "reach the clients")
    Check(lab, "--guard", "--allow", lab.host("online").ip4, program="intercept", host="assistant").fine()
    type_it(lab, cure, **{"this host": "assistant"})
    Check(lab, "-F", "src port 6379", program="intercept", host="assistant").fine()


def test_trap_3_forwarding_begins_later(ready):
    """As container run-times do. The probe asks the assistant."""
    ready.host("assistant").sysctl(net__ipv4__ip_forward=1)
    type_it(ready, Check(ready).only("broken", "probe", "the assistant 10.90.110.143 forwards"))
    time.sleep(1)       # as long as intercept believes what it has read
    Check(ready).fine()


def test_trap_1_reverse_path_filter(ready):
    """The assistant is behind another interface of the target than the online server."""
    ready.intercept.stop()
    second_network(ready, "online", "target", "assistant")
    ready.host("target").sysctl(net__ipv4__conf__eth0__rp_filter=1)
    ready.host("target").ip_batch(["route replace 10.90.114.82 via 10.91.110.143"])
    intercept(ready, "-i", "eth1", "-F", "tcp and src port 6379")
    before = ready.host("target").nstat()["TcpExtIPReversePathFilter"]
    check = Check(ready, "-s", "10.91.110.143")
    host, route = check.only("broken", "probe", "nothing came back", "reverse path filter")
    assert ready.host("target").nstat()["TcpExtIPReversePathFilter"] > before
    type_it(ready, (host, route))       # that is there, but nobody can see it from here
    again = Check(ready, "-s", "10.91.110.143")
    assert again.steps == check.steps, again.output
    type_it(ready, (host, check.steps[host, route][0]))
    Check(ready, "-s", "10.91.110.143").fine()


def second_network(lab, *names):
    lab._switch.ip_batch(["link add br1 type bridge forward_delay 0 stp_state 0 mcast_snooping 0", "link set br1 up"])
    for name in names:
        host = lab.host(name)
        lab._switch.ip_batch([f"link add {name}1 type veth peer name eth1 netns {host.netns}",
                              f"link set {name}1 master br1 up"])
        host.ip_batch(["link set eth1 up", f"addr add {host.ip4.replace('10.90', '10.91')}/16 dev eth1"])


def test_trap_2_the_return_route(ready):
    """It is missing; a pool in the hosts' own network; the route covers the online server."""
    target = ready.host("target")
    target.ip_batch(["route del 10.90.114.82"])
    type_it(ready, Check(ready).only("broken", "probe", "the target answers 10.90.110.143, but its response to 10.90.114.82"))
    Check(ready).fine()

    pool = ["-c", "10.90.200.0/24"]
    cure = Check(ready, *pool).find("warning", "clients", "lies in the network of eth0")[3:]
    assert cure[1] in Check(ready, *pool).find("broken", "probe", "did not reach the assistant")[4]
    type_it(ready, cure)
    Check(ready, *pool).fine()

    target.ip_batch(["route del 10.90.114.82", "route add 10.90.111.142 via 10.90.110.143"])
    check = Check(ready)
    type_it(ready, check.only("broken", "probe", "covers this host (10.90.111.142)"))
    type_it(ready, Check(ready).only("broken", "probe", "did not reach the assistant"))
    Check(ready).fine()


def test_trap_4_anti_spoofing(ready):
    """At the port of the switch, as clouds have it. There is no command of ours that ends it, but one that shows it."""
    ready.loss("online", "from", rate=1, match="ip saddr != 10.90.111.142")
    host, cure = Check(ready).only("broken", "probe", "not packets with another host's address",
                                   "source/destination check")
    assert host == "the target" and "tcpdump" in cure
    assert ready.loss_counters()["online", "from"].dropped >= 2
    ready.loss_off()
    Check(ready).fine()


def test_trap_5_intercept_on_the_target(ready):
    ready.intercept.stop()
    ready.host("target").ip_batch(["route del 10.90.114.82"])
    there = intercept(ready, host="target")
    host, cure = Check(ready, "-s", "10.90.109.143").only("broken", "probe", "intercept runs on the target itself")
    there.stop()
    type_it(ready, (host, cure.replace("SECOND-ADDRESS", "10.90.109.200")))
    Check(ready, "-s", "10.90.109.143", rule="6379-10.90.109.200:6379").fine()
    ready.host("target").sh("kill $(ip netns pids {0} | xargs -n1 | while read p; do "
                            "grep -qx intercept /proc/$p/comm && echo $p; done)".format(ready.host("target").netns))


def test_trap_6_connection_tracking(ready):
    """It sees one direction only, so what follows the SYN is INVALID. Frames of the link layer do not pass it."""
    ready.host("online").check_output(["nft", "-f", "-"], input="""
        table inet filter { chain output { type filter hook output priority filter; ct state invalid drop; }; }""")
    Check(ready).fine()
    type_it(ready, Check(ready, "--inject", "raw").only("broken", "probe", "INVALID"))
    Check(ready, "--inject", "raw").fine()
    ready.host("online").check_output(["nft", "-f", "-"], input="""
        flush ruleset
        table inet filter { chain output { type filter hook output priority 0; ip daddr 10.90.109.143 reject; }; }""")
    type_it(ready, Check(ready, "--inject", "raw").only("broken", "probe", "netfilter on this host drops or rejects the SYN"))
    Check(ready, "--inject", "raw").fine()


def test_trap_8_the_capture_is_blind(ready):
    """It looks at another interface; the listener is in a container."""
    online = ready.host("online")
    host, cure = Check(ready, "-i", "lo").only("broken", "requests", "arrive on eth0")
    assert host == "this host"
    done = online.sh(cure + " --check")
    assert done.returncode == 0 and "they arrive on eth0" in done.stdout, done.stdout

    container = ready.add_host("container", "10.90.111.150")
    # a cable between the two, as container run-times make it
    online.ip_batch([f"link add veth0 type veth peer name eth1 netns {container.netns}", "link set veth0 up"])
    server = ready.redis("container", port=7000)
    check = Check(ready, rule="7000-10.90.109.143:6379")
    host, cure = check.find("broken", "requests", f"process {server.pid} in a container")[3:]
    assert host == "this host"
    assert "port 7000: 0.0.0.0:7000 listens" in online.sh(cure + " --check").stdout


def test_trap_9_many_clients_few_addresses(ready):
    ready.host("client").ip_batch([f"addr add 10.90.115.{n}/16 dev eth0" for n in range(2, 6)])
    with ready.host("client").inside():
        clients = [socket.create_connection(("10.90.111.142", 6379), source_address=(f"10.90.115.{n}", 0))
                   for n in range(2, 6)]
    ready.host("target").ip_batch(["route add 10.99.0.0/24 via 10.90.110.143"])
    host, cure = Check(ready, "-c", "10.99.0.1").only("warning", "clients", "clients are connected, but -c has only 1 address:")
    assert host == "this host" and "-c 10.99.0.0/27" in cure
    done = ready.host("online").sh(cure + " --check")
    assert done.returncode == 0 and "-c has 33 addresses for them" in done.stdout, done.stdout
    for connection in clients:
        connection.close()


def test_trap_10_a_filter_too_wide(lab):
    host, cure = Check(lab, "-i", "eth0", "-F", "tcp", program="intercept", host="assistant").only(
        "warning", "filter", "every TCP packet")
    assert host == "this host"
    assert lab.host("assistant").sh(cure, env={"PATH": f"{BIN}:/usr/sbin:/usr/bin"}).stdout.endswith("all ok\n")


FIREWALL = """
table inet filter {{
    chain input {{
        type filter hook input priority filter; policy {policy};
        {rules}
    }}
}}
"""


@pytest.mark.parametrize("policy, rules, words", [
    ("drop", "ct state established,related accept; meta l4proto ipv6-icmp accept", "does not answer"),
    ("accept", "tcp dport 36524 reject", "a firewall on 10.90.110.143 refuses")], ids=["drop", "reject"])
def test_trap_13_a_firewall_on_the_assistant(ready, policy, rules, words):
    ready.host("assistant").check_output(["nft", "-f", "-"], input=FIREWALL.format(policy=policy, rules=rules))
    type_it(ready, Check(ready).only("broken", "assistant", words))
    Check(ready).fine()


def test_trap_11_loopback(ready):
    """Refused at once, with and without --check."""
    for more in ([], ["--check"]):
        done = ready.host("online").run([BIN / "tcpcopy", "-x", "6379-127.0.0.1:6379", "-s", ASSISTANT, *more])
        assert done.returncode == 2
        assert "belongs to this very host" in done.stderr and "accepted: a target on another host" in done.stderr


def test_trap_12_the_assistant_answers_itself(ready):
    """A balancer has the clients' addresses, as real servers of LVS have that of the service."""
    assistant = ready.host("assistant")
    assistant.sysctl(net__ipv4__conf__all__arp_ignore=1)
    assistant.ip_batch(["addr add 10.90.114.82/32 dev lo"])
    type_it(ready, Check(ready).only("broken", "probe", "10.90.114.82 is an address of the assistant 10.90.110.143 itself"))
    Check(ready).fine()
    # the same by a rule of the kernel, without the address
    assistant.check_output(["nft", "-f", "-"], input="""
        table inet balancer { chain prerouting { type filter hook prerouting priority 0;
            ip saddr 10.90.109.143 tcp sport 6379 reject with tcp reset; }; }""")
    host, cure = Check(ready).only("broken", "probe", "the kernel of the assistant 10.90.110.143 resets")
    assert "balancer" in assistant.sh(cure.split(";")[0]).stdout
    assistant.check_output(["nft", "delete", "table", "inet", "balancer"])
    Check(ready).fine()


def test_trap_14_the_target_does_not_listen(lab):
    lab.route_to_assistant("client")
    lab.redis("online")
    requests(lab)
    intercept(lab)
    cure = Check(lab).only("broken", "probe", "nothing listens on 10.90.109.143:6379")
    assert "6379" not in type_it(lab, cure)
    server = lab.redis("target", args=["--bind", "127.0.0.1"])
    assert "127.0.0.1:6379" in type_it(lab, Check(lab).only("broken", "probe", "bound to 127.0.0.1 cannot be reached"))
    server.stop()
    lab.redis("target")
    Check(lab).fine()


def test_a_firewall_on_the_target(ready):
    ready.host("target").check_output(["nft", "-f", "-"], input=FIREWALL.format(policy="drop", rules="ct state established accept"))
    type_it(ready, Check(ready).only("broken", "probe", "answers nobody: a firewall"))
    Check(ready).fine()


def test_the_target_is_down(ready):
    ready.host("target").ip_batch(["link set eth0 down"])
    Check(ready).only("broken", "probe", "no host has the address 10.90.109.143, or it is down")


def test_intercept_is_blind(ready):
    """It captures on another interface; its filter is for another port."""
    second_network(ready, "assistant")
    for args, words in (["-i", "eth1", "-F", "src port 6379"], "where intercept does not capture"), \
                       (["-i", "eth0", "-F", "src port 80"], "does not match the responses"):
        ready.intercept.stop()
        ready.intercept = intercept(ready, *args)
        cure = Check(ready).only("broken", "probe", words)
        ready.intercept.stop()
        type_it(ready, cure)
        Check(ready).fine()
        ready.host("assistant").sh("kill $(ip netns pids {0} | xargs -n1 | while read p; do "
                                   "grep -l ^intercept /proc/$p/comm; done | cut -d/ -f3)".format(ready.host("assistant").netns))
        ready.intercept = intercept(ready)


def test_no_client_is_known(lab):
    """No source is invented: then the way back is not tried, and it says so."""
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.redis("target")
    intercept(lab)
    seen = lab.host("target").capture("tcp port 6379")
    host, cure = Check(lab).only("warning", "probe", "no client is known")
    assert {packet["ip.src"] for packet in seen.fields("ip.src")} == {"10.90.111.142", "10.90.109.143"}
    done = lab.host("online").sh(cure.replace("ADDRESS", "10.90.114.82"))
    assert done.returncode == 0 and "10.90.109.143:6379 answered 10.90.114.82" in done.stdout, done.stdout


def test_what_the_target_sees(ready):
    """Two SYNs, both answered alike, a full-size packet that is old, its ACK, and a reset; the application is told of nothing."""
    target = ready.host("target")
    seen = target.capture("tcp port 6379 and host 10.90.114.82")
    before = target.check_output(["redis-cli", "info", "stats"])
    Check(ready).fine()
    packets = seen.fields("ip.src", "ip.len", "tcp.srcport", "tcp.flags.str", "tcp.seq_raw")
    ours = [(p["tcp.flags.str"].replace("\u00b7", ""), p["tcp.seq_raw"]) for p in packets]
    ours = [packet for packet, _ in itertools.groupby(ours)]    # the target repeats what nothing acknowledges for a second
    assert [flags for flags, _ in ours] == ["S", "AS", "S", "AS", "A", "A", "AR"]
    assert [p["ip.src"] for p in packets if p["ip.len"] == "1500"] == ["10.90.114.82"]
    assert ours[0] == ours[2] and ours[1] == ours[3]
    port = int(next(p["tcp.srcport"] for p in packets if p["ip.src"] == "10.90.114.82"))
    assert 5001 <= port <= 9999
    after = target.check_output(["redis-cli", "info", "stats"])

    def received(text):
        return int(re.search(r"total_connections_received:(\d+)", text)[1])
    assert received(after) == received(before) + 1      # redis-cli itself


def test_an_unanswered_probe_is_not_repeated(ready):
    ready.host("target").ip_batch(["route replace blackhole 10.90.114.82"])
    seen = ready.host("target").capture("tcp[tcpflags] & tcp-syn != 0 and src host 10.90.114.82")
    Check(ready).find("broken", "probe")
    assert len(seen.fields("ip.src")) == 1


def test_intercept_does_not_run(ready):
    ready.intercept.stop()
    type_it(ready, Check(ready).only("broken", "assistant", "nothing listens there"))
    Check(ready).fine()


def test_the_secret(ready):
    """One end has it, both have it."""
    ready.intercept.stop()
    path = ready.new_path("secret")
    path.touch(mode=0o600)
    path.write_text("0123456789abcdef")
    intercept(ready, "--secret", path)
    Check(ready).only("broken", "assistant", "a secret is needed here")
    Check(ready, "--secret", path).fine()


def test_another_program_has_the_port(lab):
    server = lab.redis("assistant", port=36524)
    host, cure = Check(lab, program="intercept", host="assistant").only("broken", "channel", "another program")
    assert str(server.pid) in lab.host("assistant").sh(cure).stdout
    server.stop()
    Check(lab, program="intercept", host="assistant").fine()


def test_the_log_names_the_hop_once(ready):
    """Without --check, where sessions are never answered."""
    ready.host("target").ip_batch(["route del 10.90.114.82"])
    seen = ready.host("target").capture("tcp[tcpflags] & tcp-syn != 0 and src host 10.90.114.82 and src portrange 5001-9999")
    tcpcopy = Program(ready.host("online"), "tcpcopy", "-x", RULE, "-s", ASSISTANT).wait_ready()
    line = re.compile(r"no session has received a response: (.*): on (.+?) type: (.*?); if that does not help, type there: ")
    assert wait_until(lambda: line.search(tcpcopy.log)), tcpcopy.log
    text, *cure = line.search(tcpcopy.log).groups()
    assert "its response to 10.90.114.82 did not reach the assistant" in text
    type_it(ready, cure)
    target = ready.host("target")
    client = ready.host("client")

    def replicated():
        client.check_output(["redis-cli", "-h", "10.90.111.142", "set", "a", "b"])
        return target.check_output(["redis-cli", "get", "a"]).strip() == "b"
    assert wait_until(replicated), tcpcopy.log
    assert len(line.findall(tcpcopy.log)) == 1
    assert "no session has received a response" not in tcpcopy.stop()[line.search(tcpcopy.log).end():]
    assert len(seen.fields("ip.src")) == 1


def test_the_log_is_quiet_where_answers_come(ready):
    """The look at the workers ends with the first answer."""
    tcpcopy = Program(ready.host("online"), "tcpcopy", "-x", RULE, "-s", ASSISTANT, "--stats", "500ms").wait_ready()
    assert wait_until(lambda: len(re.findall(r"opened/s", tcpcopy.log)) > 13)
    assert "received a response" not in tcpcopy.stop()

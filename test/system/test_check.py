#!/usr/bin/python3
"""--check of both programs: each trap is set, the right line is printed, and what that line says to type mends it.

A cure is executed as it was printed, on the host that it names.
"""

import re
import socket
import subprocess

import pytest
from conftest import BIN, Program

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
        self.lines = []
        for line in self.output.splitlines()[:-1]:
            state, topic, text = re.fullmatch(r"(ok|warning|broken) +(\S+) +(.*)", line).groups()
            cure = re.fullmatch(r"(.*): on (.+?) type: (.*)", text)
            self.lines.append((state, topic, *(cure.groups() if cure else (text, None, None))))
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
    lab.host("client").popen(["redis-cli", "-h", "10.90.111.142", "-r", "-1", "-i", "0.2", "ping"],
                             stdout=subprocess.DEVNULL)


def test_all_is_well(ready):
    """And trap 7: with offloads as they are, and all on."""
    Check(ready).fine()
    Check(ready, program="intercept", host="assistant").fine()
    ready.offload("online", True)
    assert "tx-tcp-segmentation" in Check(ready).fine().find("ok", "offloads", "nothing depends")[2]


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
    Check(lab, "--guard", program="intercept", host="assistant").fine()
    type_it(lab, cure, **{"this host": "assistant"})
    Check(lab, "-F", "src port 6379", program="intercept", host="assistant").fine()


def test_trap_5_intercept_on_the_target(ready):
    ready.intercept.stop()
    there = intercept(ready, host="target")
    host, cure = Check(ready, "-s", "10.90.109.143").only("broken", "assistant", "is the target itself")
    there.stop()
    assert host == "that host"
    type_it(ready, ("the assistant", cure))
    Check(ready).fine()


def test_trap_8_the_capture_is_blind(ready):
    """It looks at another interface; the listener is in a container."""
    online = ready.host("online")
    host, cure = Check(ready, "-i", "lo").only("broken", "requests", "come by eth0")
    assert host == "this host"
    done = online.sh(cure + " --check")
    assert done.returncode == 0 and "they come by eth0" in done.stdout, done.stdout

    container = ready.add_host("container", "10.90.111.150")
    # a cable between the two, as container run-times make it
    online.ip_batch([f"link add veth0 type veth peer name eth1 netns {container.netns}", "link set veth0 up"])
    server = ready.redis("container", port=7000)
    check = Check(ready, rule="7000-10.90.109.143:6379")
    host, cure = check.only("broken", "requests", f"process {server.pid} in a container")
    assert host == "this host"
    assert "port 7000: 0.0.0.0:7000 listens" in online.sh(cure + " --check").stdout


def test_trap_9_many_clients_few_addresses(ready):
    ready.host("client").ip_batch([f"addr add 10.90.115.{n}/16 dev eth0" for n in range(2, 6)])
    with ready.host("client").inside():
        clients = [socket.create_connection(("10.90.111.142", 6379), source_address=(f"10.90.115.{n}", 0))
                   for n in range(2, 6)]
    host, cure = Check(ready, "-c", "10.99.0.1").only("warning", "clients", "clients are connected, and -c has 1 addresses")
    assert host == "this host" and "-c 10.99.0.0/27" in cure
    done = ready.host("online").sh(cure + " --check")
    assert done.returncode == 0 and "for whom -c has 33 addresses" in done.stdout, done.stdout
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
    ("accept", "tcp dport 36524 reject", "a firewall of 10.90.110.143 refuses")], ids=["drop", "reject"])
def test_trap_13_a_firewall_on_the_assistant(ready, policy, rules, words):
    ready.host("assistant").check_output(["nft", "-f", "-"], input=FIREWALL.format(policy=policy, rules=rules))
    type_it(ready, Check(ready).only("broken", "assistant", words))
    Check(ready).fine()


def test_intercept_does_not_run(ready):
    ready.intercept.stop()
    type_it(ready, Check(ready).only("broken", "assistant", "nothing listens there"))
    Check(ready).fine()


def test_another_program_has_the_port(lab):
    server = lab.redis("assistant", port=36524)
    host, cure = Check(lab, program="intercept", host="assistant").only("broken", "channel", "another program")
    assert str(server.pid) in lab.host("assistant").sh(cure).stdout
    server.stop()
    Check(lab, program="intercept", host="assistant").fine()

#!/usr/bin/python3
"""A link on the way to the target takes less than the route of the online server says.

    client --- online (10.90.111.142) --- router === (10.91.109.143) target
                      (fd90::111:142)        1300    (fd91::109:143)    assistant (10.91.110.143)
"""

import re

import pytest
from alone import Alone, check
from conftest import Program, Replay, wait_until
from test_check import Check, second_network, type_it
from workload import all_complete, appends, ask, closed, connect, equal

FAR = {4: "10.91.109.143", 6: "fd91::109:143"}
FILTER = """
table inet quiet {
    chain out {
        type filter hook output priority filter;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""


class Narrow:
    """A router before the target, whose link there takes @mtu bytes."""

    def __init__(self, lab, mtu=1500, filtered=False):
        online, target = lab.host("online"), lab.host("target")
        self.lab, self.host = lab, lab.add_host("router", "10.90.112.1")
        second_network(lab, "router", "target", "assistant")
        self.host.ip_batch(["addr add fd91::112:1/64 dev eth1 nodad"])
        self.host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1, net__ipv4__conf__all__rp_filter=0,
                         net__ipv4__conf__eth0__rp_filter=0, net__ipv4__conf__eth1__rp_filter=0)
        lab.host("assistant").ip_batch([f"addr add {FAR[6].replace('109', '110')}/64 dev eth1 nodad"])
        target.ip_batch(["link set eth0 down", f"addr add {FAR[6]}/64 dev eth1 nodad",
                         "route add 10.90.0.0/16 via 10.91.112.1", "route add fd90::/64 via fd91::112:1",
                         "route add 10.90.114.82/32 via 10.91.110.143", "route add fd90::114:82/128 via fd91::110:143"])
        online.ip_batch(["route add 10.91.0.0/16 via 10.90.112.1", "route add fd91::/64 via fd90::112:1"])
        if filtered:
            self.host.check_output(["nft", "-f", "-"], input=FILTER)
        self.set(mtu)
        self.before = {name: lab.host(name).nstat() for name in ("client", "online")}

    def set(self, mtu):
        self.host.ip_batch([f"link set eth1 mtu {mtu}"])

    def told(self, name="client"):
        """ICMP errors that a host got about packets that are too large."""
        now = self.lab.host(name).nstat()
        return sum(now.get(n, 0) - self.before[name].get(n, 0) for n in ("IcmpInDestUnreachs", "Icmp6InPktTooBigs"))


def said(log):
    """What the log has said while it ran: the size that is lost, the one that is sent, and what to type."""
    return re.findall(r"packets of (\d+) bytes do not arrive at the target.*at most (\d+) bytes.* type: (.*)",
                      log.partition("--- account ---")[0])


@pytest.fixture
def servers(lab):
    return [lab.redis(name) for name in ("online", "target")]


@pytest.mark.parametrize("v6, filtered, workers", [(False, False, 1), (False, True, 2), (True, False, 2)])
def test_with_an_assistant(lab, servers, v6, filtered, workers):
    narrow = Narrow(lab, 1300, filtered)
    r = Replay(lab, v6=v6, target=FAR[6 if v6 else 4], interface="eth1", tcpcopy=["--workers", workers])
    at = lab.host("online").ip6 if v6 else lab.host("online").ip4
    appends(lab, connections=20, commands=10, size=40_000, at=at)
    assert equal(*servers) and closed(lab)
    assert wait_until(lambda: said(r.tcpcopy.log))
    account = r.stop()
    assert 2 <= account["engine.path_probes_lost"] <= 2 * workers
    assert narrow.told() <= (0 if filtered else account["engine.path_probes_lost"])
    assert all_complete(account)
    assert len(said(account.log)) == 1 and said(account.log)[0][:2] == ("1400", "1300"), account.log


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_alone(lab, servers, v6):
    """The copies have this host's address, and so the router tells this host, whose kernel has no such connection."""
    narrow = Narrow(lab, 1400)
    to = FAR[6 if v6 else 4]
    a = Alone(lab, rule=f"6379-{f'[{to}]' if v6 else to}:6379")
    at = lab.host("online").ip6 if v6 else lab.host("online").ip4
    appends(lab, connections=10, commands=10, size=40_000, at=at)
    assert equal(*servers)
    assert wait_until(lambda: said(a.tcpcopy.log))
    assert wait_until(lambda: not a.tcpcopy.status()["account"]["live"]["sessions"])
    account = a.stop()
    assert all_complete(account)
    assert [words[:2] for words in said(account.log)] == [("1500", "1400")], account.log
    assert account["engine.path_probes_lost"] == 1
    assert narrow.told() == 0 and narrow.told("online") <= 1


def test_it_becomes_narrower(lab, servers):
    """In mid-connection, below what needs no proof. What to type is right, and is noticed at once."""
    narrow = Narrow(lab)
    r = Replay(lab, target=FAR[4], interface="eth1")
    connection = connect(lab)
    assert ask(connection, f"append key {'x' * 40_000}") == b":40000\r\n"
    assert wait_until(lambda: servers[1].cli("strlen", "key") == "40000")
    account = r.tcpcopy.status()["account"]["engine"]
    assert account["path_probes"] == account["path_probes_arrived"] == 1 and not said(r.tcpcopy.log)
    narrow.set(900)
    assert ask(connection, f"append key {'y' * 40_000}") == b":80000\r\n"
    assert wait_until(lambda: servers[1].cli("strlen", "key") == "80000")
    assert ask(connection, f"append key {'z' * 40_000}") == b":120000\r\n"
    assert wait_until(lambda: said(r.tcpcopy.log))
    assert wait_until(lambda: servers[1].cli("strlen", "key") == "120000")
    lab.host("online").sh(said(r.tcpcopy.log)[0][2])
    most = int(said(r.tcpcopy.log)[0][1])
    assert ask(connection, f"append key {'-' * 40_000}") == b":160000\r\n"
    assert wait_until(lambda: r.tcpcopy.status()["rules"][0]["route_mtu"] == most)
    connection.close()
    assert equal(*servers) and closed(lab)
    account = r.stop()
    assert all_complete(account)
    assert account["engine.path_doubts"] >= 1
    assert narrow.told() <= 8       # what was in flight then, and nothing more


@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no offloads"])
def test_all_is_well(lab, servers, offloads):
    """A router that takes all: one probe, and then the client's own segments."""
    narrow = Narrow(lab)
    for name in "client", "online", "target":
        lab.offload(name, offloads)
    r = Replay(lab, target=FAR[4], interface="eth1")
    appends(lab, connections=10, commands=10, size=40_000)
    assert equal(*servers) and closed(lab)
    account = r.stop()
    assert all_complete(account)
    assert account["engine.path_probes_lost"] == account["engine.path_doubts"] == 0 and not said(account.log)
    assert account["engine.path_probes_arrived"] >= 1
    assert narrow.told() == 0


def test_the_check_tries_a_large_packet(lab, servers):
    """The target's application hears nothing of it. The cure holds, and with it nothing is lost any more."""
    narrow = Narrow(lab, 1300)
    rule = f"6379-{FAR[4]}:6379"
    client = ["--probe-from", lab.host("client").ip4]
    assistant = Program(lab.host("assistant"), "intercept", "-i", "eth1", "-F", "tcp and src port 6379").wait_ready()
    before = int(servers[1].cli("info", "stats").split("total_connections_received:")[1].split()[0])
    cures = [Check(lab, *way, *client, rule=rule).find("warning", "probe", "packets of 1500 bytes", "of 1300 do")[3:]
             for way in ([], ["--inject", "raw"])]
    assert cures == [("this host", "ip route replace 10.91.109.143/32 via 10.90.112.1 dev eth0 mtu 1300")] * 2
    alone = [line[2] for line in check(lab.host("online"), "-x", rule)[1] if line[:2] == ["warning", "probe"]]
    assert alone and all(line.endswith(cures[0][1]) for line in alone), alone
    type_it(lab, cures[0])
    told = narrow.told()
    assert Check(lab, *client, rule=rule).find("ok", "probe")
    assert narrow.told() == told
    after = int(servers[1].cli("info", "stats").split("total_connections_received:")[1].split()[0])
    assert after == before + 1      # which is the question itself
    assistant.stop()

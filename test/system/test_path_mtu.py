#!/usr/bin/python3
"""A link on the way to the target takes less than the route of the online server says.

    client --- online (10.90.111.142) --- router === (10.91.109.143) target
                      (fd90::111:142)        1300    (fd91::109:143)    assistant (10.91.110.143)
"""

import re

import pytest
from conftest import Replay, wait_until
from test_check import second_network
from workload import all_complete, appends, closed, equal

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

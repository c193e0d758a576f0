#!/usr/bin/python3
"""tcpcopy alone, where the network or a firewall is strict: the copies have this host's address, and so they pass what
any connection of this host passes.

    client --- online (10.90.111.142) --- router --- (10.91.109.143) target
                      (fd90::111:142)                (fd91::109:143)
"""

import functools

import pytest
from alone import Alone, check
from conftest import built, run_all, started
from test_check import second_network
from workload import Trouble, appends, as_the_benchmark_ends, equal

FAR = {4: "10.91.109.143", 6: "fd91::109:143"}
BALANCER = "10.90.112.1"

# Only the online server's addresses come from its side, and only by the way that leads back to them.
SITE = """
table inet site {{
    counter foreign {{ }}
    counter backward {{ }}
    counter invalid {{ }}
    chain spoof {{
        type filter hook prerouting priority raw;
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
        iifname eth0 ip saddr != {online4} counter name foreign drop
        iifname eth0 ip6 saddr != {{ {online6}, fe80::/10 }} counter name foreign drop
        fib saddr . iif oif missing counter name backward drop
    }}
    chain forward {{
        type filter hook forward priority filter;
        ct state invalid counter name invalid drop
    }}
}}
"""
MASQUERADE = """
table ip translate {{
    chain out {{
        type nat hook postrouting priority srcnat;
        oifname eth1 masquerade random
    }}
}}
"""
DNAT = """
table ip balance {{
    chain in {{
        type nat hook prerouting priority dstnat;
        ip daddr {balancer} tcp dport 6379 dnat to {target}
    }}
}}
"""

# As firewalld has it, for a host that offers one service.
FIREWALL = """
table inet firewalld {
    counter invalid { }
    counter rejected { }
    chain raw {
        type filter hook prerouting priority filter + 10;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }
    chain input {
        type filter hook input priority filter + 10;
        ct state { established, related } accept
        iifname lo accept
        ct state invalid counter name invalid drop
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 6379 accept
        counter name rejected reject with icmpx admin-prohibited
    }
}
"""


def counters(host, table):
    """{name: packets} of the named counters of an inet table."""
    words = host.check_output(["nft", "list", "counters", "table", "inet", table]).split()
    return {words[i + 1]: int(words[i + 4]) for i, word in enumerate(words) if word == "counter"}


class Router:
    """A host between online server and target, which have no other way to each other."""

    def __init__(self, lab, *rules):
        online, target = lab.host("online"), lab.host("target")
        self.host = router = lab.add_host("router", "10.90.112.1")
        second_network(lab, "router", "target")
        router.ip_batch(["addr add fd91::112:1/64 dev eth1 nodad"])
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1, net__ipv4__conf__all__rp_filter=1,
                      net__ipv4__conf__eth0__rp_filter=1, net__ipv4__conf__eth1__rp_filter=1)
        router.check_output(["nft", "-f", "-"], input="".join((SITE, *rules)).format(
            online4=online.ip4, online6=online.ip6, balancer=BALANCER, target=FAR[4]))
        target.ip_batch(["link set eth0 down", f"addr add {FAR[6]}/64 dev eth1 nodad",
                         "route add default via 10.91.112.1", "route add default via fd91::112:1"])
        online.ip_batch(["route add 10.91.0.0/16 via 10.90.112.1", "route add fd91::/64 via fd90::112:1"])

    def counters(self):
        return counters(self.host, "site")


class Far(Alone):
    """Whoever the target takes the copies' sender for, and whatever it may be called here."""

    def __init__(self, lab, *args, **kwargs):
        super().__init__(lab, *args, **kwargs)
        self.stray.stop()
        self.stray = self.watched(f"net 10.91.0.0/16 or net fd91::/64 or host {BALANCER}"
                                  f" or host {self.target.ip4} or host {self.target.ip6}")

    def connections(self):
        return self.target.check_output(["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=",
                                         f":{self.port}"]).split("\n")[:-1]


@pytest.fixture
def far(lab):
    """As alone(). Workers share the rings, and each of four on two processors may wait for its turn for long."""
    yield from started(functools.partial(Far, lab, "-B", "256M"))


def replicate(lab, a, servers, at):
    """Small and large commands in few connections, and one in each of many."""
    trouble = Trouble(lab.host("target"))
    appends(lab, connections=10, commands=100, size=500, at=at)
    appends(lab, connections=3, commands=10, size=100_000, at=at)
    assert equal(*servers)
    assert a.closed()
    assert trouble() == {}
    run_all(lab.host("client"), [["redis-benchmark", "-h", at, "-t", "set", "-n", "1000", "-c", "20", "-k", "0",
                                  "-r", "100000", "-q"]])
    assert equal(*servers)
    assert a.closed()
    assert a.silent()
    account = a.stop()
    assert account["engine.sessions_opened"] >= 1013
    assert as_the_benchmark_ends(account)


@pytest.mark.parametrize("place, workers", [("router", 1), ("nat", 1), ("nat", 2), ("nat", 4), ("balancer", 2),
                                            ("both", 4), ("v6", 1), ("v6", 4)])
def test_through_a_router(lab, far, servers, place, workers):
    router = Router(lab, *{"nat": [MASQUERADE], "balancer": [DNAT], "both": [MASQUERADE, DNAT]}.get(place, []))
    online = lab.host("online")
    to = {"balancer": BALANCER, "both": BALANCER, "v6": f"[{FAR[6]}]"}.get(place, FAR[4])
    rule = f"6379-{to}:6379"
    status, lines = check(online, "-x", rule)
    assert status == 0 and [line[:2] for line in lines] == [["ok", "answers"]] * 2 + [["ok", "probe"]], lines
    replicate(lab, far("--workers", workers, rule=rule), servers, online.ip6 if place == "v6" else online.ip4)
    assert router.counters() == {"foreign": 0, "backward": 0, "invalid": 0}


def test_the_router_is_strict(lab):
    """Or it would show nothing: it drops what has a client's address, and what belongs to no connection."""
    router = Router(lab, MASQUERADE)
    online, spoof = lab.host("online"), built("spoof")
    for kind, source in ("syn", lab.host("client").ip4), ("rst", online.ip4):
        online.check_output([spoof, FAR[4], 6379, kind, 20, 1000, source, 2000, 2019])
    assert router.counters() == {"foreign": 20, "backward": 0, "invalid": 20}


@pytest.mark.parametrize("v6, workers", [(False, 1), (False, 2), (False, 4), (True, 1), (True, 4)])
def test_behind_a_firewall_of_this_host(lab, far, servers, v6, workers):
    """It tracks connections, and has no mercy with what belongs to none: it never sees an answer."""
    online = lab.host("online")
    online.check_output(["nft", "-f", "-"], input=FIREWALL)
    a = far("--workers", workers, v6=v6)
    replicate(lab, a, servers, online.ip6 if v6 else online.ip4)
    assert counters(online, "firewalld") == {"invalid": 0, "rejected": 0}

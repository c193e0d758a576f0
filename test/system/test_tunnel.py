#!/usr/bin/python3
"""Online server and target at two sites: a router between them lets no foreign source address pass, and may translate
addresses. VXLAN carries the copies, with their clients' addresses; the responses end at the target.

    online (10.90.111.142) --- router --- (10.91.109.143) target
    vx0    (10.99.0.1)     ============== (10.99.0.2)     vx0
"""

import pytest
from conftest import wait_until
from test_check import Check, intercept, requests, second_network, type_it
from workload import Trouble, appends, ask, closed, connect, equal

T2 = {4: "10.99.0.3", 6: "fd99::3"}

STRICT = """
table inet site {{
    chain spoof {{
        type filter hook prerouting priority raw;
        iifname eth0 ip saddr != {online} counter drop
    }}
}}
"""

# One to one, as sites have it at their edge: each sees the other as an address of the router.
NAT = """
table ip translate {{
    chain in {{
        type nat hook prerouting priority dstnat;
        iifname eth0 ip daddr {router} udp dport 4789 dnat to {target}
        iifname eth1 ip daddr {far} udp dport 4789 dnat to {online}
    }}
    chain out {{
        type nat hook postrouting priority srcnat;
        oifname eth1 udp dport 4789 masquerade
        oifname eth0 udp dport 4789 masquerade
    }}
}}
"""


def two_sites(lab, nat):
    """The target is behind a router. Returns the router."""
    online, target = lab.host("online"), lab.host("target")
    router = lab.add_host("router", "10.90.112.1")
    second_network(lab, "router", "target")
    router.sysctl(net__ipv4__ip_forward=1, net__ipv4__conf__all__rp_filter=1, net__ipv4__conf__eth0__rp_filter=1,
                  net__ipv4__conf__eth1__rp_filter=1)
    names = {"online": online.ip4, "target": "10.91.109.143", "router": router.ip4, "far": "10.91.112.1"}
    router.check_output(["nft", "-f", "-"], input=STRICT.format(**names) + (NAT.format(**names) if nat else ""))
    target.ip_batch(["link set eth0 down", "route add default via 10.91.112.1"])
    online.ip_batch(["route add 10.91.0.0/16 via 10.90.112.1"])
    ends = (router.ip4, "10.91.112.1") if nat else ("10.91.109.143", online.ip4)
    for host, dev, remote, n in ((online, "eth0", ends[0], 1), (target, "eth1", ends[1], 2)):
        host.ip_batch([f"link add vx0 type vxlan id 7 dstport 4789 dev {dev} remote {remote}", "link set vx0 up",
                       f"addr add 10.99.0.{n}/24 dev vx0", f"addr add fd99::{n}/64 dev vx0 nodad"])
    return router


@pytest.mark.parametrize("nat", [False, True], ids=["router", "nat"])
@pytest.mark.parametrize("version", [4, 6], ids=["v4", "v6"])
def test_vxlan(lab, replay, nat, version):
    router = two_sites(lab, nat)
    online, target = lab.redis("online"), lab.redis("target")
    v6 = version == 6
    run = replay(v6=v6, at="target", interface=None, target=T2[version], server="fd99::2" if v6 else "10.99.0.2",
                 intercept=["--on-target", T2[version]])
    trouble = Trouble(lab.host("target"))
    heard = lab.host("client").capture("net 10.99.0.0/24 or net 10.91.0.0/16 or net fd99::/64")
    at = lab.host("online").ip6 if v6 else lab.host("online").ip4
    appends(lab, 5, 100, at=at)
    appends(lab, 3, 5, size=100_000, at=at)
    assert equal(online, target) and closed(lab)
    assert trouble() == {}
    assert heard.stop().captured == 0
    if not v6:
        connection = connect(lab)
        assert ask(connection, "ping") == b"+PONG\r\n"
        port = connection.getsockname()[1]
        assert wait_until(lambda: f"addr=10.90.114.82:{port} " in target.cli("client", "list"))
        connection.close()
        client = requests(lab)
        check = Check(lab, "-s", "10.99.0.2", rule="6379-10.99.0.3:6379").fine()
        assert check.find("ok", "route", "through vx0", "MTU 1450")
        # Made without "dev", it does not know what carries it.
        lab.host("online").ip_batch([
            "link del vx0", f"link add vx0 type vxlan id 7 dstport 4789 remote {router.ip4 if nat else '10.91.109.143'}",
            "link set vx0 up", "addr add 10.99.0.1/24 dev vx0"])
        cure = Check(lab, "-s", "10.99.0.2", rule="6379-10.99.0.3:6379").only("warning", "route", "fragments")
        type_it(lab, cure)
        assert Check(lab, "-s", "10.99.0.2", rule="6379-10.99.0.3:6379").fine().find("ok", "route", "MTU 1450")
        client.terminate()
        client.wait()
        assert closed(lab)
    account = run.stop()
    assert account["engine.lost_bytes"] == 0, account.log
    assert "counter packets 0 " in router.check_output(["nft", "list", "table", "inet", "site"])


def test_without_the_tunnel(lab):
    """Or the router would be none that needs one."""
    router = two_sites(lab, False)
    lab.redis("online")
    lab.redis("target")
    intercept(lab, "--on-target", "10.91.109.200", host="target")
    lab.host("target").ip_batch(["link del vx0"])
    lab.host("online").ip_batch(["link del vx0"])
    requests(lab)
    Check(lab, "-s", "10.91.109.143", rule="6379-10.91.109.200:6379").find("broken", "probe")
    assert "counter packets 0 " not in router.check_output(["nft", "list", "table", "inet", "site"])

#!/usr/bin/python3
"""intercept --guard on each kind of device by which responses can come to an assistant that forwards: they are captured
and then dropped, and none of them reaches the client.

Devices that this kernel may not have (bond, VLAN, VRF) are not made. A VLAN is tagged frames.
"""

import fcntl
import os
import select
import struct
import threading

import pytest
from conftest import wait_until
from test_guard import CAPTURED, GUARD, TABLE, dropped, guards, tables
from test_intercept import ACK, PORT, SYN, FakeTcpcopy, Flow, start
from workload import Trouble, all_complete, appends, closed, equal

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
WITH_NETFILTER, WITHOUT = 1, 0


def forward(host):
    host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)


def stand_on(host, device):
    """The host's addresses move from eth0 to another device, which alone answers for them."""
    host.sysctl(net__ipv4__conf__all__arp_ignore=1)
    host.ip_batch(["addr flush dev eth0", f"link set {device} up", f"addr add {host.ip4}/16 dev {device}",
                   f"addr add {host.ip6}/64 dev {device} nodad"])


def bridge(host, name, netfilter):
    host.ip_batch([f"link add {name} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"])
    for what in ("iptables", "ip6tables"):
        path = f"/proc/sys/net/bridge/bridge-nf-call-{what}"
        if host.run(["test", "-e", path]).returncode and netfilter:
            pytest.skip("this kernel has no br_netfilter")
        host.run(["sh", "-c", f"echo {netfilter} >{path}"])


def route(lab, device):
    """The responses for the client leave the target by this device."""
    client = lab.host("client")
    lab.host("target").ip_batch([f"route replace {client.ip4} dev {device}", f"route replace {client.ip6} dev {device}"])


class Tunnel:
    """A TUN device on two hosts, with a thread between them."""

    def __init__(self, *hosts):
        self.ends = []
        for host in hosts:
            with host.inside():
                fd = os.open("/dev/net/tun", os.O_RDWR)
                fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI))
            host.ip_batch(["link set tun0 up"])
            self.ends.append(fd)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            for fd in select.select(self.ends, [], [])[0]:
                try:
                    os.write(self.ends[self.ends[0] == fd], os.read(fd, 1 << 16))
                except OSError:
                    return      # the lab has gone


def over_veth(lab):
    lab.route_to_assistant("client")
    return {}


def over_bridge(lab, netfilter):
    lab.route_to_assistant("client")
    assistant = lab.host("assistant")
    bridge(assistant, "br0", netfilter)
    assistant.ip_batch(["link set eth0 master br0"])
    stand_on(assistant, "br0")
    return {"interface": "br0"}


def over_macvlan_on_a_bridge(lab):
    lab.route_to_assistant("client")
    assistant = lab.host("assistant")
    bridge(assistant, "br0", WITH_NETFILTER)
    assistant.ip_batch(["link set eth0 master br0", "link set br0 up", "link add mv0 link br0 type macvlan mode bridge"])
    stand_on(assistant, "mv0")
    return {"interface": "mv0"}


def over_macvlan(lab):
    lab.route_to_assistant("client")
    assistant = lab.host("assistant")
    assistant.ip_batch(["link add mv0 link eth0 type macvlan mode bridge"])
    stand_on(assistant, "mv0")
    return {"interface": "mv0"}


def over_tun(lab):
    Tunnel(lab.host("target"), lab.host("assistant"))
    route(lab, "tun0")
    return {"interface": "tun0"}


def over_vxlan(lab):
    target, assistant = lab.host("target"), lab.host("assistant")
    for host, other, n in ((target, assistant, 1), (assistant, target, 2)):
        host.ip_batch([f"link add vx0 type vxlan id 7 dstport 4789 local {host.ip4} remote {other.ip4}", "link set vx0 up",
                       f"addr add 10.98.0.{n}/24 dev vx0", f"addr add fd98::{n}/64 dev vx0 nodad"])
    client = lab.host("client")
    target.ip_batch([f"route replace {client.ip4} via 10.98.0.2", f"route replace {client.ip6} via fd98::2"])
    return {"interface": "vx0"}


def to_a_container(lab, netfilter):
    """The target is a container on a bridge of the online server, its gateway, where intercept runs as well."""
    online, target = lab.host("online"), lab.host("target")
    bridge(online, "docker0", netfilter)
    online.ip_batch([f"link add veth1 type veth peer name eth1 netns {target.netns}", "link set veth1 master docker0 up",
                     "link set docker0 up", "addr add 172.30.0.1/24 dev docker0", "addr add fd30::1/64 dev docker0 nodad"])
    target.ip_batch(["link set eth0 down", "link set eth1 up", "addr add 172.30.0.2/24 dev eth1",
                     "addr add fd30::2/64 dev eth1 nodad", "route add default via 172.30.0.1", "route add default via fd30::1"])
    return {"interface": "docker0", "at": "online", "target": {4: "172.30.0.2", 6: "fd30::2"},
            "server": {4: "172.30.0.1", 6: "fd30::1"}}


WAYS = {
    "veth": over_veth,
    "bridge": lambda lab: over_bridge(lab, WITHOUT),
    "bridge, br_netfilter": lambda lab: over_bridge(lab, WITH_NETFILTER),
    "macvlan": over_macvlan,
    "macvlan on a bridge, br_netfilter": over_macvlan_on_a_bridge,
    "tun": over_tun,
    "vxlan": over_vxlan,
    "container": lambda lab: to_a_container(lab, WITHOUT),
    "container, br_netfilter": lambda lab: to_a_container(lab, WITH_NETFILTER),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_captured_and_then_dropped(lab, replay, way, v6):
    made = WAYS[way](lab)
    host = lab.host(made.get("at", "assistant"))
    forward(host)
    online, target = lab.redis("online"), lab.redis("target")
    r = replay(**{k: v[6 if v6 else 4] if isinstance(v, dict) else v for k, v in made.items()}, v6=v6,
               intercept=["--guard", "--allow", "10.90.0.0/16,fd00::/8,172.30.0.0/24"])
    trouble = Trouble(lab.host("target"))
    heard = lab.host("client").capture(f"src port 6379 and not host {lab.host('online').ip6 if v6 else lab.host('online').ip4}")
    appends(lab, 4, 200, at=lab.host("online").ip6 if v6 else None)
    assert equal(online, target) and closed(lab)
    assert trouble() == {}
    assert dropped(host, CAPTURED) > 4 * 200
    assert dropped(host, TABLE) == 0
    assert heard.stop().captured == 0
    assert all_complete(r.stop())
    assert tables(host) == ""


def test_an_interface_that_is_not_captured(lab):
    """What comes by it is lost for tcpcopy, and does not reach the client all the same."""
    target, assistant, client = (lab.host(name) for name in ("target", "assistant", "client"))
    over_vxlan(lab)
    forward(assistant)
    start(lab, "-i", "eth0", *GUARD)
    lab.echo = None
    tcpcopy, flow = FakeTcpcopy(lab), Flow(lab)
    tcpcopy.watch(flow)
    guards(lab)
    before, resets = client.nstat()["TcpInSegs"], target.nstat().get("TcpOutRsts", 0)
    flow.syn()      # nobody listens, so the target resets
    assert wait_until(lambda: target.nstat().get("TcpOutRsts", 0) > resets)
    assert wait_until(lambda: dropped(assistant, TABLE) == 1)
    assert client.nstat()["TcpInSegs"] == before


TAGGED = """
from scapy.all import *
conf.verb = 0
link = Ether(dst={mac!r}) / Dot1Q(vlan=5)
ip = IPv6 if ":" in {client!r} else IP
sendp(link / ip(src={target!r}, dst={client!r}) / TCP(sport={port}, dport={source}, flags="SA", seq=1, ack={ack}), iface="eth0")
"""


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_tagged_frames(lab, v6):
    """As the device below a VLAN device has them; the kernel has taken the tag off before the tap and the guard."""
    assistant, target = lab.host("assistant"), lab.host("target")
    forward(assistant)
    start(lab, "-i", "eth0", *GUARD)
    tcpcopy, flow = FakeTcpcopy(lab, v6=v6), Flow(lab, v6)
    tcpcopy.watch(flow)
    guards(lab, v6=v6)
    done = target.run(["/usr/bin/python3", "-c", TAGGED.format(mac=assistant.mac(), client=flow.client, target=flow.target,
                                                              port=PORT, source=flow.source, ack=flow.seq)])
    assert done.returncode == 0, done.stderr
    assert tcpcopy.response().flags == SYN | ACK
    assert wait_until(lambda: dropped(assistant, CAPTURED) == 1)

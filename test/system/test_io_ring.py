#!/usr/bin/python3
"""The capture ring, and the change between it and a wake-up for each packet (src/io/capture_*.c)."""
import os
import time

import pytest
from test_io import CLIENT, CLIENT6, transfer
from two_hosts import results

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
FILTER = "tcp dst port 6379"


def test_what_a_full_ring_loses_is_counted(hosts):
    a, b = hosts
    cap = b.capture("b0", FILTER, 0, 3, "incoming", "stall=1500", "ring=1M", "quiet", mode="ring")
    assert a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=20000")["packets"] == 20000
    _, counters = results(cap)
    assert counters["drops"] > 10000 and counters["freezes"] >= 1
    assert counters["packets"] + counters["drops"] == 20000
    assert counters["ring"] == counters["ring_most"] == 1 << 20
    assert counters["ring_used"] == 0


def test_a_full_ring_recovers(hosts):
    a, b = hosts
    cap = b.capture("b0", FILTER, 0, 4, "incoming", "stall=1000", "ring=1M", "age", mode="ring")
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=20000")
    time.sleep(1.2)
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=5000", "rate=10000", "seq=900000000")
    _, counters = results(cap)
    assert counters["packets"] + counters["drops"] == 25000
    assert counters["packets"] > 5000 and counters["disorder"] == 0


def test_a_slow_reader_keeps_what_comes_one_at_a_time(hosts):
    """Each millisecond's packets take a block, of which there are 32; copied aside they take their own size."""
    a, b = hosts
    cap = b.capture("b0", FILTER, 0, 4, "incoming", "ring=8M", "age", "budget=10", "pause=10", mode="ring")
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=3000", "rate=1500")
    _, counters = results(cap)
    assert counters["packets"] == 3000 and counters["drops"] == counters["disorder"] == 0
    assert counters["bytes"] == 3000 * (96 + 54)
    assert counters["aside"] > 1000


@pytest.mark.parametrize("budget", [1, 7, 256])
def test_every_packet_over_many_blocks(hosts, budget):
    """The ring is filled several times over, with lengths that leave a different rest of each
    block; polls end anywhere in a block."""
    a, b = hosts
    for source, to, length, headers in ((CLIENT, "10.91.0.2", 1, 54), (CLIENT, "10.91.0.2", 1411, 54),
                                        (CLIENT6, "fd91::2", 1290, 74)):
        count = 5 * (4 << 20) // (length + 200)
        cap = b.capture("b0", FILTER, 0, 2 + count / 100000, "incoming", "ring=4M", "age", f"budget={budget}",
                        mode="ring")
        a.send(source, 33800, to, 6379, length, f"count={count}")
        _, counters = results(cap)
        assert counters["packets"] + counters["drops"] == count
        assert counters["packets"] > count / 2
        assert counters["bytes"] == counters["packets"] * (length + headers)
        assert counters["truncated"] == counters["disorder"] == 0


@pytest.mark.parametrize("family,address", [("AF_INET", "10.91.0.2"), ("AF_INET6", "fd91::2")])
def test_super_packets_in_the_smallest_ring(hosts, family, address):
    a, b = hosts
    cap = b.capture("b0", FILTER, 0, 4, "incoming", "ring=1M", mode="ring")
    transfer(a, b, family, address, 40_000_000)
    packets, counters = results(cap)
    assert counters["truncated"] == 0 and all(p["captured"] == p["len"] for p in packets)
    whole = sum(int(p["payload"].split("/")[0]) for p in packets)
    assert whole >= 40_000_000 or counters["drops"] > 0
    assert max(p["len"] for p in packets) > 60000


# "tcp" does not see behind the header that says a packet's length where IPv6's own 16 bits do not.
JUMBO = FILTER + " or (ip6[6] = 0 and ip6[40] = 6 and ip6[42] = 0xc2 and ip6[50:2] = 6379)"


def test_big_tcp_is_whole(hosts, mode):
    a, b = hosts
    for h, dev in ((a, "a0"), (b, "b0")):
        h.ip(f"link set {dev} gso_max_size 400000 gro_max_size 400000")
    cap = b.capture("b0", JUMBO, 0, 3, "incoming", "quiet", mode=mode)
    transfer(a, b, "AF_INET6", "fd91::2", 20_000_000)
    packets, counters = results(cap)
    assert counters["truncated"] == 0
    assert counters["drops"] > 0 or counters["bytes"] > 20_000_000
    assert counters["bytes"] / counters["packets"] > 70000


@pytest.mark.parametrize("rate", [2000, 20000, 60000])
def test_nothing_is_lost_or_out_of_order_by_changing(hosts, rate):
    a, b = hosts
    count = rate * 4
    cap = b.capture("b0", FILTER, 0, 7, "incoming", "age", mode="alternate")
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 150, f"count={count}", f"rate={rate}")
    _, counters = results(cap)
    assert counters["turns"] > 40
    assert counters["packets"] + counters["drops"] == count
    assert counters["drops"] < count / 10 and counters["disorder"] == 0


def test_auto_follows_the_rate(hosts):
    a, b = hosts
    seq = 1000
    cap = b.capture("b0", FILTER, 0, 8, "incoming", "age")
    for rate, count in ((1000, 1000), (60000, 60000), (1000, 1000), (60000, 60000), (500, 500)):
        a.send(CLIENT, 33800, "10.91.0.2", 6379, 100, f"count={count}", f"rate={rate}", f"seq={seq}")
        seq += count * 100
    _, counters = results(cap)
    assert 4 <= counters["turns"] <= 12  # a stall of the machine looks like a change of the rate
    assert counters["packets"] + counters["drops"] == 122500 and counters["disorder"] == 0

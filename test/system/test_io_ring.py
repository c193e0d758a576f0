#!/usr/bin/python3
"""The capture ring, and the change between it and a wake-up for each packet (src/io/capture_*.c)."""
import os
import time

import pytest
from conftest import wait_until
from test_io import CLIENT, CLIENT6, transfer
from two_hosts import results

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
FILTER = "tcp dst port 6379"


def test_what_a_full_ring_loses_is_counted(hosts):
    a, b = hosts
    cap = b.capture("b0", FILTER, 20000, "incoming", "held", "ring=1M", "quiet", mode="ring")
    assert a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=20000")["packets"] == 20000
    cap.read()
    _, counters = results(cap)
    assert counters["drops"] > 10000 and counters["freezes"] >= 1
    assert counters["packets"] + counters["drops"] == 20000
    assert counters["ring"] == counters["ring_most"] == 1 << 20
    assert counters["ring_used"] == 0


def send_in_turns(a, capture, packets, most, *words, to=("10.91.0.2", 6379)):
    """So many packets, at most `most` of which have not been read. Words of `iotool send`."""
    sender = a.start(a.tool, "send", *words[:1], 33800, *to, *words[1:], f"count={packets}", f"batch={most}", "step")
    before = capture.ask()
    done = before["packets"] + before["drops"]
    for sent in range(most, packets + 1, most):
        print(file=sender.stdin, flush=True)
        assert sender.stdout.readline() == "sent\n"
        all_there = wait_until(lambda: (c := capture.ask())["packets"] + c["drops"] - done == sent, step=0.001)
        assert all_there, (sent, done, capture.ask())
    sender.communicate(timeout=120)


def test_a_full_ring_recovers(hosts):
    a, b = hosts
    cap = b.capture("b0", FILTER, 25000, "incoming", "held", "ring=1M", "age", mode="ring")
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 96, "count=20000")
    cap.read()
    assert wait_until(lambda: (c := cap.ask())["packets"] + c["drops"] == 20000)
    before = cap.ask()
    send_in_turns(a, cap, 5000, 500, CLIENT, 96, "seq=900000000")
    _, counters = results(cap)
    assert before["drops"] > 10000
    assert counters["packets"] == before["packets"] + 5000 and counters["drops"] == before["drops"]
    assert counters["disorder"] == 0


def test_a_slow_reader_keeps_what_comes_one_at_a_time(hosts):
    """Each packet takes a block, of which there are 32; copied aside they take their own size."""
    a, b = hosts
    cap = b.capture("b0", FILTER, 1000, "incoming", "ring=8M", "age", "budget=5", "step", mode="ring")
    sender = a.start(a.tool, "send", CLIENT, 33800, "10.91.0.2", 6379, 96, "count=1000", "batch=1", "step")
    for i in range(1000):
        print(file=sender.stdin, flush=True)
        assert sender.stdout.readline() == "sent\n"
        time.sleep(0.003)       # the block is retired by a timer of the kernel
        if i % 10 == 9:
            cap.ask()
    _, counters = results(cap)
    assert counters["packets"] == 1000 and counters["drops"] == counters["disorder"] == 0
    assert counters["bytes"] == 1000 * (96 + 54)
    assert counters["aside"] > 400


@pytest.mark.parametrize("budget", [1, 7, 256])
def test_every_packet_over_many_blocks(hosts, budget):
    """The ring is filled several times over, with lengths that leave a different rest of each
    block; polls end anywhere in a block."""
    a, b = hosts
    for source, to, length, headers in ((CLIENT, "10.91.0.2", 1, 54), (CLIENT, "10.91.0.2", 1411, 54),
                                        (CLIENT6, "fd91::2", 1290, 74)):
        most = (4 << 20) // 2 // (length + 200)
        cap = b.capture("b0", FILTER, 10 * most, "incoming", "ring=4M", "age", f"budget={budget}", mode="ring")
        send_in_turns(a, cap, 10 * most, most, source, length, to=(to, 6379))
        _, counters = results(cap)
        # Half of the ring is enough but for a reader that has no processor while a timer retires block after block.
        assert counters["packets"] + counters["drops"] == 10 * most
        assert counters["drops"] == 0 or counters["freezes"] >= 1
        assert counters["bytes"] == counters["packets"] * (length + headers)
        assert counters["truncated"] == counters["disorder"] == 0


@pytest.mark.parametrize("family,address", [("AF_INET", "10.91.0.2"), ("AF_INET6", "fd91::2")])
def test_super_packets_in_the_smallest_ring(hosts, family, address):
    a, b = hosts
    cap = b.capture("b0", FILTER, 0, "incoming", "ring=1M", mode="ring")
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
    cap = b.capture("b0", JUMBO, 0, mode=mode)
    transfer(a, b, "AF_INET6", "fd91::2", 20_000_000)
    packets, counters = results(cap)
    assert counters["truncated"] == 0 and all(p["captured"] == p["len"] for p in packets)
    assert counters["drops"] > 0 or sum(int(p["payload"].split("/")[0]) for p in packets) >= 20_000_000
    assert max(p["len"] for p in packets) > 70000


@pytest.mark.parametrize("rate", [2000, 20000, 60000])
def test_nothing_is_lost_or_out_of_order_by_changing(hosts, rate):
    """There is room for all of them at once, so that only changing can lose one."""
    a, b = hosts
    count = min(rate * 4, 120000)
    cap = b.capture("b0", FILTER, count, "incoming", "age", "buffer=256M", "ring=128M", mode="alternate")
    a.send(CLIENT, 33800, "10.91.0.2", 6379, 150, f"count={count}", f"rate={rate}")
    assert wait_until(lambda: cap.ask()["turns"] > 40)
    _, counters = results(cap)
    assert counters["packets"] == count and counters["drops"] == counters["disorder"] == 0


def test_auto_follows_the_rate(hosts):
    """In a ring at 60000 packets/s, without one at 500. A busy machine is slow to see that, and a stall looks like
    a change of the rate, but it does not change all the time."""
    a, b = hosts
    begun, seq, sent = time.monotonic(), 1000, 0
    cap = b.capture("b0", FILTER, 0, "incoming", "age")
    for in_ring, rate in ((0, 500), (1, 60000), (0, 500), (1, 60000), (0, 500)):
        for _ in range(30):
            count = rate // 5
            a.send(CLIENT, 33800, "10.91.0.2", 6379, 100, f"count={count}", f"rate={rate}", f"seq={seq}")
            seq, sent = seq + count * 100, sent + count
            if cap.ask()["turns"] % 2 == in_ring:
                break
        else:
            pytest.fail(f"at {rate} packets/s: {cap.ask()['text']}")
    assert wait_until(lambda: (c := cap.ask())["packets"] + c["drops"] == sent)
    _, counters = results(cap)
    windows = (time.monotonic() - begun) / 0.05
    assert 4 <= counters["turns"] <= 4 + windows / 4 and counters["disorder"] == 0


def test_auto_is_quick_where_few_wait(hosts):
    """At a rate that leads into the ring, and stays there without the word. A busy machine may be late, which does, too."""
    a, b = hosts
    cap = b.capture("b0", FILTER, 0, "incoming", "age", "prompt")
    outside = 0
    for i in range(30):
        a.send(CLIENT, 33800, "10.91.0.2", 6379, 100, "count=6000", "rate=30000", f"seq={1000 + i * 600000}")
        outside += i > 4 and cap.ask()["turns"] % 2 == 0
        if outside == 3:
            break
    else:
        pytest.fail(cap.ask()["text"])
    assert wait_until(lambda: (c := cap.ask())["packets"] + c["drops"] == (i + 1) * 6000)
    results(cap)

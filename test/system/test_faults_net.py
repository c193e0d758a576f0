#!/usr/bin/python3
"""A network that loses, delays and reorders: the target executes every command once and in order.

The servers hold, for each connection, the text of all its commands in the order of execution; their
digests are compared, and how often each command was executed.
"""

import pytest
from workload import Trouble, all_complete, appends, closed, dropped, equal, pair, pace


@pytest.mark.parametrize("ways", [("to",), ("to", "from")], ids=["towards", "both ways"])
@pytest.mark.parametrize("rate, commands", [(0.001, 1000), (0.01, 400), (0.05, 150)])
def test_loss_at_the_target(lab, replay, rate, commands, ways):
    online, target = pair(lab)
    r = replay()
    trouble = Trouble(lab.host("target"))
    for way in ways:
        lab.loss("target", way, rate)
    appends(lab, connections=10, commands=commands)
    equal(online, target)
    lost = dropped(lab)
    lab.loss_off()
    assert all(lost["target", way] > 0 for way in ways), lost
    assert closed(lab)
    assert trouble() == {}
    assert all_complete(r.stop())


def test_lost_fin_of_the_target(lab, replay):
    """Its answer to our FIN sent again is an ACK behind its own FIN, which is not to be taken for data."""
    online, target = pair(lab)
    r = replay()
    lab.loss("target", "from", every=1000, match="ip protocol tcp tcp flags & fin == fin")
    appends(lab, connections=1, commands=3)
    equal(online, target)
    assert closed(lab)
    assert dropped(lab) == {("target", "from"): 1}
    assert all_complete(r.stop())


@pytest.mark.parametrize("ways", [("to",), ("to", "from")], ids=["towards", "both ways"])
def test_loss_of_large_values(lab, replay, ways):
    """Several segments in flight: fast retransmission and SACK do the repair."""
    online, target = pair(lab)
    r = replay()
    trouble = Trouble(lab.host("target"))
    for way in ways:
        lab.loss("target", way, every=50)
    pace(lab, 10)
    appends(lab, connections=5, commands=60, size=16384)
    equal(online, target)
    lost = dropped(lab)
    lab.loss_off()
    assert all(lost["target", way] > 0 for way in ways), lost
    assert closed(lab)
    assert trouble() == {}
    assert all_complete(r.stop())


@pytest.mark.parametrize("milliseconds", [5, 50])
def test_delay(lab, replay, milliseconds):
    online, target = pair(lab)
    lab.delay("target", milliseconds * 1000)
    r = replay()
    trouble = Trouble(lab.host("target"))
    appends(lab, connections=10, commands=100)
    equal(online, target)
    assert closed(lab)
    assert trouble() == {}
    assert all_complete(r.stop())


@pytest.mark.parametrize("size", [0, 16384])
def test_loss_at_the_client(lab, replay, size):
    """The client repairs it; what is captured has holes for a while, and some of it twice."""
    online, target = pair(lab)
    r = replay()
    trouble = Trouble(lab.host("target"))
    lab.loss("online", "to", 0.02, match=f"ip saddr {lab.host('client').ip4}")
    lab.loss("online", "from", 0.02, match=f"ip daddr {lab.host('client').ip4}")
    appends(lab, connections=5, commands=60, size=size)
    assert all(dropped(lab).values())
    lab.loss_off()
    equal(online, target)
    assert closed(lab)
    assert trouble() == {}
    assert all_complete(r.stop())


@pytest.mark.parametrize("host", ["target", "client"])
def test_reordered_and_duplicated(lab, replay, host):
    online, target = pair(lab)
    faults = {"reorder": 0.05, "gap": 2000, "dup": 0.02}
    relay = lab.faults(host, from_=faults, to=faults, seed=7)
    r = replay()
    appends(lab, connections=5, commands=40, size=8192)
    appends(lab, connections=5, commands=200)
    equal(online, target)
    counts = relay.counters()
    assert all(counts[way][what] > 0 for way in ("from", "to") for what in ("reordered", "duplicated")), counts
    assert closed(lab)
    assert all_complete(r.stop())

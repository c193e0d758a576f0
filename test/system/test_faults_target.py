#!/usr/bin/python3
"""A target that stops for a while: nothing is lost that the session may hold, and nothing is sent twice."""

import os
import signal
import threading
import time

import pytest
from workload import Trouble, all_complete, appends, closed, equal, pace, pair


@pytest.mark.parametrize("size", [0, 20_000], ids=["small", "its window closes"])
def test_stopped_for_seconds(lab, replay, size):
    online, target = pair(lab)
    if size:
        pace(lab, 4)
    r = replay()
    trouble = Trouble(lab.host("target"))
    work = threading.Thread(target=appends, args=(lab, 5, 100 if size else 2000, size))
    os.kill(target.pid, signal.SIGSTOP)
    try:
        work.start()
        work.join()
        time.sleep(4)       # longer than a request waits for its turn
    finally:
        os.kill(target.pid, signal.SIGCONT)
    equal(online, target)
    assert closed(lab)
    # a kernel answers one probe of its zero window in half a second; Linux as a client asks as often as we do. And on a
    # busy machine its ACKs may be so late that something is sent again twice in that time.
    skipped = trouble()
    assert set(skipped) <= {"TcpExtTCPACKSkippedSeq"}
    assert size or sum(skipped.values()) <= 5
    account = r.stop()
    assert all_complete(account)
    if size:
        assert account["engine.window_probes"] > 0

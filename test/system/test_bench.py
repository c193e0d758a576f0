#!/usr/bin/python3
"""bench/run: its smallest step gives figures that make sense, and an interrupted run leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE, TOP, wait_until

sys.path.insert(0, str(TOP / "bench"))

import turn                                                         # noqa: E402
from endtoend import profile                                        # noqa: E402
from labnet.lab import lab_directory                                # noqa: E402
from labnet.netns import namespaces                                 # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

RUN = [str(TOP / "bench" / "run"), "--quick", "--runs", "1"]


def test_smallest_step(tmp_path):
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- results: delay -->\nold\n<!-- end of results -->\nbetween\n"
                        "<!-- results: work -->\nkept\n<!-- end of results -->\n")
    argv = [*RUN, "--sections", "delay", "-k", "1000 *", "--out", tmp_path / "out", "--document", document]
    done = subprocess.run(argv, text=True, capture_output=True, timeout=5 * PATIENCE)
    assert done.returncode == 0, done.stderr

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results) == ["delay"]
    delay = results["delay"]
    assert delay["failed"] == delay["skipped"] == {} and list(delay["rows"]) == ["1,000 packets/s"]
    figures = delay["rows"]["1,000 packets/s"]
    assert set(figures) <= set(delay["columns"])
    for figure in figures.values():
        assert len(figure["values"]) == 1 and figure["least"] <= figure["median"] <= figure["greatest"]
    assert figures["unmatched"]["values"] == [0]
    assert 0 < figures["p50"]["median"] <= figures["p99"]["median"] <= figures["most"]["median"]
    assert "kernel" in delay["machine"] and delay["size"] < 1

    text = document.read_text()
    assert "| 1,000 packets/s | 1 |" in text and "not to be relied on" in text and "old" not in text
    assert text.startswith("before\n") and "between\n<!-- results: work -->\nkept\n<!-- end of results -->\n" in text
    assert "| 1,000 packets/s | 1 |" in (tmp_path / "out" / "results.md").read_text()

    # all of it is there already
    before = (tmp_path / "out" / "delay.json").read_text()
    assert subprocess.run([*argv, "--resume"], capture_output=True, timeout=5 * PATIENCE).returncode == 0
    assert (tmp_path / "out" / "delay.json").read_text() == before


SAMPLES = """
   41
	ffffffff81000001 tcp_v4_rcv
	ffffffff81000002 net_rx_action
	ffffffff81000003 handle_softirqs
	ffffffff81000004 __local_bh_enable_ip
	ffffffff81000005 packet_snd

   41
	ffffffff81000005 packet_snd
	    55d0a0001234 [unknown]

   42
	    55d0a0004321 turn_response

   41
	ffffffff81000006 ktime_get
	ffffffff81000007 __do_softirq

"""


def test_shares():
    """A sample is a program's own if no softirq is on its stack."""
    assert profile.shares(SAMPLES) == {41: (3, 1), 42: (1, 1)} and profile.shares("") == {}


def test_turns():
    """A turn has its steps in order; one that lacks a step is left out, and one between two turns ends neither."""
    steps = [step[:2] for step in turn.STEPS]
    found = [(number / 1e6, *step) for number, step in enumerate(steps + steps[1:3] + steps[:1] + steps[1:])]
    whole, begun = turn.turns(found)
    assert begun == 4 and [[round(us) for us in each] for each in whole] == [[1] * 7, [1] * 7]


def test_interrupted(tmp_path):
    running = subprocess.Popen([*RUN, "--sections", "work", "--out", tmp_path], stderr=subprocess.DEVNULL)
    prefix = f"lab{running.pid}"
    try:
        assert wait_until(lambda: len(namespaces(prefix)) >= 5 or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130
    finally:
        running.kill()
    assert namespaces(prefix) == [] and not lab_directory(prefix).exists()


@pytest.mark.parametrize("option, value", [("--sections", "work,nothing"), ("--runs", "0")])
def test_wrong_words(option, value):
    done = subprocess.run([str(TOP / "bench" / "run"), option, value], text=True, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 2 and "accepted:" in done.stderr

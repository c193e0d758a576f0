#!/usr/bin/python3
"""The order of turns, judged by a server: no request comes before the answer that its client had read."""

import json
import pathlib
import socket
import threading
import time

import pytest
from conftest import wait_until
from workload import ask, closed, connect

PORT = 7000
CONNECTIONS, REQUESTS = 8, 60
HOLD = ["--hold", "60s"]
SERVER = pathlib.Path(__file__).with_name("turns_server.py")
# bytes of answer, in turn: each is one write of the server, which leaves it at once
ONE_WRITE = (5, 400, 3000, 6000, 1, 1448)
# several writes, with whatever pauses the machine makes between them
WRITES = (5, 40_000, 1, 90_000)


class Judge:
    def __init__(self, lab, name, *behaviour):
        host = lab.host(name)
        self.log = lab.new_path(f"{name}-turns.log")
        self.process = host.popen(["/usr/bin/python3", SERVER, PORT, self.log, *behaviour])
        assert host.wait_listening(PORT, lambda: self.process.poll() is None)

    def all(self):
        """Each connection that has ended, in the order in which they were accepted."""
        return sorted((json.loads(line) for line in self.log.read_text().splitlines()), key=lambda talk: talk["began"])

    def talks(self):
        """By client, once the connection has ended."""
        return {talk["client"]: talk for talk in self.all()}

    def requests(self):
        return sum(len(talk["numbers"]) for talk in self.all())


def converse(lab, sizes, think):
    with connect(lab, PORT) as connection:
        for number in range(REQUESTS):
            size = sizes[number % len(sizes)]
            connection.sendall(f"{number} {size} {'x' * (number * 37 % 2000)}\n".encode())
            got = 0
            while got < size:
                got += len(connection.recv(1 << 17))
            time.sleep(think)


def judged(lab, replay, behaviour, sizes=ONE_WRITE, think=0.0, tcpcopy=()):
    """The target's talks, which are the online server's as far as the client's part goes, and the account."""
    lab.route_to_assistant("client")
    online, target = Judge(lab, "online"), Judge(lab, "target", *behaviour)
    # a slow machine's copies fall behind, and no turn is to go because it has waited for too long
    r = replay(port=PORT, tcpcopy=tcpcopy or HOLD)
    clients = [threading.Thread(target=converse, args=(lab, sizes, think)) for _ in range(CONNECTIONS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert wait_until(lambda: len(online.talks()) == len(target.talks()) == CONNECTIONS)
    assert closed(lab, PORT)
    there, here = online.talks(), target.talks()
    for client, talk in there.items():
        assert talk["numbers"] == list(range(REQUESTS)) and talk["early"] == []
        assert here[client]["numbers"] == talk["numbers"]
        assert here[client]["sha256"] == talk["sha256"]
    account = r.stop()
    assert account.outcomes() == {"complete": CONNECTIONS}
    return here.values(), account


def early(talks):
    return [request for talk in talks for request in talk["early"]]


@pytest.mark.parametrize("think", [0, 0.002])
@pytest.mark.parametrize("delay", [0, 5], ids=["as fast", "slower"])
def test_answers_of_the_same_length(lab, replay, delay, think):
    talks, account = judged(lab, replay, ["1", delay], think=think)
    assert early(talks) == []
    assert account["engine.released_on_answer"] == account["engine.turns"]


@pytest.mark.parametrize("packets", ["large", "of one MSS"])
@pytest.mark.parametrize("delay", [0, 5], ids=["as fast", "slower"])
def test_longer_answers(lab, replay, delay, packets):
    """What follows the release is not the beginning of the next answer, in however many packets it comes.

    A machine that stands still between two packets makes some pauses; what it does not make is one in each turn.
    """
    lab.offload("target", packets == "large")
    talks, account = judged(lab, replay, ["2", delay])
    some = account["engine.turns"] // 10
    # what such an answer sends after the release may count for the next turn (doc/SESSION.md, Limits)
    assert len(early(talks)) <= some
    assert account["engine.turns"] - account["engine.released_on_answer"] <= some


@pytest.mark.parametrize("delay", [0, 5], ids=["as fast", "slower"])
def test_shorter_answers(lab, replay, delay):
    """As much as its client had read never comes; the pause after the answer releases the next request."""
    talks, account = judged(lab, replay, ["0.5", delay])
    assert early(talks) == []
    assert account["engine.released_on_pause"] > 0


def test_answers_in_several_writes(lab, replay):
    """A pause between two writes looks like the end of a shorter answer; then, and only then, a request may be early."""
    talks, account = judged(lab, replay, ["1"], sizes=WRITES)
    assert not early(talks) or account["engine.released_on_pause"] > 0


def test_order_is_not_kept_without_waiting(lab, replay):
    """What -W is for; and the proof that the judge sees it."""
    talks, _ = judged(lab, replay, ["1", 20], tcpcopy=["-W"])
    assert early(talks)


@pytest.mark.parametrize("requests", [1, 7])
@pytest.mark.parametrize("factor", ["0.1", "0.5", "1", "2", "5"],
                         ids=["much shorter", "shorter", "as long", "longer", "much longer"])
def test_the_target_closes_sooner(lab, replay, factor, requests):
    """What waits when the target has closed goes to a connection of its own, in order. What is on its way then, which it
    is where the answer was as long as the online server's, goes there as well, for a RST says that nobody has read it;
    unless it came before the server had closed, whose RST then comes without a FIN.
    """
    lab.route_to_assistant("client")
    lab.delay("target", 4000)       # longer than a server takes to close behind its answer
    online, target = Judge(lab, "online"), Judge(lab, "target", factor, 0, requests)
    r = replay(port=PORT, tcpcopy=HOLD)
    clients = [threading.Thread(target=converse, args=(lab, ONE_WRITE, 0)) for _ in range(CONNECTIONS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert wait_until(lambda: len(online.talks()) == CONNECTIONS)

    def missing():
        """A turn that came before a busy target had closed is reset, and lost with its connection."""
        ended = r.tcpcopy.status()["account"]["ended"]
        return CONNECTIONS * REQUESTS - target.requests() - ended["target-reset"]

    assert wait_until(lambda: missing() == 0) and closed(lab, PORT), missing()
    assert target.requests() > CONNECTIONS * REQUESTS * 0.75      # a long answer takes several writes
    served = {}
    for talk in target.all():
        served.setdefault(talk["client"], []).extend(talk["numbers"])
    account = r.stop()
    for numbers in served.values():
        assert numbers == sorted(set(numbers))
    assert set(account.outcomes()) <= {"complete", "target-closed", "target-reset"}
    assert account["engine.sessions_opened"] == CONNECTIONS
    assert account["engine.sessions_continued"] == account["engine.sessions_joined"] > 0
    if float(factor) < 1:
        # a busy target may not have closed yet when the pause after its answer is over: a turn is on its way, too
        if not account["ended.target-reset"]:
            assert served == {client: talk["numbers"] for client, talk in online.talks().items()}
            assert account["engine.lost_bytes"] == 0
    else:
        assert account["engine.turns_resent"] > account["ended.target-reset"]


def test_answers_that_never_come(lab, replay):
    """--hold is waited for once; then the session knows it."""
    hold = 10
    lab.route_to_assistant("client")
    Judge(lab, "online")
    with lab.host("target").inside():
        silent = socket.create_server(("0.0.0.0", PORT))
    r = replay(port=PORT, tcpcopy=["--hold", f"{hold}s"])
    with connect(lab, PORT) as connection:
        ask(connection, "0 2 x", b"\n")
        taken, got = silent.accept()[0], b""
        begun = time.monotonic()
        for number in range(1, 6):      # each when the one before has arrived: it costs its own time
            ask(connection, f"{number} 2 x", b"\n")
            while got.count(b"\n") < number + 1:
                got += taken.recv(1 << 16)
        seconds = time.monotonic() - begun
    taken.close()
    silent.close()
    account = r.stop()
    assert got.split() == b"".join(b"%d 2 x\r\n" % n for n in range(6)).split()
    assert account["engine.released_on_deadline"] >= 5
    assert hold - 1 < seconds < 2 * hold, seconds

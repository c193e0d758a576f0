#!/usr/bin/python3
"""The target executes what the online server executed, and nothing else: the server's kernel is the judge."""

import json
import pathlib
import sys

import pytest
from conftest import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from crafted import CASES                                           # noqa: E402

HERE = pathlib.Path(__file__).parent
PORT = 7000
FIRST_PORT = 50000


class Recorder:
    """test/system/recorder.py in a host."""

    def __init__(self, lab, name):
        host = lab.host(name)
        self.log = lab.new_path(f"{name}-recorder.log")
        self.process = host.popen(["/usr/bin/python3", HERE / "recorder.py", PORT, self.log])
        assert host.wait_listening(PORT, lambda: self.process.poll() is None)

    def talks(self):
        """What each client said, and how it ended."""
        if not self.log.exists():
            return {}
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return {talk["client"]: (talk["bytes"], talk["end"]) for talk in lines}


def craft(lab, case, number):
    """Let the client host say it; its address and port."""
    client, online = lab.host("client"), lab.host("online")
    done = client.run(["/usr/bin/python3", HERE / "crafted.py", client.ip4, online.ip4, PORT, FIRST_PORT + number, case],
                      timeout=30)
    assert not done.returncode, (case, done.stderr)
    return f"{client.ip4}:{FIRST_PORT + number}"


@pytest.fixture(name="world")
def _world(lab, replay):
    lab.route_to_assistant("client")
    online, target = Recorder(lab, "online"), Recorder(lab, "target")
    lab.host("client").run(["nft", "add table ip crafted; add chain ip crafted out { type filter hook output priority 0; }; "
                            f"add rule ip crafted out tcp sport {FIRST_PORT}-{FIRST_PORT + 999} tcp flags rst "
                            "ip id 0 drop"])
    return online, target, replay(port=PORT)


def test_of_each_ambiguity_the_target_gets_what_the_server_took(lab, world):
    online, target, running = world
    said = {case.__name__: craft(lab, case.__name__, number) for number, case in enumerate(CASES)}
    assert wait_until(lambda: set(said.values()) <= set(online.talks())), (said, online.talks())
    wait_until(lambda: set(said.values()) <= set(target.talks()))
    there, here = online.talks(), target.talks()
    differ = {case: (there[who], here.get(who)) for case, who in said.items() if there[who] != here.get(who)}
    assert not differ, (differ, running.tcpcopy.log)
    account = running.stop()
    assert account["refused.*"] >= 8 and account["live.doubtful"] == 0


def test_what_the_host_forwards_is_not_its_own(lab, world):
    """A container's request to a service elsewhere on the same port passes the online host."""
    online, target, running = world
    client, host, elsewhere = lab.host("client"), lab.host("online"), lab.host("assistant")
    host.sysctl(net__ipv4__ip_forward=1)
    server = elsewhere.popen(["/usr/bin/python3", HERE / "recorder.py", PORT, lab.new_path("elsewhere.log")])
    assert elsewhere.wait_listening(PORT, lambda: server.poll() is None)
    client.run(["ip", "route", "add", elsewhere.ip4, "via", host.ip4])
    ask = "import socket,sys; s = socket.create_connection((sys.argv[1], {0})); s.sendall(b'mine'); s.recv(9)".format(PORT)
    for to in (elsewhere.ip4, host.ip4):
        client.run(["/usr/bin/python3", "-c", ask, to])
    assert wait_until(lambda: online.talks() and target.talks()), running.tcpcopy.log
    account = running.stop()
    assert len(target.talks()) == 1 and set(target.talks()) == set(online.talks())
    assert account["classify.foreign"] > 0
    assert account["engine.sessions_opened"] == 1

#!/usr/bin/python3
"""The target executes what the online server executed, and nothing else: the server's kernel is the judge."""

import json
import pathlib
import re
import sys

import pytest
from conftest import built, run_all, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from crafted import CASES, CASES4, CASES6, HANDSHAKES               # noqa: E402
from workload import Load, pair, writes                             # noqa: E402

HERE = pathlib.Path(__file__).parent
PORT = 7000
FIRST_PORT = 50000


class Recorder:
    """test/system/recorder.py in a host."""

    def __init__(self, lab, name, *more):
        host = lab.host(name)
        self.log = lab.new_path(f"{name}-recorder.log")
        self.process = host.popen(["/usr/bin/python3", HERE / "recorder.py", PORT, self.log, *more])
        assert host.wait_listening(PORT, lambda: self.process.poll() is None)

    def talks(self):
        """What each client said, and how it ended."""
        if not self.log.exists():
            return {}
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return {talk["client"]: (talk["bytes"], talk["end"]) for talk in lines}


def craft(lab, cases, v6):
    """Let the client host say them, side by side; {case: its address and port}."""
    client, online = [host.ip6 if v6 else host.ip4 for host in map(lab.host, ("client", "online"))]
    said = {case.__name__: FIRST_PORT + number for number, case in enumerate(cases)}
    run_all(lab.host("client"), [["/usr/bin/python3", HERE / "crafted.py", client, online, PORT, port, case]
                                 for case, port in said.items()])
    return {case: f"{client}:{port}" for case, port in said.items()}


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
def test_of_each_ambiguity_the_target_gets_what_the_server_took(lab, replay, v6):
    lab.route_to_assistant("client")
    lab.offload("online", False)    # or nobody looks at checksums
    online, target = Recorder(lab, "online"), Recorder(lab, "target")
    # the client's kernel knows nothing of these connections, and shall not say so
    lab.host("client").check_output(["nft", "add table inet crafted; add chain inet crafted out { type filter hook output "
                                     "priority 0; }; add rule inet crafted out "
                                     f"tcp sport {FIRST_PORT}-{FIRST_PORT + 999} tcp flags rst "
                                     + ("ip6 hoplimit 64 drop" if v6 else "ip id 0 drop")])
    running = replay(port=PORT, v6=v6)
    said = craft(lab, [case for case in CASES + HANDSHAKES + CASES6 if case not in (CASES4 if v6 else CASES6)], v6)
    assert wait_until(lambda: set(said.values()) <= set(online.talks())), (said, online.talks())
    wait_until(lambda: set(said.values()) <= set(target.talks()))
    there, here = online.talks(), target.talks()
    differ = {case: (there[who], here.get(who)) for case, who in said.items() if there[who] != here.get(who)}
    assert not differ, (differ, running.tcpcopy.log)
    account = running.stop()
    assert account["refused.*"] >= 8 and account["live.doubtful"] == 0


def test_what_the_host_forwards_is_not_its_own(lab, replay):
    """A container's request to a service elsewhere on the same port passes the online host."""
    lab.route_to_assistant("client")
    online, target = Recorder(lab, "online"), Recorder(lab, "target")
    running = replay(port=PORT)
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


@pytest.fixture(name="good")
def _good(lab, replay):
    """A load of redis commands between two servers, and the two programs; whatever else happens, all of it arrives."""
    lab.route_to_assistant("client")
    lab.host("target").run(["ip", "route", "add", "10.64.0.0/16", "via", lab.host("assistant").ip4])
    online, target = pair(lab)
    running = replay()
    load = Load(lab)
    assert wait_until(lambda: writes(target).get("append", 0) > 100)

    def finish():
        load.stop()
        assert wait_until(lambda: writes(online).get("append", 0) == writes(target).get("append", 0)), running.tcpcopy.log
        return running.stop()
    return online, target, finish


def spoof(lab, *what):
    client, online = lab.host("client"), lab.host("online")
    client.check_output([built("spoof"), online.ip4, 6379, *what])


def info(server, name):
    return int(re.search(rf"{name}:(\d+)", server.cli("info"))[1])


def test_a_packet_without_a_handshake_is_executed_nowhere(lab, good):
    online, target, finish = good
    spoof(lab, "data", 3000, 100000)
    account = finish()
    assert not online.cli("get", "hacked").strip() and not target.cli("get", "hacked").strip()
    assert account["engine.sessions_joined"] == 0
    assert account["declined.not_there"] + account["declined.unproved"] > 0, account.log


def test_a_flood_of_syns_is_no_flood_of_connections(lab, good):
    """The online kernel holds it off; the target has as many connections as the online server has accepted."""
    online, target, finish = good
    before = [info(server, "total_connections_received") for server in (online, target)]
    spoof(lab, "syn", 12000, 4000)
    account = finish()
    after = [info(server, "total_connections_received") for server in (online, target)]
    assert after[1] - before[1] <= after[0] - before[0] + 20, (before, after)    # those of the load at that moment
    assert account["engine.sessions_opened"] > 5000, account.log


def test_the_online_server_aborts_and_so_does_the_copy(lab, replay):
    """Its client says nothing more, so only its reset tells."""
    lab.route_to_assistant("client")
    online, target = Recorder(lab, "online", "--abort"), Recorder(lab, "target")
    running = replay(port=PORT)
    client = lab.host("client")
    talk = ("import socket, sys; c = [socket.create_connection((sys.argv[1], 7000)) for _ in range(20)]; "
            "[s.sendall(b'hello') for s in c]; [s.recv(9) for s in c]; [s.settimeout(60) for s in c]\n"
            "for s in c:\n  try:\n    s.recv(9)\n  except ConnectionResetError:\n    pass\n")
    assert not client.run(["/usr/bin/python3", "-c", talk, lab.host("online").ip4], timeout=60).returncode
    assert wait_until(lambda: len(target.talks()) == 20), (online.talks(), target.talks(), running.tcpcopy.log)
    assert {end for _, end in target.talks().values()} == {"ConnectionResetError"}
    account = running.stop()
    assert account.outcomes() == {"server-reset": 20}, account.log


# It resets a connection whose request ends with "!", and closes one that its client closes.
RESETTING = """
import json, socket, struct, sys, threading
log = open(sys.argv[2], "a", buffering=1)
def serve(c):
    got = b""
    try:
        while more := c.recv(999):
            got += more
            c.sendall(b"x" * len(more))
            if got.endswith(b"!"):
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                break
    except OSError:
        pass
    c.close()
    log.write(json.dumps(got.decode()) + "\\n")
listener = socket.create_server(("", int(sys.argv[1])), backlog=4096)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"""
HURRY = """
import socket, struct, sys, time
for n in range(40):
    for attempt in range(200):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", 30000))
        s.settimeout(60)
        try:
            s.connect((sys.argv[1], int(sys.argv[2])))
            break
        except OSError:
            s.close()
            time.sleep(0.01)
    for turn in range(n % 5 + 1):
        s.sendall(b"%d.%d " % (n, turn))
        s.recv(99)
    if n % 2:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        s.sendall(b"!")
        try:
            while s.recv(9):
                pass
        except ConnectionResetError:
            pass
    s.close()
"""


def test_a_port_is_used_again_as_soon_as_the_server_has_reset(lab, replay):
    """By the next connection, while requests of the one before are on their way: the server has executed them."""
    lab.route_to_assistant("client")
    logs = []
    for host in map(lab.host, ("online", "target")):
        logs.append(lab.new_path(f"{host.name}-resetting.log"))
        server = host.popen(["/usr/bin/python3", "-c", RESETTING, PORT, logs[-1]])
        assert host.wait_listening(PORT, lambda server=server: server.poll() is None)
    running = replay(port=PORT)
    lab.host("client").check_output(["/usr/bin/python3", "-c", HURRY, lab.host("online").ip4, PORT])

    def executed():
        return [sorted(log.read_text().splitlines()) for log in logs]
    assert wait_until(lambda: len(executed()[0]) == len(executed()[1]) == 40), (executed(), running.tcpcopy.log)
    assert executed()[0] == executed()[1], running.tcpcopy.log
    running.stop()

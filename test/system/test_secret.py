#!/usr/bin/python3
"""Who may use the channel: secrets, --allow, and peers that connect only to be in the way."""

import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from conftest import BIN, PATIENCE, Program, wait_until
from test_intercept import CHANNEL_PORT, FINDINGS, PING, PONG, PORT, PROBE, TAKEN, WATCH, FakeTcpcopy, Flow, endpoint
from workload import all_complete, appends, ask, closed, connect, equal, pair

SECRET = "correct horse battery staple"
DIFFER = "the secrets of the two ends differ; give both the same --secret FILE"


def secret_file(path, content=SECRET, mode=0o600):
    path.write_text(content + "\n")
    path.chmod(mode)
    return path


def tcpcopy(lab, *args, host="online"):
    """A tcpcopy that is expected to give up: its status and its words."""
    result = lab.host(host).run([BIN / "tcpcopy", "-x", f"6379-{lab.host('target').ip4}:6379",
                                 "-s", lab.host("assistant").ip4, *args], timeout=PATIENCE)
    return result.returncode, result.stdout + result.stderr


def counted(log, words):
    return sum(int(n) for n in re.findall(rf"^intercept: +(\d+) +{words}", log, re.M))


@pytest.mark.parametrize("program", ["tcpcopy", "intercept"])
@pytest.mark.parametrize("content, mode, words", [
    (SECRET, 0o644, "its mode is 0644, so others than its owner can access it; chmod 600 {path}; accepted: a file of"),
    ("too short", 0o600, "it has 9 bytes, not counting trailing newlines, but needs at least 16; head -c 32 /dev/urandom"),
    (None, 0, "No such file or directory; accepted: a file of 16 to 4096 bytes that root or this user owns"),
])
def test_bad_secret_file(tmp_path, program, content, mode, words):
    path = tmp_path / "secret"
    if content:
        secret_file(path, content, mode)
    result = subprocess.run([BIN / program, "--secret", path], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert f'{program}: option --secret "{path}": {words.format(path=path)}' in result.stderr
    assert "horse" not in result.stderr


@pytest.mark.parametrize("value", ["", "10.0.0.0/33", "10.0.0.0/8,", "host.invalid", "fd00::/129"])
def test_bad_allow(value):
    result = subprocess.run([BIN / "intercept", "--allow", value], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.startswith(f'intercept: option --allow "{value}": ')


def test_guard_of_anybody():
    """Whoever may announce a target says what this host does not forward."""
    result = subprocess.run([BIN / "intercept", "--guard"], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("intercept: option --guard: needs --secret FILE or --allow PREFIX")


@pytest.mark.parametrize("workers", [1, 2])
def test_replication_with_a_secret(lab, replay, workers):
    """Everything goes as without, and nothing can be read on the way or in the list of processes."""
    online, target = pair(lab)
    here, there = (secret_file(lab.new_path(f"secret-{host}")) for host in ("online", "assistant"))
    wire = lab.host("assistant").capture(f"tcp port {CHANNEL_PORT}")
    copy = replay(tcpcopy=["--secret", here, "--workers", workers],
                  intercept=["--secret", there, "--workers", workers])
    appends(lab, connections=4 * workers, commands=200)
    assert equal(online, target)
    for program in (copy.tcpcopy, copy.intercept):
        with open(f"/proc/{program.process.pid}/cmdline", "rb") as cmdline:
            assert b"horse" not in cmdline.read()
        assert "encrypted" in program.log and "plain" not in program.log and "no secret" not in program.log
    assert closed(lab)
    account = copy.stop()
    assert all_complete(account) and account["channel.connects"] == workers * workers
    wire.stop()
    seen = wire.path.read_bytes()
    assert len(seen) > 10000
    for clear in (b"TCPC", b"tcpcopy\0", b"intercept\0"):
        assert clear not in seen


def test_who_has_not_the_secret(lab, tmp_path):
    """Another secret, none at one end, and a stranger's TLS: told in words at both ends."""
    good, other = secret_file(tmp_path / "good"), secret_file(tmp_path / "other", SECRET + "s")
    assistant = lab.host("assistant")
    server = Program(assistant, "intercept", "-i", "eth0", "--secret", good).wait_ready()

    status, words = tcpcopy(lab, "--check", "--secret", other)
    assert status == 1 and f"accepts the connection, but: {DIFFER}" in words
    status, words = tcpcopy(lab, "--secret", other)
    assert status == 1 and DIFFER in words and "start intercept" not in words
    assert wait_until(lambda: re.search(rf"connection from .* refused: {DIFFER}", server.log))
    status, words = tcpcopy(lab)
    assert status == 1 and "a secret is needed here; give both ends the same --secret FILE" in words
    # The log is limited to a line a second of this kind, so it may take another attempt.
    assert wait_until(lambda: tcpcopy(lab)[0] == 1 and
                      "refused: this end has a secret and the peer has none" in server.log)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with lab.host("online").inside():
        stranger = socket.create_connection((assistant.ip4, CHANNEL_PORT))
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(stranger)
    log = server.stop()
    assert counted(log, "connections refused: over a limit, or no valid HELLO") >= 5
    assert counted(log, "tcpcopy connections") == 0

    server = Program(assistant, "intercept", "-i", "eth0").wait_ready()
    assert "has no secret (--secret)" in server.log
    status, words = tcpcopy(lab, "--secret", good)
    assert status == 1 and "this end has a secret and the peer has none" in words
    assert wait_until(lambda: "refused: the peer has a secret" in server.log
                      or "refused: peer closed: a secret is needed here" in server.log)
    server.stop()

    # Somebody in the assistant's place, who has a certificate but not the secret.
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=assistant", "-days", "2", "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with assistant.inside():
        listener = socket.create_server((assistant.ip4, CHANNEL_PORT))

    def impersonate():
        with pytest.raises(OSError):
            context.wrap_socket(listener.accept()[0], server_side=True).recv(1)

    thread = threading.Thread(target=impersonate)
    thread.start()
    status, words = tcpcopy(lab, "--secret", good)
    thread.join()
    listener.close()
    assert status == 1 and "with a certificate, not with a shared secret" in words


def test_full(lab):
    """One address has all the connections that it can have; the next one from there is told so."""
    server = Program(lab.host("assistant"), "intercept", "-i", "eth0").wait_ready()
    held = [FakeTcpcopy(lab) for _ in range(256)]
    status, words = tcpcopy(lab)
    assert status == 1 and "intercept is full: it has" in words, words
    for one in held:
        one.socket.close()
    log = server.stop()
    assert "refused: intercept is full" in log and counted(log, "connections refused: over a limit") >= 1


def test_watch_of_somebody_else(lab, replay):
    """A user of the online host asks for the responses of a live session: that is refused, and nothing follows from it."""
    online, target = pair(lab)
    copy = replay()
    connection = connect(lab)
    ask(connection, "append log 1.")
    equal(online, target)
    thief, (address, port) = FakeTcpcopy(lab), connection.getsockname()[:2]
    thief.send(WATCH, struct.pack(">Q", 7) + endpoint(lab.host("target").ip4, PORT) + endpoint(address, port))
    assert thief.read() == (TAKEN, struct.pack(">Q", 7))
    thief.socket.close()
    time.sleep(5.5)  # so long after a loss nobody is told of strays
    for i in range(3):
        ask(connection, f"append log {i}.")
    equal(online, target)
    connection.close()
    assert closed(lab)
    account = copy.stop()
    assert account["strays.reset"] == account["engine.released_on_deadline"] == account["engine.lost_bytes"] == 0
    assert account["ended.complete"] == account["engine.sessions_opened"]


def test_very_many_probes(lab):
    """Each with another id makes intercept look anew, which costs time: a few a second are answered."""
    server = Program(lab.host("assistant"), "intercept", "-i", "eth0").wait_ready()
    asking, flow, answers = FakeTcpcopy(lab), Flow(lab), 0
    for number in range(2000):
        asking.send(PROBE, struct.pack(">Q", number) + endpoint(flow.target, PORT) + endpoint(flow.client, PORT))
    asking.send(PING, b"answered")
    while (message := asking.read()) != (PONG, b"answered"):
        answers += message[0] == FINDINGS
    assert 16 <= answers < 1000
    assert counted(server.stop(), "PROBEs left without an answer") == 2000 - answers


def test_allow(lab):
    """Only whom --allow names gets an answer, and the others are counted."""
    online, client = lab.host("online"), lab.host("client")
    server = Program(lab.host("assistant"), "intercept", "-i", "eth0", "--allow", f"{online.ip4},192.0.2.0/24",
                     "--allow", f"{online.ip6}/128").wait_ready()
    for v6 in (False, True):
        FakeTcpcopy(lab, v6=v6).settle()
        assert FakeTcpcopy(lab, v6=v6, hello=None, host="client").read() == (None, None)
    log = server.stop()
    assert f"connection from {client.ip4}:" in log and "refused: not allowed by --allow" in log
    assert counted(log, "connections refused: address not allowed by --allow") == 2
    assert counted(log, "tcpcopy connections") == 2


@pytest.mark.parametrize("secret", [False, True])
def test_peers_that_are_only_in_the_way(lab, replay, secret, tmp_path):
    """Hundreds of connections that say one byte, or garbage, keep nobody out and hold nothing up."""
    online, target = pair(lab)
    options = ["--secret", secret_file(tmp_path / "secret")] if secret else []
    first = {False: b"\x01", True: b"\x16"}[secret]
    copy = replay(tcpcopy=options, intercept=options)
    assert ("neither encrypted nor authenticated" in copy.tcpcopy.log) != secret
    with lab.host("client").inside():
        idle = [socket.create_connection((lab.host("assistant").ip4, CHANNEL_PORT)) for _ in range(250)]
    with lab.host("target").inside():
        idle += [socket.create_connection((lab.host("assistant").ip4, CHANNEL_PORT)) for _ in range(250)]
    for number, connection in enumerate(idle):
        connection.setblocking(False)
        try:
            connection.send(first if number % 2 else b"GET / HTTP/1.1\r\n\r\n")
        except OSError:
            pass    # it had to go for a newer one
    appends(lab, connections=4, commands=200)
    assert equal(online, target)
    # Connecting works among them, too: tcpcopy's connection is cut, and made again at once.
    lab.host("online").check_output(["ss", "-K", "dport", "=", f":{CHANNEL_PORT}"])
    assert wait_until(lambda: copy.tcpcopy.log.count(": connected (") == 2), copy.tcpcopy.log
    for connection in idle:
        connection.close()
    assert wait_until(lambda: copy.intercept.status()["account"]["connections"]["turned_away"] == 500)
    copy.tcpcopy.stop()
    log = copy.intercept.stop()
    assert counted(log, "connections refused: over a limit, or no valid HELLO") == 500
    assert counted(log, "tcpcopy connections") == 2

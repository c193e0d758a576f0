#!/usr/bin/python3
"""Rows of doc/SERVICES.md: real servers and clients, judged by the servers' own counters, and by what tcpcopy said.

What works does the same on the target, and nothing is said against it. What does not is named, with what to type.
"""

import contextlib
import hashlib
import re
import socket
import subprocess
import sys
import threading

import pytest
from conftest import PATIENCE, Program, wait_until
from services import DOCUMENT, named, said, works
from test_mqtt import PUBACK, PUBLISH, Client, text
from workload import ask, closed, connect, over, pair

PORT = 7000


# --- redis ------------------------------------------------------------------------------------------------------------

REDIS = {
    "plain": "set a 1\nrpush l 1 2 3\nblpop l 1\nincr n\n",
    "login": "auth secret\nset a 1\nincr n\n",
    "database": "select 5\nset a 1\nselect 3\nset b 2\n",
    "transaction": "watch a\nmulti\nset a 1\nincr n\nexec\n",
    "hello": "hello 3\nset a 1\nhset h f v\nhgetall h\n",
    "script": "eval \"return redis.call('incr', KEYS[1])\" 1 n\n",
}


@pytest.mark.parametrize("mode", REDIS)
def test_redis(lab, replay, mode):
    args = ["--requirepass", "secret"] if mode == "login" else []
    servers = pair(lab, args=args)
    r = replay()
    auth = ["-a", "secret", "--no-auth-warning"] if args else []

    def did(server):
        calls = {line.split(":")[0]: line.split("calls=")[1].split(",")[0]
                 for line in servers[server].cli(*auth, "info", "commandstats").splitlines() if "calls=" in line}
        return servers[server].cli(*auth, "debug", "digest"), {k: n for k, n in calls.items() if k[8:] in REDIS[mode] and k[8:] != "auth"}
    for _ in range(3):      # one after the other at the target as well: WATCH looks at what another connection does
        lab.host("client").check_output(["redis-cli", "-h", lab.host("online").ip4], input=REDIS[mode])
        wait_until(lambda: did(1) == did(0))
    works(r, did)


def test_redis_streams(lab, replay):
    """The names of XADD * are the clock's. With names of the client the target has the same."""
    servers = pair(lab)
    r = replay()
    # Within one millisecond both clocks give one name, so the target executes the first command a second later.
    servers[1].cli("client", "pause", 1000, "write")
    for command in "xadd clock * f v", "xadd own 1-1 f v", "xgroup create own g 0", "xreadgroup group g c streams own >", "xack own g 1-1":
        lab.host("client").check_output(["redis-cli", "-h", lab.host("online").ip4, *command.split()])
    assert wait_until(lambda: servers[1].calls().get("xack") == 1)
    own, clock = ([server.cli("xrange", key, "-", "+") for server in servers] for key in ("own", "clock"))
    assert own[0] == own[1] and clock[0] != clock[1]
    assert [server.cli("xpending", "own", "g").splitlines()[0] for server in servers] == ["0", "0"]
    r.stop()


@pytest.mark.parametrize("split", [8192, 4096], ids=["same", "another"])
def test_redis_cluster(lab, split):
    """Clients go to the node that has the slot on the online side: one rule a node, and the same split."""
    lab.route_to_assistant("client")
    ports = 7001, 7002
    nodes = {}
    for name, middle in ("online", 8192), ("target", split):
        nodes[name] = [lab.redis(name, port, args=["--cluster-enabled", "yes"]) for port in ports]
        for node, slots in zip(nodes[name], ((0, middle - 1), (middle, 16383))):
            node.cli("cluster", "addslotsrange", *slots)
        nodes[name][0].cli("cluster", "meet", lab.host(name).ip4, ports[1])
        assert wait_until(lambda name=name: all("cluster_state:ok" in node.cli("cluster", "info") for node in nodes[name]))
    intercept = Program(lab.host("assistant"), "intercept").wait_ready()
    r = Program(lab.host("online"), "tcpcopy", "-x", "7001-10.90.109.143:7001,7002-10.90.109.143:7002", "-s",
                "10.90.110.143").wait_ready()
    lab.host("client").check_output(["redis-cli", "-c", "-h", lab.host("online").ip4, "-p", ports[0]],
                                    input="".join(f"set key{n} {n}\n" for n in range(60)))
    there = nodes["online"], nodes["target"]
    assert wait_until(lambda: sum(r.status()["account"]["ended"].values()) ==
                      sum(r.status()["account"]["engine"][k] for k in ("sessions_opened", "sessions_joined")))
    digests = [[node.digest() for node in side] for side in there]
    stored = [sum(int(node.cli("dbsize")) for node in side) for side in there]
    assert stored[0] == 60 and (digests[0] == digests[1] if split == 8192 else 0 < stored[1] < 60), stored
    for program in r, intercept:
        program.stop()


# --- HTTP -------------------------------------------------------------------------------------------------------------

def requests(server):
    """What an nginx has answered: request, status and lengths, in any order of the connections."""
    return sorted(line.split(" ", 2)[2] for line in server.requests())


URL = "http://10.90.111.142:80/"
HTTP = {
    "kept": ["curl", "-s", "-o", "/dev/null", *(f"{URL}?{n}" for n in range(40))],
    "each": ["sh", "-c", f"for n in $(seq 20); do curl -s {URL}?$n; done"],
    "upload": ["sh", "-c", f"head -c 1000000 /dev/zero | curl -s -T - {URL}upload; head -c 300000 /dev/zero | "
               f"curl -s --data-binary @- -H 'Expect: 100-continue' {URL}upload"],
}


@pytest.mark.parametrize("mode", HTTP)
def test_http(lab, replay, mode):
    servers = pair(lab, "nginx")
    r = replay(port=80)
    lab.host("client").check_output(HTTP[mode])
    works(r, lambda n: requests(servers[n]))


def test_http_behind_a_proxy_header(lab, replay):
    """PROXY comes first and is copied like all else."""
    servers = pair(lab, "nginx", options="proxy_protocol")
    r = replay(port=80)
    lab.host("client").check_output(["curl", "-s", "--haproxy-protocol", *(f"{URL}?{n}" for n in range(10))])
    works(r, lambda n: requests(servers[n]))


def test_http2(lab, replay):
    """Prior knowledge, as gRPC has it: a connection from its start, its streams side by side."""
    servers = pair(lab, "nginx", options="http2")
    r = replay(port=80)
    lab.host("client").check_output(["h2load", "-n", "200", "-c", "5", "-m", "8", URL])
    lab.host("client").check_output(["sh", "-c", f"head -c 300000 /dev/zero | curl -s --http2-prior-knowledge -T - {URL}upload"])
    works(r, lambda n: requests(servers[n]))
    assert sum('"GET / HTTP/2.0" 200' in line for line in servers[1].requests()) == 200


@pytest.mark.parametrize("version", [1, 2])
def test_older_connections_of_http(lab, replay, version):
    """Requests of HTTP/1 stand for themselves. HTTP/2 has begun with a preface, and headers refer to those before."""
    servers = pair(lab, "nginx", options="http2" if version == 2 else "")
    client = lab.host("client")
    words = ["--h1"] if version == 1 else []
    load = client.popen(["h2load", *words, "-D", "10", "-c", "5", "-m", "1", "--rps", "20", URL], stdout=subprocess.DEVNULL)
    assert wait_until(lambda: len(servers[0].requests()) > 20)
    r = replay(port=80)
    if version == 2:
        assert wait_until(lambda: said(r.tcpcopy))
    else:
        assert wait_until(lambda: len(servers[1].requests()) > 50)
    load.wait(PATIENCE)
    if version == 2:
        assert "let the clients reconnect, or start tcpcopy with --join=80=all" in named(r, "HTTP/2 connections that are open already", "")
        assert servers[1].requests() == []
        client.check_output(["h2load", "-n", "20", "-c", "2", URL])
        assert wait_until(lambda: len(servers[1].requests()) == 20)
    over(r)
    account = r.stop()
    assert account["engine.sessions_joined"] == (5 if version == 1 else 0), account.log
    if version == 1:
        assert said(r.tcpcopy) == [], account.log
        assert account["engine.lost_bytes"] == 0


COOKIE = """
import http.server, secrets, sys
known = set()
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        cookie = self.headers.get("Cookie", "")
        ok = self.path == "/login" or cookie in known or cookie.startswith("n=signed")
        self.send_response(200 if ok else 401)
        if self.path == "/login":
            known.add(value := "n=" + ("signed" * (sys.argv[1] == "signed")) + secrets.token_hex(8))
            self.send_header("Set-Cookie", value)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(self.path, 200 if ok else 401, flush=True)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 7000), Shop).serve_forever()
"""


@pytest.mark.parametrize("how", ["own", "signed"])
def test_http_cookie(lab, replay, how):
    """A session that only one server's memory has is unknown to the other one; one that a key proves is not."""
    lab.route_to_assistant("client")
    logs = []
    for name in "online", "target":
        logs.append(lab.new_path(f"{name}-shop"))
        with open(logs[-1], "w") as log:
            shop = lab.host(name).popen([sys.executable, "-c", COOKIE, how], stdout=log)
        assert lab.host(name).wait_listening(PORT, lambda shop=shop: shop.poll() is None)
    r = replay(port=PORT)
    jar = lab.new_path("jar")
    for path in "login", *(f"page{n}" for n in range(10)):
        lab.host("client").check_output(["curl", "-s", "-b", jar, "-c", jar, f"http://10.90.111.142:{PORT}/{path}"])
    assert wait_until(lambda: len(logs[1].read_text().splitlines()) == 11)
    counts = [log.read_text().count(" 200") for log in logs]
    assert counts == ([11, 11] if how == "signed" else [11, 1])
    log = r.stop().log
    assert ("answered by both sides with the same length" in log) and ("the target's answer is longer" in log) == (how == "own"), log


APACHE = """
ServerName shop
ServerRoot {directory}
PidFile {directory}/pid
Listen {port}
ErrorLog {directory}/errors
DocumentRoot {directory}
{modules}
LogFormat "%r %>s" short
CustomLog {directory}/access short
<Directory {directory}>
    {access}
</Directory>
"""
DIGEST = """AuthType Digest
    AuthName shop
    AuthDigestProvider file
    AuthUserFile {directory}/users
    Require valid-user"""
MODULES = "mpm_event authn_core authn_file authz_core authz_user auth_digest".split()


class Apache:
    """It asks who it is, by a challenge that only this process takes back; or it asks nobody."""

    def __init__(self, lab, name, asks=True):
        directory = self.directory = lab.new_path(f"{name}-apache")
        directory.mkdir()
        lab.directory.chmod(0o711)      # its user passes through
        (directory / "users").write_text(f"app:shop:{hashlib.md5(b'app:shop:secret').hexdigest()}\n")
        (directory / "index.html").write_text("it is answering")
        (directory / "conf").write_text(APACHE.format(
            directory=directory, port=PORT, access=(DIGEST if asks else "Require all granted").format(directory=directory),
            modules="\n".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so" for m in MODULES)))
        self.process = lab.host(name).popen(["apache2", "-X", "-f", directory / "conf"])
        assert lab.host(name).wait_listening(PORT, lambda: self.process.poll() is None)

    def answers(self):
        """How often which status."""
        found = [line.rsplit(" ", 1)[1] for line in (self.directory / "access").read_text().splitlines()]
        return {status: found.count(status) for status in set(found)}

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


def test_http_digest(lab, replay):
    """The answer to the online server's challenge is refused; a target that asks nobody does the same work."""
    lab.route_to_assistant("client")
    online, target = Apache(lab, "online"), Apache(lab, "target")
    r = replay(port=PORT)
    ask = ["curl", "-s", "--digest", "-u", "app:secret", f"http://10.90.111.142:{PORT}/index.html"]
    for n in range(5):
        assert lab.host("client").check_output(ask) == "it is answering"
    assert wait_until(lambda: target.answers() == {"401": 10}), target.answers()
    assert online.answers() == {"401": 5, "200": 5}
    named(r, "HTTP Digest", "on the target turn authentication off")
    r.stop()
    for server in online, target:
        server.stop()
    online, target = Apache(lab, "online"), Apache(lab, "target", asks=False)
    r = replay(port=PORT)
    for n in range(5):
        lab.host("client").check_output(ask)
    assert wait_until(lambda: target.answers() == {"200": 10}), target.answers()
    r.stop()


WEBSOCKET = """
import asyncio, sys, websockets
async def serve(connection):
    async for message in connection:
        print(message, flush=True)
        await connection.send("you said " + message)
async def main():
    every = float(sys.argv[1])
    async with websockets.serve(serve, "0.0.0.0", 7000, ping_interval=every or None, ping_timeout=every or None):
        print("up", flush=True)
        await asyncio.Future()
asyncio.run(main())
"""
WEBSOCKET_CLIENT = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect("ws://10.90.111.142:7000/", ping_interval=None) as connection:
        for n in range(int(sys.argv[1])):
            await connection.send(f"message {n}")
            await connection.recv()
            await asyncio.sleep(float(sys.argv[2]))
asyncio.run(main())
"""


class WebSocket:
    def __init__(self, lab, name, pings):
        self.log = lab.new_path(f"{name}-websocket")
        with open(self.log, "w") as log:
            lab.host(name).popen([sys.executable, "-c", WEBSOCKET, str(pings)], stdout=log, stderr=log)
        assert wait_until(lambda: "up" in self.log.read_text())

    def messages(self):
        return [line for line in self.log.read_text().splitlines() if line.startswith("message ")]


@pytest.mark.parametrize("target_pings", [0, 0.5], ids=["none", "some"])
def test_websocket(lab, replay, target_pings):
    """The client's PONG is for the online server's PING. A target that waits for one of its own closes."""
    lab.route_to_assistant("client")
    online, target = WebSocket(lab, "online", 0.5), WebSocket(lab, "target", target_pings)
    r = replay(port=PORT)
    messages = 30 if target_pings else 15
    lab.host("client").check_output([sys.executable, "-c", WEBSOCKET_CLIENT, str(messages), "0.1"])
    assert len(online.messages()) == messages
    if target_pings:
        assert wait_until(lambda: sum(r.tcpcopy.status()["account"]["ended"].values()))
        assert len(target.messages()) < messages
    else:
        assert wait_until(lambda: target.messages() == online.messages())
    named(r, "WebSocket", "on the target turn pings off")
    r.stop()


# --- memcached --------------------------------------------------------------------------------------------------------

def memcached_frame(opcode, key=b"", extras=b"", value=b""):
    head = bytes([0x80, opcode]) + len(key).to_bytes(2, "big") + bytes([len(extras), 0, 0, 0])
    return head + len(extras + key + value).to_bytes(4, "big") + bytes(12) + extras + key + value


def exchange(connection, data, length):
    """The answer of a known length."""
    connection.sendall(data)
    answer = b""
    while len(answer) < length:
        piece = connection.recv(length - len(answer))
        assert piece, answer
        answer += piece
    return answer


def memcached_counts(server):
    return {k: v for k, v in server.stats().items() if k in (
        "cmd_get", "cmd_set", "get_hits", "get_misses", "cas_hits", "cas_badval", "curr_items", "incr_hits", "delete_hits")}


@pytest.mark.parametrize("mode", ["text", "binary"])
def test_memcached(lab, replay, mode):
    servers = pair(lab, "memcached")
    r = replay(port=11211)
    for c in range(5):
        with connect(lab, 11211) as connection:
            for n in range(20):
                key = f"k{c}.{n}".encode()
                if mode == "text":
                    assert exchange(connection, b"set %b 0 0 5\r\nvalue\r\n" % key, 8) == b"STORED\r\n"
                    assert b"value" in exchange(connection, b"get %b\r\n" % key, len(key) + 24)
                else:
                    assert exchange(connection, memcached_frame(1, key, bytes(8), b"value"), 24)[6:8] == b"\0\0"
                    assert b"value" in exchange(connection, memcached_frame(0, key), 33)
    works(r, lambda n: memcached_counts(servers[n]))


@pytest.mark.parametrize("past", ["same", "another"])
def test_memcached_cas(lab, replay, past):
    """The number of a value is the server's. It is the same where all writes before were."""
    servers = pair(lab, "memcached")
    if past == "another":
        for _ in range(50):
            servers[1].ask("set other 0 0 1\r\nx", b"STORED\r\n")
    r = replay(port=11211)
    with connect(lab, 11211) as connection:
        for n in range(10):
            exchange(connection, b"set k 0 0 5\r\nvalue\r\n", 8)
            connection.sendall(b"gets k\r\n")
            answer = b""
            while not answer.endswith(b"END\r\n"):
                answer += connection.recv(100)
            unique = re.search(rb"VALUE k 0 5 (\d+)", answer)[1]
            assert exchange(connection, b"cas k 0 0 5 %b\r\nnewer\r\n" % unique, 8) == b"STORED\r\n"
    counts = {"same": ("10", "0"), "another": ("0", "10")}[past]
    assert wait_until(lambda: (servers[1].stats()["cas_hits"], servers[1].stats()["cas_badval"]) == counts), servers[1].stats()
    assert servers[0].stats()["cas_hits"] == "10"
    r.stop()


# --- MQTT -------------------------------------------------------------------------------------------------------------

def test_mqtt_joins_nothing(lab, replay):
    """An older connection has said who it is, and what it wants to hear. The next one works."""
    servers = pair(lab, "mosquitto")
    older = Client(lab, "older")

    def publish(publisher):
        heard = publisher.count(PUBACK)
        publisher.send(PUBLISH, 2, text("t") + b"\0\1" + b"message")
        publisher.wait(PUBACK, number=heard + 1)
        return True
    assert publish(older)
    r = replay(port=1883)
    assert wait_until(lambda: publish(older) and said(r.tcpcopy), step=0.1)
    named(r, "MQTT connections that are open already are not joined", "let the clients reconnect")
    assert servers[1].lines("Received PUBLISH") == []
    new = Client(lab, "new")
    publish(new)
    assert wait_until(lambda: len(servers[1].lines("Received PUBLISH")) == 1)
    for publisher in older, new:
        publisher.close()
    assert r.stop()["engine.sessions_joined"] == 0


# --- What a copy does in the world --------------------------------------------------------------------------------------

CALLER = """
import socket, socketserver
class Caller(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                with socket.create_connection(("10.90.112.9", 25), 5) as mail:
                    mail.sendall(line)
                    said = "sent"
            except OSError as e:
                said = type(e).__name__
            print(said, flush=True)
            self.wfile.write(b"ok\\r\\n")
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("0.0.0.0", 7000), Caller).serve_forever()
"""


@pytest.mark.parametrize("shut", [False, True], ids=["open", "shut"])
def test_the_world(lab, replay, shut):
    """The application sends something at each request. With the document's rules on the target only the online server's
    arrives, and the copies are executed as before."""
    lab.route_to_assistant("client")
    world = lab.add_host("world", "10.90.112.9")
    with world.inside():
        mail = socket.create_server(("0.0.0.0", 25))
    came = []
    threading.Thread(target=lambda: collect(mail, came), daemon=True).start()
    logs = []
    for name in "online", "target":
        logs.append(lab.new_path(f"{name}-caller"))
        with open(logs[-1], "w") as log:
            caller = lab.host(name).popen([sys.executable, "-c", CALLER], stdout=log)
        assert lab.host(name).wait_listening(PORT, lambda caller=caller: caller.poll() is None)
    target = lab.host("target")
    if shut:
        for line in re.findall(r"^    sudo (nft add .*)", DOCUMENT.split("## What a copy does in the world")[1], re.MULTILINE):
            target.check_output(["sh", "-c", line])
    r = replay(port=PORT)
    with connect(lab, PORT) as connection:
        for n in range(10):
            assert ask(connection, f"mail {n}") == b"ok\r\n"
    assert wait_until(lambda: len(logs[1].read_text().splitlines()) == 10)
    assert logs[0].read_text().splitlines() == ["sent"] * 10
    assert logs[1].read_text().splitlines() == (["ConnectionRefusedError"] if shut else ["sent"]) * 10
    assert wait_until(lambda: len(came) == (10 if shut else 20))
    assert set(came) == {lab.host(name).ip4 for name in ("online", *["target"] * (not shut))}
    mail.close()
    assert closed(lab, PORT)
    account = r.stop()
    assert account["engine.lost_bytes"] == 0 and account.outcomes() == {"complete": 1}, account.log
    if shut:
        deleted = re.search(r"`sudo (nft delete table inet tcpcopy_world)`", DOCUMENT)[1]
        target.check_output(deleted.split())
        assert "tcpcopy_world" not in target.check_output(["nft", "list", "ruleset"])


def collect(server, came):
    """The addresses of those that connect."""
    with contextlib.suppress(OSError):
        while True:
            connection, address = server.accept()
            came.append(address[0])
            connection.close()

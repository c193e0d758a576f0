#!/usr/bin/python3
"""What the clients speak is recognised, counted, and said once where a copy of it cannot work; what works is not named.

The words are asserted by content and count: the log, --status, the report and --check say the same.
"""

import contextlib
import itertools
import re
import socket
import ssl
import subprocess
import threading

import pytest
from conftest import BIN, PATIENCE, wait_until
from test_check import Check
from workload import ask, connect

PORT = 7000


def said(log, words):
    """The lines of the log that have these words."""
    return [line for line in log.splitlines() if words in line and "port " in line]


def spoken(replay):
    """What the running tcpcopy has counted for its only rule."""
    rule, = replay.tcpcopy.status()["rules"]
    return rule


def screen(replay):
    path = re.search(r"--status --control (\S+)", replay.tcpcopy.log)[1]
    return subprocess.run([BIN / "tcpcopy", "--status", "--control", path], capture_output=True, text=True,
                          timeout=PATIENCE, check=True).stdout


class Server:
    """Answers whatever comes by `answer`; or with its farewell, if there is one, and closes."""

    def __init__(self, host, answer, greeting=b"", port=PORT, wrap=lambda connection: connection):
        self.answer, self.greeting, self.wrap, self.farewell = answer, greeting, wrap, b""
        with host.inside():
            self.socket = socket.create_server(("0.0.0.0", port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self.socket.accept()[:1], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection = self.wrap(connection)
            connection.sendall(self.greeting)
            while data := connection.recv(65536):
                answer = self.answer(data)
                connection.sendall(self.farewell or answer)
                if self.farewell:
                    return

    def close(self):
        self.socket.close()


def certificate(lab):
    """A key and a certificate for it, in one file."""
    path = lab.new_path("server.pem")
    key = lab.new_path("server.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=shop.example", "-keyout", key, "-out", path], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


def tls_server(lab, name, pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["http/1.1"])
    return Server(lab.host(name), lambda data: b"you said " + data,
                  wrap=lambda connection: context.wrap_socket(connection, server_side=True))


def tls_client(lab):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(connect(lab, PORT), server_hostname="shop.example")


def test_tls(lab, replay):
    """Nothing of it can be executed. It is said once, with the names of the ClientHello and what to type."""
    lab.route_to_assistant("client")
    pem = certificate(lab)
    servers = [tls_server(lab, name, pem) for name in ("online", "target")]
    r = replay(port=PORT)
    for _ in range(2):
        clients = [tls_client(lab) for _ in range(5)]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(100) == b"you said hello"
        assert wait_until(lambda: said(r.tcpcopy.log, "the clients speak TLS"))
    assert wait_until(lambda: spoken(r)["detail"].get("encrypted") == 10), spoken(r)
    rule = spoken(r)
    assert rule["spoken"]["tls"] >= 10, rule
    assert (rule["server_name"], rule["alpn"]) == ("shop.example", "http/1.1")
    assert re.search(rf"spoken +{PORT}-.*: .*tls \d+; of these encrypted 10.*\n  port {PORT}: the clients speak TLS", screen(r))
    quiet = Check(lab, rule=f"{PORT}-{lab.host('target').ip4}:{PORT}")
    assert any(line[0] == "ok" and "listens" in line[2] for line in quiet.lines), quiet.output
    checked = threading.Event()
    servers += [Server(lab.host(name), lambda data: data, port=PORT + 1) for name in ("online", "target")]

    def go_on():
        for number in itertools.count():
            with connect(lab, PORT + 1) as other:       # clients of another rule are many, and come first
                for _ in range(5):
                    other.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    other.recv(100)
            if number % 8 == 7:
                tls_client(lab).close()
            if checked.wait(0.1):
                break
    clients = threading.Thread(target=go_on)
    clients.start()
    check = Check(lab, rule=",".join(f"{port}-{lab.host('target').ip4}:{port}" for port in (PORT, PORT + 1)))
    checked.set()
    clients.join()
    assert check.status == 1, check.output
    checked = next(line[2] for line in check.lines if line[:2] == ("broken", "requests"))
    assert "the clients speak TLS, which the target cannot decrypt" in checked and "sessions" not in checked, check.output
    assert "encrypted" not in spoken(r)["past_handshake"]
    log = r.stop().log
    assert re.search(r"the target cannot decrypt \(.*\): 0 of \d+ sessions got past their handshake; copy the hop behind", log), log
    assert len(said(log.split("--- account ---")[0], "the clients speak TLS")) == 1, log
    assert f"tcpcopy -x 127.0.0.1:{PORT}-{lab.host('target').ip4}:{PORT}, with the terminator's plain port" in log
    assert 'server name "shop.example", ALPN "http/1.1"' in log
    for server in servers:
        server.close()


def test_tls_that_is_older_is_not_joined(lab, replay):
    lab.route_to_assistant("client")
    pem = certificate(lab)
    servers = [tls_server(lab, name, pem) for name in ("online", "target")]
    older = [tls_client(lab) for _ in range(4)]
    r = replay(port=PORT)
    for turn in range(5):
        for client in older:
            client.sendall(b"hello")
            client.recv(100)
    assert wait_until(lambda: spoken(r)["not_joined"].get("tls") == 4), r.tcpcopy.status()
    assert wait_until(lambda: said(r.tcpcopy.log, "not joined"))
    account = r.stop()
    assert account["engine.sessions_joined"] == 0 and account["declined.protocol"] == 4, account.log
    line, = said(account.log.split("--- account ---")[0], "TLS connections that are open already are not joined")
    assert "let the clients reconnect" in line and f"--join={PORT}=all" in line
    for server in servers:
        server.close()


HBA = {"md5": "md5", "scram": "scram-sha-256", "clear": "password", "trust": "trust"}


@pytest.mark.parametrize("how", HBA)
def test_postgresql(lab, replay, how):
    """A challenge is the online server's own, and its answer is worth nothing to the target; a password is."""
    lab.route_to_assistant("client")
    servers = [lab.postgresql(name) for name in ("online", "target")]
    for server in servers:
        server.sql(f"set password_encryption = '{'md5' if how == 'md5' else 'scram-sha-256'}'; "
                   "alter user postgres password 'secret'; create table t (n int)")
        hba = server.data / "pg_hba.conf"
        hba.write_text(f"local all all trust\nhost all all 10.90.0.0/16 {HBA[how]}\n")
        server.sql("select pg_reload_conf()")
    r = replay(port=5432)

    def insert(n):
        lab.host("client").check_output(
            [servers[0].bin / "psql", "-h", lab.host("online").ip4, "-U", "postgres", "-q", "-c",
             f"insert into t values ({n})"], env={"PGPASSWORD": "secret", "PATH": "/usr/bin:/bin"})
    for n in range(6):
        insert(n)
    details = {"md5": "postgresql_md5", "scram": "postgresql_scram", "clear": "clear_password"}
    works = how in ("clear", "trust")
    if works:
        assert wait_until(lambda: servers[1].sql("select count(*) from t") == ["6"]), r.tcpcopy.log
    else:
        assert wait_until(lambda: said(r.tcpcopy.log, "the clients answer the online server's")), r.tcpcopy.log
        assert servers[1].sql("select count(*) from t") == ["0"]
    assert wait_until(lambda: spoken(r)["spoken"].get("postgresql", 0) >= 6), spoken(r)
    rule = spoken(r)
    assert rule["detail"] == ({details[how]: rule["detail"][details[how]]} if how in details else {}), rule
    log = r.stop().log.split("--- account ---")[0]
    lines = said(log, "challenge, which is not the target's")
    assert len(lines) == (0 if works else 1), log
    if not works:
        assert "pg_hba.conf" in lines[0]
        assert re.search(r"is not the target's: 0 of \d+ sessions got past their handshake; ", lines[0]), lines


def test_mysql_passwords(lab, replay):
    """The target refuses the answer to a challenge that it has not made. One that takes any password is not named."""
    greeting = b"J\0\0\0\x0a5.5.5-10.11.19-MariaDB\0\1\0\0\0abcdefgh\0\xfe\xf7\x2d\2\0\xff\x81\x15" + bytes(10) + \
        b"abcdefghijkl\0mysql_native_password\0"
    greeting = (len(greeting) - 4).to_bytes(3, "little") + greeting[3:]
    ok, denied = b"\7\0\0\2\0\0\0\2\0\0\0", b"\x13\0\0\2\xff\x15\4#28000denied that"
    login = b"\x85\xa6\x3f\0\0\0\0\1\x2d" + bytes(23) + b"app\0\x14" + b"x" * 20 + b"mysql_native_password\0"
    login = len(login).to_bytes(3, "little") + b"\1" + login
    query = b"\x09\0\0\0\3SELECT 1"
    lab.route_to_assistant("client")
    online = Server(lab.host("online"), lambda data: ok, greeting)
    requests = []
    target = Server(lab.host("target"), lambda data: requests.append(data) or ok, greeting)
    r = replay(port=PORT)

    def session():
        connection = connect(lab, PORT)
        assert len(connection.recv(len(greeting), socket.MSG_WAITALL)) == len(greeting)
        for request in login, query, query:
            connection.sendall(request)
            assert connection.recv(len(ok), socket.MSG_WAITALL) == ok
        return connection
    for _ in range(3):
        session().close()
    assert wait_until(lambda: len(requests) >= 9), requests
    assert wait_until(lambda: spoken(r)["detail"].get("mysql_password") == 3)
    assert not said(r.tcpcopy.log, "password challenge")
    target.farewell = denied
    older = [session() for _ in range(3)]

    def go_on():
        for connection in older:
            connection.sendall(query)
            connection.recv(len(ok), socket.MSG_WAITALL)
        return spoken(r)["not_joined"].get("mysql") == 3
    assert wait_until(go_on, step=0.2), spoken(r)
    assert wait_until(lambda: said(r.tcpcopy.log, "password challenge")), r.tcpcopy.log
    account = r.stop()
    line, = said(account.log.split("--- account ---")[0], "password challenge")
    assert "mysqld --skip-grant-tables --skip-name-resolve" in line
    assert account["engine.sessions_joined"] == 0      # no storm of logins that fail
    for server in online, target:
        server.close()


def test_redis_that_is_older(lab, replay):
    """It is joined, and one line names what it may lack. When new connections use SELECT, older ones are not joined."""
    lab.route_to_assistant("client")
    _, target = lab.redis("online"), lab.redis("target")
    older = connect(lab)
    ask(older, "*1\r\n$4\r\nPING\r\n")
    r = replay()
    assert wait_until(lambda: ask(older, "*2\r\n$4\r\nINCR\r\n$1\r\na\r\n") and target.cli("get", "a"))
    assert wait_until(lambda: said(r.tcpcopy.log, "AUTH or SELECT"))
    second = connect(lab)
    ask(second, "*1\r\n$4\r\nPING\r\n")
    with connect(lab) as new:
        ask(new, "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n")
        ask(new, "*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n")
    assert wait_until(lambda: spoken(r)["detail"].get("redis_select") == 1)
    account = r.stop()
    assert len(said(account.log.split("--- account ---")[0], "AUTH or SELECT")) == 1, account.log


QUIET = {
    "http": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "http1"),
    "memcached": (b"get k\r\n", b"END\r\n", "memcached"),
    "mqtt": (b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2ab", b"\x20\2\0\0", "mqtt"),
    "unknown": (b"xyzzy\r\n", b"nothing happens\r\n", "unknown"),
}


@pytest.mark.parametrize("what", QUIET)
def test_what_works_is_not_named(lab, replay, what):
    request, response, name = QUIET[what]
    lab.route_to_assistant("client")
    servers = [Server(lab.host(host), lambda data: response) for host in ("online", "target")]
    r = replay(port=PORT)
    for _ in range(5):
        with connect(lab, PORT) as connection:
            connection.sendall(request)
            assert connection.recv(len(response), socket.MSG_WAITALL) == response
    assert wait_until(lambda: spoken(r)["spoken"] == {name: 5}), spoken(r)
    account = r.stop()
    assert account[f"spoken.{name}"] == 5 and account["detail.*"] == 0
    assert not said(account.log, "the clients"), account.log
    for server in servers:
        server.close()


def test_digest_and_websocket(lab, replay):
    """Details of HTTP, found in the turn in which they come."""
    lab.route_to_assistant("client")
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    servers = [Server(lab.host(host), lambda data: ok) for host in ("online", "target")]
    r = replay(port=PORT)
    with connect(lab, PORT) as connection:
        for header in b"Accept: */*", b"Authorization: Digest username=\"a\", nonce=\"1\"":
            connection.sendall(b"GET / HTTP/1.1\r\n" + header + b"\r\n\r\n")
            assert connection.recv(len(ok), socket.MSG_WAITALL) == ok
    with connect(lab, PORT) as connection:
        connection.sendall(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.recv(len(ok), socket.MSG_WAITALL) == ok
    assert wait_until(lambda: spoken(r)["detail"] == {"digest": 1, "websocket": 1}), spoken(r)
    assert wait_until(lambda: said(r.tcpcopy.log, "HTTP Digest") and said(r.tcpcopy.log, "WebSocket"))
    log = r.stop().log.split("--- account ---")[0]
    assert [len(said(log, words)) for words in ("HTTP Digest", "the clients speak WebSocket")] == [1, 1], log
    for server in servers:
        server.close()

#!/usr/bin/python3
"""Each request with the answers of both sides: what differs is counted and said, what does not is not."""

import re
import socket

import pytest
from conftest import wait_until
from test_first_bytes import Server, screen
from workload import ask, closed, connect

PORT = 7000
CONNECTIONS, REQUESTS = 3, 10
ALL = CONNECTIONS * REQUESTS
DIFFERS, ENDS_FIRST = "does not answer as the online server does", "the target ends the connections"


def number_of(data):
    return int(data.split()[0])


def answer(data):
    """Of another length for each request."""
    return b"." * (20 + 7 * number_of(data)) + b"\r\n"


def converse(lab):
    for _ in range(CONNECTIONS):
        with connect(lab, PORT) as connection:
            for number in range(REQUESTS):
                ask(connection, f"{number} {'x' * number}")


def said(replay, words):
    """Lines of the log, without those of the account."""
    log = replay.tcpcopy.log.split("--- account ---")[0]
    return [line for line in log.splitlines() if words in line and f"port {PORT}:" in line]


def exchanges(replay):
    rule, = replay.tcpcopy.status()["rules"]
    return rule["exchanges"]


def compared(lab, replay, target, word=None, farewell=b"", tcpcopy=()):
    """The running tcpcopy, when all exchanges have ended, and a line with `word` has been logged."""
    lab.route_to_assistant("client")
    servers = [Server(lab.host("online"), answer), Server(lab.host("target"), target)]
    servers[1].farewell = farewell
    r = replay(port=PORT, tcpcopy=tcpcopy)
    converse(lab)
    assert wait_until(lambda: exchanges(r)["all"] == ALL and not exchanges(r)["open"]), exchanges(r)
    assert closed(lab, PORT)
    assert not word or wait_until(lambda: said(r, word)), r.tcpcopy.log
    return r


def ended(r):
    """Its account, and what it has said of its exchanges."""
    account = r.stop()
    equations = {e["what"]: e["balanced"] for e in account.report["equations"] if e["what"].startswith("exchanges")}
    assert list(equations.values()) == [True, True]
    return account, [len(said(r, words)) for words in (DIFFERS, ENDS_FIRST)]


def test_same(lab, replay):
    account, lines = ended(compared(lab, replay, answer))
    assert account["exchange.same"] == ALL == account["exchange.all"]
    assert lines == [0, 0] and not account.report["differences"]


@pytest.mark.parametrize("kind,target", [
    ("shorter", lambda data: b"-NOAUTH\r\n"),
    ("longer", lambda data: answer(data)[:-2] + b"!\r\n"),
])
def test_other_lengths(lab, replay, kind, target):
    """All of it was acknowledged, and the account of the bytes is perfect; so it is said."""
    r = compared(lab, replay, target, DIFFERS)
    text = screen(r)
    assert re.search(rf"answers +{PORT}-.*: {ALL} of {ALL} compared: 0 of the same length, {ALL} {kind}", text), text
    assert re.search(rf"latest {kind}: \S+:\d+ -> \S+:{PORT} at .*, exchange \d: \d+ bytes online, \d+ bytes of the target", text)
    account, lines = ended(r)
    assert account[f"different.{kind}"] == ALL and account["exchange.followers"] == ALL - CONNECTIONS
    assert lines == [1, 0]
    newest, = account.report["differences"]
    online, here = (len(f(b"%d" % newest["exchange"])) for f in (answer, target))
    assert (newest["name"], newest["online_bytes"], newest["target_bytes"]) == (kind, online, here)


def test_one_in_many(lab, replay):
    """A byte more in one of thirty answers is found, and no reason for a warning."""
    def target(data, seen=[]):
        seen.append(data)
        return answer(data)[:-2] + (b"!\r\n" if len(seen) == 17 else b"\r\n")

    account, lines = ended(compared(lab, replay, target))
    assert account["different.longer"] == account["different.*"] == 1
    assert account["exchange.same"] == ALL - 1 and lines == [0, 0]


def test_no_answer(lab, replay):
    r = compared(lab, replay, lambda data: b"", DIFFERS, tcpcopy=["--hold", "200ms"])
    account, lines = ended(r)
    assert account["different.absent"] == account["exchange.all"] == ALL and lines == [1, 0]


def test_closes(lab, replay):
    """What waits goes to the next connection, so all is answered as it should be, and yet the target is another."""
    lab.delay("target", 4000)       # longer than the target takes to close behind its answer
    r = compared(lab, replay, answer, ENDS_FIRST, farewell=b"." * 40)
    assert "ended first by the target, after one turn" in screen(r)
    account, lines = ended(r)
    assert account["target_first.one"] >= 10 and account["target_first.*"] == account["target_first.one"]
    assert lines[1] == 1


def test_answer_in_two_parts(lab, replay):
    """The client reads a part, and sends what the server waits for: two exchanges on each side, whatever the packets."""
    lab.route_to_assistant("client")
    servers = [Server(lab.host(name), lambda data: b"." * 5000 + b"\r\n") for name in ("online", "target")]
    r = replay(port=PORT)
    with connect(lab, PORT) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for number in range(REQUESTS):
            ask(connection, f"{number}")
    assert closed(lab, PORT)
    account = r.stop()
    assert account["exchange.same"] == account["exchange.all"] == REQUESTS and servers


def test_redis_without_the_login(lab, replay):
    """The target refuses each command, and its answers are of one length."""
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.redis("target", args=["--requirepass", "secret"])
    r = replay()
    with connect(lab) as connection:
        for number in range(40):
            ask(connection, f"set key{number} {number}")
            ask(connection, f"strlen key{number}")
    assert closed(lab)
    assert wait_until(lambda: DIFFERS in r.tcpcopy.log)
    account = r.stop()
    assert account["different.longer"] == account["exchange.all"] == 80
    assert account["engine.acked_bytes"] == account["engine.captured_bytes"]


def test_nginx(lab, replay):
    """Two of the same answer the same, Date and all, however the connections end."""
    lab.route_to_assistant("client")
    for name in ("online", "target"):
        lab.nginx(name)
    r = replay(port=80)
    for n in range(12):
        with connect(lab, 80) as connection:
            for last in [False, n % 2 == 0]:
                end = "Connection: close\r\n" if last else ""
                connection.sendall(f"GET /nothing{n} HTTP/1.1\r\nHost: shop\r\n{end}\r\n".encode())
                text = b""
                while b"</html>\r\n" not in text:
                    text += connection.recv(4096)
            assert not last or not connection.recv(1)
    assert closed(lab, 80)
    account = r.stop()
    assert account["exchange.all"] == 24 and account["different.*"] == account["target_first.*"] == 0
    assert account["exchange.same"] + account["not_comparable.close"] == 24
    assert account["not_comparable.close"] <= 6


def command(connection, *words):
    """As client libraries send it, which tells what they speak."""
    return ask(connection, "\r\n".join([f"*{len(words)}", *(f"${len(word)}\r\n{word}" for word in words)]))


def login_missing(lab, r):
    """20 SETs and 20 AUTHs, where the target alone wants a login and the 10th gives it; each is answered."""
    with connect(lab) as connection:
        for number in range(20):
            command(connection, "set", f"key{number}", f"{number}")
            command(connection, "auth", "secret" if number == 9 else "none")
    assert closed(lab)


def test_classes(lab, alone):
    """Where the target's answers come to this host, their first bytes tell what it has refused."""
    lab.redis("online")
    lab.redis("target", args=["--requirepass", "secret"])
    r = alone()
    login_missing(lab, r)
    # AUTH is an error on the online server, which wants none; the target's are longer, or it was wrong
    assert wait_until(lambda: r.tcpcopy.status()["account"]["answers"]["redis_fine"] == 11)
    rule, = r.tcpcopy.status()["rules"]
    assert rule["target_answers"] == {"redis_fine": 11, "redis_noauth": 29}
    assert "answered by the target: redis_fine 11, redis_noauth 29" in screen(r)
    assert r.stop()["answers.*"] == 40


def test_classes_of_both(lab, alone):
    """The online server's are a sample of one in 64, which counts nothing that is not the beginning of an answer."""
    lab.redis("online")
    lab.redis("target")
    r = alone()
    with connect(lab) as connection:
        command(connection, "set", "key", "x" * 100)
        for _ in range(3999):
            command(connection, "get", "key")
    assert closed(lab)
    assert wait_until(lambda: r.tcpcopy.status()["account"]["answers"]["redis_fine"] == 4000)
    rule, = r.tcpcopy.status()["rules"]
    assert rule["target_answers"] == {"redis_fine": 4000}
    assert list(rule["online_answers"]) == ["redis_fine"] and 5 < rule["online_answers"]["redis_fine"] < 300
    assert re.search(r"answered by the target: redis_fine 4000; by the online server, in a sample: redis_fine \d+$",
                     screen(r), re.M)
    account = r.stop()
    assert account["online_answers.*"] == account["online_answers.redis_fine"]


def test_classes_with_an_assistant(lab, replay):
    """They cross the channel if it is encrypted, and in clear they do not."""
    key = lab.new_path("secret")
    key.write_text("correct horse battery staple")
    key.chmod(0o600)
    lab.route_to_assistant("client")
    lab.redis("online")
    lab.redis("target", args=["--requirepass", "secret"])
    for name in ("online", "target"):
        lab.nginx(name)
    r = replay(tcpcopy=["--secret", key, "-x", f"80-{lab.host('target').ip4}:80"], intercept=["--secret", key], filters=False)
    login_missing(lab, r)
    with connect(lab, 80) as connection:
        connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        while connection.recv(4096):
            pass
    assert closed(lab, 80)
    answers = [{"redis_fine": 11, "redis_noauth": 29}, {"http_4xx": 1}]
    assert wait_until(lambda: [rule["target_answers"] for rule in r.tcpcopy.status()["rules"]] == answers)
    assert "answered by the target: redis_fine 11, redis_noauth 29" in screen(r)
    assert r.stop()["answers.*"] == 41

    r = replay()
    login_missing(lab, r)
    account = r.stop()
    assert account["answers.*"] == 0 and account["exchange.all"] == 40

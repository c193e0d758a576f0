#!/usr/bin/python3
"""The recipes of doc/SERVICES.md, typed as they stand: clients speak TLS, and what the application gets behind its terminator is
what the target gets.
"""

import pytest
from conftest import wait_until
from services import Recipe, WithAccounts, said
from test_first_bytes import certificate
from test_mariadb import CLIENT

ONLINE = "10.90.111.142"


class Hop:
    """A recipe that is typed; `before` is what has to run first on the two servers."""

    def __init__(self, lab, title, before=lambda recipe: None):
        self.recipe = Recipe(lab, title, certificate(lab))
        before(self.recipe)
        self.tcpcopy = self.recipe.type()
        assert "answers of 10.90.109.143" in self.tcpcopy.log       # to an address of this host

    def stop(self):
        log = self.tcpcopy.stop()
        assert said(self.tcpcopy) == [], log
        return log


def seen(recipe, name, behind):
    """The requests that an nginx has had from an address."""
    log = recipe.inside(name, "cat /var/log/nginx/access.log")
    return [line.split('"')[1] for line in log.splitlines() if line.startswith(f"{behind} ")]


def ask_shop(lab, n):
    lab.host("client").check_output(["curl", "-sk", "-o", "/dev/null", *(f"https://{ONLINE}/?{n}.{i}" for i in range(5))])
    lab.host("client").check_output(["curl", "-sk", "--http1.1", f"https://{ONLINE}/?{n}.last"])


def test_recipe_nginx(lab):
    hop = Hop(lab, "nginx")
    for n in range(5):
        ask_shop(lab, n)
    wanted = sorted(f"GET /?{n}.{i} HTTP/1.1" for n in range(5) for i in (0, 1, 2, 3, 4, "last"))
    assert wait_until(lambda: sorted(seen(hop.recipe, "target", ONLINE)) == wanted)
    assert sorted(seen(hop.recipe, "online", "127.0.0.1")) == wanted
    hop.stop()


def test_recipe_haproxy(lab):
    """The target logs the client's own address."""
    hop = Hop(lab, "HAProxy")
    for n in range(5):
        ask_shop(lab, n)
    client = lab.host("client").ip4
    assert len(seen(hop.recipe, "online", client)) == 30
    assert wait_until(lambda: sorted(seen(hop.recipe, "target", client)) == sorted(seen(hop.recipe, "online", client)))
    hop.stop()


def test_recipe_stunnel(lab):
    servers = [lab.redis(name) for name in ("online", "target")]
    hop = Hop(lab, "stunnel")
    for n in range(10):
        lab.host("client").check_output(["redis-cli", "--tls", "--insecure", "-h", ONLINE, "-p", "6380"],
                                        input=f"set a {n}\nincr n\nselect 5\nset b {n}\n")
    assert wait_until(lambda: servers[1].calls().get("set") == servers[0].calls()["set"] == 20)
    assert servers[0].digest() == servers[1].digest()
    hop.stop()


def test_recipe_pgbouncer(lab):
    """Clients with TLS and SCRAM, which nothing but this makes worth copying."""
    servers = [lab.postgresql("online", port=5433), lab.postgresql("target")]

    def trust(recipe):
        for server, line in zip(servers, recipe.lines("host all app ")):
            server.sql("create role app login superuser; create table t (n int)")
            (server.data / "pg_hba.conf").write_text(f"local all all trust\n{line}\n")
            server.sql("select pg_reload_conf()")
    hop = Hop(lab, "PostgreSQL, TLS and SCRAM: pgbouncer", trust)
    psql = [servers[0].bin / "psql", "-X", "-q", f"host={ONLINE} user=app dbname=postgres sslmode=require"]
    for n in range(5):
        lab.host("client").check_output([*psql, "-c", f"insert into t values ({n}), ({n} + 100)"],
                                        env={"PGPASSWORD": "secret", "PATH": "/usr/bin:/bin"})
    with pytest.raises(Exception):
        lab.host("client").check_output([*psql, "-c", "insert into t values (0)"],
                                        env={"PGPASSWORD": "wrong", "PATH": "/usr/bin:/bin"})
    assert servers[0].sql("select count(*), sum(n) from t") == ["10|520"]
    assert wait_until(lambda: servers[1].sql("select count(*), sum(n) from t") == ["10|520"])
    hop.stop()


def test_recipe_mysql(lab, accounts):
    servers = [WithAccounts(lab, "online", accounts),
               WithAccounts(lab, "target", accounts, "--skip-grant-tables", "--skip-name-resolve", "--skip-networking=0")]
    hop = Hop(lab, "MySQL and MariaDB: stunnel at both ends")
    for n in range(5):
        lab.host("client").check_output([CLIENT, "--no-defaults", "--skip-ssl", "-h", "127.0.0.1", "-u", "app", "-psecret", "-e",
                                         f"insert into d.t values ({n}, 'text')"])
    assert servers[0].rows() == ["5", "10"]
    assert wait_until(lambda: servers[1].rows() == ["5", "10"])
    hop.stop()
    for server in servers:
        server.stop()

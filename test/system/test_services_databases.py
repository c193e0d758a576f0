#!/usr/bin/python3
"""Rows of doc/SERVICES.md about databases with a login: judged as test_services.py judges."""

import shutil
import subprocess

import pytest
from conftest import PATIENCE, wait_until
from labnet import PostgreSQL
from services import Recipe, WithAccounts, mariadb, named, works
from test_first_bytes import certificate
from workload import pair


# --- PostgreSQL -------------------------------------------------------------------------------------------------------

def pgbench_state(server):
    return server.sql("select count(*), sum(delta) from pgbench_history union all select count(*), sum(abalance) from "
                      "pgbench_accounts union all select count(*), sum(bbalance) from pgbench_branches")


@pytest.mark.parametrize("mode", ["simple", "prepared", "each"])
def test_pgbench(lab, replay, mode):
    """Trusting everybody. Transactions of four connections, or of a connection each."""
    servers = pair(lab, "postgresql")
    for server in servers:
        server.bench_tables()
    r = replay(port=5432)
    words = ["-C", "-t", "10"] if mode == "each" else ["-M", mode, "-t", "50"]
    lab.host("client").check_output([servers[0].bin / "pgbench", "-h", lab.host("online").ip4, "-U", "postgres", "-n",
                                     "-c", "4", *words, "postgres"])
    works(r, lambda n: pgbench_state(servers[n]))
    assert pgbench_state(servers[1])[0].startswith("40|" if mode == "each" else "200|")


def test_postgresql_tls(lab, replay):
    """What Debian sets up: ssl = on, and clients that prefer it."""
    servers = pair(lab, "postgresql")
    pem = certificate(lab)
    for server in servers:
        server.sql("create table t (n int)")
        for name in "crt", "key":
            path = server.data / f"server.{name}"
            path.write_text(pem.read_text())
            path.chmod(0o600)
            shutil.chown(path, "postgres")
        server.sql("alter system set ssl = on")
        server.sql("select pg_reload_conf()")
    assert wait_until(lambda: [server.sql("show ssl") for server in servers] == [["on"], ["on"]])
    r = replay(port=5432)
    psql = [servers[0].bin / "psql", "-h", lab.host("online").ip4, "-U", "postgres", "-q", "-c"]
    for n in range(5):
        lab.host("client").check_output([*psql, f"insert into t values ({n})"])
    named(r, "the clients of PostgreSQL encrypt", "ALTER SYSTEM SET ssl = off; SELECT pg_reload_conf();")
    assert [server.sql("select count(*) from t") for server in servers] == [["5"], ["0"]]
    r.stop()
    for server in servers:
        for words in "ALTER SYSTEM SET ssl = off; SELECT pg_reload_conf();".split(";")[:2]:     # as it was said
            server.sql(words)
    assert wait_until(lambda: [server.sql("show ssl") for server in servers] == [["off"], ["off"]])
    r = replay(port=5432)
    lab.host("client").check_output([*psql, "insert into t values (9)"])
    assert wait_until(lambda: servers[1].sql("select n from t") == ["9"])
    r.stop()


def test_what_has_a_login_is_not_joined(lab, replay):
    """A connection of PostgreSQL that is older than tcpcopy. One line says so; the next connection works."""
    servers = pair(lab, "postgresql")
    for server in servers:
        server.sql("create table t (n int)")
    psql = [servers[0].bin / "psql", "-h", lab.host("online").ip4, "-U", "postgres", "-q"]
    older = lab.host("client").popen(psql, stdin=subprocess.PIPE)

    def insert(n):
        older.stdin.write(f"insert into t values ({n});\n")
        older.stdin.flush()
        return wait_until(lambda: str(n) in servers[0].sql("select n from t"))
    assert insert(1)
    r = replay(port=5432)
    assert insert(2) and insert(3)
    named(r, "PostgreSQL connections that are open already are not joined", "let the clients reconnect")
    older.stdin.close()
    older.wait(PATIENCE)
    lab.host("client").check_output([*psql, "-c", "insert into t values (4)"])
    assert wait_until(lambda: servers[1].sql("select n from t") == ["4"])
    assert r.stop()["engine.sessions_joined"] == 0


class WithPam(PostgreSQL):
    """One whose PAM has the file of the recipe."""

    def __init__(self, recipe, host):
        super().__init__(host)
        self.recipe = recipe

    def command(self):
        return [*self.recipe.home(self.host)[1], *super().command()]


def test_postgresql_md5_by_pam(lab, replay):
    """As the document has it: the target takes the answer to the challenge for a password, and any password."""
    lab.route_to_assistant("client")
    recipe = Recipe(lab, "PostgreSQL with md5 passwords")
    recipe.type()
    (line,) = recipe.lines("host all all all pam")
    servers = [lab.postgresql("online"), WithPam(recipe, lab.host("target")).start()]
    for server, hba in zip(servers, ("host all all 10.90.0.0/16 md5", line)):
        server.sql("set password_encryption = 'md5'; alter user postgres password 'secret'; create table t (n int)")
        (server.data / "pg_hba.conf").write_text(f"local all all trust\n{hba}\n")
        server.sql("SELECT pg_reload_conf();")
    r = replay(port=5432)
    for n in range(5):
        lab.host("client").check_output(
            [servers[0].bin / "psql", "-h", lab.host("online").ip4, "-U", "postgres", "-q", "-c", f"insert into t values ({n})"],
            env={"PGPASSWORD": "secret", "PATH": "/usr/bin:/bin"})
    works(r, lambda n: servers[n].sql("select count(*), sum(n) from t"), ["5|10"])


# --- MariaDB ----------------------------------------------------------------------------------------------------------

def test_mariadb_without_password(lab, replay, accounts):
    lab.route_to_assistant("client")
    servers = [WithAccounts(lab, name, accounts) for name in ("online", "target")]
    r = replay(port=3306)
    for n in range(10):
        mariadb(lab, n, "open", "--skip-ssl")
    works(r, lambda n: servers[n].rows(), ["20", "10090"])
    for server in servers:
        server.stop()


def test_mariadb_password(lab, replay, accounts):
    """The answer to the online server's challenge is refused. A target that asks for none takes it."""
    lab.route_to_assistant("client")
    servers = [WithAccounts(lab, name, accounts) for name in ("online", "target")]
    r = replay(port=3306)
    for n in range(5):
        mariadb(lab, n, "app", "--skip-ssl", "-psecret")
    named(r, "the clients answer the online server's password challenge", "mysqld --skip-grant-tables")
    assert servers[0].rows() == ["10", "5020"] and servers[1].rows() == ["0", "0"]
    r.stop()
    servers[1].stop()
    target = WithAccounts(lab, "target", accounts, "--skip-grant-tables", "--skip-name-resolve", "--skip-networking=0")
    r = replay(port=3306)
    servers[0].ask("delete from d.t")
    for n in range(5):
        mariadb(lab, n, "app", "--skip-ssl", "-psecret")
    works(r, lambda n: (servers[0], target)[n].rows(), ["10", "5020"])
    for server in servers[0], target:
        server.stop()


def test_mariadb_tls(lab, replay, accounts):
    lab.route_to_assistant("client")
    pem = certificate(lab)
    servers = [WithAccounts(lab, name, accounts, f"--ssl-cert={pem}", f"--ssl-key={pem}") for name in ("online", "target")]
    r = replay(port=3306)
    for n in range(3):
        mariadb(lab, n, "open", "--ssl")
    named(r, "the clients of MySQL encrypt", "--skip-ssl")
    assert servers[0].rows() == ["6", "3006"] and servers[1].rows() == ["0", "0"]
    r.stop()
    for server in servers:
        server.stop()

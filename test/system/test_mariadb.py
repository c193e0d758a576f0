#!/usr/bin/python3
"""A real MariaDB on both sides, where it is installed: it blocks an address after 100 errors, for good connections too."""

import pathlib
import shutil
import subprocess
import time

import pytest
from conftest import PATIENCE, wait_until
from workload import closed

PORT = 3306
SERVER, CLIENT = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin") or shutil.which("mariadbd"), \
    shutil.which("mariadb")

pytestmark = pytest.mark.skipif(not SERVER or not CLIENT, reason="needs mariadb-server-core and mariadb-client-core")


class MariaDB:
    """Its client's address has a name: only those are blocked. With --skip-grant-tables everybody may log in."""

    def __init__(self, lab, name, *words):
        path = lab.new_path(f"{name}-mariadb")
        path.mkdir()
        self.prepare(path / "data")
        hosts = path / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{lab.host('client').ip4} client\n")
        self.socket, self.log = path / "socket", path / "log"
        messages = pathlib.Path(SERVER).resolve().parent.parent / "share/mysql"
        command = [SERVER, "--no-defaults", "--user=root", f"--datadir={path}/data", f"--lc-messages-dir={messages}",
                   "--performance-schema=on", f"--port={PORT}", "--bind-address=0.0.0.0",
                   f"--socket={self.socket}", f"--pid-file={path}/pid", f"--log-error={self.log}",
                   "--innodb-buffer-pool-size=8M", *words]
        host = lab.host(name)
        self.process = host.popen(["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"',
                                   hosts, *command])
        assert host.wait_listening(PORT, lambda: self.process.poll() is None), self.log.read_text()

    def prepare(self, data):
        (data / "mysql").mkdir(parents=True)

    def ask(self, question):
        return subprocess.run([CLIENT, "--no-defaults", "-N", "-S", self.socket, "-e", question], capture_output=True,
                              text=True, check=True).stdout.split()

    def number(self, name):
        return int(self.ask(f"show global status like '{name}'")[1])

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0


def test_connections_older_than_tcpcopy(lab, replay):
    """Their logins were not captured. The server refuses them, and takes those that are captured from the start."""
    lab.route_to_assistant("client")
    online, target = (MariaDB(lab, name, "--skip-grant-tables") for name in ("online", "target"))
    command = [CLIENT, "--no-defaults", "-N", "-n", "--skip-ssl", "-h", lab.host("online").ip4, "-P", str(PORT)]
    older = [lab.host("client").popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
             for _ in range(40)]

    def ask(number):
        for client in older:
            client.stdin.write(f"select {number};\n")
            client.stdin.flush()
            assert client.stdout.readline() == f"{number}\n"
    ask(1)
    r = replay(port=PORT, tcpcopy=["--join=all"])
    begun = time.monotonic()
    number = 2
    while time.monotonic() < begun + 10:
        ask(number)
        number += 1
    for n in range(20):
        lab.host("client").check_output([*command, "-e", f"select {n}"])
    executed = wait_until(lambda: target.number("Com_select") >= 20)
    errors, blocked = target.ask("select sum(sum_connect_errors), sum(count_host_blocked_errors) "
                                 "from performance_schema.host_cache")
    for client in older:
        client.stdin.close()
        client.wait(PATIENCE)
    assert closed(lab, PORT)
    account = r.stop()
    assert executed and blocked == "0", (errors, blocked, account.log)
    assert account["engine.sessions_joined"] <= 50, account.log      # 5 a second
    assert account["engine.joins_stopped"] == 1 and account["ended.complete"] == 20, account.log
    for server in online, target:
        server.stop()

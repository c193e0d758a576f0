#!/usr/bin/python3
"""Rows of doc/SERVICES.md whose servers take long to install or to start: `sudo ./check --all` runs them."""

import ftplib
import io
import re
import shutil
import smtplib
import subprocess
import sys

import pytest
from conftest import wait_until
from labnet import Server
from services import named, said
from test_first_bytes import certificate

pytestmark = [pytest.mark.rare, pytest.mark.skipif(not shutil.which("vsftpd", path="/usr/sbin:/usr/bin"),
                                                   reason="needs lab/install-packages services")]

ONLINE = "10.90.111.142"


def both(lab, kind, *args):
    lab.route_to_assistant("client")
    return [kind(lab.host(name), *args).start() for name in ("online", "target")]


# --- AMQP -------------------------------------------------------------------------------------------------------------

class RabbitMQ(Server):
    """One node, which lets guests in from everywhere."""

    kind = "rabbitmq"

    def __init__(self, host):
        super().__init__(host, 5672)

    def environment(self):
        return ["env", f"HOME={self.directory}", "RABBITMQ_NODENAME=rabbit@localhost", f"RABBITMQ_MNESIA_BASE={self.directory}",
                f"RABBITMQ_LOG_BASE={self.directory}", f"RABBITMQ_CONFIG_FILE={self.directory}/rabbitmq.conf",
                f"RABBITMQ_ENABLED_PLUGINS_FILE={self.directory}/plugins", f"RABBITMQ_PID_FILE={self.directory}/pid"]

    def prepare(self):
        (self.directory / "rabbitmq.conf").write_text("loopback_users = none\nlisteners.tcp.1 = 0.0.0.0:5672\n")

    def command(self):
        return [*self.environment(), "/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def start(self):
        self.prepare()
        with open(self.log, "a") as log:
            self.process = self.host.popen(self.command(), stdout=log, stderr=log, cwd=self.directory, start_new_session=True)
        assert self.host.wait_listening(self.port, lambda: self.process.poll() is None, timeout=120), self.log.read_text()
        return self

    def queues(self):
        """Messages by queue."""
        listed = self.host.check_output([*self.environment(), "/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", "list_queues", "name",
                                         "messages", "--no-table-headers"], timeout=120)
        return dict(line.split("\t") for line in listed.splitlines())


AMQP = """
import pika, sys
connection = pika.BlockingConnection(pika.ConnectionParameters("10.90.111.142"))
channel = connection.channel()
name = channel.queue_declare(sys.argv[1]).method.queue
channel.confirm_delivery()
for n in range(40):
    channel.basic_publish("", name, f"message {n}")
for n in range(10):
    method, _, body = channel.basic_get(name)
    channel.basic_ack(method.delivery_tag)
connection.close()
"""


def test_rabbitmq_named_queue(lab, replay):
    servers = both(lab, RabbitMQ)
    r = replay(port=5672)
    lab.host("client").check_output([sys.executable, "-c", AMQP, "orders"])
    assert wait_until(lambda: sum(r.tcpcopy.status()["account"]["ended"].values()) == 1)
    assert [server.queues() for server in servers] == [{"orders": "30"}] * 2
    assert r.stop()["engine.lost_bytes"] == 0 and said(r.tcpcopy) == []


def test_rabbitmq_server_named_queue(lab, replay):
    """amq.gen-...: the target's has another name, and messages for the online server's go nowhere."""
    servers = both(lab, RabbitMQ)
    r = replay(port=5672)
    lab.host("client").check_output([sys.executable, "-c", AMQP, ""])
    assert list(servers[0].queues().values()) == ["30"]
    assert "40" not in servers[1].queues().values() and "30" not in servers[1].queues().values()
    r.stop()


# --- SMTP -------------------------------------------------------------------------------------------------------------

class Postfix(Server):
    """It takes mails from the lab, and throws them away; its log has a line for each."""

    kind = "postfix"

    def __init__(self, host, pem=None):
        super().__init__(host, 25)
        self.pem = pem

    def prepare(self):
        self.host.lab.directory.chmod(0o711)
        for name in "queue", "data":
            (self.directory / name).mkdir()
        shutil.chown(self.directory / "data", "postfix")
        main = {"compatibility_level": "3.6", "queue_directory": self.directory / "queue", "data_directory": self.directory / "data",
                "maillog_file": self.log, "maillog_file_prefixes": "/tmp", "myhostname": "mail.example", "mynetworks": "10.90.0.0/16",
                "default_transport": "discard", "inet_interfaces": "all", "inet_protocols": "ipv4", "mydestination": "",
                "alias_maps": "", "alias_database": "", "smtpd_tls_security_level": "may" if self.pem else "none"}
        if self.pem:
            main["smtpd_tls_cert_file"] = main["smtpd_tls_key_file"] = self.pem
        (self.directory / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in main.items()))
        master = open("/usr/share/postfix/master.cf.dist").read()
        master = re.sub(r"^(\w\S*\s+\S+\s+\S+\s+\S+\s+)\S", r"\1n", master, flags=re.MULTILINE)     # no chroot
        (self.directory / "master.cf").write_text(master)

    def command(self):
        return ["postfix", "-c", self.directory, "start-fg"]

    def mails(self):
        return sorted(line.split(" to=<")[1].split(">")[0] for line in self.log.read_text().splitlines()
                      if "status=sent (discard" in line or "status=sent (" in line)


def mail(lab, n, tls=False):
    with lab.host("client").inside():
        connection = smtplib.SMTP(ONLINE, 25, timeout=60)
    connection.ehlo()
    if tls and connection.has_extn("starttls"):
        connection.starttls()
        connection.ehlo()
    connection.sendmail("shop@shop.example", [f"customer{n}@there.example"], f"Subject: order {n}\r\n\r\n" + "text\r\n" * 200)
    connection.quit()


def test_smtp(lab, replay):
    servers = both(lab, Postfix)
    r = replay(port=25)
    for n in range(10):
        mail(lab, n)
    wanted = [f"customer{n}@there.example" for n in range(10)]
    assert wait_until(lambda: [server.mails() for server in servers] == [wanted] * 2)
    assert r.stop()["engine.lost_bytes"] == 0 and said(r.tcpcopy) == []


def test_smtp_starttls(lab, replay):
    servers = both(lab, Postfix, certificate(lab))
    r = replay(port=25)
    for n in range(3):
        mail(lab, n, tls=True)
    named(r, "STARTTLS", "turn STARTTLS off on the online server")
    assert wait_until(lambda: len(servers[0].mails()) == 3)
    assert servers[1].mails() == []
    r.stop()
    # as the document says
    lab.host("online").check_output(["postconf", "-c", servers[0].directory, "smtpd_tls_security_level=none"])
    lab.host("online").check_output(["postfix", "-c", servers[0].directory, "reload"])
    r = replay(port=25)
    assert wait_until(lambda: not offers_tls(lab))
    for n in range(3, 6):
        mail(lab, n, tls=True)
    assert wait_until(lambda: servers[1].mails() == [f"customer{n}@there.example" for n in range(3, 6)])
    r.stop()


def offers_tls(lab):
    with lab.host("client").inside():
        connection = smtplib.SMTP(ONLINE, 25, timeout=60)
    connection.ehlo()
    offered = connection.has_extn("starttls")
    connection.quit()
    return offered


# --- FTP --------------------------------------------------------------------------------------------------------------

VSFTPD = """
listen=YES
background=NO
anonymous_enable=YES
local_enable=NO
anon_root={directory}/root
anon_upload_enable=YES
write_enable=YES
anon_umask=022
secure_chroot_dir={directory}/empty
seccomp_sandbox=NO
pasv_address={address}
"""


class Vsftpd(Server):
    kind = "vsftpd"

    def __init__(self, host):
        super().__init__(host, 21)
        self.files = self.directory / "root/in"

    def prepare(self):
        self.host.lab.directory.chmod(0o711)
        self.directory.chmod(0o755)
        for name in "empty", "root", "root/in":
            (self.directory / name).mkdir()
        shutil.chown(self.files, "ftp")
        (self.directory / "conf").write_text(VSFTPD.format(directory=self.directory, address=self.host.ip4))

    def command(self):
        return ["vsftpd", self.directory / "conf"]


def test_ftp(lab, replay):
    """The commands arrive, and the files do not."""
    servers = both(lab, Vsftpd)
    r = replay(port=21)
    with lab.host("client").inside():
        connection = ftplib.FTP(ONLINE, timeout=60)
        connection.login()
        for n in range(3):
            connection.storbinary(f"STOR in/file{n}", io.BytesIO(b"text" * 100))
        connection.quit()
    named(r, "FTP moves files on other connections", "leave this rule out")
    stored = [{path.name: path.stat().st_size for path in server.files.iterdir()} for server in servers]
    assert stored[0] == {f"file{n}": 400 for n in range(3)} and not any(stored[1].values()), stored
    r.stop()


# --- SSH --------------------------------------------------------------------------------------------------------------

class Sshd(Server):
    """It lets in who has the key."""

    kind = "sshd"

    def __init__(self, host, key):
        super().__init__(host, 22)
        self.key = key

    def prepare(self):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / "host"], check=True)
        (self.directory / "conf").write_text(
            f"HostKey {self.directory}/host\nAuthorizedKeysFile {self.key}.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PermitRootLogin prohibit-password\n")

    def command(self):
        return ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && mkdir /run/sshd && "
                f"exec /usr/sbin/sshd -D -e -f {self.directory}/conf"]

    def logins(self):
        return self.log.read_text().count("Accepted publickey")


def test_ssh(lab, replay):
    key = lab.new_path("key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    servers = both(lab, Sshd, key)
    r = replay(port=22)
    for n in range(5):
        said_there = lab.host("client").check_output(
            ["ssh", "-i", key, "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "BatchMode=yes", f"root@{ONLINE}", f"echo {n}"])
        assert said_there == f"{n}\n"
    named(r, "the clients speak SSH", "leave this rule out")
    assert [server.logins() for server in servers] == [5, 0]
    r.stop()

"""What the tests of doc/SERVICES.md share: what is typed in it, and what tcpcopy has said while the clients worked."""

import pathlib
import re
import shutil
import subprocess

from conftest import TOP, Program, wait_until
from test_mariadb import CLIENT, MariaDB
from workload import over

DOCUMENT = (TOP / "doc/SERVICES.md").read_text(encoding="utf-8")
FOLDERS = "nginx", "haproxy", "stunnel", "pgbouncer", "pam.d", "ssl"    # of /etc, that recipes write into


def said(program):
    """What a program has said of a service so far: its warnings, and its lines about a port."""
    return [line for line in program.log.split("--- account ---")[0].splitlines()
            if ": warning: " in line or re.search(r": port \d+: ", line)]


def works(replay, did, expected=None):
    """The target has done what the online server has, by did(0) and did(1), and nothing was said against it."""
    assert wait_until(lambda: did(1) == did(0)), (did(0), did(1), replay.tcpcopy.log)
    over(replay)        # the last acknowledgments may be on their way
    assert did(0) == (expected if expected is not None else did(0)) and did(0), did(0)
    account = replay.stop()
    assert said(replay.tcpcopy) == [], account.log
    assert account["engine.lost_bytes"] == 0, account.log
    return account


def named(replay, cause, cure):
    """One line names the cause, and what to type; no other cause is named. The log is that of a running tcpcopy."""
    assert wait_until(lambda: any(cause in line for line in said(replay.tcpcopy))), replay.tcpcopy.log
    lines = [line for line in said(replay.tcpcopy) if ": port " in line]
    assert len(lines) == 1 and cause in lines[0] and cure in lines[0], replay.tcpcopy.log
    return lines[0]


class Recipe:
    """A section of the document, typed as it stands: files of the hosts, then command lines, in their order.

    `x` means the text "`x`, on the HOST:" before an indented file, and "# HOST" behind each command line. What is
    written below /etc is seen by this recipe's processes alone: each host has folders of its own there.
    """

    def __init__(self, lab, title, pem=None):
        self.lab, self.pem, self.homes, self.running = lab, pem, {}, []
        section = re.split(r"^#{2,4} ", DOCUMENT.split(f" {title}\n", 1)[1], 1, re.MULTILINE)[0]
        self.steps = re.findall(r"^(?:`(/etc/[^`]+)`, on the ([\w ]+):\n\n)?((?:(?:    .*)?\n)*    .*\n)", section, re.MULTILINE)
        assert self.steps, section
        self.section = section

    def lines(self, beginning):
        """Indented lines that begin so, for a file that the section does not name."""
        return re.findall(rf"^    ({re.escape(beginning)}.*)", self.section, re.MULTILINE)

    def host(self, words):
        return self.lab.host(words.split()[0])

    def home(self, host):
        """The folders of a host, and the words before a command that is to see them."""
        if host.name not in self.homes:
            home = self.homes[host.name] = self.lab.new_path(f"{host.name}-etc")
            home.mkdir()
            home.chmod(0o755)
            self.lab.directory.chmod(0o711)
            for folder in FOLDERS:
                there = pathlib.Path("/etc") / folder
                # with their owners, whom some programs ask for
                subprocess.run(["cp", "-a", there, home] if there.exists() else ["mkdir", home / folder], check=True)
            if self.pem:
                shutil.copy(self.pem, home / "ssl/shop.pem")
            # one namespace of mounts a host, held by a process that ends with the lab
            script = "".join(f"mount --bind {home / f} /etc/{f} && " for f in FOLDERS if (pathlib.Path("/etc") / f).is_dir())
            script += ("mount -t tmpfs none /run && mount -t tmpfs none /var/log && "
                       "mkdir -p /run/haproxy /run/postgresql /var/log/nginx /var/log/postgresql && "
                       "chown postgres /run/postgresql /var/log/postgresql && echo up && exec sleep infinity")
            holder = host.popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE)
            assert holder.stdout.readline() == "up\n"
            self.running.append(holder)
            home.joinpath("pid").write_text(str(holder.pid))
        pid = self.homes[host.name].joinpath("pid").read_text()
        return self.homes[host.name], ["nsenter", "-m", "-t", pid]

    def inside(self, name, words, **kwargs):
        """Run a line for the shell where the recipe's files are."""
        host = self.lab.host(name)
        return host.check_output([*self.home(host)[1], "sh", "-c", words], **kwargs)

    def type(self):
        """All of it; the tcpcopy that is started."""
        tcpcopy = None
        for path, where, text in self.steps:
            lines = [line[4:] for line in text.splitlines()]
            if path:
                host = self.host(where)
                file = self.home(host)[0] / pathlib.Path(path).relative_to("/etc")
                file.write_text("\n".join(lines) + "\n")
                continue
            for line in lines:
                typed = re.fullmatch(r"sudo (.*?)  +# (.*)", line)
                if not typed:
                    continue        # a line for a file that is not this recipe's alone
                command, where = typed.groups()
                command = f"sudo {command}" if command.startswith("-u ") else command
                if command.startswith("tcpcopy "):
                    tcpcopy = Program(self.host(where), "tcpcopy", *command.split()[1:]).wait_ready()
                else:
                    self.inside(self.host(where).name, command)
        return tcpcopy


class WithAccounts(MariaDB):
    """One that asks for a password: `app` has one, `open` has none."""

    def __init__(self, lab, name, accounts, *words):
        self.accounts = accounts
        super().__init__(lab, name, *words)
        if "--skip-grant-tables" not in words:
            self.ask("create user open@'%'; grant all on *.* to open@'%'; create user app@'%' identified by 'secret'; "
                     "grant all on *.* to app@'%'")
        self.ask("create database d; create table d.t (n int primary key, word varchar(20))")

    def prepare(self, data):
        shutil.copytree(self.accounts, data)

    def rows(self):
        return self.ask("select count(*), coalesce(sum(n), 0) from d.t")


def mariadb(lab, n, user="open", *words):
    """A statement, and a prepared one, in a connection of their own."""
    lab.host("client").check_output(
        [CLIENT, "--no-defaults", "-h", lab.host("online").ip4, "-u", user, *words, "-e",
         f"insert into d.t values ({n}, 'text'); prepare p from 'insert into d.t values (?, ?)'; set @n = {n} + 1000, "
         "@w = 'prepared'; execute p using @n, @w"])

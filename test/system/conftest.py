"""What the system tests share: a lab for each test, the two programs in it, and tools built for the tests."""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "lab"))

# what these assert is to show its values as well
pytest.register_assert_rewrite("alone", "faults", "two_hosts", "workload")

from labnet import Lab                                              # noqa: E402
from two_hosts import two_hosts                                     # noqa: E402

BIN = pathlib.Path(os.environ.get("TCPCOPY_BIN_DIR", TOP))
SANITIZED = (BIN / "tcpcopy").exists() and b"__asan_init" in (BIN / "tcpcopy").read_bytes()


def pytest_configure(config):
    config.addinivalue_line("markers", "rare: needs servers that take long to install or to start, or differs little from another "
                            "test; ./check --all")


@pytest.fixture
def lab():
    if os.geteuid():
        pytest.skip("a lab needs root")
    with Lab() as lab:
        yield lab


# Seconds for what must happen, on a machine that has other things to do. Nobody waits so long for what comes.
PATIENCE = 60


def wait_until(condition, timeout=PATIENCE, step=0.05):
    """True as soon as `condition()` is; False when it is not in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


class Echo:
    """A server on the target that sends back what it gets."""

    def __init__(self, lab, port=6379):
        with lab.host("target").inside():
            self.socket = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def accept(self):
        self.socket.settimeout(PATIENCE)
        return self.socket.accept()[0]


@pytest.fixture
def net(lab):
    """A lab with the route to the assistant, and an echo server on the target."""
    lab.route_to_assistant("client")
    lab.echo = Echo(lab)
    yield lab
    lab.echo.socket.close()


def built(name):
    """The path of build/tools/NAME, made if need be; files of tests that run at the same time make it once."""
    with open(TOP / "Makefile") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-s", f"build/tools/{name}"], cwd=TOP, check=True)
    return TOP / "build/tools" / name


@pytest.fixture(scope="session")
def iotool():
    return built("iotool")


@pytest.fixture(scope="session")
def hostile():
    return built("hostile")


@pytest.fixture
def hosts(iotool):
    with two_hosts(iotool) as pair:
        yield pair


@pytest.fixture(params=["packet", "ring", "alternate"])
def mode(request):
    """The ways to capture; by turns, both sockets of "auto" are used."""
    return request.param


class Program:
    """One of our programs in a host, in the foreground, its log in a file of the lab."""

    made = []       # in the lab that is up

    @classmethod
    def running(cls, lab, name):
        """Those of this name that run in a lab, and can be asked."""
        return [p for p in cls.made if p.lab is lab and p.name == name and p.process.poll() is None and
                "--status --control" in p.log]

    def __init__(self, host, name, *args, prefix=()):
        self.lab, self.name = host.lab, name
        self.log_path = host.lab.new_path(f"{host.name}-{name}.log")
        self.again = lambda: Program(host, name, *args, prefix=prefix)
        with open(self.log_path, "w") as log:
            self.process = host.popen([*prefix, BIN / name, *args], stdout=log, stderr=log)
        self.made[:] = [p for p in self.made if p.lab is host.lab] + [self]

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_ready(self):
        assert wait_until(lambda: "ready" in self.log or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        return self

    def status(self):
        """What --status --json says of it."""
        path = re.search(r"--status --control (\S+)", self.log)[1]
        return json.loads(subprocess.run([BIN / self.name, "--status", "--json", "--control", path], capture_output=True,
                                         text=True, timeout=PATIENCE, check=True).stdout)

    def kill(self):
        """End it as a crash would; again() makes the next one."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """End it as its operator would; its whole log. The sanitizers' word is the exit status."""
        self.process.terminate()
        assert self.process.wait(timeout=PATIENCE) == 0, self.log
        assert "Sanitizer" not in self.log and "runtime error" not in self.log, self.log
        return self.log


class Report:
    """The account of a program, from the file of --report, and its log."""

    def __init__(self, log, report):
        self.log = log
        self.report = json.loads(report)

    def __getitem__(self, name):
        """A row by its name: "engine.responses", or the sum of a section: "ended.*"."""
        section, key = name.split(".")
        rows = self.report["account"][section]
        return sum(rows.values()) if key == "*" else rows[key]

    def balanced(self):
        """The equations that must hold whatever happened, added up anew."""
        assert self.report["equations"]
        for equation in self.report["equations"]:
            left, right = (sum(self[name] for name in equation[side].split(" + ")) for side in ("left", "right"))
            assert left == right == equation["left_sum"], (equation, self.log)
            assert equation["balanced"]
            assert f"{equation['what']}: {left} = {right}, balanced" in self.log
        return True


class Account(Report):
    """That of tcpcopy."""

    def outcomes(self):
        """How many sessions ended in each way, without those in which none did."""
        return {name: n for name, n in self.report["account"]["ended"].items() if n}


class Replay:
    """intercept on the assistant, or the host `at`, and tcpcopy on the online server. `target` and `server` are other
    addresses of the target and of intercept's host; without `filters` intercept captures what is announced.
    """

    def __init__(self, lab, port=6379, v6=False, tcpcopy=(), intercept=(), prefix=(), at="assistant", interface="eth0",
                 target=None, server=None, filters=True):
        self.lab = lab
        assistant = lab.host(at)
        target = target or (lab.host("target").ip6 if v6 else lab.host("target").ip4)
        rule = f"[{lab.host('online').ip6}]:{port}-[{target}]:{port}" if v6 else f"{port}-{target}:{port}"
        server = server or (assistant.ip6 if v6 else assistant.ip4)
        server = f"[{server}]" if v6 else server
        self.intercept_report_path, self.report_path = lab.new_path("intercept.json"), lab.new_path("tcpcopy.json")
        words = ["-i", interface] if interface else []
        words += ["-F", "tcp", "and", "src", "port", port] if filters else []
        self.intercept = Program(assistant, "intercept", *words, "--report",
                                 self.intercept_report_path, *intercept, prefix=prefix).wait_ready()
        self.tcpcopy = Program(lab.host("online"), "tcpcopy", "-x", rule, "-s", server, "--report", self.report_path,
                               *tcpcopy, prefix=prefix).wait_ready()

    def restart(self, name):
        """Kill "intercept" or "tcpcopy" and start it anew as soon as that is possible."""
        getattr(self, name).kill()
        setattr(self, name, getattr(self, name).again().wait_ready())

    def alive(self):
        return self.tcpcopy.process.poll() is None and self.intercept.process.poll() is None

    def stop(self):
        """The account of tcpcopy; both programs have ended cleanly and their accounts balance."""
        account = Account(self.tcpcopy.stop(), self.report_path.read_text())
        self.intercept_log = self.intercept.stop()
        account.balanced()
        self.intercept_account = Report(self.intercept_log, self.intercept_report_path.read_text())
        self.intercept_account.balanced()
        return account


def started(make):
    """For fixtures: a function that starts what make() makes, which has a tcpcopy. What a test that fails has left running
    says where it stands.
    """
    made = []

    def start(*args, **kwargs):
        made.append(make(*args, **kwargs))
        return made[-1]
    yield start
    for r in made:
        if r.tcpcopy.process.poll() is None:
            with contextlib.suppress(Exception):
                print(json.dumps({k: {row: n for row, n in v.items() if n} for k, v in
                                  r.tcpcopy.status()["account"].items() if isinstance(v, dict)}))


@pytest.fixture
def replay(lab):
    """A function that starts the two programs: replay(port=80, v6=True, tcpcopy=["-W"])."""
    yield from started(functools.partial(Replay, lab))


@pytest.fixture
def alone(lab):
    """A function that starts tcpcopy without an assistant: alone("--workers", 2, v6=True)."""
    from alone import Alone     # which needs what is above
    yield from started(functools.partial(Alone, lab))


@pytest.fixture
def servers(lab):
    """redis on the online server and the target."""
    return [lab.redis(name) for name in ("online", "target")]


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """The folder of a MariaDB with accounts, to be copied."""
    path = tmp_path_factory.mktemp("accounts") / "data"
    if not shutil.which("mariadb-install-db"):
        pytest.skip("needs mariadb-server-core")
    subprocess.run(["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={path}", "--skip-test-db",
                    "--auth-root-authentication-method=normal", "--innodb-log-file-size=4M"], check=True, capture_output=True)
    yield path
    shutil.rmtree(path)


def run_all(host, commands, timeout=5 * PATIENCE):
    """Run commands side by side in one host; all must succeed."""
    running = [host.popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for c in commands]
    for process in running:
        out, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, out

#!/usr/bin/python3
"""The command line of tcpcopy, as a user meets it: what is refused, in which words, with which status.

TCPCOPY_BIN_DIR names the directory of the programs; without it they are those at the top of the tree.
Everything that starts runs in a network namespace of its own that has one address, 10.90.111.142.
"""
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import PATIENCE
from labnet.watched import Watchdog

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TCPCOPY = os.path.join(os.environ.get("TCPCOPY_BIN_DIR", ROOT), "tcpcopy")

ONLINE = "10.90.111.142"
RULE = "6379-10.90.109.143:6379"
ASSISTANT = "10.90.110.143"
ABSENT = "127.0.0.1:9"  # nobody listens on loopback's port 9 of a fresh namespace
GOOD = ["-x", RULE, "-s", ASSISTANT]
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def run(*args, prefix=(), **options):
    return subprocess.run([*prefix, TCPCOPY, *args], capture_output=True, text=True, timeout=PATIENCE, **options)


def refused(result, option, value, *words):
    """One line names the option, the value as typed, what is wrong and what is accepted."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    head = f'tcpcopy: option {option}' + (f' "{value}": ' if value is not None else ": ")
    assert result.stderr.startswith(head)
    for word in (*words, "accepted: "):
        assert word in result.stderr


BAD_RULES = [
    ("", "empty"),
    ("a-b", 'online port "a"'),
    ("6379", "there is no"),
    ("6379-6380", "the target has no address"),
    ("6379-10.90.109.143", "the target has no port"),
    ("0-10.90.109.143:6379", 'online port "0"'),
    ("99999-10.90.109.143:6379", 'online port "99999"'),
    ("6379-10.90.109.143:99999", 'target port "99999"'),
    ("6379-10.90.109.999:6379", "not an IPv4 address"),
    ("6379-fd90::109:143:6379", "brackets"),
    ("6379-nowhere.invalid:6379", '"nowhere.invalid" does not resolve'),
    ("6379-127.0.0.1:6379", "this very host"),
    ("6379-[::1]:6379", "this very host"),
    (f"{ONLINE}:6379-{ONLINE}:6379", "the online server itself"),
    (f"{ONLINE}:6379-[fd90::109:143]:6379", "IPv4 and the other IPv6"),
]


@pytest.mark.parametrize("value, word", BAD_RULES)
def test_bad_rule(value, word):
    refused(run("-x", value, "-s", ASSISTANT), "-x", value, word)


def test_two_rules_for_one_port():
    second = "6379-10.90.109.144:6379"
    refused(run("-x", f"{RULE},{second}", "-s", ASSISTANT), "-x", second, RULE)
    refused(run("-x", RULE, "-x", second, "-s", ASSISTANT), "-x", second, RULE)
    refused(run("-x", RULE, "-x", f"{ONLINE}:{second}", "-s", ASSISTANT), "-x", f"{ONLINE}:{second}", RULE)


BAD_VALUES = [
    ("-s", f"{ASSISTANT}:99999", 'port "99999"'),
    ("-s", "fd90::110:143", "brackets"),
    ("-s", "nowhere.invalid", "does not resolve"),
    ("-p", "0", "out of range"),
    ("--workers", "0", "out of range"),
    ("--workers", "33", "out of range"),
    ("--workers", "many", "auto"),
    ("--cpus", "", "not a list of CPUs"),
    ("--cpus", "0-", "not a list of CPUs"),
    ("--cpus", "1-0", "not a list of CPUs"),
    ("--cpus", "0,", "not a list of CPUs"),
    ("--cpus", "0,999", "CPU 999 is not available; available: 0"),
    ("-p", "99999", "out of range"),
    ("-c", "10.90.109.x", "the target's address"),
    ("-c", "10.90.110.0/24", "the assistant's address"),
    ("-c", "fd90:1::/64", "address family"),
    ("-c", "10.1.2.300", "neither an address"),
    ("-i", "nosuchdevice", "no such interface", "lo"),
    ("-F", "", "empty"),
    ("-F", "tcp and flavour sweet", "syntax error"),
    ("-M", "100", "576 to 65535"),
    ("--inject", "wire", "link, raw or auto"),
    ("--capture", "net", "auto, ring or packet"),
    ("-B", "8000", "1M to 4G"),
    ("--hold", "3", "unit"),
    ("--probe-from", ASSISTANT, "an assistant"),
    ("--probe-from", "10.90.114.82:0", 'port "0"'),
    ("--probe-from", "fd90::114:82", "brackets"),
    ("--probe-from", "[fd90::114:82]:7000", "address family"),
    ("--session-buffer", "1", "64K"),
    ("-m", "1K", "1M"),
    ("--stats", "1ms", "100ms"),
    ("-l", "", "not a file name"),
    ("-P", "/", "not a file name"),
    ("--report", "", "not a file name"),
    ("--report", "/tmp/", "not a file name"),
    ("--control", "", "not a file name"),
]


@pytest.mark.parametrize("option, value, words", [(o, v, w) for o, v, *w in BAD_VALUES])
def test_bad_value(option, value, words):
    refused(run(*GOOD, option, value), option, value, *words)


def test_missing():
    refused(run("-s", ASSISTANT), "-x", None, "missing")
    refused(run("-x", RULE, "--return", "assistant"), "-s", None, "missing")
    refused(run(*GOOD, "-F", "-d"), "-F", None, "missing", "-d")
    refused(run(*GOOD, "-F"), "-F", None, "missing")


@pytest.mark.parametrize("option", ["-l", "-P"])
def test_one_file_for_two_things(option):
    refused(run(*GOOD, option, "/tmp/x", "--report", "/tmp/x"), option, "/tmp/x", "--report")


def test_status_needs_nothing_else(tmp_path):
    for args in (["--status"], ["--json"]):
        result = run(*args, "--control", tmp_path / "none")
        assert result.returncode == 1 and result.stdout == ""
        assert f"status of {tmp_path}/none: there is no such socket" in result.stderr
    result = run("--status", "--control", "/" + 200 * "x")
    assert result.returncode == 1 and "107 characters" in result.stderr


def test_contradiction():
    refused(run(*GOOD, "-W", "--hold=2s"), "-W", None, "--hold")


def test_words_of_an_unquoted_filter_belong_to_it():
    """The error comes from libpcap, so the words arrived there as one filter, and -d did not."""
    refused(run(*GOOD, "-F", "tcp", "and", "flavour", "6379", "-d"), "-F", "tcp and flavour 6379")


def test_unknown():
    for word in ("--nonsense", "-Z", "word"):
        result = run(*GOOD, word)
        assert result.returncode == 2
        assert word in result.stderr and "accepted" in result.stderr


def test_version():
    with open(os.path.join(ROOT, "VERSION"), encoding="utf-8") as version:
        expected = f"tcpcopy {version.read().strip()}\n"
    assert run("-v").stdout == run("--version").stdout == expected


class Host:
    """A network namespace with ONLINE on one end of a veth pair, and the processes started in it."""

    def __init__(self, name):
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)
        self.started = []

    def ip(self, words):
        subprocess.run([*self.prefix, "ip", *words.split()], check=True)

    def run(self, *args, **options):
        return run(*args, prefix=self.prefix, **options)

    def start(self, *args, log):
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen([*self.prefix, TCPCOPY, *args], stderr=output)
        self.started.append(process)
        wait_for(lambda: "ready" in text(log) or "trying again" in text(log), lambda: text(log))
        return process

    def pids(self):
        out = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [int(pid) for pid in out.stdout.split()]

    def end(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGTERM)
        for process in self.started:
            process.wait(PATIENCE)
        wait_for(lambda: not self.pids(), self.pids)


def text(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def wait_for(condition, explain):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


@pytest.fixture
def host():
    prefix = f"options{os.getpid()}"
    h = Host(f"{prefix}-host")
    watchdog = Watchdog(prefix, f"/nonexistent/{prefix}")
    subprocess.run(["ip", "netns", "add", h.name], pass_fds=watchdog.fds, check=True)
    try:
        h.ip("link set lo up")
        h.ip("link add a0 type veth peer name b0")
        h.ip(f"address add {ONLINE}/16 dev a0")
        h.ip("link set a0 up")
        h.ip("link set b0 up")
        yield h
        h.end()
    finally:
        for pid in h.pids():
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", h.name], check=True)
        watchdog.end()


@needs_root
def test_target_is_an_address_of_this_host(host):
    refused(host.run("-x", f"6379-{ONLINE}:6380", "-s", ASSISTANT), "-x", f"6379-{ONLINE}:6380", "this very host")
    refused(host.run(*GOOD, "-c", "10.90.111.x"), "-c", "10.90.111.x", ONLINE, "an address of this host")


@needs_root
def test_no_route_to_the_target(host):
    result = host.run("-x", "6379-192.0.2.7:6379", "-s", ABSENT)
    assert result.returncode == 1
    assert '"6379-192.0.2.7:6379"' in result.stderr and "no route" in result.stderr
    assert result.stderr.count("\n") == 1       # nor does a sanitizer complain of what is left


def anybodys(tmp_path):
    """A copy of tcpcopy that every user can start."""
    for path in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(path, 0o755)
    return shutil.copy(TCPCOPY, tmp_path)


@needs_root
def test_no_permission(host, tmp_path):
    """Everybody may ask for the options, but capturing needs a capability, and the message says which."""
    program = anybodys(tmp_path)
    result = subprocess.run([*host.prefix, "setpriv", f"--reuid={NOBODY}", "--clear-groups", program, "-x", RULE,
                             "-s", ABSENT, "-L"], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 1, result.stderr
    assert "CAP_NET_RAW" in result.stderr


@needs_root
def test_no_permission_to_ask(host, tmp_path):
    """A directory of sockets that may not be read is not an empty one."""
    program = anybodys(tmp_path)
    directory = re.search(r"\[(/\S+)/tcpcopy-PID\.sock\]", " ".join(run("--help", "all").stdout.split()))[1]
    for mode, words in ("0700", "Permission denied; ask as root"), ("0755", "none is running"):
        command = f"mount -t tmpfs tmpfs {os.path.dirname(directory)} && mkdir -m {mode} {directory} && " \
                  f"exec setpriv --reuid={NOBODY} --clear-groups {program} --status"
        result = subprocess.run([*host.prefix, "unshare", "-m", "sh", "-c", command], capture_output=True, text=True,
                                timeout=PATIENCE)
        assert result.returncode == 1 and words in result.stderr, result.stderr


@needs_root
@pytest.mark.parametrize("daemon", [[], ["-d"]])
@pytest.mark.parametrize("where, words", [(ABSENT, "it names this very host"), ("192.0.2.9:9", "use -L to keep trying")])
def test_assistant_cannot_be_reached(host, where, words, daemon):
    result = host.run("-x", RULE, "-s", where, *daemon)
    assert result.returncode == 1, result.stderr
    assert where in result.stderr and words in result.stderr
    wait_for(lambda: not host.pids(), host.pids)


@needs_root
@pytest.mark.parametrize("daemon", [[], ["-d"]])
@pytest.mark.parametrize("option, name", [("-l", "no/such/file"), ("-P", "no/such/file")])
def test_file_cannot_be_written(host, tmp_path, option, name, daemon):
    path = str(tmp_path / name)
    result = host.run("-x", RULE, "-s", ABSENT, "-L", option, path, *daemon)
    assert result.returncode == 1, result.stderr
    assert f'option {option} "{path}"' in result.stderr
    wait_for(lambda: not host.pids(), host.pids)


@needs_root
def test_second_tcpcopy_on_the_same_rule(host, tmp_path):
    first = host.start("-x", RULE, "-s", ABSENT, "-L", log=tmp_path / "first")
    for rule in (RULE, f"{ONLINE}:{RULE}"):
        result = host.run("-x", rule, "-s", ABSENT, "-L", "-d")
        assert result.returncode != 0
        assert f'option -x "{rule}"' in result.stderr
        assert f"process {first.pid}" in result.stderr
    assert host.pids() == [first.pid]
    # Another target for the same port is another rule, and with the process its claims are gone.
    # with words of the original tool's, each of which is one line
    other = host.start("-x", "6379@00:16:3e:00:00:01-10.90.109.144:6379@00:16:3e:00:00:02", "-s", ABSENT, "-L", "-R", "30",
                       "-C", "2", log=tmp_path / "other")
    assert text(tmp_path / "other").count("ignored: ") == 3
    assert "option -R is ignored: round-trip times are measured\n" in text(tmp_path / "other")
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE) == 0
    host.start("-x", RULE, "-s", ABSENT, "-L", log=tmp_path / "again")
    assert other.poll() is None


@needs_root
def test_daemon_and_its_files(host, tmp_path):
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    files = ["-l", "log", "-P", "pid"]  # relative to the directory of the start
    result = host.run("-x", RULE, "-s", ABSENT, "-L", "-d", *files, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    pid = int(text(pid_file))
    assert host.pids() == [pid]
    assert "rule: IPv4 requests to port 6379 of this host -> 10.90.109.143:6379" in text(log)
    assert "authenticated" not in text(log)  # it stays on this host

    result = host.run("-x", "80-10.90.109.143:80", "-s", ABSENT, "-L", "-d", "-P", str(pid_file))
    assert result.returncode == 1
    assert f'option -P "{pid_file}"' in result.stderr and str(pid) in result.stderr
    assert host.pids() == [pid]

    os.rename(log, tmp_path / "log.1")
    os.kill(pid, signal.SIGHUP)
    wait_for(log.exists, lambda: "no new log file")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: "account" in text(log), lambda: text(log))
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not host.pids(), host.pids)
    assert not pid_file.exists()
    assert text(log).count("account") >= 2


@needs_root
def test_daemon_without_log_file_says_where_its_messages_go(host):
    result = host.run("-x", RULE, "-s", ABSENT, "-L", "-d")
    assert result.returncode == 0, result.stderr
    assert "syslog" in result.stderr
    assert len(host.pids()) == 1

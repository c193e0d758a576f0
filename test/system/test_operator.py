#!/usr/bin/python3
"""What is in the way of a start or a run, and what each program says of it: nothing waits, and nothing of others is lost."""

import fcntl
import json
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import struct
import subprocess

import pytest
from conftest import BIN, PATIENCE, SANITIZED, TOP, Program, wait_until
from test_intercept import WATCH, FakeTcpcopy, endpoint
from workload import appends, ask, closed, connect, equal, pair

PROGRAMS = {"tcpcopy": ("online", ["-x", "6379-10.90.109.250:6379", "-s", "127.0.0.1", "-L"]),
            "intercept": ("assistant", ["-i", "eth0"])}
OPTIONS = {"log": "-l", "pid": "-P", "report": "--report"}
OTHERS = "somebody else's\n"


@pytest.fixture(params=sorted(PROGRAMS))
def program(request, lab):
    """A function that runs the program with more arguments, until it is ready or has failed."""
    host, args = PROGRAMS[request.param]

    def run(*more, ready=False, prefix=()):
        if not ready:
            return lab.host(host).run([*prefix, BIN / request.param, *args, *more], timeout=PATIENCE)
        running = Program(lab.host(host), request.param, *args, *more, prefix=prefix)
        assert wait_until(lambda: works(running.log) or running.process.poll() is not None)
        assert running.process.poll() is None, running.log
        return running
    run.name = request.param
    run.start = lambda *more, prefix=(), **kwargs: lab.host(host).popen([*prefix, BIN / request.param, *args, *more], **kwargs)
    return run


def status(name, control):
    """What a program says of itself; None: it does not answer."""
    done = subprocess.run([BIN / name, "--status", "--json", "--control", control], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def works(log):
    """Has it started, though nobody answers tcpcopy?"""
    return "ready" in log or "trying again" in log


def make(path, kind):
    """Something at `path`, and a file that it must not touch."""
    other = path.with_name("other")
    other.write_text(OTHERS)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "link":
        path.symlink_to(other)
    elif kind == "hard":
        other.write_text("" if path.name == "pid" else OTHERS)
        os.link(other, path)
    elif kind == "dangling":
        path.symlink_to(path.with_name("new"))
    elif kind == "directory":
        path.mkdir()
    elif kind == "text":
        path.write_text(OTHERS)
    return path.lstat()


WORDS = {"fifo": "it is not a regular file", "socket": "it is not a regular file", "link": "it is a symbolic link",
         "dangling": "it is a symbolic link", "directory": "Is a directory",
         "hard": "it has another name as well (a hard link)"}
REPLACED = ("hard", "report")               # of which the name alone is taken


@pytest.mark.parametrize("kind", sorted(WORDS))
@pytest.mark.parametrize("what", sorted(OPTIONS))
def test_in_the_way_at_the_start(lab, program, what, kind):
    if (kind, what) == REPLACED:
        pytest.skip("a report takes a name and leaves the file")
    place = lab.directory / "place"
    place.mkdir()
    before = make(place / what, kind)
    for more in [[], ["-d"]]:
        done = program(OPTIONS[what], place / what, *more)
        assert done.returncode == 1 and WORDS[kind] in done.stderr and str(place / what) in done.stderr, done.stderr
        after = (place / what).lstat()
        assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
        assert (place / "other").read_text() == ("" if (kind, what) == ("hard", "pid") else OTHERS) and not (place / "new").exists()


def test_files_of_others(lab, program):
    """A PID file replaces a PID alone; the name beside a report is taken from nobody; a log is appended to."""
    place = lab.directory / "place"
    place.mkdir()
    make(place / "pid", "text")
    done = program("-P", place / "pid")
    assert done.returncode == 1 and "there is a file, but it holds no process ID" in done.stderr
    assert (place / "pid").read_text() == OTHERS
    make(place / ".report.new", "fifo")
    done = program("--report", place / "report")
    assert done.returncode == 1 and "the file .report.new beside it is somebody else's" in done.stderr
    assert stat.S_ISFIFO((place / ".report.new").lstat().st_mode)
    os.unlink(place / ".report.new")
    (place / ".report.new").write_text(OTHERS)
    os.chown(place / ".report.new", 65534, 65534)
    assert program("--report", place / "report").returncode == 1
    assert (place / ".report.new").read_text() == OTHERS
    os.chown(place / ".report.new", 0, 0)                               # as a crash leaves it
    (place / "pid").write_text("12345\n")
    make(place / "log", "text")
    process = program.start("-P", place / "pid", "-l", place / "log", "--report", place / "report")
    assert wait_until(lambda: works((place / "log").read_text()))
    assert (place / "pid").read_text() == f"{process.pid}\n"
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert (place / "log").read_text().startswith(OTHERS)
    assert json.loads((place / "report").read_text())["program"] == program.name
    assert not (place / ".report.new").exists() and not (place / "pid").exists()


def test_log_to_nowhere(lab, program):
    """/dev/null is the one device that a log may have."""
    pid_file = lab.new_path("pid")
    done = program("-d", "-P", pid_file, "-l", "/dev/null")
    assert done.returncode == 0, done.stderr
    os.kill(int(pid_file.read_text()), signal.SIGHUP)
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    assert wait_until(lambda: not pid_file.exists())


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_put_in_the_way_later(lab, program, kind):
    """At the time of a report, of a log opened again, and of the end."""
    place = lab.directory / "place"
    place.mkdir()
    other = place / "other"
    (place / "pid").write_text("12345\n")                               # a crash has left it
    (place / ".report.new").write_text("half a rep")
    running = program("-P", place / "pid", "--report", place / "report", ready=True)
    assert (place / "pid").read_text() == f"{running.process.pid}\n"
    running.process.send_signal(signal.SIGUSR1)
    assert wait_until((place / "report").exists)
    for name in ("report", "pid"):
        os.unlink(place / name)
        make(place / name, kind)
    os.kill(running.process.pid, signal.SIGUSR1)
    assert wait_until(lambda: f'cannot write the report "{place / "report"}": {WORDS[kind]}' in running.log), running.log
    os.unlink(place / "report")
    make(place / ".report.new", kind)
    assert running.status()["program"] == program.name

    def said():
        running.process.send_signal(signal.SIGUSR1)                     # the log takes one such line a second
        return "the file .report.new beside it is somebody else's" in running.log
    assert wait_until(said, step=0.3), running.log
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE) == 0
    assert (place / "pid").is_symlink() or (place / "pid").is_fifo()
    assert other.read_text() == OTHERS


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_log_in_the_way_later(lab, program, kind):
    place = lab.directory / "place"
    place.mkdir()
    log = place / "log"
    process = program.start("-l", log)
    assert wait_until(lambda: log.exists() and works(log.read_text()))
    log.rename(place / "log.1")
    make(log, kind)
    process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: f'cannot reopen the log "{log}": {WORDS[kind]}; keeping the old file'
                      in (place / "log.1").read_text())
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert (place / "other").read_text() == OTHERS


CALLER = """
import os, resource, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [n for n in range(1, 32)])
for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_IGN if number == signal.SIGCHLD else signal.SIG_DFL)
most = 4096 if sys.argv[1].endswith("tcpcopy") else 1500      # their first lines, and no report
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_signals_and_limits_of_the_caller(lab, program):
    """What the caller has blocked or ignored does not stop a program from ending; a file that may not grow is like a full
    disk."""
    report, log = lab.new_path("report"), lab.new_path("log")
    running = program.start("--report", report, "-l", log, prefix=["/usr/bin/python3", "-c", CALLER])
    assert wait_until(lambda: log.exists() and works(log.read_text()))
    running.send_signal(signal.SIGUSR1)
    running.terminate()
    assert running.wait(PATIENCE) == 0
    assert not report.exists() and log.stat().st_size <= 4096


def test_caller_ignores_the_end_of_its_children(lab, program):
    """With -d the words of a failed start arrive all the same, and the status."""
    host, args = PROGRAMS[program.name]
    more = ["-b", "10.99.99.99"] if program.name == "intercept" else ["-b", "nowhere0"]
    done = lab.host(host).run(["/usr/bin/python3", "-c", CALLER, BIN / program.name, *args, *more, "-d"], timeout=PATIENCE)
    assert done.returncode in (1, 2) and done.stderr.count("\n") >= 1


def test_nobody_reads_the_log(lab, program):
    """stderr is a pipe whose reader waits, as a pager does, or is gone: the program goes on, answers, and ends."""
    for gone in (False, True):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        control = lab.new_path("control")
        process = program.start("--control", control, stderr=writer)
        os.close(writer)
        assert wait_until(lambda: status(program.name, control))
        if gone:
            os.close(reader)
        for _ in range(5):
            process.send_signal(signal.SIGUSR1)
            assert status(program.name, control)["program"] == program.name
        process.terminate()
        assert process.wait(PATIENCE) == 0
        if not gone:
            os.close(reader)


def test_daemon_keeps_nothing_of_its_caller(lab, program):
    """Whoever waits for the end of what he had open gets it when the daemon is ready."""
    pid_file = lab.new_path("pid")
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    host, args = PROGRAMS[program.name]
    with lab.host(host).inside():
        done = subprocess.run([BIN / program.name, *args, "-d", "-P", pid_file, "-l", lab.new_path("log")], pass_fds=[writer],
                              capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0
    os.close(writer)
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b""
    pid = int(pid_file.read_text())
    assert not any(os.readlink(fd).startswith("pipe:") for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()
                   if int(fd.name) < 3)
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: not pid_file.exists())


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["start", "check"])
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_no_proc(lab, name, check):
    """What cannot be known without /proc is not guessed: forwarding that is off, or a permission that is lacking."""
    plain = pathlib.Path(os.environ.get("TCPCOPY_PLAIN_DIR", TOP))     # sanitizers need /proc themselves
    host, args = PROGRAMS[name]
    done = lab.host(host).run(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh", plain / name,
                               *args, *check], timeout=PATIENCE)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"{name}: cannot read /proc") and "mount -t proc proc /proc" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


FALSE = ["does not exist", "no interface", "no route", "no such interface"]
# Both end by themselves, for another reason, when they have all the files that they want.
ENDS = {"tcpcopy": (["-x", "6379-10.90.109.250:6379", "-s", "127.0.0.1"], "cannot reach the assistant"),
        "intercept": (["-b", "10.99.99.99"], "this is not an address of this host")}


@pytest.mark.parametrize("more", [[], ["-i", "eth0", "--workers", "2"], ["-d"]], ids=["any", "workers", "daemon"])
@pytest.mark.parametrize("name", sorted(ENDS))
def test_few_descriptors(lab, name, more):
    """Whichever step of the start finds no number for a file left, the words say so and nothing else."""
    args, end = ENDS[name]
    host = lab.host(PROGRAMS[name][0])
    enough = 0
    for limit in [*range(5, 64), 256]:
        done = None
        while not done or "another tcpcopy" in done.stderr:             # the daemon before is about to end
            done = host.run(["prlimit", f"--nofile={limit}:{limit}", BIN / name, *args, *more], timeout=PATIENCE)
        assert done.returncode == 1, (limit, done)
        assert [words for words in FALSE if words in done.stderr] == [], (limit, done.stderr)
        why = [words for words in ("Too many open files", "may open only", "file descriptors") if words in done.stderr]
        if not why:
            assert end in done.stderr, (limit, done.stderr)
            enough = enough or limit
    assert 5 < enough <= 256


def test_few_descriptors_by_check(lab):
    """With so few that tcpcopy does not start, that is broken; it is a warning where only many sessions would lack some."""
    args, _ = ENDS["tcpcopy"]
    for limit, level in (28, "broken"), (40, "warning"):
        done = lab.host("online").run(["prlimit", f"--nofile={limit}:{limit}", BIN / "tcpcopy", *args, "--check"], timeout=PATIENCE)
        (line,) = [line for line in done.stdout.splitlines() if " limits " in line]
        assert line.startswith(level) and f"may open only {limit} files" in line and line.endswith("ulimit -n 1024"), done.stdout
        assert done.returncode == 1


# What the dynamic linker says of less than what the libraries need is not ours.
LINKER = "error while loading shared libraries"


@pytest.mark.skipif(SANITIZED, reason="the sanitizer reserves terabytes of addresses")
@pytest.mark.parametrize("more", [[], ["--workers", "2"], ["-d"]], ids=["one", "workers", "daemon"])
@pytest.mark.parametrize("name", sorted(ENDS))
def test_little_memory(lab, name, more):
    """Whichever step of the start finds no memory, the words say so, name the limit, and leave nothing half done."""
    args, end = ENDS[name]
    host, pid_file, report = lab.host(PROGRAMS[name][0]), lab.new_path("pid"), lab.new_path("report")
    enough, lacking = 0, 0
    for limit in [*range(15, 28), *range(28, 72, 4), 90, 110, 130, 150, 180, 220, 1000]:
        done = None
        while not done or "another tcpcopy" in done.stderr:
            done = host.run(["prlimit", f"--as={limit << 20}:{limit << 20}", BIN / name, *args, *more, "-P", pid_file,
                             "--report", report], timeout=PATIENCE)
        if LINKER in done.stderr:
            assert limit < 40
            continue
        assert done.returncode == 1 and not pid_file.exists(), (limit, done)
        assert [words for words in FALSE if words in done.stderr] == [], (limit, done.stderr)
        if end not in done.stderr:
            assert f"(this process may have only {limit} MB of memory" in done.stderr, (limit, done.stderr)
            assert not enough or limit < enough + 100, (limit, done.stderr)
            lacking += 1
        enough = enough or limit * (end in done.stderr)
    assert lacking >= 3 and 15 < enough < 1000


@pytest.mark.skipif(SANITIZED, reason="the sanitizer reserves terabytes of addresses")
def test_no_memory_left_for_watches(lab, replay):
    """intercept refuses more of them, counts that and says so; the sessions that it has go on. tcpcopy without memory is
    tested with the faults of programs.
    """
    online, target = pair(lab)
    copy = replay()
    older = connect(lab)
    ask(older, "append older 0.")
    assert equal(online, target)
    pid = copy.intercept.process.pid
    size = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    crowd = FakeTcpcopy(lab)
    for block in range(100):
        crowd.socket.sendall(b"".join(struct.pack(">BBHQ", WATCH, 0, 44, block << 10 | n) + endpoint("10.9.9.9", 9) +
                                      endpoint(f"10.1.{block}.{n >> 5}", 1000 + n) for n in range(1 << 10)))
    crowd.settle()
    deaf = connect(lab)                      # the tcpcopy of good traffic is refused as well, and told so
    assert wait_until(lambda: copy.tcpcopy.status()["account"]["ended"]["unwatched"] == 1)
    deaf.close()
    account = copy.intercept.status()["account"]["watches"]
    assert account["refused"] == crowd.full + 1 and crowd.full > 0 and account["watches"] > 100
    assert re.search("cannot watch a session for .*: out of memory", copy.intercept.log)
    for n in range(10):
        ask(older, f"append older {n}.")
    assert equal(online, target)
    resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    crowd.socket.close()
    appends(lab, connections=4, commands=50)
    assert equal(online, target)
    older.close()
    assert closed(lab)
    account = copy.stop()
    assert account.outcomes() == {"unwatched": 1, "complete": account["engine.sessions_opened"] - 1}, account.log
    assert account["channel.watches_refused"] == 1 and account["engine.lost_bytes"] == 0
    assert account.log.count("has no room for more sessions, which end at once as unwatched") == 1

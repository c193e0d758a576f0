#!/usr/bin/python3
"""What the programs hold once they run, and that they can do with it all that they have to.

A build with sanitizers has no sandbox, so these tests are of the plain build: TCPCOPY_PLAIN_DIR, or the top of the tree.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess

import conftest
import pytest
from conftest import PATIENCE, TOP, Replay, wait_until
from workload import all_complete, appends, closed, equal, pair

PLAIN = pathlib.Path(os.environ.get("TCPCOPY_PLAIN_DIR", TOP))
NOBODY = 65534
TABLE_NAME = "tcpcopy_intercept"


@pytest.fixture(autouse=True)
def plain_build(monkeypatch):
    monkeypatch.setattr(conftest, "BIN", PLAIN)


def status(pid):
    """/proc/PID/status: name to value."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def holds_nothing(process, uid=0):
    """Neither capabilities nor a way to get any, in each thread."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        of = status(f"{process.pid}/task/{task}")
        assert of["NoNewPrivs"] == "1" and of["Seccomp"] == "2", of
        assert {of[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}, of
        assert of["Uid"].split() == [str(uid)] * 4, of
    return True



def give(lab, user):
    """The lab's directory, where reports are written, is this user's."""
    if user:
        lab.directory.chmod(0o711)
        shutil.chown(lab.directory, user)


@pytest.mark.parametrize("user", [None, "nobody"])
def test_all_that_happens_at_run_time(lab, tmp_path, user):
    """Replication, with a secret, logs opened again, a connection made anew, targets for the guard, and the end."""
    online, target = pair(lab)
    lab.host("assistant").sysctl(net__ipv4__ip_forward=1)
    os.chmod(tmp_path, 0o711)
    for directory in pathlib.Path(tmp_path).parents:
        if str(directory).startswith("/tmp/"):
            os.chmod(directory, 0o711)
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    give(lab, user)
    options = {}
    for name in ("tcpcopy", "intercept"):
        place = tmp_path / name
        place.mkdir()
        if user:
            shutil.chown(place, user)
        options[name] = ["--secret", secret, "-P", place / "pid"] + (["--user", user] if user else [])
    copy = Replay(lab, tcpcopy=[*options["tcpcopy"], "--workers", 2], intercept=[*options["intercept"], "--guard"])
    uid = NOBODY if user else 0
    assert holds_nothing(copy.tcpcopy.process, uid) and holds_nothing(copy.intercept.process, uid)
    assert f"sandbox: user {user or 'root'}, no capabilities, system calls restricted, files restricted" in copy.tcpcopy.log
    appends(lab, connections=4, commands=200)
    assert equal(online, target)
    lab.host("online").check_output(["ss", "-K", "dport", "=", ":36524"])
    assert wait_until(lambda: copy.tcpcopy.log.count(": connected (") == 4), copy.tcpcopy.log
    appends(lab, connections=4, commands=200)
    assert equal(online, target)
    rules = lab.host("assistant").check_output(["nft", "list", "table", "inet", TABLE_NAME])
    assert f"{lab.host('target').ip4} . 6379" in rules
    helpers = [pid for pid in pathlib.Path(f"/proc/{copy.intercept.process.pid}/task/{copy.intercept.process.pid}"
                                           "/children").read_text().split()]
    (helper,) = map(status, helpers)
    assert helper["CapEff"] == helper["CapPrm"] == f"{1 << 12:016x}"    # CAP_NET_ADMIN
    assert {helper[f"Cap{kind}"] for kind in ("Inh", "Bnd", "Amb")} == {"0" * 16}
    assert helper["NoNewPrivs"] == "1" and helper["Seccomp"] == "2"
    assert closed(lab) and all_complete(copy.stop())
    assert not os.path.exists(tmp_path / "tcpcopy/pid") and not os.path.exists(tmp_path / "intercept/pid")
    assert TABLE_NAME not in lab.host("assistant").check_output(["nft", "list", "tables"])


@pytest.mark.parametrize("user", [None, "nobody"])
def test_log_rotation(lab, user):
    """SIGHUP opens a log that was moved away, also as another user in a directory of its own."""
    give(lab, user)
    place = lab.directory / "logs"
    place.mkdir()
    if user:
        shutil.chown(place, user)
    path = place / "log"
    with open(lab.new_path("stderr"), "w") as stderr:
        process = lab.host("assistant").popen([PLAIN / "intercept", "-i", "eth0", "-l", path,
                                               *(["--user", user] if user else [])], stderr=stderr)
    assert wait_until(lambda: path.exists() and "ready" in path.read_text())
    os.rename(path, f"{path}.1")
    process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: path.exists() and "log reopened" in path.read_text())
    assert path.stat().st_uid == (NOBODY if user else 0)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert "report:" in path.read_text()


def test_without_root(lab, monkeypatch):
    """A user, and CAP_NET_RAW on the files of the programs: everything but larger buffers."""
    online, target = pair(lab)
    give(lab, "nobody")
    place = lab.directory / "bin"
    place.mkdir()
    for name in ("tcpcopy", "intercept"):
        shutil.copy(PLAIN / name, place)
        subprocess.run(["setcap", "cap_net_raw+ep", place / name], check=True)
    monkeypatch.setattr(conftest, "BIN", place)
    copy = Replay(lab, prefix=["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
    assert holds_nothing(copy.tcpcopy.process, NOBODY) and holds_nothing(copy.intercept.process, NOBODY)
    assert "sandbox: user unchanged, no capabilities" in copy.tcpcopy.log
    appends(lab, connections=4, commands=200)
    assert equal(online, target)
    assert all_complete(copy.stop())


def test_options(lab):
    """--no-sandbox keeps everything and warns; users that do not exist are refused."""
    process = lab.host("assistant").popen([PLAIN / "intercept", "-i", "eth0", "--no-sandbox"], stderr=subprocess.PIPE,
                                          text=True)
    lines = []
    while not lines or "ready" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1]
    assert any("warning" in line or "no sandbox (--no-sandbox)" in line for line in lines)
    assert status(process.pid)["Seccomp"] == "0" and int(status(process.pid)["CapEff"], 16)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    for value, words in [("nobodyatall", "there is no user nobodyatall"), ("nobody:nogroupatall", "there is no group"),
                         ("", "a name is missing")]:
        for program in ("tcpcopy", "intercept"):
            done = subprocess.run([PLAIN / program, "--user", value], capture_output=True, text=True)
            assert done.returncode == 2 and f'{program}: option --user "{value}": {words}' in done.stderr


def test_units(tmp_path):
    """The units that make install puts into place are what systemd understands, and close to what the programs keep."""
    subprocess.run(["make", "-s", "-C", PLAIN, "install", f"DESTDIR={tmp_path}"], check=True, capture_output=True)
    for name in ("tcpcopy", "intercept"):
        (unit,) = tmp_path.glob(f"usr/local/lib/systemd/system/{name}.service")
        text = unit.read_text()
        assert "@" not in text.replace("@system-service", "") and f"ExecStart=/usr/local/sbin/{name} $" in text
        here = tmp_path / unit.name
        here.write_text(text.replace("/usr/local/sbin/", f"{PLAIN}/"))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""
        assert subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=30", here],
                              capture_output=True).returncode == 0


def test_a_lost_syslog(lab):
    """A daemon's lines go to the syslog of its start; when that is gone they are counted, and none go elsewhere."""
    dev, report, pid_file = lab.directory / "dev", lab.new_path("report"), lab.new_path("pid")
    dev.mkdir()
    for name, minor in [("null", 3), ("random", 8), ("urandom", 9)]:
        os.mknod(dev / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    syslog.bind(str(dev / "log"))
    lab.host("assistant").check_output(["unshare", "-m", "sh", "-c", f'mount --bind {dev} /dev && exec "$@"', "sh",
                                        PLAIN / "intercept", "-i", "eth0", "-d", "-P", pid_file, "--report", report])
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGUSR1)
    syslog.settimeout(PATIENCE)
    line = syslog.recv(4096).decode()
    assert line.startswith("<30>") and f" intercept[{pid}]: " in line
    os.unlink(dev / "log")
    syslog.close()
    syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    syslog.bind(str(dev / "log"))
    os.kill(pid, signal.SIGUSR1)
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: not pid_file.exists())
    assert wait_until(lambda: json.loads(report.read_text())["account"]["log"]["dropped"] > 0)
    syslog.setblocking(False)
    with pytest.raises(BlockingIOError):
        syslog.recv(4096)

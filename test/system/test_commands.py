#!/usr/bin/python3
"""The command lines in README, documents and manuals, as typed: the programs must accept each of them.

Each is typed on the host that it is for, by a user who may not capture. So a program parses and judges its command
line, and ends with status 1 where it would begin to work; status 2 is that of a command line that is wrong.
Those of the tree's own programs and of make are only looked up.
"""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BIN, PATIENCE, TOP
from labnet import Lab

HOSTS = {"tcpcopy": "online", "intercept": "assistant"}
PROGRAM = r"(?:sudo )?(?:tcpcopy|intercept) -"
NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")


def markdown(text, what=PROGRAM):
    """What is typed: indented lines without the comments at their ends, and spans of code."""
    blocks = re.findall(rf"^    ({what}.*?)(?:  +#.*)?$", text, re.MULTILINE)
    return blocks + re.findall(rf"`({what}[^`]*)`", text)


def manual(text):
    """What follows a prompt."""
    return re.findall(rf"^(?:\.Dl )?# ({PROGRAM}.*)", text.replace("\\e\n", ""), re.MULTILINE)


PAGES = [*sorted((TOP / "doc").glob("*.md")), TOP / "README.md"]


def commands():
    found = {c: p.name for p in PAGES for c in markdown(p.read_text(encoding="utf-8"))}
    found |= {c: p.name for p in (TOP / "man").glob("*.8") for c in manual(p.read_text(encoding="utf-8"))}
    return [pytest.param(command, id=f"{page}-{command}") for command, page in sorted(found.items())]


def test_there_are_some():
    assert len(commands()) > 10


@pytest.fixture(scope="module")
def hosts():
    """A lab with programs that everybody may start, and a secret."""
    with Lab() as lab:
        secret = lab.directory / "secret"
        secret.write_text("0123456789abcdef")
        secret.chmod(0o600)
        os.chown(secret, NOBODY, NOBODY)
        for program in HOSTS:
            shutil.copy(BIN / program, lab.directory / program)
        lab.directory.chmod(0o755)
        (lab.directory / "day.pcap").touch()    # what the documents name is there to be read
        lab.host("assistant").ip_batch(["link add tcb0 type veth peer name tcb1"])  # on the target, in fact
        yield lab


@pytest.mark.parametrize("command", commands())
def test_the_program_accepts_it(hosts, command):
    command = command.removeprefix("sudo ").replace("/etc/tcpcopy.secret", str(hosts.directory / "secret"))
    done = hosts.host(HOSTS[command.split(" ")[0]]).run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
         "env", f"PATH={hosts.directory}:{os.environ['PATH']}", "sh", "-c", command],
        cwd=hosts.directory)
    assert done.returncode in (0, 1), done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tree_has_it(page):
    """A program with the options that are typed, or a target of make."""
    text = page.read_text(encoding="utf-8")
    for command in markdown(text, r"(?:sudo )?(?:\./)?(?:check|demo|bench/|lab/|test/)"):
        program, *words = command.removeprefix("sudo ").split(" ")
        path = TOP / program
        assert path.exists() and (not words or os.access(path, os.X_OK)), command
        if options := {w for w in words if w[0] == "-"} - {"-h"}:
            said = subprocess.run([path, "-h"], capture_output=True, text=True, timeout=PATIENCE).stdout
            assert options <= set(re.findall(r"-[\w-]+", said)), command
    for command in markdown(text, "(?:sudo )?make "):
        words = [w for w in command.removeprefix("sudo ").split(" ") if w.isascii()]
        assert subprocess.run([words[0], "-n", *words[1:]], cwd=TOP, capture_output=True).returncode == 0, command

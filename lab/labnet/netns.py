"""Running the tools that make up a lab, and removing a lab by its name alone.

The removal needs nothing but the prefix and the directory, so that the owner,
its watchdog and `lab/lab down` all use the same one. It ends those processes
only that live in the lab's own namespaces.
"""

import os
import re
import shutil
import signal
import subprocess
import time

NETNS_DIR = "/run/netns"
PREFIX_PATTERN = re.compile(r"[a-z][a-z0-9]{0,31}")
HOST_PATTERN = re.compile(r"[a-z][a-z0-9]{0,9}")    # with ".r" it is an interface name


class LabError(Exception):
    """What could not be done, and what the tool that failed said about it."""


def tool(argv, stdin=None, pass_fds=(), timeout=60):
    """Run a command outside the hosts; return its output, raise LabError if it fails."""
    try:
        done = subprocess.run(argv, input=stdin, text=True, capture_output=True,
                              pass_fds=pass_fds, timeout=timeout)
    except FileNotFoundError:
        raise LabError(f"{argv[0]}: not found; lab/install-packages installs what the lab needs")
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def namespaces(prefix):
    """The namespaces of one lab, as they stand in the kernel."""
    pattern = re.compile(re.escape(prefix) + "-" + HOST_PATTERN.pattern)
    try:
        return sorted(name for name in os.listdir(NETNS_DIR) if pattern.fullmatch(name))
    except FileNotFoundError:
        return []


def pids(netns):
    """The processes that live in a namespace now."""
    done = subprocess.run(["ip", "netns", "pids", netns], text=True, capture_output=True)
    return [int(pid) for pid in done.stdout.split()]


def _kill_all(netns):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        # a zombie is no longer listed once it has given up its namespace
        left = pids(netns)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def sweep(prefix, directory):
    """End a lab's processes, remove its namespaces and its directory.

    Harmless when part of it, or all, is gone already. Returns whether there was
    anything left to remove.
    """
    found = namespaces(prefix)
    for netns in found:
        _kill_all(netns)
    for netns in found:
        subprocess.run(["ip", "netns", "delete", netns], capture_output=True)
    existed = os.path.isdir(directory)
    shutil.rmtree(directory, ignore_errors=True)
    return bool(found) or existed

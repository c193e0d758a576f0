"""Removes a lab whose owner died without doing so: python -m labnet.watchdog PREFIX DIR FD PID

FD is the reading end of a pipe. The owner holds the other end, and so do, for
as long as they run, the commands with which it builds the lab: the end of file
means that none of them is left that could still add something. An owner that
has cleaned up itself writes a byte first.

A process forked off the owner may hold the pipe open for longer than the owner
lives, so the owner's death is watched for as well, through a pidfd.
"""

import os
import select
import signal
import sys
import time

from .netns import sweep

GRACE = 2.0     # seconds given to what the owner's death left running


def owner_cleaned_up(fd, owner):
    """Wait for the end of the owner; return whether it had removed the lab itself."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        pidfd = os.pidfd_open(owner)
        poll.register(pidfd, select.POLLIN)
        poll.poll()
        poll.unregister(pidfd)
    except ProcessLookupError:
        pass
    return bool(poll.poll(GRACE * 1000)) and os.read(fd, 1) != b""


def main():
    prefix, directory, fd, owner = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # the owner's terminal is not ours: what ends the owner must not end us
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, signal.SIG_IGN)
    if owner_cleaned_up(fd, owner):
        return
    # once more after a pause: a process on its way into a namespace is seen then
    while sweep(prefix, directory):
        time.sleep(0.2)


if __name__ == "__main__":
    main()

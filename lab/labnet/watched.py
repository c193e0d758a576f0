"""A watchdog for namespaces of this process: see watchdog.py, which is the process that watches."""

import os
import pathlib
import subprocess
import sys

PACKAGE_ROOT = pathlib.Path(__file__).resolve().parent.parent


class Watchdog:
    """Removes the namespaces `prefix`-NAME, what runs in them, and `directory`, if this process dies before end().

    Commands that make such namespaces should inherit `fds`: while one of them runs, the watchdog waits for it.
    """

    def __init__(self, prefix, directory):
        reading, self._lifeline = os.pipe()
        self.fds = (self._lifeline,)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labnet.watchdog", prefix, str(directory), str(reading), str(os.getpid())],
            env=dict(os.environ, PYTHONPATH=str(PACKAGE_ROOT)), cwd="/", pass_fds=[reading],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        os.close(reading)

    def end(self):
        """They are removed: there is nothing to watch any more."""
        os.write(self._lifeline, b".")
        os.close(self._lifeline)
        self._process.wait(timeout=20)

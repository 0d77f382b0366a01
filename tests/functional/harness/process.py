# SPDX-License-Identifier: BSD-2-Clause
"""A child process whose output lines can be waited for."""
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import threading

from peers.record import Waiter


class Process:
    """Starts a program; collects stdout and stderr, line by line."""

    def __init__(self, arguments, cwd=None, environment=None, descriptors=None):
        self.lines = []
        self._waiter = Waiter()
        self._ended = False
        self.child = subprocess.Popen(
            arguments, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=descriptors or ())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.child.stdout as stream:
            for raw in stream:
                self.lines.append(raw.decode("utf-8", "surrogateescape").rstrip("\n"))
                self._waiter.notify()
        self._ended = True
        self._waiter.notify()

    @property
    def output(self):
        return "\n".join(self.lines)

    def mark(self):
        """A place in the output from which to look on."""
        return len(self.lines)

    def find(self, pattern, since=0):
        """All lines that a regular expression matches, as match objects."""
        return [m for m in (re.search(pattern, line) for line in self.lines[since:]) if m]

    def wait_line(self, pattern, since=0, count=1, timeout_s=30.0):
        """The count-th line that matches; AssertionError after timeout_s or at the end."""
        def look():
            ended = self._ended
            found = self.find(pattern, since)
            if len(found) >= count:
                return found
            return [None] if ended else None
        try:
            found = self._waiter.wait(look, f"log line {pattern!r}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the log:\n{self.output}") from None
        if found[0] is None:
            raise AssertionError(f"ended without log line {pattern!r}; the log:\n{self.output}")
        return found[count - 1]

    def signal(self, number):
        self.child.send_signal(number)

    def wait_exit(self, timeout_s=20.0):
        """The exit code; the child is killed when it does not come."""
        try:
            self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            self._reader.join(5)
            raise AssertionError(f"no exit within {timeout_s} s; the log:\n{self.output}") from None
        self._reader.join(5)
        return self.child.returncode

    @property
    def is_running(self):
        return self.child.poll() is None

    def terminate(self, timeout_s=20.0):
        if self.is_running:
            self.signal(signal.SIGTERM)
        return self.wait_exit(timeout_s)


# Below the ports that the kernel gives to outgoing connections, so that none takes ours meanwhile.
PORTS = itertools.cycle(random.sample(range(12000, 32000), 20000))


def free_port(host="127.0.0.1"):
    """A port that nobody listens on right now, by TCP or UDP, at any address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in PORTS:
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(family, kind) as sock:
                    sock.bind(("", port))
            return port
        except OSError:
            continue


def is_root():
    return os.geteuid() == 0

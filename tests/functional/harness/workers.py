# SPDX-License-Identifier: BSD-2-Clause
"""A postern of many processes: which they are, and what becomes of each."""
import contextlib
import os
import select
import signal
import threading
import time

from harness.postern import Postern
from peers.client import Client


class Workers(Postern):
    """Postern with `workers` at least 1. Its log holds the lines of all processes."""

    def __init__(self, text, resolver, count=2, core="", **options):
        super().__init__(text, resolver, core=f"workers = {count}\n" + core, **options)

    def start(self, is_logging_to_stderr=True):
        mark = 0 if self.process is None else None
        super().start(is_logging_to_stderr=False)
        if is_logging_to_stderr:
            self.log.wait_line(r"Z start .*role=master", since=mark or 0)

    @property
    def master(self):
        return self.process.child.pid

    def pid(self, role, number=0, generation=None):
        """The process that was started last in that place."""
        found = [line for line in self.events("start") if line["role"] == role
                 and line["number"] == str(number)
                 and (generation is None or line["generation"] == str(generation))]
        return int(found[-1]["pid"])

    def pids(self):
        """Of all processes of the last generation, without the master."""
        started = [line for line in self.events("start") if line["role"] != "master"]
        generation = max(int(line["generation"]) for line in started)
        places = {(line["role"], line["number"]) for line in started
                  if int(line["generation"]) == generation}
        return [self.pid(role, number, generation) for role, number in sorted(places)]

    def kill(self, role, number=0):
        """kill -9; returns the dead process's id once its successor serves."""
        pid, mark = self.pid(role, number), self.log.mark()
        os.kill(pid, signal.SIGKILL)
        self.log.wait_line(rf"Z start .*role={role} number={number} ", since=mark)
        return pid

    def reload(self, replacements=()):
        """Changes the file, sends HUP, returns the `reload` line."""
        text = self.config.read_text()
        for old, new in replacements:
            assert old in text, f"{old!r} is not in the configuration"
            text = text.replace(old, new)
        self.config.write_text(text)
        mark = self.log.mark()
        self.process.signal(signal.SIGHUP)
        return self.wait_event("reload", since=mark)

    def wait_retired(self, pids):
        """Until these processes of an old generation take no more connections: they are told to
        retire just before the `reload` line."""
        wait_for(lambda: not any(sockets(pid) & sockets(self.master) for pid in pids))


def sockets(pid):
    """Those a process has open: the listeners are the ones that it shares with the master."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):    # closed meanwhile
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except (FileNotFoundError, PermissionError):            # ended, or just about to
        return set()
    return {link for link in found if link.startswith("socket:")}


def wait_for(predicate, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_gone(pid, timeout_s=10.0):
    """Until that process has ended; it may be anybody's child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], timeout_s)[0], f"process {pid} still runs"
    finally:
        os.close(handle)


class Callers:
    """Clients who come and go without a pause while a `with` block runs; what went wrong."""

    def __init__(self, server, count=3):
        self.server = server
        self.calls = 0
        self.failures = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def _call(self):
        with Client(self.server) as client:
            client.hello()
            client.expect(250, "MAIL FROM:<sender@example.org>")
            client.quit()

    def _run(self):
        while not self._is_over.is_set():
            try:
                self._call()
                self.calls += 1
            except (OSError, EOFError, AssertionError) as error:
                self.failures.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join(20)

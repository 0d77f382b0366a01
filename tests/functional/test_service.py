# SPDX-License-Identifier: BSD-2-Clause
"""What a service manager sees: readiness, reloads, the watchdog, titles of processes, the unit."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from conftest import DISCARDS
from harness.postern import binary, environment
from harness.process import is_root
from harness.recipe import TOP
from peers.record import Waiter

WATCHDOG_S = 2


class Manager:
    """A socket as a service manager has it, and what came there."""

    def __init__(self, name, address):
        self.name = name
        self.said = []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self._waiter = Waiter()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            said = self.sock.recv(4096).decode()
            if said == "over":
                return
            self.said.append(said)
            self._waiter.notify()

    def stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"over", self.sock.getsockname())

    def environment(self, watchdog_s=0):
        made = {"NOTIFY_SOCKET": self.name}
        return {**made, "WATCHDOG_USEC": str(watchdog_s * 1000000)} if watchdog_s else made

    @property
    def states(self):
        """Without the watchdog's."""
        return [said.split("\n")[0] for said in self.said if said != "WATCHDOG=1"]

    @property
    def fed(self):
        return self.said.count("WATCHDOG=1")

    def wait(self, predicate, what):
        self._waiter.wait(predicate, f"{what}: {self.said}", 30)

    def wait_states(self, *states):
        self.wait(lambda: self.states == list(states), f"{states}")

    def is_fed_within(self, seconds):
        count = self.fed
        try:
            self._waiter.wait(lambda: self.fed > count, timeout_s=seconds)
        except AssertionError:
            return False
        return True

    def wait_fed(self, more=1):
        count = self.fed + more
        self.wait(lambda: self.fed >= count, "WATCHDOG=1")


@pytest.fixture
def manager(request, tmp_path):
    """Its socket has a path, or as a parameter of the test an abstract name."""
    path = getattr(request, "param", str(tmp_path / "notify"))
    made = Manager(path, path.replace("@", "\0"))
    yield made
    made.stop()


@pytest.fixture
def watched(workers, postern, manager):
    """Starts a postern under the manager."""
    def make(count, watchdog_s=0, **more):
        return started(workers, postern, count, {**manager.environment(watchdog_s), **more})
    return make


def started(workers, postern, count, environment_of_it):
    """A postern of so many workers."""
    server = workers(count=count, is_started=False) if count else postern(
        DISCARDS, is_started=False)
    server.more_environment = environment_of_it
    server.start()
    return server


@pytest.mark.parametrize("manager", [f"@postern-test-{os.getpid()}"], indirect=True)
def test_abstract_socket(watched, manager):
    watched(2)
    manager.wait_states("READY=1")


@pytest.mark.parametrize("count", [0, 2])
def test_a_manager_that_reads_nothing(workers, postern, tmp_path, count):
    """Its socket is full. It misses what is said, and holds nobody up."""
    path = str(tmp_path / "deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        deaf.bind(path)
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"X=1", path)
        server = started(workers, postern, count, {"NOTIFY_SOCKET": path})
        with server.client() as client:
            client.hello()
        server.stop()


@pytest.mark.parametrize("count", [0, 2])
def test_ready_and_stopping(watched, manager, count):
    server = watched(count)
    manager.wait_states("READY=1")
    with server.client() as client:
        client.hello()
        server.process.signal(signal.SIGTERM)
        manager.wait_states("READY=1", "STOPPING=1")
        assert client.reply().code == 421
    server.wait_stopped()
    assert manager.states == ["READY=1", "STOPPING=1"] and not manager.fed


def test_a_start_that_fails_is_no_readiness(workers, manager):
    server = workers()
    second = server.directory / "second.cf"
    second.write_text(server.config.read_text().replace("/spool", "/second"))
    done = subprocess.run([binary(), f"--config={second}"], env=environment(manager.environment()),
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 69 and "cannot listen" in done.stderr
    server.stop()
    assert "READY=1" not in manager.said


def test_reload(watched, manager):
    """Good or bad, a reload is told, and its end."""
    server = watched(2)
    manager.wait_states("READY=1")
    assert server.reload()["result"] == "ok"
    done = ["READY=1", "RELOADING=1", "READY=1"]
    manager.wait_states(*done)
    usec = int(next(said for said in manager.said if "RELOADING" in said).partition("USEC=")[2])
    assert 0 < usec / 1e6 <= float(pathlib.Path("/proc/uptime").read_text().split()[0]) + 1
    assert server.reload([("[core]", "[core]\nnonsense = 1")])["result"] == "failed"
    manager.wait_states(*done, "RELOADING=1", "READY=1")


@pytest.mark.parametrize("role, number", [("worker", 2), ("runner", 0)])
def test_a_process_that_hangs_ends_the_feeding(watched, manager, role, number):
    server = watched(2, WATCHDOG_S)
    manager.wait_fed(3)
    pid = server.pid(role, number)
    os.kill(pid, signal.SIGSTOP)
    try:
        before = manager.fed
        while manager.is_fed_within(WATCHDOG_S):    # by what was known when it was stopped
            assert manager.fed < before + 4
    finally:
        os.kill(pid, signal.SIGCONT)
    manager.wait_fed(2)


def test_a_process_that_is_replaced_does_not(watched, manager):
    server = watched(2, WATCHDOG_S)
    manager.wait_fed()
    server.kill("worker", 1)
    server.kill("runner")
    server.reload()
    manager.wait_fed(4)


def test_one_process_feeds_for_itself(watched, manager):
    server = watched(0, WATCHDOG_S)
    manager.wait_fed(3)
    server.process.signal(signal.SIGSTOP)
    while manager.is_fed_within(WATCHDOG_S):        # what was on its way
        pass
    server.process.signal(signal.SIGCONT)
    manager.wait_fed(2)


def test_the_watchdog_of_another_process(watched, manager):
    """WATCHDOG_PID names who is asked."""
    server = watched(2, WATCHDOG_S, WATCHDOG_PID="1")
    manager.wait_states("READY=1")
    server.stop()
    assert not manager.fed


def title(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def test_titles(workers):
    """ps shows who is who, and the configuration is still found by a reload."""
    server = workers(count=2)
    for _ in range(2):
        assert title(server.master) == "postern: master"
        assert title(server.pid("runner")) == "postern: runner"
        assert [title(server.pid("worker", n)) for n in (1, 2)] == [
            "postern: worker 1", "postern: worker 2"]
        assert server.reload()["result"] == "ok"


NEEDS_NET = pytest.mark.skipif(not is_root() or shutil.which("nft") is None,
                               reason="a network namespace of its own, and nft")


@NEEDS_NET
def test_restart_without_a_refused_connection(tmp_path):
    """As README says it, in a network namespace."""
    readme = (TOP / "README.md").read_text()
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    nft ")]
    assert len(commands) == 4
    assert in_own_net(tmp_path, [])["refused"]      # else the test would show nothing
    assert not in_own_net(tmp_path, commands)["refused"]


def in_own_net(folder, commands):
    """What callers met while a server was restarted: see harness/restart.py."""
    program = pathlib.Path(__file__).parent / "harness/restart.py"
    done = subprocess.run(["unshare", "--net", sys.executable, program, folder, *commands],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    text = (TOP / "doc/postern.service").read_text()
    assert text.index("--check") < text.index("kill -HUP")
    program = tmp_path / "postern"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "postern.service"
    unit.write_text(text.replace("/usr/sbin/postern", str(program)).replace(
        "Documentation=man:postern(8) man:postern.cf(5)\n", ""))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

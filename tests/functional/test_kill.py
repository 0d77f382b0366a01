# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 at any moment, under load, with a real Postfix behind that comes and goes: every message
that was acknowledged arrives, whole.

KILL_SECONDS=N makes it longer, KILL_SEED=N repeats the choices.
"""
import collections
import os
import random
import shutil
import signal
import threading
import time

import pytest

from conftest import relay_config
from harness.control import Control
from harness.gate import Gate
from harness.messages import HEADER, as_stored
from harness.postern import SANITIZER
from harness.postfix import Postfix
from harness.process import is_root
from harness.workers import Workers, wait_gone
from peers.client import Client

SECONDS = float(os.environ.get("KILL_SECONDS", "5"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.randrange(1, 1 << 30)
CLIENTS = 6
MEMORY = "/dev/shm"             # on disk Postfix takes long to deliver all that

MAIN_CF = "mynetworks = 127.0.0.0/8\nsmtpd_client_connection_count_limit = 0\n"
MASTER_CF = "10025 inet n - n - 100 smtpd\n"
RELAY = ("identity = none", "received = never", "on-failure = spool", "health-interval = 1s",
         "connect-timeout = 2s", "retry = 1s", "max-connections = 12")

pytestmark = pytest.mark.skipif(not is_root(), reason="a private Postfix is started as root")


class Sender(threading.Thread):
    """Sends message after message, each with an id of its own; whom it was told 250 for."""

    def __init__(self, server, number, rng):
        super().__init__(daemon=True)
        self.server, self.number, self.rng = server, number, rng
        self.sent, self.acknowledged = {}, []
        self.is_over = threading.Event()

    def _message(self):
        name = f"{self.number}-{len(self.sent)}"
        body = b"line of the message\r\n" * self.rng.choice((1, 30, 400))
        self.sent[name] = HEADER + f"X-Kill-Id: {name}\r\n\r\n".encode() + body
        return name

    def _session(self):
        with Client(self.server, timeout_s=30) as client:
            client.hello()
            for _ in range(self.rng.randrange(1, 12)):
                time.sleep(self.rng.uniform(0, 0.05))
                name = self._message()
                if client.mail(self.sent[name]).code == 250:
                    self.acknowledged.append(name)
                if self.is_over.is_set():
                    return

    def run(self):
        while not self.is_over.is_set():
            try:
                self._session()
            except (OSError, EOFError, AssertionError):
                time.sleep(0.01)            # it was killed, or comes just now


class Killer:
    """Does the worst to a server, time and again."""

    def __init__(self, server, gate, rng):
        self.server, self.gate, self.rng = server, gate, rng
        self.counts = collections.Counter()
        self.logs = []

    def strike(self):
        what = self.rng.choices(("worker", "runner", "master", "gate", "reload"),
                                (4, 4, 1, 3, 2))[0]
        self.counts[what] += 1
        getattr(self, "_strike_" + what)()

    def _kill(self, role, number):
        try:
            os.kill(self.server.pid(role, number), signal.SIGKILL)
        except ProcessLookupError:
            self.counts[role] -= 1              # its next start is delayed

    def _strike_worker(self):
        self._kill("worker", self.rng.choice((1, 2)))

    def _strike_runner(self):
        self._kill("runner", 0)

    def _strike_master(self):
        pids = self.server.pids()
        os.kill(self.server.master, signal.SIGKILL)
        for pid in pids:
            wait_gone(pid, 30)
        self.server.process.wait_exit()
        self.logs.append(self.server.log.output)
        self.server.start()

    def _strike_reload(self):
        self.server.process.signal(signal.SIGHUP)

    def _strike_gate(self):
        self.gate.shut()
        time.sleep(self.rng.uniform(0.05, 1.5))
        self.gate.open()


@pytest.fixture
def postfix():
    is_roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 256 << 20
    server = Postfix(MAIN_CF, MASTER_CF, folder=MEMORY if is_roomy else None)
    yield server
    server.stop()


@pytest.fixture
def server(dns, gate):
    made = Workers(relay_config(gate.address, *RELAY), dns.address)
    yield made
    try:
        made.stop()
    finally:
        made.remove()


@pytest.fixture
def gate(postfix):
    return Gate(postfix.server)


def wait_empty(server, timeout_s=60.0):
    """Until nothing is queued. What may have been delivered already waits long, but for `flush`."""
    control = Control(server)
    deadline = time.monotonic() + timeout_s
    count = 0
    while True:
        queue = control.queue()
        if not queue:
            return
        assert time.monotonic() < deadline, queue
        if len(queue) == count:                 # it does not shrink by itself
            for name in queue:
                control.run("flush", name)
        count = len(queue)
        time.sleep(0.5)


def arrived(postfix, wanted, timeout_s=60.0):
    """The messages in the mailbox by their ids, once all that are wanted are there."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = collections.defaultdict(list)
        for message in postfix.maildir("joe").messages():
            found[message.values("X-Kill-Id")[0]].append(message)
        missing = wanted - set(found)
        if not missing:
            return found
        assert time.monotonic() < deadline, f"missing: {sorted(missing)}"
        time.sleep(0.2)


def test_kill(server, postfix, gate):
    rng = random.Random(SEED)
    senders = [Sender(server.server, n, random.Random(SEED + n)) for n in range(CLIENTS)]
    killer = Killer(server, gate, rng)
    end = time.monotonic() + SECONDS
    for sender in senders:
        sender.start()
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.02, 0.7))
        killer.strike()
    for sender in senders:
        sender.is_over.set()
    for sender in senders:
        sender.join(40)
    wait_empty(server)
    acknowledged = {name for sender in senders for name in sender.acknowledged}
    sent = {name: text for sender in senders for name, text in sender.sent.items()}
    found = arrived(postfix, acknowledged)
    for name, messages in found.items():
        assert name in sent
        for message in messages:
            assert message.sent == as_stored(sent[name]), f"{name} is damaged"
    assert not SANITIZER.search("\n".join((*killer.logs, server.log.output)))
    twice = sum(len(messages) - 1 for messages in found.values())
    print(f"seed {SEED}: {len(sent)} sent, {len(acknowledged)} acknowledged, {len(found)} arrived, "
          f"{twice} once more than needed; {dict(killer.counts)}")
    assert len(acknowledged) > 20

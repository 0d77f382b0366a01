# SPDX-License-Identifier: BSD-2-Clause
"""Maildirs on disks that fail or hang: delivered from the queue, and beside everything else."""
import contextlib
import signal

import pytest

from harness.control import Control, queue_id
from harness.faults import HANG, Faults
from harness.maildir import Maildir
from harness.messages import PLAIN_MESSAGE, as_stored, big_message
from harness.process import free_port
from peers.client import Client

# What goes to example.test waits in the queue. The boxes of "slow" are those whose disk has trouble.
CONFIG = """
[relay "away"]
address = 127.0.0.1:{port}
identity = none
retry = 5m 10m 20m 40m
health-interval = 1h
[maildir "slow"]
path = {top}/slow/${{RCPT_LOCAL}}
[maildir "fine"]
path = {top}/fine/${{RCPT_LOCAL}}
[route]
@example.test away
@slow.test slow
@fine.test fine
"""


class Place:
    """A postern, the faults of its disk, and its mailboxes."""

    def __init__(self, postern, directory, within, core=""):
        self.faults = Faults(directory, within)
        self._top = directory / "mail"
        self.server = postern(CONFIG.format(port=free_port(), top=self._top), faults=self.faults,
                              core="workers = 0\n" + core)
        self.control = Control(self.server)

    def box(self, name, target="slow"):
        return Maildir(self._top / target / name)

    def spool(self, *names, content=PLAIN_MESSAGE, to=None):
        """A message in the queue, rerouted to a Maildir; its id."""
        with self.server.client() as client:
            client.hello()
            one = queue_id(client.mail(content, recipients=[f"{n}@example.test" for n in names]))
        if to:
            self.control.text("reroute", one, "to", to)
        return one

    def queued(self):
        return sorted(path.name for path in (self.server.directory / "spool/queue").glob("*/*")
                      if path.name not in ("owner", "index"))

    def next_try_s(self, one):
        return self.control.queue()[one]["next_try_in"]


@pytest.fixture
def place(postern, tmp_path):
    def make(within="/slow/", **options):
        return Place(postern, tmp_path, within, **options)
    return make


def stop_in_haste(server):
    """The second TERM comes while the first is being obeyed; returns when both were."""
    talker = server.client()
    talker.hello()
    talker.envelope(recipients=["joe@fine.test"])
    talker.expect(354, "DATA")
    server.process.signal(signal.SIGTERM)
    with contextlib.suppress(OSError):
        while True: # until nobody listens any more
            Client(server.server).close()
    mark = server.log.mark()
    server.process.signal(signal.SIGTERM)
    server.wait_event("disconnect", since=mark)
    talker.close()


@pytest.mark.parametrize("error", ["EIO", None])
def test_an_end_in_haste_waits_for_the_disk(place, error):
    """It hangs in the rename: when that has failed the message is still in the queue, and when it
    went well it is not."""
    it = place()
    it.faults.set("rename", HANG)
    one = it.spool("joe", to="slow")
    it.faults.wait_hanging(1)
    stop_in_haste(it.server)
    it.faults.set("rename", error)
    it.server.wait_stopped()
    assert it.queued() == ([one] if error else [])
    assert len(it.box("joe").messages()) == (0 if error else 1)
    it.faults.set("rename", None)
    it.server.start()
    it.server.is_over = False
    if error:
        it.control.text("flush", one)
    it.control.wait_queue([])
    message, = it.box("joe").messages()
    assert message.sent == as_stored(PLAIN_MESSAGE)


@pytest.mark.parametrize("call", ["rename", "sync directory", "write in the way"])
def test_a_failing_mailbox_defers_its_recipient_alone(place, call):
    """The others have it, and get no second copy when it is tried again."""
    it = place("/slow/joe/new")
    if call == "write in the way":
        joe = it.box("joe").path
        joe.parent.mkdir(parents=True)
        joe.write_text("not a directory")
    else:
        it.faults.set(call, "EIO")
    one = it.spool("ann", "joe", "zoe", to="slow")
    it.server.wait_event("delivered", 2)
    deferred = it.server.wait_event("deferred")
    assert (deferred["rcpt"], deferred["tries"]) == ("<joe@example.test>", "1")
    assert deferred["reply"].startswith("451 4.3.0 ")
    assert it.server.wait_event("maildir-failed")["directory"] == str(it.box("joe").path)
    # Behind a rename it is there already, though perhaps not for long.
    is_there = call == "sync directory"
    assert ("duplicate" in deferred) == is_there
    assert it.next_try_s(one) > (500 if is_there else 200)
    it.faults.set("rename", None)
    it.faults.set("sync directory", None)
    if call == "write in the way":
        joe.unlink()
    it.control.text("flush", one)
    it.server.wait_event("delivered", 3)
    it.control.wait_queue([])
    for name in ("ann", "joe", "zoe"):
        assert len(it.box(name).messages()) == (2 if name == "joe" and is_there else 1), name
        assert it.box(name).unfinished() == []


@pytest.mark.parametrize("size_bytes", [40_000, 400_000])
def test_a_body_that_cannot_be_read(place, size_bytes):
    """A try that failed: written, logged, and the pauses are those of `retry`."""
    it = place("/spool/queue/")
    it.faults.set("read much", "EIO")
    one = it.spool("joe", content=big_message(size_bytes), to="slow")
    deferred = it.server.wait_event("deferred")
    assert deferred["tries"] == "1" and deferred["reply"].startswith("451 4.3.0 ")
    assert 200 < it.next_try_s(one) <= 300
    it.control.text("flush", one)
    assert it.server.wait_event("deferred", 2)["tries"] == "2"
    assert 500 < it.next_try_s(one) <= 600
    it.faults.set("read much", None)
    it.control.text("flush", one)
    it.server.wait_event("delivered")
    assert len(it.box("joe").messages()) == 1


def test_a_file_that_cannot_be_read(place):
    """Nothing can be written of it: but each try is logged, and the pauses grow."""
    it = place("/spool/queue/")
    one = it.spool("joe")
    it.control.wait_queue([one])  # or a listing that still goes on would find it unreadable
    it.faults.set("read", "EIO")
    pauses_s = (300, 600, 1200, 2400)
    for count in range(1, 4):
        mark = it.server.log.mark()
        it.control.text("flush", one)
        failed = it.server.wait_event("queue-file", since=mark)
        assert failed["error"] == "Input/output error"
        entry = it.control.wait_state(one, "waiting")
        pause_s = pauses_s[entry["tries"] - 1]
        assert entry["tries"] >= count and pause_s - 100 < entry["next_try_in"] <= pause_s
    it.faults.set("read", None)


def test_a_hung_maildir_is_alone(place):
    """More of its messages hang than there are threads: another Maildir takes what comes, and what
    is for a relay that is away is taken over."""
    it = place()
    it.faults.set("rename", HANG)
    with contextlib.ExitStack() as stack:
        hung = [stack.enter_context(it.server.client(timeout_s=60)) for _ in range(12)]
        for client in hung:
            client.hello()
            client.envelope(recipients=["joe@slow.test"])
            client.expect(354, "DATA")
            client.send(PLAIN_MESSAGE + b".\r\n")
        it.faults.wait_hanging(3)
        client = stack.enter_context(it.server.client())
        client.hello()
        for _ in range(3):
            assert client.mail(PLAIN_MESSAGE, recipients=["joe@fine.test"]).code == 250
            assert client.mail(PLAIN_MESSAGE, recipients=["joe@example.test"]).code == 250
        it.faults.wait_hanging(3)
        it.faults.set("rename", None)
        for client in hung:
            client.expect(250)
    assert len(it.box("joe").messages()) == 12
    assert len(it.box("joe", "fine").messages()) == 3

# SPDX-License-Identifier: BSD-2-Clause
"""Trouble with the disk while the target is down: nothing is promised that is not durable, nothing
is lost, and postern recovers by itself."""
import contextlib
import re
import subprocess

import pytest

from conftest import needs_root
from harness.faults import Faults
from harness.messages import HEADER
from harness.process import free_port
from harness.workers import wait_for

RELAY = """
[relay "later"]
address = 127.0.0.1:{port}
identity = none
received = never
health-interval = 1s
retry = 1s
[route]
@example.test later
"""


def message(number, size_bytes=100):
    return HEADER + b"X-Number: %d\r\n\r\n" % number + b"%s\r\n" % (b"y" * size_bytes)


def send(client, number, size_bytes=100):
    client.expect(250, "MAIL FROM:<sender@example.org>")
    client.expect(250, "RCPT TO:<joe@example.test>")
    return client.data(message(number, size_bytes))


def number_of(transaction):
    return int(re.search(rb"^X-Number: (\d+)\r$", transaction.content, re.M).group(1))


@pytest.fixture
def later(target, postern, tmp_path):
    """A postern whose disk calls can fail, and a function that brings its target to life."""
    def make():
        port = free_port()
        faults = Faults(tmp_path)
        server = postern(RELAY.format(port=port), core="workers = 0\n",
                         smtpd="max-errors = 1000\n", faults=faults)

        def come():
            return target(address=("127.0.0.1", port))
        return server, faults, come
    return make


ACCEPTING = [("open", "EMFILE"), ("open", "EROFS"), ("open", "ENOSPC"), ("write", "ENOSPC"),
             ("write", "EIO"), ("sync", "EIO"), ("sync", "ENOSPC"), ("link", "ENOSPC"),
             ("link", "EIO"), ("sync directory", "EIO")]


def test_no_250_without_a_durable_file(later):
    """Each call fails once in turn: 452 or 451, a loud log, and the next message is taken."""
    server, faults, come = later()
    kept, refused = [], []
    with server.client() as client:
        client.hello()
        for number, (call, error) in enumerate(ACCEPTING):
            faults.set(call, error)
            mark = server.log.mark()
            reply = send(client, 2 * number)
            assert reply.code == (452 if error == "ENOSPC" else 451), (call, error, reply.text)
            line = server.wait_event("spool-failed", since=mark)
            assert line["error"], line
            faults.set(call, None)
            refused.append(2 * number)
            assert send(client, 2 * number + 1).code == 250, (call, error)
            kept.append(2 * number + 1)
    backend = come()
    server.wait_event("delivered", count=len(kept))
    assert sorted(number_of(t) for t in backend.accepted) == kept


def test_delivered_once_though_it_cannot_be_removed(later):
    """What cannot be taken out of the queue is not sent again: removing it is."""
    server, faults, come = later()
    with server.client() as client:
        client.hello()
        assert send(client, 1).code == 250
        faults.set("unlink", "EIO")
        backend = come()
        server.wait_event("queue-file")
        faults.set("unlink", None)
        server.wait_event("delivered")
        assert send(client, 2).code == 250
    backend.wait(lambda: len(backend.accepted) >= 2)
    server.stop()
    assert sorted(number_of(t) for t in backend.accepted) == [1, 2]


@contextlib.contextmanager
def tmpfs(directory, options):
    """An empty file system at that place."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", directory], check=False,
                          capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


@needs_root
def test_a_small_spool_fills(target, postern):
    """Until it is full: 250; then 452; when the target has taken all: 250 again."""
    port = free_port()
    server = postern(RELAY.format(port=port), core="workers = 0\nspool-reserve = 0\n",
                     smtpd="max-errors = 10000\n", is_started=False)
    with tmpfs(server.directory / "spool", "size=2m"):
        server.start()
        taken, number = [], 0
        with server.client() as client:
            client.hello()
            while True:
                number += 1
                reply = send(client, number, 100_000)
                if reply.code != 250:
                    break
                taken.append(number)
            assert reply.code == 452 and "4.3.1" in reply.text
            assert len(taken) > 5
            backend = target(address=("127.0.0.1", port))
            backend.wait(lambda: len(backend.accepted) >= len(taken))
            server.wait_event("delivered", count=len(taken))
            assert send(client, 0, 100_000).code == 250
        server.stop()
        assert sorted({number_of(t) for t in backend.accepted}) == [0, *taken]


def fill(directory, inodes):
    """Takes all its blocks, or all its names."""
    with contextlib.suppress(OSError):
        if inodes:
            for number in range(10_000):
                (directory / f"filler-{number}").touch()
        with open(directory / "filler-0", "wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass


@needs_root
@pytest.mark.parametrize("options, inodes", [("size=2m", False), ("size=64m,nr_inodes=50", True)])
def test_a_long_message_needs_no_disk_while_its_target_is_there(target, postern, options, inodes):
    """What outgrows memory goes on when the disk is full; only what must be kept is refused."""
    backend = target()
    server = postern(RELAY.format(port=backend.port), is_started=False,
                     core="workers = 0\nspool-reserve = 0\ncopy-memory = 256k\n")
    directory = server.directory / "spool"
    with tmpfs(directory, options):
        server.start()
        with server.client() as client:
            client.hello()
            fill(directory, inodes)
            for number in range(1, 4):
                assert send(client, number, 3_000_000).code == 250
            assert "space" in server.wait_event("copy-failed")["error"]
            backend.unlisten()
            backend.drop_all()
            reply = send(client, 4)
            assert (reply.code, reply.enhanced) == (452, "4.3.1")
            (directory / "filler-0").unlink()
            assert send(client, 5).code == 250
        backend.listen()
        server.wait_event("delivered")
        server.stop()
    assert [number_of(t) for t in backend.accepted] == [1, 2, 3, 5]
    assert [t.content for t in backend.accepted][:3] == [message(n, 3_000_000) for n in (1, 2, 3)]


def remount(directory, mode):
    """Again and again: what is open for writing, however shortly, keeps it from being read-only."""
    command = ["mount", "-o", f"remount,{mode}", directory]
    for _ in range(1000):
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
    pytest.fail(f"remount,{mode}: the file system stays busy")


@needs_root
def test_a_spool_that_is_remounted_read_only(target, postern):
    """It refuses, and takes mail again when the file system is writable."""
    port = free_port()
    server = postern(RELAY.format(port=port), core="workers = 0\nspool-reserve = 0\n",
                     smtpd="max-errors = 10000\n", is_started=False)
    directory = server.directory / "spool"
    with tmpfs(directory, "size=8m"):
        server.start()
        with server.client() as client:
            client.hello()
            assert send(client, 1).code == 250
            remount(directory, "ro")
            assert send(client, 2).code == 451
            remount(directory, "rw")
            assert send(client, 3).code == 250
        backend = target(address=("127.0.0.1", port))
        backend.wait(lambda: len(backend.accepted) >= 2)
        server.wait_event("delivered", count=2)
        server.stop()
        assert sorted(number_of(t) for t in backend.accepted) == [1, 3]


@pytest.fixture
def without_unnamed(postern, tmp_path):
    """A postern on a file system that has no unnamed files, and the directory of its drafts."""
    def make(port):
        faults = Faults(tmp_path)
        faults.set("open", "EOPNOTSUPP")
        server = postern(RELAY.format(port=port), core="workers = 0\ncopy-memory = 256k\n",
                         faults=faults)
        return server, server.directory / "spool" / "tmp"
    return make


def drafts(directory):
    return sorted(path.name for path in directory.rglob("*")
                  if path.is_file() and path.name != "owner")


def test_a_file_system_without_unnamed_files(target, without_unnamed):
    """It is told once; what spills, what is taken over and what is delivered is the same."""
    port = free_port()
    server, tmp = without_unnamed(port)
    assert server.wait_event("storage")["state"] == "no-unnamed-files"
    with server.client() as client:
        client.hello()
        for number in range(1, 4):
            assert send(client, number, 3_000_000 if number == 2 else 100).code == 250
        wait_for(lambda: not drafts(tmp))           # they are messages now
        backend = target(address=("127.0.0.1", port))
        server.wait_event("delivered", count=3)
        assert send(client, 4, 3_000_000).code == 250
        wait_for(lambda: not drafts(tmp))           # the live one has come, and vanishes
    server.stop()
    assert list(tmp.iterdir()) == []
    assert [t.content for t in sorted(backend.accepted, key=number_of)] == [
        message(n, 3_000_000 if n in (2, 4) else 100) for n in range(1, 5)]
    assert len(server.events("storage")) == 1


def test_drafts_of_the_dead_are_removed(without_unnamed):
    """Killed while a message is in a named file: the next start removes that, and nothing else."""
    server, tmp = without_unnamed(free_port())
    with server.client() as client:
        client.hello()
        assert send(client, 1).code == 250
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        client.expect(354, "DATA")
        client.send(b"x" * 998 + b"\r\n")
        client.send((b"x" * 998 + b"\r\n") * 2000)
        wait_for(lambda: drafts(tmp))
        server.process.child.kill()
        server.process.wait_exit()
    assert drafts(tmp)
    server.is_over = False
    server.start()
    assert not drafts(tmp)
    assert len([p for p in (server.directory / "spool/queue").rglob("*") if len(p.name) == 16]) == 1
    server.stop()

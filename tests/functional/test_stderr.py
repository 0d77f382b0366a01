# SPDX-License-Identifier: BSD-2-Clause
"""Standard error that nobody reads: no session waits for it, and what is lost is counted."""
import os
import re
import select
import socket
import subprocess
import threading
import time
import tty

import pytest

from harness.postern import environment
from harness.workers import wait_for
from conftest import DISCARDS

SESSIONS = 100      # their lines fill what holds lines: a block of each process, and the pipe
REFUSED = 18        # commands of each; each a line
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "


def pipe():
    return os.pipe()


def stream():
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def terminal():
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    return ours, theirs


def is_up(server):
    try:
        server.client().close()
        return True
    except ConnectionRefusedError:
        return False


def session(server):
    with server.client() as client:
        client.hello()
        for _ in range(REFUSED):
            client.expect(502, "TURN " + 200 * "x")
        client.quit()


def read_until(descriptor, pattern):
    """All that is read until a line of that kind is there."""
    text, looked_at, end = b"", 0, time.monotonic() + 60
    while not re.search(pattern, text[looked_at:]):
        assert time.monotonic() < end, text[-2000:]
        looked_at = text.rfind(b"\n") + 1
        assert select.select([descriptor], [], [], 20)[0], text[-2000:]
        text += os.read(descriptor, 65536)
    return text


@pytest.mark.parametrize("make", [pipe, stream, terminal])
@pytest.mark.parametrize("workers", [0, 2])
def test_nobody_reads(workers, make, postern):
    """Every session is served; when somebody reads again, `log-lost` says how much is missing, and the
    lines are whole."""
    server = postern(DISCARDS, core=f"workers = {workers}\n", is_started=False)
    ours, theirs = make()
    child = subprocess.Popen([server.program, *server.flags], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=theirs, env=environment())
    try:
        assert os.get_blocking(theirs)          # what others have of it stays as it was
        os.close(theirs)
        wait_for(lambda: is_up(server))
        for _ in range(SESSIONS):
            session(server)
        asking = threading.Event()
        asker = threading.Thread(target=lambda: [session(server) for _ in iter(asking.is_set, True)],
                                 daemon=True)
        asker.start()                           # lines go out with the turns of the loop
        text = read_until(ours, rb"log-lost .*lines=\d+\n")
        asking.set()
        drained = threading.Thread(target=lambda: read_until(ours, rb"stop .*role=(all|master)"))
        drained.start()
        asker.join(20)
        child.terminate()
        assert child.wait(20) == 0
        drained.join(20)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    lines = text.decode().split("\n")[:-1]
    assert len(lines) < REFUSED * SESSIONS
    if make is not terminal:            # which takes any part of a line
        assert all(re.match(STAMP, line) and line.count(" session=") <= 1 for line in lines)

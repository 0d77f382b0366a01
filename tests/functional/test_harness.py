# SPDX-License-Identifier: BSD-2-Clause
"""The harness itself, without postern: Postfix and the scripted peers do what they should."""
import contextlib
import os
import subprocess
import sys

import pytest

from harness.dns import CLIENT
from harness.messages import ODD_MESSAGE, PLAIN_MESSAGE, as_stored
from harness.postfix import queue_id
from harness.recipe import TOP
from harness.senders import Swaks, smtp_source
from peers.answers import Close, Hold, Reset
from peers.client import Client


def test_postfix_stores_what_swaks_sends(xclient_postfix):
    """Straight to Postfix, a message arrives octet for octet."""
    run = Swaks(xclient_postfix.server, data=PLAIN_MESSAGE)
    message = xclient_postfix.delivered(queue_id(run.final))
    assert message.sent == as_stored(PLAIN_MESSAGE)


def test_postfix_stores_odd_octets(xclient_postfix):
    """NUL, 8-bit and long lines pass Postfix unharmed, so that a change would be postern's."""
    with Client(xclient_postfix.server) as client:
        client.hello()
        reply = client.mail(ODD_MESSAGE)
    assert xclient_postfix.delivered(queue_id(reply)).sent == as_stored(ODD_MESSAGE)


def test_postfix_takes_xclient(xclient_postfix):
    """The recipe's Postfix takes an identity from 127.0.0.1 and shows it."""
    with Client(xclient_postfix.server) as client:
        client.hello("proxy.example.test")
        client.expect(220, f"XCLIENT NAME=client.example.test ADDR={CLIENT} PROTO=ESMTP")
        client.expect(250, "EHLO client.example.test")
        reply = client.mail(PLAIN_MESSAGE)
    message = xclient_postfix.delivered(queue_id(reply))
    assert f"(client.example.test [{CLIENT}])" in message.received[0]


def test_postfix_takes_xforward(xforward_postfix):
    """XFORWARD changes the log alone."""
    with Client(xforward_postfix.server) as client:
        client.hello("proxy.example.test")
        client.expect(250, f"XFORWARD NAME=client.example.test ADDR={CLIENT} HELO=x")
        reply = client.mail(PLAIN_MESSAGE)
    xforward_postfix.log.wait_line(
        rf"{queue_id(reply)}: .*orig_client=client.example.test\[{CLIENT}\]")


def test_postfix_refuses_pipelining_behind_xclient(xclient_postfix, newlines):
    """The two settings of Postfix differ in what they forbid (else one of them proves nothing)."""
    with Client(xclient_postfix.server) as client:
        client.hello("proxy.example.test")
        client.send(f"XCLIENT NAME=c.example.test ADDR={CLIENT}\r\nEHLO c\r\n".encode())
        assert client.reply().code == (554 if newlines == "strict" else 220)


def test_smtp_source_reaches_postfix(xclient_postfix):
    mark = xclient_postfix.log.mark()
    smtp_source(xclient_postfix.server, messages=5, sessions=2)
    xclient_postfix.log.wait_line("status=sent", since=mark, count=5)


def test_target_records_and_answers(target):
    """A scripted target takes mail from the scripted client, octet for octet."""
    server = target().on("RCPT", "550 5.1.1 no such user", "250 2.1.5 Ok")
    with Client(("127.0.0.1", server.port)) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<a@b.example>")
        client.expect(550, "RCPT TO:<x@example.test>")
        client.expect(250, "RCPT TO:<y@example.test>")
        assert client.data(ODD_MESSAGE).code == 250
        client.quit()
    assert server.accepted[0].content == ODD_MESSAGE
    assert server.connections[0].verbs == ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize("by", ["close", "reset"])
def test_target_breaks_after_received_octets(target, by):
    server = target(break_after_received=10, break_by=by)
    client = Client(("127.0.0.1", server.port))
    client.expect(220)
    client.send(b"EHLO client.example.test\r\n")
    assert client.is_closed()
    server.wait_closed()
    assert len(server.connections[0].received) == 10


def test_target_breaks_after_sent_octets(target):
    server = target(break_after_sent=7)
    client = Client(("127.0.0.1", server.port))
    assert client.rest() == b"220 tar"


def test_target_answers_in_turn(target):
    server = target().on("greeting", "421 4.3.2 busy", Close(), Reset(), "220 ready")
    Client(("127.0.0.1", server.port)).expect(421)
    assert Client(("127.0.0.1", server.port)).is_closed()
    with contextlib.suppress(ConnectionResetError):     # so early that connect() hears of it
        assert Client(("127.0.0.1", server.port)).is_closed()
    Client(("127.0.0.1", server.port)).expect(220)


def test_target_holds_an_answer(target):
    hold = Hold("250 2.1.0 late")
    server = target().on("MAIL", hold)
    client = Client(("127.0.0.1", server.port))
    client.hello()
    client.send(b"MAIL FROM:<>\r\n")
    assert not client.has_reply_within(0.1)
    hold.release()
    assert client.reply().text == "2.1.0 late"


def test_target_on_a_unix_socket(target, tmp_path):
    assert target(address=str(tmp_path / "s")).address == f"unix:{tmp_path}/s"


TAP_PROGRAM = """#!/bin/sh
seq 1 100
echo "ok 1 - fine"
echo "not ok 2 - broken"
echo "# tests/unit/test_x.c:7: error: Failure!"
echo "ok 3 # SKIP no such thing here"
seq 1 100
echo 1..3
exit 1
"""
PYTEST_FILE = """
import pytest
def test_fine(): pass
def test_skipped(): pytest.skip("not on this machine")
def test_broken(): assert "x\\\\n" * 50 == "y"
"""


def test_what_failed_is_told_at_the_end(tmp_path):
    """scripts/test ends with each failure, its ten lines at most, and a count that has those skipped."""
    program = tmp_path / "build/asan/tests/unit/test_x"
    program.parent.mkdir(parents=True)
    program.write_text(TAP_PROGRAM)
    program.chmod(0o755)
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_x.c").touch()
    (tmp_path / "tests/functional").mkdir()
    (tmp_path / "tests/functional/test_y.py").write_text(PYTEST_FILE)
    done = subprocess.run([sys.executable, TOP / "scripts/test", "unit", "functional"], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, "B": "build", "MAKE": "true"},
                          check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "build of test programs ..." and ".sF" in done.stdout
    assert lines[-1] == "2 passed, 2 failed, 2 skipped" and done.returncode == 1
    told = [at for at, line in enumerate(lines) if line.startswith("FAILED ")]
    assert ["broken" in lines[at] for at in told] == [True] * 4      # when it happens, and at the end
    of_unit, of_functional = (lines[told[-2]:told[-1]], lines[told[-1]:-1])
    assert any("test_x.c:7: error: Failure!" in line for line in of_unit)
    assert any("test_y.py:5: " in line for line in of_functional)
    assert len(of_unit) <= 11 and len(of_functional) <= 11
    path = of_unit[0].rpartition(" ")[2]
    assert (tmp_path / path).read_text().count("\n") > 200

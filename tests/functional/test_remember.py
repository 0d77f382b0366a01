# SPDX-License-Identifier: BSD-2-Clause
"""An outage of a target: what it said of recipients lately is said in its stead."""
import signal
import time

import pytest

from harness.dns import TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.process import is_root
from peers.answers import Close
from peers.target import DEFAULT_EHLO, XFORWARD

SPOOL = ("on-failure = spool", "health-interval = 1s", "connect-timeout = 1s")
GONE = "550 5.1.1 <gone@example.test>: no such user here"
DOWN = "451 4.4.1 No connection to the next host, try again later"


def ask(server, *names, source=None):
    """What each RCPT gets, in a transaction that is then given up."""
    with server.client(source=source) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        replies = [client.command(f"RCPT TO:<{name}@example.test>") for name in names]
        client.expect(250, "RSET")
    return [f"{reply.code} {reply.text}" for reply in replies]


def break_down(backend):
    backend.unlisten()
    backend.drop_all()


def wait_for(predicate):
    deadline = time.monotonic() + 30
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def before(target, to_target):
    """A target that has accepted joe and refused gone."""
    def make(*lines):
        backend = target()
        server = to_target(backend, *SPOOL, *lines)
        backend.on("RCPT", "250 2.1.5 Ok", GONE)
        assert ask(server, "joe", "gone") == ["250 2.1.5 Ok", GONE]
        backend.on("RCPT", "250 2.1.5 Ok")
        return server, backend
    return make


@pytest.fixture
def outage(before):
    """... and then broke down."""
    def make(*lines):
        server, backend = before(*lines)
        break_down(backend)
        return server, backend
    return make


def test_refused_stay_refused_accepted_stay_accepted(outage):
    """In the target's own words; who is not known is accepted."""
    server, _ = outage()
    assert ask(server, "gone", "joe", "new") == [GONE, "250 2.1.5 Ok", "250 2.1.5 Ok"]
    with server.client() as client:
        client.hello()
        replies = client.pipelined(PLAIN_MESSAGE, recipients=[
            "joe@example.test", "gone@EXAMPLE.test", "new@example.test"])
    assert [r.code for r in replies] == [250, 250, 550, 250, 354, 250]
    assert f"{replies[2].code} {replies[2].text}" == GONE


def test_refused_get_no_message_later(outage):
    """What is spooled goes to those who were accepted, and to nobody else."""
    server, backend = outage()
    with server.client() as client:
        client.hello()
        client.pipelined(PLAIN_MESSAGE, recipients=["gone@example.test", "joe@example.test"])
    backend.listen()
    backend.wait_ended()
    assert backend.ended[0].rcpts == ["RCPT TO:<joe@example.test>"]
    server.wait_event("delivered")


def test_unverified_defer(outage):
    """Who is not known is put off: an outage makes no bounces."""
    server, _ = outage("unverified = defer")
    assert ask(server, "new", "gone", "joe", "Joe") == [DOWN, GONE, "250 2.1.5 Ok", DOWN]


def test_contrary_answer_replaces(before):
    server, backend = before("unverified = defer")
    backend.on("RCPT", "550 5.2.1 joe has left", "250 2.1.5 Ok")
    ask(server, "joe", "gone")
    break_down(backend)
    assert ask(server, "joe", "gone") == ["550 5.2.1 joe has left", "250 2.1.5 Ok"]


@pytest.mark.parametrize("answer", [
    "450 4.2.1 later", "550 5.7.1 not from you", "550 5.1.8 sender unknown", "550 no"])
def test_other_answers_are_not_remembered(before, answer):
    """Of the moment, the client or the sender: these say nothing of the recipient."""
    server, backend = before("unverified = defer")
    backend.on("RCPT", answer)
    ask(server, "joe", "new")
    break_down(backend)
    assert ask(server, "joe", "new") == ["250 2.1.5 Ok", DOWN]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_remembered_after_a_restart(outage, number):
    server, _ = outage("unverified = defer")
    known = server.directory / "spool/targets"
    if number == signal.SIGKILL:
        wait_for(lambda: known.exists() and "gone@" in known.read_text())
        server.process.child.kill()
        server.process.wait_exit()
    else:
        server.stop(number)
    server.is_over = False
    server.start()
    assert ask(server, "gone", "joe", "new") == [GONE, "250 2.1.5 Ok", DOWN]


def test_all_processes_know(target, to_target):
    """What one worker has heard the others know too."""
    backend = target()
    server = to_target(backend, *SPOOL, core="workers = 2\n")
    backend.on("RCPT", GONE)
    assert ask(server, "gone") == [GONE]
    break_down(backend)
    wait_for(lambda: all(ask(server, "gone") == [GONE] for _ in range(12)))


def test_bound(target, to_target):
    """remember: the oldest goes first."""
    backend = target()
    server = to_target(backend, *SPOOL, "unverified = defer", "remember = 1d 1h 2")
    ask(server, "a", "b", "c")
    break_down(backend)
    assert ask(server, "a", "b", "c") == [DOWN, "250 2.1.5 Ok", "250 2.1.5 Ok"]


@pytest.mark.skipif(not is_root(), reason="other loopback addresses are bound as root")
@pytest.mark.parametrize("pattern", ["@", "@example.test"])
def test_relay_from_holds(target, postern, pattern):
    """Through a pattern that names no domain a stranger gets 451, whatever is remembered; the route
    proves nothing of the recipient to anybody."""
    backend = target(ehlo=(*DEFAULT_EHLO, XFORWARD))
    relay = "\n".join(SPOOL)
    server = postern(f'[relay "target"]\naddress = {backend.address}\nunverified = defer\n{relay}\n'
                     f"[route]\n{pattern} target\n", smtpd=f"relay-from = {TRUSTED}/32\n")
    assert ask(server, "joe", source=TRUSTED) == ["250 2.1.5 Ok"]
    break_down(backend)
    named = pattern != "@"
    assert ask(server, "joe", source=TRUSTED) == ["250 2.1.5 Ok" if named else DOWN]
    assert ask(server, "joe") == ["250 2.1.5 Ok" if named else DOWN]


@pytest.mark.skipif(not is_root(), reason="other loopback addresses are bound as root")
def test_strangers_through_a_wide_route(target, postern):
    """unverified = accept opens nothing: only relay-from gets further."""
    backend = target()
    backend.unlisten()
    relay = "\n".join(SPOOL)
    server = postern(f'[relay "target"]\naddress = {backend.address}\n{relay}\n[route]\n@ target\n',
                     smtpd=f"relay-from = {TRUSTED}/32\n")
    assert ask(server, "joe") == [DOWN]
    assert ask(server, "joe", source=TRUSTED) == ["250 2.1.5 Ok"]


def test_more_recipients_come_while_it_breaks(target, to_target):
    """More RCPTs in one go than may be unanswered: those behind find the target broken."""
    count = 1500
    backend = target().on("RCPT", Close())
    server = to_target(backend, *SPOOL, smtpd=f"max-recipients = {count}\n")
    names = [f"u{number}@example.test" for number in range(count)]
    with server.client() as client:
        client.hello()
        backend.unlisten()
        replies = client.pipelined(PLAIN_MESSAGE, recipients=names)
    assert [r.code for r in replies] == [250] * (count + 1) + [354, 250]

# SPDX-License-Identifier: BSD-2-Clause
"""Connections to targets: which are reused for whom, and when they are closed."""
import threading
import time

import pytest

from harness.dns import CLIENT, TRUSTED
from harness.messages import PLAIN_MESSAGE, big_message
from harness.smtp import ehlo_arguments, xforward
from peers.answers import Close, Hold, Reset
from peers.client import elapsed, stuffed
from peers.target import DEFAULT_EHLO, XCLIENT, XFORWARD

WITH_XFORWARD = (*DEFAULT_EHLO, XFORWARD)
WITH_XCLIENT = (*DEFAULT_EHLO, XCLIENT)


def send_one(server, source=CLIENT, **envelope):
    with server.client(source=source) as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE, **envelope)
        client.quit()
    return reply


def used(backend):
    return [c for c in backend.connections if c.transactions]


# --- who shares with whom ------------------------------------------------------------------------

@pytest.mark.parametrize("identity, ehlo", [("none", DEFAULT_EHLO), ("xforward", WITH_XFORWARD)])
def test_clients_share_connections(target, to_target, identity, ehlo):
    """Without identity or with XFORWARD a connection serves one client after the other."""
    backend = target(ehlo=ehlo)
    server = to_target(backend, identity=identity)
    for source in (CLIENT, TRUSTED, CLIENT):
        assert send_one(server, source=source).code == 250
    assert [len(c.transactions) for c in used(backend)] == [3]
    assert used(backend)[0].verbs.count("EHLO") == 1


def test_xforward_is_sent_anew_before_every_mail(target, to_target):
    """Each transaction on a shared connection bears the identity of its own client."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward")
    send_one(server, source=CLIENT)
    send_one(server, source=TRUSTED)
    first, second = backend.accepted
    assert xforward(first)["ADDR"] == CLIENT
    assert xforward(second)["ADDR"] == TRUSTED
    assert xforward(first)["IDENT"] != xforward(second)["IDENT"]


def test_xclient_connection_serves_one_client(target, to_target):
    """The next client gets a fresh connection, the next transaction of the same one does not."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.mail(PLAIN_MESSAGE)
        client.mail(PLAIN_MESSAGE)
        client.quit()
    send_one(server, source=TRUSTED)
    assert [len(c.transactions) for c in used(backend)] == [2, 1]
    assert all(c.verbs.count("XCLIENT") == 1 for c in used(backend))


def test_same_address_is_not_the_same_client(target, to_target):
    """Even two sessions from one address do not share an impersonated connection."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    send_one(server, source=CLIENT)
    send_one(server, source=CLIENT)
    assert len(used(backend)) == 2


def test_new_ehlo_is_a_new_identity(target, to_target):
    """After another EHLO in the same session the old impersonated connection is not used."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello("one.example.org")
        client.mail(PLAIN_MESSAGE)
        client.expect(250, "EHLO two.example.org")
        client.mail(PLAIN_MESSAGE)
    last = next(c for c in backend.connections if c.transactions
                and c.transactions[-1] is backend.accepted[-1])
    assert ehlo_arguments(last)[-1] == "two.example.org"
    assert len(used(backend)) == 2


def test_connection_is_impersonated_at_the_first_recipient(target, to_target):
    """A client that names no recipient costs the target no impersonation."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RSET")
        client.quit()
    server.wait_event("disconnect")
    assert all("XCLIENT" not in c.verbs for c in backend.connections)


def test_closed_session_gives_up_its_impersonated_connection(target, to_target):
    """When the client leaves, its connection gets QUIT."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    send_one(server)
    backend.wait(lambda: any("QUIT" in c.verbs for c in used(backend)), "QUIT")


# --- replay after a reused connection broke ------------------------------------------------------

@pytest.mark.parametrize("how", ["close", "reset"])
def test_broken_idle_connection_is_not_noticed(target, to_target, how):
    """A target that dropped its idle connections gets the next mail on a fresh one."""
    backend = target()
    server = to_target(backend)
    assert send_one(server).code == 250
    backend.drop_all(by=how)
    assert send_one(server).code == 250
    assert len(backend.accepted) == 2


def test_421_on_an_idle_connection(target, to_target):
    """A 421 that comes while the connection idles is read, and the connection closed."""
    backend = target()
    server = to_target(backend)
    assert send_one(server).code == 250
    backend.connections[0].sock.sendall(b"421 4.4.2 idle too long\r\n")
    backend.wait_closed()
    assert send_one(server).code == 250
    assert len(used(backend)) == 2


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("answer", [Close(), Reset(), Close("421 4.3.2 going down")],
                         ids=["close", "reset", "421"])
def test_failure_on_a_reused_connection_is_replayed(target, to_target, stage, answer):
    """What breaks on a reused connection before the end of data is done again on a fresh one."""
    backend = target()
    server = to_target(backend)
    assert send_one(server).code == 250
    backend.on(stage, answer, repeat_last=False)
    with server.client() as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE, recipients=["joe@example.test", "jane@example.test"])
    assert reply.code == 250
    replayed = backend.accepted[-1]
    assert replayed.rcpts == ["RCPT TO:<joe@example.test>", "RCPT TO:<jane@example.test>"]
    assert replayed.content.endswith(PLAIN_MESSAGE)
    assert len(backend.accepted) == 2


def test_replay_on_a_silent_drop_in_mid_content(target, to_target):
    """Octets that were already sent are sent again, from the first."""
    content = big_message(200_000)
    wire = stuffed(content)
    backend = target()
    server = to_target(backend, "received = never")
    assert send_one(server).code == 250
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(wire[:100_000])
        backend.wait(lambda: len(backend.connections[0].received) > 50_000, "half the content")
        backend.connections[0].sock.shutdown(2)
        backend.wait_closed()
        client.send(wire[100_000:] + b".\r\n")
        client.expect(250)
    assert backend.accepted[-1].content == content


def test_replay_happens_once(target, to_target):
    """When the fresh connection breaks too, the client gets 451."""
    backend = target()
    server = to_target(backend)
    assert send_one(server).code == 250
    backend.on("DATA", Close())
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.data(PLAIN_MESSAGE).code == 451
    assert len(backend.connections) == 2


def test_recipient_refused_on_replay(target, to_target):
    """A recipient accepted at first, but refused on replay, counts as refused at the end."""
    backend = target()
    server = to_target(backend)
    assert send_one(server).code == 250
    backend.on("DATA", Close(), repeat_last=False)
    backend.on("RCPT", "250 2.1.5 Ok", "550 5.1.1 gone meanwhile")
    with server.client() as client:
        client.hello()
        client.envelope()
        reply = client.data(PLAIN_MESSAGE)
    assert (reply.code, reply.text) == (550, "5.1.1 gone meanwhile")


# --- bounds --------------------------------------------------------------------------------------

def test_five_refused_commands_retire_a_connection(target, to_target):
    """The target's error counter must not fall on the next client: QUIT after five refusals."""
    backend = target().on("RCPT", "550 5.1.1 no such user")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        for _ in range(5):
            client.expect(550, "RCPT TO:<joe@example.test>")
        client.quit()
    backend.wait_command("QUIT")
    backend.on("RCPT", "250 2.1.5 Ok")
    assert send_one(server).code == 250
    assert "QUIT" in backend.connections[0].verbs
    assert backend.accepted[0] not in backend.connections[0].transactions


def test_max_transactions(target, to_target):
    """After max-transactions a connection gets QUIT."""
    backend = target()
    server = to_target(backend, "max-transactions = 2")
    for _ in range(3):
        assert send_one(server).code == 250
    assert [len(c.transactions) for c in used(backend)] == [2, 1]
    backend.wait(lambda: "QUIT" in used(backend)[0].verbs, "QUIT")


def test_idle_timeout(target, to_target):
    """An idle connection gets QUIT after idle-timeout."""
    backend = target()
    server = to_target(backend, "idle-timeout = 1s")
    begun = time.monotonic()
    assert send_one(server).code == 250
    seconds, _ = elapsed(lambda: backend.wait_command("QUIT", timeout_s=5))
    assert time.monotonic() - begun > 0.5 and seconds < 4


def test_idle_connections(target, to_target):
    """No more than idle-connections stay open when nothing is going on."""
    backend = target()
    server = to_target(backend, "idle-connections = 1")
    clients = [server.client() for _ in range(4)]
    for client in clients:
        client.hello()
        client.envelope()
    for client in clients:
        client.data(PLAIN_MESSAGE)
        client.quit()
    backend.wait_command("QUIT", count=3)
    backend.wait(lambda: sum(c.end is None for c in backend.connections) <= 1, "closed connections")


def test_max_connections_waits(target, to_target):
    """At the limit RCPT waits until a connection is free, and then goes on."""
    backend = target()
    server = to_target(backend, "max-connections = 1")
    first, second = server.client(), server.client()
    first.hello()
    first.envelope()
    second.hello()
    second.expect(250, "MAIL FROM:<sender@example.org>")
    second.send(b"RCPT TO:<joe@example.test>\r\n")
    assert not second.has_reply_within(0.3)
    assert first.data(PLAIN_MESSAGE).code == 250
    assert second.reply().code == 250
    assert second.data(PLAIN_MESSAGE).code == 250
    assert len(backend.connections) == 1


def test_max_connections_ends_in_451(target, to_target):
    """... within envelope-timeout; then 451 4.3.2."""
    backend = target()
    server = to_target(backend, "max-connections = 1", "envelope-timeout = 1s")
    first, second = server.client(), server.client()
    first.hello()
    first.envelope()
    second.hello()
    second.expect(250, "MAIL FROM:<sender@example.org>")
    assert second.expect(451, "RCPT TO:<joe@example.test>").enhanced == "4.3.2"
    assert first.data(PLAIN_MESSAGE).code == 250


def test_max_connections_with_xclient(target, to_target):
    """Virgin connections count too: never more than the limit."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, "max-connections = 2", identity="xclient")
    results = []

    def run():
        results.append(send_one(server).code)
    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [250] * 6
    changes = sorted([(c.commands[0][0], 1) for c in backend.connections if c.commands]
                     + [(c.commands[-1][0], -1) for c in backend.connections
                        if c.commands and c.end is not None])
    open_now = most = 0
    for _, change in changes:
        open_now += change
        most = max(most, open_now)
    assert most <= 3        # the target sees a close a little later than postern


def test_idle_client_holds_no_connection(target, to_target):
    """A client that has greeted and is silent binds nothing: another one is served at the limit."""
    backend = target()
    server = to_target(backend, "max-connections = 1")
    idle = server.client()
    idle.hello()
    idle.expect(250, "MAIL FROM:<sender@example.org>")
    assert send_one(server).code == 250


def test_silent_client_gives_its_connection_up(target, to_target):
    """When others wait, a client silent for 10 s loses its connection, not its message."""
    backend = target()
    server = to_target(backend, "max-connections = 1", "received = never")
    silent = server.client(timeout_s=40)
    silent.hello()
    silent.envelope()
    silent.expect(354, "DATA")
    silent.send(PLAIN_MESSAGE)
    with server.client(timeout_s=30) as other:
        other.hello()
        assert other.mail(PLAIN_MESSAGE).code == 250
    assert backend.accepted and len(backend.ended) == 1
    silent.send(b".\r\n")
    assert silent.reply().code == 250
    assert [t.content for t in backend.accepted] == [PLAIN_MESSAGE] * 2


# --- what goes over a connection -----------------------------------------------------------------

def test_pipelined_client_costs_one_write(target, to_target):
    """MAIL, RCPTs and DATA that came in one segment leave in one."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward")
    send_one(server)
    with server.client() as client:
        client.hello()
        replies = client.pipelined(PLAIN_MESSAGE,
                                   recipients=["joe@example.test", "jane@example.test"])
    assert [r.code for r in replies] == [250, 250, 250, 354, 250]
    data = next(s.data for s in backend.connections[0].segments if b"<jane@" in s.data)
    verbs = [line.split(b" ")[0] for line in data.split(b"\r\n")[:-1]]
    assert verbs == [b"XFORWARD", b"MAIL", b"RCPT", b"RCPT", b"DATA"]


def test_lock_step_towards_a_simple_target(target, to_target):
    """Where PIPELINING is not announced each command waits for its reply."""
    backend = target(ehlo=("SIZE", "8BITMIME"))
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        assert client.pipelined(PLAIN_MESSAGE)[-1].code == 250
    connection = used(backend)[0]
    for verb in (b"EHLO", b"MAIL", b"RCPT", b"DATA"):
        assert connection.segment_with(verb).data.count(b"\r\n") == 1


def test_abandoned_transaction_is_reset_at_once(target, to_target):
    """A client that goes after RCPT holds nothing at the target: RSET comes without anybody's doing
    more. Who comes next is served, and has no RSET of its own."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward")
    client = server.client()
    client.hello()
    client.envelope()
    client.reset()
    backend.wait_command("RSET")
    with server.client() as other:
        other.hello()
        assert other.mail(PLAIN_MESSAGE).code == 250
    assert sum(c.verbs.count("RSET") for c in backend.connections) == 1


def test_abandoned_transaction_is_reset_with_the_next(target, to_target):
    """Where the next one is there already RSET leaves in one write with it."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward")
    with server.client() as client:
        client.hello()
        client.envelope()
        client.send(b"RSET\r\nMAIL FROM:<sender@example.org>\r\nRCPT TO:<joe@example.test>\r\n")
        for _ in range(3):
            client.expect(250)
        assert client.data(PLAIN_MESSAGE).code == 250
    data = used(backend)[0].segment_with(b"RSET").data
    assert data.startswith(b"RSET\r\nXFORWARD ") and b"\r\nMAIL FROM:" in data
    assert len(used(backend)) == 1


def test_parameters_pass_as_they_came(target, to_target):
    """SIZE and BODY reach the target as the client wrote them."""
    backend = target()
    server = to_target(backend)
    send_one(server)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org> SIZE=1234 BODY=8BITMIME")
        client.expect(250, "RCPT TO:<joe@example.test>")
    assert backend.transactions[-1].mail == \
        "MAIL FROM:<sender@example.org> SIZE=1234 BODY=8BITMIME"


def test_helo_only_target(target, to_target):
    """A target that refuses EHLO gets HELO, and no parameters."""
    backend = target().on("EHLO", "502 5.5.1 what is EHLO?")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org> SIZE=100")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
    assert backend.accepted[0].mail == "MAIL FROM:<sender@example.org>"


def test_helo_setting(target, to_target):
    """`helo` is what postern calls itself."""
    backend = target()
    server = to_target(backend, "helo = other.example.org")
    send_one(server)
    assert ehlo_arguments(used(backend)[0]) == ["other.example.org"]


def test_slow_target_slows_nobody_else(target, postern):
    """While one target keeps its reply back, mail to the other one flows."""
    slow, quick = target(), target()
    hold = Hold("250 2.1.5 at last")
    slow.on("RCPT", hold)
    server = postern(f'[relay "slow"]\naddress = {slow.address}\n'
                     f'[relay "quick"]\naddress = {quick.address}\n'
                     "[route]\n@slow.example slow\n@quick.example quick\n")
    waiting = server.client()
    waiting.hello()
    waiting.expect(250, "MAIL FROM:<sender@example.org>")
    waiting.send(b"RCPT TO:<joe@slow.example>\r\n")
    slow.wait_command("RCPT")
    for _ in range(3):
        assert send_one(server, recipients=["joe@quick.example"]).code == 250
    hold.release()
    assert waiting.reply().text == "2.1.5 at last"

# SPDX-License-Identifier: BSD-2-Clause
"""What was spooled is delivered under the identity of the client that sent it."""
import pytest

from harness.dns import CLIENT
from harness.messages import PLAIN_MESSAGE
from harness.postern import PATIENT
from harness.smtp import attributes, ehlo_arguments, without_received, xforward
from peers.answers import Close
from peers.target import DEFAULT_EHLO, XCLIENT, XFORWARD

WITH_XCLIENT = (*DEFAULT_EHLO, XCLIENT)
WITH_XFORWARD = (*DEFAULT_EHLO, XFORWARD)
FAILED = "4.3.5 Client identity could not be handed on, try again later"

SPOOL = ("on-failure = spool", "health-interval = 1s", "connect-timeout = 1s", "retry = 1s")


def send_one(server):
    """One message of a client with a name; its source port."""
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        server.wait_named(client)
        reply = client.mail(PLAIN_MESSAGE)
        assert reply.code == 250, reply.raw
        return client.port


def delivered_by(backend, count=1):
    """The connection of the count-th message that was taken whole."""
    backend.wait_ended(count)
    ended = backend.ended[count - 1]
    return next(c for c in backend.connections if ended in c.transactions), ended


def lose_content(backend):
    """Takes the recipient, then breaks off in the content, and is away."""
    def leave(_connection, _line):
        backend.unlisten()
        backend.drop_all()              # one may have been made in advance
        return Close()
    backend.on("DATA", leave, "354 go ahead")


def come_back(server, backend, ehlo):
    server.wait_event("spooled")
    backend.ehlo = ehlo
    backend.listen()


def test_xclient_is_replayed(target, to_target):
    """The same attributes; Received is added, as postern has kept the message."""
    backend = target(ehlo=WITH_XCLIENT)
    backend.unlisten()
    server = to_target(backend, *SPOOL, identity="xclient", smtpd=PATIENT)
    port = send_one(server)
    come_back(server, backend, WITH_XCLIENT)
    connection, transaction = delivered_by(backend)
    line = next(line for line in connection.lines if line.startswith("XCLIENT "))
    sent = attributes(line)
    assert (sent["NAME"], sent["ADDR"], sent["PORT"]) == ("client.example.test", CLIENT, str(port))
    assert ehlo_arguments(connection)[-1] == "helo.example.org"
    received, content = without_received(transaction.content)
    assert "helo.example.org" in received and CLIENT in received
    assert content == PLAIN_MESSAGE
    server.wait_event("delivered")


def test_xforward_is_replayed(target, to_target):
    """... though the target has XCLIENT by now: that would be another judgement."""
    backend = target(ehlo=WITH_XFORWARD)
    lose_content(backend)
    server = to_target(backend, *SPOOL, identity="auto", smtpd=PATIENT)
    port = send_one(server)
    come_back(server, backend, (*WITH_XFORWARD, XCLIENT))
    connection, transaction = delivered_by(backend)
    assert "XCLIENT" not in connection.verbs
    sent = xforward(transaction)
    assert (sent["NAME"], sent["ADDR"], sent["PORT"]) == ("client.example.test", CLIENT, str(port))
    assert without_received(transaction.content)[1] == PLAIN_MESSAGE


def test_accepted_goes_by_xforward(target, to_target):
    """XCLIENT is gone; the target had taken the recipient already."""
    backend = target(ehlo=WITH_XCLIENT)
    lose_content(backend)
    server = to_target(backend, *SPOOL, identity="xclient", smtpd=PATIENT)
    send_one(server)
    come_back(server, backend, WITH_XFORWARD)
    _, transaction = delivered_by(backend)
    assert xforward(transaction)["ADDR"] == CLIENT


@pytest.mark.parametrize("identity", ["xclient", "auto"])
def test_never_accepted_waits(target, to_target, identity):
    """By postern's own address it would pass where the client might not: it waits for XCLIENT."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, *SPOOL, identity=identity, smtpd=PATIENT)
    with server.client(source=CLIENT) as client:
        client.hello()
        client.mail(PLAIN_MESSAGE)
    backend.unlisten()
    backend.drop_all()
    send_one(server)
    come_back(server, backend, WITH_XFORWARD)
    deferred = server.wait_event("deferred")
    assert FAILED in deferred["reply"]
    assert len(backend.transactions) == 1
    backend.ehlo = WITH_XCLIENT
    backend.drop_all()
    connection, _ = delivered_by(backend, 2)
    assert "XCLIENT" in connection.verbs
    server.wait_event("delivered")


def test_size_and_dsn(target, to_target):
    """SIZE is the true one; what the client asked of DSN goes where DSN is announced."""
    backend = target(ehlo=(*DEFAULT_EHLO, "DSN"))
    server = to_target(backend, *SPOOL)
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE)
    backend.unlisten()
    backend.drop_all()
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org> SIZE=7 RET=HDRS ENVID=e1")
        client.expect(250, "RCPT TO:<joe@example.test> NOTIFY=NEVER ORCPT=rfc822;joe@old.example")
        assert client.data(PLAIN_MESSAGE).code == 250
    come_back(server, backend, (*DEFAULT_EHLO, "DSN"))
    _, transaction = delivered_by(backend, 2)
    words = transaction.mail.split(" ")
    assert {f"SIZE={len(PLAIN_MESSAGE)}", "RET=HDRS", "ENVID=e1"} <= set(words)
    assert "SIZE=7" not in words
    assert transaction.rcpts == [
        "RCPT TO:<joe@example.test> NOTIFY=NEVER ORCPT=rfc822;joe@old.example"]


@pytest.mark.parametrize("identity", ["auto", "none"])
def test_identity_is_of_each_target(target, postern, identity):
    """What one target was told by is not asked of the others that the message goes to."""
    judge, other = target(ehlo=WITH_XCLIENT), target()
    lose_content(judge)
    other.unlisten()
    relays = "".join(
        f'[relay "{name}"]\naddress = {backend.address}\nidentity = {kind}\n' + "\n".join(SPOOL)
        + "\n" for name, backend, kind in (("judge", judge, "auto"), ("other", other, identity)))
    server = postern(relays + "[route]\n@judge.test judge\n@other.test other\n")
    with server.client() as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE, recipients=("joe@judge.test", "joe@other.test"))
        assert reply.code == 250, reply.raw
    other.listen()
    assert server.wait_event("delivered")["target"] == "other"
    assert not any(line["target"] == "other" for line in server.events("deferred"))

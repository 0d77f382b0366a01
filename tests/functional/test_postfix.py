# SPDX-License-Identifier: BSD-2-Clause
"""postern in front of a real Postfix, both set up as doc/postfix.md says."""
import pytest

from harness.dns import BLOCKED, BLOCKED_NAME, CLIENT, MISMATCH, NAMELESS, TRUSTED
from harness.messages import (DOTTED_MESSAGE, HEADER, ODD_MESSAGE, PLAIN_MESSAGE, as_stored,
                              big_message)
from harness.postern import PATIENT
from harness.postfix import queue_id
from harness.senders import Swaks, smtp_source
from peers.client import Client

MESSAGES = {"plain": PLAIN_MESSAGE, "dots": DOTTED_MESSAGE, "odd octets": ODD_MESSAGE,
            "1 MiB": big_message(1 << 20), "header only": HEADER, "5 MiB": big_message(5 << 20)}


@pytest.mark.parametrize("name", ["plain", "dots", "1 MiB"])
def test_swaks_arrives_whole(xclient_chain, name):
    """What swaks sends lies in the mailbox octet for octet."""
    server = xclient_chain.postern()
    run = Swaks(server.server, data=MESSAGES[name], source=CLIENT)
    assert run.exit_code == 0, run.output
    message = xclient_chain.postfix.delivered(queue_id(run.final))
    assert message.sent == as_stored(MESSAGES[name])


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("chunking", ["auto", "no"])
@pytest.mark.parametrize("way", ["xclient_chain", "xforward_chain"])
def test_content_arrives_whole(request, newlines, way, chunking, name):
    """Content of every kind passes unchanged, by BDAT and DATA, under each kind of identity."""
    chain = request.getfixturevalue(way)
    server = chain.postern(f"chunking = {chunking}")
    with server.client() as client:
        client.hello()
        reply = client.mail(MESSAGES[name])
        client.quit()
    assert reply.code == 250
    assert chain.postfix.delivered(queue_id(reply)).sent == as_stored(MESSAGES[name])


@pytest.mark.parametrize("way", ["xclient_chain", "xforward_chain"])
def test_smtp_source_arrives(request, newlines, way):
    """Sixty messages over six parallel sessions all arrive."""
    chain = request.getfixturevalue(way)
    server = chain.postern()
    mark = chain.postfix.log.mark()
    smtp_source(server.server, messages=60, sessions=6)
    chain.postfix.log.wait_line(r"to=<bulk@example.test>.*status=sent", since=mark, count=60,
                                timeout_s=30)


def test_client_gets_postfix_own_words(xclient_chain):
    """Each reply to RCPT and to the end of data is the one that Postfix gives."""
    server = xclient_chain.postern()
    with Client(xclient_chain.postfix.server) as direct:
        direct.hello()
        direct.expect(250, "MAIL FROM:<sender@example.org>")
        expected = direct.command("RCPT TO:<nobody-here@example.test>")
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.command("RCPT TO:<nobody-here@example.test>").raw == expected.raw
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert "queued as" in client.data(PLAIN_MESSAGE).text


def test_xclient_shows_the_client(xclient_chain):
    """Log and Received bear the client's name, address and HELO, and no trace of postern."""
    server = xclient_chain.postern()
    run = Swaks(server.server, data=PLAIN_MESSAGE, source=CLIENT, helo="my-helo.example.org")
    ident = queue_id(run.final)
    xclient_chain.postfix.log.wait_line(rf"{ident}: client=client\.example\.test\[{CLIENT}\]")
    message = xclient_chain.postfix.delivered(ident)
    assert len(message.received) == 1
    assert message.received[0].startswith(
        f"from my-helo.example.org (client.example.test [{CLIENT}]) by postfix.example.test")
    assert "ESMTP" in message.received[0]
    assert b"postern" not in message.raw


@pytest.mark.parametrize("address", [NAMELESS, MISMATCH])
def test_xclient_of_a_client_without_confirmed_name(xclient_chain, address):
    """Without a forward-confirmed name Postfix sees `unknown`, never postern's name."""
    server = xclient_chain.postern()
    run = Swaks(server.server, data=PLAIN_MESSAGE, source=address)
    message = xclient_chain.postfix.delivered(queue_id(run.final))
    assert f"(unknown [{address}])" in message.received[0]


def test_xforward_shows_the_client_in_the_log(xforward_chain):
    """Postfix logs the forwarded client; the message has postern's own Received line."""
    server = xforward_chain.postern(smtpd=PATIENT)
    with server.client(source=CLIENT) as client:
        client.hello("my-helo.example.org")
        server.wait_named(client)
        ident = queue_id(client.mail(PLAIN_MESSAGE))
    xforward_chain.postfix.log.wait_line(
        rf"{ident}: .*orig_client=client\.example\.test\[{CLIENT}\]")
    received = xforward_chain.postfix.delivered(ident).received
    own = [line for line in received if "by postern.example.test" in line]
    assert len(own) == 1
    assert f"(client.example.test [{CLIENT}])" in own[0]
    assert own[0].startswith("from my-helo.example.org ")


def test_xforward_on_a_shared_connection(xforward_chain):
    """Two clients one after the other share a connection; each is logged as itself."""
    server = xforward_chain.postern(smtpd=PATIENT)
    log = xforward_chain.postfix.log
    mark = log.mark()
    for source, name in ((CLIENT, "client"), (TRUSTED, "trusted")):
        with server.client(source=source) as client:
            client.hello()
            server.wait_named(client)
            ident = queue_id(client.mail(PLAIN_MESSAGE))
        log.wait_line(rf"{ident}: .*orig_client={name}\.example\.test\[{source}\]")
    assert len(log.find(r"smtpd\[\d+\]: connect from", since=mark)) == 1


def test_proxy_shows_the_client(proxy_chain):
    """Through postscreen, smtpd sees the client's address as if it had connected itself."""
    server = proxy_chain.postern()
    with server.client(source=CLIENT) as client:
        client.hello("my-helo.example.org")
        reply = client.mail(PLAIN_MESSAGE)
    message = proxy_chain.postfix.delivered(queue_id(reply))
    assert len(message.received) == 1
    assert f"[{CLIENT}]) by postfix.example.test" in message.received[0]
    assert message.received[0].startswith("from my-helo.example.org ")


@pytest.mark.parametrize("address, words", [
    (BLOCKED, "No mail from this address"), (BLOCKED_NAME, "No mail from this name")])
def test_refusal_by_address_in_the_same_words(xclient_chain, address, words):
    """A client that Postfix refuses by address or name is refused through postern likewise."""
    server = xclient_chain.postern()
    with server.client(source=address) as client:
        client.hello("blocked.example.test")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        through = client.command("RCPT TO:<joe@example.test>")
    assert through.code == 554
    assert through.enhanced == "5.7.1"
    assert words in through.text
    with Client(xclient_chain.postfix.server) as direct:    # as Postfix says it to that client
        direct.hello("proxy.example.test")
        name = "blocked.example.test" if address == BLOCKED_NAME else "[UNAVAILABLE]"
        direct.expect(220, f"XCLIENT NAME={name} ADDR={address} PROTO=ESMTP")
        direct.expect(250, "EHLO blocked.example.test")
        direct.expect(250, "MAIL FROM:<sender@example.org>")
        assert direct.command("RCPT TO:<joe@example.test>").raw == through.raw


def test_foreign_client_may_not_relay(xclient_chain):
    """Relaying from a foreign address is refused, although postern sits on 127.0.0.1."""
    server = xclient_chain.postern()
    run = Swaks(server.server, recipients=["someone@elsewhere.example"], source=CLIENT)
    assert run.replies("554")[0].startswith("554 5.7.1 <someone@elsewhere.example>: Relay access")


def test_trusted_client_may_relay(xclient_chain):
    """A client of `mynetworks` may relay: Postfix's rules see its address."""
    server = xclient_chain.postern()
    with server.client(source=TRUSTED) as client:
        client.hello()
        client.envelope(recipients=["someone@elsewhere.example"])
        client.expect(250, "RSET")


def test_foreign_client_may_not_relay_by_xforward(xforward_chain):
    """With XFORWARD only the domains named in the table are taken at all."""
    server = xforward_chain.postern()
    with server.client(source=TRUSTED) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(550, "RCPT TO:<someone@elsewhere.example>")


def test_no_open_relay_while_postfix_is_away(postern, target):
    """In an outage a foreign client gets 451 for a foreign domain, never 250."""
    gone = target()
    gone.unlisten()
    server = postern(f'[relay "postfix"]\naddress = {gone.address}\nidentity = xclient\n'
                     "[route]\n@ postfix\n", smtpd=f"relay-from = {TRUSTED}/32\n")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.expect(451, "RCPT TO:<someone@elsewhere.example>")
        assert reply.enhanced == "4.4.1"


def test_several_recipients_each_with_its_own_reply(xclient_chain):
    """Of three recipients the unknown one is refused, the others get the message."""
    server = xclient_chain.postern()
    with server.client() as client:
        client.hello()
        replies = client.pipelined(PLAIN_MESSAGE, recipients=[
            "joe@example.test", "nobody-here@example.test", "jane@example.test"])
    assert [r.code for r in replies] == [250, 250, 550, 250, 354, 250]
    ident = queue_id(replies[-1])
    for user in ("joe", "jane"):
        assert xclient_chain.postfix.delivered(ident, user).sent == as_stored(PLAIN_MESSAGE)


def test_many_transactions_in_one_session(xclient_chain):
    """Ten messages over one session go over one connection to Postfix, impersonated once."""
    server = xclient_chain.postern()
    mark = xclient_chain.postfix.log.mark()
    with server.client(source=CLIENT) as client:
        client.hello()
        for _ in range(10):
            assert client.pipelined(PLAIN_MESSAGE)[-1].code == 250
        client.quit()
    line = r"disconnect from .*xclient=\S+ mail=10 rcpt=10"
    xclient_chain.postfix.log.wait_line(line, since=mark)

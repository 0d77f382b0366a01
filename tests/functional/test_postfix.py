# SPDX-License-Identifier: BSD-2-Clause
"""postern in front of a real Postfix, both set up as doc/postfix.md says."""
import re
import types

import pytest

from conftest import Chain
from harness import recipe
from harness.dns import BLOCKED, BLOCKED_NAME, CLIENT, MISMATCH, NAMELESS, TRUSTED
from harness.messages import (DOTTED_MESSAGE, HEADER, ODD_MESSAGE, PLAIN_MESSAGE, as_stored,
                              big_message)
from harness.postern import PATIENT, run
from harness.postfix import Postfix, queue_id
from harness.process import is_root
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


# ---- Postfix is away ----

@pytest.fixture(params=["xclient", "xforward", "proxy"])
def away(request, target, postern):
    """A chain of each way whose Postfix is not started yet, and sends to a scripted world."""
    if not is_root():
        pytest.skip("a private Postfix is started as root")
    world = target()
    postfix = Postfix(recipe.put_in(recipe.block(request.param, "main.cf"),
                                    networks=f"{TRUSTED}/32"),
                      recipe.block(request.param, "master.cf")
                      + recipe.block("reports", "master.cf") + "smtp unix - - n - - smtp\n",
                      {"relayhost": f"[127.0.0.1]:{world.port}"}, is_started=False)
    yield types.SimpleNamespace(way=request.param, postfix=postfix, world=world,
                                chain=Chain(request.param, postfix, postern))
    postfix.stop()


def test_mail_from_the_internet_in_an_outage(away):
    """Whoever writes to a domain of ours hears 250, and the message arrives when Postfix is back; a
    foreign domain is for our own networks alone, and the log says why."""
    server = away.chain.postern("health-interval = 1s")
    with server.client(source=CLIENT) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.expect(250, "MAIL FROM:<sender@example.org>")
        refused = client.command("RCPT TO:<someone@elsewhere.example>")
    told = server.wait_event("reject")
    if away.way == "xforward":
        assert (refused.code, refused.enhanced) == (550, "5.7.1")
    else:
        assert (refused.code, refused.enhanced) == (451, "4.4.1")
        assert told["reason"] == "relay-from" and told["rcpt"] == "<someone@elsewhere.example>"
        with server.client(source=TRUSTED) as client:
            client.hello()
            client.envelope(recipients=["someone@elsewhere.example"])
            client.expect(250, "RSET")
    away.postfix.start()
    reply = server.wait_event("delivered", timeout_s=60)["reply"]
    assert away.postfix.delivered(queue_id(reply)).sent == as_stored(PLAIN_MESSAGE)


def test_a_report_reaches_a_sender_outside(away):
    """A user whom Postfix does not know was taken in good faith: the sender is told."""
    server = away.chain.postern("health-interval = 1s")
    with server.client(source=CLIENT) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["nobody-here@example.test"]).code == 250
    away.postfix.start()
    report, = away.world.wait_ended(1, timeout_s=60)
    assert b"Status: 5.1.1\r\n" in report.content
    assert "<sender@example.org>" in report.rcpts[0]


def test_unverified_is_deferred_in_an_outage(away):
    """As the document says: whom Postfix has not accepted lately hears 451."""
    server = away.chain.postern("unverified = defer")
    away.postfix.start()
    with server.client(source=CLIENT) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    away.postfix.process.terminate()
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.expect(451, "RCPT TO:<nobody-here@example.test>").enhanced == "4.4.1"
        client.expect(250, "RSET")


def test_what_check_and_explain_say(away):
    """The recipes are without fault; without the lines that matter in an outage they are not."""
    server = away.chain.postern(is_started=False)
    text = server.config.read_text().replace("127.0.0.1:" + str(server.port), str(server.port))
    server.config.write_text(text)
    assert "warning" not in server.check().stderr
    def explain(address):
        return run(*server.flags, "--explain", address).stdout.splitlines()[-2:]
    waits = 'while relay "postfix" is away: accepted, and the message waits in the spool'
    assert explain("joe@example.test")[-1] == waits
    if away.way != "xforward":
        assert explain("x@elsewhere.example")[-2:] == [waits, (
            "    but for clients outside relay-from: 451 4.4.1 No connection to the next host, "
            "try again later")]
    text = re.sub("(?m)^bounce-relay.*", "", text)
    server.config.write_text(re.sub("(?m)^@example.test.*", "", text))
    said = server.check().stderr
    if away.way != "xforward":
        assert '"@" leads to "postfix", to which no line leads that names a domain' in said
        assert 'warning: reports to senders go to "postfix", which may judge' in said


def test_no_relay_from_while_a_target_cannot_judge(target, postern):
    """Where the target does not see the client, the log says why it gets 550, too."""
    backend = target()
    server = postern(f'[relay "blind"]\naddress = {backend.address}\nidentity = none\n'
                     "[route]\n@ blind\n", smtpd=f"relay-from = {TRUSTED}/32\n")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(550, "RCPT TO:<someone@elsewhere.example>")
    assert server.wait_event("reject")["reason"] == "relay-from"


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

# SPDX-License-Identifier: BSD-2-Clause
"""What a filter refuses leaves no trace at any target: the filters are those of words_kind.c."""
import pytest

from conftest import needs_root
from harness.messages import PLAIN_MESSAGE
from harness.postfix import Postfix, queue_id
from harness.process import free_port
from peers.target import FRAMINGS

MASTER_CF = """
10025     inet  n       -       n       -       -       smtpd
"""
WORDS = '[words "words"]\n'
BAD_SUBJECT = b"Subject: spam\r\n\r\nOne line.\r\n"
BAD_BODY = b"Subject: two\r\n\r\n" + b"A line of the body.\r\n" * 8000 + b"worm\r\n"


def refused_at_mail(client, _recipients):
    client.expect(550, "MAIL FROM:<refuse-mail@example.org>")


def refused_at_rcpt(client, _recipients):
    client.expect(250, "MAIL FROM:<sender@example.org>")
    client.expect(550, "RCPT TO:<bulk@one.test>")
    client.expect(554, "DATA")


def refused_at_data(client, recipients):
    client.envelope("refuse-data@example.org", recipients)
    client.expect(550, "DATA")


def refused_by_subject(client, recipients):
    client.envelope("sender@example.org", recipients)
    assert client.data(BAD_SUBJECT).text == "5.7.1 Not this message"


def refused_by_body(client, recipients):
    client.envelope("sender@example.org", recipients)
    assert client.data(BAD_BODY).text == "5.7.1 Not this message"


REFUSALS = {"mail": refused_at_mail, "rcpt": refused_at_rcpt, "data": refused_at_data,
            "subject": refused_by_subject, "body": refused_by_body}


def relay(name, address, *lines):
    return (f'[relay "{name}"]\naddress = {address}\nhealth-interval = 1h\n'
            + "".join(line + "\n" for line in lines))


def queued(server):
    return [p.name for p in (server.directory / "spool").glob("queue/*/*")
            if p.name not in ("owner", "index")]


@pytest.mark.parametrize("second", ["none", "there", "down"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("refusal", REFUSALS)
def test_no_trace(target, postern, refusal, framing, second):
    """With one target, with two, and where the second is down: its branch is taken over already."""
    backends = [target(ehlo=FRAMINGS[framing])]
    text = WORDS + relay("one", backends[0].address)
    recipients = ["joe@one.test"]
    if second == "there":
        backends.append(target(ehlo=FRAMINGS[framing]))
    if second != "none":
        address = f"127.0.0.1:{free_port()}" if second == "down" else backends[1].address
        text += relay("two", address)
        recipients.append("joe@two.test")
    routes = "[route]\n@one.test one\n" + ("" if second == "none" else "@two.test two\n")
    server = postern(text + routes, smtpd="filter = words\n", has_words=True)
    client = server.client()
    client.hello()
    REFUSALS[refusal](client, recipients)
    client.expect(250, "RSET")
    assert client.mail(PLAIN_MESSAGE, recipients=("joe@one.test",)).code == 250
    client.quit()
    assert [len(b.ended) for b in backends] == [1] + [0] * (len(backends) - 1)
    assert queued(server) == []


@pytest.mark.parametrize("framing", FRAMINGS)
def test_of_one_target(target, postern, framing):
    """A target's own filter: its recipients are refused, the others get the message."""
    backends = [target(ehlo=FRAMINGS[framing]) for _ in range(2)]
    server = postern(
        WORDS + relay("one", backends[0].address) +
        relay("two", backends[1].address, "filter = words") +
        "[route]\n@one.test one\n@two.test two\n", core="bounce-to = none", has_words=True)
    client = server.client()
    client.hello()
    client.envelope("sender@example.org", ["joe@one.test"])
    client.expect(550, "RCPT TO:<bulk@two.test>")
    client.expect(250, "RCPT TO:<joe@two.test>")
    assert client.data(BAD_BODY).code == 250
    assert client.mail(BAD_BODY, recipients=("bulk@one.test",)).code == 250
    client.envelope("sender@example.org", ["joe@two.test"])
    assert client.data(BAD_BODY).text == "5.7.1 Not this message"
    client.quit()
    assert [len(b.ended) for b in backends] == [2, 0]
    assert not any(b"X-Words" in t.content for t in backends[0].ended)


@needs_root
@pytest.mark.parametrize("refusal", REFUSALS)
def test_no_trace_at_postfix(postern, refusal):
    behind = Postfix("", MASTER_CF)
    try:
        server = postern(WORDS + relay("one", behind.address) + "[route]\n@ one\n",
                         smtpd="filter = words\n", has_words=True)
        client = server.client()
        client.hello()
        REFUSALS[refusal](client, ["joe@example.test"])
        client.expect(250, "RSET")
        reply = client.mail(PLAIN_MESSAGE)
        behind.wait_delivered(queue_id(reply))
        client.quit()
        assert sum("(queue active)" in line for line in behind.log.lines) == 1
        assert b"X-Words: second" in behind.delivered(queue_id(reply)).raw
    finally:
        behind.stop()

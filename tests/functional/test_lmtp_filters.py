# SPDX-License-Identifier: BSD-2-Clause
"""Filters and clients that speak LMTP: what they do to one recipient holds for that recipient."""
import pytest

from harness.messages import PLAIN_MESSAGE
from peers.client import chunked, stuffed
from peers.milter import CONTINUE, REJECT
from peers.target import FRAMINGS
from test_milter_paths import (EDITS, EVERYTHING, contents, edited, milter_section, queued, relay)

ONE, TWO = ["a@one.test", "c@one.test"], ["b@two.test", "d@two.test"]
EACH = ["a@one.test", "b@two.test", "c@one.test", "d@two.test"]


def by_data(client):
    client.expect(354, "DATA")
    client.send(stuffed(PLAIN_MESSAGE) + b".\r\n")
    return 0


def by_bdat(client):
    octets, count = chunked(PLAIN_MESSAGE, 10)
    client.send(octets)
    return count - 1


WAYS = pytest.mark.parametrize("way", [by_data, by_bdat])


def mail(client, way, recipients, sender="sender@example.org"):
    """Replies to the end of data, and no more of them than recipients."""
    client.expect(250, f"MAIL FROM:<{sender}>")
    count = sum(client.command(f"RCPT TO:<{one}>").code == 250 for one in recipients)
    for _ in range(way(client)):
        client.expect(250)
    replies = [client.reply() for _ in range(count)]
    client.expect(250, "NOOP")
    return replies


def hello(client):
    client.expect(220)
    client.expect(250, "LHLO client.test")


@WAYS
def test_of_the_listener(target, postern, raw_milter, way):
    """It sees what it sees of SMTP; whom it refuses at RCPT is out, and what it refuses at the end is
    refused to each of the others."""
    backend = target()
    milter = raw_milter(actions=0).on("rcpt", CONTINUE, REJECT, CONTINUE).on("eom", CONTINUE, REJECT)
    server = postern(milter_section(milter) + relay("one", backend.address) +
                     "[route]\n@one.test one\n", smtpd="filter = own\nresolve-names = no\n")
    with server.client() as client:
        hello(client)
        replies = mail(client, way, ["a@one.test", "b@one.test", "c@one.test"])
        assert [reply.code for reply in replies] == [250, 250]
        replies = mail(client, way, ONE)
        assert [reply.text for reply in replies] == ["5.7.1 Command rejected"] * 2
        client.quit()
    assert [len(t.rcpts) for t in backend.accepted] == [2]
    assert queued(server) == []
    heard, = milter.connections
    fields = len(heard.payloads("L")) // 2
    assert heard.letters.replace("D", "").rstrip("KQ") == \
        "OCH" + "MRRRT" + "L" * fields + "NBE" + "MRRT" + "L" * fields + "NBE"
    assert heard.payloads("H") == [b"client.test\0"]


@WAYS
@pytest.mark.parametrize("framing", FRAMINGS)
def test_of_one_target(target, postern, busy, framing, way):
    """One target's milter refuses, the other's edits: each recipient hears of its own target, which has
    what its own milter made of the message."""
    backends = [target(ehlo=FRAMINGS[framing]) for _ in range(2)]
    refusing = busy(("eom", "", "setreply", "550", "5.7.1", "not here"), ("eom", "", "reject"))
    server = postern(
        milter_section(refusing, "refusing") + milter_section(busy(*EDITS), "editing") +
        relay("one", backends[0].address, "filter = refusing") +
        relay("two", backends[1].address, "filter = editing") +
        "[route]\n@one.test one\n@two.test two\n")
    with server.client() as client:
        hello(client)
        replies = mail(client, way, EACH)
        client.quit()
    assert [reply.code for reply in replies] == [550, 250, 550, 250]
    assert replies[0].text == "5.7.1 not here"
    assert [len(b.ended) for b in backends] == [0, 1]
    assert contents(backends[1]) == [edited(PLAIN_MESSAGE)]
    assert queued(server) == []


@WAYS
def test_recipients_that_change(target, postern, busy, way):
    """One is left out, another one is added: the client hears of those whom it named, and of no others."""
    backends = [target(), target()]
    editing = busy(EVERYTHING, ("eom", "", "delrcpt", "<c@one.test>"),
                   ("eom", "", "addrcpt", "<more@two.test>"))
    server = postern(milter_section(editing) + relay("one", backends[0].address) +
                     relay("two", backends[1].address) + "[route]\n@one.test one\n@two.test two\n",
                     smtpd="filter = own\n")
    with server.client() as client:
        hello(client)
        replies = mail(client, way, ONE)
        client.quit()
    assert [reply.code for reply in replies] == [250, 250]
    assert [t.rcpts for b in backends for t in b.accepted] == \
        [["RCPT TO:<a@one.test>"], ["RCPT TO:<more@two.test>"]]


def test_added_and_deferred(target, postern, busy):
    """The client heard 250: whom the milter added gets the message out of the spool."""
    backends = [target(), target().on("end", "451 4.3.0 not now", "250 2.0.0 Ok")]
    editing = busy(EVERYTHING, ("eom", "", "addrcpt", "<more@two.test>"))
    server = postern(milter_section(editing) + relay("one", backends[0].address) +
                     relay("two", backends[1].address) + "[route]\n@one.test one\n@two.test two\n",
                     smtpd="filter = own\n")
    with server.client() as client:
        hello(client)
        assert [reply.code for reply in mail(client, by_data, ONE)] == [250, 250]
        client.quit()
    server.wait_event("spooled")
    server.wait_event("delivered")
    assert contents(backends[1]) == [PLAIN_MESSAGE]

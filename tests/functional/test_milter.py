# SPDX-License-Identifier: BSD-2-Clause
"""[milter]: what a scripted milter hears, what its answers mean, and what its misbehaviour does."""
import time

import pytest

from conftest import relay_config
from harness.dns import CLIENT, MISMATCH, NAMELESS
from harness.messages import PLAIN_MESSAGE
from harness.milters import (RSPAMD_WORD, SPAMASSASSIN_WORD, VIRUS, ClamavMilter, Opendkim, Rspamd,
                             SpamassMilter)
from peers.answers import Close, Deaf, Hold, Nothing, Reset, Silence
from peers.client import elapsed
from peers.milter import (ACCEPT, CONTINUE, DISCARD, PROGRESS, REJECT, SHUTDOWN, SKIP, TEMPFAIL,
                          add_header, change_header, packet, replace_body, reply_code)

QUIET = 0xFF080     # a milter that answers nothing but the end
BODY = PLAIN_MESSAGE.split(b"\r\n\r\n", 1)[1]


@pytest.fixture
def beside(postern, target):
    """A postern that asks these milters, before a target that takes everything; (postern, target)."""
    def make(*addresses, lines=(), relay=(), smtpd="resolve-names = no\n", **options):
        backend = target()
        text = '[milter "m"]\n' + "".join(f"address = {one}\n" for one in addresses)
        text += "".join(line + "\n" for line in lines) + relay_config(backend.address, *relay)
        return postern(text, smtpd=smtpd + "filter = m\n", **options), backend
    return make


def mail(server, content=PLAIN_MESSAGE, **options):
    """The reply to one message's end of data, and the client."""
    client = server.client()
    client.hello()
    reply = client.mail(content, **options)
    return reply, client


def refusal(client, content=PLAIN_MESSAGE):
    """The first reply that refuses something of a message, or the last one."""
    for line in ("MAIL FROM:<sender@example.org>", "RCPT TO:<joe@example.test>", "DATA"):
        reply = client.command(line)
        if reply.code >= 400:
            return reply
    client.send(content + b".\r\n")
    return client.reply()


def received(backend):
    """The contents that a target has got to their end."""
    return [t.content for c in backend.connections for t in c.transactions if t.is_ended]


def without_macros(connection):
    return connection.letters.replace("D", "")


# ---- what it hears -------------------------------------------------------------------------------

def test_a_message(beside, raw_milter):
    """Every stage, with Postfix's macros; the same connection for the next message."""
    milter = raw_milter(actions=0)
    server, backend = beside(milter.for_postern)
    with server.client() as client:
        client.hello("client.example.test")
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    heard, = milter.connections
    fields = len(heard.payloads("L")) // 2
    message = "MRT" + "L" * fields + "NBE"
    assert without_macros(heard).rstrip("KQ") == "OCH" + message + message
    address = f"127.0.0.1\0"
    assert heard.payloads("C")[0].startswith(b"[127.0.0.1]\x004")
    assert heard.payloads("C")[0].endswith(address.encode())
    assert heard.payloads("H") == [b"client.example.test\0"]
    assert heard.payloads("M")[0] == b"<sender@example.org>\0"
    assert heard.payloads("R")[0] == b"<joe@example.test>\0"
    assert heard.body == BODY + BODY
    assert heard.macros("C")[0]["j"] == "postern.example.test"
    assert heard.macros("C")[0]["{daemon_name}"] == "mx"
    server.wait_transaction(2)
    ids = [event["transaction"] for event in server.events("transaction")]
    assert [one["i"] for one in heard.macros("E")] == ids
    assert heard.macros("R")[0]["{rcpt_addr}"] == "joe@example.test"
    assert backend.connections[0].transactions[0].is_accepted


def test_in_one_write(beside, raw_milter):
    """What needs no answer waits for what does: a whole message in one segment."""
    milter = raw_milter(actions=0, steps=QUIET)
    server, _ = beside(milter.for_postern)
    reply, client = mail(server)
    assert reply.code == 250
    client.close()
    heard, = milter.connections
    assert heard.letters.startswith("ODCHDMDRDT")
    # the options, and all the rest, but for the end of the message perhaps
    assert len(heard.segments) <= 3
    line = server.wait_event("milter")
    assert line["holds"] == "no" and line["actions"] == "none"
    assert "quiet-connect" in line["steps"]


def test_streams(beside, raw_milter):
    """The target has what the client has sent, while the milter has not answered."""
    milter = raw_milter(actions=0)
    end = Hold(CONTINUE)
    milter.on("eom", end)
    server, backend = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        half = b"line\r\n" * 87_000  # of 1 MiB
        client.send(b"Subject: a\r\n\r\n" + half)
        backend.wait(lambda: backend.connections and
                     backend.connections[0].transactions and
                     half in backend.connections[0].received, "half of the message")
        client.send(half + b".\r\n")
        milter.wait(end.reached.is_set, "the end")
        assert not backend.connections[0].transactions[0].is_ended
        end.release()
        assert client.reply().code == 250


def test_large(beside, raw_milter):
    """A milter that reads nothing while the client sends all: it gets everything afterwards, and
    meanwhile no more than a little waits for it."""
    body = b"".join(b"%07d line\r\n" % i for i in range(1000000))
    milter = raw_milter(actions=0)
    header = Hold(CONTINUE)
    milter.on("header", header, CONTINUE)
    server, _ = beside(milter.for_postern, relay=["on-failure = spool"])
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(b"Subject: a\r\n\r\n" + body + b".\r\n")
        milter.wait(header.reached.is_set, "the header")
        header.release()
        assert client.reply().code == 250
    assert milter.connections[0].body == body


def test_lists_of_macros(beside, raw_milter):
    """What the milter asks for, else what the operator says."""
    milter = raw_milter(actions=0x100, symbols={2: "{client_addr} {client_port}"})
    server, _ = beside(milter.for_postern, lines=["macros = connect v", "macros = mail i"])
    _, client = mail(server)
    heard, = milter.connections
    assert list(heard.macros("C")[0]) == ["v"]
    assert heard.macros("M")[0] == {"{client_addr}": "127.0.0.1",
                                    "{client_port}": str(client.port)}
    client.close()


def test_name_of_the_client(beside, raw_milter):
    """The milter is told who the client is when DNS has said so; what it then says holds."""
    milter = raw_milter(actions=0).on("connect", REJECT)
    server, _ = beside(milter.for_postern, smtpd="")
    with server.client(source=CLIENT) as client:
        client.hello()
        assert refusal(client).code == 550
        client.command("RSET")
        assert refusal(client).code == 550
    heard, = milter.connections
    assert [c.split(b"\0")[0] for c in heard.payloads("C")] == [b"client.example.test"]
    assert heard.macros("C")[0]["_"] == f"client.example.test [{CLIENT}]"


@pytest.mark.parametrize("source", [NAMELESS, MISMATCH])
def test_client_without_a_name(beside, raw_milter, source):
    milter = raw_milter(actions=0)
    server, _ = beside(milter.for_postern, smtpd="")
    with server.client(source=source) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    heard, = milter.connections
    assert heard.payloads("C")[0].split(b"\0")[0] == f"[{source}]".encode()
    assert heard.macros("C")[0]["_"].endswith(f"[{source}]" if source == NAMELESS
                                              else f"[{source}] (may be forged)")


# ---- what its answers mean -----------------------------------------------------------------------

REPLIES = {REJECT: (550, "5.7.1 Command rejected"),
           TEMPFAIL: (451, "4.7.1 Service unavailable - try again later"),
           reply_code("553-5.7.3 one\r\n553 5.7.3 100%% sure"): (553, "5.7.3 100% sure")}


@pytest.mark.parametrize("stage", ["connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body",
                                   "eom"])
@pytest.mark.parametrize("answer", REPLIES, ids=["reject", "tempfail", "reply"])
def test_refusals(beside, raw_milter, stage, answer):
    milter = raw_milter(actions=0).on(stage, answer)
    server, backend = beside(milter.for_postern)
    code, text = REPLIES[answer]
    with server.client() as client:
        client.reply()
        reply = client.command("EHLO client.example.test")
        if reply.code < 400:  # else what was said of the client has come already
            reply = refusal(client)
        assert (reply.code, reply.lines[-1][4:]) == (code, text)
    assert not any(t.is_ended for c in backend.connections for t in c.transactions)


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "body", "eom"])
def test_discards(beside, raw_milter, stage):
    milter = raw_milter(actions=0).on(stage, DISCARD)
    server, backend = beside(milter.for_postern)
    reply, client = mail(server)
    assert reply.code == 250
    client.close()
    assert not any(t.is_ended for c in backend.connections for t in c.transactions)


@pytest.mark.parametrize("stage", ["connect", "helo", "mail", "rcpt", "data", "header", "body", "eom"])
def test_accepts(beside, raw_milter, stage):
    """Nothing more is asked: of the message, or before it of the client."""
    milter = raw_milter(actions=0).on(stage, ACCEPT)
    server, _ = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE).code == 250
    letters = "".join(without_macros(c) for c in milter.connections)
    assert letters.count("M") == (0 if stage in ("connect", "helo") else 2)


def test_closes_the_client(beside, raw_milter):
    milter = raw_milter(actions=0).on("rcpt", SHUTDOWN)
    server, _ = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(421, "RCPT TO:<joe@example.test>")
        assert client.is_closed()


def test_one_recipient(beside, raw_milter):
    milter = raw_milter(actions=0).on("rcpt", REJECT, CONTINUE)
    server, backend = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(550, "RCPT TO:<one@example.test>")
        client.expect(250, "RCPT TO:<two@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
    assert backend.connections[0].transactions[0].rcpts == ["RCPT TO:<two@example.test>"]


def test_no_more_of_the_body(beside, raw_milter):
    milter = raw_milter(actions=0, steps=0x400).on("body", SKIP)
    server, _ = beside(milter.for_postern)
    reply, client = mail(server)
    assert reply.code == 250
    client.close()


def test_unknown_commands(beside, raw_milter):
    """Judged one by one; a milter that fails meanwhile has lost the message, and no command."""
    milter = raw_milter(actions=0).on("unknown", CONTINUE, REJECT, Close())
    server, _ = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        client.expect(500, "FOO one")
        client.expect(550, "FOO two")
        client.envelope()
        client.expect(500, "FOO three")
        client.expect(451, "RCPT TO:<jane@example.test>")
        client.expect(451, "DATA")
    heard, = milter.connections
    assert heard.payloads("U") == [b"FOO one\0", b"FOO two\0", b"FOO three\0"]


def test_abort(beside, raw_milter):
    """RSET in the middle; the milter hears it, and the next message on the same connection."""
    milter = raw_milter(actions=0)
    server, _ = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(250, "RSET")
        assert client.mail(PLAIN_MESSAGE).code == 250
    heard, = milter.connections
    assert without_macros(heard).startswith("OCHMRAMRT")


# ---- skipped clients -----------------------------------------------------------------------------

def test_skips(beside, raw_milter):
    milter = raw_milter(actions=0)
    server, _ = beside(milter.for_postern, lines=["skip-when = 127.0.0.0/8 authenticated"])
    reply, client = mail(server)
    assert reply.code == 250
    client.close()
    assert milter.connections == []


def test_shadow(beside, raw_milter):
    """It is asked and told everything, and changes nothing."""
    milter = raw_milter().on("eom", [add_header("X-A", "b"), replace_body(b"new\r\n"), CONTINUE],
                             REJECT)
    server, backend = beside(milter.for_postern, lines=["shadow = yes"])
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert all(content.endswith(PLAIN_MESSAGE) and b"X-A" not in content
               for content in received(backend))
    assert server.wait_event("filter")["shadow"] == "yes"


# ---- connections ---------------------------------------------------------------------------------

def test_a_connection_for_each_client(beside, raw_milter):
    milter = raw_milter(actions=0)
    server, _ = beside(milter.for_postern)
    for count in range(1, 4):
        reply, client = mail(server)
        assert reply.code == 250
        client.quit()
        milter.wait_closed(count)
    assert [c.letters[-1] for c in milter.connections] == ["Q"] * 3


def test_next_address(beside, raw_milter):
    """Addresses in their order, whatever they are; one that is back is used again."""
    first, second = raw_milter(actions=0), raw_milter(actions=0)
    first.unlisten()
    server, _ = beside(first.for_postern, "unix:/nonexistent/milter", second.for_postern)
    reply, client = mail(server)
    assert reply.code == 250
    client.quit()
    assert len(second.connections) == 1
    down = [event for event in server.events("milter") if "error" in event]
    assert [event["address"] for event in down] == [first.address, "unix:/nonexistent/milter"]


def test_host_name(beside, raw_milter):
    milter = raw_milter(actions=0)
    server, _ = beside(f"inet:{milter.port}@localhost")
    reply, client = mail(server)
    assert reply.code == 250
    client.close()


def test_comes_back(beside, raw_milter):
    """The next message of the same client gets a connection, and is told who the client is."""
    milter = raw_milter(actions=0).on("eom", Close(), CONTINUE)
    server, _ = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 451
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert [without_macros(c)[:5] for c in milter.connections] == ["OCHMR", "OCHMR"]


def test_stays_away(beside, raw_milter):
    milter = raw_milter(actions=0)
    milter.unlisten()
    server, _ = beside(milter.for_postern)
    with server.client() as client:
        client.hello()
        client.command("MAIL FROM:<sender@example.org>")
        client.expect(451, "RCPT TO:<joe@example.test>")
        milter.listen()
        client.command("RSET")
        assert client.mail(PLAIN_MESSAGE).code == 250
    line = server.wait_event("filter")
    assert (line["result"], line["word"]) == ("failed", "no connection")


# ---- default-action ------------------------------------------------------------------------------

FAULTS = {
    "closes at CONNECT": ("connect", Close()),
    "resets at MAIL": ("mail", Reset()),
    "closes in the body": ("body", Close()),
    "closes at the end": ("eom", Close()),
    "no NUL": ("eom", packet("y", raw=b"550 5.7.1 no")),
    "a format": ("eom", packet("y", raw=b"%s%n\0")),
    "too long": ("eom", b"\x00\x01\x00\x01"),
    "no length": ("eom", b"\0\0\0\0"),
    "octets behind": ("eom", packet("c", raw=b"x")),
    "an edit too early": ("mail", add_header("X-A", "b")),
    "an edit nobody agreed on": ("eom", [replace_body(b"new"), CONTINUE]),
    "half of an answer": ("eom", [b"\0\0\0\7y55", Close()]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("action, code", [("tempfail", 451), ("reject", 550), ("accept", 250)])
def test_default_action(beside, raw_milter, fault, action, code):
    stage, answer = FAULTS[fault]
    milter = raw_milter(actions=0).on(stage, answer)
    server, backend = beside(milter.for_postern, lines=[f"default-action = {action}"])
    with server.client() as client:
        client.hello()
        assert refusal(client).code == code
    ended = [t for c in backend.connections for t in c.transactions if t.is_ended]
    assert len(ended) == (action == "accept")
    assert all(t.content.endswith(PLAIN_MESSAGE) for t in ended)
    if action == "tempfail":
        assert server.wait_event("filter")["result"] == "failed"


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt", "data", "body", "eom"])
def test_late(beside, raw_milter, stage):
    """A milter that does not answer is waited for as long as the settings say."""
    milter = raw_milter(actions=0).on(stage, Silence())
    server, _ = beside(milter.for_postern, lines=["command-timeout = 1s", "content-timeout = 1s"])
    with server.client() as client:
        client.hello()
        assert refusal(client).code == 451
    assert server.wait_event("filter")["word"] == "timeout"


def test_deaf(beside, raw_milter):
    """One that does not even read."""
    milter = raw_milter(actions=0).on("data", [CONTINUE, Deaf()])
    server, _ = beside(milter.for_postern, lines=["content-timeout = 1s"])
    with server.client() as client:
        client.hello()
        assert refusal(client, b"Subject: a\r\n\r\n" + b"line\r\n" * 2000000).code == 451
    assert server.wait_event("filter")["word"] == "timeout"


def test_progress(beside, raw_milter):
    """Signs of progress prolong the wait, but not for ever."""
    def work(connection, _):
        for _ in range(8):
            time.sleep(0.25)
            connection.send(PROGRESS)
        return CONTINUE

    def work_for_ever(connection, _):
        while True:
            time.sleep(0.25)
            connection.send(PROGRESS)

    milter = raw_milter(actions=0).on("eom", work, work_for_ever)
    server, _ = beside(milter.for_postern, lines=["content-timeout = 1s", "command-timeout = 1s",
                                                  "connect-timeout = 1s"])
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE).code == 451


# ---- edits ---------------------------------------------------------------------------------------

def test_half_of_the_edits(beside, raw_milter):
    """A milter that dies between two changes has changed nothing."""
    milter = raw_milter().on("eom", [add_header("X-A", "b"), replace_body(b"new\r\n"), Close()])
    server, backend = beside(milter.for_postern, lines=["default-action = accept"])
    reply, client = mail(server)
    assert reply.code == 250
    client.close()
    content = backend.connections[-1].transactions[-1].content
    assert content.endswith(PLAIN_MESSAGE) and b"X-A" not in content


def test_edits(beside, raw_milter):
    milter = raw_milter().on("eom", [add_header("X-A", "b"), replace_body(b"new\r\n"),
                                     replace_body(b"body\r\n"), CONTINUE])
    server, backend = beside(milter.for_postern)
    reply, client = mail(server)
    assert reply.code == 250
    client.close()
    header, body = backend.connections[-1].transactions[-1].content.split(b"\r\n\r\n", 1)
    assert header.endswith(b"\r\nX-A: b")
    assert body == b"new\r\nbody\r\n"
    line = server.wait_event("milter")
    assert line["holds"] == "envelope,content"


def test_withheld(beside, raw_milter):
    """What a milter may not do is ignored, whether it asked for it or not; but for a new body."""
    greedy, judging = raw_milter(), raw_milter(actions=0)
    greedy.on("eom", [add_header("X-A", "b"), change_header(1, "Subject", "new"), CONTINUE],
              [replace_body(b"new"), CONTINUE])
    judging.on("eom", [add_header("X-A", "b"), CONTINUE])
    server, backend = beside(greedy.for_postern, lines=["actions = add-header"])
    reply, client = mail(server)
    assert reply.code == 250
    content = backend.connections[0].transactions[0].content
    assert content.endswith(PLAIN_MESSAGE.replace(b"\r\n\r\n", b"\r\nX-A: b\r\n\r\n"))
    assert server.wait_event("milter")["actions"] == "add-header"
    assert server.wait_event("milter", 2)["ignored"] == "change-header"
    assert refusal(client).code == 451
    client.close()
    server, backend = beside(judging.for_postern)
    reply, client = mail(server)
    assert reply.code == 250
    client.close()
    assert b"X-A" not in backend.connections[0].transactions[0].content
    assert server.wait_event("milter", 2)["ignored"] == "add-header"


# ---- milters that people use ---------------------------------------------------------------------

def on_loopback(milter):
    return f"inet:{milter.port}@127.0.0.1"


def test_libmilter(beside, busy):
    """Changes by a milter on libmilter, for several clients and messages."""
    milter = busy(("negotiate", "", "actions", "all"), ("eom", "", "addheader", "X-A", "b"),
                  ("eom", "", "insheader", "0", "X-B", "c"),
                  ("eom", "", "chgheader", "1", "Subject", "new"),
                  ("eom", "", "replacebody", "body\r\n"), ("eom", "", "continue"))
    server, backend = beside(on_loopback(milter))
    for _ in range(3):
        with server.client() as client:
            client.hello()
            assert client.mail(PLAIN_MESSAGE).code == 250
            assert client.mail(PLAIN_MESSAGE).code == 250
            client.quit()
    contents = received(backend)
    assert len(contents) == 6
    for content in contents:
        header, body = content.split(b"\r\n\r\n", 1)
        assert b"X-B: c\r\n" in header and b"Subject: new\r\n" in header
        assert header.endswith(b"X-A: b") and body == b"body\r\n"


@pytest.mark.parametrize("count", [0, 3], ids=["judges", "edits"])
def test_answers_are_not_held_back(beside, busy, count):
    """libmilter leaves Nagle's algorithm on: answers that wait for one another's acknowledgement
    would take 40 ms."""
    milter = busy(("negotiate", "", "actions", "all"),
                  *[("eom", "", "addheader", "X-A", "b")] * count, ("eom", "", "continue"))
    server, _ = beside(on_loopback(milter))
    with server.client() as client:
        client.hello()
        assert min(elapsed(client.mail, PLAIN_MESSAGE)[0] for _ in range(10)) < 0.035


@pytest.mark.parametrize("kind, word, mark", [
    (Rspamd, RSPAMD_WORD, b"X-Rspamd: seen\r\n"),
    (ClamavMilter, VIRUS, b"X-Virus-Status: Clean\r\n"),
    (SpamassMilter, SPAMASSASSIN_WORD, b"X-Spam-Status: No, score=0.0 required=5.0\r\n"),
])
def test_scanner(beside, start, kind, word, mark):
    """It marks what it lets through, and refuses its word."""
    server, backend = beside(on_loopback(start(kind)))
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE + word + b"\r\n").code // 100 == 5
        assert client.mail(PLAIN_MESSAGE).code == 250
    contents = received(backend)
    assert len(contents) == 2 and all(mark in content for content in contents)


def test_signature(beside, start, dkim_key):
    """What opendkim signed verifies behind another postern; what was changed meanwhile does not."""
    message = PLAIN_MESSAGE.replace(b"example.test", b"example.org")
    signing, signed = beside(on_loopback(start(Opendkim, dkim_key, "s")))
    assert mail(signing, message)[0].code == 250
    content, = received(signed)
    content = content[content.index(b"DKIM-Signature"):]
    verifying, verified = beside(on_loopback(start(Opendkim, dkim_key, "v")))
    assert mail(verifying, content)[0].code == 250
    assert mail(verifying, content.replace(b"Hello", b"Hullo"))[0].code == 250
    good, bad = received(verified)
    assert b"dkim=pass" in good and b"dkim=fail" in bad

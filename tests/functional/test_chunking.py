# SPDX-License-Identifier: BSD-2-Clause
"""Clients that send their messages by BDAT, to targets of each kind; binary messages."""
import random

import pytest

from harness.messages import (DOTTED_MESSAGE, HEADER, ODD_MESSAGE, PLAIN_MESSAGE, as_stored,
                              big_message)
from harness.postfix import queue_id
from harness.smtp import keywords
from peers.answers import Close
from peers.client import chunk, chunked
from peers.target import CHUNKING_EHLO, DEFAULT_EHLO, FRAMINGS

BINARY = (*CHUNKING_EHLO, "BINARYMIME")
SPOOL = ("on-failure = spool", "health-interval = 1s", "connect-timeout = 1s", "retry = 1s")
ENVELOPE = b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<joe@example.test>\r\n"

MESSAGES = {"plain": PLAIN_MESSAGE, "dots": DOTTED_MESSAGE, "odd octets": ODD_MESSAGE,
            "empty": b"", "no body": HEADER, "one dot": b".\r\n", "empty lines": b"\r\n" * 50,
            "1 MiB": big_message(1 << 20)}
CHUNKS = {"whole": 1 << 30, "64 KiB": 65536, "1,000": 1000, "7": 7}
# Newlines of all kinds, a NUL, dots, no CRLF at the end; and every octet there is.
BINARY_MESSAGE = HEADER.replace(b"Subject", b"MIME-Version: 1.0\r\n"
                                b"Content-Transfer-Encoding: binary\r\nSubject") \
    + b"\r\n\n.\n\r.\r\0.\0\r\n.\r\n..\r\n" + bytes(range(256)) * 3 + b"\r\n.\r\nQUIT\r\n\r"


@pytest.fixture
def server(to_target, backend):
    return to_target(backend, "received = never")


def say_all(client, octets, replies):
    """Sends everything at once, and reads that many replies."""
    client.send(octets)
    return [client.reply() for _ in range(replies)]


def codes(replies):
    return [reply.code for reply in replies]


@pytest.mark.parametrize("size", CHUNKS)
@pytest.mark.parametrize("name", MESSAGES)
def test_content_is_unchanged(server, backend, framing, name, size):
    """Every octet arrives in either framing, however it was cut and though all was pipelined; each
    chunk is answered with its length."""
    octets, count = chunked(MESSAGES[name], CHUNKS[size])
    with server.client() as client:
        client.hello()
        if count > 100_000:
            pytest.skip("see the million tiny chunks")
        replies = say_all(client, ENVELOPE + octets, 2 + count)
        client.quit()
    assert codes(replies) == [250] * (2 + count)
    for reply in replies[2:-1]:
        assert reply.text.endswith(f"{CHUNKS[size]} octets received")
    assert "queued as" in replies[-1].text
    transaction = backend.accepted[0]
    assert (transaction.content, transaction.framing) == (MESSAGES[name], framing)
    assert len(transaction.chunks) <= 2 + len(MESSAGES[name]) // 16384


def test_announced_always(to_target, backend):
    """CHUNKING_EHLO whatever the target can do; BINARYMIME where every target can."""
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    with server.client() as client:
        offered = keywords(client.hello())
    assert "CHUNKING" in offered and "BINARYMIME" not in offered


@pytest.mark.parametrize("relay, ehlo, is_announced", [
    ("chunking = auto", BINARY, True), ("chunking = no", BINARY, False),
    ("chunking = auto", (*DEFAULT_EHLO, "BINARYMIME"), False)])
def test_binarymime_is_announced(target, to_target, relay, ehlo, is_announced):
    """It goes by BDAT alone, so the target must have CHUNKING_EHLO, too, and may not be kept from it."""
    server = to_target(target(ehlo=ehlo), relay)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    with server.client() as client:
        assert ("BINARYMIME" in keywords(client.hello())) == is_announced


def test_chunks_take_turns_with_the_target(target, to_target):
    """Content moves on while the client still sends; LAST only with the client's end."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "received = never")
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.chunk(HEADER).code == 250
        backend.wait_command("BDAT")
        last = chunk(b"\r\nHello.\r\n", True)
        client.send(last[:-3])
        backend.wait(lambda: b"Hello" in backend.connections[0].received, "a part of the chunk")
        assert not any("LAST" in line for line in backend.connections[0].lines)
        client.send(last[-3:])
        client.expect(250)
    assert backend.accepted[0].content == PLAIN_MESSAGE


def test_whole_message_is_one_chunk(target, to_target):
    """What is whole when the target is ready costs no round trip but the envelope's and its own."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "received = never")
    octets, count = chunked(PLAIN_MESSAGE, 10)
    with server.client() as client:
        client.hello()
        say_all(client, ENVELOPE + octets, 2 + count)
    assert backend.accepted[0].chunks == [len(PLAIN_MESSAGE)]


@pytest.mark.parametrize("chunking", ["auto", "no"])
@pytest.mark.parametrize("name", ["plain", "dots", "odd octets", "1 MiB"])
@pytest.mark.parametrize("way", ["xclient_chain", "xforward_chain"])
def test_postfix_gets_it_whole(request, newlines, way, chunking, name):
    """A real Postfix, by BDAT and by DATA."""
    chain = request.getfixturevalue(way)
    server = chain.postern(f"chunking = {chunking}")
    octets, count = chunked(MESSAGES[name], 4099)
    with server.client() as client:
        client.hello()
        replies = say_all(client, ENVELOPE + octets, 2 + count)
        client.quit()
    assert set(codes(replies)) == {250}
    assert chain.postfix.delivered(queue_id(replies[-1])).sent == as_stored(MESSAGES[name])


# ---- errors ----

def test_state_after_a_failed_chunk(server, backend):
    """A transaction that failed within its chunks is over: nothing of it is there for the next."""
    with server.client() as client:
        client.hello()
        client.envelope()
        client.send(chunk(b"x" * 10) + b"BDAT 60000000\r\n" + b"y" * 60_000_000)
        client.expect(250)
        reply = client.reply()
        assert (reply.code, reply.enhanced) == (552, "5.3.4")
        client.expect(503, "DATA")
        client.expect(503, "RCPT TO:<joe@example.test>")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(backend.accepted) == 1


def test_state_after_a_refused_end(target, to_target):
    """... nor after the target has refused it at its end."""
    backend = target(ehlo=CHUNKING_EHLO).on("last", "550 5.7.1 no", "250 2.0.0 yes")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.chunk(PLAIN_MESSAGE, True).code == 550
        client.expect(503, "RCPT TO:<joe@example.test>")
        assert client.chunk(b"more", True).code == 503
        client.envelope()
        assert client.chunk(PLAIN_MESSAGE, True).code == 250
    assert len(backend.accepted) == 1


def test_reset_within_a_message(server, backend, framing):
    """RSET gives it up: with chunks the target hears RSET and keeps its connection."""
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.chunk(HEADER).code == 250
        backend.wait(lambda: b"Message-ID" in backend.connections[0].received, "the header")
        client.expect(250, "RSET")
        if framing == "BDAT":       # the connection is free when the target has answered
            backend.wait(lambda: "RSET" in backend.connections[0].lines, "RSET")
            client.linger()
        client.envelope()
        assert client.chunk(PLAIN_MESSAGE, True).code == 250
    assert [t.is_ended for c in backend.connections for t in c.transactions] == [False, True]
    assert len(backend.connections) == (1 if framing == "BDAT" else 2)
    assert ("RSET" in backend.connections[0].lines) == (framing == "BDAT")


@pytest.mark.parametrize("size", ["", "x", "-1", "1 FIRST", "1 LAST LAST", "9" * 21])
def test_lost_frame(server, size):
    """A size that cannot be read: 521, and nothing behind it is a command."""
    with server.client() as client:
        client.hello()
        client.envelope()
        client.send(f"BDAT {size}\r\nNOOP\r\nMAIL FROM:<evil@example.org>\r\n".encode())
        client.expect(521)
        assert client.rest() == b""


# ---- bounds ----

MILLION = 1_000_000


def test_a_million_tiny_chunks(target, to_target):
    """Each octet a chunk of its own: bounded in time and memory, and cut anew for the target."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "received = never", is_measured=True)
    content = (HEADER + b"\r\n" + b"0123456789\r\n" * MILLION)[:MILLION - 2] + b"\r\n"
    octets, count = chunked(content, 1)
    octets, last = octets[:-len(chunk(b"\n", True))], octets[-len(chunk(b"\n", True)):]
    with server.client(timeout_s=120) as client:
        client.hello()
        client.envelope()
        before = most = server.resident_bytes()
        for at in range(0, len(octets), 90_000):
            client.send(octets[at:at + 90_000])
            client.skip_replies(min(10_000, count - 1 - at // 9))
            most = max(most, server.resident_bytes())
        client.send(last)
        client.expect(250)
    assert backend.accepted[0].content == content
    assert len(backend.accepted[0].chunks) < count // 1000
    assert most - before < 24 << 20


def test_replies_that_nobody_reads(target, to_target):
    """A client that sends chunks and reads no reply is not read any more; others are served."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, is_measured=True)
    with server.client(receive_buffer_bytes=4096) as client, server.client() as other:
        client.hello()
        client.envelope()
        before = server.resident_bytes()
        client.sock.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += client.sock.send(b"BDAT 1\r\nx" * 10_000)
        assert server.resident_bytes() - before < 24 << 20
        other.hello()
        assert other.mail(PLAIN_MESSAGE).code == 250


# ---- binary ----

def send_binary(client, content=BINARY_MESSAGE, chunk_bytes=100):
    octets, count = chunked(content, chunk_bytes)
    envelope = ENVELOPE.replace(b">\r\nRCPT", b"> BODY=BINARYMIME\r\nRCPT")
    return say_all(client, envelope + octets, 2 + count)


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_binary_is_untouched(target, to_target, size):
    """A target with BINARYMIME gets every octet as it came."""
    backend = target(ehlo=BINARY)
    server = to_target(backend, "received = never", smtpd="announce = BINARYMIME\n")
    with server.client() as client:
        client.hello()
        replies = send_binary(client, chunk_bytes=size)
    assert set(codes(replies)) == {250}
    assert backend.accepted[0].content == BINARY_MESSAGE
    assert "BODY=BINARYMIME" in backend.accepted[0].mail


def test_much_binary(target, to_target):
    """... and of 3 MiB, through the copy's file."""
    backend = target(ehlo=BINARY)
    server = to_target(backend, "received = never", smtpd="announce = BINARYMIME\n",
                       core="copy-memory = 64k\n")
    content = HEADER + b"\r\n" + random.Random(1).randbytes(3 << 20)
    with server.client() as client:
        client.hello()
        assert set(codes(send_binary(client, content, 50_001))) == {250}
    assert backend.accepted[0].content == content


@pytest.mark.parametrize("relay, ehlo", [
    ("chunking = auto", CHUNKING_EHLO), ("chunking = no", BINARY),
    ("chunking = auto", (*DEFAULT_EHLO, "BINARYMIME"))])
def test_binary_to_a_target_without(target, to_target, relay, ehlo):
    """554 5.6.1 to its recipients, however the listener came to announce it; it hears nothing."""
    backend = target(ehlo=ehlo)
    server = to_target(backend, relay, smtpd="announce = BINARYMIME\n")
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org> BODY=BINARYMIME")
        reply = client.command("RCPT TO:<joe@example.test>")
        assert (reply.code, reply.enhanced) == (554, "5.6.1")
        assert client.chunk(b"\0", True).code == 554
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(backend.accepted) == 1
    assert not any("BINARYMIME" in line for line in backend.connections[0].lines)


def test_binary_into_a_maildir(to_maildir):
    """A Maildir holds any octets: what came lies there, CRLF and all."""
    server, store = to_maildir()
    with server.client() as client:
        assert "BINARYMIME" in keywords(client.hello())
        assert set(codes(send_binary(client))) == {250}
    message, = store.messages()
    assert message.raw.endswith(BINARY_MESSAGE)
    assert message.raw[:-len(BINARY_MESSAGE)].endswith(b"\r\n")


# ---- take-over ----

def test_spooled_and_delivered(target, to_target, framing):
    """The target breaks within the message: that waits in the spool, and arrives whole."""
    backend = target(ehlo=FRAMINGS[framing])
    servers = []

    def until_noticed(_connection, _what):
        """Closes; once it is known to be lost, the message is taken."""
        return None if servers[0].events("target-lost") else Close()

    backend.on("content", until_noticed)
    server = to_target(backend, "received = never", *SPOOL)
    servers.append(server)
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.chunk(HEADER).code == 250
        server.wait_event("target-lost")
        reply = client.chunk(b"\r\n.Hello.", True)
    assert reply.code == 250
    backend.wait(lambda: backend.accepted, "the message")
    assert backend.accepted[0].content.endswith(HEADER + b"\r\n.Hello.\r\n")


def test_binary_waits_in_the_spool(target, to_target):
    """... as BINARYMIME; what takes it over later hears that, and gets every octet."""
    backend = target(ehlo=BINARY).on("greeting", "421 4.3.2 down", "220 up")
    server = to_target(backend, *SPOOL, smtpd="announce = BINARYMIME\n")
    with server.client() as client:
        client.hello()
        assert set(codes(send_binary(client))) == {250}
    backend.wait(lambda: backend.accepted, "the message")
    assert "BODY=BINARYMIME" in backend.accepted[0].mail
    assert backend.accepted[0].content.endswith(BINARY_MESSAGE)
    assert backend.accepted[0].framing == "BDAT"


def test_binary_is_not_delivered_by_data(target, to_target):
    """A target that cannot take it in the end: the sender hears 5.6.1, and it nothing."""
    backend = target(ehlo=CHUNKING_EHLO).on("greeting", "421 4.3.2 down", "220 up")
    server = to_target(backend, *SPOOL, smtpd="announce = BINARYMIME\n")
    with server.client() as client:
        client.hello()
        assert set(codes(send_binary(client))) == {250}
    assert server.wait_event("bounced")["reply"].startswith("554 5.6.1 ")
    assert server.wait_event("delivered")["from"] == "<>"
    assert [b"binary messages" in t.content for t in backend.accepted] == [True]
    assert b"\0" not in backend.accepted[0].content

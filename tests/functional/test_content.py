# SPDX-License-Identifier: BSD-2-Clause
"""The message on its way: framing by DATA and BDAT, dots, newlines, size, back-pressure."""
import contextlib
import socket

import pytest

from harness.messages import DOTTED_MESSAGE, HEADER, ODD_MESSAGE, PLAIN_MESSAGE, big_message
from harness.smtp import without_received
from peers.answers import Hold
from peers.client import stuffed
from peers.target import CHUNKING_EHLO



@pytest.fixture
def server(to_target, backend):
    """A postern that adds nothing, in front of a target of each kind."""
    return to_target(backend, "received = never")


MESSAGES = {"plain": PLAIN_MESSAGE, "dots": DOTTED_MESSAGE, "odd octets": ODD_MESSAGE,
            "empty": b"", "no body": HEADER, "one dot": b".\r\n", "empty lines": b"\r\n" * 50,
            "3 MiB": big_message(3 << 20), "one long line": b"x" * (1 << 20) + b"\r\n"}


@pytest.mark.parametrize("name", MESSAGES)
def test_content_is_unchanged(server, backend, framing, name):
    """Every octet arrives, in either framing, whatever lines it makes."""
    with server.client() as client:
        client.hello()
        assert client.mail(MESSAGES[name]).code == 250
    transaction = backend.accepted[0]
    assert transaction.content == MESSAGES[name]
    assert transaction.framing == framing


@pytest.mark.parametrize("line", [b"\0.", b".\0", b"\0.\0", b".\0."])
def test_nul_around_a_lone_dot(server, backend, line):
    """To a receiver that drops NULs it is the end of data: 550 5.5.2, and no mail. NULs elsewhere
    pass, and so does what another client sends beside."""
    with server.client() as client, server.client() as other:
        client.hello()
        other.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(b"Subject: one\r\n\r\n" + line + b"\r\nMAIL FROM:<evil@example.org>\r\n.\r\n")
        reply = client.reply()
        assert (reply.code, reply.enhanced) == (550, "5.5.2")
        assert other.mail(b"Subject: two\r\n\r\na\0.\0\r\n\0\r\n").code == 250
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert [t.content for t in backend.accepted] == [
        b"Subject: two\r\n\r\na\0.\0\r\n\0\r\n", PLAIN_MESSAGE]


@pytest.mark.parametrize("start", [b" ", b"\t"])
@pytest.mark.parametrize("size", [10, 300_000])
def test_content_that_would_continue_our_own_field(to_target, backend, start, size):
    """Content that begins with a blank has no header: an empty line parts it from our Received. Who
    sends beside gets none."""
    server = to_target(backend, core="copy-memory = 64k\n")
    content = start + b"for <you@bank.example>; Sun, 1 Nov 2026 00:00:00 +0000\r\n" \
        + b"x" * size + b"\r\n\r\nbody\r\n"
    with server.client() as client, server.client() as other:
        client.hello()
        other.hello()
        assert client.mail(content).code == 250
        assert other.mail(PLAIN_MESSAGE).code == 250
    head, _, rest = backend.accepted[0].content.partition(b"\r\n\r\n")
    assert head.startswith(b"Received: ") and b"bank.example" not in head
    assert rest == content
    assert without_received(backend.accepted[1].content)[1] == PLAIN_MESSAGE


def test_small_message_is_one_chunk(target, to_target):
    """A message whose end is known goes as a single BDAT LAST, with no empty line of its own."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "received = never")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert backend.accepted[0].chunks == [len(PLAIN_MESSAGE)]
    assert f"BDAT {len(PLAIN_MESSAGE)} LAST" in backend.connections[0].lines


def test_large_message_is_streamed_in_chunks(target, to_target):
    """Chunks leave while the client is still sending; LAST only after its end."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "received = never")
    content = big_message(1 << 20)
    half = content.index(b"\r\n", len(content) // 2) + 2
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(stuffed(content[:half]))
        backend.wait_command("BDAT")
        assert not any("LAST" in line for line in backend.connections[0].lines)
        client.send(stuffed(content[half:]) + b".\r\n")
        client.expect(250)
    assert backend.accepted[0].content == content
    assert len(backend.accepted[0].chunks) >= 2


def test_content_streams_before_its_end(target, to_target):
    """With DATA too the target has the first lines before the client has sent the last."""
    backend = target()
    server = to_target(backend, "received = never")
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(PLAIN_MESSAGE)
        backend.wait(lambda: b"Hello." in backend.connections[0].received, "the first lines")
        client.send(b".\r\n")
        client.expect(250)


def test_chunking_no(target, to_target):
    """chunking = no: DATA, whatever the target announces."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "chunking = no")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert backend.accepted[0].framing == "DATA"


def test_chunk_refused(target, to_target):
    """A refused chunk is the answer to the message; the connection is clean for the next."""
    backend = target(ehlo=CHUNKING_EHLO).on("BDAT", "452 4.3.1 no room").on("last", "250 2.0.0 Ok")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.envelope()
        reply = client.data(big_message(2 << 20))
        assert (reply.code, reply.text) == (452, "4.3.1 no room")
        assert client.mail(PLAIN_MESSAGE).code == 250


def test_content_octet_by_octet(server, backend):
    """A client may send its message in segments of one octet."""
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send_octet_by_octet(stuffed(DOTTED_MESSAGE) + b".\r\n")
        client.expect(250)
    assert backend.accepted[0].content == DOTTED_MESSAGE


# --- bare newlines -------------------------------------------------------------------------------

NORMALIZED = [
    (b"a\nb\r\n", b"a\r\nb\r\n"),
    (b"a\rb\r\n", b"a b\r\n"),
    (b"a\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),
    (b"a\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
    (b"a\n..\r\n", b"a\r\n..\r\n"),
    (b"a\r.\r\nb\r\n", b"a .\r\nb\r\n"),
    (b"a\r\r\nb\r\n", b"a \r\nb\r\n"),
    (b"a\n\n\nb\r\n", b"a\r\n\r\n\r\nb\r\n"),
    (b"a\r\n..b\n.c\r\n", b"a\r\n.b\r\n.c\r\n"),
]


@pytest.mark.parametrize("sent, expected", NORMALIZED, ids=lambda v: repr(v))
def test_bare_newlines_are_normalized(server, backend, sent, expected):
    """Bare LF becomes CRLF, bare CR a space, a dot behind a bare LF is content."""
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(sent + b".\r\n")
        client.expect(250)
    transaction = backend.accepted[0]
    assert transaction.content == expected
    if transaction.framing == "DATA":       # nothing on the wire that could be read otherwise
        assert b"\n" not in transaction.wire.replace(b"\r\n", b"")
        assert b"\r" not in transaction.wire.replace(b"\r\n", b"")


ENDINGS = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r\r\n", b"\r\n.\r", b"\r.\r"]


@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
def test_only_crlf_dot_crlf_ends_a_message(target, to_target, ending):
    """No other sequence does, wherever the segments are cut."""
    backend = target()
    server = to_target(backend, "received = never")
    with server.client() as client:
        client.hello()
        contents = set()
        for cut in range(len(ending) + 1):
            client.envelope()
            client.expect(354, "DATA")
            client.send(b"x" + ending[:cut])
            client.send(ending[cut:] + b"QUIT\r\n")
            assert not client.has_reply_within(0.03)
            client.send(b".\r\n")
            client.expect(250)
            contents.add(backend.accepted[-1].content)
    assert len(contents) == 1
    assert b"QUIT" in contents.pop()


@pytest.mark.parametrize("sent", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\r\n", b"a\r\r\n"], ids=repr)
def test_bare_newline_reject(target, to_target, sent):
    """bare-newline = reject: 550 5.5.2 at the end of data, and no end for the target."""
    backend = target()
    server = to_target(backend, smtpd="bare-newline = reject\n")
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(sent + b".\r\n")
        assert client.expect(550).enhanced == "5.5.2"
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(backend.ended) == 1


def test_bare_newline_reject_for_commands(target, to_target):
    """... and 500 for a command that ends in LF alone; normalize takes it."""
    backend = target()
    server = to_target(backend, smtpd="bare-newline = reject\n")
    with server.client() as client:
        client.hello()
        client.send(b"NOOP\n")
        client.expect(500)
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.send(b"NOOP\n")
        client.expect(250)


def test_bare_newline_exempt(target, to_target):
    """Clients in bare-newline-exempt are spared the refusal, not the normalization."""
    backend = target()
    server = to_target(backend, "received = never",
                       smtpd="bare-newline = reject\nbare-newline-exempt = 127.0.0.2/32\n")
    for source, code in (("127.0.0.2", 250), ("127.0.0.3", 550)):
        with server.client(source=source) as client:
            client.hello()
            client.envelope()
            client.expect(354, "DATA")
            client.send(b"a\nb\r\n.\r\n")
            client.expect(code)
    assert [t.content for t in backend.accepted] == [b"a\r\nb\r\n"]


# --- size and pressure ---------------------------------------------------------------------------

@pytest.mark.parametrize("size_parameter", ["", " SIZE=10"])
def test_size_limit_on_content(target, to_target, size_parameter):
    """The limit holds for what really comes; the estimate is not trusted."""
    backend = target()
    server = to_target(backend, smtpd="max-message-size = 100k\n")
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>" + size_parameter)
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(big_message(300_000))
        assert (reply.code, reply.enhanced) == (552, "5.3.4")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(backend.ended) == 1


def test_size_limit_on_the_parameter(target, to_target):
    """SIZE over the limit is refused at MAIL."""
    backend = target()
    server = to_target(backend, smtpd="max-message-size = 100k\n")
    with server.client() as client:
        client.hello()
        reply = client.expect(552, "MAIL FROM:<sender@example.org> SIZE=102401")
        assert reply.enhanced == "5.3.4"
        client.expect(250, "MAIL FROM:<sender@example.org> SIZE=102400")


def test_big_copy_spills_to_a_file_without_a_name(target, to_target):
    """Past copy-memory the message goes to an unnamed file; nothing is left of it."""
    hold = Hold("354 now")
    backend = target().on("DATA", hold)
    server = to_target(backend, "received = never", "on-failure = spool",
                       core="copy-memory = 256k\n")
    content = big_message(4 << 20)
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(stuffed(content) + b".\r\n")        # all of it, while the target waits
        hold.release()
        client.expect(250)
    assert backend.accepted[0].content == content
    spool = server.directory / "spool"
    assert [p for p in spool.rglob("*") if p.is_file() and p.name not in ("targets", "owner")
            and p.parent.name != "running"] == []


def test_memory_stays_bounded_by_copy_memory(target, to_target):
    """A 60 MiB message to a target that waits does not lie in memory."""
    hold = Hold("354 now")
    backend = target().on("DATA", hold)
    server = to_target(backend, "on-failure = spool", core="copy-memory = 1m\n",
                       smtpd="max-message-size = 100m\n")
    block = b"x" * 998 + b"\r\n"
    with server.client(timeout_s=60) as client:
        client.hello()
        client.envelope()
        before = server.resident_bytes()
        client.expect(354, "DATA")
        for _ in range(60):
            client.send(block * 1049)
        client.send(b".\r\n")
        grown = server.resident_bytes() - before
        hold.release()
        client.expect(250)
    assert grown < 40 << 20     # generous: a sanitizer build quarantines what was freed
    assert len(backend.accepted[0].content) > 60 * 1049 * 1000


def test_client_is_read_at_its_targets_pace(target, to_target):
    """What may not be spooled is written nowhere: its client waits for the target."""
    hold = Hold("354 now")
    backend = target().on("DATA", hold)
    server = to_target(backend, "received = never", core="copy-memory = 256k\n")
    content = big_message(30 << 20)
    wire = stuffed(content) + b".\r\n"
    with server.client(timeout_s=60) as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.sock.settimeout(1)
        sent = 0
        with contextlib.suppress(socket.timeout):
            while sent < len(wire):
                sent += client.sock.send(wire[sent:sent + 65536])
        assert sent < 16 << 20      # the kernel's buffers among them
        spool = str(server.directory / "spool")
        assert [one for one in server.descriptors().values() if one.startswith(spool)
                and "deleted" in one] == []
        client.sock.settimeout(60)
        hold.release()
        client.send(wire[sent:])
        client.expect(250)
    assert backend.accepted[0].content == content


def test_client_that_does_not_read_replies(target, to_target):
    """64 KiB of unsent replies and no more: then its commands stay unread."""
    backend = target()
    server = to_target(backend, smtpd="max-junk-commands = 1000000000\n")
    greedy = server.client(receive_buffer_bytes=2048)
    greedy.hello()
    greedy.sock.settimeout(1)
    sent = 0
    with pytest.raises(socket.timeout):
        while sent < 64 << 20:
            greedy.send(b"NOOP\r\n" * 1000)
            sent += 6000
    assert sent < 16 << 20
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    greedy.reset()

# SPDX-License-Identifier: BSD-2-Clause
"""The built-in Maildir target."""
import os
import re
import stat
import threading

import pytest

from harness.dns import CLIENT
from harness.maildir import Maildir
from harness.messages import DOTTED_MESSAGE, ODD_MESSAGE, PLAIN_MESSAGE, as_stored, big_message
from peers.client import stuffed


@pytest.fixture
def per_user(postern, tmp_path):
    """A postern that stores under mail/DOMAIN/LOCAL; returned with a look into a mailbox."""
    path = f"{tmp_path}/mail/${{RCPT_DOMAIN}}/${{RCPT_LOCAL}}"
    server = postern(f'[maildir "store"]\npath = "{path}"\n[route]\n@ store\n')
    return server, lambda domain, local: Maildir(tmp_path / "mail" / domain / local)


def test_header_of_a_stored_message(to_maildir):
    """Return-Path, Delivered-To and Received on top, then the message as it came."""
    server, store = to_maildir()
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
    message, = store.messages()
    assert message.values("Return-Path") == ["<sender@example.org>"]
    assert message.values("Delivered-To") == ["joe@example.test"]
    received, = message.received
    assert received.startswith("from helo.example.org (")
    assert f"[{CLIENT}]" in received and "by postern.example.test" in received
    assert message.sent == as_stored(PLAIN_MESSAGE)
    assert b"\r" not in message.raw


@pytest.mark.parametrize("content", [DOTTED_MESSAGE, ODD_MESSAGE, big_message(3 << 20), b""],
                         ids=["dots", "odd octets", "3 MiB", "empty"])
def test_content_is_kept(to_maildir, content):
    """Every octet is kept, line ends as LF."""
    server, store = to_maildir()
    with server.client() as client:
        client.hello()
        assert client.mail(content).code == 250
    message, = store.messages()
    assert message.raw.endswith(as_stored(content))


def test_null_sender(to_maildir):
    """A bounce has an empty Return-Path."""
    server, store = to_maildir()
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, sender="").code == 250
    assert store.messages()[0].values("Return-Path") == ["<>"]


def test_only_complete_messages_are_seen(to_maildir):
    """Nothing in new before the reply; what is in tmp is gone afterwards."""
    server, store = to_maildir()
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(stuffed(big_message(300_000)))
        assert store.messages() == []
        client.send(b".\r\n")
        client.expect(250)
        assert len(store.messages()) == 1
    assert store.unfinished() == []


@pytest.mark.parametrize("how", ["close", "reset"])
def test_vanished_client_leaves_nothing(to_maildir, how):
    server, store = to_maildir()
    client = server.client()
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(stuffed(big_message(300_000)))
    getattr(client, how)()
    server.wait_event("disconnect")
    server.stop()
    assert store.messages() == [] and store.unfinished() == []


def test_names_are_unique(to_maildir):
    """Many deliveries at once, each in a file of its own."""
    server, store = to_maildir()

    def deliver():
        with server.client() as client:
            client.hello()
            for _ in range(10):
                assert client.pipelined(PLAIN_MESSAGE)[-1].code == 250
    threads = [threading.Thread(target=deliver) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(store.messages()) == 50
    assert all("/" not in m.path.name and ":" not in m.path.name for m in store.messages())


def test_directories_are_made_private(per_user):
    """Missing directories are made with mode 0700, files are not for others."""
    server, mailbox = per_user
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["joe@example.test"]).code == 250
    box = mailbox("example.test", "joe")
    for directory in (box.path, box.path.parent, box.path / "new", box.path / "tmp",
                      box.path / "cur"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(box.messages()[0].path.stat().st_mode) & 0o077 == 0


def test_path_is_in_lower_case(per_user):
    """${RCPT_LOCAL} and ${RCPT_DOMAIN} are written in lower case."""
    server, mailbox = per_user
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["Joe@EXAMPLE.Test"]).code == 250
    assert len(mailbox("example.test", "joe").messages()) == 1


@pytest.mark.parametrize("address", [
    '"../../etc/x"@example.test', '".."@example.test', '"."@example.test', '".hidden"@example.test',
    '"a/b"@example.test', '""@example.test', '"a\\\tb"@example.test', "..@example.test",
    ".hidden@example.test", "a" * 256 + "@example.test"], ids=lambda address: address[:20])
def test_hostile_local_parts(per_user, tmp_path, address):
    """Values that are empty or too long, begin with a dot or hold a slash or a control octet."""
    server, _ = per_user
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.command(f"RCPT TO:<{address}>")
    assert reply.code in (501, 553)
    if '"' not in address or "/" in address:
        assert (reply.code, reply.enhanced) == (553, "5.1.3")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_content_that_would_continue_our_own_field(per_user):
    """Content that begins with a blank has no header: an empty line parts it from our own."""
    server, mailbox = per_user
    with server.client() as client:
        client.hello()
        assert client.mail(b" by evil.example\r\nbody\r\n",
                           recipients=["joe@example.test"]).code == 250
    stored = mailbox("example.test", "joe").messages()[0].path.read_bytes()
    assert stored.endswith(b"\n\n by evil.example\nbody\n")
    assert stored.count(b"\n\n") == 1


def test_longest_name_of_a_mailbox(per_user):
    """255 octets are a name that the file system takes."""
    server, mailbox = per_user
    name = "a" * 255
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=[f"{name}@example.test"]).code == 250
    assert len(mailbox("example.test", name).messages()) == 1


def test_two_recipients_in_two_mailboxes(per_user):
    """Each recipient has its own file and its own Delivered-To."""
    server, mailbox = per_user
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE,
                           recipients=["joe@example.test", "jane@example.test"]).code == 250
    for name in ("joe", "jane"):
        message, = mailbox("example.test", name).messages()
        assert message.values("Delivered-To") == [f"{name}@example.test"]
        assert message.sent == as_stored(PLAIN_MESSAGE)


def test_a_mailbox_that_cannot_be_written(postern, tmp_path):
    """451 4.3.0, and nothing half-written."""
    (tmp_path / "mail").write_text("not a directory")
    server = postern(f'[maildir "store"]\npath = {tmp_path}/mail\n[route]\n@example.test store\n')
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.command("RCPT TO:<joe@example.test>")
        if reply.code == 250:
            reply = client.data(PLAIN_MESSAGE)
    assert (reply.code, reply.enhanced) == (451, "4.3.0")
    assert os.listdir(tmp_path) == ["mail"]


def test_received_line_is_well_formed(to_maildir):
    """from HELO (NAME [ADDRESS]) by HOST (postern) with ESMTP id ID for <RCPT>; DATE."""
    server, store = to_maildir()
    with server.client(source=CLIENT) as client:
        client.expect(220)
        client.expect(250, "HELO plain.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
    received, = store.messages()[0].received
    assert re.fullmatch(
        r"from plain\.example\.org \((client\.example\.test |unknown )?\[127\.0\.0\.2\]\)"
        r" by postern\.example\.test \(postern\) with SMTP id \S+ for <joe@example\.test>;"
        r" (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}.*", received)


def test_hostile_helo_in_received(to_maildir):
    """A HELO argument cannot forge the rest of the Received line."""
    server, store = to_maildir()
    with server.client(source=CLIENT) as client:
        client.expect(220)
        reply = client.command("EHLO x(y)<z>;\"q\"by")
        if reply.code != 250:
            client.expect(250, "EHLO ok.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
    received, = store.messages()[0].received
    assert not re.search(r'^from \S*[()<>;"]', received.split(" (")[0])

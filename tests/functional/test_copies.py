# SPDX-License-Identifier: BSD-2-Clause
"""Room that all copies share: who fills it does not keep others from sending their mail."""
import contextlib
import socket
import threading
import time

import pytest

from harness.messages import big_message
from peers.client import stuffed

LINES = b"x" * 998 + b"\r\n"
SMALL = "copy-memory = 256k\nmax-memory = 16m\nmax-copies = 24m\n"
IN_MEMORY = 1280 << 10      # what a message may have there while it cannot be written to a file
MESSAGE = big_message(5 << 20)
HOSTILE, OTHER = "127.0.1.1", "127.0.2.1"       # of two client nets


@pytest.fixture
def server(target, to_target):
    """Its copies are kept whole, since they may be spooled."""
    return to_target(target(), "on-failure = spool", core=SMALL,
                     smtpd="max-message-size = 16m\n")


def begin(server, source=HOSTILE):
    client = server.client(source=source)
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    return client


def push(client, size_bytes, patience_s=0.5):
    """Content, as much as is taken; returns how much that was."""
    client.sock.settimeout(patience_s)
    sent = 0
    with contextlib.suppress(socket.timeout):
        while sent < size_bytes:
            sent += client.sock.send((LINES * 64)[sent % len(LINES):][:size_bytes - sent])
    client.sock.settimeout(15)
    return sent


def fill(server):
    """Two messages that hold all there is, one of them more than that."""
    clients = [begin(server), begin(server)]
    for client in clients:
        assert push(client, 14 << 20, patience_s=15) == 14 << 20
    return clients


def send_message(server, source=OTHER):
    with begin(server, source) as client:
        client.send(stuffed(MESSAGE) + b".\r\n")
        return client.reply()


def end_of(client, sent):
    """What is said to its message, which is ended in good order."""
    client.send(LINES[sent % len(LINES):] + b".\r\n")
    return client.reply()


def test_unfinished_messages_do_not_wait_for_each_other(server):
    """All room is held by messages that have stopped half-way: others find some within seconds, and
    those hear 452 4.3.1 where they could not have all theirs."""
    clients = [begin(server) for _ in range(8)]
    sent = [push(client, 5 << 20) for client in clients]
    assert send_message(server).code == 250
    replies = [end_of(*pair) for pair in zip(clients, sent)]
    assert {reply.code for reply in replies} == {250, 452}
    assert {reply.enhanced for reply in replies if reply.code == 452} == {"4.3.1"}


def test_room_is_enough_for_one_after_the_other(server):
    """More messages than fit, each of another net: the first to come has its 250."""
    clients = [begin(server, f"127.0.{net}.1") for net in range(1, 8)]
    sent = [push(client, 4 << 20) for client in clients]
    sent[0] += push(clients[0], 7 << 18, patience_s=15)
    assert end_of(clients[0], sent[0]).code == 250


def test_client_that_has_closed_makes_room(server):
    """Nobody reads from a client without room: that it has gone is seen all the same."""
    others = fill(server)
    client = begin(server)
    push(client, IN_MEMORY + 50_000)        # the rest waits in the kernel, and the FIN behind it
    mark, begun = server.log.mark(), time.monotonic()
    client.close()
    server.wait_event("disconnect", since=mark)
    assert time.monotonic() - begun < 4     # it would have been refused after five seconds
    for other in others:
        other.close()
    assert send_message(server).code == 250


def test_client_that_was_reset_makes_room(server):
    others = fill(server)
    client = begin(server)
    push(client, 30 << 20)
    mark, begun = server.log.mark(), time.monotonic()
    client.reset()
    server.wait_event("disconnect", since=mark)
    assert time.monotonic() - begun < 4
    for other in others:
        other.close()


def test_one_net_has_its_part(server):
    """A net whose clients all send without an end, and begin again when they are refused: another
    net's messages pass as long as that goes on."""
    clients = [begin(server, f"127.0.1.{host}") for host in range(1, 13)]
    for client in clients:
        client.sock.setblocking(False)

    def keep_sending(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    client.sock.send(LINES * 16)
            time.sleep(0.001)

    keep_sending(2)
    with begin(server, OTHER) as client:
        wire = stuffed(MESSAGE) + b".\r\n"
        client.sock.setblocking(False)
        begun = time.monotonic()
        while wire:
            assert time.monotonic() - begun < 15
            keep_sending(0.01)
            with contextlib.suppress(BlockingIOError):
                wire = wire[client.sock.send(wire):]
        client.sock.settimeout(15)
        assert client.reply().code == 250


def long_recipients(count):
    return [f"{number:04}{'x' * 900}@example.test" for number in range(count)]


def test_drip_keeps_no_room(server):
    """Messages of several nets hold all room, each net less than its part, the last of them more than
    there is; and then they grow by an octet twice a second."""
    clients = [begin(server, f"127.0.{net}.1") for net in range(11, 17)]
    for client in clients:
        # within a chunk, so that no octet begins another one
        assert push(client, 5_000_000, patience_s=15) == 5_000_000
    is_over = threading.Event()

    def drip():
        while not is_over.wait(0.5):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sock.send(b"x", socket.MSG_DONTWAIT)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert send_message(server).code == 250
        assert send_message(server).code == 250
    finally:
        is_over.set()
        thread.join()
        for client in clients:
            client.close()


def test_envelopes_share_the_memory(server):
    """A net whose clients name long recipients and stay: 452 4.5.3 when they have their part of
    max-memory. Who is of another net has as many recipients as ever; what has gone counts no more."""
    def name_all(client, recipients):
        client.send("".join(f"RCPT TO:<{one}>\r\n" for one in recipients).encode())
        return [client.reply() for _ in recipients]

    clients = [server.client(source=f"127.0.1.{host}") for host in range(1, 11)]
    replies = []
    for client in clients:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        replies += name_all(client, long_recipients(400))
    assert {reply.code for reply in replies} == {250, 452}
    assert {reply.enhanced for reply in replies if reply.code == 452} == {"4.5.3"}
    assert sum(reply.code == 250 for reply in replies) * 900 < 4 << 20      # a quarter
    with server.client(source=OTHER) as other:
        other.hello()
        assert other.mail(MESSAGE, recipients=long_recipients(400)).code == 250
    for client in clients:
        client.close()
    server.wait_event("disconnect", count=len(clients) + 1)
    with server.client(source=HOSTILE) as client:
        client.hello()
        assert client.mail(MESSAGE, recipients=long_recipients(400)).code == 250

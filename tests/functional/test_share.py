# SPDX-License-Identifier: BSD-2-Clause
"""Hostile clients hold every connection to a target; another one must not notice.

A connection is kept by progress: the hostile clients are never silent, and yet bring next to nothing,
or no more than lets them stay.
"""
import contextlib
import threading

import pytest

from harness.dns import CLIENT
from harness.messages import HEADER, PLAIN_MESSAGE
from peers.target import CHUNKING_EHLO, DEFAULT_EHLO, XCLIENT

OTHER = "127.1.0.2"             # another /24
PATIENCE_S = 60                 # well below envelope-timeout
ENOUGH = (b"x" * 1022 + b"\r\n") * 65     # in 10 s, to keep a connection
WITH_XCLIENT = (*DEFAULT_EHLO, XCLIENT)


class Drip:
    """Clients in DATA whose messages begin with `first` and `octets`, and then go on: `octets` each,
    every `period_s`. A client begins at once, since its ten seconds do: the others may take longer
    than that to come so far."""

    def __init__(self, server, count, first=HEADER + b"\r\n", octets=b"x\r\n", period_s=2.0,
                 source=CLIENT):
        self.octets = octets
        self.period_s = period_s
        self.clients = [server.client(source=source, timeout_s=PATIENCE_S) for _ in range(count)]
        self.sent = [first + octets] * count
        self.is_over = threading.Event()
        for client in self.clients:
            client.hello()
            client.envelope()
            client.expect(354, "DATA")
            client.send(first + octets)
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self._stop()
        for client in self.clients:
            client.close()

    def _run(self):
        while not self.is_over.wait(self.period_s):
            for number, client in enumerate(self.clients):
                client.send(self.octets)
                self.sent[number] += self.octets

    def _stop(self):
        self.is_over.set()
        self.thread.join()

    def end(self):
        """The clients' last replies."""
        self._stop()
        for client in self.clients:
            client.send(b".\r\n")
        return [client.reply() for client in self.clients]


def send_one(server, source=OTHER):
    with server.client(source=source, timeout_s=PATIENCE_S) as client:
        client.hello()
        client.envelope("innocent@example.org")
        return client.data(PLAIN_MESSAGE)


def delivered(backend):
    """What the target took of the hostile clients."""
    return sorted(t.content for t in backend.accepted if "innocent" not in t.mail)


def wait_outside(server, stack, count):
    """Clients of the hostile net for whom there is no connection: not until others are through."""
    waiting = [stack.enter_context(server.client(timeout_s=PATIENCE_S)) for _ in range(count)]
    for client in waiting:
        client.hello()
        client.send(b"MAIL FROM:<more@example.org>\r\nRCPT TO:<joe@example.test>\r\n")
        client.expect(250)
    return waiting


@pytest.mark.parametrize("identity, ehlo", [("none", DEFAULT_EHLO), ("none", CHUNKING_EHLO),
                                            ("xclient", WITH_XCLIENT), ("proxy-v1", DEFAULT_EHLO)],
                         ids=["data", "bdat", "xclient", "proxy"])
def test_drip_shuts_nobody_out(target, to_target, identity, ehlo):
    """Messages that drip hold all connections: who moves least gives his to the one who waits. All of
    them end at the same time, and each is delivered once."""
    backend = target(ehlo=ehlo, proxy=identity == "proxy-v1")
    server = to_target(backend, "received = never", "max-connections = 7", identity=identity)
    with Drip(server, 7) as drip:
        assert send_one(server).code == 250
        assert send_one(server).code == 250
        assert not delivered(backend)
        assert [reply.code for reply in drip.end()] == [250] * 7
    assert delivered(backend) == sorted(drip.sent)
    assert len(backend.accepted) == 9


@pytest.mark.parametrize("identity, ehlo", [("none", DEFAULT_EHLO), ("xclient", WITH_XCLIENT),
                                            ("proxy-v1", DEFAULT_EHLO)],
                         ids=["plain", "xclient", "proxy"])
@pytest.mark.parametrize("core", ["workers = 0", "workers = 2"])
def test_last_connections_are_kept(target, to_target, identity, ehlo, core):
    """40 clients of one net get 35 of 40 connections, and bring enough to stay: who comes from another
    net finds one, and nothing need be taken back from anybody. The other five wait as long as it takes."""
    backend = target(ehlo=ehlo, proxy=identity == "proxy-v1")
    server = to_target(backend, "received = never", "envelope-timeout = 1h", identity=identity,
                       core=core)
    with contextlib.ExitStack() as stack:
        drip = stack.enter_context(Drip(server, 35, octets=ENOUGH))
        waiting = wait_outside(server, stack, 5)
        with server.client(source=OTHER, timeout_s=PATIENCE_S) as other:
            other.hello()
            for _ in range(10):
                assert other.mail(PLAIN_MESSAGE, "innocent@example.org").code == 250
        assert [reply.code for reply in drip.end()] == [250] * 35
        assert [client.reply().code for client in waiting] == [250] * 5
    assert delivered(backend) == sorted(drip.sent)
    assert sum("sender@" in t.mail for t in backend.transactions) == 35     # none began anew


@pytest.mark.parametrize("core", ["workers = 0", "workers = 2"])
def test_one_connection_for_each_who_may_have_one(target, to_target, core):
    """While many wait who may not have the last connections, one more is made for who may: theirs would
    be all that are left, and another process would take some back."""
    backend = target()
    server = to_target(backend, "idle-connections = 0", core=core)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Drip(server, 35, octets=ENOUGH))
        wait_outside(server, stack, 20)
        for number in range(36, 39):
            assert send_one(server).code == 250
            assert len(backend.connections) == number
    assert sum("sender@" in t.mail for t in backend.transactions) == 35


def test_share_of_a_net(target, to_target):
    """Clients of one net who bring enough to stay have a quarter of the connections, no more, while
    another net waits; what is taken from them is delivered, once."""
    backend = target()
    server = to_target(backend, "received = never", "max-connections = 7", "on-failure = spool")
    with Drip(server, 7, octets=ENOUGH) as drip:
        assert send_one(server).code == 250
        assert not delivered(backend)
        assert [reply.code for reply in drip.end()] == [250] * 7
    assert delivered(backend) == sorted(drip.sent)


def test_share_among_more_nets(target, to_target):
    """Four nets hold about a quarter of the connections each, and bring enough to stay: a fifth one's part
    is not theirs."""
    backend = target()
    server = to_target(backend, "received = never", "max-connections = 7")
    with contextlib.ExitStack() as stack:
        drips = [stack.enter_context(Drip(server, count, octets=ENOUGH, source=f"127.2.{net}.1"))
                 for net, count in enumerate((2, 2, 2, 1))]
        assert send_one(server).code == 250
        assert not delivered(backend)
        replies = [reply for drip in drips for reply in drip.end()]
    assert [reply.code for reply in replies] == [250] * 7
    assert delivered(backend) == sorted(octets for drip in drips for octets in drip.sent)


def test_drip_that_cannot_be_replayed(target, to_target):
    """Part of its copy was freed: it gets 451, and the other one its connection."""
    backend = target()
    server = to_target(backend, "max-connections = 1", core="copy-memory = 128k")
    with Drip(server, 1, first=(b"x" * 1022 + b"\r\n") * 1024) as drip:
        assert send_one(server).code == 250
        reply = drip.end()[0]
    assert (reply.code, reply.enhanced) == (451, "4.3.2")
    assert not delivered(backend)
    assert [line["refused"] for line in server.events("taken-back")] == ["yes"]


def process_of(server, client):
    """An id names its process behind the time."""
    server.log.wait_line(rf"Z connect .*client=[0-9.]+:{client.port} ")
    line = next(line for line in server.events("connect")
                if line["client"].endswith(f":{client.port}"))
    return line["session"][9:14]


def test_drip_in_another_process(target, to_target):
    """The only connection is another worker's, where nobody waits."""
    backend = target()
    server = to_target(backend, "received = never", "max-connections = 1", core="workers = 2")
    with Drip(server, 1) as drip:
        hostile = process_of(server, drip.clients[0])
        clients = [server.client(source=OTHER, timeout_s=PATIENCE_S) for _ in range(20)]
        for client in clients:
            client.hello()
        other = next(client for client in clients if process_of(server, client) != hostile)
        assert other.mail(PLAIN_MESSAGE, "innocent@example.org").code == 250
        assert [reply.code for reply in drip.end()] == [250]
    assert delivered(backend) == drip.sent


def test_share_of_a_net_in_all_processes(target, to_target):
    """Each of some workers has its part of the connections, and keeps it open for other nets."""
    backend = target()
    server = to_target(backend, "received = never", "max-connections = 7", "on-failure = spool",
                       core="workers = 2")
    with Drip(server, 7, octets=ENOUGH) as drip:
        for _ in range(6):
            assert send_one(server).code == 250
        assert [reply.code for reply in drip.end()] == [250] * 7
    assert delivered(backend) == sorted(drip.sent)

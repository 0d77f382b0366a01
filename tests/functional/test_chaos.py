# SPDX-License-Identifier: BSD-2-Clause
"""Many clients and targets that misbehave at random, at once; the promises hold all the same.

CHAOS_SEED=N repeats a run as far as timing allows, CHAOS_MESSAGES=N makes it longer.
"""
import os
import random
import re
import threading

import pytest

from harness.messages import HEADER
from harness.postern import PATIENT, binary
from peers.answers import Close, Drip, Flood, Nothing, Reset, Silence
from peers.client import stuffed
from peers.target import DEFAULT_EHLO, XCLIENT, XFORWARD

SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)
MESSAGES = int(os.environ.get("CHAOS_MESSAGES", "400"))
THREADS = 12

RELAY = ("connect-timeout = 1s", "command-timeout = 1s", "envelope-timeout = 2s",
         "data-timeout = 1s", "final-timeout = 1s", "health-interval = 1s", "received = never",
         "max-connections = 8")

TROUBLE = {
    "greeting": [Close("421 4.3.2 busy"), Close(), Silence(), Close("554 5.7.1 no")],
    "STARTTLS": ["454 4.7.0 no", Close(), Reset(), Close("220 2.0.0 go"), "220 2.0.0 go\r\n250 no"],
    "EHLO": [Close(), Reset(), "502 5.5.1 no", Flood(b"250-X\r\n", 100_000)],
    "XCLIENT": ["550 5.7.0 no", "554 5.7.1 not you", "421 4.7.0 slow", Close()],
    "XFORWARD": ["550 5.7.0 no", Close()],
    "MAIL": ["550 5.7.1 no", "451 4.3.0 later", Close(), Reset(), Drip("250 2.1.0 Ok")],
    "RCPT": ["550 5.1.1 unknown", "450 4.2.1 busy", Close(), Reset(), "421 4.3.2 bye",
             Close("250 2.1.5 Ok", "250 2.1.5 twice"), Silence()],
    "DATA": ["451 4.3.0 later", "554 5.7.1 no", Close(), Reset()],
    "content": [Close(), Reset(), Close("552 5.3.4 too big"), Silence()],
    "BDAT": ["552 5.3.4 too big", Close(), Reset(), Nothing()],
    "end": ["550 5.7.1 spam", "451 4.3.0 later", Close(), Reset(), Silence()],
    "last": ["550 5.7.1 spam", "451 4.3.0 later", Close(), Reset(), Nothing()],
}


def make_trouble(backend, seed):
    """Every stage answers wrongly once in a while."""
    source = random.Random(seed)
    lock = threading.Lock()

    def chooser(stage, right):
        def choose(_connection, _line):
            with lock:
                return source.choice(TROUBLE[stage]) if source.random() < 0.06 else right
        return choose
    rights = {"greeting": "220 t.example", "STARTTLS": "220 2.0.0 go", "XCLIENT": "220 t.example", "XFORWARD": "250 2.0.0 Ok",
              "MAIL": "250 2.1.0 Ok", "RCPT": "250 2.1.5 Ok", "DATA": "354 go",
              "content": None, "BDAT": "250 2.0.0 Ok", "end": "250 2.0.0 {serial}",
              "last": "250 2.0.0 {serial}"}
    for stage, right in rights.items():
        backend.on(stage, chooser(stage, right))


class Ledger:
    """What was sent, what was acknowledged, what was never ended. `context`: clients encrypt."""

    def __init__(self, context):
        self.context = context
        self.lock = threading.Lock()
        self.acknowledged = set()
        self.unended = set()
        self.problems = []
        self.next = 0

    def number(self):
        with self.lock:
            self.next += 1
            return self.next if self.next <= MESSAGES else None


def message(number, source):
    lines = source.choice((1, 5, 100, 3000))
    body = b"".join(b"%d line %d .%s\r\n" % (number, i, b"x" * source.randrange(90))
                    for i in range(lines))
    return HEADER + b"X-Number: %d\r\n\r\n" % number + body + b".\r\n..end\r\n"


def talk(server, ledger, seed):
    source = random.Random(seed)
    client = None
    while (number := ledger.number()) is not None:
        try:
            if client is None:
                client = server.client(source=f"127.0.0.{source.choice((2, 3, 4, 9))}")
                client.hello()
                if ledger.context:
                    client.start_tls(ledger.context)
                    client.expect(250, "EHLO client.example.test")
            if not one_message(client, number, ledger, source):
                client.close()
                client = None
        except (EOFError, OSError) as error:
            client = None
            if not server.process.is_running:
                ledger.problems.append(f"{number}: {error!r}")
                return


def one_message(client, number, ledger, source):
    """Whether the session goes on."""
    content = message(number, source)
    client.expect(250, "MAIL FROM:<sender@example.org>")
    if client.command("RCPT TO:<joe@example.test>").code != 250:
        client.expect(250, "RSET")
        return source.random() < 0.8
    client.command("RCPT TO:<jane@example.test>")
    if source.random() < 0.1:
        client.expect(250, "RSET")
        return True
    client.expect(354, "DATA")
    if source.random() < 0.15:
        with ledger.lock:
            ledger.unended.add(number)
        client.send(stuffed(content)[:source.randrange(len(content))])
        if source.random() < 0.5:
            client.reset()
        return False
    client.send(stuffed(content) + b".\r\n")
    if client.reply().code == 250:
        with ledger.lock:
            ledger.acknowledged.add(number)
    return source.random() < 0.8


@pytest.mark.parametrize("identity, ehlo, tls", [
    ("none", DEFAULT_EHLO, "none"), ("xforward", (*DEFAULT_EHLO, XFORWARD, "CHUNKING"), "none"),
    ("xclient", (*DEFAULT_EHLO, XCLIENT, "CHUNKING"), "none"), ("xforward", ("SIZE", XFORWARD), "none"),
    ("none", DEFAULT_EHLO, "may"), ("xclient", (*DEFAULT_EHLO, XCLIENT, "CHUNKING"), "encrypt")])
def test_promises_hold_in_chaos(target, postern, certificates, tmp_path, identity, ehlo, tls):
    """What was acknowledged is at the target, whole; what the client did not end is nowhere. Over TLS
    on both sides, too."""
    print(f"CHAOS_SEED={SEED} {binary()}")
    secure = {} if tls == "none" else {"tls": certificates.server_context(certificates.mx)}
    pair = (target(ehlo=ehlo, **secure),
            target(ehlo=ehlo, address=str(tmp_path / "socket"), **secure))
    for i, backend in enumerate(pair):
        make_trouble(backend, SEED + i)
    relay = "\n".join((f"address = {pair[0].address}", f"address = {pair[1].address}",
                       f"identity = {identity}", f"tls = {tls}", "on-failure = tempfail", *RELAY))
    server = postern(f'[relay "pair"]\n{relay}\n[route]\n@example.test pair\n',
                     smtpd=PATIENT + ("tls = starttls\n" + certificates.mx.lines() if secure else ""))
    ledger = Ledger(certificates.client_context() if secure else None)
    threads = [threading.Thread(target=talk, args=(server, ledger, SEED + 100 + i))
               for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive(), "a client waits for ever"
    server.stop()
    assert ledger.problems == []
    delivered = [t for backend in pair for t in backend.accepted]
    numbers = {}
    for transaction in delivered:
        number = int(re.search(rb"^X-Number: (\d+)\r$", transaction.content, re.M).group(1))
        numbers[number] = transaction
        assert transaction.content.endswith(b"\r\n.\r\n..end\r\n"), number
        lines = re.findall(rb"^(\d+) line (\d+) ", transaction.content, re.M)
        assert [int(n) for n, _ in lines] == [number] * len(lines), number
        assert [int(i) for _, i in lines] == list(range(len(lines))), number
    assert ledger.acknowledged <= set(numbers)
    assert not ledger.unended & set(numbers)
    assert ledger.acknowledged                # else nothing was tried
    if tls == "encrypt":
        assert all(c.tls for backend in pair for c in backend.connections if c.transactions)

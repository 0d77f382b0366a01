# SPDX-License-Identifier: BSD-2-Clause
"""A client that says anything in any order, chunks among it, beside a model of what it must hear."""
import random

import pytest

from peers.client import chunk, stuffed
from peers.target import FRAMINGS

VERBS = ("MAIL", "RCPT", "RCPT", "BDAT", "BDAT", "BDAT", "LAST", "DATA", "RSET", "HELLO")
HELLOS = {"SMTP": "EHLO client.test", "LMTP": "LHLO client.test"}


class Model:
    """The codes that a client hears, and the messages that are taken."""

    def __init__(self, protocol):
        self.is_lmtp = protocol == "LMTP"
        self.has_failed = False     # a chunk has; those behind it get the like of its reply
        self.taken = []
        self.end()

    def end(self):
        self.accepted = None        # recipients of the transaction; None: there is none
        self.has_rcpt = self.is_chunked = False
        self.content = b""

    def take(self, content):
        """The replies to the end of a message."""
        self.taken.append(content)
        count = self.accepted if self.is_lmtp else 1
        self.end()
        return [250] * count

    def none_accepted(self):
        return 503 if self.is_lmtp or not self.has_rcpt else 554

    def mail(self):
        if self.accepted is not None:
            return [503]
        self.accepted = 0
        return [250]

    def rcpt(self, is_good):
        if self.accepted is None or self.is_chunked:
            return [503]
        self.has_rcpt = True
        self.accepted += is_good
        return [250 if is_good else 550]

    def data(self):
        """The reply to DATA alone."""
        if self.accepted is None or self.is_chunked:
            return 503
        return 354 if self.accepted else 503 if self.is_lmtp else 554

    def bdat(self, octets, is_last):
        if not self.has_failed and self.accepted:
            self.is_chunked = True
            self.content += octets
            return self.take(self.content) if is_last else [250]
        code = 503
        if self.has_failed:
            code = 554
        elif self.accepted == 0:
            code = self.none_accepted()
            self.has_failed = True
            self.end()
        self.has_failed = self.has_failed and not is_last
        return [code]


class Talker:
    """Sends commands in groups, cut anywhere, and looks at all replies."""

    def __init__(self, client, protocol, seed):
        self.client = client
        self.chance = random.Random(seed)
        self.model = Model(protocol)
        self.hello = HELLOS[protocol].encode() + b"\r\n"
        self.group, self.codes = b"", []

    def flush(self):
        while self.group:
            size = self.chance.randrange(1, 40)
            self.client.send(self.group[:size])
            self.group = self.group[size:]
        assert [self.client.reply().code for _ in self.codes] == self.codes
        self.codes = []

    def add(self, octets, codes):
        self.group += octets
        self.codes += codes

    def say(self, verb, content):
        model = self.model
        if verb in ("BDAT", "LAST"):
            self.add(chunk(content, verb == "LAST"), model.bdat(content, verb == "LAST"))
            return
        model.has_failed = False
        if verb == "MAIL":
            self.add(b"MAIL FROM:<sender@example.org>\r\n", model.mail())
        elif verb == "RCPT":
            name = self.chance.choice([b"joe", b"jane", b"no"])
            self.add(b"RCPT TO:<%s@example.test>\r\n" % name, model.rcpt(name != b"no"))
        elif verb == "DATA":
            code = model.data()
            self.add(b"DATA\r\n", [code])
            self.flush()
            if code == 354:
                self.add(stuffed(content) + b".\r\n", model.take(content))
        else:
            model.end()
            self.add(b"RSET\r\n" if verb == "RSET" else self.hello, [250])
            if verb == "HELLO":
                self.flush()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("protocol", HELLOS)
@pytest.mark.parametrize("seed", range(3))
def test_in_any_order(target, to_target, framing, protocol, seed):
    """Each command has its replies, octets of chunks are no commands, and the target has what was taken
    and nothing else."""
    backend = target(ehlo=FRAMINGS[framing]).on(
        "RCPT", lambda _, line: "550 5.1.1 nobody" if "<no@" in line else "250 2.1.5 Ok")
    server = to_target(backend, "received = never",
                       smtpd="max-errors = 1000000\nmax-junk-commands = 1000000\n")
    with server.client() as client:
        client.expect(220)
        client.expect(250, HELLOS[protocol])
        talker = Talker(client, protocol, seed)
        for number in range(1000):
            inside = talker.chance.choice([b"", b"QUIT\r\n", b".\r\n", b"BDAT 9 LAST\r\n"])
            talker.say(talker.chance.choice(VERBS), b"X: %d\r\n%s" % (number, inside))
            if talker.chance.random() < 0.2:
                talker.flush()
        talker.flush()
        client.quit()
    # One that nobody is left in may end with a lone dot.
    got = [t.content for t in backend.accepted if any("<no@" not in rcpt for rcpt in t.rcpts)]
    assert talker.model.taken and sorted(got) == sorted(talker.model.taken)

# SPDX-License-Identifier: BSD-2-Clause
"""Never two messages from one: whatever some server takes for the end of data, through postern
into a Postfix with Debian's defaults, which can be smuggled to."""
import itertools
import re

import pytest

from conftest import relay_config
from harness.messages import HEADER, PLAIN_MESSAGE
from harness.postern import PATIENT
from harness.postfix import Postfix, queue_id
from harness.process import is_root
from peers.client import Client, chunk

NEWLINES = (b"\r\n", b"\n", b"\r")
# What stands on either side of a dot: newlines, parts of them, with NUL, with bit 8 set.
AROUND = (b"", *NEWLINES, b"\r\r\n", b"\n\r", b"\r\r", b"\n\n", b"\0", b"\0\r\n",
          b"\r\n\0", b"\r\0\n", b"\n\0", b"\0\n", b"\r\0", b"\x8d\x8a", b"\r\x8a", b"\x8d\n",
          b"\x85", b" \r\n")
DOTS = (b".", b"..", b".\0", b"\0.", b".\0.", b".\0x", b"\xae", b".\x80")
SEQUENCES = list(dict.fromkeys(map(b"".join, itertools.product(AROUND, DOTS, AROUND))))
END = b"\r\n.\r\n"

ENVELOPE = b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<joe@example.test>\r\n"
BEGIN = HEADER + b"\r\n"
MASTER_CF = """
127.0.0.1:10025 inet  n       -       n       -       100     smtpd
discard         unix  -       -       n       -       -       discard
"""
LANES = 20      # sessions side by side


def hidden(number):
    """What is a message of its own where it is smuggled; its sender tells behind which sequence."""
    return (b"MAIL FROM:<evil-%d@example.org>\r\nRCPT TO:<jane@example.test>\r\nDATA\r\n"
            b"Subject: smuggled\r\n\r\nsmuggled\r\n" % number)


def pieces(number, sequence):
    """One message, in pieces to be read one by one: the sequence once for each place to cut it."""
    cuts = range(len(sequence) + 1)
    halves = [(b"tail" + sequence[:cut], sequence[cut:] + hidden(number)) for cut in cuts]
    first, *rest = itertools.chain.from_iterable(halves)
    return [BEGIN + first, *rest]


class Victim(Postfix):
    """It forbids nothing. Honest mail is discarded, what is smuggled goes to jane."""

    def __init__(self):
        super().__init__("mynetworks = 127.0.0.2/32\n"
                         "transport_maps = inline:{ {joe@example.test = discard:} }\n", MASTER_CF)

    def wait_settled(self):
        """Until its log tells all that was begun by now: a message of our own is the last one."""
        with Client(self.server) as client:
            client.hello()
            last = queue_id(client.mail(PLAIN_MESSAGE))
        self.wait_delivered(last)

    def begun(self, since):
        """How many messages clients began, that last one not counted."""
        return len(self.log.find(r"smtpd\[\d+\]: \w+: client=", since)) - 1

    def smuggled(self, since):
        """Behind which sequences a message was smuggled."""
        found = self.log.find(r"qmgr\[\d+\]: \w+: from=<evil-(\d+)@", since)
        return {SEQUENCES[int(match.group(1))] for match in found}


@pytest.fixture(scope="module")
def victim():
    if not is_root():
        pytest.skip("a private Postfix is started as root")
    server = Victim()
    yield server
    server.stop()


class Lane:
    """A session that sends one message after the other."""

    def __init__(self, server, is_chunked):
        self.server = server
        self.is_chunked = is_chunked
        self.open()

    def open(self):
        self.client = self.server.client()
        self.client.hello()

    def begin(self, number):
        self.sequence = SEQUENCES[number]
        self.pieces = pieces(number, self.sequence)
        self.client.send(ENVELOPE + (b"" if self.is_chunked else b"DATA\r\n"))

    def wait_begun(self):
        for code in (250, 250) if self.is_chunked else (250, 250, 354):
            self.client.expect(code)

    def send_piece(self, place):
        if place < len(self.pieces):
            piece = self.pieces[place]
            self.client.send(chunk(piece) if self.is_chunked else piece)

    def end(self):
        """VRFY's reply is not to be mistaken for a message's."""
        last = chunk(b"", True) if self.is_chunked else b".\r\n"
        self.client.send(last + b"VRFY joe\r\n")

    def codes(self):
        """Of the chunks, of the message, of VRFY. Who is out of step then begins anew."""
        count = len(self.pieces) if self.is_chunked else 0
        codes = [self.client.reply().code for _ in range(count + 2)]
        if codes[-1] != 252:
            self.client.close()
            self.open()
        return codes


def send_all(server, numbers, is_chunked):
    """A message for each sequence, as many at once as there are lanes; the codes of its replies."""
    codes = {}
    beside = server.client()
    beside.hello()
    lanes = [Lane(server, is_chunked) for _ in range(LANES)]
    for start in range(0, len(numbers), LANES):
        busy = lanes[:len(numbers) - start]
        for lane, number in zip(busy, numbers[start:]):
            lane.begin(number)
        for lane in busy:
            lane.wait_begun()
        for place in range(max(len(lane.pieces) for lane in busy)):
            for lane in busy:
                lane.send_piece(place)
            beside.linger(2)        # the second turn of its loop begins when all pieces are read
        for lane in busy:
            lane.end()
        for lane in busy:
            codes[lane.sequence] = lane.codes()
    for client in (beside, *(lane.client for lane in lanes)):
        client.close()
    return codes


def is_one_message(codes, is_refusable):
    """Its replies, and no other one; it is taken, or refused for what it contains."""
    *chunks, end, last = codes
    taken = {250, 503, 550} if is_refusable else {250}
    return last == 252 and taken.issuperset([*chunks, end])


def is_refusable(sequence, bare_newline):
    has_bare = re.search(rb"\r(?!\n)|(?<!\r)\n", sequence)
    return b"\0" in sequence or (bare_newline == "reject" and has_bare)


@pytest.mark.parametrize("bare_newline", ["normalize", "reject"])
@pytest.mark.parametrize("framing", ["DATA", "BDAT"])
def test_nothing_is_smuggled(postern, victim, framing, bare_newline):
    """Each sequence, cut at every place, by DATA and in chunks, to a Postfix that gets DATA. Who is
    out of step is not sent away for what came early, so that all that follows is seen."""
    server = postern(relay_config(victim.address, "chunking = no", "identity = none"),
                     smtpd=f"{PATIENT}early-input = accept\nbare-newline = {bare_newline}\n")
    numbers = [number for number, sequence in enumerate(SEQUENCES)
               if framing == "BDAT" or END not in sequence]
    mark = victim.log.mark()
    codes = send_all(server, numbers, framing == "BDAT")
    victim.wait_settled()
    wrong = {sequence for sequence, got in codes.items()
             if not is_one_message(got, is_refusable(sequence, bare_newline))}
    failed = sorted(victim.smuggled(mark) | wrong)
    assert not failed, failed
    assert victim.begun(mark) == len(numbers)


def test_the_victim_can_be_smuggled_to(victim):
    """Without postern: what a strict server reads as one message is two to this one."""
    ends = [b"".join(parts) for parts in itertools.product(NEWLINES, (b".",), NEWLINES)]
    mark = victim.log.mark()
    for end in ends:
        with Client(victim.server) as client:
            client.hello()
            client.envelope()
            client.expect(354, "DATA")
            client.send(b"tail" + end + hidden(SEQUENCES.index(end)) + b".\r\nQUIT\r\n")
            client.rest()
    victim.wait_settled()
    assert victim.smuggled(mark) >= {b"\n.\n", b"\n.\r\n", b"\r\n.\n"}

# SPDX-License-Identifier: BSD-2-Clause
"""The interoperability matrix: clients, listeners, targets, framings, kinds of messages. Content is
compared octet by octet where it arrives; what fails is listed cell by cell."""
import concurrent.futures
import contextlib
import dataclasses
import itertools
import re

import pytest

from conftest import ending_well, needs_unpacked
from harness.interop import HELO, PROGRAMS, SERVERS, TARGETS, USERS, Mail
from harness.messages import DOTTED_MESSAGE, HEADER, PLAIN_MESSAGE
from harness.postern import Postern
from harness.process import free_port
from harness.smtp import keywords
from harness.workers import wait_for
from peers.client import Client

pytestmark = needs_unpacked

EIGHT_BIT = HEADER + (b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=latin1\r\n"
                      b"Content-Transfer-Encoding: 8bit\r\n\r\n" + bytes(range(0xa0, 0x100))
                      + b"\r\n" + "grüße".encode() + b"\r\n")
BINARY = HEADER + (b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
                   b"Content-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 3
                   + b"\n.\n\r.\r\r\n.\r\n\0")
# What some server takes for the end of data; behind each, what it would then take for a message.
BREAKS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n")
ENDS = map(b"".join, itertools.product(BREAKS, (b".", b".."), BREAKS))
NEWLINES = HEADER + b"\r\n" + b"".join(
    b"tail" + end + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\n"
    b"Subject: smuggled\r\n\r\nsmuggled\r\n" for end in ENDS)
KINDS = {"small": PLAIN_MESSAGE, "dots": DOTTED_MESSAGE, "8-bit": EIGHT_BIT,
         "long lines": HEADER + b"\r\n" + (b"x" * 998 + b"\r\n") * 3 + b"." * 998 + b"\r\n",
         "empty body": HEADER + b"\r\n", "newlines": NEWLINES, "binary": BINARY}
BIG, MANY = "50 MiB", "1,000 recipients"
HEAVY_KINDS = {BIG: HEADER + b"\r\n" + (b"y" * 76 + b"\r\n") * ((50 << 20) // 78),
               MANY: PLAIN_MESSAGE}
# What the client speaks, and to which listener.
WAYS = {"smtp": ("smtp", "smtp"), "lhlo": ("lmtp", "smtp"), "lmtp": ("lmtp", "lmtp")}
LISTENER = "announce = BINARYMIME\nmax-message-size = 64m\n"


@dataclasses.dataclass(frozen=True)
class Cell:
    client: str
    way: str
    target: str
    chunking: str
    kind: str

    def __str__(self):
        return "/".join(dataclasses.astuple(self))

    @property
    def content(self):
        """The message, with the cell's name on top."""
        return f"X-Cell: {self}\r\n".encode() + {**KINDS, **HEAVY_KINDS}[self.kind]

    @property
    def expected(self):
        """As it is to leave postern: no bare CR, no bare LF."""
        if self.kind == "binary":
            return self.content
        return re.sub(rb"(?<!\r)\n", b"\r\n", re.sub(rb"\r(?!\n)", b" ", self.content))

    @property
    def is_refused(self):
        """A target that has no BINARYMIME, or may not get it, is not given such a message."""
        return self.kind == "binary" and self.chunking not in TARGETS[self.target].binary


class Matrix:
    """One postern between whoever sends and all targets; a domain for each target and framing."""

    def __init__(self, stack, resolver):
        """`stack` ends what was started: postern first, which has connections to the others."""
        self.targets, self.names = {}, []
        sections, routes = "", "[route]\n"
        for name, kind in TARGETS.items():
            names = [f"{name}-{chunking}" for chunking in kind.chunkings]
            self.names += names
            self.targets[name] = kind([f"{one}.test" for one in names])
            stack.callback(self.targets[name].remove)
            for one, chunking in zip(names, kind.chunkings):
                sections += self.targets[name].section(one, chunking)
                routes += f"@{one}.test {one}\n"
        self.ports = {"lmtp": free_port()}
        self.server = Postern(
            f'[smtpd "lmtp"]\nlisten-port = 127.0.0.1:{self.ports["lmtp"]}\nprotocol = lmtp\n'
            + LISTENER + sections + routes, resolver, smtpd=LISTENER)
        stack.enter_context(ending_well()).append(self.server)
        self.ports["smtp"] = self.server.port
        self._arrived = {}          # cell's name -> what came with it, until it is judged
        self._wait_known()

    def _wait_known(self):
        """Until each target was seen, and what they all have is announced."""
        with Client(("127.0.0.1", self.server.port)) as client:
            client.hello()
            for name in self.names:
                assert client.mail(PLAIN_MESSAGE, recipients=[f"joe@{name}.test"]).code == 250
            assert "8BITMIME" in keywords(client.expect(250, f"EHLO {HELO}"))

    def collect(self):
        """Looks at all targets; what has come and is not judged yet."""
        for target in self.targets.values():
            for raw in target.arrived():
                mark = raw.find(b"X-Cell: ")
                if mark >= 0:
                    name = raw[mark + 8:].split(b"\n", 1)[0].strip().decode()
                    self._arrived.setdefault(name, []).append(raw[mark:])
        return self._arrived

    def wait_arrived(self, cells):
        """Until all have come, or the time is over, which is not for here to judge."""
        def is_done():
            return self.collect().keys() >= {str(cell) for cell in cells}
        with contextlib.suppress(AssertionError):
            wait_for(is_done, timeout_s=60)

    def verdict(self, cell, trouble):
        """What is wrong with that cell, or None."""
        found = self._arrived.pop(str(cell), [])
        if cell.is_refused:
            return None if (trouble or "").startswith("554 5.6.1") and not found else \
                f"not refused: {trouble}, {len(found)} messages"
        if trouble or len(found) != 1:
            return f"{trouble}, {len(found)} messages"
        expected = self.targets[cell.target].lies(cell.expected, cell.kind == "binary")
        if found[0] != expected:
            place = next((at for at, pair in enumerate(zip(found[0], expected))
                          if pair[0] != pair[1]), min(len(found[0]), len(expected)))
            return f"from octet {place}: {found[0][place:place + 60]!r}, " \
                f"not {expected[place:place + 60]!r}"
        return None


@pytest.fixture(scope="module")
def matrix(dns):
    with contextlib.ExitStack() as stack:
        made = Matrix(stack, dns.address)
        yield made
        made.server.stop()
        late = list(made.collect())
        assert not late, f"these came once more: {late}"


def can_say(client, kind):
    """BINARYMIME needs BDAT; programs send no bare newlines; swaks has no message without a body."""
    if kind == "binary":
        return client == "BDAT"
    if kind == "newlines":
        return client in ("DATA", "BDAT")
    return (client, kind) != ("swaks", "empty body")


def cells_of(client, way):
    return [Cell(client, way, target, chunking, kind) for target, it in TARGETS.items()
            for chunking in it.chunkings for kind in KINDS if can_say(client, kind)]


def mail_of(cell):
    users = USERS if cell.kind == MANY else USERS[:1]
    addresses = tuple(f"{user}@{cell.target}-{cell.chunking}.test" for user in users)
    return Mail(cell.content, addresses,
                "BINARYMIME" if cell.kind == "binary" else "8BITMIME")


def send_all(matrix, cells):
    """All of one client and way. cell -> what its client said was wrong, or None."""
    client, (protocol, listener) = cells[0].client, WAYS[cells[0].way]
    server = ("127.0.0.1", matrix.ports[listener])
    started = None
    if client in SERVERS:
        started = SERVERS[client](server[1], protocol)
        server, protocol, client = started.server, "smtp", "DATA"

    def send(cell):
        try:
            return PROGRAMS[client](server, protocol, mail_of(cell))
        except (AssertionError, EOFError, OSError) as error:
            return repr(error)
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            said = dict(zip(cells, pool.map(send, cells)))
        matrix.wait_arrived([cell for cell, trouble in said.items() if not trouble])
    finally:
        if started:
            started.stop()
    return said


ROWS = [(client, way) for client, way in itertools.product((*PROGRAMS, *SERVERS), WAYS)
        if client != "curl" or way == "smtp"]


def check(matrix, cells):
    said = send_all(matrix, cells)
    wrong = {cell: matrix.verdict(cell, trouble) for cell, trouble in said.items()}
    wrong = [f"{cell}: {what}" for cell, what in wrong.items() if what]
    assert not wrong, f"{len(wrong)} of {len(cells)} cells:\n" + "\n".join(wrong)


@pytest.mark.parametrize("client, way", ROWS, ids=["-".join(row) for row in ROWS])
def test_row(matrix, client, way):
    """One client and listener: all targets, framings and kinds of messages."""
    check(matrix, cells_of(client, way))


HEAVY = [Cell(*words) for words in (
    ("DATA", "smtp", "postfix", "no", BIG), ("BDAT", "smtp", "exim", "auto", BIG),
    ("BDAT", "lmtp", "dovecot", "auto", BIG), ("curl", "smtp", "opensmtpd", "auto", BIG),
    ("exim", "smtp", "postfix", "auto", BIG), ("postfix", "lmtp", "dovecot", "no", BIG),
    ("opensmtpd", "lhlo", "maildir", "auto", BIG),
    ("DATA", "smtp", "scripted", "auto", MANY), ("BDAT", "lmtp", "scripted", "no", MANY),
    ("BDAT", "lmtp", "dovecot", "auto", MANY),
    ("smtplib", "smtp", "exim", "auto", MANY), ("curl", "smtp", "postfix", "no", MANY),
    ("msmtp", "lmtp", "exim", "auto", MANY), ("swaks", "lhlo", "postfix", "auto", MANY),
    ("postfix", "lmtp", "exim", "no", MANY), ("exim", "smtp", "postfix", "auto", MANY),
    ("opensmtpd", "smtp", "postfix", "no", MANY))]


@pytest.mark.parametrize("cell", HEAVY, ids=str)
def test_heavy_cell(matrix, cell):
    """50 MiB, and 1,000 recipients."""
    check(matrix, [cell])
    if cell.kind == MANY and cell.target == "scripted":
        expected = [f"RCPT TO:<{one}>" for one in mail_of(cell).recipients]
        assert expected in [one.rcpts for one in matrix.targets["scripted"].target.accepted]

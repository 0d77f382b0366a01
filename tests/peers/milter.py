# SPDX-License-Identifier: BSD-2-Clause
"""A milter on a bare socket: sends the packets that a test tells it, right or wrong, and records all."""
import struct

from peers.answers import Answer
from peers.server import Server, Wire

STAGES = {"O": "negotiate", "D": "macros", "C": "connect", "H": "helo", "M": "mail", "R": "rcpt",
          "T": "data", "U": "unknown", "L": "header", "N": "eoh", "B": "body", "E": "eom",
          "A": "abort", "Q": "quit", "K": "next"}
ALL_ACTIONS = 0x1FF
MAX_PACKET = 65536      # letter included
# Stages that need no reply where this step was agreed on.
NO_REPLY = {"connect": 0x1000, "helo": 0x2000, "mail": 0x4000, "rcpt": 0x8000, "data": 0x10000,
            "unknown": 0x20000, "header": 0x80, "eoh": 0x40000, "body": 0x80000}
UNANSWERED = ("macros", "abort", "quit", "next")

CONTINUE, ACCEPT, REJECT, TEMPFAIL, DISCARD = (b"\0\0\0\1" + one for one in
                                               (b"c", b"a", b"r", b"t", b"d"))
PROGRESS, SKIP, CONNECTION_FAILED, SHUTDOWN = (b"\0\0\0\1" + one for one in
                                               (b"p", b"s", b"f", b"4"))


def packet(letter, *texts, raw=b""):
    """A packet: its letter, `raw`, then each text with a NUL behind it."""
    payload = letter.encode() + raw + b"".join(
        (t.encode("latin-1") if isinstance(t, str) else t) + b"\0" for t in texts)
    return struct.pack(">I", len(payload)) + payload


def reply_code(text):
    return packet("y", text)


def add_header(name, value):
    return packet("h", name, value)


def insert_header(index, name, value):
    return packet("i", name, value, raw=struct.pack(">I", index))


def change_header(index, name, value=""):
    return packet("m", name, value, raw=struct.pack(">I", index))


def replace_body(octets):
    return packet("b", raw=octets)


class MilterConnection(Wire):
    """What one mail server asked: `packets` are (letter, payload)."""

    def __init__(self, server, sock, number, peer):
        super().__init__(server, sock, number, peer)
        self.packets = []

    @property
    def letters(self):
        """All that came, e.g. "ODCDHDMDR"."""
        return "".join(letter for letter, _ in self.packets)

    def payloads(self, letter):
        return [payload for one, payload in self.packets if one == letter]

    def macros(self, letter):
        """Those that came for commands of that letter: a dictionary for each D packet."""
        found = []
        for payload in self.payloads("D"):
            texts = payload[1:].decode("latin-1").split("\0")[:-1]
            if payload[:1].decode() == letter:
                found.append(dict(zip(texts[::2], texts[1::2])))
        return found

    @property
    def body(self):
        return b"".join(self.payloads("B"))

    def perform(self, answer):
        if isinstance(answer, Answer):
            answer.perform(self)
        elif isinstance(answer, (tuple, list)):
            for one in answer:
                self.perform(one)
        elif answer:
            self.send(answer)

    def converse(self):
        while True:
            length = struct.unpack(">I", self.read(4))[0]
            letter = self.read(1).decode("latin-1")
            stage = STAGES.get(letter)
            if not stage or not 0 < length <= MAX_PACKET:
                self.server.faults.append(f"packet {letter!r} of {length} octets")
                self.close()
            data = self.read(length - 1)
            self.packets.append((letter, data))
            self.server.waiter.notify()
            self.perform(self.server.next_answer(stage, self, data))
            if stage == "quit":
                self.close()


class Asked:
    """What is asked at `port` of loopback."""

    @property
    def for_postfix(self):
        """The address as smtpd_milters has it."""
        return f"inet:127.0.0.1:{self.port}"

    @property
    def for_postern(self):
        """The address as [milter] has it."""
        return f"inet:{self.port}@127.0.0.1"


class Milter(Asked, Server):
    """Answers "continue" where `on` says nothing else.

    An answer is octets (packet() and its like make them), an Answer, or a list of these, sent in turn.
    faults: packets that no mail server may send.
    version, actions, steps, symbols: what it says in negotiation; symbols: {stage number: "names"}.
    """

    connection = MilterConnection
    stages = tuple(STAGES.values())

    def __init__(self, version=6, actions=ALL_ACTIONS, steps=0, symbols=None, **options):
        lists = b"".join(struct.pack(">I", stage) + names.encode() + b"\0"
                         for stage, names in (symbols or {}).items())
        self.faults = []
        self.steps = steps
        self._hello = packet("O", raw=struct.pack(">III", version, actions, steps) + lists)
        super().__init__(**options)

    def default_answer(self, stage, connection):
        if stage == "negotiate":
            return self._hello
        if stage in UNANSWERED or self.steps & NO_REPLY.get(stage, 0):
            return b""
        return CONTINUE

    def wait_packets(self, letters, timeout_s=30.0):
        """Until a connection has had packets that end with these letters; that connection."""
        def look():
            return [c for c in list(self.connections) if c.letters.endswith(letters)]
        return self.wait(look, f"packets {letters}", timeout_s)[-1]

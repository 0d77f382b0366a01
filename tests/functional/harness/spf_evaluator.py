# SPDX-License-Identifier: BSD-2-Clause
"""Talks to the evaluator of SPF in postern's stead: filters/spf/spf_wire.h."""
import dataclasses
import ipaddress
import os
import socket
import struct
import subprocess

from harness.postern import binary, environment
from harness.spf_suite import ABSENT, TYPES, octets

RESULTS = ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror")
KINDS = {number: kind for kind, number in TYPES.items()}


@dataclasses.dataclass
class Result:
    result: str
    explanation: str
    mechanism: str
    problem: str
    questions: list     # (name, type) in the order in which they were asked


class Died(Exception):
    pass


class Evaluator:
    def __init__(self, program=None):
        program = program or os.path.join(os.path.dirname(binary()), "postern-spf")
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self.child = subprocess.Popen([program], stdin=its, stdout=its, stderr=subprocess.PIPE,
                                          env=environment())
        self.socket = ours
        self.socket.settimeout(30)

    def ask(self, message):
        """One reply, or Died."""
        try:
            self.socket.send(message)
            reply = self.socket.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            reply = b""
        if not reply:
            raise Died(self.child.wait(30))
        return reply

    def check(self, zone, host, helo, local, domain, receiver="receiver.test", explains=True):
        """One whole check, with answers from a zone."""
        message = head(host, helo, local, domain, receiver, explains)
        questions = []
        while True:
            reply = Reader(self.ask(message))
            assert reply.take(5) == b"R" + b"\0\0\0\7"
            if reply.take(1) == b"\0":
                break
            kind, name = KINDS[reply.take(1)[0]], reply.text()
            assert (name.lower(), kind) not in questions, "asked for what it had been told"
            questions.append((name.lower(), kind))
            status, records = zone.find(name, kind)
            message += answer(kind, status, name, [octets(kind, data) for data in records])
        return Result(RESULTS[reply.take(1)[0]], reply.text(), reply.text(), reply.text(), questions)

    def stop(self):
        """Its exit code at the end of the channel, and what it had to say."""
        self.socket.close()
        said = self.child.stderr.read()
        self.child.stderr.close()
        return self.child.wait(30), said.decode()


class Reader:
    def __init__(self, octets_in):
        self.rest = octets_in

    def take(self, length):
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def text(self):
        return self.take(struct.unpack("!H", self.take(2))[0]).decode("latin-1")


def text(value):
    octets_of = value if isinstance(value, bytes) else value.encode("utf-8")
    return struct.pack("!H", len(octets_of)) + octets_of


def head(host, helo, local, domain, receiver="receiver.test", explains=True, number=7):
    """A request without answers."""
    address = ipaddress.ip_address(host)
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return (b"Q" + struct.pack("!IB", number, 1 if address.version == 4 else 2)
            + address.packed.ljust(16, b"\0") + struct.pack("!QB", 1700000000, explains)
            + text(helo) + text(local) + text(domain) + text(domain) + text(receiver))


def answer(kind, status, name, records):
    return (bytes([TYPES[kind], status if records else status or ABSENT]) + text(name)
            + struct.pack("!H", len(records)) + b"".join(map(text, records)))

# SPDX-License-Identifier: BSD-2-Clause
"""A DNS server for the zones of harness/spf_suite.py, which can keep silent; over UDP and TCP."""
import socket
import struct
import threading

from harness.spf_suite import ABSENT, TEMPORARY, TYPES, octets, strings
from peers.record import Waiter

KINDS = {number: kind for kind, number in TYPES.items()}
CNAME, SOA = 5, 6
UDP_MAX = 512


def wire_name(name):
    return b"".join(bytes([len(label)]) + label
                    for label in name.encode("latin-1").strip(b".").split(b".") if label) + b"\0"


def record(name, number, data):
    """One that nobody may keep: the next zone has the same names."""
    return wire_name(name) + struct.pack("!HHIH", number, 1, 0, len(data)) + data


NOTHING = record(".", SOA, b"\0\0" + struct.pack("!5I", 1, 0, 0, 0, 0))


def data_of(kind, data):
    if kind == "TXT":
        pieces = [text[at:at + 255] for text in strings(data) for at in range(0, len(text) or 1, 255)]
        return b"".join(bytes([len(piece)]) + piece for piece in pieces)
    if kind == "MX":
        return struct.pack("!H", data[0]) + wire_name(data[1])
    return wire_name(data) if kind == "PTR" else octets(kind, data)


class SpfDns:
    """zone: what it answers from; may be replaced between two tests. Names that DNS has no answer for
    get SERVFAIL, or nothing where is_silent."""

    def __init__(self):
        self.zone = None
        self.is_silent = False
        self.asked = []                 # (name, type) of each query
        self._waiter = Waiter()
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(self.tcp.getsockname())
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.tcp.getsockname()[1]}"

    def wait_asked(self, name, kind):
        self._waiter.wait(lambda: (name, kind) in self.asked, f"a query for {name} {kind}", 30)

    def stop(self):
        self.udp.close()
        self.tcp.close()

    def _serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
                if reply := self._answer(query):
                    if len(reply) > UDP_MAX:     # the header and the question, and that it is cut
                        reply = reply[:2] + b"\x86" + reply[3:6] + bytes(6) + query[12:]
                    self.udp.sendto(reply, peer)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                peer, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_peer, args=[peer], daemon=True).start()

    def _serve_peer(self, peer):
        with peer:
            while length := peer.recv(2, socket.MSG_WAITALL):
                query = peer.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
                if reply := self._answer(query):
                    peer.sendall(struct.pack("!H", len(reply)) + reply)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        name, number = ".".join(labels), int.from_bytes(query[at + 1:at + 3], "big")
        kind, question = KINDS.get(number), query[12:at + 5]
        self.asked.append((name.lower(), kind))
        self._waiter.notify()
        status, records = self.zone.find(name, kind) if kind else (ABSENT, [])
        if status == TEMPORARY and self.is_silent:
            return None
        answers = b"".join(record(name, number, data_of(kind, data)) for data in records)
        return (query[:2] + b"\x84" + bytes([2 if status == TEMPORARY else 0])
                + struct.pack("!HHHH", 1, len(records), 0 if records else 1, 0)
                + question + (answers or NOTHING))

# SPDX-License-Identifier: BSD-2-Clause
"""A real DNS server (Knot) with the names that the tests use, and a silent one."""
import os
import pathlib
import pwd
import shutil
import socket
import tempfile
import threading

from harness.process import Process, free_port, is_root

# Who is who on the loopback network:
CLIENT = "127.0.0.2"            # client.example.test, forward-confirmed
TRUSTED = "127.0.0.9"           # trusted.example.test, in the tests' mynetworks
NAMELESS = "127.0.0.3"          # no PTR
MISMATCH = "127.0.0.4"          # a PTR whose name has another address
BROKEN = "127.0.0.6"            # its reverse zone answers SERVFAIL
BLOCKED = "127.0.0.13"          # no PTR; Postfix refuses the address
BLOCKED_NAME = "127.0.0.14"     # blocked.example.test; Postfix refuses the name
HOSTILE_CRLF = "127.0.0.20"     # PTRs with content that no host name has
HOSTILE_LONG = "127.0.0.21"
HOSTILE_IPV6 = "127.0.0.22"
HOSTILE_SPACE = "127.0.0.23"
HOSTILE_NUL = "127.0.0.24"
MANY_NAMES = "127.0.0.25"       # 40 PTRs, the last of them forward-confirmed
CNAME_CLIENT = "127.0.0.26"     # a reverse name that is a CNAME (RFC 2317)

HOSTILE = {
    HOSTILE_CRLF: "evil\r\nRCPT TO:<x@y>",
    HOSTILE_IPV6: "IPV6:::1",
    HOSTILE_SPACE: "two words ADDR=192.0.2.1",
    HOSTILE_NUL: "trusted.example.test\0",
}
BRIEF = "127.0.0.27"            # brief.example.test, for a second
# Domains that differ in nothing but their names: two MX hosts of equal preference.
TWINS = [f"twins{n}.example.test" for n in range(20)]
TWIN_HOSTS = ("127.0.0.1", "127.0.0.50")

LABEL63 = "a" * 63
LONG_NAME = ".".join([LABEL63] * 3 + ["b" * 61])        # 253 octets

ROOT_ZONE = """
$ORIGIN .
$TTL 60
@                           SOA ns.invalid. root.invalid. 1 3600 600 86400 60
@                           NS  ns.invalid.
ns.invalid.                 A   127.0.0.1

client.example.test.        A   127.0.0.2
trusted.example.test.       A   127.0.0.9
mismatch.example.test.      A   192.0.2.99
blocked.example.test.       A   127.0.0.14
six.example.test.           AAAA ::1
many.example.test.          A   127.0.0.25
alias.example.test.         A   127.0.0.26
target.example.test.        A   127.0.0.1
brief.example.test.   1     A   127.0.0.27
two-targets.example.test.   A   127.0.0.1
two-targets.example.test.   A   127.0.0.50
own.example.test.           A   127.0.0.1
null-mx.example.test.       MX  0 .
null-mx.example.test.       A   127.0.0.1
twin0.example.test.         A   127.0.0.1
twin1.example.test.         A   127.0.0.50

2.0.0.127.in-addr.arpa.     PTR client.example.test.
9.0.0.127.in-addr.arpa.     PTR trusted.example.test.
4.0.0.127.in-addr.arpa.     PTR mismatch.example.test.
14.0.0.127.in-addr.arpa.    PTR blocked.example.test.
27.0.0.127.in-addr.arpa. 1  PTR brief.example.test.
26.0.0.127.in-addr.arpa.    CNAME 26.net.example.test.
26.net.example.test.        PTR alias.example.test.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa. PTR six.example.test.

"""

CONF = """
server:
    listen: 127.0.0.1@{port}
    rundir: {root}
    {user}
database:
    storage: {root}
log:
  - target: stdout
    any: info
template:
  - id: default
    storage: {root}
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
    semantic-checks: soft
zone:
  - domain: .
    file: root.zone
  - domain: 6.0.0.127.in-addr.arpa
    file: missing.zone
"""


def _hostile_records():
    """Forward-confirmed reverse names; only their content is wrong."""
    names = {address: "".join(f"\\{ord(c):03d}" for c in label) + ".example.test"
             for address, label in HOSTILE.items()}
    names[HOSTILE_LONG] = LONG_NAME
    return "".join(f"{name}. A {address}\n{_reverse(address)} PTR {name}.\n"
                   for address, name in names.items())


def _twins():
    return "".join(f"{name}. MX 10 twin{n}.example.test.\n" for name in TWINS for n in (0, 1))


def _many_names():
    names = [f"wrong{n}.example.test." for n in range(39)] + ["many.example.test."]
    return "".join(f"{_reverse(MANY_NAMES)} PTR {name}\n" for name in names)


def _reverse(address):
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa."


class Dns:
    """Knot on 127.0.0.1, authoritative for everything, so that all else is NXDOMAIN."""

    def __init__(self):
        self.port = free_port()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="postern-dns-"))
        user = ""
        if is_root():
            os.chown(self.root, pwd.getpwnam("nobody").pw_uid, -1)
            user = "user: nobody:nogroup"
        (self.root / "root.zone").write_text(ROOT_ZONE + _hostile_records() + _many_names() + _twins())
        (self.root / "knot.conf").write_text(
            CONF.format(port=self.port, root=self.root, user=user))
        self.process = Process(["/usr/sbin/knotd", "-c", str(self.root / "knot.conf")])
        self.process.wait_line(r"server started")
        self.process.wait_line(r"\[\.\] loaded")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self.process.terminate()
        shutil.rmtree(self.root, ignore_errors=True)


class SilentDns:
    """Takes queries and does not answer until told to; knows how many have come."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self._taken = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            self._taken.append((data, peer))

    @property
    def queries(self):
        return len(self._taken)

    def answer_all(self):
        """SERVFAIL, late, to every query so far."""
        for data, peer in self._taken:
            self.sock.sendto(data[:2] + b"\x84\x02" + data[4:], peer)

    @property
    def address(self):
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def stop(self):
        self.sock.close()


class DnsTap:
    """Stands before a server and knows what it is asked; names in `broken` get SERVFAIL, and those
    that end in `silent` no answer. While `open` is not set nobody gets any."""

    def __init__(self, server, at=("127.0.0.1", 0)):
        self.broken = set()
        self.silent = None
        self.asked = []             # (name, type) of each query
        self.open = threading.Event()
        self.open.set()
        self.came = threading.Event()       # a query
        self._server = ("127.0.0.1", server.port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(at)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
                if answer := self._answer(query):
                    self.sock.sendto(answer, peer)
            except OSError:
                return

    def _answer(self, query):
        name, kind = _question(query)
        self.asked.append((name, kind))
        self.came.set()
        self.open.wait()
        if self.silent and name.endswith(self.silent):
            return None
        if name in self.broken:
            return query[:2] + b"\x84\x02" + query[4:]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.settimeout(10)
            upstream.sendto(query, self._server)
            return upstream.recv(4096)

    @property
    def address(self):
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def stop(self):
        self.open.set()
        self.sock.close()


def _question(query):
    """Its name, without the dot at the end, and its type."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
        at += 1 + query[at]
    return ".".join(labels), int.from_bytes(query[at + 1:at + 3], "big")

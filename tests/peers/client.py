# SPDX-License-Identifier: BSD-2-Clause
"""A scripted SMTP client: sends what it is told, when it is told, and reads replies."""
import fcntl
import socket
import struct
import sys
import termios
import time

from peers.record import Reply, Segment

PATIENCE_S = 15.0


def chunk(octets, is_last=False):
    """A BDAT command and what follows it."""
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if is_last else b"") + octets


def chunked(content, chunk_bytes):
    """A message as BDAT commands; the number of its chunks too."""
    pieces = [content[at:at + chunk_bytes] for at in range(0, len(content), chunk_bytes)] or [b""]
    return b"".join(chunk(piece) for piece in pieces[:-1]) + chunk(pieces[-1], True), len(pieces)


class Client:
    """One connection. Each method raises on a broken connection, as the socket does.

    server: (host, port); source: the local address to bind, e.g. 127.0.0.2.
    """

    def __init__(self, server, source=None, timeout_s=PATIENCE_S, receive_buffer_bytes=None):
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.sock = socket.socket(family)
        self.sock.settimeout(timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(server)
        self.segments = []
        self._buffer = b""

    @property
    def port(self):
        return self.sock.getsockname()[1]

    # -- octets --------------------------------------------------------------------------------

    def send(self, octets):
        self.sock.sendall(octets)

    def send_octet_by_octet(self, octets):
        for octet in octets:
            self.sock.sendall(bytes([octet]))

    def unacknowledged(self):
        """How many octets that were sent have not reached the server's kernel yet."""
        count = fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(count, sys.byteorder)

    def _receive(self):
        data = self.sock.recv(65536)
        self.segments.append(Segment(data))
        return data

    def reply(self):
        """The next reply; EOFError where the connection ends instead."""
        raw = b""
        while True:
            while b"\r\n" not in self._buffer:
                data = self._receive()
                if not data:
                    raise EOFError(f"closed after {raw + self._buffer!r}")
                self._buffer += data
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            raw += line + b"\r\n"
            if line[3:4] != b"-":
                return Reply(raw)

    def skip_replies(self, count):
        """Reads that many replies of one line each, all positive."""
        while True:
            lines = self._buffer.split(b"\r\n", count)
            assert all(line[:1] == b"2" for line in lines[:-1])
            count -= len(lines) - 1
            self._buffer = lines[-1]
            if count == 0:
                return
            self._buffer += self._receive()

    def has_reply_within(self, seconds):
        """Whether anything at all comes in that time."""
        if self._buffer:
            return True
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            data = self._receive()
            self._buffer += data
            return True
        except socket.timeout:
            return False
        finally:
            self.sock.settimeout(old)

    def is_closed(self):
        """Waits for the server's end of the connection; True when it came, nothing before it."""
        if self._buffer:
            return False
        try:
            return self._receive() == b""
        except ConnectionResetError:
            return True

    def rest(self):
        """Everything up to the end of the connection."""
        data, self._buffer = self._buffer, b""
        while True:
            try:
                more = self._receive()
            except ConnectionResetError:
                return data
            if not more:
                return data
            data += more

    # -- commands ------------------------------------------------------------------------------

    def command(self, line):
        self.send(line.encode("latin-1") + b"\r\n")
        return self.reply()

    def expect(self, code, line=None):
        """Sends a command (if given), asserts the code of its reply, returns the reply."""
        reply = self.command(line) if line is not None else self.reply()
        assert reply.code == code, f"{line!r} got {reply.raw!r}, expected {code}"
        return reply

    def secure(self, context, name="mx.example.test", session=None):
        """The TLS handshake; nothing unread may be left from before."""
        assert self._buffer == b""
        self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session)

    def start_tls(self, context, **options):
        """STARTTLS and the handshake."""
        self.expect(220, "STARTTLS")
        self.secure(context, **options)

    def hello(self, name="client.example.test"):
        """Greeting and EHLO; returns EHLO's reply."""
        self.expect(220)
        return self.expect(250, f"EHLO {name}")

    def linger(self, round_trips=60):
        """Gives the server that many turns, in which its own questions get answered."""
        for _ in range(round_trips):
            self.expect(250, "NOOP")

    def envelope(self, sender="sender@example.org", recipients=("joe@example.test",)):
        """MAIL and RCPTs, each reply awaited and positive."""
        self.expect(250, f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            self.expect(250, f"RCPT TO:<{recipient}>")

    def data(self, content):
        """DATA and the content (dots stuffed here); the final reply."""
        self.expect(354, "DATA")
        self.send(stuffed(content) + b".\r\n")
        return self.reply()

    def chunk(self, octets, is_last=False):
        """One BDAT and its octets, in one segment; its reply."""
        self.send(chunk(octets, is_last))
        return self.reply()

    def mail(self, content, sender="sender@example.org", recipients=("joe@example.test",)):
        """A whole transaction in lock-step; the final reply."""
        self.envelope(sender, recipients)
        return self.data(content)

    def pipelined(self, content, sender="sender@example.org", recipients=("joe@example.test",)):
        """A whole transaction with MAIL, RCPTs and DATA in one segment; all replies."""
        lines = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"]
        self.send("".join(line + "\r\n" for line in lines).encode("latin-1"))
        replies = [self.reply() for _ in lines]
        if replies[-1].code == 354:
            self.send(stuffed(content) + b".\r\n")
            replies.append(self.reply())
        return replies

    def quit(self):
        reply = self.expect(221, "QUIT")
        assert self.is_closed()
        self.close()
        return reply

    def close(self):
        self.sock.close()

    def reset(self):
        """Vanishes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def stuffed(content):
    """Content for DATA: CRLF at its end, a dot before each leading dot."""
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    parts = content.split(b"\r\n")
    return b"\r\n".join(b"." + p if p.startswith(b".") else p for p in parts)


def elapsed(function, *arguments):
    """(seconds, result) of a call."""
    start = time.monotonic()
    result = function(*arguments)
    return time.monotonic() - start, result

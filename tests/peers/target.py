# SPDX-License-Identifier: BSD-2-Clause
"""A scripted SMTP target: answers anything at any stage, breaks off at any octet, records all."""
import os
import socket
import struct
import threading
import time

from peers.answers import Answer, Say
from peers.record import Segment, Waiter

DEFAULT_EHLO = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")
XFORWARD = "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"
XCLIENT = "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"

STAGES = ("accept", "greeting", "EHLO", "HELO", "XCLIENT", "XFORWARD", "MAIL", "RCPT", "DATA",
          "content", "end", "BDAT", "last", "RSET", "NOOP", "QUIT", "other")

DEFAULT_ANSWERS = {
    "greeting": "220 target.example.test ESMTP",
    "HELO": "250 target.example.test",
    "XCLIENT": "220 target.example.test ESMTP",
    "XFORWARD": "250 2.0.0 Ok",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 go ahead",
    "end": "250 2.0.0 Ok: queued as {serial}",
    "BDAT": "250 2.0.0 Ok: chunk",
    "last": "250 2.0.0 Ok: queued as {serial}",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "other": "502 5.5.2 Error: command not recognized",
}


def code_of(answer):
    """The code that an answer says when it is complete; 0: it says none."""
    if isinstance(answer, Answer):
        return answer.code
    line = answer[-1] if isinstance(answer, (tuple, list)) else answer or "0"
    return int(line[:3])


class Gone(Exception):
    """The connection ended, by either side."""


class Transaction:
    """One MAIL as the target has seen it."""

    def __init__(self, mail, xforward):
        self.mail = mail
        self.xforward = xforward
        self.rcpts = []             # the lines, accepted or not
        self.content = b""          # dots unstuffed
        self.wire = b""             # the content as it came, with DATA
        self.framing = None         # "DATA" or "BDAT"
        self.chunks = []            # lengths of BDAT chunks
        self.is_ended = False       # the final dot or BDAT LAST has come
        self.is_accepted = False    # ... and was answered 2xx

    def __repr__(self):
        return f"Transaction({self.mail!r}, {self.rcpts!r}, {self.framing}, ended={self.is_ended})"


class Connection:
    """One accepted connection and everything that happened on it."""

    def __init__(self, target, sock, number, peer):
        self.target = target
        self.sock = sock
        self.number = number        # 0, 1, 2 ... in order of acceptance
        self.peer = peer
        self.segments = []          # received, one for each recv()
        self.sent = []              # one for each send()
        self.commands = []          # (time_s, line) without CRLF; not the content
        self.transactions = []
        self.proxy_header = None
        self.end = None             # "closed", "eof", "reset", "broken" once over
        self._buffer = bytearray()
        self._received_bytes = 0
        self._sent_bytes = 0
        self._pending_xforward = []
        self._chunks = []

    # -- the wire ----------------------------------------------------------------------------

    @property
    def received(self):
        return b"".join(s.data for s in self.segments)

    @property
    def lines(self):
        return [line for _, line in self.commands]

    @property
    def verbs(self):
        return [line.split(" ")[0].upper() for line in self.lines]

    def segment_with(self, octets):
        """The received segment in which these octets stand."""
        for segment in self.segments:
            if octets in segment.data:
                return segment
        raise AssertionError(f"{octets!r} in no single segment of {self.segments!r}")

    def send(self, octets):
        limit = self.target.break_after_sent
        if limit is not None and self._sent_bytes + len(octets) > limit:
            octets = octets[:limit - self._sent_bytes]
            self._send_now(octets)
            self.break_off()
        self._send_now(octets)

    def _send_now(self, octets):
        if not octets:
            return
        self.sent.append(Segment(octets))
        self._sent_bytes += len(octets)
        try:
            self.sock.sendall(octets)
        except OSError:
            self._over("reset")

    def _receive(self):
        limit = self.target.break_after_received
        size = 65536 if limit is None else max(1, min(65536, limit - self._received_bytes))
        try:
            data = self.sock.recv(size)
        except OSError:
            self._over("reset")
        if not data:
            self._over("eof")
        self.segments.append(Segment(data))
        self._received_bytes += len(data)
        self.target.waiter.notify()
        if limit is not None and self._received_bytes >= limit:
            self.break_off()
        return data

    def drain(self):
        while True:
            self._receive()

    def break_off(self):
        """As the target's `break_by` says: reset or close."""
        if self.target.break_by == "reset":
            self.reset()
        self.close()

    def close(self):
        self._over("closed")

    def reset(self):
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._over("broken")

    def _over(self, how):
        if self.end is None:
            self.end = how
        self.sock.close()
        self.target.waiter.notify()
        raise Gone(how)

    def _line(self):
        while b"\n" not in self._buffer:
            self._buffer += self._receive()
        line = self._octets(self._buffer.index(b"\n") + 1)
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def _octets(self, count):
        while len(self._buffer) < count:
            self._buffer += self._receive()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _until_dot(self):
        """The content up to CRLF . CRLF, dots still stuffed; nothing else ends it."""
        looked_bytes = 0
        while True:
            if self._buffer.startswith(b".\r\n"):
                return self._octets(3)[:0]
            end = self._buffer.find(b"\r\n.\r\n", looked_bytes)
            if end >= 0:
                content = self._octets(end + 2)
                self._octets(3)
                return content
            looked_bytes = max(0, len(self._buffer) - 4)
            self._buffer += self._receive()

    # -- the conversation ----------------------------------------------------------------------

    def perform(self, answer):
        """Acts as an answer says; returns the reply code, or 0 where none was sent."""
        if answer is None:
            return 0
        if isinstance(answer, Answer):
            answer.perform(self)
            return answer.code
        text = answer if isinstance(answer, (tuple, list)) else [answer]
        if "{serial}" in text[-1]:
            text = [*text[:-1], text[-1].replace("{serial}", self.target.serial())]
        Say(*text).perform(self)
        return code_of(answer)

    def answer(self, stage, line=""):
        return self.perform(self.target.next_answer(stage, self, line))

    def run(self):
        try:
            self.answer("accept")
            if self.target.proxy:
                self._read_proxy_header()
            self.answer("greeting")
            while True:
                self._command(self._line().decode("latin-1"))
        except Gone:
            pass
        finally:
            self.target.waiter.notify()

    def _read_proxy_header(self):
        start = self._octets(12)
        if start == b"\r\n\r\n\x00\r\nQUIT\n":
            head = self._octets(4)
            body = self._octets(struct.unpack(">H", head[2:])[0])
            self.proxy_header = start + head + body
        else:
            self.proxy_header = start + self._line() + b"\r\n"

    def _command(self, line):
        self.commands.append((time.monotonic(), line))
        self.target.waiter.notify()
        verb = line.split(" ")[0].upper()
        handler = getattr(self, "_on_" + verb.lower(), None)
        if handler:
            handler(line)
        else:
            self.answer(verb if verb in STAGES else "other", line)

    def _on_ehlo(self, line):
        if self.target.has_answer("EHLO"):
            self.answer("EHLO", line)
            return
        lines = ["target.example.test", *self.target.capabilities(self)]
        self.perform([f"250-{text}" for text in lines[:-1]] + [f"250 {lines[-1]}"])

    def _on_xforward(self, line):
        self._pending_xforward.append(line)
        self.answer("XFORWARD", line)

    def _on_mail(self, line):
        transaction = Transaction(line, self._pending_xforward)
        self._pending_xforward = []
        self.transactions.append(transaction)
        self.answer("MAIL", line)

    def _on_rcpt(self, line):
        if self.transactions:
            self.transactions[-1].rcpts.append(line)
        self.answer("RCPT", line)

    def _on_quit(self, line):
        self.answer("QUIT", line)
        if not self.target.has_answer("QUIT"):
            self.perform("221 2.0.0 Bye")
        self.close()

    def _on_data(self, line):
        if self.answer("DATA", line) // 100 != 3:
            return
        transaction = self.transactions[-1]
        transaction.framing = "DATA"
        self.answer("content")
        transaction.wire = self._until_dot()
        transaction.content = (b"\r\n" + transaction.wire).replace(b"\r\n.", b"\r\n")[2:]
        self._ended(transaction, "end")

    def _on_bdat(self, line):
        words = line.split(" ")
        transaction = self.transactions[-1]
        if transaction.framing is None:
            self._chunks = []
            transaction.framing = "BDAT"
            self.answer("content")
        transaction.chunks.append(int(words[1]))
        self._chunks.append(self._octets(int(words[1])))
        if len(words) > 2 and words[2].upper() == "LAST":
            transaction.content = b"".join(self._chunks)
            self._ended(transaction, "last")
        else:
            self.answer("BDAT", line)

    def _ended(self, transaction, stage):
        transaction.is_ended = True
        self.target.waiter.notify()
        answer = self.target.next_answer(stage, self, "")
        # Known before the reply can reach anybody: tests look when their client has it.
        transaction.is_accepted = code_of(answer) // 100 == 2
        self.perform(answer)
        self.target.waiter.notify()


class Target:
    """Listens and converses; `on` scripts it, before or while it runs.

    address: ("127.0.0.1", 0), ("::1", 0) or a path of a unix socket.
    ehlo: keywords, or a function of the connection that returns them.
    """

    def __init__(self, ehlo=DEFAULT_EHLO, address=("127.0.0.1", 0), proxy=False,
                 break_after_received=None, break_after_sent=None, break_by="close"):
        self.ehlo = ehlo
        self.proxy = proxy
        self.break_after_received = break_after_received
        self.break_after_sent = break_after_sent
        self.break_by = break_by
        self.connections = []
        self.waiter = Waiter()
        self.stopping = threading.Event()
        self._script = {}
        self._lock = threading.Lock()
        self._serial = 0
        self._address = address
        self._listener = None
        self.listen()

    # -- scripting -----------------------------------------------------------------------------

    def on(self, stage, *answers, repeat_last=True):
        """The answers of a stage in turn, over all connections; the last one stays.

        An answer is a reply line, a list of lines, an Answer, or a function
        (connection, line) that returns one of these. With repeat_last=False the
        default answer comes back after the last.
        """
        assert stage in STAGES, stage
        with self._lock:
            self._script[stage] = (list(answers), repeat_last)
        return self

    def has_answer(self, stage):
        with self._lock:
            return bool(self._script.get(stage, ([], True))[0])

    def next_answer(self, stage, connection, line):
        with self._lock:
            answers, repeat_last = self._script.get(stage, ([], True))
            if not answers:
                answer = DEFAULT_ANSWERS.get(stage)
            elif len(answers) > 1 or not repeat_last:
                answer = answers.pop(0)
            else:
                answer = answers[0]
        return answer(connection, line) if callable(answer) else answer

    def capabilities(self, connection):
        return self.ehlo(connection) if callable(self.ehlo) else self.ehlo

    def serial(self):
        with self._lock:
            self._serial += 1
            return f"T{self._serial}"

    # -- looking -------------------------------------------------------------------------------

    @property
    def transactions(self):
        return [t for c in self.connections for t in c.transactions]

    @property
    def accepted(self):
        """Transactions whose end of data was answered 2xx."""
        return [t for t in self.transactions if t.is_accepted]

    @property
    def ended(self):
        return [t for t in self.transactions if t.is_ended]

    @property
    def address(self):
        """As postern's `relay.address` takes it."""
        if isinstance(self._address, str):
            return "unix:" + self._address
        host, port = self._address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def port(self):
        return self._address[1]

    def wait(self, predicate, what="the awaited state", timeout_s=30.0):
        return self.waiter.wait(predicate, what, timeout_s)

    def wait_command(self, verb, count=1, timeout_s=30.0):
        return self.wait(lambda: sum(c.verbs.count(verb) for c in self.connections) >= count,
                         f"command {verb} number {count}", timeout_s)

    def wait_ended(self, count=1, timeout_s=30.0):
        self.wait(lambda: len(self.ended) >= count, f"end of data number {count}", timeout_s)
        return self.ended

    def wait_closed(self, count=1, timeout_s=30.0):
        """Until `count` connections are over."""
        return self.wait(lambda: sum(c.end is not None for c in self.connections) >= count,
                         f"end of {count} connections", timeout_s)

    # -- running -------------------------------------------------------------------------------

    def listen(self):
        """Opens the listener, again at the same address after unlisten()."""
        if isinstance(self._address, str):
            if os.path.exists(self._address):
                os.unlink(self._address)
            self._listener = socket.socket(socket.AF_UNIX)
        else:
            family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
            self._listener = socket.socket(family)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self._address)
        self._listener.listen(128)
        if isinstance(self._address, str):
            os.chmod(self._address, 0o666)
        else:
            self._address = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, len(self.connections), peer)
            self.connections.append(connection)
            self.waiter.notify()
            threading.Thread(target=connection.run, daemon=True).start()

    def unlisten(self):
        """Refuses new connections from now on; the open ones live."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def drop_all(self, by="close"):
        """Breaks every open connection."""
        for connection in self.connections:
            if connection.end is None:
                try:
                    if by == "reset":
                        linger = struct.pack("ii", 1, 0)
                        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        connection.sock.close()
                    else:
                        connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self.stopping.set()
        self.unlisten()
        self.drop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

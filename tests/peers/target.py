# SPDX-License-Identifier: BSD-2-Clause
"""A scripted SMTP target: answers anything at any stage, breaks off at any octet, records all."""
import struct
import time

from peers.answers import Answer, Say
from peers.server import Server, Wire

DEFAULT_EHLO = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES")
XFORWARD = "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"
XCLIENT = "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"
CHUNKING_EHLO = (*DEFAULT_EHLO, "CHUNKING")
FRAMINGS = {"DATA": DEFAULT_EHLO, "BDAT": CHUNKING_EHLO}

STAGES = ("accept", "greeting", "EHLO", "HELO", "STARTTLS", "AUTH", "XCLIENT", "XFORWARD", "MAIL", "RCPT",
          "DATA", "content", "end", "BDAT", "last", "RSET", "NOOP", "QUIT", "other")

DEFAULT_ANSWERS = {
    "greeting": "220 target.example.test ESMTP",
    "HELO": "250 target.example.test",
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "503 5.5.1 Error: authentication not enabled",
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


class Connection(Wire):
    """One accepted connection and everything that happened on it."""

    def __init__(self, server, sock, number, peer):
        super().__init__(server, sock, number, peer)
        self.commands = []          # (time_s, line) without CRLF; not the content
        self.transactions = []
        self.proxy_header = None
        self.tls = None             # (version, whether it was resumed), once it is encrypted
        self.tls_error = None       # why the handshake failed
        self._pending_xforward = []
        self._chunks = []

    # -- the wire ----------------------------------------------------------------------------

    @property
    def lines(self):
        return [line for _, line in self.commands]

    @property
    def verbs(self):
        return [line.split(" ")[0].upper() for line in self.lines]

    def _line(self):
        while b"\n" not in self._buffer:
            self._buffer += self._receive()
        line = self.read(self._buffer.index(b"\n") + 1)
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def read_line(self):
        """A line that is no command."""
        return self._line().decode("latin-1")

    def _until_dot(self):
        """The content up to CRLF . CRLF, dots still stuffed; nothing else ends it."""
        looked_bytes = 0
        while True:
            if self._buffer.startswith(b".\r\n"):
                return self.read(3)[:0]
            end = self._buffer.find(b"\r\n.\r\n", looked_bytes)
            if end >= 0:
                content = self.read(end + 2)
                self.read(3)
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
            text = [*text[:-1], text[-1].replace("{serial}", self.server.serial())]
        Say(*text).perform(self)
        return code_of(answer)

    def answer(self, stage, line=""):
        return self.perform(self.server.next_answer(stage, self, line))

    def converse(self):
        self.answer("accept")
        if self.server.proxy:
            self._read_proxy_header()
        self.answer("greeting")
        while True:
            self._command(self._line().decode("latin-1"))

    def _read_proxy_header(self):
        start = self.read(12)
        if start == b"\r\n\r\n\x00\r\nQUIT\n":
            head = self.read(4)
            body = self.read(struct.unpack(">H", head[2:])[0])
            self.proxy_header = start + head + body
        else:
            self.proxy_header = start + self._line() + b"\r\n"

    def _command(self, line):
        self.commands.append((time.monotonic(), line))
        self.server.waiter.notify()
        verb = line.split(" ")[0].upper()
        handler = getattr(self, "_on_" + verb.lower(), None)
        if handler:
            handler(line)
        else:
            self.answer(verb if verb in STAGES else "other", line)

    def _on_ehlo(self, line):
        if self.server.has_answer("EHLO"):
            self.answer("EHLO", line)
            return
        lines = ["target.example.test", *self.server.capabilities(self)]
        if self.server.tls and not self.tls:
            lines.append("STARTTLS")
        self.perform([f"250-{text}" for text in lines[:-1]] + [f"250 {lines[-1]}"])

    def _on_starttls(self, line):
        if self.answer("STARTTLS", line) == 220 and self.server.tls:
            try:
                self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
                self.tls = self.sock.version(), self.sock.session_reused
            except OSError as error:
                self.tls_error = str(error)
                self.server.waiter.notify()
                self.close()

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
        if not self.server.has_answer("QUIT"):
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
        self._chunks.append(self.read(int(words[1])))
        if len(words) > 2 and words[2].upper() == "LAST":
            transaction.content = b"".join(self._chunks)
            self._ended(transaction, "last")
        else:
            self.answer("BDAT", line)

    def _ended(self, transaction, stage):
        transaction.is_ended = True
        self.server.waiter.notify()
        answer = self.server.next_answer(stage, self, "")
        # Known before the reply can reach anybody: tests look when their client has it.
        transaction.is_accepted = code_of(answer) // 100 == 2
        self.perform(answer)
        self.server.waiter.notify()


class Target(Server):
    """An answer is a reply line, a list of lines, an Answer, or a function that returns one.

    ehlo: keywords, or a function of the connection that returns them.
    tls: an ssl.SSLContext; STARTTLS is announced, and done.
    """

    connection = Connection
    stages = STAGES

    def __init__(self, ehlo=DEFAULT_EHLO, address=("127.0.0.1", 0), proxy=False, tls=None,
                 **options):
        self.ehlo = ehlo
        self.proxy = proxy
        self.tls = tls
        self._serial = 0
        super().__init__(address, **options)

    def default_answer(self, stage, connection):
        return DEFAULT_ANSWERS.get(stage)

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

    def wait_command(self, verb, count=1, timeout_s=30.0):
        return self.wait(lambda: sum(c.verbs.count(verb) for c in self.connections) >= count,
                         f"command {verb} number {count}", timeout_s)

    def wait_ended(self, count=1, timeout_s=30.0):
        self.wait(lambda: len(self.ended) >= count, f"end of data number {count}", timeout_s)
        return self.ended

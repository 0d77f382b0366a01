# SPDX-License-Identifier: BSD-2-Clause
"""What a scripted server can do at a stage instead of sending one reply."""
import threading


class Answer:
    """Base: perform() acts on the connection; code is that of the reply it sends, 0: none."""

    code = 0

    def perform(self, connection):
        raise NotImplementedError


class Say(Answer):
    """Sends reply lines (str, CRLF added) or octets (bytes, as they are)."""

    def __init__(self, *parts):
        self.parts = parts

    def perform(self, connection):
        octets = b"".join(p if isinstance(p, bytes) else p.encode("latin-1") + b"\r\n"
                          for p in self.parts)
        connection.send(octets)


class Close(Answer):
    """Says `last` (if given) and closes in good order."""

    def __init__(self, *last):
        self.last = last

    def perform(self, connection):
        Say(*self.last).perform(connection)
        connection.close()


class CloseAfter(Answer):
    """Reads so many octets more, then closes."""

    def __init__(self, count):
        self.count = count

    def perform(self, connection):
        connection.read(self.count)
        connection.close()


class Reset(Answer):
    """Breaks the connection with a TCP reset."""

    def perform(self, connection):
        connection.reset()


class Silence(Answer):
    """Never answers, and reads nothing more until the other side goes away."""

    def perform(self, connection):
        connection.drain()


class Deaf(Answer):
    """Never answers and does not even read, so that the sender's window closes."""

    def perform(self, connection):
        connection.server.stopping.wait()


class Nothing(Answer):
    """Sends no reply, goes on reading."""

    def perform(self, connection):
        pass


class Hold(Answer):
    """Waits until release() is called, then gives `then`."""

    def __init__(self, then):
        self.then = then
        self.code = int(then[:3]) if isinstance(then, str) else 0
        self.reached = threading.Event()
        self._released = threading.Event()

    def release(self):
        self._released.set()

    def perform(self, connection):
        self.reached.set()
        connection.server.waiter.notify()
        while not self._released.wait(0.05):
            if connection.server.stopping.is_set():
                return
        connection.perform(self.then)


class Flood(Answer):
    """Sends `octets` over and over, up to `total_bytes`, or until the other side hangs up."""

    def __init__(self, octets, total_bytes):
        self.octets = octets
        self.total_bytes = total_bytes

    def perform(self, connection):
        block = self.octets * max(1, 65536 // len(self.octets))
        sent = 0
        while sent < self.total_bytes:
            connection.send(block)
            sent += len(block)


class Drip(Answer):
    """Sends the reply octet by octet, each in a segment of its own."""

    def __init__(self, reply):
        self.reply = reply
        self.code = int(reply[:3])

    def perform(self, connection):
        for octet in self.reply.encode("latin-1") + b"\r\n":
            connection.send(bytes([octet]))

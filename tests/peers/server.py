# SPDX-License-Identifier: BSD-2-Clause
"""What all scripted servers have: a listener, connections that record octets, answers in turn."""
import os
import socket
import struct
import threading

from peers.record import Segment, Waiter


class Gone(Exception):
    """The connection ended, by either side."""


class Wire:
    """One accepted connection: its octets, both ways."""

    def __init__(self, server, sock, number, peer):
        self.server = server
        self.sock = sock
        self.number = number        # 0, 1, 2 ... in order of acceptance
        self.peer = peer
        self.segments = []          # received, one for each recv()
        self.sent = []              # one for each send()
        self.end = None             # "closed", "eof", "reset", "broken" once over
        self._buffer = bytearray()
        self._received_bytes = 0
        self._sent_bytes = 0

    @property
    def received(self):
        return b"".join(s.data for s in self.segments)

    def segment_with(self, octets):
        """The received segment in which these octets stand."""
        for segment in self.segments:
            if octets in segment.data:
                return segment
        raise AssertionError(f"{octets!r} in no single segment of {self.segments!r}")

    def send(self, octets):
        limit = self.server.break_after_sent
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
        limit = self.server.break_after_received
        size = 65536 if limit is None else max(1, min(65536, limit - self._received_bytes))
        try:
            data = self.sock.recv(size)
        except OSError:
            self._over("reset")
        if not data:
            self._over("eof")
        self.segments.append(Segment(data))
        self._received_bytes += len(data)
        self.server.waiter.notify()
        if limit is not None and self._received_bytes >= limit:
            self.break_off()
        return data

    def read(self, count):
        while len(self._buffer) < count:
            self._buffer += self._receive()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def drain(self):
        while True:
            self._receive()

    def break_off(self):
        """As the server's `break_by` says: reset or close."""
        if self.server.break_by == "reset":
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
        self.server.waiter.notify()
        raise Gone(how)

    def run(self):
        """The conversation, from the first octet to the end, which is no error."""
        try:
            self.converse()
        except Gone:
            pass
        finally:
            self.server.waiter.notify()

    def converse(self):
        raise NotImplementedError


class Server:
    """Listens and converses; `on` scripts it, before or while it runs.

    connection: the class of its connections; stages: at which `on` may script them.
    address: ("127.0.0.1", 0), ("::1", 0) or a path of a unix socket.
    """

    connection = None
    stages = ()

    def __init__(self, address=("127.0.0.1", 0), break_after_received=None, break_after_sent=None,
                 break_by="close"):
        self.break_after_received = break_after_received
        self.break_after_sent = break_after_sent
        self.break_by = break_by
        self.connections = []
        self.waiter = Waiter()
        self.stopping = threading.Event()
        self._script = {}
        self._lock = threading.Lock()
        self._address = address
        self._listener = None
        self.listen()

    # -- scripting -----------------------------------------------------------------------------

    def on(self, stage, *answers, repeat_last=True):
        """The answers of a stage in turn, over all connections; the last one stays.

        An answer is what the connection can perform(), or a function (connection, what came)
        that returns one. With repeat_last=False the default answer comes back after the last.
        """
        assert stage in self.stages, stage
        with self._lock:
            self._script[stage] = (list(answers), repeat_last)
        return self

    def has_answer(self, stage):
        with self._lock:
            return bool(self._script.get(stage, ([], True))[0])

    def next_answer(self, stage, connection, what):
        with self._lock:
            answers, repeat_last = self._script.get(stage, ([], True))
            if not answers:
                answer = self.default_answer(stage, connection)
            elif len(answers) > 1 or not repeat_last:
                answer = answers.pop(0)
            else:
                answer = answers[0]
        return answer(connection, what) if callable(answer) else answer

    def default_answer(self, stage, connection):
        raise NotImplementedError

    # -- looking -------------------------------------------------------------------------------

    @property
    def address(self):
        """As postern's `address` takes it."""
        if isinstance(self._address, str):
            return "unix:" + self._address
        host, port = self._address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def port(self):
        return self._address[1]

    def wait(self, predicate, what="the awaited state", timeout_s=30.0):
        return self.waiter.wait(predicate, what, timeout_s)

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
            connection = self.connection(self, sock, len(self.connections), peer)
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

# SPDX-License-Identifier: BSD-2-Clause
"""A TLS client whose octets on the wire are the test's own: cut, split, merged."""
import ssl

from peers.client import Client


class RawTls(Client):
    """STARTTLS at a server that has just been connected to. pieces: how many octets go into one
    segment; limit: after so many octets of TLS the connection is cut off."""

    def __init__(self, server, context, pieces=None, limit=None, name="mx.example.test"):
        super().__init__(server)
        self._pieces = pieces
        self.left = limit
        self.sent = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.hello()
        self.expect(220, "STARTTLS")
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._do(self._tls.do_handshake)

    def send(self, octets):
        if not hasattr(self, "_tls"):
            super().send(octets)
            return
        self._tls.write(octets)
        self._flush()

    def _receive(self):
        if not hasattr(self, "_tls"):
            return super()._receive()
        return self._do(lambda: self._tls.read(65536))

    def _do(self, step):
        while True:
            try:
                done = step()
                self._flush()
                return done
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    self._incoming.write_eof()
                self._incoming.write(data)
            except ssl.SSLZeroReturnError:
                return b""

    def _flush(self):
        octets = self._outgoing.read()
        while octets:
            now = octets[:self._pieces or len(octets)]
            octets = octets[len(now):]
            if self.left is not None:
                now = now[:self.left]
                self.left -= len(now)
            self.sock.sendall(now)
            self.sent += len(now)
            if self.left == 0:
                raise EOFError("cut off")

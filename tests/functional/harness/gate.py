# SPDX-License-Identifier: BSD-2-Clause
"""Stands in front of a server; shut, it resets all connections and lets none in."""
import contextlib
import selectors
import socket
import struct
import threading


class Gate:
    """One address that leads to `server` while it is open."""

    def __init__(self, server):
        self.server = server
        self._lock = threading.Lock()
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port = self._listener.getsockname()[1]
        self._serve()

    @property
    def address(self):
        return f"127.0.0.1:{self._port}"

    def _serve(self):
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def open(self):
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        self._serve()

    def shut(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _reset(pair)

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                pair = (client, socket.create_connection(self.server, 5))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append(pair)
                is_late = listener is not self._listener or listener.fileno() < 0
            if is_late:
                _reset(pair)
            threading.Thread(target=self._pass, args=(pair,), daemon=True).start()

    def _pass(self, pair):
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for sock, other in (pair, pair[::-1]):
                ready.register(sock, selectors.EVENT_READ, other)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)
                    if not data:
                        raise ConnectionError
                    key.data.sendall(data)
        for sock in pair:
            sock.close()
        with self._lock:
            if pair in self._pairs:
                self._pairs.remove(pair)


def _reset(pair):
    for sock in pair:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.shutdown(socket.SHUT_RDWR)

# SPDX-License-Identifier: BSD-2-Clause
"""Stands between postern and a server, and cuts connections after a certain octet."""
import socket
import threading

TO_SERVER, TO_POSTERN = "to the server", "to postern"
EVERYTHING = 1 << 40


class Cut:
    """One address. Its first connection is cut; those that follow are turned away until
    release(), and pass from then on.

    direction, octets: after how many octets that way. What had come by then is passed on.
    """

    def __init__(self, server, direction, octets):
        self.server, self.direction, self.octets = server, direction, octets
        self.passed = {TO_SERVER: b"", TO_POSTERN: b""}   # of the first connection
        self.is_over = threading.Event()                  # the first connection is
        self._is_released = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self._listener.getsockname()[1]

    def release(self):
        self._is_released = True

    def close(self):
        self._listener.close()

    def _serve(self):
        is_first = True
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if is_first:
                self._pass_on(client, self.direction, self.octets, self.passed)
            elif self._is_released:
                threading.Thread(target=self._pass_on, daemon=True, args=(
                    client, TO_SERVER, EVERYTHING, {TO_SERVER: b"", TO_POSTERN: b""})).start()
            else:
                client.close()
            is_first = False
            self.is_over.set()

    def _pass_on(self, client, direction, octets, passed):
        """Until either side ends, or the cut is reached. The server sees an orderly end behind what
        it got, and may still act on that."""
        limits = {way: octets if way == direction else EVERYTHING for way in passed}
        with socket.create_connection(self.server) as server, client:
            ends = {TO_SERVER: (client, server), TO_POSTERN: (server, client)}
            is_cut = threading.Event()

            def flow(way):
                source, sink = ends[way]
                is_last = False
                while not is_last:
                    room = limits[way] - len(passed[way])
                    data = source.recv(min(room, 65536)) if room else b""
                    if is_cut.is_set():
                        return              # the other way was cut, and ends this one
                    is_last = not data or len(data) == room
                    if is_last:
                        is_cut.set()        # before anybody can answer these octets
                    passed[way] += data
                    sink.sendall(data)
                end()

            def end():
                _shut(client, socket.SHUT_RDWR)
                _shut(server, socket.SHUT_WR)

            def quiet_flow(way):
                try:
                    flow(way)
                except OSError:
                    is_cut.set()
                    end()

            other = threading.Thread(target=quiet_flow, args=(TO_POSTERN,), daemon=True)
            other.start()
            quiet_flow(TO_SERVER)
            other.join()
            _drain(server)


def _shut(sock, how):
    try:
        sock.shutdown(how)
    except OSError:
        pass


def _drain(sock):
    """Reads to the end: the server has done by then what it does."""
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass

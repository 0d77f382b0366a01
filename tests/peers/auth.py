# SPDX-License-Identifier: BSD-2-Clause
"""What a scripted target says to AUTH."""
import base64
import hashlib
import hmac

from peers.answers import Answer


def encoded(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def decoded(line):
    return base64.b64decode(line.encode(), validate=True).decode()


class Exchange(Answer):
    """Says each reply in turn and reads a line behind each 334. What came is in `heard`, with the
    AUTH command as its first line; what is no str is performed."""

    def __init__(self, *replies):
        self.replies = replies
        self.heard = []

    def perform(self, connection):
        self.heard = [connection.lines[-1]]
        for reply in self.replies:
            if connection.perform(reply) == 334:
                self.heard.append(connection.read_line())


class Scram(Answer):
    """The server's side of SCRAM-SHA-256 (RFC 5802, 7677), with a flaw: "rounds" are any number,
    "signature" is another's, "silent" says 235 without one, "nonce" is not the client's."""

    salt = b"sixteen octets.."

    def __init__(self, password, flaw=None, rounds=4096):
        self.password = password
        self.flaw = flaw
        self.rounds = rounds
        self.heard = []

    def perform(self, connection):
        command = connection.lines[-1]
        bare = decoded(command.split(" ")[2])[3:]
        nonce = dict(f.split("=", 1) for f in bare.split(","))["r"] + "more"
        if self.flaw == "nonce":
            nonce = "another"
        first = f"r={nonce},s={encoded(self.salt)},i={self.rounds}"
        connection.perform("334 " + encoded(first))
        line = connection.read_line()
        self.heard = [command, line]
        if line == "*":
            connection.perform("501 5.7.0 given up")
            return
        final = decoded(line)
        without_proof, _, proof = final.rpartition(",p=")
        message = f"{bare},{first},{without_proof}".encode()
        if not self._is_good(message, base64.b64decode(proof)):
            connection.perform("535 5.7.8 no")
            return
        if self.flaw == "silent":
            connection.perform("235 2.7.0 yes")
            return
        key = b"another" if self.flaw == "signature" else self._hmac(self._salted(), b"Server Key")
        connection.perform("334 " + encoded("v=" + encoded(self._hmac(key, message))))
        self.heard.append(connection.read_line())
        connection.perform("501 5.7.0 given up" if self.heard[-1] == "*" else "235 2.7.0 yes")

    def _hmac(self, key, text):
        return hmac.digest(key, text, "sha256")

    def _salted(self):
        return hashlib.pbkdf2_hmac("sha256", self.password.encode(), self.salt, self.rounds)

    def _is_good(self, message, proof):
        client_key = self._hmac(self._salted(), b"Client Key")
        stored = hashlib.sha256(client_key).digest()
        signature = self._hmac(stored, message)
        return proof == bytes(a ^ b for a, b in zip(client_key, signature))

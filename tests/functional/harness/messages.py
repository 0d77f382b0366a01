# SPDX-License-Identifier: BSD-2-Clause
"""Messages to send, with CRLF, and what a store that keeps LF makes of them."""
import random

HEADER = (b"From: Sender <sender@example.org>\r\nTo: Joe <joe@example.test>\r\n"
          b"Subject: a message\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n"
          b"Message-ID: <1@example.org>\r\n")

PLAIN_MESSAGE = HEADER + b"\r\nHello.\r\n"

# Dots at every place, an empty line at the end, trailing white space.
DOTTED_MESSAGE = HEADER + (b"\r\n.\r\n..\r\n...\r\n.leading\r\ntrail. \r\n\t\r\n"
                           b".\r\n\r\n.x\r\n\r\n")

# NUL, every octet above 127, a line far beyond 998 octets.
ODD_MESSAGE = HEADER + (b"\r\nnul \x00 inside\r\n" + bytes(range(128, 256)) + b"\r\n"
                        + b"long " * 1000 + b"\r\n.\r\nend\r\n")


def big_message(size_bytes, seed=1):
    """About that many octets of lines of all lengths up to 900, some with leading dots."""
    source = random.Random(seed)
    letters = bytes(octet for octet in range(33, 127) if octet not in b"\\%")   # swaks reads these
    parts, length = [HEADER + b"\r\n"], 0
    while length < size_bytes:
        line = source.choice((b"", b".", b"..", b"x")) + bytes(
            source.choices(letters, k=source.choice((0, 1, 60, 78, 900))))
        parts.append(line + b"\r\n")
        length += len(line) + 2
    return b"".join(parts)


def as_stored(message):
    """The same message as it lies in a Maildir: LF alone."""
    return message.replace(b"\r\n", b"\n")

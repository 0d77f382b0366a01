# SPDX-License-Identifier: BSD-2-Clause
"""Small readings of what went over the wire."""
import re


def attributes(line):
    """NAME=value pairs of an XCLIENT or XFORWARD line, xtext undone."""
    pairs = (word.partition("=") for word in line.split(" ")[1:])
    return {name: re.sub(r"\+([0-9A-Fa-f]{2})", lambda m: chr(int(m.group(1), 16)), value)
            for name, _, value in pairs}


def xforward(transaction):
    """All attributes that were forwarded for a transaction at a scripted target."""
    merged = {}
    for line in transaction.xforward:
        merged.update(attributes(line))
    return merged


def ehlo_arguments(connection):
    return [line.split(" ")[1] for line in connection.lines if line.startswith("EHLO ")]


def keywords(reply):
    """What an EHLO reply announces: keyword -> parameter."""
    return {text.split(" ")[0]: text.partition(" ")[2] for text in reply.texts[1:]}


def unfolded_fields(content):
    """(name, value) of the header of a message with CRLF."""
    head = content.split(b"\r\n\r\n")[0].decode("latin-1")
    head = re.sub(r"\r\n[ \t]+", " ", head)
    return [tuple(part.strip() for part in line.split(":", 1)) for line in head.split("\r\n")]


def without_received(content, host="postern.example.test"):
    """(value of the topmost Received line, the rest); asserts that it is `host`'s."""
    match = re.match(rb"Received: (.*(?:\r\n[ \t].*)*)\r\n", content)
    assert match, f"no Received on top of {content[:200]!r}"
    value = re.sub(r"\r\n[ \t]+", " ", match.group(1).decode("latin-1"))
    assert f"by {host}" in value, value
    return value, content[match.end():]

# SPDX-License-Identifier: BSD-2-Clause
"""Messages as they lie in a Maildir."""
import pathlib

# Header fields that delivery puts on top; what follows them is the message as it was sent.
TRACE = (b"return-path", b"x-original-to", b"delivered-to", b"received")


class Message:
    """One file; `fields` are (name, value) of its header, values unfolded."""

    def __init__(self, path):
        self.path = path
        self.raw = path.read_bytes()
        self.fields, self.trace_count, self.sent = _taken_apart(self.raw)

    def values(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    @property
    def received(self):
        """All Received lines, the youngest first."""
        return self.values("Received")


class Maildir:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def _list(self, folder):
        directory = self.path / folder
        return sorted(directory.iterdir()) if directory.is_dir() else []

    def messages(self):
        return [Message(path) for path in self._list("new")]

    def unfinished(self):
        return self._list("tmp")


def _taken_apart(raw):
    """(fields, number of trace fields on top, octets from the first other field on)."""
    head_end = raw.find(b"\n\n")
    head = raw if head_end < 0 else raw[:head_end + 1]
    fields, starts, position = [], [], 0
    for line in head.splitlines(keepends=True):
        if line[:1] in b" \t" and fields:
            fields[-1][1] += b" " + line.strip()
        else:
            name, _, value = line.partition(b":")
            fields.append([name, value.strip()])
            starts.append(position)
        position += len(line)
    count = 0
    while count < len(fields) and fields[count][0].lower() in TRACE:
        count += 1
    sent = raw[starts[count]:] if count < len(fields) else raw[position:]
    decoded = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]
    return decoded, count, sent

# SPDX-License-Identifier: BSD-2-Clause
"""What a peer has seen: octets with their times, and a way to wait for more of them."""
import re
import threading
import time

PATIENCE_S = 10.0


class Waiter:
    """A condition that records notify and tests wait on; never a sleep."""

    def __init__(self):
        self._changed = threading.Condition()

    def notify(self):
        with self._changed:
            self._changed.notify_all()

    def wait(self, predicate, what="the awaited state", timeout_s=PATIENCE_S):
        """The first true value of predicate(); AssertionError after timeout_s."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                value = predicate()
                if value:
                    return value
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} did not come within {timeout_s} s")
                self._changed.wait(left)


class Segment:
    """Octets as one recv() returned or one send() took them."""

    def __init__(self, data):
        self.data = data
        self.time_s = time.monotonic()

    def __repr__(self):
        return f"Segment({self.data!r})"


class Reply:
    """One SMTP reply, all its lines."""

    def __init__(self, raw):
        self.raw = raw
        self.lines = raw.decode("latin-1").split("\r\n")[:-1]
        self.code = int(self.lines[-1][:3])
        self.texts = [line[4:] for line in self.lines]
        self.text = self.texts[-1]

    @property
    def enhanced(self):
        match = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)", self.text)
        return match.group(0) if match else None

    @property
    def line(self):
        """The last line as it was sent, without CRLF."""
        return self.lines[-1]

    def __repr__(self):
        return f"Reply({self.raw!r})"

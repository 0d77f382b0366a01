# SPDX-License-Identifier: BSD-2-Clause
"""Runs posternctl, and reads what it prints."""
import json
import pathlib
import re
import subprocess
import time

from harness.postern import SANITIZER, binary, environment

ID = re.compile(r"\b[0-9B-DF-HJ-NP-TV-Z]{16}\b")


def program():
    return str(pathlib.Path(binary()).with_name("posternctl"))


def run(*arguments, timeout_s=30):
    """One run; the CompletedProcess, with octets."""
    done = subprocess.run([program(), *map(str, arguments)], capture_output=True,
                          env=environment(), timeout=timeout_s, check=False,
                          stdin=subprocess.DEVNULL)
    assert not SANITIZER.search(done.stderr.decode("utf-8", "replace")), done.stderr
    return done


class Control:
    """posternctl for one postern, whether that runs or not."""

    def __init__(self, server):
        self.server = server

    def run(self, *words):
        return run("-c", self.server.config, *words)

    def text(self, *words, code=0):
        """What it prints; asserts the exit code. Tries again while it says so."""
        end = time.monotonic() + 20
        done = self.run(*words)
        while done.returncode == 75 and code == 0 and time.monotonic() < end:
            done = self.run(*words)
        assert done.returncode == code, f"{words}: {done}"
        return done.stdout.decode("ascii")

    def json(self, *words, code=0):
        """The same as a list of objects."""
        return [json.loads(line) for line in self.text("--json", *words, code=code).splitlines()]

    def error(self, code, *words):
        """Asserts that it fails with that code and prints nothing; what it says."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (code, b""), f"{words}: {done}"
        return done.stderr.decode()

    def wait_queue(self, ids, timeout_s=20.0):
        """Until the queue holds these and no others."""
        end = time.monotonic() + timeout_s
        while set(self.queue()) != set(ids):
            assert time.monotonic() < end, f"{self.queue()} instead of {ids}"

    def wait_state(self, one, state, timeout_s=20.0):
        """Until that message is in this state; its entry."""
        end = time.monotonic() + timeout_s
        while (entry := self.queue()[one])["state"] != state:
            assert time.monotonic() < end, f"{entry} instead of {state}"
        return entry

    def queue(self):
        """The entries of the queue by id; of several targets, the last one."""
        return {entry["id"]: entry for entry in self.json("queue")}


def queue_id(reply):
    """postern's own id in its 250."""
    found = ID.search(reply.text)
    assert reply.code == 250 and found, f"no id in {reply.raw!r}"
    return found.group(0)

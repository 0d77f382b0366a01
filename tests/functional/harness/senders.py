# SPDX-License-Identifier: BSD-2-Clause
"""Mail programs that people really use, run against a port."""
import re
import subprocess


class Swaks:
    """One run of swaks; `lines` is its transcript."""

    def __init__(self, server, sender="sender@example.org", recipients=("joe@example.test",),
                 data=None, source=None, helo="client.example.test", options=()):
        arguments = ["swaks", "--server", server[0], "--port", str(server[1]), "--from", sender,
                     "--to", ",".join(recipients), "--helo", helo]
        if source:
            arguments += ["--local-interface", source]
        if data is not None:
            arguments += ["--data", "-"]
        if data is not None:
            data = data.removesuffix(b"\r\n")     # swaks adds one itself
        run = subprocess.run([*arguments, *options], input=data, capture_output=True,
                             timeout=60, check=False)
        self.exit_code = run.returncode
        self.output = (run.stdout + run.stderr).decode("utf-8", "replace")
        self.lines = self.output.splitlines()

    def replies(self, code):
        """The texts of replies with that code, as `250 text`."""
        return [m.group(1) for m in (re.match(rf"<[-~*]+\s+({code}[ -].*)", line)
                                     for line in self.lines) if m]

    @property
    def final(self):
        """The reply to the end of data."""
        place = max(i for i, line in enumerate(self.lines) if line.startswith(" -> ."))
        return next(m.group(1) for m in (re.match(r"<[-~*]+\s+(\d\d\d .*)", line)
                                         for line in self.lines[place:]) if m)


def smtp_source(server, messages=1, sessions=1, length=4096, recipient="bulk@example.test",
                sender="sender@example.org", options=()):
    """Postfix's load generator; fails where the server refuses anything."""
    run = subprocess.run(
        ["smtp-source", "-m", str(messages), "-s", str(sessions), "-l", str(length),
         "-f", sender, "-t", recipient, *options, f"inet:{server[0]}:{server[1]}"],
        capture_output=True, timeout=120, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr).decode("utf-8", "replace")

# SPDX-License-Identifier: BSD-2-Clause
"""Starts postern with a configuration, waits for its log lines, sees to it that it ends well."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap

from harness.process import Process, free_port, is_root
from harness.recipe import TOP
from peers.client import Client

HOSTNAME = "postern.example.test"
# The listener of whoever calls wait_named().
PATIENT = "max-errors = 1000000\nmax-junk-commands = 1000000\n"
SANITIZER = re.compile(r"ERROR: (Address|Leak|Undefined)\w*Sanitizer|runtime error:"
                       r"|LeakSanitizer has encountered")

ASAN_OPTIONS = "detect_leaks=1:exitcode=99:handle_abort=1"


def binary():
    """POSTERN from the environment, else the sanitizer build, else the plain one."""
    named = os.environ.get("POSTERN")
    candidates = [named] if named else [TOP / "build/asan/postern", TOP / "build/postern"]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise AssertionError(f"no postern to test at {candidates}")


def environment(more=None):
    added = {"ASAN_OPTIONS": ASAN_OPTIONS,
             "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}
    return {**os.environ, **added, **(more or {})}


def run(*arguments, timeout_s=30):
    """One run of the program that ends by itself; the CompletedProcess."""
    done = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True,
                          env=environment(), timeout=timeout_s, check=False,
                          stdin=subprocess.DEVNULL)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


class Postern:
    """A running postern.

    text: the configuration after [core] and the listener; core, smtpd: more lines in these.
    The listener is called "mx" and is at self.server.
    has_words: its filters are those of tests/unit/words_kind.c.
    is_measured: its memory is looked at, so a sanitizer keeps little of what was freed.
    """

    def __init__(self, text, resolver, core="", smtpd="", flags=(), log_format="text",
                 is_started=True, faults=None, has_words=False, is_measured=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="postern-test-"))
        os.chmod(self.directory, 0o755)
        self.port = free_port()
        self.config = self.directory / "postern.cf"
        self.log_format = log_format
        self.faults = faults
        self.more_environment = faults.environment if faults else None
        if is_measured:
            self.more_environment = {"ASAN_OPTIONS": ASAN_OPTIONS + ":quarantine_size_mb=1"}
        self.program = binary()
        if has_words:
            self.program = str(pathlib.Path(binary()).parent / "tests/functional/postern")
        if is_root() and "user-id" not in core:
            core = "user-id = root\n" + core
        if "workers" not in core:
            core = "workers = 0\n" + core
        if "shutdown-timeout" not in core:
            core = "shutdown-timeout = 5s\n" + core
        self.config.write_text(
            f"[core]\nhostname = {HOSTNAME}\nspool-directory = {self.directory}/spool\n"
            f"resolver = {resolver}\nlog-format = {log_format}\n{core}\n"
            f"[smtpd \"mx\"]\nname = {HOSTNAME}\nlisten-port = 127.0.0.1:{self.port}\n"
            + textwrap.dedent(smtpd) + "\n" + textwrap.dedent(text))
        self.flags = [f"--config={self.config}", *flags]
        self.process = None
        self.is_over = False
        if is_started:
            self.start()

    def start(self, is_logging_to_stderr=True):
        self.process = Process([self.program, *self.flags],
                               environment=environment(self.more_environment))
        if is_logging_to_stderr:
            self.wait_event("start")

    # -- talking to it -------------------------------------------------------------------------

    @property
    def server(self):
        return ("127.0.0.1", self.port)

    def client(self, source=None, **options):
        return Client(self.server, source=source, **options)

    # -- its log -------------------------------------------------------------------------------

    @property
    def log(self):
        return self.process

    def events(self, name, since=0):
        """The log lines of one kind, as dictionaries."""
        parsed = (parse(line, self.log_format) for line in self.log.lines[since:])
        return [fields for fields in parsed if fields.get("event") == name]

    def wait_event(self, name, count=1, since=0, timeout_s=30.0):
        """The count-th event of that name, as a dictionary."""
        self.log.wait_line(event_pattern(name, self.log_format), since, count, timeout_s)
        return self.events(name, since)[count - 1]

    def wait_transaction(self, count=1):
        """The count-th closing line of a transaction."""
        return self.wait_event("transaction", count)

    def wait_named(self, client):
        """Until reverse DNS of that client has been answered; each refused command shows it."""
        while True:
            mark = self.log.mark()
            client.expect(502, "TURN")
            if self.wait_event("reject", since=mark)["name"] != "[TEMPUNAVAIL]":
                return

    # -- its end -------------------------------------------------------------------------------

    def check(self, *more):
        """What --check says of this configuration."""
        return run(*self.flags, "--check", *more)

    def descriptors(self):
        """Open file descriptors, by number. One that is closed meanwhile is none."""
        folder = f"/proc/{self.process.child.pid}/fd"
        found = {}
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                found[int(number)] = os.readlink(f"{folder}/{number}")
        return found

    def resident_bytes(self):
        with open(f"/proc/{self.process.child.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number=signal.SIGTERM, timeout_s=20.0):
        """Ends it by a signal; exit code 0 and no word from a sanitizer."""
        if self.is_over or self.process is None:
            return
        if self.process.is_running:
            self.process.signal(number)
        self.wait_stopped(timeout_s)

    def wait_stopped(self, timeout_s=20.0):
        """The same without a signal: it has had one."""
        self.is_over = True
        code = self.process.wait_exit(timeout_s)
        assert not SANITIZER.search(self.log.output), self.log.output
        assert code == 0, f"exit code {code}; the log:\n{self.log.output}"

    def remove(self):
        if self.process is not None and self.process.is_running:
            self.process.child.kill()
            self.process.wait_exit()
        shutil.rmtree(self.directory, ignore_errors=True)


def event_pattern(name, log_format="text"):
    """What a log line of that event matches: its second word, behind the time."""
    return rf'"event": ?"{name}"' if log_format == "json" else rf"^[-0-9T:.]+Z {name}( |$)"


def parse(line, log_format="text"):
    """A log line as a dictionary of texts; its event under "event"."""
    if log_format == "json":
        try:
            return json.loads(line)
        except ValueError:
            return {}
    pairs = re.findall(r'([A-Za-z][\w.-]*)=("(?:[^"\\]|\\.)*"|\S*)', line)
    fields = {key: _unquoted(value) for key, value in pairs}
    event = re.match(r"[-0-9T:.]+Z (\S+)", line)
    return {**fields, "event": event.group(1)} if event else fields


def _unquoted(value):
    if value[:1] != '"':
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])

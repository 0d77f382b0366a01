# SPDX-License-Identifier: BSD-2-Clause
"""Starts postern-milter, and sees to it that it ends well."""
import os
import pathlib
import subprocess

from harness.postern import HOSTNAME, Postern, binary, environment
from harness.process import Process, free_port, is_root

SECTION = '[milter-server "filters"]\nlisten = {listen}\nfilter = {filters}\n'
SETTINGS = {"milter_default_action": "tempfail", "milter_protocol": "6"}


def program(kind=""):
    """postern-milter beside the postern under test; kind "words": that with tests/unit/words_kind.c."""
    folder = pathlib.Path(binary()).parent
    return str(folder / "tests/functional/postern-milter" if kind == "words"
               else folder / "postern-milter")


class PosternMilter(Postern):
    """A running postern-milter, with one socket per address in `listen`.

    text: the sections of filters; filters: their names. self.port: of the first socket.
    """

    def __init__(self, text, resolver, filters="words", kind="words", core="", listen=None,
                 is_started=True, shutdown="5s"):
        self.milter_port = free_port()
        self.kind = kind
        self.listen = listen or [f"inet:{self.milter_port}@127.0.0.1"]
        section = SECTION.format(listen=" ".join(self.listen), filters=filters)
        super().__init__(section + text, resolver, core=f"shutdown-timeout = {shutdown}\n" + core,
                         is_started=is_started)

    def start(self, is_logging_to_stderr=True):
        self.process = Process([program(self.kind), *self.flags], environment=environment())
        if is_logging_to_stderr:
            self.wait_event("start", count=len(self.listen))

    def run(self, *more):
        return subprocess.run([program(self.kind), *self.flags, *more], capture_output=True, text=True,
                              env=environment(), timeout=30, check=False)

    @property
    def socket(self):
        """As smtpd_milters of Postfix has it."""
        return f"inet:127.0.0.1:{self.milter_port}"

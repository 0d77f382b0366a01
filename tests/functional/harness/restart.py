# SPDX-License-Identifier: BSD-2-Clause
"""A program for a network namespace of its own: clients call while postern ends and starts anew on
port 25, between the last two of the commands. Prints what they met as JSON.

    unshare --net python3 restart.py FOLDER [COMMAND...]
"""
import json
import pathlib
import subprocess
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[n]) for n in (1, 2)]

from harness.postern import binary, environment  # noqa: E402
from harness.process import Process  # noqa: E402
from harness.workers import Callers, wait_for  # noqa: E402

PORT = 25


def start(config):
    server = Process([binary(), f"--config={config}"], environment=environment())
    server.wait_line(r"Z start .*role=master")
    return server


def main(folder, *commands):
    config = pathlib.Path(folder) / "restart.cf"
    config.write_text("[core]\nhostname = postern.example.test\nuser-id = root\nworkers = 2\n"
                      f"spool-directory = {folder}/spool\nshutdown-timeout = 2s\n"
                      f'[smtpd "mx"]\nlisten-port = 127.0.0.1:{PORT}\n'
                      "[route]\n@example.test discard\n")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = start(config)
    with Callers(("127.0.0.1", PORT)) as callers:
        wait_for(lambda: callers.calls > 10)
        for command in commands[:-1]:
            subprocess.run(command, shell=True, check=True)
        assert server.terminate() == 0
        server = start(config)
        for command in commands[-1:]:
            subprocess.run(command, shell=True, check=True)
        before = callers.calls
        wait_for(lambda: callers.calls > before + 10)
    assert server.terminate() == 0
    # Whose session was open may have been told 421.
    refused = [repr(error) for error in callers.failures if not isinstance(error, AssertionError)]
    told = [str(error) for error in callers.failures if isinstance(error, AssertionError)]
    assert all("421" in text for text in told), told
    print(json.dumps({"calls": callers.calls, "refused": refused}))


main(*sys.argv[1:])

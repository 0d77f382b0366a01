# SPDX-License-Identifier: BSD-2-Clause
"""What a host may lack: descriptors, IPv6, room in a socket's name."""
import subprocess

import pytest

from conftest import DISCARDS
from harness.faults import Faults
from harness.postern import environment
from harness.process import Process

LIMITS = "ulimit -Sn 100; ulimit -Hn 256; exec \"$@\""
TO_MANY = "max-connections-per-client = 1000\nlimit-exempt = 127.0.0.0/8\n"


def limited(server):
    """Starts it with few descriptors."""
    server.process = Process(["sh", "-c", LIMITS, "sh", server.program, *server.flags],
                             environment=environment())
    server.wait_event("start")


def test_out_of_descriptors(postern):
    """It raises its limit; who finds no descriptor hears 421 at once, and who comes later is served."""
    server = postern(DISCARDS, smtpd=TO_MANY, is_started=False)
    limited(server)
    server.log.wait_line(r"warning: a process may open 256 files .* may need \d+")
    inside = []
    while True:
        client = server.client()
        reply = client.reply()
        if reply.code == 421:
            break
        inside.append(client)
    assert reply.enhanced == "4.3.2" and 150 < len(inside) < 256
    assert client.is_closed()
    refused = server.wait_event("reject")
    assert refused["reply"].startswith("421 4.3.2") and refused["client"].startswith("127.0.0.1:")
    for _ in range(200):                        # their descriptors are not kept
        with server.client() as another:
            another.expect(421)
    for client in inside:                       # those inside are none the worse
        client.expect(250, "EHLO client.test")
        client.quit()
    server.wait_event("disconnect", len(inside))
    with server.client() as client:
        client.hello()


def test_check_warns_of_descriptors(postern):
    server = postern(DISCARDS, is_started=False)
    done = subprocess.run(["sh", "-c", LIMITS, "sh", server.program, *server.flags, "--check"],
                          env=environment(), stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0 and "a process may open 256 files" in done.stderr, done.stderr


def test_no_ipv6(postern, tmp_path):
    """A port alone: IPv4 is served, and said to be all; an address of IPv6 is an error."""
    faults = Faults(tmp_path)
    faults.set("IPv6 socket", "EAFNOSUPPORT")
    server = postern(DISCARDS, is_started=False, faults=faults)
    text = server.config.read_text()
    server.config.write_text(text.replace(f"listen-port = 127.0.0.1:{server.port}",
                                          f"listen-port = {server.port}"))
    server.start()
    server.log.wait_line("warning: this kernel has no IPv6")
    with server.client() as client:
        client.hello()


@pytest.mark.parametrize("line", ["control-socket = /{}", "spool-directory = /{}"])
def test_sockets_with_long_names(postern, line):
    """What could not start fails --check."""
    server = postern(DISCARDS, is_started=False)
    text = server.config.read_text()
    text = "\n".join(old for old in text.split("\n") if not old.startswith(line.split()[0]))
    server.config.write_text(text.replace("[core]\n", "[core]\n" + line.format(100 * "x") + "\n"))
    done = server.check()
    assert done.returncode == 78 and "expected an absolute path of at most" in done.stderr

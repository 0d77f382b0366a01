# SPDX-License-Identifier: BSD-2-Clause
"""What a host may lack: descriptors, IPv6, room in a socket's name, capabilities, a spool of its own,
and time."""
import os
import pathlib
import pwd
import signal
import subprocess
import time

import pytest

from conftest import DISCARDS, relay_config, send_whole
from harness.faults import Faults
from harness.control import Control
from harness.postern import environment, run
from harness.process import Process, is_root
from peers.answers import Hold
from peers.client import elapsed

LIMITS = "ulimit -Sn 100; ulimit -Hn 256; exec \"$@\""
TO_MANY = "max-connections-per-client = 1000\nlimit-exempt = 127.0.0.0/8\n"


def limited(server):
    """Starts it with few descriptors."""
    server.process = Process(["sh", "-c", LIMITS, "sh", server.program, *server.flags],
                             environment=environment())
    server.wait_event("start")


def test_out_of_descriptors(postern):
    """It raises its limit; who finds no descriptor hears 421 at once, and who comes later is served: so is
    who comes when a question to DNS has given its own back."""
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
    turned_away = 0
    while turned_away < 200:                    # their descriptors are not kept
        another = server.client()
        if another.reply().code == 220:
            inside.append(another)
            assert len(inside) < 256
            continue
        turned_away += 1
        another.close()
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


@pytest.mark.parametrize("workers", [0, 1])
def test_two_servers_on_one_spool(postern, workers):
    """The second is refused and takes nothing from the first; a server that was killed is no obstacle."""
    first = postern(DISCARDS, core=f"workers = {workers}\n")
    second = postern(DISCARDS, core=f"workers = {workers}\n", is_started=False)
    text = second.config.read_text()
    second.config.write_text(text.replace(f"{second.directory}/spool", f"{first.directory}/spool"))
    done = run(*second.flags)
    assert done.returncode == 73, done.stderr
    assert f"in use by process {first.process.child.pid}" in done.stderr
    assert Control(first).json("targets") == []
    first.process.signal(signal.SIGKILL)
    first.process.child.wait()
    first.is_over = True
    second.start()
    assert Control(second).json("targets") == []


@pytest.mark.skipif(not is_root(), reason="gives capabilities up")
def test_root_without_capabilities(postern):
    """It is who it shall be: nothing is asked of the kernel."""
    server = postern(DISCARDS, is_started=False)
    server.process = Process(["capsh", "--drop=all", "--", "-c", 'exec "$@"', "sh", server.program,
                              *server.flags], environment=environment())
    server.wait_event("start")


@pytest.mark.skipif(not is_root(), reason="starts as root")
def test_groups_of_the_account(workers, tmp_path):
    """Supplementary groups too."""
    account = pwd.getpwnam("nobody")
    groups = tmp_path / "group"
    groups.write_text(pathlib.Path("/etc/group").read_text() + "postern-test:x:4242:nobody\n")
    server = workers(core="user-id = nobody\n", is_started=False)
    os.chown(server.directory, account.pw_uid, account.pw_gid)
    server.process = Process(["unshare", "--mount", "sh", "-c",
                              f'mount --bind {groups} /etc/group && exec "$@"', "sh",
                              server.program, *server.flags], environment=environment())
    server.log.wait_line(r"Z start .*role=master")
    for pid in server.pids():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("Groups:"))
        assert {int(gid) for gid in line.split()[1:]} == {account.pw_gid, 4242}


# ---- a process that is stopped, and wakes ----

STOPPED_S = 3.5
SHORT = ("command-timeout = 2s", "data-timeout = 2s", "final-timeout = 2s", "on-failure = spool")


def stopped(server, meanwhile):
    """Stops every process, for longer than all time-outs; what happens meanwhile."""
    pids = [server.process.child.pid, *(server.pids() if hasattr(server, "pids") else [])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    meanwhile()
    time.sleep(STOPPED_S)               # it is the time itself that is tested
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_a_client_that_spoke_while_we_were_stopped(postern):
    """It is heard before its time-out is looked at."""
    server = postern(DISCARDS, smtpd="command-timeout = 2s\n")
    with server.client() as client:
        client.hello()
        stopped(server, lambda: client.send(b"NOOP\r\n"))
        client.expect(250)
        client.quit()


def test_a_target_that_answered_while_we_were_stopped(target, postern):
    """Its answer counts, and there is no second message."""
    backend = target()
    hold = Hold("250 2.0.0 taken")
    backend.on("end", hold)
    server = postern(relay_config(backend.address, *SHORT, "identity = none"))
    client = send_whole(server, backend)
    stopped(server, hold.release)
    assert client.expect(250).text.endswith("taken")
    assert not server.events("spooled") and not server.events("target-down")
    client.quit()
    client.close()


def test_deadlines_go_on_behind_a_gap(postern):
    """Who says nothing afterwards has the rest of its time, and no more."""
    server = postern(DISCARDS, smtpd="command-timeout = 3s\n")
    with server.client() as client:
        client.hello()
        stopped(server, lambda: None)
        begun = time.monotonic()
        client.expect(250, "NOOP")
        seconds, _ = elapsed(client.expect, 421)
        assert time.monotonic() - begun > 2 and seconds < 15

# SPDX-License-Identifier: BSD-2-Clause
"""MX records, what is remembered of answers, and how many questions are open at once."""
import random
import subprocess
import time

import pytest

from harness.control import Control
from harness.dns import BRIEF, CLIENT, NAMELESS, TRUSTED, TWIN_HOSTS, TWINS, DnsTap
from harness.messages import PLAIN_MESSAGE
from harness.postern import PATIENT, environment
from harness.process import Process, free_port, is_root

PTR = 12

NULL = """
[relay "null"]
name = null-mx.example.test
mx = yes
port = {port}
identity = none
health-interval = 1s
[relay "target"]
address = {target}
identity = none
[route]
@null.test null
@example.test target
"""


def test_null_mx(target, postern):
    """RFC 7505: 556 5.1.10 for its recipients alone; the host of that name is not asked, nothing is
    spooled, and the target is not down."""
    backend, host = target(), target()
    server = postern(NULL.format(target=backend.address, port=host.port))
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        for _ in range(2):
            assert client.expect(556, "RCPT TO:<joe@null.test>").enhanced == "5.1.10"
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
    backend.wait_ended(1)
    assert not host.connections
    assert Control(server).queue() == {}
    assert not server.events("target-down")


def test_null_mx_in_the_queue(target, postern, dns_tap):
    """What was spooled while nobody answered is returned with the same words."""
    dns_tap.broken.add("null-mx.example.test")
    backend = target()
    server = postern(NULL.format(target=backend.address, port=free_port()),
                     core="bounce-relay = target\n", resolver=dns_tap.address)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["joe@null.test"]).code == 250
    server.wait_event("target-down")
    dns_tap.broken.clear()
    report, = backend.wait_ended(1)
    assert b"Status: 5.1.10\r\n" in report.content
    assert b"Diagnostic-Code: x-postern; 556 5.1.10 " in report.content
    Control(server).wait_queue([])


def test_equal_preference_is_shuffled(target, postern):
    """RFC 5321 5.1: of two MX hosts of equal preference each is the first for some domains."""
    first = target()
    hosts = [first, target(address=(TWIN_HOSTS[1], first.port))]
    server = postern("".join(
        f'[relay "{name}"]\nname = {name}\nmx = yes\nport = {first.port}\nidentity = none\n'
        for name in TWINS) + "[route]\n" + "".join(f"@{name} {name}\n" for name in TWINS))
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        for name in TWINS:
            client.expect(250, f"RCPT TO:<joe@{name}>")
        client.expect(250, "RSET")
    assert all(host.connections for host in hosts)


def connect(server, source):
    """A session whose name has been looked up."""
    with server.client(source=source) as client:
        client.hello()
        server.wait_named(client)


def reverse(address):
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


def test_answers_are_remembered(target, postern, dns_tap):
    """Each thing is asked for once within its TTL, for clients and for relays, also what is not."""
    backend = target()
    server = postern("".join(
        f'[relay "{name}"]\nname = target.example.test\nport = {backend.port}\nidentity = none\n'
        for name in ("one", "two")) + "[route]\n@one.test one\n@two.test two\n",
        smtpd=PATIENT, resolver=dns_tap.address)
    for source in (CLIENT, NAMELESS) * 3:
        connect(server, source)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["joe@one.test", "joe@two.test"]).code == 250
    asked = [name for name, _ in dns_tap.asked]
    assert asked.count(reverse(CLIENT)) == asked.count(reverse(NAMELESS)) == 1
    # A and AAAA of each
    assert asked.count("client.example.test") == asked.count("target.example.test") == 2


def test_answers_are_forgotten(postern, dns_tap):
    """... and asked for again when the TTL is over."""
    server = postern("[route]\n@example.test discard\n", smtpd=PATIENT, resolver=dns_tap.address)
    end = time.monotonic() + 20
    while dns_tap.asked.count((reverse(BRIEF), PTR)) < 2:
        assert time.monotonic() < end
        connect(server, BRIEF)


def test_open_questions_are_bounded(postern, dns_tap):
    """A net whose name servers are silent, and whose clients come and go, gets its share of open
    questions and no more; the name of another client is found all the while."""
    dns_tap.silent = ".9.127.in-addr.arpa"
    server = postern("[route]\n@example.test discard\n", smtpd=PATIENT, resolver=dns_tap.address)
    for n in range(1, 251):
        with server.client(source=f"127.9.0.{n}") as client:
            client.expect(220)
    connect(server, CLIENT)
    silent = {name for name, _ in dns_tap.asked if name.endswith(dns_tap.silent)}
    assert 100 <= len(silent) <= 128


# ---- resolv.conf ----

ETC = 'mount --bind "$1" /etc && shift && exec "$@"'


class Resolving:
    """A postern that asks the servers of an /etc/resolv.conf of its own: those of two taps at port 53,
    one at a time."""

    def __init__(self, server, etc, taps):
        self.server, self.taps = server, taps
        self._file = etc / "resolv.conf"
        self.ask(taps[0])
        text = server.config.read_text()
        server.config.write_text("".join(line for line in text.splitlines(True)
                                         if not line.startswith("resolver")))
        server.process = Process(["unshare", "--mount", "sh", "-c", ETC, "sh", str(etc),
                                  server.program, *server.flags], environment=environment())
        server.wait_event("start")

    def ask(self, tap):
        """As system services do it: the new file takes the old one's place."""
        new = self._file.with_name("resolv.conf.new")
        new.write_text(f"nameserver {tap.sock.getsockname()[0]}\n")
        new.rename(self._file)

    def wait_asked(self, tap):
        """New clients come until this one is asked for a name."""
        end = time.monotonic() + 30
        while (reverse(TRUSTED), PTR) not in tap.asked:
            assert time.monotonic() < end
            tap.came.clear()
            with self.server.client(source=TRUSTED) as client:
                client.expect(220)
            tap.came.wait(0.1)


@pytest.fixture
def resolving(dns, postern, tmp_path):
    if not is_root():
        pytest.skip("mounts an /etc of its own")
    subprocess.run(["cp", "-a", "/etc", tmp_path], check=True)
    (tmp_path / "etc/resolv.conf").unlink(missing_ok=True)
    taps = [DnsTap(dns, at=(f"127.53.{n >> 8}.{n & 255}", 53))
            for n in random.sample(range(1, 65535), 2)]
    yield Resolving(postern("[route]\n@example.test discard\n", smtpd=PATIENT, is_started=False),
                    tmp_path / "etc", taps)
    for tap in taps:
        tap.stop()


def test_resolv_conf_changes(resolving):
    """The servers of the new file are asked, also for what the old ones are still owing; and those of
    the first, when it comes back."""
    old, new = resolving.taps
    old.open.clear()
    with resolving.server.client(source=TRUSTED) as client:
        client.expect(220)
    resolving.ask(new)
    resolving.wait_asked(new)
    connect(resolving.server, TRUSTED)
    old.open.set()
    old.asked.clear()
    resolving.ask(old)
    resolving.wait_asked(old)


def test_what_the_old_server_answers_still_counts(resolving):
    """A question that was on its way when the file changed is answered by whom it was put to."""
    asked, other = resolving.taps
    while True:                             # a busy machine may notice too late for the answer
        asked.open.clear()
        with resolving.server.client(source=CLIENT) as client:
            client.hello()
            start = time.monotonic()
            resolving.ask(other)
            resolving.wait_asked(other)
            took_s = time.monotonic() - start
            asked.open.set()
            resolving.server.wait_named(client)
        name = resolving.server.events("reject")[-1]["name"]
        if took_s < 3.5:
            break
        asked, other = other, asked
        other.asked.clear()
    assert name == "client.example.test"

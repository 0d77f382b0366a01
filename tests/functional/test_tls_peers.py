# SPDX-License-Identifier: BSD-2-Clause
"""TLS with what others have written: mail servers by OpenSSL, GnuTLS and LibreSSL's library, and a
scanner. Postfix and swaks are in test_tls.py and test_tls_targets.py, balancers in
test_balancer.py."""
import re
import subprocess

import pytest

from conftest import needs_unpacked, relay_config
from harness.exim import Exim
from harness.messages import PLAIN_MESSAGE
from harness.opensmtpd import Opensmtpd
from harness.workers import wait_for
from peers.client import Client

SERVERS = {"exim": Exim, "opensmtpd": Opensmtpd}
DISCARD = "[route]\n@example.test discard\n"


@pytest.fixture
def start():
    """Starts servers: start(Exim, certificates=...)."""
    made = []

    def make(kind, **options):
        made.append(kind(**options))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def hand_over(address):
    with Client(address) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()


@needs_unpacked
@pytest.mark.parametrize("kind", SERVERS)
def test_server_as_client(start, postern, certificates, kind):
    """It sends by STARTTLS or not at all."""
    front = postern(DISCARD, smtpd="tls = required\n" + certificates.mx.lines())
    server = start(SERVERS[kind], next_hop=front.port, certificates=certificates)
    hand_over(server.server)
    assert front.wait_transaction()["tls"].startswith("TLSv1.3/")


@needs_unpacked
@pytest.mark.parametrize("mode", ["may", "encrypt", "verify"])
def test_exim_as_target(start, postern, certificates, mode):
    """It is spoken to by STARTTLS, and has the mail."""
    server = start(Exim, certificates=certificates)
    front = postern(relay_config(server.address, f"tls = {mode}", "name = mx.example.test",
                                 f'tls-ca = "{certificates.authority.certificate}"'))
    hand_over(front.server)
    assert front.wait_transaction()["target-tls"].startswith("TLSv1.3/")
    wait_for(server.maildir("joe").messages)


@needs_unpacked
def test_target_that_cannot_do_what_it_announces(start, postern, certificates):
    """Debian's OpenSMTPD announces STARTTLS, and its handshakes fail, with OpenSSL's client too: its
    process that has the keys does not go with OpenSSL 3. The mail goes in plain."""
    server = start(Opensmtpd, certificates=certificates)
    front = postern(relay_config(server.address, "tls = may"))
    hand_over(front.server)
    assert "target-tls" not in front.wait_transaction()
    assert front.wait_event("target-tls-failed")["fallback"] == "plain"
    wait_for(server.maildir("joe").messages)


def openssl_client(server, *arguments, said=b"QUIT\n"):
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp",
         "-servername", "mx.example.test", "-crlf", *arguments], input=said, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode()


def test_openssl_client(postern, certificates):
    """The chain is good, the name is right, the session can be resumed."""
    server = postern(DISCARD, smtpd="tls = starttls\n" + certificates.mx.lines())
    text = openssl_client(server, "-CAfile", str(certificates.authority.certificate),
                          "-verify_hostname", "mx.example.test", "-ign_eof")
    assert "Verification: OK" in text and "Verified peername: mx.example.test" in text
    assert "221 2.0.0" in text


def test_scanner(postern, certificates):
    """TLS 1.2 and 1.3 and nothing older, no renegotiation that a client begins, no cipher
    below 128 bits or without forward secrecy."""
    server = postern(DISCARD, smtpd="tls = starttls\n" + certificates.mx.lines())
    text = subprocess.run(
        ["sslscan", "--no-colour", "--starttls-smtp", f"127.0.0.1:{server.port}"], timeout=300,
        capture_output=True, text=True, check=True).stdout
    versions = re.findall(r"^((?:SSL|TLS)v[\d.]+) +(enabled|disabled)$", text, re.MULTILINE)
    assert [name for name, state in versions if state == "enabled"] == ["TLSv1.2", "TLSv1.3"]
    assert len(versions) == 6
    assert "Session renegotiation not supported" in text
    assert text.count("not vulnerable to heartbleed") == 2
    ciphers = re.findall(r"^(?:Preferred|Accepted) +(\S+) +(\d+) bits +(\S+)", text, re.MULTILINE)
    assert ciphers and all(int(bits) >= 128 for _, bits, _ in ciphers)
    assert all(name.startswith(("TLS_", "ECDHE-")) for _, _, name in ciphers), ciphers

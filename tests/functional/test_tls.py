# SPDX-License-Identifier: BSD-2-Clause
"""TLS with clients: STARTTLS and before the greeting, certificates, tickets, what is forgotten."""
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import relay_config
from harness.messages import PLAIN_MESSAGE
from harness.postern import run
from harness.process import free_port
from harness.raw_tls import RawTls
from harness.smtp import keywords
from harness.workers import wait_for

DISCARD = "[route]\n@example.test discard\n"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def listener(pair, mode="starttls", *more):
    return f"tls = {mode}\n" + pair.lines() + "".join(line + "\n" for line in more)


@pytest.fixture
def server(postern, certificates):
    return postern(DISCARD, smtpd=listener(certificates.mx))


def secured(server, context, **options):
    client = server.client()
    client.hello()
    client.start_tls(context, **options)
    return client


@pytest.mark.parametrize("version", VERSIONS)
def test_starttls(server, certificates, version):
    """It is announced, and not any more afterwards; then mail passes, and the log says how."""
    with server.client() as client:
        assert "STARTTLS" in keywords(client.hello())
        client.start_tls(certificates.client_context(version=VERSIONS[version]))
        client.expect(503, "MAIL FROM:<a@example.org>")  # HELO is forgotten
        assert "STARTTLS" not in keywords(client.expect(250, "EHLO client.example.test"))
        client.expect(503, "STARTTLS")
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.sock.version() == f"TLSv{version}"
    assert server.wait_event("tls")["tls"].startswith(f"TLSv{version}/")
    assert server.wait_transaction()["tls"].startswith(f"TLSv{version}/")


def test_plain_sessions_say_nothing_of_tls(server):
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert "tls" not in server.wait_transaction()


def test_none(postern, certificates):
    """tls = none: neither announced nor done, whatever certificates there are."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, "none"))
    with server.client() as client:
        assert "STARTTLS" not in keywords(client.hello())
        client.expect(502, "STARTTLS")


def test_hidden(postern, certificates):
    server = postern(DISCARD, smtpd=listener(certificates.mx, "starttls", "hide = STARTTLS"))
    with server.client() as client:
        assert "STARTTLS" not in keywords(client.hello())
        client.expect(502, "STARTTLS")


def test_syntax_and_order(server, certificates):
    """No argument; not in a transaction; before EHLO it is as good as after it."""
    with server.client() as client:
        client.expect(220)
        client.expect(501, "STARTTLS now")
        client.expect(250, "EHLO client.example.test")
        client.envelope()
        client.expect(503, "STARTTLS")
        client.expect(250, "RSET")
        client.start_tls(certificates.client_context())
        client.expect(250, "EHLO client.example.test")
        assert client.mail(PLAIN_MESSAGE).code == 250


def test_required(postern, certificates):
    """Without TLS only what leads to it; a BDAT's octets are no commands."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, "required"))
    with server.client() as client:
        client.expect(220)
        assert client.expect(530, "MAIL FROM:<a@example.org>").raw.startswith(b"530 5.7.0 ")
        client.expect(250, "EHLO client.example.test")
        for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<joe@example.test>", "DATA", "RSET",
                        "VRFY joe", "XFORWARD NAME=x"):
            client.expect(530, command)
        client.send(b"BDAT 6 LAST\r\nQUIT\r\n")
        assert client.reply().code // 100 == 5
        client.expect(250, "NOOP")
        client.start_tls(certificates.client_context())
        client.expect(250, "EHLO client.example.test")
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()


def test_implicit(postern, certificates):
    """The handshake comes first, then the greeting."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, "implicit"))
    with server.client() as client:
        client.secure(certificates.client_context())
        assert "STARTTLS" not in keywords(client.hello())
        client.expect(503, "STARTTLS")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert server.wait_transaction()["tls"].startswith("TLSv1.3/")


def test_implicit_behind_proxy_header(postern, certificates):
    """The PROXY header is in plain, and may come in one segment with the client's first words."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, "implicit",
                                             "proxy-protocol-from = 127.0.0.1"))
    client = server.client()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates.client_context().wrap_bio(incoming, outgoing,
                                                 server_hostname="mx.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    client.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 25\r\n" + outgoing.read())
    while True:
        incoming.write(client.sock.recv(65536))
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    client.send(outgoing.read())
    client.close()
    assert server.wait_event("tls")["client"] == "192.0.2.7:1000"


def test_names(postern, certificates):
    """Each client gets the certificate of the server that it asks for; the first where there is
    none, or it does not say."""
    rsa = certificates.make("rsa.example.test", key="rsa")
    wild = certificates.make("wild", names=("*.wild.example.test",))
    server = postern(DISCARD, smtpd="tls = starttls\n" + certificates.mx.lines()
                     + certificates.other.lines() + rsa.lines() + wild.lines())
    for name in ("mx.example.test", "other.example.test", "rsa.example.test",
                 "a.wild.example.test"):
        with secured(server, certificates.client_context(), name=name) as client:
            assert client.sock.getpeercert()
    loose = certificates.client_context()
    loose.check_hostname = False
    for name in ("unknown.example.test", None):
        with secured(server, loose, name=name) as client:
            assert ("DNS", "mx.example.test") in client.sock.getpeercert()["subjectAltName"]
    server.wait_event("tls", 6)
    assert [event.get("tls-name") for event in server.events("tls")][:4] == [
        "mx.example.test", "other.example.test", "rsa.example.test", "a.wild.example.test"]


def test_two_kinds_of_keys(postern, certificates):
    """An RSA and an EC certificate of the same names: each client gets what it can use."""
    rsa = certificates.make("both", names=("mx.example.test",), key="rsa")
    server = postern(DISCARD, smtpd="tls = starttls\n" + certificates.mx.lines() + rsa.lines())
    for cipher in ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"):
        context = certificates.client_context(version=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(cipher)
        with secured(server, context) as client:
            assert client.sock.cipher()[0] == cipher


def test_client_certificates(postern, certificates):
    """They are asked for; one that cannot be verified counts as none."""
    server = postern(DISCARD, smtpd=listener(
        certificates.mx, "starttls", f'tls-client-ca = "{certificates.authority.certificate}"'))
    unknown = certificates.make("client.example.test", by=certificates.stranger)
    expired = certificates.make("client.example.test", days=-1)
    alone = certificates.make("client.example.test", by="itself")
    for pair in (certificates.client, None, unknown, expired, alone):
        with secured(server, certificates.client_context(pair)) as client:
            client.expect(250, "EHLO client.example.test")
            assert client.mail(PLAIN_MESSAGE).code == 250
    server.wait_transaction(5)
    assert [event.get("tls-subject") for event in server.events("transaction")] == [
        "CN=client.example.test,O=Example", None, None, None, None]
    assert server.events("tls")[0]["tls-issuer"] == "CN=Authority,O=Example"


def resumption(server, context, session=None):
    """The session that a client gets, and whether it was resumed."""
    with secured(server, context, session=session) as client:
        client.expect(250, "EHLO client.example.test")
        return client.sock.session, client.sock.session_reused


@pytest.mark.parametrize("version", VERSIONS)
def test_tickets(postern, certificates, version):
    """A session is resumed at the listener that gave its ticket, and at no other; the client's
    certificate is known all the same."""
    port = free_port()
    more = ("starttls", f'tls-client-ca = "{certificates.authority.certificate}"')
    server = postern(f'[smtpd "second"]\nname = b.test\nlisten-port = 127.0.0.1:{port}\n'
                     + listener(certificates.mx, *more) + DISCARD,
                     smtpd=listener(certificates.mx, *more))
    context = certificates.client_context(certificates.client, version=VERSIONS[version])
    session, is_reused = resumption(server, context)
    assert not is_reused
    _, is_reused = resumption(server, context, session)
    assert is_reused
    assert server.wait_event("tls", 2)["tls-resumed"] == "yes"
    assert server.events("tls")[1]["tls-subject"] == "CN=client.example.test,O=Example"
    server.port = port
    _, is_reused = resumption(server, context, session)
    assert not is_reused


def test_tickets_of_all_workers(workers, certificates):
    """Whatever worker a client comes to, its ticket is good there."""
    server = workers(smtpd=listener(certificates.mx))
    context = certificates.client_context()
    session, _ = resumption(server, context)
    results = [resumption(server, context, session)[1] for _ in range(12)]
    assert all(results)


def test_early_input_is_rejected(server):
    """What comes with STARTTLS ends the session."""
    with server.client() as client:
        client.hello()
        client.send(b"STARTTLS\r\nEHLO injected.example.test\r\n")
        assert client.reply().code == 554
        assert client.is_closed()


@contextlib.contextmanager
def stopped(server, client):
    """All that the client sends meanwhile has come when the server goes on."""
    server.process.signal(signal.SIGSTOP)
    try:
        yield
        wait_for(lambda: not client.unacknowledged())
    finally:
        server.process.signal(signal.SIGCONT)


@pytest.mark.parametrize("cut", range(0, 11))
def test_injection(postern, certificates, cut):
    """Commands that come with STARTTLS, in one segment or split anywhere, are never carried out: they
    are thrown away, counted and logged. On those that come later the handshake fails."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, "starttls", "early-input = accept"))
    injected = b"RSET\r\n"
    command = b"STARTTLS\r\n"
    with server.client() as client:
        client.hello()
        is_whole = cut == len(command)          # the handshake could begin before the rest comes
        with stopped(server, client) if is_whole else contextlib.nullcontext():
            client.send(command[:cut])
            client.send(command[cut:] + injected)
        client.expect(220)
        client.secure(certificates.client_context())
        client.expect(503, "MAIL FROM:<a@example.org>")
        client.expect(250, "EHLO client.example.test")
        client.expect(250, "NOOP")
    assert server.wait_event("tls")["dropped"] == str(len(injected))


def test_plain_text_instead_of_a_handshake(server):
    """The handshake fails, the log says so, others are served."""
    with server.client() as client:
        client.hello()
        client.expect(220, "STARTTLS")
        client.send(b"MAIL FROM:<a@example.org>\r\n")
        assert b"250" not in client.rest()
    assert server.wait_event("tls-failed")["error"]
    with server.client() as client:
        client.hello()


def test_client_that_vanishes(server):
    with server.client() as client:
        client.hello()
        client.expect(220, "STARTTLS")
    assert server.wait_event("tls-failed")["error"]


def test_handshake_that_does_not_move(postern, certificates):
    """It has a deadline; nothing is said in plain."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, "starttls", "command-timeout = 1s"))
    with server.client() as client:
        client.hello()
        client.expect(220, "STARTTLS")
        client.send(b"\x16\x03")
        assert client.rest() == b""
    assert server.wait_event("tls-failed")["error"] == "timed out"


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_many_handshakes(postern, certificates, mode):
    """256 that do not move; the next client is told to come later (or turned away without a word,
    for it would not understand one), and served when one of them has gone."""
    server = postern(DISCARD, smtpd=listener(certificates.mx, mode, "limit-exempt = 127.0.0.1"))

    def begin():
        client = server.client()
        if mode == "starttls":
            client.hello()
            client.expect(220, "STARTTLS")
        return client

    def is_refused():
        with server.client() as client:
            if mode == "implicit":
                try:
                    client.secure(certificates.client_context())
                except OSError:
                    return True
                return False
            client.hello()
            return client.command("STARTTLS").raw.startswith(b"454 4.7.0 ")

    waiting = [begin() for _ in range(256)]
    server.wait_event("connect", 256)
    assert is_refused()
    mark = server.log.mark()
    waiting.pop().close()
    server.wait_event("tls-failed", since=mark)
    server.wait_event("disconnect", since=mark)
    assert not is_refused()
    for client in waiting:
        client.close()


def test_no_close_notify(server, certificates):
    """A client that just closes is nothing special; nor is half a message delivered."""
    client = secured(server, certificates.client_context())
    client.expect(250, "EHLO client.example.test")
    client.envelope()
    client.expect(354, "DATA")
    client.send(PLAIN_MESSAGE)
    plain = socket.socket(fileno=client.sock.detach())
    plain.shutdown(socket.SHUT_WR)
    assert server.wait_transaction()["outcome"] == "abandoned"
    plain.close()
    assert not server.events("tls-failed")


@pytest.mark.parametrize("octets", [1, 2, 3, 5, 6, 21, 22, 23, 100, 1000, None])
def test_records_split_and_merged(server, certificates, octets):
    """Records that come in pieces of any size, and many in one segment."""
    content = PLAIN_MESSAGE + b"0123456789abcdef\r\n" * (50 if octets and octets < 10 else 5000)
    client = RawTls(server.server, certificates.client_context(), pieces=octets)
    client.expect(250, "EHLO client.example.test")
    assert [reply.code for reply in client.pipelined(content)][-1] == 250
    assert int(server.wait_transaction()["bytes"]) == len(content)
    client.close()


def test_records_in_pieces_of_every_size(server, certificates):
    """Up to the longest one that a client sends here."""
    for octets in range(1, 100):
        client = RawTls(server.server, certificates.client_context(), pieces=octets)
        client.expect(250, "EHLO client.example.test")
        assert client.pipelined(b"Subject: x\r\n\r\ny\r\n")[-1].code == 250
        client.close()


def test_cut_at_every_octet(server, certificates):
    """A client that breaks off after any octet of handshake and mail costs itself alone, and is
    never served half."""
    def talk(limit):
        with contextlib.suppress(EOFError, OSError):
            client = RawTls(server.server, certificates.client_context(), limit=limit)
            try:
                client.expect(250, "EHLO c.test")
                assert client.pipelined(b"Subject: x\r\n\r\ny\r\n")[-1].code == 250
            finally:
                client.close()
            return client.sent
        return 0

    total = talk(None)
    assert total > 500
    for limit in range(1, total):
        assert talk(limit) == 0
    outcomes = [event["outcome"] for event in server.events("transaction")]
    assert talk(None) == pytest.approx(total, abs=10)
    assert outcomes.count("250 2.0.0 Ok: discarded") <= 3


def s_client(port, *arguments, text="QUIT\r\n"):
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", "smtp", "-quiet",
         *arguments], input=text, capture_output=True, text=True, timeout=30, check=False)


def test_versions(server, certificates):
    """TLS 1.2 and 1.3, nothing older; a client that wants to negotiate again is told no."""
    for version in ("-tls1_2", "-tls1_3"):
        done = s_client(server.port, version, "-CAfile", str(certificates.authority.certificate),
                        "-verify_return_error")
        assert done.returncode == 0, done.stderr
    for version in ("-tls1", "-tls1_1"):
        done = s_client(server.port, version, "-cipher", "ALL:@SECLEVEL=0")
        assert done.returncode != 0
    assert server.wait_event("tls-failed", 2)


def test_no_renegotiation(server):
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "smtp",
         "-tls1_2"], input="R\nEHLO x\n", capture_output=True, text=True, timeout=30, check=False)
    assert "no renegotiation" in done.stdout + done.stderr


def test_swaks(server, certificates, tmp_path):
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{server.port}", "--tls", "--to", "joe@example.test",
         "--from", "a@example.org", "--helo", "client.example.test"],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert server.wait_transaction()["tls"]


def test_what_others_learn(postern, target, raw_milter, certificates):
    """The Received field and milters know of TLS, as behind Postfix."""
    backend, milter = target(), raw_milter(actions=0)
    ca = f'tls-client-ca = "{certificates.authority.certificate}"'
    server = postern(f'[milter "m"]\naddress = {milter.for_postern}\n'
                     + relay_config(backend.address, "received = always"),
                     smtpd=listener(certificates.mx, "starttls", "filter = m", ca))
    with secured(server, certificates.client_context(certificates.client)) as client:
        client.expect(250, "EHLO client.example.test")
        assert client.mail(PLAIN_MESSAGE).code == 250
    transaction, = [t for c in backend.connections for t in c.transactions if t.is_ended]
    assert b" with ESMTPS id " in transaction.content
    heard, = milter.connections
    assert heard.macros("H")[-1] == {
        "{tls_version}": "TLSv1.3", "{cipher}": "TLS_AES_256_GCM_SHA384", "{cipher_bits}": "256",
        "{cert_subject}": "CN=client.example.test,O=Example",
        "{cert_issuer}": "CN=Authority,O=Example"}


def test_proxy_header_says_it(postern, target, certificates):
    """PROXY v2 tells a target how the client is encrypted."""
    backend = target(proxy=True)
    server = postern(relay_config(backend.address, "identity = proxy-v2"), smtpd=listener(
        certificates.mx, "starttls", f'tls-client-ca = "{certificates.authority.certificate}"'))
    for context in (None, certificates.client_context(),
                    certificates.client_context(certificates.client)):
        with server.client() as client:
            client.hello()
            if context:
                client.start_tls(context)
                client.expect(250, "EHLO client.example.test")
            assert client.mail(PLAIN_MESSAGE).code == 250
    headers = [c.proxy_header[28:] for c in backend.connections if c.transactions]
    sessions = [b"\x05\x00\x10" + event["session"].encode() for event in server.events("connect")]
    version, cipher = b"\x21\x00\x07TLSv1.3", b"\x23\x00\x16TLS_AES_256_GCM_SHA384"
    name = b"\x22\x00\x13client.example.test"

    def secure(bits, *facts):
        return b"\x20" + bytes([0, 5 + len(b"".join(facts))]) + bits + b"".join(facts)

    assert headers == [session + more for session, more in zip(sessions, (
        b"", secure(b"\x01\x00\x00\x00\x01", version, cipher),
        secure(b"\x07\x00\x00\x00\x00", version, name, cipher)))]


def test_two_posterns_by_proxy(postern, target, certificates):
    """The second logs the session of the first, and whose certificate the client has shown there."""
    second = postern(relay_config(target().address), smtpd="proxy-protocol-from = 127.0.0.1\n")
    first = postern(
        relay_config(f"127.0.0.1:{second.port}", "identity = proxy-v2"),
        smtpd=listener(certificates.mx, "starttls",
                       f'tls-client-ca = "{certificates.authority.certificate}"'))
    with secured(first, certificates.client_context(certificates.client)) as client:
        client.expect(250, "EHLO client.example.test")
        assert client.mail(PLAIN_MESSAGE).code == 250
    seen = second.wait_event("connect")
    assert seen["reference"] == first.wait_event("connect")["session"]
    assert seen["proxy-cn"] == "client.example.test" and seen["proxy-tls"] == "TLSv1.3"


def test_who_is_in_front_has_said_it(postern, target):
    """A balancer that ends TLS says so in its header: so does our Received field, and XCLIENT to
    a Dovecot."""
    backend = target(ehlo=("PIPELINING", "XCLIENT ADDR PORT CLIENT-TRANSPORT"))
    server = postern(relay_config(backend.address, "identity = xclient", "received = always"),
                     smtpd="proxy-protocol-from = 127.0.0.1\n")
    addresses = socket.inet_aton("192.0.2.7") + socket.inet_aton("127.0.0.1") + b"\x04\xd2\x00\x19"
    for bits in (1, 0):
        tlv = b"\x20\x00\x05" + bytes([bits, 0, 0, 0, 1])
        with server.client() as client:
            client.send(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + bytes([0, 12 + len(tlv)])
                        + addresses + tlv)
            client.hello()
            assert client.mail(PLAIN_MESSAGE).code == 250
    ways = [b" with ESMTPS id " in t.content for t in backend.ended]
    assert ways == [True, False]
    said = [line.endswith("CLIENT-TRANSPORT=TLS") for c in backend.connections for line in c.lines
            if line.startswith("XCLIENT")]
    assert said == [True, False]


# -- configuration -----------------------------------------------------------------------------


def problems(tmp_path, *lines):
    config = tmp_path / "postern.cf"
    config.write_text('[core]\nhostname = mx.example.test\nuser-id = root\n'
                      '[smtpd "mx"]\nlisten-port = 127.0.0.1:2525\n'
                      + "".join(line + "\n" for line in lines))
    return run(f"--config={config}", "--check"), config


def test_check(certificates, tmp_path):
    """What is wrong with certificates and keys is told with its place."""
    mx, other = certificates.mx, certificates.other
    (tmp_path / "junk").write_text("nothing\n")
    os.mkfifo(tmp_path / "fifo")
    cases = [
        (["tls = starttls", f"tls-certificate = {tmp_path}"], "7:",
         "is a directory, and must be a regular file"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}", f"tls-key = {tmp_path}/fifo"],
         "8:", "is a FIFO, and must be a regular file"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}", f"tls-key = {mx.key}",
          "tls-client-ca = /dev/null"], "9:", "is a device, and must be a regular file"),
        (["tls = starttls"], "6:", "tls needs a tls-certificate"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}", "tls-key = /nowhere/at-all"],
         "8:", "cannot be read: No such file or directory"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}", f"tls-key = {other.key}"],
         "8:", "holds no key of the certificate (key values mismatch)"),
        (["tls = starttls", f"tls-certificate = {tmp_path}/junk", f"tls-key = {mx.key}"],
         "7:", "holds no certificate"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}"], "7:", "holds no key"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}", f"tls-key = {mx.key}",
          f"tls-key = {other.key}"], "9:", "has no tls-certificate"),
        (["tls = starttls", f"tls-certificate = {mx.certificate}", f"tls-key = {mx.key}",
          f"tls-client-ca = {tmp_path}/junk"], "9:", "holds no certificate"),
    ]
    for lines, place, words in cases:
        done, config = problems(tmp_path, *lines)
        assert done.returncode == 78, lines
        assert f"{config}:{place}" in done.stderr and words in done.stderr, done.stderr
    done, _ = problems(tmp_path, "tls = starttls", *mx.lines().splitlines())
    assert done.returncode == 0, done.stderr


def test_key_in_the_certificates_file(postern, certificates, tmp_path):
    whole = tmp_path / "whole.pem"
    whole.write_text(certificates.mx.certificate.read_text() + certificates.mx.key.read_text())
    server = postern(DISCARD, smtpd=f"tls = starttls\ntls-certificate = {whole}\n")
    with secured(server, certificates.client_context()) as client:
        client.expect(250, "EHLO client.example.test")


def test_reload(workers, certificates, tmp_path):
    """HUP reads the files anew; a pair that does not fit keeps the old one, and the log says so."""
    at = tmp_path / "mx.pem", tmp_path / "mx.key"

    def put(certificate, key):
        at[0].write_text(certificate.read_text())
        at[1].write_text(key.read_text())

    def served():
        loose = certificates.client_context()
        loose.check_hostname = False
        with secured(server, loose) as client:
            return client.sock.getpeercert()["subjectAltName"][0][1]

    put(certificates.mx.certificate, certificates.mx.key)
    server = workers(smtpd=f"tls = starttls\ntls-certificate = {at[0]}\ntls-key = {at[1]}\n")
    assert served() == "mx.example.test"
    put(certificates.other.certificate, certificates.mx.key)
    assert "key values mismatch" in server.reload()["reason"]
    assert served() == "mx.example.test"
    put(certificates.other.certificate, certificates.other.key)
    assert server.reload()["result"] == "ok"
    assert served() == "other.example.test"


def test_changed_files(workers, certificates, tmp_path):
    """New certificates are taken without a word; a pair that does not fit is told once, and the old
    one stays until both files fit."""
    at = tmp_path / "mx.pem", tmp_path / "mx.key"

    def put(path, source):
        new = path.with_suffix(".new")
        new.write_text(source.read_text())
        new.rename(path)

    put(at[0], certificates.mx.certificate)
    put(at[1], certificates.mx.key)
    server = workers(smtpd=f"tls = starttls\ntls-certificate = {at[0]}\ntls-key = {at[1]}\n")
    put(at[0], certificates.other.certificate)
    assert "key values mismatch" in server.wait_event("reload")["reason"]
    loose = certificates.client_context()
    with secured(server, loose) as client:
        client.expect(250, "EHLO client.example.test")
    put(at[1], certificates.other.key)
    assert server.wait_event("reload", 2)["result"] == "ok"
    with secured(server, loose, name="other.example.test") as client:
        client.expect(250, "EHLO client.example.test")
    assert len(server.events("reload")) == 2


def test_changed_under_load(workers, certificates, tmp_path):
    """While clients come and go their certificate changes: each handshake is by the old one or the new
    one, none fails, and in the end all are by the new one."""
    at = tmp_path / "mx.pem", tmp_path / "mx.key"
    seen, failures, is_over = [], [], threading.Event()

    def put(pair):
        at[0].write_text(pair.certificate.read_text())
        at[1].write_text(pair.key.read_text())

    def call():
        loose = certificates.client_context()
        loose.check_hostname = False
        while not is_over.is_set():
            try:
                with secured(server, loose) as client:
                    client.expect(250, "EHLO client.example.test")
                    seen.append(client.sock.getpeercert()["subjectAltName"][0][1])
                    client.expect(221, "QUIT")
            except (OSError, EOFError, AssertionError) as error:
                failures.append(repr(error))

    put(certificates.mx)
    server = workers(smtpd=f"tls = starttls\ntls-certificate = {at[0]}\ntls-key = {at[1]}\n")
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(seen) > 20)
        put(certificates.other)
        assert server.wait_event("reload")["result"] == "ok"
        wait_for(lambda: seen[-20:] == ["other.example.test"] * 20)
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)
    assert not failures
    assert set(seen) == {"mx.example.test", "other.example.test"}

# SPDX-License-Identifier: BSD-2-Clause
"""TLS towards targets: each policy before each kind of certificate, fall-back, injection, tickets."""
import pytest

from conftest import relay_config
from harness.messages import PLAIN_MESSAGE
from harness.postfix import Postfix
from harness.process import is_root
from harness.smtp import keywords
from peers.answers import Close, Say
from peers.client import Client
from peers.target import DEFAULT_EHLO, XCLIENT

NAME = "mx.example.test"


@pytest.fixture
def secure_target(target, certificates):
    """A scripted target with a certificate."""
    def make(pair=None, **options):
        return target(tls=certificates.server_context(pair or certificates.mx), **options)
    return make


@pytest.fixture
def to_secure(postern, certificates):
    """A postern that relays to it with this policy."""
    def make(backend, mode, *lines, **options):
        lines = ("identity = none", f"tls = {mode}", f"name = {NAME}",
                 f'tls-ca = "{certificates.authority.certificate}"', *lines)
        return postern(relay_config(backend.address, *lines), **options)
    return make


def mail(server, **options):
    """The first reply that refuses something, or the last one."""
    with server.client() as client:
        client.hello(**options)
        for line in ("MAIL FROM:<sender@example.org>", "RCPT TO:<joe@example.test>"):
            reply = client.command(line)
            if reply.code >= 400:
                return reply
        return client.data(PLAIN_MESSAGE)


@pytest.mark.parametrize("mode", ["may", "encrypt", "verify"])
def test_policies(secure_target, to_secure, mode):
    """STARTTLS where it is announced; the log says how; the connection is reused encrypted."""
    backend = secure_target()
    server = to_secure(backend, mode)
    assert mail(server).code == 250
    assert mail(server).code == 250
    connection, = backend.connections
    assert connection.tls[0] == "TLSv1.3"
    assert connection.verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]
    lines = [server.wait_transaction(1), server.wait_transaction(2)]
    assert all(line["target-tls"].startswith("TLSv1.3/") for line in lines)
    assert ("tls-subject" in server.wait_event("target-tls")) == (mode == "verify")


def test_none(secure_target, to_secure):
    backend = secure_target()
    server = to_secure(backend, "none")
    assert mail(server).code == 250
    assert "STARTTLS" not in backend.connections[0].verbs
    assert "target-tls" not in server.wait_transaction()


def test_may_without_an_announcement(target, to_secure):
    backend = target()
    assert mail(to_secure(backend, "may")).code == 250
    assert backend.connections[0].tls is None


@pytest.mark.parametrize("mode", ["encrypt", "verify"])
def test_required_without_an_announcement(target, to_secure, mode):
    """That is an outage, whatever the target says otherwise."""
    backend = target()
    server = to_secure(backend, mode)
    assert mail(server).raw.startswith(b"451 4.4.1 ")
    assert "STARTTLS is not announced" in server.wait_event("target-down")["error"]
    assert backend.wait_command("QUIT")
    assert not backend.transactions


CERTIFICATES = {
    "good": lambda c: c.mx,
    "wrong name": lambda c: c.other,
    "expired": lambda c: c.make(NAME, days=-1),
    "self-signed": lambda c: c.make(NAME, by="itself"),
    "unknown authority": lambda c: c.make(NAME, by=c.stranger),
}


@pytest.mark.parametrize("kind", CERTIFICATES)
@pytest.mark.parametrize("mode", ["may", "encrypt", "verify"])
def test_certificates(secure_target, to_secure, certificates, mode, kind):
    """verify takes a good one only; the others encrypt with whoever is there."""
    backend = secure_target(CERTIFICATES[kind](certificates))
    server = to_secure(backend, mode)
    reply = mail(server)
    if mode != "verify" or kind == "good":
        assert reply.code == 250
        assert backend.connections[0].tls
        return
    assert reply.raw.startswith(b"451 4.4.1 ")
    assert not backend.transactions
    failed = server.wait_event("target-tls-failed")["error"]
    assert {"wrong name": "ostname mismatch", "expired": "expired", "self-signed": "self",
            "unknown authority": "unable to get local issuer"}[kind] in failed


def test_name_of_the_address(secure_target, postern, certificates):
    """The host of an address line is as good as name."""
    backend = secure_target(certificates.make("localhost"))
    port = backend.address.rsplit(":", 1)[1]
    server = postern(relay_config(f"localhost:{port}", "identity = none", "tls = verify",
                                  f'tls-ca = "{certificates.authority.certificate}"'))
    assert mail(server).code == 250
    assert server.wait_event("target-tls")["tls-subject"] == "CN=localhost,O=Example"


def test_spooled_until_the_certificate_is_good(secure_target, to_secure, certificates, target):
    """on-failure = spool: the client hears 250, and the message is delivered when verify agrees."""
    expired = certificates.server_context(certificates.make(NAME, days=-1))
    backend = target(tls=expired)
    server = to_secure(backend, "verify", "on-failure = spool", "health-interval = 1s")
    assert mail(server).code == 250
    assert not backend.transactions
    backend.tls = certificates.server_context(certificates.mx)
    assert server.wait_event("delivered")
    assert backend.ended


BREAKS = {
    "refused": Say("454 4.7.0 TLS not available"),
    "unknown": Say("502 5.5.1 no"),
    "closed": Close("220 2.0.0 go ahead"),
    "garbage": Say("220 2.0.0 go ahead", b"This is no TLS record at all, but text\r\n"),
    "hangs up": Close(),
}


@pytest.mark.parametrize("how", BREAKS)
def test_may_falls_back(secure_target, to_secure, how):
    """A refused STARTTLS leaves the connection in plain; a handshake that fails leads to another
    one in plain, once, and the log says so."""
    backend = secure_target().on("STARTTLS", BREAKS[how])
    server = to_secure(backend, "may")
    reply = mail(server)
    if how == "hangs up":
        assert reply.code == 451
        return
    assert reply.code == 250
    last = backend.connections[-1]
    assert last.tls is None and last.transactions
    assert len(backend.connections) == (1 if how in ("refused", "unknown") else 2)
    if len(backend.connections) == 2:
        assert "STARTTLS" not in last.verbs
        assert server.wait_event("target-tls-failed")["fallback"] == "plain"


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("mode", ["encrypt", "verify"])
def test_required_never_falls_back(secure_target, to_secure, mode, how):
    backend = secure_target().on("STARTTLS", BREAKS[how])
    server = to_secure(backend, mode)
    assert mail(server).raw.startswith(b"451 4.4.1 ")
    assert not backend.transactions
    assert server.wait_event("target-down")


def test_silent_handshake(secure_target, to_secure):
    """A target that says nothing in the handshake costs command-timeout, then it goes in plain."""
    backend = secure_target().on("STARTTLS", Stall("220 2.0.0 go ahead"))
    server = to_secure(backend, "may", "command-timeout = 1s")
    assert mail(server).code == 250
    assert server.wait_event("target-tls-failed")["error"] == "timed out"


@pytest.mark.parametrize("cut", range(0, 21))
def test_injection(secure_target, to_secure, cut):
    """Replies that came in plain behind the 220, in one segment or split anywhere, are no answers to
    what is said under TLS: they are thrown away and logged, or the handshake fails on them."""
    reply = b"220 2.0.0 go ahead\r\n"
    injected = b"250-target.example.test\r\n250 CHUNKING\r\n"
    backend = secure_target()
    backend.on("STARTTLS", Injection(reply, injected, cut))
    server = to_secure(backend, "encrypt")
    answer = mail(server)
    assert answer.code == 250 or cut == len(reply)  # else they come with the end of the reply
    if answer.code == 250:
        assert server.wait_event("target-tls-dropped")["dropped"] == str(len(injected))
        assert backend.transactions[0].framing == "DATA"
    else:
        assert answer.raw.startswith(b"451 4.4.1 ")
        assert not backend.transactions


class Stall(Say):
    """Says that, and nothing more."""

    def perform(self, connection):
        super().perform(connection)
        connection.drain()


class Injection(Say):
    """220, and more in plain."""

    code = 220

    def __init__(self, reply, injected, cut):
        super().__init__(reply[:cut], reply[cut:] + injected)


def test_keywords_before_tls_do_not_count(secure_target, to_secure):
    """What was announced in plain is forgotten."""
    def ehlo(connection):
        return DEFAULT_EHLO if connection.tls else ("PIPELINING", "CHUNKING", XCLIENT)
    backend = secure_target(ehlo=ehlo)
    assert mail(to_secure(backend, "encrypt")).code == 250
    assert backend.transactions[0].framing == "DATA"


def test_xclient_behind_starttls(secure_target, postern, certificates):
    """TLS first, then XCLIENT; EHLO after each."""
    backend = secure_target(ehlo=(*DEFAULT_EHLO, XCLIENT))
    server = postern(relay_config(backend.address, "identity = xclient", "tls = encrypt"))
    assert mail(server).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    assert connection.verbs[:5] == ["EHLO", "STARTTLS", "EHLO", "XCLIENT", "EHLO"]


def test_resumption(secure_target, to_secure):
    """The next connection resumes the session of the last one."""
    backend = secure_target()
    server = to_secure(backend, "verify", "max-transactions = 1")
    for _ in range(3):
        assert mail(server).code == 250
    reused = [c.tls[1] for c in backend.connections if c.transactions]
    assert reused[0] is False and all(reused[1:]) and len(reused) == 3
    assert server.wait_event("target-tls", 2)["tls-resumed"] == "yes"


def test_own_certificate(target, to_secure, certificates):
    """It is shown to a target that asks."""
    context = certificates.server_context(certificates.mx)
    context.load_verify_locations(certificates.authority.certificate)
    context.verify_mode = 2         # required
    backend = target(tls=context)
    assert mail(to_secure(backend, "encrypt", *certificates.client.lines().splitlines())).code == 250
    assert mail(to_secure(backend, "encrypt")).code == 451


def test_large_message_both_sides(secure_target, to_secure, certificates):
    """Many records, both ways of framing, and a client that is encrypted, too."""
    content = PLAIN_MESSAGE + b"".join(b"%08d and some more of it\r\n" % i for i in range(100000))
    for ehlo in (DEFAULT_EHLO, (*DEFAULT_EHLO, "CHUNKING")):
        backend = secure_target(ehlo=ehlo)
        server = to_secure(backend, "verify",
                           smtpd="tls = starttls\n" + certificates.mx.lines())
        with server.client() as client:
            client.hello()
            client.start_tls(certificates.client_context(), name=NAME)
            client.expect(250, "EHLO client.example.test")
            assert client.mail(content).code == 250
        assert backend.transactions[0].content.endswith(content)


def required(front, certificates):
    """EHLO's keywords under TLS, and the reply to MAIL with REQUIRETLS."""
    with front.client() as client:
        assert "REQUIRETLS" not in keywords(client.hello())
        client.expect(555, "MAIL FROM:<sender@example.org> REQUIRETLS")
        client.start_tls(certificates.client_context(), name=NAME)
        offered = keywords(client.expect(250, "EHLO client.example.test"))
        return offered, client.command("MAIL FROM:<sender@example.org> REQUIRETLS")


@pytest.mark.parametrize("mode", ["encrypt", "verify"])
def test_requiretls(secure_target, to_secure, certificates, mode):
    """RFC 8689: announced under TLS, where every target was verified and announces it; handed on."""
    backend = secure_target(ehlo=lambda c: (*DEFAULT_EHLO, "REQUIRETLS") if c.tls else DEFAULT_EHLO)
    front = to_secure(backend, mode, smtpd="tls = starttls\n" + certificates.mx.lines())
    assert mail(front).code == 250      # the target is known now
    offered, reply = required(front, certificates)
    if mode == "encrypt":
        assert "REQUIRETLS" not in offered
        assert reply.code == 555
        return
    assert "REQUIRETLS" in offered
    assert reply.code == 250
    with front.client() as client:
        client.hello()
        client.start_tls(certificates.client_context(), name=NAME)
        client.expect(250, "EHLO client.example.test")
        client.expect(501, "MAIL FROM:<sender@example.org> REQUIRETLS=yes")
        client.expect(250, "MAIL FROM:<sender@example.org> REQUIRETLS")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
    assert backend.transactions[-1].mail.endswith(" REQUIRETLS")


def test_requiretls_that_a_target_takes_back(secure_target, to_secure, certificates):
    """A target that has announced it and does not any more gets no such message."""
    backend = secure_target(ehlo=(*DEFAULT_EHLO, "REQUIRETLS"))
    front = to_secure(backend, "verify", "idle-connections = 0",
                      smtpd="tls = starttls\n" + certificates.mx.lines())
    assert mail(front).code == 250
    with front.client() as client:
        client.hello()
        client.start_tls(certificates.client_context(), name=NAME)
        client.expect(250, "EHLO client.example.test")
        backend.ehlo = DEFAULT_EHLO
        client.expect(250, "MAIL FROM:<sender@example.org> REQUIRETLS")
        assert client.expect(550, "RCPT TO:<joe@example.test>").raw.startswith(b"550 5.7.30 ")


SMTPD = """
127.0.0.1:10025 inet n  -       n       -       -       smtpd
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
smtp      unix  -       -       n       -       -       smtp
"""


@pytest.fixture
def postfix(certificates):
    """Starts Postfixes that speak TLS; as clients they verify mx.example.test."""
    if not is_root():
        pytest.skip("a private Postfix is started as root")
    made = []

    def make(*lines):
        settings = (f"smtpd_tls_chain_files = {certificates.mx.key}, {certificates.mx.certificate}",
                    f"smtp_tls_CAfile = {certificates.authority.certificate}",
                    f"smtp_tls_verify_cert_match = {NAME}", "smtpd_tls_loglevel = 1",
                    "smtpd_tls_received_header = yes", *lines)
        made.append(Postfix("".join(line + "\n" for line in settings), SMTPD))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_postfix_as_target(postfix, postern, certificates):
    """Each policy; XCLIENT and mail behind STARTTLS; the session is resumed."""
    server = postfix("smtpd_tls_security_level = may",
                     "smtpd_authorized_xclient_hosts = 127.0.0.0/8")
    for mode in ("may", "encrypt", "verify"):
        front = postern(relay_config(f"127.0.0.1:{server.port}", "identity = xclient",
                                     f"tls = {mode}", f"name = {NAME}",
                                     f'tls-ca = "{certificates.authority.certificate}"'))
        assert mail(front).code == 250
        assert front.wait_transaction()["target-tls"].startswith("TLSv1.3/")
        assert mail(front).code == 250
        assert front.wait_event("target-tls", 2)["tls-resumed"] == "yes"
    assert server.process.find("Anonymous TLS connection established from")


@pytest.mark.parametrize("level", ["may", "encrypt", "verify"])
def test_postfix_as_client(postfix, target, postern, certificates, level):
    """Postfix sends its mail through a listener of ours, by each of its levels."""
    backend = target()
    front = postern(relay_config(backend.address, "identity = none", "tls = none"),
                    smtpd="tls = starttls\n" + certificates.mx.lines())
    server = postfix(f"smtp_tls_security_level = {level}", "virtual_mailbox_domains =",
                     f"relayhost = [127.0.0.1]:{front.port}")
    client = Client(("127.0.0.1", server.port))
    client.hello()
    assert client.mail(PLAIN_MESSAGE).code == 250
    client.quit()
    backend.wait_ended()
    assert front.wait_transaction()["tls"].startswith("TLSv1.3/")

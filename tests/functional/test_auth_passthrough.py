# SPDX-License-Identifier: BSD-2-Clause
"""AUTH passed to a target: clients log in there, and keep that connection for themselves."""
import pytest

from conftest import needs_root, relay_config
from harness import recipe
from harness.dovecot_auth import (PASSWORD, DovecotAuth, cram_md5, encoded, login,
                                   plain, scram)
from harness.gate import Gate
from harness.messages import PLAIN_MESSAGE
from harness.postfix import Postfix
from harness.smtp import attributes, keywords
from peers.answers import Close, Hold, Reset, Say, Silence
from peers.auth import Exchange
from peers.target import DEFAULT_EHLO, XCLIENT

AUTH = ("AUTH PLAIN LOGIN SCRAM-SHA-256 EXTERNAL SCRAM-SHA-256-PLUS",)
EHLO = (*DEFAULT_EHLO, *AUTH)
YES = "235 2.7.0 known"
JOE = "joe@example.test"
SMTPD = "auth = passthrough\nauth-plaintext = yes\n"


@pytest.fixture
def submission(postern):
    """A postern in front of a scripted target at which clients log in."""
    def make(backend, *lines, smtpd="", start=postern, **options):
        more = lines if any("identity" in line for line in lines) else ("identity = none", *lines)
        return start(relay_config(backend.address, *more, route="@"), smtpd=SMTPD + smtpd, **options)
    return make


def hello(server):
    client = server.client()
    client.hello()
    return client


def said(backend, *verbs):
    """The lines with these verbs, connection by connection; those without any are left out."""
    found = [[line for line in c.lines if line.split(" ")[0] in verbs] for c in backend.connections]
    return [lines for lines in found if lines]


# ---- the exchange ----

def test_at_once(submission, target):
    """The target's own words; everything of this client goes over that connection."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend)
    with server.client() as client:
        assert keywords(client.hello())["AUTH"] == "SCRAM-SHA-256 PLAIN LOGIN"
        assert client.expect(235, "AUTH PLAIN " + plain()).raw == b"235 2.7.0 known\r\n"
        client.expect(503, "AUTH PLAIN " + plain())
        for _ in range(3):
            assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    lines, = said(backend, "AUTH", "MAIL")
    assert lines[0] == "AUTH PLAIN " + plain()
    assert [line.split(" ")[0] for line in lines[1:]] == ["MAIL"] * 3
    found = server.wait_event("auth")
    assert (found["mechanism"], found["login"]) == ("PLAIN", JOE)
    assert server.wait_transaction(3)["login"] == JOE
    assert PASSWORD not in server.log.output and plain() not in server.log.output
    backend.wait_ended(3)


@pytest.mark.parametrize("first, replies, lines", [
    ("AUTH LOGIN", ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", YES], [encoded(JOE), encoded("secret")]),
    ("AUTH LOGIN " + encoded(JOE), ["334 UGFzc3dvcmQ6", YES], [encoded("secret")]),
    ("AUTH PLAIN", ["334 ", YES], [plain()]),
    ("auth plain", ["334 ", YES], [plain(as_whom="ceo")]),
    ("AUTH SCRAM-SHA-256 " + encoded(f"n,,n={JOE},r=x"), ["334 cj14", "334 dj14", YES],
     [encoded("c=biws"), ""])])
def test_step_by_step(submission, target, first, replies, lines):
    """Challenges and responses pass as they are."""
    exchange = Exchange(*replies)
    backend = target(ehlo=EHLO).on("AUTH", exchange)
    server = submission(backend)
    with hello(server) as client:
        reply = client.command(first)
        for line, wanted in zip(lines, replies):
            assert reply.raw == wanted.encode() + b"\r\n"
            reply = client.command(line)
        assert reply.code == 235
    assert exchange.heard[1:] == lines
    assert server.wait_event("auth")["login"] == JOE


def test_an_empty_response(submission, target):
    exchange = Exchange("334 YQ==", YES)
    server = submission(target(ehlo=EHLO).on("AUTH", exchange))
    with hello(server) as client:
        client.expect(334, "AUTH PLAIN =")
        client.expect(235, encoded("c"))
    assert exchange.heard == ["AUTH PLAIN =", encoded("c")]
    assert server.wait_event("auth")["login"] == "[UNAVAILABLE]"


@pytest.mark.parametrize("reply", [
    "535 5.7.8 no", "454 4.7.0 later", "534 5.7.9 too weak", "432 4.7.12 new password needed",
    ("535-5.7.8 no", "535 5.7.8 never"), "503 5.5.1 not here", "530 5.7.0 TLS", "538 5.7.11 TLS"])
def test_refused(submission, target, reply):
    """What the target says, and the log says whose attempt it was, without the target's words. The
    next attempt has a connection of its own."""
    backend = target(ehlo=EHLO).on("AUTH", reply, YES)
    server = submission(backend)
    lines = (reply,) if isinstance(reply, str) else reply
    with hello(server) as client:
        assert client.command("AUTH PLAIN " + plain()).raw == "".join(
            line + "\r\n" for line in lines).encode()
        client.expect(235, "AUTH PLAIN " + plain())
    failed = server.wait_event("auth-failed")
    assert failed["login"] == JOE and failed["reply"] == lines[-1].rsplit(" ", len(
        lines[-1].split(" ")) - 2)[0]
    assert len(said(backend, "AUTH")) == 2


@pytest.mark.parametrize("reply, told", [
    ("235 known", b"235 2.0.0 known\r\n"), ("535 no", b"535 5.0.0 no\r\n"),
    ("235 2.7.0 known", b"235 2.7.0 known\r\n"), ("334 YQ==", b"334 YQ==\r\n")])
def test_enhanced_codes(submission, target, reply, told):
    """A target without gets some for the client, who expects them."""
    server = submission(target(ehlo=AUTH).on("AUTH", reply))
    with hello(server) as client:
        assert client.command("AUTH PLAIN " + plain()).raw == told


def test_words_are_not_logged(submission, target):
    """A target may repeat what it has heard."""
    server = submission(target(ehlo=EHLO).on("AUTH", f"535 5.7.8 {plain()} {PASSWORD} is wrong"))
    with hello(server) as client:
        assert PASSWORD.encode() in client.expect(535, "AUTH PLAIN " + plain()).raw
    server.wait_event("disconnect")
    assert PASSWORD not in server.log.output and plain() not in server.log.output


@pytest.mark.parametrize("answer", [
    "250 2.0.0 yes", "354 go", "421 4.3.0 bye", "521 no", Say("hello"), Close(), Reset(),
    Close("335 YQ==")], ids=repr)
def test_no_answer(submission, target, answer):
    """What is none to AUTH: 454, and the session goes on."""
    backend = target(ehlo=EHLO).on("AUTH", answer, YES)
    server = submission(backend)
    with hello(server) as client:
        assert client.command("AUTH PLAIN " + plain()).raw.startswith(b"454 4.7.0 ")
        client.expect(235, "AUTH PLAIN " + plain())


def test_slow(submission, target):
    server = submission(target(ehlo=EHLO).on("AUTH", Silence()), "command-timeout = 1s")
    with hello(server) as client:
        client.expect(454, "AUTH PLAIN " + plain())
    assert server.wait_event("target-lost")


def test_given_up(submission, target):
    """The client says "*": so does postern, and leaves."""
    exchange = Exchange("334 ")
    backend = target(ehlo=EHLO).on("AUTH", exchange, YES)
    server = submission(backend)
    with hello(server) as client:
        client.expect(334, "AUTH PLAIN")
        assert client.command("*").raw.startswith(b"501 5.7.0 ")
        client.expect(235, "AUTH PLAIN " + plain())
    backend.wait(lambda: exchange.heard == ["AUTH PLAIN", "*"], "the end of AUTH")


def test_lost_between_two_lines(submission, target):
    """The client hears it when it has said its line."""
    backend = target(ehlo=EHLO).on("AUTH", Close("334 "), YES)
    server = submission(backend)
    with hello(server) as client:
        client.expect(334, "AUTH PLAIN")
        server.wait_event("target-lost")
        client.expect(454, plain())
        client.expect(235, "AUTH PLAIN " + plain())


def test_client_is_lost(submission, target):
    """... in the middle of it: nothing stays."""
    held = Hold(YES)
    backend = target(ehlo=EHLO).on("AUTH", "334 ", held)
    server = submission(backend)
    for line in (None, plain()):
        client = hello(server)
        client.expect(334, "AUTH PLAIN") if line is None else client.send(
            f"AUTH PLAIN {line}\r\n".encode())
        if line is not None:
            backend.wait(held.reached.is_set, "the second AUTH")
        client.close()
    held.release()
    server.wait_event("disconnect", 2)


def test_down(submission, target):
    """Nobody knows whether it announces AUTH; once it was met, that is remembered."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
    backend.stop()
    with server.client() as client:
        assert "AUTH" in keywords(client.hello())
        client.expect(454, "AUTH PLAIN " + plain())


def test_never_there(submission, target):
    backend = target(ehlo=EHLO)
    backend.stop()
    server = submission(backend)
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())
        client.expect(454, "AUTH PLAIN " + plain())


def test_no_auth_there(submission, target):
    """It is announced where the target announces it."""
    server = submission(target())
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())


@pytest.mark.parametrize("user", ["joe\n", "", "x" * 300])
def test_no_password_is_taken_for_a_name(submission, target, user):
    """Where LOGIN's first word is none that can be shown."""
    exchange = Exchange("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "535 5.7.8 no")
    server = submission(target(ehlo=EHLO).on("AUTH", exchange))
    with hello(server) as client:
        client.expect(334, "AUTH LOGIN")
        client.expect(334, encoded(user))
        client.expect(535, encoded(PASSWORD))
    assert "login" not in server.wait_event("auth-failed")
    assert PASSWORD not in server.log.output


def test_plain_without_whom(submission, target):
    """... and of PLAIN in two parts the second is the password."""
    server = submission(target(ehlo=EHLO).on("AUTH", "535 5.7.8 no"))
    with hello(server) as client:
        client.expect(535, "AUTH PLAIN " + encoded("joe\0" + PASSWORD))
    server.wait_event("auth-failed")
    assert PASSWORD not in server.log.output


def test_another_name(submission, target):
    """A target that asks for the name once more did not take the first one for it."""
    exchange = Exchange("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", YES)
    server = submission(target(ehlo=EHLO).on("AUTH", exchange))
    with hello(server) as client:
        client.expect(334, "AUTH LOGIN " + encoded("ceo@example.test"))
        client.expect(334, encoded(JOE))
        client.expect(235, encoded(PASSWORD))
    assert server.wait_event("auth")["login"] == "[UNAVAILABLE]"


def test_anonymous(submission, target):
    """It would be as good as a password to relay-from."""
    server = submission(target(ehlo=(*DEFAULT_EHLO, "AUTH ANONYMOUS")).on("AUTH", YES))
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())
        assert client.command("AUTH ANONYMOUS " + encoded("x")).code == 504


def test_no_password_in_plain(submission, target, certificates):
    """The handshake that the target announces fails: for mail that would do, with tls = may."""
    backend = target(ehlo=EHLO, tls=certificates.server_context(certificates.mx)).on(
        "STARTTLS", Say("220 go", b"garbage\r\n" * 30))
    server = submission(backend)
    with hello(server) as client:
        client.expect(454, "AUTH PLAIN " + plain())
    assert not said(backend, "AUTH")


def test_silent_at_first(submission, target):
    """Clients that do not log in do not wait long to hear whether they could."""
    backend = target(ehlo=EHLO).on("greeting", Silence(), "220 hi")
    server = submission(backend, "connect-timeout = 20s")
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())


# ---- who the client is ----

@pytest.mark.parametrize("first", [True, False])
def test_xclient_comes_first(submission, target, first):
    """Also where mail had gone there before."""
    backend = target(ehlo=(*EHLO, XCLIENT)).on("AUTH", YES)
    server = submission(backend, "identity = xclient")
    with hello(server) as client:
        if not first:
            assert client.mail(PLAIN_MESSAGE).code == 250
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    lines = said(backend, "XCLIENT", "AUTH", "MAIL")[-1]
    assert [line.split(" ")[0] for line in lines] == ["XCLIENT", "AUTH", "MAIL"]
    assert "LOGIN" not in attributes(lines[0])


@pytest.mark.parametrize("version", [1, 2])
def test_proxy(submission, target, version):
    backend = target(ehlo=EHLO, proxy=True).on("AUTH", YES)
    server = submission(backend, f"identity = proxy-v{version}")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
    lines, = said(backend, "AUTH", "MAIL")
    assert len(lines) == 2


def test_the_target_refuses_the_client(submission, target):
    backend = target(ehlo=(*EHLO, XCLIENT)).on("XCLIENT", "554 5.7.1 not you")
    server = submission(backend, "identity = xclient")
    with hello(server) as client:
        assert client.command("AUTH PLAIN " + plain()).raw == b"554 5.7.1 not you\r\n"


@pytest.mark.parametrize("refusal", ["503 5.5.1 no", "550 5.7.0 insufficient authorization"])
def test_identity_failure_passes(submission, target, refusal):
    """XCLIENT is not said again behind AUTH."""
    backend = target(ehlo=(*EHLO, XCLIENT)).on("AUTH", YES).on("XCLIENT", refusal)
    server = submission(backend, "identity = xclient", "identity-failure = pass")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250


def test_the_name_comes_late(postern, target, silent_dns):
    """What is left of resolve-timeout then is none for XCLIENT."""
    held = Hold("220 2.0.0 Ok")
    backend = target(ehlo=(*EHLO, XCLIENT)).on("AUTH", YES).on("XCLIENT", held)
    server = postern(relay_config(backend.address, "identity = xclient", route="@"),
                     smtpd=SMTPD + "resolve-timeout = 1s\n", resolver=silent_dns.address)
    with hello(server) as client:
        client.send(b"AUTH PLAIN " + plain().encode() + b"\r\n")
        backend.wait(held.reached.is_set, "XCLIENT")
        held.release()
        client.expect(235)


def test_ehlo_again(submission, target):
    """RFC 4954 does not say that it forgets who the client is."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "EHLO other.example.test")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(said(backend, "AUTH", "MAIL")) == 1
    assert server.wait_transaction()["login"] == JOE


def test_starttls_forgets(submission, target, certificates):
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend, smtpd="tls = starttls\n" + certificates.mx.lines())
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.start_tls(certificates.client_context())
        client.expect(250, "EHLO client.example.test")
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert [len(lines) for lines in said(backend, "AUTH", "MAIL")] == [1, 2]


def test_nobody_else_gets_it(submission, target):
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend, smtpd="relay-from = 127.0.0.1\n")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
        with hello(server) as other:
            assert other.mail(PLAIN_MESSAGE).code == 250
    with hello(server) as other:
        assert other.mail(PLAIN_MESSAGE).code == 250
    knowing, = (c for c in backend.connections if "AUTH" in c.verbs)
    assert knowing.verbs.count("MAIL") == 1


def test_without_login(submission, target):
    """530 is the client's to hear, and AUTH may follow."""
    backend = target(ehlo=EHLO).on("AUTH", YES).on("MAIL", "530 5.7.0 who are you", "250 2.1.0 Ok")
    server = submission(backend, smtpd="relay-from = 127.0.0.1\n")
    with hello(server) as client:
        client.expect(250, "MAIL FROM:<joe@example.test>")
        assert client.command("RCPT TO:<you@example.org>").raw == b"530 5.7.0 who are you\r\n"
        client.expect(250, "RSET")
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250


# ---- its connection ----

def test_limits_do_not_end_it(submission, target):
    """max-transactions and idle-timeout are for connections that others could use."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend, "max-transactions = 1", "idle-timeout = 1s")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        for _ in range(3):
            assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(said(backend, "MAIL")) == 1


def test_reset(submission, target):
    """A transaction that is given up, and the next one at once, and later."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.envelope()
        client.expect(250, "RSET")
        client.envelope()
        client.send(b"RSET\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n")
        for _ in range(3):
            client.expect(250)
        client.expect(250, "RSET")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert len(said(backend, "MAIL")) == 1


def test_reset_waits(submission, target):
    """The target is slow with RSET: the next recipient waits for its own connection."""
    held = Hold("250 2.0.0 Ok")
    backend = target(ehlo=EHLO).on("AUTH", YES).on("RSET", held)
    server = submission(backend)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.envelope()
        client.expect(250, "RSET")
        backend.wait(held.reached.is_set, "RSET")
        client.expect(250, "MAIL FROM:<a@example.org>")
        client.send(b"RCPT TO:<b@example.org>\r\n")
        held.release()
        client.expect(250)
    assert len(said(backend, "MAIL")) == 1


def test_lost_while_idle(submission, target):
    """The client hears of it at once: 421."""
    backend = target(ehlo=EHLO).on("AUTH", YES).on("RSET", Close("421 4.4.2 timeout"))
    server = submission(backend)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.envelope()
        client.expect(250, "RSET")
        assert client.reply().raw.startswith(b"421 4.4.2 ")
    lost = server.wait_event("login-lost")
    assert (lost["login"], lost["target"]) == (JOE, "target")
    assert server.wait_event("disconnect")["reason"] == "login-lost"


@pytest.mark.parametrize("policy", ["spool", "tempfail"])
def test_lost_in_a_message(submission, target, policy):
    """What the target had taken is taken over; then 421. It is not asked for again as a stranger."""
    backend = target(ehlo=EHLO).on("AUTH", YES).on("DATA", Close("354 go"), "354 go")
    server = submission(backend, f"on-failure = {policy}")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.envelope()
        client.expect(354, "DATA")
        server.wait_event("login-lost")
        client.send(PLAIN_MESSAGE + b".\r\n")
        client.expect(250 if policy == "spool" else 451)
        client.expect(421)
    if policy == "spool":
        assert server.wait_event("delivered")


def test_lost_in_an_envelope(submission, target):
    """Nobody is accepted in the target's stead, who would be a stranger to it later."""
    backend = target(ehlo=EHLO).on("AUTH", YES).on("RCPT", "250 2.1.5 Ok", Close(), "250 2.1.5 Ok")
    server = submission(backend, "on-failure = spool")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "MAIL FROM:<joe@example.test>")
        client.expect(250, "RCPT TO:<a@example.org>")
        client.expect(451, "RCPT TO:<b@example.org>")
        client.expect(451, "RCPT TO:<c@example.org>")
        assert client.data(PLAIN_MESSAGE).code == 250
        assert client.reply().code == 421
    delivered = server.wait_event("delivered")
    assert "a@example.org" in str(delivered)


def test_connections_are_counted(submission, target):
    """At max-connections a login waits, and then is told."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend, "max-connections = 1", "envelope-timeout = 1s")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        with hello(server) as other:
            other.expect(454, "AUTH PLAIN " + plain())
        client.quit()
    server.wait_event("disconnect", 2)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())


def test_reload(submission, target, workers):
    """A session outlives its generation, and so does its login."""
    backend = target(ehlo=EHLO).on("AUTH", YES)
    server = submission(backend, start=workers)
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        server.reload()
        assert client.mail(PLAIN_MESSAGE).code == 250


# ---- settings ----

@pytest.mark.parametrize("config, smtpd, wanted", [
    ('[relay "a"]\naddress = 127.0.0.1:2\n[relay "b"]\naddress = 127.0.0.1:3\n'
     '[route]\n@a.test a\n@b.test b\n', "auth = passthrough",
     "passthrough needs an auth-target, since the tables do not lead to exactly one relay"),
    ('[route]\n@a.test discard\n', "auth = passthrough",
     "passthrough needs an auth-target, since the tables do not lead to exactly one relay"),
    ('[relay "a"]\naddress = 127.0.0.1:2\nauth-user = joe\nauth-password-file = /dev/null\n'
     '[route]\n@a.test a\n', "auth = passthrough",
     "a [relay] that has neither auth-user nor balance = hash"),
    ('[relay "a"]\naddress = 127.0.0.1:2\naddress = 127.0.0.1:3\nbalance = hash\n[route]\n@a.test a\n',
     "auth = passthrough", "a [relay] that has neither auth-user nor balance = hash"),
    ('[relay "a"]\naddress = 127.0.0.1:2\n[route]\n@a.test a\n',
     "auth = passthrough\nauth-target = b", "a [relay] that has neither"),
    ('[relay "a"]\naddress = 127.0.0.1:2\n[route]\n@a.test a\n', "auth-target = a",
     "auth-target is for auth = passthrough alone")])
def test_settings(postern, config, smtpd, wanted):
    result = postern(config, smtpd=smtpd, is_started=False).check()
    assert result.returncode == 78 and wanted in result.stderr


def test_which_relay(postern, target):
    """auth-target names it, where there are several; others are told by XCLIENT LOGIN."""
    knows, other = target(ehlo=EHLO).on("AUTH", YES), target(ehlo=(*DEFAULT_EHLO, XCLIENT))
    server = postern(
        f'[relay "a"]\naddress = {knows.address}\nidentity = none\n'
        f'[relay "b"]\naddress = {other.address}\nidentity = xclient\n'
        '[route]\n@example.test b\n@ a\n', smtpd=SMTPD + "auth-target = a\n")
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "MAIL FROM:<joe@example.test>")
        client.expect(250, "RCPT TO:<a@example.test>")
        client.expect(250, "RCPT TO:<b@example.org>")
        assert client.data(PLAIN_MESSAGE).code == 250
    line, = (line for c in other.connections for line in c.lines if line.startswith("XCLIENT"))
    assert attributes(line)["LOGIN"] == JOE


# ---- real servers ----

@pytest.fixture(scope="module")
def passwords():
    made = DovecotAuth({JOE: PASSWORD})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def postfix(passwords, certificates):
    """By the recipe of doc/postfix.md, and AUTH over TLS alone."""
    service = recipe.block("submission", "master.cf")
    assert "smtpd_sasl_path=private/auth" in service
    service = service.replace("smtpd_sasl_path=private/auth", f"smtpd_sasl_path={passwords.path}")
    made = Postfix("", service + "tlsmgr unix - - n 1000? 1 tlsmgr\n", {
        "smtpd_tls_chain_files": f"{certificates.mx.key}, {certificates.mx.certificate}",
        "smtpd_tls_security_level": "may", "smtpd_tls_auth_only": "yes"})
    yield made
    made.stop()


@pytest.fixture
def in_front(postfix, postern, certificates):
    """A postern by the same recipe."""
    def make(identity="xclient", port=postfix.port):
        text = recipe.block("submission", "postern.cf")
        listener, rest = text.split("\n\n", 1)
        settings = "".join(line + "\n" for line in listener.split("\n")[2:]
                           if not line.startswith("tls-"))
        rest = recipe.put_in(rest, postfix_port=port, reports_port=postfix.reports_port)
        return postern(rest.replace("= xclient", f"= {identity}"),
                       smtpd=settings + certificates.mx.lines())
    return make


HOW = {"plain": lambda client, **more: client.command("AUTH PLAIN " + plain(**more)),
       "login": login, "cram-md5": cram_md5, "scram-sha-256": scram}


def secured(server, certificates):
    client = hello(server)
    client.start_tls(certificates.client_context())
    assert "SCRAM-SHA-256" in keywords(client.expect(250, "EHLO client.example.test"))["AUTH"]
    return client


@needs_root
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("identity", ["xclient", "none"])
def test_postfix(postfix, in_front, certificates, how, identity):
    """Postfix's own words, its own rights, and the client's own address in its log."""
    server = in_front(identity=identity)
    with secured(server, certificates) as client:
        client.expect(250, "MAIL FROM:<joe@example.test>")
        assert client.command("RCPT TO:<joe@example.test>").code in (450, 550, 554)
        client.expect(250, "RSET")
        assert HOW[how](client, password="wrong").raw.startswith(b"535 5.7.8 Error: ")
        assert HOW[how](client).raw == b"235 2.7.0 Authentication successful\r\n"
        for _ in range(2):
            assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    postfix.wait_log(f"sasl_method={how.upper()}, sasl_username={JOE}")
    assert server.wait_event("auth")["login"] == JOE


@needs_root
def test_postfix_goes_away(postfix, in_front, certificates):
    """In a message: taken over, and delivered with the login, which Postfix believes."""
    gate = Gate(postfix.server)
    server = in_front(port=gate.address.rpartition(":")[2])
    with secured(server, certificates) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "MAIL FROM:<joe@example.test>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        client.expect(354, "DATA")
        gate.shut()
        server.wait_event("login-lost")
        client.send(PLAIN_MESSAGE + b".\r\n")
        client.expect(250)
        client.expect(421)
    mark = postfix.log.mark()
    gate.open()
    server.wait_event("delivered")
    postfix.log.wait_line(f"sasl_username={JOE}", since=mark)

# SPDX-License-Identifier: BSD-2-Clause
"""AUTH: clients that Dovecot knows, what it is good for, and what nobody ever sees."""
import smtplib
import subprocess

import pytest

from conftest import needs_root, relay_config
from harness.dovecot_auth import (PASSWORD, DovecotAuth, FakeDovecot, cram_md5, encoded, login, plain, scram)
from harness.messages import PLAIN_MESSAGE
from harness.process import free_port
from harness.senders import Swaks
from harness.smtp import attributes, keywords, without_received

pytestmark = needs_root

JOE = {"joe@example.test": PASSWORD}
DISCARD = "[route]\n@example.test discard\n"
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"]


@pytest.fixture(scope="module")
def known():
    """Among others one who may not log in."""
    server = DovecotAuth({**JOE, "away@example.test": PASSWORD},
                         more={"away@example.test": "nologin=y"})
    yield server
    server.stop()


@pytest.fixture
def dovecot():
    """One that may be stopped."""
    server = DovecotAuth(JOE)
    yield server
    server.stop()


def lines(dovecot, *more):
    return "".join(line + "\n" for line in (f"auth = dovecot:{dovecot.path}", *more))


@pytest.fixture
def server(postern, known):
    """Passwords may be said in plain."""
    return postern(DISCARD, smtpd=lines(known, "auth-plaintext = yes"))


def hello(server):
    client = server.client()
    client.hello()
    return client


# ---- mechanisms ----

EXCHANGES = {
    "plain": lambda client: client.command("AUTH PLAIN " + plain()),
    "plain, asked": lambda client: (client.expect(334, "AUTH plain"), client.command(plain()))[1],
    "login": login,
    "cram-md5": cram_md5,
    "scram-sha-1": lambda client: scram(client, "SCRAM-SHA-1"),
    "scram-sha-256": scram,
}


@pytest.mark.parametrize("how", EXCHANGES)
def test_mechanisms(server, how):
    with server.client() as client:
        assert keywords(client.hello())["AUTH"].split(" ") == MECHANISMS
        reply = EXCHANGES[how](client)
        assert reply.raw.startswith(b"235 2.7.0 ")
        client.expect(503, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    mechanism = how.split(",")[0].upper()
    found = server.wait_event("auth")
    assert (found["mechanism"], found["login"]) == (mechanism, "joe@example.test")
    closing = server.wait_transaction()
    assert (closing["login"], closing["auth"]) == ("joe@example.test", mechanism)
    assert PASSWORD not in server.log.output and plain() not in server.log.output


@pytest.mark.parametrize("how", [
    lambda c: c.command("AUTH PLAIN " + plain(password="wrong")),
    lambda c: login(c, password="wrong"), lambda c: cram_md5(c, password="wrong"),
    lambda c: scram(c, password="wrong"), lambda c: c.command("AUTH PLAIN " + plain(user="nobody"))])
def test_refused(server, how):
    """535, and the log says who it was, but not what was said; the next attempt may be right."""
    with hello(server) as client:
        assert how(client).raw.startswith(b"535 5.7.8 ")
        client.expect(235, "AUTH PLAIN " + plain())
    failed = server.wait_event("auth-failed")
    assert failed["reply"].startswith("535 5.7.8")
    assert "wrong" not in server.log.output and encoded("wrong") not in server.log.output


def test_disabled(server):
    with hello(server) as client:
        assert client.command("AUTH PLAIN " + plain("away@example.test")).raw.startswith(
            b"525 5.7.13 ")
    assert server.wait_event("auth-failed")["login"] == "away@example.test"


# ---- what is no exchange ----

@pytest.mark.parametrize("line, wanted", [
    ("AUTH", b"501 5.5.4"), ("AUTH FOO", b"504 5.5.4"), ("AUTH EXTERNAL =", b"504 5.5.4"),
    ("AUTH PLAIN " + "=" * 3, b"501 5.5.2"), ("AUTH PLAIN " + plain() + "A", b"501 5.5.2"),
    ("AUTH PLAIN AA== AA==", b"501 5.5.2"), ("AUTH PLAIN A*==", b"501 5.5.2"),
    ("AUTH PLAIN " + "A" * 12288, b"500 5.5.6"),
    ("AUTH PLAIN " + "A" * 12292, b"500 5.5.6"), ("AUTH PLAIN " + "A" * 40000, b"500 5.5.6"),
    ("AUTH PLAIN " + "A" * 4096, b"535 5.7.8")], ids=lambda value: str(value[:20]))
def test_commands(server, line, wanted):
    with hello(server) as client:
        assert client.command(line).raw.startswith(wanted)
        client.expect(235, "AUTH PLAIN " + plain())


@pytest.mark.parametrize("line, wanted", [
    ("*", b"501 5.7.0"), ("A", b"501 5.5.2"), ("=", b"501 5.5.2"), ("", b"535 5.7.8"),
    ("A" * 12288, b"500 5.5.6"), ("A" * 12292, b"500 5.5.6"), ("A" * 70000, b"500 5.5.6"),
    ("QUIT", b"535 5.7.8")], ids=lambda value: str(value[:8]))
def test_lines(server, line, wanted):
    """What may come behind 334. The exchange is over then, and commands are read again."""
    with hello(server) as client:
        client.expect(334, "AUTH PLAIN")
        assert client.command(line).raw.startswith(wanted)
        client.expect(250, "NOOP")
        client.expect(235, "AUTH PLAIN " + plain())


def test_order(server):
    """EHLO first; not in a transaction; XCLIENT and EHLO change nothing for who is authenticated."""
    with server.client() as client:
        client.expect(220)
        client.expect(503, "AUTH PLAIN " + plain())
        client.expect(250, "HELO client.example.test")
        client.expect(503, "AUTH PLAIN " + plain())
        client.expect(250, "EHLO client.example.test")
        client.expect(250, "MAIL FROM:<a@example.org>")
        client.expect(503, "AUTH PLAIN " + plain())
        client.expect(250, "RSET")
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "EHLO client.example.test")
        client.expect(503, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert server.wait_transaction(2)["login"] == "joe@example.test"


def test_lhlo(server):
    with server.client() as client:
        client.expect(220)
        assert "AUTH" in keywords(client.expect(250, "LHLO client.example.test"))
        client.expect(235, "AUTH PLAIN " + plain())


def test_none(postern):
    server = postern(DISCARD)
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())
        client.expect(502, "AUTH PLAIN " + plain())


def test_too_many(postern, known):
    """Attempts count like other errors."""
    server = postern(DISCARD, smtpd=lines(known, "auth-plaintext = yes", "max-errors = 3"))
    with hello(server) as client:
        for _ in range(2):
            client.expect(535, "AUTH PLAIN " + plain(password="wrong"))
        client.expect(535, "AUTH PLAIN " + plain(password="wrong"))
        client.expect(421)


def test_early(server):
    """What comes behind a line before its reply ends the session."""
    with hello(server) as client:
        client.send(b"AUTH PLAIN " + plain().encode() + b"\r\nNOOP\r\n")
        client.expect(554)
    with hello(server) as client:
        client.expect(334, "AUTH PLAIN")
        client.send(plain().encode() + b"\r\nNOOP\r\n")
        client.expect(554)


def test_octet_by_octet(server):
    with hello(server) as client:
        client.send_octet_by_octet(b"AUTH PLAIN " + plain().encode() + b"\r\n")
        client.expect(235)


# ---- TLS ----

def test_plaintext_needs_tls(postern, known, certificates):
    """Without TLS only what does not show the password; 538 for the rest. STARTTLS forgets."""
    server = postern(DISCARD, smtpd=lines(known, "tls = starttls", certificates.mx.lines()))
    with server.client() as client:
        assert keywords(client.hello())["AUTH"].split(" ") == MECHANISMS[:4]
        assert client.command("AUTH PLAIN " + plain()).raw.startswith(b"538 5.7.11 ")
        client.expect(538, "AUTH LOGIN")
        client.expect(504, "AUTH XOAUTH2")      # nobody offers it
        assert scram(client).code == 235
        client.start_tls(certificates.client_context())
        assert keywords(client.expect(250, "EHLO client.example.test"))["AUTH"].split(
            " ") == MECHANISMS
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert "login" not in server.wait_transaction()
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert server.wait_transaction(2)["auth"] == "PLAIN"


def test_required(postern, known, certificates):
    server = postern(DISCARD, smtpd=lines(known, "tls = required", certificates.mx.lines()))
    with hello(server) as client:
        assert client.command("AUTH PLAIN " + plain()).raw.startswith(b"530 5.7.0 ")


def test_behind_a_proxy_that_ends_tls(postern, known):
    """Who is in front says that the client's connection is encrypted."""
    server = postern(DISCARD, smtpd=lines(known, "proxy-protocol-from = 127.0.0.1"))
    for tlvs, wanted in ((b"", 538), (b"\x20\x00\x05\x01\x00\x00\x00\x00", 235)):
        with server.client() as client:
            client.send(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11" + bytes([0, 12 + len(tlvs)])
                        + bytes([192, 0, 2, 7, 127, 0, 0, 1, 0, 99, 0, 25]) + tlvs)
            client.hello()
            client.expect(wanted, "AUTH PLAIN " + plain())


SECRET = "Zu8-never-seen-Qx4"


def memory_of(process):
    """All that it could write into a core file."""
    with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, rights = line.split()[:2]
            start, end = (int(place, 16) for place in where.split("-"))
            if rights.startswith("rw") and end - start < 1 << 30:
                memory.seek(start)
                try:
                    yield memory.read(end - start)
                except OSError:
                    continue


@pytest.mark.parametrize("way", ["plain", "octet by octet", "tls"])
@pytest.mark.parametrize("how", ["at once", "asked", "wrong", "too long", "no mechanism"])
def test_nothing_stays_in_memory(postern, known, certificates, monkeypatch, way, how):
    """Neither on the heap nor in buffers. Functions are bound at the start, as in a release: else
    what copies left in registers is saved on the stack."""
    monkeypatch.setenv("LD_BIND_NOW", "1")
    server = postern(DISCARD, smtpd=lines(known, "auth-plaintext = yes", "tls = starttls",
                                          certificates.mx.lines()))
    secret = {"at once": plain(password=PASSWORD), "too long": encoded(SECRET * 600)}.get(
        how, plain(password=SECRET if how in ("wrong", "no mechanism") else PASSWORD))
    marks = [plain(password=PASSWORD)[28:52], plain(password=SECRET)[28:52], SECRET, PASSWORD,
             encoded(SECRET * 3)[:24]]
    line = {"asked": secret, "no mechanism": "AUTH FOO " + secret}.get(how, "AUTH PLAIN " + secret)
    with server.client() as client:
        client.hello()
        if way == "tls":
            client.start_tls(certificates.client_context())
            client.expect(250, "EHLO client.example.test")
        if how == "asked":
            client.expect(334, "AUTH PLAIN")
        if way == "octet by octet":
            client.send_octet_by_octet(line.encode() + b"\r\n")
        else:
            client.send(line.encode() + b"\r\n")
        assert client.reply().code in (235, 535, 500, 504)
        for piece in memory_of(server.process.child):
            assert not [mark for mark in marks if mark.encode() in piece]


# ---- what it is good for ----

def test_targets_are_told(postern, known, target):
    """XCLIENT LOGIN, also where the connection was the client's already; Received says ESMTPA."""
    backend = target(ehlo=("PIPELINING", "XCLIENT NAME ADDR LOGIN"))
    server = postern(relay_config(backend.address),
                     smtpd=lines(known, "auth-plaintext = yes"))
    with hello(server) as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
    said = [line for c in backend.connections for line in c.lines if line.startswith("XCLIENT")]
    assert [attributes(line).get("LOGIN") for line in said] == [None, "joe@example.test"]


@pytest.mark.parametrize("greeting, wanted", [("EHLO", "ESMTPA"), ("LHLO", "LMTPA")])
def test_received(postern, known, target, greeting, wanted):
    backend = target()
    server = postern(relay_config(backend.address, "identity = none", "received = always"),
                     smtpd=lines(known, "auth-plaintext = yes"))
    with server.client() as client:
        client.expect(220)
        client.expect(250, f"{greeting} client.example.test")
        client.expect(235, "AUTH PLAIN " + plain())
        assert client.mail(PLAIN_MESSAGE).code == 250
    value, _ = without_received(backend.wait_ended()[0].content)
    assert f"with {wanted}" in value


def test_relaying(postern, known, target):
    """relay-from = authenticated."""
    backend = target()
    server = postern(relay_config(backend.address, "identity = none", route="@"),
                     smtpd=lines(known, "auth-plaintext = yes", "relay-from = authenticated"))
    with hello(server) as client:
        client.expect(250, "MAIL FROM:<joe@example.test>")
        client.expect(550, "RCPT TO:<you@elsewhere.test>")
        client.expect(250, "RSET")
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "MAIL FROM:<joe@example.test>")
        client.expect(250, "RCPT TO:<you@elsewhere.test>")


@pytest.mark.parametrize("said, heard, heard_of_stranger", [
    (" AUTH=joe+2Bx@example.test", " AUTH=joe+2Bx@example.test", " AUTH=<>"),
    (" AUTH=<>", " AUTH=<>", " AUTH=<>"), ("", "", "")])
@pytest.mark.parametrize("is_announced", [True, False])
def test_authors(postern, known, target, is_announced, said, heard, heard_of_stranger):
    """MAIL AUTH= goes where it is understood, and what a stranger says in it is not believed."""
    backend = target(ehlo=("PIPELINING", *(["AUTH PLAIN"] if is_announced else [])))
    server = postern(relay_config(backend.address, "identity = none"),
                     smtpd=lines(known, "auth-plaintext = yes"))
    for login in (False, True):
        with hello(server) as client:
            if login:
                client.expect(235, "AUTH PLAIN " + plain())
            client.expect(250, "MAIL FROM:<joe@example.test>" + said)
            client.expect(250, "RCPT TO:<joe@example.test>")
    wanted = [heard_of_stranger, heard] if is_announced else ["", ""]
    assert [line for c in backend.connections for line in c.lines if line.startswith("MAIL")] == [
        "MAIL FROM:<joe@example.test>" + part for part in wanted]


@pytest.mark.parametrize("auth, value, wanted", [
    (True, "joe@", 250), (True, "a+0Ab", 501), (True, "a+", 501), (True, "x" * 501, 501),
    (True, "<> AUTH=joe", 250), (True, "joe AUTH=joe", 501), (False, "joe", 555),
    (False, "<>", 250)])
def test_author_syntax(postern, known, auth, value, wanted):
    server = postern(DISCARD, smtpd=lines(known, "auth-plaintext = yes") if auth else "")
    with hello(server) as client:
        client.expect(wanted, "MAIL FROM:<joe@example.test> AUTH=" + value)


def test_milters(postern, known, raw_milter):
    """{auth_authen} and {auth_type}."""
    milter = raw_milter()
    server = postern(f'[milter "m"]\naddress = {milter.address}\n' + DISCARD,
                     smtpd=lines(known, "auth-plaintext = yes", "filter = m"))
    with hello(server) as client:
        client.expect(235, "AUTH PLAIN " + plain())
        client.expect(250, "MAIL FROM:<joe@example.test> AUTH=author@example.test")
        client.expect(250, "RCPT TO:<joe@example.test>")
    macros = milter.connections[0].macros("M")[0]
    assert (macros["{auth_authen}"], macros["{auth_type}"]) == ("joe@example.test", "PLAIN")
    assert macros["{auth_author}"] == "author@example.test"


# ---- Dovecot away ----

def test_away(postern, dovecot):
    """What it offered is offered on; AUTH gets 454, until it is back. The log says so once."""
    server = postern(DISCARD, smtpd=lines(dovecot, "auth-plaintext = yes"))
    with hello(server) as client:
        client.expect(334, "AUTH PLAIN")
        dovecot.kill()
        server.wait_event("auth-server-down")
        assert client.command(plain()).raw.startswith(b"454 4.7.0 ")
        assert "PLAIN" in keywords(client.expect(250, "EHLO client.example.test"))["AUTH"]
        client.expect(454, "AUTH PLAIN " + plain())
        dovecot.start()
        server.wait_event("auth-server-up")
        client.expect(235, "AUTH PLAIN " + plain())
    assert len(server.events("auth-server-down")) == 1


def test_never_there(postern, tmp_path):
    """Nothing is offered, and mail passes."""
    server = postern(DISCARD, smtpd=f"auth = dovecot:{tmp_path}/auth\n")
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())
        client.expect(454, "AUTH SCRAM-SHA-1")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert server.wait_event("auth-server-down")["path"] == f"{tmp_path}/auth"


@pytest.fixture
def fake():
    made = []

    def make(*arguments, **options):
        made.append(FakeDovecot(*arguments, **options))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.mark.parametrize("answer, wanted", [
    ("FAIL\t{id}\tuser=joe\ttemp", 454), ("FAIL\t{id}\tcode=temp_fail", 454),
    ("FAIL\t{id}\tuser=joe\tuser_disabled", 525), ("FAIL\t{id}\tauthz", 535),
    ("FAIL\t{id}", 535), ("OK\t{id}", 454), ("OK\t{id}\tuser=", 454),
    ("OK\t{id}\tuser=\x01t", 454), ("OK\t{id}\tuser=" + "x" * 600, 454),
    ("CONT\t{id}\t*", 454), ("OK\t0\tuser=eve\nFAIL\t{id}", 535), ("OK", 454), ("\0", 454),
    ("OK\t{id}\tuser=joe\tproxy\tnologin", 235), ("OK\t{id}\tnologin\tuser=joe", 525),
    ("OK\t{id}\tuser=joe\nOK\t{id}\tuser=eve", 235), ("x" * 200000, 454)],
    ids=lambda value: repr(value)[:30])
def test_answers(postern, fake, answer, wanted):
    """What a server may say to a request; \0: it hangs up. What makes no sense is not believed."""
    dovecot = fake(answer)
    server = postern(DISCARD, smtpd=lines(dovecot, "auth-plaintext = yes"))
    with hello(server) as client:
        client.expect(wanted, "AUTH PLAIN " + plain())
    request = dovecot.wait_line("AUTH\t")
    assert request.split("\t")[2:5] == ["PLAIN", "service=smtp", "nologin"]
    assert {"lip=127.0.0.1", f"lport={server.port}", "rip=127.0.0.1"} < set(request.split("\t"))
    assert request.endswith("\tresp=" + plain())


def test_vanishing_client(postern, fake):
    """What its request was about is said to be of no interest any more."""
    dovecot = fake(None)
    server = postern(DISCARD, smtpd=lines(dovecot, "auth-plaintext = yes"))
    with hello(server) as client:
        client.send(b"AUTH PLAIN " + plain().encode() + b"\r\n")
        number = dovecot.wait_line("AUTH\t").split("\t")[1]
        client.reset()
    assert dovecot.wait_line("CANCEL\t").split("\t")[1] == number


def test_another_protocol(postern, fake):
    """Version 2 is none that we speak."""
    dovecot = fake("", greeting="VERSION\t2\t0\nMECH\tPLAIN\nDONE\n")
    server = postern(DISCARD, smtpd=lines(dovecot, "auth-plaintext = yes"))
    with server.client() as client:
        assert "AUTH" not in keywords(client.hello())
    assert server.wait_event("auth-server-down")["error"] == "value out of range"


# ---- programs ----

@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_swaks(postern, known, certificates, mechanism):
    server = postern(DISCARD, smtpd=lines(known, "tls = starttls", certificates.mx.lines()))
    run = Swaks(server.server, options=("-tls", "--auth", mechanism, "--auth-user",
                                        "joe@example.test", "--auth-password", PASSWORD))
    assert run.exit_code == 0, run.output
    assert server.wait_transaction()["auth"] == mechanism


def test_smtplib(postern, known, certificates):
    server = postern(DISCARD, smtpd=lines(known, "tls = starttls", certificates.mx.lines()))
    with smtplib.SMTP(*server.server) as client:
        context = certificates.client_context()
        context.check_hostname = False
        client.starttls(context=context)
        client.login("joe@example.test", PASSWORD)
        client.sendmail("joe@example.test", ["joe@example.test"], PLAIN_MESSAGE)


def test_curl(postern, known, certificates, tmp_path):
    server = postern(DISCARD, smtpd=lines(known, "tls = implicit", certificates.mx.lines()))
    (tmp_path / "message").write_bytes(PLAIN_MESSAGE)
    host, port = server.server
    subprocess.run(
        ["curl", "--silent", "--show-error", "--cacert", certificates.authority.certificate,
         "--resolve", f"mx.example.test:{port}:{host}", f"smtps://mx.example.test:{port}/c.test",
         "--user", f"joe@example.test:{PASSWORD}", "--mail-from", "joe@example.test",
         "--mail-rcpt", "joe@example.test", "--upload-file", tmp_path / "message"],
        check=True, timeout=60)
    assert server.wait_transaction()["login"] == "joe@example.test"

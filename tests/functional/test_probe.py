# SPDX-License-Identifier: BSD-2-Clause
"""posternctl probe: what it says of targets of every kind, and when mail would go."""
import json
import re

import pytest

from conftest import DISCARDS, relay_config
from harness.control import Control
from harness.dovecot import Dovecot
from harness.postfix import Postfix
from harness.process import free_port, is_root
from peers.answers import Close, Say, Silence
from peers.auth import Exchange
from peers.target import CHUNKING_EHLO, DEFAULT_EHLO, XCLIENT, XFORWARD, Connection, Target

NAME = "mx.example.test"


@pytest.fixture
def probe(postern):
    """Probes the target of a configuration; the code, and the lines by stage."""
    def make(config, *words, is_started=False, name="target"):
        server = postern(config, is_started=is_started)
        done = Control(server).run("--json", "probe", name, *words)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, Lines(lines, done.stderr.decode())
    return make


class Lines(list):
    """The lines of an answer."""

    def __init__(self, lines, complaint):
        super().__init__(lines)
        self.complaint = complaint

    def result(self, stage):
        """Of the only line of that stage."""
        line, = [line for line in self if line["stage"] == stage]
        return line["result"]

    def words(self, stage):
        return [line["words"] for line in self if line["stage"] == stage]

    @property
    def stages(self):
        return [line["stage"] for line in self]


def plain(target, *lines):
    return relay_config(target.address, *lines)


# ---- stages ----

@pytest.mark.parametrize("is_started", [False, True], ids=["cold", "beside a server"])
def test_stages(target, probe, is_started):
    """Each with its time, in order; nothing is left at the target but a transaction that was RSET."""
    backend = target(ehlo=("SIZE 1000", "8BITMIME"))
    code, lines = probe(plain(backend), is_started=is_started)
    assert code == 0
    assert lines.stages == ["names", "connect", "greeting", "EHLO", "MAIL", "RCPT", "RSET", "mail"]
    assert all(line["us"] >= 0 for line in lines[:-1])
    assert lines.words("EHLO") == ["250-target.example.test / 250-SIZE 1000 / 250 8BITMIME"]
    assert lines.result("mail") == "would go"
    connection = backend.connections[-1]
    assert connection.lines[-4:] == ["MAIL FROM:<>", "RCPT TO:<postmaster>", "RSET", "QUIT"]
    assert not backend.ended


def test_recipient(target, probe):
    backend = target()
    assert probe(plain(backend), "joe@example.test")[0] == 0
    assert backend.transactions[0].rcpts == ["RCPT TO:<joe@example.test>"]


def test_text(target, postern):
    backend = target(ehlo=())
    server = postern(plain(backend), is_started=False)
    text = Control(server).text("probe", "target")
    assert [line.split()[1] for line in text.splitlines()][:3] == ["names", "connect", "greeting"]
    assert " ms  220 target.example.test ESMTP\n" in text


@pytest.mark.parametrize("words", [(), ("target", "--smuggle"), ("target", "no address"),
                                   ("target", "a@b.example", "c@d.example"),
                                   ("target", "--smuggle", "a@b.example", "more")])
def test_usage(target, postern, words):
    server = postern(plain(target()), is_started=False)
    Control(server).error(64, "probe", *words)


FAILURES = {
    "greeting": ("greeting", "554 5.7.1 not you"),
    "EHLO": ("EHLO", "421 4.3.2 later"),
    "MAIL": ("MAIL", "451 4.3.0 later"),
    "RCPT": ("RCPT", "550 5.1.1 unknown"),
    "hangs up": ("MAIL", Close()),
    "garbage": ("greeting", Say("hello")),
    "silence": ("greeting", Silence()),
}


@pytest.mark.parametrize("how", FAILURES)
def test_failures(target, probe, how):
    """Where it fails, and by which words; mail would not go."""
    stage, answer = FAILURES[how]
    backend = target(ehlo=()).on(stage, answer)
    code, lines = probe(plain(backend, "command-timeout = 1s"))
    assert code == 69
    assert lines.result(stage) == "failed"
    assert lines.result("mail") == "would not go"
    assert lines.complaint == "posternctl: mail would not go\n"
    if isinstance(answer, str):
        assert lines.words(stage) == [answer]
    else:
        assert {"hangs up": "closed", "garbage": "no SMTP server", "silence": "timed out"}[how] \
            in lines.words(stage)[0]


UNASKED = {
    "greeting": ("EHLO", "greeting", Say("220 target.example.test", "250 more")),
    "EHLO": ("MAIL", "EHLO", Say("250 target.example.test", "250 more")),
    "half of one": ("RCPT", "MAIL", Say("250-2.1.0", "250 2.1.0 Ok", "250-2.1.5")),
    "RCPT": ("RSET", "RCPT", Say("250 2.1.5 Ok", "250 2.1.5 Ok")),
    "in between": ("QUIT", "RSET", Say("250 2.0.0 Ok", "250 2.0.0 Ok")),
    "late": ("QUIT", "QUIT", Say("250 2.0.0 Ok", "221 2.0.0 Bye")),
}


@pytest.mark.parametrize("how", UNASKED)
def test_unasked_replies(target, probe, how):
    """They are the answers to no command, and all that is looked at behind one would mislead."""
    stage, at, answer = UNASKED[how]
    backend = target(ehlo=("PIPELINING", "CHUNKING", XCLIENT)).on(at, answer)
    code, lines = probe(plain(backend), "--smuggle", "joe@example.test")
    assert code == 69
    assert lines.result(stage) == "failed"
    assert "more replies than it hears commands" in lines.words(stage)[0]
    assert lines.stages[-2:] == [stage, "mail"]
    assert lines.result("mail") == "would not go"


def test_one_unasked_reply_among_many(target, probe):
    """MAIL and RCPT in one write have two answers, and not three."""
    backend = target(ehlo=("PIPELINING",))
    backend.on("RCPT", "250 2.1.5 Ok", Say("250 2.1.5 Ok", "250 2.0.0 more"))
    code, lines = probe(plain(backend))
    assert code == 69
    assert lines.result("PIPELINING") == "not honest"
    assert "more replies than it hears commands" in lines.words("PIPELINING")[0]


@pytest.mark.parametrize("answer", [Close("250 bye"), Say("250 bye"), Close()])
def test_odd_farewells(target, probe, answer):
    """They keep no mail from going."""
    backend = target(ehlo=()).on("QUIT", answer)
    assert probe(plain(backend, "command-timeout = 1s"))[0] == 0


def test_unasked_421(target, probe):
    """A target may say it at any time (RFC 5321 3.8)."""
    backend = target(ehlo=()).on("RCPT", Close("250 2.1.5 Ok", "421 4.3.2 shutting down"))
    code, lines = probe(plain(backend))
    assert code == 69
    assert lines.words("RSET") == ["421 4.3.2 shutting down"]


def test_dead_port(probe):
    code, lines = probe(relay_config(f"127.0.0.1:{free_port()}"))
    assert code == 69
    assert lines.result("connect") == "failed"
    assert lines.words("connect") == ["Connection refused"]


def test_unresolvable(probe):
    code, lines = probe("[relay \"target\"]\nname = nothere.example.test\n[route]\n@example.test target\n")
    assert code == 69
    assert lines.stages == ["names"]
    assert lines.result("names") == "failed"


def test_name_servers_of_the_system(target, postern):
    """They are watched; that does not keep it from ending."""
    server = postern(plain(target(ehlo=())), is_started=False)
    text = server.config.read_text()
    server.config.write_text("".join(line for line in text.splitlines(True) if "resolver" not in line))
    assert Control(server).json("probe", "target")[-1]["result"] == "would go"


def test_implicit_host(probe):
    """A host that no section names is looked up."""
    code, lines = probe(DISCARDS, name="nothere.example.test")
    assert code == 69
    assert lines.result("names") == "failed"


def test_several_addresses(target, probe):
    """Each is looked at; mail goes where one takes it, unless each has mailboxes of its own."""
    good, bad = target(ehlo=()), f"127.0.0.1:{free_port()}"
    code, lines = probe(relay_config(bad, f"address = {good.address}"))
    assert code == 0
    assert lines.words("names") == ["2 addresses"]
    assert [line["result"] for line in lines if line["stage"] == "mail"] == ["would not go", "would go"]
    assert probe(relay_config(bad, f"address = {good.address}", "balance = hash"))[0] == 69


def test_no_relay(probe, tmp_path):
    code, lines = probe(f'[maildir "target"]\npath = {tmp_path}/m\n[route]\n@example.test target\n')
    assert code == 68
    assert "no relay" in lines.complaint


# ---- TLS and AUTH ----

def secured(backend, certificates, mode):
    return relay_config(backend.address, f"tls = {mode}", f"name = {NAME}",
                        f'tls-ca = "{certificates.authority.certificate}"')


def test_certificate(target, probe, certificates):
    backend = target(ehlo=(), tls=certificates.server_context(certificates.mx))
    code, lines = probe(secured(backend, certificates, "verify"))
    assert code == 0
    facts, = lines.words("TLS")
    assert facts.startswith("TLSv1.3/")
    assert ", verified, subject CN=mx.example.test,O=Example, issuer CN=Authority" in facts
    assert ", names mx.example.test, until 20" in facts
    assert "not verified" in probe(secured(backend, certificates, "encrypt"))[1].words("TLS")[0]


def test_broken_tls(target, probe, certificates):
    """The handshake fails, or the certificate is another's."""
    backend = target(ehlo=(), tls=certificates.server_context(certificates.other))
    code, lines = probe(secured(backend, certificates, "verify"))
    assert code == 69
    assert lines.result("TLS") == "failed"
    assert "ostname mismatch" in lines.words("TLS")[0]
    backend.on("STARTTLS", Say("220 go ahead", b"no TLS record\r\n"))
    code, lines = probe(secured(backend, certificates, "encrypt"))
    assert code == 69
    assert lines.result("TLS") == "failed"


def test_auth(target, probe, certificates, tmp_path):
    """The result of the exchange, and nothing of what was said in it."""
    (tmp_path / "secret").write_text("the password\n")
    (tmp_path / "secret").chmod(0o600)
    backend = target(ehlo=("AUTH LOGIN",), tls=certificates.server_context(certificates.mx))
    config = relay_config(backend.address, "auth-user = joe", f"auth-password-file = {tmp_path}/secret")
    backend.on("AUTH", Exchange("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 yes"))
    code, lines = probe(config)
    assert code == 0
    assert lines.words("AUTH") == ["235 2.7.0 yes"]
    backend.on("AUTH", Exchange("535 5.7.8 not the password, no"))
    code, lines = probe(config)
    assert code == 69
    assert lines.result("AUTH") == "failed"
    assert "the password" not in str(lines)


# ---- the profile ----

class Forgetful(Connection):
    """Reads a command, and throws away what came behind it in the same segment."""

    def _line(self):
        line = super()._line()
        self._buffer.clear()
        return line


class ForgetfulTarget(Target):
    connection = Forgetful


@pytest.mark.parametrize("kind", [Target, ForgetfulTarget])
def test_pipelining(probe, kind):
    """One that announces it and does not do it gets no mail."""
    with kind(ehlo=("PIPELINING",)) as backend:
        code, lines = probe(plain(backend, "command-timeout = 1s"))
        is_honest = kind is Target
        assert lines.result("PIPELINING") == ("honest" if is_honest else "not honest")
        assert code == (0 if is_honest else 69)


@pytest.mark.parametrize("answer, result", [(None, "honest"), ("500 5.5.1 what?", "not honest"),
                                            (Say("250 ok", "250 NOOP"), "not honest")])
def test_chunking(target, probe, answer, result):
    """A chunk is sent, which must be answered once and is RSET: no mail comes of it."""
    backend = target(ehlo=("CHUNKING",))
    if answer:
        backend.on("BDAT", answer)
    code, lines = probe(plain(backend))
    assert lines.result("CHUNKING") == result
    assert code == (0 if result == "honest" else 69)
    assert not backend.ended


def test_identities(target, probe):
    """Each that is announced, for a client of documentation; and what the target makes of it."""
    backend = target(ehlo=(XCLIENT, XFORWARD))
    backend.on("RCPT", lambda connection, _: "250 2.1.5 Ok, from 192.0.2.77"
               if "XCLIENT" in connection.verbs else "250 2.1.5 Ok")
    code, lines = probe(plain(backend))
    assert code == 0
    assert lines.result("XCLIENT") == "believed"
    assert lines.result("XFORWARD") == "taken"
    assert any("ADDR=192.0.2.77" in line for c in backend.connections for line in c.lines
               if line.startswith("XCLIENT"))


@pytest.mark.parametrize("failure, code", [("defer", 69), ("pass", 0)])
def test_refused_identity(target, probe, failure, code):
    backend = target(ehlo=(XCLIENT,)).on("XCLIENT", "550 5.7.0 not authorized")
    result, lines = probe(plain(backend, f"identity-failure = {failure}"))
    assert lines.result("XCLIENT") == "not taken"
    assert lines.words("XCLIENT") == ["XCLIENT: 550 5.7.0 not authorized"]
    assert result == code


def test_proxy(target, probe):
    backend = target(ehlo=(), proxy=True)
    code, lines = probe(plain(backend, "identity = proxy-v1"))
    assert code == 0
    assert lines.result("PROXY v1") == "taken"
    assert b"PROXY TCP4 192.0.2.77 192.0.2.1 40000 25\r\n" in [c.proxy_header for c in backend.connections]


# ---- smuggling ----

class Lenient(Connection):
    """A dot on a line of its own ends the content, however its lines end."""

    def _until_dot(self):
        while not (end := re.search(rb"\n\.\r?\n", self._buffer)):
            self._buffer += self._receive()
        content = self.read(end.start() + 1)
        self.read(end.end() - end.start() - 1)
        return content


class LenientTarget(Target):
    connection = Lenient


def smuggling(lines):
    """The result for each ending."""
    return {line["words"].split("content")[0].strip(): line["result"]
            for line in lines if line["stage"] == "smuggling"}


def test_smuggling(target, probe):
    """Only on demand, since it leaves mail there."""
    backend = target()
    _, lines = probe(plain(backend))
    assert "smuggling" not in lines.stages
    assert not backend.ended
    code, lines = probe(plain(backend), "--smuggle", "joe@example.test")
    assert code == 0
    assert list(smuggling(lines).values()) == 6 * ["not smuggled"]
    assert {t.rcpts[0] for t in backend.ended} == {"RCPT TO:<joe@example.test>"}


def test_smuggled(probe):
    with LenientTarget() as backend:
        _, lines = probe(plain(backend), "--smuggle", "joe@example.test")
        found = smuggling(lines)
    assert found["LF . LF"] == found["LF . CR LF"] == found["CR LF . LF"] == "smuggled"
    assert found["CR . CR"] == found["CR LF . CR"] == "not smuggled"


# ---- real servers ----

SMTPD = """
127.0.0.1:10025 inet n  -       n       -       -       smtpd
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
"""


@pytest.fixture
def postfix(certificates):
    if not is_root():
        pytest.skip("a private Postfix is started as root")
    made = []

    def make(**settings):
        made.append(Postfix("", SMTPD, {
            "smtpd_tls_chain_files": f"{certificates.mx.key}, {certificates.mx.certificate}",
            "smtpd_tls_security_level": "may",
            "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
            "smtpd_authorized_xforward_hosts": "127.0.0.0/8", **settings}))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_postfix(postfix, probe, certificates):
    """All of it; what Postfix believes stands in its words for a client that it refuses."""
    server = postfix(smtpd_recipient_restrictions="check_client_access cidr:{{192.0.2.0/24 554 no}}, "
                                                  "permit_mynetworks, reject_unauth_destination")
    code, lines = probe(secured(server, certificates, "verify"), "joe@example.test")
    assert lines.words("TLS")[0].startswith("TLSv1.3/")
    assert lines.result("PIPELINING") == lines.result("CHUNKING") == "honest"
    assert lines.result("XFORWARD") == "taken"
    assert lines.result("XCLIENT") == "believed"
    assert "[192.0.2.77]" in lines.words("XCLIENT")[0]
    assert code == 0


def test_postfix_smuggling(postfix, probe):
    """Debian's default lets itself be smuggled to, today's does not."""
    for forbids, expected in (("no", "smuggled"), ("yes", "not smuggled")):
        server = postfix(smtpd_forbid_bare_newline=forbids, smtpd_forbid_bare_newline_exclusions="")
        _, lines = probe(plain(server), "--smuggle", "joe@example.test")
        found = smuggling(lines)
        assert found["LF . CR LF"] == expected, lines


def test_dovecot(probe):
    """LMTP: an unknown recipient is refused by name."""
    if not is_root():
        pytest.skip("a private Dovecot is started as root")
    server = Dovecot("127.0.0.34", free_port(), ["joe"])
    try:
        config = relay_config(server.address, "protocol = lmtp")
        code, lines = probe(config, "joe@example.org")
        assert code == 0
        assert "LHLO" in lines.stages
        assert lines.result("XCLIENT") == "taken"
        code, lines = probe(config, "nobody@example.org")
        assert code == 69
        assert lines.result("RCPT") == "failed"
        assert lines.words("RCPT")[0].startswith("550 5.1.1 ")
    finally:
        server.close()

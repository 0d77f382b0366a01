# SPDX-License-Identifier: BSD-2-Clause
"""Our own credentials at a target: each mechanism, and each way in which it fails."""
import contextlib
import os
import re
import socket

import pytest

from conftest import relay_config
from harness.control import Control
from harness.dovecot_auth import DovecotAuth
from harness.messages import PLAIN_MESSAGE
from harness.postfix import Postfix
from harness.process import is_root
from peers.answers import Answer, Close, Flood, Hold, Reset, Say
from peers.auth import Exchange, Scram, decoded, encoded
from peers.target import DEFAULT_EHLO

NAME = "mx.example.test"
USER, PASSWORD = "smart,host=1", "as long as nobody types a pa ss\u00f6word! by hand"
TOKEN = "ya29.a0AfH6SMBx-Token_of/ours=="
WITHHELD = "The next host's words are withheld"
JSON = encoded('{"status":"401","schemes":"bearer","scope":"mail"}')


@pytest.fixture
def secret(tmp_path):
    """Makes a file that holds a secret."""
    def make(text, mode=0o600, name="secret"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path
    return make


@pytest.fixture
def smart_host(target, certificates):
    """A scripted target with a certificate that announces these mechanisms."""
    def make(mechanisms, with_tls=True):
        context = certificates.server_context(certificates.mx) if with_tls else None
        return target(tls=context, ehlo=(*DEFAULT_EHLO, f"AUTH {mechanisms}"))
    return make


@pytest.fixture
def to_smart_host(postern, secret):
    """A postern that has a password for it, or a token."""
    def make(backend, *lines, password=PASSWORD, token=None, start=postern, **options):
        key = "auth-token-file" if token else "auth-password-file"
        return start(relay_config(
            backend.address, "identity = none", f'auth-user = "{USER}"',
            f'{key} = "{secret((token or password) + chr(10))}"', *lines), **options)
    return make


def mail(server):
    """The first reply that refuses something, or the last one."""
    with server.client() as client:
        client.hello()
        for line in ("MAIL FROM:<sender@example.org>", "RCPT TO:<joe@example.test>"):
            reply = client.command(line)
            if reply.code >= 400:
                return reply
        return client.data(PLAIN_MESSAGE)


def assert_secret(server, *texts):
    """Nobody reads it in the log, as it is or in base64."""
    for text in (PASSWORD, PASSWORD[:30], TOKEN, *texts):
        assert text not in server.log.output
        assert encoded(text)[:-4] not in server.log.output


def assert_down(server, backend, error=None):
    """451, and the mail is nobody's: an outage."""
    assert mail(server).raw.startswith(b"451 4.4.1 ")
    assert not backend.transactions
    down = server.wait_event("target-down")
    assert error is None or error in down.get("error", down.get("reply"))
    assert_secret(server)


# ---- what is said ----

XOAUTH2 = f"user={USER}\1auth=Bearer {TOKEN}\1\1"
OAUTHBEARER = f"n,a=smart=2Chost=3D1,\1auth=Bearer {TOKEN}\1\1"


def test_plain(smart_host, to_smart_host):
    backend = smart_host("PLAIN LOGIN")
    exchange = Exchange("235 2.7.0 yes")
    server = to_smart_host(backend.on("AUTH", exchange))
    assert mail(server).code == 250
    assert mail(server).code == 250
    assert exchange.heard == ["AUTH PLAIN " + encoded(f"\0{USER}\0{PASSWORD}")]
    connection, = backend.connections
    assert connection.verbs[:5] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL"]
    assert server.wait_event("target-auth")["mechanism"] == "PLAIN"
    assert_secret(server, f"\0{USER}\0{PASSWORD}")


def test_login(smart_host, to_smart_host):
    backend = smart_host("LOGIN")
    exchange = Exchange("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2.7.0 yes")
    assert mail(to_smart_host(backend.on("AUTH", exchange))).code == 250
    assert exchange.heard == ["AUTH LOGIN", encoded(USER), encoded(PASSWORD)]


@pytest.mark.parametrize("with_tls", [True, False])
def test_scram(smart_host, to_smart_host, with_tls):
    """The best of all; it gives no password away, so it needs no TLS."""
    backend = smart_host("LOGIN PLAIN SCRAM-SHA-256", with_tls)
    scram = Scram(PASSWORD)
    server = to_smart_host(backend.on("AUTH", scram))
    assert mail(server).code == 250
    assert scram.heard[-1] == ""
    assert server.wait_event("target-auth")["mechanism"] == "SCRAM-SHA-256"


@pytest.mark.parametrize("mechanisms, said", [("XOAUTH2 PLAIN", XOAUTH2),
                                              ("XOAUTH2 OAUTHBEARER", OAUTHBEARER)])
def test_tokens(smart_host, to_smart_host, mechanisms, said):
    backend = smart_host(mechanisms)
    exchange = Exchange("235 2.7.0 yes")
    server = to_smart_host(backend.on("AUTH", exchange), token=TOKEN)
    assert mail(server).code == 250
    assert decoded(exchange.heard[0].split(" ")[2]) == said
    assert_secret(server, said)


def test_long_token(smart_host, to_smart_host):
    """RFC 4954 4: a command of more than 512 octets is said without its response."""
    backend = smart_host("XOAUTH2")
    exchange = Exchange("334 ", "235 2.7.0 yes")
    assert mail(to_smart_host(backend.on("AUTH", exchange), token=8000 * "t")).code == 250
    assert exchange.heard[0] == "AUTH XOAUTH2"
    assert decoded(exchange.heard[1]) == f"user={USER}\1auth=Bearer {8000 * 't'}\1\1"


# ---- what fails ----

@pytest.mark.parametrize("mechanism, answer", [("XOAUTH2", ""), ("OAUTHBEARER", "\1")])
def test_refused_token(smart_host, to_smart_host, mechanism, answer):
    """The server says why in JSON and waits for an answer before it refuses."""
    backend = smart_host(mechanism)
    exchange = Exchange("334 " + JSON, "535 5.7.8 expired")
    server = to_smart_host(backend.on("AUTH", exchange), token=TOKEN)
    assert_down(server, backend, "535 5.7.8 expired")
    assert decoded(exchange.heard[1]) == answer
    assert server.wait_event("target-auth-failed")["mechanism"] == mechanism


@pytest.mark.parametrize("code", ["535 5.7.8 no", "454 4.7.0 later", "534 5.7.9 weak", "521 5.7.1 no",
                                  "550 5.7.1 no", "421 4.7.0 bye", "504 5.5.4 what"])
def test_refused(smart_host, to_smart_host, code):
    """Whatever the code, it is our configuration that fails, and no client's fault."""
    backend = smart_host("PLAIN").on("AUTH", Exchange(code))
    server = to_smart_host(backend)
    assert_down(server, backend, code)
    assert server.wait_event("target-auth-failed")["reply"] == code
    assert backend.wait_command("QUIT")


def test_reply_that_repeats_the_password(smart_host, to_smart_host):
    backend = smart_host("PLAIN").on("AUTH", Exchange(f"535 5.7.8 no, not {PASSWORD}"
                                                     .encode().decode("latin-1")))
    server = to_smart_host(backend)
    assert_down(server, backend, WITHHELD)


class Parrot(Answer):
    """Asks as a server of LOGIN does, then refuses and repeats what it has heard last."""

    def __init__(self, questions):
        self.questions = questions
        self.heard = None

    def perform(self, connection):
        line = connection.lines[-1]
        for question in self.questions:
            connection.perform(question)
            line = connection.read_line()
        self.heard = line.split(" ")[-1]
        connection.perform(["535-5.7.8 no", f"535 5.7.8 not '{line}'"])


@pytest.mark.parametrize("mechanism, questions, user", [
    ("PLAIN", (), "j"), ("PLAIN", (), "jo"), ("PLAIN", (), "joe"), ("XOAUTH2", (), "joe"),
    ("LOGIN", ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"), "joe")])
def test_reply_that_repeats_base64(smart_host, postern, secret, mechanism, questions, user):
    """Wherever the secret stands there; neither the log nor posternctl shows it."""
    parrot = Parrot(questions)
    backend = smart_host(mechanism).on("AUTH", parrot)
    key = "auth-token-file" if mechanism == "XOAUTH2" else "auth-password-file"
    server = postern(relay_config(backend.address, "identity = none", f"auth-user = {user}",
                                  f'{key} = "{secret(TOKEN)}"'))
    assert_down(server, backend, f"535 5.7.8 {WITHHELD}")
    told = Control(server).run("probe", "target").stdout.decode()
    assert "they repeat our own credentials" in told
    for text in (server.log.output, told):
        assert parrot.heard[12:-4] not in text


QUOTING = {
    "greeting": ("greeting", "554 5.3.2 no, {}", 451),
    "EHLO": ("EHLO", "421 4.3.2 no, {}", 451),
    "MAIL": ("MAIL", "552 5.7.1 no, {}", 552),
    "confused": ("MAIL", "503 5.5.1 nested, {}", 451),
    "RCPT": ("RCPT", ["450-4.2.0 {}", "450 4.2.0 later"], 450),
    "without a code of RFC 3463": ("RCPT", "553 {}", 553),
    "goes away": ("RCPT", "421 4.3.2 bye, {}", 451),
    "refuses us": ("RCPT", "521 5.3.2 {}", 521),
    "garbage": ("RCPT", "what? {}", 451),
    "DATA": ("DATA", "451 4.3.0 {}", 451),
    "end": ("end", "250 2.0.0 Ok, {}", 250),
    "refused end": ("end", "554 5.6.0 {}", 554),
}


@pytest.mark.parametrize("is_encoded", [False, True], ids=["plain", "base64"])
@pytest.mark.parametrize("what", QUOTING)
def test_quoted_later(smart_host, to_smart_host, what, is_encoded):
    """Behind AUTH, too, and before: no client is told, and what a reply means stays as it is."""
    stage, reply, code = QUOTING[what]
    quoted = encoded(f"\0{USER}\0{PASSWORD}") if is_encoded else PASSWORD.encode().decode("latin-1")
    reply = [line.format(quoted) for line in ([reply] if isinstance(reply, str) else reply)]
    backend = smart_host("PLAIN").on("AUTH", Exchange("235 2.7.0 yes"))
    server = to_smart_host(backend.on(stage, Say(*reply)), "chunking = no")
    answer = mail(server)
    assert answer.code == code
    assert quoted.encode("latin-1") not in answer.raw
    assert what != "RCPT" or answer.raw == f"450 4.2.0 {WITHHELD}\r\n".encode()
    assert_secret(server, f"\0{USER}\0{PASSWORD}")


def test_quoted_in_the_queue(smart_host, to_smart_host):
    """Neither a file of the spool nor what is remembered of the target has it."""
    backend = smart_host("PLAIN").on("AUTH", Exchange("235 2.7.0 yes"))
    backend.on("RCPT", Close(), f"450 4.2.0 no, {TOKEN}")
    server = to_smart_host(backend, "on-failure = spool", "health-interval = 1s", password=TOKEN)
    assert mail(server).code == 250
    assert server.wait_event("deferred")["reply"] == f"450 4.2.0 {WITHHELD}"
    assert TOKEN not in str(Control(server).json("queue"))
    server.stop()
    for path in server.directory.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize("with_tls, mechanisms, token, error", [
    (False, "PLAIN LOGIN", None, "without TLS"), (False, "XOAUTH2", TOKEN, "without TLS"),
    (True, "CRAM-MD5", None, "AUTH is not announced"), (True, "PLAIN", TOKEN, "AUTH is not announced"),
    (True, "XOAUTH2", None, "AUTH is not announced")])
def test_no_mechanism(smart_host, to_smart_host, with_tls, mechanisms, token, error):
    """Nothing that would give a secret away is said in plain."""
    backend = smart_host(mechanisms, with_tls)
    server = to_smart_host(backend, token=token)
    assert_down(server, backend, error)
    assert "AUTH" not in backend.connections[0].verbs


def test_fall_back_to_plain(smart_host, to_smart_host):
    """tls = may goes in plain where the handshake fails, and there is nothing to be said there."""
    backend = smart_host("PLAIN").on("STARTTLS", Close("220 2.0.0 go ahead"))
    server = to_smart_host(backend, "tls = may")
    assert_down(server, backend, "without TLS")
    assert all("AUTH" not in c.verbs for c in backend.connections)


FLAWS = {
    "signature": (Scram(PASSWORD, "signature"), "has not proved"),
    "no signature": (Scram(PASSWORD, "silent"), "has not proved"),
    "nonce": (Scram(PASSWORD, "nonce"), "has not proved"),
    "few rounds": (Scram(PASSWORD, rounds=4095), "rounds"),
    "many rounds": (Scram(PASSWORD, rounds=4294967295), "rounds"),
    "another password": (Scram("other"), "535 5.7.8 no"),
    "a 235 at once": (Exchange("235 2.7.0 yes"), "has not proved"),
    "no base64": (Exchange("334 !!!", "501 no"), "no SMTP server"),
    "no challenge": (Exchange("334", "501 no"), "no SMTP server"),
    "several lines": (Exchange(["334-a", "334 b"], "501 no"), "no SMTP server"),
    "long": (Exchange("334 " + 6000 * "QUFB", "501 no"), "longer than"),
    "without end": (Flood(b"334-QUFB\r\n", 1 << 20), "longer than"),
    "hangs up": (Close(), "closed"),
    "resets": (Reset(), None),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_scram_flaws(smart_host, to_smart_host, flaw):
    """A target that is not the one that has our password, or cannot speak, gets no mail."""
    answer, error = FLAWS[flaw]
    backend = smart_host("SCRAM-SHA-256").on("AUTH", answer)
    assert_down(to_smart_host(backend), backend, error)


UNUSABLE = {
    "private": (USER, "as long as \ue000 nobody types it", "password has characters"),
    "unassigned": (USER, "as long as \u0378 nobody types it", "password has characters"),
    "no UTF-8": (USER, b"as long as \xfc nobody types it", "password has characters"),
    "user": ("jo\ue000e", PASSWORD, "auth-user has characters"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_scram_cannot_use(smart_host, postern, secret, what):
    """It is ours, and no fault of the target, which hears nothing of it; PLAIN takes it."""
    user, password, error = UNUSABLE[what]
    backend = smart_host("SCRAM-SHA-256").on("AUTH", Scram("another"))
    server = postern(relay_config(backend.address, "identity = none", f'auth-user = "{user}"',
                                  f'auth-password-file = "{secret(password)}"'))
    assert_down(server, backend, error)
    assert error in server.wait_event("target-auth-failed")["error"]
    assert "AUTH" not in backend.connections[0].verbs


def test_plain_with_what_scram_cannot_use(smart_host, to_smart_host):
    backend = smart_host("PLAIN")
    exchange = Exchange("235 2.7.0 yes")
    password = "as long as \ue000 nobody types it"
    assert mail(to_smart_host(backend.on("AUTH", exchange), password=password)).code == 250
    assert exchange.heard == ["AUTH PLAIN " + encoded(f"\0{USER}\0{password}")]


LOST = {
    "LOGIN, user": ("LOGIN", Exchange("334 VXNlcm5hbWU6", Close())),
    "LOGIN, password": ("LOGIN", Exchange("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", Close())),
    "LOGIN, garbage": ("LOGIN", Exchange("334 ?", "501 no")),
    "LOGIN, without end": ("LOGIN", Exchange(*30 * ["334 VXNlcm5hbWU6"])),
    "PLAIN, challenge": ("PLAIN", Exchange("334 ", "334 ", "501 no")),
    "PLAIN, without end": ("PLAIN", Exchange(*10000 * ["334 "])),
    "PLAIN, garbage": ("PLAIN", Close("not a reply")),
}


@pytest.mark.parametrize("how", LOST)
def test_lost(smart_host, to_smart_host, how):
    mechanisms, exchange = LOST[how]
    backend = smart_host(mechanisms).on("AUTH", exchange)
    assert_down(to_smart_host(backend), backend)


def test_silence(smart_host, to_smart_host):
    backend = smart_host("PLAIN").on("AUTH", Hold("235 2.7.0 yes"))
    server = to_smart_host(backend, "command-timeout = 1s")
    assert_down(server, backend, "timed out")
    assert server.wait_event("target-auth-failed")["error"] == "timed out"


def test_premature_replies(smart_host, to_smart_host):
    """A 235 that came before AUTH is no answer to it."""
    backend = smart_host("PLAIN").on("EHLO", [
        "250-target.example.test", "250 AUTH SCRAM-SHA-256", "235 2.7.0 yes"])
    assert_down(to_smart_host(backend, "tls = none"), backend, "235 2.7.0 yes")


def test_client_goes_while_a_response_is_made(smart_host, to_smart_host):
    """A million rounds take their time, in a job; whoever closes meanwhile does not wait."""
    backend = smart_host("SCRAM-SHA-256").on("AUTH", Scram(PASSWORD, rounds=1000000))
    server = to_smart_host(backend)
    client = server.client()
    client.hello()
    client.expect(250, "MAIL FROM:<sender@example.org>")
    client.send(b"RCPT TO:<joe@example.test>\r\n")
    backend.wait_command("AUTH")
    client.close()
    server.stop()


def dumped(pid):
    """The memory that a core file would have."""
    regions, start = [], None
    with open(f"/proc/{pid}/smaps", encoding="latin-1") as smaps:
        for line in smaps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found:
                start, end = (int(number, 16) for number in found.groups())
            elif line.startswith("VmFlags:") and start is not None:
                if " dd" not in line:
                    regions.append((start, end))
                start = None
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in regions:
            for at in range(start, end, 1 << 24):
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(at)
                    yield memory.read(min(1 << 24, end - at))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_memory_after_use(smart_host, to_smart_host, mechanism):
    """What was said is overwritten, and the password itself lies where core files do not look. (What
    the library frees by itself, with PLAIN, stays there only where a sanitizer keeps it.)"""
    exchange = {"PLAIN": Exchange("235 yes"),
                "LOGIN": Exchange("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 yes")}[mechanism]
    server = to_smart_host(smart_host(mechanism).on("AUTH", exchange))
    assert mail(server).code == 250
    said = exchange.heard[-1].split(" ")[-1]
    for secret in [said] if mechanism == "PLAIN" else [said, PASSWORD]:
        end = secret[20:].encode()      # an allocator may write over the beginning
        assert not [block for block in dumped(server.process.child.pid) if end in block]


# ---- the files ----

CHECKS = {
    "good": (lambda s: f"auth-user = joe\nauth-password-file = \"{s('x')}\"", 0, ""),
    "readable": (lambda s: f"auth-user = joe\nauth-password-file = \"{s('x', 0o640)}\"", 0,
                 "warning: auth-password-file {path} can be read by others than its owner"),
    "missing": (lambda s: "auth-user = joe\nauth-token-file = /nonexistent", 78,
                'auth-token-file "/nonexistent": cannot be read: No such file or directory'),
    "empty": (lambda s: f"auth-user = joe\nauth-password-file = \"{s(chr(10))}\"", 78, "is empty"),
    "two lines": (lambda s: f"auth-user = joe\nauth-password-file = \"{s('a' + chr(10) + 'b')}\"", 78,
                  "is more than one line"),
    "long": (lambda s: f"auth-user = joe\nauth-password-file = \"{s(8193 * 'x')}\"", 78,
             "is longer than 8192 octets"),
    "directory": (lambda s: "auth-user = joe\nauth-password-file = /tmp", 78,
                  'auth-password-file "/tmp": is a directory, and must be a regular file'),
    "device": (lambda s: "auth-user = joe\nauth-token-file = /dev/null", 78,
               'auth-token-file "/dev/null": is a device, and must be a regular file'),
    "no file": (lambda s: "auth-user = joe", 78, "auth-user alone"),
    "no user": (lambda s: f"auth-password-file = \"{s('x')}\"", 78, "a file without auth-user"),
    "two files": (lambda s: f"auth-user = joe\nauth-password-file = \"{s('x')}\"\n"
                  f"auth-token-file = \"{s('x')}\"", 78, "auth-token-file beside auth-password-file"),
    "user": (lambda s: f"auth-user = {256 * 'j'}\nauth-password-file = \"{s('x')}\"", 78,
             "at most 255 octets"),
}


@pytest.mark.parametrize("what", CHECKS)
def test_check(postern, secret, what):
    lines, code, said = CHECKS[what]
    server = postern(relay_config("127.0.0.1:25", "identity = none", lines(secret)), is_started=False)
    done = server.check()
    assert done.returncode == code, done.stderr
    said = said.format(path=f'"{secret.__closure__[0].cell_contents}/secret"')
    assert said in done.stderr + done.stdout
    assert what != "good" or "can be read" not in done.stderr + done.stdout


@pytest.mark.parametrize("workers, lines, is_told", [
    (0, ("auth-user = joe", "auth-password-file = {}"), True), (0, (), False),
    (2, ("auth-user = joe", "auth-password-file = {}"), False)])
def test_check_of_what_is_read_once(postern, secret, workers, lines, is_told):
    """Without workers nobody reads a file anew, which a renewed token would need."""
    lines = [line.format(secret("x")) for line in lines]
    server = postern(relay_config("127.0.0.1:25", "identity = none", *lines),
                     core=f"workers = {workers}", is_started=False)
    done = server.check()
    assert done.returncode == 0
    assert ("with workers = 0 certificates, keys, passwords and tokens are read once, and a change "
            "takes a restart" in done.stdout + done.stderr) == is_told


def test_check_of_what_nobody_can_read_to_its_end(postern, tmp_path):
    """It is not waited for."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("fifo", "socket"):
            server = postern(relay_config("127.0.0.1:25", "identity = none", "auth-user = joe",
                                          f"auth-password-file = {tmp_path}/{name}"),
                             is_started=False)
            done = server.check()
            kind = {"fifo": "FIFO"}.get(name, name)
            assert done.returncode == 78
            assert re.search(rf"postern\.cf:\d+:\d+: auth-password-file .*: is a {kind}, "
                             "and must be a regular file", done.stderr)


def test_a_new_password(smart_host, to_smart_host, secret, workers):
    """Mail waits in the spool until the file has the right one; no HUP is needed."""
    backend = smart_host("SCRAM-SHA-256").on("AUTH", lambda *_: Scram("new"))
    server = to_smart_host(backend, "on-failure = spool", "health-interval = 1s", password="old",
                           start=workers)
    assert mail(server).code == 250
    assert server.wait_event("target-auth-failed")["reply"] == "535 5.7.8 no"
    secret("new\n")
    assert server.wait_event("delivered")
    assert backend.ended[0].content.endswith(PLAIN_MESSAGE)


# ---- real servers ----

@pytest.fixture(scope="module")
def passwords():
    if not is_root():
        pytest.skip("a private Dovecot is started as root")
    made = DovecotAuth({"joe": "right"})
    yield made
    made.stop()


SMTPD = """
127.0.0.1:10025 inet n  -       n       -       -       smtpd
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
"""


@pytest.fixture(scope="module", params=["PLAIN", "LOGIN", "SCRAM-SHA-256", "PLAIN LOGIN SCRAM-SHA-256"])
def postfix(passwords, certificates, request):
    """Takes mail of those who have logged in alone."""
    others = {"PLAIN", "LOGIN", "SCRAM-SHA-256"} - set(request.param.split())
    made = Postfix("", SMTPD, {
        "smtpd_tls_chain_files": f"{certificates.mx.key}, {certificates.mx.certificate}",
        "smtpd_tls_security_level": "may", "smtpd_tls_auth_only": "yes",
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(passwords.path),
        "smtpd_sasl_mechanism_filter": ", ".join(["!" + o for o in others] + ["static:rest"]),
        "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject"})
    made.mechanism = request.param.split()[-1]
    yield made
    made.stop()


@pytest.mark.parametrize("password, code", [("right", 250), ("wrong", 451)])
def test_postfix(postfix, postern, secret, password, code):
    server = postern(relay_config(postfix.address, "identity = none", "auth-user = joe",
                                  f'auth-password-file = "{secret(password)}"'))
    assert mail(server).code == code
    if code == 250:
        assert server.wait_event("target-auth")["mechanism"] == postfix.mechanism
        postfix.wait_log(f"sasl_method={postfix.mechanism}, sasl_username=joe")
        return
    assert server.wait_event("target-auth-failed")["reply"].startswith("535 5.7.8 ")

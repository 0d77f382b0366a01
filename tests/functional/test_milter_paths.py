# SPDX-License-Identifier: BSD-2-Clause
"""What milters said holds on every way that a message takes: streamed, replayed, spooled, to several."""
import pytest

from harness.beside import Mail
from harness.control import Control
from harness.messages import PLAIN_MESSAGE, big_message
from harness.milters import Opendkim
from harness.process import free_port
from harness.smtp import without_received
from peers.answers import CloseAfter, Nothing
from peers.target import FRAMINGS

SPOOL = "on-failure = spool\nhealth-interval = 1s\nconnect-timeout = 1s\nretry = 1s\n"
EVERYTHING = ("negotiate", "", "actions", "all")
EDITS = [EVERYTHING, ("eom", "", "addheader", "X-Last", "last"),
         ("eom", "", "insheader", 0, "X-Top", "top")]


def milter_section(milter, name="own", lines=""):
    return f'[milter "{name}"]\naddress = {milter.for_postern}\n{lines}\n'


def relay(name, address, lines=SPOOL):
    return f'[relay "{name}"]\naddress = {address}\nidentity = none\nreceived = never\n{lines}\n'


def queued(server, folder="queue/*"):
    return [p.name for p in (server.directory / "spool").glob(f"{folder}/*")
            if p.name not in ("owner", "index")]


# ---- what the client signed stays signed ---------------------------------------------------------

@pytest.fixture
def sign(mailboxes, start, dkim_key):
    """A message of 100 KB, and so many lines more, as opendkim signs it."""
    def make(lines):
        mailboxes.ask([start(Opendkim, dkim_key, "s")])
        content = big_message(100_000) + b"One of very many lines.\r\n" * lines
        content = mailboxes.send(Mail(content)).messages[0]
        return content.replace(b"\n", b"\r\n")
    return make


@pytest.fixture
def verify(mailboxes, start, dkim_key):
    """Asserts that opendkim finds a message's signature good."""
    def look(content):
        mailboxes.ask([start(Opendkim, dkim_key, "v")])
        seen = mailboxes.send(Mail(content)).messages[0]
        assert b"dkim=pass" in seen.partition(b"DKIM-Signature")[0]
    return look


def edited(content):
    """What EDITS make of it."""
    head, _, body = content.partition(b"\r\n\r\n")
    return b"X-Top: top\r\n" + head + b"\r\nX-Last: last\r\n\r\n" + body


def contents(*backends):
    """All that was taken, without postern's own Received line."""
    found = [t.content for b in backends for t in b.accepted]
    return [without_received(c)[1] if b"by postern.example.test" in c[:300] else c for c in found]


def streamed(server, backends, content):
    with server.client() as client:
        client.hello()
        assert client.mail(content, recipients=recipients(backends)).code == 250


def replayed(server, backends, content):
    """On a connection that was used before, which breaks in the content: again on another one."""
    streamed(server, backends, PLAIN_MESSAGE)
    backends[0].on("content", CloseAfter(50_000), Nothing())
    streamed(server, backends, content)
    assert server.events("spooled") == [] and len(backends[0].connections) > 1


def spooled(server, backends, content):
    """All of them are away, and come back."""
    for backend in backends:
        backend.unlisten()
    streamed(server, backends, content)
    server.wait_event("spooled")
    for backend in backends:
        backend.listen()


def lost(server, backends, content):
    """Two connections break in the content: into the spool, and from there."""
    backends[0].on("content", CloseAfter(50_000), CloseAfter(50_000), Nothing())
    streamed(server, backends, content)
    server.wait_event("delivered")


def recipients(backends):
    return [f"joe@target{n}.test" for n in range(len(backends))]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("way", [streamed, replayed, spooled, lost])
def test_signature_survives(target, postern, busy, sign, verify, way, count, framing):
    """Each target has what the milter made of it, octet for octet, and its signature is good."""
    backends = [target(ehlo=FRAMINGS[framing]) for _ in range(count)]
    text = "".join(relay(f"t{n}", b.address) for n, b in enumerate(backends))
    routes = "[route]\n" + "".join(f"@target{n}.test t{n}\n" for n in range(count))
    server = postern(milter_section(busy(*EDITS)) + text + routes, smtpd="filter = own\n")
    # Megabytes, of which not all can be on their way in the kernel when the connection breaks.
    signed = sign(300_000 if way in (replayed, lost) else 0)
    way(server, backends, signed)
    for backend in backends:
        backend.wait(lambda b=backend: len(b.accepted) == 1 + (way == replayed))
        assert contents(backend)[-1] == edited(signed)
    verify(contents(backends[0])[-1])


# ---- what is refused leaves no trace -------------------------------------------------------------

STAGES = ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom")
VERDICTS = {"reject": 5, "tempfail": 4, "discard": None}


# A client cannot be thrown away.
REFUSALS = [(verdict, stage) for verdict in VERDICTS for stage in STAGES
            if verdict != "discard" or stage not in ("connect", "helo")]


@pytest.mark.parametrize("second", ["none", "there", "down"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("verdict,stage", REFUSALS)
def test_no_trace(target, postern, busy, verdict, stage, framing, second):
    """At no target and not in the spool, edits or not; with one target, with two, with one down."""
    milter = busy(EVERYTHING, ("eom", "", "addheader", "X-Own", "seen"),
                  ("eom", "", "replacebody", "new"), (stage, "", verdict))
    backends = [target(ehlo=FRAMINGS[framing])]
    text = milter_section(milter) + relay("one", backends[0].address)
    names = ["joe@one.test"]
    if second != "none":
        backends.append(target(ehlo=FRAMINGS[framing]))
        down = f"127.0.0.1:{free_port()}"
        text += relay("two", backends[1].address if second == "there" else down)
        names.append("joe@two.test")
    routes = "[route]\n@one.test one\n" + ("" if second == "none" else "@two.test two\n")
    server = postern(text + routes, smtpd="filter = own\n")
    codes = whole(server, names)
    if verdict == "discard":
        assert codes[-1] == 250, codes
    else:
        assert codes[-1] >= 400 and VERDICTS[verdict] in {code // 100 for code in codes}, codes
    assert [len(b.ended) for b in backends] == [0] * len(backends)
    assert queued(server) == []


def whole(server, names, sender="sender@example.org"):
    """A client that says all that it has to say; the codes."""
    with server.client() as client:
        try:
            codes = [client.reply().code, client.command("EHLO client.example.test").code,
                     client.command(f"MAIL FROM:<{sender}>").code]
            codes += [client.command(f"RCPT TO:<{name}>").code for name in names]
            codes.append(client.command("DATA").code)
            if codes[-1] == 354:
                client.send(PLAIN_MESSAGE + b".\r\n")
                codes.append(client.reply().code)
        except (EOFError, ConnectionError):
            pass
    return codes


# ---- filters of a target -------------------------------------------------------------------------

@pytest.mark.parametrize("framing", FRAMINGS)
def test_of_one_target(target, postern, busy, framing):
    """One target's milter refuses, the other's edits, and each gets what is his."""
    backends = [target(ehlo=FRAMINGS[framing]) for _ in range(3)]
    refusing = busy(("eom", "", "setreply", "550", "5.7.1", "not here"), ("eom", "", "reject"))
    editing = busy(*EDITS)
    server = postern(
        milter_section(refusing, "refusing") + milter_section(editing, "editing") +
        relay("one", backends[0].address, "filter = refusing") +
        relay("two", backends[1].address, "filter = editing") + relay("three", backends[2].address) +
        "[route]\n@one.test one\n@two.test two\n@three.test three\n", core="bounce-to = none")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=[
            "joe@one.test", "joe@two.test", "joe@three.test"]).code == 250
        assert client.mail(PLAIN_MESSAGE, recipients=["joe@one.test"]).text == "5.7.1 not here"
    assert [len(b.ended) for b in backends] == [0, 1, 1]
    assert contents(backends[1]) == [edited(PLAIN_MESSAGE)]
    assert contents(backends[2]) == [PLAIN_MESSAGE]


# ---- what only looks like a header ---------------------------------------------------------------

NO_FIELDS = {
    "first": b"no field\r\nX-Old: forged\r\n\r\nold body\r\n",
    "later": b"Subject: x\r\nno field\r\n X-Old: forged\r\n\r\nold body\r\n",
    "fold": b" dkim=pass\r\nX-Old: forged\r\n\r\nold body\r\n",
}


@pytest.mark.parametrize("content", NO_FIELDS.values(), ids=NO_FIELDS)
@pytest.mark.parametrize("way", [streamed, spooled])
def test_line_that_is_no_field(target, postern, busy, way, content):
    """What a milter was shown as body is body for its edits: its fields stand above, a new body
    replaces it, and no client goes on with a milter's field."""
    subject = content[:content.index(b"\r\n") + 2] if content.startswith(b"Subject") else b""
    body = content[len(subject):]
    for edits, rest in (EDITS, body), ([*EDITS, ("eom", "", "replacebody", "new")], b"\r\nnew\r\n"):
        backend, milter = target(), busy(*edits)
        server = postern(milter_section(milter) + relay("one", backend.address) + "[route]\n@ one\n",
                         smtpd="filter = own\n")
        way(server, [backend], content)
        backend.wait_ended()
        empty = b"\r\n" if rest[:1] == b" " else b""
        fields = b"X-Top: top\r\n" + subject + b"X-Last: last\r\n"
        assert contents(backend) == [fields + empty + rest]
        assert milter.wait_stage("eom") and len(
            [e for e in milter.events if e["stage"] == "header"]) == len(subject[:1])


# ---- quarantine ----------------------------------------------------------------------------------

def test_quarantine(target, postern, busy):
    """250, and nobody has it until an operator releases it; as the milter made it."""
    backend = target()
    milter = busy(*EDITS, ("eom", "", "quarantine", "looks odd"))
    server = postern(milter_section(milter) + relay("one", backend.address) + "[route]\n@ one\n",
                     smtpd="filter = own\n")
    streamed(server, [backend], PLAIN_MESSAGE)
    streamed(server, [backend], PLAIN_MESSAGE)
    assert backend.ended == []
    control = Control(server)
    released, deleted = control.queue()
    assert "looks odd" in control.text("show", released)
    control.text("delete", deleted)
    control.text("release", released)
    backend.wait_ended()
    assert contents(backend) == [edited(PLAIN_MESSAGE)]
    control.wait_queue([])


# ---- old milters ---------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [2, 3, 4, 6])
def test_old_protocols(target, postern, raw_milter, version):
    """What a milter of that version does not know is not said to it."""
    milter = raw_milter(version=version, actions=0x3F)
    backend = target()
    server = postern(milter_section(milter) + relay("one", backend.address) + "[route]\n@ one\n",
                     smtpd="filter = own\nresolve-names = no\n")
    with server.client() as client:
        client.hello()
        client.command("XTURN")
        assert client.mail(PLAIN_MESSAGE).code == 250
    letters = milter.connections[0].letters
    assert ("T" in letters, "U" in letters) == (version >= 4, version >= 3)

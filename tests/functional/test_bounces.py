# SPDX-License-Identifier: BSD-2-Clause
"""Reports to senders: read by Python's parser, accepted by a real Postfix, or not made at all."""
import email.utils
import time

import pytest

from conftest import needs_root
from harness.control import Control
from harness.dns import TRUSTED
from harness.messages import HEADER, PLAIN_MESSAGE
from harness.postern import HOSTNAME
from harness.postfix import queue_id
from harness.report import Report
from peers.answers import Reset
from peers.target import DEFAULT_EHLO

DSN = (*DEFAULT_EHLO, "DSN")
SENDER = "sender@example.org"
POSTMASTER = f"postmaster@{HOSTNAME}"
REFUSED = "550 5.1.1 <joe@example.test>: no such user here"
OK = "250 2.1.5 Ok"


def is_recent(text):
    """Whether a date field says about now."""
    return abs(email.utils.parsedate_to_datetime(text).timestamp() - time.time()) < 600


class Scene:
    """joe's target, which takes DSN; the relay that takes reports; and a postern between."""

    def __init__(self, target, postern):
        self.home, self.bounces = target(ehlo=DSN), target()
        self._start = postern
        self.server = None

    def start(self, core="", relay="", bounces=None):
        bounces = bounces or self.bounces.address
        self.server = self._start(
            f'[relay "home"]\naddress = {self.home.address}\nidentity = none\n{relay}\n'
            f'[relay "bounces"]\naddress = {bounces}\nidentity = none\n'
            "[route]\n@example.test home\n", core=core if "bounce-relay" in core else f"bounce-relay = bounces\n{core}")
        with self.server.client() as client:    # what a target can do is known once it was seen
            client.hello()
            client.envelope()
            client.expect(250, "RSET")
            client.quit()

    def spool(self, content=PLAIN_MESSAGE, sender=SENDER, mail="", rcpt="",
              recipients=("joe@example.test",), then=(REFUSED,)):
        """A message that is taken over, since its target breaks off at DATA, on the used connection
        and on a new one; `then` are the replies to RCPT when postern comes with it.
        """
        self.home.on("RCPT", *[OK] * 2 * len(recipients), *then)
        self.home.on("DATA", Reset(), Reset(), "354 go ahead")
        with self.server.client() as client:
            client.hello()
            client.expect(250, f"MAIL FROM:<{sender}> {mail}".strip())
            for recipient in recipients:
                client.expect(250, f"RCPT TO:<{recipient}> {rcpt}".strip())
            assert client.data(content).code == 250
            client.quit()

    def report(self, count=1, recipient=SENDER):
        """The count-th report; its envelope is checked here."""
        self.bounces.wait(lambda: len(self.bounces.accepted) >= count, f"report {count}")
        transaction = self.bounces.accepted[count - 1]
        assert transaction.mail.startswith("MAIL FROM:<>")
        assert [line.split(" NOTIFY")[0] for line in transaction.rcpts] == [f"RCPT TO:<{recipient}>"]
        report = Report(transaction.content)
        assert report.message["To"].addresses[0].addr_spec == recipient
        return report

    def spooled(self):
        """Names of messages in the queue and of those that are held."""
        spool = self.server.directory / "spool"
        queue = [p.name for p in spool.glob("queue/*/*") if p.name not in ("owner", "index")]
        return queue, [p.name for p in spool.glob("hold/*")]


@pytest.fixture
def scene(target, postern):
    return Scene(target, postern)


# -- what stands in them -------------------------------------------------------------------------

def test_failure(scene):
    """A refusal, field by field, and the whole message."""
    scene.start()
    scene.spool(mail="RET=FULL ENVID=QQ+2B314", rcpt="ORCPT=rfc822;Joe+2Bx@example.test")
    report = scene.report()
    line = scene.server.wait_event("bounced")
    spooled = scene.server.wait_event("spooled")

    assert report.message["Subject"] == "Undeliverable mail"
    assert report.message["Message-ID"] == f"<{line['report']}@{HOSTNAME}>"
    assert is_recent(report.message["Date"])
    assert "<joe@example.test>" in report.text and REFUSED in report.text
    about = report.about
    assert about["Reporting-MTA"] == f"dns; {HOSTNAME}"
    assert about["Original-Envelope-Id"] == "QQ+314"
    assert about["X-Postern-Id"] == spooled["transaction"]
    assert about["X-Postern-Sender"] == f"rfc822; {SENDER}"
    assert is_recent(about["Arrival-Date"])
    assert len(about) == 5
    recipient, = report.recipients
    assert recipient["Original-Recipient"] == "rfc822; Joe+x@example.test"
    assert recipient["Final-Recipient"] == "rfc822; joe@example.test"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert recipient["Remote-MTA"] == "dns; [127.0.0.1]"
    assert recipient["Diagnostic-Code"] == f"smtp; {REFUSED}"
    assert is_recent(recipient["Last-Attempt-Date"])
    assert len(recipient) == 7
    assert report.returned.get_content_type() == "message/rfc822"
    assert report.returned_octets == PLAIN_MESSAGE

    assert line["transaction"] == spooled["transaction"]
    assert (line["from"], line["rcpt"]) == (f"<{SENDER}>", "<joe@example.test>")
    assert line["reply"] == REFUSED
    scene.server.wait_event("delivered")
    assert scene.spooled() == ([], [])


def test_headers_alone(scene):
    """RET=HDRS."""
    scene.start()
    scene.spool(mail="RET=HDRS")
    report = scene.report()
    assert report.returned.get_content_type() == "text/rfc822-headers"
    assert report.returned_octets == HEADER
    assert "Original-Envelope-Id" not in report.about
    assert "Original-Recipient" not in report.recipients[0]


def test_large_message(scene):
    """Over 1 MiB the headers are returned, whatever RET says."""
    scene.start()
    scene.spool(HEADER + b"\r\n" + (b"x" * 98 + b"\r\n") * 11000, mail="RET=FULL")
    assert scene.report().returned_octets == HEADER


CONTENT_8BIT = HEADER + b"\r\n" + bytes(range(128, 256)) + b"\r\n" + b"x" * 1500 + b"\r\n"


def test_octets_over_127(scene):
    """They come back as they were, under BODY=8BITMIME; a line that is too long is broken."""
    scene.start()
    scene.spool()
    scene.report()                      # from now on it is known what the relay can do
    scene.spool(CONTENT_8BIT, mail="BODY=8BITMIME")
    report = scene.report(2)
    assert "BODY=8BITMIME" in scene.bounces.accepted[1].mail
    assert report.message["Content-Transfer-Encoding"] == "8bit"
    assert report.returned["Content-Transfer-Encoding"] == "8bit"
    assert report.returned_octets == CONTENT_8BIT.replace(b"x" * 1500,
                                                          b"x" * 998 + b"\r\n" + b"x" * 502)


def test_relay_without_8bitmime(scene):
    """It gets a report without octets over 127."""
    scene.bounces.ehlo = ("PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES")
    scene.start()
    scene.spool(CONTENT_8BIT, mail="BODY=8BITMIME")
    report = scene.report()
    assert "BODY" not in scene.bounces.accepted[0].mail
    assert report.raw.isascii()
    assert report.returned.get_content_type() == "text/rfc822-headers"


def test_hostile_reply(scene):
    """What a target says adds no field and no part."""
    scene.start()
    hostile = ["550-5.1.1 \x01\x7f\xff", "550-5.1.1 " + "x" * 400, "550-5.1.1 --=_",
               "550 5.1.1 \t Action: delivered"]
    scene.spool(then=([*hostile],))
    report = scene.report()
    recipient, = report.recipients
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert report.raw.isascii() and max(map(len, report.raw.split(b"\r\n"))) <= 998


def test_several_recipients(scene):
    """One report of two that were refused; the third has the message."""
    scene.start()
    scene.spool(recipients=("joe@example.test", "jane@example.test", "bulk@example.test"),
                then=(REFUSED, OK, "554 5.7.1 no"))
    report = scene.report()
    assert [(r["Final-Recipient"], r["Status"]) for r in report.recipients] == [
        ("rfc822; joe@example.test", "5.1.1"), ("rfc822; bulk@example.test", "5.7.1")]
    assert scene.home.ended[0].content.endswith(PLAIN_MESSAGE)


def test_delay(scene):
    """A delay is told once, then the message is delivered."""
    scene.start(core="delay-warning = 1s", relay="retry = 1s")
    scene.spool(mail="ENVID=one RET=FULL", then=("451 4.3.0 later",) * 3 + (OK,))
    scene.home.wait_ended()
    report = scene.report()
    assert report.message["Subject"] == "Delayed mail"
    recipient, = report.recipients
    assert recipient["Action"] == "delayed"
    assert recipient["Status"] == "4.3.0"
    assert recipient["Diagnostic-Code"] == "smtp; 451 4.3.0 later"
    until = email.utils.parsedate_to_datetime(recipient["Will-Retry-Until"])
    came = email.utils.parsedate_to_datetime(report.about["Arrival-Date"])
    assert (until - came).days == 5
    assert report.about["Original-Envelope-Id"] == "one"
    assert report.returned.get_content_type() == "text/rfc822-headers"
    scene.server.wait_event("delivered", count=2)
    assert len(scene.bounces.ended) == 1


def test_relayed(scene):
    """NOTIFY=SUCCESS at a target that takes no DSN: what is known is that it was handed on."""
    scene.start()
    scene.home.ehlo = DEFAULT_EHLO
    scene.spool(rcpt="NOTIFY=SUCCESS ORCPT=rfc822;joe@example.test", then=(OK,))
    report = scene.report()
    assert report.message["Subject"] == "Relayed mail"
    recipient, = report.recipients
    assert recipient["Action"] == "relayed"
    assert recipient["Status"] == "2.0.0"
    assert recipient["Original-Recipient"] == "rfc822; joe@example.test"
    assert report.returned.get_content_type() == "text/rfc822-headers"
    assert "NOTIFY" not in scene.home.ended[0].rcpts[0]


def test_success_is_the_target_s(scene):
    """NOTIFY=SUCCESS at a target that takes DSN is passed on, and nothing is told by us."""
    scene.start()
    scene.spool(rcpt="NOTIFY=SUCCESS", then=(OK,))
    assert scene.home.wait_ended()[0].rcpts == ["RCPT TO:<joe@example.test> NOTIFY=SUCCESS"]
    scene.server.wait_event("delivered")
    scene.spool(then=(REFUSED,))    # the first report is that of the second message
    assert scene.report().message["Subject"] == "Undeliverable mail"


def test_expired(scene):
    """What was tried for too long; its last words are told."""
    scene.start(relay="retry = 1s\nexpire = 2s")
    scene.spool(then=("451 4.3.0 later",))
    report = scene.report()
    recipient, = report.recipients
    assert recipient["Status"] == "5.4.7"
    assert "451 4.3.0 later" in recipient["Diagnostic-Code"]
    assert scene.server.wait_event("expired")["report"] in report.message["Message-ID"]


# -- who gets one --------------------------------------------------------------------------------

def test_never(scene):
    """NOTIFY=NEVER is obeyed in silence."""
    scene.start()
    scene.spool(rcpt="NOTIFY=NEVER")
    assert "report" not in scene.server.wait_event("bounced")
    scene.spool()
    assert scene.report().about["X-Postern-Id"] == scene.server.wait_event("spooled", 2)["transaction"]


def test_no_sender(scene):
    """A message from <> is reported to the postmaster; what fails there is held."""
    scene.start()
    scene.bounces.on("RCPT", "550 5.1.1 no postmaster")
    scene.spool(sender="")
    held = scene.server.wait_event("held")
    assert held["transaction"] == scene.server.wait_event("bounced")["report"]
    assert scene.spooled() == ([], [held["transaction"]])
    assert scene.bounces.transactions[0].rcpts == [f"RCPT TO:<{POSTMASTER}>"]


def test_double_bounce(scene):
    """A report that its addressee refuses goes to the postmaster."""
    scene.start(core="postmaster = chief@example.net")
    scene.bounces.on("RCPT", "550 5.1.1 no such sender", OK)
    scene.bounces.on("DATA", "554 5.5.1 no recipients", "354 go ahead")
    scene.spool()
    report = scene.report(recipient="chief@example.net")
    first = scene.server.wait_event("bounced")["report"]
    assert report.about["X-Postern-Id"] == first
    assert report.recipients[0]["Final-Recipient"] == f"rfc822; {SENDER}"
    assert report.returned.get_payload()[0]["Message-ID"] == f"<{first}@{HOSTNAME}>"


@pytest.mark.parametrize("to, recipients", [
    ("postmaster", [POSTMASTER]), ("both", [SENDER, POSTMASTER]), ("none", [])])
def test_bounce_to(scene, to, recipients):
    """bounce-to: others than the sender, or nobody: then the message is held."""
    scene.start(core=f"bounce-to = {to}")
    scene.spool()
    if recipients:
        rcpts = scene.bounces.wait_ended()[0].rcpts
        assert rcpts == [f"RCPT TO:<{recipient}>" for recipient in recipients]
    else:
        held = scene.server.wait_event("held")["transaction"]
        assert scene.spooled() == ([], [held])
        assert not scene.bounces.transactions


@needs_root
def test_bounce_relay_is_a_host(scene, target):
    """A host that has no section is an implicit relay, at port 25."""
    scene.bounces = target(address=(TRUSTED, 25))
    scene.start(core="bounce-relay = Trusted.example.test")
    scene.spool()
    assert scene.report().recipients[0]["Status"] == "5.1.1"


def test_held_is_released(scene):
    """What was held since nobody could be told is reported once somebody can be."""
    scene.start(core="bounce-to = none")
    scene.spool()
    server, control = scene.server, Control(scene.server)
    held = server.wait_event("held")["transaction"]
    control.run("release", held)
    server.wait_event("held", 2)        # nobody can be told still
    server.stop()
    server.config.write_text(server.config.read_text().replace("bounce-to = none", ""))
    server.is_over = False
    server.start()
    control.run("release", held)
    assert scene.report().about["X-Postern-Id"] == held
    server.wait_event("delivered")
    assert scene.spooled() == ([], [])


def test_operator(scene):
    """posternctl bounce: what waits is reported, and goes."""
    scene.start()
    scene.spool(then=("451 4.3.0 later",))
    ident = scene.server.wait_event("deferred")["transaction"]
    Control(scene.server).run("bounce", ident)
    recipient, = scene.report().recipients
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.0.0")
    scene.server.wait_event("delivered")
    assert scene.spooled() == ([], [])


# -- live transactions ---------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [0, 1])
def test_several_targets(target, postern, workers):
    """One target takes it, the other refuses it at the end of data: 250, and a report by the
    relay that refused.
    """
    good, bad = target(), target()
    bad.on("end", REFUSED, "250 2.0.0 Ok: queued as {serial}")
    server = postern(f'[relay "good"]\naddress = {good.address}\nidentity = none\n'
                     f'[relay "bad"]\naddress = {bad.address}\nidentity = none\n'
                     "[route]\n@good.test good\n@bad.test bad\n", core=f"workers = {workers}")
    with server.client() as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE, recipients=("joe@good.test", "joe@bad.test"))
        assert reply.code == 250
    assert good.wait_ended()[0].content.endswith(PLAIN_MESSAGE)
    transaction = bad.wait_ended(2)[1]
    assert transaction.mail.startswith("MAIL FROM:<>")
    assert transaction.rcpts == [f"RCPT TO:<{SENDER}>"]
    report = Report(transaction.content)
    recipient, = report.recipients
    assert recipient["Final-Recipient"] == "rfc822; joe@bad.test"
    assert recipient["Diagnostic-Code"] == f"smtp; {REFUSED}"
    assert report.returned_octets == PLAIN_MESSAGE
    assert len(good.ended) == 1
    assert server.wait_event("bounced")["report"] in report.message["Message-ID"]


# -- accepted by others --------------------------------------------------------------------------

def test_through_postfix(xforward_postfix, scene):
    """A real Postfix takes a report and delivers it unchanged."""
    mark = xforward_postfix.log.mark()
    scene.start(bounces=xforward_postfix.address)
    scene.spool(sender="jane@example.test")
    ident = queue_id(scene.server.wait_event("delivered")["reply"])
    stored = xforward_postfix.delivered(ident, user="jane")
    report = Report(stored.sent.replace(b"\n", b"\r\n"))
    assert report.message["To"].addresses[0].addr_spec == "jane@example.test"
    assert report.recipients[0]["Status"] == "5.1.1"
    assert report.returned_octets == PLAIN_MESSAGE
    assert stored.values("Return-Path") == ["<>"]
    assert len(stored.received) == 1
    xforward_postfix.log.wait_line(rf"{ident}: from=<>", since=mark)

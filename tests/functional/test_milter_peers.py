# SPDX-License-Identifier: BSD-2-Clause
"""The milters of the tests beside a real Postfix, without postern: they do what they should."""
import re

import pytest

from harness.beside import Mail
from harness.messages import HEADER, as_stored
from harness.milters import (PYTHON_SCRIPT, RSPAMD_WORD, SPAMASSASSIN_WORD, VIRUS, ClamavMilter,
                             Opendkim, Opendmarc, PythonMilter, Rspamd, SpamassMilter)
from peers import milter as raw
from peers.answers import Close

REPLACED_BYTES = 50 << 20


def message(word=b""):
    return HEADER + b"\r\nHello. " + word + b"\r\n"


def text(kept):
    """The only message that was kept."""
    assert len(kept.messages) == 1, kept
    return kept.messages[0]


def test_opendkim(mailboxes, start, dkim_key):
    """One signs, another one verifies; what was changed on the way does not verify."""
    mailboxes.ask([start(Opendkim, dkim_key, "s")])
    signed = text(mailboxes.send(Mail(message())))
    assert signed.startswith(b"DKIM-Signature: v=1; a=rsa-sha256;")
    mailboxes.ask([start(Opendkim, dkim_key, "v")])
    for sent, word in ((signed, b"dkim=pass"), (signed.replace(b"Hello", b"Hullo"), b"dkim=fail")):
        seen = text(mailboxes.send(Mail(sent.replace(b"\n", b"\r\n"))))
        assert seen.startswith(b"Authentication-Results: mx.example.test;")
        assert word in seen.partition(b"DKIM-Signature")[0]


def test_opendmarc(mailboxes, start, dkim_key):
    """It goes by what opendkim found before it."""
    chain = [start(Opendkim, dkim_key, "v"),
             start(Opendmarc, "_dmarc.example.org v=DMARC1; p=reject\n")]
    mailboxes.ask([start(Opendkim, dkim_key, "s")])
    signed = text(mailboxes.send(Mail(message()))).replace(b"\n", b"\r\n")
    mailboxes.ask(chain)
    assert b"dmarc=pass" in text(mailboxes.send(Mail(signed)))
    assert mailboxes.send(Mail(message())).last.text.startswith("5.7.1 rejected by DMARC policy")


@pytest.mark.parametrize("kind,word,mark", [
    (Rspamd, RSPAMD_WORD, b"X-Rspamd: seen\n"),
    (ClamavMilter, VIRUS, b"X-Virus-Status: Clean\n"),
    (SpamassMilter, SPAMASSASSIN_WORD, b"X-Spam-Status: No, score=0.0 required=5.0\n"),
])
def test_scanner(mailboxes, start, kind, word, mark):
    """It marks what it lets through, and refuses its word."""
    mailboxes.ask([start(kind)])
    assert mark in text(mailboxes.send(Mail(message())))
    refused = mailboxes.send(Mail(message(word)))
    assert (refused.last.code // 100, refused.delivered) == (5, {})


def test_python_milter(mailboxes, start):
    mailboxes.ask([start(PythonMilter, PYTHON_SCRIPT)])
    kept = mailboxes.send(Mail(message(), recipients=("joe@example.test", "bulk@example.test")))
    assert [reply.code for _, reply in kept.replies[-4:]] == [250, 550, 354, 250]
    assert sorted(kept.delivered) == ["jane", "joe"]
    assert all(b"X-Python: seen\n" in one for one in kept.messages)


def test_busy_milter_edits(mailboxes, busy):
    """Every edit that there is, and each callback with its arguments in the log."""
    server = busy(("negotiate", "", "actions", "all"), ("negotiate", "", "steps", "no-helo"),
                  ("eom", "", "progress"),
                  ("eom", "", "addheader", "X-Added", "at the\n\tend"),
                  ("eom", "", "insheader", 2, "X-Inserted", "before To"),
                  ("eom", "", "chgheader", 1, "Subject", "changed"),
                  ("eom", "", "chgheader", 1, "Date"),
                  ("eom", "", "replacebody", "Another\r\n"), ("eom", "", "replacebody", "body.\r\n"),
                  ("eom", "", "chgfrom", "<edited@example.org>"),
                  ("eom", "", "addrcpt", "<jane@example.test>"),
                  ("eom", "", "addrcpt-par", "<bulk@example.test>", "NOTIFY=NEVER"),
                  ("eom", "", "delrcpt", "<joe@example.test>"))
    mailboxes.ask([server])
    kept = mailboxes.send(Mail(message(), before=("XTURN a b",)))
    assert sorted(kept.delivered) == ["bulk", "jane"]
    sender, _, content = kept.delivered["jane"][0]
    assert sender == "<edited@example.org>"
    assert content == as_stored(
        b"From: Sender <sender@example.org>\r\nX-Inserted: before To\r\n"
        b"To: Joe <joe@example.test>\r\nSubject: changed\r\nMessage-ID: <1@example.org>\r\n"
        b"X-Added: at the\r\n\tend\r\n\r\nAnother\r\nbody.\r\n")
    server.wait_stage("close")
    assert [event["stage"] for event in server.events] == [
        "negotiate", "connect", "unknown", "mail", "rcpt", "data", *["header"] * 5, "eoh", "body",
        "eom", "close"]
    assert server.wait_stage("unknown")["arguments"] == ["XTURN"]
    assert server.wait_stage("mail")["arguments"] == ["<sender@example.org>"]
    assert server.wait_stage("mail")["macros"]["{mail_addr}"] == "sender@example.org"
    assert server.wait_stage("eom")["length"] == len(b"Hello. \r\n")


def test_busy_milter_quarantine_and_size(mailboxes, busy):
    """50 MiB in place of the body; then one that is held, in the same session of the milter's."""
    server = busy(("negotiate", "", "actions", "change-body", "quarantine"),
                  ("eom", "keep", "quarantine", "looks odd"),
                  ("eom", "", "replacebody-size", REPLACED_BYTES))
    mailboxes.ask([server])
    content = text(mailboxes.send(Mail(message())))
    assert len(content.partition(b"\n\n")[2].replace(b"\n", b"\r\n")) == REPLACED_BYTES
    mark = mailboxes.postfix.log.mark()
    kept = mailboxes.send(Mail(message(), sender="keep@example.org"))
    assert (kept.last.code, kept.delivered) == (250, {})
    assert mailboxes.postfix.log.find("milter triggers HOLD action.*|: looks odd", since=mark)


STAGES = {"helo": "client.example", "mail": "sender@", "rcpt": "joe@", "data": "", "header": "Subject",
          "eoh": "", "body": "", "eom": ""}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("verdict", ["reject", "tempfail", "reply", "lines", "discard", "accept"])
def test_busy_milter_verdicts(mailboxes, busy, stage, verdict):
    """Each verdict at each stage, as Postfix takes it: the reply is the milter's, or that of one."""
    match = STAGES[stage]
    steps = {"reply": [("setreply", "450", "4.7.1", "At your own 100%% risk"), ("tempfail",)],
             "lines": [("setmlreply", "554", "5.7.2", "first", "last"), ("reject",)]}
    server = busy(*[(stage, match, *step) for step in steps.get(verdict, [(verdict,)])])
    mailboxes.ask([server])
    kept = mailboxes.send(Mail(message()))
    last = [reply for _, reply in kept.replies if reply.code >= 400][:1] or [kept.last]
    expected = {"reject": (550, "5.7.1 Command rejected"), "reply": (450, "4.7.1 At your own 100% risk"),
                "tempfail": (451, "4.7.1 Service unavailable - try again later"),
                "lines": (554, "5.7.2 last")}
    if verdict in expected:
        assert (last[0].code, last[0].text) == expected[verdict]
    else:
        assert last[0].code == 250
    is_taken = verdict == "accept" or (verdict, stage) == ("discard", "helo")
    assert sorted(kept.delivered) == (["joe"] if is_taken else [])


# ---- on a bare socket ----------------------------------------------------------------------------

def test_raw_milter(mailboxes, raw_milter):
    """What it is asked, octet for octet, and edits in its own packets."""
    server = raw_milter().on("eom", [raw.add_header("X-Raw", "seen"), raw.CONTINUE])
    mailboxes.ask([server])
    assert b"X-Raw: seen\n" in text(mailboxes.send(Mail(message())))
    server.wait_closed()
    connection = server.connections[0]
    assert re.fullmatch("ODCDHDMDRDT(DL){5}DNDBDEA*Q", connection.letters)
    assert connection.payloads("M") == [b"<sender@example.org>\0"]
    assert connection.payloads("H") == [b"client.example.test\0"]
    assert connection.body == b"Hello. \r\n"
    assert connection.macros("M")[0]["{mail_addr}"] == "sender@example.org"


@pytest.mark.parametrize("answer", [
    Close(), raw.reply_code("250 2.0.0 fine"),
    raw.packet("y", raw=b"5"), b"\0\0\0\0c", b"\xff\xff\xff\xffc", raw.packet("?")],
    ids=["gone", "a good reply", "a short reply", "no length", "too long", "unknown"])
def test_raw_milter_misbehaves(mailboxes, raw_milter, answer):
    """Postfix then takes the default action."""
    mailboxes.ask([raw_milter().on("rcpt", answer)])
    kept = mailboxes.send(Mail(message()))
    assert (kept.last.code, kept.delivered) == (451, {})

# SPDX-License-Identifier: BSD-2-Clause
"""Milters asked by postern: what they hear, and what becomes of mail, is as behind a real Postfix."""
import difflib

import pytest

from harness.beside import Mail, Pair, asked
from harness.messages import (DOTTED_MESSAGE, HEADER, ODD_MESSAGE, PLAIN_MESSAGE, as_stored,
                              big_message)
from harness.milters import (PYTHON_SCRIPT, RSPAMD_WORD, SPAMASSASSIN_WORD, VIRUS, ClamavMilter,
                             Opendkim, Opendmarc, PythonMilter, Rspamd, SpamassMilter)

# What differs between milters behind Postfix and the same ones behind postern: (what, what to put
# there on both sides, why it is right).
EXPLAINED = (
    (rb"Ok: \d+ bytes queued as", b"Ok: queued as",
     "postern hands on by BDAT what came by DATA, and Postfix then counts"),
    (rb"\n\tt=\d+; bh=", b"\n\tt=NOW; bh=", "opendkim signs twice, at different times"),
    (rb"\n\tb=[A-Za-z0-9+/=\n\t ]+", b"\n\tb=SIGNATURE\n", "and so with another signature"),
)
# Of what milters are told: our names, ids, transports and version differ by nature.
MACROS = ("_", "{daemon_addr}", "{mail_addr}", "{mail_mailer}", "{rcpt_addr}", "{rcpt_host}")

MESSAGES = {"plain": PLAIN_MESSAGE, "dots": DOTTED_MESSAGE, "odd": ODD_MESSAGE, "header": HEADER,
            "1 MiB": big_message(1 << 20)}


def message(word=b"", more=b""):
    return HEADER + more + b"\r\nHello. " + word + b"\r\n"


@pytest.fixture
def pair(mailboxes, postern):
    return lambda milters, **options: Pair(mailboxes, postern, milters, explained=EXPLAINED, **options)


@pytest.mark.parametrize("name", MESSAGES)
def test_without_milters(pair, name):
    """The comparison finds nothing where there is nothing."""
    pair([]).same(Mail(MESSAGES[name], recipients=("joe@example.test", "nobody@example.test")))


# ---- milters of Debian ---------------------------------------------------------------------------

def dkim_pair(start, key):
    return [start(Opendkim, key, "v"),
            start(Opendmarc, "_dmarc.example.org v=DMARC1; p=reject\n")]


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("canonicalization", ["simple/simple", "relaxed/relaxed"])
def test_opendkim_signs(mailboxes, pair, start, dkim_key, canonicalization, name):
    """The same signature but for its time, and opendkim itself finds it good."""
    both = pair([start(Opendkim, dkim_key, "s", f"Canonicalization {canonicalization}\n")])
    signed = both.same(Mail(MESSAGES[name])).messages[0]
    mailboxes.ask([start(Opendkim, dkim_key, "v")])
    seen = mailboxes.send(Mail(signed.replace(b"\n", b"\r\n"))).messages[0]
    assert b"dkim=pass" in seen.partition(b"DKIM-Signature")[0]


def test_opendkim_and_opendmarc(mailboxes, pair, start, dkim_key):
    """What passes, what fails, and forged results, which opendkim takes out."""
    mailboxes.ask([start(Opendkim, dkim_key, "s")])
    signed = mailboxes.send(Mail(message())).messages[0].replace(b"\n", b"\r\n")
    forged = b"Authentication-Results: mx.example.test; dkim=pass header.d=example.org\r\n"
    both = pair(dkim_pair(start, dkim_key))
    assert b"dmarc=pass" in both.same(Mail(signed)).messages[0]
    for wrong in (message(), message(more=forged), signed.replace(b"Hello", b"Hullo")):
        assert both.same(Mail(wrong)).last.text.startswith("5.7.1 rejected by DMARC policy")


@pytest.mark.parametrize("kind,word", [(Rspamd, RSPAMD_WORD), (ClamavMilter, VIRUS),
                                       (SpamassMilter, SPAMASSASSIN_WORD)])
def test_scanner(pair, start, kind, word):
    both = pair([start(kind)])
    for name, content in MESSAGES.items():
        assert both.same(Mail(content)).last.code == 250, name
    assert both.same(Mail(message(word))).last.code // 100 == 5


def test_python_milter(pair, start):
    kept = pair([start(PythonMilter, PYTHON_SCRIPT)]).same(
        Mail(message(), recipients=("joe@example.test", "bulk@example.test")))
    assert sorted(kept.delivered) == ["jane", "joe"]


# ---- one that does what it is told ---------------------------------------------------------------

STAGES = {"connect": "", "helo": "client.example", "mail": "sender@", "rcpt": "joe@", "data": "",
          "header": "Subject", "eoh": "", "body": "", "eom": ""}
VERDICTS = {
    "reject": [("reject",)], "tempfail": [("tempfail",)], "discard": [("discard",)],
    "accept": [("accept",)],
    "450": [("setreply", "450", "4.7.1", "At your own 100%% risk, 50%% of it"), ("tempfail",)],
    "554 in lines": [("setmlreply", "554", "5.7.2", "first", "second", "last"), ("reject",)],
    "without enhanced code": [("setreply", "550", "", "Not here"), ("reject",)],
    "421": [("setreply", "421", "4.3.0", "Enough"), ("tempfail",)],
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict(pair, busy, stage, verdict):
    """Each verdict at each stage: the same replies, and the same mail. postern gives its client at RCPT
    what was said at CONNECT, HELO and MAIL: nobody waits for that before."""
    both = pair([busy(*[(stage, STAGES[stage], *step) for step in VERDICTS[verdict]])])
    mail = Mail(message(), recipients=("joe@example.test", "jane@example.test"))
    if stage not in ("connect", "helo", "mail"):
        both.same(mail)
    elif verdict != "421":
        both.same_refusal(mail)
    else:
        for outcome in both.both(mail):
            assert (outcome.last.code, outcome.delivered) == (421, {})


EDITS = {
    "add": [("addheader", "X-Added", "one"), ("addheader", "X-Added", "two\n\tfolded\n more")],
    "insert": [("insheader", 2, "X-Two", "2"), ("insheader", 100, "X-Last", "last"),
               ("insheader", 2, "X-Again", "also")],
    "insert above all": [("insheader", 0, "X-Top", "top"), ("insheader", 1, "X-Second", "second")],
    "change": [("chgheader", 1, "Subject", "changed"), ("chgheader", 2, "X-Twice", "second"),
               ("chgheader", 1, "to", "In other letters <joe@example.test>")],
    "change one that is not there": [("chgheader", 3, "X-Twice", "third"),
                                     ("chgheader", 1, "X-New", "new")],
    "delete": [("chgheader", 1, "X-Twice"), ("chgheader", 1, "Date", ""), ("chgheader", 7, "Subject")],
    "delete, last one first": [("chgheader", 2, "X-Twice"), ("chgheader", 1, "X-Twice")],
    "body": [("replacebody", "Another body.\r\n"), ("replacebody", "In two pieces, .\r\n.\r\n")],
    "no body": [("replacebody-size", 0)],
    "sender": [("chgfrom", "<edited@example.org>")],
    "no sender": [("chgfrom", "<>")],
    "add recipients": [("addrcpt", "<jane@example.test>"), ("addrcpt", "bulk@example.test"),
                       ("addrcpt", "<jane@example.test>")],
    "add with parameters": [("addrcpt-par", "<jane@example.test>", "NOTIFY=NEVER")],
    "delete a recipient": [("addrcpt", "<jane@example.test>"), ("delrcpt", "<joe@example.test>")],
    "delete one that is not there": [("delrcpt", "<jane@example.test>")],
    "delete all recipients": [("delrcpt", "<joe@example.test>")],
    "progress": [("progress",), ("addheader", "X-Late", "yes"), ("progress",)],
    "and hold": [("addheader", "X-Added", "one"), ("quarantine", "looks odd")],
    "hold, and accept": [("quarantine", "looks odd"), ("accept",)],
    "hold, and refuse": [("quarantine", "looks odd"), ("reject",)],
    "and refuse": [("addheader", "X-Added", "one"), ("replacebody", "no"), ("reject",)],
    "and discard": [("addheader", "X-Added", "one"), ("discard",)],
    "and accept": [("addheader", "X-Added", "one"), ("accept",)],
}
EVERYTHING = ("negotiate", "", "actions", "all")


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("spaces", [(), (("negotiate", "", "steps", "leading-space"),)],
                         ids=["", "with its own spaces"])
def test_edit(pair, busy, name, spaces):
    both = pair([busy(EVERYTHING, *spaces, *[("eom", "", *edit) for edit in EDITS[name]])])
    twice = b"X-Twice: 1\r\nX-Twice:  2  \r\n"
    both.same(Mail(message(more=twice)))


def test_edits_by_several(pair, busy):
    """Each sees what those before it have left."""
    first = busy(EVERYTHING, ("eom", "", "chgheader", 1, "Subject", "by the first"),
                 ("eom", "", "addheader", "X-First", "1"), ("eom", "", "replacebody", "first\r\n"))
    second = busy(EVERYTHING, ("header", "X-First", "setreply", "550", "5.7.1", "seen"),
                  ("eom", "", "addheader", "X-Second", "2"), ("eom", "", "chgheader", 1, "X-First"))
    third = busy(EVERYTHING, ("eom", "", "chgheader", 1, "X-Second", "by the third"),
                 ("eom", "", "chgfrom", "<third@example.org>"))
    kept = pair([first, second, third]).same(Mail(message()))
    assert as_stored(b"Subject: by the first\r\n") in kept.messages[0]
    assert b"X-First" not in kept.messages[0]
    assert [e["length"] for e in third.events if e["stage"] == "eom"] == [len(b"first\r\n")] * 2


def test_numbers_stay(mailboxes, pair, busy):
    """Fields keep the numbers that they had when the milter saw them, as with Sendmail; Postfix counts
    anew when one is deleted."""
    both = pair([busy(EVERYTHING, ("eom", "", "chgheader", 1, "X-Twice"),
                      ("eom", "", "chgheader", 2, "X-Twice", "the second"))])
    outcome, other = both.both(Mail(message(more=b"X-Twice: 1\r\nX-Twice: 2\r\n")))
    assert b"X-Twice: 2\n" in outcome.messages[0] and b"X-Twice: the second" in outcome.messages[0]
    assert other.messages[0].count(b"X-Twice") == 1 and b"X-Twice: the second" in other.messages[0]


def test_50_mib_in_place_of_a_line(pair, busy):
    both = pair([busy(EVERYTHING, ("eom", "", "replacebody-size", 50 << 20))],
                smtpd="max-message-size = 100m\n")
    both.same(Mail(message()))


def test_10000_edits(mailboxes, pair, busy):
    """Postfix takes far fewer: its queue file is full of jumps then."""
    edits = [("eom", "", "addheader", f"X-Edit-{n}", n) for n in range(5000)]
    edits += [("eom", "", "chgheader", 1, f"X-Edit-{n}", -n) for n in range(5000)]
    both = pair([busy(EVERYTHING, *edits)])
    content = mailboxes.send(Mail(message()), both.postern.server).messages[0]
    assert [line for line in content.splitlines() if line.startswith(b"X-Edit")] == [
        f"X-Edit-{n}: {-n}".encode() for n in range(5000)]


STEPS = {"none": (), "leading space": ("leading-space",), "rejected recipients": ("rcpt-rej",),
         "no replies": ("nr-connect", "nr-helo", "nr-mail", "nr-rcpt", "nr-data", "nr-unknown",
                        "nr-header", "nr-eoh", "nr-body"),
         "nothing": ("no-connect", "no-helo", "no-mail", "no-rcpt", "no-data", "no-unknown",
                     "no-headers", "no-eoh", "no-body")}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", ["odd", "1 MiB"])
def test_is_asked_the_same(mailboxes, postern, busy, steps, name):
    """Every callback with its arguments: addresses with their parameters, folded fields, the body."""
    milter = busy(EVERYTHING, ("negotiate", "", "steps", *STEPS[steps]))
    both = Pair(mailboxes, postern, [milter], explained=EXPLAINED)
    more = b"X-Folded: a\r\n\tb\r\n  c\r\nX-Empty:\r\nX-Spaces:   two  \r\nX-None:x\r\n"
    content = MESSAGES[name].replace(b"Subject:", more + b"Subject:", 1)
    mail = Mail(content, recipients=("joe@example.test", "jane@example.test"),
                after_mail=" SIZE=100 BODY=8BITMIME")
    mailboxes.send(Mail(PLAIN_MESSAGE), both.postern.server)    # BODY is announced from now on
    told = []
    for count, server in enumerate((mailboxes.server, both.postern.server), 2):
        begun = len(milter.events)
        assert mailboxes.send(mail, server).last.code == 250
        milter.wait_stage("eom", count)
        told.append(asked(milter.events[begun:], MACROS))
    assert told[1] == told[0], "\n".join(difflib.unified_diff(*told, n=0))


def test_skip(pair, busy):
    """Whoever has seen enough of the body gets no more of it."""
    milter = busy(("negotiate", "", "steps", "skip"), ("body", "", "skip"))
    pair([milter]).same(Mail(MESSAGES["1 MiB"]))

# SPDX-License-Identifier: BSD-2-Clause
"""The same mail past the same milters, asked by a real Postfix and by postern: what became of it."""
import dataclasses
import difflib
import re

from harness.dns import CLIENT
from harness.postfix import USERS, Postfix
from harness.process import free_port
from peers.client import Client, stuffed

# Each smtpd serves one connection, so that what Postfix.set() says holds for the next one. The second
# service is where postern delivers.
MASTER_CF = """
10025     inet  n       -       n       -       -       smtpd
    -o max_use=1
127.0.0.1:{behind} inet n -     n       -       -       smtpd
    -o smtpd_milters=
    -o smtpd_authorized_xclient_hosts=127.0.0.1
"""
POSTERN_CF = """
[relay "postfix"]
address = 127.0.0.1:{behind}
identity = xclient
[route]
@ postfix
"""
# Neither side knows clients by name: there is no DNS for Postfix here.
MAIN_CF = {"milter_default_action": "tempfail", "milter_protocol": "6", "notify_classes": "",
           "smtpd_peername_lookup": "no", "local_header_rewrite_clients": ""}

# What Postfix itself puts into a message that it delivers to a mailbox.
ENVELOPE = ("Return-Path", "X-Original-To", "Delivered-To")
OWN_RECEIVED = re.compile(rb"^Received: from [^\n]*\n(?:[ \t][^\n]*\n)*?\tby postfix\.example\.test"
                          rb"[^\n]*\n(?:[ \t][^\n]*\n)*", re.M)


@dataclasses.dataclass(frozen=True)
class Mail:
    """One session of a client with one message."""

    content: bytes
    sender: str = "sender@example.org"
    recipients: tuple = ("joe@example.test",)
    helo: str = "client.example.test"
    source: str = CLIENT
    after_mail: str = ""                # parameters of MAIL
    before: tuple = ()                  # commands between EHLO and MAIL


@dataclasses.dataclass
class Outcome:
    replies: list           # (command, the reply as it came)
    delivered: dict         # mailbox -> [(sender, recipient, message without Postfix's own fields)]

    @property
    def last(self):
        """The last reply before QUIT: that to the end of data if it came so far."""
        return self.replies[-1][1]

    @property
    def messages(self):
        return [content for box in self.delivered.values() for _, _, content in box]


def speak(server, mail):
    """The whole session; (command, reply) of each command, a broken connection as its end."""
    said = []
    with Client(server, source=mail.source) as client:
        def say(line):
            said.append((line, client.command(line)))
            return said[-1][1].code

        try:
            said.append(("", client.reply()))
            for line in (f"EHLO {mail.helo}", *mail.before):
                say(line)
            if say(f"MAIL FROM:<{mail.sender}>{mail.after_mail}") == 250:
                codes = [say(f"RCPT TO:<{one}>") for one in mail.recipients]
                if 250 in codes and say("DATA") == 354:
                    client.send(stuffed(mail.content) + b".\r\n")
                    said.append((".", client.reply()))
            client.command("QUIT")
        except (EOFError, ConnectionError):
            pass
    return said


class Mailboxes:
    """A private Postfix that asks milters at `server`, and that takes what postern has at `behind`."""

    def __init__(self):
        self.behind = free_port()
        self.postfix = Postfix("", MASTER_CF.format(behind=self.behind), MAIN_CF)
        self._seen = set()

    @property
    def server(self):
        return self.postfix.server

    def ask(self, milters, **settings):
        """From now on Postfix asks these milters."""
        self.postfix.set(smtpd_milters=", ".join(one.for_postfix for one in milters), **settings)

    def asking(self, milters, lines=""):
        """(sections, lines of the listener) for a postern that asks these milters and delivers here."""
        names = [f"milter{number}" for number in range(len(milters))]
        sections = "".join(f'[milter "{name}"]\naddress = {milter.for_postern}\n{lines}\n'
                           for name, milter in zip(names, milters))
        chain = f"filter = {' '.join(names)}\n" if names else ""
        return sections + POSTERN_CF.format(behind=self.behind), chain + "resolve-names = no\n"

    def send(self, mail, server=None):
        """Sends it, here or to another server that delivers here, and waits until all have it."""
        mark = self.postfix.log.mark()
        replies = speak(server or self.server, mail)
        for _, reply in replies:
            queued = re.search(r"queued as ([0-9A-F]+)$", reply.text)
            if queued:
                self.postfix.log.wait_line(
                    rf"{queued[1]}: (removed|milter-hold)|milter-discard", since=mark)
        return Outcome(replies, {user: new for user in USERS if (new := list(self._news(user)))})

    def _news(self, user):
        for message in self.postfix.maildir(user).messages():
            if message.path not in self._seen:
                self._seen.add(message.path)
                yield taken_apart(message)

    def stop(self):
        self.postfix.stop()


def taken_apart(message):
    """(sender, recipient, the rest without Postfix's Received line)"""
    values = [message.values(name) for name in ENVELOPE]
    assert [len(value) for value in values] == [1, 1, 1], message.raw
    rest = message.raw.split(b"\n", 3)[3]
    rest, count = OWN_RECEIVED.subn(b"", rest, count=1)
    assert count == 1, message.raw
    return values[0][0], values[1][0], rest


# ---- the comparison ------------------------------------------------------------------------------

QUEUED = (rb"queued as [0-9A-Z]+", b"queued as ID")
# Of these a milter hears as connections to it are kept; a body comes in the pieces in which it arrived,
# and "eom" has its length and sum.
LEFT_OUT = ("negotiate", "abort", "close", "body")


def asked(events, macros):
    """What a busy milter was asked, as lines of text, with these macros."""
    lines = []
    for event in events:
        if event["stage"] in LEFT_OUT:
            continue
        told = {name: value for name, value in event["macros"].items() if name in macros}
        rest = {key: value for key, value in event.items() if key not in ("session", "port", "macros")}
        lines.append(f"{rest} {told}")
    return lines


def _told(outcome, explained):
    """An outcome as lines of text, less what may differ."""
    lines = []
    for command, reply in outcome.replies:
        is_own = command == "" or command.startswith("EHLO")
        text = str(reply.code).encode() if is_own else reply.raw
        lines.append(f"reply to {command!r}: ".encode() + text)
    for user, box in outcome.delivered.items():
        for sender, recipient, content in box:
            lines.append(f"{user} has, from {sender} for {recipient}: ".encode() + content)
    for pattern, becomes in (QUEUED, *((pattern, becomes) for pattern, becomes, _ in explained)):
        lines = [re.sub(pattern, becomes, line) for line in lines]
    return lines


def differences(outcome, other, explained=()):
    """Lines of what is in one of them only. explained: (pattern, what to put there, why)."""
    return list(difflib.diff_bytes(difflib.unified_diff, _told(outcome, explained),
                                   _told(other, explained), b"Postfix", b"postern", n=0,
                                   lineterm=b""))


def refusal(outcome):
    """The first refusal of a command; a greeting has words of its own."""
    return next((reply.raw for command, reply in outcome.replies if command and reply.code >= 400),
                None)


class Pair:
    """The same milters behind Postfix and behind postern. explained: see differences()."""

    def __init__(self, mailboxes, start_postern, milters, explained=(), smtpd=""):
        self.mailboxes, self.explained = mailboxes, explained
        mailboxes.ask(milters)
        text, chain = mailboxes.asking(milters)
        self.postern = start_postern(text, smtpd=chain + smtpd)

    def both(self, mail):
        """What becomes of it behind Postfix, and behind postern."""
        return self.mailboxes.send(mail), self.mailboxes.send(mail, self.postern.server)

    def same(self, mail):
        """Asserts that it makes no difference; what became of the mail."""
        outcome, other = self.both(mail)
        found = differences(outcome, other, self.explained)
        assert not found, b"\n".join(found).decode("latin-1")
        return other

    def same_refusal(self, mail):
        """The same where refusals may come at different commands."""
        outcome, other = self.both(mail)
        assert refusal(other) == refusal(outcome)
        assert other.delivered == outcome.delivered

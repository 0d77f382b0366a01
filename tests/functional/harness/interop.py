# SPDX-License-Identifier: BSD-2-Clause
"""Clients and targets of the interoperability matrix, each behind one small interface."""
import dataclasses
import os
import pathlib
import smtplib
import subprocess
import tempfile

from harness.dovecot import Dovecot
from harness.exim import Exim
from harness.messages import as_stored
from harness.opensmtpd import Opensmtpd
from harness.postfix import Postfix
from harness.process import free_port
from harness.senders import Swaks
from peers.client import Client, chunked, stuffed
from peers.target import Target

SENDER = "sender@example.org"
HELO = "client.example.test"
PATIENCE_S = 60
USERS = ("joe", *(f"u{number}" for number in range(1, 1000)))       # what joe has is looked at


@dataclasses.dataclass(frozen=True)
class Mail:
    content: bytes
    recipients: tuple
    body: str = "8BITMIME"      # or BINARYMIME


# ---- clients: send(server, protocol, mail) says what went wrong, or None ----

def _scripted(server, protocol, mail, is_chunked):
    with Client(server, timeout_s=PATIENCE_S) as client:
        client.expect(220)
        client.expect(250, f"{'LHLO' if protocol == 'lmtp' else 'EHLO'} {HELO}")
        lines = [f"MAIL FROM:<{SENDER}> BODY={mail.body}"]
        lines += [f"RCPT TO:<{one}>" for one in mail.recipients]
        for line in lines:
            reply = client.command(line)
            if reply.code != 250:
                return reply.line
        if is_chunked:
            octets, count = chunked(mail.content, max(4099, len(mail.content) // 100))
            client.send(octets)
            client.skip_replies(count - 1)
        else:
            client.expect(354, "DATA")
            client.send(stuffed(mail.content) + b".\r\n")
        for _ in mail.recipients if protocol == "lmtp" else (None,):
            reply = client.reply()
            if reply.code != 250:
                return reply.line
        client.quit()
    return None


def by_data(server, protocol, mail):
    return _scripted(server, protocol, mail, False)


def by_bdat(server, protocol, mail):
    return _scripted(server, protocol, mail, True)


def by_swaks(server, protocol, mail):
    run = Swaks(server, SENDER, mail.recipients, mail.content, helo=HELO,
                options=("--protocol", "LMTP" if protocol == "lmtp" else "ESMTP"))
    return "; ".join(line for line in run.lines if "**" in line) if run.exit_code else None


def by_smtplib(server, protocol, mail):
    kind = smtplib.LMTP if protocol == "lmtp" else smtplib.SMTP
    try:
        with kind(*server, local_hostname=HELO, timeout=PATIENCE_S) as connection:
            connection.sendmail(SENDER, mail.recipients, mail.content, ["BODY=8BITMIME"])
    except smtplib.SMTPException as error:
        return repr(error)
    return None


def _run(arguments, octets):
    run = subprocess.run(arguments, input=octets, capture_output=True, timeout=PATIENCE_S,
                         check=False)
    return (run.stdout + run.stderr).decode("utf-8", "replace") if run.returncode else None


def by_curl(server, _protocol, mail):
    recipients = [word for one in mail.recipients for word in ("--mail-rcpt", one)]
    return _run(["curl", "-sv", f"smtp://{server[0]}:{server[1]}/{HELO}", "--mail-from", SENDER,
                 *recipients, "--upload-file", "-"], mail.content)


def by_msmtp(server, protocol, mail):
    return _run(["msmtp", f"--host={server[0]}", f"--port={server[1]}", f"--protocol={protocol}",
                 f"--domain={HELO}", f"--from={SENDER}", "--", *mail.recipients],
                as_stored(mail.content))


CLIENT_MASTER_CF = """
127.0.0.1:10025 inet  n       -       n       -       100     smtpd
smtp            unix  -       -       n       -       -       smtp
lmtp            unix  -       -       n       -       -       lmtp
"""


def postfix_client(next_hop, protocol):
    """A Postfix that passes all mail on."""
    place = f"lmtp:inet:127.0.0.1:{next_hop}" if protocol == "lmtp" else \
        f"smtp:[127.0.0.1]:{next_hop}"
    return Postfix("mynetworks = 127.0.0.0/8\nvirtual_mailbox_domains =\n"
                   f"default_transport = {place}\n"
                   "default_destination_recipient_limit = 2000\n"
                   "smtpd_recipient_limit = 2000\n", CLIENT_MASTER_CF)


PROGRAMS = {"DATA": by_data, "BDAT": by_bdat, "swaks": by_swaks, "smtplib": by_smtplib,
            "curl": by_curl, "msmtp": by_msmtp}
SERVERS = {"postfix": postfix_client, "exim": Exim, "opensmtpd": Opensmtpd}


# ---- targets ----

class Box:
    """A Maildir that is looked at again and again."""

    def __init__(self, path):
        self.path = pathlib.Path(path) / "new"
        self._seen = set()

    def arrived(self):
        """What has come since the last time."""
        for entry in os.scandir(self.path) if self.path.is_dir() else ():
            if entry.name not in self._seen:
                self._seen.add(entry.name)
                yield pathlib.Path(entry.path).read_bytes()


class Relayed:
    """What all targets that are mail servers have in common. There is a relay, and a domain, for
    each setting of `chunking` that makes a difference."""

    chunkings = ("auto", "no")
    binary = ()         # those by which it takes binary messages
    more = ""           # of its section

    def section(self, name, chunking):
        return (f'[relay "{name}"]\naddress = {self.address}\nidentity = none\n'
                f"chunking = {chunking}\n{self.more}")

    def lies(self, content, _is_binary):
        """How a message lies there."""
        return as_stored(content)

    def remove(self):
        self.stop()


class ToScripted(Relayed):
    binary = ("auto",)
    more = "received = never\n"

    def __init__(self, _domains):
        self.target = Target(ehlo=("PIPELINING", "SIZE 104857600", "8BITMIME", "BINARYMIME",
                                   "ENHANCEDSTATUSCODES", "CHUNKING"))
        self.address = self.target.address
        self._seen = set()

    def arrived(self):
        new = [one for one in self.target.accepted if id(one) not in self._seen]
        self._seen.update(map(id, new))
        return [one.content for one in new]

    def lies(self, content, _is_binary):
        return content

    def remove(self):
        self.target.stop()


TARGET_MASTER_CF = "127.0.0.1:10025 inet n - n - 100 smtpd\n"


class ToPostfix(Relayed, Postfix):
    def __init__(self, domains):
        super().__init__(
            f"mynetworks =\nvirtual_mailbox_domains = {' '.join(domains)}\n"
            "virtual_mailbox_maps = regexp:{{/^joe@/ joe/}}\n"
            "virtual_alias_maps = regexp:{{/^u[0-9]+@(.*)/ joe@$1}}\n"
            "smtpd_recipient_limit = 2000\n", TARGET_MASTER_CF)
        self.arrived = Box(self.root / "mail/joe").arrived


class ToExim(Relayed, Exim):
    def __init__(self, _domains):
        super().__init__()
        self.arrived = Box(self.root / "mail/joe").arrived


class ToOpensmtpd(Relayed, Opensmtpd):
    chunkings = ("auto",)       # it has none

    def __init__(self, _domains):
        super().__init__()
        self.arrived = Box(self.root / "mail/joe").arrived


class ToDovecot(Relayed, Dovecot):
    more = "protocol = lmtp\n"

    def __init__(self, _domains):
        super().__init__("127.0.0.34", free_port(), USERS[:1], USERS[1:])
        self.arrived = Box(self.root / "mail/joe").arrived

    def remove(self):
        self.close()


class ToMaildir:
    chunkings = binary = ("auto",)

    def __init__(self, _domains):
        self.directory = tempfile.TemporaryDirectory(prefix="postern-interop-")
        self.arrived = Box(self.directory.name + "/joe").arrived

    def section(self, name, _chunking):
        return f'[maildir "{name}"]\npath = {self.directory.name}/${{RCPT_LOCAL}}\n'

    def lies(self, content, is_binary):
        return content if is_binary else as_stored(content)

    def remove(self):
        self.directory.cleanup()


TARGETS = {"scripted": ToScripted, "postfix": ToPostfix, "exim": ToExim, "opensmtpd": ToOpensmtpd,
           "dovecot": ToDovecot, "maildir": ToMaildir}

# SPDX-License-Identifier: BSD-2-Clause
"""A private OpenSMTPD: keeps all mail in Maildirs, or passes it on to one next hop."""
import os

from harness.unpacked import OWNER, USERS, Unpacked

DAEMON, QUEUE = ("opensmtpd", 991), ("opensmtpq", 992)

CONF = """
smtp max-message-size 100M
{pki}
listen on 127.0.0.1 port {port} {tls} hostname opensmtpd.example.test
table owners {{ keeper = {uid}:{uid}:/mail }}
action "keep" maildir "/mail/%{{rcpt.user}}" virtual {{ "@" = keeper }} userbase <owners>
action "smtp" relay host "smtp+{notls}tls://127.0.0.1:{next_hop}" {verify}
action "lmtp" relay host "lmtp://127.0.0.1:{next_hop}"
action "mda" lmtp "127.0.0.1:{next_hop}" rcpt-to virtual {{ "@" = keeper }} userbase <owners>
match from any for any action "{action}"
"""
PKI = 'pki own cert "/etc/tls.pem"\npki own key "/etc/tls.key"'


class Opensmtpd(Unpacked):
    """protocol: "smtp" or "lmtp", to the port next_hop; or "mda": mail.lmtp takes it there. With
    certificates it offers STARTTLS, and passes mail on to nobody without."""

    command = ("/usr/sbin/smtpd", "-d")

    def __init__(self, next_hop=None, protocol="smtp", certificates=None):
        super().__init__("opensmtpd", dict([DAEMON, QUEUE]))
        self.write("etc/smtpd.conf", CONF.format(
            port=self.port, uid=USERS[OWNER], next_hop=next_hop or self.port,
            action=protocol if next_hop else "keep", notls="" if certificates else "no",
            verify="tls no-verify" if certificates else "",
            pki=PKI if certificates else "", tls="tls pki own" if certificates else ""))
        if certificates:
            self.give(certificates)
        (self.root / "var/lib/opensmtpd/empty").mkdir(parents=True)
        (self.root / "var/spool/smtpd").mkdir(mode=0o711)
        os.chmod(self.root / "var/spool/smtpd", 0o711)
        self.start()

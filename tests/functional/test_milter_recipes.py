# SPDX-License-Identifier: BSD-2-Clause
"""The recipes of doc/milters.md, taken from there as they stand."""
import pytest

from harness import recipe
from harness.beside import POSTERN_CF, Mail
from harness.dns import CLIENT, TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.milters import RSPAMD_WORD, DkimKey, Opendkim, Opendmarc, Rspamd
from harness.process import free_port
from harness.spf_suite import Zone

OWN = f"{TRUSTED}/32"
OURS = PLAIN_MESSAGE.replace(b"@example.org", b"@example.test")


def block(way, file, **places):
    return recipe.put_in(recipe.block(way, file, "milters.md"), **places)


@pytest.fixture
def by_recipe(mailboxes, postern):
    """A postern in front of the mailboxes with these lines of the recipe added."""
    def make(way, resolver=None, **places):
        text = block(way, "postern.cf", **places).replace('"mx.example.test"', '"mx"')
        return postern(text + POSTERN_CF.format(behind=mailboxes.behind), resolver=resolver,
                       smtpd="resolve-names = no\n")
    return make


@pytest.fixture
def opendkim(start, tmp_path):
    key, port = DkimKey(tmp_path, "example.test", "mail"), free_port()
    conf = block("opendkim", "opendkim.conf", opendkim=port, networks=OWN, key=key.private)
    return start(Opendkim, key, conf=conf, port=port)


def test_rspamd(mailboxes, start, by_recipe):
    port = free_port()
    start(Rspamd, block("rspamd", "worker-proxy.inc", rspamd=port), port=port)
    server = by_recipe("rspamd", rspamd=port)
    kept = mailboxes.send(Mail(PLAIN_MESSAGE), server.server)
    assert b"X-Rspamd: seen\n" in kept.messages[0]
    kept = mailboxes.send(Mail(PLAIN_MESSAGE + RSPAMD_WORD), server.server)
    assert (kept.last.line, kept.delivered) == ("554 5.7.1 Spam message rejected", {})


def test_opendkim(mailboxes, by_recipe, opendkim):
    """Our own machines' mail is signed, and a stranger's copy of it is found good."""
    server = by_recipe("opendkim", opendkim=opendkim.port)
    signed = mailboxes.send(Mail(OURS, source=TRUSTED), server.server).messages[0]
    assert signed.startswith(b"DKIM-Signature: ")
    again = Mail(signed.replace(b"\n", b"\r\n"), source=CLIENT)
    seen = mailboxes.send(again, server.server).messages[0]
    assert b"dkim=pass" in seen.partition(b"DKIM-Signature")[0]


def test_opendmarc(mailboxes, start, by_recipe, opendkim, tmp_path, zone_dns):
    """What is signed passes, what is not is refused; our own machines are not asked about it."""
    zone_dns.zone = Zone({"example.test": [{"TXT": "v=spf1 -all"}]})
    ignored = tmp_path / "ignored"
    ignored.write_text(f"{TRUSTED}\n")
    port = free_port()
    start(Opendmarc, "_dmarc.example.test v=DMARC1; p=reject\n", port=port,
          conf=block("opendmarc", "opendmarc.conf", opendmarc=port, ignored=ignored))
    server = by_recipe("opendmarc", resolver=zone_dns.address, networks=OWN, opendkim=opendkim.port,
                       opendmarc=port)
    signed = mailboxes.send(Mail(OURS, source=TRUSTED), server.server).messages[0]
    assert b"dmarc=" not in signed
    seen = mailboxes.send(Mail(signed.replace(b"\n", b"\r\n")), server.server).messages[0]
    assert b"dkim=pass" in seen and b"dmarc=pass" in seen
    kept = mailboxes.send(Mail(OURS), server.server)
    assert kept.last.text == "5.7.1 rejected by DMARC policy for example.test"
    assert kept.delivered == {}

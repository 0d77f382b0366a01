# SPDX-License-Identifier: BSD-2-Clause
"""DSN before Maildirs: postern itself reports what it has delivered, live and out of the spool, and
whatever dies meanwhile.
"""
import os
import signal

import pytest

from conftest import needs_root
from harness.control import Control, queue_id
from harness.faults import HANG, Faults
from harness.maildir import Maildir
from harness.messages import PLAIN_MESSAGE, as_stored
from harness.postfix import queue_id as postfix_id
from harness.process import free_port
from harness.report import Report
from harness.workers import Workers, wait_gone

SENDER = "jane@example.test"
SUCCESS = "NOTIFY=SUCCESS ORCPT=rfc822;Joe+2B@box.test"
# Recipients, what each asks for, and whether a success is told.
VARIANTS = [("joe", SUCCESS, True), ("ann", "NOTIFY=NEVER", False), ("bea", "NOTIFY=FAILURE", False),
            ("cid", "", False), ("dan", "NOTIFY=DELAY", False),
            ("eve", "NOTIFY=SUCCESS,FAILURE,DELAY", True)]

CONFIG = """
[relay "reports"]
address = {reports}
identity = none
retry = 1s
health-interval = 1s
[maildir "box"]
path = {top}/${{RCPT_LOCAL}}
[route]
@box.test box
"""


def config(reports, top, address="", relay=""):
    """With a relay for @relay.test, if it has an address."""
    more = (f'@relay.test relay\n[relay "relay"]\naddress = {address}\nidentity = none\n{relay}\n'
            if address else "")
    return CONFIG.format(reports=reports, top=top) + more


def send(server, recipients, domain="box.test", mail="RET=HDRS ENVID=one", code=250):
    """One message from jane; the reply to its end."""
    with server.client() as client:
        client.hello()
        client.expect(250, f"MAIL FROM:<{SENDER}> {mail}")
        for name, params, _ in recipients:
            client.expect(250, f"RCPT TO:<{name}@{domain}> {params}".strip())
        reply = client.data(PLAIN_MESSAGE)
        assert reply.code == code
        client.quit()
        return reply


def told(report):
    return [(r["Final-Recipient"], r["Action"], r["Status"]) for r in report.recipients]


def wait_reports(target, count=1):
    """All reports so far, each from nobody to jane; `count` at least."""
    target.wait(lambda: len(target.accepted) >= count, f"report {count}")
    for transaction in target.accepted:
        assert transaction.mail.startswith("MAIL FROM:<>")
        assert transaction.rcpts == [f"RCPT TO:<{SENDER}>"]
    return [Report(transaction.content) for transaction in target.accepted]


def expected(domain):
    return [(f"rfc822; {name}@{domain}", "delivered", "2.0.0") for name, _, is_told in VARIANTS if is_told]


@pytest.mark.parametrize("workers", [0, 1])
def test_live(target, postern, tmp_path, workers):
    """One report on those who asked for it, when the message lies there; the client heard 250."""
    reports = target()
    server = postern(config(reports.address, tmp_path), core=f"workers = {workers}\nbounce-relay = reports")
    with server.client() as client:
        assert "DSN" in client.hello().texts
    assert send(server, VARIANTS).text == "2.0.0 Ok: delivered"
    report, = wait_reports(reports)
    assert told(report) == expected("box.test")
    assert report.message["Subject"] == "Delivered mail"
    assert report.about["Original-Envelope-Id"] == "one"
    assert report.recipients[0]["Original-Recipient"] == "rfc822; Joe+@box.test"
    assert "Remote-MTA" not in report.recipients[0]
    assert str(tmp_path).encode() not in report.raw
    assert report.returned.get_content_type() == "text/rfc822-headers"
    for name, *_ in VARIANTS:
        message, = Maildir(tmp_path / name).messages()
        assert message.sent == as_stored(PLAIN_MESSAGE)
    Control(server).wait_queue([])
    send(server, VARIANTS[1:5])     # nobody wants to know
    assert not server.events("spooled")[1:]


@needs_root
def test_a_real_postfix_delivers_the_report(xforward_postfix, postern, tmp_path):
    server = postern(config(xforward_postfix.address, tmp_path), core="bounce-relay = reports")
    send(server, VARIANTS)
    server.wait_event("reported", 2)
    line = server.wait_event("delivered")
    stored = xforward_postfix.delivered(postfix_id(line["reply"]), user="jane")
    report = Report(stored.sent.replace(b"\n", b"\r\n"))
    assert told(report) == expected("box.test")
    assert stored.values("Return-Path") == ["<>"]


def test_out_of_the_spool(target, postern, tmp_path):
    """The same for what waited in the queue; and while it waits, who wants to know of delays does."""
    reports = target()
    faults = Faults(tmp_path, "/mail/")
    faults.set("rename", "EIO")
    server = postern(config(reports.address, tmp_path / "mail", f"127.0.0.1:{free_port()}"), faults=faults,
                     core="bounce-relay = reports\ndelay-warning = 1s", smtpd="announce = DSN")
    control = Control(server)
    one = queue_id(send(server, VARIANTS, domain="relay.test"))
    control.text("reroute", one, "to", "box")
    delayed, = wait_reports(reports)
    assert delayed.message["Subject"] == "Delayed mail"
    assert [r["Final-Recipient"] for r in delayed.recipients] == [
        f"rfc822; {name}@relay.test" for name in ("cid", "dan", "eve")]
    assert {r["Action"] for r in delayed.recipients} == {"delayed"}
    faults.set("rename", None)
    control.text("flush", one)
    assert told(wait_reports(reports, 2)[1]) == expected("relay.test")
    control.wait_queue([])
    assert len(reports.accepted) == 2
    for name, *_ in VARIANTS:
        assert Maildir(tmp_path / "mail" / name).messages()[-1].sent == as_stored(PLAIN_MESSAGE)


def test_beside_a_relay_that_may_not_be_spooled(target, postern, tmp_path):
    """All or nothing: the relay takes it, so the Maildir does, and says so; the relay has DSN."""
    reports, strict = target(), target(ehlo=("PIPELINING", "DSN"))
    server = postern(config(reports.address, tmp_path, strict.address, "on-failure = tempfail"),
                     core="bounce-relay = reports", smtpd="announce = DSN")
    strict.on("end", "250 2.0.0 fine", "451 4.2.0 later")
    for code in (250, 451):
        with server.client() as client:
            client.hello()
            client.expect(250, f"MAIL FROM:<{SENDER}>")
            client.expect(250, "RCPT TO:<joe@box.test> NOTIFY=SUCCESS")
            client.expect(250, "RCPT TO:<joe@relay.test> NOTIFY=SUCCESS")
            assert client.data(PLAIN_MESSAGE).code == code
            client.quit()
    report, = wait_reports(reports)
    assert told(report) == expected("box.test")[:1]
    Control(server).wait_queue([])
    assert len(Maildir(tmp_path / "joe").messages()) == 1


# -- what dies between delivery and report -------------------------------------------------------

@pytest.mark.parametrize("call, within, there", [("rename", "/mail/", 0), ("link", "/queue/", 1)])
def test_killed_before_the_client_heard(target, postern, tmp_path, call, within, there):
    """Of a message that the client has no 250 for no report leaves. The client comes again."""
    reports = target()
    faults = Faults(tmp_path, within)
    server = postern(config(reports.address, tmp_path / "mail"), faults=faults, core="bounce-relay = reports")
    faults.set(call, HANG)
    client = server.client()
    client.hello()
    client.expect(250, f"MAIL FROM:<{SENDER}>")
    client.expect(250, f"RCPT TO:<joe@box.test> {SUCCESS}")
    client.expect(354, "DATA")
    client.send(PLAIN_MESSAGE + b".\r\n")
    faults.wait_hanging(1)
    server.process.signal(signal.SIGKILL)
    server.process.wait_exit()
    client.close()
    assert len(Maildir(tmp_path / "mail/joe").messages()) == there
    faults.set(call, None)
    server.start()
    send(server, VARIANTS[:1])
    report, = wait_reports(reports)
    assert told(report) == expected("box.test")[:1]
    Control(server).wait_queue([])
    assert len(reports.accepted) == 1
    assert len(Maildir(tmp_path / "mail/joe").messages()) == there + 1


def test_killed_before_the_report_was_made(target, dns, tmp_path):
    """The client has its 250, and the runner has done nothing yet."""
    reports = target()
    server = Workers(config(reports.address, tmp_path), dns.address, count=1, core="bounce-relay = reports")
    try:
        server.wait_event("start", 3)
        os.kill(server.pid("runner"), signal.SIGSTOP)
        pids = server.pids()
        send(server, VARIANTS)
        for pid in (server.master, *pids):
            os.kill(pid, signal.SIGKILL)
        server.process.wait_exit()
        for pid in pids:
            wait_gone(pid)
        assert reports.accepted == []
        server.start()
        report, = wait_reports(reports)
        assert told(report) == expected("box.test")
        Control(server).wait_queue([])
        assert len(reports.accepted) == 1
        server.stop()
    finally:
        server.remove()


def test_killed_when_the_report_was_made(target, postern, tmp_path):
    """It is in the queue, and so is its cause: it is made again in the same place."""
    reports = target()
    faults = Faults(tmp_path, "/queue/")
    server = postern(config(reports.address, tmp_path / "mail"), faults=faults, core="bounce-relay = reports")
    faults.set("unlink", HANG)
    send(server, VARIANTS)
    faults.wait_hanging(1)
    server.process.signal(signal.SIGKILL)
    server.process.wait_exit()
    faults.set("unlink", None)
    server.start()
    control = Control(server)
    control.wait_queue([])
    for report in wait_reports(reports):
        assert told(report) == expected("box.test")
    assert len(reports.accepted) <= 2

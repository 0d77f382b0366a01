# SPDX-License-Identifier: BSD-2-Clause
"""What happened to X from Y at 03:12: the log says it."""
import pytest

from conftest import relay_config
from harness.messages import PLAIN_MESSAGE
from harness.process import free_port
from peers.client import Client


def test_every_line_says_which_process_speaks(workers):
    """Master, runner and each worker by its number; one process alone needs no name."""
    server = workers(count=2)
    with server.client() as client:
        client.hello()
        client.quit()
    server.wait_event("disconnect")
    server.reload()
    spoken = {line["event"]: line.get("process", "") for name in ("start", "connect", "reload")
              for line in server.events(name)}
    names = {line["process"] for line in server.events("start")}
    assert names == {"master", "runner", "worker-1", "worker-2"}
    assert spoken["connect"] in ("worker-1", "worker-2") and spoken["reload"] == "master"
    assert server.events("connect")[0]["process"] == server.events("disconnect")[0]["process"]


def test_a_process_alone_has_no_name(postern):
    server = postern("[route]\n@example.test discard\n")
    assert "process" not in server.wait_event("start")


# --- all recipients ------------------------------------------------------------------------------

def named(lines):
    """The recipients in `rcpts` of these lines."""
    return [one.strip("<>") for line in lines for one in line["rcpts"].split(",")]


def test_all_recipients_are_named(target, to_target):
    """As many lines as it takes, each whole: a pipe takes 4,096 octets in one piece."""
    backend = target()
    server = to_target(backend, smtpd="max-recipients = 300\n")
    everybody = [f"a-recipient-with-a-long-name-{i}@example.test" for i in range(200)]
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=everybody)
        client.quit()
    closing = server.wait_transaction()
    server.wait_event("disconnect")
    lines = server.events("recipients")
    assert closing["nrcpt"] == "200" and set(named([closing])) < set(everybody)
    assert named(lines) == everybody and len(lines) > 5
    for line in lines:
        assert "cut" not in line and line["target"] == "target"
        assert line["transaction"] == closing["transaction"]
        assert line["session"] == closing["session"] and line["reply"].startswith("250 ")
    assert max(len(line) for line in server.log.lines) < 4096


def test_recipients_of_several_targets(target, postern, tmp_path):
    """Which of them went where, and what was said of them there."""
    backend = target().on("end", "552 5.2.2 too much")
    server = postern(f"[relay \"one\"]\naddress = {backend.address}\nidentity = none\n"
                     f'[maildir "two"]\npath = {tmp_path}/mail\n'
                     "[route]\n@one.test one\n@two.test two\n")
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=["a@one.test", "b@two.test", "c@one.test"])
        client.quit()
    server.wait_event("disconnect")
    lines = {line["target"]: line for line in server.events("recipients")}
    assert named([lines["one"]]) == ["a@one.test", "c@one.test"]
    assert named([lines["two"]]) == ["b@two.test"]
    assert lines["one"]["reply"] == "552 5.2.2 too much"


def test_target_that_is_away_is_named_once(postern):
    """However many recipients it has."""
    server = postern(relay_config("127.0.0.1:1", "identity = none", "on-failure = spool"))
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=["a@example.test", "b@example.test"])
        client.quit()
    closing = server.wait_transaction()
    server.wait_event("disconnect")
    assert closing["target"] == "target" and "target2" not in closing
    assert server.events("recipients") == []


def test_lists_are_lists_in_json(target, postern, tmp_path):
    backend = target()
    server = postern(f"[relay \"one\"]\naddress = {backend.address}\nidentity = none\n"
                     f'[maildir "two"]\npath = {tmp_path}/mail\n'
                     "[route]\n@one.test one\n@two.test two\n", log_format="json")
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE, recipients=['"a,b"@one.test', "c@two.test"])
    line = server.wait_transaction()
    assert line["rcpts"] == ['<"a,b"@one.test>', "<c@two.test>"]
    assert [one["target"] for one in line["targets"]] == ["one", "two"]
    assert line["targets"][0]["address"] == backend.address


# --- why it ended --------------------------------------------------------------------------------

def ended(server, transactions=1):
    """(reason, after) of the session, and of what it abandoned last."""
    lines = [server.wait_event("disconnect")]
    if transactions:
        lines.insert(0, server.wait_transaction(transactions))
        assert lines[0]["outcome"] == "abandoned"
    return [(line["reason"], line.get("after")) for line in lines]


def begin_content(client):
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(b"Subject: begun\r\n")


def test_client_lost_within_data(target, to_target):
    """The line of the transaction and that of the session say so."""
    server = to_target(target())
    client = server.client()
    begin_content(client)
    client.reset()
    assert ended(server) == [("client-lost", "DATA"), ("client-lost", "DATA")]


def test_client_closes_behind_recipients(target, to_target):
    server = to_target(target())
    with server.client() as client:
        client.hello()
        client.envelope()
    assert ended(server) == [("client-lost", "RCPT"), ("client-lost", "RCPT")]


def test_quit_within_a_transaction(target, to_target):
    server = to_target(target())
    with server.client() as client:
        client.hello()
        client.envelope()
        client.quit()
    assert ended(server) == [("quit", None), ("quit", None)]


@pytest.mark.parametrize("command, reason", [("RSET", "rset"), ("EHLO again.example", "ehlo")])
def test_client_begins_anew(target, to_target, command, reason):
    server = to_target(target())
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(250, command)
        assert server.wait_transaction()["reason"] == reason
        client.quit()


@pytest.mark.parametrize("key, begin, reason", [
    ("command-timeout = 1s", Client.hello, "command-timeout"),
    ("data-timeout = 1s", begin_content, "data-timeout"),
    ("session-timeout = 1s", begin_content, "session-timeout")])
def test_timeouts(target, to_target, key, begin, reason):
    """The key whose time was over is named."""
    server = to_target(target(), smtpd=key + "\n")
    with server.client() as client:
        begin(client)
        client.expect(421)
        after = "DATA" if begin is begin_content else "EHLO"
        assert set(ended(server, begin is begin_content)) == {(reason, after)}


def test_limits_end_sessions(postern):
    server = postern("[route]\n@example.test discard\n", smtpd="max-errors = 2\n")
    with server.client() as client:
        client.hello()
        client.expect(502, "HELP")
        client.send(b"EXPN x\r\n")
        client.expect(502)
        client.expect(421)
    assert ended(server, 0) == [("too-many-errors", "EXPN")]


def test_shutdown_ends_sessions(target, to_target):
    server = to_target(target(), core="shutdown-timeout = 1s\n")
    with server.client() as client:
        begin_content(client)
        server.stop()
    assert ended(server) == [("shutting-down", "DATA"), ("shutting-down", "DATA")]


def test_handshake_that_fails(postern, certificates):
    server = postern("[route]\n@example.test discard\n",
                     smtpd=f"tls = starttls\n{certificates.mx.lines()}")
    with server.client() as client:
        client.hello()
        client.expect(220, "STARTTLS")
        client.send(b"this is no handshake\r\n")
        client.rest()
    assert ended(server, 0) == [("tls-failed", "STARTTLS")]


# --- who refused, and why ------------------------------------------------------------------------

def refused(server, count=1):
    """by, reason and whom it was about, of the count-th refusal."""
    line = server.wait_event("reject", count)
    return line["by"], line.get("reason"), line.get("from"), line.get("rcpt")


def test_refusals_by_postern(postern):
    """The reason is the reply's name; what the tables say is the operator's."""
    server = postern('[route]\nno@example.test reject "550 no"\n@example.test discard\n')
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<a@example.org>")
        client.expect(550, "RCPT TO:<no@example.test>")
        client.expect(550, "RCPT TO:<joe@elsewhere.test>")
        client.expect(501, "RCPT TO:<@@example.test> NOTIFY=NEVER")
        client.quit()
    assert refused(server) == ("postern", "configured", "<a@example.org>", "<no@example.test>")
    assert refused(server, 2) == (
        "postern", "relaying-denied", "<a@example.org>", "<joe@elsewhere.test>")
    assert refused(server, 3) == (
        "postern", "recipient-syntax", "<a@example.org>", "<@@example.test>")


def test_sender_of_a_refused_mail(postern):
    """No transaction has begun, and the line names the sender all the same."""
    server = postern("[route]\n@example.test discard\n", smtpd="max-message-size = 1k\n",
                     core="spool-reserve = 1000000g\n")
    with server.client() as client:
        client.hello()
        client.expect(452, "MAIL FROM:<a@example.org> SIZE=12")
        client.quit()
    assert refused(server) == ("postern", "spool-full", "<a@example.org>", None)


def test_refusals_by_targets(target, to_target):
    """At RCPT, and behind the content, where the closing line says it."""
    backend = target().on("RCPT", "550 5.1.1 no such user", "250 ok").on("end", "552 5.2.2 too much")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<a@example.org>")
        client.expect(550, "RCPT TO:<joe@example.test>")
        assert refused(server) == ("target:target", None, "<a@example.org>", "<joe@example.test>")
        client.expect(250, "RCPT TO:<jane@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 552
        client.quit()
    closing = server.wait_transaction()
    assert closing["by"] == "target:target" and "reason" not in closing


def test_refusals_in_an_outage(postern):
    server = postern(relay_config("127.0.0.1:1", "identity = none"))
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<a@example.org>")
        client.expect(451, "RCPT TO:<joe@example.test>")
        client.quit()
    assert refused(server)[:2] == ("postern", "target-down")


def test_refusals_by_filters(postern):
    server = postern('[words "judge"]\n[route]\n@example.test discard\n',
                     smtpd="filter = judge\n", has_words=True)
    with server.client() as client:
        client.hello()
        client.expect(550, "MAIL FROM:<refuse-mail@example.org>")
        client.quit()
    assert refused(server) == ("filter:judge", None, "<refuse-mail@example.org>", None)


def test_refused_connections(postern):
    server = postern("[route]\n@example.test discard\n", smtpd="max-connections = 1\n")
    with server.client() as client:
        client.hello()
        with server.client() as other:
            other.expect(421)
    assert refused(server)[:2] == ("postern", "too-many-connections")


# --- what ties lines together --------------------------------------------------------------------

def test_message_id(target, to_target):
    """However it is folded; a message without one has none."""
    server = to_target(target())
    with server.client() as client:
        client.hello()
        for header in (b"Message-ID: <plain@example.org>\r\n",
                       b"Subject: x\r\nMESSAGE-ID:\r\n\t<folded@example.org>\r\n", b"Subject: x\r\n"):
            assert client.mail(header + b"\r\nbody\r\n").code == 250
        client.quit()
    assert server.wait_transaction(3).get("message-id") is None
    assert [server.wait_transaction(i)["message-id"] for i in (1, 2)] == [
        "<plain@example.org>", "<folded@example.org>"]


def test_the_queue_knows_the_session(target, postern):
    """From the client to the delivery, after a restart too: one session, one transaction."""
    address = ("127.0.0.1", free_port())
    server = postern(relay_config("%s:%d" % address, "identity = none", "on-failure = spool"))
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()
    spooled = server.wait_event("spooled")
    assert spooled["session"] == server.wait_event("connect")["session"]
    server.stop()
    target(address=address)
    server.start()
    delivered = server.wait_event("delivered")
    assert [delivered[key] for key in ("session", "transaction")] == \
        [spooled[key] for key in ("session", "transaction")]


def test_no_connection_no_address(postern):
    server = postern(relay_config("127.0.0.1:1", "identity = none", "on-failure = spool"))
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    line = server.wait_transaction()
    assert line["target"] == "target" and line["error"] == "Connection refused"
    assert not {"address", "connection", "identity"} & set(line)

# SPDX-License-Identifier: BSD-2-Clause
"""The listener's own rules: commands, limits, time-outs, who is turned away."""
import socket
import time

import pytest

from harness.dns import CLIENT, TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.process import free_port
from harness.smtp import keywords
from peers.answers import Hold
from peers.client import Client, elapsed
from peers.target import DEFAULT_EHLO, XCLIENT


@pytest.fixture
def backend(target):
    return target()


@pytest.fixture
def server(to_target, backend):
    return to_target(backend)


def test_greeting_and_ehlo(server):
    """The greeting names the listener; EHLO has what postern bridges by itself."""
    with server.client() as client:
        assert client.expect(220).text.split(" ")[0] == "postern.example.test"
        offered = keywords(client.expect(250, "EHLO client.example.test"))
    assert {"PIPELINING", "SIZE", "ENHANCEDSTATUSCODES"} <= set(offered)
    assert offered["SIZE"] == str(50 << 20)


def announced_after_a_message(server):
    """What a session is offered once the target has been seen."""
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    with server.client() as client:
        client.expect(220)
        return keywords(client.expect(250, "EHLO client.example.test"))


def test_ehlo_follows_the_targets(target, to_target):
    """8BITMIME once every target was seen to have it; of what is the target's alone, nothing."""
    offered = announced_after_a_message(to_target(target(ehlo=(*DEFAULT_EHLO, "DSN", XCLIENT))))
    assert "8BITMIME" in offered
    assert "DSN" in offered
    assert not {"XCLIENT", "XFORWARD"} & set(offered)
    offered = announced_after_a_message(to_target(target(ehlo=("PIPELINING",))))
    assert not {"8BITMIME", "DSN"} & set(offered)


def test_announce_and_hide(to_target, backend):
    """hide takes a keyword out."""
    server = to_target(backend, smtpd="hide = SIZE\n")
    with server.client() as client:
        client.expect(220)
        assert "SIZE" not in keywords(client.expect(250, "EHLO client.example.test"))


def test_body_without_announcement(to_target, backend):
    """A parameter that this session was not told of gets 555, whatever the target can do."""
    server = to_target(backend, smtpd="hide = 8BITMIME\n")
    with server.client() as client:
        client.hello()
        client.expect(555, "MAIL FROM:<a@b.example> BODY=8BITMIME")


@pytest.mark.parametrize("line, code", [
    ("NOOP", 250), ("NOOP anything", 250), ("VRFY joe", 252), ("RSET", 250), ("HELP", 502),
    ("EXPN list", 502), ("TURN", 502), ("SEND FROM:<a@b.example>", 502),
    ("SOML FROM:<a@b.example>", 502), ("SAML FROM:<a@b.example>", 502), ("NONSENSE", 500),
    ("DATA", 503), ("RCPT TO:<joe@example.test>", 503), ("MAIL FROM:a@b.example x", 501),
    ("MAIL FROM:<a@b.example> X-UNKNOWN=1", 555), ("MAIL FROM:<a b@c>", 501), ("EHLO", 501),
    ("mail from:<a@b.example>", 250), ("MAIL FROM:<>", 250), ("STARTTLS", 502), ("AUTH PLAIN", 502)])
def test_commands(server, line, code):
    """One command after EHLO and what it gets."""
    with server.client() as client:
        client.hello()
        reply = client.command(line)
        assert reply.code == code or (code == 502 and reply.code == 500), reply


@pytest.mark.parametrize("address", [
    "bounces-" + "x" * 200 + "@example.test", "srs0=" + "a" * 900 + "@example.test",
    "a..b@example.test", "a.@example.test", "a...@example.test", ".a@example.test",
    '"a..b"@example.test', '"a b"@example.test'], ids=lambda address: address[:20])
def test_addresses_of_real_clients(server, backend, address):
    """VERP, SRS, and the dots of telephones: handed on as they came, for the target to judge."""
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, sender=address, recipients=[address]).code == 250
    transaction = backend.accepted[0]
    assert transaction.mail.split(" ")[:2] == ["MAIL", f"FROM:<{address}>".split(" ")[0]]
    assert f"<{address}>" in transaction.mail
    assert transaction.rcpts == [f"RCPT TO:<{address}>"]


def test_dot_behind_a_domain(server, backend):
    """It is dropped."""
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, sender="a@example.org.",
                           recipients=["joe@Example.Test."]).code == 250
    assert "<a@example.org>" in backend.accepted[0].mail
    assert backend.accepted[0].rcpts == ["RCPT TO:<joe@Example.Test>"]


def test_auth_parameter_that_says_nothing(server, backend):
    """AUTH=<> although AUTH was not offered: dropped. Anything else there is 555."""
    with server.client() as client:
        client.hello()
        client.expect(555, "MAIL FROM:<a@b.example> AUTH=joe@b.example")
        client.expect(250, "MAIL FROM:<a@b.example> AUTH=<> SIZE=100")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
    assert "AUTH" not in backend.accepted[0].mail and "SIZE=100" in backend.accepted[0].mail


def test_command_before_helo(server):
    with server.client() as client:
        client.expect(220)
        client.expect(503, "MAIL FROM:<a@b.example>")
        client.expect(250, "HELO client.example.test")
        client.expect(250, "MAIL FROM:<a@b.example>")


def test_data_without_recipient(server):
    """All recipients refused: DATA gets 554 5.5.1."""
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(550, "RCPT TO:<joe@elsewhere.example>")
        assert client.expect(554, "DATA").enhanced == "5.5.1"


def test_nested_mail(server):
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(503, "MAIL FROM:<other@example.org>")
        assert client.data(PLAIN_MESSAGE).code == 250


def test_pipelined_session(server, backend):
    """RFC 2920: a whole group in one segment, replies in order."""
    with server.client() as client:
        client.hello()
        client.send(b"RSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<joe@example.test>\r\n"
                    b"RCPT TO:<no@elsewhere.example>\r\nRSET\r\nNOOP\r\nQUIT\r\n")
        codes = [client.reply().code for _ in range(7)]
        assert codes == [250, 250, 250, 550, 250, 250, 221]
        assert client.is_closed()


def test_commands_octet_by_octet(server, backend):
    with server.client() as client:
        client.expect(220)
        for line in (b"EHLO c.example\r\n", b"MAIL FROM:<a@b.example>\r\n",
                     b"RCPT TO:<joe@example.test>\r\n", b"DATA\r\n"):
            client.send_octet_by_octet(line)
            client.reply()
        client.send_octet_by_octet(b"x\r\n.\r\n")
        client.expect(250)


# --- limits --------------------------------------------------------------------------------------

def test_max_errors(to_target, backend):
    """After max-errors errors: 421 and the end."""
    server = to_target(backend, smtpd="max-errors = 3\n")
    with server.client() as client:
        client.hello()
        replies = client_replies_until_closed(client, b"NONSENSE\r\n", 10)
    assert 3 <= len(replies) <= 5 and replies[-1].code == 421


def test_max_junk_commands(to_target, backend):
    """Commands without mail: 421 after max-junk-commands."""
    server = to_target(backend, smtpd="max-junk-commands = 5\n")
    with server.client() as client:
        client.hello()
        replies = client_replies_until_closed(client, b"NOOP\r\n", 20)
    assert 5 <= len(replies) <= 8 and replies[-1].code == 421


def client_replies_until_closed(client, command, most=1_000_000, seconds=10):
    replies, deadline = [], time.monotonic() + seconds
    try:
        while len(replies) < most and time.monotonic() < deadline:
            client.send(command)
            replies.append(client.reply())
    except (EOFError, ConnectionError):
        pass
    return replies


def test_max_recipients(to_target, backend):
    """The recipient beyond the limit: 452 4.5.3; the others get the message."""
    server = to_target(backend, smtpd="max-recipients = 2\n")
    with server.client() as client:
        client.hello()
        client.envelope(recipients=["a@example.test", "b@example.test"])
        assert client.expect(452, "RCPT TO:<c@example.test>").enhanced == "4.5.3"
        assert client.data(PLAIN_MESSAGE).code == 250
    assert len(backend.accepted[0].rcpts) == 2


def test_max_overshoot(to_target, backend):
    """Recipients over the limit without end: 421 after max-overshoot, and two lines in the log. Who
    comes beside sends its message meanwhile."""
    server = to_target(backend, smtpd="max-recipients = 1\nmax-overshoot = 500\n")
    with server.client(source=CLIENT) as hostile, server.client() as other:
        other.hello()
        hostile.hello()
        hostile.envelope()
        mark = server.log.mark()
        hostile.send(b"RCPT TO:<more@example.test>\r\n" * 400)
        for _ in range(400):
            hostile.expect(452)
        assert other.mail(PLAIN_MESSAGE).code == 250
        hostile.send(b"RCPT TO:<more@example.test>\r\n" * 5000)
        for _ in range(100):
            hostile.expect(452)
        assert hostile.expect(421).enhanced == "4.7.0"
        hostile.close()
        gone = server.wait_event("disconnect", since=mark)
    assert gone["overshoot"] == "500"
    assert len(server.events("reject", since=mark)) == 1


def test_max_overshoot_below_the_reserve(to_target, backend):
    """The same for MAIL while the spool has no room."""
    server = to_target(backend, core="spool-reserve = 900000g\n", smtpd="max-overshoot = 3\n")
    server.wait_event("storage")
    with server.client() as client:
        client.hello()
        replies = client_replies_until_closed(client, b"MAIL FROM:<a@b.example>\r\n", 10)
    assert [reply.code for reply in replies] == [452, 452, 452, 421]
    assert server.wait_event("disconnect")["overshoot"] == "3"
    assert len(server.events("reject")) == 1


def test_thousand_recipients(server, backend):
    """The default takes a thousand in one transaction."""
    with server.client() as client:
        client.hello()
        replies = client.pipelined(PLAIN_MESSAGE,
                                   recipients=[f"user{i}@example.test" for i in range(1000)])
    assert all(r.code in (250, 354) for r in replies)
    assert len(backend.accepted[0].rcpts) == 1000


def test_max_connections_per_client(to_target, backend):
    """The third connection from one address: 421; another address is served."""
    server = to_target(backend, smtpd="max-connections-per-client = 2\n")
    held = [server.client(source=CLIENT) for _ in range(2)]
    for client in held:
        client.hello()
    with server.client(source=CLIENT) as client:
        assert client.reply().code == 421
        assert client.is_closed()
    with server.client(source=TRUSTED) as client:
        client.hello()
    held[0].quit()
    server.wait_event("disconnect", count=1)
    with server.client(source=CLIENT) as client:
        client.hello()


def test_limit_exempt(to_target, backend):
    """limit-exempt spares an address the connection limits."""
    server = to_target(
        backend, smtpd=f"max-connections-per-client = 1\nlimit-exempt = {TRUSTED}/32\n")
    for client in [server.client(source=TRUSTED) for _ in range(3)]:
        client.hello()


def test_max_connections(to_target, backend):
    """The whole listener's limit: 421 for who comes too late."""
    server = to_target(backend, smtpd="max-connections = 2\n")
    held = [server.client(source=CLIENT), server.client(source=TRUSTED)]
    for client in held:
        client.hello()
    with server.client() as client:
        assert client.reply().code == 421


def test_overlong_command(server):
    """A line beyond the limit: 500, and the session goes on."""
    with server.client() as client:
        client.hello()
        client.send(b"NOOP " + b"x" * 100_000 + b"\r\n")
        client.expect(500)
        client.expect(250, "NOOP")


def test_endless_command(server):
    """A line without end costs neither memory nor anybody else."""
    with server.client() as client, server.client() as other:
        client.hello()
        before = server.resident_bytes()
        try:
            for _ in range(200):
                client.send(b"x" * 65536)
        except OSError:
            pass
        other.hello()
        assert server.resident_bytes() - before < 4 << 20


def test_nul_in_command(server):
    with server.client() as client:
        client.hello()
        client.send(b"MAIL FROM:<a\x00b@c.example>\r\n")
        assert client.reply().code in (500, 501)


# --- time-outs -----------------------------------------------------------------------------------

def test_command_timeout(to_target, backend):
    """A silent client gets 421 4.4.2."""
    server = to_target(backend, smtpd="command-timeout = 1s\n")
    with server.client() as client:
        begun = time.monotonic()        # a test on a busy machine may notice late what has begun
        client.hello()
        seconds, reply = elapsed(client.reply)
        assert (reply.code, reply.enhanced) == (421, "4.4.2")
        assert time.monotonic() - begun > 0.5 and seconds < 4
        assert client.is_closed()


def test_data_timeout(to_target, backend):
    """So does one that stops in its message; the target gets no end."""
    server = to_target(backend, smtpd="data-timeout = 1s\n")
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(PLAIN_MESSAGE)
        assert client.reply().code == 421
        assert client.is_closed()
    backend.wait_closed()
    assert backend.ended == []


def test_session_timeout(to_target, backend):
    """session-timeout ends even a client that keeps talking."""
    server = to_target(backend, smtpd="session-timeout = 1s\nmax-junk-commands = 1000000\n")
    with server.client() as client:
        client.hello()
        replies = client_replies_until_closed(client, b"NOOP\r\n", seconds=5)
        assert replies[-1].code == 421


def test_greet_delay(to_target, backend):
    """With greet-delay who waits is served, who talks first is rejected."""
    server = to_target(backend, smtpd="greet-delay = 1s\n")
    begun = time.monotonic()
    with server.client() as client:
        seconds, _ = elapsed(client.hello)
        assert time.monotonic() - begun > 0.8 and seconds < 3
        assert client.mail(PLAIN_MESSAGE).code == 250
    with server.client() as client:
        client.send(b"EHLO spam.example\r\n")
        assert client.reply().code == 554
        assert client.is_closed()


# --- turned away ---------------------------------------------------------------------------------

def test_refuse(postern, target):
    """refuse: 521 for everybody; after it only QUIT does anything."""
    backend = target()
    server = postern(f'[relay "one"]\naddress = {backend.address}\n[route]\n@ one\n',
                     smtpd='refuse = "no mail here, ask elsewhere"\n')
    with server.client() as client:
        reply = client.expect(521)
        assert "no mail here, ask elsewhere" in reply.text
        assert client.command("EHLO client.example.test").code // 100 == 5
        assert client.command("MAIL FROM:<a@b.example>").code // 100 == 5
        client.expect(221, "QUIT")
    assert backend.transactions == []


@pytest.mark.parametrize("early", [
    b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n", b"HELO c.example\r\nNOOP\r\n"])
def test_early_input_behind_hello(server, early):
    """Octets behind EHLO or HELO before its reply: 554 5.5.0 and close."""
    with server.client() as client:
        client.expect(220)
        client.send(early)
        reply = client.reply()
        if reply.code == 250:
            reply = client.reply()
        assert (reply.code, reply.enhanced) == (554, "5.5.0")
        assert client.is_closed()


def test_early_input_behind_data(server, backend):
    """Octets behind DATA before its 354: 554 5.5.0 and close, and no mail."""
    with server.client() as client:
        client.hello()
        client.envelope()
        client.send(b"DATA\r\n" + PLAIN_MESSAGE + b".\r\n")
        reply = client.reply()
        assert (reply.code, reply.enhanced) == (554, "5.5.0")
        assert client.is_closed()
    assert backend.ended == []


def test_early_input_comes_behind_the_replies_that_are_due(target, to_target):
    """A client that pipelines everything at once hears of each RCPT before it hears 554; another
    one, who waits for the same target meanwhile, is served."""
    held = Hold("250 2.1.5 Ok")
    backend = target().on("RCPT", held, "550 5.1.1 unknown", "250 2.1.5 Ok")
    server = to_target(backend)
    with server.client() as client, server.client() as other:
        client.hello()
        other.hello()
        client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<joe@example.test>\r\n"
                    b"RCPT TO:<jane@example.test>\r\nDATA\r\n" + PLAIN_MESSAGE + b".\r\n")
        client.expect(250)
        backend.wait(held.reached.is_set, "the first RCPT")
        assert not client.has_reply_within(0.2)
        held.release()
        assert [client.reply().code for _ in range(3)] == [250, 550, 554]
        assert client.is_closed()
        assert other.mail(PLAIN_MESSAGE).code == 250
    assert len(backend.ended) == 1


def test_early_input_accept(to_target, backend):
    """early-input = accept: such clients are served."""
    server = to_target(backend, "received = never", smtpd="early-input = accept\n")
    with server.client() as client:
        client.expect(220)
        client.send(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<joe@example.test>\r\n"
                    b"DATA\r\n" + PLAIN_MESSAGE + b".\r\nQUIT\r\n")
        assert [client.reply().code for _ in range(6)] == [250, 250, 250, 354, 250, 221]
    assert backend.accepted[0].content == PLAIN_MESSAGE


def test_input_behind_the_final_dot_is_pipelining(server, backend):
    """What follows the end of data in the same segment is the next group of commands."""
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(b"x\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<joe@example.test>\r\nQUIT\r\n")
        assert [client.reply().code for _ in range(4)] == [250, 250, 250, 221]
    assert len(backend.accepted) == 1


def test_quit_waits_for_what_came_before(target, to_target):
    """Replies leave strictly in command order, however long a target takes."""
    hold = Hold("250 2.1.5 late")
    backend = target(ehlo=DEFAULT_EHLO).on("RCPT", hold)
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<joe@example.test>\r\nNOOP\r\nQUIT\r\n")
        assert client.reply().code == 250
        assert not client.has_reply_within(0.2)
        hold.release()
        assert [client.reply().text[:5] for _ in range(3)] == ["2.1.5", "2.0.0", "2.0.0"]


def test_one_client_does_not_stop_another(server):
    """A client in the middle of a line, one in the middle of a message: the third is served."""
    half_line, half_message = server.client(), server.client()
    half_line.hello()
    half_line.send(b"MAIL FR")
    half_message.hello()
    half_message.envelope()
    half_message.expect(354, "DATA")
    half_message.send(b"half")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    half_line.send(b"OM:<a@b.example>\r\n")
    assert half_line.reply().code == 250


def test_reset_by_the_client_at_any_point(server, backend):
    """Clients that break off anywhere leave nothing behind, not even a descriptor."""
    whole = (b"EHLO c.example\r\n", b"MAIL FROM:<a@b.example>\r\n",
             b"RCPT TO:<joe@example.test>\r\n", b"DATA\r\n", PLAIN_MESSAGE)
    with server.client() as client:
        client.hello()
        client.mail(PLAIN_MESSAGE)
    server.wait_event("disconnect", count=1)
    before = len(server.descriptors())
    broken = 0
    for steps in range(len(whole) + 1):
        client = server.client()
        client.expect(220)
        for step in whole[:steps]:
            client.send(step)
            if step is not PLAIN_MESSAGE:
                client.reply()
        client.reset()
        broken += 1
    server.wait_event("disconnect", count=1 + broken)
    assert len(backend.ended) == 1
    backend.wait(lambda: len(server.descriptors()) <= before + 1, "descriptors to be closed")


@pytest.mark.usefixtures("ipv6")
def test_ipv6_listener(postern, target):
    """listen-port = [::1]:PORT."""
    backend = target()
    port = free_port("::1")
    postern(f'listen-port = [::1]:{port}\n[relay "one"]\naddress = {backend.address}\n'
            "[route]\n@example.test one\n")
    with Client(("::1", port)) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert b"IPv6:::1" in backend.accepted[0].content


def test_nodelay(server):
    """No reply waits for a delayed acknowledgement."""
    with server.client() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.hello()
        seconds, _ = elapsed(lambda: [client.mail(PLAIN_MESSAGE) for _ in range(10)])
    assert seconds < 2

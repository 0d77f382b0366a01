# SPDX-License-Identifier: BSD-2-Clause
"""What the client hears when a target is away, breaks, misbehaves, or says no."""
import contextlib
import socket
import time

import pytest

from harness.messages import PLAIN_MESSAGE, big_message
from harness.process import free_port
from harness.smtp import without_received
from peers.answers import Close, Deaf, Drip, Flood, Nothing, Reset, Say, Silence
from peers.client import elapsed, stuffed
from peers.target import CHUNKING_EHLO, DEFAULT_EHLO

QUICK = ("connect-timeout = 1s", "command-timeout = 1s", "envelope-timeout = 2s",
         "data-timeout = 1s", "final-timeout = 1s")


def rcpt_reply(server, recipient="joe@example.test"):
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        return client.command(f"RCPT TO:<{recipient}>")


def final_reply(server, message=PLAIN_MESSAGE):
    with server.client() as client:
        client.hello()
        return client.mail(message)


# --- no connection -------------------------------------------------------------------------------

def test_refused_connection(target, to_target):
    """Nothing listens: 451 4.4.1 to RCPT, at once."""
    backend = target()
    backend.unlisten()
    server = to_target(backend)
    seconds, reply = elapsed(lambda: rcpt_reply(server))
    assert (reply.code, reply.enhanced) == (451, "4.4.1")
    assert seconds < 1


@pytest.mark.parametrize("stage, answer", [
    ("accept", Close()), ("accept", Reset()), ("accept", Silence()),
    ("greeting", Close("421 4.3.2 not now")), ("greeting", Close("450 4.3.2 not now")),
    ("greeting", Close("554 5.3.2 no mail service")), ("greeting", "HTTP/1.1 400 Bad Request"),
    ("greeting", Flood(b"220-still greeting\r\n", 1 << 26)),
    ("greeting", Flood(b"x" * 4096, 1 << 26)), ("greeting", Flood(b"\0", 1 << 26)),
    ("EHLO", Close()), ("EHLO", Silence()), ("EHLO", Close("421 4.3.2 not now")),
    ("EHLO", "garbage"), ("EHLO", Flood(b"250-X-KEYWORD\r\n", 1 << 26))],
    ids=lambda v: getattr(v, "__class__", str).__name__ if not isinstance(v, str) else v)
def test_no_connection(target, to_target, stage, answer):
    """Whatever keeps a connection from being made: 451 4.4.1 to RCPT, in bounded time."""
    script = answer if not isinstance(answer, str) else Say(answer)
    backend = target().on(stage, script)
    server = to_target(backend, *QUICK)
    seconds, reply = elapsed(lambda: rcpt_reply(server))
    assert (reply.code, reply.enhanced) == (451, "4.4.1")
    assert seconds < 5


def test_both_hellos_refused(target, to_target):
    """A target that refuses EHLO and HELO is no target."""
    backend = target().on("EHLO", "502 no").on("HELO", "502 no")
    reply = rcpt_reply(to_target(backend, *QUICK))
    assert (reply.code, reply.enhanced) == (451, "4.4.1")


def test_greeting_with_a_teaser(target, to_target):
    """postscreen's way: 220- first, and then the truth. The target stays healthy, and nothing of it
    is spooled; who comes next is served."""
    backend = target(proxy=True).on("greeting", Close("220-teaser", "521 5.3.2 not for you"),
                                    ["421-teaser", "220 welcome"])
    server = to_target(backend, "on-failure = spool", identity="proxy-v1")
    reply = rcpt_reply(server)
    assert reply.code == 521 and reply.raw.endswith(b"\r\n521 5.3.2 not for you\r\n")
    assert final_reply(server).code == 250
    assert len(backend.accepted) == 1
    assert server.events("target-down") == []


def test_long_recipients_are_no_outage(target, postern):
    """Recipients that a route makes longer than what is sent at once: the target's own replies come,
    in order, and who sends beside is served."""
    backend = target().on("RCPT", lambda _, line: "550 5.1.1 no" if "x" * 900 in line
                          else "250 2.1.5 Ok")
    longer = ".".join(["d" * 60] * 4)
    server = postern(f'[relay "target"]\naddress = {backend.address}\nidentity = none\n'
                     f"[route]\n@short.test @{longer}\n@{longer} target\n@example.test target\n")
    with server.client() as hostile, server.client() as other:
        hostile.hello()
        other.hello()
        hostile.expect(250, "MAIL FROM:<forged@example.org>")
        hostile.send(b"".join(b"RCPT TO:<%s%d@short.test>\r\n" % (b"x" * 950, i)
                              for i in range(19)) + b"RCPT TO:<joe@short.test>\r\n"
                     + b"".join(b"RCPT TO:<%s%d@short.test>\r\n" % (b"y" * 950, i)
                                for i in range(70)))
        codes = [hostile.reply().code for _ in range(90)]
        assert other.mail(PLAIN_MESSAGE).code == 250
    assert codes == [550] * 19 + [250] * 71
    server.wait_transaction(2)
    assert [event for event in ("target-lost", "target-down", "shortage", "spooled")
            if server.events(event)] == []


@pytest.mark.parametrize("stage, answer", [
    ("greeting", "554 5.3.2 no"), ("greeting", "450 4.3.2 later"), ("greeting", "521 5.3.2 never"),
    ("HELO", "550 5.7.1 not you")])
def test_quit_behind_a_refusal(target, to_target, stage, answer):
    """A target that refuses us hears QUIT; the client hears what it would hear without."""
    backend = target().on("EHLO", "502 5.5.2 what") if stage == "HELO" else target()
    backend.on(stage, answer)
    server = to_target(backend, *QUICK)
    reply = rcpt_reply(server)
    assert reply.code == (521 if answer.startswith("521") else 451)
    backend.wait_command("QUIT")
    assert any(c.verbs[-1:] == ["QUIT"] for c in backend.connections)


def test_521_greeting_is_a_verdict(target, to_target):
    """521 says for good that no mail is taken here: its text goes to the client."""
    backend = target().on("greeting", Close("521 5.3.2 host does not accept mail"))
    reply = rcpt_reply(to_target(backend))
    assert (reply.code, reply.text) == (521, "5.3.2 host does not accept mail")


def test_target_down_and_up_are_logged(target, to_target):
    """target-down when the last address failed, target-up when it is back."""
    backend = target()
    server = to_target(backend, "health-interval = 1s")
    backend.unlisten()
    assert rcpt_reply(server).code == 451
    server.wait_event("target-down")
    backend.listen()
    server.wait_event("target-up")
    assert final_reply(server).code == 250


def test_open_circuit_answers_at_once(target, to_target):
    """While a target counts as down, RCPT gets 451 4.4.1 without waiting for a connection."""
    backend = target().on("accept", Silence())
    server = to_target(backend, *QUICK, "health-interval = 1h")
    assert rcpt_reply(server).code == 451
    server.wait_event("target-down")
    seconds, reply = elapsed(lambda: rcpt_reply(server))
    assert reply.enhanced == "4.4.1" and seconds < 0.5


# --- fail-over -----------------------------------------------------------------------------------

def two_addresses(postern, first, second, *lines):
    more = "".join(line + "\n" for line in lines)
    return postern(f'[relay "pair"]\naddress = {first}\naddress = {second}\nidentity = none\n'
                   f"received = never\non-failure = tempfail\n{more}[route]\n@example.test pair\n")


@pytest.mark.parametrize("stage, answer", [
    ("accept", Reset()), ("accept", Silence()), ("greeting", Close("421 4.3.2 busy")),
    ("greeting", Close("554 5.3.2 no")), ("EHLO", Close())],
    ids=["reset", "silent", "421", "554", "EHLO"])
def test_fail_over(target, postern, stage, answer):
    """An address that gives no connection is passed over; the client notices nothing."""
    bad, good = target().on(stage, answer), target()
    server = two_addresses(postern, bad.address, good.address, *QUICK)
    assert final_reply(server).code == 250
    assert good.accepted[0].content == PLAIN_MESSAGE


def test_fail_over_from_a_dead_port(target, postern):
    good = target()
    server = two_addresses(postern, f"127.0.0.1:{free_port()}", good.address)
    assert final_reply(server).code == 250


def test_fail_over_to_a_unix_socket(target, postern, tmp_path):
    """unix:PATH is an address like others."""
    good = target(address=str(tmp_path / "smtp"))
    server = two_addresses(postern, f"127.0.0.1:{free_port()}", good.address)
    assert final_reply(server).code == 250
    assert good.accepted[0].content == PLAIN_MESSAGE


@pytest.mark.usefixtures("ipv6")
def test_fail_over_to_ipv6(target, postern):
    """[V6]:PORT too."""
    good = target(address=("::1", 0))
    server = two_addresses(postern, f"127.0.0.1:{free_port()}", good.address)
    assert final_reply(server).code == 250
    assert good.accepted[0].content == PLAIN_MESSAGE


def test_host_name_with_two_addresses(target, postern):
    """A name stands for all its addresses."""
    with socket.socket() as refusing:       # bound, so that nobody else listens there
        refusing.bind(("127.0.0.1", 0))
        good = target(address=("127.0.0.50", refusing.getsockname()[1]))
        server = postern('[relay "named"]\n'
                         f"address = two-targets.example.test:{good.port}\n"
                         "[route]\n@example.test named\n")
        assert final_reply(server).code == 250
    assert len(good.accepted) == 1


def test_unknown_host_name(postern):
    """A name that does not exist: 451 4.4.1."""
    server = postern('[relay "named"]\naddress = nowhere.example.test:25\n'
                     "on-failure = tempfail\n[route]\n@example.test named\n")
    reply = rcpt_reply(server)
    assert (reply.code, reply.enhanced) == (451, "4.4.1")


def test_no_fail_over_on_a_verdict(target, postern):
    """A recipient refused by the first address is not tried at the second."""
    first, second = target().on("RCPT", "550 5.1.1 unknown"), target()
    server = two_addresses(postern, first.address, second.address)
    assert rcpt_reply(server).code == 550
    assert second.transactions == []


def test_first_address_is_preferred_again(target, postern):
    """balance = first: once it is back, the first address gets the mail."""
    first, second = target(), target()
    server = two_addresses(postern, first.address, second.address, "health-interval = 1s",
                           "idle-timeout = 1s", "idle-connections = 0")
    first.unlisten()
    assert final_reply(server).code == 250
    assert len(second.accepted) == 1
    first.listen()
    first.wait(lambda: first.connections, "a probe")
    deadline = time.monotonic() + 5
    while not first.accepted:
        assert time.monotonic() < deadline
        assert final_reply(server).code == 250


def test_round_robin(target, postern):
    """balance = round-robin: each gets its share."""
    pair = target(), target()
    server = two_addresses(postern, pair[0].address, pair[1].address, "balance = round-robin",
                           "idle-connections = 0")
    for _ in range(4):
        assert final_reply(server).code == 250
    assert [len(one.accepted) for one in pair] == [2, 2]


# --- lost on the way -----------------------------------------------------------------------------

BREAKS = {"close": Close(), "reset": Reset(), "421": Close("421 4.3.2 going down"),
          "silence": Silence()}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
@pytest.mark.parametrize("ehlo", [DEFAULT_EHLO, ("SIZE",)], ids=["pipelining", "lock-step"])
def test_lost_in_the_envelope(target, to_target, ehlo, stage, how):
    """A connection lost before RCPT is answered: 451 for each of them, never 421."""
    backend = target(ehlo=ehlo).on(stage, BREAKS[how])
    server = to_target(backend, *QUICK)
    with server.client() as client:
        client.hello()
        client.send(b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<joe@example.test>\r\n"
                    b"RCPT TO:<jane@example.test>\r\n")
        client.expect(250)
        for _ in range(2):
            reply = client.reply()
            assert reply.code == 451 and reply.enhanced in ("4.4.1", "4.4.2")
        client.quit()


@pytest.mark.parametrize("stage", ["DATA", "content"])
@pytest.mark.parametrize("how", BREAKS)
def test_lost_before_the_end_of_data(target, to_target, stage, how):
    """On a fresh connection: the client sees nothing until its end of data, then 451 4.4.2."""
    backend = target().on(stage, BREAKS[how])
    server = to_target(backend, *QUICK)
    with server.client() as client:
        client.hello()
        client.envelope()
        reply = client.data(big_message(300_000))
        assert (reply.code, reply.enhanced) == (451, "4.4.2")
        client.expect(250, "NOOP")
    assert backend.accepted == []


def test_421_after_rcpt(target, to_target):
    """A 421 between RCPT and DATA is a lost connection, not an end for the client."""
    backend = target()
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.envelope()
        backend.connections[-1].sock.sendall(b"421 4.3.2 shutting down\r\n")
        with contextlib.suppress(OSError):      # postern may have closed it already
            backend.connections[-1].sock.shutdown(socket.SHUT_RDWR)
        backend.wait_closed()
        reply = client.data(PLAIN_MESSAGE)
        assert reply.code in (250, 451)
        client.expect(250, "NOOP")


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("ehlo", [DEFAULT_EHLO, CHUNKING_EHLO], ids=["DATA", "BDAT"])
def test_lost_after_the_end_of_data(target, to_target, how, ehlo):
    """The end was sent, no reply came: 451, logged duplicate=possible."""
    backend = target(ehlo=ehlo).on("end", BREAKS[how]).on("last", BREAKS[how])
    server = to_target(backend, *QUICK)
    reply = final_reply(server)
    assert reply.code == 451
    if how != "421":        # that is a reply: the target does not have the message
        server.log.wait_line(r"duplicate=possible")
        assert len(backend.ended) == 1


@pytest.mark.parametrize("octets", range(0, 330, 11))
def test_target_breaks_at_any_received_octet(target, to_target, octets):
    """Wherever the target breaks off, the client gets 2xx or 4xx, and 2xx only for whole mail."""
    backend = target(break_after_received=max(octets, 1), break_by="reset")
    server = to_target(backend, *QUICK)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.command("RCPT TO:<joe@example.test>")
        if reply.code == 250:
            reply = client.data(PLAIN_MESSAGE)
        assert reply.code == (250 if backend.accepted else 451)
        client.expect(250, "RSET")
        client.quit()


@pytest.mark.parametrize("octets", range(0, 200, 13))
def test_target_breaks_at_any_sent_octet(target, to_target, octets):
    """Half a reply is no reply."""
    backend = target(break_after_sent=octets)
    server = to_target(backend, *QUICK)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.command("RCPT TO:<joe@example.test>")
        if reply.code == 250:
            reply = client.data(PLAIN_MESSAGE)
        assert reply.code == 451


def test_replies_octet_by_octet(target, to_target):
    """A reply may come in as many segments as it has octets."""
    backend = target().on("greeting", Drip("220 slow.example.test"))
    backend.on("MAIL", Drip("250 2.1.0 Ok")).on("RCPT", Drip("250 2.1.5 slowly"))
    backend.on("end", Drip("250 2.0.0 queued"))
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.data(PLAIN_MESSAGE).text == "2.0.0 queued"


# --- the target says no --------------------------------------------------------------------------

@pytest.mark.parametrize("refusal", [
    "550 5.1.1 <joe@example.test>: user unknown", "450 4.2.1 mailbox busy", "552 5.2.2 full",
    "521 5.7.1 never", "499 odd code", "599 5.9.9 odd too", "550-5.1.1 first line",
])
def test_rcpt_refusal_is_passed_on(target, to_target, refusal):
    """The target's own reply to RCPT, all lines, reaches the client."""
    lines = [refusal] if "-5" not in refusal else [refusal, "550-5.1.1 second", "550 5.1.1 third"]
    backend = target().on("RCPT", lines)
    reply = rcpt_reply(to_target(backend))
    assert reply.lines == lines


def test_long_multiline_reply_is_passed_on(target, to_target):
    """Fifteen long lines of a refusal are passed on, verbatim."""
    lines = [f"550-5.7.1 reason {i} {'x' * 400}" for i in range(14)] + ["550 5.7.1 see above"]
    backend = target().on("RCPT", lines)
    assert rcpt_reply(to_target(backend)).lines == lines


def test_mail_refusal_goes_to_each_recipient(target, to_target):
    """MAIL was answered by postern; the target's refusal of it is given to RCPT."""
    backend = target().on("MAIL", "550 5.7.1 sender not wanted")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        for name in ("joe", "jane"):
            reply = client.expect(550, f"RCPT TO:<{name}@example.test>")
            assert reply.text == "5.7.1 sender not wanted"


@pytest.mark.parametrize("refusal", ["451 4.7.1 greylisted", "554 5.7.1 no"])
def test_data_refusal_comes_at_the_end_of_data(target, to_target, refusal):
    """DATA refused by the target: told in its words when the client has sent its message."""
    backend = target().on("DATA", refusal)
    reply = final_reply(to_target(backend))
    assert f"{reply.code} {reply.text}" == refusal


@pytest.mark.parametrize("refusal", ["550 5.7.1 looks like spam", "452 4.3.1 disk full"])
@pytest.mark.parametrize("ehlo", [DEFAULT_EHLO, CHUNKING_EHLO], ids=["DATA", "BDAT"])
def test_end_refusal_is_passed_on(target, to_target, refusal, ehlo):
    """The reply to the end of data is the target's own, and the connection lives on."""
    backend = target(ehlo=ehlo).on("end", refusal).on("last", refusal)
    server = to_target(backend)
    reply = final_reply(server)
    assert f"{reply.code} {reply.text}" == refusal


def in_mid_content(client, backend, said):
    """Sends half a message, lets the target say something, sends the rest; the final reply."""
    half = stuffed(big_message(400_000))
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(half)
    backend.wait(lambda: any(len(c.received) > 100_000 for c in backend.connections), "content")
    connection = next(c for c in backend.connections if c.transactions)
    connection.sock.sendall(said)
    client.send(half + b".\r\n")
    return client.reply(), connection


def test_early_answer_to_the_end_of_data(target, to_target):
    """A 5xx while the content is on its way is the answer to its end; the connection is closed."""
    backend = target()
    server = to_target(backend)
    with server.client() as client:
        reply, connection = in_mid_content(client, backend, b"552 5.3.4 too big for me\r\n")
    assert (reply.code, reply.text) == (552, "5.3.4 too big for me")
    backend.wait(lambda: connection.end, "the connection's end")
    assert backend.accepted == []


def test_success_before_the_end_of_data_is_garbage(target, to_target):
    """A 250 in mid-content is nothing a server may say: it never counts as delivery."""
    backend = target()
    server = to_target(backend, "received = never", *QUICK)
    with server.client() as client:
        reply, _ = in_mid_content(client, backend, b"250 2.0.0 thank you already\r\n")
    if reply.code == 250:       # done again on another connection
        assert backend.accepted[0].content == 2 * big_message(400_000)
    else:
        assert reply.code == 451 and backend.accepted == []
    assert "already" not in reply.text


@pytest.mark.parametrize("code", ["500", "502", "503", "530", "538"])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
def test_our_fault_is_not_the_clients(target, to_target, code, stage):
    """500 502 503 530 538 to a command composed right: 451 4.3.5, and an error line."""
    backend = target().on(stage, f"{code} 5.5.1 what did you say?")
    reply = rcpt_reply(to_target(backend))
    assert (reply.code, reply.enhanced) == (451, "4.3.5")


def test_two_replies_to_one_command(target, to_target):
    """A reply nobody asked for closes the connection; no client gets another's reply."""
    backend = target().on("RCPT", Say("250 2.1.5 Ok", "250 2.1.5 Ok again", "550 5.0.0 and more"))
    server = to_target(backend, *QUICK)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.command("RCPT TO:<joe@example.test>")
        client.command("RCPT TO:<jane@example.test>")
        client.expect(250, "NOOP")
    backend.wait_closed()
    assert backend.accepted == []


def test_silent_target_at_the_dot(target, to_target):
    """final-timeout: 451, the client is not kept for ever."""
    backend = target().on("end", Nothing())
    seconds, reply = elapsed(lambda: final_reply(to_target(backend, *QUICK)))
    assert reply.code == 451 and seconds < 5


def test_deaf_target(target, to_target):
    """A target that stops reading costs its own client 451, after data-timeout."""
    backend = target().on("content", Deaf())
    server = to_target(backend, *QUICK)
    seconds, reply = elapsed(lambda: final_reply(server, big_message(12 << 20)))
    assert reply.code == 451 and seconds < 15


def test_enhanced_code_is_added_only_where_missing(target, to_target):
    """A target without ENHANCEDSTATUSCODES gets its replies completed, nothing else changes."""
    backend = target(ehlo=("PIPELINING",)).on("RCPT", "250 fine", "550 not fine")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.command("RCPT TO:<joe@example.test>").line == "250 2.0.0 fine"
        assert client.command("RCPT TO:<jane@example.test>").line == "550 5.0.0 not fine"


# --- the client goes away ------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_vanishes_in_its_message(target, to_target, how):
    """No end of data for the target: the connection is closed before the final dot."""
    backend = target()
    server = to_target(backend)
    client = server.client()
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(PLAIN_MESSAGE)
    getattr(client, how)()
    backend.wait_closed()
    assert backend.ended == []
    server.wait_event("disconnect")


def test_client_vanishes_in_its_message_with_bdat(target, to_target):
    """With CHUNKING: no LAST, RSET at once, and the connection lives."""
    backend = target(ehlo=CHUNKING_EHLO)
    server = to_target(backend, "received = never")
    client = server.client()
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(stuffed(big_message(300_000)))
    backend.wait_command("BDAT")
    client.close()
    server.wait_event("disconnect")
    backend.wait_command("RSET")
    assert backend.ended == []
    connection = next(c for c in backend.connections if c.transactions)
    assert final_reply(server).code == 250
    assert connection.end is None
    assert [t.content for t in backend.accepted] == [PLAIN_MESSAGE]


def test_client_vanishes_after_its_end_of_data(at_the_end):
    """Once released, the end stands: the target keeps the message."""
    running = at_the_end()
    running.client.reset()
    running.hold.release()
    running.backend.wait(lambda: running.backend.accepted, "the acceptance")
    running.server.wait_transaction()


def test_half_closed_client_is_served(target, to_target):
    """EOF behind complete commands is not vanishing: all of them are carried out."""
    backend = target()
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        client.send(PLAIN_MESSAGE + b".\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        client.expect(250)
        assert client.is_closed()
    assert len(backend.accepted) == 1


def test_rset_in_the_envelope(target, to_target):
    """RSET drops the transaction everywhere; the next one starts clean."""
    backend = target()
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        client.envelope(recipients=["jane@example.test"])
        client.expect(250, "RSET")
        client.expect(503, "RCPT TO:<joe@example.test>")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert backend.accepted[0].rcpts == ["RCPT TO:<joe@example.test>"]


def test_state_after_a_refused_message(target, to_target):
    """After an end of data was refused, RCPT needs a new MAIL."""
    backend = target().on("end", "550 5.7.1 no", "250 2.0.0 yes")
    server = to_target(backend)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 550
        client.expect(503, "RCPT TO:<joe@example.test>")
        assert client.mail(PLAIN_MESSAGE).code == 250


# --- loops ---------------------------------------------------------------------------------------

def test_relay_to_our_own_listener(postern):
    """A target that is ourselves is never connected to: 554 5.4.6."""
    port = free_port()
    server = postern(f'listen-port = 127.0.0.1:{port}\n[relay "me"]\naddress = 127.0.0.1:{port}\n'
                     "[route]\n@example.test me\n")
    reply = rcpt_reply(server)
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


def test_relay_to_our_own_listener_by_name(postern):
    """... after each DNS answer too."""
    port = free_port()
    server = postern(f'listen-port = 127.0.0.1:{port}\n[relay "me"]\n'
                     f"address = own.example.test:{port}\n[route]\n@example.test me\n")
    reply = rcpt_reply(server)
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


def test_wildcard_listener_is_ourselves_at_every_address(postern):
    """A listener on all addresses makes each local address with its port our own."""
    port = free_port()
    server = postern(f'listen-port = {port}\n[relay "me"]\naddress = 127.0.0.77:{port}\n'
                     "[route]\n@example.test me\n")
    reply = rcpt_reply(server)
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


def test_own_address_is_struck_from_a_list(postern, target):
    """With another address left the mail goes there."""
    good = target()
    port = free_port()
    server = postern(f'listen-port = 127.0.0.1:{port}\n[relay "pair"]\n'
                     f"address = 127.0.0.1:{port}\naddress = {good.address}\n"
                     "[route]\n@example.test pair\n")
    assert final_reply(server).code == 250
    assert len(good.accepted) == 1


def received_lines(count):
    return b"".join(b"Received: from a by b; Mon, 02 Mar 2026 10:00:00 +0000\r\n"
                    for _ in range(count)) + PLAIN_MESSAGE


def test_hundred_received_lines_are_a_loop(target, to_target):
    """100 Received fields: 554 5.4.6 at the end of data, and the target gets no end."""
    backend = target()
    server = to_target(backend)
    reply = final_reply(server, received_lines(100))
    assert (reply.code, reply.enhanced) == (554, "5.4.6")
    assert backend.ended == []


def test_many_received_lines_are_none(target, to_target):
    """98 are a long way, not a loop; and those in the body are not counted."""
    backend = target()
    server = to_target(backend)
    assert final_reply(server, received_lines(98)).code == 250
    assert final_reply(server, PLAIN_MESSAGE + received_lines(200)).code == 250
    assert without_received(backend.accepted[0].content)[1] == received_lines(98)

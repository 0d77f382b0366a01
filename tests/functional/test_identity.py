# SPDX-License-Identifier: BSD-2-Clause
"""How the client's identity is handed on: XCLIENT, XFORWARD, PROXY, and what goes wrong."""
import socket
import struct

import pytest

from harness.dns import (BROKEN, CLIENT, CNAME_CLIENT, HOSTILE_CRLF, HOSTILE_IPV6, HOSTILE_LONG,
                         HOSTILE_NUL, HOSTILE_SPACE, LONG_NAME, MANY_NAMES, MISMATCH, NAMELESS,
                         TRUSTED, SilentDns)
from harness.messages import PLAIN_MESSAGE
from harness.postern import PATIENT
from harness.process import free_port
from harness.smtp import attributes, ehlo_arguments, without_received, xforward
from peers.answers import Close
from peers.client import Client, elapsed
from peers.target import DEFAULT_EHLO, XCLIENT, XFORWARD

WITH_XCLIENT = (*DEFAULT_EHLO, XCLIENT)
WITH_XFORWARD = (*DEFAULT_EHLO, XFORWARD)


def send_one(server, source=CLIENT, helo="helo.example.org"):
    """One message in lock-step; the final reply."""
    with server.client(source=source) as client:
        client.hello(helo)
        reply = client.mail(PLAIN_MESSAGE)
        client.quit()
    return reply


@pytest.mark.parametrize("helo", ["my own pc", "a\tb", "b\xfcro", "\xff\xfe"])
@pytest.mark.parametrize("identity, ehlo, proxy", [
    ("xclient", WITH_XCLIENT, False), ("xforward", WITH_XFORWARD, False),
    ("proxy-v1", DEFAULT_EHLO, True)])
def test_odd_words_in_ehlo(target, to_target, identity, ehlo, proxy, helo):
    """Blanks and octets beyond ASCII in EHLO's argument pass; no target gets to see them."""
    backend = target(ehlo=ehlo, proxy=proxy)
    server = to_target(backend, identity=identity)
    assert send_one(server, helo=helo).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    assert all(len(argument.split()) == 1 and argument.isascii()
               for argument in ehlo_arguments(connection))
    assert helo.encode("latin-1") not in connection.received
    if identity == "xclient":
        assert attributes(xclient_line(connection))["HELO"] == "[UNAVAILABLE]"
    elif identity == "xforward":
        assert xforward(backend.accepted[0])["HELO"] == "[UNAVAILABLE]"


def proxy_v1(connection):
    """What a PROXY v1 header about the connection's own two ends says."""
    host, port = connection.server.address.rsplit(":", 1)
    return f"PROXY TCP4 {connection.peer[0]} {host} {connection.peer[1]} {port}\r\n".encode()


def test_probe_behind_proxy_v1(target, to_target):
    """Nobody's connection names its own ends: a target that refuses UNKNOWN, as Postfix does, is
    found up again."""
    backend = target(proxy=True)
    server = to_target(backend, "health-interval = 1s", identity="proxy-v1")
    backend.unlisten()
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(451, "RCPT TO:<joe@example.test>")
    server.wait_event("target-down")
    backend.listen()
    server.wait_event("target-up")
    probe = backend.connections[0]
    assert probe.proxy_header == proxy_v1(probe)
    assert send_one(server).code == 250


def test_report_behind_proxy_v1(target, to_target):
    """A report to a sender likewise, while a client's message names the client."""
    backend = target(proxy=True)
    backend.on("DATA", Close(), "354 go")
    backend.on("RCPT", "250 2.1.5 Ok", "550 5.1.1 gone", "250 2.1.5 Ok")
    server = to_target(backend, "on-failure = spool", "retry = 1s", identity="proxy-v1")
    assert send_one(server, source=CLIENT).code == 250
    server.wait_event("spooled")
    backend.wait(lambda: any("FROM:<>" in t.mail for t in backend.accepted), "a report")
    report = next(c for c in backend.connections
                  if any("FROM:<>" in t.mail for t in c.transactions))
    assert report.proxy_header == proxy_v1(report)
    assert CLIENT.encode() in backend.connections[0].proxy_header


# --- XCLIENT -------------------------------------------------------------------------------------

def xclient_line(connection):
    lines = [line for line in connection.lines if line.startswith("XCLIENT ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_xclient_conversation(target, to_target):
    """EHLO, XCLIENT alone, its 220 awaited, EHLO with the client's own argument, then mail."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    assert send_one(server).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    assert connection.verbs[:5] == ["EHLO", "XCLIENT", "EHLO", "MAIL", "RCPT"]
    assert ehlo_arguments(connection) == ["postern.example.test", "helo.example.org"]
    segment = connection.segment_with(b"XCLIENT ")
    assert segment.data.startswith(b"XCLIENT ") and segment.data.count(b"\r\n") == 1


def test_xclient_attributes(target, to_target):
    """NAME, ADDR, PORT and PROTO are the client's, DESTADDR and DESTPORT ours."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        client.mail(PLAIN_MESSAGE)
        port = client.port
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["NAME"] == "client.example.test"
    assert sent["ADDR"] == CLIENT
    assert sent["PORT"] == str(port)
    assert sent["PROTO"] == "ESMTP"
    assert sent["DESTADDR"] == "127.0.0.1"
    assert sent["DESTPORT"] == str(server.port)
    assert sent.get("HELO", "helo.example.org") == "helo.example.org"


def test_xclient_only_announced_attributes(target, to_target):
    """Nothing is sent that the target does not know: others answer 501 to that."""
    backend = target(ehlo=("PIPELINING", "XCLIENT NAME ADDR"))
    server = to_target(backend, identity="xclient")
    assert send_one(server).code == 250
    line = xclient_line(next(c for c in backend.connections if c.transactions))
    assert set(attributes(line)) == {"NAME", "ADDR"}


@pytest.mark.parametrize("address, name", [
    (NAMELESS, "[UNAVAILABLE]"), (MISMATCH, "[UNAVAILABLE]"), (BROKEN, "[TEMPUNAVAIL]"),
    (CNAME_CLIENT, "alias.example.test")])
def test_xclient_name_is_forward_confirmed(target, to_target, address, name):
    """NAME is always sent; what DNS does not confirm is [UNAVAILABLE], a failure [TEMPUNAVAIL]."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    assert send_one(server, source=address).code == 250
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["NAME"] == name


def test_xclient_reverse_name_is_the_unconfirmed_one(target, to_target):
    """REVERSE_NAME carries the PTR that NAME may not carry."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    send_one(server, source=MISMATCH)
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["REVERSE_NAME"] == "mismatch.example.test"


@pytest.mark.parametrize("address", [HOSTILE_CRLF, HOSTILE_IPV6, HOSTILE_SPACE, HOSTILE_NUL])
def test_hostile_ptr_changes_nothing(target, to_target, address):
    """A PTR with CRLF, spaces, NUL or IPV6: inside is no name, and injects nothing."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    assert send_one(server, source=address).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    sent = attributes(xclient_line(connection))
    assert sent["NAME"] == "[UNAVAILABLE]"
    assert sent.get("REVERSE_NAME", "[UNAVAILABLE]") == "[UNAVAILABLE]"
    assert sent["ADDR"] == address
    assert connection.verbs.count("RCPT") == 1
    assert len(connection.received.split(b"XCLIENT")[1].split(b"\r\n")[0]) < 505


@pytest.mark.parametrize("address", [HOSTILE_CRLF, HOSTILE_SPACE, HOSTILE_NUL])
def test_hostile_ptr_in_received_and_xforward(target, to_target, address):
    """Nor does it get into a Received line or an XFORWARD command."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward")
    assert send_one(server, source=address).code == 250
    transaction = backend.accepted[0]
    assert xforward(transaction)["NAME"] == "[UNAVAILABLE]"
    received, rest = without_received(transaction.content)
    assert rest == PLAIN_MESSAGE
    assert f"[{address}]" in received and "evil" not in received and "words" not in received


def test_longest_names_fit_in_one_command(target, to_target):
    """A name of 253 octets and a HELO of 255: one XCLIENT of at most 512 octets, HELO left out."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    helo = ".".join(["h" * 63] * 4)
    assert send_one(server, source=HOSTILE_LONG, helo=helo).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    line = xclient_line(connection)
    assert len(line) + 2 <= 512
    assert attributes(line)["NAME"].lower() == LONG_NAME
    assert ehlo_arguments(connection)[1] == helo


def test_many_ptr_records_delay_nobody(target, to_target):
    """Forty PTRs are no reason to wait or to fail."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient")
    seconds, reply = elapsed(lambda: send_one(server, source=MANY_NAMES))
    assert reply.code == 250 and seconds < 4


def test_only_the_first_rcpt_waits_for_dns(target, to_target, silent_dns):
    """220, EHLO and MAIL come at once; RCPT waits up to resolve-timeout, then [TEMPUNAVAIL]."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient", resolver=silent_dns.address,
                       smtpd="resolve-timeout = 1s\n")
    with server.client(source=CLIENT) as client:
        def until_mail():
            client.hello()
            client.expect(250, "MAIL FROM:<sender@example.org>")
        seconds, _ = elapsed(until_mail)
        assert seconds < 0.5
        seconds, _ = elapsed(lambda: client.expect(250, "RCPT TO:<joe@example.test>"))
        assert seconds < 2.5
        seconds, _ = elapsed(lambda: client.expect(250, "RCPT TO:<jane@example.test>"))
        assert seconds < 0.5
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["NAME"] == "[TEMPUNAVAIL]"


def test_dns_that_answers_too_late(target, to_target, silent_dns):
    """What servers still say when nobody waits for them any longer changes nothing."""
    backend = target(ehlo=WITH_XCLIENT)
    other_dns = SilentDns()
    server = to_target(backend, identity="xclient", resolver=silent_dns.address,
                       core=f"resolver = {other_dns.address}\n", smtpd="resolve-timeout = 1m\n")
    with server.client(source=CLIENT, timeout_s=20) as client:
        client.hello()
        client.envelope()
        silent_dns.answer_all()
        other_dns.answer_all()
        client.linger(10)
        assert client.data(PLAIN_MESSAGE).code == 250
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["NAME"] == "[TEMPUNAVAIL]"


def test_xforward_never_waits_for_dns(target, to_target, silent_dns):
    """XFORWARD says what is known by then."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward", resolver=silent_dns.address)
    seconds, reply = elapsed(lambda: send_one(server))
    assert reply.code == 250 and seconds < 1.5
    assert xforward(backend.accepted[0])["NAME"] == "[UNAVAILABLE]"


def test_resolve_names_off(target, to_target, silent_dns):
    """resolve-names = no: no query, and NAME is [UNAVAILABLE]."""
    backend = target(ehlo=WITH_XCLIENT)
    server = to_target(backend, identity="xclient", resolver=silent_dns.address,
                       smtpd="resolve-names = no\n")
    assert send_one(server).code == 250
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["NAME"] == "[UNAVAILABLE]"
    assert silent_dns.queries == 0


def test_helo_is_xtext(target, to_target):
    """What a client says at HELO cannot break out of its attribute."""
    backend = target(ehlo=("PIPELINING", "XCLIENT NAME ADDR HELO", "XFORWARD NAME ADDR HELO"))
    server = to_target(backend, identity="xforward")
    with server.client(source=CLIENT) as client:
        client.expect(220)
        if client.command("EHLO a+b=c").code == 250:
            assert client.mail(PLAIN_MESSAGE).code == 250
            line = backend.accepted[0].xforward[-1]
            assert "HELO=A+2BB+3DC" in line.upper() or "HELO=[UNAVAILABLE]" in line


@pytest.mark.usefixtures("ipv6")
def test_ipv6_client_is_written_with_prefix(target, postern):
    """An IPv6 client goes to a Postfix-like target as IPV6:..."""
    backend = target(ehlo=WITH_XCLIENT)
    port = free_port("::1")
    postern(f'listen-port = [::1]:{port}\n[relay "target"]\naddress = {backend.address}\n'
            "identity = xclient\n[route]\n@example.test target\n")
    with Client(("::1", port)) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["ADDR"] == "IPV6:::1"
    assert sent["NAME"] == "six.example.test"


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("ehlo, line, expected", [
    ("XCLIENT ADDR PORT DESTADDR DESTPORT", "", "::1"),             # KumoMTA's list
    ("XCLIENT NAME ADDR PROTO HELO", "xclient-address = bare", "::1"),
    ("XCLIENT ADDR PORT DESTADDR DESTPORT", "xclient-address = prefixed", "IPV6:::1")])
def test_ipv6_dialects(target, postern, ehlo, line, expected):
    """The address form follows the announcement, or the setting."""
    backend = target(ehlo=("PIPELINING", ehlo))
    port = free_port("::1")
    postern(f'listen-port = [::1]:{port}\n[relay "target"]\naddress = {backend.address}\n'
            f"identity = xclient\n{line}\n[route]\n@example.test target\n")
    with Client(("::1", port)) as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    sent = attributes(xclient_line(next(c for c in backend.connections if c.transactions)))
    assert sent["ADDR"] == expected


def test_clients_own_xclient_and_xforward_go_nowhere(target, to_target):
    """A client's XCLIENT or XFORWARD, however written, is refused and never reaches a target."""
    backend = target(ehlo=(*DEFAULT_EHLO, XCLIENT, XFORWARD))
    server = to_target(backend, identity="xforward")
    with server.client(source=CLIENT) as client:
        client.hello()
        for line in ("XCLIENT ADDR=192.0.2.1", "xClient\tADDR=192.0.2.1", "XFORWARD ADDR=192.0.2.1",
                     "xforward NAME=evil"):
            assert client.command(line).code // 100 == 5
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert b"192.0.2.1" not in b"".join(c.received for c in backend.connections)
    assert b"evil" not in b"".join(c.received for c in backend.connections)


# --- identity failures and verdicts --------------------------------------------------------------

@pytest.mark.parametrize("refusal", [
    "500 5.5.2 what?", "501 5.5.4 bad syntax", "502 5.5.1 not here", "503 5.5.1 not now",
    "550 5.7.0 you may not", "550 you may not"])
def test_xclient_refused_is_an_identity_failure(target, to_target, refusal):
    """These replies to XCLIENT are the operator's fault: 451 4.3.5, and no mail on that line."""
    backend = target(ehlo=WITH_XCLIENT).on("XCLIENT", refusal)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.expect(451, "RCPT TO:<joe@example.test>")
        assert reply.enhanced == "4.3.5"
    assert backend.transactions == []


@pytest.mark.parametrize("verdict, code, text", [
    ("554 5.7.1 <client.example.test>: go away", 554, "5.7.1 <client.example.test>: go away"),
    ("550 5.7.1 listed", 550, "5.7.1 listed"),
    ("450 4.7.25 no reverse name", 450, "4.7.25 no reverse name"),
    ("421 4.7.0 too many from you", 451, "4.7.0 too many from you"),
    ("521 5.7.1 never", 521, "5.7.1 never")])
def test_other_refusals_of_xclient_are_the_targets_verdict(target, to_target, verdict, code, text):
    """Every other refusal is the target's word on this client and goes to it, verbatim."""
    backend = target(ehlo=WITH_XCLIENT).on("XCLIENT", verdict)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.expect(code, "RCPT TO:<joe@example.test>")
        assert reply.text == text
    assert backend.transactions == []


@pytest.mark.parametrize("on_failure", ["spool", "tempfail"])
def test_421_to_xclient_is_an_outage(target, to_target, on_failure):
    """421 without a policy code says nothing of the client: as a lost connection. Who comes beside
    is served."""
    def by_address(_, line):
        return Close("421 4.3.2 restarting") if f"ADDR={CLIENT}" in line else "220 welcome"
    backend = target(ehlo=WITH_XCLIENT).on("XCLIENT", by_address)
    server = to_target(backend, f"on-failure = {on_failure}", identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.command("RCPT TO:<joe@example.test>")
        if on_failure == "spool":
            assert reply.code == 250
            assert client.data(PLAIN_MESSAGE).text.startswith("2.0.0 Ok: queued as")
        else:
            assert (reply.code, reply.enhanced) == (451, "4.4.2")
    assert send_one(server, source=TRUSTED).code == 250


def test_a_verdict_leaves_the_target_healthy(target, to_target):
    """After one client was refused by XCLIENT the next is served at once."""
    def by_address(_, line):
        return "554 5.7.1 not you" if f"ADDR={CLIENT}" in line else "220 welcome"
    backend = target(ehlo=WITH_XCLIENT).on("XCLIENT", by_address)
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<a@example.org>")
        client.expect(554, "RCPT TO:<joe@example.test>")
    assert send_one(server, source=TRUSTED).code == 250
    assert server.events("target-down") == []


def test_identity_failure_pass(target, to_target):
    """identity-failure = pass: mail goes without identity, but not on the refused connection."""
    backend = target(ehlo=WITH_XCLIENT).on("XCLIENT", "550 5.7.0 not authorized")
    server = to_target(backend, "identity-failure = pass", identity="xclient")
    assert send_one(server).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    assert "XCLIENT" not in connection.verbs


def test_xclient_not_announced_is_an_identity_failure(target, to_target):
    """identity = xclient at a target that does not announce it: 451 4.3.5, never plain mail."""
    backend = target()
    server = to_target(backend, identity="xclient")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.expect(451, "RCPT TO:<joe@example.test>").enhanced == "4.3.5"
    assert backend.transactions == []


def test_auto_takes_what_is_announced(target, to_target):
    """auto: XCLIENT where announced, else XFORWARD, else none."""
    for ehlo, expected in (((*DEFAULT_EHLO, XFORWARD, XCLIENT), "XCLIENT"),
                           (WITH_XFORWARD, "XFORWARD"), (DEFAULT_EHLO, None)):
        backend = target(ehlo=ehlo)
        server = to_target(backend, identity="auto")
        assert send_one(server).code == 250
        connection = next(c for c in backend.connections if c.transactions)
        used = [v for v in connection.verbs if v in ("XCLIENT", "XFORWARD")]
        assert used == ([expected] if expected else []), ehlo


def test_auto_notices_that_xclient_has_gone(target, to_target):
    """A target that announced XCLIENT and no longer does is an identity failure."""
    announced = [WITH_XCLIENT]
    backend = target(ehlo=lambda c: announced[0])
    server = to_target(backend, "idle-connections = 0", identity="auto")
    assert send_one(server).code == 250
    announced[0] = DEFAULT_EHLO
    backend.drop_all()
    with server.client(source=TRUSTED) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.expect(451, "RCPT TO:<joe@example.test>").enhanced == "4.3.5"


def test_xclient_remembered_across_restarts(target, postern, to_target):
    """... even when postern was restarted in between."""
    announced = [WITH_XCLIENT]
    backend = target(ehlo=lambda c: announced[0])
    server = to_target(backend, identity="auto")
    assert send_one(server).code == 250
    server.stop()
    announced[0] = DEFAULT_EHLO
    server.is_over = False
    server.start()
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.expect(451, "RCPT TO:<joe@example.test>").enhanced == "4.3.5"


# --- XFORWARD ------------------------------------------------------------------------------------

def test_xforward_attributes(target, to_target):
    """NAME ADDR PORT HELO IDENT PROTO SOURCE, and our own Received line on top."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward", smtpd=PATIENT)
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        server.wait_named(client)
        client.envelope()
        client.data(PLAIN_MESSAGE)
        port = client.port
    transaction = backend.accepted[0]
    sent = xforward(transaction)
    assert sent.pop("IDENT")
    assert sent == {"NAME": "client.example.test", "ADDR": CLIENT, "PORT": str(port),
                    "HELO": "helo.example.org", "PROTO": "ESMTP", "SOURCE": "REMOTE"}
    received, rest = without_received(transaction.content)
    assert rest == PLAIN_MESSAGE
    assert received.startswith(f"from helo.example.org (client.example.test [{CLIENT}])")
    assert "with ESMTP" in received and "for <joe@example.test>" in received


def test_xforward_is_pipelined_with_mail(target, to_target):
    """XFORWARD, MAIL and RCPT leave in one write."""
    backend = target(ehlo=WITH_XFORWARD)
    server = to_target(backend, identity="xforward")
    assert send_one(server).code == 250
    data = backend.connections[0].segment_with(b"MAIL FROM").data
    assert data.startswith(b"XFORWARD ") and b"\r\nRCPT TO:" in data


def test_xforward_in_lock_step_without_pipelining(target, to_target):
    """Where PIPELINING is not announced, no two commands share a segment."""
    backend = target(ehlo=("SIZE", XFORWARD))
    server = to_target(backend, identity="xforward")
    assert send_one(server).code == 250
    for segment in backend.connections[0].segments:
        if segment.data.split(b" ")[0] in (b"XFORWARD", b"MAIL", b"RCPT", b"EHLO"):
            assert segment.data.count(b"\r\n") == 1, segment.data


def test_xforward_refused_turns_the_recipient_down(target, to_target):
    """MAIL and RCPT that were pipelined behind a refused XFORWARD count for nothing."""
    backend = target(ehlo=WITH_XFORWARD).on("XFORWARD", "550 5.7.0 not authorized")
    server = to_target(backend, identity="xforward")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.expect(451, "RCPT TO:<joe@example.test>").enhanced == "4.3.5"
    assert backend.ended == []


def test_received_always_and_never(target, to_target):
    """`received` overrides what identity would do."""
    backend = target(ehlo=WITH_XCLIENT)
    send_one(to_target(backend, "received = always", identity="xclient"))
    assert without_received(backend.accepted[0].content)[1] == PLAIN_MESSAGE
    backend = target(ehlo=WITH_XFORWARD)
    send_one(to_target(backend, "received = never", identity="xforward"))
    assert backend.accepted[0].content == PLAIN_MESSAGE


def test_xclient_leaves_content_alone(target, to_target):
    """With XCLIENT accepted the content has no octet of ours."""
    backend = target(ehlo=WITH_XCLIENT)
    send_one(to_target(backend, identity="xclient"))
    assert backend.accepted[0].content == PLAIN_MESSAGE


# --- PROXY ---------------------------------------------------------------------------------------

def test_proxy_v1(target, to_target):
    """The text header names the client and the address that it connected to."""
    backend = target(proxy=True)
    server = to_target(backend, identity="proxy-v1")
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    connection = next(c for c in backend.connections if c.transactions)
    assert connection.proxy_header == \
        f"PROXY TCP4 {CLIENT} 127.0.0.1 {port} {server.port}\r\n".encode()
    assert ehlo_arguments(connection) == ["helo.example.org"]
    assert backend.accepted[0].content == PLAIN_MESSAGE


def test_proxy_v2(target, to_target):
    """The binary header likewise."""
    backend = target(proxy=True)
    server = to_target(backend, identity="proxy-v2")
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    header = next(c for c in backend.connections if c.transactions).proxy_header
    assert header[12:14] == b"\x21\x11"
    assert header[16:28] == (socket.inet_aton(CLIENT) + socket.inet_aton("127.0.0.1")
                             + struct.pack(">HH", port, server.port))


def test_session_by_proxy_v2(target, to_target):
    """What comes out of the spool bears the id of the session by which it came; our own has none."""
    backend = target(proxy=True).on("RCPT", Close("421 4.3.2 later"), "250 2.1.5 Ok")
    server = to_target(backend, "on-failure = spool", "health-interval = 1s", identity="proxy-v2")
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
    session = server.wait_event("delivered")["session"]
    headers = [c.proxy_header for c in backend.connections]
    said = [header for header in headers if header[12] == 0x21]
    assert len(said) == 2
    assert all(header[28:] == b"\x05\x00\x10" + session.encode() for header in said)
    assert all(len(header) == 16 for header in headers if header not in said)


@pytest.mark.parametrize("identity", ["proxy-v1", "proxy-v2"])
def test_proxy_connections_are_never_shared(target, to_target, identity):
    """The next client gets a connection of its own; the next transaction does not."""
    backend = target(proxy=True)
    server = to_target(backend, identity=identity)
    with server.client(source=CLIENT) as client:
        client.hello()
        client.mail(PLAIN_MESSAGE)
        client.mail(PLAIN_MESSAGE)
    send_one(server, source=TRUSTED)
    used = [c for c in backend.connections if c.transactions]
    assert [len(c.transactions) for c in used] == [2, 1]
    assert len({c.proxy_header for c in used}) == 2


@pytest.mark.parametrize("greeting, code, text", [
    ("554 5.7.1 you are listed", 554, "5.7.1 you are listed"),
    ("450 4.7.1 greylisted", 450, "4.7.1 greylisted"),
    ("421 4.7.0 slow down", 451, "4.7.0 slow down"),
    ("421 4.3.2 not now", 451, "4.4.1 No connection to the next host, try again later"),
    ("521 no mail here", 521, None)])
def test_greeting_behind_proxy_is_a_verdict(target, to_target, greeting, code, text):
    """A refusal at the greeting is the target's word on this client; a plain 421 is an outage."""
    backend = target(proxy=True).on("greeting", Close(greeting))
    server = to_target(backend, identity="proxy-v1")
    with server.client(source=CLIENT) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.expect(code, "RCPT TO:<joe@example.test>")
        assert text is None or reply.text == text

# SPDX-License-Identifier: BSD-2-Clause
"""Who may say who the client is, and what that changes: XCLIENT, XFORWARD, PROXY taken in."""
import socket
import struct
import time

import pytest

from conftest import relay_config
from harness.dns import CLIENT, NAMELESS, TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.process import free_port
from harness.smtp import attributes, keywords, without_received, xforward
from peers.client import elapsed
from peers.target import DEFAULT_EHLO, XCLIENT, XFORWARD

FRONT = "127.0.0.5"             # the proxy or server in front, which speaks for clients
MAY_XCLIENT = f"xclient-from = {FRONT}\n"
WITH_ALL = (*DEFAULT_EHLO, XCLIENT + " SESSION TTL", XFORWARD)


def asserting(server, line, source=FRONT, helo="helo.example.org"):
    """A connection of who is in front, on which the client has said EHLO behind XCLIENT."""
    client = server.client(source=source)
    client.hello("front.example.test")
    client.expect(220, line)
    client.expect(250, f"EHLO {helo}")
    return client


def xclient_of(backend):
    """The attributes that the target was told of the client of its last transaction."""
    connection = next(c for c in backend.connections if c.transactions)
    return attributes(next(line for line in connection.lines if line.startswith("XCLIENT ")))


# --- XCLIENT -------------------------------------------------------------------------------------

def test_announced_to_peers_alone(target, to_target):
    """EHLO says XCLIENT and its attributes to who may use it, and to nobody else."""
    server = to_target(target(), smtpd=MAY_XCLIENT)
    with server.client(source=FRONT) as client:
        assert keywords(client.hello())["XCLIENT"].split() == [
            "NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT",
            "REVERSE_NAME", "SESSION", "TTL", "TIMEOUT", "CLIENT-TRANSPORT", "DESTNAME", "FORWARD"]
    with server.client(source=CLIENT) as client:
        assert "XCLIENT" not in keywords(client.hello())
        assert client.expect(550, f"XCLIENT ADDR={TRUSTED}").enhanced == "5.7.0"


def test_asserted_client_goes_on_to_the_target(target, to_target):
    """Every attribute comes out as it went in, one hop less; the log has client and peer."""
    backend = target(ehlo=WITH_ALL)
    server = to_target(backend, identity="xclient", smtpd=MAY_XCLIENT)
    said = {"NAME": "a.example.org", "ADDR": "203.0.113.7", "PORT": "4711", "LOGIN": "joe doe",
            "DESTADDR": "198.51.100.9", "DESTPORT": "587", "REVERSE_NAME": "b.example.org",
            "SESSION": "ref1", "TTL": "5"}
    line = " ".join(f"{name}={value}" for name, value in said.items()).replace("joe ", "joe+20")
    with asserting(server, "XCLIENT " + line) as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    assert xclient_of(backend) == {**said, "TTL": "4", "PROTO": "ESMTP",
                                   "HELO": "helo.example.org"}
    logged = server.wait_transaction()
    assert (logged["client"], logged["peer"]) == ("203.0.113.7:4711", f"{FRONT}:{port}")
    assert (logged["name"], logged["login"]) == ("a.example.org", "joe doe")
    asserted = server.wait_event("asserted")
    assert (asserted["client"], asserted["reference"]) == ("203.0.113.7:4711", "ref1")
    assert asserted["session"] == logged["session"]


def test_ipv6_client(target, to_target):
    """An IPv6 client behind an IPv4 peer: XCLIENT says its address, PROXY an unknown destination."""
    backend = target(ehlo=WITH_ALL)
    server = to_target(backend, identity="xclient", smtpd=MAY_XCLIENT)
    with asserting(server, "XCLIENT ADDR=IPV6:2001:db8::7 PORT=1") as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert xclient_of(backend)["ADDR"] == "IPV6:2001:db8::7"
    backend = target(proxy=True)
    server = to_target(backend, identity="proxy-v1", smtpd=MAY_XCLIENT)
    with asserting(server, "XCLIENT ADDR=IPV6:2001:db8::7 PORT=1") as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    assert connection.proxy_header == f"PROXY TCP6 2001:db8::7 :: 1 {server.port}\r\n".encode()


def test_unknown_client_is_not_taken_for_us(target, to_target):
    """ADDR=[UNAVAILABLE]: a target must not see our own address instead."""
    backend = target(proxy=True)
    server = to_target(backend, identity="proxy-v1", smtpd=MAY_XCLIENT)
    with asserting(server, "XCLIENT ADDR=[UNAVAILABLE]") as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
    connection = next(c for c in backend.connections if c.transactions)
    assert connection.proxy_header.startswith(b"PROXY TCP4 0.0.0.0 127.0.0.1 0 ")


@pytest.mark.parametrize("address, name", [(TRUSTED, "trusted.example.test"),
                                           (NAMELESS, "[UNAVAILABLE]")])
def test_name_is_looked_up(target, to_target, address, name):
    """ADDR without NAME: reverse DNS is asked about the client, not about the peer."""
    backend = target(ehlo=WITH_ALL)
    server = to_target(backend, identity="xclient", smtpd=MAY_XCLIENT)
    with asserting(server, f"XCLIENT ADDR={address}") as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert xclient_of(backend)["NAME"] == name


@pytest.mark.parametrize("setting, line, code", [
    ("", "XCLIENT ADDR=203.0.113.7", 550),
    ("", "XCLIENT ADDR=203.0.113.7 LOGIN=joe", 250),
    ("", "XCLIENT ADDR=203.0.113.7 LOGIN=[UNAVAILABLE]", 550),
    ("", "XCLIENT ADDR=127.0.0.77", 250),
    ("", "XCLIENT ADDR=[UNAVAILABLE]", 550),
    ("relay-from = 203.0.113.0/24\n", "XCLIENT ADDR=203.0.113.7", 250),
    ("relay-from = 203.0.113.0/24\n", "XCLIENT ADDR=127.0.0.77 LOGIN=joe", 550),
    ("relay-from = 203.0.113.0/24 authenticated\n", "XCLIENT ADDR=127.0.0.77 LOGIN=joe", 250)])
def test_relay_from(target, postern, setting, line, code):
    """relay-from is asked about the client that was asserted, and about its login."""
    server = postern(relay_config(target().address, "identity = none", route="@"),
                     smtpd=MAY_XCLIENT + setting)
    with asserting(server, line) as client:
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(code, "RCPT TO:<joe@elsewhere.example>")


@pytest.mark.parametrize("setting, code", [(f"bare-newline-exempt = {FRONT}\n", 500),
                                           ("bare-newline-exempt = 203.0.113.7\n", 250)])
def test_bare_newline_exempt(target, to_target, setting, code):
    """So is bare-newline-exempt."""
    server = to_target(target(), smtpd=MAY_XCLIENT + "bare-newline = reject\n" + setting)
    with asserting(server, "XCLIENT ADDR=203.0.113.7") as client:
        client.send(b"NOOP\n")
        client.expect(code)


def test_etrn_from(target, to_target):
    """And etrn-from."""
    server = to_target(target(), smtpd=MAY_XCLIENT + "etrn-from = 203.0.113.7\n")
    with server.client(source=FRONT) as client:
        assert "ETRN" not in keywords(client.hello())
        client.expect(220, "XCLIENT ADDR=203.0.113.7")
        assert "ETRN" in keywords(client.expect(250, "EHLO helo.example.org"))


def deliver_after_restart(server, backend):
    """The target is there again, and postern with it: what waits arrives."""
    server.stop()
    server.is_over = False
    backend.listen()
    server.start()
    backend.wait(lambda: backend.accepted, "the message")


def test_spooled_with_its_login(target, to_target):
    """What waits in the queue goes out with all that was asserted, after a restart too."""
    backend = target(ehlo=WITH_ALL)
    server = to_target(backend, "on-failure = spool", "retry = 1s", "health-interval = 1s",
                       identity="xclient", smtpd=MAY_XCLIENT)
    backend.unlisten()
    with asserting(server, "XCLIENT NAME=a.example.org ADDR=203.0.113.7 PORT=9 LOGIN=joe TTL=3 "
                           "SESSION=ref1 DESTADDR=198.51.100.9") as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
    deliver_after_restart(server, backend)
    assert xclient_of(backend) == {
        "NAME": "a.example.org", "ADDR": "203.0.113.7", "PORT": "9", "LOGIN": "joe", "TTL": "2",
        "SESSION": "ref1", "DESTADDR": "198.51.100.9", "DESTPORT": "[UNAVAILABLE]",
        "PROTO": "ESMTP", "HELO": "helo.example.org"}


# --- chains --------------------------------------------------------------------------------------

def test_two_posterns(target, to_target, postern):
    """The second one sees the client as the first one does, and so does the target."""
    backend = target(ehlo=WITH_ALL)
    second = to_target(backend, identity="xclient", smtpd="xclient-from = 127.0.0.1\n")
    first = postern(relay_config(f"127.0.0.1:{second.port}", "identity = auto"))
    with first.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    sent = xclient_of(backend)
    assert (sent["ADDR"], sent["PORT"], sent["NAME"]) == (CLIENT, str(port), "client.example.test")
    assert (sent["DESTPORT"], sent["TTL"]) == (str(first.port), "9")
    assert backend.accepted[0].content == PLAIN_MESSAGE
    logged = second.wait_transaction()
    assert logged["client"] == f"{CLIENT}:{port}" and logged["peer"].startswith("127.0.0.1:")
    assert first.wait_transaction()["identity"] == logged["identity"] == "xclient"


def test_loop_of_two_posterns(postern):
    """Each passes the client on to the other, until TTL is used up: 554 5.4.6."""
    port = free_port()
    smtpd = "xclient-from = 127.0.0.1\n"
    second = postern(relay_config(f"127.0.0.1:{port}", "identity = xclient"), smtpd=smtpd)
    first = postern(relay_config(f"127.0.0.1:{second.port}", "identity = xclient"),
                    smtpd=smtpd + f"listen-port = 127.0.0.1:{port}\n")
    with first.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.expect(554, "RCPT TO:<joe@example.test>").enhanced == "5.4.6"
    for server in (first, second):
        server.wait_event("asserted", 5)
        assert len(server.events("asserted")) == 5


# --- the PROXY protocol --------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FROM_BALANCER = f"proxy-protocol-from = {FRONT}\n"


def v1(client=CLIENT, port=4711):
    return f"PROXY TCP4 {client} 198.51.100.9 {port} 25\r\n".encode()


def v2(client=CLIENT, port=4711, tlvs=b""):
    body = (socket.inet_aton(client) + socket.inet_aton("198.51.100.9")
            + struct.pack("!HH", port, 25) + tlvs)
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(body)) + body


def balanced(server, header, source=FRONT):
    client = server.client(source=source)
    client.send(header)
    return client


@pytest.mark.parametrize("header", [v1(), v2(), v2(tlvs=b"\xea\x00\x04abcd")])
def test_balancer_names_the_client(target, to_target, header):
    """The target sees the client of the header, with its name from DNS; the log the balancer too."""
    backend = target(ehlo=WITH_ALL)
    server = to_target(backend, identity="xclient", smtpd=FROM_BALANCER)
    with balanced(server, header) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    sent = xclient_of(backend)
    assert (sent["ADDR"], sent["PORT"], sent["NAME"]) == (CLIENT, "4711", "client.example.test")
    assert (sent["DESTADDR"], sent["DESTPORT"]) == ("198.51.100.9", "25")
    logged = server.wait_transaction()
    assert (logged["client"], logged["peer"]) == (f"{CLIENT}:4711", f"{FRONT}:{port}")
    connect = server.wait_event("connect")
    assert (connect["client"], connect["peer"]) == (logged["client"], logged["peer"])


@pytest.mark.parametrize("header", [b"EHLO client.example.test\r\n", b"PROXY TCP4 x\r\n",
                                    SIGNATURE + b"\x31\x11\x00\x00"])
def test_balancer_without_header(target, to_target, header):
    """Not a word is said to a balancer that does not say who the client is."""
    server = to_target(target(), smtpd=FROM_BALANCER)
    with balanced(server, header) as client:
        assert client.is_closed()
    assert server.wait_event("no-proxy-header")["client"].startswith(FRONT + ":")


def test_balancer_that_waits(target, to_target):
    """Nor to one that says nothing, or not all, for five seconds."""
    server = to_target(target(), smtpd=FROM_BALANCER)
    begun = time.monotonic()
    with balanced(server, v1()[:-1]) as client:
        seconds, is_closed = elapsed(client.is_closed)
        assert is_closed and time.monotonic() - begun > 4 and seconds < 10
    assert server.wait_event("no-proxy-header")["error"] == "timed out"


def test_header_from_others(target, to_target):
    """From whoever is not in the list a header is a syntax error, v2 as well."""
    server = to_target(target(), smtpd=FROM_BALANCER)
    with server.client(source=CLIENT) as client:
        client.expect(220)
        client.expect(500, v1("127.0.0.1").decode().rstrip())
        client.expect(250, "EHLO helo.example.org")
    with balanced(server, v2("127.0.0.1"), source=CLIENT) as client:
        client.expect(220)
        client.expect(500)
    assert all(fields["client"].startswith(CLIENT) for fields in server.events("connect"))


def test_look_of_a_balancer(target, to_target):
    """A connection that is closed without a word is no line in the log; LOCAL is served."""
    server = to_target(target(), smtpd=FROM_BALANCER)
    server.client(source=FRONT).close()
    with balanced(server, SIGNATURE + b"\x20\x00\x00\x00") as client:
        client.hello()
        client.quit()
    assert server.wait_event("connect")["proxy"] == "own"
    server.wait_event("disconnect")
    assert len(server.events("connect")) == 1 and server.events("no-proxy-header") == []


def test_header_in_the_same_segment_and_octet_by_octet(target, to_target):
    """What stands behind the header is the client's, whatever the segments."""
    server = to_target(target(), smtpd=FROM_BALANCER)
    for header in (v1(), v2()):
        for whole in (True, False):
            with server.client(source=FRONT) as client:
                said = header + b"EHLO helo.example.org\r\nNOOP\r\n"
                if whole:
                    client.send(header + b"HELO helo.example.org\r\n")
                    client.expect(220)
                    client.expect(250)
                    continue
                client.send_octet_by_octet(said[:len(header)])
                client.expect(220)
                client.send_octet_by_octet(b"NOOP\r\n")
                client.expect(250)


def test_two_posterns_by_proxy(target, to_target, postern):
    """The first says the PROXY header, the second believes it, and hands the client on."""
    backend = target(ehlo=WITH_ALL)
    second = to_target(backend, identity="xclient", smtpd="proxy-protocol-from = 127.0.0.1\n")
    for version in ("proxy-v1", "proxy-v2"):
        first = postern(relay_config(f"127.0.0.1:{second.port}", f"identity = {version}"))
        with first.client(source=CLIENT) as client:
            client.hello("helo.example.org")
            assert client.mail(PLAIN_MESSAGE).code == 250
            port = client.port
        assert second.log.wait_line(rf"transaction .*client={CLIENT}:{port} peer=127.0.0.1:")
    assert [t.content for t in backend.accepted] == [PLAIN_MESSAGE] * 2
    assert {c.lines[1].split("ADDR=")[1].split()[0] for c in backend.connections
            if c.transactions} == {CLIENT}


# --- XFORWARD ------------------------------------------------------------------------------------

MAY_XFORWARD = f"xforward-from = {FRONT}\n"
ORIGIN = "XFORWARD NAME=a.example.org ADDR=203.0.113.7 PORT=4711"
MORE = "XFORWARD PROTO=ESMTPSA HELO=b.example.org IDENT=4XYZ SOURCE=REMOTE"


def forwarding(server, source=FRONT):
    """A connection of a mail server whose filter we are, on which it has said whose mail it is."""
    client = server.client(source=source)
    client.hello("front.example.test")
    client.expect(250, ORIGIN)
    client.expect(250, MORE)
    return client


def test_forwarded_origin_goes_on_to_the_target(target, to_target):
    """XFORWARD to the target says what came in; Received names who has really connected."""
    backend = target(ehlo=(*DEFAULT_EHLO, XFORWARD))
    server = to_target(backend, identity="xforward", smtpd=MAY_XFORWARD)
    with forwarding(server) as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    sent = xforward(backend.accepted[0])
    assert sent.pop("IDENT") == server.wait_transaction()["transaction"]
    assert sent == {"NAME": "a.example.org", "ADDR": "203.0.113.7", "PORT": "4711",
                    "HELO": "b.example.org", "PROTO": "ESMTPSA", "SOURCE": "REMOTE"}
    assert without_received(backend.accepted[0].content)[0].startswith(
        "from front.example.test (")
    assert xforward(backend.accepted[1])["ADDR"] == FRONT
    logged = server.wait_transaction()
    assert (logged["client"], logged["origin"]) == (f"{FRONT}:{port}", "203.0.113.7:4711")
    assert (logged["origin-name"], logged["origin-id"]) == ("a.example.org", "4XYZ")
    assert "origin" not in server.wait_transaction(2)


def test_xforward_changes_no_rights(target, postern):
    """An origin that may relay helps nobody, and one that may not hurts nobody."""
    for relay_from, code in ((FRONT, 250), ("203.0.113.7", 550)):
        server = postern(relay_config(target().address, "identity = none", route="@"),
                         smtpd=MAY_XFORWARD + f"relay-from = {relay_from}\n")
        with forwarding(server) as client:
            client.expect(250, "MAIL FROM:<sender@example.org>")
            client.expect(code, "RCPT TO:<joe@elsewhere.example>")


def test_spooled_with_its_origin(target, to_target):
    """What waits in the queue goes out with the origin that was forwarded."""
    backend = target(ehlo=(*DEFAULT_EHLO, XFORWARD))
    server = to_target(backend, "on-failure = spool", "retry = 1s", "health-interval = 1s",
                       identity="xforward", smtpd=MAY_XFORWARD)
    backend.unlisten()
    with forwarding(server) as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
    deliver_after_restart(server, backend)
    sent = xforward(backend.accepted[0])
    assert (sent["ADDR"], sent["PROTO"], sent["HELO"]) == ("203.0.113.7", "ESMTPSA",
                                                           "b.example.org")


def test_two_posterns_by_xforward(target, to_target, postern):
    """The second one logs the client as the origin, and so does the target."""
    backend = target(ehlo=(*DEFAULT_EHLO, XFORWARD))
    second = to_target(backend, identity="xforward", smtpd="xforward-from = 127.0.0.1\n")
    first = postern(relay_config(f"127.0.0.1:{second.port}", "identity = auto"))
    with first.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
        port = client.port
    sent = xforward(backend.accepted[0])
    assert (sent["ADDR"], sent["PORT"], sent["HELO"]) == (CLIENT, str(port), "helo.example.org")
    assert second.wait_transaction()["origin"] == f"{CLIENT}:{port}"


# --- who may do what -----------------------------------------------------------------------------

RELAYS = {"xclient": WITH_ALL, "xforward": (*DEFAULT_EHLO, XFORWARD), "proxy-v1": DEFAULT_EHLO}
ASSERTED = {  # how: the peer's list, what it says before its mail, the code that it gets otherwise
    "xclient": ("xclient-from", "XCLIENT NAME=a.example.org ADDR=203.0.113.7 PORT=4711", 550),
    "xforward": ("xforward-from", ORIGIN, 550),
    "proxy": ("proxy-protocol-from", v1("203.0.113.7").decode().strip(), 500),
}
# Whom a target sees, by how it is told; whose limit and right count; which keys of the log name the
# one in front, the client and the origin.
SEEN = {
    ("xclient", True): {"xclient": "client", "xforward": "client", "proxy-v1": "client"},
    ("proxy", True): {"xclient": "client", "xforward": "client", "proxy-v1": "client"},
    ("xforward", True): {"xclient": "peer", "xforward": "client", "proxy-v1": "peer"},
}


def seen_by(backend, kind):
    connection = next(c for c in backend.connections if c.transactions)
    if kind == "proxy-v1":
        return connection.proxy_header.decode().split()[2]
    if kind == "xforward":
        return xforward(connection.transactions[0])["ADDR"]
    return xclient_of(backend)["ADDR"]


def assert_in(server, how, is_listed):
    """A connection from FRONT on which it has said, or tried to say, who the client is."""
    _, line, refusal = ASSERTED[how]
    client = server.client(source=FRONT)
    if how == "proxy" and is_listed:
        client.send(line.encode() + b"\r\n")
    client.hello("front.example.test")
    if how != "proxy" or not is_listed:
        client.expect({"xclient": 220, "xforward": 250}[how] if is_listed else refusal, line)
    if how == "xclient" and is_listed:
        client.expect(250, "EHLO front.example.test")
    return client


@pytest.mark.parametrize("kind", sorted(RELAYS))
@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("how", sorted(ASSERTED))
def test_who_may_do_what(target, postern, how, is_listed, kind):
    """Peer in or out of the list, times what it asserts, times what each target is told."""
    backend = target(ehlo=RELAYS[kind], proxy=kind == "proxy-v1")
    listed = f"{ASSERTED[how][0]} = {FRONT if is_listed else TRUSTED}\n"
    server = postern(relay_config(backend.address, f"identity = {kind}",
                                  route="@example.test target\n@"),
                     smtpd=listed + "etrn-from = 203.0.113.7\nrelay-from = 203.0.113.7\n"
                     "max-connections-per-client = 1\n")
    whom = SEEN.get((how, is_listed), dict.fromkeys(RELAYS, "peer"))
    is_client = is_listed and how != "xforward"     # rights and limits
    with assert_in(server, how, is_listed) as client:
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250 if is_client or kind != "xforward" else 550,
                      "RCPT TO:<joe@elsewhere.example>")
        assert ("ETRN" in keywords(client.expect(250, "EHLO x.example.org"))) is is_client
        second = server.client(source=FRONT)
        if is_client:       # the peer has no limit of its own, the client has
            second.close()
            with server.client(source=FRONT) as other:
                if how == "proxy":
                    other.send(ASSERTED[how][1].encode() + b"\r\n")
                    other.expect(421)
                else:
                    other.hello()
                    other.expect(421, ASSERTED[how][1])
        else:
            second.expect(421)
            second.close()
        port = client.port
    assert seen_by(backend, kind) == {"client": "203.0.113.7", "peer": FRONT}[whom[kind]]
    logged = server.wait_transaction()
    assert logged["client"] == ("203.0.113.7:4711" if is_client else f"{FRONT}:{port}")
    assert logged.get("peer") == (f"{FRONT}:{port}" if is_client else None)
    is_origin = how == "xforward" and is_listed
    assert logged.get("origin") == ("203.0.113.7:4711" if is_origin else None)

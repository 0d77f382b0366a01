# SPDX-License-Identifier: BSD-2-Clause
"""ETRN (RFC 1985): who may start which queue, what is answered, and that it starts."""
import pytest

from conftest import needs_root
from harness import recipe
from harness.control import Control, queue_id
from harness.dns import CLIENT
from harness.messages import PLAIN_MESSAGE, as_stored
from harness.postfix import Postfix
from harness.process import free_port
from harness.smtp import keywords

RELAYS = """
[relay "one"]
address = {one}
identity = none
retry = 1h
health-interval = 1h
[relay "two"]
address = {two}
identity = none
retry = 1h
health-interval = 1h
[route]
@example.test one
@.example.test one
@other.test two
@old.test @new.test
@new.test two
joe@single.test one
@refused.test reject "550 no mail"
"""

EVERYTHING = "etrn-from = 127.0.0.0/8\n"


def away():
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def server(postern):
    def make(etrn_from=EVERYTHING, one=None, two=None, more="", **options):
        running = postern(RELAYS.format(one=one or away(), two=two or away()) + more,
                          smtpd=etrn_from, **options)
        running.log.wait_line(r" start .*role=(all|runner) ")
        Control(running).text("flush", "@nowhere.test")   # answered when the queue has been read
        return running
    return make


def spool(server, *recipients):
    with server.client() as client:
        client.hello()
        return queue_id(client.mail(PLAIN_MESSAGE, recipients=recipients))


@pytest.fixture
def greeted():
    made = []

    def make(server, source=None):
        client = server.client(source=source)
        made.append(client)
        client.hello()
        return client
    yield make
    for client in made:
        client.close()


def test_announced_to_those_who_may(server):
    """EHLO has ETRN, without parameters, for peers in etrn-from and for no others."""
    running = server(etrn_from=f"etrn-from = {CLIENT}/32 example.test\n")
    with running.client(source=CLIENT) as client:
        client.expect(220)
        assert keywords(client.expect(250, "EHLO client"))["ETRN"] == ""
    with running.client() as client:
        client.expect(220)
        assert "ETRN" not in keywords(client.expect(250, "EHLO client"))
        assert client.expect(459, "ETRN example.test").raw.startswith(b"459 4.7.1 ")
    hidden = server(etrn_from=EVERYTHING + "hide = ETRN\n")
    with hidden.client() as client:
        assert "ETRN" not in keywords(client.hello())
    nobody = server(etrn_from="")
    with nobody.client() as client:
        assert "ETRN" not in keywords(client.hello())
        client.expect(459, "ETRN example.test")


@pytest.mark.parametrize("line, code", [
    ("ETRN", 500), ("ETRN ", 500), ("ETRN example.test other.test", 500), ("ETRN @", 501),
    ("ETRN #", 501), ("ETRN -x.test", 501), ("ETRN [127.0.0.1]", 501), ("ETRN joe@a.test", 501),
    ("ETRN 127.0.0.1", 501), ("etrn example.test", 251), ("ETRN EXAMPLE.test", 251),
    ("ETRN @example.test", 251), ("ETRN a.example.test", 251), ("ETRN @a.b.example.test", 251),
    ("ETRN single.test", 251), ("ETRN old.test", 251), ("ETRN #one", 251),
    ("ETRN #ONE", 458), ("ETRN #three", 458), ("ETRN #example.test", 458),
    ("ETRN unknown.test", 459), ("ETRN refused.test", 459), ("ETRN @test", 459),
    ("ETRN @com", 459), ("ETRN test", 459)])
def test_syntax_and_entitlement(server, greeted, line, code):
    """Each form; what the tables do not route is nobody's, and @com never."""
    client = greeted(server())
    client.expect(code, line)
    client.expect(250, "NOOP")


@pytest.mark.parametrize("line, code", [
    ("ETRN example.test", 251), ("ETRN @example.test", 251), ("ETRN @a.example.test", 251),
    ("ETRN a.example.test", 459), ("ETRN other.test", 459), ("ETRN @test", 459),
    ("ETRN #one", 459), ("ETRN #two", 251), ("ETRN #TWO", 459), ("ETRN #three", 459),
    ("ETRN #gone", 458)])
def test_entitled_by_name(server, greeted, line, code):
    """An entry that names domains and targets entitles to these alone; to nobody else does it show
    which targets there are."""
    client = greeted(server(etrn_from='etrn-from = 127.0.0.1 example.test "#two" "#gone"\n'))
    client.expect(code, line)


@pytest.mark.parametrize("node", ["#one", "#three"])
def test_others_learn_nothing(server, greeted, node):
    """Who may not ask hears the same of a target that is there and of one that is not."""
    client = greeted(server(etrn_from=f"etrn-from = {CLIENT}\n"))
    assert client.expect(459, f"ETRN {node}").text == "4.7.1 Node not allowed: not for you to ask"


def test_when(server, greeted):
    """Not before EHLO, not in a transaction; it counts as a command without mail."""
    running = server(etrn_from=EVERYTHING + "max-junk-commands = 4\n")
    with running.client() as client:
        client.expect(220)
        client.expect(503, "ETRN example.test")
    client = greeted(running)
    client.expect(250, "MAIL FROM:<>")
    assert b" 5.5.1 " in client.expect(503, "ETRN example.test").raw
    client.expect(250, "RSET")
    client.expect(251, "ETRN example.test")
    client.expect(421, "ETRN example.test")


def test_octet_by_octet(server, greeted):
    """A command that comes in pieces is the same command."""
    client = greeted(server())
    client.send_octet_by_octet(b"ETRN @a.example.test\r\n")
    assert client.expect(251).text.endswith("for node @a.example.test")


def test_pipelined(server, greeted):
    """Replies in the order of commands."""
    running = server()
    spool(running, "joe@example.test")
    client = greeted(running)
    client.send(b"NOOP\r\nETRN other.test\r\nETRN example.test\r\nVRFY x\r\nQUIT\r\n")
    assert [client.reply().code for _ in range(5)] == [250, 251, 253, 252, 221]


def test_numbers(server, greeted):
    """253 with how many messages, by original and by routed domain; 251 when none; as often as
    one asks."""
    running = server()
    spool(running, "joe@example.test")
    spool(running, "joe@example.test", "jane@example.test")
    spool(running, "joe@a.example.test")
    spool(running, "joe@old.test")
    client = greeted(running)
    for _ in range(2):
        for node, count in (("example.test", 2), ("@example.test", 3), ("a.example.test", 1),
                            ("old.test", 1), ("new.test", 1), ("#one", 3), ("#two", 1)):
            assert client.expect(253, f"ETRN {node}").text.endswith(
                f"OK, {count} pending messages for node {node} started")
        client.expect(251, "ETRN other.test")
    assert len(Control(running).queue()) == 4
    assert [e["reply"] for e in running.events("etrn")][:2] == ["253", "253"]


def test_starts_one_queue_alone(server, greeted, target):
    """What was asked for is delivered, on another connection; the rest waits on."""
    ports = free_port(), free_port()
    running = server(one=f"127.0.0.1:{ports[0]}", two=f"127.0.0.1:{ports[1]}")
    spool(running, "joe@example.test")
    waiting = spool(running, "joe@other.test")
    one = target(address=("127.0.0.1", ports[0]))
    target(address=("127.0.0.1", ports[1]))
    client = greeted(running)
    client.expect(253, "ETRN example.test")
    running.wait_event("delivered")
    assert one.wait_ended(1)[0].content.endswith(PLAIN_MESSAGE)
    client.expect(251, "ETRN example.test")
    assert list(Control(running).queue()) == [waiting]


def test_workers(server, greeted):
    """A worker process asks the runner."""
    running = server(core="workers = 2\n")
    Control(running).wait_queue([spool(running, "joe@example.test")])
    with running.client() as client:
        client.hello()
        while client.command("ETRN example.test").code == 458:
            pass   # it has not found the runner yet
    for _ in range(4):
        client = greeted(running)
        client.expect(253, "ETRN example.test")
        client.expect(251, "ETRN other.test")


@needs_root
def test_postfix_comes_up_late(postern):
    """Mail for a Postfix that is away is kept; once it is there, ETRN has it delivered whole."""
    postfix = Postfix(recipe.put_in(recipe.block("xforward", "main.cf"), networks="127.0.0.9/32"),
                      recipe.block("xforward", "master.cf"), is_started=False)
    try:
        running = postern(RELAYS.format(one=postfix.address, two=away()), smtpd=EVERYTHING)
        ids = [spool(running, "joe@example.test"), spool(running, "jane@example.test")]
        postfix.start()
        assert set(Control(running).queue()) == set(ids)
        with running.client() as client:
            client.hello()
            client.expect(253, "ETRN example.test")
        running.wait_event("delivered", count=2)
        postfix.log.wait_line("status=sent", count=2)
        for user in ("joe", "jane"):
            message, = postfix.maildir(user).messages()
            assert message.raw.endswith(as_stored(PLAIN_MESSAGE))
        assert Control(running).queue() == {}
    finally:
        postfix.stop()

# SPDX-License-Identifier: BSD-2-Clause
"""What other people's mail servers and programs make of what postern tells them, and tell it."""
import pytest

from conftest import needs_unpacked, relay_config
from harness.exim import Exim
from harness.interop import PROGRAMS, SERVERS, Mail
from harness.messages import DOTTED_MESSAGE, PLAIN_MESSAGE, as_stored
from harness.opensmtpd import Opensmtpd
from harness.process import free_port
from harness.workers import wait_for
from peers.client import Client

LMTP = '[smtpd "lmtp"]\nprotocol = lmtp\nlisten-port = 127.0.0.1:{port}\n'
# What becomes of three recipients, whose targets answer the end of data in three ways.
OUTCOMES = {"joe@good.test": "250 2.0.0 taken", "jane@bad.test": "550 5.7.1 not wanted",
            "jim@full.test": "452 4.2.2 no room"}
TOLD = {
    "postfix": [r"to=<joe@good\.test>.* status=sent \(250 2\.0\.0 taken\)",
                r"to=<jane@bad\.test>.* status=bounced .*said: 550 5\.7\.1 not wanted",
                r"to=<jim@full\.test>.* status=deferred .*said: 452 4\.2\.2 no room"],
    "exim": [r"[=-]> joe@good\.test .*250 2\.0\.0 taken",
             r"\*\* jane@bad\.test .*550 5\.7\.1 not wanted",
             r"== jim@full\.test .*452 4\.2\.2 no room"],
    "opensmtpd": [r'to=<joe@good\.test> .*result="Ok" stat="250 2\.0\.0 taken',
                  r'to=<jane@bad\.test> .*result="PermFail" stat="550 5\.7\.1 not wanted',
                  r'to=<jim@full\.test> .*result="TempFail" stat="452 4\.2\.2 no room']}


@pytest.fixture
def run():
    """Starts servers: run(Exim, next_hop, "lmtp")."""
    made = []

    def make(kind, *arguments):
        made.append(kind(*arguments))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.fixture
def three(target, postern):
    """A postern with the three targets; the port of its LMTP listener too."""
    sections, routes = "", "[route]\n"
    for address, words in OUTCOMES.items():
        name = address.partition("@")[2].partition(".")[0]
        sections += f'[relay "{name}"]\naddress = {target().on("end", words).address}\n'
        routes += f"@{name}.test {name}\n"
    port = free_port()
    return postern(LMTP.format(port=port) + sections + routes), port


def hand_over(server, content=PLAIN_MESSAGE, recipients=tuple(OUTCOMES)):
    with Client(server) as client:
        client.hello()
        assert client.mail(content, recipients=recipients).code == 250
        client.quit()


@needs_unpacked
@pytest.mark.parametrize("listener", ["smtp", "lmtp"])
@pytest.mark.parametrize("kind", SERVERS)
def test_lmtp_client_hears_of_each(run, three, kind, listener):
    """A server that delivers by LMTP does with each recipient what its own target said."""
    server, port = three
    client = run(SERVERS[kind], port if listener == "lmtp" else server.port, "lmtp")
    # OpenSMTPD's client gives up where two of these replies come at once: a message for each.
    for group in [[one] for one in OUTCOMES] if kind == "opensmtpd" else [list(OUTCOMES)]:
        hand_over(client.server, recipients=group)
    for line in TOLD[kind]:
        client.wait_log(line)


@needs_unpacked
def test_mail_lmtp_of_opensmtpd(run, target, postern):
    """The program that OpenSMTPD starts as a delivery agent."""
    backend, port = target(), free_port()
    postern(LMTP.format(port=port) + f'[relay "target"]\naddress = {backend.address}\n'
            "[route]\n@example.test target\n")
    client = run(Opensmtpd, port, "mda")
    hand_over(client.server, recipients=["joe@example.test"])
    client.wait_log("result=Ok stat=Delivered")
    assert backend.accepted[0].content.endswith(PLAIN_MESSAGE)
    assert "<joe@example.test>" in backend.accepted[0].rcpts[0]


@pytest.mark.parametrize("stage", ["RCPT", "end"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_hears_the_targets_words(target, to_target, program, stage):
    """What the target says reaches whoever sends, as a failure."""
    server = to_target(target().on(stage, "250 2.0.0 Ok", "550 5.7.1 Not from you"))
    hand_over(server.server, recipients=["joe@example.test"])       # the target is known now
    said = PROGRAMS[program](server.server, "smtp", Mail(PLAIN_MESSAGE, ("joe@example.test",)))
    assert "550" in said and "Not from you" in said


@needs_unpacked
def test_exim_and_chunks(run, postern):
    """Between two Exims content comes by BDAT and leaves by BDAT; each says so in its log (K)."""
    behind = run(Exim)
    server = postern(relay_config(behind.address, "identity = none"))
    front = run(Exim, server.port)
    hand_over(front.server, DOTTED_MESSAGE, ["joe@example.test"])
    front.wait_log(r"=> joe@example\.test .* K C=\"250")
    behind.wait_log(r"<= sender@example\.org .* K ")
    wait_for(behind.maildir("joe").messages)
    message, = behind.maildir("joe").messages()
    assert message.sent == as_stored(DOTTED_MESSAGE)


@needs_unpacked
@pytest.mark.parametrize("kind", [Exim, Opensmtpd])
def test_server_is_away(run, postern, kind):
    """What it cannot take is in its mailbox once it is back."""
    behind = run(kind)
    server = postern(relay_config(behind.address, "identity = none", "on-failure = spool",
                                  "health-interval = 1s", "retry = 1s"))
    behind.process.terminate()
    hand_over(server.server, recipients=["joe@example.test"])
    server.wait_event("spooled")
    behind.start()
    server.wait_event("delivered")
    wait_for(behind.maildir("joe").messages)
    message, = behind.maildir("joe").messages()
    assert message.sent == as_stored(PLAIN_MESSAGE)

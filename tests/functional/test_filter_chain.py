# SPDX-License-Identifier: BSD-2-Clause
"""Postfix in front of postern in front of Postfix, set up as doc/postfix.md says."""
import types

import pytest

from conftest import needs_root
from harness import recipe
from harness.dns import CLIENT, TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.postfix import Postfix
from harness.process import free_port
from peers.client import Client

pytestmark = needs_root
MAIN_CF = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n" \
          f"mynetworks = {TRUSTED}/32\n"


@pytest.fixture
def chain(postern):
    """Starts one of the two ways; the first smtpd is at `front`."""
    made = []

    def make(way):
        front, behind = free_port(), free_port()
        master_cf = recipe.put_in(recipe.block(way, "master.cf"), front=f"127.0.0.1:{front}",
                                  filter_port=behind)
        made.append(Postfix(MAIN_CF, master_cf))
        text = recipe.put_in(recipe.block("before-queue", "postern.cf"), filter_port=behind,
                             postfix_port=made[-1].port)
        listener, _, rest = text.partition("[relay ")
        smtpd = "\n".join(listener.splitlines()[1:])
        server = postern("[relay " + rest, smtpd=smtpd)
        return types.SimpleNamespace(postern=server, postfix=made[-1], front=("127.0.0.1", front))

    yield make
    for one in made:
        one.stop()


def send(chain):
    with Client(chain.front, source=CLIENT) as client:
        client.hello("helo.example.org")
        return client.mail(PLAIN_MESSAGE), client.port


@pytest.mark.parametrize("way", ["before-queue", "after-queue"])
def test_client_is_seen_throughout(chain, way):
    """postern and the second smtpd know whose mail it is; the message arrives once."""
    made = chain(way)
    reply, port = send(made)
    assert reply.code == 250
    logged = made.postern.wait_transaction()
    assert logged["client"].startswith("127.0.0.1:")
    assert logged["origin"] == f"{CLIENT}:{port}"
    assert (logged["origin-helo"], logged["origin-proto"]) == ("helo.example.org", "ESMTP")
    made.postfix.log.wait_line(rf"orig_client=\S*\[{CLIENT}\]")
    made.postfix.log.wait_line(r"to=<joe@example.test>.*status=sent \(delivered to maildir")
    message, = made.postfix.maildir("joe").messages()
    assert PLAIN_MESSAGE.partition(b"\r\n\r\n")[2].strip() in message.raw.replace(b"\n", b"\r\n")
    assert any("(postern)" in received for received in message.received)


def test_refusal_behind_reaches_the_client(chain):
    """Before the queue the client hears the last smtpd's word, and nothing stays anywhere."""
    made = chain("before-queue")
    with Client(made.front, source=CLIENT) as client:
        client.hello("helo.example.org")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.command("RCPT TO:<nobody@example.test>").code == 550
        client.expect(250, "RSET")
        assert client.mail(PLAIN_MESSAGE).code == 250


def test_postern_is_away(chain):
    """Before the queue the client is told to come again."""
    made = chain("before-queue")
    made.postern.stop()
    with Client(made.front, source=CLIENT) as client:
        client.hello("helo.example.org")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        replies = [client.command("RCPT TO:<joe@example.test>")]
        if replies[0].code == 250:
            replies.append(client.command("DATA"))
        assert replies[-1].code == 451

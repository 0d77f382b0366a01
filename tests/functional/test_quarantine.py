# SPDX-License-Identifier: BSD-2-Clause
"""What a milter has quarantined waits in the spool until an operator or its time says otherwise."""
import pytest

from harness.control import Control
from harness.messages import PLAIN_MESSAGE

EVERYTHING = ("negotiate", "", "actions", "all")
QUARANTINE = (EVERYTHING, ("eom", "", "addheader", "X-Seen", "yes"),
              ("eom", "", "quarantine", "looks odd"))
SEEN = PLAIN_MESSAGE.replace(b"\r\n\r\n", b"\r\nX-Seen: yes\r\n\r\n", 1)


@pytest.fixture
def holding(postern, target, busy):
    """One target, and a milter that wants everything held."""
    def make(core=""):
        backend = target()
        milter = busy(*QUARANTINE)
        server = postern(f'[milter "own"]\naddress = {milter.for_postern}\n'
                         f'[relay "one"]\naddress = {backend.address}\nreceived = never\n'
                         "[route]\n@ one\n",
                         core=core, smtpd="filter = own\n")
        return server, backend
    return make


def send(server, *recipients):
    """Its queue id, which the client hears."""
    with server.client() as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE, recipients=recipients or ["joe@one.test"])
    assert reply.code == 250
    return reply.text.split()[-1]


def test_outlives_a_crash(holding):
    """Killed at once behind the 250: it is held all the same, and released as the milter made it."""
    server, backend = holding()
    held = send(server)
    server.process.child.kill()
    server.process.wait_exit()
    server.start()
    server.is_over = False
    control = Control(server)
    assert control.queue()[held]["state"] == "quarantined"
    assert "looks odd" in control.text("show", held)
    assert control.run("cat", held).stdout == SEEN
    assert backend.accepted == []
    control.text("release", held)
    backend.wait(lambda: backend.accepted)
    assert backend.accepted[-1].content == SEEN


def test_expires(holding):
    """Its time is over: removed, with a line; what an operator holds stays."""
    server, backend = holding(core="quarantine-expire = 3s")
    mine = send(server)
    Control(server).text("hold", mine)
    gone = send(server)
    assert server.wait_event("expired", timeout_s=60)["transaction"] == gone
    control = Control(server)
    control.wait_queue([mine])
    assert backend.accepted == [] and server.events("bounced") == []


def test_of_one_target(postern, target, busy):
    """One target's milter wants it held: the other has it at once."""
    backends = [target(), target()]
    milter = busy(*QUARANTINE)
    server = postern(f'[milter "own"]\naddress = {milter.for_postern}\n'
                     f'[relay "one"]\naddress = {backends[0].address}\nreceived = never\n'
                     "filter = own\n"
                     f'[relay "two"]\naddress = {backends[1].address}\nreceived = never\n'
                     "[route]\n@one.test one\n@two.test two\n")
    send(server, "joe@one.test", "joe@two.test")
    held, = Control(server).queue()
    assert backends[0].accepted == [] and backends[1].accepted[0].content == PLAIN_MESSAGE
    Control(server).text("release", held)
    backends[0].wait(lambda: backends[0].accepted)
    assert backends[0].accepted[-1].content == SEEN
    assert len(backends[1].accepted) == 1

# SPDX-License-Identifier: BSD-2-Clause
"""What targets announce of sizes and limits: passed on, obeyed, remembered, told to all processes."""
from conftest import needs_root, relay_config
from harness.control import Control
from harness.messages import PLAIN_MESSAGE
from harness.workers import Workers, wait_for
from peers.answers import Hold
from peers.target import DEFAULT_EHLO

LIMITED = (*DEFAULT_EHLO, "DSN", "SIZE 100000", "LIMITS MAILMAX=3 RCPTMAX=2")
TOLD = {"SIZE 100000", "DSN", "LIMITS RCPTMAX=2"}


def announced(server):
    with server.client() as client:
        return set(client.hello().texts)


def meet(server, recipient="joe@example.test"):
    """Has the target seen."""
    with server.client() as client:
        client.hello()
        client.envelope(recipients=[recipient])
        client.expect(250, "RSET")
        client.quit()


def test_all_processes_know_and_so_does_the_next_start(target, dns):
    """One worker meets the target; whoever serves the next client announces what it said."""
    unseen = Hold("220 now")
    there = target(ehlo=LIMITED).on("greeting", unseen)
    server = Workers(relay_config(there.address, "identity = none"), dns.address, count=3)
    try:
        assert not TOLD & announced(server)
        unseen.release()
        meet(server)
        server.wait_event("transaction")
        for _ in range(12):         # most of them at other workers
            wait_for(lambda: TOLD <= announced(server))
        connections = len(there.connections)
        control = Control(server)
        wait_for(lambda: {"SIZE=100000", "LIMITS", "MAILMAX=3", "RCPTMAX=2", "DSN"}
                 <= set(control.json("targets")[0]["capabilities"].split()))    # told by the worker
        row, = control.json("targets")
        assert [kept["keyword"] for kept in row["withheld"]] == ["BINARYMIME"]
        facts = server.directory / "spool/targets"
        wait_for(lambda: facts.exists() and "MAILMAX=3" in facts.read_text())
        server.stop()
        facts.write_text("joe's accepted nonsense\n" + facts.read_text())
        server.start()
        server.is_over = False
        assert TOLD <= announced(server)
        assert len(there.connections) - connections <= 3        # warm ones, which nobody waited for
        server.stop()
    finally:
        server.remove()


def test_an_old_file_is_read(target, postern):
    """A file without such lines, and then one with them."""
    unseen = Hold("220 now")
    there = target(ehlo=LIMITED).on("greeting", unseen)
    server = postern(relay_config(there.address, "identity = none"), is_started=False)
    (server.directory / "spool").mkdir(mode=0o700)
    (server.directory / "spool/targets").write_text("target xclient\naccepted 1 target joe@example.test\n")
    server.start()
    assert not TOLD & announced(server)
    unseen.release()
    meet(server)
    assert TOLD <= announced(server)


def test_what_changes_is_announced(target, postern):
    """The last EHLO counts."""
    there = target(ehlo=LIMITED)
    server = postern(relay_config(there.address, "identity = none", "idle-connections = 0"))
    meet(server)
    assert TOLD <= announced(server)
    there.ehlo = (*DEFAULT_EHLO, "SIZE 200000")
    meet(server)
    assert "SIZE 200000" in announced(server)
    assert not {line.split()[0] for line in announced(server)} & {"LIMITS", "DSN"}


def test_beyond_rcptmax(target, postern):
    """452 to the client, who comes again; the target hears no more than it takes."""
    there = target(ehlo=LIMITED)
    server = postern(relay_config(there.address, "identity = none"))
    names = [f"joe{i}@example.test" for i in range(5)]
    with server.client() as client:
        client.hello()
        left = names
        while left:
            client.expect(250, "MAIL FROM:<sender@example.org>")
            codes = [client.command(f"RCPT TO:<{name}>").code for name in left]
            assert codes == [250] * len(left[:2]) + [452] * len(left[2:])
            assert client.data(PLAIN_MESSAGE).code == 250
            left = left[2:]
        client.quit()
    assert [t.rcpts for t in there.accepted] == [
        [f"RCPT TO:<{name}>" for name in names[i:i + 2]] for i in (0, 2, 4)]


def test_why_not(target, postern):
    """posternctl names the target that keeps a listener from announcing a keyword."""
    able, plain, unseen = target(ehlo=LIMITED), target(ehlo=("PIPELINING",)), target()
    text = "".join(f'[relay "{name}"]\naddress = {one.address}\nidentity = none\n'
                   for name, one in (("able", able), ("plain", plain), ("unseen", unseen)))
    server = postern(text + "[route]\n@a.test able\n@p.test plain\n@u.test unseen\n", smtpd="hide = LIMITS")
    meet(server, "joe@a.test")
    meet(server, "joe@p.test")
    control = Control(server)
    rows = {row["name"]: row["withheld"] for row in control.json("targets")}
    assert [kept["keyword"] for kept in rows["able"]] == ["BINARYMIME"]    # it takes no chunks
    assert {(w["keyword"], w["reason"], w["listener"]) for w in rows["plain"]} == {
        (keyword, "not announced", "mx") for keyword in ("8BITMIME", "BINARYMIME", "DSN")}
    assert {(w["keyword"], w["reason"]) for w in rows["unseen"]} == {
        (keyword, "not seen yet") for keyword in ("8BITMIME", "BINARYMIME", "DSN")}
    lines = [line.split() for line in control.text("targets").splitlines()]
    assert ["DSN", "not", "seen", "yet", "mx"] in lines
    assert ["DSN", "not", "announced", "mx"] in lines


def test_why_not_what_only_proxies_say(target, postern):
    """XRCPTFORWARD is withheld where somebody might say it."""
    there = target(ehlo=LIMITED)
    server = postern(relay_config(there.address, "identity = none"), smtpd="xclient-from = 127.0.0.1")
    meet(server)
    row, = Control(server).json("targets")
    assert [kept["keyword"] for kept in row["withheld"]] == ["BINARYMIME", "XRCPTFORWARD"]


@needs_root
def test_the_size_of_a_real_postfix(xforward_postfix, postern):
    """Postfix' limit is announced; a message that says it is larger gets Postfix' own words."""
    server = postern(relay_config(xforward_postfix.address, "identity = none"), smtpd="max-message-size = 200m")
    meet(server)
    sizes = [line for line in announced(server) if line.startswith("SIZE ")]
    limit = int(sizes[0].split()[1])
    assert limit == 104857600
    with server.client() as client:
        client.hello()
        client.expect(250, f"MAIL FROM:<sender@example.org> SIZE={limit + 1}")
        reply = client.expect(552, "RCPT TO:<joe@example.test>")
        assert reply.text == "5.3.4 Message size exceeds fixed limit"
        client.quit()

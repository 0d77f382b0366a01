# SPDX-License-Identifier: BSD-2-Clause
"""postern-milter beside a real Postfix: its filters are those of tests/unit/words_kind.c."""
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import socket

import pytest

from conftest import ending_well, needs_root
from harness.messages import PLAIN_MESSAGE
from harness.milter import SETTINGS, PosternMilter, program
from harness.postern import environment
from harness.postfix import Postfix, queue_id
from peers.client import Client
from test_spf import needs_suite, run_suite, through_smtp

pytestmark = needs_root

MASTER_CF = """
10025     inet  n       -       n       -       -       smtpd
"""
WORDS = '[words "words"]\n'


@pytest.fixture
def milter(dns):
    """Starts postern-milters."""
    with ending_well() as made:
        def make(text=WORDS, resolver=None, **options):
            made.append(PosternMilter(text, resolver or dns.address, **options))
            return made[-1]
        yield make


@pytest.fixture
def behind():
    """Starts a Postfix that asks this postern-milter."""
    made = []

    def make(milter, **settings):
        asks = {**SETTINGS, "smtpd_milters": milter.socket,
                "smtpd_authorized_xclient_hosts": "127.0.0.1"}
        made.append(Postfix("", MASTER_CF, {**asks, **settings}))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.fixture
def chain(milter, behind):
    server = milter()
    return server, behind(server)


def message(subject="hello", body="One line.", more=""):
    return (f"From: joe@example.org\r\nSubject: {subject}\r\n{more}\r\n{body}\r\n").encode()


def begin(postfix, sender="sender", **options):
    client = Client(postfix.server, **options)
    client.hello()
    client.expect(250, f"MAIL FROM:<{sender}@example.org>")
    return client


def test_what_filters_add(chain):
    """Lines stand at the very top, in order, with their folds; the log tells of the message."""
    server, postfix = chain
    with begin(postfix) as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(message())
        client.quit()
    assert reply.code == 250, reply.text
    raw = postfix.delivered(queue_id(reply)).raw
    head = raw[raw.index(b"Authentication-Results"):]
    assert head.startswith(b"Authentication-Results: postern.example.test;\n"
                           b"\twords=pass (100%)\nX-Words: second\nReceived: from "), raw
    line = server.wait_transaction()
    assert line["queue"] == queue_id(reply)
    assert line["from"] == "<sender@example.org>"
    assert line["rcpts"] == "<joe@example.test>" and line["nrcpt"] == "1"
    assert line["filters"] == "words:ok"
    assert line["outcome"] == "accepted"
    assert line["client"].startswith("127.0.0.1:")


def test_forged_results_are_taken_out(chain):
    """Authentication-Results in our name go, wherever they stand among others; more than a hundred are
    refused."""
    _, postfix = chain
    ours = "Authentication-Results: (x) Postern.Example.TEST; spf=pass\r\n"
    other = "Authentication-Results: other.example.test;\r\n\tspf=fail\r\n"
    with begin(postfix) as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(message(more=ours + other + "authentication-results:\r\n"
                                    " postern.example.test 1; x=y\r\n" + ours + other))
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(message(more=ours * 101)).code == 550
    raw = postfix.delivered(queue_id(reply)).raw
    assert raw.count(b"Authentication-Results: other.example.test;\n\tspf=fail\n") == 2
    assert raw.lower().count(b"authentication-results:") == 3
    assert raw.lower().count(b"postern.example.test") == 1


@pytest.mark.parametrize("sender,words,outcome", [
    ("refuse-mail", ["550-5.7.1 Not 100% sure", "550 5.7.1 but no"],
     "550 5.7.1 Not 100% sure / 5.7.1 but no"),
    ("defer-mail", ["451 4.7.1 Later"], "451 4.7.1 Later"),
])
def test_sender_refused(chain, sender, words, outcome):
    """At MAIL, in the filter's words; the next message of the session is judged anew."""
    server, postfix = chain
    with Client(postfix.server) as client:
        client.hello()
        reply = client.command(f"MAIL FROM:<{sender}@example.org>")
        assert reply.raw.decode().splitlines() == words
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(message()).code == 250
    assert server.wait_event("filter")["stage"] == "mail"
    assert server.wait_transaction()["outcome"] == outcome
    assert server.wait_transaction(2)["outcome"] == "accepted"


def test_helo_refused(chain):
    """At HELO, for all that the client does; Postfix keeps the words for MAIL."""
    server, postfix = chain
    with Client(postfix.server) as client:
        client.expect(220)
        client.command("EHLO refuse-helo")
        assert client.command("MAIL FROM:<sender@example.org>").text == "5.7.1 Not this name"
        assert client.command("RCPT TO:<joe@example.test>").code == 503
    assert server.wait_event("filter")["stage"] == "helo"


def test_recipient_refused(chain):
    """At RCPT, for this recipient; the others get the message."""
    server, postfix = chain
    with begin(postfix) as client:
        assert client.command("RCPT TO:<bulk@example.test>").text == "5.7.1 Not to bulk"
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(message())
    assert reply.code == 250
    postfix.delivered(queue_id(reply))
    assert server.wait_transaction()["rcpts"] == "<bulk@example.test>,<joe@example.test>"


def test_data_refused(chain):
    server, postfix = chain
    with begin(postfix, "refuse-data") as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.command("DATA").text == "5.7.1 Not now"
    assert server.wait_transaction()["outcome"] == "550 5.7.1 Not now"


@pytest.mark.parametrize("refused", [message(subject="buy\r\n spam"),
                                     message(body="a\r\nb\r\nworm\r\n" + "c" * 70000)])
def test_message_refused(chain, refused):
    """At the end of data, for what stands in a folded field or the body; nothing is delivered."""
    server, postfix = chain
    with begin(postfix) as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(refused)
        assert (reply.code, reply.text) == (550, "5.7.1 Not this message")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(message())
    assert reply.code == 250
    postfix.delivered(queue_id(reply))
    assert server.wait_event("filter")["stage"] == "end"
    assert server.wait_transaction()["outcome"] == "550 5.7.1 Not this message"


def test_filters_answer_late(chain):
    """Mail servers wait for an answer that comes later; meanwhile others are served."""
    server, postfix = chain
    with begin(postfix, "slow") as slow, begin(postfix) as quick:
        slow.send(b"RCPT TO:<joe@example.test>\r\n")
        quick.expect(250, "RCPT TO:<joe@example.test>")
        assert quick.data(message()).code == 250
        assert slow.reply().code == 250
        assert slow.data(message()).code == 250
    server.wait_transaction(2)


@pytest.mark.parametrize("on_error,code", [("defer", 451), ("pass", 250)])
def test_filters_never_answer(milter, behind, on_error, code):
    """A filter that says nothing is given up after its time, and on-error says what that means."""
    server = milter(WORDS + f"on-error = {on_error}\n")
    with begin(behind(server), "never") as client:
        assert client.command("RCPT TO:<joe@example.test>").code == code
    line = server.wait_event("filter")
    assert (line["word"], line["result"]) == ("timeout", "failed")


def test_who_is_judged(chain):
    """The client as the mail server has it from XCLIENT: address, name, HELO, login."""
    server, postfix = chain
    with Client(postfix.server) as client:
        client.hello()
        client.send(b"XCLIENT ADDR=192.0.2.7 PORT=4711 NAME=client.example.net LOGIN=me@a.b\r\n")
        client.hello("my.helo.example")
        client.expect(250, "MAIL FROM:<> SIZE=77 BODY=8BITMIME")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(message()).code == 250
    line = server.wait_transaction()
    assert line["client"] == "192.0.2.7:4711"
    assert line["name"] == "client.example.net"
    assert line["helo"] == "my.helo.example"
    assert line["login"] == "me@a.b"
    assert line["from"] == "<>"


def test_exempt(milter, behind):
    """Whom a filter spares it spares here too."""
    server = milter(WORDS + "exempt = @example.org\n")
    with begin(behind(server), "refuse-mail") as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        reply = client.data(message())
    assert reply.code == 250
    assert server.wait_transaction()["filters"] == "words:exempt"


def test_message_given_up(chain):
    """RSET, of which Postfix tells with its next words, and a connection that ends."""
    server, postfix = chain
    with begin(postfix) as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        client.expect(250, "RSET")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert server.wait_transaction()["outcome"] == "abandoned"
    assert server.wait_transaction(2)["outcome"] == "abandoned"


def test_many_at_once(chain):
    """Sixty sessions side by side, refused and accepted, each with its own answer."""
    server, postfix = chain
    clients = [begin(postfix) for _ in range(60)]
    for number, client in enumerate(clients):
        client.expect(250, "RCPT TO:<joe@example.test>")
        client.expect(354, "DATA")
        client.send(message("spam" if number % 2 else "hello") + b".\r\n")
    for number, client in enumerate(clients):
        assert client.reply().code == (550 if number % 2 else 250)
        client.close()
    server.wait_transaction(60)


def test_stop_waits_for_messages(chain):
    """TERM lets a message end that is under way, and takes no other."""
    server, postfix = chain
    with begin(postfix) as first, begin(postfix) as second:
        for client in (first, second):
            client.expect(250, "RCPT TO:<joe@example.test>")
        server.process.signal(signal.SIGTERM)
        assert first.data(message()).code == 250
        assert first.command("MAIL FROM:<sender@example.org>").code == 451
        assert second.data(message()).code == 250
    server.wait_stopped(timeout_s=3)


def test_stop_is_quick(chain):
    """Sessions without a message, and threads that wait, hold nothing up."""
    server, postfix = chain
    with Client(postfix.server) as idle, begin(postfix, "slow") as waiting:
        idle.hello()
        waiting.send(b"RCPT TO:<joe@example.test>\r\n")
        server.process.signal(signal.SIGTERM)
        while idle.command("MAIL FROM:<sender@example.org>").code == 250:
            idle.expect(250, "RSET")
        server.process.signal(signal.SIGINT)
        server.wait_stopped(timeout_s=3)
        assert waiting.reply().code in (250, 451)
        assert idle.command("MAIL FROM:<sender@example.org>").code == 451


def test_hup_and_usr1_end_nothing(chain):
    server, postfix = chain
    server.process.signal(signal.SIGHUP)
    server.process.signal(signal.SIGUSR1)
    with begin(postfix) as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(message()).code == 250
    server.wait_transaction()


def test_each_socket_has_a_process(milter, behind):
    """Two sockets; the one in a folder has the mode of socket-mode, and is taken over if stale."""
    server = milter(listen=["unix:/FOLDER/socket", "inet:0@127.0.0.1"], is_started=False)
    path = server.directory / "socket"
    server.config.write_text(server.config.read_text()
                             .replace("inet:0", f"inet:{server.milter_port}")
                             .replace("/FOLDER", str(server.directory))
                             .replace("filter = words", "filter = words\nsocket-mode = 0666"))
    for _ in range(2):
        server.start()
        assert path.stat().st_mode & 0o777 == 0o666
        server.process.signal(signal.SIGTERM)
        assert server.process.wait_exit() == 0
    server.start()
    for address in (f"unix:{path}", server.socket):
        with begin(behind(server, smtpd_milters=address)) as client:
            client.expect(250, "RCPT TO:<joe@example.test>")
            assert client.data(message("spam")).code == 550


PIDFD_GETFD = 438


def sockets_of(pid):
    """Those of another process, as our own."""
    process = os.pidfd_open(pid)
    for number in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
            fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, process, int(number), 0)
            assert fd >= 0, os.strerror(ctypes.get_errno())
            yield socket.socket(fileno=fd)
    os.close(process)


def test_answers_are_not_held_back(chain):
    """The verdict goes out at once behind the fields that filters add, not 40 ms later."""
    server, postfix = chain
    with begin(postfix) as client:
        client.expect(250, "RCPT TO:<joe@example.test>")
        found = [one for one in sockets_of(int(server.events("start")[0]["pid"]))
                 if one.family == socket.AF_INET and one.type == socket.SOCK_STREAM
                 and one.getsockname()[1] == server.milter_port]
        assert len(found) == 2        # it listens, and Postfix is there
        for one in found:
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            one.close()


def test_one_ends_with_the_other(milter, tmp_path):
    """A process that ends takes the others with it: who watches starts them all again."""
    server = milter(listen=[f"unix:{tmp_path}/a", f"unix:{tmp_path}/b"])
    os.kill(int(server.events("start")[0]["pid"]), signal.SIGKILL)
    assert server.process.wait_exit() == 70
    server.is_over = True


def test_exit_codes(milter, tmp_path):
    """sysexits, as postern has them; what is wrong is told."""
    server = milter()
    again = milter(is_started=False)
    again.config.write_text(server.config.read_text())
    done = again.run()
    assert (done.returncode, "cannot listen" in done.stderr) == (69, True)
    assert again.run("--check").returncode == 0
    assert again.run("--daemon").returncode == 64
    assert again.run("--wrong").returncode == 64
    assert again.run("--version").stdout.startswith("postern-milter ")
    assert "milter-server" in again.run("--help").stdout
    assert f'listen = inet:{server.milter_port}@127.0.0.1' in again.run("--dump").stdout
    for wrong in ("listen = inet:25", "listen = unix:relative", "filter = nobody",
                  "socket-mode = 888"):
        key = wrong.split()[0]
        again.config.write_text(re.sub(rf"(?m)^{key} = .*$", wrong, server.config.read_text())
                                + ("" if key != "socket-mode" else
                                   f'[milter-server "filters"]\n{wrong}\n'))
        assert again.run("--check").returncode == 78, wrong
    text = server.config.read_text()
    again.config.write_text(re.sub(r'\[milter-server[^[]*', "", text))
    assert again.run().returncode == 78


def test_miltertest(milter):
    """Seen by another mail server's side than Postfix's."""
    server = milter()
    script = pathlib.Path(__file__).with_name("data") / "words.lua"
    done = subprocess.run(["miltertest", "-D", f"port={server.milter_port}", "-s", script],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "all is right\n"), done.stderr
    server.wait_transaction(5)


# ---- [spf] ---------------------------------------------------------------------------------------

@pytest.fixture
def spf(milter, zone_dns):
    """A postern-milter as it is installed, with [spf]."""
    return milter('[spf "spf"]\n', filters="spf", kind="", resolver=zone_dns.address)


@needs_suite
def test_suite(spf, behind, zone_dns):
    """The RFC 7208 test suite gives the same under Postfix as through postern itself."""
    postfix = behind(spf, recipient_delimiter="+", smtpd_client_connection_count_limit="0")

    def result_of(mailbox):
        found = spf.log.wait_line(rf"transaction .*rcpts=<{re.escape(mailbox)}> .*filters=spf:(\S+)")
        return found.group(1)

    count, said, differing = run_suite(zone_dns, lambda case, serial: through_smtp(
        Client(postfix.server), f"joe+case{serial}@example.test", case, result_of))
    assert (count, said, differing) == (203, 201, [])


def test_needs_no_listener_of_smtp(tmp_path):
    """A file for postern-milter alone starts on a host whose name has no address."""
    config = tmp_path / "milter.cf"
    config.write_text("[core]\nhostname = no-address.invalid\nuser-id = root\n"
                      f'spool-directory = {tmp_path}/spool\n[milter-server "filters"]\n'
                      f"listen = unix:{tmp_path}/milter\nfilter = words\n" + WORDS)
    done = subprocess.run([program("words"), f"--config={config}", "--check"], capture_output=True,
                          text=True, env=environment(), timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")

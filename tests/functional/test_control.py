# SPDX-License-Identifier: BSD-2-Clause
"""posternctl: every command, with a server and without one."""
import contextlib
import json
import os
import pty
import random
import signal
import socket
import stat
import subprocess
import threading
import tty

import pytest

from conftest import needs_root
from harness import control
from harness.control import Control, queue_id
from harness.messages import DOTTED_MESSAGE, ODD_MESSAGE, PLAIN_MESSAGE, big_message
from harness.postern import environment
from harness.process import free_port
from peers.answers import Hold

NO_ID = "0" * 16

CONFIG = """
[relay "one"]
address = {one}
max-connections = 4
identity = none
retry = 1h
health-interval = 1h
[relay "two"]
address = {two}
identity = none
retry = 1h
health-interval = 1h
[relay "three"]
address = {two}
identity = none
[route]
@example.test one
@other.test two
"""


def away():
    """An address that nobody listens at."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def spooling(postern):
    """Starts a postern whose relays are away, unless addresses are given."""
    def make(one=None, two=None, **options):
        return postern(CONFIG.format(one=one or away(), two=two or away()), **options)
    return make


def spool(server, content=PLAIN_MESSAGE, recipients=("joe@example.test",)):
    """One more message in the queue; its id."""
    with server.client() as client:
        client.hello()
        return queue_id(client.mail(content, recipients=recipients))


def in_state(server, state):
    """Whether the server runs meanwhile: `live`, or `cold`."""
    if state == "cold":
        server.stop()
    return Control(server)


both = pytest.mark.parametrize("state", ["live", "cold"])


@both
def test_queue_and_show(spooling, state):
    """The queue lists what was acknowledged; show tells all of one message; cat is its octets."""
    server = spooling()
    first = spool(server, DOTTED_MESSAGE)
    second = spool(server, ODD_MESSAGE, ("joe@other.test", "jane@other.test", "bob@example.test"))
    ctl = in_state(server, state)

    entries = ctl.json("queue")
    assert [(e["id"], e["target"], e["recipients"]) for e in entries if e["id"] == first] == [
        (first, "one", 1)]
    assert sorted((e["target"], e["recipients"]) for e in entries if e["id"] == second) == [
        ("one", 1), ("two", 2)]
    assert {e["size"] for e in entries} == {len(DOTTED_MESSAGE), len(ODD_MESSAGE)}
    assert [e["id"] for e in entries] == sorted(e["id"] for e in entries)
    assert {e["from"] for e in entries} == {"sender@example.org"}
    assert {e["reply"] for e in entries} == {
        "451 4.4.1 No connection to the next host, try again later (Connection refused)"}
    lines = ctl.text("queue").splitlines()
    assert len(lines) == 5 and lines[0].split()[:3] == ["ID", "STATE", "TARGET"]
    assert first in lines[1] and "<sender@example.org>" in lines[1] and "451 4.4.1" in lines[1]
    octets = len(DOTTED_MESSAGE) + len(ODD_MESSAGE)
    assert lines[4] == f"-- 2 messages, 4 recipients, {octets} octets"

    shown, = ctl.json("show", second)
    assert (shown["from"], shown["listener"], shown["helo"]) == (
        "sender@example.org", "mx", "client.example.test")
    assert [(r["to"], r["target"]) for r in shown["recipients"]] == [
        ("joe@other.test", "two"), ("jane@other.test", "two"), ("bob@example.test", "one")]
    assert "<jane@other.test>" in ctl.text("show", second)
    assert "try again later (Connection refused)" in ctl.text("show", second)
    assert ctl.run("cat", first).stdout == DOTTED_MESSAGE
    assert ctl.run("cat", second).stdout == ODD_MESSAGE


@both
def test_hold_release_delete(spooling, state):
    """A held message is held until it is released; a deleted one is gone; a restart keeps it so."""
    server = spooling()
    kept, held, gone = spool(server), spool(server), spool(server)
    ctl = in_state(server, state)
    assert ctl.json("hold", held) == [{"held": held}]
    assert ctl.queue()[held]["state"] == "held"
    assert ctl.json("show", held)[0]["held"] is True
    assert ctl.text("delete", gone).split() == ["deleted:", gone]
    assert set(ctl.queue()) == {kept, held}
    assert "no such message" in ctl.error(66, "delete", gone)
    if state == "live":
        server.stop()
    server.start()
    assert ctl.queue()[held]["state"] == "held"
    assert set(ctl.queue()) == {kept, held}
    ctl.text("release", held)
    assert ctl.queue()[held]["state"] != "held"


@both
def test_reroute(spooling, target, state):
    """To another target by name, one message or a whole queue; it arrives there."""
    there = target()
    server = spooling(two=there.address)
    ids = {spool(server) for _ in range(3)}
    single = spool(server)
    ctl = in_state(server, state)
    assert ctl.json("reroute", single, "to", "two") == [{"rerouted": single}]
    moved = ctl.json("reroute", "#one", "to", "two")
    assert {m["rerouted"] for m in moved} == ids
    assert "no such target" in ctl.error(66, "reroute", single, "to", "four")
    assert "no such target" in ctl.error(66, "reroute", "#four")
    if state == "cold":
        assert {e["target"] for e in ctl.json("queue")} == {"two"}
        server.start()
    server.wait_event("delivered", count=4)
    assert len(there.wait_ended(4)) == 4


def test_reroute_to_a_maildir(postern, tmp_path):
    """It takes what it would take from the tables, and no name that leads out of it."""
    server = postern(CONFIG.format(one=away(), two=away()).replace(
        "[route]", f'[maildir "box"]\npath = {tmp_path}/mail/${{RCPT_LOCAL}}\n[route]'),
        core="bounce-relay = two\n")
    for recipient in ("joe@example.test", '"../out"@example.test', '"a/../../out"@example.test'):
        Control(server).text("reroute", spool(server, recipients=(recipient,)), "to", "box")
    server.wait_event("delivered")
    bounced = [server.wait_event("bounced", count=n + 1) for n in range(2)]
    assert all(b["reply"].startswith("553 5.1.3 ") for b in bounced)
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]
    assert [path.name for path in (tmp_path / "mail").iterdir()] == ["joe"]


@both
def test_reroute_leaves_other_targets_alone(spooling, state):
    """Of a message with two targets only what waits for the one that is named goes elsewhere."""
    server = spooling()
    shared = spool(server, recipients=("joe@example.test", "joe@other.test"))
    ctl = in_state(server, state)
    ctl.text("reroute", "#two", "to", "three")
    shown, = ctl.json("show", shared)
    assert [r["target"] for r in shown["recipients"]] == ["one", "three"]
    ctl.text("hold", shared)
    ctl.text("reroute", "#one", "to", "three")
    assert [(e["target"], e["state"], e["recipients"]) for e in ctl.json("queue")] == [
        ("three", "held", 2)]
    ctl.text("delete", shared)
    assert ctl.queue() == {}


@both
def test_reroute_keeps_the_members_of_a_list(postern, target, state):
    """Each member of a list stays who it was; who is no member any more stays where it is."""
    text = CONFIG.replace("[route]", "[route]\nlist@example.test joe@example.test, jane@other.test")
    server = postern(text.format(one=away(), two=away()))
    listed = spool(server, recipients=("list@example.test",))
    ctl = in_state(server, state)
    members = [("joe@example.test", "one"), ("jane@other.test", "two")]
    ctl.text("reroute", listed)
    shown, = ctl.json("show", listed)
    assert [(r["to"], r["target"]) for r in shown["recipients"]] == members
    server.config.write_text(server.config.read_text().replace("jane@other.test", "eve@other.test"))
    ctl = in_state(server, "cold")
    assert "no target" in ctl.error(69, "reroute", listed)
    shown, = ctl.json("show", listed)
    assert [(r["to"], r["target"]) for r in shown["recipients"]] == members


@both
def test_bounce(spooling, state):
    """A bounced message goes back to its sender: what is in the queue then is the report."""
    server = spooling()
    bounced = spool(server)
    ctl = in_state(server, state)
    ctl.text("bounce", bounced)
    queue = ctl.queue()
    assert bounced not in queue and len(queue) == 1
    report, = ctl.json("show", *queue)
    assert report["from"] == "" and report["report"] is True
    assert [r["to"] for r in report["recipients"]] == ["sender@example.org"]
    assert b"joe@example.test" in ctl.run("cat", *queue).stdout


def test_flush(spooling, target):
    """By id, domain, target, or all; what is flushed is delivered now."""
    port = free_port()
    server = spooling(one=f"127.0.0.1:{port}")
    ctl = Control(server)
    for _ in range(3):
        spool(server)
    spool(server, recipients=("joe@other.test",))
    assert "no such message" in ctl.error(66, "flush", NO_ID)
    assert "no such target" in ctl.error(66, "flush", "#nobody")
    assert set(ctl.json("flush", "@sub.example.test")[0].values()) == {0}
    assert ctl.json("flush", "#two") == [
        {"flushed": 1, "started": 0, "probed": 1, "running": 0, "held": 0, "left": 0}]
    ctl.text("hold", ctl.json("queue")[0]["id"])
    assert ctl.json("flush", "--all")[0]["held"] == 1 and "held:       1" in ctl.text("flush", "--all")
    ctl.text("release", ctl.json("queue")[0]["id"])
    there = target(address=("127.0.0.1", port))
    assert ctl.json("flush", "@EXAMPLE.test")[0]["flushed"] <= 3
    server.wait_event("delivered", count=3)
    assert len(there.wait_ended(3)) == 3
    assert [e["target"] for e in ctl.json("queue")] == ["two"]


@both
def test_queue_is_empty(spooling, state):
    """It says so, and whether it asked a server or the spool."""
    ctl = in_state(spooling(), state)
    for words in (("queue",), ("queue", "--shape")):
        done = ctl.run(*words)
        assert done.stdout == b"queue is empty\n"
        assert (b"no server runs here, the spool itself is asked" in done.stderr) == (state == "cold")
    assert ctl.json("queue") == ctl.json("queue", "--shape") == []


@both
def test_shape(spooling, state):
    """Messages by target and age, as qshape has them."""
    server = spooling()
    spool(server)
    spool(server, recipients=("joe@example.test", "jane@other.test"))
    ctl = in_state(server, state)
    lines = [line.split() for line in ctl.text("queue", "--shape").splitlines()]
    assert lines[0][:4] == ["TARGET", "TOTAL", "5m", "10m"] and len(lines[0]) == 12
    assert [line[:4] for line in lines[1:]] == [
        ["TOTAL", "2", "2", "0"], ["one", "2", "2", "0"], ["two", "1", "1", "0"]]
    rows = ctl.json("queue", "--shape")
    assert [(row["target"], row["messages"], row["5m"], row["older"]) for row in rows] == [
        ("one", 2, 2, 0), ("two", 1, 1, 0)]


def test_what_is_being_delivered_is_told(spooling, target):
    """flush does not start it a second time, and says so."""
    hold = Hold("250 2.0.0 kept")
    port = free_port()
    server = spooling(one=f"127.0.0.1:{port}")
    one = spool(server)
    there = target(address=("127.0.0.1", port)).on("end", hold)
    ctl = Control(server)
    ctl.text("flush", one)
    there.wait_ended()
    assert ctl.json("flush", "--all")[0]["running"] == 1
    hold.release()


def test_unknown_commands_are_named():
    for word in ("status", "nonsense"):
        assert f"unknown command: {word}" in control.run(word).stderr.decode()


def test_flush_needs_a_server(spooling):
    server = spooling()
    waiting = spool(server)
    server.stop()
    assert "no server" in Control(server).error(69, "flush", waiting)


def test_targets(spooling, target):
    """Health, capabilities, connections, what waits, what is remembered."""
    there = target()
    server = spooling(two=there.address)
    ctl = Control(server)
    spool(server)
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=("joe@other.test",)).code == 250
        targets = {t["name"]: t for t in ctl.json("targets")}
    one, two = targets["one"], targets["two"]
    assert (one["state"], one["messages"], one["connections"]) == ("down", 1, 0)
    assert (two["state"], two["messages"], two["connections"]) == ("up", 0, 1)
    assert (two["accepted"], two["refused"]) == (1, 0)
    assert "8BITMIME" in two["capabilities"].split()
    lines = ctl.text("targets").splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("   ")] == [
        "NAME", "one", "two", "three"]


def test_queue_of_a_target_that_is_down(spooling):
    """Nobody reads there that it is about to go."""
    server = spooling()
    ctl = Control(server)
    entry = ctl.wait_state(spool(server), "target-down")
    assert (entry["next_try_in"], entry["target"]) == (None, "one")
    assert ctl.text("queue").splitlines()[1].split()[1:5:3] == ["target-down", "-"]


def test_target_that_is_gone(spooling):
    """Messages for a target that is no longer configured are told, and can be rerouted."""
    server = spooling()
    waiting = spool(server)
    server.stop()
    text = server.config.read_text().replace('[relay "one"]', '[relay "new"]')
    server.config.write_text(text.replace("@example.test one", "@example.test new"))
    server.start()
    ctl = Control(server)
    assert ctl.queue()[waiting]["state"] == "no-target"
    assert ctl.queue()[waiting]["next_try_in"] is None
    assert {t["name"]: t["state"] for t in ctl.json("targets")}["one"] == "gone"
    assert ctl.json("reroute", "#one") == [{"rerouted": waiting}]
    assert [e["target"] for e in ctl.json("queue")] == ["new"]


@both
def test_fsck(spooling, state):
    """A damaged message is found and put aside; the others are whole."""
    server = spooling()
    whole, damaged = spool(server), spool(server)
    path, = (server.directory / "spool/queue").glob(f"*/{damaged}")
    octets = bytearray(path.read_bytes())
    octets[70] ^= 1
    path.write_bytes(octets)
    ctl = in_state(server, state)
    assert ctl.json("fsck", code=65)[-1]["problems"] == 1
    found, total = ctl.json("fsck", code=65)
    assert (found["id"], found["folder"], total["problems"]) == (damaged, "bad", 1)
    (server.directory / "spool/bad" / damaged).unlink()
    assert ctl.json("fsck")[-1] == {"messages": 1, "problems": 0}
    assert whole in ctl.queue()


@pytest.mark.parametrize("command", ["delete", "hold", "bounce", "reroute", "release"])
def test_not_while_it_is_delivered(spooling, target, command):
    """No command touches a message that is being delivered; it is delivered once, whole."""
    hold = Hold("250 2.0.0 Ok: queued as X")
    port = free_port()
    server = spooling(one=f"127.0.0.1:{port}")
    waiting = spool(server)
    there = target(address=("127.0.0.1", port)).on("end", hold)
    ctl = Control(server)
    ctl.text("flush", waiting)
    assert hold.reached.wait(20)
    assert ctl.queue()[waiting]["state"] == "running"
    assert "is being delivered" in ctl.error(75, command, waiting)
    hold.release()
    server.wait_event("delivered")
    transaction, = there.wait_ended(1)
    assert transaction.content.endswith(PLAIN_MESSAGE)
    assert ctl.queue() == {}


def asked(server, request):
    """The exit code and the printed octets of one request."""
    with control_socket(server) as peer:
        peer.sendall(f"text {request}\n".encode())
        *lines, end = rest(peer).splitlines()
    return int(end[1:].split(b" ")[0]), lines


@pytest.mark.parametrize("seed", range(2))
def test_commands_race_with_deliveries(spooling, target, seed):
    """Whatever is asked while a queue drains, each message has exactly one end."""
    source = random.Random(seed)
    port = free_port()
    server = spooling(one=f"127.0.0.1:{port}")
    numbers = {spool(server, PLAIN_MESSAGE + b"number %d.\r\n" % n): n for n in range(60)}
    turns = threading.Semaphore(0)

    def take_turn(*_):
        turns.acquire(timeout=20)
        return "250 2.0.0 Ok"
    there = target(address=("127.0.0.1", port)).on("end", take_turn)
    ends = {}
    assert asked(server, "flush --all")[0] == 0
    for one in source.sample(sorted(numbers), 60):
        command = source.choice(("delete", "hold", "bounce", "reroute", "delete"))
        words = f"{command} {one}" + (" to two" if command == "reroute" else "")
        code, _ = asked(server, words)
        assert code in (0, 66, 75), words
        if code == 0:
            ends[one] = command
        turns.release()
    turns.release(120)
    delivered = set(numbers) - set(ends)
    bounced = [one for one in ends if ends[one] == "bounce"]
    server.wait_event("delivered", count=len(delivered) + len(bounced))
    arrived = {"<>": [], "<sender@example.org>": []}
    for transaction in there.ended:
        number = int(transaction.content.rsplit(b"number ", 1)[1].split(b".")[0])
        arrived[transaction.mail.split(" ")[1].split(":")[1]].append(number)
    assert sorted(arrived["<sender@example.org>"]) == sorted(numbers[one] for one in delivered)
    assert sorted(arrived["<>"]) == sorted(numbers[one] for one in bounced)
    left = {one: "hold" if entry["state"] == "held" else "reroute"
            for one, entry in Control(server).queue().items()}
    assert left == {one: end for one, end in ends.items() if end in ("hold", "reroute")}


@pytest.mark.parametrize("words", [
    (), ("flush",), ("flush", "x"), ("flush", "@"), ("flush", "@-"), ("flush", "#"),
    ("flush", "--all", "--all"), ("queue", "x"), ("show",), ("show", "x"), ("show", NO_ID, NO_ID),
    ("reroute", NO_ID, "two"), ("reroute", NO_ID, "from", "two"), ("reroute", "two"),
    ("status",), ("nonsense",), ("--nonsense", "queue"), ("-s",)])
def test_usage(tmp_path, words):
    """What is no command ends with 64 before anybody is asked."""
    done = control.run(*words)
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr.startswith(b"posternctl: ")


def test_exit_codes(spooling, tmp_path):
    """No server at the socket of -s: 69; not a message: 66; no configuration: 78."""
    done = control.run("-s", tmp_path / "none", "queue")
    assert (done.returncode, done.stdout) == (69, b"")
    assert control.run("-c", tmp_path / "none", "queue").returncode == 78
    server = spooling()
    ctl = Control(server)
    assert "no such message" in ctl.error(66, "show", NO_ID)
    assert control.run("-s", server.directory / "spool/control", "queue").returncode == 0
    assert control.run("--version").stdout.startswith(b"posternctl ")
    assert b"reroute" in control.run("--help").stdout


def control_socket(server):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(str(server.directory / "spool/control"))
    return peer


def rest(peer):
    return b"".join(iter(lambda: peer.recv(65536), b""))


def test_socket_is_the_accounts_alone(spooling):
    server = spooling()
    mode = os.stat(server.directory / "spool/control").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_bad_peers_cost_only_themselves(spooling):
    """Garbage, endless requests, those that say nothing: the next one is served."""
    server = spooling()
    silent = [control_socket(server) for _ in range(8)]
    silent[0].sendall(b"text qu")
    for request in (b"\n", b"\0\n", b"text\n", b"html queue\n", b"json \xff\n",
                    b"text show +\n", b"text show +zz\n", b"text queue" + b" a" * 50 + b"\n"):
        with control_socket(server) as peer:
            peer.sendall(request)
            assert rest(peer).startswith(b".64 "), request
    with control_socket(server) as peer:
        try:
            peer.sendall(b"a" * 100000)
        except OSError:
            pass
    waiting = spool(server)
    assert list(Control(server).queue()) == [waiting]
    with control_socket(server) as peer:
        for octet in b"text queue\n":
            peer.sendall(bytes([octet]))
        assert waiting.encode() in rest(peer)
    for peer in silent:
        peer.close()


def test_answers_wait_for_their_reader(spooling):
    """Who does not read holds up nobody, and gets all of it when he does."""
    content = big_message(3 << 20)
    server = spooling()
    large = spool(server, content)
    with control_socket(server) as peer:
        peer.sendall(b"text cat " + large.encode() + b"\n")
        assert list(Control(server).queue()) == [large]
        lines = rest(peer).split(b"\n")
    assert lines[-2:] == [b".0", b""]
    assert b"".join(line[1:] + (b"\n" if line[:1] == b" " else b"") for line in lines[:-2]
                    ) == content


def on_terminal(*words):
    """What posternctl writes to a terminal that translates nothing."""
    leader, terminal = pty.openpty()
    tty.setraw(terminal)
    with subprocess.Popen([control.program(), *map(str, words)], stdout=terminal, env=environment()) as child:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):      # EIO: the other side is closed
            while more := os.read(leader, 65536):
                shown += more
    os.close(leader)
    assert child.returncode == 0
    return shown


@both
def test_terminal(spooling, state):
    """A message does not steer the terminal on which it is looked at; a file gets its octets."""
    server = spooling()
    content = b"Subject: x\r\n\r\n\x1b]0;owned\x07 gr\xc3\xbcn \xc2\x9b2J \xff \x08\r\n"
    message = spool(server, content)
    ctl = in_state(server, state)
    assert on_terminal("-c", server.config, "cat", message) == (
        b"Subject: x\r\n\r\n\\x1b]0;owned\\x07 gr\xc3\xbcn \\xc2\\x9b2J \\xff \\x08\r\n")
    assert ctl.run("cat", message).stdout == content


@pytest.mark.parametrize("words", [("queue",), ("show", NO_ID), ("flush", "--all"), ("targets",),
                                   ("fsck",), ("hold", NO_ID), ("--json", "queue")])
def test_server_that_lies(tmp_path, words):
    """Whatever answers on the socket: no command prints its control characters."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer():
            peer, _ = listener.accept()
            with peer:
                while not peer.recv(4096).endswith(b"\n"):
                    pass
                peer.sendall(b" a\x1b[2Jb\xff\n-part\x9b\n.5 bad\x1b[31m \x07\n")
        thread = threading.Thread(target=answer)
        thread.start()
        done = control.run("-s", path, *words)
        thread.join()
    assert (done.returncode, done.stdout) == (5, b"a\\x1b[2Jb\\xff\npart\\x9b")
    assert done.stderr == b"posternctl: bad\\x1b[31m \\x07\n"


@pytest.mark.parametrize("words", ["queue", "cat", "fsck"])
def test_stopping_meanwhile(spooling, words):
    """A server that stops ends its answers, and ends well."""
    server = spooling()
    large = spool(server, big_message(2 << 20))
    with control_socket(server) as peer:
        peer.sendall(f"text {words}{' ' + large if words == 'cat' else ''}\n".encode())
        assert peer.recv(1) == b" "
        server.stop()
        with contextlib.suppress(ConnectionResetError):
            rest(peer)


@needs_root
def test_files_stay_the_accounts(spooling):
    """Without a server root works as the account of the configuration."""
    server = spooling(core="user-id = nobody\n")
    kept = spool(server)
    server.stop()
    Control(server).text("hold", kept)
    owners = {path.owner() for path in (server.directory / "spool").rglob("*")}
    assert owners == {"nobody"}
    server.start()
    assert Control(server).queue()[kept]["state"] == "held"


def test_hostile_texts_are_escaped(spooling):
    """Octets that a terminal would act on never reach it."""
    server = spooling()
    with server.client() as client:
        client.expect(220)
        client.expect(250, "EHLO client")
        waiting = queue_id(client.mail(PLAIN_MESSAGE, recipients=('"a\\"b <>"@example.test',)))
    ctl = Control(server)
    assert json.loads(ctl.text("--json", "show", waiting))["recipients"][0]["to"] == (
        '"a\\"b <>"@example.test')
    assert '<"a\\"b <>"@example.test>' in ctl.text("show", waiting)


def test_generations(spooling):
    """After a reload the socket is the new runner's, and it knows all that lies in the spool."""
    server = spooling(core="workers = 1\n")
    ids = {spool(server) for _ in range(2)}
    mark = server.log.mark()
    server.process.signal(signal.SIGHUP)
    assert server.wait_event("reload", since=mark)["result"] == "ok"
    Control(server).wait_queue(ids)
    assert Control(server).json("delete", min(ids)) == [{"deleted": min(ids)}]
    Control(server).wait_queue({max(ids), spool(server)})


def test_workers(spooling):
    """With worker processes the socket is the runner's, and knows what each of them has spooled."""
    server = spooling(core="workers = 2\n")
    ids = {spool(server) for _ in range(4)}
    Control(server).wait_queue(ids)

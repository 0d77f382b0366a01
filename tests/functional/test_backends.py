# SPDX-License-Identifier: BSD-2-Clause
"""Many backends: balance = hash, its weights and failover; the health of each address."""
import os
import signal

import pytest

from harness.control import Control
from harness.messages import PLAIN_MESSAGE
from harness.postern import run
from harness.rendezvous import mailbox, order, owner
from harness.workers import Workers, wait_for

FAST = ("identity = none", "received = never", "health-interval = 1s", "connect-timeout = 2s",
        "retry = 1s")
DOMAIN = "Example.Test"


def relay(addresses, *lines, balance="hash", name="store"):
    """[relay] with these addresses, each maybe with a weight, and the route to it."""
    return (f'[relay "{name}"]\nbalance = {balance}\n'
            + "".join(f"address = {address}\n" for address in addresses)
            + "".join(f"{line}\n" for line in (*FAST, *lines))
            + f"[route]\n@{DOMAIN.lower()} {name}\n")


def patient(text):
    """Nothing is tried by itself: the pauses are long."""
    return text.replace("health-interval = 1s", "health-interval = 1h").replace("retry = 1s",
                                                                                "retry = 1h")


def owned_by(backend, backends, count=1, start=0):
    """Mailboxes of this one among those."""
    weights = {one.address: 1 for one in backends}
    found = (f"u{number}@{DOMAIN}" for number in range(start, start + 1000)
             if owner(weights, f"u{number}@{DOMAIN}") == backend.address)
    return [next(found) for _ in range(count)]


def mailboxes(backend):
    """Those that it has accepted a message for, in order."""
    return [rcpt.split("<")[1].split(">")[0] for t in backend.accepted for rcpt in t.rcpts]


def send(server, recipients, message=PLAIN_MESSAGE, code=250):
    with server.client() as client:
        client.hello()
        reply = client.mail(message, recipients=recipients)
        assert reply.code == code, reply.raw
        return reply.text.split(" ")[-1]


@pytest.fixture
def three(target, postern):
    """Three backends and a postern before them."""
    def make(*lines, balance="hash", **options):
        backends = [target() for _ in range(3)]
        server = postern(relay([one.address for one in backends], *lines, balance=balance),
                         **options)
        return server, backends
    return make


def states(server, name="store"):
    """What `posternctl targets` says of each of its addresses."""
    rows = Control(server).json("targets")
    return {end["address"]: end["state"] for row in rows
            if row["name"] == name or row["name"].startswith(name + "/")
            for end in row["endpoints"]}


# ---- each mailbox at its own ----

def test_one_transaction_for_three(target, postern):
    """Each recipient at its own backend, by detail, by case, by whatever session: as the formula
    says, which is written down a second time in rendezvous.py."""
    backends = [target() for _ in range(3)]
    server = postern(relay([one.address for one in backends]) + "recipient-delimiter +\n")
    names = [name for one in backends for name in owned_by(one, backends, 4)]
    others = [name.replace("@", "+Detail@").upper() for name in names]
    send(server, names + others)
    line = server.wait_transaction()
    assert {line[key] for key in ("target", "target2", "target3")} == {"store"}
    assert {line[key] for key in ("address", "address2", "address3")} == \
        {one.address for one in backends}
    weights = {one.address: 1 for one in backends}
    for one in backends:
        (transaction,) = one.ended
        assert transaction.content == PLAIN_MESSAGE
        assert len(mailboxes(one)) == 8
        for name in mailboxes(one):
            assert owner(weights, name, delimiter="+") == one.address


def test_weights(target, postern):
    """The second word of `address`: a backend with nine tenths of the weight has most mailboxes."""
    large, small = target(), target()
    server = postern(relay([f"{large.address} 9", small.address]))
    names = [f"u{number}@{DOMAIN}" for number in range(60)]
    send(server, names)
    weights = {large.address: 9, small.address: 1}
    for one in large, small:
        assert mailboxes(one) == [name for name in names if owner(weights, name) == one.address]
    assert len(mailboxes(large)) > 40


def test_one_has_refused(three):
    """A backend's own words for its own recipient; the others have the message."""
    server, (bad, *good) = three()
    bad.on("RCPT", "550 5.1.1 nobody here")
    names = {one: owned_by(one, [bad, *good])[0] for one in (bad, *good)}
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        assert client.command(f"RCPT TO:<{names[bad]}>").raw == b"550 5.1.1 nobody here\r\n"
        for one in good:
            client.expect(250, f"RCPT TO:<{names[one]}>")
        client.expect(354, "DATA")
        client.send(PLAIN_MESSAGE + b".\r\n")
        assert client.reply().code == 250
    for one in good:
        assert mailboxes(one) == [names[one]]
    assert mailboxes(bad) == []


def test_unix_sockets(target, postern, tmp_path):
    """Backends at sockets of the file system, by the same formula."""
    backends = [target(address=str(tmp_path / name)) for name in ("a", "b")]
    server = postern(relay([one.address for one in backends]))
    names = {one: owned_by(one, backends)[0] for one in backends}
    send(server, list(names.values()))
    for one in backends:
        assert mailboxes(one) == [names[one]]


# ---- one of them is down ----

def test_one_is_down(three):
    """What belongs to it waits in its own queue, the others get theirs live; when it is back it
    gets everything once, and nobody else has it."""
    server, (away, *here) = three()
    away.unlisten()
    its = owned_by(away, [away, *here], 3)
    theirs = [owned_by(one, [away, *here])[0] for one in here]
    ids = [send(server, [name, *theirs]) for name in its]
    for one, name in zip(here, theirs):
        assert mailboxes(one) == [name] * 3
    ctl = Control(server)
    assert sorted(row["id"] for row in ctl.json("queue")) == sorted(ids)
    assert {row["target"] for row in ctl.json("queue")} == {f"store/{away.address}"}
    assert states(server)[away.address] == "down"
    rows = {row["name"]: row for row in ctl.json("targets")}
    assert rows["store"]["messages"] == 3 and rows["store"]["addresses_down"] == 1
    assert rows[f"store/{away.address}"]["messages"] == 3
    assert rows[f"store/{here[0].address}"]["messages"] == 0
    line = server.events("target-down")[0]
    assert (line["target"], line["address"]) == ("store", away.address)
    away.listen()
    server.wait_event("delivered", 3)
    wait_for(lambda: sorted(mailboxes(away)) == sorted(its))
    assert {line["target"] for line in server.events("delivered")} == {"store"}
    server.stop()
    assert [len(mailboxes(one)) for one in here] == [3, 3] and len(away.ended) == 3


def test_tempfail(three):
    """451 for what belongs to it, and never to another; nothing waits."""
    server, (away, *here) = three("on-failure = tempfail")
    away.unlisten()
    its, = owned_by(away, [away, *here])
    theirs, = owned_by(here[0], [away, *here])
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(451, f"RCPT TO:<{its}>")
    send(server, [theirs])
    assert mailboxes(here[0]) == [theirs] and Control(server).json("queue") == []
    assert [t for one in here for t in one.transactions if its in "".join(t.rcpts)] == []


def test_failover(three):
    """yes: the next in the mailbox's own order, and back when its own is up again."""
    server, backends = three("failover = yes")
    away = backends[0]
    weights = {one.address: 1 for one in backends}
    by_address = {one.address: one for one in backends}
    its = owned_by(away, backends, 8)
    away.unlisten()
    send(server, its[:1])               # finds that it is down: live, or from the spool
    wait_for(lambda: sum(len(mailboxes(one)) for one in backends[1:]) == 1)
    seconds = {name: by_address[order(weights, mailbox(name))[1]] for name in its}
    assert len(set(seconds.values())) == 2
    send(server, its)
    for one in backends[1:]:
        assert set(mailboxes(one)) == {name for name in its if seconds[name] is one}
    assert sum(len(mailboxes(one)) for one in backends[1:]) == 9
    away.listen()
    server.wait_event("target-up")
    send(server, its)
    assert mailboxes(away) == its


def test_failover_from_the_queue(target, postern):
    """A new start has met nobody: it finds the mailbox's own address down, and goes on to the next
    at once, whatever the pauses are."""
    away, here = backends = [target(), target()]
    for one in backends:
        one.unlisten()
    server = postern(patient(relay([one.address for one in backends], "failover = yes")))
    names = owned_by(away, backends, 2)
    send(server, names)
    assert [row["target"] for row in Control(server).json("queue")] == ["store"]
    server.stop()
    here.listen()
    server.is_over = False
    server.start()
    here.wait_ended()
    assert mailboxes(here) == names
    Control(server).wait_queue([])


@pytest.mark.parametrize("balance", ["first", "round-robin"])
def test_no_failover(target, postern, balance):
    """`failover = no` with the other balances: no second address is tried."""
    away, here = target(), target()
    away.unlisten()
    server = postern(relay([away.address, here.address], "failover = no", "idle-connections = 0",
                           "max-transactions = 1", balance=balance))
    for _ in range(6):
        send(server, [f"joe@{DOMAIN}"])
    if balance == "first":
        server.wait_event("spooled", 6)
        away.listen()
        server.wait_event("delivered", 6)
        assert here.connections == []
    else:                               # some had the turn of the one, some that of the other
        server.wait_event("spooled")
        here.wait_ended()


def test_round_robin_weights(target, postern):
    """Connections in turn, three to one."""
    backends = [target(), target()]
    server = postern(relay([f"{backends[0].address} 3", backends[1].address],
                           "idle-connections = 0", "max-transactions = 1",
                           balance="round-robin"))
    for _ in range(8):
        send(server, [f"joe@{DOMAIN}"])
    assert [len(one.ended) for one in backends] == [6, 2]


def test_health_of_each(three):
    """`posternctl targets` tells of each address, where they are tried in order, too."""
    server, backends = three(balance="first")
    addresses = [one.address for one in backends]
    assert states(server) == dict.fromkeys(addresses, "unknown")
    backends[0].unlisten()
    send(server, [f"joe@{DOMAIN}"])
    assert list(states(server).values()) == ["down", "up", "unknown"]
    text = Control(server).text("targets")
    assert f"\n   {addresses[0]:22}  down\n   {addresses[1]:22}  up\n" in text
    assert mailboxes(backends[1]) == [f"joe@{DOMAIN}"]


# ---- for operators ----

def test_where(three):
    """One line: table and line, target, address, its health; --explain says the address, too."""
    server, backends = three()
    ctl = Control(server)
    for one in backends:
        name, = owned_by(one, backends)
        row, = ctl.json("where", name)
        assert (row["table"], row["target"], row["address"], row["state"]) == \
            ("[route]", "store", one.address, "unknown")
        assert row["line"].startswith(f"{server.config}:") and row["to"] == name
        assert ctl.text("where", name).count("\n") == 1
        explained = run(*server.flags, "--explain", name).stdout
        assert f'=> relay "store" at {one.address} gets' in explained
    away = backends[0]
    away.unlisten()
    name, = owned_by(away, backends)
    send(server, [name])
    assert ctl.json("where", name)[0]["state"] == "down"
    assert ctl.json("where", "joe@nowhere.test")[0]["reply"].startswith("550 5.7.1 ")
    assert "no such listener" in ctl.error(66, "where", name, "on", "nobody")
    assert "no address" in ctl.error(64, "where", "<joe")


def test_flush_and_reroute(target, postern):
    """#N is all its addresses, #N/ADDRESS one; nobody can be sent to one of them."""
    backends, spare = [target(), target()], target()
    for one in backends:
        one.unlisten()
    text = patient(relay([one.address for one in backends]))
    server = postern(text + f'[relay "spare"]\naddress = {spare.address}\nidentity = none\n',
                     smtpd="etrn-from = 127.0.0.0/8 \"#store\"\n")
    ids = {one: send(server, owned_by(one, backends)) for one in backends}
    ctl = Control(server)
    assert "2" in ctl.text("flush", "#store")
    one, other = backends
    with server.client() as client:
        client.hello()
        assert client.command("ETRN #store").code == 253
        assert b"1 pending" in client.command(f"ETRN #store/{one.address}").raw
        assert client.command("ETRN #spare").code == 459
    assert "no such target" in ctl.error(66, "reroute", ids[one], "to", f"store/{one.address}")
    ctl.text("reroute", f"#store/{one.address}", "to", "spare")
    spare.wait_ended(1)
    assert mailboxes(spare) == owned_by(one, backends)
    ctl.wait_queue([ids[other]])
    ctl.text("reroute", "#store", "to", "spare")
    spare.wait_ended(2)
    ctl.wait_queue([])


# ---- the list changes ----

def test_reload_with_queued_mail(target, workers):
    """An address that goes takes nothing with it: what waits for it goes to the new owners, and
    what waits for another stays where it is."""
    gone, away, here = target(), target(), target()
    backends = [gone, away, here]
    for one in (gone, away):
        one.unlisten()
    server = workers(relay([one.address for one in backends]))
    its, others = owned_by(gone, backends, 12), owned_by(away, backends, 2)
    for name in its + others:
        send(server, [name])
    left = {one.address: 1 for one in (away, here)}
    moved = [name for name in its if owner(left, name) == here.address]
    assert 0 < len(moved) < len(its)
    pids = server.pids()
    assert server.reload([(f"address = {gone.address}\n", "")])["result"] == "ok"
    server.wait_retired(pids)
    here.wait_ended(len(moved))
    assert sorted(mailboxes(here)) == sorted(moved)
    Control(server).text("flush", "#store")
    away.listen()
    away.wait_ended(len(its) + 2 - len(moved))
    assert sorted(mailboxes(away)) == sorted(others + [n for n in its if n not in moved])
    assert gone.connections == []
    Control(server).wait_queue([])


def test_killed(target, workers):
    """Killed with mail queued for one address: it is delivered there, once, by the next runner."""
    backends = [target(), target()]
    away, here = backends
    away.unlisten()
    server = workers(relay([one.address for one in backends]), count=1)
    names = owned_by(away, backends, 3)
    for name in names:
        send(server, [name])
    os.kill(server.master, signal.SIGKILL)
    server.process.wait_exit()
    away.listen()
    server.start()
    away.wait_ended(3)
    Control(server).wait_queue([])
    assert sorted(mailboxes(away)) == sorted(names)
    assert here.connections == [] or mailboxes(here) == []


# ---- the configuration ----

@pytest.mark.parametrize("lines, column, words", [
    ("address = 127.0.0.1:26 5", 24, "found a weight with balance = first"),
    ("address = 127.0.0.1:26 0\nbalance = hash", 24, "weight of 1 to 1000"),
    ("address = 127.0.0.1:26 1 2\nbalance = hash", 26, "weight of 1 to 1000"),
    ("address = 127.0.0.1:26\naddress = 127.0.0.1:26\nbalance = hash", 11, "an address that"),
    ("balance = hash", 11, "found hash without an address"),
    ("mx = yes\nfailover = no", 12, "found failover = no with mx = yes"),
])
def test_refused(postern, lines, column, words):
    """Each with its place."""
    server = postern(f'[relay "n.test"]\n{lines}\n[route]\n@a.test n.test\n', is_started=False)
    done = server.check()
    assert done.returncode == 78 and words in done.stderr, done.stderr
    line = next(line for line in done.stderr.splitlines() if words in line)
    assert line.split(":")[2] == str(column), line

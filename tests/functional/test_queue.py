# SPDX-License-Identifier: BSD-2-Clause
"""The queue: what was acknowledged while a target was away arrives when it is back, and once."""
import pytest

from harness.messages import PLAIN_MESSAGE, big_message
from harness.smtp import without_received, xforward
from peers.answers import Close, Hold
from peers.target import CHUNKING_EHLO, DEFAULT_EHLO, XFORWARD

SPOOL = ("on-failure = spool", "health-interval = 1s", "connect-timeout = 1s", "retry = 1s")


def send(server, count=1, message=PLAIN_MESSAGE, **envelope):
    """Messages over one session; their ids, as the client was told."""
    ids = []
    with server.client() as client:
        client.hello()
        for _ in range(count):
            reply = client.mail(message, **envelope)
            assert reply.code == 250, reply.raw
            ids.append(reply.text.split(" ")[-1])
    return ids


def two_relays(**backends):
    """A relay each; NAME.test goes to the one of that name."""
    relays = [f'[relay "{name}"]\naddress = {backend.address}\nidentity = none\n'
              + "\n".join(SPOOL) + "\n" for name, backend in backends.items()]
    return "".join(relays) + "[route]\n" + "".join(f"@{n}.test {n}\n" for n in backends)


def queued(server):
    return sorted(path.name for path in (server.directory / "spool/queue").glob("*/*")
                  if path.name not in ("owner", "index"))


def test_target_comes_back(target, to_target):
    """Down: 250 and a file each; up: everything arrives, byte by byte, and no file is left."""
    backend = target()
    backend.unlisten()
    server = to_target(backend, *SPOOL)
    ids = send(server, 5)
    assert queued(server) == sorted(ids)
    backend.listen()
    backend.wait_ended(5)
    server.wait_event("delivered", 5)
    assert sorted(line["transaction"] for line in server.events("delivered")) == sorted(ids)
    for transaction in backend.ended:
        received, content = without_received(transaction.content)
        assert content == PLAIN_MESSAGE
        assert "127.0.0.1" in received
    server.stop()
    assert queued(server) == []


def test_after_refusals(target, to_target):
    """4xx: again after `retry`; 5xx: bounced; both in the words of the target."""
    backend = target()
    backend.unlisten()
    # What was being tried when the target came back is put back for two seconds: the second try of
    # the one must not come before the first of the other.
    server = to_target(backend, *SPOOL[:-1], "retry = 4s", core="bounce-to = none")
    later, never = send(server, 2)
    backend.on("end", "451 4.3.0 not now", "554 5.7.1 no spam", "250 2.0.0 Ok", repeat_last=False)
    backend.listen()
    server.wait_event("delivered")
    lines = {name: server.events(name)[0] for name in ("deferred", "bounced", "delivered")}
    assert lines["deferred"]["reply"] == "451 4.3.0 not now"
    assert lines["bounced"]["reply"] == "554 5.7.1 no spam"
    assert lines["deferred"]["transaction"] == lines["delivered"]["transaction"]
    assert {lines["bounced"]["transaction"], lines["delivered"]["transaction"]} == {later, never}
    assert lines["delivered"]["tries"] == "2" and lines["bounced"]["tries"] == "1"


def test_recipients_apart(target, to_target):
    """Each recipient of one message has its own fate; who has it does not get it again."""
    backend = target()
    backend.unlisten()
    server = to_target(backend, *SPOOL, core="bounce-to = none")
    names = [f"{name}@example.test" for name in ("yes", "later", "no")]
    send(server, recipients=names)
    answers = {"yes": ["250 2.1.5 Ok"], "later": ["450 4.2.1 busy", "250 2.1.5 Ok"],
               "no": ["550 5.1.1 unknown"]}
    backend.on("RCPT", lambda _, line: answers[line.split("<")[1].split("@")[0]].pop(0))
    backend.listen()
    server.wait_event("delivered", 2)
    assert [len(t.rcpts) for t in backend.ended] == [3, 1]
    assert backend.ended[1].rcpts[0].startswith("RCPT TO:<later@example.test>")
    assert [line["rcpt"] for line in server.events("bounced")] == ["<no@example.test>"]


def test_expires(target, to_target):
    """What cannot be delivered for too long is given up, though the target stays away."""
    backend = target()
    backend.unlisten()
    server = to_target(backend, *SPOOL, "expire = 2s", core="bounce-to = none")
    one, = send(server)
    line = server.wait_event("expired")
    assert line["transaction"] == one and "5.4.7" in line["reply"]


def test_lost_behind_the_end(target, to_target):
    """The reply to the end of data never came: told as a possible duplicate, and not tried again
    with the others when the target is back."""
    backend = target().on("end", Close(), "250 2.0.0 Ok")
    server = to_target(backend, *SPOOL)
    unknown, = send(server)
    assert server.wait_event("spooled")["duplicate"] == "possible"
    backend.unlisten()
    backend.drop_all()
    known, = send(server)
    backend.listen()
    assert server.wait_event("delivered")["transaction"] == known
    server.stop()
    assert queued(server) == [unknown]


def test_one_of_two_targets_is_down(target, postern):
    """What waits for one target holds up nothing for the other."""
    here, away = target(), target()
    away.unlisten()
    server = postern(two_relays(here=here, away=away))
    send(server, 3, recipients=("joe@away.test",))
    send(server, 3, recipients=("joe@here.test", "joe@away.test"))
    here.wait_ended(3)
    assert not away.connections
    away.listen()
    server.wait_event("delivered", 6)
    assert all(t.rcpts == ["RCPT TO:<joe@here.test>"] for t in here.ended)
    assert all(t.rcpts == ["RCPT TO:<joe@away.test>"] for t in away.ended)
    assert len(here.ended) == 3


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_restart(target, to_target, how):
    """What is in the queue outlives the process, whatever ended it; a crash is told of at the next
    start, as it may cause duplicates."""
    backend = target()
    backend.unlisten()
    server = to_target(backend, *SPOOL)
    ids = send(server, 40)
    if how == "stopped":
        server.stop()
    else:
        server.process.child.kill()
        server.process.wait_exit()
    server.start()
    server.is_over = False
    backend.listen()
    server.wait_event("delivered", 40)
    assert sorted(line["transaction"] for line in server.events("delivered")) == sorted(ids)
    assert len(backend.ended) == 40
    assert [line["duplicates"] for line in server.events("unclean")] == \
        (["possible"] if how == "killed" else [])


def test_identity_is_replayed(target, to_target):
    """The target hears who the client was, though the client has long gone."""
    backend = target(ehlo=(*DEFAULT_EHLO, XFORWARD))
    backend.unlisten()
    server = to_target(backend, *SPOOL, identity="auto")
    with server.client(source="127.0.0.3") as client:
        client.hello("the.client.test")
        client.mail(PLAIN_MESSAGE)
        port = client.port
    backend.listen()
    backend.wait_ended()
    told = xforward(backend.ended[0])
    assert (told["ADDR"], told["PORT"], told["HELO"]) == ("127.0.0.3", str(port), "the.client.test")


def test_many_and_big(target, to_target):
    """Bodies beyond what is kept in memory, beside small ones, to a target that takes BDAT."""
    backend = target(ehlo=CHUNKING_EHLO)
    backend.unlisten()
    server = to_target(backend, *SPOOL, core="copy-memory = 128k")
    messages = [big_message(size) for size in (10, 60000, 70000, 3000000)]
    for message in messages:
        send(server, 1, message)
    backend.listen()
    server.wait_event("delivered", len(messages))
    contents = sorted((without_received(t.content)[1] for t in backend.ended), key=len)
    assert contents == messages


def test_slow_target_holds_up_nobody(target, postern):
    """Of one message to two targets, one of which does not answer, the other one has it at once."""
    slow, quick = target().on("end", Hold("250 2.0.0 Ok")), target()
    for backend in (slow, quick):
        backend.unlisten()
    server = postern(two_relays(slow=slow, quick=quick))
    one, = send(server, recipients=("joe@slow.test", "joe@quick.test"))
    slow.listen()
    slow.wait_ended()
    quick.listen()
    assert server.wait_event("delivered")["target"] == "quick"
    assert queued(server) == [one]
    slow.on("end", "250 2.0.0 Ok")
    slow.drop_all()
    assert server.wait_event("deferred")["duplicate"] == "possible"
    server.stop()
    assert queued(server) == [one]


def send_one_more(server, backend):
    """Another message, which the target takes."""
    backend.on("end", "250 2.0.0 Ok")
    backend.unlisten()
    ids = send(server)
    backend.listen()
    return ids


def test_stopped_in_delivery(target, to_target):
    """Whoever has the end of data and says nothing is not waited for: a possible duplicate."""
    backend = target().on("end", Hold("250 2.0.0 Ok"))
    backend.unlisten()
    server = to_target(backend, *SPOOL, core="shutdown-timeout = 1s")
    one, = send(server)
    backend.listen()
    backend.wait_ended()
    server.stop()
    assert server.events("deferred")[0]["duplicate"] == "possible"
    server.start()
    server.is_over = False
    two, = send_one_more(server, backend)
    assert server.wait_event("delivered")["transaction"] == two
    server.stop()
    assert queued(server) == [one]


def test_deferred_recipients_hold_up_no_others(target, to_target):
    """A transaction takes so many recipients: those that are put off, again and again, are not in
    the way of the others, who need not wait for the next try either."""
    backend = target().on("RCPT", lambda _, line: "452 4.2.2 mailbox full" if "full" in line
                          else "250 2.1.5 Ok")
    backend.unlisten()
    server = to_target(backend, *SPOOL[:-1], "retry = 1h")
    names = [f"full{n}@example.test" for n in range(120)] + ["joe@example.test"]
    send(server, recipients=names)
    backend.listen()
    assert server.wait_event("delivered")["rcpt"] == "<joe@example.test>"
    server.wait_event("deferred", 120)
    assert {line["tries"] for line in server.events("deferred")} == {"1"}

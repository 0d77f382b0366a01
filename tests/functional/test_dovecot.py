# SPDX-License-Identifier: BSD-2-Clause
"""Three Dovecots behind postern, set up as doc/dovecot.md says."""
import re

import pytest

from harness.dovecot import Dovecot
from harness.messages import DOTTED_MESSAGE, PLAIN_MESSAGE, big_message
from harness.process import free_port
from harness.recipe import block
from harness.rendezvous import owner
from harness.workers import wait_for
from peers.client import Client

DOMAIN = "example.org"
USERS = [f"u{number}" for number in range(12)]
ADDRESSES = ("127.0.0.31", "127.0.0.32", "127.0.0.33")


@pytest.fixture(scope="module")
def stores():
    port = free_port()
    made = [Dovecot(address, port, USERS) for address in ADDRESSES]
    yield made
    for store in made:
        store.close()


@pytest.fixture
def server(postern, stores):
    """The recipe, with the addresses of these backends."""
    text = block("lmtp", "postern.cf", "dovecot.md")
    for number, store in enumerate(stores):
        assert f"192.0.2.1{number + 1}:24" in text
        text = text.replace(f"192.0.2.1{number + 1}:24", store.address)
    assert "address = 192.0.2.25\n" in text
    text = text.replace("192.0.2.25", f"127.0.0.1:{free_port()}")
    text = re.sub(r'\[smtpd .*?\n\n', "", text, flags=re.S)
    return postern(text.replace("protocol = lmtp\n", "protocol = lmtp\nhealth-interval = 1s\n"))


def keeper(stores, user):
    """Whose mailbox it is."""
    weights = {store.address: 1 for store in stores}
    address = owner(weights, f"{user}@{DOMAIN}")
    return next(store for store in stores if store.address == address)


def kept(stores, user):
    return {store: [m.sent for m in store.maildir(user).messages()] for store in stores}


def wait_kept(store, user, count):
    wait_for(lambda: len(store.maildir(user).messages()) >= count, timeout_s=20)


def full_names(users):
    return [f"{user}@{DOMAIN}" for user in users]


@pytest.mark.parametrize("content", [PLAIN_MESSAGE, DOTTED_MESSAGE, big_message(1 << 20)],
                         ids=["plain", "dots", "1 MiB"])
def test_each_mailbox_at_its_own(server, stores, content):
    """One transaction for all users: each message lies whole with its keeper, and nowhere else."""
    before = {user: kept(stores, user) for user in USERS}
    with server.client() as client:
        client.hello()
        assert client.mail(content, recipients=full_names(USERS)).code == 250
    for user in USERS:
        after = kept(stores, user)
        for store in stores:
            new = after[store][len(before[user][store]):]
            assert len(new) == (store is keeper(stores, user)), (user, store.address)
        mine = after[keeper(stores, user)]
        assert content.replace(b"\r\n", b"\n") in mine
    assert len({keeper(stores, user) for user in USERS}) == 3


def test_lmtp_client_hears_of_each(server, stores):
    """LHLO: an answer for each recipient, Dovecot's own words, in the order of RCPT."""
    with server.client() as client:
        client.expect(220)
        client.expect(250, "LHLO client.test")
        client.expect(250, "MAIL FROM:<sender@example.org>")
        for user in USERS[:4]:
            client.expect(250, f"RCPT TO:<{user}@{DOMAIN}>")
        assert client.expect(550, f"RCPT TO:<nobody@{DOMAIN}>").raw.find(b"nobody") > 0
        client.expect(354, "DATA")
        client.send(PLAIN_MESSAGE + b".\r\n")
        for user in USERS[:4]:
            reply = client.expect(250)
            assert user.encode() in reply.raw and b"Saved" in reply.raw
        client.expect(250, "NOOP")


def test_client_is_known(server, stores):
    """Dovecot hears by XCLIENT who the client is: its Received field says so."""
    user = USERS[0]
    with server.client(source="127.0.0.9") as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=full_names([user])).code == 250
    assert any("127.0.0.9" in line for message in keeper(stores, user).maildir(user).messages()
               for line in message.received)       # no other test comes from there


def test_one_backend_is_away(server, stores):
    """Its own mail waits in the spool, the others have theirs; it is drained when it is back."""
    away = keeper(stores, USERS[0])
    mine = [user for user in USERS if keeper(stores, user) is away]
    others = [user for user in USERS if user not in mine]
    counts = {user: len(keeper(stores, user).maildir(user).messages()) for user in USERS}
    away.stop()
    try:
        with server.client() as client:
            client.hello()
            reply = client.mail(PLAIN_MESSAGE, recipients=full_names(USERS))
            assert reply.code == 250 and b"queued as" in reply.raw
        for user in others:
            assert len(keeper(stores, user).maildir(user).messages()) == counts[user] + 1
    finally:
        away.start()
    for user in mine:
        wait_kept(away, user, counts[user] + 1)
    for user in USERS:
        found = [len(store.maildir(user).messages()) for store in stores
                 if store is not keeper(stores, user)]
        assert found == [0, 0]


# ---- Dovecot's own LMTP proxy in front ----

@pytest.fixture(params=[""])
def front(postern, stores, request):
    """postern, and the port of an LMTP proxy of Dovecot before it; loop.example is sent back there.
    The parameter is what its passdb says of users."""
    port = free_port()
    addresses = "".join(f"address = {store.address}\n" for store in stores)
    server = postern(f"""
[relay "store"]
protocol = lmtp
balance = hash
{addresses}
[relay "proxy"]
protocol = lmtp
address = 127.0.0.34:{port}
[route]
@{DOMAIN} store
@loop.example proxy
""", smtpd="protocol = lmtp\nxclient-from = 127.0.0.0/8\n")
    proxy = Dovecot("127.0.0.34", port, proxy_to=server.port, more=request.param)
    yield server, port
    proxy.close()


def through_proxy(port, recipients):
    """LMTP to Dovecot's proxy, in the name of a client."""
    client = Client(("127.0.0.34", port))
    client.expect(220)
    client.expect(250, "LHLO director.test")
    client.expect(220, "XCLIENT ADDR=192.0.2.7 PORT=4711 PROTO=LMTP HELO=client.test SESSION=abc TTL=4")
    client.expect(250, "LHLO client.test")
    client.expect(250, "MAIL FROM:<sender@example.org>")
    return client, [client.command(f"RCPT TO:<{rcpt}>") for rcpt in recipients]


@pytest.mark.parametrize("front, domain", [("", DOMAIN), (f"user=%Ln@{DOMAIN}", "alias.example")],
                         indirect=["front"], ids=["users as they are", "users renamed"])
def test_behind_a_proxy_of_dovecot(front, domain, stores):
    """XCLIENT, XRCPTFORWARD and ORCPT as it says them: stores and log know the client and its session."""
    server, port = front
    users = USERS[:4]
    before = {user: kept(stores, user) for user in users}
    client, replies = through_proxy(port, [f"{user}@{domain}" for user in users])
    with client:
        assert [reply.code for reply in replies] == [250] * 4, replies
        client.expect(354, "DATA")
        client.send(PLAIN_MESSAGE + b".\r\n")
        assert [client.expect(250).code for _ in users] == [250] * 4
    for user in users:
        store = keeper(stores, user)
        assert len(kept(stores, user)[store]) == len(before[user][store]) + 1
        assert any("192.0.2.7" in line for message in store.maildir(user).messages()
                   for line in message.received)
    asserted = server.wait_event("asserted")
    assert asserted["client"] == "192.0.2.7:4711" and asserted["reference"].startswith("abc")


def test_loop_through_dovecot_ends(front):
    """postern, Dovecot, postern, ...: each counts TTL down, and at last the recipient is refused."""
    _, port = front
    client, replies = through_proxy(port, ["joe@loop.example"])
    with client:
        assert replies[0].code == 554 and b"5.4.6" in replies[0].raw, replies

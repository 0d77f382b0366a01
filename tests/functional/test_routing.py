# SPDX-License-Identifier: BSD-2-Clause
"""Where recipients go: tables, rewriting, own answers, lists of targets."""
import pytest

from harness.maildir import Maildir
from harness.messages import PLAIN_MESSAGE, as_stored
from harness.postern import run
from peers.answers import Close
from peers.target import CHUNKING_EHLO, DEFAULT_EHLO



@pytest.fixture
def routed(postern, target, tmp_path):
    """Starts a postern with a relay `one`, a maildir `store` and the given routes."""
    def make(routes, smtpd="", more="", ehlo=DEFAULT_EHLO):
        backend = target(ehlo=ehlo)
        server = postern(
            f'[relay "one"]\naddress = {backend.address}\nidentity = none\nreceived = never\n'
            "on-failure = tempfail\n"
            f'[maildir "store"]\npath = {tmp_path}/mail\n{more}\n[route]\n{routes}\n', smtpd=smtpd)
        return server, backend, Maildir(tmp_path / "mail")
    return make


def rcpt(server, address, source=None):
    with server.client(source=source) as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        return client.command(f"RCPT TO:<{address}>")


# --- own answers ---------------------------------------------------------------------------------

def test_no_route(routed):
    """Nothing matches: 550 5.7.1; in a domain that the tables know: 550 5.1.1."""
    server, _, _ = routed("joe@example.test one")
    reply = rcpt(server, "joe@elsewhere.example")
    assert (reply.code, reply.text) == (550, "5.7.1 relaying denied")
    reply = rcpt(server, "nobody@example.test")
    assert (reply.code, reply.enhanced) == (550, "5.1.1")


@pytest.mark.parametrize("verb, text", [
    ("reject", "550 5.1.1 nobody of that name"), ("reject", "521 5.3.2 no mail"),
    ("reject", "554 5.7.1 not for you"), ("defer", "450 4.2.1 later please")])
def test_reject_and_defer(routed, verb, text):
    """The table's own words reach the client."""
    server, backend, _ = routed(f'joe@example.test {verb} "{text}"\n@example.test one')
    reply = rcpt(server, "joe@example.test")
    assert f"{reply.code} {reply.text}" == text
    assert backend.transactions == []


def test_discard(routed):
    """discard: accepted, and nowhere to be found."""
    server, backend, store = routed("joe@example.test discard\n@example.test one")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert backend.transactions == [] and store.messages() == []


def test_first_match_wins(routed):
    """The order of lines decides."""
    server, backend, store = routed("joe@example.test store\n@example.test one")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["joe@example.test"]).code == 250
        assert client.mail(PLAIN_MESSAGE, recipients=["jane@example.test"]).code == 250
    assert len(store.messages()) == 1
    assert [t.rcpts for t in backend.accepted] == [["RCPT TO:<jane@example.test>"]]


def test_quoted_name_with_a_dot(routed):
    """A name in quotes is a local name, even where another line takes the same word for a host."""
    server, backend, store = routed('@host.example.test joe.doe\n@local.example.test "joe.doe"\n'
                                    "joe.doe store")
    with server.client() as client:
        client.hello()
        assert client.mail(PLAIN_MESSAGE, recipients=["jane@local.example.test"]).code == 250
    assert len(store.messages()) == 1
    assert backend.transactions == []


@pytest.mark.parametrize("pattern, matching, other", [
    ("@.example.test", "joe@sub.example.test", "joe@example.test"),
    ("joe@", "joe@anything.example", "jane@anything.example"),
    ("JOE@Example.TEST", "joe@EXAMPLE.test", "jim@example.test"),
    ("@", "whoever@wherever.example", None)])
def test_patterns(routed, pattern, matching, other):
    """Subdomains, any domain, no regard to case, everything."""
    server, _, _ = routed(f"{pattern} store")
    assert rcpt(server, matching).code == 250
    if other:
        assert rcpt(server, other).code == 550


@pytest.mark.parametrize("routes, given, expected", [
    ("@old.example @new.example\n@new.example one", "joe@old.example", "joe@new.example"),
    ("info@example.test joe@new.example\n@new.example one", "info@example.test",
     "joe@new.example"),
    ("info@ joe@\n@example.test one", "info@example.test", "joe@example.test"),
    ("@example.test one", "Joe.Doe@Example.Test", "Joe.Doe@Example.Test"),
    ("@example.test one", '"quoted local"@example.test', '"quoted local"@example.test')])
def test_the_target_gets_the_routed_address(routed, routes, given, expected):
    """Rewriting changes what RCPT says; without it the client's spelling is kept."""
    server, backend, _ = routed(routes)
    assert rcpt(server, given).code == 250
    assert backend.transactions[-1].rcpts == [f"RCPT TO:<{expected}>"]


def test_source_route_is_ignored(routed):
    """The target gets the path without it."""
    server, backend, _ = routed("@example.test one")
    assert rcpt(server, "@a.example,@b.example:joe@example.test").code == 250
    assert backend.transactions[-1].rcpts == ["RCPT TO:<joe@example.test>"]


@pytest.mark.parametrize("address", ["postmaster", "Postmaster", "postmaster@example.test"])
def test_postmaster_is_never_refused(routed, address):
    """Bare or at a known domain, whatever the table names."""
    server, _, _ = routed("postmaster postmaster@example.test\npostmaster@example.test store\n"
                          "joe@example.test one")
    assert rcpt(server, address).code == 250


def test_recipient_delimiter(routed):
    """user+detail falls back to user."""
    server, _, _ = routed("recipient-delimiter +\njoe@example.test store")
    assert rcpt(server, "joe+lists@example.test").code == 250


def test_case_sensitive_table(routed):
    server, _, _ = routed("case-sensitive yes\nJoe@example.test store")
    assert rcpt(server, "Joe@EXAMPLE.test").code == 250
    assert rcpt(server, "joe@example.test").code == 550


def test_tables_of_a_listener(routed):
    """routing-table comes before the global table, `file` reads lines at its place."""
    server, _, _ = routed("@example.test one", smtpd="routing-table = special\n",
                          more='[route "special"]\njoe@example.test reject "550 5.1.1 special"\n')
    assert rcpt(server, "joe@example.test").text == "5.1.1 special"
    assert rcpt(server, "jane@example.test").code == 250


def test_file_of_routes(routed, tmp_path):
    (tmp_path / "routes").write_text("joe@example.test store # comment\r\n\n")
    server, _, _ = routed(f'file "{tmp_path}/routes"')
    assert rcpt(server, "joe@example.test").code == 250
    assert rcpt(server, "jane@example.test").code == 550


# --- who may relay -------------------------------------------------------------------------------

def test_relay_from(routed):
    """A pattern without a domain leads to a relay only for clients in relay-from."""
    server, _, _ = routed("@ one", smtpd="relay-from = 127.0.0.9/32\n")
    assert rcpt(server, "joe@elsewhere.example", source="127.0.0.9").code == 250
    reply = rcpt(server, "joe@elsewhere.example", source="127.0.0.2")
    assert (reply.code, reply.enhanced) == (550, "5.7.1")


@pytest.mark.parametrize("local", ["joe%elsewhere.example", "elsewhere!joe", '"joe@elsewhere"'])
def test_routed_recipients(routed, local):
    """A local part that a relay could take for a route: 553 5.1.3 on its way there."""
    server, _, _ = routed("@example.test one")
    reply = rcpt(server, f"{local}@example.test")
    assert (reply.code, reply.enhanced) == (553, "5.1.3")


def test_routed_recipients_pass(routed):
    server, _, _ = routed("@example.test one", smtpd="routed-recipients = pass\n")
    assert rcpt(server, "joe%elsewhere.example@example.test").code == 250


def test_routed_recipient_named_in_the_table(routed):
    """The line that matches that very address vouches for it."""
    server, _, _ = routed('"a%b@example.test" one\n@example.test one')
    assert rcpt(server, "a%b@example.test").code == 250


# --- several targets -----------------------------------------------------------------------------

def test_second_relay_in_one_transaction(routed, target):
    """split = defer: a recipient for another relay gets 452 4.5.3; the client comes again."""
    other = target()
    server, backend, _ = routed(
        "@one.example one\n@two.example two", smtpd="split = defer\n",
        more=f'[relay "two"]\naddress = {other.address}\n')
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<joe@one.example>")
        assert client.expect(452, "RCPT TO:<joe@two.example>").enhanced == "4.5.3"
        assert client.data(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE, recipients=["joe@two.example"]).code == 250
    assert len(backend.accepted) == len(other.accepted) == 1


@pytest.mark.parametrize("ehlo", [DEFAULT_EHLO, CHUNKING_EHLO], ids=["DATA", "BDAT"])
def test_list_of_relay_and_maildir(routed, ehlo):
    """joe@... one, store: both get the message."""
    server, backend, store = routed("@example.test one, store", ehlo=ehlo)
    with server.client() as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE)
    assert reply.code == 250
    assert backend.accepted[0].content == PLAIN_MESSAGE
    assert [m.sent for m in store.messages()] == [as_stored(PLAIN_MESSAGE)]


@pytest.mark.parametrize("refusal", ["550 5.1.1 unknown", "450 4.2.1 busy"])
def test_list_refused_at_rcpt(routed, refusal):
    """The relay's refusal of RCPT is the reply, and the maildir keeps nothing."""
    server, backend, store = routed("@example.test one, store")
    backend.on("RCPT", refusal)
    reply = rcpt(server, "joe@example.test")
    assert f"{reply.code} {reply.text}" == refusal
    assert store.messages() == [] and store.unfinished() == []


@pytest.mark.parametrize("answer, code", [
    ("550 5.7.1 spam", 550), ("452 4.3.1 full", 452), (Close(), 451)], ids=["550", "452", "lost"])
@pytest.mark.parametrize("ehlo", [DEFAULT_EHLO, CHUNKING_EHLO], ids=["DATA", "BDAT"])
def test_list_refused_at_the_end_of_data(routed, answer, code, ehlo):
    """The relay refuses the message: its reply, and no maildir keeps it."""
    server, backend, store = routed("@example.test one, store", ehlo=ehlo)
    backend.on("end", answer).on("last", answer)
    with server.client() as client:
        client.hello()
        reply = client.mail(PLAIN_MESSAGE)
    assert reply.code == code
    if isinstance(answer, str):
        assert f"{reply.code} {reply.text}" == answer
    server.stop()
    assert store.messages() == [] and store.unfinished() == []


def test_maildir_that_cannot_prepare(routed, target, postern, tmp_path):
    """451 4.3.0 before any relay has the end."""
    (tmp_path / "file").write_text("in the way")
    backend = target()
    server = postern(f'[relay "one"]\naddress = {backend.address}\n'
                     f'[maildir "store"]\npath = {tmp_path}/file/mail\n'
                     "[route]\n@example.test one, store\n")
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        reply = client.command("RCPT TO:<joe@example.test>")
        if reply.code == 250:
            reply = client.data(PLAIN_MESSAGE)
    assert (reply.code, reply.enhanced) == (451, "4.3.0")
    assert backend.ended == []


def test_second_target_of_any_kind(routed):
    """split = defer holds for a maildir beside a relay too: 452 4.5.3, then in its own turn."""
    server, backend, store = routed("@one.example one\n@store.example store",
                                    smtpd="split = defer\n")
    with server.client() as client:
        client.hello()
        client.expect(250, "MAIL FROM:<sender@example.org>")
        client.expect(250, "RCPT TO:<a@one.example>")
        assert client.expect(452, "RCPT TO:<b@store.example>").enhanced == "4.5.3"
        assert client.data(PLAIN_MESSAGE).code == 250
        assert client.mail(PLAIN_MESSAGE, recipients=["b@store.example"]).code == 250
    assert len(backend.accepted) == 1 and len(store.messages()) == 1


def test_list_of_two_relays_needs_the_spool(target, postern):
    """--check refuses one whose failure could not be made up for."""
    one, two = target(), target()
    server = postern(f'[relay "one"]\naddress = {one.address}\non-failure = tempfail\n'
                     f'[relay "two"]\naddress = {two.address}\n[route]\n@example.test one, two\n',
                     is_started=False)
    done = server.check()
    assert done.returncode == 78
    assert "on-failure = tempfail" in done.stderr + done.stdout


# --- explanations --------------------------------------------------------------------------------

def test_explain(routed):
    """--explain says which line matched and where the mail goes."""
    server, _, _ = routed("@old.example @example.test\njoe@example.test store\n@example.test one")
    done = run(*server.flags, "--explain", "joe@old.example", "--on", "mx")
    assert done.returncode == 0
    assert "@old.example" in done.stdout and "joe@example.test" in done.stdout
    assert "store" in done.stdout

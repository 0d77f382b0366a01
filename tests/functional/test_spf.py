# SPDX-License-Identifier: BSD-2-Clause
"""[spf]: the suite of RFC 7208 through the whole program, actions, header fields, a sick evaluator."""
import concurrent.futures
import itertools
import os
import re
import shutil
import signal

import pytest

from conftest import relay_config
from harness import recipe, spf_suite
from harness.dns import TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.postern import binary
from harness.postfix import queue_id
from harness.spf_evaluator import Evaluator
from harness.spf_suite import Zone
from peers.client import elapsed

needs_suite = pytest.mark.skipif(spf_suite.path() is None, reason="no ../shared/data/spf")
XCLIENT = "xclient-from = 127.0.0.1\nresolve-names = no\nfilter = spf\n"
CLIENT = "192.0.2.1"
REFUSED = re.compile(r"(550 5\.7\.2[34]|451 4\.7\.2[34]) (.*) \(SPF\)(?:; its explanation: (.*))?")


@pytest.fixture
def gatekeeper(postern, target, zone_dns):
    """A postern with [spf] before a target that takes everything; (postern, target)."""
    def make(*lines, zone=None, **options):
        backend = target()
        zone_dns.zone = zone and Zone(zone)
        text = "[spf \"spf\"]\n" + "".join(line + "\n" for line in lines)
        return postern(text + relay_config(backend.address), resolver=zone_dns.address,
                       smtpd=XCLIENT, **options), backend
    return make


def session(server, host=CLIENT, helo="helo.test"):
    """A client that XCLIENT says is another."""
    client = server.client()
    client.expect(220)
    client.expect(250, "EHLO test")
    client.expect(220, f"XCLIENT ADDR={'IPV6:' if ':' in host else ''}{host}")
    client.expect(250, f"EHLO {helo}")
    return client


def fields(content, name):
    """The values of all header fields of that name, unfolded."""
    header = content.split(b"\r\n\r\n")[0].decode("latin-1").replace("\r\n\t", " ")
    return [line.split(": ", 1)[1] for line in header.split("\r\n") if line.startswith(name + ": ")]


# ---- the suite -----------------------------------------------------------------------------------

class CannotSay(Exception):
    """SMTP has no words for this case."""


def quoted(sender):
    local, at, domain = sender.rpartition("@")
    return f'"{local}"{at}{domain}' if " " in local else sender


def through_smtp(client, mailbox, case, result_of):
    """Result and explanation; result_of(mailbox) is what was found of a message that was accepted."""
    with client:
        client.expect(220)
        client.expect(250, "EHLO test")
        client.expect(220, f"XCLIENT ADDR={'IPV6:' if ':' in case.host else ''}{case.host}")
        if client.command(f"EHLO {case.helo}").code != 250 \
                or client.command(f"MAIL FROM:<{quoted(case.sender)}>").code != 250:
            raise CannotSay
        reply = client.command(f"RCPT TO:<{mailbox}>")
        if reply.code != 250:
            code, _, explanation = REFUSED.fullmatch(reply.lines[-1]).groups()
            return {"550 5.7.23": "fail", "451 4.7.24": "temperror"}[code], explanation
        assert client.data(PLAIN_MESSAGE).code == 250
    return result_of(mailbox), None


def straight(evaluator, case):
    """The same of the evaluator."""
    local, domain = case.local_and_domain
    got = evaluator.check(case.zone, case.host, case.helo, local, domain)
    return got.result, got.explanation or None


def run_suite(zone_dns, ask):
    """All cases, by ask(case, serial), the result of each printed. What SMTP cannot say goes straight to
    the evaluator, and is counted apart: count, how many SMTP said, what differs."""
    evaluator = Evaluator()
    serials = itertools.count()
    count = said = 0
    differing = []

    def run(case):
        try:
            return ask(case, next(serials))
        except CannotSay:
            return None

    for section, cases in itertools.groupby(spf_suite.cases(), key=lambda case: case.section):
        cases = list(cases)
        zone_dns.zone = cases[0].zone
        zone_dns.is_silent = section == "Record lookup"
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(run, cases))
        for case, got in zip(cases, results):
            is_said = got is not None
            result, explanation = got if is_said else straight(evaluator, case)
            count += 1
            said += is_said
            is_right = result in case.results and (
                case.explanation is None or case.explanation == (explanation or "DEFAULT"))
            print(f"{'right' if is_right else 'WRONG'} {'' if is_said else '(straight) '}"
                  f"{section} / {case.name}: {result}")
            if not is_right:
                differing.append(f"{case.name}: {result} {explanation!r}, expected {case.results} "
                                 f"{case.explanation!r}")
    assert evaluator.stop() == (0, "")
    print(f"{said} by SMTP, {count - said} straight; {len(differing)} differ")
    return count, said, differing


@needs_suite
def test_suite(gatekeeper, zone_dns):
    """The RFC 7208 test suite gives its results through the whole program."""
    server, backend = gatekeeper()

    def result_of(mailbox):
        content = next(one.content for one in backend.transactions
                       if any(mailbox in rcpt for rcpt in one.rcpts))
        return fields(content, "Received-SPF")[0].split()[0]

    count, said, differing = run_suite(zone_dns, lambda case, serial: through_smtp(
        server.client(), f"case{serial}@example.test", case, result_of))
    assert (count, said, differing) == (203, 200, [])


# ---- what results mean ---------------------------------------------------------------------------

FAILS = {"d.test": [{"TXT": "v=spf1 -all exp=why.d.test"}],
         "why.d.test": [{"TXT": "Ask %{o} about %{i}"}],
         "helo.test": [{"TXT": "v=spf1 ip4:192.0.2.0/24 -all"}]}


def rcpt(client, sender="local@d.test"):
    """The reply to RCPT."""
    client.expect(250, f"MAIL FROM:<{sender}>")
    return client.command("RCPT TO:<joe@example.test>")


def test_a_failure_is_refused_in_whose_words(gatekeeper):
    server, backend = gatekeeper(zone=FAILS)
    with session(server) as client:
        reply = rcpt(client)
        assert reply.lines == ["550 5.7.23 d.test forbids mail from 192.0.2.1 (SPF); "
                               "its explanation: Ask d.test about 192.0.2.1"]
        assert client.command("DATA").code in (550, 554)
        client.expect(250, "RSET")
        assert rcpt(client, "other@helo.test").code == 250       # the next message is another
    assert backend.transactions == [] or not backend.transactions[0].content
    refused = server.wait_event("filter")
    assert (refused["filter"], refused["word"]) == ("spf", "fail")


def test_lmtp(gatekeeper):
    """LHLO's name is asked about as EHLO's is, and each recipient hears of the refusal."""
    server, backend = gatekeeper(zone=FAILS)
    with session(server) as client:
        client.expect(250, "LHLO helo.test")
        client.expect(250, "MAIL FROM:<local@d.test>")
        for _ in range(2):
            client.expect(550, "RCPT TO:<joe@example.test>")
        client.expect(550, "DATA")
        client.expect(250, "RSET")
        client.envelope("other@helo.test", ["joe@example.test", "jane@example.test"])
        assert client.data(PLAIN_MESSAGE).code == 250
        client.expect(250)
        client.expect(250, "NOOP")
    assert "helo.test" in fields(backend.wait_ended()[0].content, "Received-SPF")[0]


def test_the_explanation_can_be_left_out(gatekeeper, zone_dns):
    server, _ = gatekeeper("explain = no", zone=FAILS)
    with session(server) as client:
        assert rcpt(client).lines == ["550 5.7.23 d.test forbids mail from 192.0.2.1 (SPF)"]
    assert zone_dns.asked == [("d.test", "TXT")]


ACTIONS = [("fail", "v=spf1 -all", 23), ("softfail", "v=spf1 ~all", 23),
           ("neutral", "v=spf1 ?all", 23), ("none", "other", 23),
           ("permerror", "v=spf1 foo", 24), ("temperror", "TIMEOUT", 24)]


@pytest.mark.parametrize("result, record, detail", ACTIONS, ids=[row[0] for row in ACTIONS])
def test_actions(gatekeeper, zone_dns, result, record, detail):
    zone = Zone({"d.test": ["TIMEOUT" if record == "TIMEOUT" else {"TXT": record}]})
    for action in ("reject", "defer", "mark", "pass"):
        server, backend = gatekeeper(f"{result} = {action}")
        zone_dns.zone = zone
        with session(server) as client:
            reply = rcpt(client)
            if action in ("reject", "defer"):
                code = f"550 5.7.{detail} " if action == "reject" else f"451 4.7.{detail} "
                assert reply.lines[-1].startswith(code), reply.raw
                continue
            assert reply.code == 250
            assert client.data(PLAIN_MESSAGE).code == 250
        content = backend.wait_ended()[0].content
        marks = fields(content, "Received-SPF")
        assert [mark.split()[0] for mark in marks] == ([result] if action == "mark" else [])
        assert content.endswith(PLAIN_MESSAGE)
        assert result in server.wait_transaction()["filters"]


def test_fields(gatekeeper):
    server, backend = gatekeeper("header = received-spf authentication-results", "authserv-id = id.test",
                                 zone={"d.test": [{"TXT": "v=spf1 ip4:192.0.2.0/24 -all"}]})
    with session(server) as client:
        assert client.mail(PLAIN_MESSAGE, sender="local@d.test").code == 250
    content = backend.wait_ended()[0].content
    assert fields(content, "Authentication-Results") == [
        "id.test; spf=pass (d.test permits mail from 192.0.2.1) smtp.mailfrom=local@d.test"]
    assert fields(content, "Received-SPF") == [
        "pass (postern.example.test: d.test permits mail from 192.0.2.1) client-ip=192.0.2.1; "
        "envelope-from=\"local@d.test\"; helo=helo.test; receiver=postern.example.test; "
        "identity=mailfrom; mechanism=\"ip4:192.0.2.0/24\";"]


def test_forged_results_are_taken_out(gatekeeper):
    """Those that claim to be ours; others are none of our business."""
    server, backend = gatekeeper("header = authentication-results", "authserv-id = id.test",
                                 zone={"d.test": [{"TXT": "v=spf1 ?all"}]})
    with session(server) as client:
        forged = b"".join(b"Authentication-Results: %s;\r\n\tspf=pass smtp.mailfrom=a@d.test\r\n" % name
                          for name in (b"id.test", b"other.test", b"ID.test"))
        assert client.mail(forged + PLAIN_MESSAGE, sender="local@d.test").code == 250
    assert [field.split(";")[0] + field.split("spf=")[1].split()[0] for field in
            fields(backend.wait_ended()[0].content, "Authentication-Results")] == [
                "id.testneutral", "other.testpass"]


def test_no_field(gatekeeper):
    server, backend = gatekeeper("header = none", zone={"d.test": [{"TXT": "v=spf1 ?all"}]})
    with session(server) as client:
        assert client.mail(PLAIN_MESSAGE, sender="local@d.test").code == 250
    assert fields(backend.wait_ended()[0].content, "Received-SPF") == []


@pytest.mark.parametrize("check, sender, code, identities", [
    ("mail", "local@d.test", 550, []), ("mail", "", 250, ["helo"]),
    ("helo", "local@d.test", 250, ["helo"]), ("helo", "", 250, ["helo"]),
    ("both", "local@d.test", 550, []), ("both", "local@helo.test", 250, ["helo", "mailfrom"])])
def test_whose_policy_is_asked(gatekeeper, check, sender, code, identities):
    server, backend = gatekeeper(f"check = {check}", zone=FAILS)
    with session(server) as client:
        assert rcpt(client, sender).code == code
        if code == 250:
            assert client.data(PLAIN_MESSAGE).code == 250
            marks = fields(backend.wait_ended()[0].content, "Received-SPF")
            assert [re.search(r"identity=(\w+);", mark)[1] for mark in marks] == identities


def test_hostile_texts_stay_harmless(gatekeeper):
    """A sender, a HELO and a record that would like to be header fields."""
    server, backend = gatekeeper(
        "header = received-spf authentication-results",
        zone={"d.test": [{"TXT": "v=spf1 a:\"(\\\r\nSubject:forged -all"}]})
    with session(server) as client:
        client.expect(250, "MAIL FROM:<\"a\\\"; spf=pass (\"@d.test>")
        client.expect(250, "RCPT TO:<joe@example.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
    content = backend.wait_ended()[0].content
    assert content.count(b"spf=pass") == content.count(b"\\\"; spf=pass") > 0
    assert b"\nSubject:forged" not in content


def test_answers_without_end_are_an_error(gatekeeper):
    """Each as large as DNS can tell it, and together more than one request holds."""
    zone = {"d.test": [{"TXT": "v=spf1 include:0.d.test include:1.d.test -all"}]}
    for n in range(2):
        zone[f"{n}.d.test"] = [{"TXT": "v=spf1 ?all"}, *({"TXT": f"{i} " + "x" * 240} for i in range(200))]
    server, _ = gatekeeper("permerror = reject", zone=zone)
    with session(server) as client:
        assert rcpt(client).lines[-1].startswith("550 5.7.24 ")


# ---- time, and a sick evaluator ------------------------------------------------------------------

def test_the_whole_check_has_a_time_out(gatekeeper, zone_dns):
    zone_dns.is_silent = True
    server, _ = gatekeeper("timeout = 1s", zone={"d.test": ["TIMEOUT"]})
    with session(server) as client:
        seconds, reply = elapsed(rcpt, client)
    assert reply.lines[-1].startswith("451 4.7.24 ")
    assert 0.9 < seconds < 4        # DNS gives up after 4.5 s


def test_a_session_that_is_cut_takes_its_check_along(gatekeeper, zone_dns):
    """At a shutdown, long before DNS gives up."""
    zone_dns.is_silent = True
    server, _ = gatekeeper("timeout = 5m", core="shutdown-timeout = 1s", zone={"d.test": ["TIMEOUT"]})
    with session(server) as client:
        client.expect(250, "MAIL FROM:<local@d.test>")
        client.send(b"RCPT TO:<joe@example.test>\r\n")
        zone_dns.wait_asked("d.test", "TXT")
        seconds, _ = elapsed(server.stop)
    assert seconds < 4


def evaluator_of(server):
    """The process id of its evaluator; None: there is none now."""
    path = f"/proc/{server.process.child.pid}/task/{server.process.child.pid}/children"
    with open(path, encoding="ascii") as file:
        for pid in file.read().split():
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as name:
                    if name.read().startswith("postern-"):
                        return int(pid)
            except FileNotFoundError:
                pass
    return None


PASSES = {"d.test": [{"TXT": "v=spf1 +all"}], "e.test": [{"TXT": "v=spf1 +all"}]}


def test_a_dead_evaluator_is_replaced(gatekeeper):
    server, _ = gatekeeper(zone=PASSES)
    with session(server) as client:
        assert rcpt(client).code == 250
        first = evaluator_of(server)
        os.kill(first, signal.SIGKILL)
        client.expect(250, "RSET")
        assert rcpt(client).code == 250
        assert evaluator_of(server) not in (first, None)


def test_an_evaluator_that_hangs_is_killed(gatekeeper):
    """Whose check it was is told to come again; a second time the domain has itself to blame."""
    server, _ = gatekeeper("permerror = reject", zone=PASSES)
    with session(server) as client:
        for code in ("451 4.7.24 ", "451 4.7.24 "):
            assert rcpt(client, "local@e.test").code == 250     # it runs again
            client.expect(250, "RSET")
            os.kill(evaluator_of(server), signal.SIGSTOP)
            assert rcpt(client).lines[-1].startswith(code)
            client.expect(250, "RSET")
        assert rcpt(client).lines[-1].startswith("550 5.7.24 ")
        client.expect(250, "RSET")
        assert rcpt(client, "local@e.test").code == 250
    assert [event["domain"] for event in server.events("spf-evaluator")] == ["d.test", "d.test"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder as `make install` fills it, but for the evaluator: (it, the evaluator's place)."""
    if binary().endswith("postern-in-valgrind"):
        pytest.skip("valgrind's wrapper cannot be moved")
    folder = tmp_path / "libexec/postern"
    (tmp_path / "sbin").mkdir()
    folder.mkdir(parents=True)
    shutil.copy(binary(), tmp_path / "sbin/postern")
    beside = os.path.join(os.path.dirname(binary()), "postern-spf")
    monkeypatch.setenv("POSTERN", str(tmp_path / "sbin/postern"))
    return beside, folder / "postern-spf"


def test_an_installed_evaluator(gatekeeper, installed):
    shutil.copy(*installed)
    server, _ = gatekeeper(zone=PASSES)
    assert server.check().returncode == 0
    with session(server) as client:
        assert rcpt(client).code == 250


def test_without_an_evaluator(gatekeeper, installed):
    """--check says it, and checks are temporary errors."""
    server, _ = gatekeeper(zone=PASSES)
    done = server.check()
    assert done.returncode == 78 and "postern-spf" in done.stderr
    with session(server) as client:
        assert rcpt(client).lines[-1].startswith("451 4.7.24 ")
    assert server.wait_event("spf-evaluator")["error"]


def test_settings(gatekeeper):
    server, _ = gatekeeper("header = none received-spf", is_started=False)
    done = server.check()
    assert done.returncode == 78 and "none alone, or fields" in done.stderr


# ---- at a real target ----------------------------------------------------------------------------

def test_postfix_gets_the_fields(xforward_chain, zone_dns):
    """By the recipe: in front of the message, as postern's own fields and before those of the client."""
    zone_dns.zone = Zone({"d.test": [{"TXT": "v=spf1 ip4:192.0.2.0/24 -all"}]})
    chain = xforward_chain
    added = recipe.put_in(recipe.block("spf", "postern.cf"), networks=f"{TRUSTED}/32")
    server = chain.postern(smtpd="xclient-from = 127.0.0.1\nresolve-names = no\n"
                           + added.replace("mx.example.test", "mx"), resolver=zone_dns.address)
    with session(server, TRUSTED) as client:
        assert rcpt(client).code == 250
    with session(server, "198.51.100.1") as client:
        assert rcpt(client).lines[-1].startswith("550 5.7.23 ")
    with session(server) as client:
        reply = client.mail(PLAIN_MESSAGE, sender="local@d.test")
    stored = chain.postfix.delivered(queue_id(reply)).raw
    stored = stored.replace(b"\n", b"\r\n")
    assert [field.split()[0] for field in fields(stored, "Received-SPF")] == ["pass"]
    assert "spf=pass" in fields(stored, "Authentication-Results")[0]
    assert stored.index(b"Received-SPF:") < stored.index(b"Subject:")

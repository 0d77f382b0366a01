# SPDX-License-Identifier: BSD-2-Clause
"""postern-spf alone: the suite of RFC 7208, hostile records, its sandbox."""
import os
import pathlib

import pytest

from harness import spf_suite
from harness.postern import binary
from harness.spf_evaluator import Died, Evaluator, answer, head
from harness.spf_suite import Zone

needs_suite = pytest.mark.skipif(spf_suite.path() is None, reason="no ../shared/data/spf")
CLIENT = "192.0.2.1"


def programs():
    """The one beside the postern under test, and the one that is installed: sanitizers need more
    system calls than its sandbox allows."""
    beside = pathlib.Path(binary()).parent / "postern-spf"
    return list(dict.fromkeys([beside, pathlib.Path(os.path.dirname(beside.parent), "postern-spf")
                               if beside.parent.name == "asan" else beside]))


@pytest.fixture(params=["beside", "release"])
def evaluator(request):
    one = Evaluator(programs()[-1 if request.param == "release" else 0])
    yield one
    code, said = one.stop()
    assert (code, said) == (0, "")


def check(evaluator, zone, client=CLIENT):
    return evaluator.check(Zone(zone), client, "helo.test", "local", "d.test")


@needs_suite
def test_suite(evaluator):
    """All cases of the RFC 7208 test suite; what differs is printed."""
    differing = []
    count = 0
    for case in spf_suite.cases():
        count += 1
        local, domain = case.local_and_domain
        got = evaluator.check(case.zone, case.host, case.helo, local, domain)
        explanation = got.explanation or "DEFAULT"
        is_right = got.result in case.results and case.explanation in (None, explanation)
        print(f"{'right' if is_right else 'WRONG'} {case.section} / {case.name}: {got.result}")
        if not is_right:
            differing.append(f"{case.name}: {got}, expected {case.results} {case.explanation!r}")
    print(f"{count - len(differing)} of {count} cases")
    assert count == 203
    assert not differing, "\n".join(differing)


# What overflows a buffer of libspf2 1.2.10 (CVE-2023-42118), as a mechanism and as an explanation.
MACROS = "%{d}" * 127


@pytest.mark.parametrize("tail, result", [("AAAA" * 60, "permerror"), (".AAAA", "softfail")])
def test_127_macros_in_a_mechanism(evaluator, tail, result):
    got = check(evaluator, {"d.test": [{"TXT": f"v=spf1 exists:{MACROS}{tail} ~all"}]})
    assert got.result == result


def test_127_macros_in_an_explanation(evaluator):
    got = check(evaluator, {"d.test": [{"TXT": "v=spf1 -all exp=e.test"}],
                            "e.test": [{"TXT": MACROS + "A" * 400}]})
    assert (got.result, got.explanation, got.mechanism) == ("fail", "", "-all")


def test_includes_do_not_multiply(evaluator):
    """Ten includes of ten includes of ten includes: libspf2 alone asks 1,011 questions."""
    zone = {"d.test": [{"TXT": "v=spf1" + "".join(f" include:{n}.d.test" for n in range(10))}]}
    for n in range(10):
        zone[f"{n}.d.test"] = [{"TXT": "v=spf1" + "".join(f" include:{n}{m}.d.test" for m in range(10))}]
        for m in range(10):
            zone[f"{n}{m}.d.test"] = [{"TXT": "v=spf1" + " a:else.test" * 10}]
    zone["else.test"] = [{"A": "192.0.2.99"}]
    got = check(evaluator, zone)
    assert (got.result, got.problem) == ("permerror", "more than 10 terms that ask DNS")
    assert len(got.questions) <= 12


def test_includes_in_a_circle(evaluator):
    got = check(evaluator, {"d.test": [{"TXT": "v=spf1 include:d.test -all"}]})
    assert (got.result, got.questions) == ("permerror", [("d.test", "TXT")])


def test_a_long_record_of_addresses(evaluator):
    """libspf2's compiled records hold 63 of them."""
    addresses = "".join(f" ip4:10.0.0.{n}" for n in range(200))
    got = check(evaluator, {"d.test": [{"TXT": f"v=spf1{addresses} ip4:{CLIENT} -all"}]})
    assert (got.result, got.mechanism) == ("pass", f"ip4:{CLIENT}")


@pytest.mark.parametrize("record, mechanism", [
    ("v=spf1 a -all", "-all"),
    ("v=spf1 include:pass.test -all", "include:pass.test"),
    ("v=spf1 ~include:pass.test", "~include:pass.test"),
    ("v=spf1 include:fail.test", "default"),
    ("v=spf1 include:fail.test redirect=pass.test", "ip4:192.0.2.0/24"),
    ("v=spf1 redirect=nested.test", "include:pass.test"),
    ("v=spf1 exists:pass.test", "default"),
])
def test_which_term_decided(evaluator, record, mechanism):
    got = check(evaluator, {"d.test": [{"TXT": record}, {"A": "192.0.2.99"}],
                            "nested.test": [{"TXT": "v=spf1 include:pass.test"}],
                            "pass.test": [{"TXT": "v=spf1 ip4:192.0.2.0/24"}],
                            "fail.test": [{"TXT": "v=spf1 -ip4:192.0.2.0/24"}]})
    assert got.mechanism == mechanism


def test_the_faulty_term_is_named(evaluator):
    got = check(evaluator, {"d.test": [{"TXT": "v=spf1 a mx:foo/33 -all"}]})
    assert (got.result, got.problem) == ("permerror", "mx:foo/33")


@pytest.mark.parametrize("nonsense", [
    b"\0", b"Q", b"R" * 100, head(CLIENT, "h", "l", "d.test")[:-1],
    head(CLIENT, "h", "l", "d.test") + answer("A", 0, "d.test", [b"abc"]), b"Q" * 65536])
def test_nonsense_ends_it(evaluator, nonsense):
    with pytest.raises(Died):
        evaluator.ask(nonsense)


def test_sandbox():
    """What the kernel says of the installed program. What it may do then: test_spf_sandbox.c."""
    one = Evaluator(programs()[-1])
    assert check(one, {}).result == "none"
    folder = pathlib.Path(f"/proc/{one.child.pid}")
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines()
                  if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert sorted(os.listdir(folder / "fd")) == ["0", "1", "2"]
    limits = (folder / "limits").read_text()
    assert f"Max address space         {64 << 20}" in limits
    assert "Max core file size        0" in limits
    assert one.stop() == (0, "")

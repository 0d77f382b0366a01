# SPDX-License-Identifier: BSD-2-Clause
"""The test suite of RFC 7208: its cases, and its zones as a table.

The suite is external data, which this repository does not hold: it is read from ../shared/data beside
the repository.
"""
import dataclasses
import ipaddress
import json
import pathlib
import subprocess

from harness.recipe import TOP

FOUND, ABSENT, TEMPORARY = range(3)
TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}


def path():
    """Where the suite is; None: it is not there."""
    git = subprocess.run(["git", "rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=TOP,
                         capture_output=True, text=True, check=False).stdout.strip()
    for top in filter(None, (TOP, git and pathlib.Path(git).parent)):
        found = pathlib.Path(top).parent / "shared/data/spf/rfc7208-tests.json"
        if found.exists():
            return found
    return None


@dataclasses.dataclass
class Case:
    section: str
    name: str
    zone: "Zone"
    host: str
    helo: str
    sender: str
    results: tuple
    explanation: str | None     # "DEFAULT": the domain gives none that may be used

    @property
    def local_and_domain(self):
        """Whom the check is about: without a sender, postmaster at HELO (RFC 7208 2.4)."""
        local, at, domain = self.sender.rpartition("@")
        return (local, domain) if at else ("", self.helo)


def cases():
    for scenario in json.loads(path().read_text(encoding="utf-8")):
        zone = Zone(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            results = test["result"]
            yield Case(scenario["description"], name, zone, str(test["host"]), str(test["helo"]),
                       test["mailfrom"], tuple([results] if isinstance(results, str) else results),
                       test.get("explanation"))


class Zone:
    """Names with records {type: data}; "TIMEOUT" among them: no answer for types that have none.
    Records of type SPF count as TXT where there are no TXT records; TXT "NONE" denies that."""

    def __init__(self, data):
        self.names = {name.lower(): records for name, records in data.items()}

    def find(self, name, kind):
        """Status and records as they go over the wire to the evaluator."""
        for _ in range(10):
            entries = self.names.get(name.lower().rstrip("."))
            if entries is None:
                return ABSENT, []
            of_type = [data for entry in entries if isinstance(entry, dict)
                       for key, data in entry.items() if key == kind]
            if kind == "TXT" and not of_type:
                of_type = [entry["SPF"] for entry in entries
                           if isinstance(entry, dict) and "SPF" in entry]
            of_type = [data for data in of_type if data != "NONE"]
            if of_type:
                return FOUND, sorted(of_type) if kind == "MX" else of_type
            if "TIMEOUT" in entries:
                return TEMPORARY, []
            aliases = [entry["CNAME"] for entry in entries
                       if isinstance(entry, dict) and "CNAME" in entry]
            if not aliases:
                return ABSENT, []
            name = aliases[0]
        return ABSENT, []


def octets(kind, data):
    """One record as the evaluator reads it."""
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(data).packed
    if kind == "MX":
        return data[1].encode()
    if kind == "TXT":
        return b"".join(strings(data))
    return data.encode()


def strings(data):
    """The strings of a TXT record."""
    return [text.encode("utf-8") for text in ([data] if isinstance(data, str) else data)]

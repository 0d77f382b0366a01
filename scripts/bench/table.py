# SPDX-License-Identifier: BSD-2-Clause
"""The result: a row a figure, a column a subject, and what postern must reach."""

import collections

COLUMNS = ["direct", "haproxy", "nginx", "exim", "postfix", "pyspf", "dovecot", "postern"]
RTT_MS = 50


class Limit:
    """What postern's figure must not exceed, or (is_least) reach: `times` the figure of the `peer`,
    or `value`."""

    def __init__(self, times=None, value=None, peer="haproxy", is_least=False):
        self.times, self.value, self.peer, self.is_least = times, value, peer, is_least

    def resolve(self, values):
        if self.times is None:
            return self.value
        base = values[self.peer]
        return None if base is None else self.times * base

    def is_missed(self, figure, bound):
        return figure < bound if self.is_least else figure > bound


def simple_rows():
    """Title, unit, row of samples, limit or None."""
    return [
        ("4 KiB, new connection each", "µs CPU/message", "new", Limit(times=0.8)),
        ("", "messages/s", "new rate", None),
        ("4 KiB, kept connections", "µs CPU/message", "kept", Limit(times=1.0)),
        ("", "messages/s", "kept rate", None),
        ("1 MiB, kept connections", "µs CPU/MiB", "big", Limit(times=1.1)),
        ("", "messages/s", "big rate", None),
        ("latency over direct, kept", "µs median", "latency median", Limit(times=1.0)),
        ("", "µs p99", "latency p99", Limit(times=1.0)),
        ("the same, pipelining", "µs median", "pipelined median", Limit(times=1.0)),
        ("", "µs p99", "pipelined p99", Limit(times=1.0)),
        ("the same, connecting", "µs median", "connecting median", Limit(times=1.0)),
        ("", "µs p99", "connecting p99", Limit(times=1.0)),
        ("idle connection", "octets", "idle", Limit(value=2048)),
        ("", "target connections", "idle held", Limit(value=10)),
        ("50 ms link, pipelining client", "ms", "rtt pipelining", None),
        ("50 ms link, lock-step client", "ms", "rtt lock-step", None),
    ]


def rtt_rows():
    """Postern alone: round trips by client, identity, CHUNKING and heat, and 5 ms."""
    rows = []
    for heat in ("warm", "cold"):
        for identity in ("XFORWARD", "no identity", "XCLIENT"):
            for chunking in (", CHUNKING", ""):
                for client in ("pipelining", "lock-step"):
                    trips = 2 if client == "pipelining" or chunking else 3
                    trips += 2 if identity == "XCLIENT" else 0
                    trips += 3 if heat == "cold" else 0
                    rows.append((f"50 ms, {heat}, {client}: {identity}{chunking}", "ms",
                                 f"rtt {heat} {identity}{chunking} {client}",
                                 Limit(value=trips * RTT_MS + 5)))
    return rows


def flat_rows(bench):
    rows = []
    for kind, first, counts in (("connections", 10, (10, 100, 1000, 5000)),
                                ("relays", 1, (1, 1000))):
        base = bench.median(f"flat {kind} {first}", "postern")
        for count in counts:
            limit = Limit(value=1.15 * base) if base is not None and count > first else None
            rows.append((f"4 KiB, kept, {count} {kind}", "µs CPU/message", f"flat {kind} {count}",
                         limit))
    return rows


def queue_rows(bench):
    one = {row: bench.median(f"workers 1{row}", "postern") for row in ("", " rate")}

    def of_one(row, times, is_least=False):
        return Limit(value=times * one[row], is_least=is_least) if one[row] else None

    return [
        ("target down, every 250 durable", "messages/s", "down rate",
         Limit(times=5, peer="postfix", is_least=True)),
        ("", "µs CPU/message", "down cpu", Limit(times=0.25, peer="postfix")),
        ("target back: draining", "messages/s", "drain rate",
         Limit(times=10, peer="postfix", is_least=True)),
        ("", "octets more memory", "drain memory", None),
        ("one worker on all cores", "messages/s", "workers 1 rate", None),
        ("", "µs CPU/message", "workers 1", None),
        ("two workers on all cores", "messages/s", "workers 2 rate", None),
        ("", "µs CPU/message", "workers 2", of_one("", 1.1)),
        ("a million messages: first start", "s", "restart first", None),
        ("the same, cold cache", "s", "restart cold", Limit(value=10)),
        ("", "octets/message", "restart memory", Limit(value=300)),
    ]


def spf_rows():
    return [
        ("SPF with warm cache, added latency", "µs median", "spf latency", Limit(value=100)),
        ("", "µs CPU/check", "spf cpu", None),
        ("", "checks/s of one core", "spf rate", Limit(value=10000, is_least=True)),
        ("a milter that only judges", "µs CPU/message", "judge cpu",
         Limit(peer="postfix", times=0.5)),
        ("five that think for 50 ms", "ms median", "judge five", Limit(value=60)),
        ("Postfix with SPF by a milter", "µs median", "milter latency", Limit(peer="pyspf", times=1.0)),
        ("", "messages/s", "milter rate", Limit(peer="pyspf", times=1.0, is_least=True)),
        ("", "µs CPU of milter", "milter cpu", Limit(peer="pyspf", times=1.0)),
    ]


def lmtp_rows(bench):
    one = bench.median("spread one", "postern")
    return [
        ("LMTP on both sides, kept connections", "µs CPU/message", "lmtp cpu",
         Limit(peer="dovecot", times=0.1)),
        ("the same over 50 ms", "ms", "lmtp rtt", Limit(value=2 * RTT_MS + 5)),
        ("50 ms, one recipient", "ms", "spread one", Limit(value=2 * RTT_MS + 5)),
        ("50 ms, 20 recipients on 5 targets", "ms", "spread twenty",
         Limit(value=one + 5) if one is not None else None),
    ]


def tls_rows():
    return [
        ("TLS, full handshake and 4 KiB each", "µs CPU/message", "tls new", Limit(times=1.1)),
        ("", "handshakes/s", "tls new rate", None),
        ("the same, resumed", "µs CPU/message", "tls resumed", Limit(times=1.1)),
        ("", "handshakes/s", "tls resumed rate", None),
        ("TLS, 4 KiB, kept connections", "µs CPU/message", "tls kept", Limit(times=1.1)),
        ("TLS, 1 MiB, kept connections", "µs CPU/MiB", "tls big", Limit(times=1.1)),
        ("TLS, one session, kept", "µs median", "tls latency", Limit(times=1.1)),
        ("idle TLS connection", "octets", "tls idle", Limit(value=20 * 1024)),
        ("1 MiB, HAProxy with splice-auto", "µs CPU/MiB", "splice", None),
    ]


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def show(bench):
    """Returns the exit code: 1 when a measurement failed. A missed limit is a result."""
    print(f"\n{'':52}{'':20}" + "".join(f"{name:>10}" for name in COLUMNS)
          + f"{'/haproxy':>10}{'limit':>10}")
    topic = None
    for title, unit, row, limit in (simple_rows() + rtt_rows() + flat_rows(bench)
                                    + queue_rows(bench) + spf_rows() + lmtp_rows(bench)
                                    + tls_rows()):
        topic = title or topic
        values = {name: bench.median(row, name) for name in COLUMNS}
        if all(value is None for value in values.values()):
            continue
        haproxy, postern = values["haproxy"], values["postern"]
        line = f"{topic or '':52}{unit:20}" + "".join(f"{number(values[name]):>10}" for name in COLUMNS)
        topic = None
        line += f"{postern / haproxy:>10.2f}" if haproxy and postern is not None else f"{'-':>10}"
        bound = limit.resolve(values) if limit else None
        if bound is not None:
            line += f"{number(bound):>10}"
            if postern is not None:
                line += "  MISSED" if limit.is_missed(postern, bound) else "  OK"
        print(line)
    for note, times in collections.Counter(bench.notes).items():
        print(f"failed{f' {times} times' if times > 1 else ''}: {note}")
    return 1 if bench.notes else 0

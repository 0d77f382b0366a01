# SPDX-License-Identifier: BSD-2-Clause
"""TLS from the first octet towards the client, none towards the target, beside those that do the
same; and what HAProxy makes of splice()."""

import time

from parts import CONCURRENT, IDLE, IDLE_MOST, Tool, count_for
from peers import Failed, Subject

TLS_PORTS = {"haproxy": 3101, "nginx": 3102, "postfix": 3104, "postern": 3105}
SPLICE_PORT = 3111
HANDSHAKES = {"postfix": 600, "": 3000}
# Resumed at least, in percent. Postfix gives no new ticket to who has come with one.
RESUMED = {"postfix": 45, "": 99}
ROWS = [  # row, also in parts.COUNTS; options of source; octets
    ("kept", ["-t", "-k", "-c", CONCURRENT], 4096),
    ("big", ["-t", "-k", "-c", 4], 1 << 20),
]


def subjects(bench):
    return [name for name in bench.names if name in TLS_PORTS]


def handshakes(bench, name, subject, row, option):
    """Each on a connection with one message. With -T the first ones
    handshake in full."""
    count = HANDSHAKES.get(name, HANDSHAKES[""])
    options = (option, "-c", CONCURRENT)
    bench.run(subject, subject.port, *options, count=count // 10)
    result, cpu = bench.run(subject, subject.port, *options, count=count)
    resumed, least = result["resumed"], RESUMED.get(name, RESUMED[""])
    if resumed > 0 if option == "-t" else resumed * 100 < count * least:
        raise Failed(f"{resumed} of {count} handshakes were resumed")
    bench.add(f"tls {row}", name, cpu * 1e6 / count)
    bench.add(f"tls {row} rate", name, result["rate"])


def part_tls(bench):
    """A subject at a time: it is started, and its figures are taken, in each round."""

    def measure(name):
        subject = bench.kitchen.start_secure(name, TLS_PORTS[name], bench.target_port(name))
        try:
            handshakes(bench, name, subject, "new", "-t")
            handshakes(bench, name, subject, "resumed", "-T")
            for row, options, size in ROWS:
                count = count_for(row, name)
                bench.run(subject, subject.port, *options, count=max(count // 10, 20), size=size)
                _, cpu = bench.run(subject, subject.port, *options, count=count, size=size)
                bench.add(f"tls {row}", name, cpu * 1e6 / count)
            result, _ = bench.run(subject, subject.port, "-t", "-k", "-w", 50,
                                  count=count_for("latency", name))
            bench.add("tls latency", name, result["median_us"])
        finally:
            subject.stop()

    bench.each_round("tls", measure, subjects(bench))


def part_tls_idle(bench):
    """Connections that have said EHLO, of a fresh subject each."""

    def measure(name):
        subject = bench.kitchen.start_secure(name, TLS_PORTS[name], bench.target_port(name))
        count = IDLE.get(name, IDLE_MOST)
        source = None
        try:
            bench.run(subject, subject.port, "-t", "-c", 4, count=20)
            time.sleep(0.3)
            memory = subject.memory_bytes()
            source = Tool(bench, "source", "-t", "-n", 0, "-c", count, subject.port)
            source.line()
            time.sleep(0.3)
            bench.add("tls idle", name, (subject.memory_bytes() - memory) / count)
            source.go()
            source.line()
            source.go()
            if source.process.wait(60) != 0:
                raise Failed("an idle connection was lost")
        finally:
            if source:
                source.kill()
            subject.stop()

    rounds, bench.rounds = bench.rounds, 1
    bench.each_round("tls-idle", measure, subjects(bench))
    bench.rounds = rounds


def part_splice(bench):
    """The 1 MiB row again, where HAProxy may leave octets in the kernel."""
    kitchen = bench.kitchen

    def measure(name):
        subject = bench.subject(name)
        if name == "haproxy":
            command, _ = kitchen.make_haproxy(kitchen.home(name, SPLICE_PORT), SPLICE_PORT,
                                              bench.target_port(name), splices=True)
            subject = Subject(name, SPLICE_PORT, command, kitchen.core, kitchen.directory)
        try:
            count = count_for("big", name)
            options = ("-k", "-c", 4)
            bench.run(subject, subject.port, *options, count=count // 10, size=1 << 20)
            _, cpu = bench.run(subject, subject.port, *options, count=count, size=1 << 20)
            bench.add("splice", name, cpu * 1e6 / count)
        finally:
            if name == "haproxy":
                subject.stop()

    bench.each_round("splice", measure, [name for name in ("haproxy", "postern")
                                         if name in bench.names])


PARTS = {"tls": part_tls, "tls-idle": part_tls_idle, "splice": part_splice}

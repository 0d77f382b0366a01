# SPDX-License-Identifier: BSD-2-Clause
"""LMTP beside Dovecot's own LMTP proxy, and recipients on several targets over a long link."""

import json

from parts import (CONCURRENT, DELAY_ONE_WAY_MS, RTT_DELAYED, RTT_WARM, SINK_MANY_PORT, Tool,
                   await_delay)
from peers import Failed

SINK_PORT = 2620
DOVECOT_PORT, POSTERN_PORT = 3006, 3401
COUNTS = {"dovecot": 1500, "postern": 12000}
BACKENDS = 5
SPREAD_DELAYED = 5000  # the delaying port of a target's port is that much higher
RECIPIENTS = 20


def start(bench, name, delayed=0):
    target = SINK_PORT + delayed
    if name == "dovecot":
        return bench.kitchen.start("dovecot", DOVECOT_PORT, target)
    return bench.kitchen.start_postern([(POSTERN_PORT, "xforward", [target])], protocol="lmtp")


def time_of(bench, port, *options):
    """The median of a few messages, in milliseconds; the first one is not counted."""
    source = Tool(bench, "source", *options, "-k", "-w", 2, "-n", RTT_WARM, port)
    try:
        source.line()
        source.go()
        result = json.loads(source.line())
        source.go()
    finally:
        source.kill()
    if result["failures"] or result["messages"] != RTT_WARM:
        raise Failed(f"{result['failures']} failures, {result['messages']} messages")
    return result["median_us"] / 1000


def part_lmtp(bench):
    """CPU of a message on kept connections, and the time of one over 50 ms."""
    delay = Tool(bench, "delay", DELAY_ONE_WAY_MS, f"{SINK_PORT + RTT_DELAYED}={SINK_PORT}")
    await_delay(SINK_PORT + RTT_DELAYED)

    def measure(name):
        subject = start(bench, name)
        try:
            count = COUNTS[name]
            options = ("-l", "-k", "-c", CONCURRENT)
            bench.run(subject, subject.port, *options, count=count // 10)
            _, cpu = bench.run(subject, subject.port, *options, count=count)
            bench.add("lmtp cpu", name, cpu * 1e6 / count)
        finally:
            subject.stop()
        subject = start(bench, name, RTT_DELAYED)
        try:
            bench.add("lmtp rtt", name, time_of(bench, subject.port, "-l", "-p"))
        finally:
            subject.stop()

    try:
        bench.each_round("lmtp", measure, ["dovecot", "postern"])
    finally:
        delay.kill()


def part_spread(bench):
    """A message for one, and one for twenty on five backends, over 50 ms."""
    ports = [SINK_MANY_PORT + number for number in range(BACKENDS)]
    delay = Tool(bench, "delay", DELAY_ONE_WAY_MS,
                 *(f"{port + SPREAD_DELAYED}={port}" for port in ports))
    await_delay(ports[-1] + SPREAD_DELAYED)
    subject = bench.kitchen.start_postern(
        [(POSTERN_PORT, "xforward", [port + SPREAD_DELAYED for port in ports])])

    def measure(_):
        for row, recipients, targets in (("one", 1, 1), ("twenty", RECIPIENTS, BACKENDS)):
            bench.add(f"spread {row}", "postern", time_of(
                bench, POSTERN_PORT, "-p", "-r", recipients, "-d", targets))

    try:
        bench.each_round("spread", measure, ["postern"])
    finally:
        subject.stop()
        delay.kill()


PARTS = {"lmtp": part_lmtp, "spread": part_spread}

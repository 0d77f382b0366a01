# SPDX-License-Identifier: BSD-2-Clause
"""The measurements: every part goes through the subjects round by round and collects samples."""

import json
import os
import select
import signal
import statistics
import subprocess
import time

from peers import Failed, Subject, is_listening

SINK_PORT = 2600          # CHUNKING and XFORWARD
SINK_XCLIENT_PORT = 2601  # XCLIENT, which nginx always sends
SINK_MANY_PORT = 5000     # the first of the thousand relays
RELAYS = 1000
SUBJECT_PORTS = {"haproxy": 3001, "nginx": 3002, "exim": 3003, "postfix": 3004, "postern": 3005}
DELAY_ONE_WAY_MS = 25
CONCURRENT = 16
IDLE = {"postfix": 200, "exim": 200}  # a process a connection; the others:
IDLE_MOST = 9500
# Messages a round, about a second each. Fast subjects get the most.
COUNTS = {
    "new": {"postfix": 1200, "exim": 250, "": 5000},
    "kept": {"postfix": 1500, "exim": 500, "": 12000},
    "big": {"postfix": 60, "exim": 60, "": 300},
    "latency": {"postfix": 1000, "exim": 40, "": 2000},
}
FLAT_CONNECTIONS = [10, 100, 1000, 5000]
LINE_SECONDS = 90


def count_for(part, name):
    return COUNTS[part].get(name, COUNTS[part][""])


class Tool:
    """source, sink or delay, on the other core; its standard output is read line by line."""

    def __init__(self, bench, program, *arguments):
        self.name = program
        self.process = subprocess.Popen(
            ["taskset", "-c", str(bench.tool_core), os.path.join(bench.tools, program),
             *(str(argument) for argument in arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def line(self):
        if not select.select([self.process.stdout], [], [], LINE_SECONDS)[0]:
            self.kill()
            raise Failed(f"{self.name} is silent")
        line = self.process.stdout.readline().decode().strip()
        if not line:
            raise Failed(f"{self.name} ended with {self.process.wait()}")
        return line

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Bench:
    """The namespace's sink and running subjects, and the samples: (row, subject) to a list."""

    def __init__(self, kitchen, tools, tool_core, rounds, names):
        self.kitchen, self.tools, self.tool_core = kitchen, tools, tool_core
        self.rounds, self.names = rounds, names
        self.samples, self.notes, self.running = {}, [], {}
        self.sink = Tool(self, "sink", f"{SINK_PORT}:chunking,xforward",
                         f"{SINK_XCLIENT_PORT}:xclient", "2610:chunking,xforward", "2611:xforward",
                         "2612:chunking", "2613", "2614:chunking,xclient", "2615:xclient",
                         "2620:lmtp,chunking,xforward",
                         f"{SINK_MANY_PORT}-{SINK_MANY_PORT + RELAYS - 1}:chunking,xforward")
        self.sink.line()

    def add(self, row, name, value):
        self.samples.setdefault((row, name), []).append(value)

    def median(self, row, name):
        values = self.samples.get((row, name))
        return statistics.median(values) if values else None

    def note(self, text):
        self.notes.append(text)
        print(f"bench: {text}", flush=True)

    def sink_counters(self):
        self.sink.process.send_signal(signal.SIGUSR1)
        return json.loads(self.sink.line())

    def target_port(self, name):
        return SINK_XCLIENT_PORT if name == "nginx" else SINK_PORT

    def subject(self, name):
        """The running subject, started at first use and kept; None for direct."""
        if name != "direct" and name not in self.running:
            self.running[name] = self.kitchen.start(name, SUBJECT_PORTS[name],
                                                    self.target_port(name))
        return self.running.get(name)

    def port(self, name):
        return SINK_PORT if name == "direct" else SUBJECT_PORTS[name]

    def stop_subjects(self):
        for subject in self.running.values():
            subject.stop()
        self.running = {}

    def guarded(self, part, name, action):
        """Runs one measurement of one subject; what fails is noted, and the rest goes on."""
        try:
            action()
        except Failed as failure:
            self.note(f"{part}: {name}: {failure}")

    def each_round(self, part, action, names=None):
        for number in range(self.rounds):
            for name in names or self.names:
                print(f"bench: {part}, round {number + 1} of {self.rounds}: {name}", flush=True)
                self.guarded(part, name, lambda name=name: action(name))

    def run(self, subject, port, *options, count, size=4096):
        """Sends `count` messages; returns source's figures and the subject's CPU seconds. What
        the sink has got must be what was sent."""
        before = self.sink_counters()
        is_kept = "-k" in options
        source = Tool(self, "source", *options, "-n", count, "-s", size, port)
        try:
            cpu = subject.cpu_seconds() if subject else 0.0
            if is_kept:
                source.line()
                before = self.sink_counters()
                cpu = subject.cpu_seconds() if subject else 0.0
                source.go()
            result = json.loads(source.line())
            cpu = (subject.cpu_seconds() if subject else 0.0) - cpu
            if is_kept:
                source.go()
            source.process.wait(LINE_SECONDS)
        finally:
            source.kill()
        after = self.sink_counters()
        messages, octets = (after[key] - before[key] for key in ("messages", "octets"))
        if result["failures"] or result["messages"] != count or messages != count:
            raise Failed(f"{result['messages']} of {count} messages, {result['failures']} "
                         f"failures, {messages} at the sink")
        if subject and subject.name == "postern" and after["xforwards"] - before["xforwards"] < count:
            raise Failed("messages without XFORWARD")
        if octets < count * (size * 0.98) or after["errors"] != before["errors"]:
            raise Failed(f"{octets} octets at the sink, {after['errors']} protocol errors")
        return result, cpu


def part_cpu(bench, part, *options, size=4096):
    def measure(name):
        subject = bench.subject(name)
        count = count_for(part, name)
        bench.run(subject, bench.port(name), *options, count=max(count // 10, 20), size=size)
        result, cpu = bench.run(subject, bench.port(name), *options, count=count, size=size)
        bench.add(part + " rate", name, result["rate"])
        if subject:
            bench.add(part, name, cpu * 1e6 / count)

    bench.each_round(part, measure)


def part_new(bench):
    part_cpu(bench, "new", "-c", CONCURRENT)


def part_kept(bench):
    part_cpu(bench, "kept", "-k", "-c", CONCURRENT)


def part_big(bench):
    part_cpu(bench, "big", "-k", "-c", 4, size=1 << 20)


def part_latency(bench):
    """One session. What is added to direct is taken from the same round."""
    if "direct" not in bench.names:
        bench.note("latency is what is added to direct: it needs that subject, too")
        return
    direct = {}

    def measure(name):
        for row, options in (("latency", ["-k", "-w", 50]), ("pipelined", ["-k", "-w", 50, "-p"]),
                             ("connecting", [])):
            count = count_for("latency", name)
            result, _ = bench.run(bench.subject(name), bench.port(name), *options, count=count)
            for figure in ("median", "p99"):
                value = result[f"{figure}_us"]
                if name == "direct":
                    direct[row, figure] = value
                    bench.add(f"{row} {figure}", name, value)
                else:
                    bench.add(f"{row} {figure}", name, value - direct[row, figure])

    bench.each_round("latency", measure)


def part_idle(bench):
    """A fresh subject each, so that no memory of earlier work is taken again."""
    bench.stop_subjects()

    def measure(name):
        subject = bench.subject(name)
        count = IDLE.get(name, IDLE_MOST)
        bench.run(subject, bench.port(name), "-c", 4, count=20)
        time.sleep(0.3)
        memory, held = subject.memory_bytes(), bench.sink_counters()["open"]
        source = Tool(bench, "source", "-n", 0, "-c", count, bench.port(name))
        try:
            source.line()
            time.sleep(0.3)
            bench.add("idle", name, (subject.memory_bytes() - memory) / count)
            bench.add("idle held", name, bench.sink_counters()["open"] - held)
            source.go()
            source.line()
            source.go()
            if source.process.wait(LINE_SECONDS) != 0:
                raise Failed("an idle connection was lost")
        finally:
            source.kill()
            bench.stop_subjects()

    names = [name for name in bench.names if name != "direct"]
    rounds, bench.rounds = bench.rounds, 1
    bench.each_round("idle", measure, names)
    bench.rounds = rounds


# Postern's listeners for the long link: row, identity, the sink's port.
RTT_LISTENERS = [
    ("XFORWARD, CHUNKING", "xforward", 2610), ("XFORWARD", "xforward", 2611),
    ("no identity, CHUNKING", "none", 2612), ("no identity", "none", 2613),
    ("XCLIENT, CHUNKING", "xclient", 2614), ("XCLIENT", "xclient", 2615),
]
RTT_DELAYED = 100  # the delaying port of a sink's port is that much higher
RTT_WARM = 4
IDENTITY_COUNTERS = {"xforward": "xforwards", "xclient": "xclients"}


def rtt_once(bench, port, pipelines, count):
    options = ["-p"] if pipelines else []
    if count > 1:
        options += ["-g", 300]
    source = Tool(bench, "source", *options, "-n", count, port)
    try:
        result = json.loads(source.line())
    finally:
        source.kill()
    if result["failures"]:
        raise Failed(f"{result['failures']} failures")
    return result["median_us"] / 1000


def rtt_postern(bench, row_suffix, pipelines):
    """All cold ones first, on a fresh process; then all warm ones."""
    listeners = [(3200 + number, identity, [sink_port + RTT_DELAYED])
                 for number, (_, identity, sink_port) in enumerate(RTT_LISTENERS)]
    subject = bench.kitchen.start_postern(listeners)
    try:
        for heat, count in (("cold", 1), ("warm", RTT_WARM)):
            for number, (row, identity, _) in enumerate(RTT_LISTENERS):
                def measure(row=row, identity=identity, number=number, heat=heat, count=count):
                    before = bench.sink_counters()
                    value = rtt_once(bench, 3200 + number, pipelines, count)
                    key = IDENTITY_COUNTERS.get(identity)
                    if key and bench.sink_counters()[key] - before[key] < count:
                        raise Failed(f"the sink has seen less than {count} {key}")
                    bench.add(f"rtt {heat} {row} {row_suffix}", "postern", value)
                bench.guarded("rtt", f"postern, {row}", measure)
    finally:
        subject.stop()


def await_delay(port):
    while not is_listening(port):
        time.sleep(0.01)


def part_rtt(bench):
    ports = [SINK_PORT, SINK_XCLIENT_PORT] + [port for _, _, port in RTT_LISTENERS]
    delay = Tool(bench, "delay", DELAY_ONE_WAY_MS,
                 *(f"{port + RTT_DELAYED}={port}" for port in ports))
    await_delay(ports[-1] + RTT_DELAYED)

    def measure(name):
        for pipelines, suffix in ((True, "pipelining"), (False, "lock-step")):
            if name == "postern":
                rtt_postern(bench, suffix, pipelines)
                continue
            target = bench.target_port(name) + RTT_DELAYED
            port, subject = target, None
            if name != "direct":
                port = SUBJECT_PORTS[name] + 100
                subject = bench.kitchen.start(name, port, target)
            try:
                bench.add(f"rtt {suffix}", name, rtt_once(bench, port, pipelines, RTT_WARM))
            finally:
                if subject:
                    subject.stop()

    try:
        bench.each_round("rtt", measure)
    finally:
        delay.kill()


def flat_connections(bench, name):
    for connections in FLAT_CONNECTIONS:
        warm = max(2 * connections, 1000)
        count = max(2 * connections, 8000)
        _, cpu = bench.run(bench.subject(name), bench.port(name), "-k", "-c", connections, "-w",
                           warm, count=count)
        bench.add(f"flat connections {connections}", name, cpu * 1e6 / count)


def flat_relays(bench):
    for relays, port in ((1, 3301), (RELAYS, 3302)):
        subject = bench.kitchen.start_postern(
            [(port, "xforward", [SINK_MANY_PORT + number for number in range(relays)])])
        try:
            _, cpu = bench.run(subject, port, "-k", "-c", CONCURRENT, "-d", relays, "-w", 3000,
                               count=12000)
            bench.add(f"flat relays {relays}", "postern", cpu * 1e6 / 12000)
        finally:
            subject.stop()


def part_flat(bench):
    def measure(name):
        flat_connections(bench, name)
        if name == "postern":
            flat_relays(bench)

    names = [name for name in bench.names if name in ("haproxy", "postern")]
    bench.each_round("flat", measure, names)


PARTS = {"new": part_new, "kept": part_kept, "big": part_big, "latency": part_latency,
         "idle": part_idle, "rtt": part_rtt, "flat": part_flat}

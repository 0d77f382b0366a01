# SPDX-License-Identifier: BSD-2-Clause
"""The measurements of the queue: the target is down, comes back; two workers; a restart."""

import glob
import json
import os
import subprocess
import time

from parts import CONCURRENT, SINK_PORT, Tool
from peers import Failed, write

DOWN_PORT = 2690  # nobody listens there until the target comes back
DOWN_CLIENTS = 50
# Messages a round, a few seconds each.
DOWN_COUNTS = {"postfix": 3000, "exim": 1500, "postern": 100000}
DRAIN_COUNTS = {"postfix": 5000, "postern": 100000}
DRAIN_SECONDS = 300
QUEUE_PORTS = {"postfix": 3404, "exim": 3403, "postern": 3405}
WORKER_PORTS = {1: 3501, 2: 3502}
RESTART_MESSAGES = 1000000
RESTART_PORT = 3601


def wait_for(what, condition, seconds):
    """The condition's first true value."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise Failed(f"{what}: not within {seconds} s")


def fill(bench, port, count):
    """Messages that a target which is down will get later; source's figures."""
    source = Tool(bench, "source", "-k", "-c", DOWN_CLIENTS, "-n", count, "-s", 4096, port)
    try:
        source.line()
        source.go()
        result = json.loads(source.line())
        source.go()
        source.process.wait(60)
    finally:
        source.kill()
    if result["failures"] or result["messages"] != count:
        raise Failed(f"{result['messages']} of {count} messages were accepted")
    return result


def part_down(bench):
    """Every 250 is durable: file and directory are synced, see README.md."""
    def measure(name):
        subject = bench.kitchen.start_queueing(name, QUEUE_PORTS[name], DOWN_PORT)
        try:
            fill(bench, subject.port, 500)
            cpu = subject.cpu_seconds()
            result = fill(bench, subject.port, DOWN_COUNTS[name])
            bench.add("down rate", name, result["rate"])
            bench.add("down cpu", name, (subject.cpu_seconds() - cpu) * 1e6 / DOWN_COUNTS[name])
        finally:
            subject.stop()

    bench.each_round("down", measure, [name for name in bench.names if name in QUEUE_PORTS])


def part_drain(bench):
    """From the first message at the target that has come back to the last one."""
    def measure(name):
        subject = bench.kitchen.start_queueing(name, QUEUE_PORTS[name], DOWN_PORT)
        count = DRAIN_COUNTS[name]
        sink = None
        try:
            fill(bench, subject.port, count)
            before = subject.memory_bytes()
            sink = Tool(bench, "sink", f"{DOWN_PORT}:chunking,xforward")
            sink.line()
            bench.kitchen.flush(name, subject)
            most = watch_drain(bench, name, subject, sink, count)
            if name == "postern":
                bench.add("drain memory", name, max(0, most - before))
        finally:
            if sink:
                sink.kill()
            subject.stop()

    rounds, bench.rounds = bench.rounds, 1
    bench.each_round("drain", measure, [name for name in bench.names if name in DRAIN_COUNTS])
    bench.rounds = rounds


def watch_drain(bench, name, subject, sink, count):
    def arrived():
        sink.process.send_signal(10)
        return json.loads(sink.line())["messages"]

    first = wait_for("a first message", arrived, 60)
    started, most = time.monotonic(), 0
    while True:
        most = max(most, subject.memory_bytes())
        now = arrived()
        seconds = time.monotonic() - started
        if now >= count:
            bench.add("drain rate", name, (now - first) / seconds)
            return most
        if seconds > DRAIN_SECONDS:
            raise Failed(f"{now} of {count} messages after {seconds:.0f} s")
        time.sleep(0.05)


def part_workers(bench):
    """One and two workers, on all cores, beside the generator and the sink."""
    def measure(_name):
        for workers, port in WORKER_PORTS.items():
            subject = bench.kitchen.start_postern([(port, "xforward", [SINK_PORT])], workers)
            try:
                bench.run(subject, port, "-k", "-c", CONCURRENT, count=2000)
                result, cpu = bench.run(subject, port, "-k", "-c", CONCURRENT, count=12000)
                bench.add(f"workers {workers} rate", "postern", result["rate"])
                bench.add(f"workers {workers}", "postern", cpu * 1e6 / 12000)
            finally:
                subject.stop()

    bench.each_round("workers", measure, [name for name in bench.names if name == "postern"])


def part_restart(bench):
    """A queue of a million messages that wait, read with nothing of it in the page cache."""
    def measure(_name):
        home = bench.kitchen.home("postern", RESTART_PORT)
        os.makedirs(f"{home}/spool", exist_ok=True)
        subprocess.run([os.path.join(bench.tools, "fill"), f"{home}/spool",
                        str(RESTART_MESSAGES)], check=True)
        directories = glob.glob(f"{home}/spool/queue/*")
        for path in directories:  # as if it had lain there for an hour
            os.utime(path, (time.time() - 3600,) * 2)
        for heat in ("first", "cold"):
            os.sync()
            write("/proc/sys/vm/drop_caches", "3")
            started = time.monotonic()
            subject = bench.kitchen.start_postern([(RESTART_PORT, "none", [DOWN_PORT])])
            try:
                ask_for_queue(bench, home)
                bench.add(f"restart {heat}", "postern", time.monotonic() - started)
                bench.add("restart memory", "postern",
                          subject.memory_bytes() / RESTART_MESSAGES)
                wait_for("the index files", lambda: all(
                    os.path.exists(f"{path}/index") for path in directories), 300)
            finally:
                subject.stop()

    rounds, bench.rounds = bench.rounds, 1
    bench.each_round("restart", measure, [name for name in bench.names if name == "postern"])
    bench.rounds = rounds


def ask_for_queue(bench, home):
    """A flush is answered once the queue has been read; nothing waits for this domain."""
    ask = [os.path.join(bench.kitchen.build, "posternctl"), "-s", f"{home}/spool/control"]
    wait_for("the control socket", lambda: os.path.exists(ask[2]), 20)
    subprocess.run([*ask, "flush", "@nowhere.example.test"], capture_output=True, check=True,
                   timeout=300)
    answer = subprocess.run([*ask, "--json", "targets"], capture_output=True, check=True,
                            text=True, timeout=300)
    count = sum(json.loads(line).get("messages", 0) for line in answer.stdout.splitlines())
    if count != RESTART_MESSAGES:
        raise Failed(f"{count} messages were found")


PARTS = {"down": part_down, "drain": part_drain, "workers": part_workers,
         "restart": part_restart}

# SPDX-License-Identifier: BSD-2-Clause
"""What a milter that only judges adds to a message: in postern, and in Postfix."""

import os

import milter as milter_part
from milter import COUNT, send
from parts import CONCURRENT, SINK_PORT
from peers import Subject

# By subject: without a milter, and with one.
PORTS = {"postern": (3721, 3722), "postfix": (3723, 3724)}
FIVE_PORT = 3725
COUNTS = {"cpu": 4000, "latency": 200}
THINKS_MS = 50
JUDGES = 5


class Noop(Subject):
    """On the core of the tools: its own work is the same for all, and does not count."""

    def __init__(self, bench, number, thinks_ms=0):
        self.socket = f"{bench.kitchen.directory}/noop-{number}"
        command = [os.path.join(bench.kitchen.build, "bench", "noop"), f"unix:{self.socket}",
                   str(thinks_ms)]
        super().__init__(f"noop-{number}", number, command, bench.tool_core,
                         bench.kitchen.directory)

    def is_ready(self):
        if not os.path.exists(self.socket):
            return False
        os.chmod(self.socket, 0o777)
        return True


def start_postern(bench, milters):
    sections = "".join(f'[milter "m{i}"]\naddress = unix:{milter.socket}\n'
                       for i, milter in enumerate(milters))
    plain, judged = PORTS["postern"]
    filters = {judged: ["m0"], FIVE_PORT: [f"m{i}" for i in range(1, len(milters))]}
    return bench.kitchen.start_postern(
        [(port, "xforward", [SINK_PORT]) for port in (plain, judged, FIVE_PORT)],
        sections=sections, filters=filters)


def postfix_cpu(bench, subject):
    """By port: µs a message. It queues, since no milter sees content before smtpd_proxy_filter."""
    home = bench.kitchen.home("postfix", PORTS["postfix"][0])
    seconds = [send(bench, port, home, subject, "-c", CONCURRENT)[1]
               for port in PORTS["postfix"]]
    return [each * 1e6 / COUNT for each in seconds]


def postern_cpu(bench, subject):
    seconds = [bench.run(subject, port, "-c", CONCURRENT, count=COUNTS["cpu"])[1]
               for port in PORTS["postern"]]
    return [each * 1e6 / COUNTS["cpu"] for each in seconds]


def five_ms(bench, subject):
    """How much longer a message takes where five milters think."""
    latency = [bench.run(subject, port, "-k", "-w", 5, count=COUNTS["latency"])[0]["median_us"]
               for port in (PORTS["postern"][0], FIVE_PORT)]
    return (latency[1] - latency[0]) / 1000


def start_postfix(bench, milter):
    plain, judged = PORTS["postfix"]
    return milter_part.start_postfix(bench.kitchen, bench.kitchen.home("postfix", plain), plain,
                                     {judged: milter.socket})


def part_judge(bench):
    """With the milter and without take turns; the difference is what counts."""
    milters = [Noop(bench, 0)] + [Noop(bench, i + 1, THINKS_MS) for i in range(JUDGES)]
    subjects = {}
    for name in ("postern", "postfix"):
        if name not in bench.names:
            continue
        subjects[name] = (start_postern(bench, milters) if name == "postern" else
                          start_postfix(bench, milters[0]))

    def measure(name):
        cpu = {"postern": postern_cpu, "postfix": postfix_cpu}[name](bench, subjects[name])
        bench.add("judge cpu", name, cpu[1] - cpu[0])
        if name == "postern":
            bench.add("judge five", name, five_ms(bench, subjects[name]))

    try:
        bench.each_round("judge", measure, list(subjects))
    finally:
        for subject in (*subjects.values(), *milters):
            subject.stop()


PARTS = {"judge": part_judge}

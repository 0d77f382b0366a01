# SPDX-License-Identifier: BSD-2-Clause
"""What SPF costs while DNS is cached: a policy of two records and an address, as many have."""

import os
import socket
import struct
import threading

from parts import CONCURRENT, SINK_PORT

PORTS = {False: 3701, True: 3702}   # without the filter, with it
COUNTS = {"latency": 2000, "cpu": 12000}
A, TXT = 1, 16
ZONE = {
    ("source.example.test", TXT):
        b"v=spf1 include:spf.source.example.test a:out.source.example.test mx -all",
    ("spf.source.example.test", TXT):
        b"v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip6:2001:db8::/32 -all",
    ("never.example.test", TXT): b"v=spf1 -all",
    ("out.source.example.test", A): bytes([127, 0, 0, 1]),
}


def answer(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = int.from_bytes(query[at + 1:at + 3], "big")
    data = ZONE.get((".".join(labels).lower(), kind))
    head = query[:2] + b"\x84\0" + struct.pack("!4H", 1, data is not None, 0, 0) + query[12:at + 5]
    if data is None:
        return head
    data = bytes([len(data)]) + data if kind == TXT else data
    return head + b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 3600, len(data)) + data


def serve(sock, core):
    os.sched_setaffinity(0, [core])
    while True:
        query, peer = sock.recvfrom(4096)
        sock.sendto(answer(query), peer)


def start_dns(bench, port=0):
    """A server of that zone on the core of the tools; returns its address."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    threading.Thread(target=serve, args=[sock, bench.tool_core], daemon=True).start()
    return f"127.0.0.1:{sock.getsockname()[1]}"


def part_spf(bench):
    """Postern with the filter and without take turns; the difference is what counts."""
    resolver = start_dns(bench)
    subjects = {spf: bench.kitchen.start_postern([(port, "xforward", [SINK_PORT])],
                                                 resolver=resolver, sections='[spf "spf"]',
                                                 filters={port: ["spf"]} if spf else None)
                for spf, port in PORTS.items()}

    def measure(name):
        latency, cpu = {}, {}
        for spf, port in PORTS.items():
            result, _ = bench.run(subjects[spf], port, "-k", "-w", 50, count=COUNTS["latency"])
            latency[spf] = result["median_us"]
            count = COUNTS["cpu"]
            _, seconds = bench.run(subjects[spf], port, "-k", "-c", CONCURRENT, count=count)
            cpu[spf] = seconds * 1e6 / count
        bench.add("spf latency", name, latency[True] - latency[False])
        bench.add("spf cpu", name, cpu[True] - cpu[False])
        bench.add("spf rate", name, 1e6 / (cpu[True] - cpu[False]))

    try:
        bench.each_round("spf", measure, [name for name in bench.names if name == "postern"])
    finally:
        for subject in subjects.values():
            subject.stop()


PARTS = {"spf": part_spf}

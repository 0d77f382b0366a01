# SPDX-License-Identifier: BSD-2-Clause
"""SPF for the same Postfix by postern-milter and by pyspf-milter, beside none."""

import json
import os
import pwd
import smtplib
import subprocess
import time

from parts import LINE_SECONDS, SINK_PORT, Tool
from peers import Failed, Subject, write
from spf import start_dns

# Postfix' ports, by column: in the column "postfix" it asks no milter.
PORTS = {"postfix": 3711, "pyspf": 3712, "postern": 3713}
PYSPF = "/usr/bin/pyspf-milter"
COUNT = 500
CONNECTIONS = 4


class Milter(Subject):
    """Listens on a unix socket: over TCP every message takes 40 ms where a milter that adds a field
    has no TCP_NODELAY, and the rest could not be seen beside it."""

    def is_ready(self):
        return os.path.exists(socket_of(os.path.dirname(self.log), self.name))


def socket_of(directory, name):
    return f"{directory}/{name}-{PORTS[name]}/socket"


def start_postfix(kitchen, home, port, sockets):
    """One that takes mail at `port`, and with the milters of `sockets` at their ports, and discards
    it; its queue is in memory, for otherwise the disk would be measured."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", home], check=True)
    command, _ = kitchen.make_postfix(home, port, SINK_PORT, True)
    with open(f"{home}/main.cf", "a", encoding="utf-8") as file:
        file.write("default_transport = discard\nmilter_default_action = tempfail\n"
                   "in_flow_delay = 0\n")
    with open(f"{home}/master.cf", "a", encoding="utf-8") as file:
        file.write("discard unix - - n - - discard\n")
        for milter_port, socket in sockets.items():
            file.write(f"127.0.0.1:{milter_port} inet n - n - 400 smtpd\n"
                       f"    -o smtpd_milters=unix:{socket}\n")
    return Subject("postfix", port, command, kitchen.core, kitchen.directory)


def postern_command(kitchen, home, resolver):
    path = write(f"{home}/postern.cf", f"""\
[core]
hostname = bench.example.test
user-id = root
spool-directory = "{home}/spool"
resolver = {resolver}
logger = L
[logfile "L"]
file = "{home}/postern.log"
[spf "spf"]
header = authentication-results
[smtpd "unused"]
listen-port = 127.0.0.1:{PORTS["postern"] + 10}
[milter-server "bench"]
listen = unix:{home}/socket
socket-mode = 0666
filter = spf
""")
    return [os.path.join(kitchen.build, "postern-milter"), "-c", path]


def pyspf_command(home):
    """As its package has it, but for loopback, which it would spare, and HELO, which [spf] does not
    check either. It knows no resolver but that of resolv.conf."""
    path = write(f"{home}/resolv.conf", "nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", path, "/etc/resolv.conf"], check=True)
    os.chown(home, pwd.getpwnam("postfix").pw_uid, -1)
    path = write(f"{home}/pyspf-milter.conf", f"""\
debugLevel = 1
TestOnly = 1
HELO_reject = No_Check
Mail_From_reject = Fail
PermError_reject = False
TempError_Defer = False
skip_addresses = 192.0.2.1/32
InternalHosts = 192.0.2.1
Socket = local:{home}/socket
PidFile = {home}/pid
UserID = postfix
""")
    return [PYSPF, path]


def start_milters(kitchen, resolver):
    """Those that there are, by column."""
    home = kitchen.home("postern", PORTS["postern"])
    commands = {"postern": postern_command(kitchen, home, resolver)}
    if os.path.exists(PYSPF):
        commands["pyspf"] = pyspf_command(kitchen.home("pyspf", PORTS["pyspf"]))
    return {name: Milter(name, PORTS[name], command, kitchen.core, kitchen.directory)
            for name, command in commands.items()}


def is_refused(port):
    """Whether Postfix refuses at this port a sender whose policy is not to be sent by anybody."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo("source.example.test")
        codes = [client.mail("bench@never.example.test")[0],
                 client.rcpt("user@d0.example.test")[0]]
    return 550 in codes


def send(bench, port, home, subject, *options):
    """Returns source's figures and the CPU seconds of the subject, if any, until Postfix' queue is
    empty. Each message has its own connection: on one that is kept, pyspf-milter fails after some
    hundred."""
    before = subject.cpu_seconds() if subject else 0.0
    source = Tool(bench, "source", "-n", COUNT, *options, port)
    try:
        result = json.loads(source.line())
        source.process.wait(LINE_SECONDS)
    finally:
        source.kill()
    if result["failures"] or result["messages"] != COUNT:
        raise Failed(f"{result['messages']} of {COUNT} messages, {result['failures']} failures")
    while any(os.listdir(f"{home}/spool/{queue}") for queue in ("incoming", "active")):
        time.sleep(0.01)
    return result, (subject.cpu_seconds() if subject else 0.0) - before


def part_milter(bench):
    missing = bench.kitchen.missing("postfix")
    if missing:
        bench.note(f"milter: {missing} is missing")
        return
    home = bench.kitchen.home("postfix", PORTS["postfix"])
    milters = start_milters(bench.kitchen, start_dns(bench, 53))
    sockets = {PORTS[name]: socket_of(bench.kitchen.directory, name) for name in milters}
    postfix = start_postfix(bench.kitchen, home, PORTS["postfix"], sockets)

    def measure(name):
        milter = milters.get(name)
        if is_refused(PORTS[name]) != bool(milter):
            raise Failed("SPF is not checked where it should be, or where it should not")
        result, _ = send(bench, PORTS[name], home, milter)
        bench.add("milter latency", name, result["median_us"])
        result, cpu = send(bench, PORTS[name], home, milter, "-c", CONNECTIONS)
        bench.add("milter rate", name, result["rate"])
        if milter:
            bench.add("milter cpu", name, cpu * 1e6 / COUNT)

    try:
        bench.each_round("milter", measure, ["postfix", *milters])
    finally:
        for subject in (postfix, *milters.values()):
            subject.stop()


PARTS = {"milter": part_milter}

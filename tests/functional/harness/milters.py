# SPDX-License-Identifier: BSD-2-Clause
"""Milters of Debian, each in the foreground on loopback, in a folder of its own, without Internet."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from harness.process import Process, free_port
from peers.milter import Asked

# For python3-milter: it refuses bulk@, and adds a field and jane@.
PYTHON_SCRIPT = """
class Own(Milter.Base):
    @Milter.noreply
    def connect(self, name, family, address):
        return Milter.CONTINUE
    def envrcpt(self, to, *parameters):
        return Milter.REJECT if to == "<bulk@example.test>" else Milter.CONTINUE
    def eom(self):
        self.addheader("X-Python", "seen")
        self.addrcpt("<jane@example.test>")
        return Milter.ACCEPT
"""

# Each stands for spam of one kind. Whoever says it must be refused by its filter.
RSPAMD_WORD, SPAMASSASSIN_WORD, VIRUS = b"XRSPAMDBADX", b"XSPAMASSASSINBADX", b"XCLAMBADX"


def _listens(port):
    """Whether somebody listens at that port of 127.0.0.1; nobody is connected to for this."""
    place = f"0100007F:{port:04X} 00000000:0000 0A"
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(place in line for line in table)


def _kill_with_children(pid):
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, signal.SIGSTOP)        # so that none is born meanwhile
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            for child in children.read().split():
                _kill_with_children(int(child))
        os.kill(pid, signal.SIGKILL)


class Milter(Asked):
    """One running milter; `port` is where it is asked."""

    def __init__(self, port=None):
        self.port = port or free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postern-milter-"))
        os.chmod(self.folder, 0o755)
        self.processes = []
        self.begin()

    def begin(self):
        """Starts its processes by run(), the milter as the last one."""
        raise NotImplementedError

    def run(self, arguments, port, environment=None):
        """Starts a process, and waits until it listens at that port."""
        process = Process([str(one) for one in arguments], cwd=self.folder,
                          environment={**os.environ, **(environment or {})})
        self.processes.append(process)
        end = time.monotonic() + 30
        while not _listens(port):
            assert process.is_running, f"{arguments[0]} ended:\n{process.output}"
            assert time.monotonic() < end, f"{arguments[0]} does not listen:\n{process.output}"
            time.sleep(0.01)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @property
    def log(self):
        return self.processes[-1]

    def stop(self):
        """At once: libmilter takes seconds to end at SIGTERM, rspamd and spamd wait for children."""
        for process in reversed(self.processes):
            if process.is_running:
                _kill_with_children(process.child.pid)
            process.wait_exit()
        shutil.rmtree(self.folder, ignore_errors=True)


class DkimKey:
    """A key of opendkim-genkey, and the record that its domain would publish."""

    def __init__(self, folder, domain="example.org", selector="sel"):
        self.domain, self.selector = domain, selector
        subprocess.run(["opendkim-genkey", "-D", folder, "-d", domain, "-s", selector, "-b", "2048"],
                       check=True, capture_output=True)
        self.private = pathlib.Path(folder) / f"{selector}.private"
        text = (pathlib.Path(folder) / f"{selector}.txt").read_text()
        self.record = "".join(text.split('"')[1::2])


class Opendkim(Milter):
    """Mode "s" signs what 127.0.0.0/8 sends from the key's domain, "v" verifies what it sends.

    settings: more lines of opendkim.conf. conf: an operator's, in place of all of that.
    """

    def __init__(self, key, mode="s", settings="", conf=None, **options):
        self.key, self.mode, self.settings, self.conf = key, mode, settings, conf
        super().__init__(**options)

    def begin(self):
        name = f"{self.key.selector}._domainkey.{self.key.domain}"
        keys = self.write("keys", f"{name} {self.key.record}\n")
        conf = self.write("opendkim.conf", (self.conf or self._usual()) + f"""
TestDNSData         {keys}
RequireSafeKeys     false
Background          no
Syslog              no
""")
        self.run(["opendkim", "-f", "-x", conf], self.port)

    def _usual(self):
        internal = self.write("internal", "127.0.0.0/8\n" if self.mode == "s" else "192.0.2.254\n")
        return self.settings + f"""
Mode                {self.mode}
Domain              {self.key.domain}
Selector            {self.key.selector}
KeyFile             {self.key.private}
InternalHosts       {internal}
AuthservID          mx.example.test
AlwaysAddARHeader   yes
Socket              inet:{self.port}@127.0.0.1
"""


class Opendmarc(Milter):
    """It rejects what fails. records: lines `NAME TEXT` of its DNS. conf: an operator's."""

    def __init__(self, records="", conf=None, **options):
        self.records, self.conf = records, conf
        super().__init__(**options)

    def begin(self):
        dns = self.write("dns", self.records)
        conf = self.write("opendmarc.conf", (self.conf or self._usual()) + f"""
PublicSuffixList    /usr/share/publicsuffix/public_suffix_list.dat
DNSTimeout          2
TestDNSData         {dns}
Background          false
Syslog              false
""")
        self.run(["opendmarc", "-f", "-c", conf], self.port)

    def _usual(self):
        nobody = self.write("ignored", "192.0.2.254\n")
        return f"""
AuthservID          mx.example.test
TrustedAuthservIDs  mx.example.test
IgnoreHosts         {nobody}
RejectFailures      true
Socket              inet:{self.port}@127.0.0.1
"""


PROXY = """
bind_socket = "127.0.0.1:{port}";
milter = yes;
upstream "local" {{ self_scan = yes; default = yes; }}
"""


class Rspamd(Milter):
    """Its proxy worker, which scans itself, with one rule: RSPAMD_WORD is spam. proxy: what stands in
    worker-proxy.inc."""

    def __init__(self, proxy=None, **options):
        self.proxy = proxy
        super().__init__(**options)

    def begin(self):
        rule = self.write("rules.lua", f"""
rspamd_config:register_symbol{{
  name = 'OWN_WORD', score = 100.0,
  callback = function(task)
    return tostring(task:get_content()):find('{RSPAMD_WORD.decode()}', 1, true) ~= nil
  end,
}}
rspamd_config:set_metric_symbol{{name = 'OWN_WORD', score = 100.0}}
rspamd_config:register_symbol{{
  name = 'OWN_MARK', type = 'idempotent',
  callback = function(task)
    task:set_milter_reply{{add_headers = {{['X-Rspamd'] = 'seen'}}}}
  end,
}}
""")
        self.write("tld", "org\ntest\n")
        conf = self.write("rspamd.conf", f"""
options {{
  filters = "";
  disable_hyperscan = true;
  url_tld = "{self.folder}/tld";
  tempdir = "{self.folder}";
  pidfile = "{self.folder}/pid";
  rspamd_data_dir = "{self.folder}";
  dns {{ nameserver = "127.0.0.1:1"; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "notice"; }}
metric {{ name = "default"; actions {{ reject = 15; }} }}
worker "rspamd_proxy" {{
count = 1;
{self.proxy or PROXY.format(port=self.port)}
}}
lua = "{rule}";
""")
        self.run(["rspamd", "-f", "-i", "-c", conf], self.port)


class ClamavMilter(Milter):
    """clamav-milter and clamd, whose only signature is VIRUS. settings: lines of clamav-milter.conf."""

    def __init__(self, settings="OnInfected Reject\nRejectMsg infected\n", **options):
        self.settings = settings
        super().__init__(**options)

    def begin(self):
        self.write("db/test.ndb", f"Own.Virus:0:*:{VIRUS.hex()}\n")
        clamd_port = free_port()
        clamd = self.write("clamd.conf", f"""
DatabaseDirectory {self.folder}/db
TCPAddr 127.0.0.1
TCPSocket {clamd_port}
TemporaryDirectory {self.folder}
Foreground yes
""")
        self.run(["clamd", "-c", clamd], clamd_port)
        conf = self.write("clamav-milter.conf", self.settings + f"""
MilterSocket inet:{self.port}@127.0.0.1
ClamdSocket tcp:127.0.0.1:{clamd_port}
TemporaryDirectory {self.folder}
MaxFileSize 25M
AddHeader Replace
Foreground yes
""")
        self.run(["clamav-milter", "-c", conf], self.port)


class SpamassMilter(Milter):
    """spamass-milter and spamd, whose only rule is SPAMASSASSIN_WORD: 20 points of 5, refused at 15."""

    def begin(self):
        self.write("site/own.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n")
        self.write("rules/own.cf", f"""
body OWN_WORD /{SPAMASSASSIN_WORD.decode()}/
score OWN_WORD 20
required_score 5
report_safe 0
clear_headers
add_header all Status _YESNO_, score=_SCORE_ required=_REQD_
add_header spam Flag _YESNOCAPS_
""")
        spamd_port = free_port()
        self.run(["spamd", "-L", "-C", "rules", "--siteconfigpath=site", "-x", "-p", spamd_port,
                  "-i", "127.0.0.1", "-m", "1", "-s", "stderr", "-u", "nobody"], spamd_port,
                 {"HOME": str(self.folder)})
        self.run(["spamass-milter", "-p", f"inet:{self.port}@127.0.0.1", "-r", "15", "--", "-p",
                  spamd_port, "-d", "127.0.0.1"], self.port)


class PythonMilter(Milter):
    """A script for python3-milter that defines `class Own(Milter.Base)`."""

    def __init__(self, script, **options):
        self.script = script
        super().__init__(**options)

    def begin(self):
        path = self.write("own.py", f"""import Milter
{self.script}
Milter.factory = Own
Milter.runmilter("own", "inet:{self.port}@127.0.0.1", 30)
""")
        self.run(["/usr/bin/python3", path], self.port)


class BusyMilter(Milter):
    """busy_milter.c with a script: lines (stage, what its first argument must hold, action, ...).

    program: as build_busy() has made it.
    """

    def __init__(self, program, *lines, **options):
        self.program, self.lines = program, lines
        super().__init__(**options)

    def begin(self):
        self.write("script", "".join(_script_line(line) for line in self.lines))
        self.run([self.program, f"inet:{self.port}@127.0.0.1", "script"], self.port)

    @property
    def events(self):
        """What was called so far, as dictionaries: stage, arguments, macros and more."""
        return [json.loads(line) for line in list(self.log.lines)]

    def wait_stage(self, stage, count=1):
        """The count-th callback of that stage."""
        self.log.wait_line(rf'"stage": "{stage}"', count=count)
        return [event for event in self.events if event["stage"] == stage][count - 1]


def _script_line(line):
    escapes = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
    return "\t".join(str(field).translate(escapes) for field in line) + "\n"


def build_busy(folder):
    program = pathlib.Path(folder) / "busy_milter"
    source = pathlib.Path(__file__).with_name("busy_milter.c")
    subprocess.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-o", program, source, "-lmilter",
                    "-pthread"], check=True)
    return program

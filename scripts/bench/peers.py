# SPDX-License-Identifier: BSD-2-Clause
"""The servers under test: a configuration each, and a process tree that can be asked its cost."""

import os
import pwd
import signal
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS = 15
STOP_SECONDS = 5


class Failed(Exception):
    """A subject or a tool did not do what it should; the text says what."""


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def parents():
    """Parent of every process, and its user + system time in ticks, reaped children included."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(name)] = (int(fields[1]), sum(int(field) for field in fields[11:15]))
    return found


def is_listening(port):
    with open("/proc/net/tcp", encoding="ascii") as file:
        wanted = f":{port:04X}"
        return any(fields[1].endswith(wanted) and fields[3] == "0A"
                   for fields in (line.split() for line in file))


class Subject:
    """A running server: the process that was started, and all its descendants."""

    def __init__(self, name, port, command, core, directory, environment=None):
        self.name, self.port = name, port
        self.log = os.path.join(directory, f"{name}-{port}.out")
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True, env={**os.environ, **(environment or {})})
        try:
            self.await_port()
        except Failed:
            self.stop()
            raise

    def await_port(self):
        """Does not connect: a cold subject must stay cold."""
        for _ in range(START_SECONDS * 100):
            if self.is_ready():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        with open(self.log, encoding="utf-8", errors="replace") as file:
            raise Failed(f"{self.name} does not start: {file.read()[-600:].strip()}")

    def is_ready(self):
        return is_listening(self.port)

    def tree(self):
        found = parents()
        members = {self.process.pid}
        grown = True
        while grown:
            more = {pid for pid, (parent, _) in found.items() if parent in members} - members
            members |= more
            grown = bool(more)
        return {pid: found[pid][1] for pid in members if pid in found}

    def cpu_seconds(self):
        return sum(self.tree().values()) / TICKS_PER_SECOND

    def memory_bytes(self):
        """Proportional set size: pages that processes share count once."""
        total = 0
        for pid in self.tree():
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
            except OSError:
                continue
        return total * 1024

    def stop(self):
        members = list(self.tree())
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()
        while is_listening(self.port):  # a successor must not take it for its own
            time.sleep(0.01)


class Kitchen:
    """Starts subjects: `start(name, port, target)`; configurations go to their own directories."""

    def __init__(self, directory, build, core):
        self.directory, self.build, self.core = directory, build, core
        self.queues = 0

    def missing(self, name):
        """None, or what is not there."""
        paths = {
            "haproxy": ["/usr/sbin/haproxy"],
            "nginx": ["/usr/sbin/nginx", "/usr/lib/nginx/modules/ngx_mail_module.so"],
            "exim": [self.exim_program()],
            "postfix": ["/usr/sbin/postfix"],
            "dovecot": ["/usr/sbin/dovecot", "/usr/lib/dovecot/lmtp"],
            "postern": [os.path.join(self.build, "postern")],
        }
        return next((path for path in paths[name] if not os.path.exists(path)), None)

    def exim_program(self):
        return os.path.join(self.build, "peers/exim/usr/sbin/exim4")

    def home(self, name, port):
        path = os.path.join(self.directory, f"{name}-{port}")
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, name, port, target):
        home = self.home(name, port)
        command, environment = getattr(self, f"make_{name}")(home, port, target)
        return Subject(name, port, command, self.core, self.directory, environment)

    def start_secure(self, name, port, target):
        """The same with TLS from the first octet; the target gets none."""
        home = self.home(name, port)
        command, environment = getattr(self, f"make_{name}")(home, port, target,
                                                             tls=self.certificate())
        return Subject(name, port, command, self.core, self.directory, environment)

    def certificate(self):
        """Certificate, key, and a file with both, the key first."""
        paths = [f"{self.directory}/{name}.pem" for name in ("certificate", "key", "both")]
        if not os.path.exists(paths[2]):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                            "/CN=bench.example.test", "-out", paths[0], "-keyout", paths[1]],
                           check=True, stderr=subprocess.DEVNULL)
            with open(paths[0], encoding="ascii") as one, open(paths[1], encoding="ascii") as two:
                write(paths[2], two.read() + one.read())
        return paths

    def start_queueing(self, name, port, target):
        """The same as a relay that queues what its target cannot take now, each time with a new
        queue: ext4 is slow to use again what was deleted a moment ago."""
        self.queues += 1
        home = self.home(name, f"{port}-{self.queues}")
        if name == "postern":
            command, environment = self.make_postern(home, port, target)
        else:
            command, environment = getattr(self, f"make_{name}")(home, port, target, True)
        subject = Subject(name, port, command, self.core, self.directory, environment)
        subject.home = home
        return subject

    @staticmethod
    def flush(name, subject):
        """The target is back: Postfix must be told, postern finds out by its probes."""
        if name == "postfix":
            subprocess.run(["/usr/sbin/postqueue", "-c", subject.home, "-f"], check=True)

    def make_haproxy(self, home, port, target, tls=None, splices=False):
        path = write(f"{home}/haproxy.cfg", f"""\
global
    nbthread 1
    maxconn {4000 if splices else 9900}
defaults
    mode tcp
    timeout connect 10s
    timeout client 5m
    timeout server 5m
{"    option splice-auto" if splices else ""}
listen smtp
    bind 127.0.0.1:{port}{f" ssl crt {tls[2]}" if tls else ""}
    server sink 127.0.0.1:{target}
""")
        return ["/usr/sbin/haproxy", "-db", "-f", path], None

    def make_nginx(self, home, port, target, tls=None):
        certificate = f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};" if tls else ""
        path = write(f"{home}/nginx.conf", f"""\
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {home}/pid;
error_log {home}/error.log error;
events {{ worker_connections 19900; }}
mail {{
    server_name bench.example.test;
    auth_http 127.0.0.1:{port + 1000}/;
    server {{
        listen 127.0.0.1:{port}{" ssl" if tls else ""};
        {certificate}
        protocol smtp;
        smtp_auth none;
        smtp_capabilities PIPELINING "SIZE 104857600" ENHANCEDSTATUSCODES 8BITMIME;
        timeout 5m;
    }}
}}
http {{
    access_log off;
    client_body_temp_path {home}/t1;
    proxy_temp_path {home}/t2;
    fastcgi_temp_path {home}/t3;
    uwsgi_temp_path {home}/t4;
    scgi_temp_path {home}/t5;
    server {{
        listen 127.0.0.1:{port + 1000};
        location / {{
            add_header Auth-Status OK;
            add_header Auth-Server 127.0.0.1;
            add_header Auth-Port {target};
            return 204;
        }}
    }}
}}
""")
        return ["/usr/sbin/nginx", "-p", home, "-c", path, "-e", f"{home}/error.log"], None

    def make_exim(self, home, port, target, is_queueing=False):
        cutthrough = "" if is_queueing else " control = cutthrough_delivery"
        path = write(f"{home}/exim.conf", f"""\
primary_hostname = bench.example.test
spool_directory = {home}/spool
log_file_path = {home}/spool/%slog
pid_file_path = {home}/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
keep_environment =
tls_advertise_hosts =
chunking_advertise_hosts =
pipelining_advertise_hosts = *
rfc1413_query_timeout = 0s
smtp_accept_max = 1000
smtp_connect_backlog = 1000
smtp_accept_max_per_connection = 1000000
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = rcpt
begin acl
rcpt:
    accept{cutthrough}
begin routers
all:
    driver = manualroute
    route_list = * 127.0.0.1
    self = send
    transport = sink
begin transports
sink:
    driver = smtp
    port = {target}
    allow_localhost
    hosts_avoid_tls = *
    hosts_try_chunking =
""")
        user = pwd.getpwnam("Debian-exim")
        os.makedirs(f"{home}/spool", exist_ok=True)
        os.chown(f"{home}/spool", user.pw_uid, user.pw_gid)
        libraries = os.path.join(self.build, f"peers/exim/usr/lib/{os.uname().machine}-linux-gnu")
        return [self.exim_program(), "-C", path, "-bdf"], {"LD_LIBRARY_PATH": libraries}

    def make_postfix(self, home, port, target, is_queueing=False, tls=None):
        way = "" if is_queueing else f"    -o smtpd_proxy_filter=127.0.0.1:{target}\n"
        if tls:
            way += "    -o smtpd_tls_wrappermode=yes -o smtpd_tls_security_level=encrypt\n"
        secure = f"smtpd_tls_chain_files = {tls[2]}\n" if tls else ""
        relayhost = f"relayhost = [127.0.0.1]:{target}\n" if is_queueing else ""
        os.makedirs(f"{home}/spool", exist_ok=True)
        os.makedirs(f"{home}/data", exist_ok=True)
        os.chown(f"{home}/data", pwd.getpwnam("postfix").pw_uid, -1)
        write(f"{home}/main.cf", f"""\
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
myhostname = bench.example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
message_size_limit = 104857600
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
{secure}{relayhost}""")
        write(f"{home}/master.cf", f"""\
127.0.0.1:{port} inet n - n - 400 smtpd
{way}pickup  unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr    unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce  unix - - n - 0 bounce
error   unix - - n - - error
smtp    unix - - n - - smtp
anvil   unix - - n - 1 anvil
tlsmgr  unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
""")
        return ["/usr/sbin/postfix", "-c", home, "start-fg"], None

    def make_dovecot(self, home, port, target):
        """As an LMTP proxy. A process serves many connections, as it does by itself; none ends."""
        path = write(f"{home}/dovecot.conf", f"""\
protocols = lmtp
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
listen = 127.0.0.1
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
lmtp_proxy = yes
mail_location = maildir:{home}/mail/%u
postmaster_address = postmaster@bench.example.test
login_trusted_networks = 127.0.0.0/8
passdb {{
  driver = static
  args = nopassword=y proxy=y host=127.0.0.1 port={target}
}}
service lmtp {{
  process_min_avail = 1
  service_count = 0
  inet_listener lmtp {{
    port = {port}
  }}
}}
""")
        return ["/usr/sbin/dovecot", "-F", "-c", path], None

    def make_postern(self, home, port, target, tls=None):
        secure = f"tls = implicit\ntls-certificate = {tls[0]}\ntls-key = {tls[1]}\n" if tls else ""
        return self.postern_command(home, [(port, "xforward", [target])], secure=secure)

    def start_postern(self, listeners, workers=0, resolver=None, sections="", filters=None,
                      protocol="smtp"):
        """`listeners`: (port, identity, target ports); with several targets, domain dN goes to
        the Nth. `sections` are filters, and `filters` their names by port. With workers it gets
        every core."""
        port = listeners[0][0]
        command, environment = self.postern_command(self.home("postern", port), listeners, workers,
                                                    resolver, sections, filters or {}, protocol)
        core = "0-1023" if workers else self.core
        return Subject("postern", port, command, core, self.directory, environment)

    def postern_command(self, home, listeners, workers=0, resolver=None, sections="", filters=(),
                        protocol="smtp", secure=""):
        os.makedirs(f"{home}/spool", exist_ok=True)
        text = f"""\
[core]
hostname = bench.example.test
user-id = root
spool-directory = "{home}/spool"
workers = {workers}
{f"resolver = {resolver}" if resolver else ""}
logger = L
[logfile "L"]
file = "{home}/postern.log"
{sections}
"""
        for port, identity, targets in listeners:
            text += f"""\
[smtpd "s{port}"]
{"".join(f"filter = {name}{chr(10)}" for name in filters[port]) if port in filters else ""}
listen-port = 127.0.0.1:{port}
{secure}protocol = {protocol}
max-connections-per-client = 20000
max-connections = 20000
resolve-names = no
routing-table = t{port}
"""
            for target in targets:
                text += f'[relay "r{port}-{target}"]\naddress = 127.0.0.1:{target}\n'
                text += f"identity = {identity}\nhealth-interval = 1s\nprotocol = {protocol}\n"
            text += f'[route "t{port}"]\n'
            if len(targets) == 1:
                text += f"@ r{port}-{targets[0]}\n"
                continue
            for number, target in enumerate(targets):
                text += f"@d{number}.example.test r{port}-{target}\n"
        path = write(f"{home}/postern.cf", text)
        return [os.path.join(self.build, "postern"), "-c", path], None

# SPDX-License-Identifier: BSD-2-Clause
"""A private Postfix: own configuration, queue and data, a loopback port, its log at hand."""
import grp
import os
import pathlib
import pwd
import re
import shutil
import tempfile

from harness.maildir import Maildir
from harness.process import Process, free_port

DAEMONS = "/usr/lib/postfix/sbin"
DELIVERY_USER = "nobody"

MAIN_CF = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
maillog_file = /dev/stdout
myhostname = postfix.example.test
mydestination =
alias_maps =
alias_database =
inet_interfaces = loopback-only
virtual_mailbox_domains = example.test
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = texthash:{root}/conf/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
message_size_limit = 104857600
virtual_mailbox_limit = 0
smtpd_error_sleep_time = 0
smtpd_client_restrictions = check_client_access texthash:{root}/conf/clients
in_flow_delay = 0
"""

MASTER_CF = """
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
anvil     unix  -       -       n       -       1       anvil
virtual   unix  -       n       n       -       -       virtual
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
postlog   unix-dgram n  -       n       -       1       postlogd
"""

# Who is refused by address, and who by name.
CLIENTS = """
127.0.0.13              554 5.7.1 No mail from this address
mismatch.example.test   554 5.7.1 Never to be seen: the name is not confirmed
blocked.example.test    554 5.7.1 No mail from this name
"""

USERS = ("joe", "jane", "bulk")


class Postfix:
    """master_cf holds the listening services, with 10025 and 10026 for their ports. `folder`: where
    its own one is made."""

    def __init__(self, main_cf, master_cf, settings=None, is_started=True, folder=None):
        self.port, self.reports_port = free_port(), free_port()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="postern-postfix-", dir=folder))
        os.chmod(self.root, 0o755)
        self._make_directories()
        user = pwd.getpwnam(DELIVERY_USER)
        base = MAIN_CF.format(root=self.root, daemons=DAEMONS, uid=user.pw_uid, gid=user.pw_gid)
        self._settings = _merged(base, main_cf, settings or {})
        self.set()
        (self.root / "conf/clients").write_text(CLIENTS)
        (self.root / "conf/mailboxes").write_text(
            "".join(f"{user}@example.test {user}/\n" for user in USERS))
        for recipe, port in ((r"\b10025\b", self.port), (r"\b10026\b", self.reports_port)):
            master_cf = re.sub(recipe, str(port), master_cf)
        (self.root / "conf/master.cf").write_text(master_cf + MASTER_CF)
        self.process = None
        if is_started:
            self.start()

    def set(self, **settings):
        """main.cf anew with these settings, for processes that start from now on."""
        new = self.root / "conf/main.cf.new"
        new.write_text(_merged(self._settings, settings))
        os.utime(new, (0, 0))       # Postfix waits where the file has just been written
        new.rename(self.root / "conf/main.cf")

    def start(self):
        self.process = Process([f"{DAEMONS}/master", "-s", "-c", str(self.root / "conf")])
        self.process.wait_line("daemon started")

    def _make_directories(self):
        owner = pwd.getpwnam("postfix").pw_uid
        setgid = grp.getgrnam("postdrop").gr_gid
        for name in ("conf", "queue", "queue/pid", "mail", "data"):
            (self.root / name).mkdir()
        for name in ("incoming", "active", "bounce", "corrupt", "defer", "deferred", "flush",
                     "hold", "saved", "trace", "private", "public", "maildrop"):
            (self.root / "queue" / name).mkdir(mode=0o700)
            os.chown(self.root / "queue" / name, owner, -1)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            os.chown(self.root / "queue" / name, owner, setgid)
            os.chmod(self.root / "queue" / name, mode)
        os.chown(self.root / "data", owner, -1)
        os.chmod(self.root / "data", 0o700)
        user = pwd.getpwnam(DELIVERY_USER)
        os.chown(self.root / "mail", user.pw_uid, user.pw_gid)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def server(self):
        return ("127.0.0.1", self.port)

    @property
    def log(self):
        return self.process

    def wait_log(self, pattern, timeout_s=30):
        self.process.wait_line(pattern, timeout_s=timeout_s)

    def maildir(self, user):
        return Maildir(self.root / "mail" / user)

    def wait_delivered(self, queue_id, timeout_s=20.0):
        self.log.wait_line(rf"{queue_id}: .*status=sent", timeout_s=timeout_s)
        self.log.wait_line(rf"{queue_id}: removed", timeout_s=timeout_s)

    def delivered(self, queue_id, user="joe"):
        """The one message in that mailbox that bears this queue id in its Received line."""
        self.wait_delivered(queue_id)
        found = [m for m in self.maildir(user).messages() if b"id " + queue_id.encode() in m.raw]
        assert len(found) == 1, f"{len(found)} messages with {queue_id} for {user}"
        return found[0]

    def stop(self):
        if self.process is not None:
            self.process.terminate()
        shutil.rmtree(self.root, ignore_errors=True)


def queue_id(reply):
    """The id in Postfix's `250 2.0.0 Ok: queued as ID`."""
    match = re.search(r"queued as ([0-9A-Za-z]+)", reply if isinstance(reply, str) else reply.text)
    assert match, f"no queue id in {reply!r}"
    return match.group(1)


def _merged(*parts):
    """main.cf text from texts and dicts; what is set twice is written once, as set last."""
    settings = {}
    for part in parts:
        if isinstance(part, str):
            lines = (line for line in part.splitlines() if line.strip() and line[0] != "#")
            part = {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in lines)}
        settings.update(part)
    return "".join(f"{name} = {value}\n" for name, value in settings.items())

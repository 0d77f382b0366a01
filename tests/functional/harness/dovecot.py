# SPDX-License-Identifier: BSD-2-Clause
"""A private Dovecot that speaks LMTP and keeps its own Maildirs."""
import os
import pathlib
import pwd
import shutil
import tempfile

from harness.maildir import Maildir
from harness.process import Process
from harness.recipe import block

OWNER = "nobody"

CONF = """
base_dir = {root}/run
state_dir = {root}/state
log_path = /dev/stderr
info_log_path = /dev/stderr
ssl = no
listen = {address}
default_internal_user = dovecot
default_login_user = dovenull
mail_location = maildir:{root}/mail/%n
mail_fsync = never
first_valid_uid = 1
mail_uid = {uid}
mail_gid = {gid}
recipient_delimiter = +
postmaster_address = postmaster@example.org
"""

STORE = """
auth_username_format = %Ln
passdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = passwd-file
  args = {root}/users
}}
"""


PROXY = """
auth_username_format = %Lu
lmtp_proxy = yes
passdb {{
  driver = static
  args = nopassword=y proxy=y host=127.0.0.1 port={proxy_to} forward_ticket=seven {more}
}}
"""


class Dovecot:
    """At 127.0.0.x:port, by the recipe of doc/dovecot.md. It keeps mailboxes of `users`, and one
    for all `others`; or it is an LMTP proxy in front of port `proxy_to`, with `more` in its passdb."""

    def __init__(self, address, port, users=(), others=(), proxy_to=None, more=""):
        self.address = f"{address}:{port}"
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="postern-dovecot-"))
        os.chmod(self.root, 0o755)
        owner = pwd.getpwnam(OWNER)
        (self.root / "mail").mkdir()
        os.chown(self.root / "mail", owner.pw_uid, owner.pw_gid)
        (self.root / "users").write_text(
            "".join(f"{user}:::::::\n" for user in users)
            + "".join(f"{user}:::::::userdb_mail=maildir:{self.root}/mail/others\n"
                      for user in others))
        recipe = block("lmtp", "dovecot.conf", "dovecot.md")
        assert "port = 24" in recipe and "192.0.2.1" in recipe
        recipe = recipe.replace("port = 24", f"port = {port}").replace("192.0.2.1", "127.0.0.0/8")
        (self.root / "dovecot.conf").write_text(
            recipe + (CONF + (PROXY if proxy_to else STORE)).format(
                root=self.root, address=address, uid=owner.pw_uid, gid=owner.pw_gid,
                proxy_to=proxy_to, more=more))
        self.process = None
        self.start()

    def start(self):
        self.process = Process(["/usr/sbin/dovecot", "-F", "-c", str(self.root / "dovecot.conf")])
        self.process.wait_line("starting up for lmtp")

    def maildir(self, user):
        return Maildir(self.root / "mail" / user)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

# SPDX-License-Identifier: BSD-2-Clause
"""A private Dovecot that checks passwords for others, by its auth socket."""
import os
import pathlib
import shutil
import tempfile

from harness.process import Process

CONF = """
base_dir = {root}/run
state_dir = {root}/state
log_path = /dev/stderr
info_log_path = /dev/stderr
ssl = no
protocols =
default_internal_user = dovecot
default_login_user = dovenull
auth_mechanisms = {mechanisms}
passdb {{
  driver = passwd-file
  args = {root}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {root}/auth {{
    mode = 0666
  }}
}}
"""


class DovecotAuth:
    """`users`: their passwords. Its socket is at .path."""

    def __init__(self, users, mechanisms="plain login scram-sha-256"):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="postern-dovecot-auth-"))
        os.chmod(self.root, 0o755)
        self.path = self.root / "auth"
        (self.root / "users").write_text(
            "".join(f"{user}:{{PLAIN}}{password}\n" for user, password in users.items()))
        (self.root / "dovecot.conf").write_text(CONF.format(root=self.root, mechanisms=mechanisms))
        self.process = Process(["/usr/sbin/dovecot", "-F", "-c", str(self.root / "dovecot.conf")])
        self.process.wait_line("starting up")

    def stop(self):
        self.process.terminate()
        shutil.rmtree(self.root, ignore_errors=True)

# SPDX-License-Identifier: BSD-2-Clause
"""Mail servers that Debian does not install beside Postfix: scripts/setup has unpacked them, and
each runs in a root directory of its own, where it finds the paths and users that it knows."""
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

from harness.maildir import Maildir
from harness.process import Process, free_port, is_root
from harness.workers import wait_for

UNPACKED = pathlib.Path("/var/cache/postern-tests")
OWNER = "nobody"
USERS = {"root": 0, OWNER: 65534}
FOLDERS = ("bin", "lib", "lib64", "usr/bin", "usr/lib", "usr/sbin", "usr/libexec", "dev", "etc",
           "mail", "tmp", "var/run", "var/spool", "var/log")

# In a mount namespace that ends with the server, and of which nobody else sees anything: $0 the
# package, $1 the root, then the command.
ENTER = """
set -e
package=$0 root=$1
shift
for folder in bin lib lib64 usr/bin usr/lib dev; do
    [ ! -d "/$folder" ] || mount --bind "/$folder" "$root/$folder"
done
for folder in usr/sbin usr/libexec; do
    [ ! -d "$package/$folder" ] || mount --bind "$package/$folder" "$root/$folder"
done
exec chroot "$root" "$@"
"""


def can_be_entered():
    """Root may make mount namespaces, but not within every container."""
    return is_root() and subprocess.run(["unshare", "--mount", "true"], check=False,
                                        stderr=subprocess.DEVNULL).returncode == 0


class Unpacked:
    """One server of one package, at self.server. `users`: name -> number, of users with groups."""

    command = ()

    def __init__(self, package, users):
        self.package = UNPACKED / package
        assert self.package.is_dir(), f"{package} is not there: scripts/setup unpacks it"
        self.port = free_port()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"postern-{package}-"))
        os.chmod(self.root, 0o755)
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True)
        os.chmod(self.root / "tmp", 0o1777)
        os.chown(self.root / "mail", pwd.getpwnam(OWNER).pw_uid, -1)
        self.write("etc/passwd", "".join(f"{name}:x:{number}:{number}::/:/bin/sh\n"
                                         for name, number in {**USERS, **users}.items()))
        self.write("etc/group", "".join(f"{name}:x:{number}:\n"
                                        for name, number in {**USERS, **users}.items()))
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.process = None

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def give(self, certificates, owner=0):
        """Certificate, key, and whom to trust, as files of this root."""
        for name, path in (("tls.pem", certificates.mx.certificate),
                           ("tls.key", certificates.mx.key),
                           ("authority.pem", certificates.authority.certificate)):
            shutil.copyfile(path, self.root / "etc" / name)
            os.chown(self.root / "etc" / name, owner, -1)
            os.chmod(self.root / "etc" / name, 0o600)

    def start(self):
        """Until it listens."""
        self.process = Process(["unshare", "--mount", "--propagation=private", "sh", "-c", ENTER,
                                str(self.package), str(self.root), *self.command])
        try:
            wait_for(self._listens, timeout_s=30)
        except AssertionError:
            self.stop()
            raise

    def _listens(self):
        assert self.process.is_running, self.process.output
        try:
            socket.create_connection(self.server, 1).close()
        except ConnectionRefusedError:
            return False
        return True

    @property
    def server(self):
        return ("127.0.0.1", self.port)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def maildir(self, user):
        return Maildir(self.root / "mail" / user)

    def wait_log(self, pattern, timeout_s=30):
        self.process.wait_line(pattern, timeout_s=timeout_s)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
        shutil.rmtree(self.root, ignore_errors=True)

# SPDX-License-Identifier: BSD-2-Clause
"""The example of the configuration file, on a host that has its accounts, hosts and files."""
import pathlib
import shutil
import subprocess

import pytest

from harness.postern import binary, environment
from harness.process import is_root
from harness.recipe import TOP

EXAMPLE = pathlib.Path(__file__).with_name("data") / "example.cf"

pytestmark = pytest.mark.skipif(not is_root(), reason="/etc is replaced in a mount namespace")


class Host:
    """An /etc of its own, which nobody else sees."""

    def __init__(self, directory):
        self.etc = directory / "etc"
        self.etc.mkdir()
        for name in ("passwd", "group", "hosts", "nsswitch.conf", "services", "ld.so.cache"):
            if pathlib.Path("/etc", name).exists():
                shutil.copy(f"/etc/{name}", self.etc)
        self.add("passwd", "postmaster:x:1234:65533::/:/usr/sbin/nologin")
        self.add("group", "nobody:x:65533:")
        self.add("hosts", "127.0.0.9 mx.example.net")
        self.add("postmaster.rt", "joe@example.com joe")

    def add(self, name, line):
        with open(self.etc / name, "a", encoding="ascii") as file:
            file.write(line + "\n")

    def run(self, *flags, config=EXAMPLE):
        """postern with these flags on this host."""
        words = ["unshare", "--mount", "--uts", "sh", "-c",
                 'mount --bind "$1" /etc && mount -t tmpfs -o uid=1234 none /var/log && '
                 'hostname mx1.example.net && shift && exec "$@"', "sh",
                 str(self.etc), binary(), f"--config={config}", *flags]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(),
                              timeout=30, check=False, stdin=subprocess.DEVNULL)
        if "mount: " in done.stderr or "unshare: " in done.stderr:
            pytest.skip(f"no mount namespaces here: {done.stderr}")
        return done


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_check_only_warns(host):
    """Exit 0; the warnings are of mx.example.net, an own listener and an implicit relay, and of the
    listener that has no relay."""
    done = host.run("--check")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        f'{EXAMPLE}:41:33: warning: target "mx.example.net" has no section: it is taken for a '
        "host, an implicit relay",
        f'{EXAMPLE}:41:33: warning: target "mx.example.net" leads to our own listener smtpd '
        '"mx.example.net", which is never connected to',
        f'{EXAMPLE}:28:8: warning: smtpd "localhost" leads to no relay that could take reports to '
        'senders, so the postmaster gets them: bounce-relay names one',
        *[line for line in done.stderr.splitlines() if "/dev/log" in line]]     # the host's own


def test_sample(host):
    """What README installs is valid as it stands, where the account is there."""
    host.add("passwd", "postern:x:1236:1236::/:/usr/sbin/nologin")
    host.add("group", "postern:x:1236:")
    done = host.run("--check", config=TOP / "doc/postern.cf")
    assert done.returncode == 0, done.stderr


def test_included_file_is_read(host):
    """Its lines stand in place of `file`, its mistakes are told with its name."""
    lines = host.run("--dump").stdout.splitlines()
    before = lines.index('route."".postmaster@acme.example.org = postmaster')
    assert lines[before + 1] == 'route."".joe@example.com = joe'
    host.add("postmaster.rt", "jane@example.com")
    done = host.run("--check")
    assert done.returncode == 78
    assert "/etc/postmaster.rt:2:17: found the end of the line, expected a word" in done.stderr


@pytest.mark.parametrize("name, gone, words", [
    ("passwd", "postmaster", ':3:11: found "postmaster", expected an account of this host'),
    ("group", "nobody", ':4:12: found "nobody", expected a group of this host'),
    ("postmaster.rt", None, ':37:6: file "/etc/postmaster.rt" cannot be read: No such file')])
def test_what_is_missing(host, name, gone, words):
    """Without the accounts and files it needs, --check fails and says where."""
    path = host.etc / name
    if gone is None:
        path.unlink()
    else:
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(gone + ":")))
    done = host.run("--check")
    assert done.returncode == 78
    assert f"{EXAMPLE}{words}" in done.stderr


def test_implicit_relay_must_resolve(host):
    """A host that no section bears, and that nobody knows, fails."""
    host.add("postmaster.rt", "@elsewhere.example nowhere.invalid")
    done = host.run("--check")
    assert done.returncode == 78
    assert '/etc/postmaster.rt:2:20: found "nowhere.invalid"' in done.stderr


def test_own_listener_needs_no_address(host):
    """mx.example.net is our own by its name, even where it has no address."""
    path = host.etc / "hosts"
    path.write_text(path.read_text().replace("127.0.0.9 mx.example.net", ""))
    done = host.run("--check")
    assert done.returncode == 0, done.stderr
    assert "our own listener" in done.stderr

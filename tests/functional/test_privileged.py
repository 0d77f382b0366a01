# SPDX-License-Identifier: BSD-2-Clause
"""What root makes where others may have put something in the way, and what others may read."""

import os
import pathlib
import pwd
import stat

import pytest

from harness.postern import run
from harness.process import is_root

ROUTES = "[route]\n@ discard\n"

pytestmark = pytest.mark.skipif(not is_root(), reason="starts as root")


@pytest.fixture
def nobody():
    return pwd.getpwnam("nobody")


@pytest.fixture
def as_nobody(postern, nobody):
    """A server that becomes nobody, with its spool at a path of the test's below nobody's home."""
    def make(path):
        server = postern(ROUTES, core="user-id = nobody\n", is_started=False)
        home = server.directory / "home"
        home.mkdir()
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        text = server.config.read_text()
        server.config.write_text(text.replace(f"{server.directory}/spool", str(home / path)))
        return server, home / path
    return make


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# --- the spool directory -------------------------------------------------------------------------

def test_directories_that_are_missing_are_the_accounts(as_nobody, nobody):
    """Each of them, or it could not reach its spool."""
    server, spool = as_nobody("a/b/spool")
    server.start()
    for path in (spool, spool.parent, spool.parent.parent):
        assert (os.stat(path).st_uid, mode(path)) == (nobody.pw_uid, 0o700)


@pytest.mark.parametrize("what", ["a directory", "a link to it"])
def test_a_directory_of_root_is_not_given_away(as_nobody, tmp_path, what):
    """Who owns the parent may have put anything there, a link to /etc say."""
    server, spool = as_nobody("spool")
    other = tmp_path / "roots" if what == "a link to it" else spool
    other.mkdir(mode=0o755)
    if other != spool:
        spool.symlink_to(other)
    done = run(*server.flags)
    assert done.returncode == 73
    assert "another account than user-id" in done.stderr
    assert os.stat(other).st_uid == 0
    assert not list(other.iterdir())


def test_nothing_is_made_where_the_link_of_another_leads(as_nobody, tmp_path):
    """Neither root nor the account has said that the spool goes there."""
    server, spool = as_nobody("link/made/spool")
    victim = tmp_path / "victim"
    victim.mkdir()
    link = spool.parent.parent
    link.symlink_to(victim)
    os.lchown(link, 12345, -1)
    done = run(*server.flags)
    assert done.returncode == 73
    assert not list(victim.iterdir())


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o1777])
def test_a_spool_that_others_may_write_is_refused(as_nobody, nobody, bits):
    server, spool = as_nobody("spool")
    spool.mkdir()
    os.chown(spool, nobody.pw_uid, nobody.pw_gid)
    spool.chmod(bits)
    done = run(*server.flags)
    assert done.returncode == 73
    assert "others may write to it" in done.stderr
    spool.chmod(0o750)
    server.start()


# --- the pid file --------------------------------------------------------------------------------

def test_a_link_in_the_place_of_the_pid_file_is_not_followed(postern, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep")
    file = tmp_path / "pid"
    file.symlink_to(precious)
    server = postern(ROUTES, core=f"pid-file = {file}\n")
    assert precious.read_text() == "keep"
    assert not file.is_symlink()
    assert int(file.read_text()) == server.process.child.pid
    server.stop()
    assert not file.exists()
    assert sorted(path.name for path in tmp_path.iterdir() if "pid" in path.name) == []


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_stays(postern, tmp_path, kind):
    """A mistyped pid-file may name a device."""
    path = tmp_path / "pid"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    server = postern(ROUTES, core=f"pid-file = {path}\n", is_started=False)
    assert run(*server.flags).returncode == 73
    assert path.exists() and not path.is_file()


def test_a_pid_file_of_another_process_stays(postern, tmp_path):
    """A server that was started over this one has written its own."""
    file = tmp_path / "pid"
    server = postern(ROUTES, core=f"pid-file = {file}\n")
    file.write_text("1\n")
    server.stop()
    assert file.read_text() == "1\n"


# --- who may read --------------------------------------------------------------------------------

def test_modes_do_not_depend_on_the_umask(postern, tmp_path):
    log, pid = tmp_path / "log", tmp_path / "pid"
    before = os.umask(0)
    try:
        server = postern(ROUTES + f"[logfile \"F\"]\nfile = {log}\n",
                         core=f"logger = stderr F\npid-file = {pid}\n")
    finally:
        os.umask(before)
    assert mode(pid) == 0o644
    assert mode(log) == 0o640
    spool = pathlib.Path(server.directory) / "spool"
    others = [path for path in spool.rglob("*") if mode(path) & 0o077 and not path.is_symlink()]
    assert others == []

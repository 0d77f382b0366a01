# SPDX-License-Identifier: BSD-2-Clause
"""--check, a start and a reload agree on what would not serve, and on what serves."""
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess

import pytest

from conftest import DISCARDS
from harness.postern import HOSTNAME, environment, run
from harness.process import free_port, is_root

ACCOUNT = "nobody" if is_root() else pwd.getpwuid(os.getuid()).pw_name
LOG = '[logfile "l"]\nfile = {}\n'


def everything(folder):
    """All names below it, with their times."""
    return {path: os.lstat(path).st_mtime_ns for path in pathlib.Path(folder).rglob("*")}


@pytest.fixture
def place(tmp_path):
    """A folder of the account's own, in one that is not."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    made = tmp_path / "own"
    made.mkdir()
    if is_root():
        os.chown(made, pwd.getpwnam(ACCOUNT).pw_uid, pwd.getpwnam(ACCOUNT).pw_gid)
    return made


@pytest.fixture
def configured(postern, place):
    """A configuration with one more line or section; it is not started."""
    def make(core="", text="", smtpd=""):
        server = postern(DISCARDS + text, core=f"user-id = {ACCOUNT}\n{core}", smtpd=smtpd,
                         is_started=False)
        config = server.config.read_text()
        server.config.write_text(re.sub(r"(?m)^spool-directory = .*", f"spool-directory = {place}/spool",
                                        config))
        return server
    return make


@pytest.fixture
def faults(place):
    """What would not start: more of [core], more sections, what is said, the exit code of a start."""
    closed = place.parent / "closed"
    closed.mkdir(mode=0o700)
    if not is_root():
        closed.chmod(0o500)
    for name in ("folder", "strange"):
        (place / name).mkdir()
    missing = place / "missing"
    denied, gone, folder = "Permission denied", "No such file or directory", "Is a directory"
    log, pid, control = "cannot open log file", "cannot write pid file", "cannot make control socket"
    return {
        "log: not ours": ("", LOG.format(closed / "log"), f"{log} {closed}/log: {denied}", 71),
        "log: nowhere": ("", LOG.format(missing / "log"), f"{log} {missing}/log: {gone}", 71),
        "log: a folder": ("", LOG.format(place / "folder"), f"{log} {place}/folder: {folder}", 71),
        "pid: nowhere": (f"pid-file = {missing}/pid\n", "", f"{pid} {missing}/pid: {gone}", 73),
        "pid: a folder": (f"pid-file = {place}/folder\n", "", f"{pid} {place}/folder: File exists", 73),
        "control: nowhere": (f"control-socket = {missing}/c\n", "", f"{control} {missing}/c: {gone}", 71),
        "control: not ours": (f"control-socket = {closed}/c\n", "", f"{control} {closed}/c: {denied}", 71),
    }


NAMES = ["log: not ours", "log: nowhere", "log: a folder", "pid: nowhere", "pid: a folder",
         "control: nowhere", "control: not ours"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_what_would_not_start(configured, faults, place, name, workers):
    """--check says 78 and makes nothing; a start says the same, once."""
    core, text, said, code = faults[name]
    server = configured(f"workers = {workers}\n{core}", text)
    before = everything(place)
    done = server.check()
    assert (done.returncode, done.stdout) == (78, ""), done.stderr
    assert done.stderr.count(said) == 1 and done.stderr.startswith(str(server.config) + ":")
    assert everything(place) == before
    started = run(*server.flags)
    assert started.returncode == code and started.stderr.count(said) == 1, started.stderr


def test_all_problems_at_once(configured, faults):
    """Those of the file, of the routes and of the host, each once."""
    chosen = [faults[name] for name in ("log: not ours", "pid: nowhere", "control: nowhere")]
    server = configured("".join(core for core, _, _, _ in chosen) + "workers = many\n",
                        "".join(text for _, text, _, _ in chosen) + "[route]\na@b.test no-such\n")
    said = [words for _, _, words, _ in chosen] + ['found "many"', 'found "no-such"']
    for done in (server.check(), run(*server.flags)):
        assert done.returncode == 78
        for words in said:
            assert done.stderr.count(words) == 1, done.stderr


@pytest.mark.skipif(not is_root(), reason="gives the spool directory to another account")
def test_a_spool_of_another_account(configured, place):
    (place / "spool").mkdir()
    done = configured().check()
    assert done.returncode == 78
    assert f"cannot use spool directory {place}/spool: it belongs to another account" in done.stderr


def a_folder(path):
    path.mkdir(mode=0o700)


def a_file(path):
    path.touch(mode=0o600)


@pytest.mark.skipif(not is_root(), reason="gives parts of the spool to another account")
@pytest.mark.parametrize("name, make, why", [
    ("queue", a_folder, "Permission denied"), ("queue", a_file, "Permission denied"),
    ("targets", a_file, "Permission denied"), ("targets", a_folder, "Is a directory"),
    ("runner", a_folder, "Is a directory")])
def test_a_part_of_the_spool_that_cannot_be_used(configured, place, name, make, why):
    account = pwd.getpwnam(ACCOUNT)
    (place / "spool").mkdir()
    os.chown(place / "spool", account.pw_uid, account.pw_gid)
    make(place / "spool" / name)
    server = configured()
    for done, code in ((server.check(), 78), (run(*server.flags), 73)):
        assert done.returncode == code
        assert f"cannot use spool directory {place}/spool/{name}: {why}" in done.stderr


@pytest.mark.skipif(not is_root(), reason="root makes what is missing, the account uses it")
def test_a_spool_to_be_made_where_the_account_cannot_go(configured, faults, place):
    """Nothing is made there."""
    closed = place.parent / "closed"
    server = configured()
    text = server.config.read_text()
    server.config.write_text(text.replace(f"{place}/spool", f"{closed}/a/spool"))
    for done, code in ((server.check(), 78), (run(*server.flags), 73)):
        assert done.returncode == code
        assert f"cannot use spool directory {closed}/a/spool: Permission denied" in done.stderr
    assert not list(closed.iterdir())


def test_overlapping_listeners(configured):
    """All addresses of a port, and one of them: the second socket would not open."""
    port = free_port()
    server = configured(smtpd=f"listen-port = {port}\nlisten-port = 127.0.0.1:{port}\n")
    done = server.check()
    assert done.returncode == 78 and "one socket for each address" in done.stderr


def test_what_this_host_lacks(configured):
    """An address that is not ours, and one that another program has: warnings, with the words of a
    start, which fails on all of them."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        server = configured(smtpd=f"listen-port = 192.0.2.77:2525\nlisten-port = {taken}\n")
        said = ["cannot listen on 192.0.2.77:2525: Cannot assign requested address",
                f"cannot listen on {taken}: Address already in use"]
        checked, started = server.check(), run(*server.flags)
    assert checked.returncode == 0 and "configuration is valid" in checked.stdout
    assert started.returncode == 69
    for words in said:
        assert checked.stderr.count("warning: " + words) == started.stderr.count(words) == 1


@pytest.mark.skipif(not is_root(), reason="mounts a /dev of its own")
@pytest.mark.parametrize("logger, path", [("syslog", "/dev/log"),
                                          ("journal", "/run/systemd/journal/socket")])
def test_a_system_logger_without_a_socket(configured, logger, path):
    server = configured(f"logger = {logger}\n")
    hide = "mount -t tmpfs none /run; mount --bind /dev/null /dev/log 2>/dev/null; exec \"$@\""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", hide, "sh", server.program,
                           *server.flags, "--check"], env=environment(), capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0
    assert f"warning: no log lines can be sent to {path}: " in done.stderr


def test_little_in_the_file(configured, tmp_path):
    """An empty file, and a name without a domain."""
    server = configured()
    text = server.config.read_text()
    server.config.write_text(text.replace(HOSTNAME, "mx1", 1))
    done = server.check()
    assert done.returncode == 0 and 'warning: hostname "mx1" has no domain' in done.stderr
    empty = tmp_path / "empty.cf"
    empty.write_text("# nothing yet\n")
    done = run("-c", empty, "--check", f"--core-user-id={ACCOUNT}")
    assert "assigns nothing" not in done.stderr         # a flag does
    done = run("-c", empty, "--check")
    assert f"{empty}: warning: the file assigns nothing" in done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_success_is_said(configured, place, workers):
    """--check says that the configuration is valid, a start where it listens; what the server that
    runs holds is no fault."""
    server = configured(f"workers = {workers}\npid-file = {place.parent}/pid\n")
    checked = server.check()
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "postern: configuration is valid\n"
    server.start()
    role = "all" if workers == 0 else "master"
    server.log.wait_line(rf"Z start .*role={role} .*listening=127\.0\.0\.1:{server.port}$")
    again = server.check()
    assert (again.returncode, again.stderr) == (0, "")


def test_success_is_said_where_no_log_line_is(daemon):
    """Where log lines go elsewhere, whoever starts it is told on stderr."""
    made = daemon()
    done = run(f"--config={made.config}", "--daemon")
    assert done.returncode == 0
    assert done.stderr.endswith(f"postern: listening on 127.0.0.1:{made.port}\n")
    os.kill(int(made.pid_file.read_text()), signal.SIGTERM)


def test_a_reload_that_fails_says_all(configured, faults, place):
    """The line has every problem, and the server goes on; so it is with an address that is not ours."""
    server = configured("workers = 1\n")
    server.start()
    good = server.config.read_text()
    chosen = [faults[name] for name in ("log: not ours", "pid: nowhere", "control: nowhere")]
    bad = good.replace("[core]\n", "[core]\n" + "".join(core for core, _, _, _ in chosen))
    server.config.write_text(bad + "".join(text for _, text, _, _ in chosen))
    server.process.signal(signal.SIGHUP)
    line = server.wait_event("reload")
    assert line["result"] == "failed"
    for _, _, said, _ in chosen:
        assert line["reason"].count(said) == 1
    server.config.write_text(good.replace("listen-port", "listen-port = 192.0.2.77:25\nlisten-port = "
                                          "192.0.2.78:25\nlisten-port"))
    server.process.signal(signal.SIGHUP)
    line = server.wait_event("reload", count=2)
    for host in ("192.0.2.77:25", "192.0.2.78:25"):
        assert f"cannot listen on {host}: Cannot assign requested address" in line["reason"]
    with server.client() as client:
        client.hello()

# SPDX-License-Identifier: BSD-2-Clause
"""The program as an operator meets it: flags, exit codes, signals, log lines."""
import json
import os
import pathlib
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness.dns import CLIENT
from harness.messages import PLAIN_MESSAGE, big_message
from harness.postern import binary, environment, event_pattern, run
from harness.process import is_root
from peers.answers import Nothing
from peers.client import elapsed
from peers.target import CHUNKING_EHLO

ROUTES = "[route]\n@example.test discard\n"


# --- flags and exit codes ------------------------------------------------------------------------

def test_version_and_help():
    """Both print to stdout and exit 0."""
    for flag, word in (("--version", "postern"), ("--help", "--config")):
        done = run(flag)
        assert done.returncode == 0 and word in done.stdout


@pytest.mark.parametrize("flag", ["--no-such-flag", "--smtpd-nobody-listen-port=25", "stray"])
def test_exit_64_usage(postern, flag):
    """An unknown flag, or an assignment in a section that nobody declared."""
    server = postern(ROUTES, is_started=False)
    assert run(*server.flags, flag).returncode == 64


def test_exit_69_address_in_use(postern, target):
    """Somebody else listens there."""
    taken = target()
    done = run(*postern(f"listen-port = 127.0.0.1:{taken.port}\n" + ROUTES,
                        is_started=False).flags)
    assert done.returncode == 69
    assert str(taken.port) in done.stderr


def test_exit_73_spool(postern, tmp_path):
    """A spool directory that cannot be created."""
    (tmp_path / "file").write_text("in the way")
    server = postern(ROUTES, is_started=False)
    done = run(*server.flags, f"--core-spool-directory={tmp_path}/file/spool")
    assert done.returncode in (73, 78)      # a setting given twice is 78
    text = server.config.read_text()
    server.config.write_text(text.replace(f"{server.directory}/spool", f"{tmp_path}/file/spool"))
    assert run(*server.flags).returncode == 73


def as_nobody(server):
    """The program lies beside its configuration: nobody may have no way to the checkout."""
    user = pwd.getpwnam("nobody")
    program = shutil.copy(binary(), server.directory / "postern")
    return subprocess.run([program, *map(str, server.flags)], capture_output=True, text=True,
                          env=environment(), timeout=30, check=False, user=user.pw_uid,
                          group=user.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL)


@pytest.mark.skipif(not is_root(), reason="becomes another user")
def test_exit_77_no_permission(postern):
    """A port below the first free one, without being root."""
    first_free = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= 1:
        pytest.skip("this machine lets everybody bind every port")
    server = postern("listen-port = 127.0.0.1:1\n" + ROUTES, is_started=False)
    os.chown(server.directory, pwd.getpwnam("nobody").pw_uid, -1)
    text = server.config.read_text().replace("user-id = root\n", "")
    server.config.write_text(text)
    done = as_nobody(server)
    assert done.returncode == 77, done.stderr


@pytest.mark.parametrize("line, words", [
    ("[smtpd \"mx\"]\nlisten-prot = 25\n", "listen-port"),
    ("[relai \"x\"]\n", "relay"),
    ("[smtpd \"mx\"]\nbare-newline = normalise\n", "normalize"),
    ("[relay \"x\"]\nmax-connections = many\n", "many"),
    ("[route]\n@a.example @b.example\n@b.example @a.example\n", "loop"),
    ("[smtpd \"mx\"]\nrouting-table = nowhere\n", "nowhere"),
    ("[relay \"x\"]\naddress = 127.0.0.1\non-failure = spoll\n", "spool"),
    ("[core]\nbounce-relay = nobody\n", "nobody"),
    ("[pipe \"p\"]\nexec = /bin/true\n", "pipe"),
    ("[core]\nuser-id = no-such-account\n", "no-such-account"),
    ("[core]\nworkers = 65\n", "at most 64"),
    ("[core\n", "]"), ("key discard\n\"\n", "quote")])
def test_exit_78_configuration(postern, line, words):
    """Wrong configuration: file:line:column, what was found, the nearest known name."""
    core = line.removeprefix("[core]\n") if line.startswith("[core]\n") else ""
    server = postern(ROUTES + ("" if core else line), core=core, is_started=False)
    for flags in ((*server.flags, "--check"), server.flags):
        done = run(*flags)
        assert done.returncode == 78
        assert words in done.stderr + done.stdout
        assert f"{server.config}:" in done.stderr + done.stdout


def test_missing_configuration_file():
    done = run("--config=/nowhere/postern.cf")
    assert done.returncode == 78
    assert "/nowhere/postern.cf" in done.stderr


def test_check_says_all_problems(postern):
    """One run names every mistake, not only the first."""
    server = postern(ROUTES + "[smtpd \"mx\"]\nfirst-mistake = 1\nsecond-mistake = 2\n",
                     is_started=False)
    done = server.check()
    assert done.returncode == 78
    assert "first-mistake" in done.stderr + done.stdout
    assert "second-mistake" in done.stderr + done.stdout


def test_check_good(postern):
    assert postern(ROUTES, is_started=False).check().returncode == 0


def test_check_warns_of_an_open_relay(postern):
    """`@` to a relay without identity, from a listener on all addresses: a warning at start."""
    server = postern('[relay "x"]\naddress = 127.0.0.1\nidentity = none\n[route]\n@ x\n',
                     is_started=False)
    text = server.config.read_text().replace("listen-port = 127.0.0.1:", "listen-port = 0.0.0.0:")
    server.config.write_text(text)
    done = server.check()
    assert done.returncode == 0
    assert "relay" in (done.stderr + done.stdout).lower()
    assert done.stderr + done.stdout


def test_dump_can_be_given_as_flags(postern, target):
    """--dump prints one assignment a line; a key given as a flag is in it."""
    backend = target()
    server = postern(f'[relay "one"]\naddress = {backend.address}\n[route]\n@example.test one\n',
                     is_started=False)
    done = run(*server.flags, "--smtpd-mx-max-errors=7", "--dump")
    assert done.returncode == 0
    assert 'smtpd."mx".max-errors = 7' in done.stdout.splitlines()
    assert f'relay."one".address = {backend.address}' in done.stdout.replace('"127', "127") \
        .replace('25"', '25') or backend.address in done.stdout


def test_routes_as_flags(postern):
    """--route-""-PATTERN=TARGET adds a line to the global table."""
    server = postern("[route]\njoe@example.test discard\n",
                     flags=['--route-""-jane@example.test=discard'])
    with server.client() as client:
        client.hello()
        client.envelope(recipients=["joe@example.test", "jane@example.test"])
        client.expect(550, "RCPT TO:<jim@example.test>")


def test_pid_file(postern, tmp_path):
    """pid-file holds the process id."""
    file = tmp_path / "pid"
    server = postern(ROUTES, core=f"pid-file = {file}\n")
    assert int(file.read_text()) == server.process.child.pid


@pytest.mark.skipif(not is_root(), reason="starts as root")
def test_user_id(postern, tmp_path):
    """After binding, postern is that user, in all ids."""
    nobody = pwd.getpwnam("nobody")
    server = postern(ROUTES, core="user-id = nobody\n", is_started=False)
    os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)
    server.start()
    status = pathlib.Path(f"/proc/{server.process.child.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert fields["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert fields["Groups"].split() in ([], [str(nobody.pw_gid)])


# --- signals -------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_when_idle(postern, number):
    """TERM and INT end an idle server at once, with exit code 0 and a `stop` line."""
    server = postern(ROUTES)
    seconds, _ = elapsed(lambda: server.stop(number))
    assert seconds < 3
    assert server.events("stop")


def test_idle_clients_are_told(postern):
    """Clients without a transaction get 421 4.3.2."""
    server = postern(ROUTES)
    client = server.client()
    client.hello()
    server.process.signal(signal.SIGTERM)
    reply = client.reply()
    assert (reply.code, reply.enhanced) == (421, "4.3.2")
    assert client.is_closed()
    server.wait_stopped()


def test_term_finishes_a_running_transaction(target, to_target):
    """A message on its way is delivered, its client gets the reply; new clients are refused."""
    backend = target()
    server = to_target(backend, "received = never")
    client = server.client()
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(PLAIN_MESSAGE)
    server.process.signal(signal.SIGTERM)
    backend.wait(lambda: _refuses(server), "the listener's end")
    client.send(b".\r\n")
    assert client.reply().code == 250
    server.wait_stopped()
    assert backend.accepted[0].content == PLAIN_MESSAGE


def _refuses(server):
    try:
        with socket.create_connection(server.server, 1):
            time.sleep(0.02)
            return False
    except OSError:
        return True


def test_shutdown_timeout(at_the_end):
    """... bounded by shutdown-timeout."""
    server = at_the_end(core="shutdown-timeout = 1s\n").server
    seconds, _ = elapsed(lambda: server.stop(timeout_s=10))
    assert 0.5 < seconds < 5


def test_second_term_exits_at_once(at_the_end):
    running = at_the_end()
    running.server.process.signal(signal.SIGTERM)
    running.backend.wait(lambda: _refuses(running.server), "the listener's end")
    seconds, _ = elapsed(lambda: running.server.stop(timeout_s=10))
    assert seconds < 3


def test_stop_does_not_wait_for_a_targets_last_words(target, to_target):
    """A connection whose transaction is over, but that still owes replies, keeps nobody."""
    backend = target(ehlo=CHUNKING_EHLO)
    backend.on("BDAT", "452 4.3.1 no room", Nothing()).on("RSET", Nothing())
    server = to_target(backend, core="shutdown-timeout = 30s\n")
    with server.client() as client:
        client.hello()
        client.envelope()
        assert client.data(big_message(2 << 20)).code == 452
        client.quit()
    seconds, _ = elapsed(server.stop)
    assert seconds < 5


def test_hup_is_refused(postern):
    """Without workers HUP changes nothing, and is logged."""
    server = postern(ROUTES)
    mark = server.log.mark()
    server.process.signal(signal.SIGHUP)
    server.wait_event("reload", since=mark)
    with server.client() as client:
        client.hello()


# --- logs ----------------------------------------------------------------------------------------

def test_events_of_a_session(target, to_target):
    """connect, transaction and disconnect, all with one session id."""
    backend = target()
    server = to_target(backend)
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        client.mail(PLAIN_MESSAGE)
        client.quit()
    lines = [server.wait_event(name) for name in ("connect", "transaction", "disconnect")]
    assert len({line["session"] for line in lines}) == 1
    assert lines[0]["client"].startswith(CLIENT)


def test_transaction_line_says_it_all(target, to_target):
    """Client, envelope, target and its address, the identity sent, the reply, size, durations."""
    backend = target()
    server = to_target(backend)
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        client.mail(PLAIN_MESSAGE)
        client.mail(PLAIN_MESSAGE)
    server.wait_event("transaction", 2)
    first, second = server.log.find(event_pattern("transaction"))
    for words in (CLIENT, "helo.example.org", "sender@example.org", "joe@example.test", "target",
                  backend.address, "queued as T1", "new"):
        assert words in first.string, (words, first.string)
    assert "reused" in second.string


@pytest.mark.parametrize("text", ["quo\"te", "back\\slash", "e=mc2", "per%cent"])
def test_hostile_values_in_the_log(postern, text):
    """No client writes log lines of its own: values are quoted where needed."""
    server = postern(ROUTES)
    with server.client() as client:
        client.expect(220)
        client.command(f"EHLO {text}")
        client.send(b"MAIL FROM:<a\x01\x7f\xff@b.example>\r\n")
        client.reply()
        client.command('MAIL FROM:<"x Z start y"@b.example>')
        client.command("RCPT TO:<no@elsewhere.example>")
        client.quit()
    server.wait_event("disconnect")
    assert len(server.events("start")) == 1
    for line in server.log.lines:
        assert all(" " <= c for c in line), repr(line)


def test_json(target, to_target):
    """log-format = json: each line an object with the same keys."""
    backend = target()
    server = to_target(backend, log_format="json")
    with server.client(source=CLIENT) as client:
        client.hello("helo.example.org")
        client.mail(PLAIN_MESSAGE)
        client.quit()
    server.wait_event("disconnect")
    parsed = [json.loads(line) for line in server.log.lines if line.startswith("{")]
    assert len(parsed) == len(server.log.lines)
    assert {"start", "connect", "transaction", "disconnect"} <= {p["event"] for p in parsed}


def logfile_server(postern, tmp_path, pattern):
    server = postern(f'[logfile "file"]\nfile = "{tmp_path}/{pattern}"\n' + ROUTES,
                     core="logger = file\n", is_started=False)
    server.start(is_logging_to_stderr=False)
    return server


def wait_for(predicate, what, timeout_s=10):
    """For what happens in the file system, where nobody tells us."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_logfile_with_strftime(postern, tmp_path):
    """The name of a logfile is made from the date."""
    logfile_server(postern, tmp_path, "log-%Y-%m-%d")
    name = tmp_path / time.strftime("log-%Y-%m-%d")
    wait_for(lambda: name.exists() and "Z start" in name.read_text(), "the start line")


def test_usr1_reopens_log_files(postern, tmp_path):
    """After rotation and USR1 lines go to a new file."""
    server = logfile_server(postern, tmp_path, "log")
    wait_for(lambda: (tmp_path / "log").exists() and "start" in (tmp_path / "log").read_text(),
             "the start line")
    (tmp_path / "log").rename(tmp_path / "log.1")
    server.process.signal(signal.SIGUSR1)
    wait_for((tmp_path / "log").exists, "a new file")
    with server.client() as client:
        client.hello()
    wait_for(lambda: "Z connect" in (tmp_path / "log").read_text(), "the connect line")
    assert "Z connect" not in (tmp_path / "log.1").read_text()


def test_listener_with_a_logger_of_its_own(postern, tmp_path):
    """smtpd.logger takes the sessions of that listener."""
    server = postern(f'[logfile "own"]\nfile = "{tmp_path}/own"\n' + ROUTES,
                     smtpd="logger = own\n")
    with server.client() as client:
        client.hello()
        client.quit()
    wait_for(lambda: (tmp_path / "own").exists()
             and "Z disconnect" in (tmp_path / "own").read_text(), "the session's lines")
    assert server.events("connect") == []


class Receiver:
    """A datagram socket like syslog's or the journal's."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        os.chmod(path, 0o666)
        self.sock.settimeout(10)

    def until(self, word):
        while True:
            data = self.sock.recv(65536)
            if word in data:
                return data


PRIVATE_MOUNTS = """
set -e
mount -t tmpfs none /dev
mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; mknod -m 666 /dev/random c 1 8
ln -s "$1/log" /dev/log
mount -t tmpfs none /run
mkdir -p /run/systemd/journal
ln -s "$1/journal" /run/systemd/journal/socket
shift
exec "$@"
"""


@pytest.fixture
def with_sockets(tmp_path):
    """Runs postern where /dev/log and the journal's socket are ours."""
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/run"],
                           capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no private mounts here")
    receivers = {name: Receiver(tmp_path / name) for name in ("log", "journal")}
    return receivers, ["unshare", "-m", "sh", "-c", PRIVATE_MOUNTS, "sh", str(tmp_path)]


@pytest.mark.parametrize("logger", ["syslog", "journal"])
def test_system_loggers(postern, with_sockets, logger):
    """Lines go to the system's log socket, with ident and facility."""
    receivers, prefix = with_sockets
    server = postern("[syslog]\nident = my-postern\nfacility = local3\n" + ROUTES,
                     core=f"logger = {logger}\n", is_started=False)
    child = subprocess.Popen([*prefix, binary(), *server.flags], env=environment())
    try:
        line = receivers["log" if logger == "syslog" else "journal"].until(b"start")
        assert b"my-postern" in line
        if logger == "syslog":
            assert line.startswith(b"<158>")        # local3.info
        else:
            assert b"SYSLOG_IDENTIFIER=my-postern" in line
    finally:
        child.terminate()
        assert child.wait(20) == 0


# --- the two commands of a newcomer --------------------------------------------------------------

def test_the_dialogue_that_make_run_prints(tmp_path):
    """scripts/run on its own: configuration, the printed bash line, the message where it says."""
    if shutil.which("bash") is None or not _is_free(2525):
        pytest.skip("port 2525 is in use")
    build = tmp_path / "b"
    build.mkdir()
    os.chmod(tmp_path, 0o755)
    (build / "postern").symlink_to(binary())
    top = pathlib.Path(__file__).resolve().parents[2]
    child = subprocess.Popen([str(top / "scripts/run")], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True,
                             env={**environment(), "B": str(build)})
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(child.stdout), daemon=True)
    reader.start()
    try:
        wait_for(lambda: any(line.startswith("  cat ") for line in lines), "what to type")
        assert not _is_free(2525)           # it is said when it is true
        dialogue = next(line for line in lines if line.startswith("  bash -c"))
        done = subprocess.run(["sh", "-c", dialogue], capture_output=True, text=True, timeout=20,
                              check=False)
        assert "221" in done.stdout, done
        show = next(line for line in lines if line.startswith("  cat "))
        shown = subprocess.run(["sh", "-c", show], capture_output=True, text=True, check=True)
        assert "Subject: hello\n\nHello.\n" in shown.stdout
    finally:
        child.terminate()
        assert child.wait(20) == 0


@pytest.mark.skipif(not is_root(), reason="is root in another's checkout")
def test_root_in_anothers_checkout():
    """scripts/as-owner: what is made there is the owner's."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="postern-test-") as checkout:
        shutil.copytree(pathlib.Path(__file__).resolve().parents[2] / "scripts", f"{checkout}/scripts")
        os.chmod(checkout, 0o755)
        os.chown(checkout, nobody.pw_uid, nobody.pw_gid)
        made = pathlib.Path(checkout, "made")
        subprocess.run([f"{checkout}/scripts/as-owner", "sh", "-c", f"id -un >{made}"], check=True)
        assert made.read_text() == "nobody\n" and made.stat().st_uid == nobody.pw_uid


def _is_free(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def test_daemon_returns_when_it_serves(daemon, tmp_path):
    """--daemon: exit 0 with the server up and its pid written, or what kept it from starting."""
    server = daemon()
    bad = run("-c", server.config, "--daemon", f"--logfile-l-file={tmp_path}/no/such")
    assert bad.returncode == 71 and f"{tmp_path}/no/such" in bad.stderr
    assert run("-c", server.config, "--daemon").returncode == 0
    process = os.pidfd_open(int(server.pid_file.read_text()))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        assert client.recv(100).startswith(b"220 ")
    signal.pidfd_send_signal(process, signal.SIGTERM)
    assert select.select([process], [], [], 10)[0]
    assert " stop " in server.log.read_text() and not server.pid_file.exists()

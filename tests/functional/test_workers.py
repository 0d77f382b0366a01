# SPDX-License-Identifier: BSD-2-Clause
"""Master, workers and runner: what dies is replaced, HUP, limits of the whole host, the end."""
import os
import pathlib
import pwd
import signal
import socket
import threading
import time

import pytest

from harness.control import Control
from harness.messages import PLAIN_MESSAGE
from harness.postern import run
from harness.process import free_port, is_root
from harness.workers import Callers, Workers, wait_for, wait_gone
from peers.answers import Hold
from peers.client import Client

from conftest import DISCARDS, relay_config, send_whole

def connect_all(server, count, **options):
    """That many sessions, greeted."""
    clients = [server.client(**options) for _ in range(count)]
    for client in clients:
        client.hello()
    return clients


def is_alive(client):
    try:
        return client.command("NOOP").code == 250
    except (OSError, EOFError):
        return False


def servers_of(server, count, since):
    """How many processes served these sessions; an id names its process behind the time."""
    server.wait_event("connect", count, since)
    return len({line["session"][9:14] for line in server.events("connect", since)})


# --- many processes, one port --------------------------------------------------------------------

def test_every_worker_serves(workers):
    """The kernel spreads connections over the workers; the runner and the master get none."""
    server = workers(count=3)
    clients = connect_all(server, 40)
    assert servers_of(server, 40, 0) == 3
    for client in clients:
        client.quit()


@pytest.mark.skipif(not is_root(), reason="starts as root")
def test_master_alone_keeps_privileges(workers):
    """Workers and runner have dropped them; the master can bind a privileged port later."""
    nobody = pwd.getpwnam("nobody")
    server = workers(core="user-id = nobody\n", is_started=False)
    os.chown(server.directory, nobody.pw_uid, nobody.pw_gid)
    server.start()
    for pid in server.pids():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert fields["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert os.stat(f"/proc/{server.master}").st_uid == 0


def test_exit_69_address_in_use(workers):
    """Two posterns do not share a port, although each one's workers do."""
    first = workers()
    second = workers(is_started=False)
    text = second.config.read_text().replace(str(second.port), str(first.port))
    second.config.write_text(text)
    done = run(*second.flags)
    assert done.returncode == 69 and str(first.port) in done.stderr


def test_what_keeps_a_worker_from_starting(workers, tmp_path):
    """The first start fails with the process's exit code, and no process is left."""
    server = workers(f'[logfile "l"]\nfile = "{tmp_path}/no/such"\n' + DISCARDS,
                     core="logger = l\n", is_started=False)
    done = run(*server.flags)
    assert done.returncode == 71 and "/no/such" in done.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.server, 1)


def test_daemon(daemon):
    """--daemon returns when all processes serve; the pid file is the master's."""
    server = daemon("workers = 2\n")
    assert run("-c", server.config, "--daemon").returncode == 0
    master = int(server.pid_file.read_text())
    clients = [Client(("127.0.0.1", server.port)) for _ in range(10)]
    for client in clients:
        client.hello()
        client.quit()
    os.kill(master, signal.SIGTERM)
    wait_gone(master)
    text = server.log.read_text()
    assert "role=runner" in text and "stop" in text and not server.pid_file.exists()


# --- what dies -----------------------------------------------------------------------------------

def test_a_killed_worker_is_replaced(workers):
    """Its sessions are lost, those of others go on, and nobody is turned away meanwhile."""
    server = workers(count=2)
    clients = connect_all(server, 12)
    with Callers(server.server) as callers:
        pid = server.kill("worker", 1)
    alive = [client for client in clients if is_alive(client)]
    assert 0 < len(alive) < len(clients)
    assert not any(isinstance(error, ConnectionRefusedError) for error in callers.failures)
    assert len(callers.failures) <= 3               # those that it was serving just then
    assert callers.calls > 0
    died = server.wait_event("died")
    assert (died["role"], died["number"], died["signal"]) == ("worker", "1", "9")
    assert int(died["pid"]) == pid
    for client in connect_all(server, 8):
        client.quit()


def test_who_dies_again_waits(workers):
    """The second restart is delayed; until then the others get all connections."""
    server = workers(count=2)
    server.kill("worker", 1)
    os.kill(server.pid("worker", 1), signal.SIGKILL)
    server.wait_event("died", 2)
    mark = server.log.mark()
    for _ in range(20):
        with server.client(timeout_s=5) as client:
            client.hello()
            client.quit()
    assert not server.events("start", mark)
    assert {line["restart_ms"] for line in server.events("died")} == {"0", "1000"}
    server.wait_event("start", since=mark)
    mark = server.log.mark()
    clients = connect_all(server, 20)
    assert servers_of(server, 20, mark) == 2
    for client in clients:
        client.quit()


def test_the_only_worker_keeps_its_sockets(workers):
    """Where nobody else would take them, connections wait for the one that comes."""
    server = workers(count=1)
    server.kill("worker", 1)
    os.kill(server.pid("worker", 1), signal.SIGKILL)
    server.wait_event("died", 2)
    with server.client() as client:
        client.hello()
        client.quit()


def test_a_killed_runner_is_replaced(workers):
    server = workers()
    clients = connect_all(server, 4)
    server.kill("runner")
    assert all(is_alive(client) for client in clients)


SPOOL = ("on-failure = spool", "identity = none", "health-interval = 1s", "connect-timeout = 1s",
         "retry = 1s", "received = never")


def spooled(server, count):
    """Messages for a target that is away; every session acknowledges one."""
    for client in connect_all(server, count):
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()


def test_the_queue_outlives_its_runner(workers, target):
    """What all workers have spooled is delivered by the next runner, once."""
    backend = target()
    backend.unlisten()
    server = workers(relay_config(backend.address, *SPOOL))
    spooled(server, 8)
    server.kill("runner")
    spooled(server, 2)
    backend.listen()
    server.wait_event("delivered", 10)
    assert [t.content for t in backend.accepted] == [PLAIN_MESSAGE] * 10


def test_the_queue_changes_hands(workers, target):
    """A reload gives it to the new runner."""
    backend = target()
    backend.unlisten()
    server = workers(relay_config(backend.address, *SPOOL))
    spooled(server, 4)
    assert server.reload()["result"] == "ok"
    spooled(server, 4)
    backend.listen()
    server.wait_event("delivered", 8)
    assert len(backend.accepted) == 8


def test_shutdown_spools(workers, target):
    """A transaction that its target does not end in time is spooled and acknowledged."""
    server, client = holding(workers, target, core="shutdown-timeout = 1s\n")
    server.process.signal(signal.SIGTERM)
    assert client.reply().code == 250
    server.wait_stopped()
    assert server.events("spooled")[0]["duplicate"] == "possible"


def test_a_killed_master_takes_all_with_it(workers):
    """The processes end as after TERM; a new postern starts in their place."""
    server = workers()
    pids = server.pids()
    clients = connect_all(server, 4)
    os.kill(server.master, signal.SIGKILL)
    for client in clients:
        assert client.reply().code == 421
    for pid in pids:
        wait_gone(pid)
    server.process.wait_exit()
    server.start()
    for client in connect_all(server, 4):
        client.quit()


# --- HUP -----------------------------------------------------------------------------------------

def test_reload(workers):
    """New sessions see the new file, running ones keep the old; the old processes end with them."""
    server = workers()
    old, pids = connect_all(server, 4), server.pids()
    mark = server.log.mark()
    assert server.reload([("@example.test", "@new.test")])["result"] == "ok"
    server.wait_retired(pids)
    for client in connect_all(server, 4):
        client.expect(250, "MAIL FROM:<a@b.example>")
        client.expect(250, "RCPT TO:<joe@new.test>")
        client.expect(550, "RCPT TO:<joe@example.test>")
        client.quit()
    for client in old:
        client.envelope()
        client.expect(550, "RCPT TO:<joe@new.test>")
        assert client.data(PLAIN_MESSAGE).code == 250
        client.quit()
    server.log.wait_line(r"Z stop .*generation=1 ", since=mark, count=3)


def test_idle_envelopes_do_not_keep_old_processes(workers):
    """Who has said MAIL, or nothing, and then nothing more is told 421 by a process that retires;
    who is sending a message there ends it."""
    server = workers(core="shutdown-timeout = 2s\n")
    idle, busy = connect_all(server, 4), connect_all(server, 4)
    for client in idle[:2]:
        client.envelope()
    for client in busy:
        client.envelope()
        client.expect(354, "DATA")
    mark = server.log.mark()
    assert server.reload()["result"] == "ok"
    for client in idle:
        reply = client.reply()
        assert (reply.code, reply.enhanced) == (421, "4.3.2")
        assert client.is_closed()
    for client in busy:
        client.send(PLAIN_MESSAGE + b".\r\n")
        client.expect(250)
    server.log.wait_line(r"Z stop .*generation=1 ", since=mark, count=3)


def test_reload_while_every_generation_has_a_client(workers):
    """One process that still serves a client keeps its own place, not those of its generation."""
    count = 64      # and the runner: four generations would need more than the 256 places
    server = workers(count=count, core="shutdown-timeout = 1m\n")
    held = []
    for _ in range(4):
        client = server.client(timeout_s=60)
        held.append(client)
        client.hello()
        client.envelope()
        client.expect(354, "DATA")
        assert server.reload()["result"] == "ok"
        wait_for(lambda: len(children_of(server.master)) <= count + 1 + len(held), 60)
    for client in held:
        client.send(PLAIN_MESSAGE + b".\r\n")
        client.expect(250)
        client.quit()


def test_reload_by_those_who_wait_in_the_backlog(workers):
    """A worker that is busy elsewhere keeps its backlog; the next generation serves it."""
    server = workers(count=1)
    pid = server.pid("worker", 1)
    os.kill(pid, signal.SIGSTOP)
    waiting = [server.client() for _ in range(5)]
    assert server.reload()["result"] == "ok"
    for client in waiting:
        client.hello()
        client.quit()
    os.kill(pid, signal.SIGCONT)
    wait_gone(pid)


@pytest.mark.parametrize("old, new, words", [
    ("discard", "no-such.target.example. x", "postern.cf:"),
    ("[route]", "[rout]", "route"),
    ("workers = 2", "workers = 0", "restart"),
    ("/spool", "/elsewhere", "restart"),
    ("listen-port = 127.0.0.1:", "listen-port = 192.0.2.1:",
     "cannot listen on 192.0.2.1:")])
def test_bad_file_changes_nothing(workers, old, new, words):
    """It is logged with what is wrong; everything goes on."""
    server = workers()
    pids = server.pids()
    line = server.reload([(old, new)])
    assert line["result"] == "failed" and words in line["reason"], line
    for client in connect_all(server, 4):
        client.envelope()
        client.quit()
    assert server.pids() == pids
    assert server.reload([(new, old)])["result"] == "ok"


def test_new_processes_that_cannot_start(workers, tmp_path):
    """What only they find out changes nothing either."""
    server = workers()
    (tmp_path / "new.log").symlink_to("/no/such/folder/log")
    pid = server.pid("worker", 1)
    line = server.reload([("[route]", f'[logfile "l"]\nfile = "{tmp_path}/new.log"\n[route]'),
                          ("workers = 2", "workers = 2\nlogger = l")])
    assert line["result"] == "failed" and "71" in line["reason"]
    for client in connect_all(server, 4):
        client.quit()
    assert server.pid("worker", 1) == pid


def test_reload_of_listeners_and_workers(workers):
    """Ports come and go, workers too; the ones that stay miss nothing."""
    server = workers(count=1)
    second = free_port()
    with Callers(server.server) as callers:
        for old, new in (("workers = 1", "workers = 3"), ("workers = 3", "workers = 2")):
            assert server.reload([(old, new)])["result"] == "ok"
        server.reload([(f"127.0.0.1:{server.port}\n",
                        f"127.0.0.1:{server.port}\nlisten-port = 127.0.0.1:{second}\n")])
        with Client(("127.0.0.1", second)) as client:
            client.hello()
            client.quit()
        server.reload([(f"listen-port = 127.0.0.1:{second}\n", "")])
    assert callers.failures == [] and callers.calls > 0
    wait_refused(("127.0.0.1", second))


def test_reload_from_all_addresses_to_one(workers):
    """... of the same port, and back: our own sockets are not in our way."""
    server = workers(count=2)
    one, every = f"listen-port = 127.0.0.1:{server.port}\n", f"listen-port = {server.port}\n"
    for old, new in ((one, every), (every, one), (one, every)):
        assert server.reload([(old, new)])["result"] == "ok"
        with server.client() as client:
            client.hello()
            client.quit()


def wait_refused(address, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(address, 1).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:                # it is being closed
            pass
        assert time.monotonic() < deadline, f"{address} is still served"


def test_reload_under_load(workers):
    """Not one connection fails."""
    server = workers()
    with Callers(server.server, 4) as callers:
        for _ in range(4):
            assert server.reload()["result"] == "ok"
    assert callers.failures == [] and callers.calls > 10


# --- limits of the whole host --------------------------------------------------------------------

def greetings(clients):
    return sorted(client.reply().code for client in clients)


def test_connections_of_one_client(workers):
    """max-connections-per-client counts over all workers, and what a dead one had is forgotten."""
    server = workers(count=3, smtpd="max-connections-per-client = 4\n")
    clients = [server.client() for _ in range(12)]
    assert greetings(clients) == [220] * 4 + [421] * 8
    for client in clients:
        client.close()
    server.wait_event("disconnect", 4)
    clients = [server.client() for _ in range(4)]
    assert greetings(clients) == [220] * 4
    for number in (1, 2, 3):
        server.kill("worker", number)
    clients = [server.client() for _ in range(6)]
    assert greetings(clients) == [220] * 4 + [421] * 2


def test_connections_of_all_clients(workers):
    """So does max-connections."""
    server = workers(count=2, smtpd="max-connections = 5\n")
    clients = [server.client() for _ in range(8)]
    assert greetings(clients) == [220] * 5 + [421] * 3


class Gauge:
    """How many connections a target has at a time, and had at most."""

    def __init__(self, target):
        self.target = target
        self.most = 0

    def look(self):
        now = sum(1 for connection in list(self.target.connections) if connection.end is None)
        self.most = max(self.most, now)


def test_connections_to_one_target(workers, target):
    """A relay's max-connections holds for all workers together; all of them get their turn."""
    backend = target()
    gauge = Gauge(backend)
    backend.on("MAIL", lambda *_: gauge.look() or "250 2.1.0 Ok")
    server = workers(relay_config(backend.address, "max-connections = 2", "identity = none"),
                     count=3)
    clients = connect_all(server, 12)
    codes = []

    def send(client):
        codes.extend(client.mail(PLAIN_MESSAGE).code for _ in range(3))

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [250] * 36
    assert 1 <= gauge.most <= 2
    assert len(backend.accepted) == 36


def test_one_outage_one_retry(workers, target):
    """Three workers and the runner meet a target that is away, and later defers all: it is down once and
    up once, and what waits is tried once by that."""
    backend = target()
    backend.unlisten()
    backend.on("RCPT", "451 4.7.1 Not yet")
    server = workers(relay_config(backend.address, "on-failure = spool", "retry = 1h",
                                  "health-interval = 1s"), count=3)
    clients = connect_all(server, 12)
    for client in clients:
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert servers_of(server, 12, 0) == 3
    row = Control(server).json("targets")[0]
    assert (row["state"], row["messages"]) == ("down", 12)
    backend.listen()
    server.wait_event("deferred", 12)
    wait_for(lambda: Control(server).json("targets")[0]["state"] == "up")
    server.stop()
    assert len(backend.transactions) == 12
    assert len(server.events("target-down")) == len(server.events("target-up")) == 1


def test_a_dead_prober_is_replaced(workers, target):
    """The process that found the target down dies: another one finds it up again."""
    backend = target()
    backend.unlisten()
    server = workers(relay_config(backend.address, *SPOOL), count=3)
    spooled(server, 6)
    for number in (1, 2, 3):
        server.kill("worker", number)
    backend.listen()
    server.wait_event("delivered", 6)


def test_idle_connections_make_way(workers, target):
    """One worker's idle connection is closed when another one needs its place."""
    backend = target()
    server = workers(relay_config(backend.address, "max-connections = 1", "identity = none",
                                  "idle-timeout = 10m"), count=2)
    for client in connect_all(server, 10):          # on both workers
        assert client.mail(PLAIN_MESSAGE).code == 250
        client.quit()


def test_live_mail_before_the_queue(workers, target):
    """While the runner drains a long queue at the limit, clients get connections all the same."""
    backend = target()
    backend.unlisten()
    server = workers(relay_config(backend.address, *SPOOL, "max-connections = 2"))
    client = server.client()
    client.hello()
    for _ in range(100):
        assert client.mail(PLAIN_MESSAGE).code == 250
    backend.on("MAIL", lambda *_: time.sleep(0.02) or "250 2.1.0 Ok")
    backend.listen()
    server.wait_event("delivered", 5)
    for _ in range(5):
        assert "queued as T" in client.mail(PLAIN_MESSAGE).text
    assert len(server.events("delivered")) < 100
    server.wait_event("delivered", 100)


# --- signals -------------------------------------------------------------------------------------

def test_term_tells_all(workers):
    """TERM to the master ends all; idle clients are told."""
    server = workers()
    clients = connect_all(server, 6)
    pids = server.pids()
    server.process.signal(signal.SIGTERM)
    for client in clients:
        assert client.reply().code == 421
    server.wait_stopped()
    for pid in pids:
        wait_gone(pid)
    assert server.events("stop")[-1]["role"] == "master"


def holding(workers, target, **options):
    """A server with a transaction whose target does not answer the end of data."""
    backend = target().on("end", Hold("250 2.0.0 too late"))
    server = workers(relay_config(backend.address, *SPOOL), **options)
    return server, send_whole(server, backend)


def test_term_to_each_process_is_one_term(workers, target):
    """As a terminal or systemd does it: the processes hear it twice, and still take their time."""
    server, client = holding(workers, target, core="shutdown-timeout = 2s\n")
    for pid in (*server.pids(), server.master):
        os.kill(pid, signal.SIGTERM)
    assert not client.has_reply_within(1)
    assert client.reply().code == 250
    server.wait_stopped()


def test_second_term_ends_at_once(workers, target):
    server, client = holding(workers, target, core="shutdown-timeout = 10m\n")
    server.process.signal(signal.SIGTERM)
    server.log.wait_line("Z stop .*role=runner")
    server.process.signal(signal.SIGTERM)
    assert client.reply().code == 250
    server.wait_stopped()


def test_term_ends_old_generations_too(workers):
    server = workers()
    clients = connect_all(server, 4)
    server.reload()
    clients += connect_all(server, 4)
    server.process.signal(signal.SIGTERM)
    for client in clients:
        assert client.reply().code == 421
    server.wait_stopped()


def test_usr1_is_for_all(workers, tmp_path):
    """Every process opens its log files anew."""
    log = tmp_path / "log"
    server = workers(f'[logfile "l"]\nfile = "{log}"\n' + DISCARDS, core="logger = l\n",
                     is_started=False)
    server.start(is_logging_to_stderr=False)
    wait_for(lambda: log.exists() and "role=master" in log.read_text())
    log.rename(tmp_path / "log.1")
    server.process.signal(signal.SIGUSR1)
    wait_for(log.exists)
    wait_for(lambda: not any(is_open(pid, tmp_path / "log.1")
                             for pid in children_of(server.master)))
    server.stop()
    assert log.read_text().count(" stop ") == 4


def children_of(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_open(pid, path):
    folder = pathlib.Path(f"/proc/{pid}/fd")
    try:
        return any(os.readlink(name) == str(path) for name in folder.iterdir())
    except FileNotFoundError:       # one that wrote the master's line has ended
        return False

# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the functional tests."""
import contextlib
import os
import pathlib
import pwd
import socket
import sys
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent)]

import pytest  # noqa: E402

from harness import recipe  # noqa: E402
from harness.beside import Mailboxes  # noqa: E402
from harness.certificates import Certificates  # noqa: E402
from harness.dns import TRUSTED, Dns, DnsTap, SilentDns  # noqa: E402
from harness.maildir import Maildir  # noqa: E402
from harness.messages import PLAIN_MESSAGE  # noqa: E402
from harness.milters import BusyMilter, DkimKey, build_busy  # noqa: E402
from harness.postern import Postern  # noqa: E402
from harness.postfix import Postfix  # noqa: E402
from harness.process import free_port, is_root  # noqa: E402
from harness.spf_dns import SpfDns  # noqa: E402
from harness.unpacked import can_be_entered  # noqa: E402
from harness.workers import Workers  # noqa: E402
from peers.answers import Hold  # noqa: E402
from peers.milter import Milter  # noqa: E402
from peers.target import FRAMINGS, Target  # noqa: E402

needs_root = pytest.mark.skipif(not is_root(), reason="a private Postfix is started as root")
needs_unpacked = pytest.mark.skipif(
    not can_be_entered(), reason="Exim and OpenSMTPD need root, and mount namespaces of their own")


@pytest.fixture(scope="session")
def dns():
    server = Dns()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificates():
    made = Certificates()
    yield made
    made.remove()


@pytest.fixture
def silent_dns():
    server = SilentDns()
    yield server
    server.stop()


@pytest.fixture
def dns_tap(dns):
    tap = DnsTap(dns)
    yield tap
    tap.stop()


@pytest.fixture
def ipv6():
    """For tests that need ::1."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 on this machine: {error}")


@pytest.fixture
def target():
    """Makes scripted targets; target() is one with the usual announcements."""
    made = []

    def make(*arguments, **options):
        made.append(Target(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@contextlib.contextmanager
def ending_well():
    """A list of started posterns; each must end with exit code 0 and in silence of the sanitizers."""
    made = []
    yield made
    try:
        for one in made:
            one.stop()
    finally:
        for one in made:
            one.remove()


@pytest.fixture
def zone_dns():
    """A name server whose zones a test writes itself."""
    server = SpfDns()
    yield server
    server.stop()


@pytest.fixture
def postern(dns):
    """Starts posterns."""
    with ending_well() as made:
        def make(text, resolver=None, **options):
            made.append(Postern(text, resolver or dns.address, **options))
            return made[-1]
        yield make


DISCARDS = "[route]\n@example.test discard\n"


@pytest.fixture
def workers(dns):
    """Starts posterns of several processes; each must end well, like those of `postern`."""
    with ending_well() as made:
        def make(text=DISCARDS, **options):
            made.append(Workers(text, dns.address, **options))
            return made[-1]
        yield make


@pytest.fixture(params=FRAMINGS)
def framing(request):
    return request.param


@pytest.fixture
def backend(target, framing):
    """A scripted target of each framing."""
    return target(ehlo=FRAMINGS[framing])


def relay_config(target_address, *lines, name="target", route="@example.test"):
    """[relay] and [route] for one target; `lines` go into the relay's section.

    Without a word about on-failure, what breaks is told to the client: tempfail.
    """
    if not any("on-failure" in line for line in lines):
        lines = (*lines, "on-failure = tempfail")
    more = "".join(line + "\n" for line in lines)
    return f'[relay "{name}"]\naddress = {target_address}\n{more}[route]\n{route} {name}\n'


@pytest.fixture
def to_target(postern):
    """Starts a postern that relays example.test to a scripted target."""
    def make(target, *relay_lines, identity="none", **options):
        lines = [f"identity = {identity}", *relay_lines]
        return postern(relay_config(target.address, *lines), **options)
    return make


def send_whole(server, backend):
    """A client that has sent a message whose end the target has, and need not have answered."""
    client = server.client()
    client.hello()
    client.envelope()
    client.expect(354, "DATA")
    client.send(PLAIN_MESSAGE + b".\r\n")
    backend.wait_ended()
    return client


@pytest.fixture
def at_the_end(target, to_target):
    """A client that has sent a whole message, whose end the target has not answered yet."""
    def make(**options):
        hold = Hold("250 2.0.0 kept")
        backend = target().on("end", hold)
        server = to_target(backend, **options)
        client = send_whole(server, backend)
        return types.SimpleNamespace(hold=hold, backend=backend, server=server, client=client)
    return make


@pytest.fixture
def daemon(tmp_path):
    """The configuration of a postern that goes into the background and discards all mail."""
    def make(core=""):
        made = types.SimpleNamespace(port=free_port(), log=tmp_path / "log",
                                     pid_file=tmp_path / "pid", config=tmp_path / "daemon.cf")
        made.config.write_text(f"""[route]
@example.test discard
[core]
hostname = postern.example.test
user-id = {pwd.getpwuid(os.getuid()).pw_name}
spool-directory = "{tmp_path}/spool"
pid-file = "{made.pid_file}"
logger = "l"
{core}[logfile "l"]
file = "{made.log}"
[smtpd "mx"]
listen-port = 127.0.0.1:{made.port}
""")
        return made
    return make


@pytest.fixture
def to_maildir(postern, tmp_path):
    """Starts a postern that stores all of example.test in a Maildir; both are returned."""
    def make(**options):
        server = postern(f'[maildir "store"]\npath = {tmp_path}/mail\n'
                         "[route]\n@example.test store\n", **options)
        return server, Maildir(tmp_path / "mail")
    return make


NEWLINE_SETTINGS = {
    "lenient": {"smtpd_forbid_bare_newline": "no", "smtpd_forbid_unauth_pipelining": "no"},
    "strict": {"smtpd_forbid_bare_newline": "yes", "smtpd_forbid_unauth_pipelining": "yes"},
}


class Chain:
    """postern in front of a real Postfix, set up by one way of doc/postfix.md."""

    def __init__(self, way, postfix, start):
        self.way = way
        self.postfix = postfix
        self._start = start

    def postern(self, relay="", **options):
        """A postern with the recipe's relay and routes; `relay` is one more line for the relay."""
        cf = recipe.block(self.way, "postern.cf")
        listener, _, rest = cf.partition("[relay ")
        assert "listen-port = 25\n" in listener
        places = {"networks": f"{TRUSTED}/32"} if "192.0.2.0/24" in listener else {}
        lines = recipe.put_in(listener, **places).splitlines()[1:]
        smtpd = "\n".join(line for line in lines if not line.startswith("listen-port"))
        text = recipe.put_in("[relay " + rest, postfix_port=self.postfix.port,
                             reports_port=self.postfix.reports_port)
        text = text.replace("max-connections", f"{relay}\nmax-connections")
        return self._start(text, smtpd=smtpd + "\n" + options.pop("smtpd", ""), **options)


@pytest.fixture(scope="session", params=sorted(NEWLINE_SETTINGS))
def newlines(request):
    return request.param


def _postfix(way, newlines):
    if not is_root():
        pytest.skip("a private Postfix is started as root")
    main_cf = recipe.put_in(recipe.block(way, "main.cf"), networks=f"{TRUSTED}/32")
    return Postfix(main_cf, recipe.block(way, "master.cf"), NEWLINE_SETTINGS[newlines])


@pytest.fixture(scope="session")
def xclient_postfix(newlines):
    server = _postfix("xclient", newlines)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def xforward_postfix(newlines):
    server = _postfix("xforward", newlines)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def proxy_postfix(newlines):
    server = _postfix("proxy", newlines)
    yield server
    server.stop()


@pytest.fixture
def xclient_chain(xclient_postfix, postern):
    return Chain("xclient", xclient_postfix, postern)


@pytest.fixture
def xforward_chain(xforward_postfix, postern):
    return Chain("xforward", xforward_postfix, postern)


@pytest.fixture
def proxy_chain(proxy_postfix, postern):
    return Chain("proxy", proxy_postfix, postern)


@pytest.fixture(scope="session")
def mailboxes():
    if not is_root():
        pytest.skip("a private Postfix is started as root")
    server = Mailboxes()
    yield server
    server.stop()


@pytest.fixture
def start():
    """Starts milters: start(Opendkim, key, "s")."""
    made = []

    def make(kind, *arguments, **options):
        made.append(kind(*arguments, **options))
        return made[-1]
    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def busy_program(tmp_path_factory):
    return build_busy(tmp_path_factory.mktemp("busy"))


@pytest.fixture
def busy(start, busy_program):
    """Starts milters that do what a script says: busy(("eom", "", "addheader", "X-A", "b"))."""
    return lambda *lines: start(BusyMilter, busy_program, *lines)


@pytest.fixture
def raw_milter():
    """Makes milters that send what a test says; none may have been sent a wrong packet."""
    made = []

    def make(**options):
        made.append(Milter(**options))
        return made[-1]
    yield make
    for one in made:
        one.stop()
        assert not one.faults


@pytest.fixture(scope="session")
def dkim_key(tmp_path_factory):
    return DkimKey(tmp_path_factory.mktemp("dkim"))

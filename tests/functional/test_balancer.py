# SPDX-License-Identifier: BSD-2-Clause
"""postern behind real balancers, set up as doc/balancer.md says."""
import http.server
import os
import shutil
import threading

import pytest

from conftest import relay_config
from harness import recipe
from harness.dns import CLIENT, TRUSTED
from harness.messages import PLAIN_MESSAGE
from harness.postern import run as postern_run
from harness.process import Process, free_port, is_root
from peers.client import Client
from peers.target import DEFAULT_EHLO, XCLIENT

DOCUMENT = "balancer.md"
BALANCER = "127.0.0.1"          # that is where haproxy and nginx connect from


def binary(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin")
    if path is None:
        pytest.skip(f"no {name} on this machine")
    return path


@pytest.fixture
def behind(target, postern):
    """A postern with the recipe's listener, and the target that it leads to."""
    def make(way, smtpd=""):
        backend = target(ehlo=(*DEFAULT_EHLO, XCLIENT))
        text = recipe.put_in(recipe.block(way, "postern.cf", DOCUMENT), balancer=BALANCER,
                             own=f"{TRUSTED}/32", postfix_port=backend.port)
        listener, _, rest = text.partition("[relay ")
        lines = [line for line in listener.splitlines()[1:] if "listen-port" not in line]
        return postern("[relay " + rest, smtpd="\n".join(lines) + "\n" + smtpd), backend
    return make


@pytest.fixture
def run():
    """Starts a balancer; it is there when its port is taken."""
    made = []

    def make(arguments, port):
        made.append(Process(arguments, environment=dict(os.environ)))
        for _ in range(600):
            try:
                Client(("127.0.0.1", port)).close()
                return ("127.0.0.1", port)
            except ConnectionRefusedError:
                threading.Event().wait(0.05)
        raise AssertionError(f"{arguments[0]} does not listen: {made[-1].output}")

    make.made = made
    yield make
    for one in made:
        one.terminate()


@pytest.fixture
def haproxy(run, tmp_path):
    def make(server, *changes):
        port = free_port()
        text = recipe.put_in(recipe.block("haproxy", "haproxy.cfg", DOCUMENT),
                             bind=f"127.0.0.1:{port}", postern=f"127.0.0.1:{server.port}")
        for change in changes:
            assert change[0] in text
            text = text.replace(*change)
        (tmp_path / "haproxy.cfg").write_text(text)
        return run([binary("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")], port)
    return make


@pytest.fixture
def nginx(run, tmp_path):
    def make(module, way, change=("", ""), **places):
        program = binary("nginx")
        port = free_port()
        if not os.path.exists(f"/usr/lib/nginx/modules/ngx_{module}_module.so"):
            pytest.skip(f"no ngx_{module}_module on this machine")
        text = recipe.put_in(recipe.block(way, "nginx.conf", DOCUMENT),
                             listen_nginx=f"127.0.0.1:{port}", **places).replace(*change)
        user = "user root;\n" if is_root() else ""
        (tmp_path / "nginx.conf").write_text(
            f"load_module /usr/lib/nginx/modules/ngx_{module}_module.so;\n{user}daemon off;\n"
            f"pid {tmp_path}/pid;\nworker_processes 1;\nevents {{}}\n{text}")
        return run([program, "-e", "stderr", "-c", str(tmp_path / "nginx.conf")], port)
    return make


def send_through(front, source=CLIENT):
    with Client(front, source=source) as client:
        client.hello("helo.example.org")
        assert client.mail(PLAIN_MESSAGE).code == 250
        return client.port


def assert_seen(server, backend, port):
    """Target, log and limits know the client, not the balancer."""
    connection = next(c for c in backend.connections if c.transactions)
    line = next(text for text in connection.lines if text.startswith("XCLIENT "))
    assert f" ADDR={CLIENT} " in line + " "
    logged = server.wait_transaction()
    assert logged["client"].startswith(f"{CLIENT}:") and logged["peer"].startswith(BALANCER + ":")
    if port is not None:
        assert logged["client"] == f"{CLIENT}:{port}"


@pytest.mark.parametrize("change", [("", ""), ("send-proxy-v2 ", "send-proxy ")])
def test_haproxy(behind, haproxy, change):
    """By v2 and by v1; its checks are served, and their log lines are the balancer's own."""
    server, backend = behind("proxy")
    front = haproxy(server, change)
    assert_seen(server, backend, send_through(front))
    own = [fields for fields in server.events("connect") if fields.get("proxy") == "own"]
    assert all(fields["client"].startswith(BALANCER) for fields in own)


def test_haproxy_checks(behind, haproxy):
    """A check says LOCAL and EHLO, and finds postern up; nothing is refused."""
    server, _ = behind("proxy")
    haproxy(server, ("inter 10s", "inter 200ms"))
    assert server.wait_event("connect", 3)["proxy"] == "own"
    assert server.events("no-proxy-header") == []


def send_encrypted(front, certificates):
    with Client(front, source=CLIENT) as client:
        client.secure(certificates.client_context())
        client.hello()
        assert client.mail(PLAIN_MESSAGE).code == 250


def test_haproxy_ends_tls(behind, haproxy, certificates, tmp_path):
    """What it says of TLS by v2 is in the log and in the Received field."""
    both = tmp_path / "both.pem"
    both.write_text(certificates.mx.certificate.read_text() + certificates.mx.key.read_text())
    server, backend = behind("proxy")
    front = haproxy(server, ("send-proxy-v2 check", "send-proxy-v2-ssl-cn check"),
                    ("\n    option smtpchk", f" ssl crt {both}\n    option smtpchk"))
    send_encrypted(front, certificates)
    logged = server.wait_transaction()
    assert logged["client"].startswith(f"{CLIENT}:") and "tls" not in logged
    assert [fields for fields in server.events("connect") if fields.get("proxy-tls") == "TLSv1.3"]
    assert len(backend.ended) == 1


def test_haproxy_as_target(postern, target, run, tmp_path):
    """What it makes of our own header: the client, and the id of its session."""
    backend, port = target(), free_port()
    (tmp_path / "haproxy.cfg").write_text(
        "global\n    log stdout format raw local0\n"
        "defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 10s\n"
        "    timeout server 10s\n"
        f"frontend in\n    bind 127.0.0.1:{port} accept-proxy\n    log global\n"
        "    log-format \"from %ci id %[fc_pp_unique_id]\"\n    default_backend out\n"
        f"backend out\n    server target {backend.address}\n")
    run([binary("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")], port)
    server = postern(relay_config(f"127.0.0.1:{port}", "identity = proxy-v2"))
    send_through(server.server)
    session = server.wait_event("connect")["session"]
    run.made[-1].wait_line(f"from {CLIENT} id {session}")


@pytest.mark.parametrize("way", ["send-proxy", "send-proxy-v2"])
def test_haproxy_passes_tls(behind, haproxy, certificates, way):
    """postern ends TLS, behind a header in plain."""
    server, _ = behind("proxy", "tls = implicit\n" + certificates.mx.lines())
    front = haproxy(server, ("send-proxy-v2 check check-send-proxy", way))
    send_encrypted(front, certificates)
    logged = server.wait_transaction()
    assert logged["client"].startswith(f"{CLIENT}:") and logged["tls"].startswith("TLSv1.3/")


def test_haproxy_limits(behind, haproxy):
    """The second connection of one client is one too many, that of another is not."""
    server, _ = behind("proxy", "max-connections-per-client = 1\n")
    front = haproxy(server)
    with Client(front, source=CLIENT) as first:
        first.hello()
        with Client(front, source=CLIENT) as second:
            second.expect(421)
        with Client(front, source=TRUSTED) as other:
            other.hello()


def test_nginx_stream(behind, nginx):
    server, backend = behind("proxy")
    front = nginx("stream", "stream", postern=f"127.0.0.1:{server.port}")
    assert_seen(server, backend, send_through(front))


@pytest.fixture
def auth_http():
    """Answers nginx where the session goes."""
    servers = []

    def make(port):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):   # noqa: N802, as http.server wants it
                self.send_response(200)
                self.send_header("Auth-Status", "OK")
                self.send_header("Auth-Server", "127.0.0.1")
                self.send_header("Auth-Port", str(port))
                if self.headers["Auth-Method"] == "plain":
                    self.send_header("Auth-User", self.headers["Auth-User"])
                self.end_headers()

            def log_message(self, *_):
                pass
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"127.0.0.1:{servers[-1].server_port}"

    yield make
    for one in servers:
        one.shutdown()
        one.server_close()


def test_nginx_mail(behind, nginx, auth_http):
    """It speaks for the client by XCLIENT."""
    server, backend = behind("mail")
    front = nginx("mail", "mail", auth=auth_http(server.port))
    send_through(front)
    assert_seen(server, backend, None)
    assert server.wait_event("asserted")["name"] == "[UNAVAILABLE]"


def test_nginx_mail_with_users(behind, nginx, auth_http, certificates):
    """It ends TLS and AUTH; who has logged in is handed on."""
    server, backend = behind("mail")
    front = nginx("mail", "mail", ("smtp_auth none;", f"smtp_auth plain; starttls only; "
                                   f"ssl_certificate {certificates.mx.certificate}; "
                                   f"ssl_certificate_key {certificates.mx.key};"),
                  auth=auth_http(server.port))
    with Client(front, source=CLIENT) as client:
        client.hello()
        client.start_tls(certificates.client_context())
        client.expect(250, "EHLO helo.example.org")
        client.expect(235, "AUTH PLAIN AGpvZQBzZWNyZXQ=")
        assert client.mail(PLAIN_MESSAGE).code == 250
    assert_seen(server, backend, None)
    assert server.wait_event("asserted")["login"] == "joe"
    said = [line for c in backend.connections for line in c.lines if line.startswith("XCLIENT ")]
    assert any(" LOGIN=joe" in line for line in said)


def test_probe_without_an_octet(behind):
    """A tcpSocket probe of a node that is in the list leaves no line; one that talks is closed."""
    server, _ = behind("proxy")
    for _ in range(3):
        Client(server.server, source=BALANCER).close()
    with Client(server.server, source=BALANCER) as client:
        client.send(b"EHLO probe.example.test\r\n")
        assert client.is_closed()
    server.wait_event("no-proxy-header")
    assert len(server.events("no-proxy-header")) == 1 and server.events("connect") == []


def test_range(postern):
    """A subnet of balancers, of both families, is read as it stands."""
    line = recipe.block("range", "postern.cf", DOCUMENT)
    server = postern("[route]\n@example.test discard\n", smtpd=line)
    dumped = postern_run(*server.flags, "--dump").stdout
    assert 'smtpd."mx".proxy-protocol-from = 192.0.2.16/28' in dumped
    assert 'smtpd."mx".proxy-protocol-from = 2001:db8:0:10::/64' in dumped

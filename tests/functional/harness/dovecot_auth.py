# SPDX-License-Identifier: BSD-2-Clause
"""A private Dovecot that knows passwords and nothing else; what clients say to prove theirs."""
import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import threading

from harness.process import Process
from harness.recipe import block
from peers.record import Waiter

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
auth_failure_delay = 0
auth_verbose = yes
service anvil {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = username_format=%Lu {root}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
"""

ALL = "plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256"
PASSWORD = "correct horse"


class DovecotAuth:
    """By the recipe of doc/dovecot.md, for any account. Its socket is at .path. `users`: their passwords; `more`:
    what its passwd-file has behind the password of one."""

    def __init__(self, users, mechanisms=ALL, more=None):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="postern-auth-"))
        os.chmod(self.root, 0o755)
        self.path = self.root / "auth"
        (self.root / "users").write_text(
            "".join(f"{user}:{{PLAIN}}{password}::::::{(more or {}).get(user, '')}\n"
                    for user, password in users.items()))
        recipe = block("auth", "dovecot.conf", "dovecot.md")
        assert "/run/dovecot/postern" in recipe and "user = postern" in recipe
        recipe = recipe.replace("/run/dovecot/postern", str(self.path))
        recipe = recipe.replace("user = postern", "user = root").replace("0660", "0666")
        (self.root / "dovecot.conf").write_text(
            recipe + CONF.format(root=self.root, mechanisms=mechanisms))
        self.process = None
        self.start()

    def start(self):
        self.process = Process(["/usr/sbin/dovecot", "-F", "-c", str(self.root / "dovecot.conf")])
        self.process.wait_line("starting up")

    def kill(self):
        """All of it, at once: stopping takes as long as its clients stay."""
        self.process.signal(signal.SIGKILL)
        self.process.wait_exit()
        self.process = None

    def stop(self):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.root, ignore_errors=True)


class FakeDovecot:
    """One server at .path, for one connection after the other, that says `answer` to each request:
    {id} is its number; None: nothing, "\\0": it hangs up."""

    GREETING = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSECRET\tprivate\nSPID\t1\nDONE\n"

    def __init__(self, answer, greeting=GREETING):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="postern-auth-"))
        os.chmod(self.root, 0o755)
        self.path = self.root / "auth"
        self.answer = answer
        self.greeting = greeting
        self.lines = []
        self._waiter = Waiter()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self.path.chmod(0o666)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rw", newline="\n") as stream:
                try:
                    self._converse(stream)
                except OSError:
                    pass

    def _converse(self, stream):
        stream.write(self.greeting)
        stream.flush()
        for line in stream:
            self.lines.append(line.rstrip("\n"))
            self._waiter.notify()
            if not line.startswith("AUTH\t") or self.answer is None:
                continue
            if self.answer == "\0":
                return
            stream.write(self.answer.replace("{id}", line.split("\t")[1]) + "\n")
            stream.flush()

    def wait_line(self, begin):
        def look():
            return [line for line in self.lines if line.startswith(begin)]
        return self._waiter.wait(look, f"a line {begin!r}")[0]

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self.root, ignore_errors=True)


def encoded(text):
    octets = text if isinstance(text, bytes) else text.encode()
    return base64.b64encode(octets).decode()


def plain(user="joe@example.test", password=PASSWORD, as_whom=""):
    """The initial response of PLAIN."""
    return encoded(f"{as_whom}\0{user}\0{password}")


def challenge(reply):
    assert reply.code == 334, reply
    return base64.b64decode(reply.texts[0])


def login(client, user="joe@example.test", password=PASSWORD):
    """LOGIN, word by word; the last reply."""
    assert challenge(client.command("AUTH LOGIN")) == b"Username:"
    assert challenge(client.command(encoded(user))) == b"Password:"
    return client.command(encoded(password))


def cram_md5(client, user="joe@example.test", password=PASSWORD):
    nonce = challenge(client.command("AUTH CRAM-MD5"))
    digest = hmac.new(password.encode(), nonce, "md5").hexdigest()
    return client.command(encoded(f"{user} {digest}"))


def scram(client, name="SCRAM-SHA-256", user="joe@example.test", password=PASSWORD):
    """RFC 5802, without channel binding; the server must prove that it knows the password too."""
    kind = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}[name]

    def mac(key, text):
        return hmac.new(key, text.encode(), kind).digest()
    first = f"n={user},r=postern"
    server_first = challenge(client.command(f"AUTH {name} {encoded('n,,' + first)}")).decode()
    fields = dict(field.split("=", 1) for field in server_first.split(","))
    salted = hashlib.pbkdf2_hmac(kind, password.encode(), base64.b64decode(fields["s"]),
                                 int(fields["i"]))
    key = mac(salted, "Client Key")
    final = f"c={encoded('n,,')},r={fields['r']}"
    signed = f"{first},{server_first},{final}"
    proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.new(kind, key).digest(), signed)))
    reply = client.command(encoded(f"{final},p={encoded(proof)}"))
    if reply.code != 334:
        return reply
    proven = encoded(mac(mac(salted, "Server Key"), signed))
    assert challenge(reply).decode() == f"v={proven}"
    return client.command("")

# SPDX-License-Identifier: BSD-2-Clause
"""An authority and certificates, made by openssl while the tests run."""
import pathlib
import shutil
import ssl
import subprocess
import tempfile


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Pair:
    """A certificate and its key."""

    def __init__(self, certificate, key):
        self.certificate = certificate
        self.key = key

    def lines(self):
        """For a configuration."""
        return f'tls-certificate = "{self.certificate}"\ntls-key = "{self.key}"\n'


class Certificates:
    """authority: a Pair; make() signs others."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="postern-tls-"))
        self.directory.chmod(0o755)
        self.authority = self.make("Authority", is_authority=True)
        self.stranger = self.make("Stranger", is_authority=True)
        self.mx = self.make("mx.example.test")
        self.other = self.make("other.example.test")
        self.client = self.make("client.example.test")

    def make(self, name, names=None, by=None, is_authority=False, days=30, key="ec"):
        """A pair for `names` (default: the name alone), signed by `by` (default: the authority);
        days = -1: expired."""
        at = self.directory / str(len(list(self.directory.iterdir())))
        pair = Pair(at.with_suffix(".pem"), at.with_suffix(".key"))
        kind = {"ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("rsa:2048",)}[key]
        openssl("req", "-newkey", *kind, "-nodes", "-subj", f"/O=Example/CN={name}",
                "-keyout", pair.key, "-out", at.with_suffix(".csr"))
        text = "basicConstraints = critical, CA:TRUE\n"
        signing = ("-signkey", pair.key)
        if not is_authority:
            listed = ", ".join(f"DNS:{one}" for one in names or (name,))
            text = f"basicConstraints = CA:FALSE\nsubjectAltName = {listed}\n"
        if not is_authority and by != "itself":
            by = by or self.authority
            signing = ("-CA", by.certificate, "-CAkey", by.key)
        at.with_suffix(".ext").write_text(text)
        openssl("x509", "-req", "-in", at.with_suffix(".csr"), "-extfile", at.with_suffix(".ext"),
                "-days", days, "-out", pair.certificate, *signing)
        return pair

    def client_context(self, pair=None, version=None):
        """For a client that verifies whom it speaks to."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if version:
            context.minimum_version = context.maximum_version = version
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def server_context(self, pair):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def remove(self):
        shutil.rmtree(self.directory)

# SPDX-License-Identifier: BSD-2-Clause
"""A private Exim: keeps all mail in the Maildirs of two users, or passes it on to one next hop."""
import os
import re

from harness.unpacked import OWNER, Unpacked
from harness.workers import wait_for

USER = ("Debian-exim", 990)

CONF = """
primary_hostname = exim.example.test
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
pid_file_path = /var/spool/exim.pid
log_file_path = /var/log/%slog
notifier_socket =
host_lookup =
keep_environment =
acl_smtp_rcpt = accept
tls_advertise_hosts = {advertise}
message_size_limit = 100M
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
"""
KEEP = """
begin routers
users:
  driver = accept
  local_parts = joe : jane
  transport = keep
others:
  driver = redirect
  data = joe@$domain
begin transports
keep:
  driver = appendfile
  maildir_format
  directory = /mail/$local_part_data
  user = {owner}
"""
PASS_ON = """
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  transport = pass_on
  self = send
begin transports
pass_on:
  driver = smtp
  protocol = {protocol}
  port = {next_hop}
  max_rcpt = 0
"""
SECURE = """
tls_certificate = /etc/tls.pem
tls_privatekey = /etc/tls.key
"""
# The certificate's name is none of 127.0.0.1.
SECURE_PASS_ON = """
  hosts_require_tls = *
  tls_verify_certificates = /etc/authority.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
"""


class Exim(Unpacked):
    """protocol: "smtp" or "lmtp", to the port next_hop. With certificates it offers STARTTLS, and
    passes mail on to nobody without."""

    command = ("/usr/sbin/exim4", "-bdf")

    def __init__(self, next_hop=None, protocol="smtp", certificates=None):
        name, number = USER
        super().__init__("exim4-daemon-light", {name: number})
        text = PASS_ON if next_hop else KEEP
        if certificates:
            self.give(certificates, number)
            text = SECURE + text + (SECURE_PASS_ON if next_hop else "")
        self.write("etc/exim4/exim4.conf", (CONF + text).format(
            port=self.port, owner=OWNER, next_hop=next_hop, protocol=protocol,
            advertise="*" if certificates else ""))
        for folder in ("var/log", "var/spool"):
            os.chown(self.root / folder, number, number)
        self.start()

    def wait_log(self, pattern, timeout_s=30):
        def text():
            return (self.root / "var/log/mainlog").read_text(errors="replace")
        try:
            wait_for(lambda: re.search(pattern, text()), timeout_s)
        except AssertionError:
            raise AssertionError(f"{pattern!r} is not in the log:\n{text()}") from None

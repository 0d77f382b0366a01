# SPDX-License-Identifier: BSD-2-Clause
"""Reports to senders, as Python's parser reads them."""
import email
import email.policy

from harness.postern import HOSTNAME


class Report:
    """A report, taken apart; a defect anywhere in it is a failure."""

    def __init__(self, octets):
        self.raw = octets
        self.message = email.message_from_bytes(octets, policy=email.policy.SMTP)
        for part in self.message.walk():
            assert not part.defects, (part.get_content_type(), part.defects)
        assert self.message.get_content_type() == "multipart/report"
        assert self.message.get_param("report-type") == "delivery-status"
        assert self.message["Auto-Submitted"] == "auto-replied"
        assert self.message["MIME-Version"] == "1.0"
        sender = self.message["From"].addresses[0]
        assert (sender.display_name, sender.addr_spec) == ("Mail Delivery System",
                                                           f"MAILER-DAEMON@{HOSTNAME}")
        text, status, *returned = self.message.iter_parts()
        assert (text.get_content_type(), text.get_content_charset()) == ("text/plain", "us-ascii")
        assert status.get_content_type() == "message/delivery-status"
        assert len(returned) <= 1
        self.text = text.get_content()
        self.about, *self.recipients = status.get_payload()
        self.returned = returned[0] if returned else None

    @property
    def returned_octets(self):
        """The third part as it stands on the wire."""
        delimiter = b"\r\n--" + self.message.get_boundary().encode()
        return self.raw.split(delimiter)[3].split(b"\r\n\r\n", 1)[1]

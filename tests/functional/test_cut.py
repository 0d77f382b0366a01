# SPDX-License-Identifier: BSD-2-Clause
"""The connection to a real Postfix is cut after every octet of a conversation, both ways; with TLS,
after every octet of plain text and in every part of each record.

Whatever the cut: the client gets its 250; the message is at Postfix, or in the queue, or both, and
both only where postern says so (duplicate=possible). When the cuts are mended, all arrive.
"""
import concurrent.futures
import queue
import re

import pytest

from conftest import needs_root
from harness.cutter import EVERYTHING, TO_POSTERN, TO_SERVER, Cut
from harness.postfix import Postfix

CLIENTS = 8
AT_ONCE = 80
MASTER_CF = """127.0.0.1:10025 inet n - n - 100 smtpd
tlsmgr unix - - n 1000? 1 tlsmgr
"""
MAIN_CF = "mynetworks =\nrecipient_delimiter = +\nsmtpd_client_connection_count_limit = 0\n"
CONTENT = b"Subject: cut\r\nX-Number: %04d\r\n\r\n.dot\r\nend\r\n"
FINAL = re.compile(rb"250 2\.0\.0 Ok: [^\r]*queued as [^\r]*\r\n")


@pytest.fixture
def backend(certificates):
    pair = certificates.make("mx.example.test", key="rsa")      # its signatures are all of one length
    server = Postfix(MAIN_CF + "smtpd_tls_security_level = may\n"
                     f"smtpd_tls_chain_files = {pair.key}, {pair.certificate}\n", MASTER_CF)
    yield server
    server.stop()


def start(postern, cuts, chunking, tls):
    """A relay and a recipient for each cut. Their names are equally long, as TLS says them, too."""
    relays = "".join(f'[relay "r{number:04}"]\naddress = {cut.address}\nidentity = none\n'
                     "received = never\nhealth-interval = 1s\nidle-connections = 0\n"
                     f"chunking = {chunking}\ntls = {tls}\n"
                     for number, cut in cuts.items())
    routes = "".join(f"joe+{number:04}@example.test r{number:04}\n" for number in cuts)
    return postern(relays + "[route]\n" + routes, core="workers = 0\n",
                   smtpd="max-errors = 1000\nresolve-names = no\n")


def send_all(server, numbers):
    """The replies to the end of data by number. A few clients at a time, a session each."""
    work = queue.SimpleQueue()
    for number in numbers:
        work.put(number)

    def one_client(_):
        replies = {}
        with server.client() as client:
            client.hello()
            while not work.empty():
                try:
                    number = work.get_nowait()
                except queue.Empty:
                    break
                client.expect(250, "MAIL FROM:<sender@example.org>")
                rcpt = client.command(f"RCPT TO:<joe+{number:04}@example.test>")
                assert rcpt.code == 250, (number, rcpt.text)
                client.expect(354, "DATA")
                client.send(CONTENT.replace(b"\r\n.dot", b"\r\n..dot") % number + b".\r\n")
                replies[number] = client.reply()
            client.quit()
        return replies

    together = {}
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for replies in pool.map(one_client, range(CLIENTS)):
            together.update(replies)
    return together


def numbers_at(backend):
    """How often each number lies in the mailbox."""
    found = {}
    for message in backend.maildir("joe").messages():
        match = re.search(rb"^X-Number: (\d+)$", message.raw, re.M)
        assert match and message.raw.endswith(b"\n.dot\nend\n"), message.raw
        found[int(match.group(1))] = found.get(int(match.group(1)), 0) + 1
    return found


def spooled(server):
    """Of each number, whether its line says that it may be a duplicate."""
    return {int(line["targets"][1:]): line.get("duplicate") == "possible"
            for line in server.events("spooled")}


def wait_for_mail(backend, numbers):
    """Until Postfix has delivered these."""
    for number in numbers:
        backend.log.wait_line(rf"to=<joe\+{number:04}@example\.test>.*status=sent")


def mend(server, cuts, due):
    """Releases the cuts, a few at a time: what is due behind them arrives. Some hundred connections at
    once would be more than it has processes."""
    for at in range(0, len(cuts), AT_ONCE):
        for number in range(at, min(at + AT_ONCE, len(cuts))):
            cuts[number].release()
        server.wait_event("delivered", count=sum(number < at + AT_ONCE for number in due))


def records(octets):
    """Where each record of application data begins and ends, behind plain text and a handshake."""
    at, found = octets.rindex(b"\x16\x03\x01") if b"\x16\x03\x01" in octets else \
        octets.index(b"\x16\x03\x03"), []
    while at < len(octets):
        end = at + 5 + int.from_bytes(octets[at + 3:at + 5], "big")
        if octets[at] == 0x17:
            found.append((at, end))
        at = end
    return found


class Conversation:
    """Whatever is said and heard when nothing is cut. Where in what goes to the server the content
    begins, and where its end has been said; where in what comes back the final reply begins and
    ends. And after how many octets each way is to be cut."""

    def __init__(self, said, heard, chunking):
        final = FINAL.search(heard)
        begin, end = (b"Subject: cut", b"end\r\n.\r\n") if chunking == "no" else (b"BDAT ", b"end\r\n")
        if final:
            self.content_at, self.said_end = said.index(begin), said.index(end) + len(end)
            self.final_at, self.heard_end = final.span()
            self.cuts = [(TO_SERVER, n) for n in range(self.said_end + 1)]
            self.cuts += [(TO_POSTERN, n) for n in range(self.heard_end + 1)]
            return
        self._look_at_records(said, heard, chunking)

    def _look_at_records(self, said, heard, chunking):
        """Known by their order and lengths: EHLO, MAIL and RCPT, maybe DATA, content, QUIT."""
        ours, theirs = records(said), records(heard)
        quits = [n for n, (at, end) in enumerate(ours) if end - at == 5 + len("QUIT\r\n") + 17]
        byes = [n for n, (at, end) in enumerate(theirs)
                if end - at == 5 + len("221 2.0.0 Bye\r\n") + 17]
        self.content_at = ours[quits[0]][1] if chunking == "no" else ours[2][1]
        self.said_end = ours[quits[-1]][0]
        self.final_at, self.heard_end = theirs[byes[-1] - 1]
        self.cuts = [(TO_SERVER, n) for n in self._points(said, ours, self.said_end)]
        self.cuts += [(TO_POSTERN, n) for n in self._points(heard, theirs, self.heard_end)]

    @staticmethod
    def _points(octets, found, last):
        plain = re.search(rb"\x16\x03[\x01\x03]", octets).start()
        inside = {n for at, end in found for n in (at, at + 1, at + 5, (at + end) // 2, end - 1, end)}
        handshake = range(plain, found[0][0], 16)
        return sorted(n for n in {*range(plain), *handshake, *inside} if n <= last)


def conversation(postern, backend, chunking, tls):
    whole = Cut(backend.server, TO_SERVER, EVERYTHING)
    server = start(postern, {9999: whole}, chunking, tls)
    assert send_all(server, [9999])[9999].code == 250
    server.stop()
    whole.is_over.wait(20)
    whole.close()
    return Conversation(whole.passed[TO_SERVER], whole.passed[TO_POSTERN], chunking)


@needs_root
@pytest.mark.parametrize("tls", ["none", "encrypt"])
@pytest.mark.parametrize("chunking", ["no", "auto"])
def test_cut_at_every_octet(postern, backend, chunking, tls):
    whole = conversation(postern, backend, chunking, tls)
    ways = whole.cuts
    cuts = {number: Cut(backend.server, *way) for number, way in enumerate(ways)}
    server = start(postern, cuts, chunking, tls)
    replies = send_all(server, cuts)
    for cut in cuts.values():
        assert cut.is_over.wait(20)

    # The client notices nothing.
    assert {reply.code for reply in replies.values()} == {250}
    assert len(replies) == len(cuts)

    # What Postfix has, and what postern keeps.
    taken = {number for number, (way, n) in enumerate(ways)
             if (way == TO_SERVER and n >= whole.said_end)
             or (way == TO_POSTERN and n > whole.final_at)}
    told = {number for number, (way, n) in enumerate(ways)
            if way == TO_POSTERN and n >= whole.heard_end}
    wait_for_mail(backend, taken)
    found = numbers_at(backend)
    assert set(found) - {9999} == taken
    assert set(found.values()) == {1}
    kept = spooled(server)
    assert set(kept) == set(cuts) - told
    for number, may_be_duplicate in kept.items():
        way, n = ways[number]
        if number in found:
            assert may_be_duplicate, ways[number]
        elif n < (whole.content_at if way == TO_SERVER else whole.final_at):
            assert not may_be_duplicate, ways[number]

    # The cuts are mended: what cannot be a duplicate arrives at once, once.
    due = {number for number, may_be_duplicate in kept.items() if not may_be_duplicate}
    mend(server, cuts, due)
    wait_for_mail(backend, taken | due)
    found = numbers_at(backend)
    assert set(found) - {9999} == taken | due
    assert set(found.values()) == {1}
    queued = list((server.directory / "spool/queue").glob("*/" + "[0-9B-Z]" * 16))
    assert len(queued) == len(kept) - len(due)
    for cut in cuts.values():
        cut.close()

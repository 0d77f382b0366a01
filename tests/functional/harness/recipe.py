# SPDX-License-Identifier: BSD-2-Clause
"""The blocks of doc/postfix.md and its like, as an operator would copy them."""
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[3]


def block(way, file, document="postfix.md"):
    """One marked block, e.g. block("xclient", "main.cf")."""
    pattern = rf"<!-- block: {way} {re.escape(file)} -->\n```\n(.*?)```\n"
    match = re.search(pattern, (TOP / "doc" / document).read_text(encoding="utf-8"), re.S)
    assert match, f"doc/{document} has no block {way} {file}"
    return match.group(1)


def put_in(text, **places):
    """The block with this place's values; each must stand in the recipe."""
    names = {"postfix_port": r"\b10025\b", "reports_port": r"\b10026\b", "networks": r"192\.0\.2\.0/24",
             "listen": r"(?<=listen-port = )25\b", "filter_port": r"\b10024\b",
             "front": r"(?m)^smtp(?= +inet)", "bind": r"(?<=bind ):25\b",
             "listen_nginx": r"(?<=listen )25\b", "postern": r"192\.0\.2\.1:2525",
             "balancer": r"192\.0\.2\.10\b", "auth": r"127\.0\.0\.1:8080",
             "own": r"192\.0\.2\.64/26", "opendkim": r"\b8891\b", "opendmarc": r"\b8893\b",
             "rspamd": r"\b11332\b", "key": r"/etc/dkimkeys/mail\.private",
             "ignored": r"/etc/opendmarc/ignore\.hosts"}
    for name, value in places.items():
        text, count = re.subn(names[name], str(value), text)
        assert count, f"the recipe has no place for {name}"
    return text

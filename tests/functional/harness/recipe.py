# SPDX-License-Identifier: BSD-2-Clause
"""The blocks of doc/postfix.md, as an operator would copy them."""
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[3]
RECIPE = TOP / "doc" / "postfix.md"


def block(way, file):
    """One marked block, e.g. block("xclient", "main.cf")."""
    pattern = rf"<!-- block: {way} {re.escape(file)} -->\n```\n(.*?)```\n"
    match = re.search(pattern, RECIPE.read_text(encoding="utf-8"), re.S)
    assert match, f"doc/postfix.md has no block {way} {file}"
    return match.group(1)


def put_in(text, **places):
    """The block with this place's values; each must stand in the recipe."""
    names = {"postfix_port": r"\b10025\b", "networks": r"192\.0\.2\.0/24",
             "listen": r"(?<=listen-port = )25\b", "filter_port": r"\b10024\b",
             "front": r"(?m)^smtp(?= +inet)"}
    for name, value in places.items():
        text, count = re.subn(names[name], str(value), text)
        assert count, f"the recipe has no place for {name}"
    return text

"""Text that people at Buildkite wrote, made safe to show.

A control character can move a terminal's cursor or abort a renderer, and a bidirectional override
can make a name read as another one.
"""

import re

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF)
)
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"

BREAKS = "[\t\n\v\f\r\x85\u2028\u2029]+"
"""A pattern for what starts a new line or column, in the syntax of both Python and Polars."""

UNSAFE = f"[\\x00-\\x1f\\x7f-\\x9f{_BIDI_CONTROLS}{_NONCHARACTERS}]"
"""A pattern for the other characters that act on what shows them, in the same syntax."""

REPLACEMENT = "\ufffd"
"""Unicode's sign for a character that cannot be shown."""


def one_line(text: str) -> str:
    """Return the text on one line, with `REPLACEMENT` for each character that is not safe to show.

    Lone surrogates, which cannot be encoded, become question marks.
    """
    encodable = text.encode(errors="replace").decode()
    return re.sub(UNSAFE, REPLACEMENT, re.sub(BREAKS, " ", encodable))

"""What text may be where it is shown: read by people, and acted on by nothing."""

import csv
import re
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pandas as pd
from markdown_it import MarkdownIt
from markdown_it.token import Token

from buildkite_assets.plain_text import UNSAFE

from .texts import LINKED_HOST

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_SHOWN_IN_MARKDOWN = {"table", "thead", "tbody", "tr", "th", "td", "paragraph", "link", "text"}
_SHOWN_IN_MARKDOWN |= {"inline", "code_inline", "softbreak", "image"}
_BARE_ADDRESS = re.compile(r"://|www\.|@[a-z]", re.IGNORECASE)
_OUR_PICTURE = "data:image/webp;base64,"
_LINKED = {LINKED_HOST, "buildkite.com"}
_FORMULA_STARTS = "=+-@"
_MAY_BE_LINKED = {"https", "http"}


def assert_plain(text: str) -> None:
    """Assert that lines of text move no terminal and read as they are written."""
    found = re.search(UNSAFE, text.replace("\n", ""))
    assert not found, f"{found[0]!r} in {text[max(found.start() - 200, 0) : found.end() + 20]!r}"


def assert_plain_markdown(text: str) -> None:
    """Assert that Markdown is tables of words and code, our own pictures, and links to builds."""
    assert_plain(text)
    for token in _tokens(_MARKDOWN.parse(text)):
        kind = token.type.removesuffix("_open").removesuffix("_close")
        assert kind in _SHOWN_IN_MARKDOWN, f"{token} in {text!r}"
        if kind == "image":
            assert str(token.attrs["src"]).startswith(_OUR_PICTURE), text
        if token.type == "link_open":
            _assert_link(str(token.attrs["href"]))
        if kind == "text":
            # Dagster's UI links these too.
            assert not _BARE_ADDRESS.search(token.content), f"{token.content!r} in {text!r}"


def _tokens(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *_tokens(token.children or []))]


def _assert_link(address: str) -> None:
    parts = urlsplit(address)
    assert parts.scheme in _MAY_BE_LINKED, address
    assert parts.hostname in _LINKED, address


class Page(HTMLParser):
    """The elements of an HTML page, which may have none that runs, loads or leads elsewhere."""

    _FORBIDDEN = frozenset(
        ["script", "iframe", "img", "image", "object", "embed", "form", "foreignobject", "base"]
    )

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Assert that an element is harmless."""
        assert tag not in self._FORBIDDEN, (tag, attrs)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, attrs)
            assert name not in {"src", "srcset", "srcdoc", "style" * (tag == "a")}, (tag, attrs)
            if name in {"href", "xlink:href"}:
                assert tag == "a", (tag, attrs)
                _assert_link(value or "")

    def handle_data(self, data: str) -> None:
        """Gather text."""
        self.text += data


def assert_plain_csv(path: Path) -> list[list[str]]:
    """Assert that all readers see the same cells, none of them a formula; returns the rows."""
    csv.field_size_limit(sys.maxsize)
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(frame.columns) == header
    assert frame.to_numpy().tolist() == rows
    found = duckdb.execute(
        "FROM read_csv($path, delim = ',', quote = '\"', escape = '\"', header = true, "
        "all_varchar = true, null_padding = false, auto_detect = false, columns = $columns)",
        {"path": str(path), "columns": dict.fromkeys(header, "VARCHAR")},
    ).fetchall()
    assert [["" if cell is None else cell for cell in row] for row in found] == rows
    for cell in (cell for row in rows for cell in row):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", cell), (path, cell)
        visible = [sign for sign in cell if unicodedata.category(sign)[0] not in "CZ"]
        start = unicodedata.normalize("NFKC", visible[0])[:1] if visible else ""
        assert not start or start not in _FORMULA_STARTS, (path, cell)
    return rows

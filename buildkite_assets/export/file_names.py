"""File names for what has a slug. Slugs come from outside, so a name is made, not taken."""

import re
from collections import Counter
from collections.abc import Mapping

from pathvalidate import is_valid_filename

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ODD = re.compile(r"[^A-Za-z0-9_-]+")
_ENDS_IN_ID = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_LONGEST = 100


def file_names(slugs: Mapping[str, str]) -> dict[str, str]:
    """Return a file name without extension for each slug, by id; no two of them are the same.

    A slug that every file system takes is its own name. Any other name ends in the id, as do the
    names of slugs that differ only in case.

    Args:
        slugs: by UUID.
    """
    count = Counter(slug.lower() for slug in slugs.values())
    return {
        uuid: slug if count[slug.lower()] == 1 and _is_plain(slug) else _made(slug, uuid)
        for uuid, slug in slugs.items()
    }


def _is_plain(slug: str) -> bool:
    """Return whether a slug can be a name, and cannot be the name made for another one."""
    is_portable = _PLAIN.fullmatch(slug) and is_valid_filename(slug, platform="universal")
    return bool(is_portable) and not _ENDS_IN_ID.search(slug)


def _made(slug: str, uuid: str) -> str:
    return f"{_ODD.sub('_', slug)[:_LONGEST]}-{uuid}".lstrip("-")

"""Folders and files for their owner alone, and paths as people write them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ONLY_ITS_OWNER = 0o700


class UnwritableError(Exception):
    """A file or folder of this machine cannot be written; the message says what to do."""


def given_path(path: str | Path) -> Path:
    """Return a path that somebody wrote: absolute, with `~` expanded and links followed.

    Shells expand `~`, but env files, units and `--out=~/x` hand it over as it is.

    Raises:
        ValueError: it starts with `~` and names no user's home, or it can be no path.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} is no path: {error}") from error


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, or take the rights of others from it.

    Raises:
        OSError: it cannot be made, or belongs to another user who shares it.
    """
    folder.mkdir(mode=_ONLY_ITS_OWNER, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(_ONLY_ITS_OWNER)


def private_opener(path: str, flags: int) -> int:
    """Open a file that only its owner can read, as the `opener` of `open`."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Have what the disk refuses told in one line.

    Raises:
        UnwritableError: a file or folder could not be made or written.
    """
    try:
        yield
    except OSError as error:
        raise UnwritableError(
            f"{error.filename or folder} could not be written: {error.strerror or error}. Free "
            "disk space, correct the permissions or choose another folder, and run again."
        ) from error

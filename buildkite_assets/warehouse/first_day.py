"""The first daily partition, which is known whatever other programs do with the warehouse.

Dagster asks for it each time it loads the code location. That must not fail or wait for long, and
the first day must not move forward because a file cannot be read. So a small file keeps it, too.
"""

import logging
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from buildkite_assets.warehouse.errors import NothingPublishedError, WarehouseError
from buildkite_assets.warehouse.ledger import start_date
from buildkite_assets.warehouse.reader import connect

if TYPE_CHECKING:
    from buildkite_assets.warehouse.store import Warehouse

NOTE = "first_day"
"""The name of that file, in the warehouse's hidden folder."""

_TROUBLE = (WarehouseError, duckdb.Error, OSError)
_log = logging.getLogger(__name__)


def known_first_day(warehouse: "Warehouse") -> date | None:
    """Return the first day as of the last publication, or None before the first sync.

    Where nothing can be read, it logs why and returns None.
    """
    noted = noted_first_day(warehouse.folder)
    if noted:
        return noted
    # Older versions kept it in the database alone.
    try:
        with connect(warehouse.path) as connection:
            return start_date(connection)
    except NothingPublishedError:
        return None
    except _TROUBLE as error:
        _log.warning("%s The first daily partition is read from the working file.", error)
    try:
        with warehouse.transaction() as connection:
            return start_date(connection)
    except _TROUBLE as error:
        _log.warning("%s Daily partitions begin at the default until the next sync.", error)
        return None


def noted_first_day(folder: Path) -> date | None:
    """Return the first day that the hidden folder's note says, or None where there is none."""
    note = folder / NOTE
    try:
        return date.fromisoformat(note.read_text(encoding="ascii").strip())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s is ignored, since it cannot be read: %s.", note, error)
        return None

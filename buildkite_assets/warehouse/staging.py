"""Rows on their way into the warehouse: kept on disk, so that a day of any size fits in memory."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from buildkite_assets.warehouse.errors import WarehouseWriteError


class Staging:
    """Arrow tables of one shape, appended page by page, then read once.

    They lie in an unnamed file that vanishes with the process; `size_bytes` is what they take in
    memory.

    Args:
        folder: on the disk that holds the warehouse.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._folder = folder
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, table: pa.Table, page: int) -> None:
        """Add the rows of a page, with its number in the column `page`.

        Raises:
            WarehouseWriteError: the disk is full.
        """
        numbers = pa.repeat(pa.scalar(page, pa.int32()), len(table))
        table = table.append_column("page", numbers)
        try:
            if self._writer is None:
                self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), table.schema)
            self._writer.write_table(table)
        except OSError as error:
            raise WarehouseWriteError(
                f"{self._folder} could not be written: {error}. Nothing was changed: free disk "
                "space and run again."
            ) from error
        self.size_bytes += table.nbytes

    def read(self) -> pa.RecordBatchReader | None:
        """The rows in the order added, or None where there are none; call it once, at the end."""
        if self._writer is None:
            return None
        self._writer.close()
        self._file.flush()
        self._file.seek(0)
        return pa.ipc.open_stream(pa.PythonFile(self._file, mode="r"))


def read_all(stagings: Sequence[Staging]) -> pa.RecordBatchReader | None:
    """The rows of several, one after the other, or None where there are none."""
    readers = [reader for staging in stagings if (reader := staging.read())]
    if not readers:
        return None
    batches = (batch for reader in readers for batch in reader)
    return pa.RecordBatchReader.from_batches(readers[0].schema, batches)

"""What can go wrong with the warehouse, as one tree.

WarehouseError
├── NothingPublishedError   there is no file to read yet
├── NewerWarehouseError     a newer version of this project wrote the file
├── DamagedWarehouseError   the working file cannot be opened or read
├── WarehouseBusyError      another process holds the lock for too long
├── WarehouseWriteError     the disk is full or refuses; nothing was changed
├── UnsoundRowsError        a merge would have broken a key; nothing was changed
└── CannotPurgeError        nothing is stored of it, or it is still at Buildkite
"""


class WarehouseError(Exception):
    """Anything that keeps the warehouse from being read or written."""


class NothingPublishedError(WarehouseError):
    """There is no published file yet."""


class NewerWarehouseError(WarehouseError):
    """The file was written by a newer version, which this one could harm."""


class DamagedWarehouseError(WarehouseError):
    """The working file is no sound DuckDB file; the published one is untouched."""


class WarehouseBusyError(WarehouseError):
    """Another process has been writing for longer than is plausible."""


class WarehouseWriteError(WarehouseError):
    """The disk is full or refuses to be written; the transaction was undone."""


class UnsoundRowsError(WarehouseError):
    """Rows would have been doubled or orphaned; the transaction was undone."""


class CannotPurgeError(WarehouseError):
    """What should be purged is not stored, or a sync would bring it back."""

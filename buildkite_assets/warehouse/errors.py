"""What can go wrong with the warehouse, as one tree.

WarehouseError
├── NothingPublishedError   there is no file to read yet
├── NewerWarehouseError     a newer version of this project wrote the file
├── OutdatedDuckDBError     the installed DuckDB is too old for the file
├── DamagedWarehouseError   a file is no sound DuckDB database
├── ForbiddenWarehouseError this user may not read the file
├── WarehouseBusyError      another process holds the lock for too long
│   └── WarehouseLockedError    another program has a file open for writing
│       └── StrayLogError           its log lies beside the published file
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


class OutdatedDuckDBError(WarehouseError):
    """The installed DuckDB cannot read the file's storage version."""


class DamagedWarehouseError(WarehouseError):
    """A file is no sound DuckDB database; the message says which and how to replace it."""


class ForbiddenWarehouseError(WarehouseError):
    """The file's mode or its folder's keeps this user from reading it."""


class WarehouseBusyError(WarehouseError):
    """Another process has been writing for longer than is plausible."""


class WarehouseLockedError(WarehouseBusyError):
    """Another program has one of the files open for writing."""


class StrayLogError(WarehouseLockedError):
    """Another program's write-ahead log lies beside the published file."""


class WarehouseWriteError(WarehouseError):
    """The disk is full or refuses to be written; the transaction was undone."""


class UnsoundRowsError(WarehouseError):
    """Rows would have been doubled or orphaned; the transaction was undone."""


class CannotPurgeError(WarehouseError):
    """What should be purged is not stored, or a sync would bring it back."""

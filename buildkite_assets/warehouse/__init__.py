"""The DuckDB file: opened, locked, merged into, and published."""

from duckdb import DuckDBPyConnection as Connection

from buildkite_assets.warehouse.errors import WarehouseError
from buildkite_assets.warehouse.reader import connect
from buildkite_assets.warehouse.store import Warehouse, atomic

__all__ = ["Connection", "Warehouse", "WarehouseError", "atomic", "connect"]

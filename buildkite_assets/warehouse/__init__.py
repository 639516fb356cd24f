"""The DuckDB file: opened, locked, merged into, and published."""

from buildkite_assets.warehouse.errors import WarehouseError
from buildkite_assets.warehouse.reader import connect
from buildkite_assets.warehouse.store import Warehouse

__all__ = ["Warehouse", "WarehouseError", "connect"]

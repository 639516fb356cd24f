"""A Buildkite organization as Dagster assets in a DuckDB file that people trust."""

from buildkite_assets.warehouse import connect

__all__ = ["connect"]

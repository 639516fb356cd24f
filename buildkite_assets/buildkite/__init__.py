"""Talks to Buildkite; knows neither Dagster nor DuckDB."""

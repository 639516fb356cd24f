"""The assets that Dagster shows: what the warehouse holds, and how it gets there."""

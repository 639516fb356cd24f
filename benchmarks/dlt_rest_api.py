"""A common tool beside ours: dlt's `rest_api` source into DuckDB, on the same served data."""

from benchmarks.first_sync import Tool, run
from benchmarks.serving import Company

_DLT = Tool("dlt rest_api", "benchmarks.dlt_pipeline", {"RUNTIME__DLTHUB_TELEMETRY": "false"})


def main() -> None:
    """Measure both on some 2,500 builds with 50,000 jobs, about 150 MB of bodies."""
    run(Company(builds_per_day=82, jobs_per_build=28), [_DLT])


if __name__ == "__main__":
    main()

"""The same builds read by dlt's `rest_api` source into DuckDB, set up the way its manual shows.

Each run appends, which is the least work for dlt; jobs become a child table.

Run as a program with the API's base URL, the token and a folder to work in.
"""

import sys
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    """Load every build, with its jobs as a child table."""
    base, token, folder = sys.argv[1:]
    source = rest_api_source(
        {
            "client": {
                "base_url": base,
                "auth": {"type": "bearer", "token": token},
                "paginator": {"type": "header_link"},
            },
            "resources": [
                {
                    "name": "builds",
                    "endpoint": {
                        "path": "organizations/acme/builds",
                        "params": {
                            "per_page": 100,
                            "include_retried_jobs": "true",
                            "exclude_pipeline": "true",
                        },
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        pipeline_name="buildkite",
        pipelines_dir=folder,
        destination=dlt.destinations.duckdb(str(Path(folder) / "dlt.duckdb")),
        dataset_name="buildkite",
    )
    # By default it loads INSERT statements, which takes eight times the CPU on DuckDB 2.
    pipeline.run(source, loader_file_format="parquet")


if __name__ == "__main__":
    main()

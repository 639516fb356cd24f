"""How long the checks of stored data take on a million jobs, each alone, with two threads."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.derived import JOBS_PER_BUILD, fill
from buildkite_assets.checks.caught_up import caught_up_checks
from buildkite_assets.checks.check import Evidence
from buildkite_assets.checks.recency import SYNCED_LATELY
from buildkite_assets.checks.rules_fit import rules_fit_checks
from buildkite_assets.checks.stored import sql_checks, unique_keys
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Warehouse, connect

BUILDS = 100_000
_LEAST_SHOWN_SECONDS = 0.05

_READ = """
INSERT INTO sync_days BY NAME
SELECT
    organization_id, created_at::DATE AS day, day + INTERVAL 1 DAY AS read_at,
    false AS is_to_read_again
FROM builds
GROUP BY ALL
"""


def main(builds: int = BUILDS) -> None:
    """Print the CPU seconds of each check that takes any, and of all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.duckdb"
        fill(path, builds)
        warehouse = Warehouse(path)
        with warehouse.transaction() as connection:
            connection.execute(_READ)
        warehouse.publish()
        print(f"{builds:,} builds, {builds * JOBS_PER_BUILD:,} jobs; 2 threads")
        session = Session(Settings.from_environment({"BUILDKITE_WAREHOUSE": str(path)}))
        whole = 0.0
        with connect(path) as connection:
            connection.execute("SET threads = 2")
            evidence = Evidence(session, connection, datetime.now(UTC))
            hourly = [*sql_checks(is_hourly=True), SYNCED_LATELY, *caught_up_checks()]
            hourly += rules_fit_checks()
            for check in [*unique_keys(), *sql_checks(is_hourly=False), *hourly]:
                begin = time.process_time()
                check.result(evidence)
                seconds = time.process_time() - begin
                whole += seconds
                if seconds >= _LEAST_SHOWN_SECONDS:
                    name = f"{check.table.name}.{check.name}"
                    print(f"{name:<45}{seconds:>8.2f}", flush=True)
        print(f"all checks {whole:.2f} CPU seconds")


if __name__ == "__main__":
    main()

"""How long the derived tables take: all of them, and one day of those recomputed by day.

The history is made by SQL: 90 days, 200 pipelines with a step graph of three stages, retries,
blocks, triggers and six queues in two clusters, by a process of its own, so that the peak of memory
is that of deriving. Threads are those of a small machine; deriving limits its memory itself.
"""

import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Self

from buildkite_assets.derived_tables import DerivedTable, derived_tables
from buildkite_assets.rules import Price, Rules
from buildkite_assets.tables import PIPELINES
from buildkite_assets.warehouse import Warehouse
from buildkite_assets.warehouse.attributes import seed_states
from buildkite_assets.warehouse.derive import derive_days, derive_whole, in_order
from buildkite_assets.warehouse.preview import count_rows

BUILDS = 1_000_000
JOBS_PER_BUILD = 10
DAYS = 90
_FIRST_DAY = date(2026, 8, 1)
_THREADS = "SET threads = 2"
_RULES = Rules(
    time_zone="Europe/Berlin",
    prices=(
        Price(0.08, queue="queue-1", cluster="cluster-1", billed_seconds=60),
        Price(0.01, tag="os=linux"),
    ),
)

_PIPELINES = """
INSERT INTO pipelines BY NAME
SELECT
    md5('p' || n)::UUID AS pipeline_id,
    md5('o')::UUID AS organization_id,
    'pipeline-' || n AS slug,
    'main' AS default_branch,
    now()::TIMESTAMP AS synced_at
FROM range(200) AS r(n)
"""
_CLUSTERS = """
INSERT INTO clusters BY NAME
SELECT
    md5('k' || n)::UUID AS cluster_id,
    md5('o')::UUID AS organization_id,
    'cluster-' || n AS name,
    md5('q' || n)::UUID AS default_queue_id
FROM range(2) AS r(n)
"""
_QUEUES = """
INSERT INTO queues BY NAME
SELECT
    md5('q' || n)::UUID AS queue_id,
    md5('o')::UUID AS organization_id,
    md5('k' || n % 2)::UUID AS cluster_id,
    'queue-' || n // 2 AS key
FROM range(6) AS r(n)
"""
_BUILDS = """
INSERT INTO builds BY NAME
SELECT
    md5('b' || n)::UUID AS build_id,
    md5('o')::UUID AS organization_id,
    md5('p' || n % 200)::UUID AS pipeline_id,
    'pipeline-' || n % 200 AS pipeline_slug,
    n // 200 AS number,
    if(hash(n, 1) % 8 = 0, 'failed', if(hash(n, 1) % 20 = 1, 'canceled', 'passed')) AS state,
    hash(n, 2) % 50 = 0 AS blocked,
    if(hash(n, 3) % 3 = 0, 'main', 'topic-' || hash(n, 4) % 500) AS branch,
    md5('c' || n // 3)[:12] AS commit,
    'webhook' AS source,
    $first_day::TIMESTAMP + to_microseconds((n * $seconds * 1e6 / $builds)::BIGINT) AS created_at,
    created_at + INTERVAL 2 SECOND AS started_at,
    created_at + to_seconds(900 + hash(n, 5) % 900) AS finished_at,
    if(hash(n, 6) % 10 = 0, md5('b' || n - 1)::UUID, NULL) AS triggered_from_build_id,
    created_at + INTERVAL 40 DAY AS synced_at
FROM range($builds) AS r(n)
"""
_JOBS = """
INSERT INTO jobs BY NAME
SELECT
    md5('j' || n)::UUID AS job_id,
    md5('b' || n // $per_build)::UUID AS build_id,
    md5('o')::UUID AS organization_id,
    $first_day::TIMESTAMP
        + to_microseconds((n // $per_build * $seconds * 1e6 / $builds)::BIGINT) AS build_created_at,
    if(place = 6 AND hash(n, 1) % 4 = 0, 'manual', 'script') AS type,
    'step-' || if(is_retry, place - 1, place) AS step_key,
    if(is_retried OR hash(n, 2) % 50 = 0, 'failed', 'passed') AS state,
    if(state = 'failed', if(hash(n, 3) % 10 = 0, -1, 1), 0) AS exit_status,
    is_retried AS retried,
    if(is_retried, md5('j' || n + 1)::UUID, NULL) AS retried_in_job_id,
    if(is_retried, 'automatic', NULL) AS retry_type,
    md5('a' || hash(n, 4) % 3000)::UUID AS agent_id,
    ['os=linux', 'size=' || hash(n, 5) % 4] AS agent_meta_data,
    md5('k' || queue % 2)::UUID AS cluster_id,
    md5('q' || queue)::UUID AS queue_id,
    ['queue=queue-' || queue // 2] AS agent_query_rules,
    'make step-' || place AS command,
    build_created_at AS created_at,
    build_created_at + to_milliseconds(place // 3 * 240000 + hash(n, 7) % 5000) AS runnable_at,
    runnable_at + to_milliseconds(hash(n, 8) % 60000) AS started_at,
    started_at + to_milliseconds(hash(n, 9) % 240000) AS finished_at,
    if(type = 'manual', runnable_at, NULL) AS unblocked_at,
    build_created_at + INTERVAL 40 DAY AS synced_at
FROM (
    SELECT
        n,
        n % $per_build AS place,
        hash(n, 6) % 6 AS queue,
        place = 8 AND hash(n // $per_build, 10) % 5 = 0 AS is_retried,
        place = 9 AND hash(n // $per_build, 10) % 5 = 0 AS is_retry
    FROM range($builds * $per_build) AS r(n)
)
"""


@dataclass(frozen=True)
class _Seconds:
    """Wall and CPU time; the CPU's do not grow with what else the machine does."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Self:
        """Of a clock, and of this process so far."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.monotonic(), usage.ru_utime + usage.ru_stime)

    def __add__(self, other: "_Seconds") -> "_Seconds":
        return _Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: "_Seconds") -> "_Seconds":
        return _Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def __str__(self) -> str:
        return f"{self.wall:>10.2f}{self.cpu:>10.2f}"


def main(builds: int = BUILDS) -> None:
    """Print the wall and CPU seconds that each table takes."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "bench.duckdb")
        with ProcessPoolExecutor(1, get_context("spawn")) as filling:
            filling.submit(fill, warehouse.path, builds).result()
        print(f"{builds:,} builds, {builds * JOBS_PER_BUILD:,} jobs, {DAYS} days; 2 threads")
        print(
            f"{'table':<26}{'rows':>12}{'all, s':>10}{'CPU, s':>10}{'a day, s':>10}{'CPU, s':>10}"
        )
        days = [_FIRST_DAY + timedelta(days=n) for n in range(DAYS)]
        whole = one_day = _Seconds(0, 0)
        for table in in_order(derived_tables()):
            seconds, rows = _recompute(warehouse, table, days)
            whole += seconds
            line = f"{table.name:<26}{rows:>12,}{seconds}"
            if table.is_daily:
                day_seconds, _ = _recompute(warehouse, table, [days[DAYS // 2]])
                one_day += day_seconds
                line += str(day_seconds)
            print(line, flush=True)
        print(f"{'total':<38}{whole}{one_day}")
        size = (warehouse.folder / "working.duckdb").stat().st_size / 1e9
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        load = os.getloadavg()[0]
        print(f"file {size:.2f} GB, peak memory {peak:.2f} GB, load average {load:.1f}")


def fill(path: Path, builds: int) -> None:
    """Make the history in a warehouse of its own, with `JOBS_PER_BUILD` jobs a build."""
    values = {"builds": builds, "first_day": _FIRST_DAY, "seconds": DAYS * 86_400}
    with Warehouse(path).transaction() as connection:
        connection.execute(_THREADS)
        connection.execute("SET memory_limit = '4GB'")
        connection.execute(_PIPELINES)
        connection.execute(_CLUSTERS)
        connection.execute(_QUEUES)
        seed_states(connection, PIPELINES)
        connection.execute(_BUILDS, values)
        connection.execute(_JOBS, {**values, "per_build": JOBS_PER_BUILD})


def _recompute(warehouse: Warehouse, table: DerivedTable, days: list[date]) -> tuple[_Seconds, int]:
    """From opening the file to the commit, and the table's rows."""
    parameters = _RULES.parameters()
    begin = _Seconds.now()
    with warehouse.transaction() as connection:
        connection.execute(_THREADS)
        if table.is_daily:
            derive_days(connection, table, days, derived_tables(), parameters)
        else:
            derive_whole(connection, table, derived_tables(), parameters)
    seconds = _Seconds.now() - begin
    with warehouse.transaction() as connection:
        return seconds, count_rows(connection, table)


if __name__ == "__main__":
    main()

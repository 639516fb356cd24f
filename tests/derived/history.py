"""A hand-written history of builds and jobs in a real DuckDB, and what is derived of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import duckdb

from buildkite_assets.derived_tables import DerivedTable, derived_tables
from buildkite_assets.rules import Rules
from buildkite_assets.tables import CLUSTERS, PIPELINES, QUEUES
from buildkite_assets.warehouse.attributes import close_absent, merge_states, seed_states
from buildkite_assets.warehouse.derive import (
    derive_days,
    derive_whole,
    in_order,
    inputs,
    lagging_days,
    lagging_whole,
)
from buildkite_assets.warehouse.schema import upgrade

DAY = date(2026, 11, 2)  # a Monday
ORGANIZATION = UUID(int=1)
NO_RULES = Rules()
SNAPSHOT = "2026-11-01 00:00"
"""The first snapshot of access."""
_LEVELS = {None: "READ", 1: "READ_ONLY", 2: "BUILD_AND_READ", 3: "MANAGE_BUILD_AND_READ"}

Value = str | float | bool | UUID | datetime | Sequence[str] | Mapping[str, str | None] | None


def at(text: str) -> datetime:
    """The instant that `10:05`, `10:05:30` (on DAY) or `2026-11-03 10:05` names, UTC."""
    if " " not in text:
        text = f"{DAY} {text}"
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class History:
    """Builds and jobs as the sync would have stored them.

    Instants are given as text for `at`. Ids count upwards, so that order tells age.
    """

    def __init__(self, rules: Rules = NO_RULES) -> None:
        # One thread: more of them cost a sixth, and these histories are small.
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'")
        upgrade(self.connection)
        self.parameters = rules.parameters()
        self._ids = 100
        self._numbers = 0
        self._days: dict[UUID, datetime] = {}

    def pipeline(
        self, slug: str = "web", default_branch: str | None = "main", **columns: Value
    ) -> UUID:
        """Add a pipeline as a listing at midnight shows it."""
        pipeline_id = self._next_id()
        values: dict[str, Value] = {
            "pipeline_id": pipeline_id,
            "organization_id": ORGANIZATION,
            "slug": slug,
            "default_branch": default_branch,
            "synced_at": "00:00",
        }
        self._insert("pipelines", **(values | columns))
        seed_states(self.connection, PIPELINES)
        return pipeline_id

    def list_pipeline(self, pipeline_id: UUID, seen: str, **columns: Value) -> None:
        """Have a later listing show a pipeline with other attributes."""
        self._update_pipeline(pipeline_id, **columns, synced_at=seen)
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE listed AS FROM pipelines WHERE pipeline_id = ?",
            [pipeline_id],
        )
        merge_states(self.connection, PIPELINES, "listed")

    def lose_pipeline(self, pipeline_id: UUID, seen: str) -> None:
        """Have a complete listing lack a pipeline."""
        self._update_pipeline(pipeline_id, absent_since=seen)
        close_absent(self.connection, PIPELINES, str(ORGANIZATION), at(seen))

    def cluster(self, name: str, organization_id: UUID = ORGANIZATION) -> UUID:
        """Add a cluster without queues."""
        cluster_id = self._next_id()
        self._insert(
            "clusters",
            cluster_id=cluster_id,
            organization_id=organization_id,
            name=name,
            synced_at="00:00",
        )
        seed_states(self.connection, CLUSTERS)
        return cluster_id

    def queue(
        self,
        key: str,
        cluster_id: UUID | None = None,
        *,
        is_default: bool = False,
        organization_id: UUID = ORGANIZATION,
    ) -> UUID:
        """Add a queue, as the default one of its cluster if `is_default`."""
        queue_id = self._next_id()
        self._insert(
            "queues",
            queue_id=queue_id,
            organization_id=organization_id,
            cluster_id=cluster_id,
            key=key,
            synced_at="00:00",
        )
        seed_states(self.connection, QUEUES)
        if is_default:
            self.set_default_queue(cluster_id, queue_id)
        return queue_id

    def set_default_queue(self, cluster_id: UUID | None, queue_id: UUID | None) -> None:
        """Have all listings show a cluster with this default queue."""
        for table in ("clusters", "clusters_history"):
            self.connection.execute(
                f"UPDATE {table} SET default_queue_id = ? WHERE cluster_id = ?",  # noqa: S608
                [queue_id, cluster_id],
            )

    def team(self, slug: str = "web", *, is_default: bool = False, seen: str = SNAPSHOT) -> UUID:
        """Add a team that snapshots saw from this one on."""
        team_id = self._next_id()
        self._insert(
            "teams_history",
            organization_id=ORGANIZATION,
            team_id=team_id,
            slug=slug,
            is_default_team=is_default,
            valid_from=at(seen),
        )
        return team_id

    def grant(  # noqa: PLR0913 - what is said of a grant
        self,
        team_id: UUID,
        pipeline_id: UUID,
        rank: int | None = 3,
        *,
        seen: str = SNAPSHOT,
        gone: str | None = None,
        created: str | None = None,
    ) -> None:
        """Add what a team may do with a pipeline, as snapshots saw it from one until another."""
        self._insert(
            "team_pipelines_history",
            organization_id=ORGANIZATION,
            team_id=team_id,
            pipeline_id=pipeline_id,
            access_level=_LEVELS[rank],
            access_rank=rank,
            created_at=created,
            valid_from=at(seen),
            valid_to=at(gone) if gone else None,
        )

    def read(self, until: str, organization: UUID = ORGANIZATION) -> None:
        """Say that a change feed read everything that happened until then."""
        instant = at(until).replace(tzinfo=None)
        self.connection.execute(
            "INSERT INTO sync_feeds (organization_id, read_point, started_at) VALUES (?, ?, ?)",
            [organization, instant, instant],
        )

    def build(
        self, pipeline_id: UUID | None, created: str, state: str = "passed", **columns: Value
    ) -> UUID:
        """Add a build of `main`; instants among the columns are text."""
        build_id = self._next_id()
        self._numbers += 1
        self._days[build_id] = at(created)
        values: dict[str, Value] = {
            "build_id": build_id,
            "organization_id": ORGANIZATION,
            "pipeline_id": pipeline_id,
            "pipeline_slug": "web",
            "number": self._numbers,
            "state": state,
            "blocked": False,
            "branch": "main",
            "commit": f"c{self._numbers}",
            "created_at": created,
            "synced_at": "2026-12-31 00:00",
        }
        self._insert("builds", **(values | columns))
        return build_id

    def job(  # noqa: PLR0913, PLR0917 - what most tests say of a job
        self,
        build_id: UUID,
        step: str = "test",
        runnable: str | None = None,
        started: str | None = None,
        finished: str | None = None,
        state: str = "passed",
        **columns: Value,
    ) -> UUID:
        """Add a script job; instants among the columns are text."""
        job_id = self._next_id()
        values: dict[str, Value] = {
            "job_id": job_id,
            "build_id": build_id,
            "organization_id": ORGANIZATION,
            "build_created_at": self._days[build_id],
            "type": "script",
            "step_key": step,
            "state": state,
            "created_at": self._days[build_id],
            "runnable_at": runnable,
            "started_at": started,
            "finished_at": finished,
            "synced_at": "2026-12-31 00:00",
        }
        self._insert("jobs", **(values | columns))
        return job_id

    def retry(self, earlier: UUID, later: UUID, how: str | None = "automatic") -> None:
        """Say that one attempt was retried in another."""
        self.connection.execute(
            "UPDATE jobs SET retried = true, retried_in_job_id = ?, retry_type = ? "
            "WHERE job_id = ?",
            [later, how, earlier],
        )

    def derive(self, *names: str) -> "History":
        """Recompute these tables and those that they are made of, all days at once."""
        wanted = set(names)
        for table in reversed(in_order(derived_tables())):
            if table.name in wanted:
                wanted |= inputs(table)
        for table in in_order(derived_tables()):
            if table.name in wanted:
                self.derive_one(table)
        return self

    def derive_one(self, table: DerivedTable) -> None:
        """Recompute one table, all its days at once."""
        self._derive(table, self.days())

    def derive_lagging(self) -> None:
        """Recompute what lags, as a sync does."""
        by_day = lagging_days(self.connection, derived_tables(), self.parameters)
        for table in in_order(derived_tables()):
            if table in by_day:
                self._derive(table, by_day[table])
        whole = lagging_whole(self.connection, derived_tables(), self.parameters)
        for table in in_order(derived_tables()):
            if table in whole:
                self._derive(table, [])

    def days(self) -> list[date]:
        """The UTC days that have builds."""
        rows = self.connection.execute("SELECT DISTINCT created_at::DATE FROM builds").fetchall()
        return sorted(day for (day,) in rows)

    def rows(self, table: str, *columns: str, where: str = "true") -> list[Any]:
        """The table's rows in the order of its key: values where one column is asked, or tuples."""
        key = next(each.key for each in derived_tables() if each.name == table)
        result = self.connection.execute(
            f"SELECT {', '.join(columns) or '*'} FROM {table} WHERE {where} "  # noqa: S608
            f"ORDER BY {', '.join(key)}"
        ).fetchall()
        return [row[0] for row in result] if len(columns) == 1 else result

    def _derive(self, table: DerivedTable, days: Sequence[date]) -> None:
        if table.is_daily:
            derive_days(self.connection, table, days, derived_tables(), self.parameters)
        else:
            derive_whole(self.connection, table, derived_tables(), self.parameters)

    def _insert(self, table: str, **values: Value) -> None:
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        self.connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
            [_stored(name, value) for name, value in values.items()],
        )

    def _update_pipeline(self, pipeline_id: UUID, **values: Value) -> None:
        marks = ", ".join(f"{name} = ?" for name in values)
        self.connection.execute(
            f"UPDATE pipelines SET {marks} WHERE pipeline_id = ?",  # noqa: S608
            [*(_stored(name, value) for name, value in values.items()), pipeline_id],
        )

    def _next_id(self) -> UUID:
        self._ids += 1
        return UUID(int=self._ids)


def _stored(name: str, value: Value) -> Value:
    if isinstance(value, str) and (name.endswith("_at") or name == "absent_since"):
        value = at(value)
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def plus(text: str, **by: float) -> str:
    """The instant so much after another, as text."""
    return f"{at(text) + timedelta(**by):%Y-%m-%d %H:%M:%S.%f}"

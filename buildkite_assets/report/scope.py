"""Narrows a connection to some pipelines and days, so that every figure shows just these."""

from dataclasses import dataclass
from datetime import date, timedelta

from buildkite_assets.report.opening import published_tables
from buildkite_assets.warehouse import Connection

# Which rows of a table lie in the days from `first_day` to `last_day`.
_WITHIN = {
    "build_runs": "day BETWEEN first_day AND last_day",
    "job_runs": "day BETWEEN first_day AND last_day",
    "build_critical_path": "day BETWEEN first_day AND last_day",
    "pipeline_daily": "local_day BETWEEN first_day AND last_day",
    "agent_cost_daily": "local_day BETWEEN first_day AND last_day",
    "step_failures": "week BETWEEN first_day - 6 AND last_day",
    "deployments": "true",  # tells which applications a pipeline deploys
    "branch_incidents": "red_at::DATE <= last_day AND red_until::DATE >= first_day",
    "open_builds": "true",  # as of the last sync, whatever their age
    "flaky_steps": "true",  # its window is its own: the newest 30 days
}

_VIEW = """
CREATE TEMP VIEW {table} AS
SELECT shown.*
FROM buildkite.{table} AS shown
SEMI JOIN shown_pipelines USING (organization_id, pipeline_slug)
SEMI JOIN scope ON {within}
"""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that builds are known of, by its present slug.

    Attributes:
        label: the slug, with the organization's before it where several are known.
    """

    organization_id: str
    slug: str
    label: str


@dataclass(frozen=True)
class Scope:
    """Which builds to show: some UTC days, both ends included, of one pipeline or of all."""

    first_day: date
    last_day: date
    pipeline: Pipeline | None = None

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last_day - self.first_day).days + 1

    @property
    def label(self) -> str:
        """What it is, in words."""
        which = self.pipeline.label if self.pipeline else "all pipelines"
        return f"{which}, {self.first_day} to {self.last_day}"


def known_pipelines(connection: Connection) -> list[Pipeline]:
    """The pipelines that builds are known of, by their labels."""
    rows = connection.execute("""
        SELECT
            organization_id::VARCHAR,
            pipeline_slug,
            if(
                (SELECT count(DISTINCT organization_id) FROM build_runs) > 1,
                slug || '/' || pipeline_slug,
                pipeline_slug
            ) AS label
        FROM build_runs
        JOIN organizations USING (organization_id)
        GROUP BY ALL
        ORDER BY label
    """).fetchall()
    return [Pipeline(*row) for row in rows]


def newest_days(connection: Connection, days: int, pipeline: Pipeline | None = None) -> Scope:
    """The newest days that are known: up to the last sync's, whether or not it found builds."""
    [(last,)] = connection.execute("""
        SELECT coalesce(
            greatest(
                (SELECT max(day) FROM build_runs),
                (SELECT max(day) FROM sync_days),
                (SELECT max(read_point)::DATE FROM sync_feeds)
            ),
            current_date
        )
    """).fetchall()
    return Scope(last - timedelta(days=days - 1), last, pipeline)


def narrow(connection: Connection, scope: Scope) -> None:
    """Have a connection show only the scope's rows of the tables that CI figures read.

    A temporary view stands before each of these tables. `shown_pipelines` holds the labels.

    Args:
        connection: what `opened` gave, not narrowed before.
        scope: what to show.
    """
    connection.execute(
        "CREATE TEMP TABLE scope AS SELECT $first::DATE AS first_day, $last::DATE AS last_day",
        {"first": scope.first_day, "last": scope.last_day},
    )
    connection.execute(
        "CREATE TEMP TABLE shown_pipelines "
        "(organization_id UUID, pipeline_slug VARCHAR, pipeline VARCHAR)"
    )
    shown = [scope.pipeline] if scope.pipeline else known_pipelines(connection)
    for pipeline in shown:
        connection.execute(
            "INSERT INTO shown_pipelines VALUES (?, ?, ?)",
            [pipeline.organization_id, pipeline.slug, pipeline.label],
        )
    for table in _WITHIN.keys() & published_tables(connection):
        connection.execute(_VIEW.format(table=table, within=_WITHIN[table]))

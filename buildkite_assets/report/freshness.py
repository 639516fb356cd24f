"""How current the warehouse is: what people should know before they believe a figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.report.wording import age, count, instant
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.coverage import Span, span
from buildkite_assets.warehouse.lag import lags


@dataclass(frozen=True)
class Freshness:
    """How current one organization is.

    Attributes:
        organization: its slug.
        span: which days are known, and when they were last brought up to date.
        newest_build_at: when the newest build was created: nothing built is not nothing synced.
        open_builds: builds that go on, whose figures will change.
    """

    organization: str
    span: Span | None
    newest_build_at: datetime | None
    open_builds: int

    def sentence(self, now: datetime | None = None) -> str:
        """All of it in words.

        Args:
            now: the time in UTC without a time zone, where ages are to be told too.
        """
        known = self.span
        if known is None:
            return f"{self.organization}: no builds were synced yet."
        missing = count(len(known.missing_days), "day") if known.missing_days else "none"
        return (
            f"{self.organization}: synced {_at(known.synced_at, now)}; newest build "
            f"{_at(self.newest_build_at, now)}; days known from {known.first_day} to "
            f"{known.last_day}, {missing} missing; {count(self.open_builds, 'build')} still open."
        )


def _at(at: datetime | None, now: datetime | None) -> str:
    return instant(at) if at is None or now is None else f"{instant(at)}, {age(at, now)}"


def freshness(connection: Connection) -> list[Freshness]:
    """How current each organization is, by slug.

    Args:
        connection: what `opened` gave, not narrowed.
    """
    rows = connection.execute("""
        SELECT
            organization_id::VARCHAR,
            slug,
            max(build_runs.created_at),
            count(*) FILTER (is_open)
        FROM organizations
        LEFT JOIN build_runs USING (organization_id)
        GROUP BY organization_id, slug
        ORDER BY slug
    """).fetchall()
    return [
        Freshness(slug, span(connection, organization_id), newest_build_at, open_builds)
        for organization_id, slug, newest_build_at, open_builds in rows
    ]


def lagging_tables(connection: Connection, parameters: Mapping[str, object]) -> list[str]:
    """The names of the derived tables that are not made of what is stored now, sorted.

    Args:
        connection: what `opened` gave, not narrowed.
        parameters: the values of the rules, see `Rules.parameters`.
    """
    lagging = lags(connection, derived_tables(), parameters)
    return sorted({lag.table_name for lag in lagging if lag.since})

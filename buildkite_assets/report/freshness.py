"""How current the warehouse is: what people should know before they believe a figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.report.wording import age, count, instant
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.derive import lagging_days, lagging_whole


@dataclass(frozen=True)
class Freshness:
    """How current one organization is.

    Attributes:
        organization: its slug.
        synced_at: when Buildkite last told that all known days are current, or of one day; in UTC.
        newest_build_at: when the newest build was created: nothing built is not nothing synced.
        first_day: the first UTC day of builds that was read.
        last_day: the last one.
        missing_days: how many days between them were not read.
        open_builds: builds that go on, whose figures will change.
    """

    organization: str
    synced_at: datetime | None
    newest_build_at: datetime | None
    first_day: date | None
    last_day: date | None
    missing_days: int
    open_builds: int

    def sentence(self, now: datetime | None = None) -> str:
        """All of it in words.

        Args:
            now: the time in UTC without a time zone, where ages are to be told too.
        """
        if self.synced_at is None or self.first_day is None:
            return f"{self.organization}: no builds were synced yet."
        missing = count(self.missing_days, "day") if self.missing_days else "none"
        return (
            f"{self.organization}: synced {_at(self.synced_at, now)}; newest build "
            f"{_at(self.newest_build_at, now)}; days read from {self.first_day} to "
            f"{self.last_day}, {missing} missing; {count(self.open_builds, 'build')} still open."
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
            slug,
            greatest(any_value(followed.finished_at), max(read_at)) AS synced_at,
            any_value(built.newest_build_at),
            min(day),
            max(day),
            coalesce(max(day) - min(day) + 1 - count(day), 0),
            coalesce(any_value(built.open_builds), 0)
        FROM organizations
        LEFT JOIN sync_days USING (organization_id)
        LEFT JOIN (
            SELECT organization_id, max(finished_at) AS finished_at
            FROM sync_feeds
            GROUP BY organization_id
        ) AS followed USING (organization_id)
        LEFT JOIN (
            SELECT
                organization_id,
                max(created_at) AS newest_build_at,
                count(*) FILTER (is_open) AS open_builds
            FROM build_runs
            GROUP BY organization_id
        ) AS built USING (organization_id)
        GROUP BY organization_id, slug
        ORDER BY slug
    """).fetchall()
    return [Freshness(*row) for row in rows]


def lagging_tables(connection: Connection, parameters: Mapping[str, object]) -> dict[str, int]:
    """The derived tables that are not made of what is stored now, with how many days lag.

    Of a table that is recomputed whole it is 0.

    Args:
        connection: what `opened` gave, not narrowed.
        parameters: the values of the rules, see `Rules.parameters`.
    """
    tables = derived_tables()
    by_day = lagging_days(connection, tables, parameters)
    lagging = {table.name: len(days) for table, days in by_day.items()}
    return lagging | {table.name: 0 for table in lagging_whole(connection, tables, parameters)}

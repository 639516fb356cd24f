"""Removes a person or a pipeline for good, where the law or its owner asks for it.

Only what is gone from Buildkite can be purged: a sync would bring back the rest. Of people who have
left, Buildkite still tells in the builds that they created. So their ids and hashed e-mail
addresses are kept in `purged`, and what is read later is stripped of them, until they are members
again. What people wrote into messages, branches and meta-data cannot be told apart and
stays, as do the builds themselves.
"""

import hashlib
from collections.abc import Callable

import duckdb

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.tables import (
    ACCESS_SYNCS,
    BUILDS,
    CATALOG_HISTORIES,
    CLUSTERS,
    JOBS,
    PIPELINES,
    Table,
)
from buildkite_assets.warehouse.derive import (
    Parameters,
    derive_days,
    derive_whole,
    in_order,
    lagging_days,
)
from buildkite_assets.warehouse.errors import CannotPurgeError
from buildkite_assets.warehouse.store import Warehouse, atomic

_TOLD_WITH_ID = {
    "creator_id": ("creator_name", "creator_email"),
    "created_by_id": (),
    "unblocked_by_id": ("unblocked_by_name",),
    "retried_by_id": (),
}
_TOLD_WITH_EMAIL = {
    "creator_email": ("creator_name",),
    "author_email": ("author_name", "author_username"),
    "token_email": (),
}
_CHANGES = ("build_changes", "late_changes")
_USERS = "SELECT id::UUID FROM purged WHERE kind = 'user'"
_EMAILS = "SELECT id FROM purged WHERE kind = 'email'"

_TRACES = """
WITH people AS (
    SELECT user_id, lower(email) AS email, name FROM organization_members_history
    UNION
    SELECT creator_id, lower(creator_email), creator_name FROM builds
    UNION
    SELECT NULL, lower(author_email), unnest([author_name, author_username]) FROM builds
),

ids AS (
    SELECT user_id FROM people
    WHERE user_id::VARCHAR = $who OR email IN (SELECT unnest($emails::VARCHAR[]))
),

-- An author is known by an address alone, be it another of the person's.
addresses AS (
    SELECT unnest($emails::VARCHAR[]) AS email
    UNION
    SELECT email FROM people WHERE user_id IN (FROM ids)
)

SELECT user_id::VARCHAR, email, name FROM people
WHERE user_id IN (FROM ids) OR email IN (FROM addresses)
UNION ALL
SELECT NULL, NULL, NULL FROM purged
WHERE id = $who OR id IN (SELECT sha256(unnest($emails::VARCHAR[])))
"""


def purge_person(
    connection: duckdb.DuckDBPyConnection, who: str, stored: Callable[[str], str | None]
) -> None:
    """Remove who a person was and what teams they were in, and take them off builds and jobs.

    Call `finish_purge` afterwards.

    Args:
        connection: within a transaction.
        who: the user's id, or an e-mail address, also of a commit's author.
        stored: what the settings make of an e-mail address.

    Raises:
        CannotPurgeError: nothing is known of the person, or they are in an organization.
    """
    who = who.strip().lower()
    traces = connection.execute(_TRACES, {"who": who, "emails": [who, stored(who)]}).fetchall()
    if not traces:
        raise CannotPurgeError(
            f"Nothing is stored of {who}: give a user's id, or an e-mail address."
        )
    ids, emails, names = (sorted(set(filter(None, column))) for column in zip(*traces, strict=True))
    emails += [form for email in emails if "@" in email and (form := stored(email)) not in emails]
    _refuse_members(connection, who, ids)
    _note(connection, "user", ids)
    _note(connection, "email", [hashlib.sha256(email.encode()).hexdigest() for email in emails])
    for table in (BUILDS, JOBS, PIPELINES, CLUSTERS, ACCESS_SYNCS):
        strip_purged(connection, table.name, table)
    for name in ("organization_members_history", "team_members_history"):
        connection.execute(f"DELETE FROM {name} WHERE user_id IN (SELECT unnest(?::UUID[]))", [ids])
    told = _TOLD_WITH_ID | _TOLD_WITH_EMAIL
    fields = {*told, *(column for others in told.values() for column in others)}
    for name in _CHANGES:
        connection.execute(
            f"""
            DELETE FROM {name} WHERE field IN (SELECT unnest($fields)) AND (
                lower(old) IN (SELECT lower(unnest($values::VARCHAR[])))
                OR lower(new) IN (SELECT lower(unnest($values::VARCHAR[])))
            )
            """,
            {"fields": sorted(fields), "values": [*ids, *emails, *names]},
        )


def purge_pipeline(connection: duckdb.DuckDBPyConnection, pipeline: str) -> None:
    """Remove a deleted pipeline with its builds and jobs, and what teams could do with it.

    Call `finish_purge` afterwards.

    Args:
        connection: within a transaction.
        pipeline: its id, since slugs are reused.

    Raises:
        CannotPurgeError: no such pipeline is stored, or it is not known to be deleted.
    """
    pipeline = pipeline.strip().lower()
    known = connection.execute(
        """
        SELECT absent_since IS NOT NULL FROM pipelines WHERE pipeline_id::VARCHAR = $pipeline
        UNION ALL
        SELECT true FROM purged WHERE kind = 'pipeline' AND id = $pipeline
        """,
        {"pipeline": pipeline},
    ).fetchall()
    if not known:
        raise CannotPurgeError(f"No pipeline {pipeline} is stored: give its id.")
    if (False,) in known:
        raise CannotPurgeError(
            f"The pipeline {pipeline} is still at Buildkite, or no administrator's token has "
            "listed the pipelines since it was deleted: delete it there, sync, and purge it then."
        )
    _note(connection, "pipeline", [pipeline])
    of_its_builds = "build_id IN (SELECT build_id FROM builds WHERE pipeline_id = $pipeline::UUID)"
    for name in (*_CHANGES, JOBS.name):
        connection.execute(f"DELETE FROM {name} WHERE {of_its_builds}", {"pipeline": pipeline})
    for name in (
        BUILDS.name,
        "team_pipelines_history",
        CATALOG_HISTORIES[PIPELINES].name,
        PIPELINES.name,
    ):
        connection.execute(
            f"DELETE FROM {name} WHERE pipeline_id = $pipeline::UUID", {"pipeline": pipeline}
        )


def finish_purge(warehouse: Warehouse, parameters: Parameters) -> None:
    """Derive anew whatever is derived, write both files anew, and publish.

    Killed before its end, it leaves what was published; the next sync derives and publishes, and
    to purge again finishes the rest.

    Args:
        warehouse: what was purged from.
        parameters: values for the queries.

    Raises:
        WarehouseError: see `warehouse.errors`.
    """
    tables = derived_tables()
    with warehouse.connection() as connection:
        with atomic(connection):
            # Emptied, not deleted: that a day was derived may be told nowhere else any more.
            connection.execute("UPDATE derived_days SET fingerprint = ''")
        days = lagging_days(connection, tables, parameters)
        for table in in_order(tables):
            with atomic(connection):
                if not table.is_daily:
                    derive_whole(connection, table, tables, parameters)
                elif table in days:
                    derive_days(connection, table, days[table], tables, parameters)
    warehouse.rewrite()
    warehouse.publish()


def strip_purged(connection: duckdb.DuckDBPyConnection, name: str, table: Table) -> None:
    """Take purged people off the rows of a stored or staged table.

    Args:
        connection: within a transaction.
        name: of the table.
        table: whose columns it has.
    """
    if not connection.execute("SELECT 1 FROM purged LIMIT 1").fetchall():
        return
    purged = {
        **dict.fromkeys(_TOLD_WITH_ID, f"{{}} IN ({_USERS})"),
        **dict.fromkeys(_TOLD_WITH_EMAIL, f"sha256(lower({{}})) IN ({_EMAILS})"),
    }
    columns = {column.name for column in table.columns}
    for key, others in (_TOLD_WITH_ID | _TOLD_WITH_EMAIL).items():
        if key in columns:
            blank = ", ".join(f"{column} = NULL" for column in (key, *others))
            connection.execute(f"UPDATE {name} SET {blank} WHERE {purged[key].format(key)}")


def readmit_members(connection: duckdb.DuckDBPyConnection, members: str) -> None:
    """Forget that people were purged who are members again, as the table `members` has them."""
    connection.execute(f"""
        DELETE FROM purged
        WHERE (kind = 'user' AND id IN (SELECT user_id::VARCHAR FROM {members}))
            OR (kind = 'email' AND id IN (SELECT sha256(lower(email)) FROM {members}))
    """)


def _note(connection: duckdb.DuckDBPyConnection, kind: str, ids: list[str]) -> None:
    """Note what was purged, each once."""
    values = {"kind": kind, "ids": ids}
    connection.execute(
        "DELETE FROM purged WHERE kind = $kind AND id IN (SELECT unnest($ids::VARCHAR[]))", values
    )
    connection.execute(
        "INSERT INTO purged SELECT $kind, unnest($ids::VARCHAR[]), now()::TIMESTAMP", values
    )


def _refuse_members(connection: duckdb.DuckDBPyConnection, who: str, ids: list[str]) -> None:
    present = connection.execute(
        """
        SELECT 1 FROM organization_members WHERE user_id IN (SELECT unnest($ids::UUID[]))
        UNION ALL
        SELECT 1 FROM team_members WHERE user_id IN (SELECT unnest($ids::UUID[]))
        """,
        {"ids": ids},
    ).fetchall()
    if present:
        raise CannotPurgeError(
            f"{who} is a member of an organization or a team, or no administrator's token has "
            "listed the members since they left: remove them at Buildkite, sync, and purge then."
        )

"""Which rules of the rules file fit nothing known, such as those with a typo."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import duckdb
import msgspec

from buildkite_assets.rules import ANYTHING, Rules, Verdicts, as_plain_pattern
from buildkite_assets.warehouse.errors import WarehouseError
from buildkite_assets.warehouse.reader import connect

Keys = Mapping[str, str | None]
RulesOf = Callable[[Rules], Iterator[tuple[str, Keys]]]


class Status(StrEnum):
    """Whether a rule fits anything; not evaluated where what it names is not collected."""

    FITS = "fits"
    FITS_NOTHING = "fits_nothing"
    NOT_EVALUATED = "not_evaluated"


@dataclass(frozen=True)
class RuleFit:
    """What is known of one rule.

    Attributes:
        table: the derived table that it is for.
        rule: its place in the rules file, such as `[[deployments]] 2`.
        status: whether it fits anything.
        message: which of its keys fits nothing, or what is not collected; empty if it fits.
    """

    table: str
    rule: str
    status: Status
    message: str = ""


@dataclass(frozen=True)
class _Kind:
    """One kind of rule that names things.

    Attributes:
        table: the derived table that its rules are for.
        rules: gives the rules of this kind: the place of each, and what its keys say.
        keys: what its rules name, each within what the keys before it fit.
        known: the query for all that is known, with a list of names for each key. NULL means that
            no such name is known of it.
        is_pattern: whether its rules have patterns, not names.
        needs_clusters: whether it names what is listed with clusters.
    """

    table: str
    rules: RulesOf
    keys: tuple[str, ...]
    known: str
    is_pattern: bool = True
    needs_clusters: bool = False


_DEPLOYMENTS = """
WITH seen AS (
    SELECT DISTINCT
        build_runs.organization_id, job_runs.pipeline_id, build_runs.pipeline_slug,
        pipeline_slug_at_creation, step, label, branch
    FROM build_runs
    LEFT JOIN job_runs USING (build_id)
)
SELECT
    [seen.pipeline_slug, pipeline_slug_at_creation] AS pipeline,
    list_concat([seen.step, label], steps.names) AS step,
    [branch] AS branch
FROM seen
LEFT JOIN steps
    ON steps.organization_id = seen.organization_id
    AND steps.pipeline_id IS NOT DISTINCT FROM seen.pipeline_id
    AND steps.pipeline_slug = seen.pipeline_slug
    AND steps.name = seen.step
UNION ALL
SELECT [slug], NULL, NULL FROM pipelines
"""
_INFRASTRUCTURE = """
SELECT [queue_key] AS queue, [step] AS step FROM (SELECT DISTINCT queue_key, step FROM job_runs)
UNION ALL
SELECT [key], NULL FROM queues
"""
_PRICES = """
SELECT [queue_key] AS queue, [cluster_name] AS cluster, agent_tags AS tag
FROM (SELECT DISTINCT queue_key, cluster_name, agent_tags FROM job_runs)
UNION ALL
SELECT [key], [name], NULL FROM clusters FULL JOIN queues USING (cluster_id)
"""
_SETUP_COMMANDS = r"""
SELECT DISTINCT [split_part(trim(command, E' \n'), E'\n', -1)] AS setup_commands FROM jobs
WHERE type = 'script'
"""
_SETUP_STEPS = "SELECT [step] AS setup_steps FROM (SELECT DISTINCT step FROM job_runs)"


def _listed(name: str) -> RulesOf:
    """Return what gives the rules of a list of tables."""

    def rules_of(rules: Rules) -> Iterator[tuple[str, Keys]]:
        for n, rule in enumerate(getattr(rules, name), start=1):
            yield f"[[{name}]] {n}", msgspec.to_builtins(rule)

    return rules_of


def _verdicts(key: str) -> RulesOf:
    """Return what gives the patterns of a key of `[verdicts]`; nobody has written the defaults."""

    def rules_of(rules: Rules) -> Iterator[tuple[str, Keys]]:
        for pattern in getattr(rules.verdicts, key):
            if pattern not in getattr(Verdicts(), key):
                yield "[verdicts]", {key: pattern}

    return rules_of


_KINDS = (
    _Kind("deployments", _listed("deployments"), ("pipeline", "step", "branch"), _DEPLOYMENTS),
    _Kind(
        "agent_cost_daily",
        _listed("prices"),
        ("queue", "cluster", "tag"),
        _PRICES,
        is_pattern=False,
        needs_clusters=True,
    ),
    _Kind(
        "job_runs",
        _listed("infrastructure"),
        ("queue", "step"),
        _INFRASTRUCTURE,
        needs_clusters=True,
    ),
    _Kind("job_runs", _verdicts("setup_commands"), ("setup_commands",), _SETUP_COMMANDS),
    _Kind("job_runs", _verdicts("setup_steps"), ("setup_steps",), _SETUP_STEPS),
)

RULED_TABLES = frozenset(kind.table for kind in _KINDS)
"""The derived tables that there are such rules for."""

# Organizations that are synced and that a rule may be meant for, but whose builds were not read,
# are not derived yet, or run in clusters that the token may not list.
_NOT_COLLECTED = """
SELECT
    slug,
    organization_id NOT IN (SELECT organization_id FROM sync_days)
    OR (
        organization_id IN (SELECT organization_id FROM builds)
        AND organization_id NOT IN (SELECT organization_id FROM build_runs)
    ) AS lacks_builds,
    organization_id IN (SELECT organization_id FROM builds WHERE cluster_id IS NOT NULL)
    AND organization_id NOT IN (SELECT organization_id FROM clusters) AS lacks_clusters
FROM organizations
WHERE (len($wanted::VARCHAR[]) = 0 OR list_contains($wanted::VARCHAR[], slug))
    AND synced_at IS NOT DISTINCT FROM (SELECT max(synced_at) FROM organizations)
    AND (lacks_builds OR lacks_clusters)
ORDER BY slug
"""


_NOT_DERIVED = (
    "the tables that it is looked up in are not there yet, or an older version made them: run "
    "`buildkite-assets sync`."
)


def published_rule_fits(path: Path, rules: Rules, wanted: Sequence[str]) -> list[RuleFit]:
    """`rule_fits` of the published file; nothing is evaluated where it cannot be read."""
    try:
        with connect(path) as connection:
            return rule_fits(connection, rules, wanted)
    except WarehouseError as error:
        return [fit for kind in _KINDS for fit in _not_evaluated(kind, rules, str(error))]


def rule_fits(
    connection: duckdb.DuckDBPyConnection, rules: Rules, wanted: Sequence[str]
) -> list[RuleFit]:
    """What is known of each rule that names pipelines, steps, branches, queues and the like.

    Args:
        connection: to the published file.
        rules: the rules.
        wanted: the slugs of the organizations that are synced; none of them means all.
    """
    fits: list[RuleFit] = []
    for kind in _KINDS:
        try:
            fits += _fits_of_kind(connection, kind, rules, wanted)
        except (duckdb.CatalogException, duckdb.BinderException):
            fits += _not_evaluated(kind, rules, _NOT_DERIVED)
    return fits


def _not_evaluated(kind: _Kind, rules: Rules, reason: str) -> list[RuleFit]:
    return [
        RuleFit(kind.table, rule, Status.NOT_EVALUATED, reason) for rule, _ in kind.rules(rules)
    ]


def _fits_of_kind(
    connection: duckdb.DuckDBPyConnection, kind: _Kind, rules: Rules, wanted: Sequence[str]
) -> list[RuleFit]:
    asked = list(kind.rules(rules))
    if not asked:
        return []
    not_collected = _not_collected(connection, kind, wanted)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE known_to_rules AS {kind.known}")
    fits = []
    for rule, keys in asked:
        status, message = _fit(connection, kind, keys)
        if status is Status.FITS_NOTHING and not_collected:
            status, message = Status.NOT_EVALUATED, not_collected
        fits.append(RuleFit(kind.table, rule, status, message))
    connection.execute("DROP TABLE temp.known_to_rules")
    return fits


def _fit(connection: duckdb.DuckDBPyConnection, kind: _Kind, rule: Keys) -> tuple[Status, str]:
    """Return whether a rule fits anything, and why not: the first of its keys that does not."""
    operator, other = ("GLOB", "=") if kind.is_pattern else ("=", "GLOB")
    within: dict[str, str] = {}
    for key in kind.keys:
        value = rule.get(key)
        if value is None or (kind.is_pattern and value == ANYTHING):
            continue
        [(fits, is_known, fits_otherwise)] = connection.execute(
            f"""
            SELECT
                coalesce(bool_or({_fits(key, operator)}), false),
                coalesce(bool_or(list_any_value({key}) IS NOT NULL), false),
                coalesce(bool_or({_fits(key, other)}), false)
            FROM known_to_rules
            WHERE {" AND ".join(_fits(name, operator) for name in within) or "true"}
            """,
            {**within, key: value},
        ).fetchall()
        place = f" where {_quoted(within)} fits" if within else ""
        if not is_known:
            return Status.NOT_EVALUATED, f"no {key} is known{place}."
        if not fits:
            advice = _advice(kind, key, value) if fits_otherwise else ""
            return (
                Status.FITS_NOTHING,
                f"{_quoted({key: value})} fits nothing known{place}.{advice}",
            )
        within[key] = value
    return Status.FITS, ""


def _fits(key: str, operator: str) -> str:
    """The SQL for whether any of the names fits the key's value."""
    return f"len(list_filter({key}, lambda name: name {operator} ${key})) > 0"


def _advice(kind: _Kind, key: str, value: str) -> str:
    if kind.is_pattern:
        return (
            " It is a known name, but `[`, `*`, `?` and `\\` are special in patterns: write "
            f"{_quoted({key: as_plain_pattern(value)})}."
        )
    return f" It fits as a pattern, but prices take names: write a rule for each {key}."


def _quoted(keys: Mapping[str, str]) -> str:
    """Return keys and values as the rules file has them."""
    return " and ".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()
    )


def _not_collected(
    connection: duckdb.DuckDBPyConnection, kind: _Kind, wanted: Sequence[str]
) -> str:
    """What a rule may be meant for and is not collected; empty if there is no such thing."""
    rows = connection.execute(_NOT_COLLECTED, {"wanted": list(wanted)}).fetchall()
    no_builds = [slug for slug, lacks_builds, _ in rows if lacks_builds]
    if no_builds:
        return f"the builds of {', '.join(no_builds)} are not collected yet."
    no_clusters = [slug for slug, _, lacks_clusters in rows if lacks_clusters]
    if no_clusters and kind.needs_clusters:
        return f"the clusters and queues of {', '.join(no_clusters)} are not collected."
    return ""

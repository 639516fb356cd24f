"""Builds that Buildkite really sent, and its own examples, go through every derived table."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from buildkite_assets.buildkite.decoding import decode_builds
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rows import Privacy, build_rows
from buildkite_assets.rules import Deployment, Price, Rules
from buildkite_assets.tables import PIPELINES
from buildkite_assets.warehouse.attributes import seed_states

from .history import ORGANIZATION, History
from .soundness import empty_tables, impossible_ratios, negative_durations

RECORDED = Path(__file__).parents[2] / "../shared/recorded"
READ_AT = datetime(2025, 11, 20, 12, tzinfo=UTC)
RULES = Rules(
    time_zone="Europe/Berlin",
    prices=(Price(0.01, queue="default"),),
    deployments=(Deployment("production", "*", branch="ma*"),),
)

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="the recorded responses are not here")


def recorded_builds() -> dict[str, dict[str, Any]]:
    """Every build in the recordings that came with its jobs, by id; one form of each."""
    return {
        each["id"]: each
        for path in sorted(RECORDED.rglob("*.json"))
        for each in _objects(json.loads(path.read_text(encoding="utf-8")))
        if isinstance(each.get("jobs"), list) and "number" in each
    }


def _objects(tree: object) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for value in tree:
            yield from _objects(value)


def stored(builds: dict[str, dict[str, Any]]) -> History:
    """Builds and jobs as read, and their pipelines, each owned by one team."""
    history = History(RULES)
    team = history.team("owners")
    known = {build["pipeline"]["id"]: build["pipeline"] for build in builds.values()}
    for pipeline_id, pipeline in known.items():
        history.connection.execute(
            "INSERT INTO pipelines "
            "(pipeline_id, organization_id, slug, default_branch, synced_at) "
            "VALUES (?, ?, ?, ?, now()::TIMESTAMP)",
            [pipeline_id, ORGANIZATION, pipeline["slug"], pipeline.get("default_branch")],
        )
        seed_states(history.connection, PIPELINES)
        history.grant(team, UUID(pipeline_id))
    page = build_rows(
        decode_builds(json.dumps(list(builds.values())).encode()),
        lambda build: builds[build.id]["pipeline"]["id"],
        READ_AT,
        Privacy(),
    )
    assert page.rejected == []
    for name, rows in (("builds", page.builds), ("jobs", page.jobs)):
        history.connection.register("incoming", rows)
        history.connection.execute(
            f"INSERT INTO {name} BY NAME SELECT *, ? AS organization_id FROM incoming",  # noqa: S608
            [ORGANIZATION],
        )
        history.connection.unregister("incoming")
    return history


def test_recorded_builds_go_through_every_table_without_an_impossible_figure() -> None:
    """Eleven builds of 2015 to 2024: none blocked, reopened, flaky, parallel, or a failed main."""
    builds = recorded_builds()
    history = stored(builds).derive(*(table.name for table in derived_tables()))
    scripts = [job for build in builds.values() for job in build["jobs"] if job["type"] == "script"]
    assert len(history.rows("build_runs")) == len(builds) >= 11
    assert len(history.rows("job_runs")) == len(scripts) >= 150
    absent = {
        *("block_waits", "branch_incidents", "build_reopenings", "flaky_steps"),
        *("job_labels", "shard_balance"),
    }
    assert empty_tables(history.connection, "ci") == absent
    assert negative_durations(history.connection) == []
    assert impossible_ratios(history.connection) == []

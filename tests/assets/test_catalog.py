"""Organizations, pipelines, clusters and queues; what is renamed, deleted, or not to be seen."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from buildkite_assets.runs import run_builds, run_catalog
from buildkite_assets.sandbox import SandboxServer, Token, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from tests.syncing import StandingClock, empty_sandbox, environment


@pytest.fixture
def clock_and_server() -> Iterator[tuple[StandingClock, SandboxServer]]:
    """Serve an organization with one pipeline."""
    sandbox, clock = empty_sandbox()
    with serve(sandbox) as server:
        yield clock, server


def list_catalog(
    server: SandboxServer, folder: Path, instance: dg.DagsterInstance, token: Token | None = None
) -> None:
    """Run the catalog job."""
    settings = environment(server, folder / "w.duckdb", token)
    run_catalog(Session(Settings.from_environment(settings)), instance)


def query(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """What the published file says."""
    with connect(folder / "w.duckdb") as connection:
        return connection.execute(sql).fetchall()


def test_a_missing_scope_skips_its_tables_with_one_warning_and_fails_nothing(
    clock_and_server: tuple[StandingClock, SandboxServer], tmp_path: Path
) -> None:
    clock, server = clock_and_server
    tokens = server.sandbox.tokens
    today = clock().date()
    server.sandbox.organization("acme").create_build("web", state="passed")
    with dg.DagsterInstance.ephemeral() as instance:
        list_catalog(server, tmp_path, instance, tokens.without_read_clusters)
        settings = environment(server, tmp_path / "w.duckdb", tokens.without_read_clusters)
        session = Session(Settings.from_environment(settings))
        run_builds(session, instance, today, today, full=False)
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
        landed = {
            name: instance.get_latest_materialization_event(dg.AssetKey(["buildkite", name]))
            is not None
            for name in ("organizations", "pipelines", "clusters", "queues", "builds", "jobs")
        }
        warnings = [
            entry.user_message
            for run in instance.get_runs()
            for entry in instance.all_logs(run.run_id)
            if entry.level == 30
        ]
    assert landed == {
        "organizations": True,
        "pipelines": True,
        "clusters": False,
        "queues": False,
        "builds": True,
        "jobs": True,
    }
    (warning,) = warnings
    assert warning.startswith(
        "Skipped clusters and queues: the token lacks the scope read_clusters."
    )
    assert query(tmp_path, "SELECT count(*) FROM builds") == [(1,)]


def test_rows_of_a_table_that_is_skipped_are_kept(
    clock_and_server: tuple[StandingClock, SandboxServer], tmp_path: Path
) -> None:
    clock, server = clock_and_server
    with dg.DagsterInstance.ephemeral() as instance:
        list_catalog(server, tmp_path, instance)
        clock.move(minutes=1)
        list_catalog(server, tmp_path, instance, server.sandbox.tokens.without_read_clusters)
    assert query(tmp_path, "SELECT key, absent_since FROM queues") == [("default", None)]


def test_a_renamed_pipeline_is_the_same_and_a_reused_slug_is_another(
    clock_and_server: tuple[StandingClock, SandboxServer], tmp_path: Path
) -> None:
    clock, server = clock_and_server
    acme = server.sandbox.organization("acme")
    day = clock().date() - timedelta(days=1)
    noon = clock().replace(hour=12) - timedelta(days=1)
    old = acme.pipeline("web")
    acme.create_build("web", state="passed", created_at=noon)
    with dg.DagsterInstance.ephemeral() as instance:
        settings = Settings.from_environment(environment(server, tmp_path / "w.duckdb"))
        run_builds(Session(settings), instance, day, day, full=False)
        acme.rename_pipeline("web", slug="website")
        new = acme.add_pipeline("web", at=noon + timedelta(hours=1))
        acme.create_build("web", state="passed", created_at=noon + timedelta(hours=2))
        clock.move(minutes=1)
        run_builds(Session(settings), instance, day, day, full=False)
    assert query(
        tmp_path,
        "SELECT b.pipeline_id::VARCHAR, b.pipeline_slug, p.slug, b.absent_since FROM builds b "
        "JOIN pipelines p USING (pipeline_id) ORDER BY b.created_at",
    ) == [(old.id, "website", "website", None), (new.id, "web", "web", None)]


def test_a_deleted_pipeline_is_marked_and_its_builds_are_kept(
    clock_and_server: tuple[StandingClock, SandboxServer], tmp_path: Path
) -> None:
    clock, server = clock_and_server
    acme = server.sandbox.organization("acme")
    day = clock().date() - timedelta(days=1)
    acme.create_build("web", state="passed", created_at=clock() - timedelta(days=1))
    settings = Settings.from_environment(environment(server, tmp_path / "w.duckdb"))
    with dg.DagsterInstance.ephemeral() as instance:
        list_catalog(server, tmp_path, instance)
        run_builds(Session(settings), instance, day, day, full=False)
        acme.delete_pipeline("web")
        acme.add_pipeline("other", at=clock())
        clock.move(minutes=1)
        list_catalog(server, tmp_path, instance)
        run_builds(Session(settings), instance, day, day, full=False)
    assert query(
        tmp_path, "SELECT slug, absent_since IS NOT NULL FROM pipelines ORDER BY slug"
    ) == [("other", False), ("web", True)]
    # Of a pipeline that is not to be seen nothing is known: its builds are not called absent.
    assert query(tmp_path, "SELECT count(*), count(absent_since) FROM builds") == [(1, 0)]


def test_an_archived_pipeline_stays(
    clock_and_server: tuple[StandingClock, SandboxServer], tmp_path: Path
) -> None:
    clock, server = clock_and_server
    server.sandbox.organization("acme").archive_pipeline("web")
    with dg.DagsterInstance.ephemeral() as instance:
        list_catalog(server, tmp_path, instance)
    assert query(tmp_path, "SELECT slug, archived_at, absent_since FROM pipelines") == [
        ("web", clock().replace(tzinfo=None), None)
    ]


def test_only_an_administrator_knows_that_a_pipeline_is_gone(
    clock_and_server: tuple[StandingClock, SandboxServer], tmp_path: Path
) -> None:
    clock, server = clock_and_server
    tokens = server.sandbox.tokens
    acme = server.sandbox.organization("acme")
    acme.add_pipeline("hidden")
    absent = "SELECT slug FROM pipelines WHERE absent_since IS NOT NULL"
    with dg.DagsterInstance.ephemeral() as instance:
        list_catalog(server, tmp_path, instance, tokens.administrator)
        clock.move(minutes=1)
        tokens.member.visible_pipelines = frozenset({"web"})
        list_catalog(server, tmp_path, instance, tokens.member)
        assert query(tmp_path, absent) == []
        acme.delete_pipeline("hidden")
        clock.move(minutes=1)
        list_catalog(server, tmp_path, instance, tokens.administrator)
        assert query(tmp_path, absent) == [("hidden",)]

"""What shows text to people, and what each promises however the text reads."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree as ET

import dagster as dg

from buildkite_assets.alerts import alert_on_failed_checks, alert_on_failed_runs
from buildkite_assets.automation import CHECKS_JOB, NIGHTLY_CHECKS_JOB
from buildkite_assets.buildkite.decoding import mend_text
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.figures import access_changes, flaky_steps, svg
from buildkite_assets.report import ci_health
from buildkite_assets.report.opening import opened
from buildkite_assets.report.scope import narrow, newest_days
from buildkite_assets.runs import open_home
from buildkite_assets.warehouse import connect
from tests.syncing import command_environment, command_here
from tests.test_alerts import Channel, Sensor, run

from .plainness import Page, assert_plain, assert_plain_csv, assert_plain_markdown
from .world import World

_REFUSALS = [
    ("catalog_job", "/organizations"),
    ("catalog_job", "/pipelines"),
    ("catalog_job", "/access-token"),
    ("access_job", "/members"),
    ("access_job", "/teams"),
    (NIGHTLY_CHECKS_JOB, "/builds"),
]
"""Jobs, and what they ask for that is refused to them."""
_NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def terminal(world: World) -> None:
    """Assert that a sync and the doctor print what moves no terminal."""
    said = world.synced.stdout + world.synced.stderr
    assert world.synced.returncode == 0, said
    assert "Warning" not in said
    assert "Traceback" not in said
    assert_plain(said)
    _command(world, "check")
    told = json.loads(_command(world, "check", "--json"))
    user = _sent(world, {"email": world.sandbox.tokens.administrator.user.email})
    assert told["user_email"] == user["email"]


def set_aside(world: World) -> None:
    """Assert that a build whose states or instants are nonsense is counted, and costs no other."""
    said = world.synced.stdout + world.synced.stderr
    assert world.synced.returncode == 0, said
    assert "builds could not be read; see the table rejected_builds" in said
    assert "could not be drawn" not in said
    assert "Traceback" not in said
    assert_plain(said)
    with connect(world.warehouse) as connection:
        rows = connection.execute(
            "SELECT build_id::VARCHAR FROM builds UNION ALL SELECT reference FROM rejected_builds"
        ).fetchall()
    assert sorted(rows) == sorted((build["id"],) for build in _builds(world))


def stored_rows(world: World) -> None:
    """Assert that no build is lost or rejected, and each text is stored as it was sent."""
    builds = _builds(world)
    jobs = [job for build in builds for job in build["jobs"]]
    with connect(world.warehouse) as connection:
        assert connection.execute("FROM rejected_builds").fetchall() == []
        assert dict(
            connection.execute(
                "SELECT build_id::VARCHAR, [message, branch, web_url] FROM builds"
            ).fetchall()
        ) == {
            build["id"]: [build["message"], build["branch"], build["web_url"]] for build in builds
        }
        assert dict(
            connection.execute("SELECT job_id::VARCHAR, [name, command] FROM jobs").fetchall()
        ) == {job["id"]: [job.get("name", job.get("label")), job.get("command")] for job in jobs}
        assert dict(
            connection.execute(
                "SELECT build_id::VARCHAR, slug FROM builds JOIN pipelines USING (pipeline_id)"
            ).fetchall()
        ) == {build["id"]: build["pipeline"]["slug"] for build in builds}


def derived(world: World) -> None:
    """Assert that tables are derived of all this."""
    with connect(world.warehouse) as connection:
        rows = {table.name: connection.table(table.name).pl().height for table in derived_tables()}
    for name in ("build_runs", "job_runs", "steps", "queue_hourly", "deployments", "grants"):
        assert rows[name], name


def figures(world: World) -> None:
    """Assert that each figure is drawn, of shapes and text."""
    with opened(world.session.settings) as connection:
        scope = newest_days(connection, 30)
        narrow(connection, scope)
        drawn = [svg(figure) for figure in ci_health.figures(connection, scope)]
        drawn += [svg(flaky_steps(connection)), svg(access_changes(connection))]
    for picture in drawn:
        ET.fromstring(picture)  # noqa: S314 - our own picture
        Page(picture)


def report(world: World) -> None:
    """Assert that the report is text and drawings."""
    page = world.session.settings.report.read_text()
    assert "could not be drawn" not in page
    assert page.count("</html>") == 1
    assert len(page) < 1_000_000
    assert_plain(page)
    Page(page)


def notebooks(world: World) -> None:
    """Assert that the notebooks run from top to bottom."""
    for notebook in ("ci_health.py", "access_review.py"):
        done = subprocess.run(  # noqa: S603 - our own notebook
            [sys.executable, _NOTEBOOKS / notebook],
            env=command_environment(world.settings),
            cwd=world.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert_plain(done.stdout + done.stderr)


def checks(world: World) -> None:
    """Assert that all checks are evaluated, also those that ask Buildkite."""
    with open_home(world.home) as instance:
        for job in (CHECKS_JOB, NIGHTLY_CHECKS_JOB):
            done = run(world.session, instance, job)
            assert done.is_success, [each.user_message for each in instance.all_logs(done.run_id)]


def alerts(world: World) -> None:
    """Assert that what is posted of refusals is text, whose only link is our own."""
    channel = Channel()
    Thread(target=channel.server.serve_forever, daemon=True).start()
    settings = replace(world.session.settings, alert_webhook=channel.url)
    session = replace(world.session, settings=settings)
    with open_home(world.home) as instance:
        sensors = [
            Sensor(sensor, session, instance)
            for sensor in (alert_on_failed_runs, alert_on_failed_checks)
        ]
        sensors[0].tick()
        for job, refused in _REFUSALS:
            with world.app.refusing(refused):
                run(session, instance, job)
                _command(world, "check", exit_code=int(job == "catalog_job"))
        for sensor in sensors:
            sensor.tick()
    channel.server.shutdown()
    channel.server.server_close()
    said = "\n".join(channel.texts)
    assert "*catalog_job failed*" in said
    assert "everything_was_read fails* (error)" in said
    for text in channel.texts:
        assert_plain(text)
        assert not {"<", ">"} & set(text), text


def events(world: World) -> None:
    """Assert that Dagster's UI has only tables, code and our pictures to render."""
    with open_home(world.home) as instance:
        for run_ in instance.get_runs():
            assert_plain("\n".join(run_.tags.values()))
            for entry in instance.all_logs(run_.run_id):
                _assert_plain_event(entry)


def _assert_plain_event(entry: dg.EventLogEntry) -> None:
    event = entry.dagster_event
    assert_plain(entry.user_message if event is None else event.message or "")
    data: Any = event and event.event_specific_data
    about = [
        data,
        *(getattr(data, name, None) for name in ("materialization", "asset_observation")),
    ]
    for told in about:
        assert_plain(getattr(told, "description", None) or "")
        metadata = getattr(told, "metadata", None) or {}
        for value in metadata.values():
            if isinstance(value, dg.MarkdownMetadataValue):
                assert_plain_markdown(value.value or "")
            elif isinstance(value, dg.TextMetadataValue):
                assert_plain(value.value or "")


def exports(world: World) -> None:
    """Assert that exports are cells to every spreadsheet, with a file for each team."""
    out = world.folder / "a" / "b" / "out"
    _command(world, "export", "baton", "--out", str(out))
    _command(world, "export", "review", "--organization", "acme", "--out", str(out))
    for path in out.rglob("*.json"):
        json.loads(path.read_bytes())
    for name in ("acme", "umbrella", "vacant"):
        assert assert_plain_csv(out / name / "baton.csv")
    [manifest] = out.rglob("manifest.json")
    for entry in json.loads(manifest.read_bytes())["files"]:
        assert len(assert_plain_csv(manifest.parent / entry["name"])) == entry["rows"]
    teams = world.sandbox.organizations["acme"].teams
    assert len(list((manifest.parent / "teams").iterdir())) == len(teams)


def folders(world: World) -> None:
    """Assert that nothing was written where it does not belong."""
    assert _names(world.folder.parent) == {world.folder.name}
    assert _names(world.folder) == {
        "a", "home", "rules.toml", "w.duckdb", ".w.duckdb", "w-ci-report.html",
    }  # fmt: skip
    assert _names(world.folder / "a") == {"b"}
    assert _names(world.folder / "a" / "b") == {"out"}
    exported = _names(world.folder / "a" / "b" / "out")
    [review] = [name for name in exported if name.startswith("acme-")]
    assert exported == {"acme", "umbrella", "vacant", review}


Sink = Callable[[World], None]
SHOWN: list[Sink] = [figures, report, notebooks, checks, alerts, events, exports, folders]
"""In an order in which each finds what it looks at."""
SINKS: list[Sink] = [terminal, stored_rows, derived, *SHOWN]
NONSENSE_SINKS: list[Sink] = [set_aside, *SHOWN]
"""Where some states and instants are texts, too."""


def _builds(world: World) -> list[Any]:
    """Return all builds as they are served."""
    return [
        build
        for organization in world.sandbox.organizations.values()
        for build in _sent(world, list(organization.truth_builds()))
    ]


def _command(world: World, *arguments: str, exit_code: int = 0) -> str:
    """Return what a command prints that ends so."""
    done = command_here(*arguments, settings=world.settings, cwd=world.folder, home=world.home)
    assert done.exit_code == exit_code, done.output
    assert_plain(done.output)
    return done.output


def _sent(world: World, body: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a body as it is served, without the halves of characters that no text can hold."""
    return json.loads(mend_text(json.dumps(world.app.rewritten(body)).encode()))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}

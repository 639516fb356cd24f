"""A purged person or pipeline is in no table, no file and no later sync."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from buildkite_assets.automation import CHANGES_JOB
from buildkite_assets.cli import main
from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.model import Build, User
from buildkite_assets.warehouse import connect
from buildkite_assets.warehouse.purge import finish_purge, purge_person

from .conftest import NOON, Lab
from .test_edge_cases import people

DAY = f"{NOON:%Y-%m-%d}"


@pytest.fixture
def leaver(lab: Lab, acme: Organization) -> User:
    """Let a member create, author and unblock builds, and leave; all of it is stored."""
    lab.environment = {"BUILDKITE_START_DATE": DAY}
    member = people(acme)[1]
    author = {"username": "maxm", "name": member.name, "email": member.email}
    acme.create_build("web", state="passed", creator=member, author=author)
    blocked = acme.create_build("web", state="blocked", creator=people(acme)[0])
    acme.unblock_job(blocked.jobs[-1], by=member)
    acme.pipelines["web"].created_by = member
    lab.sync(lab.sandbox.tokens.member)
    lab.sync()
    lab.read_day(DAY)
    acme.remove_member(member)
    return member


def purge(lab: Lab, *arguments: str) -> Result:
    """Run the command as its user would, without the question."""
    environment = {"BUILDKITE_WAREHOUSE": str(lab.path), **lab.environment}
    return CliRunner().invoke(main, ["purge", *arguments, "--yes"], env=environment)


def traces(path: Path, *words: str) -> list[str]:
    """The tables in which one of the words stands in whatever column."""
    with connect(path) as connection:
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'buildkite'"
        ).fetchall()
        return [
            name
            for (name,) in tables
            for word in words
            if connection.execute(
                f"FROM {name} AS row WHERE contains(lower(row::VARCHAR), lower($word)) LIMIT 1",
                {"word": word},
            ).fetchall()
        ]


def test_a_purged_person_is_nowhere_and_does_not_come_back_with_their_builds(
    lab: Lab, acme: Organization, leaver: User
) -> None:
    lab.sync()
    lab.derive()
    assert {"builds", "jobs", "pipelines", "access_syncs", "team_members_history"} <= set(
        traces(lab.path, leaver.id, leaver.email)
    )
    done = purge(lab, "person", leaver.email.upper())
    assert done.exit_code == 0, done.output
    words = (leaver.email, leaver.name, "maxm")
    assert traces(lab.path, *words) == []
    assert set(traces(lab.path, leaver.id)) == {"purged"}
    files = [lab.path, *(path for path in lab.path.with_name(f".{lab.path.name}").iterdir())]
    assert not [path for path in files for word in words if word.encode() in path.read_bytes()]
    assert len(lab.rows("FROM builds")) == 2
    assert lab.rows("SELECT DISTINCT name FROM organization_members_history") == [("Ada Admin",)]
    assert lab.rows("SELECT count(*) > 0 FROM build_runs") == [(True,)]

    acme.retry_job(acme.builds[0].jobs[0])
    lab.sync()
    lab.read_day(DAY)
    lab.run(CHANGES_JOB)
    lab.derive()
    assert traces(lab.path, *words) == []
    assert set(traces(lab.path, leaver.id)) == {"purged"}
    assert lab.rows("SELECT field FROM build_changes WHERE field LIKE 'creator%'") == []


def test_a_purge_that_was_interrupted_can_be_run_again(lab: Lab, leaver: User) -> None:
    lab.sync()
    session = lab.session()
    with session.warehouse.transaction() as connection:
        purge_person(connection, leaver.id, session.privacy.email)
    assert "builds" in traces(lab.path, leaver.id)
    assert purge(lab, "person", leaver.id).exit_code == 0
    assert set(traces(lab.path, leaver.id, leaver.email)) == {"purged"}


def test_who_comes_back_is_told_of_again(lab: Lab, acme: Organization, leaver: User) -> None:
    lab.sync()
    assert purge(lab, "person", leaver.id).exit_code == 0
    acme.add_member(leaver)
    lab.sync()
    assert lab.rows("FROM purged") == []
    assert (leaver.name,) in lab.rows("SELECT name FROM organization_members")


def test_a_person_purged_by_id_is_no_author_of_a_change_either(
    lab: Lab, acme: Organization, leaver: User
) -> None:
    lab.sync()
    lab.run(CHANGES_JOB)
    acme.builds[0].author = {"username": "maxm", "name": "Maxi", "email": leaver.email}
    acme.retry_job(acme.builds[0].jobs[0])
    lab.run(CHANGES_JOB)
    assert "build_changes" in traces(lab.path, "Maxi")
    assert purge(lab, "person", leaver.id).exit_code == 0
    assert traces(lab.path, "Maxi", "maxm", leaver.name) == []


def test_hashed_and_plain_addresses_of_one_person_are_purged_together(
    lab: Lab, leaver: User
) -> None:
    lab.environment |= {"BUILDKITE_EMAILS": "hashed", "BUILDKITE_EMAIL_KEY": "0123456789abcdef"}
    hashed = str(lab.session().privacy.email(leaver.email))
    lab.read_day(DAY)
    lab.sync()
    assert traces(lab.path, hashed)
    assert traces(lab.path, leaver.email)
    assert purge(lab, "person", leaver.email).exit_code == 0
    assert traces(lab.path, hashed, leaver.email) == []


def test_only_what_is_stored_and_gone_from_buildkite_is_purged(
    lab: Lab, acme: Organization, leaver: User
) -> None:
    present = purge(lab, "person", leaver.id)
    assert present.exit_code == 1
    assert "is a member" in present.output
    assert "Nothing is stored of nobody@acme.example" in (
        purge(lab, "person", "nobody@acme.example").output
    )
    web = acme.pipelines["web"].id
    assert "still at Buildkite" in purge(lab, "pipeline", web).output
    assert "No pipeline web is stored" in purge(lab, "pipeline", "web").output
    assert traces(lab.path, leaver.id)


def test_a_purged_pipeline_takes_its_builds_and_the_access_to_it_along(
    lab: Lab, acme: Organization
) -> None:
    lab.environment = {"BUILDKITE_START_DATE": DAY}
    acme.add_pipeline("other")
    kept = acme.create_build("other")
    builds: list[Build] = [acme.create_build("web") for _ in range(2)]
    web = acme.pipelines["web"].id
    lab.sync()
    lab.read_day(DAY)
    acme.delete_pipeline("web")
    lab.sync()
    report = lab.path.with_name(f"{lab.path.stem}-ci-report.html")
    report.write_text(">web<")
    for _ in range(2):
        done = purge(lab, "pipeline", web.upper())
        assert done.exit_code == 0, done.output
    assert "CI health of acme" in report.read_text()
    assert ">web<" not in report.read_text()
    assert set(traces(lab.path, web, *(build.id for build in builds))) == {"purged"}
    assert lab.rows("SELECT build_id::VARCHAR FROM builds") == [(kept.id,)]
    lab.sync()
    lab.read_day(DAY)
    assert set(traces(lab.path, web)) == {"purged"}


def test_days_of_a_purged_pipeline_that_only_a_feed_brought_are_derived_anew(
    lab: Lab, acme: Organization
) -> None:
    lab.environment = {"BUILDKITE_START_DATE": DAY}
    web = acme.pipelines["web"].id
    lab.sync()
    lab.read_day(DAY)
    lab.run(CHANGES_JOB)
    lab.clock.move(days=1)
    acme.create_build("web")
    lab.run(CHANGES_JOB)
    session = lab.session()
    finish_purge(session.warehouse, session.parameters)
    assert {"build_runs", "job_runs"} <= set(traces(lab.path, web))
    acme.delete_pipeline("web")
    lab.sync()
    assert purge(lab, "pipeline", web).exit_code == 0
    assert set(traces(lab.path, web)) == {"purged"}

"""The exports of a company's access: Baton's forms, and a review for people."""

import csv
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from buildkite_assets.cli import main
from buildkite_assets.export.baton import CSV_HEADER, export_baton
from buildkite_assets.export.review import UnknownOrganizationError, export_review
from buildkite_assets.runs import run_access, run_builds, run_catalog, run_derived
from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect

Body = Any
"""A decoded JSON body."""


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Path]]:
    """Sync a company with an organization that has Teams disabled and one that has nothing."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        sandbox = Sandbox.company(days=2, builds_per_day=20)
        sandbox.limits.organization_limit = None
        sandbox.limits.user_limit = None
        today = datetime.now(UTC).date()
        with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
            session = Session(
                Settings.from_environment(
                    {
                        "BUILDKITE_API_URL": server.url,
                        "BUILDKITE_API_TOKEN": sandbox.tokens.administrator.value,
                        "BUILDKITE_WAREHOUSE": str(folder / "company.duckdb"),
                        "BUILDKITE_START_DATE": today.isoformat(),
                    }
                )
            )
            run_catalog(session, instance)
            run_access(session, instance)
            run_builds(session, instance, today, today, full=False)
            run_derived(session, instance)
            yield sandbox, session.settings.warehouse


@pytest.fixture(scope="module")
def baton(synced: tuple[Sandbox, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export to Baton's forms."""
    folder = tmp_path_factory.mktemp("baton")
    written = export_baton(synced[1], folder)
    assert [path.name for path in written] == ["acme", "umbrella", "vacant"]
    return folder


def read(folder: Path, organization: str, what: str) -> list[Body]:
    body = json.loads((folder / organization / f"{what}.json").read_text())
    assert list(body) == [what]
    outputs: list[Body] = body[what]
    return outputs


def test_users_teams_and_memberships_have_the_connectors_ids(
    baton: Path, synced: tuple[Sandbox, Path]
) -> None:
    acme = synced[0].organizations["acme"]
    ids = {
        f"{output['resource']['id']['resourceType']}:{output['resource']['id']['resource']}"
        for output in read(baton, "acme", "resources")
        if output["resourceType"]["id"] in {"user", "team"}
    }
    assert ids == {f"user:{m.user.id}" for m in acme.members} | {
        f"team:{team.id}" for team in acme.teams
    }
    entitlements = {
        output["entitlement"]["id"]
        for output in read(baton, "acme", "entitlements")
        if output["resourceType"]["id"] == "team"
    }
    assert entitlements == {
        f"team:{team.id}:{role}" for team in acme.teams for role in ("member", "maintainer")
    }
    grants = {
        output["grant"]["id"]
        for output in read(baton, "acme", "grants")
        if output["resourceType"]["id"] == "team"
    }
    assert grants == {
        f"team:{team.id}:{member.role}:user:{member.user.id}"
        for team in acme.teams
        for member in team.members
    }


@pytest.mark.parametrize("organization", ["acme", "umbrella", "vacant"])
def test_no_grant_dangles_and_no_id_stands_twice(baton: Path, organization: str) -> None:
    resources = {
        (r["resource"]["id"]["resourceType"], r["resource"]["id"]["resource"])
        for r in read(baton, organization, "resources")
    }
    entitlements = {e["entitlement"]["id"] for e in read(baton, organization, "entitlements")}
    grants = read(baton, organization, "grants")
    assert len(resources) == len(read(baton, organization, "resources"))
    assert len(entitlements) == len(read(baton, organization, "entitlements"))
    assert len({g["grant"]["id"] for g in grants}) == len(grants)
    for output in grants:
        grant = output["grant"]
        principal = output["principal"]["id"]
        assert output["entitlement"]["id"] in entitlements
        assert (principal["resourceType"], principal["resource"]) in resources
        assert grant["id"] == (
            f"{output['entitlement']['id']}:{principal['resourceType']}:{principal['resource']}"
        )
        assert output["resource"] == output["entitlement"]["resource"]
        for source in grant.get("sources", {}).get("sources", {}):
            assert source in entitlements


def test_a_teams_grant_expands_to_the_grants_of_its_members(
    baton: Path, synced: tuple[Sandbox, Path]
) -> None:
    acme = synced[0].organizations["acme"]
    web = acme.pipelines["web"]
    team = next(team for team in acme.teams if team.name == "Web")
    grants = {g["grant"]["id"]: g["grant"] for g in read(baton, "acme", "grants")}
    level = f"pipeline:{web.id}:manage_build_and_read"
    [expandable] = grants[f"{level}:team:{team.id}"]["annotations"]
    assert expandable == {
        "@type": "type.googleapis.com/c1.connector.v2.GrantExpandable",
        "entitlementIds": [f"team:{team.id}:member", f"team:{team.id}:maintainer"],
        "shallow": True,
        "resourceTypeIds": ["user"],
    }
    for member in team.members:
        derived = grants[f"{level}:user:{member.user.id}"]
        assert derived["annotations"] == [
            {"@type": "type.googleapis.com/c1.connector.v2.GrantImmutable"}
        ]
        assert f"team:{team.id}:{member.role}" in derived["sources"]["sources"]


def test_administrators_hold_every_pipeline_through_the_organization(
    baton: Path, synced: tuple[Sandbox, Path]
) -> None:
    umbrella = synced[0].organizations["umbrella"]
    [site] = umbrella.pipelines.values()
    administrator, member = (m.user for m in umbrella.members)
    grants = {g["grant"]["id"] for g in read(baton, "umbrella", "grants")}
    organization = f"organization:{umbrella.id}"
    assert grants == {
        f"{organization}:admin:user:{administrator.id}",
        f"{organization}:member:user:{member.id}",
        f"pipeline:{site.id}:manage_build_and_read:{organization}",
        f"pipeline:{site.id}:manage_build_and_read:user:{administrator.id}",
    }


def test_the_csv_has_batons_columns_and_a_row_for_each_thing(baton: Path) -> None:
    with (baton / "acme" / "baton.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == CSV_HEADER
    by_type = {
        kind: [row for row in rows if row["Type"] == kind]
        for kind in ("Identity", "Entitlement", "Grant")
    }
    assert sum(map(len, by_type.values())) == len(rows)
    assert len(by_type["Identity"]) == 40
    assert len(by_type["Entitlement"]) == len(read(baton, "acme", "entitlements"))
    users = {row["User ID"] for row in by_type["Identity"]}
    entitlements = {row["Entitlement"] for row in by_type["Entitlement"]}
    for row in by_type["Grant"]:
        assert row["User ID"] in users
        assert row["Entitlement"] in entitlements
    alma = next(row for row in by_type["Identity"] if row["First Name"] == "Alma")
    assert (alma["Last Name"], alma["User Status"], alma["Email Address"]) == (
        "Abel",
        "Enabled",
        "alma.abel@acme.example",
    )


def test_a_review_has_each_member_with_each_pipeline_and_can_be_checked(
    synced: tuple[Sandbox, Path], tmp_path: Path
) -> None:
    sandbox, warehouse = synced
    acme = sandbox.organizations["acme"]
    folder = export_review(warehouse, "acme", tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {entry["name"]: entry for entry in manifest["files"]}
    on_disk = {str(p.relative_to(folder)) for p in folder.rglob("*.csv")}
    assert set(listed) == on_disk
    assert len(on_disk) == 2 + len(acme.teams)
    for name, entry in listed.items():
        body = (folder / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(body).hexdigest()
        assert entry["rows"] == len(list(csv.reader(body.decode().splitlines()))) - 1
    for team in acme.teams:
        assert listed[f"teams/{team.slug}.csv"]["rows"] == len(team.members) * len(team.pipelines)
    snapshot = manifest["snapshot"]
    assert snapshot["is_administrator"] is True
    assert snapshot["token_email"] == "alma.abel@acme.example"
    assert (snapshot["members"], snapshot["teams"]) == (40, 8)
    with (folder / "teams" / "data.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["access_level"] for row in rows} == {"BUILD_AND_READ"}
    assert all("team_without_maintainer" in row["findings"].split() for row in rows)


def test_a_review_of_an_unknown_organization_says_so(
    synced: tuple[Sandbox, Path], tmp_path: Path
) -> None:
    with pytest.raises(UnknownOrganizationError, match="nobody"):
        export_review(synced[1], "nobody", tmp_path)


def test_a_name_that_a_spreadsheet_would_run_is_text(
    synced: tuple[Sandbox, Path], tmp_path: Path
) -> None:
    with connect(synced[1]) as connection:
        connection.execute("ATTACH ? AS copy", [str(tmp_path / "odd.duckdb")])
        connection.execute("COPY FROM DATABASE buildkite TO copy")
        connection.execute("UPDATE copy.organization_members_history SET name = '=1+1'")
    folder = export_review(tmp_path / "odd.duckdb", "acme", tmp_path)
    text = (folder / "administrators.csv").read_text()
    assert ""","'=1+1",""" in text


def test_no_slug_leads_out_of_the_folder(synced: tuple[Sandbox, Path], tmp_path: Path) -> None:
    warehouse, out = tmp_path / "odd.duckdb", tmp_path / "a" / "b" / "out"
    odd = ["../../../x", "a/b", "\0", "s" * 300, "CON", "nul.txt", "team", "TEAM"]
    with connect(synced[1]) as connection:
        connection.execute("ATTACH ? AS copy", [str(warehouse)])
        connection.execute("COPY FROM DATABASE buildkite TO copy")
        connection.execute("UPDATE copy.organizations SET slug = '../../' || slug")
        for slug, (team_id,) in zip(
            odd,
            connection.execute("SELECT DISTINCT team_id FROM teams LIMIT 8").fetchall(),
            strict=True,
        ):
            connection.execute(
                "UPDATE copy.teams_history SET slug = ? WHERE team_id = ?", [slug, team_id]
            )
    folder = export_review(warehouse, "../../acme", out)
    folders = export_baton(warehouse, out)
    assert {each.parent for each in (folder, *folders)} == {out}
    assert len({each.name for each in folders}) == 3
    names = {path.name.lower() for path in (folder / "teams").iterdir()}
    assert len(names) == 8
    assert names.isdisjoint({"con.csv", "nul.txt.csv", "team.csv"})
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a", warehouse]


def test_the_command_line_writes_both(
    synced: tuple[Sandbox, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(synced[1]))
    baton = CliRunner().invoke(main, ["export", "baton", "--out", str(tmp_path / "baton")])
    assert baton.exit_code == 0, baton.output
    assert (tmp_path / "baton" / "acme" / "grants.json").exists()
    arguments = ["export", "review", "--organization", "acme", "--out", str(tmp_path)]
    review = CliRunner().invoke(main, arguments)
    assert review.exit_code == 0, review.output
    arguments[3] = "nobody"
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1
    assert "No snapshot of access of nobody is known" in refused.output


def test_a_folder_to_write_to_may_stand_in_the_home_folder(
    synced: tuple[Sandbox, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(synced[1]))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export", "baton", "--out=~/x"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "x" / "acme" / "grants.json").exists()
    assert not (tmp_path / "~").exists()
    assert CliRunner().invoke(main, ["export", "baton", "--out=~nobody-of-it/x"]).exit_code == 2


@pytest.mark.parametrize("what", ["baton", "review --organization acme"])
def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    what: str, synced: tuple[Sandbox, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDKITE_WAREHOUSE", str(synced[1]))
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    done = CliRunner().invoke(main, ["export", *what.split(), "--out", str(out)])
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"Error: {out}")
    assert "could not be written: Not a directory" in line

"""Snapshots of access, from the API to the tables of the present."""

import dagster as dg
import duckdb
import pytest
from starlette.requests import Request
from starlette.responses import Response

from buildkite_assets.assets.failures import ExpectedFailure
from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.model import TeamMember

from .conftest import Lab

HISTORIES = (
    "organization_members_history",
    "teams_history",
    "team_members_history",
    "team_pipelines_history",
    "access_syncs",
)


def test_the_tables_hold_what_the_administrator_sees(lab: Lab, acme: Organization) -> None:
    secret = acme.add_team("Secret", privacy="secret")
    ada, max_ = (member.user for member in acme.members)
    acme.add_team_member(secret, max_, role="maintainer")
    acme.set_team_pipeline(secret, "web", "manage_build_and_read")
    lab.sync()
    assert lab.rows("SELECT name, email, role, sso_mode FROM organization_members ORDER BY 1") == [
        ("Ada Admin", "ada.admin@acme.example", "ADMIN", "REQUIRED"),
        ("Max Member", "max.member@acme.example", "MEMBER", "REQUIRED"),
    ]
    assert lab.rows("SELECT slug, name, privacy, is_default_team FROM teams ORDER BY 1") == [
        ("everyone", "Everyone", "VISIBLE", True),
        ("secret", "Secret", "SECRET", False),
    ]
    assert lab.rows("""
        SELECT slug, user_id::VARCHAR, role FROM team_members JOIN teams USING (team_id)
        ORDER BY slug, role, user_id
    """) == [
        *sorted([("everyone", ada.id, "MEMBER"), ("everyone", max_.id, "MEMBER")]),
        ("secret", max_.id, "MAINTAINER"),
    ]
    assert lab.rows("""
        SELECT teams.slug, pipelines.slug, access_level, access_rank
        FROM team_pipelines JOIN teams USING (team_id) JOIN pipelines USING (pipeline_id)
        ORDER BY 1
    """) == [
        ("everyone", "web", "BUILD_AND_READ", 2),
        ("secret", "web", "MANAGE_BUILD_AND_READ", 3),
    ]


def test_a_token_without_read_teams_has_the_members_and_says_what_it_lacks(
    lab: Lab, acme: Organization
) -> None:
    result = lab.sync(lab.sandbox.tokens.without_read_teams)
    assert len(lab.rows("FROM organization_members")) == len(acme.members)
    assert lab.rows("FROM teams") == []
    assert lab.rows(
        "SELECT members, teams, sees_all_members, sees_all_teams FROM access_syncs"
    ) == [(2, None, True, False)]
    assert {
        event.asset_key.path[-1]
        for event in result.get_asset_observation_events()
        if event.asset_key
    } == {"teams", "team_members", "team_pipelines"}
    assert {
        event.asset_key.path[-1]
        for event in result.get_asset_materialization_events()
        if event.asset_key
    } == {"access_syncs", "organization_members"}
    [reason] = {
        event.asset_observation_data.asset_observation.description
        for event in result.get_asset_observation_events()
    }
    assert reason == (
        "acme: teams, team_members, team_pipelines skipped: "
        "the token lacks the scope read_teams. Add it to have them."
    )


def test_each_snapshot_tells_whose_token_it_was_and_what_it_saw(
    lab: Lab, acme: Organization
) -> None:
    everyone = acme.teams[0]
    acme.add_team("Secret", privacy="secret")
    lab.sync(lab.sandbox.tokens.member)
    lab.sync()
    tokens = lab.sandbox.tokens
    assert lab.rows("""
        SELECT token_id::VARCHAR, token_email, 'read_teams' IN token_scopes, is_administrator,
               sees_all_members, sees_all_teams, members, teams, team_members, team_pipelines,
               requests, listed_team_ids[1]::VARCHAR
        FROM access_syncs ORDER BY started_at
    """) == [
        (
            tokens.member.uuid,
            "max.member@acme.example",
            True,
            False,
            False,
            False,
            2,
            1,
            2,
            1,
            5,
            everyone.id,
        ),
        (
            tokens.administrator.uuid,
            "ada.admin@acme.example",
            True,
            True,
            True,
            True,
            2,
            2,
            2,
            1,
            7,
            everyone.id,
        ),
    ]


def test_emails_are_hashed_where_the_setting_says_so(lab: Lab, acme: Organization) -> None:
    lab.environment = {"BUILDKITE_EMAILS": "hashed", "BUILDKITE_EMAIL_KEY": "0123456789abcdef"}
    lab.sync()
    stored = lab.rows("""
        SELECT email FROM organization_members UNION ALL SELECT token_email FROM access_syncs
    """)
    assert len(stored) == len(acme.members) + 1
    assert all(len(email) == 64 and "@" not in email for (email,) in stored)


def test_a_team_deleted_while_it_is_listed_is_left_out(lab: Lab, acme: Organization) -> None:
    doomed = acme.add_team("Doomed")
    acme.add_team_member(doomed, acme.members[0].user)

    def delete_first(request: Request) -> None:
        if request.url.path.endswith(f"/teams/{doomed.id}/members") and doomed in acme.teams:
            acme.delete_team(doomed)

    lab.sandbox.faults = delete_first
    lab.sync()
    assert lab.rows("SELECT slug FROM teams") == [("everyone",)]
    assert lab.rows("SELECT teams, sees_all_teams FROM access_syncs") == [(1, True)]


def test_a_team_whose_lists_are_missing_although_it_is_there_stays_as_it_was(
    lab: Lab, acme: Organization
) -> None:
    lab.sync()
    acme.add_team("Another")

    def lose(request: Request) -> Response | None:
        if "/teams/" in request.url.path:
            return Response('{"message": "No organization found"}', 404)
        return None

    lab.sandbox.faults = lose
    lab.sync()
    lab.sandbox.faults = None
    assert lab.rows("SELECT slug FROM teams ORDER BY slug") == [("another",), ("everyone",)]
    assert len(lab.rows("FROM team_members")) == 2
    assert len(lab.rows("FROM team_pipelines")) == 1
    assert lab.rows("SELECT sees_all_teams FROM access_syncs ORDER BY started_at") == [
        (True,),
        (False,),
    ]


def test_a_team_whose_lists_fail_keeps_nothing_of_other_teams(lab: Lab, acme: Organization) -> None:
    user = acme.members[0].user
    failing, revoked, deleted = (acme.add_team(name) for name in ("Failing", "Revoked", "Deleted"))
    for team in (failing, revoked, deleted):
        acme.add_team_member(team, user)
        acme.set_team_pipeline(team, "web", "read_only")
    lab.sync()
    revoked.pipelines.clear()
    acme.remove_team_member(revoked, user)
    acme.delete_team(deleted)
    acme.remove_team_member(failing, user)

    def refuse(request: Request) -> Response | None:
        if request.url.path.endswith(f"/teams/{failing.id}/pipelines"):
            return Response('{"message": "Not now"}', 422)
        return None

    lab.sandbox.faults = refuse
    lab.sync()
    lab.sandbox.faults = None
    of_teams = "SELECT slug FROM {} JOIN teams USING (team_id) WHERE slug != 'everyone'"
    assert lab.rows("SELECT slug FROM teams WHERE slug = 'deleted'") == []
    assert lab.rows(of_teams.format("team_pipelines")) == [("failing",)]
    assert lab.rows(of_teams.format("team_members")) == [("failing",)]
    lab.sync()
    assert lab.rows(of_teams.format("team_members")) == []


def test_an_interrupted_snapshot_changes_nothing(lab: Lab, acme: Organization) -> None:
    lab.sync()
    before = [lab.rows(f"FROM {table} ORDER BY ALL") for table in HISTORIES]
    teams = [acme.add_team(f"Team {n}") for n in range(20)]
    acme.remove_member(acme.members[1].user)

    def expire(request: Request) -> Response | None:
        if request.url.path.endswith(f"/teams/{teams[15].id}/pipelines"):
            return Response('{"message": "Authentication required"}', 401)
        return None

    lab.sandbox.faults = expire
    with pytest.raises(ExpectedFailure, match="answered 401"):
        lab.sync()
    assert [lab.rows(f"FROM {table} ORDER BY ALL") for table in HISTORIES] == before


def test_a_level_that_is_not_known_is_kept_as_it_is_without_a_rank(
    lab: Lab, acme: Organization
) -> None:
    acme.teams[0].pipelines[0].access_level = "read"  # type: ignore[assignment] # as docs once show
    lab.sync()
    assert lab.rows("SELECT access_level, access_rank FROM team_pipelines") == [("READ", None)]


def test_without_listed_organizations_it_says_what_to_do(lab: Lab) -> None:
    with pytest.raises(dg.Failure, match="materialize the asset organizations"):
        lab.run("access_job")


def test_a_large_organization_takes_two_requests_per_team_and_three_and_one_per_further_100_rows(
    lab: Lab, acme: Organization
) -> None:
    acme.teams.clear()
    users = [acme.add_user(f"Person {n}") for n in range(998)]
    slugs = [acme.add_pipeline(f"pipeline-{n}").slug for n in range(400)]
    teams = [acme.add_team(f"Team {n}") for n in range(250)]
    teams[0].members = [TeamMember(user, "member", lab.clock()) for user in users[:500]]
    for n, team in enumerate(teams):
        if n:
            size = 19 if n > 231 else 18
            chosen = [users[(n * 31 + k) % len(users)] for k in range(size)]
            team.members = [TeamMember(user, "member", lab.clock()) for user in chosen]
        for k in range(40):
            acme.set_team_pipeline(team, slugs[(n * 7 + k) % len(slugs)], "build_and_read")
    lab.run("catalog_job")
    lab.sandbox.requests.clear()
    lab.run("access_job")
    further = 9 + 2 + 4  # of members, of teams, and of the members of the first team
    once_more = 10 + 3 + 5  # the first time, long lists are read twice: nothing of them is known
    assert len(lab.sandbox.requests) == 2 * 250 + 3 + further + once_more
    lab.clock.move(hours=1)
    lab.sandbox.requests.clear()
    lab.run("access_job")
    assert len(lab.sandbox.requests) == 2 * 250 + 3 + further
    counts = lab.rows(
        "SELECT members, team_members, team_pipelines, requests FROM access_syncs ORDER BY ALL"
    )
    assert counts == [
        (1000, 5000, 10_000, 2 * 250 + 3 + further),
        (1000, 5000, 10_000, 2 * 250 + 3 + further + once_more),
    ]


def test_the_present_can_be_read_in_the_published_file_under_any_name(
    lab: Lab, acme: Organization
) -> None:
    lab.sync()
    acme.delete_team(acme.teams[0])
    acme.add_team("Next")
    lab.sync()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{lab.path}' AS elsewhere (READ_ONLY)")
        connection.execute("CREATE TABLE teams_history (slug VARCHAR, valid_to TIMESTAMP)")
        assert connection.execute("SELECT slug FROM elsewhere.teams").fetchall() == [("next",)]


def test_who_people_are_is_in_no_event_of_a_run(lab: Lab, acme: Organization) -> None:
    ada = acme.members[0].user
    author = {"username": "adal", "name": ada.name, "email": ada.email}
    acme.create_build("web", creator=ada, author=author)
    day = f"{lab.clock.now:%Y-%m-%d}"
    lab.environment = {"BUILDKITE_START_DATE": day}
    acme.add_user("Alone Admin", role="admin")
    lab.sync()
    lab.read_day(day)
    lab.run("derived_whole_job")
    events = "\n".join(
        repr(record)
        for run in lab.instance.get_runs()
        for record in lab.instance.all_logs(run.run_id)
    )
    assert "access_findings" in events
    for word in (ada.name, ada.email, "adal", "Alone Admin", "max.member"):
        assert word not in events


def test_a_throttled_snapshot_waits_and_is_whole(lab: Lab, acme: Organization) -> None:
    acme.add_team("Another")
    refusals = iter(range(3))

    def throttle(request: Request) -> Response | None:
        if "/teams/" in request.url.path and next(refusals, None) is not None:
            return Response('{"message": "Please wait", "scope": "rest", "reset": 1}', 429)
        return None

    lab.sandbox.faults = throttle
    lab.sync()
    assert next(refusals, None) is None
    assert lab.rows("SELECT teams, team_members FROM access_syncs") == [(2, 2)]

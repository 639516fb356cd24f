"""What happens to access in practice, case by case."""

from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.model import Team, User

from .conftest import Lab

EFFECTIVE = """
    SELECT members.name, pipelines.slug, access.access_rank
    FROM effective_pipeline_access AS access
    LEFT JOIN (
        SELECT user_id, arg_max(name, valid_from) AS name
        FROM organization_members_history GROUP BY ALL
    ) AS members USING (user_id)
    LEFT JOIN pipelines USING (pipeline_id)
    ORDER BY ALL
"""
CHANGES = """
    SELECT object_type, change_type, before, after, cause
    FROM access_changes ORDER BY ALL
"""


def people(acme: Organization) -> tuple[User, User]:
    """The administrator and the member that the sandbox begins with."""
    administrator, member = (member.user for member in acme.members)
    return administrator, member


def team_with(acme: Organization, name: str, level: str, *users: User) -> Team:
    """A team of these users with a level on `web`."""
    team = acme.add_team(name)
    for user in users:
        acme.add_team_member(team, user)
    acme.set_team_pipeline(team, "web", level)  # type: ignore[arg-type] # text of the test
    return team


def test_who_is_removed_loses_all_access_by_leaving(lab: Lab, acme: Organization) -> None:
    lab.sync()
    acme.remove_member(people(acme)[1])
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == [
        ("effective_pipeline_access", "revoked", "BUILD_AND_READ", None, "left"),
        ("organization_member", "revoked", "MEMBER", None, "left"),
        ("team_member", "revoked", "MEMBER", None, "left"),
    ]
    assert lab.rows(
        "SELECT name, valid_to IS NULL FROM organization_members_history ORDER BY 1"
    ) == [
        ("Ada Admin", True),
        ("Max Member", False),
    ]


def test_who_is_in_a_team_but_no_longer_a_member_keeps_the_path_and_is_a_placeholder(
    lab: Lab, acme: Organization
) -> None:
    member = people(acme)[1]
    acme.members = [m for m in acme.members if m.user is not member]
    lab.sync()
    lab.derive()
    assert lab.rows(EFFECTIVE) == [("Ada Admin", "web", 3), (None, "web", 2)]
    assert lab.rows("SELECT resource_id, display_name FROM resources WHERE is_placeholder") == [
        (member.id, member.id)
    ]


def test_a_renamed_team_is_the_same_team_and_its_slug_may_be_anothers(
    lab: Lab, acme: Organization
) -> None:
    lab.sync()
    [everyone] = acme.teams
    everyone.name, everyone.slug = "All of us", "all"
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == []
    assert lab.rows(
        "SELECT slug, count(DISTINCT team_id) FROM teams_history GROUP BY 1 ORDER BY 1"
    ) == [
        ("all", 1),
        ("everyone", 1),
    ]
    acme.add_team("Everyone")
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == [("team", "granted", None, "team", "team_created")]
    assert len(lab.rows("FROM teams")) == 2


def test_an_email_change_is_no_change_of_access(lab: Lab, acme: Organization) -> None:
    lab.sync()
    people(acme)[1].email = "other@acme.example"
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == []
    assert ("other@acme.example",) in lab.rows("SELECT email FROM organization_members")


def test_a_deleted_team_takes_access_only_from_whom_it_alone_gave_it(
    lab: Lab, acme: Organization
) -> None:
    member = people(acme)[1]
    other = acme.add_user("Otto Other")
    doomed = team_with(acme, "Doomed", "build_and_read", member, other)
    lab.sync()
    acme.delete_team(doomed)
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == [
        ("effective_pipeline_access", "revoked", "BUILD_AND_READ", None, "team_deleted"),
        ("team", "revoked", "team", None, "team_deleted"),
        ("team_member", "revoked", "MEMBER", None, "team_deleted"),
        ("team_member", "revoked", "MEMBER", None, "team_deleted"),
        ("team_pipeline", "revoked", "BUILD_AND_READ", None, "team_deleted"),
    ]
    assert lab.rows(
        "SELECT user_id::VARCHAR FROM access_changes WHERE object_type LIKE 'effective%'"
    ) == [(other.id,)]


def test_the_highest_level_counts_and_every_path_is_kept(lab: Lab, acme: Organization) -> None:
    member = people(acme)[1]
    team_with(acme, "Readers", "read_only", member)
    team_with(acme, "Managers", "manage_build_and_read", member)
    lab.sync()
    lab.derive()
    assert lab.rows(f"""
        SELECT access_level, is_only_through_default_team, is_administrator, is_complete,
            [path.team_slug || ' ' || path.access_level FOR path IN paths]
        FROM effective_pipeline_access WHERE user_id = '{member.id}'
    """) == [  # noqa: S608 - an id of the sandbox
        (
            "MANAGE_BUILD_AND_READ",
            False,
            False,
            True,
            [
                "managers MANAGE_BUILD_AND_READ",
                "everyone BUILD_AND_READ",
                "readers READ_ONLY",
            ],
        )
    ]
    assert lab.rows("""
        SELECT evidence->>'team', evidence->>'count' FROM access_findings
        WHERE rule_id = 'redundant_path'
    """) == [("readers", "1")]


def test_a_role_or_a_level_that_changes_is_one_change(lab: Lab, acme: Organization) -> None:
    member = people(acme)[1]
    everyone = acme.teams[0]
    lab.sync()
    acme.add_team_member(everyone, member, role="maintainer")
    acme.set_team_pipeline(everyone, "web", "read_only")
    acme.members[1].role = "admin"
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == [
        (
            "effective_pipeline_access",
            "raised",
            "BUILD_AND_READ",
            "MANAGE_BUILD_AND_READ",
            "role_changed",
        ),
        ("organization_member", "role_changed", "MEMBER", "ADMIN", "role_changed"),
        ("team_member", "role_changed", "MEMBER", "MAINTAINER", "role_changed"),
        ("team_pipeline", "lowered", "BUILD_AND_READ", "READ_ONLY", "level_changed"),
    ]


def test_an_administrator_has_the_highest_level_everywhere(lab: Lab, acme: Organization) -> None:
    acme.set_team_pipeline(acme.teams[0], "web", "read_only")
    acme.add_pipeline("nobodys")
    acme.add_user("Alone Admin", role="admin")
    lab.sync()
    lab.derive()
    assert lab.rows(EFFECTIVE) == [
        ("Ada Admin", "nobodys", 3),
        ("Ada Admin", "web", 3),
        ("Alone Admin", "nobodys", 3),
        ("Alone Admin", "web", 3),
        ("Max Member", "web", 1),
    ]


def test_without_teams_administrators_have_it_all_and_others_levels_are_unknown(
    lab: Lab, acme: Organization
) -> None:
    lab.sync()
    acme.teams_enabled = False
    lab.sync()
    lab.derive()
    assert lab.rows(EFFECTIVE) == [("Ada Admin", "web", 3), ("Max Member", "web", None)]
    assert lab.rows("SELECT DISTINCT are_teams_unknown FROM effective_pipeline_access") == [(True,)]
    assert lab.rows(CHANGES) == [
        ("organization", "teams_toggled", "enabled", "disabled or none", "teams_toggled")
    ]
    acme.teams_enabled = True
    lab.sync()
    lab.derive()
    assert lab.rows(EFFECTIVE) == [("Ada Admin", "web", 3), ("Max Member", "web", 2)]
    assert lab.rows("SELECT DISTINCT change_type FROM access_changes") == [("teams_toggled",)]
    assert len(lab.rows(CHANGES)) == 2


def test_a_snapshot_that_sees_less_ends_nothing_that_it_could_not_see(
    lab: Lab, acme: Organization
) -> None:
    secret = acme.add_team("Secret", privacy="secret")
    acme.add_team_member(secret, people(acme)[0])
    acme.set_team_pipeline(secret, "web", "manage_build_and_read")
    lab.sync()
    lab.sync(lab.sandbox.tokens.member)
    lab.sync(lab.sandbox.tokens.without_read_teams)
    lab.derive()
    assert lab.rows("SELECT slug FROM teams ORDER BY 1") == [("everyone",), ("secret",)]
    assert lab.rows(CHANGES) == []
    assert lab.rows("SELECT role, sso_mode FROM organization_members ORDER BY 1") == [
        ("ADMIN", "REQUIRED"),
        ("MEMBER", "REQUIRED"),
    ]
    assert lab.rows("SELECT status FROM access_findings WHERE rule_id = 'secret_teams_unseen'") == [
        ("open",)
    ]


def test_what_an_administrator_is_the_first_to_see_is_no_change(
    lab: Lab, acme: Organization
) -> None:
    member = people(acme)[1]
    secret = team_with(acme, "Secret", "manage_build_and_read", people(acme)[0])
    secret.privacy = "secret"
    lab.sync(lab.sandbox.tokens.member)
    lab.derive()
    assert lab.rows("SELECT DISTINCT is_complete FROM effective_pipeline_access") == [(False,)]
    acme.remove_team_member(acme.teams[0], member)
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == [
        ("effective_pipeline_access", "revoked", "BUILD_AND_READ", None, "left_team"),
        ("team_member", "revoked", "MEMBER", None, "left_team"),
    ]


def test_a_change_lies_between_the_snapshots_that_saw_before_and_after(
    lab: Lab, acme: Organization
) -> None:
    lab.sync()
    lab.sync()
    acme.set_team_pipeline(acme.teams[0], "web", "read_only")
    lab.sync()
    lab.derive()
    assert lab.rows("""
        SELECT DISTINCT window_start::VARCHAR, window_end::VARCHAR, changed_at::VARCHAR
        FROM access_changes
    """) == [("2025-03-03 14:00:00", "2025-03-03 15:00:00", "2025-03-03 15:00:00")]


def test_an_archived_pipeline_keeps_its_grants_and_leaves_the_findings(
    lab: Lab, acme: Organization
) -> None:
    acme.add_pipeline("old")
    acme.set_team_pipeline(acme.teams[0], "web", "manage_build_and_read")
    lab.sync()
    lab.derive()
    found = """
        SELECT rule_id, evidence->>'pipeline', status FROM access_findings
        WHERE rule_id IN ('pipeline_without_team', 'default_team_manages') ORDER BY 1
    """
    assert lab.rows(found) == [
        ("default_team_manages", "web", "open"),
        ("pipeline_without_team", "old", "open"),
    ]
    lab.clock.move(minutes=30)
    acme.archive_pipeline("old")
    acme.archive_pipeline("web")
    lab.sync()
    lab.derive()
    assert lab.rows(found) == [
        ("default_team_manages", "web", "resolved"),
        ("pipeline_without_team", "old", "resolved"),
    ]
    assert ("Max Member", "web", 3) in lab.rows(EFFECTIVE)


def test_a_deleted_pipeline_is_the_cause_of_what_it_takes_along(
    lab: Lab, acme: Organization
) -> None:
    lab.sync()
    acme.delete_pipeline("web")
    lab.sync()
    lab.derive()
    assert lab.rows(CHANGES) == [
        ("effective_pipeline_access", "revoked", "BUILD_AND_READ", None, "pipeline_deleted"),
        ("team_pipeline", "revoked", "BUILD_AND_READ", None, "pipeline_deleted"),
    ]
    assert lab.rows(EFFECTIVE) == []


def test_a_level_that_is_not_known_gives_no_level_and_no_grant(
    lab: Lab, acme: Organization
) -> None:
    acme.teams[0].pipelines[0].access_level = "read"  # type: ignore[assignment] # as docs once show
    lab.sync()
    lab.derive()
    assert lab.rows(EFFECTIVE) == [("Ada Admin", "web", 3), ("Max Member", "web", None)]
    assert lab.rows("SELECT * FROM grants WHERE principal_resource_type_id = 'team'") == []


def test_before_the_first_snapshot_nothing_is_evaluated(lab: Lab) -> None:
    lab.run("catalog_job")
    lab.derive()
    assert lab.rows("SELECT DISTINCT status FROM access_findings") == [("not_evaluated",)]
    assert len(lab.rows("FROM access_findings")) == 12
    assert lab.rows("FROM effective_pipeline_access") == []


def test_only_people_known_to_buildkite_use_access(lab: Lab, acme: Organization) -> None:
    """A schedule has no creator, and a commit's author may be unknown: neither counts."""
    member = people(acme)[1]
    acme.create_build("web", creator=None)
    lab.clock.move(hours=1)
    day = f"{lab.clock.now:%Y-%m-%d}"
    lab.environment = {"BUILDKITE_START_DATE": day}
    lab.sync()
    lab.read_day(day)
    lab.derive()
    usage = f"""
        SELECT recent_builds_created, is_never_used, last_used_at IS NULL
        FROM pipeline_access_usage WHERE user_id = '{member.id}'
    """  # noqa: S608 - an id of the sandbox
    assert lab.rows(usage) == [(0, True, True)]
    acme.create_build("web", creator=member)
    lab.sync()
    lab.read_day(day)
    lab.derive()
    assert lab.rows(usage) == [(1, False, False)]


def test_without_builds_it_is_not_known_whether_access_is_used(lab: Lab) -> None:
    lab.sync()
    lab.derive()
    assert lab.rows(
        "SELECT DISTINCT recent_builds_created, is_never_used FROM pipeline_access_usage"
    ) == [(None, None)]


def test_a_build_by_someone_whose_access_had_ended_is_found(lab: Lab, acme: Organization) -> None:
    member = people(acme)[1]
    day = f"{lab.clock.now:%Y-%m-%d}"
    lab.environment = {"BUILDKITE_START_DATE": day}
    lab.sync()
    acme.create_build("web", creator=member, source="ui")
    acme.remove_team_member(acme.teams[0], member)
    lab.sync()
    lab.clock.move(hours=1)
    acme.create_build("web", creator=member, source="webhook")
    lab.read_day(day)
    lab.derive()
    found = """
        SELECT user_id::VARCHAR, evidence->>'count' FROM access_findings
        WHERE rule_id = 'used_after_end'
    """
    assert lab.rows(found) == []
    acme.create_build("web", creator=member, source="ui")
    lab.read_day(day)
    lab.derive()
    assert lab.rows(found) == [(member.id, "1")]


def test_one_person_in_two_organizations_is_one_user_with_a_role_in_each(
    lab: Lab, acme: Organization
) -> None:
    ada, max_ = people(acme)
    other = Organization(
        "other", "Other", clock=lab.clock, lock=lab.sandbox.lock, created_at=lab.clock()
    )
    for user in (ada, max_):
        other.add_member(user, role="admin")
    other.add_pipeline("site")
    lab.sandbox.organizations["other"] = other
    for token in lab.sandbox.tokens:
        token.organizations = ("acme", "other")
    lab.sync()
    lab.derive()
    assert lab.rows(f"""
        SELECT organizations.slug, members.role, members.name
        FROM organization_members AS members JOIN organizations USING (organization_id)
        WHERE user_id = '{max_.id}' ORDER BY 1
    """) == [  # noqa: S608 - an id of the sandbox
        ("acme", "MEMBER", "Max Member"),
        ("other", "ADMIN", "Max Member"),
    ]
    assert lab.rows(EFFECTIVE)[2:] == [("Max Member", "site", 3), ("Max Member", "web", 2)]
    other.remove_member(max_)
    lab.sync()
    lab.derive()
    assert lab.rows(EFFECTIVE)[2:] == [("Max Member", "web", 2)]
    assert len(lab.rows(f"FROM organization_members WHERE user_id = '{max_.id}'")) == 1

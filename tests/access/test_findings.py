"""Findings over time: when each is first seen, and when it is over."""

from datetime import timedelta

from buildkite_assets.automation import CHANGES_JOB
from buildkite_assets.rules import Access, Rules
from buildkite_assets.sandbox import Organization

from .conftest import NOON, Lab
from .test_edge_cases import people, team_with


def test_access_that_is_old_and_was_not_used_is_dormant_until_it_is_used_or_taken_away(
    lab: Lab, acme: Organization
) -> None:
    lab.rules = Rules(access=Access(dormant_days=2))
    lab.environment = {"BUILDKITE_START_DATE": f"{NOON:%Y-%m-%d}"}
    found = """
        SELECT evidence->>'user', status, first_seen_at::VARCHAR, resolved_at::VARCHAR
        FROM access_findings WHERE rule_id = 'dormant_access' ORDER BY ALL
    """
    max_ = people(acme)[1]
    bea = acme.add_user("Bea Busy")
    builders = team_with(acme, "Builders", "build_and_read", max_, bea)

    def read(*days: int) -> None:
        for n in days:
            lab.read_day(f"{NOON + timedelta(days=n):%Y-%m-%d}")
        lab.derive()

    lab.sync()
    read(0)
    assert lab.rows(found) == [(None, "not_evaluated", None, None)]
    lab.clock.move(days=1)
    acme.create_build("web", creator=bea)
    lab.sync(days=1)
    read(1)
    assert lab.rows(found) == [("Max Member", "open", "2025-03-05 13:00:00", None)]
    lab.clock.move(hours=2)
    acme.create_build("web", creator=max_)
    read(2)
    used = ("Max Member", "resolved", "2025-03-05 13:00:00", "2025-03-05 15:00:00")
    assert lab.rows(found) == [used]
    lab.sync(days=2)
    read(3)
    assert lab.rows(found) == [
        ("Bea Busy", "open", "2025-03-07 15:00:00", None),
        ("Max Member", "open", "2025-03-07 15:00:00", None),
        used,
    ]
    acme.remove_team_member(builders, bea)
    acme.members[1].role = "admin"
    lab.sync()
    lab.derive()
    assert lab.rows(found) == [
        ("Bea Busy", "resolved", "2025-03-07 15:00:00", "2025-03-07 16:00:00"),
        ("Max Member", "resolved", "2025-03-05 13:00:00", "2025-03-05 15:00:00"),
        ("Max Member", "resolved", "2025-03-07 15:00:00", "2025-03-07 16:00:00"),
    ]


def test_a_day_of_builds_that_was_not_read_leaves_dormancy_unevaluated(
    lab: Lab, acme: Organization
) -> None:
    lab.rules = Rules(access=Access(dormant_days=2))
    lab.environment = {"BUILDKITE_START_DATE": f"{NOON:%Y-%m-%d}"}
    team_with(acme, "Builders", "build_and_read", people(acme)[1])
    lab.read_day(f"{NOON:%Y-%m-%d}")
    lab.sync(days=3)
    lab.read_day(f"{NOON + timedelta(days=2):%Y-%m-%d}")
    lab.derive()
    status = "SELECT status FROM access_findings WHERE rule_id = 'dormant_access'"
    assert lab.rows(status) == [("not_evaluated",)]
    known = "SELECT DISTINCT recent_days, recent_days_known FROM pipeline_access_usage"
    assert lab.rows(known) == [(2, 1)]
    lab.read_day(f"{NOON + timedelta(days=1):%Y-%m-%d}")
    lab.derive()
    assert lab.rows(status) == [("open",)]
    assert lab.rows(known) == [(2, 2)]


def test_days_that_change_feeds_brought_are_known_too(lab: Lab, acme: Organization) -> None:
    lab.rules = Rules(access=Access(dormant_days=2))
    lab.environment = {"BUILDKITE_START_DATE": f"{NOON:%Y-%m-%d}"}
    team_with(acme, "Builders", "build_and_read", people(acme)[1])
    lab.sync()
    lab.read_day(f"{NOON:%Y-%m-%d}")
    lab.run(CHANGES_JOB)
    status = "SELECT status FROM access_findings WHERE rule_id = 'dormant_access'"
    lab.sync(days=3)
    lab.derive()
    assert lab.rows(status) == [("not_evaluated",)]
    lab.run(CHANGES_JOB)
    lab.derive()
    assert lab.rows(status) == [("open",)]
    assert lab.rows("SELECT DISTINCT recent_days_known FROM pipeline_access_usage") == [(2,)]


def test_a_path_is_redundant_as_long_as_other_teams_give_as_much(
    lab: Lab, acme: Organization
) -> None:
    found = """
        SELECT evidence->>'user', evidence->>'team', evidence->>'count', status,
            first_seen_at::VARCHAR, resolved_at::VARCHAR
        FROM access_findings WHERE rule_id = 'redundant_path' ORDER BY first_seen_at
    """
    everyone = acme.teams[0]
    acme.add_pipeline("api")
    team_with(acme, "Readers", "read_only", people(acme)[1])
    lab.sync()
    lab.derive()
    assert lab.rows(found) == [("Max Member", "readers", "1", "open", "2025-03-03 13:00:00", None)]
    acme.set_team_pipeline(acme.teams[1], "api", "read_only")
    lab.sync()
    acme.set_team_pipeline(everyone, "api", "read_only")
    lab.sync()
    acme.members[1].role = "admin"
    lab.sync()
    lab.derive()
    assert lab.rows(found) == [
        ("Max Member", "readers", "1", "resolved", "2025-03-03 13:00:00", "2025-03-03 14:00:00"),
        ("Max Member", "readers", "2", "resolved", "2025-03-03 15:00:00", "2025-03-03 16:00:00"),
    ]


def test_an_archived_pipeline_makes_no_path_dormant_or_redundant(
    lab: Lab, acme: Organization
) -> None:
    team_with(acme, "Readers", "read_only", people(acme)[1])
    lab.clock.move(minutes=30)
    acme.archive_pipeline("web")
    lab.sync()
    lab.derive()
    assert lab.rows("FROM access_findings WHERE rule_id = 'redundant_path'") == []


def test_what_was_found_of_a_pipeline_ends_while_it_is_archived_and_begins_again_after(
    lab: Lab, acme: Organization
) -> None:
    """Archived at 13:30 and listed as back at 15:00: what was over in between stays so."""
    acme.set_team_pipeline(acme.teams[0], "web", "manage_build_and_read")
    acme.add_pipeline("old")
    found = """
        SELECT rule_id, status, first_seen_at::VARCHAR, resolved_at::VARCHAR
        FROM access_findings WHERE rule_id IN ('pipeline_without_team', 'default_team_manages')
        ORDER BY ALL
    """
    lab.sync()
    lab.clock.move(minutes=30)
    for slug in ("old", "web"):
        acme.archive_pipeline(slug)
    lab.sync(minutes=30)
    for slug in ("old", "web"):
        acme.pipelines[slug].archived_at = None
    acme.rename_pipeline("old", name="Old but in use")
    lab.sync()
    lab.derive()
    spells = [
        ("open", "2025-03-03 15:00:00", None),
        ("resolved", "2025-03-03 13:00:00", "2025-03-03 13:30:00"),
    ]
    assert lab.rows(found) == [
        (rule, *spell)
        for rule in ("default_team_manages", "pipeline_without_team")
        for spell in spells
    ]


def test_more_administrators_than_the_rules_allow_are_many(lab: Lab, acme: Organization) -> None:
    users = [acme.add_user(f"Admin {n}", role="admin") for n in range(4)]
    found = """
        SELECT status, evidence->>'count', first_seen_at::VARCHAR, resolved_at::VARCHAR
        FROM access_findings WHERE rule_id = 'many_administrators'
    """
    lab.sync()
    lab.derive()
    assert lab.rows(found) == []
    users.append(acme.add_user("Admin 5", role="admin"))
    lab.sync()
    lab.derive()
    assert lab.rows(found) == [("open", "6", "2025-03-03 14:00:00", None)]
    acme.remove_member(users[0])
    lab.sync()
    lab.derive()
    assert lab.rows(found) == [("resolved", "6", "2025-03-03 14:00:00", "2025-03-03 15:00:00")]
    lab.rules = Rules(access=Access(most_administrators=6))
    lab.derive()
    assert lab.rows(found) == []

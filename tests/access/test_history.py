"""History and coverage, against a model that keeps whole states."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import uuid4

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from starlette.requests import Request
from starlette.types import ASGIApp

from buildkite_assets.buildkite.access import read_access, token_in_use
from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.listings import every_item
from buildkite_assets.buildkite.records import Pipeline
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rows import Privacy, record_rows
from buildkite_assets.rules import Rules
from buildkite_assets.sandbox import Organization, Sandbox, serve
from buildkite_assets.snapshots import access_rows
from buildkite_assets.tables import PIPELINES
from buildkite_assets.warehouse.derive import derive_whole, in_order
from buildkite_assets.warehouse.history import merge_access
from buildkite_assets.warehouse.merge import mark_absent_records, merge_records
from buildkite_assets.warehouse.schema import upgrade

from .company import Life, Step, histories, unread_days
from .conftest import StandingClock
from .model import Known, Moment, changes, effective, learn, shown
from .rules import RULES, Builds, Use, findings

EVERYTHING = Privacy()


@dataclass
class World:
    """A served sandbox that many examples share, each with organizations of its own."""

    sandbox: Sandbox
    clock: StandingClock
    url: str
    examples: int = 0

    def found(self) -> list[Life]:
        """Two new organizations with two people in common; all tokens see just these."""
        self.examples += 1
        tokens = self.sandbox.tokens
        lives = []
        for name in ("first", "second"):
            organization = Organization(
                f"{name}-{self.examples}",
                name,
                clock=self.clock,
                lock=self.sandbox.lock,
                created_at=self.clock(),
            )
            organization.add_member(tokens.administrator.user, role="admin")
            organization.add_member(tokens.member.user)
            for slug in ("api", "web", "docs"):
                organization.add_pipeline(slug)
            everyone = organization.add_team("Everyone", default=True)
            for member in organization.members:
                organization.add_team_member(everyone, member.user)
            organization.set_team_pipeline(everyone, "web", "read_only")
            core = organization.add_team("Core")
            for user in (tokens.member.user, organization.add_user("Third")):
                organization.add_team_member(core, user, role="maintainer")
            for team in (everyone, core):
                organization.set_team_pipeline(team, "api", "build_and_read")
            self.sandbox.organizations[organization.slug] = organization
            lives.append(Life(organization))
        for token in tokens:
            token.organizations = tuple(life.organization.slug for life in lives)
        return lives


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Serve one sandbox for all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        clock = StandingClock()
        sandbox = Sandbox.empty(clock=clock)
        sandbox.limits.organization_limit = None
        sandbox.limits.user_limit = None
        with serve(sandbox) as server:
            yield World(sandbox, clock, server.url)


def live(
    world: World, lives: list[Life], step: Step, connection: duckdb.DuckDBPyConnection
) -> list[Moment]:
    """Let a step happen, and take its snapshots."""
    for event in step.events:
        lives[sum(event[1:]) % 2].happen(event)
    for who, which, tenth in step.uses:
        use_pipeline(world, lives[(who + which) % 2], (who, which), step.hours * tenth / 10)
    world.clock.move(hours=step.hours)
    at = world.clock()
    token = getattr(world.sandbox.tokens, step.token)
    moments = []
    with Client(world.url, token.value, clock=world.clock) as client:
        for life in lives:
            organization = life.organization
            _merge_pipelines(client, organization, connection)
            world.sandbox.faults = _deleting(organization, step.doomed)
            snapshot = read_access(client, organization.slug, token_in_use(client))
            world.sandbox.faults = None
            assert merge_access(
                connection, access_rows(organization.id, snapshot, EVERYTHING, None)
            )
            moments.append(
                Moment(
                    organization.id,
                    at.replace(tzinfo=None),
                    Known(),
                    any(m.user is token.user and m.role == "admin" for m in organization.members),
                    "read_teams" in token.scopes,
                    shown(organization, token),
                )
            )
    return moments


def use_pipeline(world: World, life: Life, dice: tuple[int, int], hours: float) -> None:
    """Have somebody who is there, or was, create a build so many hours from now."""
    people = [*(member.user for member in life.organization.members), *life.gone]
    pipelines = list(life.organization.pipelines.values())
    at = (world.clock() + timedelta(hours=hours)).replace(tzinfo=None)
    user, pipeline = people[dice[0] % len(people)], pipelines[dice[1] % len(pipelines)]
    life.uses.append(Use(user.id, pipeline.id, at))


def _deleting(
    organization: Organization, doomed: int | None
) -> Callable[[Request], ASGIApp | None] | None:
    """A hook that deletes a team when its members are asked for."""
    if doomed is None or not organization.teams:
        return None
    team = organization.teams[doomed % len(organization.teams)]

    def delete(request: Request) -> ASGIApp | None:
        if request.url.path.endswith(f"/teams/{team.id}/members") and team in organization.teams:
            organization.delete_team(team)
        return None

    return delete


def _merge_pipelines(
    client: Client, organization: Organization, connection: duckdb.DuckDBPyConnection
) -> None:
    pages = list(every_item(client, f"organizations/{organization.slug}/pipelines", Pipeline))
    rows = [
        record_rows(PIPELINES, page.body, page.at, EVERYTHING, organization_id=organization.id)
        for page in pages
    ]
    for table in rows:
        merge_records(connection, PIPELINES, table)
    mark_absent_records(connection, PIPELINES, organization.id, rows, pages[0].at)


@dataclass
class Lived:
    """An organization's past: what was known after each snapshot, and its builds."""

    timeline: list[Moment]
    builds: Builds


def lived(
    world: World, steps: list[Step], unread: int | None, connection: duckdb.DuckDBPyConnection
) -> list[Lived]:
    """Let all steps happen, and have all days of builds read except one, if any."""
    upgrade(connection)
    lives = world.found()
    first = world.clock().date()
    days = [first + timedelta(days=n) for n in range(-3, 15) if n != unread]
    for life in lives:
        connection.execute(
            "INSERT INTO organizations (organization_id, slug) VALUES (?, ?)",
            [life.organization.id, life.organization.slug],
        )
    timelines: list[list[Moment]] = [[], []]
    for step in steps:
        for timeline, moment in zip(timelines, live(world, lives, step, connection), strict=True):
            known = learn(
                timeline[-1].known if timeline else Known(),
                moment.shown,
                is_administrator=moment.is_administrator,
                lists_teams=moment.lists_teams,
            )
            timeline.append(replace(moment, known=known))
    for life in lives:
        _store_builds(connection, life, days)
    return [
        Lived(timeline, Builds(life.uses, days))
        for timeline, life in zip(timelines, lives, strict=True)
    ]


def _store_builds(connection: duckdb.DuckDBPyConnection, life: Life, days: list[date]) -> None:
    """Store the builds as of a commit: those by hand are another rule's."""
    organization_id = life.organization.id
    connection.execute(
        "INSERT INTO sync_days (organization_id, day) SELECT ?, unnest(?::DATE[])",
        [organization_id, days],
    )
    for use in life.uses:
        connection.execute(
            "INSERT INTO builds (build_id, organization_id, pipeline_id, creator_id, source, "
            "created_at) VALUES (?, ?, ?, ?, 'webhook', ?)",
            [uuid4(), organization_id, use.pipeline, use.user, use.at],
        )


STATES = {
    "members": (
        "organization_members_history",
        "[user_id::VARCHAR], [name, role, sso_mode]",
    ),
    "teams": (
        "teams_history",
        "[team_id::VARCHAR], [slug, name, privacy, is_default_team::VARCHAR]",
    ),
    "team_members": (
        "team_members_history",
        "[team_id::VARCHAR, user_id::VARCHAR], [role, created_at::VARCHAR]",
    ),
    "team_pipelines": (
        "team_pipelines_history",
        "[team_id::VARCHAR, pipeline_id::VARCHAR], [access_level, created_at::VARCHAR]",
    ),
}


@given(steps=histories, unread=unread_days)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_known_is_what_whole_states_tell(
    world: World, steps: list[Step], unread: int | None
) -> None:
    compare_with_whole_states(world, steps, unread)


def compare_with_whole_states(world: World, steps: list[Step], unread: int | None) -> None:
    """Let all steps happen to two organizations, and hold every table against the model."""
    parameters = Rules(access=RULES).parameters()
    with duckdb.connect(config={"threads": 1}) as connection:
        pasts = lived(world, steps, unread, connection)
        for table in in_order(derived_tables()):
            if table.group == "access_review":
                derive_whole(connection, table, derived_tables(), parameters)
        for past in pasts:
            timeline = past.timeline
            check_any_moment_is_one_where(connection, timeline)
            check_a_state_that_stays_is_one_row(connection, timeline)
            check_effective_access(connection, timeline)
            check_changes(connection, timeline)
            check_findings(connection, past)


def check_any_moment_is_one_where(
    connection: duckdb.DuckDBPyConnection, timeline: list[Moment]
) -> None:
    for moment in timeline:
        for kind, (table, columns) in STATES.items():
            found = connection.execute(
                f"""
                SELECT {columns} FROM {table}
                WHERE organization_id = $organization
                  AND valid_from <= $at AND (valid_to IS NULL OR valid_to > $at)
                """,  # noqa: S608 - names from the table above
                {"organization": moment.organization_id, "at": moment.at},
            ).fetchall()
            known = {tuple(key): tuple(values) for key, values in found}
            assert len(known) == len(found)
            assert known == {
                key: tuple(str(v).lower() if isinstance(v, bool) else v for v in values)
                for key, values in getattr(moment.known, kind).items()
            }


def check_a_state_that_stays_is_one_row(
    connection: duckdb.DuckDBPyConnection, timeline: list[Moment]
) -> None:
    for kind, (table, _) in STATES.items():
        states = [getattr(moment.known, kind) for moment in timeline]
        begun = sum(
            before.get(key) != values
            for before, after in zip([{}, *states], states, strict=False)
            for key, values in after.items()
        )
        [(rows,)] = connection.execute(
            f"SELECT count(*) FROM {table} WHERE organization_id = ?",  # noqa: S608 - as above
            [timeline[0].organization_id],
        ).fetchall()
        assert rows == begun


def check_effective_access(connection: duckdb.DuckDBPyConnection, timeline: list[Moment]) -> None:
    known = timeline[-1].known
    organization_id = timeline[0].organization_id
    found = connection.execute(
        """
        SELECT user_id::VARCHAR, pipeline_id::VARCHAR, access_rank,
            list_sort([path.team_id::VARCHAR FOR path IN paths IF path.via = 'team']),
            is_administrator, is_only_through_default_team, are_teams_unknown
        FROM effective_pipeline_access WHERE organization_id = ?
        """,
        [organization_id],
    ).fetchall()
    assert {(user, pipeline): rank for user, pipeline, rank, *_ in found} == effective(
        known, pipelines_of(connection, organization_id)
    )
    for user, pipeline, _, teams, is_administrator, is_only_default, are_unknown in found:
        assert teams == sorted(
            team
            for team, other in known.team_members
            if other == user and (team, pipeline) in known.team_pipelines
        )
        assert is_administrator == (known.members.get((user,), ("",) * 3)[1] == "ADMIN")
        assert are_unknown == (not known.teams)
        if not are_unknown:
            assert is_only_default == (
                not is_administrator and all(known.teams[team,][3] for team in teams)
            )


def check_changes(connection: duckdb.DuckDBPyConnection, timeline: list[Moment]) -> None:
    organization_id = timeline[0].organization_id
    found = connection.execute(
        """
        SELECT changed_at, object_type, user_id::VARCHAR, team_id::VARCHAR, pipeline_id::VARCHAR,
            change_type, before, after
        FROM access_changes WHERE organization_id = ?
        """,
        [organization_id],
    ).fetchall()
    assert len(found) == len(set(found))
    assert set(found) == changes(timeline, pipelines_of(connection, organization_id))
    [(odd,)] = connection.execute(
        """
        SELECT count(*) FROM access_changes
        WHERE cause = 'unknown' OR cause IS NULL OR window_start IS NULL
           OR window_start >= changed_at OR window_end < changed_at
        """
    ).fetchall()
    assert odd == 0


def check_findings(connection: duckdb.DuckDBPyConnection, past: Lived) -> None:
    organization_id = past.timeline[0].organization_id
    rows = connection.execute(
        """
        SELECT rule_id, status, user_id::VARCHAR, team_id::VARCHAR, pipeline_id::VARCHAR,
            first_seen_at, resolved_at
        FROM access_findings WHERE organization_id = ?
        """,
        [organization_id],
    ).fetchall()
    assert len(rows) == len(set(rows))
    pipelines = pipelines_of(connection, organization_id)
    assert set(rows) == findings(past.timeline, pipelines, past.builds)


def pipelines_of(connection: duckdb.DuckDBPyConnection, organization_id: str) -> list[str]:
    return [
        pipeline
        for (pipeline,) in connection.execute(
            "SELECT pipeline_id::VARCHAR FROM pipelines WHERE organization_id = ?",
            [organization_id],
        ).fetchall()
    ]

"""What a pipeline, a queue or a team was when a build was created counts for that build."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.listings import every_item
from buildkite_assets.buildkite.records import Pipeline
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.rows import Privacy, record_rows
from buildkite_assets.rules import Deployment, Rules
from buildkite_assets.sandbox import Organization, Sandbox, serve
from buildkite_assets.sandbox.model import Step
from buildkite_assets.tables import PIPELINES
from buildkite_assets.warehouse.derive import derive_days, in_order, inputs
from buildkite_assets.warehouse.merge import mark_absent_records, merge_records
from buildkite_assets.warehouse.schema import upgrade
from tests.served_history import START, ServedHistory, served_history
from tests.syncing import StandingClock, without_limits

from .history import History

Jobs = int | Sequence[Step]

DAY = START.date()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedHistory]:
    """Serve the organization acme, whose pipeline `web` has the default branch `master`."""
    with served_history(tmp_path) as served:
        served.acme.pipelines["web"].default_branch = "master"
        yield served


def build(
    served: ServedHistory, slug: str, state: str = "passed", branch: str = "main", jobs: Jobs = 1
) -> int:
    """Let a build of this pipeline take the next two minutes; its number."""
    begin = served.clock()
    served.clock.move(minutes=2)
    return served.acme.create_build(
        slug, state=state, branch=branch, jobs=jobs, created_at=begin
    ).number


# The default branch


def test_builds_of_a_former_default_branch_keep_their_health_and_incidents(
    served: ServedHistory,
) -> None:
    """Red on master for an hour and green again on Monday; on Tuesday main becomes the default.

    What main did on Monday is nobody's business. On Wednesday it breaks, then passes.
    """
    health = "SELECT local_day, branch, passed_builds, failed_builds, turned_red FROM {} ORDER BY 1"
    health = health.format("branch_health_daily")
    incidents = (
        "SELECT branch, breaking_number, fixing_number FROM branch_incidents ORDER BY red_at"
    )
    numbers = [build(served, "web", branch="master")]
    build(served, "web", "failed")
    numbers.append(build(served, "web", "failed", "master"))
    served.clock.move(hours=1)
    numbers.append(build(served, "web", branch="master"))
    served.sync(minutes=5)
    monday = [(DAY, "master", 2, 1, 1)]
    assert served.rows(health) == monday
    assert served.rows(incidents) == [("master", numbers[1], numbers[2])]

    served.clock.move(days=1)
    served.acme.pipelines["web"].default_branch = "main"
    served.sync()
    tuesday = (DAY + timedelta(days=1), "master", 0, 0, 0)
    assert served.rows(health)[:1] == monday
    assert set(served.rows(health)[1:]) <= {tuesday}
    assert served.rows(incidents) == [("master", numbers[1], numbers[2])]

    served.clock.move(days=1)
    build(served, "web", "failed", "master")
    numbers.append(build(served, "web", "failed"))
    numbers.append(build(served, "web"))
    served.sync(minutes=5)
    wednesday = (DAY + timedelta(days=2), "main", 1, 1, 1)
    assert served.rows(health) == [*monday, tuesday, wednesday]
    assert served.rows(incidents) == [
        ("master", numbers[1], numbers[2]),
        ("main", numbers[3], numbers[4]),
    ]


def test_a_branch_that_is_red_when_another_becomes_the_default_stays_red_until_that_passes() -> (
    None
):
    """Red at 10:10 on master; main becomes the default at 11:00 and passes at 12:10: two hours.

    The day is one row, with the branch that it ended with.
    """
    history = History()
    pipeline = history.pipeline(default_branch="master")
    history.build(pipeline, "10:00", "failed", finished_at="10:10", branch="master")
    history.list_pipeline(pipeline, seen="11:00", default_branch="main")
    history.build(pipeline, "12:00", finished_at="12:10", branch="main")
    history.read("18:10")
    history.derive("branch_health_daily", "branch_incidents")
    columns = ["branch", "red_seconds", "green_seconds", "turned_green"]
    assert history.rows("branch_health_daily", *columns) == [("main", 7_200, 21_600, 1)]
    assert history.rows("branch_incidents", "branch", "red_seconds") == [("master", 7_200)]


def test_the_first_known_default_branch_counts_for_builds_from_before() -> None:
    history = History()
    pipeline = history.pipeline(default_branch="master")
    for created in ("2026-11-01 10:00", "10:00"):
        for branch in ("master", "main"):
            history.build(pipeline, created, branch=branch)
    history.list_pipeline(pipeline, seen="11:00", default_branch="main")
    history.derive("build_runs")
    assert history.rows("build_runs", "branch", where="is_default_branch") == ["master"] * 2


def test_without_a_default_branch_it_is_not_known_for_as_long() -> None:
    history = History()
    pipeline = history.pipeline(default_branch=None)
    history.build(pipeline, "10:00")
    for seen, branch in (("11:00", "main"), ("13:00", "")):
        history.list_pipeline(pipeline, seen=seen, default_branch=branch)
        history.build(pipeline, seen)
    history.derive("build_runs")
    assert history.rows("build_runs", "is_default_branch") == [None, True, None]


def test_while_a_pipeline_is_archived_nothing_is_known_of_its_branch() -> None:
    """Red from 10:10, archived at 12:00, back at 14:00; green from 15:10, and seen until 18:10.

    A build that was created before the listing that shows it back proves that it was back.
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", "failed", finished_at="10:10")
    history.list_pipeline(pipeline, seen="12:30", archived_at="12:00")
    history.build(pipeline, "15:00", finished_at="15:10")
    history.list_pipeline(pipeline, seen="16:00", archived_at=None)
    history.read("18:10")
    history.derive("branch_health_daily")
    assert history.rows("branch_health_daily", "red_seconds", "green_seconds") == [(6_600, 10_800)]


# Slugs


SHIPPING = Rules(deployments=(Deployment("production", "ship", step="deploy"),))


def ship(served: ServedHistory, slug: str) -> int:
    """Let a build of this pipeline deploy; its number."""
    return build(served, slug, jobs=[Step("script", "Deploy", "deploy")])


def test_a_rename_loses_no_deployment_and_cuts_no_series(served: ServedHistory) -> None:
    """Under its old name, which the rule gives; under its new one no more: the rule does not fit.

    Once the rule gives the new name, all of them are deployments of one application.
    """
    served.rules = SHIPPING
    deployed = "SELECT number, application, pipeline_slug FROM deployments ORDER BY number"
    served.acme.add_pipeline("ship")
    first = ship(served, "ship")
    served.sync(minutes=5)
    served.acme.rename_pipeline("ship", slug="sail")
    served.sync(minutes=5)
    assert served.rows(deployed) == [(first, "sail", "sail")]
    second = ship(served, "sail")
    served.sync(minutes=5)
    assert served.rows(deployed) == [(first, "sail", "sail")]
    served.rules = Rules(deployments=(Deployment("production", "sail", step="deploy"),))
    served.derive()
    assert served.rows(deployed) == [(first, "sail", "sail"), (second, "sail", "sail")]


def test_a_slug_that_another_pipeline_takes_over_brings_it_no_builds_of_the_first(
    served: ServedHistory,
) -> None:
    """`ship` becomes `old`, and a new pipeline `ship`; that one is deleted, and a third follows.

    The rule deploys from `ship`, whichever pipeline it is at the time.
    """
    served.rules = SHIPPING
    served.acme.add_pipeline("ship")
    ship(served, "ship")
    served.sync(minutes=5)
    served.acme.rename_pipeline("ship", slug="old")
    served.acme.add_pipeline("ship", default_branch="trunk")
    served.sync(minutes=5)
    ship(served, "ship")
    ship(served, "old")
    served.sync(minutes=5)
    served.acme.delete_pipeline("ship")
    served.sync(minutes=5)
    served.acme.add_pipeline("ship")
    ship(served, "ship")
    served.sync(minutes=5)
    assert served.rows("""
        SELECT build_runs.pipeline_slug, pipeline_slug_at_creation, is_default_branch, environment
        FROM build_runs LEFT JOIN deployments USING (build_id)
        ORDER BY build_runs.created_at
    """) == [
        ("old", "ship", True, "production"),
        ("ship", "ship", False, "production"),
        ("old", "old", True, None),
        ("ship", "ship", True, "production"),
    ]
    assert served.rows("""
        SELECT slug, valid_to IS NULL FROM pipelines_history WHERE slug IN ('ship', 'old')
        ORDER BY valid_from, slug
    """) == [("ship", False), ("old", True), ("ship", False), ("ship", True)]


# Clusters and queues


def test_a_clusters_default_queue_is_known_over_time(served: ServedHistory) -> None:
    cluster = served.acme.add_cluster("Linux", ["small", "large"])
    served.sync()
    first = served.clock()
    cluster.queues.reverse()
    cluster.queues[0].key = "huge"
    cluster.name = "Linux 2"
    served.sync(hours=1)
    changed = served.clock()
    served.sync(hours=1)
    assert served.rows("""
        SELECT clusters_history.name, queues_history.key, clusters_history.valid_from,
            clusters_history.valid_to
        FROM clusters_history
        JOIN queues_history ON queue_id = default_queue_id
            AND queues_history.valid_from <= clusters_history.valid_from
            AND coalesce(queues_history.valid_to > clusters_history.valid_from, true)
        WHERE clusters_history.name LIKE 'Linux%'
        ORDER BY clusters_history.valid_from
    """) == [
        ("Linux", "small", naive(first), naive(changed)),
        ("Linux 2", "huge", naive(changed), None),
    ]
    assert served.rows(
        "SELECT key, valid_to IS NULL FROM queues_history WHERE key != 'default' "
        "ORDER BY valid_from, key"
    ) == [("large", False), ("small", True), ("huge", True)]


def naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)


# Teams


def test_a_team_owns_until_it_becomes_the_default_team_and_from_then_on_nothing() -> None:
    history = History()
    pipeline, team = history.pipeline(), history.team("a")
    history.grant(team, pipeline, created="2026-05-01 00:00")
    history.connection.execute("UPDATE teams_history SET valid_to = '2026-11-02 10:00'")
    history.connection.execute(
        "INSERT INTO teams_history BY NAME SELECT * REPLACE (true AS is_default_team, "
        "valid_to AS valid_from, NULL AS valid_to) FROM teams_history"
    )
    history.derive("pipeline_owners")
    ten = datetime(2026, 11, 2, 10)  # noqa: DTZ001 - as stored
    assert history.rows("pipeline_owners", "team_slug", "owned_from", "owned_to") == [
        (None, ten, None),
        ("a", None, ten),
    ]


# Any history


class World:
    """A served sandbox that many examples share, each with an organization of its own."""

    def __init__(self, sandbox: Sandbox, clock: StandingClock, url: str) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.url = url
        self._examples = 0

    def found(self) -> Organization:
        """A new organization, the only one that the administrator's token sees."""
        self._examples += 1
        slug = f"example-{self._examples}"
        organization = Organization(
            slug, slug, clock=self.clock, lock=self.sandbox.lock, created_at=self.clock()
        )
        token = self.sandbox.tokens.administrator
        organization.add_member(token.user, role="admin")
        self.sandbox.organizations[slug] = organization
        token.organizations = (slug,)
        return organization


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Serve one sandbox for all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        clock = StandingClock()
        clock.now = START
        with serve(sandbox := without_limits(Sandbox.empty(clock=clock))) as server:
            yield World(sandbox, clock, server.url)


Event = tuple[str, str, str | None]
State = tuple[str, str | None]

NAMES = ("web", "api", "docs")
BRANCHES = ("main", "master", None)
EVENTS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.sampled_from(BRANCHES)),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("default"), st.sampled_from(NAMES), st.sampled_from(BRANCHES)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("build"), st.sampled_from(NAMES), st.sampled_from(BRANCHES[:2])),
    # A listing is merged at once, or after the next one.
    st.tuples(st.just("list"), st.sampled_from(["now", "late"]), st.none()),
)


def happen(organization: Organization, event: Event) -> None:
    """Let something happen to a pipeline, if it can."""
    kind, slug, value = event
    pipelines = organization.pipelines
    if kind == "add" and slug not in pipelines:
        organization.add_pipeline(slug, default_branch=value)
    elif kind == "rename" and slug in pipelines and value and value not in pipelines:
        organization.rename_pipeline(slug, slug=value)
    elif kind == "default" and slug in pipelines:
        pipelines[slug].default_branch = value
    elif kind == "delete" and slug in pipelines:
        organization.delete_pipeline(slug)


@dataclass(frozen=True)
class Listing:
    """A complete list of pipelines: its rows, and slug and default branch by id."""

    at: datetime
    rows: pa.Table
    states: dict[str, State]

    @classmethod
    def of(cls, client: Client, organization: Organization) -> "Listing":
        """The list as it is served now."""
        path = f"organizations/{organization.slug}/pipelines"
        [page] = every_item(client, path, Pipeline)
        return cls(
            page.at,
            record_rows(PIPELINES, page.body, page.at, Privacy(), organization_id=organization.id),
            {pipeline.id: (pipeline.slug, pipeline.default_branch) for pipeline in page.body},
        )

    def merge(self, connection: duckdb.DuckDBPyConnection, organization: Organization) -> None:
        """Merge it as a sync does."""
        merge_records(connection, PIPELINES, self.rows)
        mark_absent_records(connection, PIPELINES, organization.id, [self.rows], self.at)


@dataclass
class Past:
    """The model of one pipeline: its states by when they were listed, and the latest news of it."""

    states: dict[datetime, State] = field(default_factory=dict)
    told_at: datetime = START

    def then(self, instant: datetime) -> State:
        """The last state by this instant, else the first one."""
        before = [at for at in self.states if at <= instant]
        return self.states[max(before) if before else min(self.states)]


def learn(pasts: dict[str, Past], listing: Listing) -> None:
    """Use what a listing shows of each pipeline of which nothing newer is known."""
    for pipeline_id, state in listing.states.items():
        past = pasts.setdefault(pipeline_id, Past())
        if listing.at >= past.told_at:
            past.states[listing.at] = state
    for past in pasts.values():
        past.told_at = max(past.told_at, listing.at)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(EVENTS, min_size=6, max_size=20))
def test_each_build_has_the_attributes_that_the_last_listing_before_it_showed(
    world: World, events: list[Event]
) -> None:
    """A minute lies between two events; what is listed late is merged after the next listing."""
    organization = world.found()
    organization.add_pipeline("web")
    builds: list[tuple[datetime, str, str, str]] = []
    pasts: dict[str, Past] = {}
    waiting: list[Listing] = []
    with (
        duckdb.connect(config={"threads": 1}) as connection,
        Client(world.url, world.sandbox.tokens.administrator.value, clock=world.clock) as client,
    ):
        upgrade(connection)
        for event in (*events, ("list", "now", "")):
            world.clock.move(minutes=1)
            kind, which, value = event
            if kind == "build" and which in organization.pipelines:
                pipeline_id = organization.pipelines[which].id
                builds.append((world.clock(), pipeline_id, which, value or ""))
            if kind == "list":
                waiting.append(Listing.of(client, organization))
                while which == "now" and waiting:
                    listing = waiting.pop()
                    listing.merge(connection, organization)
                    learn(pasts, listing)
            happen(organization, event)
        found = built(connection, organization, builds)
    expected = {}
    for created_at, pipeline_id, slug, branch in builds:
        past = pasts.get(pipeline_id)
        then, default = past.then(created_at) if past else (slug, None)
        expected[naive(created_at)] = (then, None if default is None else branch == default)
    assert found == expected


def built(
    connection: duckdb.DuckDBPyConnection,
    organization: Organization,
    builds: list[tuple[datetime, str, str, str]],
) -> dict[datetime, tuple[str, bool | None]]:
    """What `build_runs` says of builds, by when they were created."""
    for created_at, pipeline_id, slug, branch in builds:
        connection.execute(
            "INSERT INTO builds (build_id, organization_id, pipeline_id, pipeline_slug, branch, "
            "state, created_at, synced_at) VALUES (uuid(), ?, ?, ?, ?, 'passed', ?, ?)",
            [organization.id, pipeline_id, slug, branch, naive(created_at), naive(created_at)],
        )
    days: list[date] = sorted({created_at.date() for created_at, *_ in builds})
    needed = {"build_runs"}
    for table in reversed(in_order(derived_tables())):
        if table.name in needed:
            needed |= inputs(table)
    for table in in_order(derived_tables()):
        if table.name in needed:
            derive_days(connection, table, days, derived_tables(), Rules().parameters())
    return {
        created_at: (slug, is_default)
        for created_at, slug, is_default in connection.execute(
            "SELECT created_at, pipeline_slug_at_creation, is_default_branch FROM build_runs"
        ).fetchall()
    }

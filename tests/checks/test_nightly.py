"""The checks that ask Buildkite, over HTTP: what makes each fail, and that it passes otherwise."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from buildkite_assets.buildkite.organizations import visible_organizations
from buildkite_assets.buildkite.page_size import PageSize
from buildkite_assets.changes import read_changes
from buildkite_assets.checks import NIGHTLY_CHECKS
from buildkite_assets.checks.asking import ApiEvidence, api_evidence
from buildkite_assets.checks.build_numbers import ASKED, MISSING_NUMBERS_ARE_GONE
from buildkite_assets.checks.check import Check, NotEvaluatedError
from buildkite_assets.checks.connection import ALLOWANCE_IS_LEFT, TOKEN_LASTS
from buildkite_assets.checks.retention import UNSETTLED_DAYS_ARE_KEPT
from buildkite_assets.checks.sampled_day import SAMPLED_DAY_AGREES, sampled
from buildkite_assets.checks.schema_drift import NO_UNKNOWN_FIELD
from buildkite_assets.sandbox import SandboxServer, Token, serve
from buildkite_assets.sandbox.model import Build
from buildkite_assets.session import Patience, Session
from buildkite_assets.settings import Settings
from tests.syncing import StandingClock, add_globex, empty_sandbox, environment, read

from .evaluating import is_evaluated, metadata


class World:
    """A served organization with its warehouse."""

    def __init__(self, server: SandboxServer, clock: StandingClock, path: Path) -> None:
        self.server = server
        self.clock = clock
        self.path = path
        self.acme = server.sandbox.organization("acme")
        self.midnight = datetime.combine(clock().date(), time(), UTC)
        self.session = Session(Settings.from_environment(environment(server, path)))

    def build(self, days_ago: int, state: str = "passed") -> Build:
        """Create a build at noon so many days ago."""
        at = self.midnight - timedelta(days=days_ago, hours=-12)
        return self.acme.create_build("web", state=state, created_at=at, jobs=1)

    def sync(self, first_days_ago: int, last_days_ago: int = 0) -> None:
        """Read the days that have builds in full, take the others as read, and follow changes."""
        first = self.midnight.date() - timedelta(days=first_days_ago)
        last = self.midnight.date() - timedelta(days=last_days_ago)
        built = {build.created_at.date() for build in self.acme.builds}
        days = sorted(day for day in built if first <= day <= last)
        if days:
            read(self.server, self.path, days, PageSize())
        self.clock.move(minutes=1)
        with self.session.client() as client:
            [organization], listed_at = visible_organizations(client, ["acme"])
            read_changes(client, organization, listed_at, self.session, None)
        self.change(
            "INSERT INTO sync_days BY NAME "
            "SELECT ?::UUID AS organization_id, day::DATE AS day, day + INTERVAL 1 DAY AS read_at, "
            "0 AS builds, 0 AS jobs, false AS is_to_read_again "
            "FROM generate_series(?::TIMESTAMP, ?::TIMESTAMP, INTERVAL 1 DAY) AS days(day) "
            "WHERE day::DATE NOT IN (SELECT day FROM sync_days)",
            organization.id,
            first,
            last,
        )

    def change(self, statement: str, *values: object) -> None:
        """Tamper with the warehouse."""
        with self.session.warehouse.transaction() as connection:
            connection.execute(statement, list(values))
        self.session.warehouse.publish()

    def evaluate(
        self, check: Check[ApiEvidence], token: Token | None = None, **settings: str
    ) -> dg.AssetCheckResult:
        """Return the check's outcome, with another token or other settings if they are given."""
        self.server.sandbox.requests.clear()
        variables = environment(self.server, self.path, token, **settings)
        with api_evidence(Session(Settings.from_environment(variables))) as evidence:
            return check.result(evidence)

    @property
    def requests(self) -> list[str]:
        """The paths asked for by the last evaluation."""
        return [request.path for request in self.server.sandbox.requests]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    sandbox, clock = empty_sandbox()
    with serve(sandbox) as server:
        yield World(server, clock, tmp_path / "acme.duckdb")


def delete(world: World, build: Build) -> None:
    """Take a build out of the warehouse as if no sync had brought it."""
    world.change("DELETE FROM builds WHERE build_id = ?", build.id)


def url(build: Build) -> str:
    return f"https://buildkite.com/acme/web/builds/{build.number}"


# A sampled day


def test_a_day_that_has_all_of_buildkites_builds_agrees(world: World) -> None:
    for _ in range(101):
        world.build(3)
    world.sync(3, 3)
    result = world.evaluate(SAMPLED_DAY_AGREES)
    assert result.passed
    assert is_evaluated(result)
    assert metadata(result)["lost"] == 0
    assert "| web " in str(metadata(result)["days"])
    assert world.requests.count("/v2/organizations/acme/builds") == 2, "one per 100 builds"


def test_a_build_that_only_buildkite_has_is_an_error_with_its_address(world: World) -> None:
    world.build(3)
    lost = world.build(3)
    world.sync(3, 3)
    delete(world, lost)
    result = world.evaluate(SAMPLED_DAY_AGREES)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert metadata(result)["lost"] == 1
    assert metadata(result)["examples"] == [url(lost)]


def test_what_is_gone_at_buildkite_or_set_aside_here_is_no_loss(world: World) -> None:
    world.build(3)
    gone, odd = world.build(3), world.build(3)
    world.sync(3, 3)
    world.acme.delete_build(gone)
    delete(world, odd)
    world.change(
        "INSERT INTO rejected_builds SELECT organization_id, ?, '', ?, '$', 'odd', read_at "
        "FROM sync_days",
        odd.id,
        odd.created_at.date(),
    )
    result = world.evaluate(SAMPLED_DAY_AGREES)
    assert result.passed
    [row] = [line for line in str(metadata(result)["days"]).splitlines() if "web" in line]
    assert row.split() == ["|", "web", "|", "2", "|", "2", "|", "0", "|", "1", "|"]


def test_a_day_that_buildkite_no_longer_has_is_not_compared(world: World) -> None:
    build = world.build(3)
    world.sync(3, 3)
    world.acme.delete_build(build)
    assert not is_evaluated(world.evaluate(SAMPLED_DAY_AGREES))


def test_today_and_yesterday_are_not_compared(world: World) -> None:
    world.build(1)
    world.sync(1)
    assert not is_evaluated(world.evaluate(SAMPLED_DAY_AGREES))


@pytest.mark.parametrize("known", [1, 7, 30])
def test_each_known_day_has_its_night(known: int) -> None:
    days = [datetime(2026, 1, 1, tzinfo=UTC).date() + timedelta(days=n) for n in range(known)]
    tonight = datetime(2026, 6, 1, tzinfo=UTC).date()
    nights = [tonight + timedelta(days=n) for n in range(known)]
    assert {sampled(days, night) for night in nights} == set(days)


# Missing numbers


def test_a_missing_number_that_buildkite_has_is_an_error_with_its_address(world: World) -> None:
    _, lost, _ = (world.build(3) for _ in range(3))
    world.sync(3, 3)
    delete(world, lost)
    result = world.evaluate(MISSING_NUMBERS_ARE_GONE)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert metadata(result)["missing_numbers"] == 1
    assert metadata(result)["examples"] == [url(lost)]


def test_a_missing_number_that_buildkite_has_not_is_counted(world: World) -> None:
    _, *deleted, _ = (world.build(3) for _ in range(5))
    for build in deleted:
        world.acme.delete_build(build)
    world.sync(3, 3)
    result = world.evaluate(MISSING_NUMBERS_ARE_GONE)
    assert result.passed
    assert is_evaluated(result)
    told = metadata(result)
    assert (told["missing_numbers"], told["gaps"], told["asked"]) == (3, 1, 1)


def test_a_gap_beyond_an_unknown_day_or_over_a_rejected_build_is_explained(world: World) -> None:
    world.build(5)
    world.build(4)
    world.build(3)
    odd = world.build(3)
    world.build(3)
    world.sync(5, 5)
    world.change("UPDATE sync_feeds SET started_at = started_at + INTERVAL 1 DAY")
    world.sync(3, 3)
    delete(world, odd)
    world.change(
        "INSERT INTO rejected_builds SELECT organization_id, ?, '', day, '$', 'odd', read_at "
        "FROM sync_days",
        odd.id,
    )
    result = world.evaluate(MISSING_NUMBERS_ARE_GONE)
    assert is_evaluated(result)
    assert metadata(result)["gaps"] == 0


def test_gaps_of_a_pipeline_that_is_gone_are_explained(world: World) -> None:
    _, lost, _ = (world.build(3) for _ in range(3))
    world.sync(3, 3)
    delete(world, lost)
    world.change("UPDATE pipelines SET absent_since = synced_at")
    assert metadata(world.evaluate(MISSING_NUMBERS_ARE_GONE))["gaps"] == 0


def test_a_build_that_is_here_without_its_pipeline_is_no_loss(world: World) -> None:
    _, nameless, _ = (world.build(3) for _ in range(3))
    world.sync(3, 3)
    world.change("UPDATE builds SET pipeline_id = NULL WHERE build_id = ?", nameless.id)
    result = world.evaluate(MISSING_NUMBERS_ARE_GONE)
    assert metadata(result)["asked"] == 1
    assert result.passed


def test_a_night_asks_for_no_more_numbers_than_told(world: World) -> None:
    for build in [world.build(3) for _ in range(2 * ASKED + 5)][1::2]:
        world.acme.delete_build(build)
    world.sync(3, 3)
    result = world.evaluate(MISSING_NUMBERS_ARE_GONE)
    assert metadata(result)["gaps"] == ASKED + 2
    assert len([path for path in world.requests if "/pipelines/web/builds/" in path]) == ASKED


# The retention horizon


def test_an_unsettled_day_near_the_horizon_is_told(world: World) -> None:
    removed = [world.build(days_ago) for days_ago in (12, 11)]
    world.build(10)
    running = world.build(3, state="running")
    world.sync(12)
    for build in removed:
        world.acme.delete_build(build)
    result = world.evaluate(UNSETTLED_DAYS_ARE_KEPT)
    assert result.passed, "seven days are left"
    assert f" {running.created_at.date()} " in str(metadata(result)["organizations"])

    world.change("DELETE FROM sync_days WHERE day = current_date - 6")
    world.change("UPDATE sync_feeds SET started_at = started_at + INTERVAL 1 DAY")
    result = world.evaluate(UNSETTLED_DAYS_ARE_KEPT)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert "removed in 4 days" in (result.description or "")

    world.change("DELETE FROM sync_days WHERE day = current_date - 11")
    result = world.evaluate(UNSETTLED_DAYS_ARE_KEPT)
    assert not result.passed
    assert "1 days beyond what Buildkite still has" in (result.description or "")


def test_without_removed_builds_no_horizon_shows(world: World) -> None:
    world.build(6)
    world.build(5, state="running")
    world.sync(6)
    result = world.evaluate(UNSETTLED_DAYS_ARE_KEPT)
    assert result.passed
    assert is_evaluated(result)
    assert " null " in str(metadata(result)["organizations"])


# Schema drift

SECRET = "bkua_what-nobody-may-see"


def answering(world: World, change: Callable[[dict[str, object]], None]) -> None:
    """Have the list of builds answer with changed bodies."""

    def changed(request: Request) -> ASGIApp | None:
        if not request.url.path.endswith("acme/builds"):
            return None
        bodies = [dict(body) for body in world.acme.truth_builds()]
        for body in bodies:
            change(body)
        return JSONResponse(bodies)

    world.server.sandbox.faults = changed


def test_fields_that_are_kept_or_left_out_on_purpose_are_known(world: World) -> None:
    world.build(1)
    world.sync(1)
    result = world.evaluate(NO_UNKNOWN_FIELD)
    assert result.passed
    assert is_evaluated(result)
    assert world.requests.count("/v2/organizations/acme/builds") == 1


def test_without_a_finished_build_no_field_is_judged(world: World) -> None:
    world.build(1, state="running")
    world.sync(1)
    assert not is_evaluated(world.evaluate(NO_UNKNOWN_FIELD))


def test_an_unknown_field_is_told_with_its_place_and_type_and_never_its_value(
    world: World,
) -> None:
    build = world.build(1)
    world.sync(1)

    def with_new_fields(body: dict[str, object]) -> None:
        body["deploy_key"] = SECRET
        body["jobs"] = [{**job, "retry_budget": {SECRET: 1}} for job in body["jobs"]]  # type: ignore[attr-defined]

    answering(world, with_new_fields)
    result = world.evaluate(NO_UNKNOWN_FIELD)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    table = str(metadata(result)["table"])
    for told in ("deploy_key", "string", "jobs[].retry_budget", "object", url(build)):
        assert told in table
    assert SECRET not in f"{result.description} {metadata(result)}"


# The token and the allowance


@pytest.mark.parametrize(("days", "passes"), [(13.9, False), (14.1, True), (None, True)])
def test_a_token_that_expires_within_two_weeks_is_told(
    world: World, days: float | None, *, passes: bool
) -> None:
    world.sync(1)
    ready = world.server.sandbox.tokens.administrator
    expires_at = None if days is None else world.clock() + timedelta(days=days)
    token = Token(
        "bkua_expiring",
        ready.uuid,
        ready.user,
        "Expiring",
        ready.created_at,
        organizations=("acme",),
        expires_at=expires_at,
    )
    world.server.sandbox.tokens.add(token)
    result = world.evaluate(TOKEN_LASTS, token)
    assert result.passed == passes
    assert is_evaluated(result)
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert metadata(result).get("days_left") == (None if days is None else int(days))


def test_a_token_that_is_refused_is_told_and_leaves_the_others_unevaluated(world: World) -> None:
    world.build(3)
    world.sync(3, 3)
    token = world.server.sandbox.tokens.expired
    result = world.evaluate(TOKEN_LASTS, token)
    assert not result.passed
    assert "wrong, revoked or expired" in (result.description or "")
    assert token.value not in f"{result.description} {metadata(result)}"
    for check in (SAMPLED_DAY_AGREES, NO_UNKNOWN_FIELD, ALLOWANCE_IS_LEFT):
        assert not is_evaluated(world.evaluate(check, token))


def test_a_missing_scope_leaves_a_check_unevaluated(world: World) -> None:
    world.build(3)
    world.sync(3, 3)
    ready = world.server.sandbox.tokens.administrator
    token = Token(
        "bkua_few",
        ready.uuid,
        ready.user,
        "Few",
        ready.created_at,
        scopes=("read_organizations",),
        organizations=("acme",),
    )
    world.server.sandbox.tokens.add(token)
    result = world.evaluate(SAMPLED_DAY_AGREES, token)
    assert not is_evaluated(result)
    assert "read_builds" in (result.description or "")


@pytest.mark.parametrize(
    "check", [SAMPLED_DAY_AGREES, NO_UNKNOWN_FIELD], ids=lambda check: check.name
)
def test_an_organization_that_refuses_leaves_the_others_evaluated(
    world: World, check: Check[ApiEvidence]
) -> None:
    world.build(3)
    world.sync(4)
    globex = add_globex(world.server.sandbox, world.clock)
    world.change(
        "INSERT INTO sync_days SELECT * REPLACE (?::UUID AS organization_id) FROM sync_days",
        globex.id,
    )
    world.server.sandbox.faults = lambda request: (
        JSONResponse({"message": "Forbidden"}, 403) if "/globex/" in request.url.path else None
    )
    result = world.evaluate(check, BUILDKITE_ORGANIZATIONS="acme,globex")
    assert result.passed
    assert is_evaluated(result)
    assert "globex: builds not read: invalid_permissions: " in str(metadata(result)["unread"])


@pytest.mark.parametrize(("used", "passes"), [(44, True), (46, False)])
def test_an_allowance_that_others_have_used_up_is_told(
    world: World, used: int, *, passes: bool
) -> None:
    world.sync(1)
    world.clock.move(minutes=1)
    world.server.sandbox.limits.organization_limit = 200
    world.server.sandbox.limits.user_limit = 50
    world.server.sandbox.limits.consume(used, "rest_user")
    result = world.evaluate(ALLOWANCE_IS_LEFT)
    assert result.passed == passes
    assert metadata(result)["share_used"] == (used + 1) / 50
    assert result.severity == dg.AssetCheckSeverity.WARN


# What all of them share


def test_without_a_token_nothing_is_asked(world: World) -> None:
    world.sync(1)
    settings = Settings.from_environment({"BUILDKITE_WAREHOUSE": str(world.path)})
    with (
        pytest.raises(NotEvaluatedError, match="BUILDKITE_API_TOKEN is not set"),
        api_evidence(Session(settings)),
    ):
        pass


def a_night(session: Session) -> dg.ExecuteInProcessResult:
    """A run of all checks that ask Buildkite."""
    defs = dg.Definitions(
        asset_checks=NIGHTLY_CHECKS,
        resources={"session": session},
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=instance, raise_on_error=False)


def names_evaluated(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        each.check_name
        for each in result.get_asset_check_evaluations()
        if each.metadata["evaluated"].value
    }


ALL_NAMES = {key.name for checks in NIGHTLY_CHECKS for key in checks.check_keys}


def a_night_of_bad_gateways(world: World, times: int) -> dg.ExecuteInProcessResult:
    """A night with one retry, in which that many lists of builds fail."""
    for days_ago in (5, 4, 3):
        world.build(days_ago)
    world.sync(5)
    left = iter(range(times))

    def answer(request: Request) -> ASGIApp | None:
        is_asked = request.url.path.endswith("acme/builds") and next(left, None) is not None
        return JSONResponse({}, status_code=502) if is_asked else None

    world.server.sandbox.faults = answer
    patience = Patience(attempts=1, retries=1, wait_seconds=0.1)
    return a_night(replace(world.session, patience=patience))


def test_trouble_that_passes_costs_a_retry_and_no_night(world: World) -> None:
    result = a_night_of_bad_gateways(world, 1)
    assert result.success
    [retried] = [event for event in result.all_events if event.is_step_up_for_retry]
    assert retried.step_retry_data.seconds_to_wait == 0.1
    assert names_evaluated(result) == ALL_NAMES


def test_trouble_that_stays_fails_by_one_line_after_the_other_checks(world: World) -> None:
    result = a_night_of_bad_gateways(world, 1000)
    assert not result.success
    [failure] = result.get_step_failure_events()
    said = failure.step_failure_data.user_failure_data
    assert said
    assert "answered 502" in (said.description or "")
    assert "\n" not in (said.description or "")
    others = names_evaluated(result)
    assert {TOKEN_LASTS.name, ALLOWANCE_IS_LEFT.name, MISSING_NUMBERS_ARE_GONE.name} <= others
    assert NO_UNKNOWN_FIELD.name not in others


def test_a_night_costs_the_requests_that_it_says(world: World) -> None:
    for days_ago in range(9, 1, -1):
        world.build(days_ago)
    world.sync(9)
    world.server.sandbox.requests.clear()
    result = a_night(world.session)
    assert all(each.passed for each in result.get_asset_check_evaluations())
    assert names_evaluated(result) == ALL_NAMES
    # The token, the organizations, a sampled day, bisecting 8 days, unknown fields.
    assert len(world.requests) == 1 + 1 + 1 + 4 + 1

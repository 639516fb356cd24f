"""One organization or one list fails: the rest is read, and the failure is named."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import stamina
from click.testing import Result
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.warehouse import connect

from .kills import kill_one
from .syncing import (
    StandingClock,
    add_globex,
    command,
    command_environment,
    command_here,
    command_line,
    empty_sandbox,
    forgetful_home,
)

PARTIAL = 3
ALLOW_LIST = "Your IP address is not allowed to access this organization"


class Two:
    """Two organizations, a warehouse, and syncs between which something fails."""

    def __init__(self, server: SandboxServer, clock: StandingClock, folder: Path) -> None:
        self.sandbox = server.sandbox
        self.clock = clock
        self.folder = folder
        self.path = folder / "w.duckdb"
        self.acme = server.sandbox.organization("acme")
        self.globex = add_globex(server.sandbox, clock)
        self.home = forgetful_home(folder / "home")
        self.variables = {
            "BUILDKITE_API_URL": server.url,
            "BUILDKITE_API_TOKEN": server.sandbox.tokens.administrator.value,
            "BUILDKITE_WAREHOUSE": str(self.path),
            "BUILDKITE_START_DATE": f"{clock().date() - timedelta(days=2)}",
            "XDG_STATE_HOME": str(folder / "state"),
        }
        for organization, slug in ((self.acme, "web"), (self.globex, "site")):
            for days in range(3):
                at = clock().replace(hour=0, minute=0) - timedelta(days=days)
                organization.create_build(slug, state="passed", jobs=2, created_at=at)

    def sync(self) -> Result:
        """Sync, in this process."""
        return command_here("sync", settings=self.variables, cwd=self.folder, home=self.home)

    def count(self, table: str) -> dict[str, int]:
        """Return how many rows of a table each organization has."""
        with connect(self.path) as connection:
            rows = connection.execute(
                f"FROM organizations LEFT JOIN {table} USING (organization_id) "
                f"SELECT organizations.slug, count({table}.organization_id) GROUP BY ALL"
            ).fetchall()
        return dict(rows)

    @contextmanager
    def failing(self, part: str, answer: Callable[[], Response]) -> Iterator[None]:
        """Have every request whose path holds `part` answered otherwise."""
        self.sandbox.faults = lambda request: answer() if part in request.url.path else None
        yield
        self.sandbox.faults = None


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    sandbox, clock = empty_sandbox()
    with serve(sandbox) as server:
        yield Two(server, clock, tmp_path)


def refused() -> Response:
    """Answer as an allow-list of addresses does."""
    return JSONResponse({"message": ALLOW_LIST}, status_code=403)


def unprocessable() -> Response:
    """Refuse a list."""
    return JSONResponse({"message": "Unprocessable"}, status_code=422)


def errors(done: Result | subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines that say what was not read."""
    assert "Traceback" not in done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error: ")]


def test_an_organization_that_refuses_keeps_no_other_from_being_synced(two: Two) -> None:
    with two.failing("/organizations/globex/", refused):
        done = two.sync()
    assert done.exit_code == PARTIAL, done.stderr
    assert two.count("builds") == {"acme": 3, "globex": 0}
    assert two.count("pipelines") == {"acme": 1, "globex": 0}
    assert two.count("team_members") == {"acme": 2, "globex": 0}
    assert two.count("build_runs") == {"acme": 3, "globex": 0}
    lines = errors(done)
    assert any(
        line.startswith("Error: globex: pipelines not read: invalid_permissions: ")
        and ALLOW_LIST in line
        and "ask an administrator" in line
        for line in lines
    ), done.stderr
    assert not [line for line in lines if "acme" in line]
    assert "What landed" in done.stdout
    # Once it answers, nothing of either is lost or doubled.
    done = two.sync()
    assert (done.exit_code, errors(done)) == (0, [])
    assert two.count("builds") == {"acme": 3, "globex": 3}
    assert two.count("jobs") == {"acme": 6, "globex": 6}


def test_what_was_stored_of_an_organization_stays_while_it_refuses(two: Two) -> None:
    assert two.sync().exit_code == 0
    two.clock.move(minutes=10)
    two.acme.create_build("web", state="passed", jobs=1, created_at=two.clock())
    two.globex.create_build("site", state="passed", jobs=1, created_at=two.clock())
    with two.failing("/organizations/globex/", refused):
        done = two.sync()
    assert done.exit_code == PARTIAL
    assert any(line.startswith("Error: globex: changes not read: ") for line in errors(done))
    assert two.count("builds") == {"acme": 4, "globex": 3}
    assert two.count("pipelines") == {"acme": 1, "globex": 1}
    with connect(two.path) as connection:
        assert connection.execute("FROM builds WHERE absent_since IS NOT NULL").fetchall() == []
    assert two.sync().exit_code == 0
    assert two.count("builds") == {"acme": 4, "globex": 4}
    with connect(two.path) as connection:
        assert connection.execute("FROM late_changes").fetchall() == []


def in_trouble() -> Response:
    """Answer as a server in trouble, every time."""
    return PlainTextResponse("busy", status_code=503)


def missing() -> Response:
    """Answer as for what is not there."""
    return PlainTextResponse("", status_code=404)


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        ("/organizations/acme/teams", missing),
        ("/organizations/acme/members", unprocessable),
        ("/organizations/acme/clusters", missing),
        ("/queues", unprocessable),
        ("/clusters", in_trouble),
        ("/members", in_trouble),
    ],
)
def test_a_list_that_is_refused_costs_that_list_alone(
    two: Two, part: str, answer: Callable[[], Response]
) -> None:
    with two.failing(part, answer), stamina.set_testing(True, attempts=2):
        done = two.sync()
    assert done.exit_code == PARTIAL, done.stderr
    assert two.count("builds") == {"acme": 3, "globex": 3}
    assert [line for line in errors(done) if "acme: " in line]


def test_a_team_that_is_refused_ends_nothing_of_what_is_known_of_it(two: Two) -> None:
    assert two.sync().exit_code == 0
    [team] = two.acme.teams
    other = two.acme.add_team("Other")
    two.acme.add_team_member(other, two.acme.members[0].user)
    two.clock.move(minutes=10)
    with two.failing(f"/teams/{team.id}/pipelines", unprocessable):
        done = two.sync()
    assert done.exit_code == PARTIAL
    assert [line for line in errors(done) if "acme: team everyone not read: " in line]
    assert two.count("team_members") == {"acme": 3, "globex": 0}
    assert two.count("team_pipelines") == {"acme": 1, "globex": 0}
    with connect(two.path) as connection:
        [(sees_all,)] = connection.execute(
            "SELECT arg_max(sees_all_teams, started_at) FROM access_syncs "
            "JOIN organizations USING (organization_id) WHERE slug = 'acme'"
        ).fetchall()
    assert sees_all is False


def test_a_list_of_builds_that_fails_half_way_keeps_the_days_that_were_read(two: Two) -> None:
    calls = itertools.count()

    def fail_later(request: Request) -> Response | None:
        is_builds = request.url.path.endswith("/organizations/globex/builds")
        return refused() if is_builds and next(calls) >= 1 else None

    two.sandbox.faults = fail_later
    done = two.sync()
    two.sandbox.faults = None
    assert done.exit_code == PARTIAL
    assert [line for line in errors(done) if "globex: builds not read: " in line]
    assert two.count("builds") == {"acme": 3, "globex": two.count("sync_days")["globex"]}
    assert two.count("builds")["globex"] < 3
    two.sandbox.requests.clear()
    assert two.sync().exit_code == 0
    assert two.count("builds") == {"acme": 3, "globex": 3}
    # The days that acme has are not read again for the other's sake.
    acme_days = {
        request.query["created_from"][:10]
        for request in two.sandbox.requests
        if "exclude_pipeline" in request.query and "/acme/" in request.path
    }
    assert acme_days <= {f"{two.clock().date()}"}


def test_an_organization_that_is_not_visible_keeps_no_other_from_being_synced(two: Two) -> None:
    two.variables["BUILDKITE_ORGANIZATIONS"] = "acme,initech"
    done = two.sync()
    assert done.exit_code == PARTIAL
    assert two.count("builds") == {"acme": 3}
    assert [line for line in errors(done) if "initech: organization not read: no_resources" in line]


def test_a_token_that_expires_ends_the_sync_at_once(two: Two) -> None:
    two.variables["BUILDKITE_API_TOKEN"] = two.sandbox.tokens.expired.value
    done = two.sync()
    assert done.exit_code == 1
    [line] = errors(done)
    assert line.startswith("Error: invalid_credentials: ")


def test_syncs_that_are_killed_while_one_organization_refuses_lose_nothing_of_the_other(
    two: Two,
) -> None:
    environment = command_environment(two.variables, two.home)
    with two.failing("/organizations/globex/", refused):
        for after_requests in (4, 12, 20):
            two.sandbox.requests.clear()
            kill_one(
                command_line("sync"),
                environment,
                two.folder,
                two.sandbox.requests,
                (after_requests, 0.0),
            )
        done = command("sync", settings=two.variables, cwd=two.folder, home=two.home)
    assert done.returncode == PARTIAL, done.stderr
    assert errors(done)
    assert two.count("builds") == {"acme": 3, "globex": 0}
    assert two.count("jobs") == {"acme": 6, "globex": 0}

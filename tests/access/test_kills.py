"""An access sync whose process is killed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.requests import RequestLog
from buildkite_assets.warehouse import Warehouse
from tests.kills import kill_one
from tests.syncing import command_environment, command_line

from .conftest import Lab, Row
from .test_snapshots import HISTORIES

TEAMS = 20


@dataclass(frozen=True)
class TeamRequests:
    """The requests for the lists of a team."""

    log: RequestLog

    def __len__(self) -> int:
        return sum("/teams/" in request.path for request in self.log)


def states(lab: Lab) -> dict[str, list[Row]]:
    """What the working file knows; a process that was killed leaves it as of its last commit."""
    with Warehouse(lab.path).transaction() as connection:
        return {
            table: connection.execute(f"FROM {table} ORDER BY ALL").fetchall()
            for table in HISTORIES
        }


def test_a_sync_that_is_killed_while_it_lists_teams_changes_nothing(
    lab: Lab, acme: Organization
) -> None:
    # The process that is killed has this machine's clock.
    lab.clock.now = datetime.now(UTC) - timedelta(hours=1)
    lab.sync()
    before = states(lab)
    for n in range(TEAMS):
        acme.add_team_member(acme.add_team(f"Team {n}"), acme.members[0].user)
    acme.remove_member(acme.members[1].user)
    lab.clock.move(minutes=1)
    lab.sandbox.requests.clear()
    lab.sandbox.latency_seconds = 0.05
    was_killed = kill_one(
        [*command_line("sync")],
        command_environment(lab.variables(), lab.path.parent / "dagster"),
        lab.path.parent,
        TeamRequests(lab.sandbox.requests),
        (TEAMS, 0),
    )
    lab.sandbox.latency_seconds = 0
    assert was_killed
    assert TEAMS <= len(TeamRequests(lab.sandbox.requests)) < 2 * TEAMS
    assert states(lab) == before
    lab.sync()
    assert len(lab.rows("FROM teams")) == TEAMS + 1
    assert len(lab.rows("FROM organization_members")) == 1
    assert len(lab.rows("FROM access_syncs")) == 2

"""Random organizations, and what may happen in them between two snapshots."""

from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st

from buildkite_assets.sandbox import Organization
from buildkite_assets.sandbox.model import Team, User

from .rules import Use

Level = Literal["read_only", "build_and_read", "manage_build_and_read"]
LEVELS: tuple[Level, ...] = ("read_only", "build_and_read", "manage_build_and_read")

Event = tuple[str, int, int, int]
"""What happens, and three dice that choose to whom."""

EVENTS = (
    "hire",
    "leave",
    "rejoin",
    "rename_person",
    "change_role",
    "add_team",
    "delete_team",
    "rename_team",
    "change_privacy",
    "join_team",
    "leave_team",
    "change_team_role",
    "set_level",
    "set_level",
    "take_pipeline",
    "toggle_teams",
)

_PERSONAL = {"hire", "leave", "rejoin", "rename_person", "change_role"}
TOKENS = ("administrator", "administrator", "member", "without_read_teams")


@dataclass(frozen=True)
class Step:
    """Some events, then some hours in which people create builds, then a snapshot with a token.

    Attributes:
        token: the snapshot's.
        events: what happens at once.
        hours: that pass.
        uses: three dice for each build: who creates which pipeline's, and when.
        doomed: which team is deleted while the snapshot is taken, if any.
    """

    token: str
    events: list[Event]
    hours: int
    uses: list[tuple[int, int, int]]
    doomed: int | None


_dice = st.integers(0, 9)
_steps = st.builds(
    Step,
    st.sampled_from(TOKENS),
    st.lists(st.tuples(st.sampled_from(EVENTS), _dice, _dice, _dice), max_size=6),
    st.sampled_from([1, 10, 30, 50]),
    st.lists(st.tuples(_dice, _dice, _dice), max_size=3),
    st.none() | _dice,
)
unread_days = st.none() | st.integers(0, 4)
histories = st.lists(_steps, min_size=2, max_size=6)


@dataclass
class Life:
    """An organization to which events happen; its first two members never leave."""

    organization: Organization
    named: int = 0
    gone: list[User] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    def happen(self, event: Event) -> None:
        """Let one event happen, if there is anyone whom it could happen to."""
        what, a, b, c = event
        self.named += 1
        if what in _PERSONAL:
            self._happen_to_person(what, a)
        elif what == "add_team":
            privacy: Literal["secret", "visible"] = "secret" if b % 3 == 0 else "visible"
            self.organization.add_team(f"Team {self.named}", privacy=privacy, default=c == 0)
        elif what == "toggle_teams":
            self.organization.teams_enabled = not self.organization.teams_enabled
        elif self.organization.teams:
            team = self.organization.teams[a % len(self.organization.teams)]
            self._happen_to_team(what, team, b, c)

    def _happen_to_person(self, what: str, a: int) -> None:
        acme = self.organization
        others = acme.members[2:]
        if what == "hire":
            acme.add_user(
                f"Person {self.named}",
                role="admin" if a < 3 else "member",
                sso_mode="optional" if a % 2 else "required",
            )
        elif what == "rename_person":
            acme.rename_user(acme.members[a % len(acme.members)].user, f"Renamed {self.named}")
        elif what == "rejoin" and self.gone:
            acme.add_member(self.gone.pop())
        elif what == "leave" and others:
            self.gone.append(others[a % len(others)].user)
            acme.remove_member(self.gone[-1])
        elif what == "change_role" and others:
            member = others[a % len(others)]
            member.role = "member" if member.role == "admin" else "admin"

    def _happen_to_team(self, what: str, team: Team, b: int, c: int) -> None:
        acme = self.organization
        person = acme.members[b % len(acme.members)].user
        pipeline = list(acme.pipelines.values())[b % len(acme.pipelines)]
        if what == "delete_team":
            acme.delete_team(team)
        elif what == "rename_team":
            team.name, team.slug = f"Renamed {self.named}", f"renamed-{self.named}"
        elif what == "change_privacy":
            team.privacy = "visible" if team.privacy == "secret" else "secret"
        elif what == "join_team":
            acme.add_team_member(team, person, role="maintainer" if c % 3 == 0 else "member")
        elif what == "leave_team":
            acme.remove_team_member(team, person)
        elif what == "change_team_role":
            _change_role(team, person)
        elif what == "set_level":
            acme.set_team_pipeline(team, pipeline, LEVELS[c % 3])
        elif what == "take_pipeline":
            acme.set_team_pipeline(team, pipeline, None)


def _change_role(team: Team, person: User) -> None:
    for member in team.members:
        if member.user is person:
            member.role = "member" if member.role == "maintainer" else "maintainer"

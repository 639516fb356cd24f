"""What a warehouse should know, computed the slow and obvious way: whole states, pair by pair.

`Known` is all that is known at one moment. Each snapshot makes the next one out of it, so that
nothing here knows of `valid_from`, `valid_to`, or of joins.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from buildkite_assets.sandbox import Organization, Token

LEVELS = ("READ_ONLY", "BUILD_AND_READ", "MANAGE_BUILD_AND_READ")

Key = tuple[str, ...]
Values = tuple[str | bool | int | None, ...]
Rows = dict[Key, Values]


@dataclass(frozen=True)
class Known:
    """What is known after a snapshot, by key.

    `members` (user) to name, role, SSO mode; `teams` (team) to slug, name, privacy, default;
    `team_members` (team, user) to role and since when; `team_pipelines` (team, pipeline) to level
    and since when.
    """

    members: Rows = field(default_factory=dict)
    teams: Rows = field(default_factory=dict)
    team_members: Rows = field(default_factory=dict)
    team_pipelines: Rows = field(default_factory=dict)


def shown(organization: Organization, token: Token) -> Known:
    """What the organization shows to a token right now."""
    is_administrator = any(m.user is token.user and m.role == "admin" for m in organization.members)
    teams = [
        team
        for team in organization.teams
        if "read_teams" in token.scopes
        and organization.teams_enabled
        and (
            is_administrator
            or team.privacy == "visible"
            or any(member.user is token.user for member in team.members)
        )
    ]
    return Known(
        members={
            (m.user.id,): (
                m.user.name,
                m.role.upper(),
                m.sso_mode.upper() if is_administrator or m.user is token.user else None,
            )
            for m in organization.members
        },
        teams={(t.id,): (t.slug, t.name, t.privacy.upper(), t.default) for t in teams},
        team_members={
            (t.id, m.user.id): (m.role.upper(), f"{m.created_at:%Y-%m-%d %H:%M:%S}")
            for t in teams
            for m in t.members
        },
        team_pipelines={
            (t.id, level.pipeline.id): (
                level.access_level.upper(),
                f"{level.created_at:%Y-%m-%d %H:%M:%S}",
            )
            for t in teams
            for level in t.pipelines
        },
    )


def learn(known: Known, seen: Known, *, is_administrator: bool, lists_teams: bool) -> Known:
    """What is known after a snapshot that showed `seen`."""
    sees_all_teams = is_administrator and lists_teams
    listed = {team for (team,) in seen.teams}
    members = {
        key: tuple(
            old if new is None else new
            for old, new in zip(known.members.get(key, values), values, strict=True)
        )
        for key, values in seen.members.items()
    }
    return Known(
        members=({} if is_administrator else known.members) | members,
        teams=({} if sees_all_teams else known.teams) | seen.teams,
        team_members={
            key: values
            for key, values in known.team_members.items()
            if not sees_all_teams and key[0] not in listed
        }
        | seen.team_members,
        team_pipelines=({} if sees_all_teams else known.team_pipelines) | seen.team_pipelines,
    )


@dataclass(frozen=True)
class Moment:
    """What is known of an organization after a snapshot, and what that snapshot showed."""

    organization_id: str
    at: datetime
    known: Known
    is_administrator: bool
    lists_teams: bool
    shown: Known

    @property
    def sees_all_teams(self) -> bool:
        """Whether a team that it does not show is not there."""
        return self.is_administrator and self.lists_teams

    def would_show(self, kind: str, key: Key) -> bool:
        """Whether it shows the thing if it is there."""
        if kind == "members":
            return self.is_administrator
        return self.sees_all_teams or (kind == "team_members" and (key[0],) in self.shown.teams)


def effective(known: Known, pipelines: Iterable[str]) -> dict[tuple[str, str], int | None]:
    """The rank of each user on each pipeline that they have access to; None if not known."""
    ranks: dict[tuple[str, str], int | None] = {}
    for user_key, (_, role, _) in known.members.items():
        for pipeline in pipelines:
            if role == "ADMIN":
                ranks[user_key[0], pipeline] = 3
            elif not known.teams:
                ranks[user_key[0], pipeline] = None
    for team, user in known.team_members:
        for (other, pipeline), (level, _) in known.team_pipelines.items():
            if team == other:
                rank = 1 + LEVELS.index(str(level))
                ranks[user, pipeline] = max(rank, ranks.get((user, pipeline)) or 0)
    return ranks


Change = tuple[datetime, str, str | None, str | None, str | None, str, str | None, str | None]
"""When seen first, object type, user, team, pipeline, change type, before, after."""

KINDS = {
    "members": "organization_member",
    "teams": "team",
    "team_members": "team_member",
    "team_pipelines": "team_pipeline",
}


def changes(timeline: Sequence[Moment], pipelines: Sequence[str]) -> set[Change]:
    """Every change between two snapshots that an earlier one would have shown otherwise."""
    found: set[Change] = set()
    for n, moment in enumerate(timeline):
        earlier = timeline[:n]
        last = earlier[-1].known if earlier else Known()
        before = _with_what_was_hidden(last, moment.known, earlier)
        are_teams_toggled = bool(last.teams) != bool(moment.known.teams) and any(
            other.sees_all_teams for other in earlier
        )
        kinds = ["members"] if are_teams_toggled else list(KINDS)
        for kind in kinds:
            found |= {
                (moment.at, KINDS[kind], *change)
                for change in _differences(kind, getattr(before, kind), getattr(moment.known, kind))
            }
        if are_teams_toggled:
            words = ("enabled", "disabled or none")
            was, now = words if last.teams else words[::-1]
            found.add((moment.at, "organization", None, None, None, "teams_toggled", was, now))
        if last.teams and moment.known.teams:
            found |= {
                (moment.at, "effective_pipeline_access", *change)
                for change in _rank_differences(
                    effective(before, pipelines), effective(moment.known, pipelines)
                )
            }
    return found


def _with_what_was_hidden(last: Known, known: Known, earlier: Sequence[Moment]) -> Known:
    """What was known last, and all that is new but may have been there unseen."""

    def rows(kind: str) -> Rows:
        old: Rows = getattr(last, kind)
        return old | {
            key: values
            for key, values in getattr(known, kind).items()
            if key not in old and not any(moment.would_show(kind, key) for moment in earlier)
        }

    return Known(rows("members"), rows("teams"), rows("team_members"), rows("team_pipelines"))


Difference = tuple[str | None, str | None, str | None, str, str | None, str | None]


def _differences(kind: str, before: Rows, after: Rows) -> Iterator[Difference]:
    for key in before.keys() | after.keys():
        was, now = (_value(kind, rows.get(key)) for rows in (before, after))
        if was == now:
            continue
        user = {"members": key[0], "team_members": key[-1]}.get(kind)
        team = None if kind == "members" else key[0]
        pipeline = key[1] if kind == "team_pipelines" else None
        if was is None or now is None:
            what = "granted" if was is None else "revoked"
        elif kind == "team_pipelines":
            what = "raised" if LEVELS.index(now) > LEVELS.index(was) else "lowered"
        else:
            what = "role_changed"
        yield user, team, pipeline, what, was, now


def _value(kind: str, values: Values | None) -> str | None:
    """What counts of a row: the role or the level, and of a team that it is there."""
    if values is None:
        return None
    return "team" if kind == "teams" else str(values[1 if kind == "members" else 0])


def _rank_differences(
    before: dict[tuple[str, str], int | None], after: dict[tuple[str, str], int | None]
) -> Iterator[Difference]:
    for user, pipeline in before.keys() | after.keys():
        was, now = (ranks.get((user, pipeline)) for ranks in (before, after))
        if was == now:
            continue
        if was is None or now is None:
            what = "granted" if was is None else "revoked"
        else:
            what = "raised" if now > was else "lowered"
        names = [LEVELS[rank - 1] if rank else None for rank in (was, now)]
        yield user, None, pipeline, what, names[0], names[1]

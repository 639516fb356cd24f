"""The findings that whole states tell, rule by rule, moment by moment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from buildkite_assets.rules import Access

from .model import LEVELS, Known, Moment, effective

Subject = tuple[str | None, str | None, str | None]
"""The user, team and pipeline that a finding is about."""

Finding = tuple[str, str, str | None, str | None, str | None, datetime | None, datetime | None]
"""Rule, status, user, team, pipeline, first seen, resolved."""

NEEDS = {
    "pipeline_without_team": "all_teams",
    "team_without_maintainer": "teams",
    "team_without_members": "teams",
    "team_without_pipelines": "all_teams",
    "default_team_manages": "teams",
    "many_administrators": "members",
    "dormant_access": "teams_and_builds",
    "used_after_end": "all_teams",
    "redundant_path": "teams",
    "member_without_team": "all_teams",
    "sso_optional": "all_members",
    "secret_teams_unseen": "any",
}
RULES = Access(most_administrators=3, dormant_days=1)
DORMANT_AFTER = timedelta(days=RULES.dormant_days)


@dataclass(frozen=True)
class Use:
    """A build that somebody created."""

    user: str
    pipeline: str
    at: datetime


@dataclass(frozen=True)
class Builds:
    """What is known of builds, and the days that were read."""

    uses: Sequence[Use]
    days: Collection[date]


def findings(timeline: Sequence[Moment], pipelines: Sequence[str], builds: Builds) -> set[Finding]:
    """Every finding over time, and what cannot be evaluated."""
    found: set[Finding] = set()
    moments = [moment.at for moment in timeline]
    for rule, need in NEEDS.items():
        covering = {moment.at for moment in timeline if _covers(moment, need, builds.days)}
        # Between snapshots nothing is known to change, but access is used.
        instants = sorted({*moments, *(use.at for use in builds.uses if use.at > moments[0])})
        states = {
            at: _states(
                next(m for m in reversed(timeline) if m.at <= at), pipelines, at, builds.uses
            ).get(rule, set())
            for at in (instants if rule == "dormant_access" else moments)
        }
        for subject in {subject for state in states.values() for subject in state}:
            found |= {
                (rule, "resolved" if resolved else "open", *subject, first_seen, resolved)
                for first_seen, resolved in _spells(states, covering, subject)
            }
        if not covering or ("teams" in need and not timeline[-1].known.teams):
            found.add((rule, "not_evaluated", None, None, None, None, None))
    return found


def dormant_memberships(known: Known, at: datetime, uses: Sequence[Use]) -> set[tuple[str, str]]:
    """The members and teams, default ones aside, whose access is old and was not used of late."""
    dormant = set()
    for (team, user), (_, joined_at) in known.team_members.items():
        levels = {
            pipeline: datetime.fromisoformat(max(str(joined_at), str(given_at)))
            for (other, pipeline), (level, given_at) in known.team_pipelines.items()
            if other == team and level != LEVELS[0]
        }
        is_old = any(since + DORMANT_AFTER <= at for since in levels.values())
        is_used = any(
            use.user == user and use.pipeline in levels and use.at <= at < use.at + DORMANT_AFTER
            for use in uses
        )
        is_administrator = known.members.get((user,), ("", "", ""))[1] == "ADMIN"
        if is_old and not is_used and not is_administrator and not known.teams[team,][3]:
            dormant.add((user, team))
    return dormant


def redundant_memberships(known: Known, pipelines: Sequence[str]) -> set[tuple[str, str]]:
    """The members and teams, default ones aside, without which nobody's level would be lower."""
    redundant = set()
    for team, user in known.team_members:
        without = Known(
            known.members,
            known.teams,
            {key: role for key, role in known.team_members.items() if key != (team, user)},
            known.team_pipelines,
        )
        is_administrator = known.members.get((user,), ("", "", ""))[1] == "ADMIN"
        gives = any(other == team for other, _ in known.team_pipelines)
        if gives and not is_administrator and not known.teams[team,][3]:
            before, after = effective(known, pipelines), effective(without, pipelines)
            if all(before[key] == after.get(key) for key in before):
                redundant.add((user, team))
    return redundant


def _spells(
    states: dict[datetime, set[Subject]], covering: Collection[datetime], subject: Subject
) -> list[tuple[datetime, datetime | None]]:
    """From when to when a finding stood, each from the first snapshot that could tell."""
    spells: list[tuple[datetime, datetime | None]] = []
    first_seen: datetime | None = None
    for at, state in states.items():
        if subject in state:
            if first_seen is None and at in covering:
                first_seen = at
        elif first_seen is not None:
            spells.append((first_seen, at))
            first_seen = None
    return spells if first_seen is None else [*spells, (first_seen, None)]


def _covers(moment: Moment, need: str, days: Collection[date]) -> bool:
    last = range(1, RULES.dormant_days + 1)
    return {
        "any": True,
        "members": True,
        "all_members": moment.is_administrator,
        "teams": bool(moment.shown.teams),
        "all_teams": moment.sees_all_teams and bool(moment.shown.teams),
        "teams_and_builds": bool(moment.shown.teams)
        and all(moment.at.date() - timedelta(days=n) in days for n in last),
    }[need]


def _states(
    moment: Moment, pipelines: Sequence[str], at: datetime, uses: Sequence[Use]
) -> dict[str, set[Subject]]:
    known = moment.known
    teams = [team for (team,) in known.teams]
    in_teams = {user for _, user in known.team_members}
    with_teams = {pipeline for _, pipeline in known.team_pipelines}
    maintained = {t for (t, _), (role, _) in known.team_members.items() if role == "MAINTAINER"}
    administrators = [key for key, (_, role, _) in known.members.items() if role == "ADMIN"]
    return {
        "pipeline_without_team": {
            (None, None, p) for p in pipelines if known.teams and p not in with_teams
        },
        "team_without_maintainer": {(None, t, None) for t in teams if t not in maintained},
        "team_without_members": {
            (None, t, None) for t in teams if t not in {team for team, _ in known.team_members}
        },
        "team_without_pipelines": {
            (None, t, None) for t in teams if t not in {team for team, _ in known.team_pipelines}
        },
        "default_team_manages": {
            (None, team, pipeline)
            for (team, pipeline), (level, _) in known.team_pipelines.items()
            if level == LEVELS[2] and known.teams[team,][3]
        },
        "many_administrators": (
            {(None, None, None)} if len(administrators) > RULES.most_administrators else set()
        ),
        "member_without_team": {
            (user, None, None) for (user,) in known.members if known.teams and user not in in_teams
        },
        "sso_optional": {
            (user, None, None)
            for (user,), (_, _, mode) in known.members.items()
            if mode == "OPTIONAL"
        },
        "dormant_access": {
            (user, team, None) for user, team in dormant_memberships(known, at, uses)
        },
        "redundant_path": {
            (user, team, None) for user, team in redundant_memberships(known, pipelines)
        },
        "secret_teams_unseen": set() if moment.sees_all_teams else {(None, None, None)},
    }

"""The findings that whole states tell, rule by rule, moment by moment."""

from collections.abc import Sequence
from datetime import datetime

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
    "dormant_access": "builds",
    "used_after_end": "all_teams",
    "redundant_path": "teams",
    "member_without_team": "all_teams",
    "sso_optional": "all_members",
    "secret_teams_unseen": "any",
}
MOST_ADMINISTRATORS = 5


def findings(timeline: Sequence[Moment], pipelines: Sequence[str]) -> set[Finding]:
    """Every finding over time, except of `redundant_path`, and what cannot be evaluated."""
    found: set[Finding] = set()
    states = [_states(moment, pipelines) for moment in timeline]
    for rule, need in NEEDS.items():
        for subject in {subject for state in states for subject in state.get(rule, set())}:
            found |= {
                (rule, "resolved" if resolved else "open", *subject, first_seen, resolved)
                for first_seen, resolved in _spells(timeline, states, rule, subject)
            }
        is_covered = any(_covers(moment, need) for moment in timeline)
        if not is_covered or ("teams" in need and not timeline[-1].known.teams):
            found.add((rule, "not_evaluated", None, None, None, None, None))
    return found


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
    timeline: Sequence[Moment],
    states: Sequence[dict[str, set[Subject]]],
    rule: str,
    subject: Subject,
) -> list[tuple[datetime, datetime | None]]:
    """From when to when a finding stood, each from the first snapshot that could tell."""
    spells: list[tuple[datetime, datetime | None]] = []
    first_seen: datetime | None = None
    for moment, state in zip(timeline, states, strict=True):
        if subject in state.get(rule, set()):
            if first_seen is None and _covers(moment, NEEDS[rule]):
                first_seen = moment.at
        elif first_seen is not None:
            spells.append((first_seen, moment.at))
            first_seen = None
    return spells if first_seen is None else [*spells, (first_seen, None)]


def _covers(moment: Moment, need: str) -> bool:
    return {
        "any": True,
        "members": True,
        "all_members": moment.is_administrator,
        "teams": bool(moment.shown.teams),
        "all_teams": moment.sees_all_teams and bool(moment.shown.teams),
        "builds": False,
    }[need]


def _states(moment: Moment, pipelines: Sequence[str]) -> dict[str, set[Subject]]:
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
            {(None, None, None)} if len(administrators) > MOST_ADMINISTRATORS else set()
        ),
        "member_without_team": {
            (user, None, None) for (user,) in known.members if known.teams and user not in in_teams
        },
        "sso_optional": {
            (user, None, None)
            for (user,), (_, _, mode) in known.members.items()
            if mode == "OPTIONAL"
        },
        "secret_teams_unseen": set() if moment.sees_all_teams else {(None, None, None)},
    }

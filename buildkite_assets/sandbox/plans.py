"""Which builds a day of acme has. A day's plans follow from the seed and the day alone."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from .company import RED_PIPELINE, TIME_ZONE, Company
from .identity import dice, digest
from .model import User

Fate = Literal["runs", "canceled", "skipped", "not_run"]

_HOUR_WEIGHTS = (1, 1, 1, 1, 1, 2, 3, 6, 10, 12, 13, 15, 18, 15, 13, 12, 11, 8, 5, 3, 2, 2, 1, 1)
"""How busy each local hour is."""

_WEEKEND_SHARE = 0.2
_PIPELINE_WEIGHTS = {
    "web": 24,
    "api": 22,
    "app": 20,
    "mobile": 12,
    "infra": 8,
    "docs": 7,
    "deploy": 3,
}
_NO_FOLLOWER_HOUR = 20
"""From this hour (UTC) on nothing is triggered or rebuilt: each day's builds stay its own."""

_RED_DAY, _RED_EVERY_DAYS, _RED_HOUR = 9, 28, 10
"""api's main turns red at 10:00 UTC on a Tuesday, every 28 days, for two days."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What is settled about a build before it is created; `name` sets it apart from all others."""

    name: str
    pipeline: str
    created_at: datetime
    branch: str
    commit: str
    message: str
    source: str
    fate: Fate = "runs"
    creator: User | None = None
    author: dict[str, str] | str | None = None
    meta_data: dict[str, str] = field(default_factory=dict)
    pull_request: dict[str, Any] | None = None
    merge_queue_base_branch: str | None = None
    is_red: bool = False
    may_trigger: bool = False
    rebuilt_after_seconds: float | None = None

    def dice(self) -> random.Random:
        """Return the dice that decide how the build goes."""
        return dice(self.name)


def plan_day(company: Company, seed: int, day: date, builds_per_day: int) -> list[BuildPlan]:
    """Return the plans of all builds that start on their own that day (UTC), oldest first."""
    roll = dice(seed, day)
    is_weekend = day.weekday() >= 5  # noqa: PLR2004 - Saturday is 5
    count = round(builds_per_day * (_WEEKEND_SHARE if is_weekend else roll.uniform(0.9, 1.1)))
    midnight = datetime.combine(day, time(), UTC)
    hours = [midnight + timedelta(hours=hour) for hour in range(24)]
    weights = [_HOUR_WEIGHTS[hour.astimezone(TIME_ZONE).hour] for hour in hours]
    slugs = roll.choices(list(_PIPELINE_WEIGHTS), list(_PIPELINE_WEIGHTS.values()), k=count)
    plans = [
        _plan_build(company, dice(name), name, slug, hour + timedelta(seconds=roll.random() * 3600))
        for n, (slug, hour) in enumerate(
            zip(slugs, roll.choices(hours, weights, k=count), strict=True)
        )
        for name in [f"{seed}/{day}/{n}"]
    ]
    plans += [
        _plan_scheduled(f"{seed}/{day}/{slug}/{hour}", slug, midnight + timedelta(hours=hour))
        for slug, hour in (("nightly", 1), ("nightly", 13), ("infra", 4))
    ]
    return sorted(plans, key=lambda plan: plan.created_at)


def happens(roll: random.Random, chance: float) -> bool:
    """Return whether something of this chance (0 to 1) happens this time."""
    return roll.random() < chance


def _plan_scheduled(name: str, slug: str, hour: datetime) -> BuildPlan:
    return BuildPlan(
        name,
        slug,
        hour + timedelta(milliseconds=dice(name).randrange(3000)),
        "main",
        digest(name, "commit"),
        "Scheduled build",
        "schedule",
    )


def _plan_build(
    company: Company, roll: random.Random, name: str, slug: str, created_at: datetime
) -> BuildPlan:
    user = roll.choice(company.users)
    email = {"username": user.email.split("@")[0], "name": user.name, "email": user.email}
    plan = BuildPlan(
        name,
        slug,
        created_at,
        "main",
        digest(name, "commit"),
        f"Merge pull request #{roll.randrange(1000, 9000)} from {user.name.split()[0].lower()}",
        "webhook",
        may_trigger=created_at.hour < _NO_FOLLOWER_HOUR,
    )
    if plan.may_trigger and happens(roll, 0.04):
        plan = replace(plan, rebuilt_after_seconds=roll.uniform(300, 7200))
    # Buildkite knows the author's account most of the time; otherwise there is only git's word.
    known = happens(roll, 0.7)
    plan = replace(plan, creator=user if known else None, author=None if known else email)
    kind = roll.choices(("main", "merge queue", "branch"), (36, 10, 54))[0]
    if slug == "deploy":
        return replace(plan, source="ui", creator=user, author=None, **_deployment(plan.commit))
    if kind == "main":
        return replace(plan, is_red=slug == RED_PIPELINE and _is_red(created_at))
    if kind == "merge queue" and slug in ("app", "web"):
        pull_request = roll.randrange(1000, 9000)
        return replace(
            plan,
            branch=f"gh-readonly-queue/main/pr-{pull_request}-{plan.commit}",
            merge_queue_base_branch="main",
            may_trigger=False,
        )
    return _plan_branch_build(plan, roll, user)


def _plan_branch_build(plan: BuildPlan, roll: random.Random, user: User) -> BuildPlan:
    topic = roll.choice(("fix-login", "faster-tests", "new-cart", "upgrade", "typo", "metrics"))
    branch = f"{user.name.split()[0].lower()}/{topic}-{roll.randrange(40)}"
    fate: Fate = roll.choices(("runs", "canceled", "skipped", "not_run"), (88, 7, 3, 2))[0]
    plan = replace(
        plan, branch=branch, message=f"{topic} :sparkles:\n\nSecond line", fate=fate,
        may_trigger=False,
    )  # fmt: skip
    source = roll.choices(("webhook", "ui", "api"), (88, 8, 4))[0]
    if source == "api":
        # The API takes the author as a mere string.
        return replace(plan, source="api", creator=user, author=f"{user.name} <{user.email}>")
    if source == "ui":
        return replace(plan, source="ui", creator=user, author=None)
    return replace(
        plan,
        pull_request={
            "id": str(roll.randrange(1000, 9000)),
            "base": "main",
            "repository": f"https://github.com/acme/{plan.pipeline}.git",
            "labels": roll.sample(("bug", "feature", "urgent"), k=roll.randrange(2)),
        },
    )


def _deployment(commit: str) -> dict[str, Any]:
    return {"meta_data": {"environment": "production", "app:production:version": commit[:7]}}


def triggered_plan(parent: BuildPlan, slug: str, created_at: datetime) -> BuildPlan:
    """Return the plan of the build that a trigger step starts."""
    plan = BuildPlan(
        f"{parent.name}/{slug}",
        slug,
        created_at,
        "main",
        parent.commit,
        parent.message,
        "trigger_job",
        creator=parent.creator,
    )
    if slug != "deploy":
        return plan
    version = {f"{parent.pipeline}:production:version": parent.commit[:7]}
    return replace(plan, meta_data={"environment": "production", **version})


def rebuild_plan(source: BuildPlan, user: User) -> BuildPlan | None:
    """Return the plan of the build that repeats another one's commit, if somebody asks for it."""
    if source.rebuilt_after_seconds is None:
        return None
    return replace(
        source,
        name=f"{source.name}/rebuild",
        created_at=source.created_at + timedelta(seconds=source.rebuilt_after_seconds),
        source="ui",
        creator=user,
        may_trigger=False,
        rebuilt_after_seconds=None,
    )


def _is_red(at: datetime) -> bool:
    """Return whether api's main is broken for good at this time."""
    since_red_began = at - timedelta(hours=_RED_HOUR)
    return since_red_began.toordinal() % _RED_EVERY_DAYS in (_RED_DAY, _RED_DAY + 1)

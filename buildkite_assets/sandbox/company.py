"""The company `acme`: its people, teams, clusters and pipelines, without any builds."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from .identity import dice
from .model import Cluster, Pipeline, Step, Team, User
from .organization import Organization

TIME_ZONE = ZoneInfo("Europe/Berlin")
"""Where acme works: its busy hours and its noon are local."""

MACOS_QUEUE = "macos"
FLAKY_PIPELINE, FLAKY_STEP = "web", "e2e"
RED_PIPELINE = "api"
SOFT_STEP = "audit"
CONDITIONAL_STEP = "windows"
GPU_QUEUE = "gpu"

_FIRST_NAMES = (
    "Alma Bela Chen Dora Emil Fatma Gus Hana Igor Jana Kofi Lena Milo Nora Omar Pia Quinn Rosa "
    "Sami Tara Uwe Vera Wim Xenia Yuri Zoe Anton Bina Carlo Dina Eero Freya Goran Hilde Ines "
    "Juri Kaia Lars Mina Nils"
)
_LAST_NAMES = "Abel Brandt Costa Duran Eklund Fischer Green Haas Ito Jensen Klein Lopez"
_ADMINISTRATORS = 2

_Level = Literal["read_only", "build_and_read", "manage_build_and_read"]


@dataclass(frozen=True, slots=True)
class Company:
    """The organization with its people and pipelines as founded, whatever is renamed later.

    The last one of the people has the `member` token.
    """

    organization: Organization
    users: list[User]
    pipelines: dict[str, Pipeline]

    @property
    def administrator(self) -> User:
        """The user of the `administrator` token."""
        return self.users[0]


def found_company(
    seed: int,
    clock: Callable[[], datetime],
    lock: threading.RLock,
    founded_at: datetime,
    jobs_per_build: int,
) -> Company:
    """Return acme as it was founded; builds have about `jobs_per_build` jobs."""
    acme = Organization("acme", "Acme :rocket:", clock=clock, lock=lock, created_at=founded_at)
    users = _hire(acme, seed, founded_at)
    linux = acme.add_cluster(
        "Linux", ["default", "large", "deploy", GPU_QUEUE], created_by=users[0], at=founded_at
    )
    apple = acme.add_cluster("Apple", ["default", MACOS_QUEUE], created_by=users[1], at=founded_at)
    for cluster, keys in (
        (linux, ("default", "large", "deploy", GPU_QUEUE)),
        (apple, (MACOS_QUEUE,)),
    ):
        for queue in cluster.queues:
            if queue.key in keys:
                acme.add_agents(queue.key, 12, queue=queue, at=founded_at)
    acme.add_agents("default", 12, at=founded_at)
    _add_pipelines(acme, users, (linux, apple), founded_at, jobs_per_build)
    _add_teams(acme, users, founded_at)
    return Company(acme, users, dict(acme.pipelines))


def _hire(acme: Organization, seed: int, founded_at: datetime) -> list[User]:
    roll = dice(seed, "people")
    last_names = _LAST_NAMES.split()
    users = []
    for n, first_name in enumerate(_FIRST_NAMES.split()):
        name = f"{first_name} {last_names[n % len(last_names)]}"
        role: Literal["admin", "member"] = "admin" if n < _ADMINISTRATORS else "member"
        sso_mode: Literal["required", "optional"] = roll.choices(("required", "optional"), (9, 1))[
            0
        ]
        at = founded_at + timedelta(days=n, minutes=roll.randrange(600))
        users.append(acme.add_user(name, role=role, sso_mode=sso_mode, at=at))
    return users


def _add_teams(acme: Organization, users: list[User], founded_at: datetime) -> None:
    """Add 8 teams. The last user but one is in none, Data has no maintainer."""
    in_teams = [user for user in users if user is not users[-2]]
    plans: list[tuple[str, Iterable[User], dict[str, _Level]]] = [
        ("Everyone", in_teams, {"docs": "read_only", "web": "read_only"}),
        ("Web", in_teams[2:12], {"web": "manage_build_and_read", "app": "build_and_read"}),
        ("API", in_teams[10:18], {"api": "manage_build_and_read"}),
        ("Mobile", in_teams[18:24], {"mobile": "manage_build_and_read"}),
        ("Infrastructure", in_teams[24:30], {"infra": "manage_build_and_read"}),
        ("Release", in_teams[1:5], {"deploy": "manage_build_and_read", "app": "build_and_read"}),
        ("Security", in_teams[28:32], {"infra": "build_and_read", "api": "read_only"}),
        ("Data", in_teams[32:39], {"nightly": "build_and_read"}),
    ]
    for n, (name, members, levels) in enumerate(plans):
        at = founded_at + timedelta(days=10 + n)
        team: Team = acme.add_team(
            name,
            privacy="secret" if name == "Security" else "visible",
            default=name == "Everyone",
            created_by=users[0],
            at=at,
        )
        for position, user in enumerate(members):
            leads = position == 0 and name != "Data"
            acme.add_team_member(team, user, role="maintainer" if leads else "member", at=at)
        for slug, level in levels.items():
            acme.set_team_pipeline(team, slug, level, at=at)


def _script(key: str, name: str, *, queue: str = "default", **more: object) -> Step:
    step = Step("script", name=name, key=key, command=f"bin/ci {key}", queue_key=queue)
    for attribute, value in more.items():
        setattr(step, attribute, value)
    return step


def _parallel(step: Step, total: int) -> list[Step]:
    if total < 2:  # noqa: PLR2004 - one job alone is not parallel
        return [step]
    sharded = replace(step, name=f"{step.name} %N/%t", parallelism=total)
    return [replace(sharded, parallel_index=n) for n in range(total)]


def _add_pipelines(
    acme: Organization,
    users: list[User],
    clusters: tuple[Cluster, Cluster],
    founded_at: datetime,
    jobs_per_build: int,
) -> None:
    upload = Step("script", name=":pipeline: Upload", command="buildkite-agent pipeline upload")
    waiter = Step("waiter")
    tests = max(1, jobs_per_build - 4)
    unit = _parallel(_script("unit", ":test_tube: Unit tests", group_key="tests"), tests)
    lint = _script("lint", ":broom: Lint", group_key="checks")
    image = _script("image", ":docker: build image", queue="large")
    matrix = [
        _script("smoke", "Smoke {{matrix.python}}", matrix={"python": python}, group_key="tests")
        for python in ("3.11", "3.14")
    ]
    deploy = Step("trigger", name=":rocket: Deploy", key="deploy", triggers="deploy")
    refresh = Step("trigger", name="Docs", key="docs", triggers="docs", is_async=True)
    steps: dict[str, list[Step]] = {
        "app": [
            *(upload, waiter, lint, *unit[: -len(matrix)], *matrix),
            _script(SOFT_STEP, ":lock: Audit", soft_fail=True),
            _script(CONDITIONAL_STEP, "Windows"),
            *(waiter, image, deploy),
        ],
        "api": [upload, waiter, lint, *unit, waiter, image, deploy],
        "web": [
            *(upload, waiter, lint, *unit),
            _script(FLAKY_STEP, ":chrome: End to end", queue="large"),
            *(waiter, image, refresh),
        ],
        "mobile": [
            _script("sign", "🔑 Sign", queue=MACOS_QUEUE),
            waiter,
            *_parallel(
                _script("simulator", ":iphone: Simulator", queue=MACOS_QUEUE), max(2, tests - 1)
            ),
            _script("android", ":android: Emulator", queue=MACOS_QUEUE),
        ],
        "infra": [
            *(upload, waiter, _script("plan", ":terraform: plan"), lint),
            Step("manual", name="Apply?", key="apply-gate"),
            _script("apply", ":terraform: apply", queue="deploy"),
        ],
        "docs": [_script("links", "Links"), _script("spelling", "")],
        "deploy": [
            _script("deploy-staging", ":ship: Staging", queue="deploy"),
            Step("manual", name=":rocket: Release to production?", key="release"),
            _script("deploy-production", ":ship: Production", queue="deploy"),
        ],
        "nightly": [upload, waiter, *unit, *matrix, _script("train", "Train", queue=GPU_QUEUE)],
        "legacy": [upload],
    }
    emojis = {"web": ":globe_with_meridians:", "mobile": ":iphone:", "infra": "🏗️"}
    linux, apple = clusters
    cluster_of = {"mobile": apple, "docs": None, "legacy": None}
    for n, (slug, own_steps) in enumerate(steps.items()):
        acme.add_pipeline(
            slug,
            name=f":snake: {slug.capitalize()}" if slug == "api" else None,
            cluster=cluster_of.get(slug, linux),
            steps=own_steps,
            created_by=users[n],
            default_branch=None if slug == "nightly" else "main",
            tags=["production"] if slug in ("app", "api", "deploy") else None,
            emoji=emojis.get(slug),
            visibility="public" if slug == "docs" else "private",
            at=founded_at + timedelta(days=20 + n),
        )
    acme.archive_pipeline("legacy", at=founded_at + timedelta(days=300))

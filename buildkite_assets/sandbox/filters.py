"""The query parameters of the builds lists."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from starlette.datastructures import QueryParams

from .bodies import waits_in_paused_queue
from .errors import invalid
from .model import BUILD_STATES, Build

_FINISHED = frozenset({"passed", "failed", "blocked", "canceled"})
"""What the filter `finished` stands for: skipped and not_run are missing, as in Buildkite."""

_META_DATA = re.compile(r"meta_data\[(.+)\]")


@dataclass(frozen=True, slots=True)
class BuildFilter:
    """Which builds a request asks for, and what of them it wants left out."""

    branches: tuple[str, ...] = ()
    commits: frozenset[str] = frozenset()
    created_from: datetime | None = None
    created_to: datetime | None = None
    finished_from: datetime | None = None
    creator: str | None = None
    states: frozenset[str] = frozenset()
    meta_data: dict[str, str] = field(default_factory=dict)
    include_retried_jobs: bool = False
    exclude_jobs: bool = False
    exclude_pipeline: bool = False
    include_paused: bool = True

    @classmethod
    def of(cls, query: QueryParams, *, include_retried_jobs: bool = False) -> "BuildFilter":
        """Read the parameters of a request.

        Raises:
            ApiError: 422, a state is unknown or a time does not parse.
        """
        states = many(query, "state")
        for state in states:
            if state not in BUILD_STATES and state != "finished":
                raise invalid("state")
        if "finished" in states:
            states = [*states, *_FINISHED]
        return cls(
            branches=tuple(many(query, "branch")),
            commits=frozenset(many(query, "commit")),
            created_from=_instant(query, "created_from"),
            created_to=_instant(query, "created_to"),
            finished_from=_instant(query, "finished_from"),
            creator=query.get("creator"),
            states=frozenset(states),
            meta_data={
                match[1]: value
                for key, value in query.multi_items()
                if (match := _META_DATA.fullmatch(key))
            },
            include_retried_jobs=flag(query, "include_retried_jobs", default=include_retried_jobs),
            exclude_jobs=flag(query, "exclude_jobs", default=False),
            exclude_pipeline=flag(query, "exclude_pipeline", default=False),
            include_paused=flag(query, "include_paused", default=True),
        )

    def apply(self, builds: list[Build]) -> list[Build]:
        """Return those of the builds (in order of creation) that match, in the same order."""
        start = _position(builds, self.created_from, default=0)
        end = _position(builds, self.created_to, default=len(builds))
        matching: Iterable[Build] = builds[start:end]
        for condition in self._conditions():
            matching = filter(condition, matching)
        return list(matching)

    def _conditions(self) -> list[Callable[[Build], bool]]:
        """Return only the conditions that were asked for: lists are long."""
        conditions: list[Callable[[Build], bool]] = []
        if self.states:
            conditions.append(self._has_state)
        if self.finished_from is not None:
            from_ = self.finished_from
            conditions.append(
                lambda build: build.finished_at is not None and build.finished_at >= from_
            )
        if self.branches:
            conditions.append(
                lambda build: any(fnmatchcase(build.branch, branch) for branch in self.branches)
            )
        if self.commits:
            conditions.append(lambda build: build.commit in self.commits)
        if self.creator is not None:
            conditions.append(
                lambda build: build.creator is not None and build.creator.id == self.creator
            )
        if self.meta_data:
            conditions.append(lambda build: self.meta_data.items() <= build.meta_data.items())
        if not self.include_paused:
            conditions.append(
                lambda build: (
                    not build.jobs
                    or not all(waits_in_paused_queue(job.queue) for job in build.jobs)
                )
            )
        return conditions

    def _has_state(self, build: Build) -> bool:
        return build.state in self.states or (build.blocked and "blocked" in self.states)


def many(query: QueryParams, name: str) -> list[str]:
    """Return the values of a parameter that may be given once, or often as `name[]`."""
    return [*query.getlist(name), *query.getlist(f"{name}[]")]


def flag(query: QueryParams, name: str, *, default: bool) -> bool:
    """Return a parameter that is true or false."""
    return query.get(name, str(default).lower()) == "true"


def _position(builds: list[Build], at: datetime | None, *, default: int) -> int:
    if at is None:
        return default
    return bisect_left(builds, at, key=lambda build: build.created_at)


def _instant(query: QueryParams, name: str) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(name) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)

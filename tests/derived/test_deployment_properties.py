"""Deployments of builds that people retry, against a build that is lived minute by minute.

The model knows nothing of the past: it looks at the jobs whenever a round of work is over, and
notes down what a bystander would see at that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Deployment, Rules

from .history import History, at, plus

BEGIN = "2026-11-02 10:00"
RULES = Rules(deployments=(Deployment("production", "web", step="ship*"),))
BY_META_DATA = {"environment": "production"}

Seen = tuple[datetime, bool]


@dataclass
class Attempt:
    """One run of a job, in minutes since the build was created."""

    created: int
    state: str = "waiting"
    began: int | None = None
    ended: int | None = None
    retried: str | None = None


@dataclass
class Life:
    """A build's jobs as they are now, and the deployments that a bystander has seen."""

    now: int = 0
    jobs: list[list[Attempt]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    round_began: int = -1

    def act(self, action: str, nth: int, ending: str) -> None:
        """Let a minute pass, then let something happen, if it can."""
        self.now += 1
        if action == "upload" and len(self.jobs) < 4:
            self.jobs.append([Attempt(self.now)])
        jobs = [job for job in self.jobs if self._can(action, job[-1])]
        if not jobs or action == "upload":
            return
        job = jobs[nth % len(jobs)]
        if action == "begin":
            job[-1].began, job[-1].state = self.now, "running"
        elif action == "finish":
            job[-1].ended, job[-1].state = self.now, ending
        else:
            if action == "manual" and not self._has("running"):
                self.look()
                self.round_began = self.now
            job[-1].retried = action
            job.append(Attempt(self.now, "running", self.now))

    def look(self) -> None:
        """Note the deployment that the round has brought, if it has."""
        latest = [job[-1] for job in self.jobs]
        own = [each for each in latest if each.ended and each.ended >= self.round_began]
        is_over = not self._has("running")
        has_verdict = any(each.state in {"passed", "failed"} for each in own)
        is_decided = self._has("failed") or self._has("canceled") or not self._has("waiting")
        if is_over and has_verdict and is_decided:
            end = max(each.ended for each in own if each.ended)
            self.seen.append((naive(end), all(each.state == "passed" for each in latest)))

    def look_at_build(self) -> str:
        """End the build, note what it brought as a whole, and return its state."""
        self.now += 1
        if self._has("running"):
            return "running"
        if self._has("canceled"):
            return "canceled"
        if self._has("failed"):
            self.seen.append((naive(self.now), False))
            return "failed"
        if not self._has("waiting"):
            self.seen.append((naive(self.now), True))
        return "passed"

    @property
    def is_blocked(self) -> bool:
        """Whether a job waits for somebody, and nothing else is to do."""
        states = {job[-1].state for job in self.jobs}
        return "waiting" in states and states <= {"passed", "waiting"}

    def _has(self, state: str) -> bool:
        return any(job[-1].state == state for job in self.jobs)

    @staticmethod
    def _can(action: str, attempt: Attempt) -> bool:
        return {
            "begin": attempt.state == "waiting",
            "finish": attempt.state == "running",
        }.get(action, attempt.ended is not None)


def naive(minute: int) -> datetime:
    return at(BEGIN).replace(tzinfo=None) + timedelta(minutes=minute)


def text(minute: int | None) -> str | None:
    return None if minute is None else plus(BEGIN, minutes=minute)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "finish", "finish", "manual", "automatic", "upload"]),
        st.integers(0, 3),
        st.sampled_from(["passed", "passed", "failed", "canceled"]),
    ),
    max_size=30,
)


def lived(jobs: int, actions: Sequence[tuple[str, int, str]]) -> Life:
    life = Life(jobs=[[Attempt(0)] for _ in range(jobs)])
    for action in actions:
        life.act(*action)
    return life


LIVES = st.builds(lived, st.integers(0, 3), ACTIONS)


def store(life: Life, history: History, build: UUID, **columns: bool) -> None:
    for n, job in enumerate(life.jobs):
        ids = []
        for attempt in job:
            # Behind a block, as long as it waits.
            state = "blocked" if attempt.state == "waiting" else attempt.state
            began = text(attempt.began)
            ids.append(
                history.job(
                    build, f"ship-{n}", began, began, text(attempt.ended), state,
                    created_at=text(attempt.created), **columns,
                )
            )  # fmt: skip
        for earlier, later, attempt in zip(ids, ids[1:], job, strict=False):
            history.retry(earlier, later, attempt.retried or "")


@settings(max_examples=15, deadline=None)
@given(st.lists(LIVES, min_size=4, max_size=12))
def test_deployments_of_a_rules_jobs_are_those_that_a_bystander_sees(lives: list[Life]) -> None:
    """What runs beside them, here in an open build, is no matter."""
    history = History(RULES)
    pipeline = history.pipeline()
    expected = []
    for number, life in enumerate(lives, 1):
        build = history.build(pipeline, BEGIN, "running")
        history.job(build, "test", BEGIN, BEGIN)
        store(life, history, build)
        life.look()
        expected += [(number, n, *seen) for n, seen in enumerate(life.seen, 1)]
    history.derive("deployments")
    columns = ["number", "deployment_no", "deployed_at", "is_success"]
    assert history.rows("deployments", *columns) == expected


# The first round ended at a block, and so deployed nothing as a whole.
AT_A_BLOCK = lived(
    2,
    [("begin", 0, ""), ("finish", 0, "passed"), ("manual", 0, ""), ("finish", 0, "failed")],
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(LIVES, st.booleans()), min_size=4, max_size=12))
@example([(AT_A_BLOCK, False)])
def test_deployments_of_a_whole_build_are_those_that_a_bystander_sees(
    lives: list[tuple[Life, bool]],
) -> None:
    """A job that failed softly leaves the build passed, and the deployment failed."""
    history = History()
    pipeline = history.pipeline()
    expected = []
    for number, (life, is_soft) in enumerate(lives, 1):
        state = life.look_at_build()
        build = history.build(
            pipeline, BEGIN, "passed" if is_soft and state == "failed" else state,
            finished_at=None if state == "running" else text(life.now),
            blocked=life.is_blocked, meta_data=BY_META_DATA,
        )  # fmt: skip
        store(life, history, build, soft_failed=is_soft)
        expected += [(number, *seen) for seen in life.seen]
    history.derive("deployments")
    assert history.rows("deployments", "number", "deployed_at", "is_success") == expected


COMMITS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "HEAD", "", None]), st.booleans()),
    min_size=4,
    max_size=16,
)


def is_redeploy(commit: str | None, before: list[str | None]) -> bool | None:
    if commit is None:
        return None
    if not before:
        return False
    return None if before[-1] is None else before[-1] == commit


def is_rollback(commit: str | None, before: list[str | None]) -> bool | None:
    """Walk back to the last time that the commit was deployed."""
    if commit is None:
        return None
    has_other = has_unknown = False
    for earlier in reversed(before):
        if earlier == commit:
            return True if has_other else None if has_unknown else False
        has_unknown = has_unknown or earlier is None
        has_other = has_other or earlier is not None
    return None if has_unknown else False


@settings(max_examples=25, deadline=None)
@given(COMMITS)
def test_commits_are_compared_where_both_are_known(
    commits: list[tuple[str | None, bool]],
) -> None:
    history = History()
    pipeline = history.pipeline()
    before: list[str | None] = []
    expected: list[tuple[bool | None, bool | None]] = []
    for n, (commit, is_success) in enumerate(commits):
        history.build(
            pipeline, plus(BEGIN, hours=n), "passed" if is_success else "failed", commit=commit,
            finished_at=plus(BEGIN, hours=n, minutes=10), meta_data=BY_META_DATA,
        )  # fmt: skip
        known = None if commit in {"", "HEAD"} else commit
        if is_success:
            expected.append((is_redeploy(known, before), is_rollback(known, before)))
            before.append(known)
        else:
            expected.append((False, False))
    history.derive("dora_weekly")
    assert history.rows("deployments", "is_redeploy", "is_rollback") == expected
    [(rollbacks, compared)] = history.connection.execute(
        "SELECT coalesce(sum(rollbacks), 0), coalesce(sum(compared_deployments), 0) "
        "FROM dora_weekly"
    ).fetchall()
    told = [rollback for (_, rollback), (_, is_success) in zip(expected, commits, strict=True)
            if is_success and rollback is not None]  # fmt: skip
    assert (rollbacks, compared) == (sum(told), len(told))

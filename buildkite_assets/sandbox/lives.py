"""How a planned build goes: the operations on it, each with its instant, until it rests."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from .company import (
    CONDITIONAL_STEP,
    FLAKY_PIPELINE,
    FLAKY_STEP,
    GPU_QUEUE,
    MACOS_QUEUE,
    RED_PIPELINE,
    SOFT_STEP,
    TIME_ZONE,
    Company,
)
from .model import Build, Job, Pipeline, Step, User
from .plans import BuildPlan, happens, rebuild_plan, triggered_plan

if TYPE_CHECKING:
    import random

_NOON_HOURS = (12, 13)
_STARVED_WAIT_SECONDS = (1260.0, 2400.0)
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_MOST_ATTEMPTS = 3

_RUN_SECONDS = {
    "lint": 40.0,
    "unit": 210.0,
    FLAKY_STEP: 400.0,
    "image": 150.0,
    "simulator": 480.0,
    "android": 420.0,
    "train": 1800.0,
    "deploy-production": 90.0,
}
_OTHER_RUN_SECONDS = 20.0

_FAILURE_RATES = {"lint": 0.02, "unit": 0.09, "simulator": 0.08, "plan": 0.05, "spelling": 0.1}
"""How often a branch's step fails for good reasons, over all its parallel jobs."""

_MAIN_FAILURE_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class _Outcome:
    state: str = "passed"
    exit_status: int = 0
    soft_failed: bool = False
    signal: str | None = None
    signal_reason: str | None = None
    is_retried: bool = False

    @property
    def is_hard_failure(self) -> bool:
        return self.state != "passed" and not self.soft_failed


_PASSED = _Outcome()
_FAILED = _Outcome("failed", 1)
_FLAKED = _Outcome("failed", 1, is_retried=True)
_SOFT_FAILED = _Outcome("failed", 2, soft_failed=True)
_AGENT_LOST = _Outcome("failed", -1, signal_reason="agent_stop", is_retried=True)
_TIMED_OUT = _Outcome("timed_out", -1, signal="SIGKILL")
_SOFT_TIMED_OUT = replace(_TIMED_OUT, soft_failed=True)


class Life:
    """The events of one build in the order of time.

    `followers` are the lives of the builds that it triggers or that repeat it; `number` is set
    before the first event. What happens is settled when the life is made, from the plan alone.
    """

    def __init__(self, company: Company, plan: BuildPlan, rebuilt: "Life | None" = None) -> None:
        self.plan = plan
        self.number = 0
        self.followers: list[Life] = []
        self.build: Build | None = None
        self.first_end: tuple[datetime, bool] = (plan.created_at, False)
        """When the build first rests, and whether it then has failed."""
        self._company = company
        self._organization = company.organization
        self._pipeline: Pipeline = company.pipelines[plan.pipeline]
        self._rebuilt = rebuilt
        self._roll: random.Random = plan.dice()
        self._steps = [
            step for step in self._pipeline.steps if plan.may_trigger or step.type != "trigger"
        ]
        self._attempts: list[Job] = []
        self._events: list[tuple[datetime, Callable[[], None]]] = []
        self._done = 0
        self._has_ended = False
        self._plan()

    @property
    def next_at(self) -> datetime | None:
        """When the next event is due; None once the build rests for good."""
        return self._events[self._done][0] if self._done < len(self._events) else None

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due."""
        while (at := self.next_at) is not None and at <= now:
            _, happen = self._events[self._done]
            self._done += 1
            happen()

    # Planning

    def _plan(self) -> None:
        plan = self.plan
        self._at(plan.created_at, self._create)
        if plan.fate in ("skipped", "not_run"):
            self._at(plan.created_at + timedelta(seconds=2), self._skip)
        else:
            self._plan_stages()
            self._events.sort(key=lambda event: event[0])
            if plan.fate == "canceled":
                self._plan_cancellation()
        again = rebuild_plan(plan, self._roll.choice(self._company.users))
        if again is not None:
            self.followers.append(Life(self._company, again, rebuilt=self))

    def _at(self, at: datetime, happen: Callable[[], None]) -> None:
        self._events.append((at, happen))

    def _plan_stages(self) -> None:
        """Plan stage by stage: a waiter or a block begins a new one."""
        at = self.plan.created_at + timedelta(milliseconds=70)
        for gate, positions in _stages(self._steps):
            if gate is not None and self._steps[gate].type == "manual":
                self._plan_end(at, failed=False)
                unblocked_at = self._plan_unblocking(gate, at)
                if unblocked_at is None:
                    return
                at = unblocked_at
            elif gate is not None:
                at = at + timedelta(milliseconds=150)
                self._at(at, partial(self._pass_gate, gate, positions, at))
            ends = {position: self._plan_job(position, at) for position in positions}
            at = max((end for end, _ in ends.values()), default=at)
            failed = [position for position, (_, has_failed) in ends.items() if has_failed]
            if failed:
                self._plan_end(at, failed=True)
                retried_at = self._plan_retries_by_hand(failed, at)
                if retried_at is None:
                    return
                at = retried_at
        self._plan_end(at, failed=False)

    def _plan_end(self, at: datetime, *, failed: bool) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.first_end = (at, failed)
        self._at(at, partial(self._end, at))

    def _plan_unblocking(self, gate: int, at: datetime) -> datetime | None:
        if happens(self._roll, 0.3):
            return None
        is_late = happens(self._roll, 0.2)
        shortest, longest = (_DAY, 7 * _DAY) if is_late else (5 * _MINUTE, 90 * _MINUTE)
        seconds = self._roll.uniform(shortest, longest)
        unblocked_at = at + timedelta(seconds=seconds)
        user = self._roll.choice(self._company.users)

        self._at(unblocked_at, partial(self._unblock, gate, user, unblocked_at))
        return unblocked_at

    def _plan_retries_by_hand(self, failed: list[int], at: datetime) -> datetime | None:
        """Plan that somebody retries what failed; None if nobody does or it fails again."""
        if self.plan.is_red or happens(self._roll, 0.75):
            return None
        # What can trigger others is retried on its day: their builds belong to that day too.
        is_soon = self.plan.may_trigger or happens(self._roll, 0.5)
        shortest, longest = (_MINUTE, 3 * _HOUR) if is_soon else (18 * _HOUR, 30 * _HOUR)
        seconds = self._roll.uniform(shortest, longest)
        retried_at = at + timedelta(seconds=seconds)
        user = self._roll.choice(self._company.users)
        end = retried_at
        outcome = _PASSED if happens(self._roll, 0.75) else _FAILED
        for position in failed:
            self._at(retried_at, partial(self._retry, position, retried_at, by_hand=user))
            end = max(end, self._plan_attempt(position, retried_at, outcome))
        if outcome.is_hard_failure:
            self._plan_end(end, failed=True)
            return None
        return end

    def _plan_cancellation(self) -> None:
        canceled_at = self.plan.created_at + timedelta(seconds=self._roll.uniform(20, 400))
        if self.first_end[0] <= canceled_at:
            return
        self.first_end = (canceled_at, True)
        self._events = [event for event in self._events if event[0] < canceled_at]
        self._at(canceled_at, partial(self._cancel, canceled_at))

    def _plan_job(self, position: int, at: datetime) -> tuple[datetime, bool]:
        """Plan a job that is runnable at an instant: returns its end and whether it fails."""
        step = self._steps[position]
        if step.type == "trigger":
            return self._plan_trigger(position, step, at)
        if step.key == CONDITIONAL_STEP and happens(self._roll, 0.6):
            self._at(at, partial(self._finish, position, _Outcome("broken"), at))
            return at, False
        if step.queue_key == GPU_QUEUE and happens(self._roll, 0.2):
            expired_at = at + timedelta(days=1)
            self._at(expired_at, partial(self._finish, position, _Outcome("expired"), expired_at))
            return expired_at, True
        for attempt in range(_MOST_ATTEMPTS):
            outcome = self._outcome(step, attempt)
            at = self._plan_attempt(position, at, outcome)
            if not outcome.is_hard_failure:
                return at, False
            if not outcome.is_retried or attempt == _MOST_ATTEMPTS - 1:
                break
            at = at + timedelta(milliseconds=600)
            self._at(at, partial(self._retry, position, at, by_hand=None))
        return at, True

    def _plan_attempt(self, position: int, runnable_at: datetime, outcome: _Outcome) -> datetime:
        step = self._steps[position]
        started_at = runnable_at + timedelta(seconds=self._wait_seconds(step, runnable_at))
        usual_seconds = _RUN_SECONDS.get(step.key or "", _OTHER_RUN_SECONDS)
        run_seconds = usual_seconds * self._roll.lognormvariate(0, 0.35)
        if outcome is not _PASSED:
            run_seconds *= 0.8
        finished_at = started_at + timedelta(seconds=run_seconds)
        concurrency_wait_ms = self._roll.randrange(9000) if step.queue_key == "deploy" else None

        self._at(started_at, partial(self._start, position, concurrency_wait_ms, started_at))
        self._at(finished_at, partial(self._finish, position, outcome, finished_at))
        return finished_at

    def _plan_trigger(self, position: int, step: Step, at: datetime) -> tuple[datetime, bool]:
        child = Life(self._company, triggered_plan(self.plan, str(step.triggers), at))
        self.followers.append(child)

        def trigger() -> None:
            child.advance(at)
            if child.build is not None:
                self._organization.trigger_build(self._attempts[position], child.build, at=at)

        self._at(at, trigger)
        if happens(self._roll, 0.01):
            # Buildkite leaves a trigger job running for ever now and then.
            return at, False
        end, failed = (at, False) if step.is_async else child.first_end
        self._at(end, partial(self._finish, position, _FAILED if failed else _PASSED, end))
        return end, failed

    def _wait_seconds(self, step: Step, at: datetime) -> float:
        is_noon = at.astimezone(TIME_ZONE).hour in _NOON_HOURS
        if step.queue_key == MACOS_QUEUE:
            return self._roll.uniform(*_STARVED_WAIT_SECONDS if is_noon else (15.0, 120.0))
        return 1 + self._roll.expovariate(1 / (25 if is_noon else 8))

    def _outcome(self, step: Step, attempt: int) -> _Outcome:
        if self.plan.pipeline == RED_PIPELINE and self.plan.branch == "main":
            # Nothing else goes wrong here, so that the one long red stands out.
            return _FAILED if self.plan.is_red and step.key == "unit" else _PASSED
        if happens(self._roll, 0.005):
            if happens(self._roll, 0.8):
                return _AGENT_LOST
            return _SOFT_TIMED_OUT if step.soft_fail else _TIMED_OUT
        if step.key == SOFT_STEP:
            return _SOFT_FAILED if happens(self._roll, 0.35) else _PASSED
        if step.key == FLAKY_STEP and self.plan.pipeline == FLAKY_PIPELINE:
            return _FLAKED if happens(self._roll, 0.12 if attempt else 0.3) else _PASSED
        rate = _FAILURE_RATES.get(step.key or "", 0.0) / (step.parallelism or 1)
        if self.plan.branch == "main":
            rate *= _MAIN_FAILURE_SHARE
        return _FAILED if happens(self._roll, rate) else _PASSED

    # Events

    @property
    def _own_build(self) -> Build:
        if self.build is None:
            raise LookupError("The build does not exist yet.")
        return self.build

    def _create(self) -> None:
        """Create the build, unless its pipeline is gone: then nothing else happens either."""
        plan = self.plan
        if self._organization.pipelines.get(self._pipeline.slug) is not self._pipeline:
            self._events.clear()
            return
        self.build = self._organization.create_build(
            self._pipeline,
            jobs=self._steps,
            created_at=plan.created_at,
            number=self.number,
            branch=plan.branch,
            commit=plan.commit,
            message=plan.message,
            source=plan.source,
            creator=plan.creator,
            author=plan.author,
            meta_data=dict(plan.meta_data),
            pull_request=plan.pull_request,
            merge_queue_base_branch=plan.merge_queue_base_branch,
            rebuilt_from=None if self._rebuilt is None else self._rebuilt.build,
        )
        self._attempts = list(self.build.jobs)

    def _unblock(self, gate: int, user: User, at: datetime) -> None:
        """Lift a block, unless somebody else has already."""
        job = self._attempts[gate]
        if job.state != "blocked":
            return
        self._organization.unblock_job(job, by=user, at=at)
        if self.plan.pipeline == "deploy":
            self._organization.set_meta_data(self._own_build, "app:production:deployed", "true")

    def _end(self, at: datetime) -> None:
        self._organization.finish_build(self._own_build, at=at)

    def _cancel(self, at: datetime) -> None:
        self._organization.cancel_build(self._own_build, reason="Canceled by a newer build", at=at)

    def _skip(self) -> None:
        build = self._own_build
        if self.plan.fate == "not_run":
            self._organization.skip_build(build, state="not_run")
        else:
            self._organization.skip_build(build)

    def _pass_gate(self, gate: int, positions: list[int], at: datetime) -> None:
        self._organization.pass_waiter(self._attempts[gate])
        for position in positions:
            self._organization.make_job_runnable(self._attempts[position], at=at)

    def _start(self, position: int, concurrency_wait_time_ms: int | None, at: datetime) -> None:
        self._organization.start_job(
            self._attempts[position], concurrency_wait_time_ms=concurrency_wait_time_ms, at=at
        )

    def _finish(self, position: int, outcome: _Outcome, at: datetime) -> None:
        self._organization.finish_job(
            self._attempts[position],
            outcome.state,
            exit_status=outcome.exit_status,
            soft_failed=outcome.soft_failed,
            signal=outcome.signal,
            signal_reason=outcome.signal_reason,
            at=at,
        )

    def _retry(self, position: int, at: datetime, *, by_hand: User | None) -> None:
        job = self._attempts[position]
        self._attempts[position] = job.retried_in or self._organization.retry_job(
            job, by=by_hand, at=at
        )


def _stages(steps: list[Step]) -> list[tuple[int | None, list[int]]]:
    """Return the positions of steps that run together, each group with its gate's position."""
    stages: list[tuple[int | None, list[int]]] = [(None, [])]
    for position, step in enumerate(steps):
        if step.type in ("waiter", "manual"):
            stages.append((position, []))
        else:
            stages[-1][1].append(position)
    return stages

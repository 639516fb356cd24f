"""A mutable organization: operations on its builds, pipelines and people, and the truth of it."""

import functools
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from . import bodies, catalog
from .cache import RenderedJobs
from .identity import derived_id, digest
from .model import (
    OPEN_BUILD_STATES,
    UNFINISHED_JOB_STATES,
    UNSTARTED_JOB_STATES,
    Agent,
    Build,
    Cluster,
    Job,
    Member,
    Pipeline,
    Queue,
    Step,
    Team,
    TeamMember,
    TeamPipeline,
    User,
)

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_QUEUE_SECONDS = 5
"""How long the jobs of a build that is created in a later state waited for their agents."""


def _locked(
    operation: "Callable[Concatenate[Organization, _Parameters], _Result]",
) -> "Callable[Concatenate[Organization, _Parameters], _Result]":
    """Let the operation happen as a whole between two requests."""

    @functools.wraps(operation)
    def run(
        self: "Organization", /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        with self.lock:
            return operation(self, *args, **kwargs)

    return run


@functools.cache
def _plain_steps(count: int) -> tuple[Step, ...]:
    return tuple(
        Step("script", name=f"Step {n}", key=f"step-{n}", command=f"make step-{n}")
        for n in range(1, count + 1)
    )


def _creation(build: Build) -> tuple[datetime, str]:
    return build.created_at, build.id


class Organization:
    """An organization whose operations take effect now by the clock, or at an explicit `at`.

    `builds` is kept in order of creation. Ids follow from names and instants, so that the same
    operations give the same ids again.
    """

    def __init__(  # noqa: PLR0913 - what an organization is founded with, mostly by keyword
        self,
        slug: str,
        name: str,
        *,
        clock: Callable[[], datetime],
        lock: threading.RLock,
        created_at: datetime,
        teams_enabled: bool = True,
    ) -> None:
        self.id = derived_id(created_at, "organization", slug)
        self.slug = slug
        self.name = name
        self.clock = clock
        self.lock = lock
        self.created_at = created_at
        self.teams_enabled = teams_enabled
        self.members: list[Member] = []
        self.teams: list[Team] = []
        self.clusters: list[Cluster] = []
        self.agents: dict[Queue | str | None, list[Agent]] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self.builds: list[Build] = []
        self.rendered_jobs = RenderedJobs()
        self._pipelines_added = 0

    # People, teams, pipelines and clusters

    @_locked
    def add_user(
        self,
        name: str,
        *,
        role: Literal["admin", "member"] = "member",
        sso_mode: Literal["required", "optional"] = "required",
        at: datetime | None = None,
    ) -> User:
        """Add a person as a member."""
        at = at or self.clock()
        email = f"{name.lower().replace(' ', '.')}@{self.slug}.example"
        user = User(derived_id(at, "user", email), name, email, at)
        self.add_member(user, role=role, sso_mode=sso_mode)
        return user

    @_locked
    def add_member(
        self,
        user: User,
        *,
        role: Literal["admin", "member"] = "member",
        sso_mode: Literal["required", "optional"] = "required",
    ) -> Member:
        """Let a user who exists join."""
        member = Member(user, role, sso_mode)
        self.members.append(member)
        return member

    @_locked
    def remove_member(self, user: User) -> None:
        """Remove a person from the organization and its teams."""
        self.members = [member for member in self.members if member.user is not user]
        for team in self.teams:
            self.remove_team_member(team, user)

    @_locked
    def rename_user(self, user: User, name: str) -> None:
        """Change a person's name everywhere."""
        user.name = name
        self.rendered_jobs.clear()

    @_locked
    def add_team(
        self,
        name: str,
        *,
        privacy: Literal["visible", "secret"] = "visible",
        default: bool = False,
        created_by: User | None = None,
        at: datetime | None = None,
    ) -> Team:
        """Add a team without members."""
        at = at or self.clock()
        slug = name.lower().replace(" ", "-")
        uuid = derived_id(at, self.slug, "team", slug)
        team = Team(uuid, name, slug, at, created_by, privacy=privacy, default=default)
        self.teams.append(team)
        return team

    @_locked
    def delete_team(self, team: Team) -> None:
        """Delete a team with its memberships."""
        self.teams.remove(team)

    @_locked
    def add_team_member(
        self,
        team: Team,
        user: User,
        *,
        role: Literal["member", "maintainer"] = "member",
        at: datetime | None = None,
    ) -> TeamMember:
        """Add a member to a team, or change the role of one."""
        self.remove_team_member(team, user)
        member = TeamMember(user, role, at or self.clock())
        team.members.append(member)
        return member

    @_locked
    def remove_team_member(self, team: Team, user: User) -> None:
        """Remove a member from a team."""
        team.members = [member for member in team.members if member.user is not user]

    @_locked
    def set_team_pipeline(
        self,
        team: Team,
        pipeline: str | Pipeline,
        access_level: Literal["read_only", "build_and_read", "manage_build_and_read"] | None,
        *,
        at: datetime | None = None,
    ) -> None:
        """Set what a team may do with a pipeline; None takes it away."""
        pipeline = self.pipeline(pipeline)
        team.pipelines = [level for level in team.pipelines if level.pipeline is not pipeline]
        if access_level is not None:
            team.pipelines.append(TeamPipeline(pipeline, access_level, at or self.clock()))

    @_locked
    def add_cluster(
        self,
        name: str,
        queue_keys: Sequence[str] = ("default",),
        *,
        created_by: User | None = None,
        at: datetime | None = None,
    ) -> Cluster:
        """Add a cluster with queues and no agents."""
        at = at or self.clock()
        uuid = derived_id(at, self.slug, "cluster", name)
        cluster = Cluster(uuid, self.slug, name, f"{name} cluster", None, None, at, created_by)
        self.clusters.append(cluster)
        for key in queue_keys:
            self.add_queue(cluster, key, created_by=created_by, at=at)
        return cluster

    @_locked
    def add_queue(
        self,
        cluster: Cluster,
        key: str,
        *,
        created_by: User | None = None,
        at: datetime | None = None,
    ) -> Queue:
        """Add a queue to a cluster."""
        at = at or self.clock()
        uuid = derived_id(at, cluster.id, "queue", key)
        queue = Queue(uuid, key, f"The {key} queue", at, created_by, cluster)
        cluster.queues.append(queue)
        return queue

    @_locked
    def add_agents(
        self, queue_key: str, count: int, *, queue: Queue | None = None, at: datetime | None = None
    ) -> None:
        """Connect agents to a queue of a cluster, or by tag without one."""
        at = at or self.clock()
        self.agents[queue or queue_key] = [
            Agent(
                derived_id(at, queue.id if queue else self.slug, "agent", queue_key, n),
                f"{queue_key}-{n}",
                queue_key,
                queue,
                f"203.0.113.{n % 256}",
                "3.98.2",
                at,
            )
            for n in range(count)
        ]

    @_locked
    def add_pipeline(  # noqa: PLR0913 - a pipeline has this many fields, all by keyword
        self,
        slug: str,
        *,
        name: str | None = None,
        cluster: Cluster | None = None,
        steps: Sequence[Step] = (),
        created_by: User | None = None,
        default_branch: str | None = "main",
        tags: list[str] | None = None,
        emoji: str | None = None,
        visibility: str = "private",
        at: datetime | None = None,
    ) -> Pipeline:
        """Add a pipeline without builds; one that takes a deleted one's slug is another one."""
        at = at or self.clock()
        self._pipelines_added += 1
        pipeline = Pipeline(
            derived_id(at, self.slug, "pipeline", slug, self._pipelines_added),
            self.slug,
            slug,
            name or slug.capitalize(),
            f"git@github.com:{self.slug}/{slug}.git",
            at,
            created_by,
            default_branch,
            visibility=visibility,
            tags=tags,
            emoji=emoji,
            cluster=cluster,
            steps=list(steps),
        )
        self.pipelines[slug] = pipeline
        return pipeline

    def pipeline(self, pipeline: str | Pipeline) -> Pipeline:
        """Return a pipeline by its slug.

        Raises:
            KeyError: there is none.
        """
        return self.pipelines[pipeline] if isinstance(pipeline, str) else pipeline

    @_locked
    def rename_pipeline(
        self, pipeline: str | Pipeline, *, slug: str | None = None, name: str | None = None
    ) -> None:
        """Change a pipeline's slug, which changes all its addresses, or its name."""
        pipeline = self.pipeline(pipeline)
        del self.pipelines[pipeline.slug]
        pipeline.slug = slug or pipeline.slug
        pipeline.name = name or pipeline.name
        self.pipelines[pipeline.slug] = pipeline
        self.rendered_jobs.clear()

    @_locked
    def archive_pipeline(self, pipeline: str | Pipeline, *, at: datetime | None = None) -> None:
        """Archive a pipeline; it stays in the list."""
        self.pipeline(pipeline).archived_at = at or self.clock()

    @_locked
    def delete_pipeline(self, pipeline: str | Pipeline) -> None:
        """Delete a pipeline with its builds; its slug is free again."""
        pipeline = self.pipeline(pipeline)
        del self.pipelines[pipeline.slug]
        self.builds = [build for build in self.builds if build.pipeline is not pipeline]
        for team in self.teams:
            self.set_team_pipeline(team, pipeline, None)

    # Builds

    @_locked
    def create_build(  # noqa: PLR0913 - a build has this many fields, all by keyword
        self,
        pipeline: str | Pipeline,
        *,
        state: str = "scheduled",
        jobs: int | Sequence[Step] = 1,
        created_at: datetime | None = None,
        run_seconds: float = 60,
        number: int | None = None,
        branch: str | None = None,
        commit: str | None = None,
        message: str = "A change",
        source: str = "ui",
        creator: User | None = None,
        author: dict[str, str] | str | None = None,
        tag: str | None = None,
        meta_data: dict[str, str] | None = None,
        pull_request: dict[str, Any] | None = None,
        merge_queue_base_branch: str | None = None,
        rebuilt_from: Build | None = None,
        triggered_from: Build | None = None,
    ) -> Build:
        """Create a build and bring it to a state.

        `jobs` is a number of plain script jobs, or steps. On the way to a later state jobs wait
        5 s and run for `run_seconds`, but nothing happens later than the clock's now. A "blocked"
        build is a passed one that ends in a block step.

        Raises:
            KeyError: there is no such pipeline.
            ValueError: the pipeline already has a build with this number, or the build is to be
                failing without a job that could fail.
        """
        pipeline = self.pipeline(pipeline)
        if state == "failing" and not jobs:
            raise ValueError("A failing build needs a job.")
        at = created_at or self.clock()
        number = number or pipeline.last_number + 1
        if number in pipeline.builds_by_number:
            raise ValueError(f"Pipeline {pipeline.slug} already has a build {number}.")
        build = Build(
            derived_id(at, pipeline.id, number),
            pipeline,
            number,
            "scheduled",
            commit or digest(pipeline.id, number, "commit"),
            branch or pipeline.default_branch or "main",
            message,
            source,
            at,
            at - timedelta(milliseconds=32),
            creator,
            author,
            tag,
            meta_data=meta_data or {},
            pull_request=pull_request,
            merge_queue_base_branch=merge_queue_base_branch,
            rebuilt_from=rebuilt_from,
            triggered_from=triggered_from,
        )
        self._add_jobs(build, _plain_steps(jobs) if isinstance(jobs, int) else jobs)
        if state == "blocked":
            self._add_jobs(build, [Step("manual", name=":rocket: Release?", key="release")])
        pipeline.last_number = max(pipeline.last_number, number)
        pipeline.builds_by_number[number] = build
        insort(pipeline.builds, build, key=_creation)
        insort(self.builds, build, key=_creation)
        self._bring_to(build, state, run_seconds)
        return build

    def _add_jobs(self, build: Build, steps: Sequence[Step]) -> None:
        at = build.created_at
        queues = {queue.key: queue for queue in _queues(build.pipeline)}
        state = "scheduled"
        for step in steps:
            job_id = derived_id(at, build.id, len(build.jobs))
            if step.type in ("waiter", "manual"):
                own_state = "blocked" if step.type == "manual" else "waiting"
                state = "blocked" if "blocked" in (state, own_state) else own_state
                build.jobs.append(Job(job_id, build, step, own_state, at, at))
                continue
            job = Job(job_id, build, step, state, at, at - timedelta(milliseconds=18))
            if state == "scheduled":
                job.runnable_at = at + timedelta(milliseconds=70)
            if step.type == "script":
                job.queue = queues.get(step.queue_key or "")
            build.jobs.append(job)

    def _bring_to(self, build: Build, state: str, run_seconds: float) -> None:
        now = max(self.clock(), build.created_at)
        start_at = min(build.created_at + timedelta(seconds=_QUEUE_SECONDS), now)
        finish_at = min(start_at + timedelta(seconds=run_seconds), now)
        runnable = [job for job in build.jobs if job.state in UNSTARTED_JOB_STATES]
        if state in ("scheduled", "creating", "skipped", "not_run"):
            build.state = state
            if state not in OPEN_BUILD_STATES:
                self._drop_jobs(build)
            return
        if state == "canceled":
            self.cancel_build(build, at=finish_at)
            return
        for job in runnable:
            self.start_job(job, at=start_at)
        if state in ("running", "canceling"):
            build.state = state
            return
        if state == "failing":
            self.finish_job(runnable[-1], "failed", at=finish_at)
            return
        for job in runnable[:-1]:
            self.finish_job(job, at=finish_at)
        for job in runnable[-1:]:
            self.finish_job(job, "failed" if state == "failed" else "passed", at=finish_at)
        self.finish_build(build, at=finish_at)

    def _drop_jobs(self, build: Build) -> None:
        for job in build.jobs:
            job.state = "skipped"
            job.runnable_at = None

    @_locked
    def skip_build(self, build: Build, *, state: Literal["skipped", "not_run"] = "skipped") -> None:
        """Skip a build before it starts; it never gets a start or an end."""
        build.state = state
        self._drop_jobs(build)
        self.rendered_jobs.discard(build.id)

    @_locked
    def start_build(self, build: Build, *, at: datetime | None = None) -> None:
        """Start a build; its first job to start does that too."""
        build.started_at = at or self.clock()
        build.state = "running"
        self.rendered_jobs.discard(build.id)

    @_locked
    def make_job_runnable(self, job: Job, *, at: datetime | None = None) -> None:
        """Let a job that waited for others wait for an agent."""
        job.runnable_at = at or self.clock()
        job.state = "scheduled"
        self.rendered_jobs.discard(job.build.id)

    @_locked
    def start_job(
        self,
        job: Job,
        *,
        agent: Agent | None = None,
        concurrency_wait_time_ms: int | None = None,
        at: datetime | None = None,
    ) -> None:
        """Start a job on an agent (by default one of its queue's)."""
        at = at or self.clock()
        if job.build.started_at is None:
            self.start_build(job.build, at=at)
        job.state = "running"
        job.runnable_at = job.runnable_at or at
        job.started_at = at
        job.concurrency_wait_time_ms = concurrency_wait_time_ms
        agents = self.agents.get(job.queue or job.step.queue_key)
        if job.step.type == "script" and agents:
            job.agent = agent or agents[int(job.id[-4:], 16) % len(agents)]
        self.rendered_jobs.discard(job.build.id)

    @_locked
    def finish_job(  # noqa: PLR0913 - how a job can end, all by keyword
        self,
        job: Job,
        state: str = "passed",
        *,
        exit_status: int | None = None,
        soft_failed: bool = False,
        signal: str | None = None,
        signal_reason: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Finish a job. A hard failure makes its build failing.

        `exit_status` is 0 for a passed job and 1 for a failed one unless given.
        """
        at = at or self.clock()
        job.state = state
        if state == "expired":
            job.expired_at = at
        elif state not in ("broken", "skipped", "waiting_failed"):
            job.finished_at = at
        if job.step.type == "script" and job.started_at is not None:
            job.exit_status = (state != "passed") if exit_status is None else exit_status
            job.exit_status = int(job.exit_status)
        job.soft_failed = soft_failed
        job.signal = signal
        job.signal_reason = signal_reason
        if job.failed_hard and job.build.finished_at is None:
            job.build.state = "failing"
            job.build.failing_at = job.build.failing_at or at
        self.rendered_jobs.discard(job.build.id)

    @_locked
    def pass_waiter(self, waiter: Job) -> None:
        """Let the jobs behind a waiter go on."""
        waiter.state = "passed"

    @_locked
    def finish_build(self, build: Build, *, at: datetime | None = None) -> None:
        """Finish a build; its state follows from its jobs."""
        build.finished_at = at or self.clock()
        if build.started_at is None:
            build.started_at = build.finished_at
        failed = any(job.failed_hard for job in build.jobs)
        build.state = "failed" if failed else "passed"
        build.blocked = not failed and any(
            job.step.type == "manual" and job.state == "blocked" for job in build.jobs
        )
        for job in build.jobs:
            if job.step.type == "waiter":
                job.state = "passed"
            elif failed and job.state == "waiting":
                job.state = "waiting_failed"
        self.rendered_jobs.discard(build.id)

    @_locked
    def retry_job(self, job: Job, *, by: User | None = None, at: datetime | None = None) -> Job:
        """Retry a job by hand of `by`, or automatically: returns the new attempt.

        A finished build opens again: it is running, without an end and with a new start.

        Raises:
            ValueError: the job was retried already.
        """
        if job.retried_in is not None:
            raise ValueError(f"Job {job.id} was retried already.")
        at = at or self.clock()
        build = job.build
        attempt = Job(
            derived_id(at, build.id, len(build.jobs)),
            build,
            job.step,
            "scheduled",
            at,
            job.scheduled_at,
            runnable_at=at + timedelta(milliseconds=72),
            queue=job.queue,
            retries=job,
            retries_count=(job.retries_count or 0) + 1,
        )
        build.jobs.insert(build.jobs.index(job) + 1, attempt)
        job.retried_in = attempt
        job.retried_by = by
        job.retry_type = "automatic" if by is None else "manual"
        for other in build.jobs:
            if other.state == "waiting_failed":
                other.state = "waiting"
        self._reopen(build, at)
        return attempt

    @_locked
    def unblock_job(self, job: Job, *, by: User, at: datetime | None = None) -> None:
        """Lift a block; the jobs up to the next block can run, and the build opens again.

        Raises:
            ValueError: the job does not block.
        """
        if job.step.type != "manual" or job.state != "blocked":
            raise ValueError(f"Job {job.id} does not block.")
        at = at or self.clock()
        job.state = "unblocked"
        job.unblocked_by = by
        job.unblocked_at = at
        state = "scheduled"
        for later in job.build.jobs[job.build.jobs.index(job) + 1 :]:
            if later.step.type == "manual":
                break
            if later.step.type == "waiter":
                state = "waiting"
            elif later.state == "blocked":
                later.state = state
                later.runnable_at = at if state == "scheduled" else None
        self._reopen(job.build, at)

    def _reopen(self, build: Build, at: datetime) -> None:
        failed = any(job.failed_hard for job in build.jobs)
        build.state = "failing" if failed else "running"
        build.blocked = False
        if build.finished_at is not None:
            build.finished_at = None
            build.started_at = at
        self.rendered_jobs.discard(build.id)

    @_locked
    def cancel_build(
        self, build: Build, *, reason: str | None = None, at: datetime | None = None
    ) -> None:
        """Cancel a build with its jobs that have not finished."""
        at = at or self.clock()
        for job in build.jobs:
            if job.state in UNFINISHED_JOB_STATES or job.state == "blocked":
                if job.step.type in ("script", "trigger"):
                    if job.started_at is not None:
                        job.exit_status = -1
                        job.signal = "SIGTERM"
                        job.signal_reason = "cancel"
                    job.finished_at = at
                job.state = "canceled"
        build.state = "canceled"
        build.blocked = False
        build.cancel_reason = reason
        build.finished_at = at
        self.rendered_jobs.discard(build.id)

    @_locked
    def rebuild(
        self,
        build: Build,
        *,
        by: User | None = None,
        state: str = "scheduled",
        created_at: datetime | None = None,
        number: int | None = None,
    ) -> Build:
        """Build the same commit again."""
        return self.create_build(
            build.pipeline,
            state=state,
            jobs=[job.step for job in build.jobs if job.retries is None],
            created_at=created_at,
            number=number,
            branch=build.branch,
            commit=build.commit,
            message=build.message,
            source="ui",
            creator=by,
            author=build.author,
            tag=build.tag,
            pull_request=build.pull_request,
            merge_queue_base_branch=build.merge_queue_base_branch,
            rebuilt_from=build,
        )

    @_locked
    def set_meta_data(self, build: Build, key: str, value: str) -> None:
        """Set a meta-data value, as `buildkite-agent meta-data set` does in a job."""
        build.meta_data[key] = value

    @_locked
    def trigger_build(self, job: Job, build: Build, *, at: datetime | None = None) -> None:
        """Let a trigger job have started this build."""
        self.start_job(job, at=at)
        job.triggered_build = build
        build.triggered_from = job.build

    @_locked
    def delete_build(self, build: Build) -> None:
        """Delete a build."""
        del build.pipeline.builds_by_number[build.number]
        for builds in (self.builds, build.pipeline.builds):
            del builds[bisect_left(builds, _creation(build), key=_creation)]
        self.rendered_jobs.discard(build.id)

    # The truth, for tests to compare with

    def truth_builds(self) -> Iterator[dict[str, Any]]:
        """Yield the body of every build that exists now, with all attempts at its jobs."""
        for build in tuple(self.builds):
            with self.lock:
                yield bodies.build_body(
                    build,
                    jobs=[bodies.job_body(job) for job in build.jobs],
                    pipeline=bodies.pipeline_body(build.pipeline),
                )

    def truth_pipelines(self) -> list[dict[str, Any]]:
        """Return the body of every pipeline."""
        return [bodies.pipeline_body(pipeline) for pipeline in self.pipelines.values()]

    def truth_clusters(self) -> list[dict[str, Any]]:
        """Return the body of every cluster."""
        return [catalog.cluster_body(cluster) for cluster in self.clusters]

    def truth_queues(self) -> list[dict[str, Any]]:
        """Return the body of every queue of every cluster."""
        return [catalog.queue_body(queue) for cluster in self.clusters for queue in cluster.queues]

    def truth_members(self) -> list[dict[str, Any]]:
        """Return the body of every member as an administrator sees it."""
        return [catalog.member_body(member, with_sso_mode=True) for member in self.members]

    def truth_teams(self) -> list[dict[str, Any]]:
        """Return every team as an administrator sees it, plus its `members` and `pipelines`."""
        return [
            catalog.team_body(team)
            | {
                "members": [catalog.team_member_body(member) for member in team.members],
                "pipelines": [catalog.team_pipeline_body(level) for level in team.pipelines],
            }
            for team in self.teams
        ]


def _queues(pipeline: Pipeline) -> list[Queue]:
    return [] if pipeline.cluster is None else pipeline.cluster.queues

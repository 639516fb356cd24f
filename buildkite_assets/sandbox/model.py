"""The things a Buildkite organization has. Operations on them are in `organization`."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

JobType = Literal["script", "manual", "waiter", "trigger"]
RetryType = Literal["manual", "automatic"]

OPEN_BUILD_STATES = frozenset({"creating", "scheduled", "running", "failing", "canceling"})
BUILD_STATES = OPEN_BUILD_STATES | {
    "passed",
    "failed",
    "blocked",
    "canceled",
    "skipped",
    "not_run",
}
_JOB_STATES = (
    "pending waiting waiting_failed blocked blocked_failed unblocked unblocked_failed scheduled "
    "assigned accepted running passed failed timed_out timing_out canceled canceling skipped "
    "broken expired limited"
)
JOB_STATES = frozenset(_JOB_STATES.split())
FAILED_JOB_STATES = frozenset({"failed", "timed_out", "expired"})
UNSTARTED_JOB_STATES = frozenset({"pending", "waiting", "scheduled", "assigned", "accepted"})
UNFINISHED_JOB_STATES = UNSTARTED_JOB_STATES | {"running", "canceling", "timing_out"}


@dataclass(slots=True, eq=False)
class User:
    """A person with a Buildkite account."""

    id: str
    name: str
    email: str
    created_at: datetime


@dataclass(slots=True, eq=False)
class Member:
    """A user's membership of an organization."""

    user: User
    role: Literal["admin", "member"]
    sso_mode: Literal["required", "optional"]


@dataclass(slots=True, eq=False)
class Queue:
    """A queue of a cluster; jobs wait in it for one of its agents."""

    id: str
    key: str
    description: str
    created_at: datetime
    created_by: User | None
    cluster: "Cluster"
    dispatch_paused: bool = False


@dataclass(slots=True, eq=False)
class Cluster:
    """A cluster with its queues; the first one is its default."""

    id: str
    organization_slug: str
    name: str
    description: str
    emoji: str | None
    color: str | None
    created_at: datetime
    created_by: User | None
    queues: list[Queue] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Agent:
    """A machine that runs jobs of one queue."""

    id: str
    name: str
    queue_key: str
    queue: Queue | None
    ip_address: str
    version: str
    created_at: datetime


@dataclass(slots=True, eq=False)
class Step:
    """A step of a pipeline, from which jobs are made.

    `name` may have `%n`, `%N`, `%t` and `{{matrix.…}}`, as in a pipeline's YAML.
    `queue_key` is the queue that its jobs ask for: None is a step without such a rule, "" one
    with the rule `queue=`. A body of such a job names its cluster and no queue.
    """

    type: JobType
    name: str | None = None
    key: str | None = None
    command: str = ""
    queue_key: str | None = "default"
    group_key: str | None = None
    soft_fail: bool = False
    parallelism: int | None = None
    parallel_index: int | None = None
    matrix: dict[str, str] | None = None
    triggers: str | None = None
    is_async: bool = False

    @property
    def shown_name(self) -> str | None:
        """The name with the numbers of the shard and the values of the matrix."""
        name = self.name
        if name and self.parallelism and self.parallel_index is not None:
            name = name.replace("%n", str(self.parallel_index))
            name = name.replace("%N", str(self.parallel_index + 1))
            name = name.replace("%t", str(self.parallelism))
        for key, value in (self.matrix or {}).items():
            name = name and name.replace(f"{{{{matrix.{key}}}}}", value)
        return name


@dataclass(slots=True, eq=False)
class Pipeline:
    """A pipeline; `builds` is kept in order of creation."""

    id: str
    organization_slug: str
    slug: str
    name: str
    repository: str
    created_at: datetime
    created_by: User | None = None
    default_branch: str | None = "main"
    description: str | None = None
    visibility: str = "private"
    tags: list[str] | None = None
    emoji: str | None = None
    color: str | None = None
    cluster: Cluster | None = None
    archived_at: datetime | None = None
    steps: list[Step] = field(default_factory=list)
    builds: "list[Build]" = field(default_factory=list)
    builds_by_number: "dict[int, Build]" = field(default_factory=dict)
    last_number: int = 0


@dataclass(slots=True, eq=False)
class TeamMember:
    """A user's membership of a team."""

    user: User
    role: Literal["member", "maintainer"]
    created_at: datetime


@dataclass(slots=True, eq=False)
class TeamPipeline:
    """What a team may do with a pipeline."""

    pipeline: Pipeline
    access_level: Literal["read_only", "build_and_read", "manage_build_and_read"]
    created_at: datetime


@dataclass(slots=True, eq=False)
class Team:
    """A team with its members and its pipelines."""

    id: str
    name: str
    slug: str
    created_at: datetime
    created_by: User | None = None
    description: str = ""
    privacy: Literal["visible", "secret"] = "visible"
    default: bool = False
    members: list[TeamMember] = field(default_factory=list)
    pipelines: list[TeamPipeline] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Job:
    """One attempt at a step of a build."""

    id: str
    build: "Build"
    step: Step
    state: str
    created_at: datetime
    scheduled_at: datetime
    runnable_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expired_at: datetime | None = None
    exit_status: int | None = None
    soft_failed: bool = False
    signal: str | None = None
    signal_reason: str | None = None
    agent: Agent | None = None
    queue: Queue | None = None
    concurrency_wait_time_ms: int | None = None
    retried_in: "Job | None" = None
    retried_by: User | None = None
    retry_type: RetryType | None = None
    retries: "Job | None" = None
    retries_count: int | None = None
    unblocked_by: User | None = None
    unblocked_at: datetime | None = None
    triggered_build: "Build | None" = None

    @property
    def retried(self) -> bool:
        """Whether a later attempt replaces this one."""
        return self.retried_in is not None

    @property
    def failed_hard(self) -> bool:
        """Whether this attempt fails its build."""
        return self.state in FAILED_JOB_STATES and not self.soft_failed and not self.retried


@dataclass(slots=True, eq=False)
class Build:
    """A build with all attempts at its jobs."""

    id: str
    pipeline: Pipeline
    number: int
    state: str
    commit: str
    branch: str
    message: str
    source: str
    created_at: datetime
    scheduled_at: datetime
    creator: User | None = None
    author: dict[str, str] | str | None = None
    tag: str | None = None
    blocked: bool = False
    blocked_state: str = ""
    cancel_reason: str | None = None
    started_at: datetime | None = None
    failing_at: datetime | None = None
    finished_at: datetime | None = None
    meta_data: dict[str, str] = field(default_factory=dict)
    pull_request: dict[str, Any] | None = None
    merge_queue_base_branch: str | None = None
    rebuilt_from: "Build | None" = None
    triggered_from: "Build | None" = None
    jobs: list[Job] = field(default_factory=list)

    def job(self, key: str) -> Job:
        """Return the latest attempt at the step with this key (or name, or label).

        Raises:
            LookupError: the build has no such step.
        """
        for job in reversed(self.jobs):
            if not job.retried and key in (job.step.key, job.step.name):
                return job
        raise LookupError(f"Build {self.number} has no job {key!r}.")

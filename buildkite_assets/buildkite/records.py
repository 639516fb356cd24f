"""What the API sends, typed: the fields that we keep, and nothing else.

What is not named here (`env` above all) is skipped by the decoder and never becomes a value in
memory. Only keys without which a record means nothing are required.
"""

import re
from datetime import datetime
from typing import Annotated
from urllib.parse import unquote

import msgspec

_PIPELINE = re.compile(r"/pipelines/([^/]+)/builds/")
_USER_INFO = re.compile(r"//[^/]*@")
_ACCESS_RANKS = {"read_only": 1, "build_and_read": 2, "manage_build_and_read": 3}

Id = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z", max_length=255)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Body(msgspec.Struct, gc=False):
    """An object in a response; keys that it does not name are ignored."""


class Person(Body):
    """A creator, retrier or unblocker; `id` is null for someone Buildkite has no account of."""

    id: Id | None = None
    name: str | None = None
    email: str | None = None


class Author(Body):
    """Who wrote the commit, by its own word: not verified."""

    username: str | None = None
    name: str | None = None
    email: str | None = None


class Step(Body):
    """The step of the pipeline that a job belongs to."""

    id: Id | None = None


class Priority(Body):
    """A job's place in the queue."""

    number: int | None = None


class Agent(Body):
    """The machine that ran a job, less its address and its changing state."""

    id: Id | None = None
    name: str | None = None
    hostname: str | None = None
    user_agent: str | None = None
    meta_data: list[str] | None = None


class RetrySource(Body):
    """The attempt that a job repeats."""

    job_id: Id | None = None
    retry_type: str | None = None


class BuildReference(Body):
    """Another build that this one stands in relation to."""

    id: Id | None = None
    number: int | None = None


class TriggeredFrom(Body):
    """The build whose trigger step started this one."""

    build_id: Id | None = None
    build_number: int | None = None
    build_pipeline_slug: str | None = None


class Label(Body):
    """A pull request's label."""

    name: str


class PullRequest(Body):
    """The pull request that a build is for; an empty object occurs."""

    id: str | int | None = None
    base: str | None = None
    repository: str | None = None
    labels: list[str | Label] | None = None

    @property
    def number(self) -> str | None:
        """The pull request's number, as the text that most responses hold."""
        return None if self.id is None else str(self.id)

    @property
    def repository_url(self) -> str | None:
        """The repository's address without the user and password that it may carry."""
        return _USER_INFO.sub("//", self.repository) if self.repository else None

    @property
    def label_names(self) -> list[str] | None:
        """The labels' names, whichever form they come in."""
        if self.labels is None:
            return None
        return [label if isinstance(label, str) else label.name for label in self.labels]


class PipelineReference(Body):
    """The pipeline of a build, where a list was asked to tell it."""

    id: Id | None = None


class MergeQueue(Body):
    """The merge queue that a build is for."""

    base_branch: str | None = None


class Job(Body):
    """One attempt of a step, or a waiter, block or trigger."""

    id: Id
    type: str | None = None
    name: str | None = None
    label: str | None = None
    step_key: str | None = None
    group_key: str | None = None
    step: Step | None = None
    priority: Priority | None = None
    agent_query_rules: list[str] | None = None
    state: str | None = None
    web_url: str | None = None
    command: str | None = None
    soft_failed: bool | None = None
    exit_status: int | None = None
    signal: str | int | None = None
    signal_reason: str | None = None
    broken_reason: str | None = None
    promised_exit_status: int | None = None
    promised_exit_status_at: Instant | None = None
    artifact_paths: str | None = None
    agent: Agent | None = None
    created_at: Instant | None = None
    scheduled_at: Instant | None = None
    runnable_at: Instant | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    expired_at: Instant | None = None
    concurrency_wait_time_ms: float | None = None
    retried: bool | None = None
    retried_in_job_id: Id | None = None
    retries_count: int | None = None
    retry_source: RetrySource | None = None
    retry_type: str | None = None
    retried_by: Person | None = None
    parallel_group_index: int | None = None
    parallel_group_total: int | None = None
    matrix: msgspec.Raw = msgspec.Raw(b"null")
    cluster_id: Id | None = None
    cluster_queue_id: Id | None = None
    is_async: bool | None = msgspec.field(default=None, name="async")
    triggered_build: BuildReference | None = None
    unblocked_by: Person | None = None
    unblocked_at: Instant | None = None
    unblockable: bool | None = None

    @property
    def display_name(self) -> str | None:
        """The step's label, which block steps carry under another key."""
        return self.name if self.name is not None else self.label

    @property
    def signal_name(self) -> str | None:
        """The signal as text; some responses hold its number."""
        return None if self.signal is None else str(self.signal)

    @property
    def matrix_json(self) -> str | None:
        """The matrix values as JSON text, or None where the step has no matrix."""
        text = bytes(self.matrix).decode()
        return None if text == "null" else text


class Build(Body):
    """One run of a pipeline, with all its jobs."""

    id: Id
    url: str
    number: int
    state: str
    created_at: Instant
    jobs: list[Job]
    web_url: str | None = None
    cancel_reason: str | None = None
    blocked: bool | None = None
    blocked_state: str | None = None
    message: str | None = None
    commit: str | None = None
    branch: str | None = None
    tag: str | None = None
    source: str | None = None
    author: Author | str | None = None
    creator: Person | None = None
    scheduled_at: Instant | None = None
    started_at: Instant | None = None
    failing_at: Instant | None = None
    finished_at: Instant | None = None
    meta_data: dict[str, str | None] | None = None
    pull_request: PullRequest | None = None
    merge_queue: MergeQueue | None = None
    rebuilt_from: BuildReference | None = None
    triggered_from: TriggeredFrom | None = None
    cluster_id: Id | None = None
    pipeline: PipelineReference | None = None

    @property
    def pipeline_slug(self) -> str:
        """The pipeline's slug, which lists without pipelines tell only in the build's URL.

        Raises:
            ValueError: the URL names no pipeline.
        """
        slug = _pipeline_in(self.url)
        if slug is None:
            raise ValueError("the url names no pipeline")
        return slug

    @property
    def commit_author(self) -> Author | None:
        """The author, who may come as a bare name."""
        return Author(name=self.author) if isinstance(self.author, str) else self.author


class ListedBuild(Body):
    """A build of which nothing is wanted but that it exists, and where."""

    id: Id
    url: str
    web_url: str | None = None

    @property
    def address(self) -> str:
        """Its page at Buildkite, else its address in the API."""
        return self.web_url or self.url

    @property
    def pipeline_slug(self) -> str | None:
        """Its pipeline's slug, or None where the URL names none."""
        return _pipeline_in(self.url)


class Organization(Body):
    """A company's account at Buildkite; its slug is part of the address of all that it has."""

    id: Id
    slug: Slug
    name: str | None = None
    web_url: str | None = None
    created_at: Instant | None = None


class Provider(Body):
    """Where a pipeline's code lives; its settings and webhook URL stay out."""

    id: str | None = None


class Pipeline(Body):
    """A pipeline, less its steps, environment and configuration, which may hold secrets."""

    id: Id
    slug: str
    created_at: Instant
    name: str | None = None
    description: str | None = None
    repository: str | None = None
    default_branch: str | None = None
    visibility: str | None = None
    tags: list[str] | None = None
    cluster_id: Id | None = None
    provider: Provider | None = None
    created_by: Person | None = None
    web_url: str | None = None
    archived_at: Instant | None = None

    @property
    def repository_url(self) -> str | None:
        """The repository's address without the user and password that it may carry."""
        return _USER_INFO.sub("//", self.repository) if self.repository else None


class Cluster(Body):
    """A group of queues, agents and pipelines."""

    id: Id
    name: str | None = None
    description: str | None = None
    default_queue_id: Id | None = None
    created_by: Person | None = None
    web_url: str | None = None
    created_at: Instant | None = None


class Queue(Body):
    """A queue of a cluster, which agents take jobs from."""

    id: Id
    key: str
    description: str | None = None
    dispatch_paused: bool | None = None
    dispatch_paused_at: Instant | None = None
    retry_agent_affinity: str | None = None
    web_url: str | None = None
    created_at: Instant | None = None


class AccessToken(Body):
    """The token in use; only the id and the scopes are always told."""

    uuid: str
    scopes: list[str]
    description: str | None = None
    created_at: Instant | None = None
    expires_at: Instant | None = None
    user: Person | None = None


class Member(Body):
    """A member of an organization; `role` and `sso_mode` are not told to everyone."""

    id: Id
    name: str | None = None
    email: str | None = None
    role: str | None = None
    sso_mode: str | None = None

    @property
    def role_in_capitals(self) -> str | None:
        """ADMIN or MEMBER."""
        return _in_capitals(self.role)

    @property
    def sso_mode_in_capitals(self) -> str | None:
        """REQUIRED or OPTIONAL."""
        return _in_capitals(self.sso_mode)


class Team(Body):
    """A group of members with access to pipelines."""

    id: Id
    slug: str
    name: str | None = None
    privacy: str | None = None
    is_default_team: bool | None = msgspec.field(default=None, name="default")
    created_at: Instant | None = None

    @property
    def privacy_in_capitals(self) -> str | None:
        """VISIBLE or SECRET."""
        return _in_capitals(self.privacy)


class TeamMember(Body):
    """A membership of a team."""

    user_id: Id
    role: str | None = None
    created_at: Instant | None = None

    @property
    def role_in_capitals(self) -> str | None:
        """MEMBER or MAINTAINER."""
        return _in_capitals(self.role)


class TeamPipeline(Body):
    """What a team may do with a pipeline."""

    pipeline_id: Id
    access_level: str | None = None
    created_at: Instant | None = None

    @property
    def access_level_in_capitals(self) -> str | None:
        """READ_ONLY, BUILD_AND_READ or MANAGE_BUILD_AND_READ; an unknown level as it is."""
        return _in_capitals(self.access_level)

    @property
    def access_rank(self) -> int | None:
        """1 for the lowest level to 3 for the highest, None for one that is not known."""
        return _ACCESS_RANKS.get(self.access_level or "")


def _pipeline_in(url: str) -> str | None:
    """The slug of the pipeline whose build has this address in the API."""
    match = _PIPELINE.search(url)
    return unquote(match[1]) if match else None


def _in_capitals(word: str | None) -> str | None:
    """An enumerated value as GraphQL spells it; REST uses small letters."""
    return None if word is None else word.upper()

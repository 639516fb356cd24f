"""Every source table once: what a row is, its key, and each column's type, meaning and origin.

The warehouse creates its tables from these declarations, `rows` fills them from records, Dagster
shows them in its UI, and the data dictionary prints them.

Left out on purpose is what may hold secrets, what changes without meaning, and what follows from
other columns; `buildkite/left_out.py` names it for builds and jobs, field by field.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: as in SQL.
        type: DuckDB's name of it. Ids are UUID, instants TIMESTAMP in UTC.
        meaning: one line for people; units are named.
        path: where the record has it, dotted; None for what the sync itself adds.
        is_email: whether it is an e-mail address, which a setting can have hashed.
        is_name: whether it tells otherwise who a person is.
        is_foreign: whether it tells of an agent, user or pipeline as that is now, so that it may
            change without any change of the row's own object.
    """

    name: str
    type: str
    meaning: str
    path: str | None = None
    is_email: bool = False
    is_name: bool = False
    is_foreign: bool = False

    @property
    def is_personal(self) -> bool:
        """Whether it is kept out of what Dagster records of runs."""
        return self.is_email or self.is_name


@dataclass(frozen=True)
class Table:
    """One table of the warehouse; `grain` begins with "One row per"."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def own_columns(self) -> tuple[Column, ...]:
        """The columns whose change is a change of the row's own object."""
        return tuple(column for column in self.record_columns if not column.is_foreign)

    @property
    def record_columns(self) -> tuple[Column, ...]:
        """The columns that come out of records."""
        return tuple(column for column in self.columns if column.path)


ORGANIZATION_ID = Column("organization_id", "UUID", "The organization that it belongs to.")
SYNCED_AT = Column(
    "synced_at", "TIMESTAMP", "Buildkite's clock in the response that this row came in."
)
ABSENT_SINCE = Column(
    "absent_since",
    "TIMESTAMP",
    "When a complete read first no longer had it; NULL while it is there. Rows are never deleted.",
)
_SYNCED = (SYNCED_AT, ABSENT_SINCE)

ORGANIZATIONS = Table(
    "organizations",
    "One row per organization that the token sees or has seen.",
    ("organization_id",),
    (
        Column("organization_id", "UUID", "Buildkite's id of the organization.", "id"),
        Column("slug", "VARCHAR", "Its name in URLs.", "slug"),
        Column("name", "VARCHAR", "Its name for people.", "name"),
        Column("web_url", "VARCHAR", "Its page at Buildkite.", "web_url"),
        Column("created_at", "TIMESTAMP", "When it was created.", "created_at"),
        SYNCED_AT,
    ),
)

PIPELINES = Table(
    "pipelines",
    "One row per pipeline that the token sees or has seen, archived ones included.",
    ("pipeline_id",),
    (
        Column("pipeline_id", "UUID", "Buildkite's id of the pipeline; slugs are reused.", "id"),
        ORGANIZATION_ID,
        Column("slug", "VARCHAR", "Its name in URLs, unique at any one time.", "slug"),
        Column("name", "VARCHAR", "Its name for people.", "name"),
        Column("description", "VARCHAR", "What it is for.", "description"),
        Column(
            "repository",
            "VARCHAR",
            "The repository's address, without any user and password.",
            "repository_url",
        ),
        Column("provider", "VARCHAR", "Where the code lives, such as `github`.", "provider.id"),
        Column(
            "default_branch",
            "VARCHAR",
            "The branch that counts as main; NULL where none is set.",
            "default_branch",
        ),
        Column("visibility", "VARCHAR", "`private` or `public`.", "visibility"),
        Column("tags", "VARCHAR[]", "The labels given to it.", "tags"),
        Column("cluster_id", "UUID", "The cluster that its jobs run in.", "cluster_id"),
        Column("created_by_id", "UUID", "The user who created it.", "created_by.id"),
        Column("web_url", "VARCHAR", "Its page at Buildkite.", "web_url"),
        Column("created_at", "TIMESTAMP", "When it was created.", "created_at"),
        Column("archived_at", "TIMESTAMP", "When it was archived; NULL if not.", "archived_at"),
        *_SYNCED,
    ),
)

CLUSTERS = Table(
    "clusters",
    "One row per cluster that the token sees or has seen.",
    ("cluster_id",),
    (
        Column("cluster_id", "UUID", "Buildkite's id of the cluster.", "id"),
        ORGANIZATION_ID,
        Column("name", "VARCHAR", "Its name.", "name"),
        Column("description", "VARCHAR", "What it is for.", "description"),
        Column(
            "default_queue_id", "UUID", "The queue of jobs that ask for none.", "default_queue_id"
        ),
        Column("created_by_id", "UUID", "The user who created it.", "created_by.id"),
        Column("web_url", "VARCHAR", "Its page at Buildkite.", "web_url"),
        Column("created_at", "TIMESTAMP", "When it was created.", "created_at"),
        *_SYNCED,
    ),
)

QUEUES = Table(
    "queues",
    "One row per queue of a cluster that the token sees or has seen.",
    ("queue_id",),
    (
        Column("queue_id", "UUID", "Buildkite's id of the queue.", "id"),
        ORGANIZATION_ID,
        Column("cluster_id", "UUID", "The cluster that it belongs to."),
        Column("key", "VARCHAR", "Its name in agent rules (`queue=…`).", "key"),
        Column("description", "VARCHAR", "What it is for.", "description"),
        Column(
            "dispatch_paused", "BOOLEAN", "Whether jobs are held back in it.", "dispatch_paused"
        ),
        Column("dispatch_paused_at", "TIMESTAMP", "Since when.", "dispatch_paused_at"),
        Column(
            "retry_agent_affinity",
            "VARCHAR",
            "Which agent a retry prefers.",
            "retry_agent_affinity",
        ),
        Column("web_url", "VARCHAR", "Its page at Buildkite.", "web_url"),
        Column("created_at", "TIMESTAMP", "When it was created.", "created_at"),
        *_SYNCED,
    ),
)

BUILDS = Table(
    "builds",
    "One row per build, in the state it had when last read.",
    ("build_id",),
    (
        Column("build_id", "UUID", "Buildkite's id of the build.", "id"),
        ORGANIZATION_ID,
        Column(
            "pipeline_id",
            "UUID",
            "The pipeline that it is a run of; NULL while no pipeline of its slug is known.",
        ),
        Column(
            "pipeline_slug",
            "VARCHAR",
            "That pipeline's slug when read.",
            "pipeline_slug",
            is_foreign=True,
        ),
        Column("number", "BIGINT", "Its number in the pipeline; numbers have gaps.", "number"),
        Column(
            "state",
            "VARCHAR",
            "As Buildkite spells it: passed, failed, canceled, running, skipped, not_run, …",
            "state",
        ),
        Column(
            "blocked",
            "BOOLEAN",
            "Whether a block step waits for someone; `state` is then the state so far, or "
            "`blocked`.",
            "blocked",
        ),
        Column(
            "blocked_state",
            "VARCHAR",
            "The state that a block step asked for while blocked; often empty.",
            "blocked_state",
        ),
        Column("cancel_reason", "VARCHAR", "Why it was canceled.", "cancel_reason"),
        Column("branch", "VARCHAR", "The branch that was built.", "branch"),
        Column("tag", "VARCHAR", "The git tag that was built.", "tag"),
        Column("commit", "VARCHAR", "The commit, or `HEAD` before it is known.", "commit"),
        Column("message", "VARCHAR", "The commit's or the starter's message.", "message"),
        Column(
            "source",
            "VARCHAR",
            "What started it: webhook, api, ui, trigger_job, schedule.",
            "source",
        ),
        Column(
            "creator_id",
            "UUID",
            "The user who started it; NULL for schedules and for people unknown to Buildkite.",
            "creator.id",
        ),
        Column(
            "creator_name",
            "VARCHAR",
            "That user's name.",
            "creator.name",
            is_name=True,
            is_foreign=True,
        ),
        Column(
            "creator_email",
            "VARCHAR",
            "That user's e-mail address.",
            "creator.email",
            is_email=True,
            is_foreign=True,
        ),
        Column(
            "author_username",
            "VARCHAR",
            "The commit's author by its own word, not verified.",
            "commit_author.username",
            is_name=True,
        ),
        Column(
            "author_name",
            "VARCHAR",
            "That author's name, not verified.",
            "commit_author.name",
            is_name=True,
        ),
        Column(
            "author_email",
            "VARCHAR",
            "That author's e-mail address, not verified.",
            "commit_author.email",
            is_email=True,
        ),
        Column("created_at", "TIMESTAMP", "When it was created; never changes.", "created_at"),
        Column("scheduled_at", "TIMESTAMP", "When it was scheduled.", "scheduled_at"),
        Column(
            "started_at",
            "TIMESTAMP",
            "When it started; moves when a retry or an unblock reopens the build.",
            "started_at",
        ),
        Column(
            "failing_at",
            "TIMESTAMP",
            "When its first job failed; stays, even if a retry passes.",
            "failing_at",
        ),
        Column("finished_at", "TIMESTAMP", "When it finished; NULL while open.", "finished_at"),
        Column(
            "meta_data",
            "MAP(VARCHAR, VARCHAR)",
            "The build's meta-data, as far as kept.",
            "meta_data",
        ),
        Column(
            "pull_request_id",
            "VARCHAR",
            "The pull request's number at the provider.",
            "pull_request.number",
        ),
        Column(
            "pull_request_base",
            "VARCHAR",
            "The branch it asks to be merged into.",
            "pull_request.base",
        ),
        Column(
            "pull_request_repository",
            "VARCHAR",
            "The repository that it comes from.",
            "pull_request.repository_url",
        ),
        Column("pull_request_labels", "VARCHAR[]", "Its labels.", "pull_request.label_names"),
        Column(
            "merge_queue_base_branch",
            "VARCHAR",
            "The branch of the merge queue it is for.",
            "merge_queue.base_branch",
        ),
        Column(
            "rebuilt_from_build_id", "UUID", "The build that this one repeats.", "rebuilt_from.id"
        ),
        Column("rebuilt_from_number", "BIGINT", "That build's number.", "rebuilt_from.number"),
        Column(
            "triggered_from_build_id",
            "UUID",
            "The build whose trigger step started this one.",
            "triggered_from.build_id",
        ),
        Column(
            "triggered_from_number",
            "BIGINT",
            "That build's number.",
            "triggered_from.build_number",
        ),
        Column(
            "triggered_from_pipeline_slug",
            "VARCHAR",
            "That build's pipeline.",
            "triggered_from.build_pipeline_slug",
            is_foreign=True,
        ),
        Column("cluster_id", "UUID", "The cluster that it ran in.", "cluster_id"),
        Column("web_url", "VARCHAR", "Its page at Buildkite.", "web_url", is_foreign=True),
        *_SYNCED,
    ),
)

JOBS = Table(
    "jobs",
    "One row per job of a build: every attempt of a step, and its waiters, blocks and triggers.",
    ("job_id",),
    (
        Column("job_id", "UUID", "Buildkite's id of the attempt.", "id"),
        Column("build_id", "UUID", "The build that it belongs to."),
        ORGANIZATION_ID,
        Column(
            "build_created_at",
            "TIMESTAMP",
            "The build's `created_at`: its UTC day is the partition that the job lies in.",
        ),
        Column("type", "VARCHAR", "script, waiter, manual (a block) or trigger.", "type"),
        Column(
            "name",
            "VARCHAR",
            "The step's label, emoji and all; for a block its label.",
            "display_name",
        ),
        Column("step_key", "VARCHAR", "The step's key, where the pipeline gives one.", "step_key"),
        Column("group_key", "VARCHAR", "The key of the step's group.", "group_key"),
        Column("step_id", "UUID", "Buildkite's id of the step in this build.", "step.id"),
        Column(
            "state",
            "VARCHAR",
            "As Buildkite spells it: passed, failed, canceled, timed_out, broken, expired, …",
            "state",
        ),
        Column(
            "exit_status",
            "INTEGER",
            "The command's exit status; -1 where the agent was lost.",
            "exit_status",
        ),
        Column(
            "soft_failed",
            "BOOLEAN",
            "Whether it failed without failing the build.",
            "soft_failed",
        ),
        Column("signal", "VARCHAR", "The signal that ended the command.", "signal_name"),
        Column(
            "signal_reason",
            "VARCHAR",
            "Why: cancel, agent_stop, agent_refused, process_run_error, …",
            "signal_reason",
        ),
        Column("broken_reason", "VARCHAR", "Why it could not run.", "broken_reason"),
        Column(
            "promised_exit_status",
            "INTEGER",
            "The exit status announced before the end.",
            "promised_exit_status",
        ),
        Column(
            "promised_exit_status_at",
            "TIMESTAMP",
            "When it was announced.",
            "promised_exit_status_at",
        ),
        Column("command", "VARCHAR", "What it runs.", "command"),
        Column("artifact_paths", "VARCHAR", "Which files it uploads.", "artifact_paths"),
        Column("priority", "BIGINT", "Higher runs first.", "priority.number"),
        Column("retried", "BOOLEAN", "Whether a later attempt replaced this one.", "retried"),
        Column("retried_in_job_id", "UUID", "That later attempt.", "retried_in_job_id"),
        Column("retried_by_id", "UUID", "The user who retried it.", "retried_by.id"),
        Column(
            "retry_type",
            "VARCHAR",
            "How this attempt was retried: manual or automatic.",
            "retry_type",
        ),
        Column("retries_count", "INTEGER", "How many attempts came before.", "retries_count"),
        Column(
            "retry_source_job_id",
            "UUID",
            "The attempt that this one repeats.",
            "retry_source.job_id",
        ),
        Column(
            "retry_source_type", "VARCHAR", "How that one was retried.", "retry_source.retry_type"
        ),
        Column("agent_id", "UUID", "The agent that ran it.", "agent.id"),
        Column("agent_name", "VARCHAR", "That agent's name.", "agent.name", is_foreign=True),
        Column(
            "agent_hostname", "VARCHAR", "That agent's host.", "agent.hostname", is_foreign=True
        ),
        Column(
            "agent_user_agent",
            "VARCHAR",
            "That agent's version.",
            "agent.user_agent",
            is_foreign=True,
        ),
        Column(
            "agent_meta_data", "VARCHAR[]", "That agent's tags.", "agent.meta_data", is_foreign=True
        ),
        Column(
            "agent_query_rules",
            "VARCHAR[]",
            "The tags that the job asks of an agent.",
            "agent_query_rules",
        ),
        Column("cluster_id", "UUID", "The cluster that it ran in.", "cluster_id"),
        Column("queue_id", "UUID", "The queue that it waited in.", "cluster_queue_id"),
        Column(
            "parallel_group_index",
            "INTEGER",
            "Which of a step's parallel jobs, from 0.",
            "parallel_group_index",
        ),
        Column("parallel_group_total", "INTEGER", "How many of them.", "parallel_group_total"),
        Column("matrix", "VARCHAR", "The step's matrix values, as JSON.", "matrix_json"),
        Column(
            "concurrency_wait_time_ms",
            "DOUBLE",
            "Milliseconds that a concurrency group held it back, before `runnable_at`.",
            "concurrency_wait_time_ms",
        ),
        Column("is_async", "BOOLEAN", "Whether a trigger does not wait for its build.", "is_async"),
        Column(
            "triggered_build_id", "UUID", "The build that a trigger started.", "triggered_build.id"
        ),
        Column(
            "triggered_build_number", "BIGINT", "That build's number.", "triggered_build.number"
        ),
        Column("unblocked_by_id", "UUID", "The user who lifted a block.", "unblocked_by.id"),
        Column(
            "unblocked_by_name",
            "VARCHAR",
            "That user's name.",
            "unblocked_by.name",
            is_name=True,
            is_foreign=True,
        ),
        Column("unblocked_at", "TIMESTAMP", "When the block was lifted.", "unblocked_at"),
        Column("unblockable", "BOOLEAN", "Whether the block can be lifted now.", "unblockable"),
        Column("created_at", "TIMESTAMP", "When the attempt was created.", "created_at"),
        Column(
            "scheduled_at",
            "TIMESTAMP",
            "When it was scheduled; may be before `created_at`.",
            "scheduled_at",
        ),
        Column("runnable_at", "TIMESTAMP", "When it began to wait for an agent.", "runnable_at"),
        Column("started_at", "TIMESTAMP", "When an agent began it.", "started_at"),
        Column("finished_at", "TIMESTAMP", "When it ended.", "finished_at"),
        Column("expired_at", "TIMESTAMP", "When it was given up unstarted.", "expired_at"),
        Column("web_url", "VARCHAR", "Its page at Buildkite.", "web_url", is_foreign=True),
        *_SYNCED,
    ),
)

REJECTED_BUILDS = Table(
    "rejected_builds",
    "One row per build that could not be read; gone once it can be.",
    ("organization_id", "reference"),
    (
        ORGANIZATION_ID,
        Column("reference", "VARCHAR", "The build's id, or its URL, or its place in the list."),
        Column("url", "VARCHAR", "The build's address in the API, where it was told."),
        Column("created_day", "DATE", "The UTC day of the build."),
        Column("path", "VARCHAR", "Where in its JSON the fault lies."),
        Column("error", "VARCHAR", "What is wrong there."),
        Column("seen_at", "TIMESTAMP", "Buildkite's clock when it was last met."),
    ),
)

SYNC_DAYS = Table(
    "sync_days",
    "One row per organization and UTC day whose builds were read in full.",
    ("organization_id", "day"),
    (
        ORGANIZATION_ID,
        Column("day", "DATE", "The UTC day of the builds' `created_at`."),
        Column("read_at", "TIMESTAMP", "Buildkite's clock when the read began."),
        Column("builds", "BIGINT", "Builds found."),
        Column("jobs", "BIGINT", "Jobs found, all attempts."),
        Column("rejected", "BIGINT", "Builds that could not be read."),
        Column("requests", "BIGINT", "Requests that it took."),
        Column("bytes", "BIGINT", "Size of the bodies, unpacked."),
        Column("dagster_run_id", "VARCHAR", "The run that read it."),
        Column(
            "is_to_read_again",
            "BOOLEAN",
            "Whether an upgrade added columns that this read did not fill, or a wrong clock dated "
            "its rows in the future.",
        ),
    ),
)

_LISTED_FROM = Column(
    "valid_from",
    "TIMESTAMP",
    "Buildkite's clock in the first listing with this state; the first state counts before, too.",
)
_LISTED_TO = Column(
    "valid_to",
    "TIMESTAMP",
    "Buildkite's clock in the first listing without this state; NULL while it lasts.",
)


def _states_of(table: Table, *attributes: str) -> Table:
    """The table that keeps how these attributes of a catalog table change over time."""
    names = {*table.key, ORGANIZATION_ID.name, *attributes}
    return Table(
        f"{table.name}_history",
        f"{table.grain.removesuffix('.')}, and per state of its attributes that listings found.",
        (*table.key, _LISTED_FROM.name),
        (*(column for column in table.columns if column.name in names), _LISTED_FROM, _LISTED_TO),
    )


CATALOG_HISTORIES = {
    PIPELINES: _states_of(
        PIPELINES,
        *("slug", "name", "repository", "default_branch", "visibility", "tags", "cluster_id"),
        "archived_at",
    ),
    CLUSTERS: _states_of(CLUSTERS, "name", "default_queue_id"),
    QUEUES: _states_of(QUEUES, "cluster_id", "key"),
}
"""Of each catalog table that metrics take attributes from, the table of its past states."""

VALID_FROM = Column(
    "valid_from",
    "TIMESTAMP",
    "The first snapshot that saw it like this; it may have been so before.",
)
VALID_TO = Column(
    "valid_to",
    "TIMESTAMP",
    "The first snapshot that no longer saw it like this; NULL while it is so.",
)

ORGANIZATION_MEMBERS = Table(
    "organization_members",
    "One row per member of an organization.",
    ("organization_id", "user_id"),
    (
        ORGANIZATION_ID,
        Column("user_id", "UUID", "The user; one user may be in several organizations.", "id"),
        Column("name", "VARCHAR", "Their name.", "name", is_name=True),
        Column("email", "VARCHAR", "Their e-mail address.", "email", is_email=True),
        Column(
            "role", "VARCHAR", "`ADMIN` or `MEMBER`; NULL where never told.", "role_in_capitals"
        ),
        Column(
            "sso_mode",
            "VARCHAR",
            "`REQUIRED` or `OPTIONAL`; told to administrators and to oneself only, else NULL.",
            "sso_mode_in_capitals",
        ),
        VALID_FROM,
    ),
)

TEAMS = Table(
    "teams",
    "One row per team.",
    ("organization_id", "team_id"),
    (
        ORGANIZATION_ID,
        Column("team_id", "UUID", "Buildkite's id of the team; slugs are reused.", "id"),
        Column("slug", "VARCHAR", "Its name in URLs, unique at any one time.", "slug"),
        Column("name", "VARCHAR", "Its name for people.", "name"),
        Column(
            "privacy",
            "VARCHAR",
            "`VISIBLE`, or `SECRET`: for administrators and its members only.",
            "privacy_in_capitals",
        ),
        Column(
            "is_default_team",
            "BOOLEAN",
            "Whether whoever joins the organization joins it too.",
            "is_default_team",
        ),
        Column("created_at", "TIMESTAMP", "When it was created.", "created_at"),
        VALID_FROM,
    ),
)

TEAM_MEMBERS = Table(
    "team_members",
    "One row per member of a team.",
    ("organization_id", "team_id", "user_id"),
    (
        ORGANIZATION_ID,
        Column("team_id", "UUID", "The team."),
        Column("user_id", "UUID", "Who is in it.", "user_id"),
        Column(
            "role",
            "VARCHAR",
            "`MEMBER` or `MAINTAINER`, who manages the team; both have its access to pipelines.",
            "role_in_capitals",
        ),
        Column("created_at", "TIMESTAMP", "When they joined it.", "created_at"),
        VALID_FROM,
    ),
)

TEAM_PIPELINES = Table(
    "team_pipelines",
    "One row per pipeline that a team has access to.",
    ("organization_id", "team_id", "pipeline_id"),
    (
        ORGANIZATION_ID,
        Column("team_id", "UUID", "The team."),
        Column("pipeline_id", "UUID", "The pipeline.", "pipeline_id"),
        Column(
            "access_level",
            "VARCHAR",
            "`READ_ONLY`, `BUILD_AND_READ` or `MANAGE_BUILD_AND_READ`.",
            "access_level_in_capitals",
        ),
        Column(
            "access_rank",
            "INTEGER",
            "The same as 1, 2 or 3, to compare by; NULL for a level that is not known.",
            "access_rank",
        ),
        Column("created_at", "TIMESTAMP", "When the team was given it.", "created_at"),
        VALID_FROM,
    ),
)

ACCESS_SYNCS = Table(
    "access_syncs",
    "One row per snapshot of an organization's members and teams, with what it could see.",
    ("organization_id", "started_at"),
    (
        ORGANIZATION_ID,
        Column("started_at", "TIMESTAMP", "Buildkite's clock before anything was listed."),
        Column("ended_at", "TIMESTAMP", "Buildkite's clock when all was listed."),
        Column("dagster_run_id", "VARCHAR", "The run that took it."),
        Column("token_id", "UUID", "The token that it was taken with."),
        Column("token_email", "VARCHAR", "The token's user.", is_email=True),
        Column("token_scopes", "VARCHAR[]", "What the token may do."),
        Column(
            "is_administrator",
            "BOOLEAN",
            "Whether its user administers the organization; NULL where it was not told.",
        ),
        Column(
            "sees_all_members",
            "BOOLEAN",
            "Whether it listed the members as an administrator: who is not in it has left.",
        ),
        Column(
            "sees_all_teams",
            "BOOLEAN",
            "Whether it listed the teams as an administrator: secret ones too.",
        ),
        Column("listed_team_ids", "UUID[]", "The teams whose members and pipelines it listed."),
        Column("members", "BIGINT", "Members listed; NULL where it may not list them."),
        Column("teams", "BIGINT", "Teams listed; NULL where it may not list them."),
        Column("team_members", "BIGINT", "Memberships of these teams."),
        Column("team_pipelines", "BIGINT", "Pipelines of these teams."),
        Column("requests", "BIGINT", "Requests that it took."),
    ),
)


def history_of(table: Table) -> Table:
    """The table that keeps every past state of an access table, whose plain name is the present."""
    return Table(
        f"{table.name}_history",
        f"{table.grain.removesuffix('.')}, and per state that snapshots saw it in.",
        (*table.key, VALID_FROM.name),
        (*table.columns, VALID_TO),
    )


DERIVED_DAYS = Table(
    "derived_days",
    "One row per derived table and UTC day of builds; of a table recomputed whole, one row.",
    ("table_name", "day"),
    (
        Column("table_name", "VARCHAR", "The derived table."),
        Column("day", "DATE", "The UTC day of the builds; NULL where recomputed whole."),
        Column("fingerprint", "VARCHAR", "Stands for all that the rows were made of."),
        Column("derived_at", "TIMESTAMP", "This machine's clock when they were made."),
    ),
)

SYNC_FEEDS = Table(
    "sync_feeds",
    "One row per organization and change feed.",
    ("organization_id", "started_at"),
    (
        ORGANIZATION_ID,
        Column(
            "read_point",
            "TIMESTAMP",
            "Every change before this is in the warehouse; the next feed reads from here.",
        ),
        Column("started_at", "TIMESTAMP", "Buildkite's clock before its first request."),
        Column("finished_at", "TIMESTAMP", "Buildkite's clock in its last response."),
        Column("requests", "BIGINT", "Requests that it took, listing the organizations left out."),
        Column("changed", "BIGINT", "Builds that it found changed or new."),
        Column("dagster_run_id", "VARCHAR", "The run that read it."),
    ),
)

_CHANGE = (
    Column("build_id", "UUID", "The build that changed."),
    Column("job_id", "UUID", "The job of it that changed; NULL for the build itself."),
    ORGANIZATION_ID,
    Column("day", "DATE", "The UTC day of the build: the partition that changed."),
    Column("field", "VARCHAR", "The column that changed; `created` for a new build or attempt."),
    # Of the field `author_name` and the like it is a person's name.
    Column("old", "VARCHAR", "What was stored.", is_name=True),
    Column("new", "VARCHAR", "What Buildkite said; NULL where an attempt vanished.", is_name=True),
    Column("noticed_at", "TIMESTAMP", "Buildkite's clock when it was noticed."),
    Column("changed_at", "TIMESTAMP", "The latest instant that the build and its jobs tell of."),
    Column("lag_seconds", "DOUBLE", "From `changed_at` until it was noticed."),
)

BUILD_CHANGES = Table(
    "build_changes",
    "One row per change of a build or job that a change feed noticed. Of jobs, changes of `state` "
    "and `retried` are told, new and vanished attempts too.",
    ("build_id", "job_id", "field", "noticed_at"),
    _CHANGE,
)

LATE_CHANGES = Table(
    "late_changes",
    "One row per change that a full read found although it is older than the read point of the "
    "feed before it: none, if the feed misses nothing.",
    ("build_id", "job_id", "field", "noticed_at"),
    _CHANGE,
)

PURGED = Table(
    "purged",
    "One row per user, e-mail address or pipeline that was purged; what is read later is stripped "
    "of such people.",
    ("kind", "id"),
    (
        Column("kind", "VARCHAR", "user, email or pipeline."),
        Column("id", "VARCHAR", "Buildkite's id; of an e-mail address its SHA-256."),
        Column("purged_at", "TIMESTAMP", "This machine's clock when it was purged."),
    ),
)

CATALOG_TABLES = (ORGANIZATIONS, PIPELINES, CLUSTERS, QUEUES)
ACCESS_TABLES = (ORGANIZATION_MEMBERS, TEAMS, TEAM_MEMBERS, TEAM_PIPELINES)
LEDGER_TABLES = (REJECTED_BUILDS, SYNC_DAYS, SYNC_FEEDS, DERIVED_DAYS, PURGED)
"""What the warehouse notes of its own work; tables, but no assets."""

TABLES = (
    *CATALOG_TABLES,
    *CATALOG_HISTORIES.values(),
    BUILDS,
    JOBS,
    BUILD_CHANGES,
    LATE_CHANGES,
    ACCESS_SYNCS,
    *map(history_of, ACCESS_TABLES),
    *LEDGER_TABLES,
)

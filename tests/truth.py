"""What the rows must be, by hand: from Buildkite's JSON bodies to rows as DuckDB returns them.

Written from Buildkite's documentation and the data dictionary alone; the product's own mapping is
not looked at, so that both must be right for a comparison to hold.
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from buildkite_assets.warehouse import connect

Body = dict[str, Any]
Row = dict[str, Any]

_SYNC_COLUMNS = ("synced_at", "absent_since")


def read_rows(path: Path, table: str, *, present_only: bool = True) -> list[Row]:
    """All columns of a published table's rows, but for what the sync adds to them."""
    where = "WHERE absent_since IS NULL" if present_only and table != "organizations" else ""
    with connect(path) as connection:
        result = connection.execute(f"FROM {table} {where} ORDER BY 1")
        names = [column[0] for column in result.description or ()]
        rows = [dict(zip(names, values, strict=True)) for values in result.fetchall()]
    return [{k: v for k, v in row.items() if k not in _SYNC_COLUMNS} for row in rows]


def by_first_column(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of `read_rows`."""
    return sorted(rows, key=lambda row: str(next(iter(row.values()))))


def instant(text: str | None) -> datetime | None:
    """An instant in either of Buildkite's forms, naive and in UTC."""
    if text is None:
        return None
    if text.endswith(" UTC"):
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S UTC")  # noqa: DTZ007 - naive is meant
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def uuid(text: str | None) -> UUID | None:
    """An id as DuckDB returns it."""
    return UUID(text) if text else None


def organization_row(body: Body) -> Row:
    """The row of `organizations`."""
    return {
        "organization_id": uuid(body["id"]),
        "slug": body["slug"],
        "name": body["name"],
        "web_url": body["web_url"],
        "created_at": instant(body["created_at"]),
    }


def pipeline_row(body: Body, organization_id: str) -> Row:
    """The row of `pipelines`."""
    return {
        "pipeline_id": uuid(body["id"]),
        "organization_id": uuid(organization_id),
        "slug": body["slug"],
        "name": body["name"],
        "description": body["description"],
        "repository": body["repository"],
        "provider": body["provider"]["id"],
        "default_branch": body["default_branch"],
        "visibility": body["visibility"],
        "tags": body["tags"],
        "cluster_id": uuid(body["cluster_id"]),
        "created_by_id": uuid((body["created_by"] or {}).get("id")),
        "web_url": body["web_url"],
        "created_at": instant(body["created_at"]),
        "archived_at": instant(body["archived_at"]),
    }


def cluster_row(body: Body, organization_id: str) -> Row:
    """The row of `clusters`."""
    return {
        "cluster_id": uuid(body["id"]),
        "organization_id": uuid(organization_id),
        "name": body["name"],
        "description": body["description"],
        "default_queue_id": uuid(body["default_queue_id"]),
        "created_by_id": uuid((body["created_by"] or {}).get("id")),
        "web_url": body["web_url"],
        "created_at": instant(body["created_at"]),
    }


def queue_row(body: Body, organization_id: str) -> Row:
    """The row of `queues`; the cluster is told by the queue's address alone."""
    return {
        "queue_id": uuid(body["id"]),
        "organization_id": uuid(organization_id),
        "cluster_id": uuid(body["cluster_url"].rsplit("/", 1)[1]),
        "key": body["key"],
        "description": body["description"],
        "dispatch_paused": body["dispatch_paused"],
        "dispatch_paused_at": instant(body["dispatch_paused_at"]),
        "retry_agent_affinity": body["retry_agent_affinity"],
        "web_url": body["web_url"],
        "created_at": instant(body["created_at"]),
    }


def build_row(body: Body, organization_id: str, pipeline_id: str | None) -> Row:
    """The row of `builds`; old bodies lack some keys."""
    author = body.get("author") or {}
    author = {"name": author} if isinstance(author, str) else author
    creator = body.get("creator") or {}
    pull_request = body.get("pull_request") or {}
    rebuilt_from = body.get("rebuilt_from") or {}
    triggered_from = body.get("triggered_from") or {}
    slug = re.search("/pipelines/([^/]+)/builds/", body["url"])
    assert slug
    return {
        "build_id": uuid(body["id"]),
        "organization_id": uuid(organization_id),
        "pipeline_id": uuid(pipeline_id),
        "pipeline_slug": unquote(slug[1]),
        "number": body["number"],
        "state": body["state"],
        "blocked": body.get("blocked"),
        "blocked_state": body.get("blocked_state"),
        "cancel_reason": body.get("cancel_reason"),
        "branch": body["branch"],
        "tag": body.get("tag"),
        "commit": body["commit"],
        "message": body["message"],
        "source": body.get("source"),
        "creator_id": uuid(creator.get("id")),
        "creator_name": creator.get("name"),
        "creator_email": creator.get("email"),
        "author_username": author.get("username"),
        "author_name": author.get("name"),
        "author_email": author.get("email"),
        "created_at": instant(body["created_at"]),
        "scheduled_at": instant(body["scheduled_at"]),
        "started_at": instant(body["started_at"]),
        "failing_at": instant(body.get("failing_at")),
        "finished_at": instant(body["finished_at"]),
        "meta_data": body.get("meta_data"),
        "pull_request_id": None if pull_request.get("id") is None else str(pull_request["id"]),
        "pull_request_base": pull_request.get("base"),
        "pull_request_repository": pull_request.get("repository"),
        "pull_request_labels": pull_request.get("labels"),
        "merge_queue_base_branch": (body.get("merge_queue") or {}).get("base_branch"),
        "rebuilt_from_build_id": uuid(rebuilt_from.get("id")),
        "rebuilt_from_number": rebuilt_from.get("number"),
        "triggered_from_build_id": uuid(triggered_from.get("build_id")),
        "triggered_from_number": triggered_from.get("build_number"),
        "triggered_from_pipeline_slug": triggered_from.get("build_pipeline_slug"),
        "cluster_id": uuid(body.get("cluster_id")),
        "web_url": body["web_url"],
    }


def job_row(job: Body, build: Body, organization_id: str) -> Row:
    """The row of `jobs`; which keys a job has depends on its type and age."""
    agent = job.get("agent") or {}
    retry_source = job.get("retry_source") or {}
    triggered_build = job.get("triggered_build") or {}
    unblocked_by = job.get("unblocked_by") or {}
    matrix = job.get("matrix")
    return {
        "job_id": uuid(job["id"]),
        "build_id": uuid(build["id"]),
        "organization_id": uuid(organization_id),
        "build_created_at": instant(build["created_at"]),
        "type": job["type"],
        "name": job.get("name") if job["type"] != "manual" else job.get("label"),
        "step_key": job.get("step_key"),
        "group_key": job.get("group_key"),
        "step_id": uuid((job.get("step") or {}).get("id")),
        "state": job.get("state"),
        "exit_status": job.get("exit_status"),
        "soft_failed": job.get("soft_failed"),
        "signal": job.get("signal"),
        "signal_reason": job.get("signal_reason"),
        "broken_reason": job.get("broken_reason"),
        "promised_exit_status": job.get("promised_exit_status"),
        "promised_exit_status_at": instant(job.get("promised_exit_status_at")),
        "command": job.get("command"),
        "artifact_paths": job.get("artifact_paths"),
        "priority": (job.get("priority") or {}).get("number"),
        "retried": job.get("retried"),
        "retried_in_job_id": uuid(job.get("retried_in_job_id")),
        "retried_by_id": uuid((job.get("retried_by") or {}).get("id")),
        "retry_type": job.get("retry_type"),
        "retries_count": job.get("retries_count"),
        "retry_source_job_id": uuid(retry_source.get("job_id")),
        "retry_source_type": retry_source.get("retry_type"),
        "agent_id": uuid(agent.get("id")),
        "agent_name": agent.get("name"),
        "agent_hostname": agent.get("hostname"),
        "agent_user_agent": agent.get("user_agent"),
        "agent_meta_data": agent.get("meta_data"),
        "agent_query_rules": job.get("agent_query_rules"),
        "cluster_id": uuid(job.get("cluster_id")),
        "queue_id": uuid(job.get("cluster_queue_id")),
        "parallel_group_index": job.get("parallel_group_index"),
        "parallel_group_total": job.get("parallel_group_total"),
        "matrix": None if matrix is None else json.dumps(matrix, separators=(",", ":")),
        "concurrency_wait_time_ms": job.get("concurrency_wait_time_ms"),
        "is_async": job.get("async"),
        "triggered_build_id": uuid(triggered_build.get("id")),
        "triggered_build_number": triggered_build.get("number"),
        "unblocked_by_id": uuid(unblocked_by.get("id")),
        "unblocked_by_name": unblocked_by.get("name"),
        "unblocked_at": instant(job.get("unblocked_at")),
        "unblockable": job.get("unblockable"),
        "created_at": instant(job.get("created_at")),
        "scheduled_at": instant(job.get("scheduled_at")),
        "runnable_at": instant(job.get("runnable_at")),
        "started_at": instant(job.get("started_at")),
        "finished_at": instant(job.get("finished_at")),
        "expired_at": instant(job.get("expired_at")),
        "web_url": job.get("web_url"),
    }

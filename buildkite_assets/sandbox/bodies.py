"""JSON bodies of builds, their jobs and pipelines, with Buildkite's keys in Buildkite's order."""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from .identity import digest, graphql_id, secret
from .model import Agent, Build, Job, Pipeline, Queue, Step, User

API = "https://api.buildkite.com/v2"
WEB = "https://buildkite.com"


def instant(at: datetime | None) -> str | None:
    """Return an instant as today's bodies have it: UTC, with milliseconds."""
    return None if at is None else at.isoformat(timespec="milliseconds")[:23] + "Z"


def old_instant(at: datetime | None) -> str | None:
    """Return an instant as pipelines and tokens still have it: UTC, whole seconds."""
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def user_body(user: User | None) -> dict[str, Any] | None:
    """Return a user as seen in other bodies."""
    if user is None:
        return None
    return {
        "id": user.id,
        "graphql_id": graphql_id("User", user.id),
        "name": user.name,
        "email": user.email,
        "avatar_url": f"https://www.gravatar.com/avatar/{digest(user.email)[:32]}",
        "created_at": instant(user.created_at),
    }


def pipeline_api_url(pipeline: Pipeline) -> str:
    """Return the address of a pipeline in the API."""
    return f"{API}/organizations/{pipeline.organization_slug}/pipelines/{pipeline.slug}"


def _agent_query_rules(step: Step) -> list[str]:
    return [] if step.queue_key is None else [f"queue={step.queue_key}"]


def _step_body(step: Step) -> dict[str, Any]:
    if step.type == "waiter":
        return {"type": "waiter", "label": None, "continue_after_failure": False}
    if step.type == "manual":
        return {"type": "manual", "label": step.name}
    return {
        "type": step.type,
        "name": step.name,
        "command": step.command,
        "artifact_paths": None,
        "branch_configuration": None,
        "env": {"STEP_TOKEN": secret("step env", step.key)},
        "timeout_in_minutes": None,
        "agent_query_rules": _agent_query_rules(step),
        "concurrency": None,
        "parallelism": step.parallelism,
    }


def pipeline_body(pipeline: Pipeline) -> dict[str, Any]:
    """Return a pipeline, including what a reader should never keep."""
    repository = pipeline.repository.removeprefix("git@github.com:").removesuffix(".git")
    builds = Counter(build.state for build in pipeline.builds[-200:])
    jobs = Counter(job.state for build in pipeline.builds[-20:] for job in build.jobs)
    cluster = pipeline.cluster
    return {
        "id": pipeline.id,
        "graphql_id": graphql_id("Pipeline", pipeline.id),
        "url": pipeline_api_url(pipeline),
        "web_url": f"{WEB}/{pipeline.organization_slug}/{pipeline.slug}",
        "name": pipeline.name,
        "description": pipeline.description,
        "slug": pipeline.slug,
        "repository": pipeline.repository,
        "cluster_id": cluster and cluster.id,
        "pipeline_template_uuid": None,
        "branch_configuration": None,
        "default_branch": pipeline.default_branch,
        "skip_queued_branch_builds": True,
        "skip_queued_branch_builds_filter": "!main",
        "cancel_running_branch_builds": True,
        "cancel_running_branch_builds_filter": "!main",
        "allow_rebuilds": True,
        "provider": {
            "id": "github",
            "settings": {
                "build_branches": True,
                "build_pull_request_forks": False,
                "build_pull_requests": True,
                "build_tags": False,
                "publish_commit_status": True,
                "publish_commit_status_per_step": False,
                "trigger_mode": "code",
                "repository": repository,
                "filter_condition": "",
            },
            "webhook_url": f"https://webhook.buildkite.com/deliver/{secret(pipeline.id, 'hook')}",
        },
        "builds_url": f"{pipeline_api_url(pipeline)}/builds",
        "badge_url": f"https://badge.buildkite.com/{digest(pipeline.id, 'badge')}.svg",
        "created_by": user_body(pipeline.created_by),
        "created_at": old_instant(pipeline.created_at),
        "archived_at": instant(pipeline.archived_at),
        "env": {"DEPLOY_KEY": secret(pipeline.id, "env")},
        "scheduled_builds_count": builds["scheduled"],
        "running_builds_count": builds["running"] + builds["failing"],
        "scheduled_jobs_count": jobs["scheduled"],
        "running_jobs_count": jobs["running"],
        "waiting_jobs_count": jobs["waiting"],
        "visibility": pipeline.visibility,
        "tags": pipeline.tags,
        "emoji": pipeline.emoji,
        "color": pipeline.color,
        "configuration": f"env:\n  API_KEY: {secret(pipeline.id, 'configuration')}\nsteps: []\n",
        "steps": [_step_body(step) for step in pipeline.steps],
        "cluster_url": cluster and f"{_clusters_url(pipeline)}/{cluster.id}",
    }


def _clusters_url(pipeline: Pipeline) -> str:
    return f"{API}/organizations/{pipeline.organization_slug}/clusters"


def agent_body(agent: Agent, organization_slug: str, last_job: datetime | None) -> dict[str, Any]:
    """Return an agent as embedded in its jobs; `last_job` is when it last finished one."""
    queue = agent.queue
    cluster_url = queue and f"{API}/organizations/{organization_slug}/clusters/{queue.cluster.id}"
    return {
        "id": agent.id,
        "graphql_id": graphql_id("Agent", agent.id),
        "url": f"{API}/organizations/{organization_slug}/agents/{agent.id}",
        "web_url": f"{WEB}/organizations/{organization_slug}/agents/{agent.id}",
        "name": agent.name,
        "connection_state": "connected",
        "ip_address": agent.ip_address,
        "hostname": f"host-{agent.name}",
        "user_agent": f"buildkite-agent/{agent.version} (linux; amd64)",
        "version": agent.version,
        "creator": None,
        "created_at": instant(agent.created_at),
        "job": None,
        "last_job_finished_at": instant(last_job),
        "priority": 0,
        "meta_data": [
            f"queue={agent.queue_key}",
            "aws:architecture=x86_64",
            "aws:availability-zone=us-west-2a",
            f"aws:instance-id=i-{agent.id[-12:]}",
            "aws:instance-type=c7i.4xlarge",
            "aws:region=us-west-2",
            "aws:instance-life-cycle=on-demand",
            "aws:account-id=000000000000",
            f"aws:ec2launchtemplate:id=lt-{agent.id[-17:]}",
        ],
        "paused": False,
        "paused_at": None,
        "paused_by": None,
        "paused_note": None,
        "paused_timeout_in_minutes": 5,
        "cluster_url": cluster_url,
        "cluster_queue_url": queue and f"{cluster_url}/queues/{queue.id}",
    }


def job_body(job: Job) -> dict[str, Any]:
    """Return a job; which keys it has depends on its type."""
    pipeline = job.build.pipeline
    if job.step.type == "waiter":
        return {"id": job.id, "graphql_id": graphql_id("Job", job.id), "type": "waiter"}
    if job.step.type == "manual":
        return _manual_body(job)
    web_url = (
        f"{WEB}/{pipeline.organization_slug}/{pipeline.slug}/builds/{job.build.number}#{job.id}"
    )
    if job.step.type == "trigger":
        return _trigger_body(job, web_url)
    return _script_body(job, web_url)


def _manual_body(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "graphql_id": graphql_id("Job", job.id),
        "type": "manual",
        "label": job.step.name,
        "state": job.state,
        "step_key": job.step.key,
        "web_url": None,
        "unblocked_by": user_body(job.unblocked_by),
        "unblocked_at": instant(job.unblocked_at),
        "unblockable": job.state == "blocked",
        "unblock_url": f"{build_api_url(job.build)}/jobs/{job.id}/unblock",
        "fields": None,
    }


def _trigger_body(job: Job, web_url: str) -> dict[str, Any]:
    child = job.triggered_build
    return {
        "id": job.id,
        "graphql_id": graphql_id("Job", job.id),
        "type": "trigger",
        "name": job.step.name,
        "step_key": job.step.key,
        "group_key": job.step.group_key,
        "state": job.state,
        "async": job.step.is_async,
        "web_url": web_url,
        "created_at": instant(job.created_at),
        "scheduled_at": instant(job.scheduled_at),
        "runnable_at": instant(job.runnable_at),
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "triggered_build": child
        and {
            "id": child.id,
            "number": child.number,
            "url": build_api_url(child),
            "web_url": build_web_url(child),
        },
    }


def _script_body(job: Job, web_url: str) -> dict[str, Any]:
    step = job.step
    pipeline = job.build.pipeline
    build_url = build_api_url(job.build)
    job_url = f"{build_url}/jobs/{job.id}"
    queue = job.queue
    cluster = queue.cluster if queue else pipeline.cluster
    cluster_url = cluster and f"{_clusters_url(pipeline)}/{cluster.id}"
    retries = job.retries
    return {
        "id": job.id,
        "graphql_id": graphql_id("Job", job.id),
        "type": "script",
        "name": step.shown_name,
        "step_key": step.key,
        "group_key": step.group_key,
        "step": {"id": _step_id(job), "signature": None},
        "priority": {"number": 0},
        "agent_query_rules": _agent_query_rules(step),
        "state": job.state,
        "build_url": build_url,
        "web_url": web_url,
        "log_url": f"{job_url}/log",
        "raw_log_url": f"{job_url}/log.txt",
        "artifacts_url": f"{job_url}/artifacts",
        "command": step.command,
        "soft_failed": job.soft_failed,
        "exit_status": job.exit_status,
        "signal": job.signal,
        "signal_reason": job.signal_reason,
        "broken_reason": "if_condition_not_met" if job.state == "broken" else None,
        "artifact_paths": None,
        "created_at": instant(job.created_at),
        "scheduled_at": instant(job.scheduled_at),
        "runnable_at": instant(job.runnable_at),
        "concurrency_wait_time_ms": job.concurrency_wait_time_ms,
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "expired_at": instant(job.expired_at),
        "retried": job.retried,
        "retried_in_job_id": job.retried_in and job.retried_in.id,
        "retries_count": job.retries_count,
        "retry_source": retries and {"job_id": retries.id, "retry_type": retries.retry_type},
        "retry_type": job.retry_type,
        "parallel_group_index": step.parallel_index,
        "parallel_group_total": step.parallelism,
        "matrix": step.matrix,
        "agent": job.agent and agent_body(job.agent, pipeline.organization_slug, job.finished_at),
        "retried_by": user_body(job.retried_by),
        "cluster_id": cluster and cluster.id,
        "cluster_url": cluster_url,
        "cluster_queue_id": queue and queue.id,
        "cluster_queue_url": queue and f"{cluster_url}/queues/{queue.id}",
    }


def _step_id(job: Job) -> str:
    """Return the id that all jobs of a step have within a build."""
    rest = digest(job.build.id, job.step.key or (job.step.name, job.step.command))
    return f"{job.build.id[:18]}-8{rest[:3]}-{rest[3:15]}"


def shown_jobs(build: Build, *, include_retried: bool, include_paused: bool = True) -> list[Job]:
    """Return the attempts that a list shows."""
    return [
        job
        for job in build.jobs
        if (include_retried or not job.retried)
        and (include_paused or not waits_in_paused_queue(job.queue))
    ]


def waits_in_paused_queue(queue: Queue | None) -> bool:
    """Return whether jobs of this queue are on hold."""
    return queue is not None and queue.dispatch_paused


def build_api_url(build: Build) -> str:
    """Return the address of a build in the API."""
    return f"{pipeline_api_url(build.pipeline)}/builds/{build.number}"


def build_web_url(build: Build) -> str:
    """Return the address of a build for people."""
    pipeline = build.pipeline
    return f"{WEB}/{pipeline.organization_slug}/{pipeline.slug}/builds/{build.number}"


def build_body(
    build: Build,
    *,
    jobs: msgspec.Raw | list[Any] | None,
    pipeline: msgspec.Raw | dict[str, Any] | None,
) -> dict[str, Any]:
    """Return a build with these rendered jobs and pipeline; None leaves the key out."""
    cluster = build.pipeline.cluster
    body: dict[str, Any] = {
        "id": build.id,
        "graphql_id": graphql_id("Build", build.id),
        "url": build_api_url(build),
        "web_url": build_web_url(build),
        "number": build.number,
        "state": build.state,
        "cancel_reason": build.cancel_reason,
        "blocked": build.blocked,
        "blocked_state": build.blocked_state,
        "message": build.message,
        "commit": build.commit,
        "branch": build.branch,
        "tag": build.tag,
        "env": {"BUILD_TOKEN": secret(build.id, "env")},
        "source": build.source,
        "author": build.author,
        "creator": user_body(build.creator),
        "created_at": instant(build.created_at),
        "scheduled_at": instant(build.scheduled_at),
        "started_at": instant(build.started_at),
        "failing_at": instant(build.failing_at),
        "finished_at": instant(build.finished_at),
        "meta_data": build.meta_data,
        "pull_request": build.pull_request,
        "merge_queue": build.merge_queue_base_branch
        and {"base_branch": build.merge_queue_base_branch},
        "rebuilt_from": build.rebuilt_from
        and {
            "id": build.rebuilt_from.id,
            "number": build.rebuilt_from.number,
            "url": build_api_url(build.rebuilt_from),
        },
        "triggered_from": build.triggered_from
        and {
            "build_id": build.triggered_from.id,
            "build_number": build.triggered_from.number,
            "build_pipeline_slug": build.triggered_from.pipeline.slug,
        },
    }
    if pipeline is not None:
        body["pipeline"] = pipeline
    if jobs is not None:
        body["jobs"] = jobs
    body["cluster_id"] = cluster and cluster.id
    body["cluster_url"] = cluster and f"{_clusters_url(build.pipeline)}/{cluster.id}"
    return body

"""JSON bodies of everything that is not a build, a job or a pipeline."""

from datetime import datetime
from typing import Any

from .bodies import API, WEB, instant, old_instant, pipeline_api_url, user_body
from .identity import graphql_id
from .limits import Usage
from .model import Cluster, Member, Queue, Team, TeamMember, TeamPipeline
from .tokens import Token


def access_token_body(token: Token) -> dict[str, Any]:
    """Return what a token says of itself."""
    return {
        "uuid": token.uuid,
        "scopes": list(token.scopes),
        "description": token.description,
        "created_at": old_instant(token.created_at),
        "expires_at": old_instant(token.expires_at),
        "user": {"email": token.user.email, "name": token.user.name},
    }


def organization_body(uuid: str, slug: str, name: str, created_at: datetime) -> dict[str, Any]:
    """Return an organization."""
    url = f"{API}/organizations/{slug}"
    return {
        "id": uuid,
        "graphql_id": graphql_id("Organization", uuid),
        "url": url,
        "web_url": f"{WEB}/{slug}",
        "name": name,
        "slug": slug,
        "pipelines_url": f"{url}/pipelines",
        "agents_url": f"{url}/agents",
        "emojis_url": f"{url}/emojis",
        "created_at": instant(created_at),
    }


def member_body(member: Member, *, with_sso_mode: bool) -> dict[str, Any]:
    """Return a member; only administrators and the member see the SSO mode."""
    body: dict[str, Any] = {
        "id": member.user.id,
        "name": member.user.name,
        "email": member.user.email,
        "role": member.role,
    }
    if with_sso_mode:
        body["sso_mode"] = member.sso_mode
    return body


def cluster_body(cluster: Cluster) -> dict[str, Any]:
    """Return a cluster."""
    path = f"organizations/{cluster.organization_slug}/clusters/{cluster.id}"
    url = f"{API}/{path}"
    default = cluster.queues[0] if cluster.queues else None
    return {
        "id": cluster.id,
        "graphql_id": graphql_id("Cluster", cluster.id),
        "default_queue_id": default and default.id,
        "name": cluster.name,
        "description": cluster.description,
        "emoji": cluster.emoji,
        "color": cluster.color,
        "maintainers": {"users": [], "teams": []},
        "url": url,
        "web_url": f"{WEB}/{path}",
        "queues_url": f"{url}/queues",
        "default_queue_url": default and f"{url}/queues/{default.id}",
        "created_at": instant(cluster.created_at),
        "created_by": user_body(cluster.created_by),
    }


def queue_body(queue: Queue) -> dict[str, Any]:
    """Return a queue."""
    cluster_path = f"organizations/{queue.cluster.organization_slug}/clusters/{queue.cluster.id}"
    path = f"{cluster_path}/queues/{queue.id}"
    return {
        "id": queue.id,
        "graphql_id": graphql_id("ClusterQueue", queue.id),
        "key": queue.key,
        "description": queue.description,
        "url": f"{API}/{path}",
        "web_url": f"{WEB}/{path}",
        "cluster_url": f"{API}/{cluster_path}",
        "retry_agent_affinity": "prefer-warmest",
        "dispatch_paused": queue.dispatch_paused,
        "dispatch_paused_by": None,
        "dispatch_paused_at": None,
        "dispatch_paused_note": None,
        "created_at": instant(queue.created_at),
        "created_by": user_body(queue.created_by),
    }


def team_body(team: Team) -> dict[str, Any]:
    """Return a team."""
    return {
        "id": team.id,
        "graphql_id": graphql_id("Team", team.id),
        "name": team.name,
        "slug": team.slug,
        "description": team.description,
        "created_at": instant(team.created_at),
        "privacy": team.privacy,
        "default": team.default,
        "created_by": user_body(team.created_by),
    }


def team_member_body(member: TeamMember) -> dict[str, Any]:
    """Return a membership of a team; it has no id and no e-mail address."""
    return {
        "role": member.role,
        "created_at": instant(member.created_at),
        "user_id": member.user.id,
        "user_name": member.user.name,
    }


def team_pipeline_body(level: TeamPipeline) -> dict[str, Any]:
    """Return what a team may do with a pipeline."""
    return {
        "access_level": level.access_level,
        "created_at": instant(level.created_at),
        "pipeline_id": level.pipeline.id,
        # Plain http here, as Buildkite's own examples of this one body have it.
        "pipeline_url": pipeline_api_url(level.pipeline).replace("https://", "http://"),
    }


def rate_limit_body(usage: Usage, reset_at: datetime) -> dict[str, Any]:
    """Return the organization's limits."""
    return {
        "scopes": {
            "rest": {
                "limit": usage.limit,
                "current": usage.current,
                "reset": usage.reset,
                "reset_at": f"{reset_at:%Y-%m-%dT%H:%M:%SZ}",
                "enforced": True,
            },
            "graphql": {
                "limit": 50000,
                "current": 0,
                "reset": 300,
                "reset_at": f"{reset_at:%Y-%m-%dT%H:%M:%SZ}",
                "enforced": True,
            },
        }
    }

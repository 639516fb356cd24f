"""The HTTP side: every request is checked like at Buildkite, then answered from the store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import bodies, catalog
from .errors import TOO_DEEP, ApiError, bad_request, missing_scope, not_found, unauthorized
from .filters import BuildFilter, flag, many
from .identity import digest
from .model import JOB_STATES, Build, Cluster, Pipeline, Team
from .organization import Organization
from .pages import Page, cursor_page, numbered_page, requested_page
from .requests import RecordedRequest
from .tokens import Token

if TYPE_CHECKING:
    from .sandbox import Sandbox

_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose token, scope and organization are already checked.

    `organization` is the one in the path; without one, the first that the token sees.
    """

    request: Request
    token: Token
    organization: Organization

    def name(self, parameter: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[parameter])

    @property
    def is_administrator(self) -> bool:
        """Whether the token's user administers the organization."""
        return any(
            member.user is self.token.user and member.role == "admin"
            for member in self.organization.members
        )

    def sees(self, pipeline: Pipeline) -> bool:
        """Whether the token's user sees the pipeline."""
        visible = self.token.visible_pipelines
        return visible is None or pipeline.slug in visible

    def pipeline(self) -> Pipeline:
        """Return the pipeline in the path."""
        pipeline = self.organization.pipelines.get(self.name("pipeline"))
        if pipeline is None or not self.sees(pipeline):
            raise not_found("pipeline")
        return pipeline

    def build(self) -> Build:
        """Return the build in the path."""
        number = self.name("number")
        build = self.pipeline().builds_by_number.get(int(number) if number.isdigit() else 0)
        if build is None:
            raise not_found("build")
        return build

    def sees_team(self, team: Team) -> bool:
        """Whether the token's user sees the team: secret ones are for their members."""
        return (
            team.privacy == "visible"
            or self.is_administrator
            or any(member.user is self.token.user for member in team.members)
        )

    def team(self) -> Team:
        """Return the team in the path."""
        for team in self.organization.teams:
            if team.id == self.name("team") and self.sees_team(team):
                return team
        raise not_found("team")

    def cluster(self) -> Cluster:
        """Return the cluster in the path."""
        for cluster in self.organization.clusters:
            if cluster.id == self.name("cluster"):
                return cluster
        raise not_found("cluster")


Answer = Callable[[Call], object]
"""Answers a call with a JSON-like body, or with a page of a list."""


class SandboxApp:
    """The ASGI application of a sandbox."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox
        self._request_count = 0
        starlette = Starlette(routes=self._routes())
        self._compressed = GZipMiddleware(starlette, compresslevel=_GZIP_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, after its latency and unless a fault answers instead."""
        if scope["type"] != "http":
            raise NotImplementedError(f"The sandbox does not speak {scope['type']}.")
        sandbox = self._sandbox
        request = Request(scope, receive)
        record = RecordedRequest(
            sandbox.clock(), request.method, request.url.path, dict(request.query_params)
        )

        async def recording_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("Date", _http_date(sandbox.clock()))  # faults bring none
                if date := sandbox.dates and sandbox.dates(request):
                    headers["Date"] = _http_date(date)
            else:
                record.bytes_sent += len(message.get("body", b""))
            await send(message)

        try:
            if sandbox.latency_seconds:
                await anyio.sleep(sandbox.latency_seconds)
            fault: ASGIApp | None = sandbox.faults(request) if sandbox.faults else None
            await (fault or self._compressed)(scope, receive, recording_send)
        finally:
            sandbox.requests.append(record)

    def _routes(self) -> list[Route]:
        organization = "/v2/organizations/{organization}"
        pipeline = f"{organization}/pipelines/{{pipeline}}"
        team = f"{organization}/teams/{{team}}"
        return [
            self._route("/v2/access-token", None, _access_token),
            self._route("/v2/user", "read_user", _user),
            self._route("/v2/organizations", "read_organizations", self._organizations),
            self._route("/v2/builds", "read_builds", self._all_builds),
            self._route(organization, "read_organizations", _organization),
            self._route(f"{organization}/members", "read_organizations", _members),
            self._route(f"{organization}/rate_limit", None, self._rate_limit),
            self._route(f"{organization}/agents", "read_agents", _agents),
            self._route(f"{organization}/clusters", "read_clusters", _clusters),
            self._route(f"{organization}/clusters/{{cluster}}", "read_clusters", _cluster),
            self._route(f"{organization}/clusters/{{cluster}}/queues", "read_clusters", _queues),
            self._route(f"{organization}/teams", "read_teams", _teams),
            self._route(team, "read_teams", _team),
            self._route(f"{team}/members", "read_teams", _team_members),
            self._route(f"{team}/pipelines", "read_teams", _team_pipelines),
            self._route(f"{organization}/pipelines", "read_pipelines", _pipelines),
            self._route(pipeline, "read_pipelines", _pipeline),
            self._route(f"{organization}/builds", "read_builds", self._organization_builds),
            self._route(f"{pipeline}/builds", "read_builds", self._pipeline_builds),
            self._route(f"{pipeline}/builds/{{number}}", "read_builds", _build),
            self._route(f"{pipeline}/builds/{{number}}/jobs", "read_builds", _jobs),
            Route("/{path:path}", self._unknown_route),
        ]

    def _route(self, path: str, required_scope: str | None, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            return self._respond(request, required_scope, answer)

        return Route(path, endpoint, methods=["GET"])

    async def _unknown_route(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/v2").lstrip("/")
        response = _json(404, {"message": f"No route matches {path}"})
        self._add_headers(response)
        return response

    def _respond(self, request: Request, required_scope: str | None, answer: Answer) -> Response:
        sandbox = self._sandbox
        builds_list = request.url.path.endswith("/builds")
        if builds_list and sandbox.before_page is not None:
            sandbox.before_page(request)
        headers: dict[str, str] = {}
        with sandbox.lock:
            sandbox.advance()
            try:
                body = answer(self._checked_call(request, required_scope, headers))
                if isinstance(body, Page):
                    if body.link:
                        headers["Link"] = body.link
                    body = body.items
                response = _json(200, body)
            except ApiError as error:
                response = _json(error.status, error.body)
            response.headers.update(headers)
            self._add_headers(response)
        return response

    def _checked_call(
        self, request: Request, required_scope: str | None, headers: dict[str, str]
    ) -> Call:
        """Check the token, the limits, the scope and the organization, in this order."""
        sandbox = self._sandbox
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        token = sandbox.tokens.find(value.strip(), sandbox.clock())
        if kind.lower() != "bearer" or token is None:
            raise unauthorized()
        headers["X-OAuth-Scopes"] = ",".join(token.scopes)
        if required_scope is not None:
            headers["X-Accepted-OAuth-Scopes"] = required_scope
        slug = request.path_params.get("organization")
        charged = slug or next(iter(token.organizations), "")
        usages = sandbox.limits.count(charged, token.user.id)
        for usage in usages:
            headers.update(usage.headers())
        for usage in usages:
            if usage.remaining < 0:
                message = (
                    "You have exceeded your API rate limit. "
                    f"Please wait {usage.reset} seconds before making more requests."
                )
                refusal = {
                    "message": message,
                    "scope": usage.scope,
                    "limit": usage.limit,
                    "current": usage.current,
                    "reset": usage.reset,
                }
                raise ApiError(429, refusal)
        if required_scope is not None and required_scope not in token.scopes:
            raise missing_scope(required_scope)
        organization = sandbox.organizations.get(charged)
        if organization is None or charged not in token.organizations:
            raise not_found("organization")
        return Call(request, token, organization)

    def _add_headers(self, response: Response) -> None:
        self._request_count += 1
        uuid = digest("request", self._request_count)
        response.headers["Date"] = _http_date(self._sandbox.clock())
        response.headers["X-Request-Id"] = (
            f"{uuid[:8]}-{uuid[8:12]}-4{uuid[12:15]}-8{uuid[15:18]}-{uuid[18:30]}"
        )
        response.headers["Cache-Control"] = "max-age=0, private, must-revalidate"

    # Answers that need the sandbox

    def _organizations(self, call: Call) -> object:
        organizations = [
            _organization_body(self._sandbox.organizations[slug])
            for slug in call.token.organizations
        ]
        return numbered_page(call.request, organizations)

    def _rate_limit(self, call: Call) -> object:
        usage = self._sandbox.limits.usage("rest", call.organization.slug)
        reset_at = self._sandbox.clock() + timedelta(seconds=usage.reset)
        return catalog.rate_limit_body(usage, reset_at)

    def _all_builds(self, call: Call) -> object:
        lists = [self._sandbox.organizations[slug].builds for slug in call.token.organizations]
        used = [builds for builds in lists if builds]
        if len(used) == 1:
            return self._builds(call, used[0])
        return self._builds(
            call, sorted(chain(*used), key=lambda build: (build.created_at, build.id))
        )

    def _organization_builds(self, call: Call) -> object:
        return self._builds(call, call.organization.builds)

    def _pipeline_builds(self, call: Call) -> object:
        return self._builds(call, call.pipeline().builds)

    def _builds(self, call: Call, builds: list[Build]) -> object:
        wanted = BuildFilter.of(call.request.query_params)
        page, per_page = requested_page(call.request)
        depth_limit = self._sandbox.depth_limit
        if depth_limit is not None and page * per_page > depth_limit:
            raise bad_request(TOO_DEEP)
        matching = wanted.apply(builds)
        if call.token.visible_pipelines is not None:
            matching = [build for build in matching if call.sees(build.pipeline)]
        matching.reverse()
        cut = numbered_page(call.request, matching)
        pipelines = {build.pipeline for build in cut.items} if not wanted.exclude_pipeline else ()
        rendered = {
            pipeline: msgspec.Raw(msgspec.json.encode(bodies.pipeline_body(pipeline)))
            for pipeline in pipelines
        }
        return Page(
            [
                bodies.build_body(
                    build,
                    jobs=None if wanted.exclude_jobs else self._rendered_jobs(build, wanted),
                    pipeline=rendered.get(build.pipeline),
                )
                for build in cut.items
            ],
            cut.link,
        )

    def _rendered_jobs(self, build: Build, wanted: BuildFilter) -> msgspec.Raw:
        organization = self._sandbox.organizations[build.pipeline.organization_slug]
        cache = organization.rendered_jobs
        include_retried = wanted.include_retried_jobs
        rendered = cache.get(build.id, include_retried=include_retried)
        if rendered is None or not wanted.include_paused:
            jobs = bodies.shown_jobs(
                build, include_retried=include_retried, include_paused=wanted.include_paused
            )
            rendered = msgspec.json.encode([bodies.job_body(job) for job in jobs])
            if wanted.include_paused:
                cache.put(build.id, rendered, include_retried=include_retried)
        return msgspec.Raw(rendered)


def _http_date(instant: datetime) -> str:
    return format_datetime(instant, usegmt=True)


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json; charset=utf-8")


def _organization_body(organization: Organization) -> dict[str, Any]:
    return catalog.organization_body(
        organization.id, organization.slug, organization.name, organization.created_at
    )


def _access_token(call: Call) -> object:
    return catalog.access_token_body(call.token)


def _user(call: Call) -> object:
    return bodies.user_body(call.token.user)


def _organization(call: Call) -> object:
    return _organization_body(call.organization)


def _members(call: Call) -> object:
    members = numbered_page(call.request, call.organization.members)
    items = [
        catalog.member_body(
            member, with_sso_mode=call.is_administrator or member.user is call.token.user
        )
        for member in members.items
    ]
    return Page(items, members.link)


def _agents(call: Call) -> object:
    agents = [agent for agents in call.organization.agents.values() for agent in agents]
    cut = numbered_page(call.request, agents)
    slug = call.organization.slug
    return Page([bodies.agent_body(agent, slug, None) for agent in cut.items], cut.link)


def _clusters(call: Call) -> object:
    cut = numbered_page(call.request, call.organization.clusters)
    return Page([catalog.cluster_body(cluster) for cluster in cut.items], cut.link)


def _cluster(call: Call) -> object:
    return catalog.cluster_body(call.cluster())


def _queues(call: Call) -> object:
    cut = numbered_page(call.request, call.cluster().queues)
    return Page([catalog.queue_body(queue) for queue in cut.items], cut.link)


def _teams(call: Call) -> object:
    """List nothing where Teams are not enabled; Buildkite's own answer is not documented."""
    user_id = call.request.query_params.get("user_id")
    teams = [
        team
        for team in call.organization.teams
        if call.organization.teams_enabled
        and call.sees_team(team)
        and (user_id is None or any(member.user.id == user_id for member in team.members))
    ]
    cut = numbered_page(call.request, teams)
    return Page([catalog.team_body(team) for team in cut.items], cut.link)


def _team(call: Call) -> object:
    return catalog.team_body(call.team())


def _team_members(call: Call) -> object:
    cut = numbered_page(call.request, call.team().members)
    return Page([catalog.team_member_body(member) for member in cut.items], cut.link)


def _team_pipelines(call: Call) -> object:
    levels = [level for level in call.team().pipelines if call.sees(level.pipeline)]
    cut = numbered_page(call.request, levels)
    return Page([catalog.team_pipeline_body(level) for level in cut.items], cut.link)


def _pipelines(call: Call) -> object:
    query = call.request.query_params
    name = query.get("name", "").lower()
    repository = query.get("repository", "").lower()
    pipelines = [
        pipeline
        for pipeline in call.organization.pipelines.values()
        if call.sees(pipeline)
        and name in pipeline.name.lower()
        and repository in pipeline.repository.lower()
    ]
    cut = numbered_page(call.request, pipelines)
    return Page([bodies.pipeline_body(pipeline) for pipeline in cut.items], cut.link)


def _pipeline(call: Call) -> object:
    return bodies.pipeline_body(call.pipeline())


def _build(call: Call) -> object:
    wanted = BuildFilter.of(call.request.query_params)
    build = call.build()
    shown = bodies.shown_jobs(build, include_retried=wanted.include_retried_jobs)
    job_states = set(many(call.request.query_params, "job_states"))
    jobs = [bodies.job_body(job) for job in shown if not job_states or job.state in job_states]
    body = bodies.build_body(
        build,
        jobs=None if wanted.exclude_jobs else jobs,
        pipeline=None if wanted.exclude_pipeline else bodies.pipeline_body(build.pipeline),
    )
    counts: dict[str, int] = {}
    for job in shown:
        counts[job.state] = counts.get(job.state, 0) + 1
    return body | {"job_state_counts": {"total": len(shown), "states": counts}}


def _jobs(call: Call) -> object:
    query = call.request.query_params
    states = set(many(query, "state"))
    if not states <= JOB_STATES:
        raise bad_request("state is invalid")
    shown = bodies.shown_jobs(
        call.build(), include_retried=flag(query, "include_retried_jobs", default=True)
    )
    jobs = [
        job
        for job in shown
        if (not states or job.state in states)
        and query.get("step_key", job.step.key) == job.step.key
        and query.get("group_key", job.step.group_key) == job.step.group_key
    ]
    body = cursor_page(call.request, jobs)
    return body | {"items": [bodies.job_body(job) for job in body["items"]]}

"""Which organizations are synced, and which pipeline is behind a slug."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.errors import NoResourcesError, UnexpectedResponseError
from buildkite_assets.buildkite.organizations import PipelineDirectory, visible_organizations
from buildkite_assets.buildkite.records import Build
from buildkite_assets.sandbox import Organization, Sandbox, SandboxServer, serve

from .conftest import Connect, RawServe, http, unlimited
from .test_decoding import build_body

AT = datetime(2026, 10, 1, 12, tzinfo=UTC)


def build_of(slug: str, at: datetime = AT) -> Build:
    """A build of the pipeline with this slug."""
    url = f"https://api.buildkite.com/v2/organizations/acme/pipelines/{slug}/builds/1"
    return msgspec.convert(build_body(url=url, created_at=at.isoformat()), Build)


def test_all_visible_organizations_are_synced_unless_some_are_named(connect: Connect) -> None:
    with serve(unlimited(Sandbox.company(days=1, builds_per_day=1))) as server:
        client = connect(server.url, server.sandbox.tokens.administrator.value)
        every, _ = visible_organizations(client, ())
        assert [organization.slug for organization in every] == ["acme", "umbrella", "vacant"]
        some, _ = visible_organizations(client, ("vacant", "acme"))
        assert [organization.slug for organization in some] == ["acme", "vacant"]


def test_an_organization_that_is_not_seen_is_told_with_those_that_are(client: Client) -> None:
    with pytest.raises(NoResourcesError, match=r"organization acmee, zoo\. It sees: acme\. Check"):
        visible_organizations(client, ("acme", "zoo", "acmee"))


def test_a_token_without_organizations_is_told(raw_serve: RawServe, connect: Connect) -> None:
    with pytest.raises(NoResourcesError, match="sees no organization"):
        visible_organizations(connect(raw_serve(http(200, [])).url), ())


@pytest.mark.parametrize("slug", ["..", "../acme", "a/b", "a?b", "", "acme\n", "\0", "a" * 256])
def test_a_slug_that_would_change_addresses_is_no_organizations(
    slug: str, raw_serve: RawServe, connect: Connect
) -> None:
    client = connect(raw_serve(http(200, [{"id": f"{UUID(int=1)}", "slug": slug}])).url)
    with pytest.raises(UnexpectedResponseError, match="slug"):
        visible_organizations(client, ())


def test_the_pipeline_behind_a_slug_is_known_at_once(
    client: Client, sandbox: Sandbox, acme: Organization
) -> None:
    directory = PipelineDirectory(client, "acme")
    assert directory.id_of(build_of("web")) == acme.pipelines["web"].id
    assert [pipeline.slug for pipeline in directory.pipelines] == ["web"]
    assert directory.listed_at is not None
    assert len(sandbox.requests) == 1


def test_a_new_slug_has_the_pipelines_listed_again_once(
    client: Client, sandbox: Sandbox, acme: Organization
) -> None:
    directory = PipelineDirectory(client, "acme")
    new = acme.add_pipeline("new", at=AT)
    assert directory.id_of(build_of("new")) == new.id
    for _ in range(3):
        assert directory.id_of(build_of("gone")) is None
    assert len(sandbox.requests) == 3


def test_a_pipeline_that_took_over_a_slug_does_not_answer_for_older_builds(
    client: Client, acme: Organization
) -> None:
    acme.delete_pipeline("web")
    second = acme.add_pipeline("web", at=AT)
    directory = PipelineDirectory(client, "acme")
    assert directory.id_of(build_of("web", AT - timedelta(seconds=1))) is None
    assert directory.id_of(build_of("web", AT)) == second.id


def test_without_the_scope_nothing_is_asked_again(
    server: SandboxServer, client: Client, sandbox: Sandbox
) -> None:
    del server
    token = sandbox.tokens.administrator
    token.scopes = tuple(scope for scope in token.scopes if scope != "read_pipelines")
    directory = PipelineDirectory(client, "acme")
    assert directory.lacks_scope
    assert [directory.id_of(build_of(f"p{n}")) for n in range(5)] == [None] * 5
    assert len(sandbox.requests) == 1

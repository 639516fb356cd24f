"""The organizations and pipelines that a token sees."""

from collections.abc import Collection, Sequence
from datetime import datetime
from operator import attrgetter
from threading import Lock

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.errors import MissingScopeError, NoResourcesError
from buildkite_assets.buildkite.failures import Failure, Failures
from buildkite_assets.buildkite.listings import api_path, whole_list
from buildkite_assets.buildkite.records import Build, Organization, Pipeline


def visible_organizations(
    client: Client, wanted: Sequence[str], failures: Failures | None = None
) -> tuple[list[Organization], datetime]:
    """Return the organizations to sync, and Buildkite's clock when it listed them.

    Args:
        client: the connection.
        wanted: slugs; none of them means all that the token sees.
        failures: where to note those wanted that the token does not see, if it sees any other.

    Raises:
        NoResourcesError: the token sees none, or, without `failures`, not all of those wanted.
        BuildkiteError: see `buildkite.errors`.
    """
    listed = whole_list(client, "organizations", Organization, attrgetter("id"))
    visible = listed.items
    slugs = ", ".join(sorted(organization.slug for organization in visible)) or "none at all"
    chosen = [org for org in visible if not wanted or org.slug in wanted]
    missing = sorted(set(wanted) - {organization.slug for organization in visible})
    if missing:
        error = NoResourcesError(
            f"The token does not see the organization {', '.join(missing)}. It sees: {slugs}. "
            "Check BUILDKITE_ORGANIZATIONS, and which organizations the token was given."
        )
        if failures is None or not chosen:
            raise error
        for slug in missing:
            failures.add(Failure(slug, "organization", error))
    if not visible:
        raise NoResourcesError(
            "The token sees no organization: give it one at "
            "https://buildkite.com/user/api-access-tokens."
        )
    return chosen, listed.started_at


class PipelineDirectory:
    """One organization's pipelines, to tell the id behind a slug.

    Slugs are reused, so a pipeline answers only for builds that are not older than itself. A slug
    that is unknown has the pipelines listed again, once.

    Args:
        client: the connection.
        organization: its slug.
        known_ids: the pipelines that an earlier listing had; see `whole_list`.
    """

    def __init__(self, client: Client, organization: str, known_ids: Collection[str] = ()) -> None:
        self._client = client
        self._known_ids = known_ids
        self._path = api_path("organizations", organization, "pipelines")
        self._by_slug: dict[str, Pipeline] = {}
        self._unknown: set[str] = set()
        self._lock = Lock()
        self.lacks_scope = False
        self.listed_at: datetime | None = None
        self.refresh()

    @property
    def pipelines(self) -> list[Pipeline]:
        """The pipelines as last listed; none where the token lacks the scope."""
        return list(self._by_slug.values())

    def id_of(self, build: Build) -> str | None:
        """The id of the build's pipeline, or None where no pipeline fits.

        Raises:
            BuildkiteError: listing the pipelines again failed.
        """
        slug = build.pipeline_slug
        found = self._find(slug, build.created_at)
        if found is None and slug not in self._unknown and not self.lacks_scope:
            with self._lock:
                if slug not in self._unknown and not self.lacks_scope:
                    self._unknown.add(slug)
                    self.refresh()
            found = self._find(slug, build.created_at)
        return found

    def slug_of(self, pipeline_id: str | None) -> str | None:
        """The present slug of a pipeline, or None where it is not visible."""
        return next((p.slug for p in self.pipelines if p.id == pipeline_id), None)

    def refresh(self) -> None:
        """List the pipelines, unless the token lacks the scope for it.

        Raises:
            BuildkiteError: see `buildkite.errors`.
        """
        try:
            listed = whole_list(
                self._client, self._path, Pipeline, attrgetter("id"), self._known_ids
            )
        except MissingScopeError:
            self.lacks_scope = True
            return
        self._by_slug = {pipeline.slug: pipeline for pipeline in listed.items}
        self._known_ids = [pipeline.id for pipeline in listed.items]
        self.listed_at = listed.started_at

    def _find(self, slug: str, created_at: datetime) -> str | None:
        pipeline = self._by_slug.get(slug)
        is_old_enough = pipeline is not None and pipeline.created_at <= created_at
        return pipeline.id if pipeline is not None and is_old_enough else None

"""Lists of several pages that change while they are read: only what is really gone ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import ASGIApp

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.listings import whole_list
from buildkite_assets.buildkite.records import Member
from buildkite_assets.sandbox import Organization, Sandbox, serve
from tests.syncing import without_limits

from .conftest import Lab

ENDED = {
    "members": "SELECT name FROM organization_members_history WHERE valid_to IS NOT NULL",
    "team members": """
        SELECT DISTINCT members.name FROM team_members_history AS ended
        JOIN organization_members_history AS members USING (user_id)
        WHERE ended.valid_to IS NOT NULL
    """,
    "teams": "SELECT name FROM teams_history WHERE valid_to IS NOT NULL",
    "team pipelines": """
        SELECT pipelines.name FROM team_pipelines_history AS ended
        JOIN pipelines USING (pipeline_id) WHERE ended.valid_to IS NOT NULL
    """,
    "pipelines": "SELECT name FROM pipelines WHERE absent_since IS NOT NULL",
    "clusters": "SELECT name FROM clusters WHERE absent_since IS NOT NULL",
    "queues": "SELECT key FROM queues WHERE absent_since IS NOT NULL",
}


def crowd(acme: Organization, kind: str, size: int = 101) -> None:
    """Give the organization a list of two pages."""
    for n in range(size):
        if kind == "members":
            acme.add_user(f"Person {n:03}")
        elif kind == "team members":
            acme.add_team_member(acme.teams[0], acme.add_user(f"Person {n:03}"))
        elif kind == "teams":
            acme.add_team(f"Team {n:03}")
        elif kind == "team pipelines":
            acme.set_team_pipeline(acme.teams[0], acme.add_pipeline(f"p{n:03}"), "read_only")
        elif kind == "pipelines":
            acme.add_pipeline(f"p{n:03}")
        elif kind == "clusters":
            acme.add_cluster(f"Cluster {n:03}", ())
    if kind == "queues":
        acme.add_cluster("Crowded", [f"queue-{n:03}" for n in range(101)])


def remove_first(acme: Organization, kind: str, removed: list[str]) -> None:
    """Remove an entry of the list's first page, once, and note its name."""
    if not removed:
        removed.append(remove_one(acme, kind))


def remove_one(acme: Organization, kind: str, place: int = 7) -> str:  # noqa: PLR0911 - one a kind
    """Remove an entry of the list's first page; return its name."""
    team = acme.teams[0]
    if kind == "members":
        member = acme.members[place]
        acme.remove_member(member.user)
        return member.user.name
    if kind == "team members":
        user = team.members[place].user
        acme.remove_team_member(team, user)
        return user.name
    if kind == "teams":
        doomed = acme.teams[place]
        acme.delete_team(doomed)
        return doomed.name
    if kind == "team pipelines":
        pipeline = team.pipelines[place].pipeline
        acme.set_team_pipeline(team, pipeline, None)
        return pipeline.name
    if kind == "pipelines":
        slug = sorted(acme.pipelines)[place]
        name = acme.pipelines[slug].name
        acme.delete_pipeline(slug)
        return name
    if kind == "clusters":
        return acme.clusters.pop(place).name
    return acme.clusters[-1].queues.pop(place).key


_PATHS = {
    "members": "/acme/members",
    "team members": "/members",
    "teams": "/acme/teams",
    "team pipelines": "/pipelines",
    "pipelines": "/acme/pipelines",
    "clusters": "/clusters",
    "queues": "/queues",
}


@contextmanager
def before_second_pages(
    sandbox: Sandbox, kind: str, happen: Callable[[], object]
) -> Iterator[None]:
    """Have something happen right before each second page of a list is answered."""

    def look(request: Request) -> ASGIApp | None:
        if request.query_params.get("page") == "2" and _is_of(kind, request.url.path):
            happen()
        return None

    sandbox.faults = look
    yield
    sandbox.faults = None


def _is_of(kind: str, path: str) -> bool:
    is_team_list = "/teams/" in path
    return path.endswith(_PATHS[kind]) and is_team_list == kind.startswith("team ")


@pytest.mark.parametrize("kind", ENDED)
def test_an_entry_at_the_boundary_of_two_pages_stays(
    kind: str, lab: Lab, acme: Organization
) -> None:
    """One entry of page 1 is removed just before page 2 is answered: it alone ends."""
    crowd(acme, kind)
    lab.sync()
    removed: list[str] = []
    with before_second_pages(lab.sandbox, kind, lambda: remove_first(acme, kind, removed)):
        lab.sync()
    assert lab.rows(ENDED[kind]) == [(removed[0],)]
    lab.sync()
    assert lab.rows(ENDED[kind]) == [(removed[0],)]


def test_the_feed_of_an_audit_has_the_leaver_and_nobody_else(lab: Lab, acme: Organization) -> None:
    crowd(acme, "members")
    lab.sync()
    left: list[str] = []
    with before_second_pages(lab.sandbox, "members", lambda: remove_first(acme, "members", left)):
        lab.sync()
    lab.sync()
    lab.derive()
    changes = lab.rows("""
        SELECT change_type, members.name FROM access_changes
        JOIN (SELECT DISTINCT user_id, name FROM organization_members_history) AS members
            USING (user_id)
        WHERE object_type = 'organization_member' AND cause = 'left'
    """)
    assert changes == [("revoked", left[0])]


def test_nobody_joins_who_was_missed_in_the_first_snapshot(lab: Lab, acme: Organization) -> None:
    crowd(acme, "members")
    lab.clock.move(hours=1)
    lab.run("catalog_job")
    gone: list[str] = []
    with before_second_pages(lab.sandbox, "members", lambda: remove_first(acme, "members", gone)):
        lab.run("access_job")
    lab.sync()
    assert lab.rows("SELECT count(DISTINCT valid_from) FROM organization_members_history") == [(1,)]


@pytest.mark.parametrize("kind", ["members", "team members", "team pipelines", "pipelines"])
def test_a_list_that_never_settles_ends_nothing_and_says_so(
    kind: str, lab: Lab, acme: Organization, capfd: pytest.CaptureFixture[str]
) -> None:
    crowd(acme, kind, size=120)
    lab.sync()
    removed: list[str] = []
    with before_second_pages(lab.sandbox, kind, lambda: removed.append(remove_one(acme, kind))):
        lab.sync()
    assert lab.rows(ENDED[kind]) == []
    assert "changed each time" in capfd.readouterr().err
    if kind != "pipelines":
        coverage = (
            "SELECT sees_all_members AND sees_all_teams FROM access_syncs ORDER BY started_at"
        )
        assert lab.rows(coverage) == [(True,), (False,)]
    lab.sync()
    assert sorted(lab.rows(ENDED[kind])) == sorted((name,) for name in removed)


# Random changes

_changes = st.lists(
    st.tuples(st.sampled_from(["remove", "add", "nothing"]), st.integers(0, 10_000)),
    max_size=8,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(size=st.integers(95, 320), changes=_changes, known=st.booleans())
def test_a_settled_list_lacks_only_what_was_removed(
    size: int, changes: list[tuple[str, int]], *, known: bool
) -> None:
    """Before each page something may be removed from any place, or added at the end.

    Whoever is there from beginning to end must be in the list. Of those known before, nobody is
    missing from a settled list but who was removed.
    """
    sandbox = without_limits(Sandbox.empty())
    acme = sandbox.organization("acme")
    for n in range(size):
        acme.add_user(f"Person {n}")
    before = {member.user.id for member in acme.members}
    removed: set[str] = set()
    waiting, lock = list(changes), threading.Lock()

    def change(_: Request) -> ASGIApp | None:
        with lock:
            what, dice = waiting.pop(0) if waiting else ("nothing", 0)
        if what == "remove":
            user = acme.members[dice % len(acme.members)].user
            removed.add(user.id)
            acme.remove_member(user)
        elif what == "add":
            acme.add_user("Newcomer")
        return None

    sandbox.faults = change
    with serve(sandbox) as server, Client(server.url, sandbox.tokens.administrator.value) as client:
        listed = whole_list(
            client,
            "organizations/acme/members",
            Member,
            attrgetter("id"),
            before if known else (),
        )
    found = {member.id for member in listed.items}
    assert len(found) == len(listed.items)
    if listed.is_settled:
        assert before - found <= removed

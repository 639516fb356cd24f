"""Which queue a job waited in, what that queue is called, and that each has rows of its own."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Price, Rules
from buildkite_assets.runs import run_builds, run_catalog, run_derived
from buildkite_assets.sandbox import serve
from buildkite_assets.sandbox.model import Step
from buildkite_assets.sandbox.organization import Organization
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import connect
from tests.served_history import ServedHistory, served_history
from tests.syncing import empty_sandbox, environment

from .history import History

UNLISTED = UUID("00000000-0000-4000-8000-0000000000ff")


# Served over HTTP


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedHistory]:
    """The clusters Linux and Mac, each with a queue `default` and a pipeline of its name."""
    with served_history(tmp_path) as history:
        for name in ("Linux", "Mac"):
            cluster = history.acme.add_cluster(name)
            history.acme.add_agents("default", 2, queue=cluster.queues[0])
            history.acme.add_pipeline(name.lower(), cluster=cluster)
        history.acme.add_pipeline("loose")
        yield history


def build(
    acme: Organization, pipeline: str, *asked: str | None, wait: float = 0, run: float = 60
) -> None:
    """Let the jobs of a build wait and run; each asks for a queue, or for none."""
    steps = [Step("script", key=f"step-{n}", queue_key=key) for n, key in enumerate(asked)]
    created = acme.create_build(pipeline, jobs=steps)
    for job in created.jobs:
        assert job.runnable_at
        start = job.runnable_at + timedelta(seconds=wait)
        acme.start_job(job, at=start)
        acme.finish_job(job, at=start + timedelta(seconds=run))
        acme.finish_build(created, at=start + timedelta(seconds=run))


def test_two_queues_with_one_key_have_a_row_each(served: ServedHistory) -> None:
    """Five jobs wait 2 s in one, five 1,800 s in the other; the middle of all would be 901 s."""
    build(served.acme, "linux", *["default"] * 5, wait=2)
    build(served.acme, "mac", *["default"] * 5, wait=1800)
    served.sync(hours=3)
    by_hour = served.rows("""
        SELECT queue, cluster_name, waits, wait_p50_seconds
        FROM queue_hourly WHERE waits > 0 ORDER BY ALL
    """)
    by_job = served.rows("""
        SELECT queue, cluster_name, count(*), median(queue_seconds)
        FROM job_runs GROUP BY organization_id, queue_id, queue_key, queue, cluster_name ORDER BY 1
    """)
    assert by_hour == [("Linux / default", "Linux", 5, 2), ("Mac / default", "Mac", 5, 1800)]
    assert by_job == by_hour
    assert served.rows("""
        SELECT count(*) FROM queue_hourly
        JOIN queues ON queues.queue_id = queue_hourly.queue_id AND key = queue_key
        JOIN clusters ON clusters.cluster_id = queue_hourly.cluster_id AND name = cluster_name
        WHERE waits > 0
    """) == [2]
    assert served.rows("SELECT sum(distinct_agents) FROM queue_hourly WHERE waits > 0") == [4]


def test_prices_name_a_cluster(served: ServedHistory) -> None:
    """Five minutes each: 0.5 a minute on Mac, 0.1 on any other `default`; `gpu` has no price."""
    served.acme.add_queue(served.acme.clusters[-1], "gpu")
    served.rules = Rules(
        prices=(
            Price(0.5, queue="default", cluster="Mac"),
            Price(0.1, queue="default"),
            Price(9, cluster="Windows"),
        )
    )
    build(served.acme, "linux", *["default"] * 5)
    build(served.acme, "mac", *["default"] * 5, "gpu")
    served.sync(hours=3)
    costs = "SELECT queue, cost, unpriced_minutes FROM agent_cost_daily ORDER BY queue"
    assert served.rows(costs) == [
        ("Linux / default", pytest.approx(0.5), 0),
        ("Mac / default", pytest.approx(2.5), 0),
        ("gpu", None, 1),
    ]
    served.rules = Rules(prices=(Price(0.5, cluster="Mac"),))
    served.derive()
    assert served.rows(costs) == [
        ("Linux / default", None, 5),
        ("Mac / default", pytest.approx(2.5), 0),
        ("gpu", pytest.approx(0.5), 0),
    ]


def test_a_job_without_a_queue_rule_waits_in_the_default_queue_of_its_cluster(
    served: ServedHistory,
) -> None:
    """`queue=` without a name is no rule either."""
    cluster = served.acme.add_cluster("Windows", ["standard", "default"])
    served.acme.add_pipeline("windows", cluster=cluster)
    build(served.acme, "windows", None, "", "standard", "default")
    served.sync(hours=3)
    assert served.rows("""
        SELECT agent_query_rules, jobs.queue_id IS NULL, queue_key, queue, cluster_name
        FROM jobs JOIN job_runs USING (job_id) ORDER BY step
    """) == [
        ([], True, "standard", "standard", "Windows"),
        (["queue="], True, "standard", "standard", "Windows"),
        (["queue=standard"], False, "standard", "standard", "Windows"),
        (["queue=default"], False, "default", "Windows / default", "Windows"),
    ]
    assert served.rows("SELECT queue, waits FROM queue_hourly WHERE waits > 0 ORDER BY 1") == [
        ("Windows / default", 1),
        ("standard", 3),
    ]


def test_jobs_without_a_cluster_have_a_row_by_the_key_that_they_ask_for(
    served: ServedHistory,
) -> None:
    build(served.acme, "loose", "gpu", "gpu", "default", None, "")
    build(served.acme, "linux", "default")
    served.sync(hours=3)
    assert served.rows("""
        SELECT queue, queue_key, queue_id IS NULL, cluster_id IS NULL, cluster_name, waits
        FROM queue_hourly WHERE waits > 0 ORDER BY 1
    """) == [
        ("(no cluster) / default", "default", True, True, None, 3),
        ("Linux / default", "default", False, False, "Linux", 1),
        ("gpu", "gpu", True, True, None, 2),
    ]


def test_a_deleted_queue_keeps_its_rows_and_its_name(served: ServedHistory) -> None:
    """Known before it was deleted, it has its key; else the key that its jobs asked for."""
    [*_, linux, mac] = served.acme.clusters
    served.acme.add_queue(linux, "old")
    served.acme.add_queue(mac, "older")
    build(served.acme, "linux", "old")
    build(served.acme, "mac", "older")
    del mac.queues[1]
    served.sync(hours=3)
    queues = "SELECT queue, queue_key, cluster_name FROM job_runs ORDER BY queue"
    names = [("Mac / older", "older", "Mac"), ("old", "old", "Linux")]
    assert served.rows(queues) == names
    assert served.rows("SELECT count(*) FROM job_runs WHERE queue_id IS NULL") == [0]
    del linux.queues[1]
    served.sync(hours=1)
    assert served.rows("SELECT key FROM queues WHERE absent_since IS NOT NULL") == ["old"]
    assert served.rows(queues) == names


def test_a_second_queue_with_the_key_changes_the_name_of_the_first(served: ServedHistory) -> None:
    [*_, linux, mac] = served.acme.clusters
    served.acme.add_queue(linux, "gpu")
    build(served.acme, "linux", "gpu")
    served.sync(hours=3)
    assert served.rows("SELECT queue FROM job_runs") == ["gpu"]
    served.acme.add_queue(mac, "gpu")
    served.sync(hours=1)
    names = "SELECT DISTINCT queue FROM queue_hourly UNION ALL SELECT queue FROM job_runs"
    assert served.rows(names) == ["Linux / gpu"] * 2


def test_two_organizations_with_the_same_clusters_and_queues_stay_apart(tmp_path: Path) -> None:
    """Each has one cluster `Main` with one queue `default`: neither needs the cluster's name."""
    sandbox, clock = empty_sandbox()
    acme = sandbox.organization("acme")
    other = Organization("other", "Other", clock=clock, lock=sandbox.lock, created_at=clock())
    other.add_member(acme.members[0].user, role="admin")
    other.add_pipeline("web", cluster=other.add_cluster("Main"))
    sandbox.organizations["other"] = other
    for token in sandbox.tokens:
        token.organizations = ("acme", "other")
    build(acme, "web", "default", None, wait=2)
    build(other, "web", "default", wait=1800)
    day = clock().date()
    clock.move(hours=3)
    path = tmp_path / "w.duckdb"
    with serve(sandbox) as server, dg.DagsterInstance.ephemeral() as instance:
        variables = environment(server, path, BUILDKITE_ORGANIZATIONS="acme,other")
        session = Session(Settings.from_environment(variables), clock=clock)
        run_catalog(session, instance)
        run_builds(session, instance, day, day, full=False)
        run_derived(session, instance)
    with connect(path) as connection:
        rows = connection.execute("""
            SELECT slug, queue, cluster_name, waits, wait_p50_seconds
            FROM queue_hourly JOIN organizations USING (organization_id)
            WHERE waits > 0 ORDER BY slug
        """).fetchall()
    assert rows == [("acme", "default", "Main", 2, 2), ("other", "default", "Main", 1, 1800)]


# Written by hand


def test_a_queue_whose_cluster_cannot_be_read_is_told_by_the_end_of_its_id() -> None:
    """As with a token that may not read clusters."""
    history = History()
    created = history.build(history.pipeline(), "10:00")
    for cluster_id, queue_id in ((UUID(int=0xA), UUID(int=1)), (UUID(int=0xB), UUID(int=2))):
        history.job(
            created, cluster_id=cluster_id, queue_id=queue_id, agent_query_rules=["queue=x"]
        )
    history.derive("job_runs")
    assert history.rows("job_runs", "queue", "queue_key", "cluster_name") == [
        ("00000000000a / x", "x", None),
        ("00000000000b / x", "x", None),
    ]


def test_a_queue_that_is_created_again_is_another_one_of_the_same_name() -> None:
    history = History()
    created = history.build(history.pipeline(), "10:00")
    main = history.cluster("Main")
    for wait in ("10:01", "10:02"):
        history.job(created, "t", "10:00", wait, "10:03", queue_id=history.queue("x", main))
    history.derive("queue_hourly")
    assert history.rows("queue_hourly", "queue", "wait_p50_seconds") == [("x", 60), ("x", 120)]


def test_the_cluster_is_the_builds_where_the_job_does_not_tell() -> None:
    history = History()
    main = history.cluster("Main")
    queue = history.queue("standard", main, is_default=True)
    created = history.build(history.pipeline(), "10:00", cluster_id=main)
    history.job(created)
    history.derive("job_runs")
    assert history.rows("job_runs", "queue_id", "queue", "cluster_id") == [
        (queue, "standard", main)
    ]


def test_what_jobs_contradict_about_a_queue_makes_no_second_row() -> None:
    """One attempt tells of no cluster: its queue is one row all the same, in both tables."""
    history = History()
    created = history.build(history.pipeline(), "10:00")
    for cluster_id in (history.cluster("Main"), None):
        history.job(
            created, "t", "10:00", "10:00", "10:30", queue_id=UNLISTED, cluster_id=cluster_id
        )
    history.derive("queue_hourly", "agent_cost_daily")
    assert history.rows("queue_hourly", "queue_id", "starts") == [(UNLISTED, 2)]
    assert history.rows("agent_cost_daily", "queue_id", "agent_minutes") == [(UNLISTED, 60)]


# Any organization, against a model of its own


@dataclass(frozen=True)
class Asks:
    """What a job tells of its queue; numbers stand for clusters and queues.

    Where it tells of a cluster, that is its build's.
    """

    queue: int | None
    cluster: int | None
    build_cluster: int | None
    rules: Sequence[str] | None

    def key(self) -> str | None:
        names = [rule.partition("=")[2] for rule in self.rules or () if rule.startswith("queue=")]
        return next((name for name in names if name), None)


@dataclass(frozen=True)
class Company:
    """Clusters by whether they are listed, queues, the default queue of each cluster, and jobs.

    A queue is its cluster, its key, and whether it is listed.
    """

    clusters: list[bool]
    queues: list[tuple[int, str, bool]]
    defaults: list[int | None]
    jobs: list[Asks]


@st.composite
def companies(draw: st.DrawFn) -> Company:
    clusters = draw(st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=3))
    numbers = range(len(clusters))
    places = [(cluster, key) for cluster in numbers for key in ("default", "mac")]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, min_size=2))
    queues = [(cluster, key, draw(st.sampled_from([True, True, False]))) for cluster, key in chosen]
    of_cluster = [[n for n, queue in enumerate(queues) if queue[0] == c] for c in numbers]
    defaults = [draw(st.sampled_from([*own, None])) for own in of_cluster]
    rules = st.none() | st.lists(
        st.sampled_from(["queue=", "queue=default", "queue=mac", "queue=*", "os=linux", "*"]),
        max_size=3,
    )
    jobs = []
    for _ in range(draw(st.integers(8, 16))):
        queue = draw(st.none() | st.integers(0, len(queues) - 1))
        place = queues[queue][0] if queue is not None else draw(st.sampled_from([*numbers, None]))
        tells = queue is not None or draw(st.booleans())
        jobs.append(Asks(queue, place if tells else None, place, draw(rules)))
    return Company(clusters, queues, defaults, jobs)


Told = tuple[UUID | None, str, UUID | None, str | None, str]


@dataclass(frozen=True)
class Stored:
    """A company in a warehouse, with the ids of its clusters and queues."""

    history: History
    clusters: list[UUID]
    queues: list[UUID]


def stored(company: Company) -> Stored:
    history = History()
    clusters = [
        history.cluster(f"cluster-{n}") if is_listed else UUID(int=0xC0 + n)
        for n, is_listed in enumerate(company.clusters)
    ]
    queues = [
        history.queue(key, clusters[cluster]) if is_listed else UUID(int=0xD0 + n)
        for n, (cluster, key, is_listed) in enumerate(company.queues)
    ]
    for cluster, queue in zip(clusters, company.defaults, strict=True):
        history.set_default_queue(cluster, None if queue is None else queues[queue])
    pipeline = history.pipeline()
    for n, job in enumerate(company.jobs):
        place = job.build_cluster
        created = history.build(
            pipeline, "10:00", cluster_id=None if place is None else clusters[place]
        )
        history.job(
            created,
            f"step-{n:02}",
            *("10:00", "10:05", "10:30"),
            queue_id=None if job.queue is None else queues[job.queue],
            cluster_id=None if job.cluster is None else clusters[job.cluster],
            agent_query_rules=job.rules,
        )
    return Stored(history, clusters, queues)


def waits_in(job: Asks, company: Company, ids: Stored) -> Told:
    """The queue's id and key, its cluster's id and name, and what people call it."""
    queue = job.queue
    place = job.build_cluster
    if queue is None and job.key() is None and place is not None and company.clusters[place]:
        queue = company.defaults[place]
    namesakes = Counter(key for _, key, is_listed in company.queues if is_listed)
    if queue is None:
        key = job.key() or "default"
        return None, key, None, None, f"(no cluster) / {key}" if namesakes[key] else key
    cluster, key, is_listed = company.queues[queue]
    if not is_listed:
        key = job.key() or "default"
    cluster_id = ids.clusters[cluster]
    name = f"cluster-{cluster}" if company.clusters[cluster] else None
    is_only = is_listed and namesakes[key] == 1
    called = key if is_only else f"{name or str(cluster_id)[-12:]} / {key}"
    return ids.queues[queue], key, cluster_id, name, called


@settings(max_examples=15, deadline=None)
@given(companies())
def test_each_job_waits_in_the_queue_that_a_model_finds(company: Company) -> None:
    ids = stored(company)
    history = ids.history.derive("queue_hourly", "agent_cost_daily")
    columns = ["queue_id", "queue_key", "cluster_id", "cluster_name", "queue"]
    model = [waits_in(job, company, ids) for job in company.jobs]
    told = [row[1:] for row in sorted(history.rows("job_runs", "step", *columns))]
    assert told == model
    names = {called: (cluster, key) for _, key, cluster, _, called in told}
    assert set(names.values()) == {(cluster, key) for _, key, cluster, *_ in told}
    for table, count in (("queue_hourly", "arrivals"), ("agent_cost_daily", "runs")):
        assert {row[:-1]: row[-1] for row in history.rows(table, *columns, count)} == Counter(model)

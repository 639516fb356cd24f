"""Tables whose rows stand on one build, against plain Python models of what they mean."""

from dataclasses import dataclass
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.warehouse.derive import in_order

from .history import History, at, plus

BEGIN = "2026-11-02 10:00"
LAST = 60
READ = LAST + 30
"""When Buildkite last told of a build."""


@dataclass(frozen=True)
class Span:
    """A job in whole seconds after its build's creation; without `run` it still runs."""

    runnable: int
    wait: int
    run: int | None

    @property
    def end(self) -> int:
        """When it finished, or was last told of."""
        return READ if self.run is None else self.runnable + self.wait + self.run


SPANS = st.lists(
    st.builds(
        Span,
        st.integers(0, LAST),
        st.integers(0, 5),
        st.one_of(st.integers(0, 15), st.integers(0, 15), st.integers(0, 15), st.none()),
    ),
    max_size=7,
)
UNBLOCKS = st.lists(st.integers(0, LAST + 25), max_size=3)


def add_build(history: History, spans: list[Span], unblocks: list[int], created: str) -> None:
    is_open = any(span.run is None for span in spans)
    build = history.build(
        None,
        created,
        "running" if is_open else "passed",
        synced_at=plus(created, seconds=READ),
    )
    for span in spans:
        history.job(
            build,
            f"at-{span.runnable}",
            plus(created, seconds=span.runnable),
            plus(created, seconds=span.runnable + span.wait),
            None if span.run is None else plus(created, seconds=span.end),
            "running" if span.run is None else "passed",
        )
    for second in unblocks:
        history.job(build, type="manual", unblocked_at=plus(created, seconds=second))


def is_active(spans: list[Span], second: int) -> bool:
    """Whether a job waits or runs from this second to the next."""
    return any(span.runnable <= second < span.end for span in spans)


def is_blocked(spans: list[Span], unblocks: list[int], second: int) -> bool:
    """Whether nothing goes on in this second, nor from it on until a block is lifted."""
    return any(
        second < lifted and not any(is_active(spans, each) for each in range(second, lifted))
        for lifted in unblocks
        # A job of no length that becomes runnable ends a gap although no second of it is active.
        if not any(second < span.runnable < lifted for span in spans)
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(SPANS, UNBLOCKS), min_size=1, max_size=12))
def test_active_and_blocked_time_are_what_counting_second_by_second_gives(
    builds: list[tuple[list[Span], list[int]]],
) -> None:
    history = History()
    for spans, unblocks in builds:
        add_build(history, spans, unblocks, BEGIN)
    history.derive("build_runs")
    seconds = range(LAST + 40)
    assert history.rows("build_runs", "active_seconds", "blocked_seconds") == [
        (
            sum(is_active(spans, second) for second in seconds) if spans else None,
            sum(is_blocked(spans, unblocks, second) for second in seconds),
        )
        for spans, unblocks in builds
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(SPANS, min_size=1, max_size=12))
def test_a_critical_path_is_a_chain_of_jobs_that_ends_with_the_last_one(
    builds: list[list[Span]],
) -> None:
    """Each job ended before the next one's end and by a second after it became runnable.

    None that ended later would do, and before the first one nothing had ended.
    """
    history = History()
    for spans in builds:
        add_build(history, spans, [], BEGIN)
    history.derive("build_critical_path")
    paths = history.connection.execute("""
        SELECT
            number,
            list(
                [
                    epoch(runnable_at - builds.created_at),
                    epoch(job_runs.ran_until - builds.created_at)
                ]
                ORDER BY position
            )
        FROM build_critical_path
        JOIN job_runs USING (job_id)
        JOIN builds ON builds.build_id = job_runs.build_id
        GROUP BY number ORDER BY number
    """).fetchall()
    assert [number for number, _ in paths] == [n for n, spans in enumerate(builds, 1) if spans]
    for number, path in paths:
        ends = [span.end for span in builds[number - 1]]
        assert path[-1][1] == max(ends)
        for (_, before_end), (runnable, end) in zip([(None, None), *path], path, strict=False):
            fitting = [each for each in ends if each <= runnable + 1 and each < end]
            assert before_end == max(fitting, default=None)


CHANGE = st.tuples(
    st.integers(0, 5),
    st.sampled_from(["new", "retry", "finish", "fail", "vanish", "unblock", "hand over", "rename"]),
)
SYNCS = st.lists(st.lists(CHANGE, min_size=1, max_size=4), min_size=2, max_size=4)


class Changing:
    """Six days of a pipeline's builds, each with a job and a block, and what changes them."""

    def __init__(self) -> None:
        self.history = History()
        self.pipeline = self.history.pipeline()
        self.teams = [self.history.team(slug) for slug in ("a", "b")]
        self.history.grant(self.teams[0], self.pipeline)
        self.created = [f"2026-11-0{day} 23:30" for day in range(1, 7)]
        self.builds = [self._build(created, "running") for created in self.created]
        self.jobs = [
            self.history.job(
                build, "t", begin, plus(begin, minutes=1), plus(begin, minutes=50), "failed"
            )
            for build, begin in zip(self.builds, self.created, strict=True)
        ]
        for build in self.builds:
            self.history.job(build, "ok?", state="blocked", type="manual")

    def change(self, n: int, which: int, change: str) -> None:
        """Let the nth change happen to one of the builds, or to the pipeline."""
        created, build = self.created[which], self.builds[which]
        if change == "new":
            self.history.job(self._build(created, "passed"), "t", created)
        elif change == "retry":
            again = plus(created, minutes=60 + n)
            later = self.history.job(build, "t", again, again, plus(again, minutes=5))
            self.history.retry(self.jobs[which], later)
            self.jobs[which] = later
        elif change == "hand over":
            self._hand_over(plus("2026-11-02 12:00", hours=n))
        elif change == "rename":
            self._set("pipelines", f"slug = 'web-{n}'", "pipeline_id", self.pipeline)
        elif change == "unblock":
            self._set("jobs", f"unblocked_at = created_at + INTERVAL {n} HOUR", "build_id", build)
        else:
            end = "finished_at = created_at + INTERVAL 2 HOUR"
            values = {
                "finish": f"state = 'passed', {end}",
                "fail": f"state = 'failed', {end}",
                "vanish": "absent_since = '2026-12-01'",
            }
            self._set("builds", values[change], "build_id", build)
        if change not in {"hand over", "rename"}:
            self._set("builds", "synced_at = synced_at + INTERVAL 1 SECOND", "build_id", build)

    def _build(self, created: str, state: str) -> UUID:
        meta_data = {"environment": "production"}
        end = plus(created, minutes=55) if state == "passed" else None
        return self.history.build(
            self.pipeline, created, state, meta_data=meta_data, finished_at=end
        )

    def _hand_over(self, seen: str) -> None:
        """Let the other team have the pipeline, as a snapshot saw it."""
        self.teams.reverse()
        instant = at(seen).replace(tzinfo=None)
        self.history.connection.execute(
            "UPDATE team_pipelines_history SET valid_to = ? WHERE valid_to IS NULL", [instant]
        )
        self.history.grant(self.teams[0], self.pipeline, seen=seen, created=seen)

    def _set(self, table: str, values: str, key: str, value: UUID) -> None:
        self.history.connection.execute(
            f"UPDATE {table} SET {values} WHERE {key} = ?",  # noqa: S608
            [value],
        )


@settings(max_examples=4, deadline=None)
@given(SYNCS)
def test_following_changes_day_by_day_gives_the_same_rows_as_recomputing_everything(
    syncs: list[list[tuple[int, str]]],
) -> None:
    follow_and_recompute(syncs)


def follow_and_recompute(syncs: list[list[tuple[int, str]]]) -> None:
    """Every derived table: builds, jobs, owners and slugs change, and only what lags is made."""
    changing = Changing()
    history = changing.history
    history.derive_lagging()
    for n, changes in enumerate(syncs):
        for m, (which, change) in enumerate(changes):
            changing.change(4 * n + m, which, change)
        history.derive_lagging()
    for table in in_order(derived_tables()):
        followed = history.connection.execute(f"FROM {table.name} ORDER BY ALL").fetchall()
        history.derive_one(table)
        recomputed = history.connection.execute(f"FROM {table.name} ORDER BY ALL").fetchall()
        assert followed == recomputed, table.name

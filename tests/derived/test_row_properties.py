"""Tables whose rows stand on one build, against plain Python models of what they mean."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.warehouse.derive import derive_days, derive_whole, in_order

from .history import History, plus

BEGIN = "2026-11-02 10:00"
LAST = 60


@dataclass(frozen=True)
class Span:
    """A job in whole seconds after its build's creation."""

    runnable: int
    wait: int
    run: int

    @property
    def end(self) -> int:
        """When it finished."""
        return self.runnable + self.wait + self.run


SPANS = st.lists(
    st.builds(Span, st.integers(0, LAST), st.integers(0, 5), st.integers(0, 15)), max_size=7
)
UNBLOCKS = st.lists(st.integers(0, LAST + 25), max_size=3)


def add_build(history: History, spans: list[Span], unblocks: list[int], created: str) -> None:
    build = history.build(None, created)
    for span in spans:
        history.job(
            build,
            f"at-{span.runnable}",
            plus(created, seconds=span.runnable),
            plus(created, seconds=span.runnable + span.wait),
            plus(created, seconds=span.end),
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
                    epoch(job_runs.finished_at - builds.created_at)
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


CHANGES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["new", "retry", "finish", "vanish"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=8, deadline=None)
@given(CHANGES)
def test_following_changes_day_by_day_gives_the_same_rows_as_recomputing_everything(
    changes: list[tuple[int, str]],
) -> None:
    history = History()
    pipeline = history.pipeline()
    created = [f"2026-11-0{day} 23:30" for day in range(1, 7)]
    builds = [history.build(pipeline, each, "running") for each in created]
    jobs = [
        history.job(build, "t", each, plus(each, minutes=1), plus(each, minutes=50), "failed")
        for build, each in zip(builds, created, strict=True)
    ]
    for n, (which, change) in enumerate(changes):
        if change == "new":
            history.job(history.build(pipeline, created[which]), "t", created[which])
        elif change == "retry":
            again = plus(created[which], minutes=60 + n)
            later = history.job(builds[which], "t", again, again, plus(again, minutes=5))
            history.retry(jobs[which], later)
            jobs[which] = later
        elif change == "finish":
            history.connection.execute(
                "UPDATE builds SET state = 'passed', finished_at = created_at + INTERVAL 2 HOUR "
                "WHERE build_id = ?",
                [builds[which]],
            )
        else:
            history.connection.execute(
                "UPDATE builds SET absent_since = '2026-12-01' WHERE build_id = ?", [builds[which]]
            )
        history.connection.execute(
            "UPDATE builds SET synced_at = synced_at + INTERVAL 1 SECOND WHERE build_id = ?",
            [builds[which]],
        )
        history.derive_lagging()
    for table in in_order(derived_tables()):
        followed = history.connection.execute(f"FROM {table.name} ORDER BY ALL").fetchall()
        if table.is_daily:
            derive_days(
                history.connection, table, history.days(), derived_tables(), history.parameters
            )
        else:
            derive_whole(history.connection, table, derived_tables(), history.parameters)
        recomputed = history.connection.execute(f"FROM {table.name} ORDER BY ALL").fetchall()
        assert followed == recomputed, table.name

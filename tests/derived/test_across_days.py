"""Tables that look across days: worked examples, and models that replay the history."""

from collections import defaultdict
from datetime import date, datetime
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Rules, WorkingHours

from .history import ORGANIZATION, History, at, plus

OTHER = UUID(int=2)
BERLIN = Rules(time_zone="Europe/Berlin", working_hours=WorkingHours(holidays=(date(2026, 11, 4),)))


def naive(text: str) -> datetime:
    return at(text).replace(tzinfo=None)


# pipeline_weekly


def test_a_week_is_computed_from_its_builds_and_compared_with_the_one_before() -> None:
    """Week of 2 November: green in 1, 2 and 9 min: median 2; 3 of 4 passed.

    Median of the days' medians would be 5 min (Monday 1, Tuesday 9 and 2: 5.5). The week after:
    4 min and 1 of 1: 2 min more, a quarter more. The week of the 23rd has no week before.
    """
    history = History()
    pipeline = history.pipeline()
    for created, minutes, state in (
        ("2026-11-02 10:00", 1, "passed"),
        ("2026-11-03 10:00", 2, "passed"),
        ("2026-11-03 10:00", 9, "passed"),
        ("2026-11-08 23:59", 9, "failed"),
        ("2026-11-09 00:00", 4, "passed"),
        ("2026-11-23 00:00", 4, "passed"),
    ):
        build = history.build(pipeline, created, state)
        history.job(build, "t", created, created, plus(created, minutes=minutes))
    history.derive("pipeline_weekly")
    columns = ["week", "verdicts", "success_rate", "green_builds", "green_p50_seconds"]
    assert history.rows("pipeline_weekly", *columns) == [
        (date(2026, 11, 2), 4, 0.75, 3, 120),
        (date(2026, 11, 9), 1, 1, 1, 240),
        (date(2026, 11, 23), 1, 1, 1, 240),
    ]
    columns = ["success_rate_change", "green_p50_change_seconds"]
    assert history.rows("pipeline_weekly", *columns) == [(None, None), (0.25, 120), (None, None)]


def test_iso_weeks_cross_the_years_end_and_daylight_saving() -> None:
    """Trap 17: 28 December 2026 to 3 January 2027 is 2026-W53, Monday is its first day.

    In Berlin (UTC+1) it begins on Sunday at 23:00 UTC; that of 26 October 2026 at 23:00, too, since
    clocks went back that Sunday; and that of 30 March 2026 at 22:00.
    """
    history = History(BERLIN)
    pipeline = history.pipeline()
    for created in (
        "2026-03-29 21:59", "2026-03-29 22:00", "2026-10-25 22:59", "2026-10-25 23:00",
        "2026-12-27 23:00", "2027-01-03 22:59", "2027-01-03 23:00",
    ):  # fmt: skip
        history.build(pipeline, created)
    history.derive("pipeline_weekly")
    assert history.rows("pipeline_weekly", "week", "iso_week", "builds") == [
        (date(2026, 3, 23), "2026-W13", 1),
        (date(2026, 3, 30), "2026-W14", 1),
        (date(2026, 10, 19), "2026-W43", 1),
        (date(2026, 10, 26), "2026-W44", 1),
        (date(2026, 12, 28), "2026-W53", 2),
        (date(2027, 1, 4), "2027-W01", 1),
    ]


# branch_incidents


def test_an_incident_lasts_from_the_break_to_the_next_build_that_passed() -> None:
    """Passed 14:00, failed 14:20, canceled, running, failed 15:00, passed 15:40: 4,800 s.

    It was red all the time within working hours (UTC, Monday to Friday, 09:00 to 17:00).
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "13:50", finished_at="14:00")
    breaking = history.build(pipeline, "14:10", "failed", finished_at="14:20")
    history.build(pipeline, "14:30", "canceled", finished_at="14:35")
    history.build(pipeline, "14:31", "running")
    history.build(pipeline, "14:32", "failed", branch="topic", finished_at="14:33")
    history.build(pipeline, "14:40", "failed", finished_at="15:00")
    fixing = history.build(pipeline, "15:30", finished_at="15:40")
    history.build(pipeline, "15:50", finished_at="15:55")
    history.derive("branch_incidents")
    columns = ["red_at", "green_at", "red_seconds", "working_seconds", "red_builds"]
    assert history.rows("branch_incidents", *columns) == [
        (naive("14:20"), naive("15:40"), 4_800, 4_800, 2)
    ]
    columns = ["breaking_build_id", "fixing_build_id", "is_open", "is_begin_known"]
    assert history.rows("branch_incidents", *columns) == [(breaking, fixing, False, True)]
    assert history.rows("branch_incidents", "is_same_commit") == [False]


def test_a_repeat_of_the_same_commit_that_passes_is_no_fix() -> None:
    """Trap 12: a rebuild copies the commit. `HEAD` names no commit, so nothing is known of it."""
    history = History()
    for commits in (("a", "a"), ("a", "b"), ("HEAD", "HEAD")):
        pipeline = history.pipeline()
        history.build(pipeline, "10:00", "failed", finished_at="10:10", commit=commits[0])
        history.build(pipeline, "10:20", finished_at="10:30", commit=commits[1])
    history.derive("branch_incidents")
    assert history.rows("branch_incidents", "is_same_commit") == [True, False, None]


def test_a_branch_that_is_still_red_keeps_its_incident_open() -> None:
    """Red since 10:10, read until 12:10; the first build that is known was red already."""
    history = History()
    history.build(history.pipeline(), "10:00", "failed", finished_at="10:10")
    history.read("12:10")
    history.derive("branch_incidents")
    columns = ["green_at", "is_open", "is_begin_known", "red_seconds", "is_same_commit"]
    assert history.rows("branch_incidents", *columns) == [(None, True, False, 7_200, None)]


def test_each_organization_has_a_clock_of_its_own() -> None:
    """Two that break alike; of the second nothing was read since 12:10, of the first for weeks on.

    Its incident is as old as what is known of it, and its flaky step is within its own 30 days.
    """
    history = History()
    for until, organization in (("2026-12-20 10:10", ORGANIZATION), ("12:10", OTHER)):
        pipeline = history.pipeline()
        build = history.build(pipeline, "10:00", "failed", finished_at="10:10", synced_at=until)
        first = history.job(build, "e2e", "10:00", "10:00", "10:01", "failed")
        history.retry(first, history.job(build, "e2e", "10:01", "10:01", "10:02"))
        history.read(until, organization)
    history.build(history.pipeline(), "2026-12-20 10:00", synced_at="2026-12-20 10:10")
    for table in ("builds", "jobs"):
        history.connection.execute(
            f"UPDATE {table} SET organization_id = ? WHERE build_id = ?",  # noqa: S608
            [OTHER, build],
        )
    history.derive("branch_incidents", "flaky_steps")
    assert history.rows("branch_incidents", "red_seconds") == [48 * 86_400, 7_200]
    assert history.rows("flaky_steps", "organization_id", "window_to") == [
        (OTHER, date(2026, 11, 2))
    ]


def test_working_hours_leave_out_nights_weekends_and_holidays() -> None:
    """Berlin is UTC+1. Red from Tuesday 3 November 16:00 to Thursday 5 November 10:00 local.

    Tuesday 16 to 17 counts 1 h, Wednesday is a holiday, Thursday 9 to 10 counts 1 h: 2 of 42 h.
    Over a weekend (Friday 6th 18:00 to Monday 9th 08:00) nothing counts.
    """
    history = History(BERLIN)
    pipeline = history.pipeline()
    for red, green in (
        ("2026-11-03 15:00", "2026-11-05 09:00"),
        ("2026-11-06 17:00", "2026-11-09 07:00"),
    ):
        history.build(pipeline, red, "failed", finished_at=red)
        history.build(pipeline, green, finished_at=green)
    history.derive("branch_incidents")
    columns = ["red_seconds", "working_seconds"]
    assert history.rows("branch_incidents", *columns) == [(42 * 3600, 7_200), (62 * 3600, 0)]


def test_working_hours_follow_the_clock_when_it_changes() -> None:
    """Berlin, 2026-10-23 (Friday, UTC+2) 15:00 UTC to 2026-10-26 (Monday, UTC+1) 08:30 UTC.

    Friday 17:00 local is the end of work; Monday 09:00 to 09:30 local counts: 1,800 s.
    """
    history = History(BERLIN)
    pipeline = history.pipeline()
    history.build(pipeline, "2026-10-23 15:00", "failed", finished_at="2026-10-23 15:00")
    history.build(pipeline, "2026-10-26 08:30", finished_at="2026-10-26 08:30")
    history.derive("branch_incidents")
    assert history.rows("branch_incidents", "working_seconds") == [1_800]


def test_an_older_build_that_fails_after_a_newer_one_passed_breaks_nothing() -> None:
    """The newer build passed at 10:20, and the older one's failure at 11:00 is old news.

    Builds used to follow one another by creation, which made this an incident of 0 s that began
    after it had ended.
    """
    history = History()
    pipeline = history.pipeline()
    history.build(pipeline, "10:00", "failed", finished_at="11:00")
    history.build(pipeline, "10:05", finished_at="10:20")
    history.derive("branch_incidents")
    assert history.rows("branch_incidents") == []


# flaky_steps


def test_a_step_is_flaky_by_its_retries_and_by_other_builds_of_its_commit() -> None:
    """Ten jobs of `e2e` that ended passed or failed, each 60 s.

    One failed and passed when retried; one failed while another build of its commit passed; one
    failed on a commit of its own; one's agent was lost. 2 of 10 are flaky. Of code failures (3)
    one was retried. Both flaky failures took a minute of agents.
    """
    history = History()
    pipeline = history.pipeline()

    def job(commit: str, state: str = "passed", **columns: int) -> UUID:
        build = history.build(pipeline, "10:00", commit=commit)
        return history.job(build, "e2e", "10:00", "10:00", "10:01", state, **columns)

    for n in range(5):
        job(f"good-{n}")
    build = history.build(pipeline, "10:00")
    first = history.job(build, "e2e", "10:00", "10:00", "10:01", "failed")
    history.retry(first, history.job(build, "e2e", "10:01", "10:01", "10:02"))
    job("shared")
    job("shared", "failed")
    job("own", "failed")
    job("good-1", "failed", exit_status=-1)
    history.derive("flaky_steps")
    columns = ["step", "jobs", "flaky_jobs", "flake_rate", "retry_flaky_jobs"]
    assert history.rows("flaky_steps", *columns) == [("e2e", 10, 2, 0.2, 1)]
    columns = ["same_commit_flaky_jobs", "code_failures", "retry_coverage", "wasted_minutes"]
    assert history.rows("flaky_steps", *columns) == [(1, 3, pytest.approx(1 / 3), 2)]


def test_what_counts_as_a_code_failure_is_the_first_attempt_timeouts_included() -> None:
    """Six jobs: five were retried until they passed, one failed and was not retried.

    First attempts: timed out, failed (the retry was lost), failed, lost (the retry failed), expired
    and failed. Four are code failures, three of them retried. In three jobs the retry of a code
    failure passed.
    """
    history = History()
    pipeline = history.pipeline()

    def chain(*attempts: tuple[str, int | None]) -> None:
        build = history.build(pipeline, "10:00")
        jobs = [
            history.job(build, "t", "10:00", "10:00", "10:01", state, exit_status=exit_status)
            for state, exit_status in attempts
        ]
        for earlier, later in pairwise(jobs):
            history.retry(earlier, later)

    passed, failed, lost = ("passed", 0), ("failed", 1), ("failed", -1)
    chain(("timed_out", -1), passed)
    chain(failed, lost, passed)
    chain(failed, passed)
    chain(lost, failed, passed)
    chain(("expired", None), passed)
    chain(failed)
    history.derive("flaky_steps")
    assert history.rows("job_retry_chains", "is_flaky", "is_infra", "first_failure_class") == [
        (True, False, "timeout"),
        (False, True, "code"),
        (True, False, "code"),
        (True, True, "infra"),
        (False, True, "expired"),
        (False, False, "code"),
    ]
    columns = ["jobs", "retry_flaky_jobs", "code_failures", "retry_coverage"]
    assert history.rows("flaky_steps", *columns) == [(6, 3, 4, 0.75)]


def test_a_timeout_is_flaky_when_another_build_of_the_commit_passed() -> None:
    history = History()
    pipeline = history.pipeline()
    for state in ("timed_out", "passed"):
        build = history.build(pipeline, "10:00", commit="c")
        history.job(build, "t", "10:00", "10:00", "10:01", state)
    history.derive("flaky_steps")
    assert history.rows("flaky_steps", "same_commit_flaky_jobs", "code_failures") == [(1, 1)]


def test_a_commit_is_not_known_where_it_is_called_head_and_another_jobs_pass_is_no_signal() -> None:
    history = History()
    pipeline = history.pipeline()
    for commit, passed, failed in (("HEAD", "a", "a"), ("c", "a", "b")):
        for state, step in (("passed", passed), ("failed", failed)):
            build = history.build(pipeline, "10:00", commit=commit)
            history.job(build, step, "10:00", "10:00", "10:01", state)
    history.derive("flaky_steps")
    assert history.rows("flaky_steps") == []


@pytest.mark.parametrize(
    ("flaky_on", "is_listed", "is_recovered"),
    [("2026-10-31", False, None), ("2026-11-01", True, True), ("2026-11-23", True, True),
     ("2026-11-24", True, False)],
)  # fmt: skip
def test_a_step_recovers_when_it_was_not_flaky_for_seven_days(
    flaky_on: str,
    is_listed: bool,  # noqa: FBT001 - a table of cases
    is_recovered: bool | None,  # noqa: FBT001 - a table of cases
) -> None:
    """The newest build is of 30 November: 30 days begin on the 1st, the last 7 on the 24th."""
    history = History()
    pipeline = history.pipeline()
    good = history.build(pipeline, "2026-11-30 10:00")
    history.job(good, "e2e", "2026-11-30 10:00", "2026-11-30 10:00", "2026-11-30 10:01")
    created = f"{flaky_on} 10:00"
    build = history.build(pipeline, created)
    first = history.job(build, "e2e", created, created, plus(created, minutes=1), "failed")
    history.retry(first, history.job(build, "e2e", created, created, plus(created, minutes=1)))
    history.derive("flaky_steps")
    assert history.rows("flaky_steps", "is_recovered") == ([is_recovered] if is_listed else [])


# soft_failing_steps


def test_steps_that_fail_softly_are_listed_and_those_that_always_do_are_marked() -> None:
    """`audit`: three jobs, two failed softly, one of them by a timeout, after one retry.

    `nightly` always fails softly, for 2 min each; `unit` fails hard, so it is not listed.
    """
    history = History()
    pipeline = history.pipeline()

    def job(build: UUID, step: str, state: str, **columns: bool) -> UUID:
        return history.job(build, step, "10:00", "10:00", "10:02", state, **columns)

    for n in range(3):
        build = history.build(pipeline, "10:00")
        if n == 0:
            first = job(build, "audit", "failed", soft_failed=True)
            history.retry(first, job(build, "audit", "passed"))
        else:
            job(build, "audit", ("failed", "timed_out")[n - 1], soft_failed=True)
        job(build, "nightly", "timed_out", soft_failed=True)
        job(build, "unit", "failed", soft_failed=False)
    history.derive("soft_failing_steps")
    columns = ["step", "jobs", "soft_failed_jobs", "timed_out_jobs", "soft_fail_rate"]
    assert history.rows("soft_failing_steps", *columns) == [
        ("audit", 3, 2, 1, pytest.approx(2 / 3)),
        ("nightly", 3, 3, 3, 1),
    ]
    end = at("10:02").replace(tzinfo=None)
    columns = ["is_always_soft_failed", "last_soft_failed_at", "last_passed_at", "agent_minutes"]
    assert history.rows("soft_failing_steps", *columns) == [
        (False, end, end, 4),
        (True, end, None, 6),
    ]


def test_soft_failures_count_for_thirty_days_of_their_organization() -> None:
    """The newest build is of 30 November: a job of 31 October is too old, of the other not."""
    history = History()
    for organization_id in (ORGANIZATION, UUID(int=2)):
        for created in ("2026-10-31 10:00", "2026-11-30 10:00")[: organization_id.int % 2 + 1]:
            build = history.build(None, created, organization_id=organization_id)
            history.job(build, "t", created, created, plus(created, minutes=1), "failed",
                        soft_failed=True, organization_id=organization_id)  # fmt: skip
    history.derive("soft_failing_steps")
    assert history.rows("soft_failing_steps", "window_from", "window_to", "jobs") == [
        (date(2026, 11, 1), date(2026, 11, 30), 1),
        (date(2026, 10, 2), date(2026, 10, 31), 1),
    ]


# step_failures


def test_failures_are_counted_by_class_and_exit_status_and_say_if_a_retry_helped() -> None:
    """Exit 1: failed twice, one retry passed, the other failed for good with exit 2.

    A soft failure with exit 1 is a failure too, but fails no build.
    """
    history = History()
    pipeline = history.pipeline()
    build = history.build(pipeline, "10:00", "failed")

    def job(state: str, exit_status: int, **columns: bool) -> UUID:
        begin, end = "10:00", "10:01"
        return history.job(build, "t", begin, begin, end, state, exit_status=exit_status, **columns)

    history.retry(job("failed", 1), job("passed", 0))
    history.retry(job("failed", 1), job("failed", 2))
    job("failed", 1, soft_failed=True)
    job("failed", -1)
    job("canceled", 1)
    history.derive("step_failures")
    columns = ["failure_class", "exit_status", "failures", "soft_failures", "failed_builds"]
    columns += ["retried_failures", "retry_success_rate"]
    assert history.rows("step_failures", *columns) == [
        ("code", 1, 3, 1, 0, 2, 0.5),
        ("code", 2, 1, 0, 1, 0, None),
        ("infra", -1, 1, 0, 1, 0, None),
    ]


def test_weeks_of_failures_cross_the_years_end_and_daylight_saving() -> None:
    """In Berlin 2026-W53 begins on 27 December at 23:00 UTC, the week of 26 October at 23:00."""
    history = History(BERLIN)
    pipeline = history.pipeline()
    for created in (
        "2026-10-25 22:59", "2026-10-25 23:00", "2026-12-27 22:59", "2026-12-27 23:00",
        "2027-01-03 22:59", "2027-01-03 23:00",
    ):  # fmt: skip
        build = history.build(pipeline, created, "failed")
        history.job(build, "t", created, created, plus(created, minutes=1), "failed")
    history.derive("step_failures")
    assert history.rows("step_failures", "week", "failures") == [
        (date(2026, 10, 19), 1), (date(2026, 10, 26), 1), (date(2026, 12, 21), 1),
        (date(2026, 12, 28), 2), (date(2027, 1, 4), 1),
    ]  # fmt: skip


# build_trees


def test_a_tree_counts_each_builds_agents_once() -> None:
    """Root 1 min, its child 2 min, that one's child 4 min: 7 min, 2 deep.

    Trap 8: the trigger steps lasted as long as what they triggered, and cost nothing. A build
    whose parent is not known begins a tree of its own.
    """
    history = History()
    pipeline = history.pipeline()
    parent: UUID | None = None
    for minutes in (1, 2, 4):
        end = f"10:0{minutes}"
        build = history.build(pipeline, "10:00", finished_at=end, triggered_from_build_id=parent)
        history.job(build, "t", "10:00", "10:00", end)
        history.job(build, "child", "10:00", "10:00", "10:07", type="trigger")
        parent = build
    orphan = history.build(pipeline, "11:00", "running", triggered_from_build_id=UUID(int=7))
    history.derive("build_trees")
    columns = ["builds", "depth", "own_agent_seconds", "agent_seconds", "wall_seconds"]
    assert history.rows("build_trees", *columns) == [(3, 2, 60, 420, 240), (1, 0, 0, 0, None)]
    assert history.rows("build_trees", "root_build_id", "open_builds")[1] == (orphan, 1)


def test_a_triggered_build_that_gave_way_to_a_newer_one_fails_nobody() -> None:
    """Trap 11: the child is canceled after 2 min, and the parent's trigger step reads `skipped`.

    The parent passed with 1 min of its own: the tree has 3 min, 2 of them wasted, and no failure;
    it ends with the child. The step is no script job, and the child's job is canceled.
    """
    history = History()
    pipeline = history.pipeline()
    parent = history.build(pipeline, "10:00", finished_at="10:02")
    child = history.build(
        pipeline, "10:01", "canceled", finished_at="10:03", triggered_from_build_id=parent
    )
    history.job(parent, "t", "10:00", "10:00", "10:01")
    history.job(
        parent, "deploy", None, None, None, "skipped", type="trigger", triggered_build_id=child
    )
    history.job(child, "t", "10:01", "10:01", "10:03", "canceled")
    history.derive("build_trees", "pipeline_daily", "step_daily")
    columns = ["builds", "failed_builds", "open_builds", "wall_seconds", "agent_seconds"]
    assert history.rows("build_trees", *columns, "wasted_agent_seconds") == [
        (2, 0, 0, 180, 180, 120)
    ]
    columns = ["success_rate", "verdicts", "canceled_rate", "not_run_builds"]
    assert history.rows("pipeline_daily", *columns) == [(1, 1, 0.5, 0)]
    assert history.rows("step_daily", "step", "attempts", "verdicts") == [("t", 2, 1)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=20))
def test_every_build_is_in_exactly_one_tree(parents: list[int | None]) -> None:
    """Each build names an older one as its parent, or none; trees follow from walking upwards."""
    history = History()
    ids: list[UUID] = []
    roots: list[int] = []
    for n, parent in enumerate(parents):
        known = parent % n if parent is not None and n else None
        up = None if known is None else ids[known]
        ids.append(history.build(None, "10:00", triggered_from_build_id=up))
        roots.append(n if known is None else roots[known])
    history.derive("build_trees")
    assert history.rows("build_trees", "root_build_id", "builds", "is_cycle") == [
        (ids[root], roots.count(root), False) for root in sorted(set(roots))
    ]


def ways_up(parents: list[int | None]) -> list[list[int]]:
    """For each build the builds from itself upwards, each once."""
    ways = []
    for start in range(len(parents)):
        way, at_build = [], start
        while at_build not in way:
            way.append(at_build)
            at_build = at_build if (up := parents[at_build]) is None else up
        ways.append(way)
    return ways


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda count: st.tuples(
            st.lists(
                st.one_of(st.none(), st.integers(0, count - 1)), min_size=count, max_size=count
            ),
            st.lists(st.integers(0, 3), min_size=count, max_size=count),
        )
    )
)
def test_every_build_is_in_exactly_one_tree_even_if_builds_trigger_one_another_in_a_circle(
    graph: tuple[list[int | None], list[int]],
) -> None:
    """Any build may name any other, or itself; the oldest build of a circle is the root."""
    parents, minutes = graph
    history = History()
    ids = [UUID(int=1_000 + n) for n in range(len(parents))]
    for n, parent in enumerate(parents):
        up = None if parent is None else ids[parent]
        created = f"10:0{minutes[n]}"
        history.build(None, created, build_id=ids[n], triggered_from_build_id=up)
    ways = ways_up(parents)
    members: defaultdict[int, list[int]] = defaultdict(list)
    cycles = set()
    for n, way in enumerate(ways):
        root = way[-1]
        if parents[root] is not None:
            root = min(ways[root], key=lambda build: (minutes[build], build))
            cycles.add(root)
        members[root].append(n)
    history.derive("build_trees")
    columns = ["root_build_id", "builds", "depth", "is_cycle"]
    assert history.rows("build_trees", *columns) == [
        (
            ids[root],
            len(group),
            max(ways[build].index(root) for build in group),
            root in cycles,
        )
        for root, group in sorted(members.items())
    ]

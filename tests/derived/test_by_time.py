"""Tables by local day and by hour: worked examples, and a model that counts second by second."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkite_assets.rules import Price, Rules

from .history import History, at, plus

BERLIN = Rules(time_zone="Europe/Berlin")


def approx(*values: float | str | None) -> tuple[object, ...]:
    return tuple(pytest.approx(v) if isinstance(v, float) else v for v in values)


# pipeline_daily


def test_a_day_counts_outcomes_and_each_ratio_has_its_number() -> None:
    """5 passed, 3 failed, 1 canceled, 1 skipped, 1 running: success 5/8, canceled 1/9."""
    history = History()
    pipeline = history.pipeline()
    for state, count in {
        "passed": 5,
        "failed": 3,
        "canceled": 1,
        "skipped": 1,
        "running": 1,
    }.items():
        for _ in range(count):
            history.build(pipeline, "10:00", state)
    history.derive("pipeline_daily")
    columns = ["builds", "verdicts", "success_rate", "ended_builds", "canceled_rate", "open_builds"]
    assert history.rows("pipeline_daily", *columns) == [approx(11, 8, 5 / 8, 9, 1 / 9, 1)]


def test_without_a_verdict_rates_and_percentiles_are_null_not_zero() -> None:
    history = History()
    history.build(history.pipeline(), "10:00", "skipped")
    history.derive("pipeline_daily")
    columns = ["verdicts", "success_rate", "ended_builds", "canceled_rate", "green_builds"]
    columns += ["green_p50_seconds", "signal_p50_seconds", "wasted_share", "agent_hours"]
    assert history.rows("pipeline_daily", *columns) == [(0, None, 0, None, 0, None, None, None, 0)]


def test_time_to_green_stands_on_passed_builds_and_time_to_signal_on_verdicts() -> None:
    """Passed after 1, 2, 3 and 5 min, failed after 10, its job too; agents run half of it.

    Green: median (2+3)/2 = 2.5 min; p75 at place 0.75*3 = 2.25: 3 + 0.25*2 = 3.5 min; p90 at 2.7:
    4.4 min; p95 at 2.85: 4.7 min. Signal: median of 1, 2, 3, 5, 10 is 3 min, p90 at place 3.6 is
    5 + 0.6*5 = 8 min. A failed build that does not tell when it ended is a verdict, but no signal,
    and without a failed job it tells no first failure.
    """
    history = History()
    pipeline = history.pipeline()
    for minutes in (1, 2, 3, 5, 10):
        end = f"10:{minutes:02}"
        state = "failed" if minutes == 10 else "passed"
        build = history.build(pipeline, "10:00", state, finished_at=end)
        history.job(build, "t", "10:00", plus("10:00", minutes=minutes / 2), end, state)
    history.derive("pipeline_daily")
    names = [f"green_p{p}_seconds" for p in (50, 75, 90, 95)]
    assert history.rows("pipeline_daily", "green_builds", *names) == [
        approx(4, 150.0, 210.0, 264.0, 282.0)
    ]
    history.build(pipeline, "10:00", "failed", finished_at=None)
    history.derive("pipeline_daily")
    columns = ["verdicts", "signal_builds", "signal_p50_seconds", "signal_p90_seconds"]
    assert history.rows("pipeline_daily", *columns) == [approx(6, 5, 180.0, 480.0)]
    columns = ["failed_builds", "first_failures", "first_failure_p50_seconds"]
    assert history.rows("pipeline_daily", *columns) == [approx(2, 1, 600.0)]
    assert history.rows("pipeline_daily", "agent_hours") == [pytest.approx(10.5 / 60)]


def test_days_are_local_across_a_daylight_saving_change_and_a_years_end() -> None:
    """Berlin is UTC+2 until 2026-10-25 01:00 UTC, UTC+1 from then on (trap 16).

    21:59 and 22:00 UTC on 24 October are the 24th and the 25th there; on 25 October the midnight
    is at 23:00 UTC. 23:30 UTC on 31 December is next year.
    """
    history = History(BERLIN)
    pipeline = history.pipeline()
    for created in (
        "2026-10-24 21:59", "2026-10-24 22:00", "2026-10-25 22:59", "2026-10-25 23:00",
        "2026-12-31 22:59", "2026-12-31 23:30",
    ):  # fmt: skip
        history.build(pipeline, created)
    history.derive("pipeline_daily")
    assert history.rows("pipeline_daily", "local_day", "builds") == [
        (date(2026, 10, 24), 1),
        (date(2026, 10, 25), 2),
        (date(2026, 10, 26), 1),
        (date(2026, 12, 31), 1),
        (date(2027, 1, 1), 1),
    ]


def test_a_day_is_final_once_all_was_read_thirty_days_later_and_nothing_is_open() -> None:
    """The nightly read of days 30 days old tells of 2 November at 02:30 on 2 December.

    In Berlin the build of 23:30 UTC on the 1st is of the 2nd, too, and was read a night before. A
    build that was last told of a second before the 30 days were over, or that is open, is not
    final; one that is gone from Buildkite is, whatever it was.
    """
    history = History(BERLIN)
    pipeline = history.pipeline()
    history.build(pipeline, "2026-11-01 23:30", synced_at="2026-12-01 02:30")
    history.build(pipeline, "2026-11-02 10:00", synced_at="2026-12-02 02:30")
    history.build(pipeline, "2026-11-03 10:00", synced_at="2026-12-02 23:59:59")
    history.build(pipeline, "2026-11-04 10:00", "running")
    history.build(pipeline, "2026-11-05 10:00", synced_at="2026-12-05 02:30")
    history.build(pipeline, "2026-11-05 11:00", "running", absent_since="2026-11-06 10:00")
    history.derive("pipeline_daily", "pipeline_weekly")
    assert history.rows("pipeline_daily", "is_final") == [True, False, False, True]
    assert history.rows("pipeline_weekly", "is_final") == [False]


def test_builds_of_unknown_pipelines_are_counted_by_their_slug() -> None:
    history = History()
    for slug in ("a", "b", "b"):
        history.build(None, "10:00", pipeline_slug=slug)
    history.derive("pipeline_daily")
    assert history.rows("pipeline_daily", "pipeline_slug", "builds") == [("a", 1), ("b", 2)]


# step_daily


def test_a_steps_rates_stand_on_jobs_and_last_attempts_not_on_attempts() -> None:
    """Four jobs: one passed at once, one failed then passed, one failed, one failed softly.

    Five attempts; of four last ones two passed: 1/2; one softly failed: 1/4; one of four jobs was
    retried: 1/4. Runs of 1, 1, 1, 1 and 3 min: median 1 min, p90 at place 3.6: 1 + 0.6*2 = 2.2.
    """
    history = History()
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "t", "10:00", "10:01", "10:02")
    first = history.job(build, "t", "10:00", "10:01", "10:02", "failed")
    history.retry(first, history.job(build, "t", "10:02", "10:03", "10:06"))
    history.job(build, "t", "10:00", "10:01", "10:02", "failed")
    history.job(build, "t", "10:00", "10:01", "10:02", "failed", soft_failed=True)
    history.derive("step_daily")
    columns = ["attempts", "verdicts", "pass_rate", "soft_fail_rate", "jobs", "retry_rate"]
    assert history.rows("step_daily", *columns) == [(5, 4, 0.5, 0.25, 4, 0.25)]
    columns = ["finished_runs", "run_p50_seconds", "run_p90_seconds", "waits", "queue_p90_seconds"]
    assert history.rows("step_daily", *columns) == [approx(5, 60.0, 132.0, 5, 60.0)]


def test_a_job_counts_on_the_local_day_on_which_it_began() -> None:
    """Created 22:30 UTC on the 2nd, begun 23:30 UTC: in Berlin (UTC+1) that is the 3rd.

    Its last 30 minutes count where it began. One that never began counts when it was created.
    """
    history = History(BERLIN)
    build = history.build(history.pipeline(), "22:30")
    history.job(build, "t", "22:30", "23:30", "2026-11-03 00:00")
    history.job(build, "t", "22:30", state="canceled")
    history.derive("step_daily", "agent_cost_daily")
    assert history.rows("step_daily", "local_day", "runs", "critical_path_minutes") == [
        (date(2026, 11, 2), 0, 0),
        (date(2026, 11, 3), 1, 90),
    ]
    assert history.rows("agent_cost_daily", "local_day", "agent_minutes") == [
        (date(2026, 11, 3), 30)
    ]


# queue_hourly


def test_an_hour_of_a_queue() -> None:
    """Two jobs come at 10:00; one agent runs 10:00-10:30, then 10:30-11:15 the other.

    10 h: running 1 throughout; waiting 1 for half of it: mean 0.5. Waits 0 and 30 min: median
    15 min, p90 27 min. 11 h: running 1 for a quarter. A third comes 11:30 and is canceled 12:00.
    """
    history = History()
    build = history.build(history.pipeline(), "10:00")
    agent = history.queue("not a queue, just an id")
    history.job(build, "a", "10:00", "10:00", "10:30", agent_id=agent)
    history.job(build, "b", "10:00", "10:30", "11:15", agent_id=agent)
    history.job(build, "c", "11:30", None, "12:00", "canceled")
    history.derive("queue_hourly")
    columns = ["local_hour", "arrivals", "starts", "waits", "never_started", "distinct_agents"]
    assert history.rows("queue_hourly", *columns) == [(10, 2, 2, 2, 0, 1), (11, 1, 0, 0, 1, 0)]
    columns = ["mean_running", "peak_running", "mean_waiting", "peak_waiting"]
    assert history.rows("queue_hourly", *columns) == [
        approx(1.0, 1, 0.5, 1),
        approx(0.25, 1, 0.5, 1),
    ]
    columns = ["wait_p50_seconds", "wait_p90_seconds"]
    assert history.rows("queue_hourly", *columns) == [approx(900.0, 1620.0), (None, None)]


def test_an_hour_without_arrivals_in_which_a_job_still_runs_has_a_row() -> None:
    """10:30 to 13:00, in the middle nothing changes."""
    history = History()
    history.job(history.build(history.pipeline(), "10:00"), "a", "10:30", "10:30", "13:00")
    history.derive("queue_hourly")
    assert history.rows("queue_hourly", "local_hour", "mean_running") == [
        (10, 0.5),
        (11, 1),
        (12, 1),
    ]


def test_the_hour_that_comes_twice_has_two_rows() -> None:
    """On 25 October 2026 two o'clock comes twice in Berlin: 00 and 01 UTC."""
    history = History(BERLIN)
    build = history.build(history.pipeline(), "2026-10-25 00:00")
    for hour in ("00", "01", "02"):
        runnable = f"2026-10-25 {hour}:10"
        history.job(build, hour, runnable, runnable, plus(runnable, minutes=5))
    history.derive("queue_hourly")
    assert history.rows("queue_hourly", "local_hour", "arrivals") == [(2, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("zone", "instants", "rows"),
    [
        # 08:40 and 09:10 local; 23:40 and 00:10 local.
        (
            "Asia/Kolkata",
            ("2026-11-02 03:10", "2026-11-02 03:40", "2026-11-02 18:10", "2026-11-02 18:40"),
            [(date(2026, 11, 2), 8, 2), (date(2026, 11, 2), 23, 2)],
        ),
        # Half an hour is left out: at 15:30 UTC two o'clock becomes half past two.
        (
            "Australia/Lord_Howe",
            ("2026-10-03 14:45", "2026-10-03 15:15", "2026-10-03 15:45", "2026-10-03 16:00"),
            [(date(2026, 10, 4), 0, 1), (date(2026, 10, 4), 1, 2), (date(2026, 10, 4), 3, 1)],
        ),
        # Half an hour comes twice: at 15:00 UTC two o'clock becomes half past one.
        (
            "Australia/Lord_Howe",
            ("2026-04-04 14:15", "2026-04-04 15:15", "2026-04-04 15:45", "2026-04-04 16:00"),
            [(date(2026, 4, 5), 1, 1), (date(2026, 4, 5), 1, 2), (date(2026, 4, 5), 2, 1)],
        ),
    ],
)
def test_an_hour_that_straddles_two_local_ones_counts_where_it_begins(
    zone: str, instants: tuple[str, ...], rows: list[tuple[date, int, int]]
) -> None:
    history = History(Rules(time_zone=zone))
    created = history.build(history.pipeline(), instants[0])
    for instant in instants:
        history.job(created, instant, instant, instant, plus(instant, seconds=1))
    history.derive("queue_hourly")
    assert history.rows("queue_hourly", "local_day", "local_hour", "arrivals") == rows


SECONDS = st.integers(0, 2 * 3600)
JOBS = st.lists(
    st.tuples(st.sampled_from(["x", "y"]), SECONDS, st.integers(0, 4000), st.integers(0, 9000)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(JOBS)
def test_concurrency_is_what_counting_second_by_second_gives(
    jobs: list[tuple[str, int, int, int]],
) -> None:
    history = History()
    build = history.build(history.pipeline(), "09:30")
    running: Counter[tuple[str, int]] = Counter()
    waiting: Counter[tuple[str, int]] = Counter()
    begin = at("09:30")
    for queue, runnable, wait, run in jobs:
        history.job(
            build,
            "t",
            plus("09:30", seconds=runnable),
            plus("09:30", seconds=runnable + wait),
            plus("09:30", seconds=runnable + wait + run),
            agent_query_rules=[f"queue={queue}"],
        )
        waiting.update((queue, second) for second in range(runnable, runnable + wait))
        start = runnable + wait
        running.update((queue, second) for second in range(start, start + run))
    history.derive("queue_hourly")

    def by_hour(levels: Counter[tuple[str, int]]) -> dict[tuple[str, datetime], list[int]]:
        hours: dict[tuple[str, datetime], list[int]] = {}
        for (queue, second), count in levels.items():
            hour = (begin + timedelta(seconds=second)).replace(minute=0, second=0, tzinfo=None)
            hours.setdefault((queue, hour), []).append(count)
        return hours

    for levels, name in ((running, "running"), (waiting, "waiting")):
        columns = ["queue_key", "hour", f"mean_{name}", f"peak_{name}"]
        rows = history.rows("queue_hourly", *columns, where=f"peak_{name} > 0")
        assert {(queue, hour): (mean, peak) for queue, hour, mean, peak in rows} == {
            key: (pytest.approx(sum(counts) / 3600), max(counts))
            for key, counts in by_hour(levels).items()
        }


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["Asia/Kolkata", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu"]),
    st.sampled_from(["2026-04-04 12:00", "2026-10-03 12:00", "2026-11-01 00:00"]),
    JOBS,
)
def test_the_hours_of_a_queue_add_up_to_its_jobs_in_any_zone(
    zone: str, begin: str, jobs: list[tuple[str, int, int, int]]
) -> None:
    """Each row's local day and hour are those of its begin, by Python's own time zones."""
    history = History(Rules(time_zone=zone))
    created = history.build(history.pipeline(), begin)
    expected: Counter[tuple[str, str]] = Counter()
    for queue, runnable, wait, run in jobs:
        history.job(
            created,
            "t",
            plus(begin, seconds=runnable),
            plus(begin, seconds=runnable + wait),
            plus(begin, seconds=runnable + wait + run),
            agent_query_rules=[f"queue={queue}"],
        )
        for name, value in {"arrivals": 1, "starts": 1, "waits": 1}.items():
            expected[queue, name] += value
        expected[queue, "mean_waiting * 3600"] += wait
        expected[queue, "mean_running * 3600"] += run
    history.derive("queue_hourly")
    sums: Counter[tuple[str, str]] = Counter()
    for name in {name for _, name in expected}:
        for queue, value in history.rows("queue_hourly", "queue_key", name):
            sums[queue, name] += value
    assert sums == pytest.approx(expected)
    for hour, *local in history.rows("queue_hourly", "hour", "local_day", "local_hour"):
        begins = hour.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
        assert local == [begins.date(), begins.hour]


# agent_cost_daily


def test_minutes_are_priced_by_the_first_rule_that_fits_and_the_rest_is_unpriced() -> None:
    """90 s on macos, billed by the minute: 2 min at 0.10 = 0.20. 60 s on linux at 0.02, by tag.

    60 s on a queue that no rule names: unpriced, and its cost is NULL, not 0.
    """
    rules = Rules(
        currency="EUR",
        prices=(
            Price(0.1, queue="macos", billed_seconds=60),
            Price(0.02, tag="os=linux"),
            Price(9, queue="linux"),
        ),
    )
    history = History(rules)
    build = history.build(history.pipeline(), "10:00")
    for queue, tags, end in (
        ("macos", ["os=mac"], "10:01:30"),
        ("linux", ["size=l", "os=linux"], "10:01"),
        ("other", None, "10:01"),
    ):
        history.job(
            build, "t", "10:00", "10:00", end, agent_query_rules=[f"queue={queue}"],
            agent_meta_data=tags,
        )  # fmt: skip
    history.derive("agent_cost_daily")
    columns = ["queue_key", "agent_minutes", "priced_minutes", "unpriced_minutes", "cost"]
    assert history.rows("agent_cost_daily", *columns) == [
        approx("linux", 1.0, 1.0, 0.0, 0.02),
        approx("macos", 1.5, 1.5, 0.0, 0.2),
        ("other", 1, 0, 1, None),
    ]
    assert history.rows("agent_cost_daily", "currency") == ["EUR"] * 3


def test_wasted_minutes_cost_too() -> None:
    """Two runs of a minute at 0.5, of which one was canceled."""
    history = History(Rules(prices=(Price(0.5, queue="default"),)))
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "a", "10:00", "10:00", "10:01", "canceled")
    history.job(build, "b", "10:00", "10:00", "10:01")
    history.derive("agent_cost_daily")
    columns = ["runs", "cost", "wasted_minutes", "wasted_cost"]
    assert history.rows("agent_cost_daily", *columns) == [(2, 1, 1, 0.5)]


def test_without_prices_everything_is_unpriced() -> None:
    history = History()
    history.job(history.build(history.pipeline(), "10:00"), "a", "10:00", "10:00", "10:01")
    history.derive("agent_cost_daily")
    columns = ["unpriced_minutes", "cost", "wasted_cost"]
    assert history.rows("agent_cost_daily", *columns) == [(1, None, None)]

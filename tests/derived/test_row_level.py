"""Tables whose rows stand on one build: worked examples, each small enough for paper."""

from datetime import date

import pytest

from buildkite_assets.rules import Infrastructure, Rules

from .history import History, at


@pytest.fixture
def history() -> History:
    return History()


def one(history: History, table: str, *columns: str) -> object:
    [row] = history.derive(table).rows(table, *columns)
    return row


# job_runs


def test_the_wait_for_an_agent_begins_when_the_job_is_runnable(history: History) -> None:
    """Created with the build at 10:00, held back until 10:20, begun 10:22, ended 10:30.

    It waited 120 s for an agent (not 1,320 s since its creation), and ran 480 s.
    """
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "test", "10:20", "10:22", "10:30", scheduled_at="10:00")
    assert one(history, "job_runs", "queue_seconds", "run_seconds", "censored_queue_seconds") == (
        120,
        480,
        None,
    )


def test_durations_are_time_that_passed_not_boundaries(history: History) -> None:
    """Trap 18: from 10:00:59 to 10:01:01 is 2 s, not a minute; microseconds count."""
    build = history.build(history.pipeline(), "10:00:59", finished_at="10:01:01.000001")
    history.job(build, "test", "10:00:59", "10:00:59.5", "10:01:01")
    history.derive("build_runs")
    assert history.rows("job_runs", "queue_seconds", "run_seconds") == [(0.5, 1.5)]
    assert history.rows("build_runs", "wall_seconds", "active_seconds") == [(2.000001, 2)]


@pytest.mark.parametrize(
    ("columns", "gave_up_after"),
    [
        ({"state": "canceled", "finished_at": "10:45"}, 2700),
        ({"state": "expired", "expired_at": "2026-12-02 10:00"}, 30 * 86400),
        ({"state": "scheduled"}, 3600),
        ({"state": "scheduled", "runnable_at": None}, None),
        ({"state": "canceled", "runnable_at": None, "finished_at": "10:45"}, None),
        ({"state": "broken"}, None),
    ],
)
def test_a_job_that_never_started_waited_at_least_until_it_was_given_up(
    history: History, columns: dict[str, str | None], gave_up_after: float | None
) -> None:
    """Runnable at 10:00; ended, expired or, at 11:00, last told of so many seconds later.

    One that never became runnable waited for no agent, and a broken one does not tell its end.
    """
    build = history.build(history.pipeline(), "10:00", "running", synced_at="11:00")
    history.job(build, **({"runnable_at": "10:00"} | columns))  # type: ignore[arg-type]  # columns of jobs, as the cases give them
    assert one(history, "job_runs", "queue_seconds", "censored_queue_seconds", "run_seconds") == (
        None,
        gave_up_after,
        None,
    )


def test_clocks_that_disagree_give_no_negative_durations(history: History) -> None:
    build = history.build(history.pipeline(), "10:00", finished_at="09:59", started_at="10:01")
    history.job(build, "test", "10:02", "10:01", "10:00")
    history.derive("build_runs")
    assert history.rows("job_runs", "queue_seconds", "run_seconds") == [(0, 0)]
    assert history.rows("build_runs", "wall_seconds", "elapsed_seconds") == [(0, 0)]


@pytest.mark.parametrize(
    ("state", "columns", "outcome", "failure_class"),
    [
        ("passed", {}, "passed", None),
        ("failed", {"exit_status": 1}, "failed", "code"),
        ("failed", {"exit_status": -1}, "failed", "infra"),
        ("failed", {"exit_status": 255, "signal_reason": "agent_stop"}, "failed", "infra"),
        ("failed", {"exit_status": 137, "signal_reason": "cancel"}, "failed", "code"),
        ("timed_out", {"exit_status": -1}, "failed", "timeout"),
        ("expired", {}, "failed", "expired"),
        ("canceled", {"exit_status": -1}, "canceled", "canceled"),
        ("broken", {}, "not_run", None),
        ("skipped", {}, "not_run", None),
        ("limited", {}, "unfinished", None),
        ("limiting", {}, "unfinished", None),
        ("a state of tomorrow", {}, "unfinished", None),
    ],
)
def test_outcome_and_failure_class_of_a_job(
    history: History,
    state: str,
    columns: dict[str, str],
    outcome: str,
    failure_class: str | None,
) -> None:
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "test", "10:00", "10:01", "10:02", state, **columns)
    assert one(history, "job_runs", "outcome", "failure_class") == (outcome, failure_class)


INFRASTRUCTURE = Rules(
    infrastructure=(
        Infrastructure((125, 128)),
        Infrastructure((137,), queue="gpu-*", step="train-*"),
    )
)


@pytest.mark.parametrize(
    ("state", "exit_status", "queue", "step", "failure_class"),
    [
        ("failed", 125, "default", "test", "infra"),
        ("failed", 128, "gpu-1", "train-a", "infra"),
        ("failed", 137, "gpu-1", "train-a", "infra"),
        ("failed", 137, "gpu-1", "test", "code"),
        ("failed", 137, "default", "train-a", "code"),
        ("failed", 1, "gpu-1", "train-a", "code"),
        ("failed", None, "gpu-1", "train-a", "code"),
        ("failed", -1, "default", "test", "infra"),
        ("timed_out", 137, "gpu-1", "train-a", "timeout"),
        ("canceled", 137, "gpu-1", "train-a", "canceled"),
        ("passed", 125, "default", "test", None),
    ],
)
def test_a_rule_says_which_exit_statuses_are_failures_of_the_infrastructure(
    state: str, exit_status: int | None, queue: str, step: str, failure_class: str | None
) -> None:
    history = History(INFRASTRUCTURE)
    build = history.build(history.pipeline(), "10:00")
    history.job(
        build, step, "10:00", "10:01", "10:02", state,
        exit_status=exit_status, agent_query_rules=[f"queue={queue}"],
    )  # fmt: skip
    history.derive("job_retry_chains")
    assert history.rows("job_runs", "failure_class") == [failure_class]
    assert history.rows("job_retry_chains", "failure_class", "is_infra") == [
        (failure_class, failure_class == "infra")
    ]


def test_what_a_rule_calls_infrastructure_is_not_flaky() -> None:
    for rules, is_flaky in ((Rules(), True), (INFRASTRUCTURE, False)):
        history = History(rules)
        failed_then(history, "passed", exit_status=125)
        assert one(history, "job_retry_chains", "is_flaky", "is_infra") == (is_flaky, not is_flaky)


def test_a_soft_failure_is_a_failed_job_of_a_passed_build(history: History) -> None:
    """Trap 9: the job's state is failed although the build passes."""
    build = history.build(history.pipeline(), "10:00", "passed")
    history.job(build, "lint", "10:00", "10:01", "10:02", "failed", soft_failed=True)
    history.derive("build_runs")
    assert history.rows("job_runs", "outcome", "is_soft_failed") == [("failed", True)]
    assert history.rows("build_runs", "outcome") == ["passed"]


def test_only_script_jobs_have_rows(history: History) -> None:
    """Traps 6 to 8: waiters always pass, and a trigger lasts as long as its child, or for ever."""
    build = history.build(history.pipeline(), "10:00")
    for kind in ("waiter", "manual", "trigger"):
        history.job(build, "x", "10:00", "10:00", "11:00", type=kind)
    history.job(build, "stuck", "10:00", "10:00", None, "running", type="trigger")
    history.job(build, "test", "10:00", "10:01", "10:02")
    history.derive("build_runs")
    assert history.rows("job_runs", "step") == ["test"]
    assert history.rows("build_runs", "agent_seconds", "active_seconds", "script_jobs") == [
        (60, 120, 1)
    ]


def test_the_queue_is_the_jobs_own_then_the_one_it_asks_for_then_default(history: History) -> None:
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "a", queue_id=history.queue("macos"), agent_query_rules=["queue=other"])
    history.job(build, "b", agent_query_rules=["os=linux", "queue=gpu"])
    history.job(build, "c", agent_query_rules=["os=linux"])
    history.job(build, "d")
    history.derive("job_runs")
    assert history.rows("job_runs", "step", "queue_key") == [
        ("a", "macos"),
        ("b", "gpu"),
        ("c", "default"),
        ("d", "default"),
    ]


def test_the_same_job_of_two_builds_has_the_same_key_and_its_siblings_have_others(
    history: History,
) -> None:
    """Trap 25: parallel jobs and matrix values are jobs of their own; labels have emoji."""
    pipeline = history.pipeline()
    for _ in range(2):
        build = history.build(pipeline, "10:00")
        history.job(build, "t", parallel_group_index=0, parallel_group_total=2)
        history.job(build, "t", parallel_group_index=1, parallel_group_total=2)
        history.job(build, "t", matrix='{"os":"linux"}')
        history.job(build, "", step_key=None, name=":rocket: ship %n")
        history.job(build, "", step_key=None, name=None, command="make all")
    history.derive("job_runs")
    keys = history.rows("job_runs", "logical_job_key")
    assert keys[:5] == [
        "t · 1 of 2",
        "t · 2 of 2",
        't · {"os":"linux"}',
        ":rocket: ship %n",
        "make all",
    ]
    assert keys[5:] == keys[:5]


def test_attempts_are_counted_along_their_links(history: History) -> None:
    """Three attempts; the second's `created_at` is later than the build's (trap 14)."""
    build = history.build(history.pipeline(), "10:00")
    first = history.job(build, "t", "10:00", "10:01", "10:02", "failed")
    third = history.job(build, "t", "10:20", "10:21", "10:22", created_at="10:20")
    second = history.job(
        build, "t", "10:10", "10:11", "10:12", "failed", created_at="10:10", scheduled_at="10:00"
    )
    history.retry(first, second)
    history.retry(second, third, "manual")
    history.derive("job_runs")
    assert history.rows(
        "job_runs", "job_id", "attempt_no", "is_last_attempt", "logical_job_id"
    ) == [
        (first, 1, False, first),
        (third, 3, True, first),
        (second, 2, False, first),
    ]


def test_an_attempt_whose_retry_is_missing_is_not_the_last(history: History) -> None:
    """Trap 5: without `include_retried_jobs` attempts are missing; links point nowhere."""
    build = history.build(history.pipeline(), "10:00")
    lonely = history.job(build, "t", "10:00", "10:01", "10:02", "failed")
    history.retry(lonely, history.pipeline("unrelated"))
    assert one(history, "job_runs", "attempt_no", "is_last_attempt") == (1, False)


def test_what_a_build_lost_is_left_out_and_what_vanished_with_it_stays(history: History) -> None:
    """Trap 22: retention removes builds from Buildkite, never from history."""
    pipeline = history.pipeline()
    gone = history.build(pipeline, "10:00", absent_since="2026-12-01 00:00")
    history.job(gone, "kept", absent_since="2026-12-01 00:00")
    history.job(gone, "lost before", absent_since="2026-11-20 00:00")
    there = history.build(pipeline, "10:00")
    history.job(there, "lost", absent_since="2026-11-20 00:00")
    history.job(there, "there")
    history.derive("job_runs", "build_runs")
    assert history.rows("job_runs", "step") == ["kept", "there"]
    assert len(history.rows("build_runs")) == 2


def test_agent_time_is_wasted_by_retries_cancellations_and_canceled_builds(
    history: History,
) -> None:
    """Runs of 60 s: one retried, one canceled, one good. In a canceled build all are wasted.

    A canceled job that ran still cost, and made its build longer (trap 20).
    """
    pipeline = history.pipeline()
    build = history.build(pipeline, "10:00", "failed")
    first = history.job(build, "a", "10:00", "10:00", "10:01", "failed")
    history.retry(first, history.job(build, "a", "10:01", "10:01", "10:02"))
    history.job(build, "b", "10:02", "10:02", "10:03", "canceled")
    canceled = history.build(pipeline, "11:00", "canceled")
    history.job(canceled, "a", "11:00", "11:00", "11:01")
    history.job(canceled, "b", "11:00", None, "11:01", "canceled")
    history.derive("build_runs")
    columns = ("agent_seconds", "wasted_agent_seconds", "active_seconds", "retried_jobs")
    assert history.rows("build_runs", *columns) == [(180, 120, 180, 1), (60, 60, 60, 0)]
    assert history.rows("job_runs", "wasted_seconds") == [60, 0, 60, 60, None]


# build_runs and block_waits


def test_a_block_of_two_hours_is_neither_active_nor_forgotten(history: History) -> None:
    """Work 10:00-10:30, block lifted at 12:30, work 12:30-13:00: wall 3 h.

    Active 1 h, blocked 2 h. The unblock moved `started_at` to 12:30, so elapsed is 30 min (trap 3).
    """
    build = history.build(history.pipeline(), "10:00", started_at="12:30", finished_at="13:00")
    history.job(build, "test", "10:00", "10:01", "10:30")
    history.job(build, "ok?", state="unblocked", type="manual", unblocked_at="12:30")
    history.job(build, "ship", "12:30", "12:31", "13:00")
    history.derive("build_runs")
    columns = ("wall_seconds", "elapsed_seconds", "active_seconds", "blocked_seconds")
    assert history.rows("build_runs", *columns) == [(10_800, 1_800, 3_600, 7_200)]
    assert history.rows("build_runs", "first_job_started_at") == [at("10:01").replace(tzinfo=None)]


def test_a_block_behind_which_other_work_goes_on_costs_nothing(history: History) -> None:
    """Lifted at 10:20, in the middle of work from 10:00 to 10:30."""
    build = history.build(history.pipeline(), "10:00", finished_at="10:40")
    history.job(build, "slow", "10:00", "10:00", "10:30")
    history.job(build, "ok?", state="unblocked", type="manual", unblocked_at="10:20")
    assert one(history, "block_waits", "blocked_seconds") == 0


def test_blocks_of_one_gap_count_once_and_of_two_gaps_twice(history: History) -> None:
    """Work to 10:10; blocks lifted 10:20 and 10:30; work to 10:40; a block lifted 10:45.

    Per block 600, 1,200 and 300 s; the build stood still 1,200 + 300 s.
    """
    build = history.build(history.pipeline(), "10:00", finished_at="10:50")
    history.job(build, "a", "10:00", "10:00", "10:10")
    for unblocked_at in ("10:20", "10:30", "10:45"):
        history.job(build, "ok?", state="unblocked", type="manual", unblocked_at=unblocked_at)
    history.job(build, "b", "10:30", "10:30", "10:40")
    history.derive("build_runs")
    assert history.rows("block_waits", "blocked_seconds") == [600, 1_200, 300]
    assert history.rows("build_runs", "blocked_seconds") == [1_500]


def test_a_block_before_all_work_counts_from_the_builds_creation(history: History) -> None:
    build = history.build(history.pipeline(), "10:00", finished_at="10:20")
    history.job(build, "ok?", state="unblocked", type="manual", unblocked_at="10:05")
    history.job(build, "a", "10:05", "10:06", "10:20")
    assert one(history, "block_waits", "blocked_seconds") == 300


def test_a_block_that_nobody_has_lifted_has_an_instant_and_no_length(history: History) -> None:
    """Work ended 10:10; the state so far is passed, yet it is blocked.

    While a job still runs beside it, the build does not stand still.
    """
    pipeline = history.pipeline()
    for is_busy in (False, True):
        build = history.build(pipeline, "10:00", "passed", blocked=True, synced_at="11:10")
        history.job(build, "a", "10:00", "10:00", "10:10")
        history.job(build, "ok?", state="blocked", type="manual")
        if is_busy:
            history.job(build, "b", "10:00", "10:00", None, "running")
    history.derive("build_runs")
    assert history.rows("block_waits", "is_open", "waited_from", "blocked_seconds") == [
        (True, at("10:10").replace(tzinfo=None), None),
        (True, None, None),
    ]
    assert history.rows("build_runs", "outcome", "is_blocked", "blocked_seconds") == [
        ("passed", True, 0),
        ("passed", True, 0),
    ]


def test_of_two_blocks_in_one_gap_only_the_lifted_one_counts(history: History) -> None:
    """Work ended 10:10; one block was lifted at 10:20, the other still stands."""
    build = history.build(history.pipeline(), "10:00", blocked=True, synced_at="11:10")
    history.job(build, "a", "10:00", "10:00", "10:10")
    history.job(build, "a?", state="unblocked", type="manual", unblocked_at="10:20")
    history.job(build, "b?", state="blocked", type="manual")
    history.derive("build_runs")
    assert history.rows("block_waits", "blocked_seconds") == [600, None]
    assert history.rows("build_runs", "blocked_seconds") == [600]


def test_a_block_that_nobody_met_has_no_wait(history: History) -> None:
    build = history.build(history.pipeline(), "10:00", "failed", finished_at="10:10")
    history.job(build, "ok?", state="blocked_failed", type="manual")
    assert one(history, "block_waits", "is_open", "blocked_seconds") == (False, None)


@pytest.mark.parametrize(
    ("state", "outcome", "is_open"),
    [
        ("passed", "passed", False),
        ("failed", "failed", False),
        ("canceled", "canceled", False),
        ("skipped", "not_run", False),
        ("not_run", "not_run", False),
        ("running", "unfinished", True),
        ("failing", "unfinished", True),
        ("canceling", "unfinished", True),
        ("creating", "unfinished", True),
    ],
)
def test_outcome_of_a_build(history: History, state: str, outcome: str, is_open: bool) -> None:  # noqa: FBT001 - a table of cases
    """Traps 1 and 2: skipped and not_run builds are there, though they never start."""
    history.build(history.pipeline(), "10:00", state)
    columns = ("outcome", "is_open", "wall_seconds", "elapsed_seconds", "active_seconds")
    assert one(history, "build_runs", *columns) == (outcome, is_open, None, None, None)


def test_the_first_failure_is_the_end_of_the_first_job_that_failed_hard_and_for_good(
    history: History,
) -> None:
    """A build of 20 min. Failures end at 10:02 (soft), 10:03 (retried, passed), 10:06 (timed out).

    Later ones at 10:08 (expired) and 10:09 do not count, and `failing_at` (10:03) does not either.
    """
    build = history.build(
        history.pipeline(), "10:00", "failed", failing_at="10:03", finished_at="10:20"
    )
    history.job(build, "soft", "10:00", "10:00", "10:02", "failed", soft_failed=True)
    flaky = history.job(build, "flaky", "10:00", "10:00", "10:03", "failed")
    history.retry(flaky, history.job(build, "flaky", "10:03", "10:03", "10:05"))
    history.job(build, "slow", "10:00", "10:00", "10:06", "timed_out")
    history.job(build, "starved", "10:00", state="expired", expired_at="10:08")
    history.job(build, "unit", "10:00", "10:00", "10:09", "failed")
    columns = ("time_to_first_failure_seconds", "time_to_failing_seconds")
    assert one(history, "build_runs", *columns) == (360, 180)


@pytest.mark.parametrize(
    ("build_state", "jobs", "seconds"),
    [
        ("failed", [("expired", {"expired_at": "10:08"})], 480),
        ("failed", [("failed", {"finished_at": "09:59"})], 0),
        ("failed", [("failed", {"finished_at": "10:08", "soft_failed": True})], None),
        ("failed", [("passed", {"finished_at": "10:08"})], None),
        ("failed", [], None),
        ("passed", [("failed", {"finished_at": "10:08"})], None),
        ("canceled", [("failed", {"finished_at": "10:08"})], None),
    ],
)
def test_a_first_failure_is_null_where_no_job_of_a_failed_build_tells_it(
    history: History,
    build_state: str,
    jobs: list[tuple[str, dict[str, str | bool]]],
    seconds: float | None,
) -> None:
    build = history.build(
        history.pipeline(), "10:00", build_state, failing_at="10:05", finished_at="10:20"
    )
    for state, columns in jobs:
        history.job(build, state=state, **columns)  # type: ignore[arg-type]  # columns of jobs, as the cases give them
    assert one(history, "build_runs", "time_to_first_failure_seconds") == seconds


def test_a_build_counts_its_jobs_by_their_last_attempts(history: History) -> None:
    """Ten attempts, of which one was retried: nine jobs, each counted once.

    One passed after its retry, three failed softly (one timed out), two hard (one timed out), one
    was canceled, one never ran and one runs.
    """
    build = history.build(history.pipeline(), "10:00", "running")
    first = history.job(build, "a", "10:00", "10:00", "10:01", "failed")
    history.retry(first, history.job(build, "a", "10:01", "10:01", "10:02"))
    for state in ("failed", "failed", "timed_out"):
        history.job(build, "soft", "10:00", "10:00", "10:01", state, soft_failed=True)
    for state in ("failed", "timed_out"):
        history.job(build, "hard", "10:00", "10:00", "10:01", state, soft_failed=False)
    history.job(build, "b", "10:00", "10:00", "10:01", "canceled", soft_failed=True)
    history.job(build, "c", state="broken")
    history.job(build, "d", "10:00", "10:00", None, "running")
    history.derive("build_runs", "pipeline_daily")
    counts = ["passed_jobs", "soft_failed_jobs", "failed_jobs", "canceled_jobs", "not_run_jobs"]
    counts += ["unfinished_jobs", "timed_out_jobs"]
    assert history.rows("build_runs", *counts) == [(1, 3, 2, 1, 1, 1, 2)]
    assert history.rows("build_runs", "script_jobs - retried_jobs") == [9]
    assert history.rows("pipeline_daily", "jobs", *counts) == [(9, 1, 3, 2, 1, 1, 1, 2)]


def test_a_build_without_jobs_counts_none(history: History) -> None:
    history.build(history.pipeline(), "10:00", "skipped")
    counts = ("passed_jobs", "soft_failed_jobs", "failed_jobs", "timed_out_jobs", "not_run_jobs")
    assert one(history, "build_runs", *counts, "unfinished_jobs") == (0,) * 6


@pytest.mark.parametrize("state", ["failed", "timed_out", "expired"])
def test_every_failure_can_be_soft_and_nothing_else(history: History, state: str) -> None:
    build = history.build(history.pipeline(), "10:00")
    for each in (state, "passed", "canceled", "broken", "running"):
        history.job(build, "t", "10:00", "10:00", "10:01", each, soft_failed=True)
    history.job(build, "t", "10:00", "10:00", "10:01", state, soft_failed=None)
    history.derive("job_runs")
    assert history.rows("job_runs", "is_soft_failed") == [True] + [False] * 5


@pytest.mark.parametrize(
    ("build_state", "is_blocked", "outcome"),
    [
        ("failed", False, "not_run"),
        ("passed", False, "not_run"),
        ("canceled", False, "not_run"),
        ("canceled", True, "not_run"),
        ("passed", True, "unfinished"),
        ("failed", True, "unfinished"),
        ("blocked", True, "unfinished"),
        ("blocked", False, "unfinished"),
        ("running", False, "unfinished"),
    ],
)
def test_a_job_behind_a_block_never_ran_once_its_build_is_over(
    history: History,
    build_state: str,
    is_blocked: bool,  # noqa: FBT001 - a table of cases
    outcome: str,
) -> None:
    build = history.build(history.pipeline(), "10:00", build_state, blocked=is_blocked)
    history.job(build, "ship", state="blocked")
    assert one(history, "job_runs", "outcome", "failure_class") == (outcome, None)


def test_so_far_includes_what_still_runs(history: History) -> None:
    """Done 10:00-10:10, running since 10:20, last told of at 11:00, one more waits since 10:50.

    Agents ran 10 + 40 min; a job waited (from 10:15) or ran for 10 + 45 min. The path leads from
    the first job over a gap of 5 min to the one that runs.
    """
    build = history.build(history.pipeline(), "10:00", "running", synced_at="11:00")
    done = history.job(build, "a", "10:00", "10:00", "10:10")
    running = history.job(build, "b", "10:15", "10:20", None, "running")
    history.job(build, "c", "10:50", None, None, "scheduled")
    history.derive("build_runs", "build_critical_path", "job_retry_chains", "agent_cost_daily")
    columns = ["agent_seconds", "active_seconds", "wasted_agent_seconds"]
    assert history.rows("build_runs", *columns) == [(3_000, 3_300, 0)]
    assert history.rows("job_runs", "run_seconds", "agent_seconds") == [
        (600, 600),
        (None, 2_400),
        (None, None),
    ]
    columns = ["job_id", "gap_before_seconds", "queue_seconds", "run_seconds"]
    assert history.rows("build_critical_path", *columns) == [
        (done, 0, 0, 600),
        (running, 300, 300, 2_400),
    ]
    assert sum(history.rows("job_retry_chains", "agent_seconds")) == 3_000
    assert history.rows("agent_cost_daily", "runs", "agent_minutes") == [(2, 50)]


def test_in_a_build_that_is_over_a_job_without_an_end_has_no_length(history: History) -> None:
    build = history.build(history.pipeline(), "10:00", "canceled", synced_at="11:00")
    history.job(build, "a", "10:00", "10:00", "10:10", "canceled")
    history.job(build, "b", "10:00", "10:00", None, "running")
    assert one(history, "build_runs", "agent_seconds", "wasted_agent_seconds") == (600, 600)


def test_a_clock_behind_gives_what_runs_no_negative_length(history: History) -> None:
    build = history.build(history.pipeline(), "10:00", "running", synced_at="10:00:30")
    history.job(build, "a", "10:01", "10:02", None, "running")
    assert one(history, "build_runs", "agent_seconds", "active_seconds") == (0, 0)


def test_the_default_branch_is_neither_a_pull_request_nor_a_merge_queue(history: History) -> None:
    """Traps 13 and 21: merge queues build their own branches; a default branch may be missing."""
    web, bare = history.pipeline(), history.pipeline("bare", default_branch=None)
    history.build(web, "10:00")
    history.build(web, "10:01", branch="topic")
    history.build(web, "10:02", pull_request_id="7")
    history.build(
        web, "10:03", branch="gh-readonly-queue/main/pr-1", merge_queue_base_branch="main"
    )
    history.build(bare, "10:04")
    history.build(None, "10:05")
    history.derive("build_runs")
    assert history.rows("build_runs", "is_default_branch", "is_merge_queue") == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),
        (None, False),
        (None, False),
    ]


def test_a_renamed_pipeline_has_one_slug_and_a_renamed_default_branch_counts(
    history: History,
) -> None:
    """Traps 21 and 24: builds were read as `web`; the pipeline is now `shop`, its main `trunk`."""
    shop = history.pipeline("shop", "trunk")
    history.build(shop, "10:00", pipeline_slug="web", branch="trunk")
    history.build(None, "10:00", pipeline_slug="unknown")
    history.derive("build_runs")
    assert history.rows("build_runs", "pipeline_slug", "is_default_branch") == [
        ("shop", True),
        ("unknown", None),
    ]


def test_a_build_belongs_to_the_utc_day_of_its_creation_whatever_reopens_it(
    history: History,
) -> None:
    """Traps 3 and 16: created 23:59:59, retried the next day."""
    build = history.build(
        history.pipeline(), "23:59:59", started_at="2026-11-03 09:00",
        finished_at="2026-11-03 09:10",
    )  # fmt: skip
    history.job(build, "a", "2026-11-03 09:00", "2026-11-03 09:00", "2026-11-03 09:10")
    history.derive("build_runs")
    assert history.rows("build_runs", "day") == [date(2026, 11, 2)]
    assert history.rows("job_runs", "day") == [date(2026, 11, 2)]


# job_retry_chains


def failed_then(history: History, outcome: str, **columns: object) -> None:
    """One build whose job failed (60 s) and was retried to this outcome (120 s)."""
    build = history.build(history.pipeline(), "10:00")
    first = history.job(build, "e2e", "10:00", "10:00", "10:01", **{"state": "failed"} | columns)  # type: ignore[arg-type]  # columns of jobs, as the cases give them
    history.retry(first, history.job(build, "e2e", "10:01", "10:01", "10:03", outcome))


@pytest.mark.parametrize(
    ("retried_to", "columns", "is_flaky", "is_infra"),
    [
        ("passed", {"exit_status": 1}, True, False),
        ("passed", {"exit_status": 1, "soft_failed": True}, True, False),
        ("passed", {"state": "timed_out"}, True, False),
        ("failed", {"exit_status": 1}, False, False),
        ("passed", {"exit_status": -1}, False, True),
        ("passed", {"exit_status": 1, "signal_reason": "agent_refused"}, False, True),
        ("passed", {"state": "expired"}, False, True),
        ("passed", {"state": "canceled"}, False, False),
    ],
)
def test_flaky_is_what_failed_by_its_code_and_passed_when_retried(
    history: History,
    retried_to: str,
    columns: dict[str, object],
    is_flaky: bool,  # noqa: FBT001 - a table of cases
    is_infra: bool,  # noqa: FBT001 - a table of cases
) -> None:
    """The failed attempt ran 60 s: what flakiness cost, if it was flaky."""
    failed_then(history, retried_to, **columns)
    columns_asked = ("attempts", "is_retried", "is_flaky", "is_infra", "flaky_seconds")
    assert one(history, "job_retry_chains", *columns_asked) == (
        2,
        True,
        is_flaky,
        is_infra,
        60 if is_flaky else 0,
    )


def test_a_chain_sums_its_attempts_and_names_first_and_last(history: History) -> None:
    failed_then(history, "passed")
    columns = ("first_outcome", "last_outcome", "retry_type", "agent_seconds", "wasted_seconds")
    assert one(history, "job_retry_chains", *columns) == ("failed", "passed", "automatic", 180, 60)


def test_when_most_jobs_of_a_build_failed_none_of_them_was_flaky(history: History) -> None:
    """4 of 5 jobs failed at first (80 %), 3 of 5 in the second build: only there they are flaky."""
    pipeline = history.pipeline()
    for failures in (4, 3):
        build = history.build(pipeline, "10:00")
        for n in range(5):
            state = "failed" if n < failures else "passed"
            job = history.job(build, f"step-{n}", "10:00", "10:00", "10:01", state)
            if state == "failed":
                history.retry(job, history.job(build, f"step-{n}", "10:02", "10:02", "10:03"))
    history.derive("job_retry_chains")
    assert history.rows("job_retry_chains", "is_flaky") == [False] * 5 + [True] * 3 + [False] * 2


# build_critical_path


def test_the_critical_path_goes_back_from_the_last_end(history: History) -> None:
    """Build 10:00; compile 10:00-10:10; lint 10:00-10:05; test waits 2 min, 10:10-10:30.

    A block holds deploy back until 11:00; it waits 1 min and ends 11:10.
    Path: compile (600 s), test (120 + 1,080), gap 1,800, deploy (60 + 540): 2,400 s in all.
    """
    build = history.build(history.pipeline(), "10:00", finished_at="11:10")
    compile_ = history.job(build, "compile", "10:00", "10:00", "10:10")
    history.job(build, "lint", "10:00", "10:00", "10:05")
    test = history.job(build, "test", "10:10", "10:12", "10:30")
    deploy = history.job(build, "deploy", "11:00", "11:01", "11:10")
    history.derive("build_critical_path")
    columns = ("job_id", "gap_before_seconds", "queue_seconds", "run_seconds", "share_of_path")
    assert history.rows("build_critical_path", *columns) == [
        (compile_, 0, 0, 600, 0.25),
        (test, 0, 120, 1080, 0.5),
        (deploy, 1800, 60, 540, 0.25),
    ]


def test_waits_beside_each_other_are_not_waited_one_after_the_other(history: History) -> None:
    """Trap 26: three jobs wait 10 min at once: 30 min of waits, 10 min on the path of 15 min."""
    build = history.build(history.pipeline(), "10:00", finished_at="10:15")
    for minute in (12, 13, 15):
        history.job(build, "t", "10:00", "10:10", f"10:{minute}")
    history.derive("build_critical_path", "build_runs")
    assert sum(history.rows("job_runs", "queue_seconds")) == 1_800
    assert history.rows("build_critical_path", "queue_seconds", "run_seconds") == [(600, 300)]
    assert history.rows("build_runs", "active_seconds") == [900]


def test_jobs_of_no_length_do_not_lead_in_circles(history: History) -> None:
    """Three jobs of 0 s at one instant: none finished before another's end, so one stands alone."""
    build = history.build(history.pipeline(), "10:00")
    for step in ("a", "b", "c"):
        history.job(build, step, "10:00", "10:00", "10:00")
    assert one(history, "build_critical_path", "position", "share_of_path") == (1, None)

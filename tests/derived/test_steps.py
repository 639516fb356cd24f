"""One step across builds, whatever it is called: by key, label or number of shards."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from buildkite_assets.rules import Deployment, Rules
from buildkite_assets.sandbox.model import Build, Step
from tests.served_history import ServedHistory, served_history

from .history import History

TESTS = Step("script", name=":rspec: Tests", command="bin/rspec")
LINT = Step("script", name="Lint", command="bin/lint")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedHistory]:
    with served_history(tmp_path) as history:
        yield history


def build(served: ServedHistory, *steps: Step, state: str = "passed", commit: str = "c") -> Build:
    """A build of `web` an hour after the one before it."""
    served.clock.move(hours=1)
    return served.acme.create_build("web", state=state, jobs=steps, commit=commit)


def sharded(step: Step, total: int) -> list[Step]:
    return [replace(step, parallelism=total, parallel_index=n) for n in range(total)]


def shown(label: str, n: int, total: int) -> str:
    """What Buildkite makes of a label of one of several shards."""
    return label.replace("%n", f"{n}").replace("%N", f"{n + 1}").replace("%t", f"{total}")


def attempts_by_step(served: ServedHistory) -> list[tuple[str, int]]:
    return served.rows("SELECT step, sum(attempts)::BIGINT FROM step_daily GROUP BY ALL ORDER BY 1")


# Keys


def test_a_step_that_gains_a_key_stays_one_step(served: ServedHistory) -> None:
    """Also where it loses it again, as on a branch that began earlier, and gets another label."""
    build(served, TESTS, LINT)
    served.sync()
    assert attempts_by_step(served) == [(":rspec: Tests", 1), ("Lint", 1)]
    served.clock.move(days=1)
    build(served, replace(TESTS, key="tests"), LINT)
    build(served, TESTS, LINT)
    build(served, replace(TESTS, key="tests", name="🧪 Tests"), LINT)
    served.sync()
    assert attempts_by_step(served) == [("Lint", 4), ("tests", 4)]
    assert served.rows("SELECT name, step, names, attempts FROM steps ORDER BY name") == [
        (":rspec: Tests", "tests", [":rspec: Tests", "tests", "🧪 Tests"], 2),
        ("Lint", "Lint", ["Lint"], 4),
        ("tests", "tests", [":rspec: Tests", "tests", "🧪 Tests"], 2),
    ]


def test_a_step_with_no_label_is_known_by_its_command_until_it_gains_a_key(
    served: ServedHistory,
) -> None:
    unlabelled = Step("script", command="make all")
    build(served, unlabelled)
    build(served, replace(unlabelled, key="all"))
    served.sync()
    assert attempts_by_step(served) == [("all", 2)]


def test_failures_before_and_after_a_key_are_of_one_flaky_step(served: ServedHistory) -> None:
    """The first build of the commit failed without a key, and the second passed with one."""
    build(served, LINT, TESTS, state="failed")
    build(served, LINT, replace(TESTS, key="tests"))
    build(served, LINT, replace(TESTS, key="tests"), state="failed", commit="d")
    served.sync()
    assert served.rows("SELECT step, failures FROM step_failures") == [("tests", 2)]
    assert served.rows(
        "SELECT step, jobs, flaky_jobs, same_commit_flaky_jobs FROM flaky_steps"
    ) == [("tests", 3, 1, 1)]


def test_a_label_that_two_keys_share_means_neither(served: ServedHistory) -> None:
    build(served, TESTS)
    build(served, replace(TESTS, key="old"))
    build(served, replace(TESTS, key="new"))
    served.sync()
    assert attempts_by_step(served) == [(":rspec: Tests", 1), ("new", 1), ("old", 1)]


def test_a_label_with_and_without_a_key_in_one_build_is_two_steps(served: ServedHistory) -> None:
    build(served, TESTS)
    build(served, TESTS, replace(TESTS, key="tests"))
    served.sync()
    assert attempts_by_step(served) == [(":rspec: Tests", 2), ("tests", 1)]


def test_a_label_without_a_key_that_is_the_key_of_another_step_is_that_step() -> None:
    """The label `unit` has the key `fast` elsewhere; by its name it is the step `unit` already."""
    history = History()
    pipeline = history.pipeline()
    history.job(history.build(pipeline, "10:00"), "fast", name="unit")
    history.job(history.build(pipeline, "11:00"), "unit", name="Unit tests")
    history.job(history.build(pipeline, "12:00"), step_key=None, name="unit")
    history.derive("steps")
    assert history.rows("steps", "name", "step", "attempts") == [
        ("fast", "fast", 1),
        ("unit", "unit", 2),
    ]


def test_a_label_means_a_step_of_its_own_pipeline_only() -> None:
    history = History()
    web, api = history.pipeline(), history.pipeline("api")
    history.job(history.build(web, "10:00"), "tests", name="Tests")
    for pipeline in (api, None):
        history.job(history.build(pipeline, "11:00"), step_key=None, name="Tests")
    history.derive("step_daily")
    assert sorted(history.rows("step_daily", "step")) == ["Tests", "Tests", "tests"]


def test_a_step_of_an_unknown_pipeline_gains_a_key_too() -> None:
    history = History()
    history.job(history.build(None, "10:00"), step_key=None, name="Tests")
    history.job(history.build(None, "11:00"), "tests", name="Tests")
    history.derive("step_daily")
    assert history.rows("step_daily", "step", "attempts") == [("tests", 2)]


def test_jobs_without_any_name_are_no_step_with_a_key() -> None:
    history = History()
    pipeline = history.pipeline()
    history.job(history.build(pipeline, "10:00"), step_key=None)
    history.job(history.build(pipeline, "11:00"), "tests")
    history.derive("steps")
    assert history.rows("steps", "name", "step") == [
        ("(unnamed)", "(unnamed)"),
        ("tests", "tests"),
    ]


def test_a_label_that_changes_between_attempts_leaves_the_job_what_it_was(
    served: ServedHistory,
) -> None:
    """`buildkite-agent step update label` changes it while the step runs."""
    first = build(served, TESTS, state="failed").jobs[0]
    again = served.acme.retry_job(first)
    again.step = replace(TESTS, name=":rspec: 3 failures")
    served.acme.start_job(again)
    served.acme.finish_job(again)
    served.acme.finish_build(first.build)
    served.sync()
    assert served.rows("SELECT step, label FROM job_runs ORDER BY attempt_no") == [
        (":rspec: Tests", ":rspec: Tests"),
        (":rspec: Tests", ":rspec: 3 failures"),
    ]
    assert served.rows("SELECT step, flaky_jobs FROM flaky_steps") == [(":rspec: Tests", 1)]


# Rules


@pytest.mark.parametrize("rule", ["ship", ":ship: Ship", ":rocket: Ship", "*Ship"])
def test_a_rule_fits_a_step_by_any_name_that_it_ever_had(served: ServedHistory, rule: str) -> None:
    served.rules = Rules(deployments=(Deployment("production", "web", step=rule),))
    ship = Step("script", name=":ship: Ship", command="bin/ship")
    build(served, LINT, ship)
    build(served, LINT, replace(ship, key="ship"))
    build(served, LINT, replace(ship, key="ship", name=":rocket: Ship"))
    build(served, LINT)
    served.sync()
    assert served.rows("SELECT number FROM deployments ORDER BY 1") == [1, 2, 3]


def test_a_rule_fits_one_job_of_a_matrix_by_the_label_that_buildkite_shows(
    served: ServedHistory,
) -> None:
    served.rules = Rules(deployments=(Deployment("eu", "web", step="Ship eu"),))
    ships = [
        Step("script", name="Ship {{matrix.region}}", command="bin/ship", matrix={"region": region})
        for region in ("eu", "us")
    ]
    build(served, *ships, state="failed")  # the last job fails: us
    served.sync()
    assert served.rows("SELECT environment, is_success FROM deployments") == [("eu", True)]


# Shards and matrices


def test_shards_are_one_step_however_many_there_are(served: ServedHistory) -> None:
    step = replace(TESTS, name=":rspec: %N of %t")
    build(served, *sharded(step, 2), LINT)
    build(served, *sharded(step, 3), LINT)
    build(served, *sharded(replace(step, key="rspec"), 3), LINT)
    served.sync()
    assert attempts_by_step(served) == [("Lint", 3), ("rspec", 8)]
    assert served.rows(
        "SELECT step, label, shard_index, shard_total, logical_job_key FROM job_runs "
        "JOIN builds USING (build_id) WHERE number = 1 ORDER BY ALL"
    ) == [
        (":rspec: %n of %t", ":rspec: 1 of 2", 0, 2, ":rspec: %n of %t · 1 of 2"),
        (":rspec: %n of %t", ":rspec: 2 of 2", 1, 2, ":rspec: %n of %t · 2 of 2"),
        ("Lint", "Lint", None, None, "Lint"),
    ]


def test_a_shard_of_another_split_does_not_show_that_one_is_flaky(served: ServedHistory) -> None:
    """The second of 2 shards failed; the second of 3 passed, but has other tests to run."""
    build(served, *sharded(TESTS, 2), state="failed")
    build(served, *sharded(TESTS, 3))
    served.sync()
    assert served.rows("FROM flaky_steps") == []


@pytest.mark.parametrize("has_step_id", [True, False])
def test_only_the_numbers_of_the_shard_leave_the_label(*, has_step_id: bool) -> None:
    """Other numbers stay, also those that the number of some shard or the total is."""
    labels = {
        "Tests %N/%t": "Tests %n/%t",
        "Tests: %n": "Tests: %n",
        ":rspec: %n of %t": ":rspec: %n of %t",
        "Test (shard %N)": "Test (shard %n)",
        "%N/%t Tests": "%n/%t Tests",
        "%N/%t": "%n/%t",
        "rspec-%N": "rspec-%n",
        "Tests %N OUT OF %t": "Tests %n OUT OF %t",
        "Shard %N (%N of %t)": "Shard %n (%n of %t)",
        "All tests": "All tests",
        "Python 3 tests %N/%t": "Python 3 tests %n/%t",
        "Phase 1: %n of %t": "Phase 1: %n of %t",
        "%N/%t on Node 4": "%n/%t on Node 4",
        "Tests %N, 5 retries, v13": "Tests %n, 5 retries, v13",
    }
    history = History()
    pipeline = history.pipeline()
    for total in (4, 5, 12):
        build_id = history.build(pipeline, "10:00")
        for step_no, label in enumerate(labels):
            for n in range(total):
                history.job(
                    build_id,
                    step_key=None,
                    step_id=UUID(int=step_no) if has_step_id else None,
                    name=shown(label, n, total),
                    command=label,
                    parallel_group_index=n,
                    parallel_group_total=total,
                )
    history.derive("job_runs")
    assert (
        dict(
            history.connection.execute(
                "SELECT DISTINCT command, step FROM job_runs JOIN jobs USING (job_id)"
            ).fetchall()
        )
        == labels
    )


def test_a_single_shard_has_the_label_that_several_have() -> None:
    history = History()
    build_id = history.build(history.pipeline(), "10:00")
    for label in ("One 1/1", "Zero 0/1", "Tests on 3"):
        history.job(
            build_id, step_key=None, name=label, parallel_group_index=0, parallel_group_total=1
        )
    history.derive("job_runs")
    assert history.rows("job_runs", "step") == ["One %n/%t", "Zero %n/%t", "Tests on 3"]


def test_numbers_that_a_pipeline_writes_itself_are_names(served: ServedHistory) -> None:
    """Neither the generated `Tests 1` and `Tests 2` nor versions of Python are shards."""
    steps = [
        Step("script", name=name, command="bin/rspec")
        for name in ("Python 2", "Python 3", "Tests 1", "Tests 2")
    ]
    build(served, *steps)
    served.sync()
    assert attempts_by_step(served) == [(str(step.name), 1) for step in steps]


def test_parallel_steps_that_differ_by_a_version_stay_two(served: ServedHistory) -> None:
    """Each has as many shards as its version says, and no key."""
    for _ in range(2):
        build(served, *(
            step
            for version in (2, 3)
            for step in sharded(replace(TESTS, name=f"Python {version}: %N/%t"), version)
        ))  # fmt: skip
    served.sync()
    assert attempts_by_step(served) == [("Python 2: %n/%t", 4), ("Python 3: %n/%t", 6)]


def test_the_jobs_of_a_matrix_are_one_step_with_variants(served: ServedHistory) -> None:
    build(served, *(
        Step(
            "script", name="Smoke {{matrix.os}} 3 {{matrix.python}}", command="bin/smoke",
            matrix={"os": os, "python": python},
        )
        for os in ("linux", "mac")
        for python in ("3.11", "3.14", "3")
    ))  # fmt: skip
    served.sync()
    assert attempts_by_step(served) == [
        ("Smoke {{matrix.os}} {{matrix.python}} {{matrix.python}}", 6)
    ]
    assert served.rows("SELECT count(DISTINCT logical_job_key) FROM job_runs") == [6]


def test_a_value_of_a_matrix_is_replaced_in_whatever_form_it_comes() -> None:
    history = History()
    build_id = history.build(history.pipeline(), "10:00")
    expected = {
        '"linux"': "a {{matrix}}",
        '{"":"linux"}': "a {{matrix}}",
        '{"os":"linux"}': "a {{matrix.os}}",
        '{"n":3,"on":true,"x":null,"y":[1],"z":"","os":"linux"}': "a {{matrix.os}}",
        '{"os":"lin"}': "a linux",
        r'{"o\\1s\\":"linux"}': r"a {{matrix.o\1s\}}",
        f'{{"os":"{"x" * 1_000_000}"}}': "a linux",
        "[]": "a linux",
        "null": "a linux",
    }
    for matrix in expected:
        history.job(build_id, step_key=None, name="a linux", matrix=matrix)
        history.job(build_id, step_key=None, command="a linux", matrix=matrix)
    history.derive("job_runs")
    assert history.rows("job_runs", "step") == [
        step for step in expected.values() for _ in range(2)
    ]


# Balance


def test_the_balance_of_shards_is_told_by_build_and_step(served: ServedHistory) -> None:
    """Shards of 100, 400 and 100 s: mean 200, so that 200 s could be saved.

    The fourth was canceled and stands for nothing; a failed attempt that was retried neither.
    """
    running = served.acme.create_build(
        "web", state="scheduled", jobs=[*sharded(TESTS, 4), LINT], created_at=served.clock()
    )
    at = served.clock() + timedelta(seconds=60)
    served.clock.move(hours=1)
    for job, seconds in zip(running.jobs, (700, 400, 100, 50, 900), strict=True):
        served.acme.start_job(job, at=at)
        state = {700: "failed", 50: "canceled"}.get(seconds, "passed")
        served.acme.finish_job(job, state, at=at + timedelta(seconds=seconds))
    again = served.acme.retry_job(running.jobs[0], at=at + timedelta(seconds=800))
    served.acme.start_job(again, at=at + timedelta(seconds=800))
    served.acme.finish_job(again, at=at + timedelta(seconds=900))
    served.acme.finish_build(running)
    served.sync()
    assert served.rows(
        "SELECT step, shard_total, shards, longest_shard_index, longest_run_seconds, "
        "median_run_seconds, shortest_run_seconds, imbalance, imbalance_seconds FROM shard_balance"
    ) == [(":rspec: Tests", 4, 3, 1, 400, 100, 100, 2.0, 200)]


def test_shards_that_took_no_time_have_no_imbalance() -> None:
    history = History()
    build_id = history.build(history.pipeline(), "10:00")
    for n in range(2):
        history.job(
            build_id, "t", "10:00", "10:00", "10:00", parallel_group_index=n, parallel_group_total=2
        )
    history.derive("shard_balance")
    assert history.rows(
        "shard_balance", "longest_shard_index", "imbalance", "imbalance_seconds"
    ) == [(0, None, 0)]

"""Which builds are verdicts: those that passed or failed, and did more than set themselves up."""

from typing import Any

import pytest

from buildkite_assets.rules import Rules, Verdicts

from .history import History

UPLOAD = "buildkite-agent pipeline upload"


def is_verdict(history: History) -> list[Any]:
    return history.derive("build_runs").rows("build_runs", "is_verdict")


@pytest.mark.parametrize(
    ("command", "is_setup"),
    [
        (UPLOAD, True),
        (f"{UPLOAD} .buildkite/pipeline.yml --replace\n", True),
        (f"cd ci\n./generate.sh | {UPLOAD}", True),
        (f"make test && {UPLOAD}", False),
        (f"{UPLOAD}\nmake test", False),
        ("make test", False),
        ("", False),
        (None, False),
    ],
)
def test_a_job_whose_last_line_uploads_a_pipeline_is_setup(
    command: str | None, *, is_setup: bool
) -> None:
    history = History()
    build = history.build(history.pipeline(), "10:00")
    history.job(build, "first", "10:00", "10:00", "10:01", command=command)
    assert is_verdict(history) == [not is_setup]
    assert history.rows("job_runs", "is_setup") == [is_setup]


def test_only_a_passed_build_in_which_nothing_else_ran_is_no_verdict() -> None:
    """A job that never ran tests nothing; a step that triggered a build does more than set up."""
    history = History()
    pipeline = history.pipeline()
    for state in ("passed", "failed", "canceled", "running", "not_run"):
        build = history.build(pipeline, "10:00", state)
        history.job(build, "upload", "10:00", "10:00", "10:01", command=UPLOAD)
        history.job(build, "windows", state="broken", command="make test")
    tested = history.build(pipeline, "10:00")
    history.job(tested, "upload", "10:00", "10:00", "10:01", command=UPLOAD)
    history.job(tested, "test", "10:01", "10:01", "10:02", command="make test")
    parent = history.build(pipeline, "10:00")
    history.job(parent, "upload", "10:00", "10:00", "10:01", command=UPLOAD)
    history.job(parent, "deploy", type="trigger", triggered_build_id=tested)
    history.build(pipeline, "10:00")  # no job is known
    expected = [False, True, False, False, False, True, True, True]
    assert is_verdict(history) == expected


def test_the_rules_say_which_jobs_are_setup() -> None:
    history = History(Rules(verdicts=Verdicts(("./plan*",), (":pipeline:*", "plan"))))
    pipeline = history.pipeline()
    for step, command in (
        ("a", "./plan --all"),
        (":pipeline: Upload", ""),
        ("plan", "x"),
        ("upload", UPLOAD),
    ):
        build = history.build(pipeline, "10:00")
        history.job(build, step, "10:00", "10:00", "10:01", command=command)
    assert is_verdict(history) == [False, False, False, True]

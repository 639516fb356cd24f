"""The README: what it points to is there, and what it shows can be run."""

import re
from pathlib import Path
from statistics import quantiles

import pytest

from buildkite_assets.buildkite import errors
from buildkite_assets.warehouse import connect

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n|^\n(?=    ))+", TEXT, re.MULTILINE)
QUERIES = [
    query
    for block in BLOCKS
    if "SELECT" in block and "con." not in block
    for query in re.split(r";.*\n?", block)
    if query.strip()
]


def test_every_file_that_it_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_every_heading_that_it_points_to_is_there() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_runs(query: str, month_file: Path) -> None:
    with connect(month_file) as connection:
        some_pipeline = "(SELECT any_value(pipeline_id) FROM pipelines)"
        assert connection.execute(query.replace("?", some_pipeline)).fetchall() is not None


def test_waits_over_a_week_are_percentiles_of_its_jobs(month_file: Path) -> None:
    [query] = [query for query in QUERIES if "quantile_cont(queue_seconds" in query]
    waits: dict[str, list[float]] = {}
    with connect(month_file) as connection:
        rows = connection.execute(query).fetchall()
        for queue, seconds in connection.execute(
            "SELECT queue, queue_seconds FROM job_runs WHERE day > '2025-11-13'"
        ).fetchall():
            waits.setdefault(queue, []).extend([] if seconds is None else [seconds])
    assert {"macos", "Linux / default"} < {queue for queue, _, _ in rows}
    assert {queue: (wait, n) for queue, wait, n in rows} == {
        queue: (pytest.approx(quantiles(seconds, n=10, method="inclusive")[-1]), len(seconds))
        for queue, seconds in waits.items()
    }


def test_every_code_of_an_error_is_told_of() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {code for each in classes if (code := getattr(each, "code", None))}
    assert len(codes) > 4
    assert {code for code in codes if f"| `{code}` |" not in TEXT} == set()

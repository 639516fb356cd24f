"""The traps of Buildkite's data and of DuckDB that would make a figure wrong; each has its tests.

A test that holds one of them names it in its docstring, as in `Trap 9: …` or `(traps 6 to 8)`.
"""

import ast
import re
from pathlib import Path

TRAPS = {
    1: "The filter `state=finished` leaves out skipped and not_run builds.",
    2: "Builds that never ran have no start, skipped ones perhaps no end.",
    3: "A retry or an unblock reopens a build and moves its start and end.",
    4: "There is no `updated_at`: what changed must be asked for in several ways.",
    5: "Attempts are left out unless `include_retried_jobs` is sent.",
    6: "Waiters have no times and always pass.",
    7: "A trigger step may stay running for ever.",
    8: "A trigger lasts as long as the build that it started, whose agents count once.",
    9: "A soft failure is a failed job of a passed build.",
    10: "A blocked build reports the state before the block.",
    11: "A build that is canceled for a newer one leaves its trigger step skipped.",
    12: "A rebuild copies the commit.",
    13: "Merge queues build branches of their own.",
    14: "A retry's attempt is created later than its build, and may be scheduled before.",
    15: "Some instants are `2013-09-03 13:24:38 UTC`, others ISO 8601.",
    16: "Builds belong to UTC days, reports are of local days.",
    17: "Weeks are ISO weeks, across the year's end too.",
    18: "`date_diff` counts boundaries, not time: two seconds may be a minute.",
    19: "Percentiles of an INTERVAL are refused: durations are numbers of seconds.",
    20: "Canceled jobs that ran cost agents and lengthen the build.",
    21: "A default branch may be missing, or renamed.",
    22: "Retention and deletion remove builds from Buildkite, never from history.",
    23: "`include_paused=false` leaves out builds.",
    24: "Slugs are renamed and reused.",
    25: "Parallel and matrix jobs share their step's key.",
    26: "The sum of the jobs' waits is not how long anybody waited.",
}

_NAMED = re.compile(r"\btraps? (\d+)(?: (and|to) (\d+))?", re.IGNORECASE)


def traps_named(docstring: str) -> set[int]:
    """The numbers that a docstring names."""
    named: set[int] = set()
    for first, between, last in _NAMED.findall(docstring):
        numbers = {int(first), int(last or first)}
        named |= set(range(min(numbers), max(numbers) + 1)) if between == "to" else numbers
    return named


def test_each_trap_has_a_test_that_names_it() -> None:
    named: set[int] = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                named |= traps_named(ast.get_docstring(node) or "")
    assert named == set(TRAPS)


def test_traps_are_named_alone_in_pairs_and_in_ranges() -> None:
    assert traps_named("It ended (trap" + " 9).") == {9}
    assert traps_named("Traps" + " 1 and 12: such") == {1, 12}
    assert traps_named("Traps" + " 6 to 8: such") == {6, 7, 8}

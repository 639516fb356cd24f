"""Numbers in words."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkite_assets.report.wording import age, cell, count, duration, money, percent

NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as the tables have them


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "—"),
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (252, "4 min 12 s"),
        (3599.6, "1 h 0 min"),
        (86_370, "1 d 0 h"),
        (190_800, "2 d 5 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@given(st.floats(0, 1e9))
def test_a_duration_in_words_is_off_by_half_its_smallest_unit_at_most(seconds: float) -> None:
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = duration(seconds).split()
    told = sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    smallest = 0.1 if "." in words[0] else units[words[-1]]
    assert abs(told - seconds) <= smallest / 2 + 1e-6


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("success_rate", 0.9342, "93.4 %"),
        ("success_rate", None, "—"),
        ("builds", 1203, "1,203"),
        ("builds", 0, "0"),
        ("breaking_number", 273521, "273521"),
        ("agent_hours", 12.345, "12.3"),
        ("red_seconds", 7200.0, "2 h 0 min"),
        ("is_red", False, "no"),
        ("red_at", NOON, "2026-03-01 12:00"),
        ("week", date(2026, 3, 2), "2026-03-02"),
        ("step", "<b>", "<b>"),
        ("step", "\x1b[31m a\r\nb", "\ufffd[31m a b"),
        ("step", "x" * 100_000, "x" * 1000 + "…"),
    ],
)
def test_a_cell_is_told_by_the_unit_in_its_columns_name(
    column: str, value: object, words: str
) -> None:
    assert cell(column, value) == words


def test_counts_shares_amounts_and_ages() -> None:
    assert [count(1, "build"), count(0, "build"), count(1203, "passed build")] == [
        "1 build",
        "0 builds",
        "1,203 passed builds",
    ]
    assert [percent(0), percent(1), percent(None)] == ["0.0 %", "100.0 %", "—"]
    assert [money(None, "USD"), money(1.5, "EUR"), money(1290.7, "USD")] == [
        "—",
        "1.50 EUR",
        "1,291 USD",
    ]
    assert age(NOON, NOON + timedelta(minutes=3)) == "3 min 0 s ago"
    # A clock that is behind makes nothing younger than new.
    assert age(NOON, NOON - timedelta(minutes=3)) == "0 s ago"

"""The rules file: what it may say, and how it fails."""

import re
from datetime import date
from pathlib import Path

import pytest

from buildkite_assets.demo import RULES
from buildkite_assets.rules import (
    FreshnessHours,
    Infrastructure,
    Price,
    Rules,
    RulesError,
    WorkingHours,
    read_rules,
)
from buildkite_assets.settings import Settings, SettingsError

TEXT = """\
time_zone = "Europe/Berlin"

[working_hours]
days = ["Mon", "Sat"]
begin = "08:30"
holidays = [2026-12-25]

[[prices]]
queue = "macos"
per_minute = 0.08

[[prices]]
tag = "os=linux"
per_minute = 1

[[infrastructure]]
exit_statuses = [125, 137]
queue = "gpu-*"

[verdicts]
setup_steps = ["plan"]

[branch_health]
ignored_sources = ["schedule"]

[access]
dormant_days = 30

[freshness_hours]
builds = 3
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return path


def test_rules_are_read_and_what_is_not_said_has_defaults(tmp_path: Path) -> None:
    rules = read_rules(written(tmp_path, TEXT))
    assert rules.time_zone == "Europe/Berlin"
    assert rules.currency == "USD"
    assert rules.working_hours == WorkingHours(
        ("Mon", "Sat"), "08:30", "17:00", (date(2026, 12, 25),)
    )
    assert rules.prices == (Price(0.08, queue="macos"), Price(1, tag="os=linux"))
    assert rules.infrastructure == (Infrastructure((125, 137), queue="gpu-*", step="*"),)
    assert rules.parameters()["working_days"] == [1, 6]
    assert rules.parameters()["dormant_days"] == 30
    assert rules.parameters()["most_administrators"] == 5
    assert rules.parameters()["setup_steps"] == ["plan"]
    assert rules.parameters()["ignored_sources"] == ["schedule"]
    assert rules.parameters()["setup_commands"] == Rules().parameters()["setup_commands"]
    assert Rules().parameters()["dormant_days"] == 90
    assert rules.freshness_hours == FreshnessHours(catalog=26, builds=3, access=26)


def test_a_price_names_a_queue_a_cluster_or_both(tmp_path: Path) -> None:
    prices = """
        prices = [
            {per_minute = 3, queue = "default", cluster = "Mac"},
            {per_minute = 2, cluster = "Mac"},
            {per_minute = 1, queue = "default"},
        ]
    """
    assert read_rules(written(tmp_path, prices)).prices == (
        Price(3, queue="default", cluster="Mac"),
        Price(2, cluster="Mac"),
        Price(1, queue="default"),
    )


@pytest.mark.parametrize(
    ("right", "wrong", "line", "reason"),
    [
        ("Europe/Berlin", "Mars/Olympus", 1, "not a known time zone"),
        ('days = ["Mon", "Sat"]', 'days = ["Mon", "Sonntag"]', 4, "Sonntag"),
        ('begin = "08:30"', 'begin = "8:30"', 5, "regex"),
        ('begin = "08:30"', 'begin = "18:30"', 3, "must be before"),
        ("[2026-12-25]", '["Christmas"]', 6, "date"),
        ("per_minute = 1\n", 'per_minute = "much"\n', 14, "float"),
        ("per_minute = 1\n", "per_minute = -1\n", 14, ">= 0"),
        ("per_minute = 1\n", "price = 1\n", 14, "unknown field `price`"),
        ("per_minute = 1\n", "", 12, "missing required field `per_minute`"),
        ('tag = "os=linux"\n', "", 12, "exactly one"),
        ('tag = "os=linux"', 'tag = "os=linux"\nqueue = "linux"', 12, "exactly one"),
        ('tag = "os=linux"', 'tag = "os=linux"\ncluster = "Linux"', 12, "exactly one"),
        ('queue = "macos"', 'queue = "macos"\ncluster = ""', 10, "length >= 1"),
        ('queue = "macos"', 'queue = "macos"\ncluster = 3', 10, "str"),
        ("exit_statuses = [125, 137]", "exit_statuses = []", 17, "length >= 1"),
        ("exit_statuses = [125, 137]", 'exit_statuses = ["137"]', 17, "int"),
        ("exit_statuses = [125, 137]\n", "", 16, "missing required field `exit_statuses`"),
        ('queue = "gpu-*"', 'pool = "gpu-*"', 18, "unknown field `pool`"),
        ('["plan"]', '["plan", ""]', 21, ">= 1"),
        ('["schedule"]', '["nightly"]', 24, "nightly"),
        ("dormant_days = 30", "dormant_days = 0", 27, ">= 1"),
        ('tag = "os=linux"', "tag = os=linux", 13, "Invalid value"),
        ("per_minute = 1\n", "per_minute = ", 14, "Invalid value"),
        ("builds = 3", "builds = 0", 30, ">= 1"),
        ("builds = 3", "builds = 9999999", 30, "<= 8784"),
        ("builds = 3", "builds = 1.5", 30, "int"),
        ("builds = 3", "builds = inf", 30, "int"),
        ("builds = 3", 'builds = "a day"', 30, "int"),
        ("builds = 3", "jobs = 3", 30, "unknown field `jobs`"),
        ("[freshness_hours]", "[freshness_days]", 29, "unknown field `freshness_days`"),
    ],
)
def test_a_wrong_rule_is_told_in_one_line_with_its_place(
    tmp_path: Path, right: str, wrong: str, line: int, reason: str
) -> None:
    assert TEXT.count(right) == 1
    path = written(tmp_path, TEXT.replace(right, wrong))
    with pytest.raises(RulesError, match=rf"{re.escape(str(path))}:{line}: .*{reason}") as told:
        read_rules(path)
    assert "\n" not in str(told.value)


def test_a_wrong_rule_stops_at_start(tmp_path: Path) -> None:
    path = written(tmp_path, "time_zone = 3")
    with pytest.raises(SettingsError, match=r"rules\.toml:1: Expected `str`, got `int`"):
        Settings.from_environment({"BUILDKITE_RULES": str(path)})


def test_a_rules_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: cannot be read"):
        Settings.from_environment({"BUILDKITE_RULES": str(tmp_path / "nowhere.toml")})
    assert Settings.from_environment({}).rules == Rules()


def test_the_example_is_a_right_one() -> None:
    assert read_rules(RULES).time_zone == "Europe/Berlin"

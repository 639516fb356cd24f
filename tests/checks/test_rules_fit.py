"""Rules of the rules file that fit nothing, told by a check and by `buildkite-assets check`."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import dagster as dg
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkite_assets.checks.check import Evidence
from buildkite_assets.checks.rules_fit import rules_fit_checks
from buildkite_assets.demo import RULES
from buildkite_assets.rules import (
    Deployment,
    Infrastructure,
    Price,
    Rules,
    Verdicts,
    as_plain_pattern,
)
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse.rule_fits import RULED_TABLES, RuleFit, Status, rule_fits
from tests.derived.history import DAY, History
from tests.syncing import command_here, empty_sandbox, environment

from .evaluating import is_evaluated, metadata, organization, read_days

GLOBEX = UUID(int=2)
LOOKED_UP = ("build_runs", "job_runs", "steps")


def shipping() -> History:
    """A pipeline that ships on a queue of the cluster Apple, and one that was never built."""
    history = History()
    organization(history)
    read_days(history, DAY, DAY)
    history.pipeline("idle")
    apple = history.cluster("Apple")
    macos = history.queue("macos", apple)
    history.queue("spare", apple)
    web = history.pipeline("web")
    build = history.build(web, "10:00", "passed", branch="main", cluster_id=apple)
    history.job(
        build,
        "ship-key",
        "10:00",
        "10:01",
        "10:02",
        name="[prod] ship",
        command="make\nship --all",
        queue_id=macos,
        cluster_id=apple,
        agent_meta_data=["os=mac"],
    )
    return history.derive(*LOOKED_UP)


@pytest.fixture(scope="module")
def history() -> History:
    """Return what tests only read."""
    return shipping()


def only(history: History, rules: Rules, *wanted: str) -> RuleFit:
    """What is known of the one rule."""
    [fit] = rule_fits(history.connection, rules, wanted)
    return fit


def deployment(pipeline: str = "web", step: str = "*", branch: str = "*") -> Rules:
    return Rules(deployments=(Deployment("production", pipeline, None, step, branch),))


def price(queue: str | None = None, cluster: str | None = None, tag: str | None = None) -> Rules:
    return Rules(prices=(Price(1, queue, cluster, tag),))


def infrastructure(queue: str = "*", step: str = "*") -> Rules:
    return Rules(infrastructure=(Infrastructure((137,), queue, step),))


def setup(command: str | None = None, step: str | None = None) -> Rules:
    commands = (*Verdicts().setup_commands, *([command] if command else []))
    return Rules(verdicts=Verdicts(commands, (step,) if step else ()))


@pytest.mark.parametrize(
    "rules",
    [
        deployment(),
        deployment("w?b", "ship-key", "ma*"),
        deployment(step="[[]prod] ship"),
        deployment("idle"),
        price("macos"),
        price("spare"),
        price("macos", "Apple"),
        price(cluster="Apple"),
        price(tag="os=mac"),
        infrastructure("mac*", "ship-*"),
        infrastructure(),
        setup(command="ship *"),
        setup(step="ship-key"),
    ],
)
def test_a_rule_that_fits_something_known_fits(rules: Rules, history: History) -> None:
    fit = only(history, rules)
    assert (fit.status, fit.message) == (Status.FITS, "")


@pytest.mark.parametrize(
    ("rules", "rule", "message"),
    [
        (
            deployment(step="[prod] ship"),
            "[[deployments]] 1",
            (
                'step = "[prod] ship" fits nothing known where pipeline = "web" fits. It is a '
                "known name, but `[`, `*`, `?` and `\\` are special in patterns: write "
                'step = "[[]prod] ship".'
            ),
        ),
        (deployment("wbe"), "[[deployments]] 1", 'pipeline = "wbe" fits nothing known.'),
        (
            deployment("web", "*ship", "trunk"),
            "[[deployments]] 1",
            'branch = "trunk" fits nothing known where pipeline = "web" and step = "*ship" fits.',
        ),
        (
            price("mac*"),
            "[[prices]] 1",
            (
                'queue = "mac*" fits nothing known. It fits as a pattern, but prices take names: '
                "write a rule for each queue."
            ),
        ),
        (
            price("macos", "Pear"),
            "[[prices]] 1",
            'cluster = "Pear" fits nothing known where queue = "macos" fits.',
        ),
        (price(tag="os=linux"), "[[prices]] 1", 'tag = "os=linux" fits nothing known.'),
        (infrastructure("gpu-*"), "[[infrastructure]] 1", 'queue = "gpu-*" fits nothing known.'),
        (
            infrastructure("macos", "train"),
            "[[infrastructure]] 1",
            'step = "train" fits nothing known where queue = "macos" fits.',
        ),
        (setup("make"), "[verdicts]", 'setup_commands = "make" fits nothing known.'),
        (setup(step="plan"), "[verdicts]", 'setup_steps = "plan" fits nothing known.'),
    ],
)
def test_a_rule_that_fits_nothing_is_told_with_the_key_at_fault(
    rules: Rules, rule: str, message: str, history: History
) -> None:
    fit = only(history, rules)
    assert (fit.rule, fit.status, fit.message) == (rule, Status.FITS_NOTHING, message)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (deployment("idle", "ship"), 'no step is known where pipeline = "idle" fits.'),
        (price("spare", None, None), ""),
        (infrastructure("spare", "x"), 'no step is known where queue = "spare" fits.'),
    ],
)
def test_what_was_never_built_says_nothing_of_its_steps(
    rules: Rules, message: str, history: History
) -> None:
    fit = only(history, rules)
    assert fit.status is (Status.NOT_EVALUATED if message else Status.FITS)
    assert fit.message == message


def test_defaults_that_nobody_has_written_are_no_rules(history: History) -> None:
    assert rule_fits(history.connection, Rules(), ()) == []


def listed_too(history: History, slug: str = "globex") -> None:
    """List a second organization whose data is not read yet."""
    history.connection.execute(
        "INSERT INTO organizations (organization_id, slug) VALUES (?, ?)", [GLOBEX, slug]
    )
    history.connection.execute("UPDATE organizations SET synced_at = '2026-11-02'")


@pytest.mark.parametrize("wanted", [(), ("acme", "globex")])
def test_a_rule_may_be_for_an_organization_that_is_not_read_yet(wanted: tuple[str, ...]) -> None:
    history = shipping()
    listed_too(history)
    fit = only(history, deployment("shop"), *wanted)
    assert fit.status is Status.NOT_EVALUATED
    assert fit.message == "the builds of globex are not collected yet."
    assert only(history, deployment("web"), *wanted).status is Status.FITS


def test_an_organization_that_is_not_synced_excuses_no_rule() -> None:
    history = shipping()
    listed_too(history)
    assert only(history, deployment("shop"), "acme").status is Status.FITS_NOTHING


def test_a_rule_fits_what_any_organization_has() -> None:
    history = shipping()
    listed_too(history)
    history.connection.execute(
        "INSERT INTO sync_days SELECT * REPLACE (?::UUID AS organization_id) FROM sync_days",
        [GLOBEX],
    )
    shop = history.pipeline("shop", organization_id=GLOBEX)
    build = history.build(shop, "11:00", organization_id=GLOBEX, pipeline_slug="shop")
    assert only(history, deployment("web", "sail")).message == (
        "the builds of globex are not collected yet."
    )
    history.job(build, "ship", organization_id=GLOBEX)
    history.derive(*LOOKED_UP)
    assert only(history, deployment("shop", "ship")).status is Status.FITS
    assert only(history, deployment("shop", "[prod] ship")).status is Status.FITS_NOTHING
    assert only(history, deployment("*", "[[]prod] ship")).status is Status.FITS


def test_clusters_that_the_token_may_not_list_are_not_evaluated() -> None:
    history = shipping()
    for table in ("clusters", "queues"):
        history.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this test
    history.derive(*LOOKED_UP)
    for rules in (price(cluster="Pear"), price("gpu"), infrastructure("gpu-*")):
        assert only(history, rules).status is Status.NOT_EVALUATED
    assert only(history, deployment("wbe")).status is Status.FITS_NOTHING


def test_before_anything_is_derived_nothing_is_evaluated() -> None:
    history = shipping()
    for name in ("steps", "job_runs"):
        history.connection.execute(f"DROP TABLE {name}")
    for rules in (deployment(), price("macos"), infrastructure("macos"), setup(step="x")):
        fit = only(history, rules)
        assert fit.status is Status.NOT_EVALUATED
        assert "buildkite-assets sync" in fit.message


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(TEXTS | st.text("[]*?\\!^-ab"), TEXTS | st.text("[]*?\\!^-ab"))
def test_a_plain_pattern_fits_its_text_and_no_other(text: str, other: str) -> None:
    fits = duckdb.execute(
        "SELECT $text GLOB $pattern, $other GLOB $pattern",
        {"text": text, "other": other, "pattern": as_plain_pattern(text)},
    )
    assert fits.fetchone() == (True, other == text)


# The checks


WRONG = """
[[deployments]]
environment = "production"
pipeline = "web"
step = "[prod] ship"

[[deployments]]
environment = "production"
pipeline = "idle"
step = "ship"

[[deployments]]
environment = "production"
pipeline = "web"

[[prices]]
queue = "macos"
per_minute = 1
"""


@pytest.fixture
def results(history: History, tmp_path: Path) -> dict[str, dg.AssetCheckResult]:
    """What the check of each table says about wrong rules."""
    (tmp_path / "rules.toml").write_text(WRONG)
    rules = {"BUILDKITE_RULES": str(tmp_path / "rules.toml")}
    session = Session(Settings.from_environment(rules))
    evidence = Evidence(session, history.connection, datetime.now(UTC))
    return {check.table.name: check.result(evidence) for check in rules_fit_checks()}


def test_a_check_warns_of_rules_that_fit_nothing(
    results: dict[str, dg.AssetCheckResult],
) -> None:
    result = results["deployments"]
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (result.description or "").startswith(
        '[[deployments]] 1: step = "[prod] ship" fits nothing known'
    )
    assert "What to do: correct the rule" in (result.description or "")
    told = metadata(result)
    assert (told["rules"], told["fit_nothing"], told["not_evaluated"]) == (3, 1, 1)
    assert "deployments" in str(told["preview"])


def test_a_check_passes_where_all_rules_fit(results: dict[str, dg.AssetCheckResult]) -> None:
    result = results["agent_cost_daily"]
    assert result.passed
    assert is_evaluated(result)
    assert result.description == "1 of 1 rules fit."


def test_a_check_without_rules_claims_nothing(results: dict[str, dg.AssetCheckResult]) -> None:
    assert not is_evaluated(results["job_runs"])


def test_a_check_never_blocks() -> None:
    assert len(rules_fit_checks()) == len(RULED_TABLES)
    assert not any(check.is_blocking for check in rules_fit_checks())


def test_a_check_of_rules_of_which_nothing_is_known_is_not_evaluated(tmp_path: Path) -> None:
    history = shipping()
    (tmp_path / "rules.toml").write_text(WRONG)
    rules = {"BUILDKITE_RULES": str(tmp_path / "rules.toml")}
    session = Session(Settings.from_environment(rules))
    history.connection.execute("DROP TABLE job_runs")
    evidence = Evidence(session, history.connection, datetime.now(UTC))
    evaluated = {check.table.name: check.result(evidence) for check in rules_fit_checks()}
    assert not is_evaluated(evaluated["deployments"])
    assert not is_evaluated(evaluated["agent_cost_daily"])


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    """Serve an organization with one pipeline."""
    with serve(empty_sandbox()[0]) as server:
        yield server


def checked(
    server: SandboxServer, warehouse: Path, folder: Path, *arguments: str, rules: str
) -> str:
    """What `check` prints, with this rules file; rules never make it fail."""
    path = folder / "rules.toml"
    path.write_text(rules)
    settings = environment(server, warehouse, BUILDKITE_RULES=str(path))
    done = command_here("check", *arguments, settings=settings, cwd=folder)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_the_command_line_lists_rules_that_fit_nothing(
    server: SandboxServer, month_file: Path, tmp_path: Path
) -> None:
    rules = json.loads(checked(server, month_file, tmp_path, "--json", rules=WRONG))["rules"]
    assert [(fit["rule"], fit["status"]) for fit in rules] == [
        ("[[deployments]] 1", "fits_nothing"),
        ("[[deployments]] 2", "fits_nothing"),
        ("[[deployments]] 3", "fits"),
        ("[[prices]] 1", "fits"),
    ]
    assert rules[1]["message"] == 'pipeline = "idle" fits nothing known.'
    odd = WRONG.replace("[prod] ship", "\\u001b[31m [/bold]")
    shown = checked(server, month_file, tmp_path, rules=odd)
    assert "2 of 4" in shown
    assert "fits nothing" in shown
    assert "\x1b" not in shown


def test_the_rules_of_the_demo_fit(server: SandboxServer, month_file: Path, tmp_path: Path) -> None:
    shown = checked(server, month_file, tmp_path, "--json", rules=RULES.read_text())
    assert {fit["status"] for fit in json.loads(shown)["rules"]} == {"fits"}


def test_rules_are_not_evaluated_before_the_first_sync(
    server: SandboxServer, tmp_path: Path
) -> None:
    shown = checked(server, tmp_path / "w.duckdb", tmp_path, "--json", rules=WRONG)
    rules = json.loads(shown)["rules"]
    assert [fit["status"] for fit in rules] == ["not_evaluated"] * 4
    assert "w.duckdb does not exist" in rules[0]["message"]


def test_without_rules_none_are_shown(
    server: SandboxServer, month_file: Path, tmp_path: Path
) -> None:
    assert "Rules" not in checked(server, month_file, tmp_path, rules="")

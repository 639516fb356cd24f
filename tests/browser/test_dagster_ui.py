"""The Dagster UI in a real browser, opened by `buildkite-assets dev`."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Page, expect

from buildkite_assets.runs import (
    prepare_home,
    run_access,
    run_builds,
    run_catalog,
    run_changes,
    run_derived,
)
from buildkite_assets.sandbox import Sandbox, serve
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from tests.syncing import command_environment, command_line, environment, without_limits

from .conftest import CHROMIUM
from .looks import SCHEMES, Scheme, assert_readable
from .serving import serving

DAYS = 6
READ_DAYS = 3
_RUN_MILLISECONDS = 180_000


@dataclass(frozen=True)
class Ui:
    """A running UI.

    Attributes:
        url: where it listens.
        first_day: the first partition.
        first_read: the first one that is in the warehouse.
    """

    url: str
    first_day: date
    first_read: date

    def asset(self, name: str, view: str) -> str:
        """The address of an asset's page."""
        return f"{self.url}/assets/buildkite/{name}?view={view}"


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI of a warehouse whose oldest days were never read, and that missed a change."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    folder = tmp_path_factory.mktemp("ui")
    home = prepare_home(folder / "home")
    sandbox = without_limits(Sandbox.company(seed=1, days=DAYS))
    today = sandbox.clock().date()
    first_day, first_read = today - timedelta(days=DAYS), today - timedelta(days=READ_DAYS)
    with serve(sandbox) as server:
        settings = environment(
            server, folder / "w.duckdb", BUILDKITE_START_DATE=first_day.isoformat()
        )
        # Dagster runs its own event loop, and the browser's occupies this thread.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_fill, sandbox, settings, home, first_read).result()
        ready = command_environment(settings, home)
        with serving(_command, "/server_info", ready, folder) as url:
            yield Ui(url, first_day, first_read)


def _fill(sandbox: Sandbox, settings: dict[str, str], home: Path, first_read: date) -> None:
    session = Session(Settings.from_environment(settings))
    today = sandbox.clock().date()
    yesterday = today - timedelta(days=1)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        run_catalog(session, instance)
        run_access(session, instance)
        run_builds(session, instance, first_read, today, full=False)
        run_changes(session, instance)
        _change_unnoticed(sandbox, yesterday)
        run_builds(session, instance, yesterday, yesterday, full=True)
        run_changes(session, instance)
        run_derived(session, instance)


def _change_unnoticed(sandbox: Sandbox, day: date) -> None:
    """Change a finished build in a way that none of Buildkite's lists tells."""
    acme = sandbox.organization("acme")
    passed = (b for b in acme.builds if b.state == "passed" and b.created_at.date() == day)
    acme.set_meta_data(next(passed), "release", "7")


def _command(port: int) -> list[str]:
    return command_line("dev", "--port", str(port))


def test_the_graph_shows_every_group_without_an_error(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/asset-groups")
    for group in ("catalog", "builds", "access", "build_details", "access_review", "metrics"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()


def test_a_range_of_partitions_is_backfilled_and_turns_green(ui: Ui, page: Page) -> None:
    missing = (ui.first_read - ui.first_day).days
    page.goto(ui.asset("builds", "partitions"))
    expect(page.get_by_text(f"Missing ({missing})")).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Confirm").click()  # builds come with their jobs
    dialog = page.get_by_role("dialog")
    last = ui.first_read - timedelta(days=1)
    days = dialog.get_by_role("textbox")  # whose placeholder may change while it is filled in
    expect(days).to_have_attribute("placeholder", "No matching partitions")
    days.fill(f"[{ui.first_day}...{last}]")
    days.press("Enter")
    expect(dialog.get_by_text(f"{missing} partitions")).to_be_visible()
    dialog.get_by_role("button", name="Launch backfill").click()
    materialized = page.get_by_text(f"Materialized ({DAYS + 1})")
    expect(materialized).to_be_visible(timeout=_RUN_MILLISECONDS)
    expect(page.get_by_text("Failed (0)")).to_be_visible()


def test_a_failed_check_is_red_and_says_why(ui: Ui, page: Page) -> None:
    page.goto(ui.asset("late_changes", "checks"))
    expect(page.get_by_text("Failed").first).to_be_visible()
    icon = page.get_by_role("img", name="cancel").first
    colour = icon.evaluate("icon => getComputedStyle(icon).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    assert red > 2 * max(green, blue)
    page.get_by_text("[Show Markdown]").first.click()
    expect(page.get_by_role("dialog").get_by_text("meta_data")).to_be_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_plot_shows_on_its_asset(ui: Ui, page: Page, scheme: Scheme) -> None:
    page.add_init_script(f"localStorage.setItem('dagster-theme', '\"{scheme.capitalize()}\"')")
    page.goto(ui.asset("branch_incidents", "overview"))
    page.get_by_role("row", name="main_strip").get_by_text("[Show Markdown]").click()
    picture = page.get_by_role("dialog").get_by_role("img", name="main_strip")
    expect(picture).to_be_visible()
    assert picture.evaluate("picture => picture.naturalWidth") > 300
    assert_readable(page, scheme)

"""Plots on assets: pictures in the events of real runs, and what happens when one fails."""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from shutil import copyfile

import altair as alt
import dagster as dg
import polars as pl
import pytest
from filelock import FileLock
from PIL import Image

from buildkite_assets.assets import plots
from buildkite_assets.assets.plots import PLOTS
from buildkite_assets.assets.specs import PREFIX
from buildkite_assets.definitions import definitions
from buildkite_assets.demo import RULES
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.figures import Figure, webp
from buildkite_assets.figures.theme import finished
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.warehouse import Connection

_PICTURE = re.compile(r"!\[(?P<name>\w+)\]\(data:image/webp;base64,(?P<bytes>[\w+/=]+)\)")


@pytest.fixture
def session(month_file: Path, tmp_path: Path) -> Session:
    """A warehouse of its own with the sandbox's month in it."""
    warehouse = tmp_path / "acme.duckdb"
    copyfile(month_file, warehouse)
    return Session(
        Settings.from_environment(
            {"BUILDKITE_WAREHOUSE": str(warehouse), "BUILDKITE_RULES": str(RULES)}
        )
    )


def materialize(
    session: Session, instance: dg.DagsterInstance, *tables: str
) -> dict[str, dg.AssetMaterialization]:
    """Recompute these tables; what the events say of each."""
    job = definitions(session).resolve_job_def("derived_whole_job")
    result = job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey([PREFIX, table]) for table in tables]
    )
    events = result.get_asset_materialization_events()
    return {event.materialization.asset_key.path[-1]: event.materialization for event in events}


def warnings(instance: dg.DagsterInstance) -> list[str]:
    [run] = instance.get_runs()
    return [entry.message for entry in instance.all_logs(run.run_id) if entry.level == 30]


def test_plots_are_small_pictures_in_the_events_of_their_assets(session: Session) -> None:
    """They are stored with each event, three times over: few kilobytes each."""
    with dg.DagsterInstance.ephemeral() as instance:
        events = materialize(session, instance, *PLOTS)
        assert warnings(instance) == []
    assert events.keys() == PLOTS.keys()
    for table, figures in PLOTS.items():
        for figure in figures:
            value = events[table].metadata[figure.__name__]
            assert isinstance(value, dg.MarkdownMetadataValue)
            match = _PICTURE.fullmatch(value.value or "")
            assert match
            assert match["name"] == figure.__name__
            content = b64decode(match["bytes"])
            picture = Image.open(BytesIO(content))
            assert picture.format == "WEBP"
            assert 500 < picture.width < 800
            assert len(content) < 25_000


def test_plots_are_those_of_tables_that_are_recomputed_whole() -> None:
    assert PLOTS.keys() <= {table.name for table in derived_tables() if not table.is_daily}


def test_a_plot_that_cannot_be_drawn_costs_a_warning_and_nothing_else(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_a_column_that_is_not_there(connection: Connection) -> Figure:
        connection.sql("SELECT colour FROM branch_incidents")
        raise AssertionError

    (strip,) = PLOTS["branch_incidents"]
    monkeypatch.setitem(PLOTS, "branch_incidents", (of_a_column_that_is_not_there, strip))
    with dg.DagsterInstance.ephemeral() as instance:
        events = materialize(session, instance, "branch_incidents", "flaky_steps")
        [warning] = warnings(instance)
    assert "of_a_column_that_is_not_there could not be drawn" in warning
    assert "BinderException" in warning
    assert "colour" in warning
    metadata = events["branch_incidents"].metadata
    assert metadata.keys() == {"dagster/row_count", "preview", strip.__name__}
    assert events.keys() == {"branch_incidents", "flaky_steps"}


def test_a_plot_that_aborts_its_renderer_costs_a_warning_and_nothing_else(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_an_escape(_: Connection) -> Figure:
        rows = pl.DataFrame({"label": ["\x1b"]})
        return finished(alt.Chart(rows).mark_text().encode(text="label:N"), "One row", "")

    (strip,) = PLOTS["branch_incidents"]
    monkeypatch.setitem(PLOTS, "branch_incidents", (of_an_escape, strip))
    with dg.DagsterInstance.ephemeral() as instance:
        events = materialize(session, instance, "branch_incidents")
        [warning] = warnings(instance)
    assert "of_an_escape could not be drawn" in warning
    assert "RenderError" in warning
    assert strip.__name__ in events["branch_incidents"].metadata


def test_nobody_waits_for_the_warehouse_while_a_plot_is_drawn(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(session.warehouse.folder / "lock")
    drawn = []

    def drawn_while_another_writes(figure: Figure) -> bytes:
        with lock.acquire(timeout=0):
            drawn.append(figure)
        return webp(figure)

    monkeypatch.setattr(plots, "webp", drawn_while_another_writes)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(session, instance, "branch_incidents")
        assert warnings(instance) == []
    assert len(drawn) == len(PLOTS["branch_incidents"])

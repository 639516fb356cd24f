"""CI health: how builds do, what they wait for and cost, and which steps get in the way."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="CI health")

with app.setup:
    from datetime import UTC, datetime

    import marimo as mo
    from showing import cards, options, plot, table

    from buildkite_assets.report import ci_health
    from buildkite_assets.report.freshness import freshness, lagging_tables
    from buildkite_assets.report.headlines import headlines
    from buildkite_assets.report.opening import is_invented, opened, settings_to_show
    from buildkite_assets.report.scope import known_pipelines, narrow, newest_days
    from buildkite_assets.settings import SettingsError
    from buildkite_assets.warehouse import WarehouseError


@app.cell
def _():
    mo.md("""
    # CI health
    """)
    return


@app.cell
def _():
    read_again = mo.ui.button(label="Read the newest publication")
    read_again
    return (read_again,)


@app.cell
def _(read_again):
    read_again.value
    try:
        settings = settings_to_show()
        with opened(settings) as whole:
            current = freshness(whole)
            lagging = lagging_tables(whole, settings.rules.parameters())
            pipelines = {each.label: each for each in known_pipelines(whole)}
        trouble = None
    except (SettingsError, WarehouseError) as error:
        trouble = str(error)
    mo.stop(trouble is not None, mo.callout(trouble, kind="danger"))
    return current, lagging, pipelines, settings


@app.cell
def _(current, lagging, settings):
    now = datetime.now(UTC).replace(tzinfo=None)
    told = [mo.md(each.sentence(now)) for each in current]
    if not told:
        told = [mo.md("No organization was synced yet.")]
    if is_invented(settings):
        told.append(
            mo.callout("All of this is invented: it is the demo's organization.", kind="warn")
        )
    if lagging:
        names = ", ".join(lagging)
        told.append(
            mo.callout(f"Behind what was synced, until the next sync: {names}.", kind="warn")
        )
    mo.vstack(told)
    return


@app.cell
def _(pipelines):
    pipeline = mo.ui.dropdown(
        options("all pipelines", pipelines), value="all pipelines", label="Pipeline"
    )
    days = mo.ui.dropdown(
        {f"{number} days": number for number in (7, 14, 30, 90, 365)},
        value="30 days",
        label="Newest",
    )
    mo.hstack([pipeline, days], justify="start", wrap=True)
    return days, pipeline


@app.cell
def _(days, pipeline, settings):
    con = opened(settings)
    scope = newest_days(con, days.value, pipeline.value)
    narrow(con, scope)
    return con, scope


@app.cell
def _(con, scope):
    mo.vstack(
        [
            f"{scope.label} (UTC)",
            cards(headlines(con)),
        ]
    )
    return


@app.cell
def _(con, scope):
    mo.vstack([plot(figure) for figure in ci_health.figures(con, scope)], gap=2)
    return


@app.cell
def _(con):
    mo.vstack([table(listing) for listing in ci_health.listings(con)], gap=2)
    return


@app.cell
def _(con):
    mo.vstack(
        [
            mo.md(
                "## Ask more\n\n`con` shows only the pipeline and the days chosen above; before a "
                "table's name, `buildkite.` shows all of it."
            ),
            con.sql("""
                SELECT source, outcome, count(*) AS builds
                FROM build_runs
                GROUP BY ALL
                ORDER BY builds DESC
                LIMIT 10
            """).pl(),
        ]
    )
    return


if __name__ == "__main__":
    app.run()

"""Access review: who can do what with which pipeline, through whom, and do they use it."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Access review")

with app.setup:
    import marimo as mo
    from showing import plot, table

    from buildkite_assets.figures import access_changes
    from buildkite_assets.report import access_review
    from buildkite_assets.report.opening import is_invented, opened, settings_to_show
    from buildkite_assets.settings import SettingsError
    from buildkite_assets.warehouse import WarehouseError


@app.cell
def _():
    mo.md("""
    # Access review
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
            organizations = access_review.organizations(whole)
        trouble = "" if organizations else "No organization was synced yet."
    except (SettingsError, WarehouseError) as error:
        trouble = str(error)
    mo.stop(bool(trouble), mo.callout(trouble, kind="danger"))
    return organizations, settings


@app.cell
def _(organizations):
    organization = mo.ui.dropdown(
        organizations, value=next(iter(organizations)), label="Organization"
    )
    organization
    return (organization,)


@app.cell
def _(organization, settings):
    con = opened(settings)
    access_review.narrow_to_organization(con, organization.value)
    return (con,)


@app.cell
def _(con, settings):
    _sentence, _is_whole = access_review.coverage(con)
    _told = [mo.callout(_sentence, kind="neutral" if _is_whole else "warn")]
    if is_invented(settings):
        _told.append(
            mo.callout("All of this is invented: it is the demo's organization.", kind="warn")
        )
    mo.vstack(_told)
    return


@app.cell
def _(con):
    table(access_review.findings(con))
    return


@app.cell
def _(con):
    table(access_review.effective_access(con))
    return


@app.cell
def _(con):
    table(access_review.unused_access(con))
    return


@app.cell
def _(con):
    mo.vstack([table(access_review.changes(con)), plot(access_changes(con))])
    return


if __name__ == "__main__":
    app.run()

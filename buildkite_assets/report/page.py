"""The report: CI health as one HTML page that needs nothing but itself.

It has no script and makes no request, its own Content-Security-Policy holds it to that, and all
text is escaped: names of pipelines and steps are whatever somebody typed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from buildkite_assets.figures import Figure, RenderError, svg
from buildkite_assets.figures.narrow import narrowed
from buildkite_assets.plain_text import one_line
from buildkite_assets.report import ci_health
from buildkite_assets.report.freshness import freshness, lagging_tables
from buildkite_assets.report.headlines import headlines
from buildkite_assets.report.opening import is_invented, opened
from buildkite_assets.report.scope import narrow, newest_days
from buildkite_assets.settings import Settings

DAYS = 30
"""How many of the newest days the page is about."""


def _shown(value: object) -> object:
    """Return text without what acts on a reader; what is drawn stays as it is."""
    return one_line(value) if type(value) is str else value


_PAGES = Environment(
    loader=PackageLoader("buildkite_assets.report", ""),
    autoescape=True,
    finalize=_shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class _Drawing:
    """A figure as the page shows it: words as text, the rest drawn for a desk and for a phone.

    Where it could not be drawn, `failure` says why.
    """

    title: str
    subtitle: str
    wide: str = ""
    narrow: str = ""
    failure: str = ""


def render(settings: Settings) -> str:
    """The page about all pipelines, as the published file has them.

    Raises:
        WarehouseError: there is no published file, or it cannot be opened.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    with opened(settings) as connection:
        current = freshness(connection)
        lagging = lagging_tables(connection, settings.rules.parameters())
        scope = newest_days(connection, DAYS)
        narrow(connection, scope)
        return _PAGES.get_template("page.html.jinja").render(
            organizations=[each.organization for each in current],
            is_invented=is_invented(settings),
            scope=scope,
            freshness=[each.sentence() for each in current],
            lagging=lagging,
            headlines=headlines(connection),
            drawings=[_drawing(figure) for figure in ci_health.figures(connection, scope)],
            listings=ci_health.listings(connection),
            warehouse=settings.warehouse.name,
            written_at=f"{now:%Y-%m-%d %H:%M} UTC",
            version=version("buildkite-assets"),
        )


def _drawing(figure: Figure) -> _Drawing:
    bare = figure.to_dict()
    title = bare.pop("title")
    # To a screen reader it is one image, which the page names: labels of marks would go unread.
    bare["config"]["aria"] = False
    try:
        drawn = svg(bare), svg(narrowed(bare))
    except RenderError as error:
        return _Drawing(title["text"], title["subtitle"], failure=str(error))
    # What vl-convert draws is escaped by it.
    return _Drawing(title["text"], title["subtitle"], *map(Markup, drawn))

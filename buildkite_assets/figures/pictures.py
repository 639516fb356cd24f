"""Figures as pictures, made without a browser and without a network."""

from io import BytesIO
from typing import Any

import vl_convert
from PIL import Image

from buildkite_assets.figures.theme import Figure

_NO_BACKGROUND = "transparent"
_GREY = "#82878f"
"""As far from white as from near black."""


def png(figure: Figure, *, scale: float = 1) -> bytes:
    """A figure as PNG without a background, readable on light and on dark.

    Args:
        figure: which.
        scale: pixels of the picture per pixel of the figure.
    """
    return vl_convert.vegalite_to_png(
        figure.to_dict(), scale=scale, config=_ink(_GREY), allowed_base_urls=[]
    )


def webp(figure: Figure) -> bytes:
    """The same as lossless WebP, which takes about a tenth of the bytes."""
    small = BytesIO()
    Image.open(BytesIO(png(figure))).save(small, "WEBP", lossless=True)
    return small.getvalue()


def svg(figure: Figure | dict[str, Any], *, ink: str = "currentColor") -> str:
    """A figure as SVG without a background, whose text takes the colour of the page around it.

    Args:
        figure: which; also as its `to_dict()` gives it.
        ink: the colour of text and axes; `currentColor` needs the SVG to stand inline.
    """
    spec = figure if isinstance(figure, dict) else figure.to_dict()
    return vl_convert.vegalite_to_svg(spec, config=_ink(ink), allowed_base_urls=[])


def _ink(colour: str) -> dict[str, Any]:
    """Vega-Lite's configuration of all that is neither data nor background."""
    return {
        "background": _NO_BACKGROUND,
        "title": {"color": colour, "subtitleColor": colour},
        "axis": {
            "labelColor": colour,
            "titleColor": colour,
            "domainColor": colour,
            "tickColor": colour,
            "domainOpacity": 0.5,
            "tickOpacity": 0.5,
        },
        "legend": {"labelColor": colour, "titleColor": colour},
        "header": {"labelColor": colour, "titleColor": colour},
        "text": {"color": colour},
        "rule": {"color": colour},
    }

"""Figures for a phone."""

from typing import Any

_PHONE_WIDTH = 335
_AXES_OF_A_PANEL = 95
_LONGEST_LABEL = 120
_LEGEND_COLUMNS = 3


def narrowed(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure for a screen of 375 pixels: less wide, with its panels below each other.

    Args:
        figure: as `to_dict()` gives it; it stays as it is.
    """
    config = figure["config"]
    narrow_config = {
        **config,
        "axisY": {"labelLimit": _LONGEST_LABEL},
        "legend": {**config["legend"], "columns": _LEGEND_COLUMNS},
    }
    if "vconcat" in figure:
        panels = [
            {**panel, "width": _PHONE_WIDTH - _AXES_OF_A_PANEL} for panel in figure["vconcat"]
        ]
        return {**figure, "config": narrow_config, "vconcat": panels}
    if "facet" in figure:
        return {**figure, "config": narrow_config, "columns": 1}
    fit = {"type": "fit-x", "contains": "padding"}
    return {**figure, "config": narrow_config, "width": _PHONE_WIDTH, "autosize": fit}

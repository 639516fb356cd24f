"""How a page is looked at, and what must hold however it is."""

from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Page

Scheme = Literal["light", "dark"]

PHONE, DESK = 375, 1280
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
each_look = pytest.mark.parametrize(("scheme", "width"), list(product(SCHEMES, (PHONE, DESK))))

_MIDDLE = 128
_READABLE = 4.5
_COLOURS = """() => {
    const numbers = (colour) => {
        const pixel = new OffscreenCanvas(1, 1).getContext('2d');
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
        return [...pixel.getImageData(0, 0, 1, 1).data];
    };
    const style = getComputedStyle(document.body);
    return [numbers(style.color), numbers(style.backgroundColor)];
}"""


def look(page: Page, scheme: Scheme, width: int) -> None:
    """Look at a page on a machine that is set to light or dark, with a window so wide."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})


def assert_readable(page: Page, scheme: Scheme) -> None:
    """Hold that text stands out from the page, and that the page is as light as was asked for."""
    ink, paper = page.evaluate(_COLOURS)
    assert (sum(paper[:3]) / 3 > _MIDDLE) == (scheme == "light")
    lighter, darker = sorted([_luminance(ink), _luminance(paper)], reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) > _READABLE


def _luminance(colour: list[int]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [value / 255 for value in colour[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

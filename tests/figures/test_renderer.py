"""Drawing in a process of its own: what happens when it dies, stalls, or is asked again."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from buildkite_assets.figures import RenderError
from buildkite_assets.figures.renderer import Renderer


def spec(label: str) -> dict[str, Any]:
    """A bar with a label."""
    return {
        "data": {"values": [{"label": label, "n": 1}]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "n", "type": "quantitative"},
            "y": {"field": "label", "type": "nominal"},
        },
    }


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    made = Renderer()
    yield made
    made.close()


@pytest.mark.parametrize("character", ["\x1b", "\x00", "\ufffe"])
def test_a_figure_that_aborts_the_renderer_is_an_error_and_the_next_one_is_drawn(
    renderer: Renderer, character: str
) -> None:
    with pytest.raises(RenderError, match="ended with code"):
        renderer.draw("png", spec(f"a{character}b"), {})
    assert "a label" in renderer.draw("svg", spec("a label"), {})


def test_a_label_of_emoji_that_is_too_long_to_show_is_drawn_without_them(
    renderer: Renderer,
) -> None:
    assert "\U0001f600 a" in renderer.draw("svg", spec("\U0001f600 a"), {})
    drawn = renderer.draw("svg", spec("\U0001f600" * 200), {})
    assert "\ufffd" * 5 in drawn
    assert "\U0001f600" not in drawn


def test_a_figure_that_takes_too_long_is_an_error_and_the_next_one_is_drawn(
    renderer: Renderer,
) -> None:
    renderer.patience_seconds = 0
    with pytest.raises(RenderError, match="took more than 0 s"):
        renderer.draw("svg", spec("late"), {})
    renderer.patience_seconds = 60
    assert "in time" in renderer.draw("svg", spec("in time"), {})


def test_a_spec_that_is_none_is_an_error_that_says_why(renderer: Renderer) -> None:
    with pytest.raises(RenderError, match="conversion failed") as raised:
        renderer.draw("svg", {"mark": "no such mark"}, {})
    assert "cdn.jsdelivr.net" not in str(raised.value)


def test_one_process_draws_several_figures(renderer: Renderer) -> None:
    def children() -> set[str]:
        with open(f"/proc/self/task/{os.getpid()}/children") as listed:  # noqa: PTH123
            return set(listed.read().split())

    before = children()
    for label in ("one", "two", "three"):
        assert label in renderer.draw("svg", spec(label), {})
        assert len(children() - before) == 1
    renderer.close()
    assert children() == before

"""Companies whose people typed nothing but harm, and all that shows what they typed.

`make soak` tries many more.
"""

from collections.abc import Iterator

import pytest

from .sinks import SINKS, Sink, set_aside
from .world import World, hostile_world

SEED = 10369
"""Its administrator's address and two of its pipelines move terminals, and one is called `--`."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Sync a company once for all that shows it."""
    with hostile_world(tmp_path_factory.mktemp("hostile") / "world", SEED) as world:
        yield world


@pytest.mark.parametrize("sink", SINKS)
def test_text_that_people_wrote_stays_text(world: World, sink: Sink) -> None:
    sink(world)


def test_nonsense_in_a_build_costs_no_other(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("nonsense") / "world"
    with hostile_world(folder, SEED, is_nonsense=True) as world:
        set_aside(world)

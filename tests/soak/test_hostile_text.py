"""Companies whose people typed nothing but harm, for as long as SOAK_MINUTES says."""

import os
import time
from pathlib import Path

import pytest

from tests.hostile.sinks import NONSENSE_SINKS, SINKS
from tests.hostile.world import hostile_world


@pytest.mark.soak
def test_text_that_people_wrote_stays_text(tmp_path: Path) -> None:
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "60"))
    number = first = int(os.environ.get("SOAK_SEED", "1"))
    while time.monotonic() < deadline:
        is_nonsense = number % 3 == 0
        with hostile_world(
            tmp_path / f"{number}" / "world", number, is_nonsense=is_nonsense
        ) as world:
            for sink in NONSENSE_SINKS if is_nonsense else SINKS:
                sink(world)
        number += 1
        print(f"seeds {first} to {number - 1}", flush=True)  # noqa: T201 - it takes an hour
    assert number > first

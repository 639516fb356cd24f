"""SIGKILL at twenty random moments of a backfill."""

from pathlib import Path

import pytest

from tests.kills import survive_kills

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("seed", range(2))
def test_twenty_kills_lose_nothing(seed: int, tmp_path: Path) -> None:
    survive_kills(tmp_path, kills=20, seed=seed)

"""Four syncs at once."""

from pathlib import Path

import pytest

from tests.at_once import finish_beside_a_notebook


@pytest.mark.soak
def test_four_syncs_at_once_all_finish_beside_an_open_notebook(tmp_path: Path) -> None:
    finish_beside_a_notebook(tmp_path, [[], [], ["--full"], ["--full"]])

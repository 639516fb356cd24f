"""The month of the README's claim: 20,000 builds, and what happens to them afterwards."""

from pathlib import Path

import pytest

from tests.late_changes import Story, command_syncs, tell


@pytest.mark.soak
def test_one_sync_catches_up_with_20_000_builds_in_40_requests(tmp_path: Path) -> None:
    story = Story(builds=20_000, new=300, finished=200, retried=100, unblocked=20, deleted=10)
    requests = tell(story, tmp_path, command_syncs)
    print(f"requests for builds: {requests}")  # noqa: T201 - the figure is what was asked for
    assert requests <= 40

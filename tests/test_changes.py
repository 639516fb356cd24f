"""The change feed: right after every sync, whatever happened in between."""

from pathlib import Path

from hypothesis import HealthCheck, settings

from tests.histories import History
from tests.late_changes import Story, tell

TestAnyHistoryEndsInTheTruth = History.TestCase
TestAnyHistoryEndsInTheTruth.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_one_sync_catches_up_with_a_month_that_went_on_changing(tmp_path: Path) -> None:
    story = Story(builds=600, new=60, finished=20, retried=10, unblocked=5, deleted=3)
    # The created and the finished, 10 to a page at first and up to 100, and those now open.
    assert tell(story, tmp_path) <= 12

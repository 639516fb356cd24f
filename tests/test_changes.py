"""The change feed: right after every sync, whatever happened in between."""

from hypothesis import HealthCheck, settings

from tests.histories import History

TestAnyHistoryEndsInTheTruth = History.TestCase
TestAnyHistoryEndsInTheTruth.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

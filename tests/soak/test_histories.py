"""Random histories for as long as SOAK_MINUTES says, each batch with its own seed."""

import os
import time
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories import History

SETTINGS = settings(
    max_examples=50,
    stateful_step_count=60,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class CountedHistory(History):
    """A history that counts what happened in all of them."""

    counts: ClassVar[Counter[str]] = Counter()

    def teardown(self) -> None:
        """Compare with the truth, and count."""
        super().teardown()
        self.counts["histories"] += 1
        self.counts["builds"] += self.built
        self.counts["syncs"] += self.syncs
        self.counts["failed syncs"] += self.failed_syncs
        self.counts["faults"] += self.faults


@pytest.mark.soak
def test_any_history_ends_in_the_truth() -> None:
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "60"))
    number = first = int(os.environ.get("SOAK_SEED", "1"))
    while time.monotonic() < deadline:
        run_state_machine_as_test(seed(number)(CountedHistory), settings=SETTINGS)
        number += 1
        print(  # noqa: T201 - whoever waits an hour wants to see how far it is
            f"seeds {first} to {number - 1}: {dict(CountedHistory.counts)}",
            flush=True,
        )
    assert CountedHistory.counts["histories"] > 0

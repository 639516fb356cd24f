"""Properties of which the suite tries few examples, since each takes a second."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.access import test_history as access
from tests.access.company import Step, histories, unread_days
from tests.access.test_history import World
from tests.derived import test_row_properties as rows

pytestmark = pytest.mark.soak
world = access.world
MANY = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(rows.SYNCS)
def test_following_changes_day_by_day_gives_the_same_rows_as_recomputing_everything(
    syncs: list[list[tuple[int, str]]],
) -> None:
    rows.follow_and_recompute(syncs)


@MANY
@given(steps=histories, unread=unread_days)
def test_what_is_known_is_what_whole_states_tell(
    world: World, steps: list[Step], unread: int | None
) -> None:
    access.compare_with_whole_states(world, steps, unread)

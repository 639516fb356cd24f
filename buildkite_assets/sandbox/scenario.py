"""A working company: plans each day when it comes, and lets happen what is due."""

import heapq
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import count

from .company import Company
from .lives import Life
from .plans import plan_day

_FIRST_DAY = date(2024, 1, 1)
"""Build numbers count from here; each day has room for its own, whatever day one starts."""

_LEAST_NUMBERS_PER_DAY = 40


class Scenario:
    """The lives of acme's builds, of the `days` days before `now` and from then on."""

    def __init__(
        self, company: Company, seed: int, now: datetime, days: int, builds_per_day: int
    ) -> None:
        self._company = company
        self._seed = seed
        self._builds_per_day = builds_per_day
        self._next_day = now.date() - timedelta(days=days)
        self._order = count()
        self._lives: list[tuple[datetime, int, Life]] = []

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due."""
        while self._next_day <= now.date():
            self._plan(self._next_day)
            self._next_day += timedelta(days=1)
            self._live_until(min(now, datetime.combine(self._next_day, time(), UTC)))
        self._live_until(now)

    def _plan(self, day: date) -> None:
        plans = plan_day(self._company, self._seed, day, self._builds_per_day)
        lives = [life for plan in plans for life in _family(Life(self._company, plan))]
        lives.sort(key=lambda life: life.plan.created_at)
        room = max(self._builds_per_day * 2, _LEAST_NUMBERS_PER_DAY)
        used: Counter[str] = Counter()
        for life in lives:
            used[life.plan.pipeline] += 1
            life.number = (day - _FIRST_DAY).days * room + used[life.plan.pipeline]
            self._await(life)

    def _await(self, life: Life) -> None:
        if life.next_at is not None:
            heapq.heappush(self._lives, (life.next_at, next(self._order), life))

    def _live_until(self, now: datetime) -> None:
        while self._lives and self._lives[0][0] <= now:
            _, _, life = heapq.heappop(self._lives)
            life.advance(now)
            self._await(life)


def _family(life: Life) -> list[Life]:
    return [life, *(member for follower in life.followers for member in _family(follower))]

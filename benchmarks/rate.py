"""How much of its share of the allowance a backfill uses, with answers as slow as Buildkite's."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.first_sync import sync
from benchmarks.serving import Company, served

_LIMIT = 200
_SHARE = 0.8


def main() -> None:
    """Backfill a year of few builds, which takes about one request a day."""
    company = Company(
        days=365,
        builds_per_day=10,
        jobs_per_build=2,
        latency_seconds=0.15,
        organization_limit=_LIMIT,
    )
    with TemporaryDirectory() as folder, served(company) as server:
        server.answered()
        cost = sync(server, Path(folder))
        statuses = Counter(request.status for request in server.answered())
    a_minute = statuses.total() / cost.wall_seconds * 60
    print(f"requests             {statuses.total():,} by status {dict(statuses)}")
    print(f"sync                 {cost}")
    print(f"requests a minute    {a_minute:.0f} of {_LIMIT * _SHARE:.0f} that are our share")
    print(f"refused with 429     {statuses[429]}", flush=True)


if __name__ == "__main__":
    main()

"""How much of its share of the allowance a backfill uses, with answers as slow as Buildkite's."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.first_sync import sync
from benchmarks.serving import Company, served

_LIMIT = 200
_SHARE = 0.8
_MINUTE_SECONDS = 60


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
        answered = server.answered()
    statuses = Counter(request.status for request in answered)
    # Each day takes a request or more, so that none of these is of the change feed at the end.
    days_at = [r.at for r in answered if "created_to=" in r.url][: company.days]
    minutes = Counter(int((at - days_at[0]) // _MINUTE_SECONDS) for at in days_at)
    whole = [minutes[minute] for minute in range(max(minutes))]  # without the last, begun one
    share = _LIMIT * _SHARE
    print(f"requests             {statuses.total():,} by status {dict(statuses)}")
    print(f"sync                 {cost}")
    print(f"days, in each minute {whole} of {share:.0f} that are our share: ", end="")
    print(f"{sum(whole) / len(whole) / share:.1%}")
    print(f"refused with 429     {statuses[429]}", flush=True)


if __name__ == "__main__":
    main()

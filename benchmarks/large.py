"""A month of a large company: about 100,000 builds with a million jobs."""

from benchmarks.first_sync import run
from benchmarks.serving import Company


def main() -> None:
    """Measure it; the sandbox alone takes a minute to start."""
    run(Company(builds_per_day=3300, jobs_per_build=11))


if __name__ == "__main__":
    main()

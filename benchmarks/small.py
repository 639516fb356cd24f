"""A month of a small company: the first sync of the demo."""

from benchmarks.first_sync import run
from benchmarks.serving import Company


def main() -> None:
    """Measure it."""
    run(Company(), rounds=3)


if __name__ == "__main__":
    main()

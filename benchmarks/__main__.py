"""Run the benchmarks that are named, or all of them: `python -m benchmarks [name …]`."""

import sys
from importlib import import_module

NAMES = ("small", "dlt_rest_api", "rate", "large", "derived", "access", "checks")


def main() -> None:
    """Run them one after the other."""
    for name in sys.argv[1:] or NAMES:
        print(f"\n== {name} ==", flush=True)
        import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()

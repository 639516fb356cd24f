"""The sandbox's organization with its own warehouse and Dagster home, kept apart from real data."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildkite_assets.sandbox import Sandbox

WAREHOUSE = Path("data/demo.duckdb")
DAGSTER_HOME = Path(".dagster-demo")
RULES = Path(__file__).parent / "example_rules.toml"
DAYS = 30
ORGANIZATION = "acme"
_PLENTY = 1_000_000


def first_demo_day() -> date:
    """The first day on which the sandbox's organization works."""
    return datetime.now(UTC).date() - timedelta(days=DAYS)


def demo_sandbox() -> "Sandbox":
    """The sandbox that the demo, `make dev` and `buildkite-assets sandbox` share.

    Its limits are high, so that nobody waits for an invented allowance.
    """
    from buildkite_assets.sandbox import Sandbox  # noqa: PLC0415 - a sync needs no web server

    sandbox = Sandbox.company(seed=1, days=DAYS)
    sandbox.limits.organization_limit = _PLENTY
    sandbox.limits.user_limit = _PLENTY
    return sandbox


@contextmanager
def served_demo(port: int = 0) -> Iterator[dict[str, str]]:
    """Serve the sandbox; yields the environment variables that lead to it."""
    from buildkite_assets.sandbox import serve  # noqa: PLC0415 - likewise

    sandbox = demo_sandbox()
    with serve(sandbox, port) as server:
        yield {
            "BUILDKITE_API_URL": server.url,
            "BUILDKITE_API_TOKEN": sandbox.tokens.administrator.value,
            "BUILDKITE_ORGANIZATIONS": ORGANIZATION,
            "BUILDKITE_START_DATE": f"{first_demo_day()}",
            "BUILDKITE_WAREHOUSE": str(WAREHOUSE),
            "BUILDKITE_RULES": str(RULES),
        }

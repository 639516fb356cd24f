"""The sandbox's organization with its own warehouse and Dagster home, kept apart from real data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildkite_assets.sandbox import Sandbox, serve

WAREHOUSE = Path("data/demo.duckdb")
DAGSTER_HOME = Path(".dagster-demo")
DAYS = 30
ORGANIZATION = "acme"
_PLENTY = 1_000_000


def demo_sandbox() -> Sandbox:
    """The sandbox that the demo, `make dev` and `buildkite-assets sandbox` share.

    Its limits are high, so that nobody waits for an invented allowance.
    """
    sandbox = Sandbox.company(seed=1, days=DAYS)
    sandbox.limits.organization_limit = _PLENTY
    sandbox.limits.user_limit = _PLENTY
    return sandbox


@contextmanager
def served_demo(port: int = 0) -> Iterator[dict[str, str]]:
    """Serve the sandbox; yields the environment variables that lead to it."""
    sandbox = demo_sandbox()
    with serve(sandbox, port) as server:
        yield {
            "BUILDKITE_API_URL": server.url,
            "BUILDKITE_API_TOKEN": sandbox.tokens.administrator.value,
            "BUILDKITE_ORGANIZATIONS": ORGANIZATION,
            "BUILDKITE_WAREHOUSE": str(WAREHOUSE),
        }

"""A sandbox in a process of its own, so that its CPU time is not counted as ours."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from buildkite_assets.sandbox import Sandbox, serve


@dataclass(frozen=True)
class Company:
    """How much a served company works, and how its API is limited.

    `organization_limit` is in requests a minute; None switches the limits off.
    """

    days: int = 30
    builds_per_day: int = 130
    jobs_per_build: int = 8
    latency_seconds: float = 0.0
    organization_limit: int | None = None


@dataclass(frozen=True)
class Answered:
    """A request that was answered; `at` is in seconds since 1970."""

    at: float
    url: str
    status: int
    size_bytes: int


class Served:
    """A company that is being served, and the requests that it has answered."""

    def __init__(self, process: "subprocess.Popen[str]", company: Company) -> None:
        self._process = process
        started = self._read()
        self.url: str = started["url"]
        self.token: str = started["token"]
        self.last_day = datetime.now(UTC).date()
        self.first_day = self.last_day - timedelta(days=company.days)

    def answered(self) -> list[Answered]:
        """The requests since this was asked last."""
        assert self._process.stdin
        self._process.stdin.write("requests\n")
        self._process.stdin.flush()
        return [Answered(*request) for request in self._read()["requests"]]

    def _read(self) -> Any:  # noqa: ANN401 - what `_serve` printed
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


@contextmanager
def served(company: Company) -> Iterator[Served]:
    """Serve a company from another process until the block ends."""
    program = [sys.executable, "-m", "benchmarks.serving", json.dumps(asdict(company))]
    with subprocess.Popen(  # noqa: S603 - this module
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Served(process, company)
        finally:
            process.kill()


def _serve(company: Company) -> None:
    """Serve, and print the requests so far for each line that comes in."""
    sandbox = Sandbox.company(
        days=company.days,
        builds_per_day=company.builds_per_day,
        jobs_per_build=company.jobs_per_build,
    )
    sandbox.limits.organization_limit = company.organization_limit
    sandbox.limits.user_limit = None
    sandbox.latency_seconds = company.latency_seconds
    with serve(sandbox) as server:
        started = {"url": server.url, "token": sandbox.tokens.administrator.value}
        print(json.dumps(started), flush=True)
        for _ in sys.stdin:
            requests = [
                (
                    request.at.timestamp(),
                    f"{request.path}?{urlencode(request.query)}",
                    request.status,
                    request.bytes_sent,
                )
                for request in sandbox.requests
            ]
            sandbox.requests.clear()
            print(json.dumps({"requests": requests}), flush=True)


if __name__ == "__main__":
    _serve(Company(**json.loads(sys.argv[1])))

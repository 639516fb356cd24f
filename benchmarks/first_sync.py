"""A first sync of everything, beside the floor: the same bodies downloaded, unpacked and parsed.

Each runs in a process of its own, in turn, on the same served data.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measuring import Cost, measure
from benchmarks.serving import Answered, Company, Served, served
from buildkite_assets.warehouse import connect

_BUILDS_PER_PAGE = 100
_OWN_PROGRAM = "from buildkite_assets.cli import main; main()"


@dataclass(frozen=True)
class Tool:
    """Another way to the same builds.

    Attributes:
        name: for people.
        module: run as a program with the API's base URL, the token and a folder to work in.
        environment: further variables.
    """

    name: str
    module: str
    environment: dict[str, str] = field(default_factory=dict)


_FLOOR = Tool("floor", "benchmarks.floor")
_READING = "reading alone"


def run(company: Company, others: Sequence[Tool] = (), rounds: int = 1) -> None:
    """Measure our sync, the floor and the other tools, and print the medians of the rounds."""
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    requests: dict[str, int] = {}
    with served(company) as server:
        for _ in range(rounds):
            with TemporaryDirectory() as name:
                folder = Path(name)
                server.answered()
                costs["sync"].append(sync(server, folder))
                answered = server.answered()
                requests["sync"] = _lists(answered)
                start = [sys.executable, "-c", _OWN_PROGRAM, "sync", "--help"]
                costs["our start"].append(measure(start, {}, folder))
                builds, jobs, size_bytes = landed(folder)
                costs[_READING].append(_read(server, folder / "reading"))
                requests[_READING] = _lists(server.answered())
                (folder / "paths.txt").write_text("\n".join(request.url for request in answered))
                for tool in (_FLOOR, *others):
                    program = [sys.executable, "-m", tool.module, server.url, server.token, name]
                    costs[tool.name].append(measure(program, tool.environment, folder))
                    requests[tool.name] = _lists(server.answered())
    days = company.days + 1
    least = builds / _BUILDS_PER_PAGE
    print(f"{builds:,} builds, {jobs:,} jobs, {days} days, {size_bytes / 1e6:,.0f} MB of bodies,")
    print(f"{sum(r.size_bytes for r in answered) / 1e6:,.0f} MB packed; rounds: {rounds}")
    print(f"requests for builds: one per 100 is {least:,.0f}, ", end="")
    print(f"5 % more and 3 a day {least * 1.05 + 3 * days:,.0f}")
    print(f"{'':14}{'requests':>10}{'seconds':>10}{'CPU s':>10}{'of floor':>10}{'peak MB':>10}")
    floor = _median(costs[_FLOOR.name])
    for name, measured in costs.items():
        cost = _median(measured)
        print(f"{name:14}{requests.get(name, 0):10,}{cost.wall_seconds:10.1f}", end="")
        print(f"{cost.cpu_seconds:10.1f}{cost.cpu_seconds / floor.cpu_seconds:10.2f}", end="")
        print(f"{cost.peak_bytes / 1e6:10.0f}")
    work = _median(costs["sync"]).cpu_seconds - _median(costs["our start"]).cpu_seconds
    print(f"CPU of the sync less its start, of the floor's: {work / floor.cpu_seconds:.2f}")
    sys.stdout.flush()


def _read(server: Served, folder: Path) -> Cost:
    """Download, parse and write the same days, without the rest of a sync."""
    folder.mkdir()
    program = [sys.executable, "-m", "benchmarks.reading"]
    return measure(program, settings(server, folder), folder)


def _lists(answered: Sequence[Answered]) -> int:
    """How many of the requests were for builds."""
    return sum("/builds?" in request.url for request in answered)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        median(cost.wall_seconds for cost in costs),
        median(cost.cpu_seconds for cost in costs),
        median(cost.peak_bytes for cost in costs),
    )


def sync(server: Served, folder: Path) -> Cost:
    """Sync all days by the command line, with a warehouse and a Dagster home in the folder."""
    return measure(
        [sys.executable, "-c", _OWN_PROGRAM, "sync", "--from", f"{server.first_day}"],
        settings(server, folder),
        folder,
    )


def settings(server: Served, folder: Path) -> dict[str, str]:
    """The variables that lead to the served company."""
    return {
        "BUILDKITE_API_URL": server.url,
        "BUILDKITE_API_TOKEN": server.token,
        "BUILDKITE_ORGANIZATIONS": "acme",
        "BUILDKITE_WAREHOUSE": str(folder / "w.duckdb"),
        "BUILDKITE_START_DATE": f"{server.first_day}",
        "DAGSTER_HOME": str(folder / "dagster"),
        "XDG_STATE_HOME": str(folder / "state"),
    }


def landed(folder: Path) -> tuple[int, int, int]:
    """How many builds and jobs the warehouse has, and the size of the bodies they came in."""
    with connect(folder / "w.duckdb") as connection:
        [(builds, jobs, size_bytes)] = connection.execute(
            "SELECT (SELECT count(*) FROM builds), (SELECT count(*) FROM jobs),"
            " (SELECT sum(bytes)::BIGINT FROM sync_days)"
        ).fetchall()
    return builds, jobs, size_bytes

"""A first sync of everything, beside the floor: the same bodies downloaded, unpacked and parsed."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Cost, measure
from benchmarks.serving import Company, Served, served
from buildkite_assets.warehouse import connect

_BUILDS_PER_PAGE = 100
_OWN_PROGRAM = "from buildkite_assets.cli import main; main()"


def run(company: Company) -> None:
    """Measure both and print them."""
    with TemporaryDirectory() as name, served(company) as server:
        folder = Path(name)
        server.answered()
        ours = sync(server, folder)
        requests = server.answered()
        paths = folder / "paths.txt"
        paths.write_text("\n".join(request.url for request in requests))
        program = [sys.executable, "-m", "benchmarks.floor", server.url, server.token, str(paths)]
        floor = measure(program, {}, folder)
        start_up = measure([sys.executable, "-c", _OWN_PROGRAM, "sync", "--help"], {}, folder)
        builds, jobs = landed(folder)
        lists = [request for request in requests if "/builds?" in request.url]
        days = company.days + 1
        least = builds / _BUILDS_PER_PAGE
        allowed = least * 1.05 + 3 * days
        print(f"{builds:,} builds, {jobs:,} jobs, {days} days")
        print(f"requests for builds  {len(lists):,}; one per 100 is {least:,.0f}, ", end="")
        print(f"5 % more and 3 a day {allowed:,.0f}")
        print(f"sent, packed         {sum(r.size_bytes for r in requests) / 1e6:,.0f} MB")
        print(f"sync                 {ours}")
        print(f"floor                {floor}")
        print(f"start of the program {start_up}")
        work = ours.cpu_seconds - start_up.cpu_seconds
        print(f"CPU, of the floor's  {ours.cpu_seconds / floor.cpu_seconds:.2f}; ", end="")
        print(f"less the start       {work / floor.cpu_seconds:.2f}", flush=True)


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


def landed(folder: Path) -> tuple[int, int]:
    """How many builds and jobs the warehouse has."""
    with connect(folder / "w.duckdb") as connection:
        [(builds, jobs)] = connection.execute(
            "SELECT (SELECT count(*) FROM builds), (SELECT count(*) FROM jobs)"
        ).fetchall()
    return builds, jobs

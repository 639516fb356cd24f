"""No secret is found anywhere: not in what is printed, in Dagster's storage, in DuckDB's files."""

import gzip
import re
from pathlib import Path

from buildkite_assets.sandbox import Sandbox, serve
from tests.syncing import StandingClock, command, environment, without_limits

SECRETS = re.compile(rb"bkua_sandbox|sandbox-secret-|203\.0\.113\.|webhook\.buildkite\.com|bkua_")


def test_no_secret_is_found_anywhere(tmp_path: Path) -> None:
    sandbox = without_limits(Sandbox.company(clock=StandingClock(), days=2, builds_per_day=30))
    home = tmp_path / "dagster"
    first = sandbox.clock().date().isoformat()
    with serve(sandbox) as server:
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        good = environment(server, tmp_path / "w.duckdb") | state
        bad = environment(server, tmp_path / "w.duckdb", sandbox.tokens.expired) | state
        wrong = good | {"BUILDKITE_ORGANIZATIONS": "nobody"}
        done = {
            "sync": command("sync", "--from", first, settings=good, cwd=tmp_path, home=home),
            "expired": command("sync", "--from", first, settings=bad, cwd=tmp_path, home=home),
            "wrong": command("sync", "--from", first, settings=wrong, cwd=tmp_path, home=home),
            "check": command("check", settings=good, cwd=tmp_path, home=home),
            "json": command("check", "--json", settings=bad, cwd=tmp_path, home=home),
        }
    assert [process.returncode for process in done.values()] == [0, 1, 1, 0, 1]
    for name, process in done.items():
        said = process.stdout + process.stderr
        assert not SECRETS.findall(said.encode()), name
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    searched = {path.relative_to(tmp_path): path.read_bytes() for path in files}
    assert any(path.name == "w.duckdb" for path in searched)
    assert any(path.name == "working.duckdb" for path in searched)
    assert any(path.parts[0] == "dagster" and path.suffix == ".db" for path in searched)
    assert any(path.parts[0] == "state" for path in searched)
    for path, content in searched.items():
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        assert not SECRETS.findall(text), path


def test_the_search_finds_what_the_sandbox_sends() -> None:
    """The sandbox's bodies hold what is searched for, so that finding none means something."""
    sandbox = Sandbox.company(clock=StandingClock(), days=2, builds_per_day=30)
    acme = sandbox.organization("acme")
    sent = repr([*acme.truth_builds(), *acme.truth_pipelines()]).encode()
    found = {match.decode() for match in SECRETS.findall(sent)}
    assert found == {"sandbox-secret-", "203.0.113.", "webhook.buildkite.com"}

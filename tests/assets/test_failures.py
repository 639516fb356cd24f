"""Runs that fail for a reason that is expected: what they say, and which are begun anew."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from buildkite_assets.buildkite.errors import ServerTroubleError
from buildkite_assets.definitions import definitions
from buildkite_assets.runs import run_catalog
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Patience, Session
from buildkite_assets.settings import Settings
from tests.other_programs import opened_for_writing
from tests.syncing import empty_sandbox, environment

RETRIES = 3
PATIENCE = Patience(attempts=1, retries=RETRIES, wait_seconds=0.1)


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    sandbox, _ = empty_sandbox()
    with serve(sandbox) as server:
        yield server


def session_of(server: SandboxServer, folder: Path, **settings: str) -> Session:
    """A session that is soon at the end of its patience."""
    named = environment(server, folder / "w.duckdb") | settings
    return Session(Settings.from_environment(named), patience=PATIENCE)


class Outcome:
    """What Dagster recorded of one run of a job, as the UI starts it."""

    def __init__(self, session: Session, job: str = "catalog_job") -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            self.succeeded = (
                definitions(session)
                .resolve_job_def(job)
                .execute_in_process(instance=instance, raise_on_error=False)
                .success
            )
            [run] = instance.get_runs()
            entries = instance.all_logs(run.run_id)
        self.text = repr(entries)
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        self.retries = [
            event.step_retry_data
            for event in events
            if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY
        ]
        self.failures = [event.step_failure_data for event in events if event.is_step_failure]

    def one_line(self) -> str:
        """The line with which the run failed."""
        [failure] = self.failures
        assert failure.user_failure_data is not None
        line = failure.user_failure_data.description
        assert line
        assert "\n" not in line
        assert failure.error is not None
        assert failure.error.message.endswith(f"ExpectedFailure: {line}\n")
        # Nothing but the line: not what else was raised on the way.
        assert failure.error.cause is None
        assert failure.error.context is None
        return line

    @property
    def code(self) -> object:
        """The code of the failure, where it has one."""
        [failure] = self.failures
        assert failure.user_failure_data is not None
        code = failure.user_failure_data.metadata.get("code")
        return code.value if code else None


def failing(times: int, answer: Callable[[], Response]) -> Callable[[Request], ASGIApp | None]:
    """Faults for the next `times` requests."""
    left = iter(range(times))
    return lambda _: answer() if next(left, None) is not None else None


def bad_gateway() -> Response:
    return PlainTextResponse("<html>bad gateway</html>", status_code=502)


def too_many() -> Response:
    return PlainTextResponse("{}", status_code=429, headers={"RateLimit-Reset": "1"})


def test_trouble_that_passes_costs_retries_and_no_run(
    server: SandboxServer, tmp_path: Path
) -> None:
    server.sandbox.faults = failing(2, bad_gateway)
    outcome = Outcome(session_of(server, tmp_path))
    assert outcome.succeeded
    assert [retry.seconds_to_wait for retry in outcome.retries] == [0.1, 0.2]
    assert "answered 502" in outcome.text
    assert "Trying again in 0 s, for the 2. of 3 times" in outcome.text


def test_trouble_that_stays_fails_by_one_line_after_the_last_retry(
    server: SandboxServer, tmp_path: Path
) -> None:
    server.sandbox.faults = failing(100, bad_gateway)
    outcome = Outcome(session_of(server, tmp_path))
    assert not outcome.succeeded
    assert len(outcome.retries) == RETRIES
    assert outcome.code == "unreachable"
    assert "www.buildkitestatus.com" in outcome.one_line()


def test_an_allowance_that_is_used_up_is_waited_for_as_long_as_it_takes(
    server: SandboxServer, tmp_path: Path
) -> None:
    server.sandbox.faults = failing(1, too_many)
    outcome = Outcome(session_of(server, tmp_path))
    assert outcome.succeeded
    assert [retry.seconds_to_wait for retry in outcome.retries] == [1.0]


def test_a_warehouse_that_somebody_else_has_open_is_waited_for(
    server: SandboxServer, tmp_path: Path
) -> None:
    session = session_of(server, tmp_path)
    with session.warehouse.transaction():
        pass
    working = tmp_path / ".w.duckdb" / "working.duckdb"
    with opened_for_writing(working):
        busy = Outcome(session)
    assert len(busy.retries) == RETRIES
    assert "is open in another program" in busy.one_line()
    assert Outcome(session).succeeded


@pytest.mark.parametrize(
    ("token", "code", "said"),
    [
        ("expired", "invalid_credentials", "set BUILDKITE_API_TOKEN"),
        ("narrow", "invalid_permissions", "Add the scope read_organizations to the token"),
    ],
)
def test_a_refused_token_is_not_tried_again(
    server: SandboxServer, tmp_path: Path, token: str, code: str, said: str
) -> None:
    tokens = server.sandbox.tokens
    narrow = replace(tokens.administrator, value="bkua_sandbox_narrow", scopes=("read_builds",))
    tokens.add(narrow)
    value = {"expired": tokens.expired, "narrow": narrow}[token].value
    server.sandbox.requests.clear()
    outcome = Outcome(session_of(server, tmp_path, BUILDKITE_API_TOKEN=value))
    assert not outcome.succeeded
    assert outcome.retries == []
    assert len(server.sandbox.requests) == 1
    assert outcome.code == code
    assert said in outcome.one_line()
    assert value not in outcome.text


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"BUILDKITE_ORGANIZATIONS": "acmee"}, "no_resources", "It sees: acme"),
        ({"BUILDKITE_API_TOKEN": ""}, None, "BUILDKITE_API_TOKEN is not set"),
    ],
)
def test_a_wrong_setting_is_not_tried_again(
    server: SandboxServer,
    tmp_path: Path,
    settings: dict[str, str],
    code: str | None,
    said: str,
) -> None:
    outcome = Outcome(session_of(server, tmp_path, **settings))
    assert outcome.retries == []
    assert outcome.code == code
    assert said in outcome.one_line()


@pytest.mark.parametrize("job", ["catalog_job", "changes_job", "derived_whole_job"])
def test_a_damaged_warehouse_is_not_tried_again(
    server: SandboxServer, tmp_path: Path, job: str
) -> None:
    session = session_of(server, tmp_path)
    (tmp_path / ".w.duckdb").mkdir()
    (tmp_path / ".w.duckdb" / "working.duckdb").write_bytes(b"no database at all" * 1000)
    outcome = Outcome(session, job)
    assert outcome.retries == []
    assert "To rebuild, move the folder" in outcome.one_line()


def test_a_run_that_somebody_waits_for_fails_at_once_with_the_error_itself(
    server: SandboxServer, tmp_path: Path
) -> None:
    session = session_of(server, tmp_path)
    server.sandbox.faults = failing(100, bad_gateway)
    server.sandbox.requests.clear()
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(ServerTroubleError, match="502"),
    ):
        run_catalog(session, instance)
    assert len(server.sandbox.requests) == 1


def test_a_fault_of_the_code_keeps_its_stack_and_is_not_tried_again(
    server: SandboxServer, tmp_path: Path
) -> None:
    session = session_of(server, tmp_path)
    with session.warehouse.transaction() as connection:
        connection.execute("DROP TABLE clusters")
    outcome = Outcome(session)
    [failure] = outcome.failures
    assert outcome.retries == []
    assert failure.user_failure_data is None
    assert failure.error is not None
    assert failure.error.cause is not None
    assert failure.error.cause.cls_name == "CatalogException"

"""What is posted to a webhook, over HTTP, when runs fail and checks no longer pass."""

import json
import logging
import socket
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from starlette.responses import JSONResponse

from buildkite_assets.alerts import AlertError, alert_on_failed_checks, alert_on_failed_runs, post
from buildkite_assets.definitions import definitions
from buildkite_assets.sandbox import SandboxServer, serve
from buildkite_assets.session import Patience, Session
from buildkite_assets.settings import Settings

from .buildkite.conftest import RawServer, http
from .syncing import empty_sandbox, environment

SECRET = "T000-B000-hunter2"


class Channel:
    """A chat channel's webhook: what was posted, and `answers` to what will be.

    Attributes:
        texts: the messages.
        messages: the same with all that was posted with them.
        answers: the statuses of the next answers; then 200.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.messages: list[dict[str, object]] = []
        self.answers: list[int] = []
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = channel.answers.pop(0) if channel.answers else 200
                if status == 200:
                    assert self.path.split("?")[0] == f"/services/{SECRET}"
                    message = json.loads(body)
                    channel.messages.append(message)
                    channel.texts.append(message["text"])
                self.send_response(status)
                self.send_header("Location", "http://elsewhere.example/")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"


@pytest.fixture
def channel() -> Iterator[Channel]:
    channel = Channel()
    thread = Thread(target=channel.server.serve_forever)
    thread.start()
    yield channel
    channel.server.shutdown()
    thread.join()
    channel.server.server_close()


@pytest.fixture
def proxy() -> Iterator[RawServer]:
    """A proxy that leads nowhere, and keeps what it was asked."""
    proxy = RawServer(http(502))
    yield proxy
    proxy.close()


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    sandbox, _ = empty_sandbox()
    with serve(sandbox) as server:
        yield server


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def session_of(
    server: SandboxServer, folder: Path, channel: Channel | None, **more: str
) -> Session:
    settings = environment(server, folder / "w.duckdb") | more
    if channel:
        settings["BUILDKITE_ALERT_WEBHOOK"] = channel.url
    return Session(Settings.from_environment(settings), patience=Patience(1, 0, 0))


def run(session: Session, instance: dg.DagsterInstance, job: str) -> dg.DagsterRun:
    """Run a job as the UI does, whatever comes of it."""
    done = (
        definitions(session)
        .resolve_job_def(job)
        .execute_in_process(instance=instance, raise_on_error=False)
    )
    return done.dagster_run


class Sensor:
    """One of the sensors as the daemon ticks it, with the cursor that it keeps."""

    def __init__(
        self,
        sensor: dg.SensorDefinition,
        session: Session,
        instance: dg.DagsterInstance,
        checked: dg.Definitions | None = None,
    ) -> None:
        self._sensor, self._session, self._instance = sensor, session, instance
        self._repository = (checked or definitions(session)).get_repository_def()
        self.cursor: str | None = None

    def tick(self) -> str | None:
        """Evaluate it once; what it gave as a reason to do nothing."""
        context = dg.build_sensor_context(
            instance=self._instance,
            cursor=self.cursor,
            repository_def=self._repository,
            resources={"session": self._session},
        )
        data = self._sensor.evaluate_tick(context)
        for reaction in data.dagster_run_reactions or []:
            if reaction.error:
                raise FailedTickError(reaction.error.to_string())
        self.cursor = data.cursor
        return data.skip_message


class FailedTickError(Exception):
    """What the UI would show of a tick that failed."""


# Failed runs


def test_a_failed_run_says_what_failed_why_and_what_to_do(
    server: SandboxServer, tmp_path: Path, channel: Channel, instance: dg.DagsterInstance
) -> None:
    expired = server.sandbox.tokens.expired.value
    ui = {"BUILDKITE_DAGSTER_URL": "http://dagster.example:3000/"}
    session = session_of(server, tmp_path, channel, BUILDKITE_API_TOKEN=expired, **ui)
    sensor = Sensor(alert_on_failed_runs, session, instance)
    sensor.tick()
    failed = run(session, instance, "catalog_job")
    sensor.tick()
    [text] = channel.texts
    assert text == (
        "*catalog_job failed*\n"
        "catalog: `invalid_credentials` GET /v2/organizations answered 401: Authentication "
        "required. Please supply a valid API Access Token: "
        "https://buildkite.com/docs/apis/rest-api#authentication. The API token is wrong, revoked "
        "or expired: create one at https://buildkite.com/user/api-access-tokens and set "
        "BUILDKITE_API_TOKEN.\n"
        f"<http://dagster.example:3000/runs/{failed.run_id}|Open the run>"
    )
    # Once for each run, and not for one that succeeded.
    good = session_of(server, tmp_path, channel)
    run(good, instance, "catalog_job")
    sensor.tick()
    assert len(channel.texts) == 1


def test_a_fault_of_the_code_is_named_without_what_it_holds(
    server: SandboxServer, tmp_path: Path, channel: Channel, instance: dg.DagsterInstance
) -> None:
    session = session_of(server, tmp_path, channel)
    with session.warehouse.transaction() as connection:
        connection.execute("DROP TABLE clusters")
    sensor = Sensor(alert_on_failed_runs, session, instance)
    sensor.tick()
    failed = run(session, instance, "catalog_job")
    sensor.tick()
    [text] = channel.texts
    assert text == (
        "*catalog_job failed*\n"
        "catalog: CatalogException. The run's log tells more.\n"
        f"Run {failed.run_id}"
    )


def test_a_run_that_was_killed_is_told_too(
    server: SandboxServer, tmp_path: Path, channel: Channel, instance: dg.DagsterInstance
) -> None:
    session = session_of(server, tmp_path, channel)
    sensor = Sensor(alert_on_failed_runs, session, instance)
    sensor.tick()
    killed = instance.create_run_for_job(
        definitions(session).resolve_job_def("catalog_job"), status=dg.DagsterRunStatus.STARTED
    )
    instance.report_run_failed(killed, "The process that executed this run is gone.")
    sensor.tick()
    [text] = channel.texts
    assert text.startswith("*catalog_job failed*\nThe process that executed this run is gone.\n")


def test_without_a_webhook_the_sensors_say_so(
    server: SandboxServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    session = session_of(server, tmp_path, None, BUILDKITE_ORGANIZATIONS="nobody")
    failed_runs = Sensor(alert_on_failed_runs, session, instance)
    failed_runs.tick()
    run(session, instance, "catalog_job")
    for sensor in (failed_runs, Sensor(alert_on_failed_checks, session, instance)):
        assert "BUILDKITE_ALERT_WEBHOOK is not set" in (sensor.tick() or "")


# Failed checks


@dg.asset
def thing() -> None:
    """Be something to check."""


OUTCOME = {"passed": True, "evaluated": True}


@dg.asset_check(asset=thing)
def is_sound() -> dg.AssetCheckResult:
    """Pass or fail as the test has it."""
    return dg.AssetCheckResult(
        passed=OUTCOME["passed"],
        severity=dg.AssetCheckSeverity.WARN,
        description="3 things are <odd>.",
        metadata={"evaluated": OUTCOME["evaluated"]},
    )


@dg.asset_check(asset=thing)
def is_there() -> dg.AssetCheckResult:
    """Pass always."""
    return dg.AssetCheckResult(passed=True)


def test_a_check_is_told_when_it_fails_and_when_it_passes_again(
    server: SandboxServer, tmp_path: Path, channel: Channel, instance: dg.DagsterInstance
) -> None:
    checked = dg.Definitions([thing], asset_checks=[is_sound, is_there])
    session = session_of(server, tmp_path, channel)
    sensor = Sensor(alert_on_failed_checks, session, instance, checked)

    def evaluate(*, passed: bool, evaluated: bool = True) -> str:
        OUTCOME.update(passed=passed, evaluated=evaluated)
        job = checked.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=instance).run_id

    assert "No check has changed" in (sensor.tick() or "")
    evaluate(passed=True)
    sensor.tick()
    assert channel.texts == []
    failed = evaluate(passed=False)
    sensor.tick()
    assert channel.texts == [
        f"*thing:is_sound fails* (warn)\n3 things are &lt;odd&gt;.\nRun {failed}"
    ]
    # Still failing is nothing new.
    evaluate(passed=False)
    sensor.tick()
    assert len(channel.texts) == 1
    # Nor is one that could not look: it passes, and says nothing.
    evaluate(passed=True, evaluated=False)
    sensor.tick()
    assert len(channel.texts) == 1
    # What could not be posted fails the tick, and is posted by the next one.
    evaluate(passed=True)
    channel.answers = [503, 503, 503]
    with pytest.raises(AlertError) as raised:
        sensor.tick()
    told = "".join(traceback.format_exception(raised.value))
    assert "the webhook answered 503" in told
    assert SECRET not in told
    sensor.tick()
    assert channel.texts[1:] == ["*thing:is_sound passes again*"]
    assert "No check has changed" in (sensor.tick() or "")


@dg.multi_asset_check(specs=[dg.AssetCheckSpec(f"rule_{n}", asset=thing) for n in range(9)])
def rules() -> Iterator[dg.AssetCheckResult]:
    """Fail at length."""
    for n in range(9):
        said = f"{n} is odd. " * 80
        yield dg.AssetCheckResult(
            asset_key="thing", check_name=f"rule_{n}", passed=False, description=said
        )


def test_what_is_too_much_for_one_text_comes_with_the_next_ticks(
    server: SandboxServer, tmp_path: Path, channel: Channel, instance: dg.DagsterInstance
) -> None:
    checked = dg.Definitions([thing], asset_checks=[rules])
    sensor = Sensor(
        alert_on_failed_checks, session_of(server, tmp_path, channel), instance, checked
    )
    checked.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    for _ in range(9):
        sensor.tick()
    told = [line for text in channel.texts for line in text.splitlines() if "fails" in line]
    assert told == [f"*thing:rule_{n} fails* (error)" for n in range(9)]
    assert all(text.splitlines()[-1].startswith("Run ") for text in channel.texts)


# Posting


def test_slack_must_not_load_what_a_text_has_an_address_of(channel: Channel) -> None:
    post(channel.url, "see https://harm.example/p.png")
    assert channel.messages == [
        {
            "text": "see https://harm.example/p.png",
            "unfurl_links": False,
            "unfurl_media": False,
        }
    ]


def test_trouble_that_passes_is_tried_again(channel: Channel) -> None:
    channel.answers = [500, 429]
    post(channel.url, "hello")
    assert channel.texts == ["hello"]


def test_a_webhook_of_this_machine_is_posted_to_without_a_proxy(
    channel: Channel, proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy.url)
    post(channel.url, "It failed.")
    assert channel.texts == ["It failed."]
    assert not proxy.requests


def test_a_proxy_on_the_way_to_a_webhook_learns_its_host_alone(
    proxy: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with pytest.raises(AlertError):
        post(f"https://hooks.invalid/services/{SECRET}", "It failed.")
    assert proxy.requests[0].startswith(b"CONNECT hooks.invalid:443 ")
    assert SECRET.encode() not in b"".join(proxy.requests)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HTTPS_PROXY", "gopher://me:hunter2@proxy"), ("SSL_CERT_FILE", "/nowhere/ca.pem")],
)
def test_a_wrong_network_setting_is_told_once_and_without_a_password(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(AlertError, match=f"was not posted.* {variable}") as raised:
        post(f"https://hooks.invalid/services/{SECRET}", "It failed.")
    told = "".join(traceback.format_exception(raised.value))
    assert not {secret for secret in ("hunter2", SECRET) if secret in told}


@pytest.mark.parametrize("status", [302, 400, 404, 410])
def test_a_webhook_that_refuses_is_told_once_and_without_its_address(
    channel: Channel, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    channel.answers = [status]
    with caplog.at_level(logging.DEBUG), pytest.raises(AlertError, match=f"answered {status}") as e:
        post(channel.url, "hello")
    assert channel.texts == []
    assert "BUILDKITE_ALERT_WEBHOOK" in str(e.value)
    assert SECRET not in "".join(traceback.format_exception(e.value)) + caplog.text


def test_a_webhook_out_of_reach_fails_the_tick_and_shows_no_secret(
    server: SandboxServer,
    tmp_path: Path,
    channel: Channel,
    instance: dg.DagsterInstance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        channel.url = f"http://127.0.0.1:{listening.getsockname()[1]}/services/{SECRET}"
    session = session_of(server, tmp_path, channel, BUILDKITE_ORGANIZATIONS="nobody")
    sensor = Sensor(alert_on_failed_runs, session, instance)
    sensor.tick()
    run(session, instance, "catalog_job")
    with caplog.at_level(logging.DEBUG), pytest.raises(FailedTickError) as raised:
        sensor.tick()
    assert "The alert was not posted: ConnectError" in str(raised.value)
    assert SECRET not in str(raised.value) + caplog.text


@pytest.mark.parametrize("proxy", ["ftp://me:hunter2@proxy:80", "socks5://me:hunter2@proxy:80"])
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(AlertError, match="HTTPS_PROXY") as caught:
        post("https://hooks.example/services/x", "hello")
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told


def test_a_post_to_this_machine_passes_no_proxy(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    post(channel.url, "hello")
    assert channel.texts == ["hello"]


def test_nothing_of_httpx_is_logged_of_a_post_that_succeeds(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    # httpx would write this address in another form.
    odd = channel.url.replace("http:", "HTTP:").replace("/services/", "/x/../services/")
    with caplog.at_level(logging.DEBUG):
        post(odd, "hello")
    assert channel.texts == ["hello"]
    assert SECRET not in caplog.text


def test_what_is_said_cannot_mention_people_or_hold_a_secret(
    server: SandboxServer, tmp_path: Path, channel: Channel, instance: dg.DagsterInstance
) -> None:
    token = server.sandbox.tokens.administrator.value

    channel.url += "?a=1&b=2"
    said = JSONResponse({"message": f"<!channel> & {channel.url}"}, status_code=403)
    server.sandbox.faults = lambda _: said
    session = session_of(server, tmp_path, channel)
    sensor = Sensor(alert_on_failed_runs, session, instance)
    sensor.tick()
    run(session, instance, "catalog_job")
    sensor.tick()
    [text] = channel.texts
    assert "&lt;!channel&gt; &amp; …" in text
    assert token not in text
    assert SECRET not in text

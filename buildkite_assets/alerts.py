"""Posts to a webhook, in Slack's format, when a run fails or a check no longer passes."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
import httpx
import stamina

from buildkite_assets.buildkite.errors import CertificatesError, ProxyError
from buildkite_assets.buildkite.this_machine import direct_transport, usable_environment
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings

_ATTEMPTS = 3
_SILENCE_SECONDS = 5
_LONGEST_TEXT = 3000
_NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}
"""Slack would load what addresses in a text lead to, and show it."""
_NOT_SET = dg.SkipReason("BUILDKITE_ALERT_WEBHOOK is not set: there is nowhere to post to.")


class AlertError(Exception):
    """An alert could not be posted; the message never shows where to, which is a secret."""


class _TroubleError(AlertError):
    """It may be posted on another try."""


def post(webhook: str, text: str) -> None:
    """Post a text to a webhook that takes Slack's messages.

    Raises:
        AlertError: it was not taken, also after some tries where these may help.
    """
    for attempt in stamina.retry_context(on=_TroubleError, attempts=_ATTEMPTS, wait_initial=0.5):
        with attempt:
            _send(webhook, text)


def _send(webhook: str, text: str) -> None:
    try:
        with _client(httpx.URL(webhook).host) as client, _unlogged():
            status = client.post(webhook, json={"text": text, **_NO_PREVIEWS}).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _TroubleError(
            f"The alert was not posted: {type(error).__name__}. Check BUILDKITE_ALERT_WEBHOOK, "
            "the network and its proxy."
        ) from None
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _TroubleError(f"The alert was not posted: the webhook answered {status}.")
    if not httpx.codes.is_success(status):
        raise AlertError(
            f"The alert was not posted: the webhook answered {status}. Check "
            "BUILDKITE_ALERT_WEBHOOK: it may have been revoked."
        )


def _client(host: str) -> httpx.Client:
    """Return httpx's client for a webhook's host; it follows no redirect.

    Raises:
        AlertError: the environment names a proxy or certificates that cannot be used.
    """
    try:
        with usable_environment():
            return httpx.Client(timeout=_SILENCE_SECONDS, transport=direct_transport(host))
    except (ProxyError, CertificatesError) as error:
        raise AlertError(f"The alert was not posted. {error}") from None


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep httpx from logging the address that it posts to, written in its own way."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger("httpx")
    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


@dg.run_failure_sensor(
    name="alert_on_failed_runs",
    description=(
        "Posts to BUILDKITE_ALERT_WEBHOOK, in Slack's format, what failed, why and what to do. "
        "Costs no requests to Buildkite. What the webhook does not take on three tries is shown as "
        "a failed tick, and is not posted later."
    ),
)
def alert_on_failed_runs(
    context: dg.RunFailureSensorContext, session: dg.ResourceParam[Session]
) -> dg.SkipReason | None:
    """Post the failure of one run."""
    settings = session.settings
    if not settings.alert_webhook:
        return _NOT_SET
    run = context.dagster_run
    reasons = [_reason(settings, event) for event in context.get_step_failure_events()]
    lines = [
        f"*{_safe(settings, run.job_name)} failed*",
        *(reasons or [_safe(settings, context.failure_event.message or "")]),
        _link(settings, run.run_id),
    ]
    post(settings.alert_webhook, _joined(lines)[:_LONGEST_TEXT])
    return None


@dg.sensor(
    name="alert_on_failed_checks",
    minimum_interval_seconds=60,
    description=(
        "Posts to BUILDKITE_ALERT_WEBHOOK, in Slack's format, when an asset check that passed "
        "fails, and when it passes again. Costs no requests to Buildkite."
    ),
)
def alert_on_failed_checks(
    context: dg.SensorEvaluationContext, session: dg.ResourceParam[Session]
) -> dg.SensorResult | dg.SkipReason:
    """Post what has changed since the last tick; where posting fails, the next tick tries again.

    What is too much for one text is left to the next tick.
    """
    settings = session.settings
    if not settings.alert_webhook:
        return _NOT_SET
    known_failing = set(json.loads(context.cursor or "[]"))
    failing = set(known_failing)
    text = ""
    for evaluation, run_id in _last_evaluations(context):
        name = evaluation.asset_check_key.to_user_string()
        if evaluation.passed == (name not in known_failing):
            continue
        longer = _joined([text, _change(settings, evaluation, run_id)])
        if text and len(longer) > _LONGEST_TEXT:
            break
        text = longer
        failing ^= {name}
    if not text:
        return dg.SkipReason("No check has changed since the last look.")
    post(settings.alert_webhook, text[:_LONGEST_TEXT])
    return dg.SensorResult(cursor=json.dumps(sorted(failing)))


ALERTS: list[dg.SensorDefinition] = [alert_on_failed_runs, alert_on_failed_checks]


def _last_evaluations(
    context: dg.SensorEvaluationContext,
) -> list[tuple[dg.AssetCheckEvaluation, str]]:
    """The last outcome of each check with its run; of one that could not be evaluated, none."""
    if context.repository_def is None:
        raise AssertionError("a sensor is evaluated for a repository")
    keys = sorted(context.repository_def.asset_graph.asset_check_keys)
    storage = context.instance.event_log_storage
    records = storage.get_latest_asset_check_execution_by_key(keys)
    found = [(records[key].evaluation, records[key].run_id) for key in keys if key in records]
    return [
        (evaluation, run_id)
        for evaluation, run_id in found
        if isinstance(evaluation, dg.AssetCheckEvaluation) and _was_evaluated(evaluation)
    ]


def _was_evaluated(evaluation: dg.AssetCheckEvaluation) -> bool:
    """Whether a check claims anything: one that could not look passes and says so."""
    evaluated = evaluation.metadata.get("evaluated")
    return evaluated is None or evaluated.value is not False


def _change(settings: Settings, evaluation: dg.AssetCheckEvaluation, run_id: str) -> str:
    """What is said of a check that fails now, or passes again."""
    name = _safe(settings, evaluation.asset_check_key.to_user_string())
    if evaluation.passed:
        return f"*{name} passes again*"
    return _joined(
        [
            f"*{name} fails* ({evaluation.severity.value.lower()})",
            _safe(settings, evaluation.description or ""),
            _link(settings, run_id),
        ]
    )


def _reason(settings: Settings, event: dg.DagsterEvent) -> str:
    """Why a step failed: the message of what is expected, else no more than the error's name."""
    failure = event.step_failure_data
    told = failure.user_failure_data
    if told is None:
        error = failure.error
        while error and error.cause:
            error = error.cause
        name = error.cls_name if error else None
        return f"{event.step_key}: {name or 'an error'}. The run's log tells more."
    code = told.metadata.get("code")
    coded = f" `{_safe(settings, str(code.value))}`" if code else ""
    return f"{event.step_key}:{coded} {_safe(settings, told.description or '')}"


def _link(settings: Settings, run_id: str) -> str:
    if not settings.dagster_url:
        return f"Run {run_id}"
    return f"<{settings.without_secrets(settings.dagster_url)}/runs/{run_id}|Open the run>"


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if line)


def _safe(settings: Settings, text: str) -> str:
    """Text without secrets, and as Slack wants it: nothing in it becomes a link or a mention.

    Secrets are cut out first: escaped, one that has an `&` would no longer be found.
    """
    cut = settings.without_secrets(text)
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

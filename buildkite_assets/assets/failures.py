"""Failures that are expected: told in one line, and tried again where time may mend them."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import dagster as dg

from buildkite_assets.buildkite.errors import BuildkiteError, RateLimitedError, TransientError
from buildkite_assets.plain_text import one_line
from buildkite_assets.session import Session
from buildkite_assets.settings import SettingsError
from buildkite_assets.warehouse import WarehouseError
from buildkite_assets.warehouse.errors import WarehouseBusyError

P = ParamSpec("P")
T = TypeVar("T")
Context = TypeVar("Context", dg.AssetExecutionContext, dg.AssetCheckExecutionContext)

EXPECTED = (BuildkiteError, WarehouseError, SettingsError)
"""What may go wrong without a fault of the code; each message says what to do."""

_MAY_PASS = (TransientError, WarehouseBusyError)


class ExpectedFailure(dg.Failure):
    """A step failed for a reason that its one-line message tells; `error` is that reason."""

    def __init__(self, error: Exception) -> None:
        code = getattr(error, "code", None)
        super().__init__(
            one_line(str(error)), {"code": code} if code else None, allow_retries=False
        )
        self.error = error


def told_in_one_line(
    step: Callable[Concatenate[Context, P], Iterator[T]],
) -> Callable[Concatenate[Context, P], Iterator[T]]:
    """Have a step fail by one line instead of a stack where the error is an expected one.

    What may pass by itself (Buildkite out of reach, an allowance used up, a busy warehouse) is
    tried again first, as often as the session says; a refusal is not.
    """

    @wraps(step)
    def told(context: Context, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        try:
            yield from step(context, *args, **kwargs)
        except EXPECTED as error:
            session: Session = context.resources.session
            if isinstance(error, _MAY_PASS) and context.retry_number < session.patience.retries:
                raise _retry(context, error, session) from error
            raise ExpectedFailure(error) from None

    return told


def _retry(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
    error: Exception,
    session: Session,
) -> dg.RetryRequested:
    patience = session.patience
    wait_seconds = patience.wait_seconds * 2**context.retry_number
    if isinstance(error, RateLimitedError):
        wait_seconds = error.reset_seconds
    context.log.warning(
        "%s Trying again in %.0f s, for the %d. of %d times.",
        one_line(str(error)),
        wait_seconds,
        context.retry_number + 1,
        patience.retries,
    )
    return dg.RetryRequested(patience.retries, wait_seconds)

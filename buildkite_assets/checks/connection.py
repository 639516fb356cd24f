"""The token in use and the allowance of requests, as Buildkite tells them now."""

from datetime import timedelta

import dagster as dg

from buildkite_assets.buildkite.errors import InvalidCredentialsError
from buildkite_assets.checks.asking import ApiEvidence, asking
from buildkite_assets.checks.check import WARN, Check, Finding, NotEvaluatedError
from buildkite_assets.tables import ORGANIZATIONS

LEAST_LIFE = timedelta(days=14)
MOST_USED = 0.9


@asking
def _token_lasts(evidence: ApiEvidence) -> Finding:
    try:
        token = evidence.token
    except InvalidCredentialsError as error:
        return Finding(passed=False, description=str(error))
    expires_at = token.body.expires_at
    if expires_at is None:
        if token.body.created_at is None:
            raise NotEvaluatedError("Buildkite does not tell when this token expires.")
        return Finding(passed=True, description="The token does not expire.")
    left = max(expires_at - token.at, timedelta())
    return Finding(
        passed=left >= LEAST_LIFE,
        description=f"The token expires in {left.days} days, on {expires_at:%Y-%m-%d}.",
        metadata={
            "expires_at": dg.MetadataValue.timestamp(expires_at),
            "days_left": left.days,
        },
    )


TOKEN_LASTS = Check(
    table=ORGANIZATIONS,
    name="token_lasts",
    statement=(
        f"The API token is accepted, and for {LEAST_LIFE.days} days more.\n\n"
        "Tokens made in the UI expire after seven days unless told otherwise. Costs one request."
    ),
    remedy=(
        "create a new token at https://buildkite.com/user/api-access-tokens and set "
        "BUILDKITE_API_TOKEN."
    ),
    severity=WARN,
    evaluate=_token_lasts,
)


@asking
def _allowance_is_left(evidence: ApiEvidence) -> Finding:
    # The first response's: what these checks themselves ask for later is not counted.
    evidence.token  # noqa: B018 - for its headers
    windows = evidence.client.pacer.windows
    if not windows:
        raise NotEvaluatedError("Buildkite told no rate limit.")
    used = {f"of {window.limit:.0f}": 1 - window.remaining / window.limit for window in windows}
    most = max(used.values())
    return Finding(
        passed=most <= MOST_USED,
        description=f"{most:.0%} of an allowance is used at the moment.",
        metadata={
            "share_used": round(most, 3),
            "limits_per_minute": [round(window.limit) for window in windows],
        },
    )


ALLOWANCE_IS_LEFT = Check(
    table=ORGANIZATIONS,
    name="allowance_is_left",
    statement=(
        f"At most {MOST_USED:.0%} of the requests of this minute are used, by anyone.\n\n"
        "Buildkite limits requests per user and per organization; the fuller of the two counts. A "
        "sync slows down where others use much, and stops where nothing is left for long. Costs "
        "one request, which other checks share."
    ),
    remedy=(
        "find out which other programs use the token's user or the organization, or give the sync "
        "a user of its own."
    ),
    severity=WARN,
    evaluate=_allowance_is_left,
)

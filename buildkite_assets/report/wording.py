"""Numbers as people read them. What is not known is a dash, never a zero."""

from datetime import datetime, timedelta

from buildkite_assets.plain_text import one_line

UNKNOWN = "—"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WHOLE_SECONDS_FROM = 10
_CENTS_BELOW = 100
_LONGEST_TEXT = 1000


def percent(share: float | None) -> str:
    """A share, 0 to 1, in percent."""
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def count(number: int, noun: str) -> str:
    """A number of things, such as `1 build` or `1,203 builds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """A length of time by its two largest units, such as `4 min 12 s` or `2 d 5 h`."""
    if seconds is None:
        return UNKNOWN
    if round(seconds / _MINUTE) * _MINUTE >= _DAY:
        return "{} d {} h".format(*divmod(round(seconds / _HOUR), 24))
    if round(seconds) >= _HOUR:
        return "{} h {} min".format(*divmod(round(seconds / _MINUTE), 60))
    if round(seconds) >= _MINUTE:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    is_whole = seconds == 0 or seconds >= _WHOLE_SECONDS_FROM
    return f"{seconds:.0f} s" if is_whole else f"{seconds:.1f} s"


def money(amount: float | None, currency: str) -> str:
    """An amount in its currency."""
    if amount is None:
        return UNKNOWN
    return f"{amount:,.{2 if amount < _CENTS_BELOW else 0}f} {currency}"


def instant(at: datetime | None) -> str:
    """An instant in UTC, to the minute."""
    return UNKNOWN if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def age(at: datetime, now: datetime) -> str:
    """How long ago an instant was."""
    return f"{duration(max((now - at) / timedelta(seconds=1), 0))} ago"


def cell(column: str, value: object) -> str:
    """A value of a table, by the unit that its column's name ends in.

    Text is made safe to show, and cut to 1,000 characters.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int | float):
        return _number(column, value)
    text = one_line(str(value))
    return f"{text[:_LONGEST_TEXT]}…" if len(text) > _LONGEST_TEXT else text


def _number(column: str, value: float) -> str:
    if column.endswith("_rate"):
        return percent(value)
    if column.endswith("_seconds"):
        return duration(value)
    if column.endswith("_number"):
        return f"{value}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"

"""The rules file: what only the organization itself knows, such as prices and working hours.

time_zone = "Europe/Berlin"       # of days, weeks and hours in reports
currency = "EUR"

[working_hours]
days = ["Mon", "Tue", "Wed", "Thu", "Fri"]
begin = "09:00"
end = "17:00"
holidays = [2026-12-25, 2026-12-26]

[[prices]]                        # the first that fits a job counts
queue = "macos"                   # the queue's key
cluster = "Apple"                 # the cluster's name; default: any; `queue` may then be left out
                                  # instead of both, `tag` is one of the agent's tags
per_minute = 0.08
billed_seconds = 60               # runs are rounded up to multiples of it; default 1

[[deployments]]                   # which jobs deploy; patterns as of file names
environment = "production"
application = "shop"              # default: the pipeline's slug
pipeline = "deploy-*"
step = "ship"                     # any key or label that it ever had; default: every job
branch = "main"                   # default: every branch

[[infrastructure]]                # failures by exit status that are the machine's, not the code's
exit_statuses = [125, 137]
queue = "gpu-*"                   # default: every queue; patterns as of file names
step = "docker-*"                 # default: every step

[verdicts]                        # passed builds in which only these jobs ran do not count as green
setup_commands = ["buildkite-agent pipeline upload*"]  # patterns for the last line of a command
setup_steps = [":pipeline:*"]     # and for steps

[branch_health]
ignored_sources = ["schedule"]    # builds that turn no default branch red or green; default: none

[access]
most_administrators = 5           # more of them are a finding
dormant_days = 90                 # access that was not used for as long is a finding

[freshness_hours]                 # older than this is stale, by group of assets
builds = 26                       # and likewise the others

In patterns `*` stands for any text, `?` for one ASCII character, `[ab]` for one of these. To mean
such a character itself, put it into brackets: `[[]prod] ship` fits the step `[prod] ship`. Patterns
are case-sensitive and fit the whole name. Prices name queues, clusters and tags; they have no
patterns.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TIME_OF_DAY = r"^([01]\d|2[0-3]):[0-5]\d$"
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")
_RULE_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`")
_UNKNOWN_KEY = re.compile(r"unknown field `(?P<key>[^`]*)`")

ANYTHING = "*"
"""The pattern that fits everything."""

Source = Literal["webhook", "api", "ui", "trigger_job", "schedule"]
Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=_TIME_OF_DAY)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
ExitStatus = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
Hours = Annotated[int, msgspec.Meta(ge=1, le=24 * 366)]


class RulesError(Exception):
    """The rules file cannot be used; the message is one line with file, line and reason."""


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the rules file; what it does not know is wrong."""


class WorkingHours(_Rule, frozen=True):
    """When people work, in the reporting time zone."""

    days: tuple[Weekday, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri")
    begin: TimeOfDay = "09:00"
    end: TimeOfDay = "17:00"
    holidays: tuple[date, ...] = ()

    def __post_init__(self) -> None:
        if self.begin >= self.end:
            raise ValueError("`begin` must be before `end`")


class Price(_Rule, frozen=True):
    """What a minute of an agent costs."""

    per_minute: Annotated[float, msgspec.Meta(ge=0)]
    queue: Text | None = None
    cluster: Text | None = None
    tag: Text | None = None
    billed_seconds: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        if (self.queue is None and self.cluster is None) == (self.tag is None):
            raise ValueError(
                "a price names a `queue`, a `cluster` or both, or it names a `tag`: "
                "exactly one of these"
            )


class Deployment(_Rule, frozen=True):
    """Which jobs deploy what to where."""

    environment: Text
    pipeline: Text
    application: Text | None = None
    step: Text = ANYTHING
    branch: Text = ANYTHING


class Infrastructure(_Rule, frozen=True):
    """Which exit statuses say that the machine failed, not the code."""

    exit_statuses: Annotated[tuple[ExitStatus, ...], msgspec.Meta(min_length=1)]
    queue: Text = ANYTHING
    step: Text = ANYTHING


class Verdicts(_Rule, frozen=True):
    """Which jobs only set up a build. A passed build in which nothing else ran is no verdict."""

    setup_commands: tuple[Text, ...] = (
        "buildkite-agent pipeline upload*",
        "*| buildkite-agent pipeline upload*",
    )
    setup_steps: tuple[Text, ...] = ()


class BranchHealth(_Rule, frozen=True):
    """Which builds turn a default branch red or green."""

    ignored_sources: tuple[Source, ...] = ()


class Access(_Rule, frozen=True):
    """What findings of access go by."""

    most_administrators: Annotated[int, msgspec.Meta(ge=0)] = 5
    dormant_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 90


class FreshnessHours(_Rule, frozen=True):
    """For how many hours a table counts as fresh after it was last materialized, by group.

    A day and two hours suits everything that is brought up to date once a day or more often.
    """

    catalog: Hours = 26
    builds: Hours = 26
    build_details: Hours = 26
    metrics: Hours = 26
    access: Hours = 26
    access_review: Hours = 26


class Rules(_Rule, frozen=True):
    """All rules."""

    time_zone: str = "UTC"
    currency: Text = "USD"
    working_hours: WorkingHours = WorkingHours()
    prices: tuple[Price, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    infrastructure: tuple[Infrastructure, ...] = ()
    verdicts: Verdicts = Verdicts()
    branch_health: BranchHealth = BranchHealth()
    access: Access = Access()
    freshness_hours: FreshnessHours = FreshnessHours()

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"`time_zone` {self.time_zone!r} is not a known time zone") from error

    def parameters(self) -> dict[str, Any]:
        """The values that queries name as `$time_zone`, `$prices` and so on."""
        return {
            "time_zone": self.time_zone,
            "currency": self.currency,
            "working_days": [_DAYS.index(day) + 1 for day in self.working_hours.days],
            "work_begins": self.working_hours.begin,
            "work_ends": self.working_hours.end,
            "holidays": list(self.working_hours.holidays),
            "prices": [msgspec.to_builtins(price) for price in self.prices],
            "deployments": [msgspec.to_builtins(rule) for rule in self.deployments],
            "infrastructure": [msgspec.to_builtins(rule) for rule in self.infrastructure],
            "setup_commands": list(self.verdicts.setup_commands),
            "setup_steps": list(self.verdicts.setup_steps),
            "ignored_sources": list(self.branch_health.ignored_sources),
            "most_administrators": self.access.most_administrators,
            "dormant_days": self.access.dormant_days,
        }


def as_plain_pattern(text: str) -> str:
    """Return the pattern that fits this text and no other."""
    return re.sub(r"([\[*?\\])", r"[\1]", text)


def read_rules(path: Path) -> Rules:
    """The rules that stand in a file.

    Raises:
        RulesError: the file cannot be read, or a rule is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: cannot be read: {error}") from error
    try:
        return msgspec.toml.decode(text, type=Rules)
    except msgspec.ValidationError as error:
        message = str(error)
        raise RulesError(
            f"{path}:{_line_of_rule(text, message)}: {_RULE_PLACE.sub('', message)}"
        ) from error
    except msgspec.DecodeError as error:
        message = str(error)
        place = _SYNTAX_PLACE.search(message)
        line = place[1] if place and place[1] else text.count("\n") + 1
        raise RulesError(f"{path}:{line}: {_SYNTAX_PLACE.sub('', message)}") from error


def _line_of_rule(text: str, message: str) -> int:
    """The line of the key that a message of msgspec is about, or of the table that it stands in."""
    place = _RULE_PLACE.search(message)
    unknown = _UNKNOWN_KEY.search(message)
    steps = re.findall(r"[^.\[\]]+", place["path"]) if place else []
    steps += [unknown["key"]] if unknown else []
    lines = text.split("\n")
    found = 0
    while steps:
        name, *steps = steps
        index = int(steps.pop(0)) if steps and steps[0].isdigit() else 0
        wanted = re.compile(rf"\s*(\[\[?\s*{name}\s*\]\]?|{name}\s*=)")
        matching = [n for n, line in enumerate(lines) if n >= found and wanted.match(line)]
        if not matching:
            break
        found = matching[min(index, len(matching) - 1)]
    return found + 1

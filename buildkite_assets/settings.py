"""What the environment sets, read once into one frozen `Settings`."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from buildkite_assets.buildkite.this_machine import is_this_machine
from buildkite_assets.private_files import given_path
from buildkite_assets.rules import Rules, RulesError, read_rules

T = TypeVar("T")

_SECRET_PARTS = re.compile(r"//.*@|[?#].*", re.DOTALL)
_SECRETS = ("BUILDKITE_API_TOKEN", "BUILDKITE_EMAIL_KEY", "BUILDKITE_ALERT_WEBHOOK")
_SHORTEST_KEY = 16
_RULES = "buildkite_assets.toml"
_DAGSTER_HOME = ".dagster"
_LONGEST_SHOWN = 100
# `urlsplit` takes `[::1].example` for the host ::1, and other programs do not.
_AUTHORITY = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]*)?")


class SettingsError(Exception):
    """A setting is missing or wrong; the message names variable, value and rule in one line."""


@dataclass(frozen=True)
class Settings:
    """All settings; see the README for what each variable means."""

    api_token: str = field(repr=False)
    api_url: str
    organizations: tuple[str, ...]
    start_date: date | None
    warehouse: Path
    file_mode: int
    rate_share: float
    meta_data_keys: frozenset[str] | None
    email_key: bytes | None = field(repr=False)
    rules: Rules
    alert_webhook: str = field(repr=False)
    dagster_url: str
    dagster_home: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings as the environment has them.

        `api_token` may be empty here: only what talks to Buildkite asks for it, see `token`.

        Raises:
            SettingsError: a value breaks its rule.
        """

        def read(name: str, default: str, rule: str, parse: Callable[[str], T]) -> T:
            value = environment.get(name, "").strip() or default
            try:
                return parse(value)
            except (ValueError, OSError, RuntimeError):
                shown = _shown(value, environment)
                raise SettingsError(f"{name}={shown!r} is wrong: {rule}") from None

        return cls(
            api_token=_api_token(environment.get("BUILDKITE_API_TOKEN", "").strip()),
            api_url=read(
                "BUILDKITE_API_URL",
                "https://api.buildkite.com/v2",
                "an https:// address, or http:// on this machine, without user or query",
                _api_url,
            ),
            organizations=read(
                "BUILDKITE_ORGANIZATIONS",
                "",
                "organization slugs, separated by commas",
                _organizations,
            ),
            start_date=read(
                "BUILDKITE_START_DATE",
                "",
                "a day as YYYY-MM-DD, not in the future",
                _start_date,
            ),
            warehouse=read(
                "BUILDKITE_WAREHOUSE",
                "data/buildkite.duckdb",
                "the path of a file that ends in .duckdb",
                _warehouse,
            ),
            file_mode=read(
                "BUILDKITE_FILE_MODE",
                "0600",
                "an octal file mode that lets its owner read and write, such as 0640",
                _file_mode,
            ),
            rate_share=read(
                "BUILDKITE_RATE_SHARE", "0.8", "a number above 0 and at most 1", _rate_share
            ),
            meta_data_keys=read(
                "BUILDKITE_META_DATA",
                "all",
                "all, none, or the keys to keep, separated by commas",
                _meta_data_keys,
            ),
            email_key=_email_key(
                environment,
                is_hashed=read("BUILDKITE_EMAILS", "plain", "plain or hashed", _is_hashed),
            ),
            rules=_rules(environment.get("BUILDKITE_RULES", "").strip()),
            alert_webhook=_alert_webhook(environment.get("BUILDKITE_ALERT_WEBHOOK", "").strip()),
            dagster_url=read(
                "BUILDKITE_DAGSTER_URL",
                "",
                "the http:// or https:// address of Dagster's UI, without user or query",
                _dagster_url,
            ),
            dagster_home=read("DAGSTER_HOME", _DAGSTER_HOME, "the path of a folder", given_path),
        )

    @property
    def token(self) -> str:
        """The API token.

        Raises:
            SettingsError: none is set.
        """
        if not self.api_token:
            raise SettingsError(
                "BUILDKITE_API_TOKEN is not set: create a token with read scopes at "
                "https://buildkite.com/user/api-access-tokens, or try `make demo`, "
                "which needs none"
            )
        return self.api_token

    @property
    def report(self) -> Path:
        """Where the report is: beside the warehouse, such as `data/buildkite-ci-report.html`."""
        return self.warehouse.with_name(f"{self.warehouse.stem}-ci-report.html")

    def without_secrets(self, text: str) -> str:
        """A text that is to leave this machine, with every secret of these settings cut out."""
        key = (self.email_key or b"").decode()
        for secret in filter(None, (self.api_token, key, self.alert_webhook)):
            text = text.replace(secret, "…")
        return text


def _shown(value: str, environment: Mapping[str, str]) -> str:
    """A wrong value as an error may show it: a secret may have strayed into it."""
    secrets = [environment.get(name, "").strip() for name in _SECRETS]
    if any(secret and secret in value for secret in secrets):
        return "…"
    return _SECRET_PARTS.sub("…", value)[:_LONGEST_SHOWN]


def _api_token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]*", value):
        raise SettingsError(
            "BUILDKITE_API_TOKEN is wrong: it must be one word of printable ASCII characters"
        )
    return value


def _api_url(value: str) -> str:
    if not _is_private(_address(value)) or "?" in value:
        raise ValueError
    return value.rstrip("/")


def _dagster_url(value: str) -> str:
    if value and "?" in _address(value).geturl():
        raise ValueError
    return value.rstrip("/")


def _alert_webhook(value: str) -> str:
    try:
        if not value or _is_private(_address(value)):
            return value
    except ValueError:
        pass
    raise SettingsError(
        "BUILDKITE_ALERT_WEBHOOK is wrong: it must be an https:// address, or http:// on this "
        "machine, without user"
    )


def _address(value: str) -> SplitResult:
    """The parts of an http or https address without user or fragment."""
    url = urlsplit(value)
    is_plain = not ("@" in url.netloc or "#" in value)
    is_whole = _AUTHORITY.fullmatch(url.netloc.lower()) and url.port != 0
    if not (is_plain and is_whole and value.isprintable() and " " not in value):
        raise ValueError
    if url.scheme not in {"http", "https"}:
        raise ValueError
    return url


def _is_private(url: SplitResult) -> bool:
    """Whether nobody on the way can read what is sent there."""
    return url.scheme == "https" or is_this_machine(url.hostname or "")


def _organizations(value: str) -> tuple[str, ...]:
    slugs = tuple(dict.fromkeys(slug.strip() for slug in value.split(",") if slug.strip()))
    if any(not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", slug) for slug in slugs):
        raise ValueError
    return slugs


def _start_date(value: str) -> date | None:
    if not value:
        return None
    day = datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date()
    if day > datetime.now(UTC).date():
        raise ValueError
    return day


def _warehouse(value: str) -> Path:
    path = given_path(value)
    if Path(value).suffix != ".duckdb" or path.is_dir():
        raise ValueError
    return path


def _file_mode(value: str) -> int:
    if not re.fullmatch(r"0?[67][0-7][0-7]", value):
        raise ValueError
    return int(value, 8)


def _rate_share(value: str) -> float:
    share = float(value)
    if not 0 < share <= 1:
        raise ValueError
    return share


def _meta_data_keys(value: str) -> frozenset[str] | None:
    if value.lower() == "all":
        return None
    if value.lower() == "none":
        return frozenset()
    return frozenset(key.strip() for key in value.split(",") if key.strip())


def _is_hashed(value: str) -> bool:
    if value not in {"plain", "hashed"}:
        raise ValueError
    return value == "hashed"


def _email_key(environment: Mapping[str, str], *, is_hashed: bool) -> bytes | None:
    key = environment.get("BUILDKITE_EMAIL_KEY", "").strip()
    if not is_hashed:
        return None
    if len(key) < _SHORTEST_KEY:
        raise SettingsError(
            "BUILDKITE_EMAIL_KEY is missing or too short: BUILDKITE_EMAILS=hashed needs a secret "
            f"key of at least {_SHORTEST_KEY} characters"
        )
    return key.encode()


def _rules(value: str) -> Rules:
    try:
        path = given_path(value or _RULES)
        return read_rules(path) if value or path.exists() else Rules()
    except RulesError as error:
        raise SettingsError(str(error)) from error
    except ValueError as error:
        raise SettingsError(f"BUILDKITE_RULES is wrong: {error}") from error

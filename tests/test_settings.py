"""What each variable may say, and the one line that tells a wrong one."""

import traceback
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from buildkite_assets.rules import Rules
from buildkite_assets.settings import Settings, SettingsError

TOKEN = "bkua_Secret0123456789"
KEY = "a-key-of-enough-characters"
WEBHOOK = "https://hooks.slack.example/services/T0/B0/hunter2"


def read(**environment: str) -> Settings:
    """The settings of an environment of these variables, each without its prefix."""
    return Settings.from_environment(
        {f"BUILDKITE_{name.upper()}": value for name, value in environment.items()}
    )


def refusal(**environment: str) -> str:
    """The one line with which an environment is refused, having looked for secrets in it."""
    with pytest.raises(SettingsError) as raised:
        read(**environment)
    told = "".join(traceback.format_exception(raised.value))
    for secret in (TOKEN, KEY, "hunter2"):
        assert secret not in told
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_defaults() -> None:
    settings = read()
    assert settings == Settings(
        api_token="",
        api_url="https://api.buildkite.com/v2",
        organizations=(),
        start_date=None,
        warehouse=Path("data/buildkite.duckdb").resolve(),
        file_mode=0o600,
        rate_share=0.8,
        meta_data_keys=None,
        email_key=None,
        rules=Rules(),
        alert_webhook="",
        dagster_url="",
        dagster_home=Path(".dagster").resolve(),
    )


def test_blank_is_as_good_as_unset() -> None:
    names = ["api_token", "api_url", "organizations", "start_date", "warehouse", "file_mode"]
    names += ["rate_share", "meta_data", "emails", "email_key", "alert_webhook", "dagster_url"]
    assert read(**dict.fromkeys(names, "  ")) == read()


def test_secrets_are_not_in_the_repr() -> None:
    settings = read(api_token=TOKEN, emails="hashed", email_key=KEY, alert_webhook=WEBHOOK)
    for secret in (TOKEN, KEY, WEBHOOK):
        assert secret not in repr(settings)


def test_secrets_are_cut_out_of_what_leaves_the_machine() -> None:
    settings = read(api_token=TOKEN, emails="hashed", email_key=KEY, alert_webhook=WEBHOOK)
    said = f"no {TOKEN}, no {KEY}, no {WEBHOOK}, no {TOKEN}"
    assert settings.without_secrets(said) == "no …, no …, no …, no …"
    assert read().without_secrets(said) == said


# Token


def test_the_token_is_taken_without_blanks_around() -> None:
    assert read(api_token=f" {TOKEN}\n").token == TOKEN


def test_a_missing_token_says_where_to_get_one() -> None:
    with pytest.raises(SettingsError, match=r"BUILDKITE_API_TOKEN is not set: .*api-access-tokens"):
        read().token  # noqa: B018 - reading it is what fails


@pytest.mark.parametrize("value", [f"{TOKEN} x", f"{TOKEN}\nx", f"{TOKEN}é", f"{TOKEN}\x00"])
def test_a_token_that_no_header_can_carry_is_refused(value: str) -> None:
    assert refusal(api_token=value).startswith("BUILDKITE_API_TOKEN is wrong: ")


# Address


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://api.buildkite.com/v2/", "https://api.buildkite.com/v2"),
        ("https://buildkite.example:8443/api", "https://buildkite.example:8443/api"),
        ("http://127.0.0.1:8765/v2", "http://127.0.0.1:8765/v2"),
        ("http://localhost/v2", "http://localhost/v2"),
        ("http://[::1]:80/v2", "http://[::1]:80/v2"),
        ("http://127.0.0.2:8765/v2", "http://127.0.0.2:8765/v2"),
        ("http://LOCALHOST/v2", "http://LOCALHOST/v2"),
        ("http://localhost./v2", "http://localhost./v2"),
        ("http://0.0.0.0:8765/v2", "http://0.0.0.0:8765/v2"),
        ("http://[::ffff:127.0.0.1]/v2", "http://[::ffff:127.0.0.1]/v2"),
    ],
)
def test_an_address_is_https_or_of_this_machine(value: str, expected: str) -> None:
    assert read(api_url=value).api_url == expected


@pytest.mark.parametrize(
    "value",
    [
        "api.buildkite.com",
        "http://api.buildkite.com/v2",
        "http://127.0.0.1.example/v2",
        "http://localhost.example/v2",
        "http://localhost../v2",
        "http://api.localhost/v2",
        "http://128.0.0.1/v2",
        "http://127.1/v2",
        "http://2130706433/v2",
        "http://192.168.0.1/v2",
        "http://[::2]/v2",
        "http://[::ffff:10.0.0.1]/v2",
        "http://[::1].example/v2",
        "http://localhost@evil.example/v2",
        "ftp://api.buildkite.com/v2",
        "https://",
        "https:///v2",
        "https://me:hunter2@api.buildkite.com/v2",
        "https://:hunter2@api.buildkite.com/v2",
        "https://me:hunt/hunter2@api.buildkite.com/v2",
        "https://api.buildkite.com/v2?access_token=hunter2",
        "https://api.buildkite.com/v2#hunter2",
        f"https://api.buildkite.com/{TOKEN}?",
        "https://api.buildkite.com:0/v2",
        "https://api.buildkite.com:99999/v2",
        "https://api.buildkite.com:port/v2",
        "https://api buildkite.com/v2",
        "https://api.buildkite.com/v 2",
        "https://api.buildkite.com/v2\nX: y",
        "https://[::1/v2",
        "https://exämple.com/v2",
        "https://" + "x" * 5000 + "?",
    ],
)
def test_another_address_is_refused(value: str) -> None:
    message = refusal(api_url=value, api_token=TOKEN)
    assert message.startswith("BUILDKITE_API_URL=")
    assert message.endswith("https:// address, or http:// on this machine, without user or query")


# Everything else


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("acme", ("acme",)),
        (" acme , umbrella-2,,acme ", ("acme", "umbrella-2")),
        (",", ()),
    ],
)
def test_organizations_are_slugs(value: str, expected: tuple[str, ...]) -> None:
    assert read(organizations=value).organizations == expected


@pytest.mark.parametrize("value", ["a/b", "../acme", "acme:x", "-", "acme umbrella", "ä"])
def test_what_is_no_slug_is_refused(value: str) -> None:
    assert refusal(organizations=value).startswith(f"BUILDKITE_ORGANIZATIONS={value!r} is wrong: ")


def test_a_start_date_is_a_day_up_to_today() -> None:
    assert read(start_date="2026-02-28").start_date == date(2026, 2, 28)
    today = datetime.now(UTC).date()
    assert read(start_date=today.isoformat()).start_date == today


@pytest.mark.parametrize(
    "value",
    ["yesterday", "28.02.2026", "2026-02-30", "2026-02-28T00:00:00", "9999-12-31", "20260228"],
)
def test_another_start_date_is_refused(value: str) -> None:
    assert refusal(start_date=value).endswith("is wrong: a day as YYYY-MM-DD, not in the future")


def test_a_day_in_the_future_is_refused() -> None:
    later = datetime.now(UTC).date() + timedelta(days=2)
    assert "not in the future" in refusal(start_date=later.isoformat())


def test_a_warehouse_is_a_file_that_may_stand_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(warehouse="~/b.duckdb").warehouse == tmp_path / "b.duckdb"
    assert read(warehouse=str(tmp_path / "x y.duckdb")).warehouse == tmp_path / "x y.duckdb"


def test_every_path_may_stand_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "rules.toml").write_text('currency = "CHF"')
    variables = {
        "BUILDKITE_WAREHOUSE": "~/b.duckdb",
        "BUILDKITE_RULES": "~/rules.toml",
        "DAGSTER_HOME": "~/x",
    }
    settings = Settings.from_environment(variables)
    assert settings.warehouse == tmp_path / "b.duckdb"
    assert settings.rules.currency == "CHF"
    assert settings.dagster_home == tmp_path / "x"


@pytest.mark.parametrize("name", ["BUILDKITE_WAREHOUSE", "BUILDKITE_RULES", "DAGSTER_HOME"])
@pytest.mark.parametrize("value", ["~nobody-of-this-name/b.duckdb", "a\0b.duckdb"])
def test_what_can_be_no_path_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})


@pytest.mark.parametrize(
    "value", ["data/b.db", "data", ".duckdb", "x.duckdb/y", "~nobody-of-this-name/b.duckdb"]
)
def test_another_warehouse_is_refused(value: str) -> None:
    assert refusal(warehouse=value).startswith(f"BUILDKITE_WAREHOUSE={value!r} is wrong: ")


def test_a_folder_is_no_warehouse(tmp_path: Path) -> None:
    (tmp_path / "b.duckdb").mkdir()
    assert "the path of a file" in refusal(warehouse=str(tmp_path / "b.duckdb"))


@pytest.mark.parametrize(("value", "expected"), [("0640", 0o640), ("600", 0o600), ("0777", 0o777)])
def test_a_file_mode_is_octal(value: str, expected: int) -> None:
    assert read(file_mode=value).file_mode == expected


@pytest.mark.parametrize("value", ["0400", "0o600", "-600", "0800", "rw", "10600", "0x1ff", "0200"])
def test_another_file_mode_is_refused(value: str) -> None:
    assert "an octal file mode" in refusal(file_mode=value)


@pytest.mark.parametrize(("value", "expected"), [("1", 1.0), ("0.05", 0.05), (".5", 0.5)])
def test_a_rate_share_is_a_part(value: str, expected: float) -> None:
    assert read(rate_share=value).rate_share == expected


@pytest.mark.parametrize("value", ["0", "-0.1", "1.01", "80%", "nan", "inf", "half", TOKEN])
def test_another_rate_share_is_refused(value: str) -> None:
    assert "above 0 and at most 1" in refusal(rate_share=value, api_token=TOKEN)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("all", None),
        ("All", None),
        ("none", frozenset()),
        ("NONE", frozenset()),
        ("release, buildkite:git:commit", frozenset({"release", "buildkite:git:commit"})),
    ],
)
def test_meta_data_is_all_none_or_some_keys(value: str, expected: frozenset[str] | None) -> None:
    assert read(meta_data=value).meta_data_keys == expected


def test_emails_are_hashed_with_a_key() -> None:
    assert read(emails="hashed", email_key=KEY).email_key == KEY.encode()
    assert read(emails="plain", email_key=KEY).email_key is None


@pytest.mark.parametrize("key", ["", "short", "x" * 15])
def test_hashing_needs_a_key_of_some_length(key: str) -> None:
    message = refusal(emails="hashed", email_key=key)
    assert message.startswith("BUILDKITE_EMAIL_KEY is missing or too short")
    assert "16 characters" in message


@pytest.mark.parametrize("value", ["hash", "true", KEY])
def test_another_choice_for_emails_is_refused(value: str) -> None:
    message = refusal(emails=value, email_key=KEY)
    assert message.startswith("BUILDKITE_EMAILS=")
    assert message.endswith("is wrong: plain or hashed")


# Alerts


@pytest.mark.parametrize(
    "value",
    [
        WEBHOOK,
        "https://chat.example:8443/hooks/abc?token=x",
        "http://127.0.0.1:8065/hooks/abc",
        "http://localhost/hooks/abc",
    ],
)
def test_a_webhook_is_https_or_of_this_machine(value: str) -> None:
    assert read(alert_webhook=f" {value} ").alert_webhook == value


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "http://hooks.slack.example/services/hunter2",
        "ftp://localhost/hunter2",
        "https:///hunter2",
        "https://me:hunter2@hooks.slack.example/",
        "https://hooks.slack.example/hunter2#x",
        "https://hooks.slack.example/hunt er2/hunter2",
        "https://[::1/hunter2",
    ],
)
def test_another_webhook_is_refused_without_showing_it(value: str) -> None:
    assert refusal(alert_webhook=value) == (
        "BUILDKITE_ALERT_WEBHOOK is wrong: it must be an https:// address, or http:// on this "
        "machine, without user"
    )


def test_a_webhook_that_strayed_into_another_setting_is_not_shown() -> None:
    assert "hooks" not in refusal(rate_share=WEBHOOK, alert_webhook=WEBHOOK)


def test_the_address_of_the_ui_is_one_that_people_open() -> None:
    assert read(dagster_url="http://dagster.internal:3000/").dagster_url == (
        "http://dagster.internal:3000"
    )
    for wrong in ("dagster:3000", "https://me:hunter2@d.example", "https://d.example/?a=b"):
        assert refusal(dagster_url=wrong).startswith("BUILDKITE_DAGSTER_URL=")

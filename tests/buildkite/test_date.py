"""The date of an answer: it orders what is stored, so it must be there and agree with our clock."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from buildkite_assets.buildkite.client import CLOCK_TOLERANCE, Client, Response
from buildkite_assets.buildkite.connection import check_connection
from buildkite_assets.buildkite.errors import UnexpectedResponseError, WrongClockError
from buildkite_assets.sandbox import SandboxServer

from .conftest import Connect, RawServe, RawServer, http

NOON = datetime(2026, 11, 19, 12, tzinfo=UTC)


def noon() -> datetime:
    """The clock of a machine whose time stands still."""
    return NOON


def ask(client: Client) -> Response[bytes]:
    """Ask for anything."""
    return client.get("access-token", None, bytes)


def dated_at(date: datetime) -> bytes:
    """An answer with this date."""
    return http(200, {}, f"Date: {format_datetime(date, usegmt=True)}")


@pytest.fixture
def eastern_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set this machine to a time zone west of Greenwich."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("eastern_time")
@pytest.mark.parametrize(
    "date",
    [
        "Thu, 19 Nov 2026 12:00:00 GMT",
        "Thu, 19 Nov 2026 14:00:00 +0200",
        "Thu, 19 Nov 2026 12:00:00",
        "Thu, 19 Nov 2026 12:00:00 -0000",
    ],
)
def test_the_date_is_the_servers_whatever_zone_this_machine_is_in(
    date: str, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(http(200, {}, f"Date: {date}"))
    assert ask(connect(server.url, clock=noon)).at == NOON


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_may_differ_a_little(sign: int, raw_serve: RawServe, connect: Connect) -> None:
    date = NOON + sign * CLOCK_TOLERANCE
    assert ask(connect(raw_serve(dated_at(date)).url, clock=noon)).at == date


@pytest.mark.parametrize(
    "date",
    [
        datetime(2037, 11, 28, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        NOON + CLOCK_TOLERANCE + timedelta(seconds=1),
        NOON - CLOCK_TOLERANCE - timedelta(seconds=1),
    ],
)
def test_a_date_far_from_this_machines_clock_is_refused_at_once(
    date: datetime, raw_serve: RawServe, connect: Connect
) -> None:
    server = raw_serve(dated_at(date))
    with pytest.raises(WrongClockError) as raised:
        ask(connect(server.url, clock=noon))
    assert len(server.requests) == 1
    said = str(raised.value)
    assert "GET /v2/access-token answered with the date" in said
    assert f"{date:%Y-%m-%d %H:%M:%S} UTC" in said
    assert "this machine's clock says 2026-11-19 12:00:00 UTC" in said
    assert "Check this machine's clock first, then a proxy" in said


def test_the_doctor_names_a_wrong_clock(server: SandboxServer, connect: Connect) -> None:
    token = server.sandbox.tokens.administrator.value
    ahead = connect(server.url, token, clock=lambda: datetime.now(UTC) + timedelta(hours=5))
    report = check_connection(ahead, ())
    assert (report.ok, report.code) == (False, "wrong_clock")


def test_an_answer_without_a_date_is_refused(raw_serve: RawServe, connect: Connect) -> None:
    undated = http(200, {})
    server = raw_serve(lambda handler, _: (handler.wfile.write(undated), None)[1])
    with pytest.raises(UnexpectedResponseError, match="without a date that can be read"):
        ask(connect(server.url))
    assert len(server.requests) == 1


TEXTS = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
    st.from_regex(r"([A-Z][a-z]{2}, )?\d{1,3}[ -][A-Z][a-z]{2}[ -]\d{1,5} [0-9:]{1,9} ?\S{0,5}"),
).filter(lambda text: text.isascii() and text.isprintable())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
@example(text="Fri, 31 Dec 9999 23:59:59 -2300")
@example(text="Mon, 01 Jan 0001 00:00:00 +2300")
@example(text="Thu, 19 Nov 2026 12:00:00 +99999999999")
@example(text="")
def test_any_other_date_is_refused_by_an_error_of_ours(
    text: str, raw_serve: RawServe, connect: Connect
) -> None:
    server: RawServer = raw_serve(http(200, {}, f"Date: {text}"))
    with closing(server), suppress(UnexpectedResponseError, WrongClockError):
        assert abs(ask(connect(server.url, clock=noon)).at - NOON) <= CLOCK_TOLERANCE

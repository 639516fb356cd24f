"""What a client says while it works: responses, waits and retries."""

import logging
from dataclasses import dataclass, field

import pytest

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.decoding import decode_list
from buildkite_assets.buildkite.records import Organization

from .conftest import RawServe, http

ORGANIZATION = {"id": "0192f3b1-2222-4333-8444-555566667777", "slug": "acme"}


@dataclass
class Notes:
    """A watcher that writes down what it is told."""

    sizes: list[int] = field(default_factory=list)
    waits: list[tuple[str, float]] = field(default_factory=list)

    def expect(self, parts: int, unit: str) -> None:
        """Do nothing: a single request has no parts."""

    def part_read(self) -> None:
        """Do nothing: a single request has no parts."""

    def answered(self, size_bytes: int, remaining: int | None) -> None:
        """Write down the size."""
        assert remaining is None
        self.sizes.append(size_bytes)

    def waiting(self, reason: str, seconds: float) -> None:
        """Write down what a request waits for."""
        self.waits.append((reason, seconds))


def organizations(body: bytes) -> list[Organization]:
    """Decode a list of organizations."""
    return decode_list(body, Organization)


def test_a_retry_says_in_one_line_what_failed_and_when_it_tries_again(
    raw_serve: RawServe, caplog: pytest.LogCaptureFixture
) -> None:
    server = raw_serve(http(503, b"busy\x1b[31m\nvery"), http(200, [ORGANIZATION]))
    notes = Notes()
    with (
        caplog.at_level(logging.WARNING, "buildkite_assets"),
        Client(server.url, "secret-token", attempts=3, watcher=notes) as client,
    ):
        client.get("organizations", None, organizations)
    [record] = [record for record in caplog.records if record.name.startswith("buildkite_assets")]
    line = record.getMessage()
    assert line.startswith("GET /v2/organizations answered 503: ")
    assert line.endswith("Retry 1 of 2 in about 1 s.")
    assert "\n" not in line
    assert [reason for reason, _ in notes.waits] == ["to try again"]
    assert len(notes.sizes) == 2


def test_the_last_attempt_announces_no_other(
    raw_serve: RawServe, caplog: pytest.LogCaptureFixture
) -> None:
    server = raw_serve(*[http(503, b"busy")] * 2)
    with (
        caplog.at_level(logging.WARNING, "buildkite_assets"),
        Client(server.url, "secret-token", attempts=2) as client,
        pytest.raises(Exception, match="503"),
    ):
        client.get("organizations", None, organizations)
    assert sum(record.name.startswith("buildkite_assets") for record in caplog.records) == 1


def test_a_wait_for_the_rate_limit_is_said_with_its_length(raw_serve: RawServe) -> None:
    server = raw_serve(http(200, [ORGANIZATION]), http(200, [ORGANIZATION]))
    notes = Notes()
    with Client(server.url, "secret-token", watcher=notes) as client:
        client.pacer.pause(0.2)
        client.get("organizations", None, organizations)
    [(reason, seconds)] = notes.waits
    assert reason == "for Buildkite's rate limit"
    assert 0.2 < seconds < 1.3

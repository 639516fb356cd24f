"""The allowance: used to the full share, shared with others, never exhausted."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkite_assets.buildkite.client import Client
from buildkite_assets.buildkite.decoding import decode_list
from buildkite_assets.buildkite.errors import BuildkiteError
from buildkite_assets.buildkite.rate_limit import Pacer, Window, believable_reset, windows
from buildkite_assets.buildkite.records import Organization
from buildkite_assets.sandbox import Sandbox, SandboxServer, serve

from .conftest import Connect


def headers(
    limit: object, remaining: object, reset: object, prefix: str = "RateLimit"
) -> dict[str, str]:
    """What a response tells of one allowance."""
    return {
        f"{prefix}-Limit": str(limit),
        f"{prefix}-Remaining": str(remaining),
        f"{prefix}-Reset": str(reset),
    }


def ask(client: Client) -> None:
    """Send one small request."""
    client.get("organizations", None, lambda body: decode_list(body, Organization))


# What the headers say


def test_both_allowances_are_read() -> None:
    told = headers(200, 150, 30) | headers(50, 49, 31, "RateLimit-User")
    assert windows(told) == [Window(200, 150, 30), Window(50, 49, 31)]


def test_a_negative_remainder_is_none_left() -> None:
    (window,) = windows(headers(200, -14, 9))
    assert window.is_exhausted(0.8)


@pytest.mark.parametrize(
    "told",
    [
        {},
        headers("many", 1, 1),
        headers(200, "some", 1),
        headers(0, 0, 1),
        headers(-5, 1, 1),
        headers("nan", 1, 1),
        headers("inf", 1, 1),
        {"RateLimit-Limit": "200"},
    ],
)
def test_allowances_that_make_no_sense_are_left_out(told: dict[str, str]) -> None:
    assert windows(told) == []


@pytest.mark.parametrize("reset", ["-1", "301", "1e300", "nan", "inf", "soon", "", None, [], {}])
def test_a_reset_that_cannot_be_is_not_believed(reset: object) -> None:
    assert believable_reset(reset) is None


@pytest.mark.parametrize("reset", [0, "0", 42, "42", 42.5, " 42 ", "300"])
def test_a_reset_within_five_minutes_is_believed(reset: str | float) -> None:
    assert believable_reset(reset) == float(reset)


# How far apart requests are


@pytest.mark.parametrize(
    ("window", "share", "seconds"),
    [
        (Window(50, 50, 60), 0.8, 1.5125),  # 40 in 60.5 s
        (Window(200, 200, 60), 0.8, 0.378125),  # 160 in 60.5 s
        (Window(50, 50, 60), 1.0, 1.21),
        (Window(50, 30, 30), 0.8, 1.5125),  # others take little: our own share is the limit
        (Window(50, 10, 40), 0.8, 5.0),  # others took much: 8 of the 10 left in 40 s
        (Window(50, 1, 40), 0.8, 1.5125),  # less than one is ours: there is a pause instead
    ],
)
def test_requests_are_spread_over_our_share(window: Window, share: float, seconds: float) -> None:
    assert window.interval_seconds(share) == pytest.approx(seconds)


@given(st.floats(0.5, 10_000), st.floats(-100, 10_000), st.floats(0, 300), st.floats(1e-300, 1))
def test_no_interval_is_longer_than_the_longest_window(
    limit: float, remaining: float, reset: float, share: float
) -> None:
    assert 0 < Window(limit, remaining, reset).interval_seconds(share) <= 300


def test_the_smaller_allowance_sets_the_pace(tmp_path: Path) -> None:
    pacer = Pacer(0.8, tmp_path / "pace")
    pacer.learn(headers(200, 200, 60) | headers(50, 48, 60, "RateLimit-User"))
    assert pacer.remaining == 48
    kept = json.loads((tmp_path / "pace").read_bytes())
    assert kept["interval_seconds"] == pytest.approx(60 / (0.8 * 48))


def test_a_response_without_allowances_changes_nothing(tmp_path: Path) -> None:
    pacer = Pacer(0.8, tmp_path / "pace")
    pacer.learn({})
    assert pacer.remaining is None
    assert not (tmp_path / "pace").exists()


# The file that processes share


def has_turn(pacer: Pacer, within_seconds: float) -> bool:
    """Whether a turn comes by then."""
    turn = threading.Thread(target=pacer.wait_turn, daemon=True)
    turn.start()
    turn.join(within_seconds)
    return not turn.is_alive()


def kept(state: Path, **pace: float) -> None:
    """Write the file as another process would."""
    state.write_text(json.dumps(pace))


def test_a_pause_of_another_process_holds_us(tmp_path: Path) -> None:
    Pacer(0.8, tmp_path / "pace").pause(60)
    assert not has_turn(Pacer(0.8, tmp_path / "pace"), within_seconds=0.5)


def test_a_pause_holds_those_who_already_wait(tmp_path: Path) -> None:
    now = time.monotonic()
    kept(tmp_path / "pace", last_at=now, interval_seconds=1)
    pacer = Pacer(0.8, tmp_path / "pace")
    turns = [threading.Thread(target=pacer.wait_turn, daemon=True) for _ in range(3)]
    for turn in turns:
        turn.start()
    pacer.pause(60)
    time.sleep(1.5)
    assert [turn.is_alive() for turn in turns] == [True] * 3


def test_waiting_holds_no_lock(tmp_path: Path) -> None:
    pacer = Pacer(0.8, tmp_path / "pace")
    pacer.pause(60)
    threading.Thread(target=pacer.wait_turn, daemon=True).start()
    time.sleep(0.1)
    learning = threading.Thread(target=pacer.learn, args=(headers(50, 40, 60),), daemon=True)
    learning.start()
    learning.join(5)
    assert not learning.is_alive()


def test_a_later_answer_does_not_shorten_a_pause(tmp_path: Path) -> None:
    pacer = Pacer(0.8, tmp_path / "pace")
    pacer.pause(60)
    pacer.learn(headers(50, 0, 0))
    assert not has_turn(pacer, within_seconds=0.5)


def test_an_exhausted_allowance_is_waited_for(tmp_path: Path) -> None:
    pacer = Pacer(0.8, tmp_path / "pace")
    pacer.learn(headers(200, 100, 60) | headers(50, 1, 60, "RateLimit-User"))
    assert not has_turn(pacer, within_seconds=0.5)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"last_at": "now"}',
        b'{"paused_until": null}',
        b"\xff\xfe\x00",
        b'{"last_at": 1e300, "interval_seconds": 1}',
    ],
)
def test_a_damaged_file_is_begun_anew(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "pace").write_bytes(damage)
    assert has_turn(Pacer(0.8, tmp_path / "pace"), within_seconds=20)
    assert json.loads((tmp_path / "pace").read_bytes())["last_at"] > 0


def test_a_file_from_before_a_restart_of_the_machine_is_begun_anew(tmp_path: Path) -> None:
    # The clock of the time before stood days ahead of ours.
    kept(tmp_path / "pace", last_at=time.monotonic() + 250_000, interval_seconds=1.5)
    assert has_turn(Pacer(0.8, tmp_path / "pace"), within_seconds=20)


def test_a_file_of_long_ago_holds_nobody(tmp_path: Path) -> None:
    kept(tmp_path / "pace", last_at=-1e6, paused_until=-1e6, interval_seconds=300)
    assert has_turn(Pacer(0.8, tmp_path / "pace"), within_seconds=20)


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "pace").mkdir()
    with pytest.raises(BuildkiteError, match=r"pace keeps the pace .* set XDG_STATE_HOME"):
        Pacer(0.8, tmp_path / "pace").wait_turn()


def test_the_name_of_the_file_tells_nothing_of_the_token(
    server: SandboxServer, connect: Connect, state_home: Path
) -> None:
    token = server.sandbox.tokens.administrator.value
    ask(connect(server.url, token))
    names = [path.name for path in state_home.rglob("*") if path.is_file()]
    assert len(names) == 2  # the pace and its lock
    contents = b"".join(path.read_bytes() for path in state_home.rglob("*") if path.is_file())
    assert token not in "".join(names)
    assert token.encode() not in contents


# Against the sandbox


def limited(*, organization: int | None = None, user: int | None = None) -> Sandbox:
    """A sandbox with these limits per minute."""
    sandbox = Sandbox.empty()
    sandbox.limits.organization_limit = organization
    sandbox.limits.user_limit = user
    return sandbox


def spread(sandbox: Sandbox) -> tuple[int, float]:
    """How many requests were answered, and within how many seconds."""
    times = sorted(request.at.timestamp() for request in sandbox.requests)
    return len(times), times[-1] - times[0]


def keep_asking(client: Client, seconds: float, threads: int = 4) -> None:
    """Ask from several threads for a while."""
    until = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < until:
            ask(client)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()


@pytest.mark.parametrize("scope", ["organization", "user"])
def test_the_share_of_the_smaller_allowance_is_used_and_no_more(
    scope: str, connect: Connect
) -> None:
    limits = {"organization": 3000, "user": 3000} | {scope: 600}
    sandbox = limited(**limits)
    sandbox.latency_seconds = 0.15
    with serve(sandbox) as server:
        client = connect(server.url, sandbox.tokens.administrator.value)
        ask(client)  # the first tells the allowance
        sandbox.requests.clear()
        keep_asking(client, 4)
    count, seconds = spread(sandbox)
    allowed = seconds * 0.8 * 600 / 60
    assert {request.status for request in sandbox.requests} == {200}
    # What keeps up with the pace uses all of it; half leaves room for the busiest machine.
    assert 0.5 * allowed <= count <= 1.05 * allowed + 5


def test_two_processes_use_the_allowance_once(state_home: Path) -> None:
    sandbox = limited(user=600)
    script = """
import sys
from tests.buildkite.test_rate_limit import Client, keep_asking
with Client(sys.argv[1], sys.argv[2]) as client:
    keep_asking(client, 4, threads=2)
"""
    with serve(sandbox) as server:
        command = [sys.executable, "-c", script, server.url, sandbox.tokens.administrator.value]
        environment = os.environ | {"XDG_STATE_HOME": str(state_home)}
        processes = [
            subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2])  # noqa: S603 - a fixed command
            for _ in range(2)
        ]
        assert [process.wait(60) for process in processes] == [0, 0]
    count, seconds = spread(sandbox)
    assert {request.status for request in sandbox.requests} == {200}
    # A process alone would use 8 a second; each sends a few before it first knows the allowance.
    assert count <= 1.05 * 8 * seconds + 8


def test_other_users_are_made_room_for(connect: Connect) -> None:
    sandbox = limited(user=600)
    stopped = threading.Event()

    def others() -> None:
        while not stopped.wait(0.1):
            sandbox.limits.consume(1, "rest_user")

    with serve(sandbox) as server:
        client = connect(server.url, sandbox.tokens.administrator.value)
        ask(client)
        sandbox.limits.consume(450, "rest_user")
        thread = threading.Thread(target=others)
        thread.start()
        keep_asking(client, 3)
        stopped.set()
        thread.join()
    statuses = [request.status for request in sandbox.requests]
    assert set(statuses) == {200}
    assert len(statuses) > 3


def moments(sandbox: Sandbox, client: Client, count: int, then: Callable[[], None]) -> list[float]:
    """When these requests were answered; `then` happens after the first."""
    ask(client)
    then()
    for _ in range(count - 1):
        ask(client)
    return [request.at.timestamp() for request in sandbox.requests]


def test_what_others_exhausted_is_waited_for_without_a_429_storm(connect: Connect) -> None:
    sandbox = limited(user=600)
    sandbox.limits.window_seconds = 3
    with serve(sandbox) as server:
        client = connect(server.url, sandbox.tokens.administrator.value)
        moments(sandbox, client, 6, lambda: sandbox.limits.consume(600, "rest_user"))
    statuses = [request.status for request in sandbox.requests]
    # One runs into what nobody could know; the next one is after the reset.
    assert statuses.count(429) <= 1
    assert statuses.count(200) == 6


def test_without_limits_the_file_is_left_alone(client: Client, state_home: Path) -> None:
    ask(client)
    [pace] = state_home.rglob("*.json")
    before = pace.read_bytes()
    keep_asking(client, 0.2)
    assert pace.read_bytes() == before

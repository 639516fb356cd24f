"""The files for servers: what they start is what the project installs."""

import re
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
UNITS = sorted((PROJECT / "deploy/systemd").glob("*.service"))
SERVICES = yaml.safe_load((PROJECT / "deploy/compose.yaml").read_text())["services"]
COMMANDS = [
    *(
        re.findall(r"^ExecStart=.*/\.venv/bin/(.*)$", unit.read_text(), re.MULTILINE)[0]
        for unit in UNITS
    ),
    *(service["command"] for service in SERVICES.values()),
]


def test_both_ways_start_the_ui_and_the_daemon() -> None:
    programs = sorted(command.split()[0] for command in COMMANDS)
    assert programs == ["dagster-daemon"] * 2 + ["dagster-webserver"] * 2


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_started_is_installed_and_finds_the_workspace(command: str) -> None:
    program, *arguments = command.split()
    assert (Path(sys.executable).parent / program).exists()
    assert (PROJECT / arguments[arguments.index("--workspace") + 1]).exists()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_keeps_all_that_it_writes_in_its_state_directory(unit: Path) -> None:
    written = re.findall(r"^Environment=\w+=(/.*)$", unit.read_text(), re.MULTILINE)
    assert len(written) == 3
    assert all(path.startswith("/var/lib/buildkite-assets/") for path in written)


def test_the_ui_listens_on_loopback_only() -> None:
    [unit] = [unit for unit in UNITS if "webserver" in unit.name]
    assert "--host 127.0.0.1 " in unit.read_text()
    assert SERVICES["webserver"]["ports"] == ["127.0.0.1:3000:3000"]

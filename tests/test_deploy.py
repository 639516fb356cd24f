"""The files for servers: what they start is what the project installs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
UNITS = sorted((PROJECT / "deploy/systemd").glob("*.service"))
DOCKERFILE = (PROJECT / "deploy/Dockerfile").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()
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


def settings(unit: Path) -> dict[str, list[str]]:
    """What a unit says of its service: the values of each setting."""
    lines = unit.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines()
    said: dict[str, list[str]] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            said.setdefault(name, []).append(value)
    return said


def test_both_units_are_confined_alike() -> None:
    one, other = (
        {name: values for name, values in settings(unit).items() if name != "ExecStart"}
        for unit in UNITS
    )
    assert one == other


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_gives_up_what_it_does_not_need(unit: Path) -> None:
    said = settings(unit)
    assert said["CapabilityBoundingSet"] == [""]
    assert said["ProtectSystem"] == ["strict"]
    assert said["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6"]
    assert said["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    for name in ("NoNewPrivileges", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert said[name] == ["true"]
    # Polars and V8 could not start with it.
    assert "MemoryDenyWriteExecute" not in said


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_little_exposure(unit: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    done = subprocess.run(  # noqa: S603 - of the system
        [program, "security", "--offline=true", "--threshold=20", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is older than 250")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_writes_to_its_volume_and_gains_no_privilege(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - in the container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    [volume] = [place.split(":")[1] for place in service["volumes"]]
    written = re.findall(r"(?:DAGSTER_HOME|XDG_STATE_HOME|BUILDKITE_WAREHOUSE)=(\S+)", DOCKERFILE)
    assert len(written) == 3
    assert all(path.startswith(f"{volume}/") for path in written)


def test_an_image_is_made_of_what_is_pinned() -> None:
    assert re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE)
    for image in re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+\S*@sha256:[0-9a-f]{64}", image)
    [version] = re.findall(r"^UV_VERSION := (\d+\.\d+\.\d+)$", MAKEFILE, re.MULTILINE)
    assert f" uv=={version}\n" in DOCKERFILE

"""Who may know whom: imports run one way, and the product stands on its own."""

import ast
from pathlib import Path

import pytest

import buildkite_assets

PACKAGE = Path(buildkite_assets.__file__).parent
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

_KNOW_NO_DAGSTER = ("buildkite/", "warehouse/", "report/", "figures/", "tables.py", "rows.py")


def imports(path: Path) -> set[str]:
    """The full names of the modules that a file imports, wherever in it."""
    package = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def top_level(path: Path) -> set[str]:
    """The packages that a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def test_all_modules_are_looked_at() -> None:
    assert {"buildkite/client.py", "warehouse/store.py", "rows.py", "sandbox/app.py"} <= set(
        MODULES
    )
    assert "httpx" in top_level(MODULES["buildkite/client.py"])
    assert "duckdb" in top_level(MODULES["warehouse/store.py"])


@pytest.mark.parametrize("module", MODULES)
def test_only_the_client_and_the_alerts_speak_http(module: str) -> None:
    if not module.startswith("buildkite/") and module != "alerts.py":
        assert not top_level(MODULES[module]) & {"httpx", "httpcore", "requests", "urllib3"}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_warehouse_speaks_sql(module: str) -> None:
    if not module.startswith("warehouse/"):
        assert "duckdb" not in top_level(MODULES[module])


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(_KNOW_NO_DAGSTER)])
def test_what_stands_below_dagster_does_not_know_it(module: str) -> None:
    known = imports(MODULES[module])
    assert not {name for name in known if name.split(".")[0].startswith("dagster")}
    above = ("assets", "definitions", "partitions", "runs", "cli", "checks", "automation")
    assert not {
        name for name in known for part in above if name.startswith(f"{PACKAGE.name}.{part}")
    }


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("buildkite/")])
def test_the_client_knows_nothing_of_where_its_records_go(module: str) -> None:
    ours = {name for name in imports(MODULES[module]) if name.startswith(f"{PACKAGE.name}.")}
    # What text is safe to show is no matter of where it goes.
    known = (f"{PACKAGE.name}.buildkite", f"{PACKAGE.name}.plain_text")
    assert {name for name in ours if not name.startswith(known)} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("warehouse/")])
def test_the_warehouse_knows_nothing_of_where_its_rows_come_from(module: str) -> None:
    known = imports(MODULES[module])
    for room in ("buildkite", "sandbox", "rows"):
        assert not {name for name in known if name.startswith(f"{PACKAGE.name}.{room}")}


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("sandbox/")])
def test_the_sandbox_judges_the_client_without_sharing_its_code(module: str) -> None:
    ours = {name for name in imports(MODULES[module]) if name.startswith(f"{PACKAGE.name}.")}
    assert {name for name in ours if not name.startswith(f"{PACKAGE.name}.sandbox")} == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_product_depends_on_nothing_beside_the_checkout(module: str) -> None:
    text = MODULES[module].read_text()
    for beside in ("../shared", "shared/recorded", "shared/reference", "import tests"):
        assert beside not in text

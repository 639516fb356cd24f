"""A review of what is odd in a warehouse."""

import csv
import json
from pathlib import Path

from buildkite_assets.export.review import export_review
from buildkite_assets.sandbox import Organization

from .conftest import Lab
from .test_edge_cases import people, team_with


def test_two_teams_of_one_slug_have_a_file_each(
    lab: Lab, acme: Organization, tmp_path: Path
) -> None:
    first = team_with(acme, "Builders", "build_and_read", people(acme)[0])
    lab.sync()
    acme.delete_team(first)
    second = team_with(acme, "Builders", "read_only", people(acme)[1])
    lab.sync(lab.sandbox.tokens.member)
    lab.derive()
    folder = export_review(lab.path, "acme", tmp_path)
    names = {f"teams/builders-{first.id}.csv", f"teams/builders-{second.id}.csv"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert names < {entry["name"] for entry in manifest["files"]}
    with (folder / f"teams/builders-{second.id}.csv").open(encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert (row["name"], row["access_level"]) == ("Max Member", "READ_ONLY")

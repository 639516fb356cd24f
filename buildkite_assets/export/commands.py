"""The command line's `export` group."""

from pathlib import Path

import click

from buildkite_assets.export.baton import export_baton
from buildkite_assets.export.review import export_review
from buildkite_assets.interruption import interruptible
from buildkite_assets.private_files import given_path
from buildkite_assets.settings import Settings
from buildkite_assets.terminal import one_line_errors, say

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _given(_: click.Context, option: click.Parameter, folder: Path) -> Path:
    """Return the folder that an option names."""
    try:
        return given_path(folder)
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from None


@click.group()
def export() -> None:
    """Write files of what the warehouse holds."""


@export.command()
@click.option(
    "--out",
    type=_FOLDER,
    callback=_given,
    required=True,
    help="Folder to write to; made if missing.",
)
@interruptible
def baton(out: Path) -> None:
    """Write who has access to what as Baton prints it: JSON and CSV, a folder per organization."""
    with one_line_errors():
        folders = export_baton(Settings.from_environment().warehouse, out)
    _tell(folders)


@export.command()
@click.option("--organization", required=True, help="The organization's slug.")
@click.option("--out", type=_FOLDER, callback=_given, default=Path("review"), show_default=True)
@interruptible
def review(organization: str, out: Path) -> None:
    """Write an access review: one CSV per team, with a manifest of what it stands on."""
    with one_line_errors():
        folder = export_review(Settings.from_environment().warehouse, organization, out)
    _tell([folder])


def _tell(folders: list[Path]) -> None:
    if not folders:
        raise click.ClickException(
            "No snapshot of access is known yet: run `buildkite-assets sync` first."
        )
    for folder in folders:
        say(f"Wrote {folder}")

"""The command line's `purge` group."""

from collections.abc import Callable

import click

from buildkite_assets.interruption import interruptible
from buildkite_assets.session import Session
from buildkite_assets.settings import Settings
from buildkite_assets.terminal import one_line_errors, say
from buildkite_assets.warehouse import Connection
from buildkite_assets.warehouse.purge import finish_purge, purge_person, purge_pipeline

_confirmed = click.confirmation_option(
    prompt="It cannot be undone, and the derived tables are derived anew. Go on?"
)


@click.group()
def purge() -> None:
    """Remove a person or a pipeline for good."""


@purge.command()
@click.argument("who")
@_confirmed
@interruptible
def person(who: str) -> None:
    """Remove WHO, a user's id or an e-mail address, who has left all organizations.

    Their builds stay, without them; what people wrote into messages and meta-data stays as it is.
    Commits may name them by further addresses: purge those likewise.
    """
    _purge(lambda session, connection: purge_person(connection, who, session.privacy.email))


@purge.command()
@click.argument("pipeline_id")
@_confirmed
@interruptible
def pipeline(pipeline_id: str) -> None:
    """Remove a deleted pipeline by its id, with its builds and jobs and the access to it."""
    _purge(lambda _, connection: purge_pipeline(connection, pipeline_id))


def _purge(remove: Callable[[Session, Connection], None]) -> None:
    with one_line_errors():
        session = Session(Settings.from_environment())
        warehouse = session.warehouse
        with warehouse.transaction() as connection:
            remove(session, connection)
        click.echo("Removed; deriving tables anew …")
        finish_purge(warehouse, session.parameters)
        report = session.settings.report
        if report.exists():  # which names pipelines, too
            from buildkite_assets.report.page import render  # noqa: PLC0415 - nothing else draws

            warehouse.publish_beside(report.name, render(session.settings).encode())
    say(f"Published to {warehouse.path}")

"""Warnings for the command line, one line each."""

import logging
import sys

from buildkite_assets.plain_text import one_line


class WarningLines(logging.Handler):
    """Print warnings on standard error; Dagster's own events are in the instance."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        told = vars(record).get("dagster_meta", {})
        if not told.get("dagster_event"):
            message = one_line(told.get("orig_message", record.getMessage()))
            # `click.echo` writes past the progress line, and into it.
            sys.stderr.write(f"Warning: {message}\n")


_HANDLER = WarningLines()


def print_warnings() -> None:
    """Print what this package's loggers warn of, such as retries."""
    logging.getLogger("buildkite_assets").addHandler(_HANDLER)

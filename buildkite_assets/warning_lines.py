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
            # Not `click.echo`, which writes past the progress line that has the terminal.
            print(f"Warning: {message}", file=sys.stderr, flush=True)


_HANDLER = WarningLines()


def print_warnings() -> None:
    """Print what this package's loggers warn of, such as retries."""
    logging.getLogger("buildkite_assets").addHandler(_HANDLER)

"""A clean end on SIGINT and SIGTERM, wherever the work is.

The work runs in a thread beside the main one, which only waits. So a signal ends the program at
once, even while a request hangs, an allowance is waited for or rows are merged: nothing needs to
notice it. That costs no data, since everything is written as if the program could be killed at any
moment. What must be said before the end, `before_interruption` registers.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import wraps
from types import FrameType
from typing import NoReturn, ParamSpec

import click
from rich.console import Console

P = ParamSpec("P")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_last_words: list[Callable[[], None]] = []


class _InterruptedError(BaseException):
    """The program is to end; raised in the main thread, which only waits."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def interruptible(command: Callable[P, None]) -> Callable[P, None]:
    """Have a command end by one line and the code 130 or 143 when it is interrupted."""

    @wraps(command)
    def waited_for(*args: P.args, **kwargs: P.kwargs) -> None:
        handlers = {each: signal.signal(each, _interrupt) for each in _SIGNALS}
        try:
            _started(lambda: command(*args, **kwargs)).result()
        except _InterruptedError as interruption:
            _end(interruption.number)
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)

    return waited_for


@contextmanager
def before_interruption(say: Callable[[], None]) -> Iterator[None]:
    """Have `say` called if the program is interrupted within the block, from another thread."""
    _last_words.append(say)
    try:
        yield
    finally:
        _last_words.remove(say)


def _started(work: Callable[[], None]) -> Future[None]:
    """Begin to work in another thread; the result tells how that ended."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the work is awaited
            done.set_exception(error)
        else:
            done.set_result(None)

    context = copy_context()
    threading.Thread(target=lambda: context.run(run), name="command", daemon=True).start()
    return done


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    for each in _SIGNALS:  # a second one ends the program without last words
        signal.signal(each, signal.SIG_DFL)
    raise _InterruptedError(number)


def _end(number: int) -> NoReturn:
    for say in _last_words:
        say()
    name = signal.Signals(number).name
    with suppress(OSError):  # where nobody reads any more
        Console().show_cursor()  # which a progress line hides
        click.echo(f"\nStopped by {name}. What was committed stays: run it again.", err=True)
        sys.stdout.flush()
    # Not by way of the interpreter's end, which would wait for the threads that still work.
    os._exit(128 + number)

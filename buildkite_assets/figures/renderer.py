"""Draws in a process of its own: a native renderer that aborts takes its whole process along."""

import atexit
import json
import re
import subprocess
import sys
from pathlib import Path
from threading import Lock, Timer
from typing import Any, Literal

from buildkite_assets.plain_text import REPLACEMENT

_PROGRAM = Path(__file__).with_name("renderer_process.py")
_PAIRS = re.compile("[\U00010000-\U0010ffff]")
"""The characters, such as most emoji, that are two code units in JavaScript."""


class RenderError(Exception):
    """A figure could not be drawn."""


class Renderer:
    """A process that draws one figure after the other.

    It starts with the first figure, since loading the renderer takes longer than drawing, and
    again after it has died. It ends with this process, however that ends: its input is closed.

    Args:
        patience_seconds: how long one figure may take.
    """

    def __init__(self, *, patience_seconds: float = 60) -> None:
        self.patience_seconds = patience_seconds
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.close)

    def draw(
        self,
        form: Literal["svg", "png"],
        spec: dict[str, Any],
        config: dict[str, Any],
        scale: float = 1,
    ) -> str:
        """Draw a Vega-Lite spec as SVG, or as PNG in Base64.

        Vega may cut a label that is too long in the middle of an emoji, and cannot measure what is
        left. Such a figure is drawn without emoji.

        Raises:
            RenderError: the spec cannot be drawn, the process died over it, or it took too long.
        """
        request = json.dumps(
            {"form": form, "spec": spec, "config": config, "scale": scale}, ensure_ascii=False
        )
        with self._lock:
            answer = self._answer(request)
            if "error" in answer and _PAIRS.search(request):
                answer = self._answer(_PAIRS.sub(REPLACEMENT, request))
        if "error" in answer:
            raise RenderError(answer["error"])
        return answer["drawn"]

    def close(self) -> None:
        """End the process, if it runs."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _answer(self, request: str) -> dict[str, str]:
        process = self._process = self._process or _start()
        limit = Timer(self.patience_seconds, process.kill)
        limit.start()
        try:
            print(request, file=process.stdin, flush=True)
            answer: dict[str, str] = json.loads(_line(process))
        except (OSError, EOFError) as error:
            self.close()
            raise RenderError(
                f"The renderer ended with code {process.returncode}, or took more than "
                f"{self.patience_seconds:g} s."
            ) from error
        except BaseException:
            # An answer that nobody read must not be taken for the next one.
            self.close()
            raise
        finally:
            limit.cancel()
        return answer


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


def _line(process: subprocess.Popen[str]) -> str:
    """Return the next line of a process's output.

    Raises:
        EOFError: the process has ended.
    """
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise EOFError
    return line

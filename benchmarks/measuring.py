"""Wall time, CPU time and peak memory of a process."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_BYTES_PER_KILOBYTE = 1024


@dataclass(frozen=True)
class Cost:
    """What a process took, its children included."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: float

    def __str__(self) -> str:
        return (
            f"{self.wall_seconds:.1f} s, {self.cpu_seconds:.1f} s CPU, "
            f"{self.peak_bytes / 1e6:.0f} MB peak"
        )


def measure(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; what it said is in the message.
    """
    said = folder / "said.txt"
    started_at = time.monotonic()
    with said.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - commands of the benchmarks
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} exited with {process.returncode}:\n{said.read_text()}")
    return Cost(
        time.monotonic() - started_at,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * _BYTES_PER_KILOBYTE,
    )

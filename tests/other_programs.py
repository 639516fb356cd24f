"""Another program that has a DuckDB file open for writing, as BI tools do by default."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = """
import json, sys
import duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    print(json.dumps(connection.execute(line).fetchall(), default=str), flush=True)
"""

_KILLED = """
import os, sys
import duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute(sys.argv[2])
os._exit(0)
"""

Ask = Callable[[str], object]
"""Has the other program run a query; what it answers."""


@contextmanager
def opened_for_writing(path: Path) -> Iterator[Ask]:
    """Have another program hold a file open for writing; it checkpoints when it closes."""
    with subprocess.Popen(  # noqa: S603 - a program of this file
        [sys.executable, "-c", _PROGRAM, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin
        assert program.stdout
        stdin, stdout = program.stdin, program.stdout
        assert stdout.readline() == "open\n"

        def ask(query: str) -> object:
            print(query, file=stdin, flush=True)
            return json.loads(stdout.readline())

        try:
            yield ask
        finally:
            stdin.close()
            program.wait(timeout=60)


def leave_log(path: Path, query: str) -> None:
    """Have another program run a query on a file and be killed, so that its log stays behind."""
    subprocess.run([sys.executable, "-c", _KILLED, str(path), query], check=True, timeout=60)  # noqa: S603

"""Commands that heed permissions, although root may run the tests."""

import os
import shutil

import pytest


def unprivileged(*command: str) -> list[str]:
    """Return a command that permissions bind; without a way to have that, the test is skipped."""
    if os.geteuid() != 0:
        return [*command]
    if not shutil.which("setpriv"):
        pytest.skip("permissions do not bind root, and setpriv is not installed")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", *command]

"""Text that people wrote to do harm, from every field of every endpoint to all that shows it."""

import pytest

pytest.register_assert_rewrite("tests.hostile.plainness", "tests.hostile.sinks")

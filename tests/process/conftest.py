from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.scenes", "tests.states", "tests.workers")

from tests.scenes import calls, copy_dir, library_dir, made, workers  # noqa: E402 - rewritten before it is imported

__all__ = ["calls", "copy_dir", "library_dir", "made", "workers"]

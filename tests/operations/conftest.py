from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.scenes", "tests.states", "tests.workers")

from tests.scenes import calls, library_dir, made, vault_dir, workers  # noqa: E402 - rewritten before it is imported

__all__ = ["calls", "library_dir", "made", "vault_dir", "workers"]

from __future__ import annotations

from tests.scenes import calls, workers

__all__ = ["calls", "workers"]

from __future__ import annotations

from tests.scenes import calls, copy_dir, library_dir, workers

__all__ = ["calls", "copy_dir", "library_dir", "workers"]

"""A stand-in for a model, or any service that is slow, costs money, and isn't always there.

The environment variable DEMO_SERVICE names a folder: every call is noted there in the file ``calls``, and the service
is down once there are as many calls as the file ``down_after`` says. Without the variable, calls cost nothing.
"""

import os
import time
from pathlib import Path

SECONDS = 0.02


def call(row_key: str) -> None:
    """Note the call, then take some time. Raises ConnectionError while the service is down."""
    if "DEMO_SERVICE" not in os.environ:
        return
    folder = Path(os.environ["DEMO_SERVICE"])
    limit = folder / "down_after"
    if limit.exists() and _calls(folder) >= int(limit.read_text()):
        raise ConnectionError("the service is down")
    # One write in append mode: lines of several threads never mix.
    with (folder / "calls").open("a", buffering=1) as file:
        file.write(row_key + "\n")
    time.sleep(SECONDS)


def _calls(folder: Path) -> int:
    return (folder / "calls").read_bytes().count(b"\n")

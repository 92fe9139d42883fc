"""Make the environment of this checkout, and print the path of its Python.

Needs nothing but a Python (any from 3.8 on will start this file, and look for one that the package supports) and pip.

1. An environment is used only if its stamp says that it was finished, for this ``pyproject.toml`` and this Python. The
   stamp is removed first and written last, so one that was left half-made is made again.
2. Two scripts that start at once don't disturb each other: a lock is held while the environment is looked at or made.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 14)
OLD = "tablevault==0.1.1"
EXTRAS = ("", "[docs]", "[dev]")  # each has all that stands before it


def main() -> None:
    """Print the path of the environment's Python on standard output; all else goes to standard error."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dev", action="store_true", help="with what the tests need, which is all there is")
    options.add_argument("--docs", action="store_true", help="with what the documentation's site needs")
    options.add_argument("--old", action="store_true", help=f"with {OLD} instead, the release that vaults come from")
    options.add_argument("--python", metavar="X", help="a version (3.13) or a path; it gets an environment of its own")
    chosen = options.parse_args()
    base, version = find_python(chosen.python)
    if chosen.old:
        folder = CHECKOUT / f".venv-{OLD.replace('==', '-')}"
        with locked(folder.with_name(folder.name + ".lock")):
            print(ensure_old(folder, base=base))
        return
    folder = CHECKOUT / (".venv" if chosen.python is None else f".venv-{version}")
    with locked(folder.with_name(folder.name + ".lock")):
        print(ensure(folder, base=base, extra="[dev]" if chosen.dev else "[docs]" if chosen.docs else ""))


def find_python(wanted: str | None) -> tuple[str, str]:
    """Return a supported Python and its version (``3.13``), or exit with what to do."""
    versions = [f"3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    if wanted is None:
        candidates = [sys.executable, "python3", *(f"python{version}" for version in versions)]
    else:
        candidates = [wanted if os.sep in wanted else shutil.which(wanted) or f"python{wanted}"]
    for candidate in candidates:
        found = probe(candidate)
        if found is not None:
            return found
    sys.exit(
        f"No Python {versions[-1]} to {versions[0]} among {', '.join(candidates)}. Install one, or name it: "
        "PYTHON=/path/to/python3, or --python /path/to/python3."
    )


def probe(candidate: str) -> tuple[str, str] | None:
    """Return the real path and the version of a Python that the package supports; None if it is none."""
    script = "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2], sep='\\n')"
    try:
        answer = subprocess.run([candidate, "-c", script], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    path, version = answer.splitlines()
    return (path, version) if OLDEST <= tuple(map(int, version.split("."))) <= NEWEST else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock while an environment is looked at or made; another script waits for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(folder: Path, *, base: str, extra: str) -> Path:
    """Return the Python of an environment that has what is needed, or more; make it if there is none."""
    python = folder / "bin" / "python"
    stamp = folder / "finished"
    content = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes()).hexdigest()
    key = f"{base}\n{CHECKOUT}\n{content}\n"
    kept = stamp.read_text() if stamp.is_file() else ""
    if kept in [key + each for each in EXTRAS[EXTRAS.index(extra) :]] and probe(str(python)) is not None:
        return python
    say(f"Making {folder} with {base} ...")
    stamp.unlink(missing_ok=True)
    if not kept.startswith(key) or probe(str(python)) is None:
        shutil.rmtree(folder, ignore_errors=True)
        make(folder, base=base)
    pip(str(python), "install", "--editable", f"{CHECKOUT}{extra}")
    stamp.write_text(key + extra)
    return python


def ensure_old(folder: Path, *, base: str) -> Path:
    """Return the Python of an environment that has the old release and nothing of this checkout; make it likewise."""
    python = folder / "bin" / "python"
    stamp = folder / "finished"
    key = f"{base}\n{OLD}\n"
    if stamp.is_file() and stamp.read_text() == key and probe(str(python)) is not None:
        return python
    say(f"Making {folder} with {base} ...")
    shutil.rmtree(folder, ignore_errors=True)
    make(folder, base=base)
    pip(str(python), "install", "--retries", "1", OLD)
    stamp.write_text(key)
    return python


def make(folder: Path, *, base: str) -> None:
    """Make an empty environment that has pip, also with a Python that was packaged without ``ensurepip``."""
    venv = [base, "-m", "venv"]
    if subprocess.run([*venv, str(folder)], capture_output=True).returncode == 0:
        return
    shutil.rmtree(folder, ignore_errors=True)
    run([*venv, "--without-pip", str(folder)])
    pip(base, "--python", str(folder / "bin" / "python"), "install", "pip")


def pip(python: str, *arguments: str) -> None:
    """Run pip. It says nothing but errors: what it warns about (its own version, root, the index) is harmless here."""
    quiet = ["-qq", "--disable-pip-version-check", "--no-input"]
    run([python, "-m", "pip", *quiet, *arguments], PIP_ROOT_USER_ACTION="ignore")


def run(command: list[str], **environment: str) -> None:
    """Run a command with its output on standard error; exit if it fails."""
    outcome = subprocess.run(command, stdout=sys.stderr, env={**os.environ, **environment})
    if outcome.returncode != 0:
        sys.exit(f"This failed, with exit code {outcome.returncode}: {' '.join(command)}")


def say(text: str) -> None:
    """Tell a person what is going on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

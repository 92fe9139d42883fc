"""Build the documentation as a site of plain files.

Needs the packages of the extra ``docs``; ``scripts/docs`` sees to that. The site is made as a whole, without a warning,
or it stays as it was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.website import checks, sources

CHECKOUT = Path(__file__).resolve().parent.parent.parent
_MARK = ".buildinfo"  # Sphinx leaves it in every site


def main() -> None:
    """Build the site where ``--output`` says. Exits with 1, and says what is wrong, if anything is."""
    options = argparse.ArgumentParser(prog="scripts/docs", description="Build the documentation as a site.")
    options.add_argument("--output", metavar="FOLDER", type=Path, default=CHECKOUT / "site", help="by default site/")
    output = options.parse_args().output.absolute()
    try:
        build(CHECKOUT, output)
    except sources.SiteError as error:
        sys.exit(f"The site was not built:\n{error}")
    print(output / "index.html")


def build(checkout: Path, output: Path) -> None:
    """Build the site of a checkout into a folder: a new one, an empty one, or an earlier site, which is replaced.

    Raises SiteError with everything that is wrong, one thing a line.
    """
    if output.exists() and not (output / _MARK).is_file() and any(output.iterdir()):
        raise sources.SiteError(f"{output} holds something else than a site. Name another folder.")
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        pages, site = Path(folder, "pages"), Path(folder, "site")
        origins = sources.write(checkout, pages)
        warnings = _sphinx(checkout, pages, site)
        for staged, origin in origins.items():
            warnings = warnings.replace(str(pages / staged), str(origin))
        problems = warnings.splitlines() or checks.problems(site)
        if problems:
            raise sources.SiteError("\n".join(problems))
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(site, output, ignore=shutil.ignore_patterns(".doctrees", "_sources"))


def _sphinx(checkout: Path, pages: Path, site: Path) -> str:
    """Turn the pages into a site, and return the warnings."""
    command = [sys.executable, "-m", "sphinx", "--builder", "html", "--quiet", "--no-color", "--nitpicky"]
    command += ["--fail-on-warning", "--doctree-dir", str(site / ".doctrees"), "--conf-dir", str(checkout / "docs")]
    # Neither the language nor the width of this terminal is to be seen in the site.
    environment = {**os.environ, "PYTHONPATH": str(checkout), "LC_ALL": "C.UTF-8", "COLUMNS": "100"}
    outcome = subprocess.run([*command, str(pages), str(site)], env=environment, capture_output=True, text=True)
    if outcome.returncode != 0:
        return outcome.stderr.strip() or f"Sphinx ended with exit code {outcome.returncode}:\n{outcome.stdout}"
    return ""


if __name__ == "__main__":
    main()

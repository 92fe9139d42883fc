"""Where a value of an interpreter comes from: which module it can be imported from, and whose that module is.

Nothing is imported to find out: only modules that are there already are looked at.
"""

from __future__ import annotations

import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType


def imported(value: object, name: str) -> str | None:
    """Return the statement that imports ``value`` as ``name`` from another module than the main one, if one does.

    Of several modules that it may be had from, the one with the shortest name is taken: packages show what they keep in
    modules of their own.
    """
    homes = [getattr(value, "__module__", None), getattr(type(value), "__module__", None)]
    names = [getattr(value, "__name__", None), name]
    for home in homes:
        for known_as in names:
            if isinstance(home, str) and isinstance(known_as, str) and home not in ("__main__", "builtins"):
                parts = home.split(".")
                for length in range(1, len(parts) + 1):
                    module = ".".join(parts[:length])
                    if getattr(sys.modules.get(module), known_as, None) is value:
                        return f"from {module} import {known_as}" + (f" as {name}" if name != known_as else "")
    return None


def is_installed(module: ModuleType) -> bool:
    """Tell whether ``module`` comes with Python or from an installed package, rather than from a file of the user's."""
    if module.__name__ in ("__main__", "__mp_main__"):
        return False
    if module.__name__.partition(".")[0] == __name__.partition(".")[0]:
        return True
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ in sys.builtin_module_names or getattr(module, "__spec__", None) is not None
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _installed_folders())


@cache
def _installed_folders() -> tuple[Path, ...]:
    folders = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [site.getusersitepackages(), *site.getsitepackages()]
    return tuple({Path(folder).resolve() for folder in folders if folder})

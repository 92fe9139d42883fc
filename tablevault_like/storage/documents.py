"""JSON and YAML that come from a file, which anybody may have written."""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError for what is no JSON, and for what is nested deeper than this interpreter can follow.

    >>> parsed('{"format": 1}')
    {'format': 1}
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def described(text: bytes) -> dict[str, Any]:
    """Return the fields of a description in YAML; none, if it isn't one. Nothing in it is run.

    >>> described(b"table: papers")
    {'table': 'papers'}
    """
    import yaml  # it takes long to import

    # libyaml's loader is several times as fast, where PyYAML was built with it. Both are safe.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(text, Loader=loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}
